"""What is to be done about a run: the words in which the round engine answers its shell.

The shell writes the facts of a step to the journal, then performs its effects in order, each at least once: a process
that dies in between is told again by `Resumed`, so every effect can be done twice.
"""

from dataclasses import dataclass
from typing import TypeAlias

from federation.model import ModelManifest
from hub_manager.aggregator.domain import CountedUpdate, Task
from hub_manager.aggregator.validation.refusal import UpdateRefusal


@dataclass(frozen=True, slots=True)
class SendWork:
    """Push to the peer what is due now, in place of whatever was due before."""

    peer: str
    round: int
    tasks: tuple[Task, ...]
    digest: str
    """Of the global model that the round starts from."""
    deadline: float


@dataclass(frozen=True, slots=True)
class RequestInitialModel:
    """Push to the peer that the run's first model is its to give."""

    peer: str
    deadline: float


@dataclass(frozen=True, slots=True)
class SendWait:
    """Push to the peer that nothing is due."""

    peer: str
    round: int


@dataclass(frozen=True, slots=True)
class SendRunEnded:
    """Push to the peer that the run is over, and end its stream."""

    peer: str
    completed: bool
    message: str
    digest: str | None
    """Of the final model, of a completed run."""


@dataclass(frozen=True, slots=True)
class CutUpload:
    """End the peer's upload, if one runs, and drop what the spool has of it."""

    peer: str
    round: int
    refusal: UpdateRefusal


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End every stream of the peer."""

    peer: str


@dataclass(frozen=True, slots=True)
class StoreInitialModel:
    """Make the spooled first model the checkpoint of `SEED_ROUND`; `ModelStored` is the answer."""

    part: CountedUpdate
    manifest: ModelManifest


@dataclass(frozen=True, slots=True)
class FoldUpdates:
    """Fold the parts, in this order, into the model and store it; `ModelStored` or `FoldDiverged` is the answer."""

    round: int
    digest: str
    """Of the model that the round started from."""
    parts: tuple[CountedUpdate, ...]


@dataclass(frozen=True, slots=True)
class DropSpool:
    """Delete the updates of this round and of every one before it."""

    round: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Bring `Timer` at this time, in place of any time asked for before."""

    at: float
    """Seconds since the epoch, in the terms of the `now` that every step gets."""


@dataclass(frozen=True, slots=True)
class ReportStatus:
    """The state has changed in a way that a reader of the run's status would notice."""


Effect: TypeAlias = (
    SendWork
    | RequestInitialModel
    | SendWait
    | SendRunEnded
    | CutUpload
    | Disconnect
    | StoreInitialModel
    | FoldUpdates
    | DropSpool
    | SetTimer
    | ReportStatus
)
