"""Inputs of the round machine: events that the driver observed.

A peer's name comes from its certificate, never from a message. The machine answers with `effects`.
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
    """The newest intact checkpoint; with a new journal, the workspace's initial model if there is one."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A peer has opened its stream of work, for the first time or again."""

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
    """The announced update is complete, durable and valid."""

    peer: str
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class UpdateBroken:
    """An upload ended early, or its bytes were refused; not sent for a stream that a newer one replaced."""

    peer: str
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Timer:
    """The time of `SetTimer` may have come; an early timer is set again, and a second one has no effect."""


@dataclass(frozen=True, slots=True)
class CohortReceived:
    """The hub has sent a cohort, which may be older than the one applied."""

    cohort: Cohort


@dataclass(frozen=True, slots=True)
class ModelStored:
    """The model of `StoreInitialModel` or `FoldUpdates` is stored."""

    round: int
    digest: str


@dataclass(frozen=True, slots=True)
class FoldDiverged:
    """The aggregate of the round's finite updates is not finite; a retry would give the same."""

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
