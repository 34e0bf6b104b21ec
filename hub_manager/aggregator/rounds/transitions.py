"""How a run's state comes from its facts, and what can't be.

`apply` applies one fact. Which fact may follow in which phase is the table `TRANSITIONS`, and what holds of every
state is `assert_sound`; both are asked after each fact, so a mistake of `round` ends the process before it reaches the
journal or a peer. The picture, with facts on the arrows:

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
"""Where each fact leads from each phase; a snapshot says itself where. A fact about who is in or connected may come at
any time and leads nowhere."""

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
    """A fact that can't follow, or a state that can't be: a mistake of the engine, or a journal of something else."""


def replay(parameters: RunParameters, recorded: Iterable[Record]) -> State:
    """The state that the facts make, one after the other.

    Raises:
        ImpossibleRecord: They are not those of a run on these terms.
    """
    state = new_run(parameters)
    for record in recorded:
        state = apply(state, record)
    return state


def apply(state: State, record: Record) -> State:
    """The state after the fact.

    Raises:
        ImpossibleRecord: The fact can't follow, or leads to a state that can't be.
    """
    if isinstance(record, _ANY_TIME):
        phase = state.phase
    elif (state.phase, type(record)) in TRANSITIONS:
        phase = TRANSITIONS[state.phase, type(record)]
    else:
        raise ImpossibleRecord(f"{type(record).__name__} in phase {state.phase.value}")
    following = _changed(replace(state, phase=phase), record)
    assert_sound(following)
    return following


def _changed(state: State, record: Record) -> State:  # noqa: C901, PLR0911, PLR0912 -- one case for each fact
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
            known = replace(state, model=record.digest, model_round=record.round, manifest=manifest or state.manifest)
            return replace(_idle(known), round=record.round)
        case records.InitialModelRequested():
            return replace(_idle(state), requested_from=(*state.requested_from, record.peer), deadline=record.deadline)
        case records.InitialModelCounted():
            seed = {record.peer: CountedUpdate(record.peer, record.digest, 0)}
            return replace(_idle(state), manifest=record.manifest, parts=MappingProxyType(seed))
        case records.RoundOpened() | records.EvaluationOpened():
            return _opened(state, record)
        case records.UpdateCounted():
            part = CountedUpdate(record.peer, record.digest, record.weight)
            return replace(state, parts=MappingProxyType({**state.parts, record.peer: part}))
        case records.MetricsCounted():
            return replace(state, metrics=MappingProxyType({**state.metrics, (record.peer, record.task): record}))
        case records.RoundClosed():
            return _idle(state)
        case records.RunEnded():
            return replace(_idle(state), ended=record)
        case records.CohortApplied():
            return replace(state, generation=record.generation)
        case records.PeerAdmitted() | records.PeerDropped() | records.PeerConnected() | records.PeerDisconnected():
            return _peopled(state, record)
        case records.UploadOpened():
            return replace(state, uploads=MappingProxyType({**state.uploads, record.peer: record.announcement}))
        case records.UploadEnded():
            return replace(state, uploads=_without(state.uploads, record.peer))
    assert_never(record)


def _idle(state: State) -> State:
    """Nothing is waited for and nothing is received."""
    return replace(state, deadline=None, awaiting_metrics=False, overdue=False, uploads=MappingProxyType({}))


def _emptied(state: State) -> State:
    """Nothing counts yet."""
    return replace(_idle(state), parts=MappingProxyType({}), metrics=MappingProxyType({}))


def _opened(state: State, record: records.RoundOpened | records.EvaluationOpened) -> State:
    """The roster is waited for; what counts already in a round that is opened again goes on counting."""
    match record:
        case records.RoundOpened():
            fresh = state if state.round == record.round else _emptied(state)
            opened = replace(fresh, round=record.round, roster=record.roster, deadline=record.deadline)
            return replace(opened, awaiting_metrics=False, overdue=False)
        case records.EvaluationOpened():
            opened = replace(_emptied(state), round=state.model_round + 1, roster=record.roster)
            return replace(opened, deadline=record.deadline)
    assert_never(record)


def _peopled(
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
            gone = replace(state, removed=state.removed | {peer}, connected=state.connected - {peer})
            gone = replace(gone, declared=_without(state.declared, peer), uploads=_without(state.uploads, peer))
            if state.phase not in _OPEN:
                return gone  # What is closed stays as it was closed.
            roster = tuple(other for other in state.roster if other != peer)
            kept = {key: counted for key, counted in state.metrics.items() if key[0] != peer}
            gone = replace(gone, roster=roster, parts=_without(state.parts, peer))
            return replace(gone, metrics=MappingProxyType(kept))
    assert_never(record)


def _without(entries: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
    return MappingProxyType({key: value for key, value in entries.items() if key != peer})


_OPEN: Final = frozenset({Phase.COLLECTING, Phase.EVALUATING})
_WAITING: Final = frozenset({Phase.GATHERING, Phase.AWAITING_INITIAL_MODEL, Phase.COLLECTING, Phase.EVALUATING})


def assert_sound(state: State) -> None:
    """Hold the state to what is true of every run.

    Raises:
        ImpossibleRecord: Something is not; the message says what was broken.
    """
    broken = next((name for name, holds in _invariants(state) if not holds), None)
    if broken is not None:
        raise ImpossibleRecord(f"in phase {state.phase.value}, round {state.round}: {broken}")


def _invariants(state: State) -> Iterable[tuple[str, bool]]:
    phase, members = state.phase, frozenset(state.members)
    seeding = state.model is None
    yield "names are sorted and unique", state.cohort == tuple(sorted(set(state.cohort)))
    yield "the roster is of the cohort", set(state.roster) <= set(state.cohort)
    yield "nobody who is out is waited for", phase not in _OPEN or set(state.roster) <= members
    yield "only members are connected or send", {*state.connected, *state.declared, *state.uploads} <= members
    yield "every wait has a deadline, and nothing else has", (state.deadline is not None) == (phase in _WAITING)
    yield "only an open round receives", not state.uploads or phase in {Phase.AWAITING_INITIAL_MODEL, Phase.COLLECTING}
    yield "the end is known at the end", (state.ended is not None) == (phase is Phase.ENDED)
    yield "metrics are of the roster", {peer for peer, _ in state.metrics} <= set(state.roster)
    match phase:
        case Phase.COLLECTING:
            yield "a model to start from", not seeding and state.manifest is not None
            yield "the round follows the model", state.round == state.model_round + 1 <= state.parameters.rounds
            yield "what counts is of members on the roster", set(state.parts) <= set(state.roster)
            yield "what counts is not received again", not set(state.parts) & set(state.uploads)
        case Phase.STORING if seeding:
            yield "one first model", state.round == INITIAL_ROUND and len(state.parts) == 1
        case Phase.STORING:
            yield "a quorum was there", state.parameters.quorum <= len(state.parts)
            yield "the round follows the model", state.round == state.model_round + 1
        case Phase.BETWEEN | Phase.EVALUATING:
            yield "a model is known", not seeding and state.manifest is not None
        case Phase.ENDED if state.ended is not None and state.ended.failure is None:
            yield "completed after the last round", state.model_round >= state.parameters.rounds
        case _:
            pass
