"""Render the ManifestWork that carries the run's Collaborator to a cluster, and the rules that feed its status back.

The feedback reaches the work's status by JSONPath and is untrusted; `site` bounds it before use.
Source: OCM API `work/v1` (feedback rules; a Job-like object needs ServerSideApply, see ocm `pkg/work`).
"""

from dataclasses import dataclass
from typing import Final

from federation.api.collaborator import (
    FEEDBACK,
    AggregatorAddress,
    CollaboratorSpec,
    ContainerResources,
    PlainVariable,
    RunPlan,
    RunReference,
)
from federation.api.federated_learning import FederatedLearning
from federation.api.meta import FEDERATION_GROUP
from federation.api.run_names import run_id
from federation.kube.encoding import plain
from federation.kube.kinds import COLLABORATOR, MANIFEST_WORK
from federation.kube.resource import Json
from hub_manager.federated_learning.resources.names import ATTEMPT_LABEL, RUN_ANNOTATION, labels, with_digest, work_name
from hub_manager.federated_learning.site import RunCluster

FIELD_MANAGER: Final = "work-agent-federated-learning"
"""Field manager of the work agent; OCM requires the prefix `work-agent`."""
DATASET_ANNOTATION: Final = f"{FEDERATION_GROUP}/dataset"
"""Annotation of a ManifestWork: its Collaborator's Dataset. ManifestWorks are decoded without their manifests."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port at which collaborators connect to the aggregator."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def work(
    run: FederatedLearning,
    attempt: int,
    site: RunCluster,
    dataset: str,
    addresses: tuple[Address, ...],
    plan: RunPlan | None = None,
) -> Json:
    """Render the ManifestWork for a cluster.

    Args:
        run: The run.
        attempt: Number of the attempt.
        site: The cluster.
        dataset: Name of the Dataset to use, never a path.
        addresses: Addresses of the aggregator; empty while the cluster is only asked to accept the run.
        plan: The training plan; None selects the image's default plan.
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
    return with_digest(
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


def _applied_and_fed_back(name: str, site: RunCluster) -> Json:
    """Render how the work agent applies the Collaborator, and which fields of its status it feeds back."""
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


def _collaborator(
    run: FederatedLearning,
    attempt: int,
    site: RunCluster,
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
