"""The state of a run: a value, made of facts by `evolution` and read by `round` and by whoever reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from federation.model import ModelManifest
from hub_manager.aggregator.domain import INITIAL_ROUND, Announcement, CountedUpdate, RunParameters, Task, TaskKind
from hub_manager.aggregator.rounds import records


class Phase(Enum):
    """Where a run stands between two facts."""

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
    """A run at one moment. Everything up to `ended` is durable; the rest is about streams."""

    parameters: RunParameters
    phase: Phase = Phase.NEW
    cohort: tuple[str, ...] = ()
    removed: frozenset[str] = frozenset()
    """Of the cohort, those that the hub has taken out; they may come back."""
    generation: int = 0
    """Of the newest cohort that the hub has said."""
    manifest: ModelManifest | None = None
    model: str | None = None
    """The digest of the global model."""
    model_round: int = INITIAL_ROUND
    """The round after which it is."""
    round: int = INITIAL_ROUND
    """The round in work; after the last one, that of the evaluation."""
    roster: tuple[str, ...] = ()
    """Whose updates the round takes; while it is open, of members alone."""
    parts: Mapping[str, CountedUpdate] = field(default_factory=lambda: MappingProxyType({}))
    """The updates of the round that count, by peer."""
    metrics: Mapping[tuple[str, str], records.MetricsCounted] = field(default_factory=lambda: MappingProxyType({}))
    """Of the round in work or just done, by peer and task."""
    requested_from: tuple[str, ...] = ()
    """Who was asked for the first model, the latest last."""
    deadline: float | None = None
    awaiting_metrics: bool = False
    """Every update counts, only metrics are out."""
    overdue: bool = False
    """The round's time is up without a quorum."""
    ended: records.RunEnded | None = None

    connected: frozenset[str] = frozenset()
    declared: Mapping[str, ModelManifest] = field(default_factory=lambda: MappingProxyType({}))
    """What each peer that was connected once says its model is."""
    uploads: Mapping[str, Announcement] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def members(self) -> tuple[str, ...]:
        """The clusters in the run, sorted."""
        return tuple(peer for peer in self.cohort if peer not in self.removed)

    @property
    def is_final_evaluation(self) -> bool:
        """Whether `round` stands for the final evaluation, which is numbered as one more than the last round."""
        return self.round > self.parameters.rounds

    @property
    def reported_round(self) -> int:
        """The current or last round, which for users stays the last one in the final evaluation."""
        return min(self.round, self.parameters.rounds)

    @property
    def due_tasks(self) -> tuple[Task, ...]:
        """The tasks of the round in work."""
        return self.parameters.evaluation if self.phase is Phase.EVALUATING else self.parameters.tasks

    def measured(self, peer: str) -> bool:
        """Whether every validation of the round is in from the peer."""
        validations = (task.name for task in self.due_tasks if task.kind is not TaskKind.TRAIN)
        return all((peer, name) in self.metrics for name in validations)


def new_run(parameters: RunParameters) -> State:
    """A run of which nothing is known but its terms."""
    return State(parameters, cohort=parameters.cohort)


def durable(state: State) -> State:
    """What a process finds that replays the journal: the state without its streams."""
    nothing = MappingProxyType[str, Any]({})
    return replace(state, connected=frozenset(), declared=nothing, uploads=nothing)
