"""The values that every part of the aggregator shares: tasks, metrics, updates and the run's parameters."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from federation.model import ModelManifest

INITIAL_ROUND: Final = 0
"""The round of the first model, where a collaborator gives it."""


class JoinPolicy(Enum):
    """What becomes of a cluster that is selected, or no longer, after the run has started."""

    FROZEN = "Frozen"
    NEXT_ROUND = "NextRound"


class TaskKind(Enum):
    """What a task of the user's plan does."""

    VALIDATE_AGGREGATED = "ValidateAggregated"
    TRAIN = "Train"
    VALIDATE_LOCAL = "ValidateLocal"


class Task(msgspec.Struct, frozen=True):
    """One task of the user's plan."""

    name: str
    kind: TaskKind


class Metric(msgspec.Struct, frozen=True):
    """One number that a task reports; finite once it has passed the checks."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a collaborator says of an update before its first byte."""

    round: int
    """The open round, or `INITIAL_ROUND` for the first model."""
    task: str
    """The task that made it; nothing is asked of it in the seed round."""
    size: int
    """Bytes."""
    digest: str
    """Of all bytes, as `federation.model.digest_of` writes it."""
    weight: int
    """Samples that the site trained on; 0 in the seed round."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that is in a checkpoint, durable and whole."""

    round: int
    """The round after which it is the global model."""
    digest: str
    manifest: ModelManifest


@dataclass(frozen=True, slots=True)
class MetricsReported:
    """A peer reports what a task measured."""

    peer: str
    round: int
    task: str
    samples: int
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class CountedUpdate:
    """One update that counts, as the fold needs it."""

    peer: str
    digest: str
    weight: int


MAX_WEIGHT: Final = 1 << 40
"""Where the run's resource sets no bound: sums over any cohort stay exact in a float64."""


@dataclass(frozen=True, slots=True)
class RunParameters:
    """What is settled before a run starts. Times are in seconds."""

    cohort: tuple[str, ...]
    """The clusters, sorted by name."""
    rounds: int
    quorum: int
    """Updates without which no round closes; at least 1."""
    tasks: tuple[Task, ...]
    """Of the user's plan, in order."""
    round_seconds: float
    gather_seconds: float
    extension_seconds: float
    """How long a round without a quorum may go on after its time."""
    metrics_seconds: float = 30.0
    """How long a round waits for metrics once every update counts."""
    max_weight: int = MAX_WEIGHT
    """Samples that one update may weigh by."""
    join_policy: JoinPolicy = JoinPolicy.FROZEN
    evaluate: bool = True
    """Whether the final model is validated by the cohort."""

    def __post_init__(self) -> None:
        """Hold the terms to what the rest relies on.

        Raises:
            ValueError: They contradict themselves; the message names the field.
        """
        if self.cohort != tuple(sorted(set(self.cohort))):
            raise ValueError("cohort: names are sorted and unique")
        if self.rounds < 1 or self.quorum < 1 or not 1 <= self.max_weight <= MAX_WEIGHT:
            raise ValueError(f"rounds, quorum, max_weight: at least 1, and the last at most {MAX_WEIGHT}")
        if len({task.name for task in self.tasks}) != len(self.tasks):
            raise ValueError("tasks: names are unique")

    @property
    def evaluation(self) -> tuple[Task, ...]:
        """The tasks that make sense of a model without training it."""
        return tuple(task for task in self.tasks if task.kind is TaskKind.VALIDATE_AGGREGATED)
