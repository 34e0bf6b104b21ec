"""The immutable state of a run, built from records by `transitions`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from federation.exported_plan import TaskKind
from federation.model import ModelManifest
from hub_manager.aggregator.domain import INITIAL_ROUND, Announcement, CountedUpdate, RunParameters, Task
from hub_manager.aggregator.rounds import records


class Phase(Enum):
    """Phase of a run between two records; its value is stored in snapshots."""

    NEW = "New"
    GATHERING = "Gathering"
    AWAITING_INITIAL_MODEL = "Seeding"
    COLLECTING = "Collecting"
    STORING = "Storing"
    BETWEEN = "Between"
    EVALUATING = "Evaluating"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class State:
    """State of a run. The fields up to `ended` are durable; the others are about streams."""

    parameters: RunParameters
    phase: Phase = Phase.NEW
    cohort: tuple[str, ...] = ()
    removed: frozenset[str] = frozenset()
    """Clusters of the cohort that have left the run; the hub may admit them again."""
    generation: int = 0
    """Generation of the applied cohort."""
    manifest: ModelManifest | None = None
    model: str | None = None
    """Digest of the global model."""
    model_round: int = INITIAL_ROUND
    """Round whose result the global model is."""
    round: int = INITIAL_ROUND
    """Current round; the final evaluation is numbered as one more than the last round."""
    roster: tuple[str, ...] = ()
    """Peers whose updates the round collects; while the round is open, all are members."""
    parts: Mapping[str, CountedUpdate] = field(default_factory=lambda: MappingProxyType({}))
    """Counted updates of the round, by peer."""
    metrics: Mapping[tuple[str, str], records.MetricsCounted] = field(default_factory=lambda: MappingProxyType({}))
    """Metrics of the current or just closed round, by peer and task."""
    requested_from: tuple[str, ...] = ()
    """Peers that were asked for the initial model, the latest last."""
    deadline: float | None = None
    awaiting_metrics: bool = False
    """Set while every update is counted and only metrics are missing."""
    overdue: bool = False
    """Set once the round has passed its deadline without a quorum."""
    ended: records.RunEnded | None = None

    connected: frozenset[str] = frozenset()
    declared: Mapping[str, ModelManifest] = field(default_factory=lambda: MappingProxyType({}))
    """Model layout that each peer declared when it connected; kept after it disconnects."""
    uploads: Mapping[str, Announcement] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def members(self) -> tuple[str, ...]:
        """The clusters in the run, sorted."""
        return tuple(peer for peer in self.cohort if peer not in self.removed)

    @property
    def is_final_evaluation(self) -> bool:
        """Whether `round` is the final evaluation, which is numbered as one more than the last round."""
        return self.round > self.parameters.rounds

    @property
    def reported_round(self) -> int:
        """Round to show to users, which stays the last one in the final evaluation."""
        return min(self.round, self.parameters.rounds)

    @property
    def due_tasks(self) -> tuple[Task, ...]:
        """The tasks of the current round."""
        return self.parameters.evaluation if self.phase is Phase.EVALUATING else self.parameters.tasks

    def measured(self, peer: str) -> bool:
        """Return whether the peer has reported every validation of the round."""
        validations = (task.name for task in self.due_tasks if task.kind is not TaskKind.TRAIN)
        return all((peer, name) in self.metrics for name in validations)


def new_run(parameters: RunParameters) -> State:
    """Return the state of a run that has not started."""
    return State(parameters, cohort=parameters.cohort)


def durable(state: State) -> State:
    """Return the state without its streams, as a replay of the journal restores it."""
    nothing = MappingProxyType[str, Any]({})
    return replace(state, connected=frozenset(), declared=nothing, uploads=nothing)
