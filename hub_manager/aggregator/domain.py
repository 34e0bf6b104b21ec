"""Values that all parts of the aggregator share: tasks, metrics, updates and the run's parameters."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from federation.exported_plan import TaskKind
from federation.model import ModelManifest

INITIAL_ROUND: Final = 0
"""Round number of the run's initial model."""


class JoinPolicy(Enum):
    """Effect of a Placement that selects or deselects a cluster after the run has started."""

    FROZEN = "Frozen"
    NEXT_ROUND = "NextRound"


class Task(msgspec.Struct, frozen=True):
    """One task of the user's plan."""

    name: str
    kind: TaskKind


class Metric(msgspec.Struct, frozen=True):
    """One value that a task reports; finite after validation."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Announcement:
    """Announcement of an update, which a collaborator sends before its first byte."""

    round: int
    """The open round, or `INITIAL_ROUND` for the initial model."""
    task: str
    """The task that produced the update; not validated for the initial model."""
    size: int
    """In bytes."""
    digest: str
    """Digest of all bytes, in the format of `federation.model.digest_of`."""
    weight: int
    """Samples that the site trained on; 0 for the initial model."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in a durable, intact checkpoint."""

    round: int
    """The round whose result the model is."""
    digest: str
    manifest: ModelManifest


@dataclass(frozen=True, slots=True)
class MetricsReported:
    """Metrics of a task that a peer reports."""

    peer: str
    round: int
    task: str
    samples: int
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class CountedUpdate:
    """One counted update."""

    peer: str
    digest: str
    weight: int


MAX_WEIGHT: Final = 1 << 40
"""Default limit of an update's weight; sums over any cohort stay exact in a float64."""


@dataclass(frozen=True, slots=True)
class RunParameters:
    """Parameters of a run, fixed before it starts. Times are in seconds."""

    cohort: tuple[str, ...]
    """The clusters, sorted by name."""
    rounds: int
    quorum: int
    """Minimum number of updates to close a round; at least 1."""
    tasks: tuple[Task, ...]
    """Tasks of the user's plan, in order."""
    round_seconds: float
    gather_seconds: float
    extension_seconds: float
    """Time by which a round without a quorum is extended."""
    metrics_seconds: float = 30.0
    """Time for which a round waits for metrics once every update is counted."""
    max_weight: int = MAX_WEIGHT
    """Maximum weight of one update, in samples."""
    join_policy: JoinPolicy = JoinPolicy.FROZEN
    evaluate: bool = True
    """Whether the cohort validates the final model."""

    def __post_init__(self) -> None:
        """Validate the parameters.

        Raises:
            ValueError: A parameter is invalid; the message names it.
        """
        if self.cohort != tuple(sorted(set(self.cohort))):
            raise ValueError("cohort: names must be sorted and unique")
        if self.rounds < 1 or self.quorum < 1 or not 1 <= self.max_weight <= MAX_WEIGHT:
            raise ValueError(f"rounds, quorum and max_weight must be at least 1, and max_weight at most {MAX_WEIGHT}")
        if len({task.name for task in self.tasks}) != len(self.tasks):
            raise ValueError("tasks: names must be unique")

    @property
    def evaluation(self) -> tuple[Task, ...]:
        """The tasks that validate the global model without training it."""
        return tuple(task for task in self.tasks if task.kind is TaskKind.VALIDATE_AGGREGATED)
