"""The objects of a collaborator on the spoke, with the fields that the agent's report reads.

Sources: k8s.io/api `batch/v1` (SiteJobStatus), `core/v1` (PodStatus, ContainerStatus), `networking/v1`.
"""

from federation.api.dataset import DatasetVolume
from federation.api.meta import Condition, Resource, Struct


class SiteJobStatus(Struct, frozen=True):
    """The status of a Job."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[Condition, ...] = ()


class SiteJob(Resource, frozen=True):
    """A Job in the install namespace, of the agent or of another owner."""

    status: SiteJobStatus = SiteJobStatus()


class ContainerWaiting(Struct, frozen=True):
    """The reason why a container is waiting."""

    reason: str = ""
    message: str = ""


class ContainerRunning(Struct, frozen=True):
    """The start time of a running container."""

    started_at: str | None = None


class ContainerTerminated(Struct, frozen=True):
    """The end of a container; the message is its termination message or the end of its log."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: str | None = None


class ContainerState(Struct, frozen=True):
    """The state of a container; exactly one field is set."""

    waiting: ContainerWaiting | None = None
    running: ContainerRunning | None = None
    terminated: ContainerTerminated | None = None


class ContainerStatus(Struct, frozen=True):
    """One container of a pod."""

    name: str = ""
    state: ContainerState = ContainerState()


class PodCondition(Struct, frozen=True):
    """One entry of a Pod's conditions, whose times may be null, unlike those of `metav1.Condition`."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class CollaboratorPodStatus(Struct, frozen=True):
    """The status of a collaborator's pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class CollaboratorPodSpec(Struct, frozen=True):
    """The volumes of a collaborator's pod."""

    volumes: tuple[DatasetVolume, ...] = ()
    """Only the Dataset's volume has one of these sources."""


class CollaboratorPod(Resource, frozen=True):
    """A pod of a collaborator's Job."""

    spec: CollaboratorPodSpec = CollaboratorPodSpec()
    status: CollaboratorPodStatus = CollaboratorPodStatus()


class SiteNetworkPolicy(Resource, frozen=True):
    """A NetworkPolicy of the install namespace; its digest annotation identifies its content."""
