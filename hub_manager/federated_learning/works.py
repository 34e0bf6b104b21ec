"""What goes to a site and what comes back: the ManifestWork with the run's Collaborator, and the site's answer.

The answer is fed back by JSONPath into the work's status, which the spoke writes: every value is bounded here before it
reaches the run's status, it counts for that cluster alone, and only from the work of this attempt. A site can so refuse
itself, claim to run, or fail; it can't speak for another.
Source: OCM API `work/v1` (feedback rules; a Job-like object needs ServerSideApply, see ocm `pkg/work`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from federation.api.collaborator import (
    FEEDBACK,
    AggregatorAddress,
    CollaboratorSpec,
    CollaboratorState,
    ContainerResources,
    PlainVariable,
    RunPlan,
    RunReference,
)
from federation.api.federated_learning import FederatedLearning
from federation.api.meta import FEDERATION_GROUP, condition_of
from federation.api.run_names import run_id
from federation.api.run_status import ClusterState
from federation.api.work import APPLIED, ManifestResult, ManifestWork
from federation.kube.collaborator_kinds import COLLABORATOR
from federation.kube.ocm_kinds import MANIFEST_WORK
from federation.kube.resource import Json
from hub_manager.addon.status import plain
from hub_manager.federated_learning.names import ATTEMPT_LABEL, RUN_ANNOTATION, labels, stamped, work_name

FIELD_MANAGER: Final = "work-agent-federated-learning"
"""OCM wants field managers of works to begin with `work-agent`."""
DATASET_ANNOTATION: Final = f"{FEDERATION_GROUP}/dataset"
"""On works: the Dataset that its Collaborator names; works are decoded without what they carry."""
MESSAGE_CHARACTERS: Final = 1024
NOT_APPLIED: Final = "NotApplied"
"""The cluster's work agent can't apply the work."""
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_UNPRINTABLE: Final = re.compile(r"[^\n\t -~\u00a0-\ud7ff\ue000-\ufffd]")


_STATES: Final[Mapping[str, ClusterState]] = {
    CollaboratorState.REFUSED: ClusterState.REFUSED,
    CollaboratorState.PENDING: ClusterState.PENDING,
    CollaboratorState.ACCEPTED: ClusterState.ACCEPTED,
    CollaboratorState.STARTING: ClusterState.ACCEPTED,
    CollaboratorState.RUNNING: ClusterState.RUNNING,
    CollaboratorState.RETRYING: ClusterState.RUNNING,
    CollaboratorState.SUCCEEDED: ClusterState.SUCCEEDED,
    CollaboratorState.FAILED: ClusterState.FAILED,
}

_WELL: Final = frozenset(
    {
        CollaboratorState.ACCEPTED,
        CollaboratorState.STARTING,
        CollaboratorState.RUNNING,
        CollaboratorState.SUCCEEDED,
    }
)


@dataclass(frozen=True, slots=True)
class Site:
    """What the hub knows of a cluster that might take part; all but `install_namespace` is the hub's own."""

    name: str
    accepted: bool
    """The hub's administrator accepts it, it is not on its way out, and has the add-on."""
    available: bool
    """Its agent gives signs of life, as the cluster says."""
    install_namespace: str
    """Where its agent is, as the cluster may have changed it: whatever it is, it names a place of that cluster."""
    claims: tuple[tuple[str, str], ...] = ()
    """What the cluster claims, name and value."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a site says of its part in the run."""

    state: ClusterState
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the aggregator is dialled."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def work(
    run: FederatedLearning,
    attempt: int,
    site: Site,
    dataset: str,
    addresses: tuple[Address, ...],
    plan: RunPlan | None = None,
) -> Json:
    """The site's work.

    Args:
        run: The run.
        attempt: Which attempt at it.
        site: The cluster.
        dataset: The Dataset that the site shall use; a path can't be named.
        addresses: Where the aggregator is; none yet while sites are only asked whether they would take part.
        plan: The plan by which they go; None is the image's own.
    """
    name = work_name(run, attempt)
    metadata = {
        "name": name,
        "namespace": site.name,
        "labels": labels(run) | {ATTEMPT_LABEL: str(attempt)},
        "annotations": {
            RUN_ANNOTATION: f"{run.metadata.namespace}/{run.metadata.name}",
            DATASET_ANNOTATION: dataset,
        },
    }
    return stamped(
        {
            "apiVersion": MANIFEST_WORK.api_version,
            "kind": MANIFEST_WORK.kind,
            "metadata": metadata,
            "spec": {
                "workload": {"manifests": [_collaborator(run, attempt, site, dataset, addresses, plan)]},
                "deleteOption": {"propagationPolicy": "Foreground"},
                "manifestConfigs": [_applied_and_fed_back(name, site)],
            },
        }
    )


def _applied_and_fed_back(name: str, site: Site) -> Json:
    """How the site's work agent applies the Collaborator of that name, and what of its status it sends back."""
    return {
        "resourceIdentifier": {
            "group": FEDERATION_GROUP,
            "resource": COLLABORATOR.plural,
            "name": name,
            "namespace": site.install_namespace,
        },
        "updateStrategy": {
            "type": "ServerSideApply",
            "serverSideApply": {"fieldManager": FIELD_MANAGER, "force": True},
        },
        "feedbackRules": [
            {"type": "JSONPaths", "jsonPaths": [{"name": name, "path": path} for name, path in FEEDBACK.items()]}
        ],
    }


def answer(found: ManifestWork | None, run_id: str) -> Answer:
    """What the site says of this attempt, as its work's status has it; Pending until it says something."""
    if found is None:
        return Answer(ClusterState.PENDING)
    applied = condition_of(found.status.conditions, APPLIED)
    if applied is not None and applied.status == "False":
        return Answer(ClusterState.PENDING, NOT_APPLIED, _bounded(applied.message))
    result = next(
        (r for r in found.status.resource_status.manifests if r.resource_meta.kind == COLLABORATOR.kind),
        ManifestResult(),
    )
    if _text(result, "runId") != run_id:
        return Answer(ClusterState.PENDING)
    said, reason = _text(result, "state"), _text(result, "reason")
    state = _STATES.get(said, ClusterState.PENDING)
    words = "" if said in _WELL else _text(result, "message") or _text(result, "log")
    return Answer(state, reason if _REASON.fullmatch(reason) else "", _bounded(words))


def _text(result: ManifestResult, name: str) -> str:
    value = result.value(name)
    return "" if value is None or value.string is None else value.string


def _bounded(text: str) -> str:
    """A spoke's text as it may stand in a status: printable, and no longer than a reader wants."""
    return _UNPRINTABLE.sub("\ufffd", text[: MESSAGE_CHARACTERS + 1])[:MESSAGE_CHARACTERS]


def _collaborator(
    run: FederatedLearning,
    attempt: int,
    site: Site,
    dataset: str,
    addresses: tuple[Address, ...],
    plan: RunPlan | None,
) -> Json:
    client = run.spec.client
    metadata = run.metadata
    spec = CollaboratorSpec(
        run=RunReference(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid, id=run_id(run, attempt)),
        dataset=dataset,
        image=client.image,
        framework=run.spec.framework,
        resources=ContainerResources(requests=client.resources.requests, limits=client.resources.limits),
        args=client.args,
        env=tuple(PlainVariable(name=variable.name, value=variable.value) for variable in client.env),
        plan=plan,
        aggregator=AggregatorAddress(addresses=tuple(map(str, addresses))) if addresses else None,
    )
    return {
        "apiVersion": COLLABORATOR.api_version,
        "kind": COLLABORATOR.kind,
        "metadata": {"name": work_name(run, attempt), "namespace": site.install_namespace},
        "spec": plain(spec),
    }
