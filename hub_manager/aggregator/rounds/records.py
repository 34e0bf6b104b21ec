"""What has been decided in a run: the facts that its state is made of.

A durable fact is written to the journal before any effect of its step, and replaying the journal is the only way in
which a state outlives a process. A passing fact is about streams, which no process outlives either: it is never
written, and peers tell it anew when they reconnect.
"""

from enum import Enum
from typing import TypeAlias, TypeGuard

import msgspec

from federation.model import ModelManifest
from hub_manager.aggregator.domain import Announcement, Metric


class RunFailureReason(Enum):
    """Why a run ended without its model; each beside the wait in `round` that yields it."""

    QUORUM_LOST = "QuorumLost"
    """Too few sites came, or sent an update within a round's time and its extension, or are left to do so."""
    NO_FIRST_MODEL = "NoFirstModel"
    """The workspace has no first model, and no site gave one."""
    DIVERGED = "Diverged"
    """The updates of a round, each finite, make a model that is not."""
    MODEL_LOST = "ModelLost"
    """No checkpoint on the volume is whole, or none is the one that the journal speaks of."""


class _Durable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="fact"):
    """Goes into the journal as JSON; a field is never renamed without reading its old name too."""


class Started(_Durable, frozen=True, tag="Started"):
    """The run waits for its collaborators until the deadline."""

    deadline: float


class WaitRenewed(_Durable, frozen=True, tag="WaitRenewed"):
    """The process was away, which is no collaborator's fault: what was waited for has its whole time again."""

    deadline: float


class ModelRecorded(_Durable, frozen=True, tag="ModelKnown"):
    """The global model after `round` is durable."""

    round: int
    digest: str
    manifest: ModelManifest | None = None
    """Said once, with the run's first model."""


class CohortApplied(_Durable, frozen=True, tag="CohortKnown"):
    """What the hub said in this cohort is taken up, by the facts beside this one; an older one counts no more."""

    generation: int


class PeerAdmitted(_Durable, frozen=True, tag="PeerTaken"):
    """A cluster joined the cohort after the start, or came back to it; the next round is its first."""

    peer: str


class PeerDropped(_Durable, frozen=True, tag="PeerDropped"):
    """A cluster is out, and off the open round's roster; its update of that round goes with it."""

    peer: str


class InitialModelRequested(_Durable, frozen=True, tag="SeedAsked"):
    """The first model is this peer's to give."""

    peer: str
    deadline: float


class InitialModelCounted(_Durable, frozen=True, tag="SeedCounted"):
    """The first model is whole in the spool."""

    peer: str
    digest: str
    manifest: ModelManifest


class RoundOpened(_Durable, frozen=True, tag="RoundOpened"):
    """Updates of these peers count; opened again with more peers, what counts already stays."""

    round: int
    roster: tuple[str, ...]
    deadline: float


class UpdateCounted(_Durable, frozen=True, tag="UpdateCounted"):
    """A peer's update of the open round is whole in the spool."""

    peer: str
    digest: str
    weight: int


class MetricsCounted(_Durable, frozen=True, tag="MetricsCounted"):
    """What a task measured at a peer in the open round."""

    peer: str
    task: str
    samples: int
    metrics: tuple[Metric, ...]


class MetricsAwaited(_Durable, frozen=True, tag="MetricsAwaited"):
    """Every update of the open round counts; metrics still out have until the deadline."""

    deadline: float


class RoundExtended(_Durable, frozen=True, tag="RoundExtended"):
    """The round's time is up without a quorum; it closes with the quorum, or fails at this deadline."""

    deadline: float


class RoundClosed(_Durable, frozen=True, tag="RoundClosed"):
    """What counts now is folded; nothing else is."""


class EvaluationOpened(_Durable, frozen=True, tag="EvaluationOpened"):
    """The final model is handed out to be validated."""

    roster: tuple[str, ...]
    deadline: float


class RolledBack(_Durable, frozen=True, tag="RolledBack"):
    """The newest checkpoint that is whole is an older one: its round's successor is done again."""

    round: int
    digest: str


class RunEnded(_Durable, frozen=True, tag="RunEnded"):
    """The run is over."""

    failure: RunFailureReason | None
    """None: completed."""
    message: str


class Snapshot(_Durable, frozen=True, tag="Snapshot"):
    """All facts so far in one, which stands in their place (`snapshot`); fields are those of `state.State`."""

    phase: str
    cohort: tuple[str, ...]
    removed: tuple[str, ...]
    generation: int
    manifest: ModelManifest | None
    model: str | None
    model_round: int
    round: int
    roster: tuple[str, ...]
    parts: tuple[UpdateCounted, ...]
    metrics: tuple[MetricsCounted, ...]
    requested_from: tuple[str, ...] = msgspec.field(name="asked")
    deadline: float | None
    awaiting_metrics: bool = msgspec.field(name="settling")
    overdue: bool
    ended: RunEnded | None


class PeerConnected(msgspec.Struct, frozen=True):
    """A peer holds a stream, and this is its model."""

    peer: str
    manifest: ModelManifest


class PeerDisconnected(msgspec.Struct, frozen=True):
    """A peer holds no stream."""

    peer: str


class UploadOpened(msgspec.Struct, frozen=True):
    """A peer may send this update."""

    peer: str
    announcement: Announcement


class UploadEnded(msgspec.Struct, frozen=True):
    """A peer sends nothing now."""

    peer: str


DurableRecord: TypeAlias = (
    Started
    | WaitRenewed
    | ModelRecorded
    | CohortApplied
    | PeerAdmitted
    | PeerDropped
    | InitialModelRequested
    | InitialModelCounted
    | RoundOpened
    | UpdateCounted
    | MetricsCounted
    | MetricsAwaited
    | RoundExtended
    | RoundClosed
    | EvaluationOpened
    | RolledBack
    | RunEnded
    | Snapshot
)
TransientRecord: TypeAlias = PeerConnected | PeerDisconnected | UploadOpened | UploadEnded
Record: TypeAlias = DurableRecord | TransientRecord


def is_durable(record: Record) -> TypeGuard[DurableRecord]:
    """Whether the fact belongs into the journal."""
    return isinstance(record, _Durable)
