"""What became of a federated run: the status of a FederatedLearning, and the vocabulary of its conditions and phases.

A phase is for the reader. It is derived from the conditions and never read as truth: whoever decides something reads
conditions, the recorded cohort and the objects themselves.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from federation.api.meta import Condition, Struct, is_true

SCHEDULED: Final = "Scheduled"
"""Condition: the run is valid, and enough clusters are selected for it."""
SERVER_READY: Final = "ServerReady"
"""Condition: the aggregator can be reached by its listeners."""
COHORT_READY: Final = "CohortReady"
"""Condition: enough of the run's sites take part."""
PROGRESSING: Final = "Progressing"
"""Condition: rounds are run."""
COMPLETE: Final = "Complete"
"""Condition: all rounds are done, and the model is in the store."""
FAILED: Final = "Failed"
"""Condition: the run has ended without a model; a change of the spec starts it anew."""
CONDITIONS: Final = (SCHEDULED, SERVER_READY, COHORT_READY, PROGRESSING, COMPLETE, FAILED)


class Phase(Enum):
    """A run in one word."""

    WAITING = "Waiting"
    """The run has not started: something is still missing, as the conditions tell."""
    RUNNING = "Running"
    """The cohort is fixed and the aggregator started."""
    COMPLETED = "Completed"
    """The model is in the store."""
    FAILED = "Failed"
    """The run ended without a model."""


def phase_of(conditions: Iterable[Condition], *, started: bool) -> Phase:
    """The phase of a run with these conditions; `started` tells whether its cohort is fixed."""
    known = tuple(conditions)
    if is_true(known, FAILED):
        return Phase.FAILED
    if is_true(known, COMPLETE):
        return Phase.COMPLETED
    return Phase.RUNNING if started else Phase.WAITING


class ListenerStatus(Struct, frozen=True):
    """Where a listener is reached, once it is."""

    name: str
    """The listener's name."""
    type: str = ""
    """Its type."""
    address: str = ""
    """An IP address or a DNS name."""
    port: int = 0
    """The port that sites dial."""


class ClusterStatus(Struct, frozen=True):
    """One selected cluster: the hub manager's fields first, then the aggregator's."""

    name: str
    """The ManagedCluster's name."""
    state: str = ""
    """Where the cluster stands, as the hub manager sees it."""
    reason: str = ""
    """Why, from the site; the hub manager's."""
    last_error: str = ""
    """The reason in words, from the site; of an exception the file and line. The hub manager's."""
    round: int = 0
    """The last round to which the site's update belongs; the aggregator's."""
    samples: int = 0
    """How many samples the site counted in that round; the aggregator's."""
    last_seen: str = ""
    """When the aggregator last heard of it, RFC 3339; the aggregator's."""


class ClusterState(Enum):
    """Where a cluster stands in a run."""

    PENDING = "Pending"
    """Asked, and no answer yet."""
    ACCEPTED = "Accepted"
    """The site takes part, and waits for the run to start."""
    REFUSED = "Refused"
    """The site does not take part; the reason is its own."""
    RUNNING = "Running"
    """The site's collaborator runs."""
    SUCCEEDED = "Succeeded"
    """The site's collaborator has ended well."""
    FAILED = "Failed"
    """The site's collaborator has failed, and is not tried again."""
    ENDED = "Ended"
    """The site took part until the run was over, and its collaborator was removed then."""
    LOST = "Lost"
    """A member that the hub no longer accepts, or doesn't know to have been chosen."""


class ClusterMetric(Struct, frozen=True):
    """A metric at one site."""

    name: str
    """The ManagedCluster's name."""
    value: float
    """What it measured."""


class Metric(Struct, frozen=True):
    """A metric of the last round; the aggregator's."""

    task: str
    """The task that measured it, as the plan names it."""
    name: str
    """As the task names it."""
    value: float
    """The sites' mean, weighted by their samples."""
    round: int = 0
    """The round in which it was measured; after the last one, that of the final evaluation."""
    clusters: tuple[ClusterMetric, ...] = ()
    """What each site measured."""


class ModelStatus(Struct, frozen=True):
    """The newest checkpoint, after the last round the model; the aggregator's."""

    location: str = ""
    """The file, relative to the volume's root."""
    digest: str = ""
    """Of the tensors' bytes, `blake3:` and hexadecimal digits."""
    size: int = 0
    """Bytes."""
    round: int = 0
    """The round after which it is the global model."""


class RunFailure(Struct, frozen=True):
    """Why the aggregator gave the run up; the aggregator's, written before it ends."""

    reason: str = ""
    """CamelCase; it becomes that of the condition Failed."""
    message: str = ""
    """The same in words."""
    cluster: str = ""
    """The site at fault, where it is one's."""


class Summary(Struct, frozen=True):
    """What `kubectl get` shows; the hub manager's."""

    round: str = ""
    """Of all rounds, `3/10`."""
    clusters: str = ""
    """Ready of selected, `2/3`."""
    metric: str = ""
    """The first metric of the last round, `accuracy 0.934`."""


class FederatedLearningStatus(Struct, frozen=True):
    """The run as it stands; from `round` on, the fields are the aggregator's."""

    phase: str = ""
    """The run in one word, from the conditions."""
    message: str = ""
    """The condition that matters most, in a sentence."""
    listeners: tuple[ListenerStatus, ...] = ()
    """Where the aggregator is reached."""
    conditions: tuple[Condition, ...] = ()
    """What holds of the run."""
    observed_generation: int = 0
    """The generation of the spec that the rest speaks of."""
    attempt: int = 0
    """Counts the times that a change of the spec has started the run anew; names what belongs together."""
    recipe: str = ""
    """Digest of the part of the spec that this attempt was started with."""
    cohort: tuple[str, ...] = ()
    """The clusters that take part, by name; fixed when the run starts. Empty: it has not."""
    clusters: tuple[ClusterStatus, ...] = ()
    """Every selected cluster; once the cohort is fixed its members, and with `NextRound` both."""
    summary: Summary = Summary()
    """What `kubectl get` shows."""
    start_time: str = ""
    """When this attempt began, waiting included; RFC 3339."""
    completion_time: str = ""
    """When it ended; RFC 3339."""
    round: int = 0
    """The round under way or done last, from 1."""
    rounds: int = 0
    """How many rounds there are."""
    progress_percent: int = 0
    """Rounds done, of all."""
    estimated_completion_time: str = ""
    """When it will have ended at the present pace; RFC 3339."""
    metrics: tuple[Metric, ...] = ()
    """What the last round's tasks measured."""
    model: ModelStatus | None = None
    """The newest checkpoint; after the last round the model."""
    failure: RunFailure | None = None
    """Why the aggregator gave the run up, written before it ends."""

    @property
    def clusters_of_hub(self) -> tuple[ClusterStatus, ...]:
        """The clusters as the hub manager has recorded them, without what the aggregator adds."""
        return tuple(
            ClusterStatus(name=c.name, state=c.state, reason=c.reason, last_error=c.last_error)
            for c in self.clusters
            if c.state
        )
