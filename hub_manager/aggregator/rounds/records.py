"""Records of a run's decisions, from which its state is built.

A durable record is written to the journal before any effect of its step. A restarted process rebuilds the state by
replaying the journal. A transient record is about streams, which end with the process: it is never written, and peers
cause it again when they reconnect.
"""

from enum import Enum
from typing import TypeAlias, TypeGuard

import msgspec

from federation.model import ModelManifest
from hub_manager.aggregator.domain import Announcement, Metric


class RunFailureReason(Enum):
    """Reason for which a run ended without a final model."""

    QUORUM_LOST = "QuorumLost"
    """Too few clusters joined, sent an update before the extended deadline, or are left in the run."""
    NO_INITIAL_MODEL = "NoFirstModel"
    """The workspace has no initial model, and no collaborator sent one."""
    DIVERGED = "Diverged"
    """The aggregate of a round's finite updates is not finite."""
    MODEL_LOST = "ModelLost"
    """The volume has no intact checkpoint, or only ones that differ from the journal."""


class _Durable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="fact"):
    """A record that the journal stores as JSON; a renamed field keeps its old name there."""


class Started(_Durable, frozen=True, tag="Started"):
    """The run waits for its collaborators until the deadline."""

    deadline: float


class WaitRenewed(_Durable, frozen=True, tag="WaitRenewed"):
    """The process restarted, so the current wait gets its full time again."""

    deadline: float


class ModelRecorded(_Durable, frozen=True, tag="ModelKnown"):
    """The global model after `round` is durable."""

    round: int
    digest: str
    manifest: ModelManifest | None = None
    """Set once, with the run's initial model."""


class CohortApplied(_Durable, frozen=True, tag="CohortKnown"):
    """The cohort of this generation is applied; older generations are ignored."""

    generation: int


class PeerAdmitted(_Durable, frozen=True, tag="PeerTaken"):
    """A cluster joined the cohort after the start, or returned to it; it takes part from the next round."""

    peer: str


class PeerDropped(_Durable, frozen=True, tag="PeerDropped"):
    """A cluster has left the run; its update of the open round is discarded."""

    peer: str


class InitialModelRequested(_Durable, frozen=True, tag="SeedAsked"):
    """This peer is asked for the initial model."""

    peer: str
    deadline: float


class InitialModelCounted(_Durable, frozen=True, tag="SeedCounted"):
    """The initial model is complete in the spool."""

    peer: str
    digest: str
    manifest: ModelManifest


class RoundOpened(_Durable, frozen=True, tag="RoundOpened"):
    """The round collects updates of these peers; if it is opened again with more peers, counted updates stay."""

    round: int
    roster: tuple[str, ...]
    deadline: float


class UpdateCounted(_Durable, frozen=True, tag="UpdateCounted"):
    """A peer's update of the open round is complete in the spool."""

    peer: str
    digest: str
    weight: int


class MetricsCounted(_Durable, frozen=True, tag="MetricsCounted"):
    """Metrics of a task at a peer in the open round."""

    peer: str
    task: str
    samples: int
    metrics: tuple[Metric, ...]


class MetricsAwaited(_Durable, frozen=True, tag="MetricsAwaited"):
    """Every update of the open round is counted; missing metrics are awaited until the deadline."""

    deadline: float


class RoundExtended(_Durable, frozen=True, tag="RoundExtended"):
    """The round reached its deadline without a quorum; it closes with the quorum, or fails at this deadline."""

    deadline: float


class RoundClosed(_Durable, frozen=True, tag="RoundClosed"):
    """The round is closed; the counted updates are folded."""


class EvaluationOpened(_Durable, frozen=True, tag="EvaluationOpened"):
    """The final evaluation has started."""

    roster: tuple[str, ...]
    deadline: float


class RolledBack(_Durable, frozen=True, tag="RolledBack"):
    """The newest intact checkpoint is an older one; the round after it is repeated."""

    round: int
    digest: str


class RunEnded(_Durable, frozen=True, tag="RunEnded"):
    """The run is over."""

    failure: RunFailureReason | None
    """None: completed."""
    message: str


class Snapshot(_Durable, frozen=True, tag="Snapshot"):
    """One record that replaces all earlier ones; its fields are those of `state.State`."""

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
    """A peer has opened its stream of work, with this model."""

    peer: str
    manifest: ModelManifest


class PeerDisconnected(msgspec.Struct, frozen=True):
    """A peer's stream of work has ended."""

    peer: str


class UploadOpened(msgspec.Struct, frozen=True):
    """A peer's upload of this update is accepted."""

    peer: str
    announcement: Announcement


class UploadEnded(msgspec.Struct, frozen=True):
    """A peer's upload has ended."""

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
    """Return whether the journal stores the record."""
    return isinstance(record, _Durable)
