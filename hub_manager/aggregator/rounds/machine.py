"""The rounds of a run as a pure state machine: an event and the time in, facts and effects out.

One step is: what the event means (`answers`), then whatever has fallen due, one fact after the other, until nothing
is (`due`), each with its effects (`consequences`). What is due depends on the state and the time alone, so a step that
was cut short by the end of a process is completed by the next step of its successor, and a timer that comes twice or
not at the right moment does no harm.

Guarantees: a round closes with at least a quorum of updates, each checked and durable; the parts of a round are folded
in the order of their clusters' names; replaying the durable facts gives the state without its streams. Assumptions:
the shell writes the facts of a step to the journal, as one, before any of its effects. Caveat: `now` is the wall
clock, because waits outlive a process; a clock that jumps ends a wait early or late, and changes nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from hub_manager.aggregator.domain import JoinPolicy
from hub_manager.aggregator.rounds import records
from hub_manager.aggregator.rounds.decisions import answer
from hub_manager.aggregator.rounds.effect_rules import consequences
from hub_manager.aggregator.rounds.effects import Effect, Report, SetTimer
from hub_manager.aggregator.rounds.inputs import Event, Resumed, Timer
from hub_manager.aggregator.rounds.records import DurableFact, Fact, Failure
from hub_manager.aggregator.rounds.state import Phase, State
from hub_manager.aggregator.rounds.transitions import evolve


@dataclass(frozen=True, slots=True)
class Step:
    """What one event led to."""

    state: State
    facts: tuple[Fact, ...] = ()
    effects: tuple[Effect, ...] = ()

    @property
    def to_record(self) -> tuple[DurableFact, ...]:
        """What the journal has to hold before the first effect is performed."""
        return tuple(fact for fact in self.facts if records.is_durable(fact))


def advance(state: State, event: Event, now: float) -> Step:
    """One step of the run.

    Args:
        state: As the step before left it, or as the journal's facts make it.
        event: What the shell saw.
        now: Seconds since the epoch.

    Raises:
        ImpossibleFact: The engine contradicts itself; nothing of the step may be written or done.
    """
    answered = answer(state, event, now)
    step = _followed(Step(state), answered.facts)
    step = replace(step, effects=(*step.effects, *answered.effects))
    while (fact := due(step.state, now)) is not None:
        step = _followed(step, [fact])
    effects: list[Effect] = [effect for effect in step.effects if not isinstance(effect, Report)]
    if len(effects) < len(step.effects):
        effects.append(Report())
    deadline = step.state.deadline
    # Timers run on the monotonic clock: one that comes while its deadline is ahead has seen the wall clock put back.
    if deadline is not None and (deadline != state.deadline or isinstance(event, Resumed | Timer)):
        effects.append(SetTimer(deadline))
    return replace(step, effects=tuple(effects))


def _followed(step: Step, coming: Iterable[Fact]) -> Step:
    for fact in coming:
        after = evolve(step.state, fact)
        effects = consequences(step.state, fact, after)
        step = Step(after, (*step.facts, fact), (*step.effects, *effects))
    return step


def due(state: State, now: float) -> DurableFact | None:
    """The fact that state and time ask for by themselves, if any."""
    match state.phase:
        case Phase.GATHERING:
            return _gathered(state, now)
        case Phase.SEEDING:
            return _seeded(state, now)
        case Phase.COLLECTING:
            return _collected(state, now)
        case Phase.BETWEEN:
            return _next_round(state, now)
        case Phase.EVALUATING:
            done = all(state.measured(peer) for peer in state.roster)
            return records.RunEnded(None, _COMPLETED) if done or now >= _deadline(state) else None
        case Phase.NEW | Phase.STORING | Phase.ENDED:
            return None
    assert_never(state.phase)


_COMPLETED = "all rounds are done"


def _gathered(state: State, now: float) -> DurableFact | None:
    """QuorumLost: too few collaborators came in their time, or are left to come."""
    members, here = state.members, len(state.connected)
    waiting = now < _deadline(state)
    if len(members) < state.terms.quorum and not _may_grow(state, now):
        return _quorum_lost(state, f"{len(members)} clusters are left in the run")
    if here < state.terms.quorum:
        return None if waiting else _quorum_lost(state, f"{here} of {len(members)} collaborators came in time")
    if waiting and here < len(members):
        return None
    return _asked_for_model(state, now) if state.model is None else _next_round(state, now)


def _seeded(state: State, now: float) -> DurableFact | None:
    """The next one is asked when time is up, or in place of one that is out as soon as another is there.

    Another may be on its way, so an aggregator that has just been started anew doesn't give up for want of one.
    """
    if now < _deadline(state):
        unasked = frozenset(state.members).difference(state.asked)
        hoped_for = bool(unasked) or _may_grow(state, now)
        if state.asked[-1] not in state.removed or (hoped_for and not state.connected & unasked):
            return None
    return _asked_for_model(state, now)


def _asked_for_model(state: State, now: float) -> DurableFact:
    """NoFirstModel: nobody who is connected gave one; asked in the order of names, each for a round's time."""
    candidates = sorted(state.connected.difference(state.asked))
    if not candidates:
        message = f"no collaborator gave the first model; asked were {', '.join(state.asked)}"
        return records.RunEnded(Failure.NO_FIRST_MODEL, message)
    return records.SeedAsked(candidates[0], now + state.terms.round_seconds)


def _collected(state: State, now: float) -> DurableFact | None:
    """QuorumLost: too few updates came in the round's time and its extension, or clusters are left to send them."""
    terms, roster, counted = state.terms, state.roster, len(state.parts)
    late = now >= _deadline(state)
    if counted >= terms.quorum:
        whole = counted == len(roster)
        if late or state.overdue or (whole and all(state.measured(peer) for peer in roster)):
            return records.RoundClosed()
        if whole and not state.settling:
            return records.MetricsAwaited(min(_deadline(state), now + terms.metrics_seconds))
    if len(roster) < terms.quorum and (fact := _refilled(state, now)) is not None:
        return fact
    if not late:
        return None
    if state.overdue:
        return _quorum_lost(state, f"{counted} of {len(roster)} updates of round {state.round} came in time")
    return records.RoundExtended(now + terms.extension_seconds)


def _refilled(state: State, now: float) -> DurableFact | None:
    """A round that can't reach its quorum takes in whoever was admitted since it opened, or the run is lost."""
    if len(state.members) > len(state.roster):
        return records.RoundOpened(state.round, state.members, now + state.terms.round_seconds)
    if _may_grow(state, now):
        return None
    return _quorum_lost(state, f"{len(state.roster)} clusters are left in round {state.round}")


def _next_round(state: State, now: float) -> DurableFact:
    terms = state.terms
    coming = state.model_round + 1
    if coming <= terms.rounds:
        return records.RoundOpened(coming, state.members, now + terms.round_seconds)
    if terms.evaluate and terms.evaluation and state.members:
        return records.EvaluationOpened(state.members, now + terms.round_seconds)
    return records.RunEnded(None, _COMPLETED)


def _may_grow(state: State, now: float) -> bool:
    """Whether clusters may still be admitted in place of those that were removed."""
    return state.terms.join_policy is JoinPolicy.NEXT_ROUND and now < _deadline(state)


def _quorum_lost(state: State, what: str) -> DurableFact:
    return records.RunEnded(Failure.QUORUM_LOST, f"{what}; {state.terms.quorum} are needed")


def _deadline(state: State) -> float:
    """The end of the present wait; evolution holds that there is one in every phase that asks."""
    return state.deadline if state.deadline is not None else float("inf")
