"""What happens to a run: the words in which the shell tells the round engine what it saw.

Peers are named by their certificate before an event is made; a name in a message is not known here. What the engine
answers is in `effects`.
"""

from dataclasses import dataclass
from typing import TypeAlias

from federation.api.aggregator_run import Cohort
from federation.model import ModelManifest
from hub_manager.aggregator.domain import Announcement, MetricsReported, StoredModel


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
class Timer:
    """The time that `SetTimer` asked for may have come; fired early it is set again, fired twice it does no harm."""


@dataclass(frozen=True, slots=True)
class CohortReceived:
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
    | CohortReceived
    | ModelStored
    | FoldDiverged
)
