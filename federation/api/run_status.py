"""Status of a FederatedLearning, and the vocabulary of its conditions and phases.

The phase is for people. It is derived from the conditions and never read back: decisions are based on the conditions,
the recorded cohort and the objects themselves.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Final

from federation.api.meta import Condition, Struct, is_true
from federation.api.schema import ATOMIC_LIST, Int64, map_list, one_of

SCHEDULED: Final = "Scheduled"
"""Condition: the run is valid, and enough clusters are selected for it."""
SERVER_READY: Final = "ServerReady"
"""Condition: the aggregator can be reached at its listeners."""
COHORT_READY: Final = "CohortReady"
"""Condition: enough clusters take part in the run."""
PROGRESSING: Final = "Progressing"
"""Condition: rounds are in progress."""
COMPLETE: Final = "Complete"
"""Condition: all rounds are complete, and the model is on the volume."""
FAILED: Final = "Failed"
"""Condition: the run has ended without a final model; a change of the spec restarts it."""
CONDITIONS: Final = (SCHEDULED, SERVER_READY, COHORT_READY, PROGRESSING, COMPLETE, FAILED)


class Phase(Enum):
    """State of a run in one word."""

    WAITING = "Waiting"
    """The run has not started; the conditions have the cause."""
    RUNNING = "Running"
    """The cohort is fixed and the aggregator has been started."""
    COMPLETED = "Completed"
    """The model is on the volume."""
    FAILED = "Failed"
    """The run ended without a final model."""


def phase_of(conditions: Iterable[Condition], *, started: bool) -> Phase:
    """Derive the phase of a run from its conditions; a run has started once its cohort is fixed."""
    known = tuple(conditions)
    if is_true(known, FAILED):
        return Phase.FAILED
    if is_true(known, COMPLETE):
        return Phase.COMPLETED
    return Phase.RUNNING if started else Phase.WAITING


class ListenerStatus(Struct, frozen=True):
    """Address of a listener, once it has one."""

    name: str
    """Name of the listener."""
    type: str = ""
    """Type of the listener."""
    address: str = ""
    """IP address or DNS name."""
    port: int = 0
    """Port to which collaborators connect."""


class ClusterState(Enum):
    """State of a cluster in a run."""

    PENDING = "Pending"
    """The cluster has not answered yet."""
    ACCEPTED = "Accepted"
    """The site takes part, and waits for the run to start."""
    REFUSED = "Refused"
    """The site does not take part; the reason is the site's."""
    RUNNING = "Running"
    """The cluster's collaborator is running."""
    SUCCEEDED = "Succeeded"
    """The cluster's collaborator completed."""
    FAILED = "Failed"
    """The cluster's collaborator failed and is not retried."""
    ENDED = "Ended"
    """The cluster took part until the run ended, and its collaborator was removed then."""
    LOST = "Lost"
    """A member that the hub no longer accepts, or that no PlacementDecision confirms."""


class ClusterStatus(Struct, frozen=True):
    """Status of one selected cluster: the hub manager's fields first, then the aggregator's."""

    name: str
    """Name of the ManagedCluster."""
    state: Annotated[str, one_of(*ClusterState)] = ""
    """State of the cluster, set by the hub manager."""
    reason: str = ""
    """Reason for the state as reported by the cluster, set by the hub manager."""
    last_error: str = ""
    """Message for the reason as reported by the cluster, with file and line of an exception; set by the hub manager."""
    round: int = 0
    """Round of the cluster's last update, set by the aggregator."""
    samples: Int64 = 0
    """Number of samples that the cluster reported for that round, set by the aggregator."""
    last_seen: str = ""
    """Time (RFC 3339) of the cluster's last call, set by the aggregator."""


class ClusterMetric(Struct, frozen=True):
    """Value of a metric at one cluster."""

    name: str
    """Name of the ManagedCluster."""
    value: float
    """Value that the cluster reported."""


class Metric(Struct, frozen=True):
    """A metric of the last round, set by the aggregator."""

    task: str
    """Task of the plan that reported the metric."""
    name: str
    """Name of the metric."""
    value: float
    """Mean over the clusters, weighted by their samples."""
    round: int = 0
    """Round in which the metric was measured. Absent for the final evaluation, after the last round."""
    clusters: tuple[ClusterMetric, ...] = ()
    """Value at each cluster."""


class ModelStatus(Struct, frozen=True):
    """The latest checkpoint, which after the last round is the final model; set by the aggregator."""

    location: str = ""
    """Path of the model's file, relative to the root of the volume."""
    digest: str = ""
    """BLAKE3 digest of the tensors' bytes, as `blake3:` and hexadecimal digits."""
    size: Int64 = 0
    """Size in bytes."""
    round: int = 0
    """Round that produced the model."""


class RunFailure(Struct, frozen=True):
    """Reason for which the aggregator ended the run; set by the aggregator before it exits."""

    reason: str = ""
    """Reason in CamelCase; it becomes the reason of the condition `Failed`."""
    message: str = ""
    """Description of the failure."""
    cluster: str = ""
    """Cluster that caused the failure, if one did."""


class Summary(Struct, frozen=True):
    """Values for the columns of `kubectl get`, set by the hub manager."""

    round: str = ""
    """Current round and number of rounds, such as `3/10`."""
    clusters: str = ""
    """Number of ready clusters and of selected clusters, such as `2/3`."""
    metric: str = ""
    """First metric of the last round, such as `accuracy 0.934`."""


class FederatedLearningStatus(Struct, frozen=True):
    """Status of the run; the hub manager sets the fields before `round`, the aggregator those from `round` on."""

    phase: Annotated[str, one_of(*Phase)] = ""
    """State of the run in one word, derived from the conditions."""
    message: str = ""
    """Message of the most important condition."""
    listeners: Annotated[tuple[ListenerStatus, ...], ATOMIC_LIST] = ()
    """Addresses of the aggregator."""
    conditions: Annotated[tuple[Condition, ...], map_list("type")] = ()
    """Conditions of the run."""
    observed_generation: Int64 = 0
    """Generation of the spec that the status describes."""
    attempt: int = 0
    """Number of the attempt, from 1; a change of the spec restarts the run as another attempt."""
    recipe: str = ""
    """Digest of the part of the spec with which this attempt was started."""
    cohort: Annotated[tuple[str, ...], ATOMIC_LIST] = ()
    """Names of the clusters that take part, fixed when the run starts. Empty before."""
    clusters: Annotated[tuple[ClusterStatus, ...], map_list("name")] = ()
    """Status of every selected cluster. Once the cohort is fixed, of its members, and with `NextRound` of both."""
    summary: Summary = Summary()
    """Values for the columns of `kubectl get`."""
    start_time: str = ""
    """Time (RFC 3339) at which this attempt began, before it waits for clusters."""
    completion_time: str = ""
    """Time (RFC 3339) at which the run ended."""
    round: int = 0
    """Current or last round, from 1."""
    rounds: int = 0
    """Number of rounds."""
    progress_percent: int = 0
    """Percentage of rounds that are complete."""
    estimated_completion_time: str = ""
    """Estimated time (RFC 3339) of completion, from the pace so far."""
    metrics: Annotated[tuple[Metric, ...], ATOMIC_LIST] = ()
    """Metrics of the last round."""
    model: ModelStatus | None = None
    """The latest checkpoint; after the last round, the final model."""
    failure: RunFailure | None = None
    """Reason for which the aggregator ended the run; set before it exits."""

    @property
    def clusters_of_hub(self) -> tuple[ClusterStatus, ...]:
        """The clusters with the hub manager's fields only."""
        return tuple(
            ClusterStatus(name=c.name, state=c.state, reason=c.reason, last_error=c.last_error)
            for c in self.clusters
            if c.state
        )
