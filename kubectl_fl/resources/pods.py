"""The hub's objects that a run is made of, as far as this command line looks at them. Pure.

Which pod and container is meant, where a site's agent is, what a site has said: one answer to each, for every command.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from federation.api.addon import DEFAULT_INSTALL_NAMESPACE, ManagedClusterAddOn
from federation.api.collaborator import APPROVAL_PREFIX, APPROVED
from federation.api.federated_learning import FederatedLearning
from federation.api.meta import Resource, Struct
from federation.api.run_names import AGGREGATOR_CONTAINER, WORKSPACE_CONTAINER, run_id
from federation.api.site_workloads import ContainerStatus, PodCondition
from federation.api.work import FieldValue, ManifestResult, ManifestWork
from federation.kube.kinds import COLLABORATOR
from federation.kube.resource import Kind


class PodSpec(Struct, frozen=True):
    """Where a pod is."""

    node_name: str = ""


class PodStatus(Struct, frozen=True):
    """How far a pod is."""

    phase: str = ""
    conditions: tuple[PodCondition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class RunPod(Resource, frozen=True):
    """A pod, of the aggregator or of a collaborator."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Container(Struct, frozen=True):
    """A container of a template."""

    name: str = ""
    image: str = ""


class PodTemplateSpec(Struct, frozen=True):
    """What of the aggregator's pod another pod has to have in common with it to read its volume."""

    containers: tuple[Container, ...] = ()
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    image_pull_secrets: tuple[dict[str, Any], ...] = ()
    security_context: dict[str, Any] = msgspec.field(default_factory=dict)


class PodTemplate(Struct, frozen=True):
    """The template of a Job's pods."""

    spec: PodTemplateSpec = PodTemplateSpec()


class AggregatorJobSpec(Struct, frozen=True):
    """What the Job makes."""

    template: PodTemplate = PodTemplate()


class AggregatorJob(Resource, frozen=True):
    """The aggregator's Job."""

    spec: AggregatorJobSpec = AggregatorJobSpec()


RUN_POD: Final = Kind(group="", version="v1", kind="Pod", plural="pods", namespaced=True, struct=RunPod)
AGGREGATOR_JOB: Final = Kind(
    group="batch", version="v1", kind="Job", plural="jobs", namespaced=True, struct=AggregatorJob
)


def newest_pod(pods: Iterable[RunPod]) -> RunPod | None:
    """The pod that was made last."""
    return max(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name), default=None)


def log_container(pod: RunPod) -> str:
    """The container of the aggregator's pod whose log tells how far it is."""
    for container in pod.status.init_container_statuses:
        ended = container.state.terminated
        if container.name == WORKSPACE_CONTAINER and (ended is None or ended.exit_code):
            return WORKSPACE_CONTAINER
    return AGGREGATOR_CONTAINER


def start_failure(pod: RunPod) -> str:
    """Why the pod has not started, as Kubernetes says it; `""` where it has, or just takes its time."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.reason}: {condition.message}"
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in {"", "ContainerCreating", "PodInitializing"}:
            return f"container {container.name}: {waiting.reason}: {waiting.message}"
    return ""


def failed_container(pod: RunPod) -> ContainerStatus | None:
    """The pod's first container that ended badly."""
    every = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return next((c for c in every if c.state.terminated is not None and c.state.terminated.exit_code), None)


def agent_namespace(addon: ManagedClusterAddOn | None) -> str:
    """The spoke's namespace in which the agent and the collaborators are."""
    if addon is None:
        return DEFAULT_INSTALL_NAMESPACE
    return addon.status.namespace or addon.spec.install_namespace or DEFAULT_INSTALL_NAMESPACE


@dataclass(frozen=True, slots=True)
class CollaboratorReport:
    """What a site has said of its part in this attempt, by the feedback of its work; all of it is the site's word."""

    state: str = ""
    reason: str = ""
    message: str = ""
    restarts: int = 0
    exit_code: int = 0
    exit_reason: str = ""
    file: str = ""
    line: int = 0
    round: int = 0
    log: str = ""


def collaborator_report(work: ManifestWork, run: FederatedLearning) -> CollaboratorReport | None:
    """What the site says, or None where it has not said anything of this attempt yet."""
    results = work.status.resource_status.manifests
    result = next((r for r in results if r.resource_meta.kind == COLLABORATOR.kind), ManifestResult())
    if _text(result.value("runId")) != run_id(run, run.status.attempt):
        return None
    return CollaboratorReport(
        state=_text(result.value("state")),
        reason=_text(result.value("reason")),
        message=_text(result.value("message")),
        restarts=_number(result.value("restarts")),
        exit_code=_number(result.value("exitCode")),
        exit_reason=_text(result.value("exitReason")),
        file=_text(result.value("file")),
        line=_number(result.value("line")),
        round=_number(result.value("round")),
        log=_text(result.value("log")),
    )


def _text(value: FieldValue | None) -> str:
    return "" if value is None or value.string is None else value.string


def _number(value: FieldValue | None) -> int:
    return 0 if value is None or value.integer is None else value.integer


_APPROVING: Final = re.compile(
    r"kubectl annotate dataset ([a-z0-9][-a-z0-9.]{0,252}) --namespace ([a-z0-9][-a-z0-9]{0,62}) "
    + re.escape(APPROVAL_PREFIX)
    + r"([0-9a-f]{32})="
    + re.escape(APPROVED)
)


def approval_command(message: str) -> str:
    """The command in a site's message that approves the request there, or `""`.

    A person pastes it into a shell, and the message is the site's word: the command is written anew from its parts, so
    that nothing else comes along.
    """
    match = _APPROVING.search(message)
    if match is None:
        return ""
    dataset, namespace, request = match.groups()
    return f"kubectl annotate dataset {dataset} --namespace {namespace} {APPROVAL_PREFIX}{request}={APPROVED}"


def find_work(works: Sequence[ManifestWork], name: str, cluster: str) -> ManifestWork | None:
    """The work of that name for the cluster."""
    return next((w for w in works if (w.metadata.name, w.metadata.namespace) == (name, cluster)), None)
