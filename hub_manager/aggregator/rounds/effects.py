"""Effects: what the round machine asks its driver to do.

The driver writes the records of a step to the journal, then performs its effects in order, each at least once. After a
crash in between, `Resumed` yields the effects again, so every effect must be idempotent.
"""

from dataclasses import dataclass
from typing import TypeAlias

from federation.model import ModelManifest
from hub_manager.aggregator.domain import CountedUpdate, Task
from hub_manager.aggregator.validation.refusal import UpdateRefusal


@dataclass(frozen=True, slots=True)
class SendWork:
    """Send the peer its work order, which replaces the previous one."""

    peer: str
    round: int
    tasks: tuple[Task, ...]
    digest: str
    """Of the global model that the round starts from."""
    deadline: float


@dataclass(frozen=True, slots=True)
class RequestInitialModel:
    """Ask the peer for the run's initial model."""

    peer: str
    deadline: float


@dataclass(frozen=True, slots=True)
class SendWait:
    """Ask the peer to wait."""

    peer: str
    round: int


@dataclass(frozen=True, slots=True)
class SendRunEnded:
    """Send the peer the end of the run, and end its stream."""

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
    """Store the spooled initial model as the checkpoint of `INITIAL_ROUND`; answered by `ModelStored`."""

    part: CountedUpdate
    manifest: ModelManifest


@dataclass(frozen=True, slots=True)
class FoldUpdates:
    """Fold the updates in this order and store the model; answered by `ModelStored` or `FoldDiverged`."""

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
    """Send `Timer` at this time, which replaces any earlier request."""

    at: float
    """Seconds since the epoch, on the clock of `now` in every step."""


@dataclass(frozen=True, slots=True)
class ReportStatus:
    """Report the state, which has changed in a way that is visible in the run's status."""


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
