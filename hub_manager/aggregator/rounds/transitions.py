"""How a run's state comes from its facts, and what can't be.

`evolve` applies one fact. Which fact may follow in which phase is the table `TRANSITIONS`, and what holds of every
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

from hub_manager.aggregator.domain import SEED_ROUND, Part, Terms
from hub_manager.aggregator.rounds import records
from hub_manager.aggregator.rounds.records import Fact
from hub_manager.aggregator.rounds.snapshot import restored
from hub_manager.aggregator.rounds.state import Phase, State, new_run

Move: TypeAlias = tuple[Phase, type[Fact]]
TRANSITIONS: Final[Mapping[Move, Phase]] = {
    (Phase.NEW, records.ModelKnown): Phase.NEW,
    (Phase.NEW, records.Snapshot): Phase.NEW,
    (Phase.NEW, records.Started): Phase.GATHERING,
    (Phase.GATHERING, records.WaitRenewed): Phase.GATHERING,
    (Phase.GATHERING, records.SeedAsked): Phase.SEEDING,
    (Phase.GATHERING, records.RoundOpened): Phase.COLLECTING,
    (Phase.GATHERING, records.EvaluationOpened): Phase.EVALUATING,
    (Phase.GATHERING, records.RunEnded): Phase.ENDED,
    (Phase.SEEDING, records.WaitRenewed): Phase.SEEDING,
    (Phase.SEEDING, records.SeedAsked): Phase.SEEDING,
    (Phase.SEEDING, records.SeedCounted): Phase.STORING,
    (Phase.SEEDING, records.RunEnded): Phase.ENDED,
    (Phase.COLLECTING, records.WaitRenewed): Phase.COLLECTING,
    (Phase.COLLECTING, records.RoundOpened): Phase.COLLECTING,
    (Phase.COLLECTING, records.UpdateCounted): Phase.COLLECTING,
    (Phase.COLLECTING, records.MetricsCounted): Phase.COLLECTING,
    (Phase.COLLECTING, records.MetricsAwaited): Phase.COLLECTING,
    (Phase.COLLECTING, records.RoundExtended): Phase.COLLECTING,
    (Phase.COLLECTING, records.RoundClosed): Phase.STORING,
    (Phase.COLLECTING, records.RolledBack): Phase.BETWEEN,
    (Phase.COLLECTING, records.RunEnded): Phase.ENDED,
    (Phase.STORING, records.ModelKnown): Phase.BETWEEN,
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
    records.CohortKnown,
    records.PeerTaken,
    records.PeerDropped,
    records.PeerHere,
    records.PeerGone,
    records.UploadOpened,
    records.UploadEnded,
)


class ImpossibleFact(Exception):
    """A fact that can't follow, or a state that can't be: a mistake of the engine, or a journal of something else."""


def replay(terms: Terms, recorded: Iterable[Fact]) -> State:
    """The state that the facts make, one after the other.

    Raises:
        ImpossibleFact: They are not those of a run on these terms.
    """
    state = new_run(terms)
    for fact in recorded:
        state = evolve(state, fact)
    return state


def evolve(state: State, fact: Fact) -> State:
    """The state after the fact.

    Raises:
        ImpossibleFact: The fact can't follow, or leads to a state that can't be.
    """
    if isinstance(fact, _ANY_TIME):
        phase = state.phase
    elif (state.phase, type(fact)) in TRANSITIONS:
        phase = TRANSITIONS[state.phase, type(fact)]
    else:
        raise ImpossibleFact(f"{type(fact).__name__} in phase {state.phase.value}")
    following = _changed(replace(state, phase=phase), fact)
    assert_sound(following)
    return following


def _changed(state: State, fact: Fact) -> State:  # noqa: C901, PLR0911, PLR0912 -- one case for each fact
    match fact:
        case records.Started(deadline=deadline) | records.RoundExtended(deadline=deadline):
            return replace(state, deadline=deadline, overdue=isinstance(fact, records.RoundExtended), settling=False)
        case records.WaitRenewed(deadline=deadline):
            return replace(state, deadline=deadline)
        case records.MetricsAwaited(deadline=deadline):
            return replace(state, deadline=deadline, settling=True)
        case records.Snapshot():
            return restored(state.terms, fact)
        case records.ModelKnown() | records.RolledBack():
            manifest = fact.manifest if isinstance(fact, records.ModelKnown) else None
            known = replace(state, model=fact.digest, model_round=fact.round, manifest=manifest or state.manifest)
            return replace(_idle(known), round=fact.round)
        case records.SeedAsked():
            return replace(_idle(state), asked=(*state.asked, fact.peer), deadline=fact.deadline)
        case records.SeedCounted():
            seed = {fact.peer: Part(fact.peer, fact.digest, 0)}
            return replace(_idle(state), manifest=fact.manifest, parts=MappingProxyType(seed))
        case records.RoundOpened() | records.EvaluationOpened():
            return _opened(state, fact)
        case records.UpdateCounted():
            part = Part(fact.peer, fact.digest, fact.weight)
            return replace(state, parts=MappingProxyType({**state.parts, fact.peer: part}))
        case records.MetricsCounted():
            return replace(state, metrics=MappingProxyType({**state.metrics, (fact.peer, fact.task): fact}))
        case records.RoundClosed():
            return _idle(state)
        case records.RunEnded():
            return replace(_idle(state), ended=fact)
        case records.CohortKnown():
            return replace(state, generation=fact.generation)
        case records.PeerTaken() | records.PeerDropped() | records.PeerHere() | records.PeerGone():
            return _peopled(state, fact)
        case records.UploadOpened():
            return replace(state, uploads=MappingProxyType({**state.uploads, fact.peer: fact.announcement}))
        case records.UploadEnded():
            return replace(state, uploads=_without(state.uploads, fact.peer))
    assert_never(fact)


def _idle(state: State) -> State:
    """Nothing is waited for and nothing is received."""
    return replace(state, deadline=None, settling=False, overdue=False, uploads=MappingProxyType({}))


def _emptied(state: State) -> State:
    """Nothing counts yet."""
    return replace(_idle(state), parts=MappingProxyType({}), metrics=MappingProxyType({}))


def _opened(state: State, fact: records.RoundOpened | records.EvaluationOpened) -> State:
    """The roster is waited for; what counts already in a round that is opened again goes on counting."""
    match fact:
        case records.RoundOpened():
            fresh = state if state.round == fact.round else _emptied(state)
            opened = replace(fresh, round=fact.round, roster=fact.roster, deadline=fact.deadline)
            return replace(opened, settling=False, overdue=False)
        case records.EvaluationOpened():
            opened = replace(_emptied(state), round=state.model_round + 1, roster=fact.roster)
            return replace(opened, deadline=fact.deadline)
    assert_never(fact)


def _peopled(
    state: State, fact: records.PeerTaken | records.PeerDropped | records.PeerHere | records.PeerGone
) -> State:
    peer = fact.peer
    match fact:
        case records.PeerTaken():
            cohort = tuple(sorted({*state.cohort, peer}))
            return replace(state, cohort=cohort, removed=state.removed - {peer})
        case records.PeerHere():
            declared = MappingProxyType({**state.declared, peer: fact.manifest})
            return replace(state, connected=state.connected | {peer}, declared=declared)
        case records.PeerGone():
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
    assert_never(fact)


def _without(entries: Mapping[str, Any], peer: str) -> Mapping[str, Any]:
    return MappingProxyType({key: value for key, value in entries.items() if key != peer})


_OPEN: Final = frozenset({Phase.COLLECTING, Phase.EVALUATING})
_WAITING: Final = frozenset({Phase.GATHERING, Phase.SEEDING, Phase.COLLECTING, Phase.EVALUATING})


def assert_sound(state: State) -> None:
    """Hold the state to what is true of every run.

    Raises:
        ImpossibleFact: Something is not; the message says what was broken.
    """
    broken = next((name for name, holds in _invariants(state) if not holds), None)
    if broken is not None:
        raise ImpossibleFact(f"in phase {state.phase.value}, round {state.round}: {broken}")


def _invariants(state: State) -> Iterable[tuple[str, bool]]:
    phase, members = state.phase, frozenset(state.members)
    seeding = state.model is None
    yield "names are sorted and unique", state.cohort == tuple(sorted(set(state.cohort)))
    yield "the roster is of the cohort", set(state.roster) <= set(state.cohort)
    yield "nobody who is out is waited for", phase not in _OPEN or set(state.roster) <= members
    yield "only members are connected or send", {*state.connected, *state.declared, *state.uploads} <= members
    yield "every wait has a deadline, and nothing else has", (state.deadline is not None) == (phase in _WAITING)
    yield "only an open round receives", not state.uploads or phase in {Phase.SEEDING, Phase.COLLECTING}
    yield "the end is known at the end", (state.ended is not None) == (phase is Phase.ENDED)
    yield "metrics are of the roster", {peer for peer, _ in state.metrics} <= set(state.roster)
    match phase:
        case Phase.COLLECTING:
            yield "a model to start from", not seeding and state.manifest is not None
            yield "the round follows the model", state.round == state.model_round + 1 <= state.terms.rounds
            yield "what counts is of members on the roster", set(state.parts) <= set(state.roster)
            yield "what counts is not received again", not set(state.parts) & set(state.uploads)
        case Phase.STORING if seeding:
            yield "one first model", state.round == SEED_ROUND and len(state.parts) == 1
        case Phase.STORING:
            yield "a quorum was there", state.terms.quorum <= len(state.parts)
            yield "the round follows the model", state.round == state.model_round + 1
        case Phase.BETWEEN | Phase.EVALUATING:
            yield "a model is known", not seeding and state.manifest is not None
        case Phase.ENDED if state.ended is not None and state.ended.failure is None:
            yield "completed after the last round", state.model_round >= state.terms.rounds
        case _:
            pass
