"""The site's objects that a collaborator is made of, with the fields that the agent's report reads.

Sources: k8s.io/api `batch/v1` (JobStatus), `core/v1` (PodStatus, ContainerStatus), `networking/v1`.
"""

from federation.api.dataset import DatasetVolume
from federation.api.meta import Condition, Resource, Struct


class JobStatus(Struct, frozen=True):
    """How far the Job is."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[Condition, ...] = ()


class SiteJob(Resource, frozen=True):
    """A Job in the install namespace, ours or another's."""

    status: JobStatus = JobStatus()


class ContainerWaiting(Struct, frozen=True):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class ContainerRunning(Struct, frozen=True):
    """Since when a container runs."""

    started_at: str | None = None


class ContainerTerminated(Struct, frozen=True):
    """How a container ended; the message is what it left at its termination message path, or the end of its log."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: str | None = None


class ContainerState(Struct, frozen=True):
    """Exactly one is set."""

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
    """How far the pod is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class CollaboratorPodSpec(Struct, frozen=True):
    """What of the site the pod sees."""

    volumes: tuple[DatasetVolume, ...] = ()
    """A Dataset's is written as here; the others have none of these sources."""


class CollaboratorPod(Resource, frozen=True):
    """A pod of a collaborator's Job."""

    spec: CollaboratorPodSpec = CollaboratorPodSpec()
    status: CollaboratorPodStatus = CollaboratorPodStatus()


class SiteNetworkPolicy(Resource, frozen=True):
    """A NetworkPolicy of the install namespace; what it says is known by its digest annotation."""
