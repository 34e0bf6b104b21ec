"""What happens to a run: the words in which the shell tells the round engine what it saw.

Peers are named by their certificate before an event is made; a name in a message is not known here. What the engine
answers is in `effects`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import msgspec

from federation.api.aggregator_run import Cohort
from federation.model import ModelManifest

SEED_ROUND: Final = 0
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
    """The open round, or `SEED_ROUND` for the first model."""
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
class Resumed:
    """The process has started and the journal is read; nobody is connected."""

    stored: StoredModel | None
    """The newest checkpoint that is whole; with a new journal, the first model, where one was brought."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A peer holds a stream for its work; a peer that comes back says so again."""

    peer: str
    manifest: ModelManifest
    """Of the peer's model, as `model.read_manifest` took it."""


@dataclass(frozen=True, slots=True)
class Left:
    """A peer's stream has ended; it may come back."""

    peer: str


@dataclass(frozen=True, slots=True)
class UpdateBegun:
    """A peer announces an update."""

    peer: str
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class UpdateComplete:
    """The announced update is whole, durable and sound."""

    peer: str
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class UpdateBroken:
    """The stream of an update ended, or what came was refused; not told of a stream that a newer one replaced."""

    peer: str
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class MetricsReported:
    """A peer reports what a task measured."""

    peer: str
    round: int
    task: str
    samples: int
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class Timer:
    """The time that `SetTimer` asked for may have come; fired early it is set again, fired twice it does no harm."""


@dataclass(frozen=True, slots=True)
class CohortTold:
    """The hub says who takes part; it may have said something newer already."""

    cohort: Cohort


@dataclass(frozen=True, slots=True)
class ModelStored:
    """What `StoreSeed` or `FoldUpdates` asked for is done."""

    round: int
    digest: str


@dataclass(frozen=True, slots=True)
class FoldDiverged:
    """The updates of the round, each finite, make a model that is not; another attempt would give the same."""

    round: int
    message: str


Event: TypeAlias = (
    Resumed
    | Joined
    | Left
    | UpdateBegun
    | UpdateComplete
    | UpdateBroken
    | MetricsReported
    | Timer
    | CohortTold
    | ModelStored
    | FoldDiverged
)
