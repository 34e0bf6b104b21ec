"""A state as one fact, for a journal that begins anew: what a state holds of its past is all that it needs of it."""

from types import MappingProxyType
from typing import Final

from hub_manager.aggregator.domain import Part, Terms
from hub_manager.aggregator.rounds.records import DurableFact, ModelKnown, Snapshot, UpdateCounted
from hub_manager.aggregator.rounds.state import Phase, State

SNAPSHOT_ROUNDS: Final = 64
"""Rounds between two snapshots: what a process reads that takes over is at most twice as many."""


def is_due(recorded: tuple[DurableFact, ...], rounds: int) -> bool:
    """Whether the facts of a step are of one after which the journal begins anew: every so many rounds."""
    return any(isinstance(fact, ModelKnown) and fact.round > 0 and fact.round % rounds == 0 for fact in recorded)


def snapshot_of(state: State) -> Snapshot:
    """What is durable of the state: from a new run of the same terms, the fact leads to it."""
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
        asked=state.asked,
        deadline=state.deadline,
        settling=state.settling,
        overdue=state.overdue,
        ended=state.ended,
    )


def restored(terms: Terms, snapshot: Snapshot) -> State:
    """The state that the snapshot was made of, without its streams.

    Raises:
        ValueError: There is no such phase.
    """
    parts = {part.peer: Part(part.peer, part.digest, part.weight) for part in snapshot.parts}
    return State(
        terms=terms,
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
        asked=snapshot.asked,
        deadline=snapshot.deadline,
        settling=snapshot.settling,
        overdue=snapshot.overdue,
        ended=snapshot.ended,
    )
