"""Transitions: `apply` builds a run's state from its records and rejects impossible ones.

The table `TRANSITIONS` lists the records that may follow in each phase, and `assert_sound` checks the invariants of
every state. `apply` checks both for each record, so an error of `machine` or `decisions` ends the process before it
reaches the journal or a peer. The diagram shows the records, by their names in the journal, on the arrows:

    New -Started-> Gathering -SeedAsked-> Seeding -SeedCounted-> Storing -ModelKnown-> Between
                   Gathering -RoundOpened-> Collecting -RoundClosed-> Storing -ModelKnown-> Between
                   Between -RoundOpened-> Collecting, -EvaluationOpened-> Evaluating, -RunEnded-> Ended
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias, assert_never

from hub_manager.aggregator.domain import INITIAL_ROUND, CountedUpdate, RunParameters
from hub_manager.aggregator.rounds import records
from hub_manager.aggregator.rounds.records import Record
from hub_manager.aggregator.rounds.snapshot import restored
from hub_manager.aggregator.rounds.state import Phase, State, new_run

Move: TypeAlias = tuple[Phase, type[Record]]
TRANSITIONS: Final[Mapping[Move, Phase]] = {
    (Phase.NEW, records.ModelRecorded): Phase.NEW,
    (Phase.NEW, records.Snapshot): Phase.NEW,
    (Phase.NEW, records.Started): Phase.GATHERING,
    (Phase.GATHERING, records.WaitRenewed): Phase.GATHERING,
    (Phase.GATHERING, records.InitialModelRequested): Phase.AWAITING_INITIAL_MODEL,
    (Phase.GATHERING, records.RoundOpened): Phase.COLLECTING,
    (Phase.GATHERING, records.EvaluationOpened): Phase.EVALUATING,
    (Phase.GATHERING, records.RunEnded): Phase.ENDED,
    (Phase.AWAITING_INITIAL_MODEL, records.WaitRenewed): Phase.AWAITING_INITIAL_MODEL,
    (Phase.AWAITING_INITIAL_MODEL, records.InitialModelRequested): Phase.AWAITING_INITIAL_MODEL,
    (Phase.AWAITING_INITIAL_MODEL, records.InitialModelCounted): Phase.STORING,
    (Phase.AWAITING_INITIAL_MODEL, records.RunEnded): Phase.ENDED,
    (Phase.COLLECTING, records.WaitRenewed): Phase.COLLECTING,
    (Phase.COLLECTING, records.RoundOpened): Phase.COLLECTING,
    (Phase.COLLECTING, records.UpdateCounted): Phase.COLLECTING,
    (Phase.COLLECTING, records.MetricsCounted): Phase.COLLECTING,
    (Phase.COLLECTING, records.MetricsAwaited): Phase.COLLECTING,
    (Phase.COLLECTING, records.RoundExtended): Phase.COLLECTING,
    (Phase.COLLECTING, records.RoundClosed): Phase.STORING,
    (Phase.COLLECTING, records.RolledBack): Phase.BETWEEN,
    (Phase.COLLECTING, records.RunEnded): Phase.ENDED,
    (Phase.STORING, records.ModelRecorded): Phase.BETWEEN,
    (Phase.STORING, records.RolledBack): Phase.BETWEEN,
    (Phase.STORING, records.RunEnded): Phase.ENDED,
    (Phase.BETWEEN, records.RoundOpened): Phase.COLLECTING,
    (Phase.BETWEEN, records.EvaluationOpened): Phase.EVALUATING,
    (Phase.BETWEEN, records.RunEnded): Phase.ENDED,
    (Phase.EVALUATING, records.WaitRenewed): Phase.EVALUATING,
    (Phase.EVALUATING, records.MetricsCounted): Phase.EVALUATING,
    (Phase.EVALUATING, records.RolledBack): Phase.BETWEEN,
    (Phase.EVALUATING, records.RunEnded): Phase.ENDED,
}
"""The next phase for each phase and record; a snapshot contains its phase. Records in `_ANY_TIME` keep the phase."""

_ANY_TIME: Final = (
    records.CohortApplied,
    records.PeerAdmitted,
    records.PeerDropped,
    records.PeerConnected,
    records.PeerDisconnected,
    records.UploadOpened,
    records.UploadEnded,
)


class ImpossibleRecord(Exception):
    """Record that can't follow, or that leads to an impossible state: a bug of the engine, or a foreign journal."""


def replay(parameters: RunParameters, recorded: Iterable[Record]) -> State:
    """Build the state from all records of a run, in order.

    Raises:
        ImpossibleRecord: The records are not from a run with these parameters.
    """
    state = new_run(parameters)
    for record in recorded:
        state = apply(state, record)
    return state


def apply(state: State, record: Record) -> State:
    """Apply one record to the state.

    Raises:
        ImpossibleRecord: The record can't follow, or leads to an impossible state.
    """
    if isinstance(record, _ANY_TIME):
        phase = state.phase
    elif (state.phase, type(record)) in TRANSITIONS:
        phase = TRANSITIONS[state.phase, type(record)]
    else:
        raise ImpossibleRecord(f"{type(record).__name__} in phase {state.phase.value}")
    following = _apply_change(replace(state, phase=phase), record)
    assert_sound(following)
    return following


def _apply_change(state: State, record: Record) -> State:  # noqa: C901, PLR0911, PLR0912 -- one case for each record
    match record:
        case records.Started(deadline=deadline) | records.RoundExtended(deadline=deadline):
            return replace(
                state, deadline=deadline, overdue=isinstance(record, records.RoundExtended), awaiting_metrics=False
            )
        case records.WaitRenewed(deadline=deadline):
            return replace(state, deadline=deadline)
        case records.MetricsAwaited(deadline=deadline):
            return replace(state, deadline=deadline, awaiting_metrics=True)
        case records.Snapshot():
            return restored(state.parameters, record)
        case records.ModelRecorded() | records.RolledBack():
            manifest = record.manifest if isinstance(record, records.ModelRecorded) else None
            updated = replace(state, model=record.digest, model_round=record.round, manifest=manifest or state.manifest)
            return replace(_without_wait(updated), round=record.round)
        case records.InitialModelRequested():
            return replace(
                _without_wait(state), requested_from=(*state.requested_from, record.peer), deadline=record.deadline
            )
        case records.InitialModelCounted():
            parts = {record.peer: CountedUpdate(record.peer, record.digest, 0)}
            return replace(_without_wait(state), manifest=record.manifest, parts=MappingProxyType(parts))
        case records.RoundOpened() | records.EvaluationOpened():
            return _opened(state, record)
        case records.UpdateCounted():
            part = CountedUpdate(record.peer, record.digest, record.weight)
            return replace(state, parts=MappingProxyType({**state.parts, record.peer: part}))
        case records.MetricsCounted():
            return replace(state, metrics=MappingProxyType({**state.metrics, (record.peer, record.task): record}))
        case records.RoundClosed():
            return _without_wait(state)
        case records.RunEnded():
            return replace(_without_wait(state), ended=record)
        case records.CohortApplied():
            return replace(state, generation=record.generation)
        case records.PeerAdmitted() | records.PeerDropped() | records.PeerConnected() | records.PeerDisconnected():
            return _membership_changed(state, record)
        case records.UploadOpened():
            return replace(state, uploads=MappingProxyType({**state.uploads, record.peer: record.announcement}))
        case records.UploadEnded():
            return replace(state, uploads=_without(state.uploads, record.peer))
    assert_never(record)


def _without_wait(state: State) -> State:
    """Clear the wait and the uploads."""
    return replace(state, deadline=None, awaiting_metrics=False, overdue=False, uploads=MappingProxyType({}))


def _without_updates(state: State) -> State:
    """Clear the wait, the uploads, and everything counted in the round."""
    return replace(_without_wait(state), parts=MappingProxyType({}), metrics=MappingProxyType({}))


def _opened(state: State, record: records.RoundOpened | records.EvaluationOpened) -> State:
    """Open a round or the evaluation; a round that is opened again keeps its counted updates."""
    match record:
        case records.RoundOpened():
            base = state if state.round == record.round else _without_updates(state)
            opened = replace(base, round=record.round, roster=record.roster, deadline=record.deadline)
            return replace(opened, awaiting_metrics=False, overdue=False)
        case records.EvaluationOpened():
            opened = replace(_without_updates(state), round=state.model_round + 1, roster=record.roster)
            return replace(opened, deadline=record.deadline)
    assert_never(record)


def _membership_changed(
    state: State, record: records.PeerAdmitted | records.PeerDropped | records.PeerConnected | records.PeerDisconnected
) -> State:
    peer = record.peer
    match record:
        case records.PeerAdmitted():
            cohort = tuple(sorted({*state.cohort, peer}))
            return replace(state, cohort=cohort, removed=state.removed - {peer})
        case records.PeerConnected():
            declared = MappingProxyType({**state.declared, peer: record.manifest})
            return replace(state, connected=state.connected | {peer}, declared=declared)
        case records.PeerDisconnected():
            return replace(state, connected=state.connected - {peer})
        case records.PeerDropped():
            after = replace(state, removed=state.removed | {peer}, connected=state.connected - {peer})
            after = replace(after, declared=_without(state.declared, peer), uploads=_without(state.uploads, peer))
            if state.phase not in _OPEN:
                return after  # A closed round is not changed.
            roster = tuple(other for other in state.roster if other != peer)
            metrics = {key: counted for key, counted in state.metrics.items() if key[0] != peer}
            after = replace(after, roster=roster, parts=_without(state.parts, peer))
            return replace(after, metrics=MappingProxyType(metrics))
    assert_never(record)


def _without(entries: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
    return MappingProxyType({key: value for key, value in entries.items() if key != peer})


_OPEN: Final = frozenset({Phase.COLLECTING, Phase.EVALUATING})
_WAITING: Final = frozenset({Phase.GATHERING, Phase.AWAITING_INITIAL_MODEL, Phase.COLLECTING, Phase.EVALUATING})


def assert_sound(state: State) -> None:
    """Check the invariants that hold in every state of a run.

    Raises:
        ImpossibleRecord: An invariant is broken; the message names it.
    """
    broken = next((name for name, holds in _invariants(state) if not holds), None)
    if broken is not None:
        raise ImpossibleRecord(f"in phase {state.phase.value}, round {state.round}: {broken}")


def _invariants(state: State) -> Iterable[tuple[str, bool]]:
    phase, members = state.phase, frozenset(state.members)
    has_model = state.model is not None
    yield "the cohort is sorted and unique", state.cohort == tuple(sorted(set(state.cohort)))
    yield "the round collects from clusters of the cohort", set(state.roster) <= set(state.cohort)
    yield "an open round waits for members only", phase not in _OPEN or set(state.roster) <= members
    yield "only members connect or upload", {*state.connected, *state.declared, *state.uploads} <= members
    yield "exactly the waiting phases have a deadline", (state.deadline is not None) == (phase in _WAITING)
    yield (
        "only an open round receives uploads",
        not state.uploads or phase in {Phase.AWAITING_INITIAL_MODEL, Phase.COLLECTING},
    )
    yield "exactly an ended run has its outcome", (state.ended is not None) == (phase is Phase.ENDED)
    yield "metrics are from clusters of the round", {peer for peer, _ in state.metrics} <= set(state.roster)
    match phase:
        case Phase.COLLECTING:
            yield "a round starts from a model", has_model and state.manifest is not None
            yield "the round follows the model", state.round == state.model_round + 1 <= state.parameters.rounds
            yield "counted updates are from clusters of the round", set(state.parts) <= set(state.roster)
            yield "a counted update is not received again", not set(state.parts) & set(state.uploads)
        case Phase.STORING if not has_model:
            yield "one initial model is counted", state.round == INITIAL_ROUND and len(state.parts) == 1
        case Phase.STORING:
            yield "a closed round has a quorum", state.parameters.quorum <= len(state.parts)
            yield "the round follows the model", state.round == state.model_round + 1
        case Phase.BETWEEN | Phase.EVALUATING:
            yield "the global model is recorded", has_model and state.manifest is not None
        case Phase.ENDED if state.ended is not None and state.ended.failure is None:
            yield "a completed run has its last round", state.model_round >= state.parameters.rounds
        case _:
            pass
