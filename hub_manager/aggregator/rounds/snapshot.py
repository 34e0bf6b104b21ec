"""Snapshots: a state as one record, which replaces all earlier records when the journal is compacted."""

from types import MappingProxyType
from typing import Final

from hub_manager.aggregator.domain import CountedUpdate, RunParameters
from hub_manager.aggregator.rounds.records import DurableRecord, ModelRecorded, Snapshot, UpdateCounted
from hub_manager.aggregator.rounds.state import Phase, State

SNAPSHOT_ROUNDS: Final = 64
"""Rounds between two snapshots. A restarted process replays at most twice as many rounds."""


def is_due(recorded: tuple[DurableRecord, ...], rounds: int) -> bool:
    """Return whether the journal is compacted after a step with these records, which is every `rounds` rounds."""
    return any(
        isinstance(record, ModelRecorded) and record.round > 0 and record.round % rounds == 0 for record in recorded
    )


def snapshot_of(state: State) -> Snapshot:
    """Build a snapshot of the durable part of the state."""
    return Snapshot(
        phase=state.phase.value,
        cohort=state.cohort,
        removed=tuple(sorted(state.removed)),
        generation=state.generation,
        manifest=state.manifest,
        model=state.model,
        model_round=state.model_round,
        round=state.round,
        roster=state.roster,
        parts=tuple(UpdateCounted(part.peer, part.digest, part.weight) for part in state.parts.values()),
        metrics=tuple(state.metrics.values()),
        requested_from=state.requested_from,
        deadline=state.deadline,
        awaiting_metrics=state.awaiting_metrics,
        overdue=state.overdue,
        ended=state.ended,
    )


def restored(parameters: RunParameters, snapshot: Snapshot) -> State:
    """Restore the state from its snapshot, without its streams.

    Raises:
        ValueError: The phase of the snapshot is unknown.
    """
    parts = {part.peer: CountedUpdate(part.peer, part.digest, part.weight) for part in snapshot.parts}
    return State(
        parameters=parameters,
        phase=Phase(snapshot.phase),
        cohort=snapshot.cohort,
        removed=frozenset(snapshot.removed),
        generation=snapshot.generation,
        manifest=snapshot.manifest,
        model=snapshot.model,
        model_round=snapshot.model_round,
        round=snapshot.round,
        roster=snapshot.roster,
        parts=MappingProxyType(parts),
        metrics=MappingProxyType({(counted.peer, counted.task): counted for counted in snapshot.metrics}),
        requested_from=snapshot.requested_from,
        deadline=snapshot.deadline,
        awaiting_metrics=snapshot.awaiting_metrics,
        overdue=snapshot.overdue,
        ended=snapshot.ended,
    )
