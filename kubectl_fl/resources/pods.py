"""The pods, Jobs and ManifestWorks of a run, with the fields that the commands read."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from federation.api.collaborator import APPROVAL_PREFIX, APPROVED
from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes.site_workloads import ContainerStatus, PodCondition
from federation.api.meta import Resource, Struct
from federation.api.ocm.addon import DEFAULT_INSTALL_NAMESPACE, ManagedClusterAddOn
from federation.api.ocm.work import FieldValue, ManifestResult, ManifestWork
from federation.api.run_names import AGGREGATOR_CONTAINER, WORKSPACE_CONTAINER, run_id
from federation.kube.kinds import COLLABORATOR
from federation.kube.resource import Kind


class RunPodSpec(Struct, frozen=True):
    """The node of a pod."""

    node_name: str = ""


class RunPodStatus(Struct, frozen=True):
    """The phase, conditions and containers of a pod."""

    phase: str = ""
    conditions: tuple[PodCondition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class RunPod(Resource, frozen=True):
    """A pod of the aggregator or of a collaborator."""

    spec: RunPodSpec = RunPodSpec()
    status: RunPodStatus = RunPodStatus()


class Container(Struct, frozen=True):
    """A container of a pod template."""

    name: str = ""
    image: str = ""


class PodTemplateSpec(Struct, frozen=True):
    """The fields that another pod must share with the aggregator's to read its volume."""

    containers: tuple[Container, ...] = ()
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    image_pull_secrets: tuple[dict[str, Any], ...] = ()
    security_context: dict[str, Any] = msgspec.field(default_factory=dict)


class PodTemplate(Struct, frozen=True):
    """The pod template of a Job."""

    spec: PodTemplateSpec = PodTemplateSpec()


class AggregatorJobSpec(Struct, frozen=True):
    """The spec of the aggregator's Job."""

    template: PodTemplate = PodTemplate()


class AggregatorJob(Resource, frozen=True):
    """The aggregator's Job."""

    spec: AggregatorJobSpec = AggregatorJobSpec()


RUN_POD: Final = Kind(group="", version="v1", kind="Pod", plural="pods", namespaced=True, struct=RunPod)
AGGREGATOR_JOB: Final = Kind(
    group="batch", version="v1", kind="Job", plural="jobs", namespaced=True, struct=AggregatorJob
)


def newest_pod(pods: Iterable[RunPod]) -> RunPod | None:
    """Return the most recently created pod."""
    return max(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name), default=None)


def log_container(pod: RunPod) -> str:
    """Return the container of the aggregator's pod whose log is current."""
    for container in pod.status.init_container_statuses:
        ended = container.state.terminated
        if container.name == WORKSPACE_CONTAINER and (ended is None or ended.exit_code):
            return WORKSPACE_CONTAINER
    return AGGREGATOR_CONTAINER


def start_failure(pod: RunPod) -> str:
    """Return Kubernetes' reason why the pod has not started, or `""`."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.reason}: {condition.message}"
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in {"", "ContainerCreating", "PodInitializing"}:
            return f"container {container.name}: {waiting.reason}: {waiting.message}"
    return ""


def failed_container(pod: RunPod) -> ContainerStatus | None:
    """Return the first failed container of the pod."""
    every = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return next((c for c in every if c.state.terminated is not None and c.state.terminated.exit_code), None)


def agent_namespace(addon: ManagedClusterAddOn | None) -> str:
    """Return the spoke's namespace of the agent and its collaborators."""
    if addon is None:
        return DEFAULT_INSTALL_NAMESPACE
    return addon.status.namespace or addon.spec.install_namespace or DEFAULT_INSTALL_NAMESPACE


@dataclass(frozen=True, slots=True)
class CollaboratorReport:
    """The collaborator's status in this attempt, from ManifestWork feedback; the spoke writes all of it."""

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
    """Return the collaborator's report, or None if it has none for this attempt."""
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
    """Return the approval command in a collaborator's message, or `""`.

    Users paste it into a shell and the spoke writes the message, so the command is rebuilt from its parsed parts and
    nothing else is copied.
    """
    match = _APPROVING.search(message)
    if match is None:
        return ""
    dataset, namespace, request = match.groups()
    return f"kubectl annotate dataset {dataset} --namespace {namespace} {APPROVAL_PREFIX}{request}={APPROVED}"


def find_work(works: Sequence[ManifestWork], name: str, cluster: str) -> ManifestWork | None:
    """Return the ManifestWork with that name for the cluster."""
    return next((w for w in works if (w.metadata.name, w.metadata.namespace) == (name, cluster)), None)
