"""The rounds of a run as a pure state machine: an event and the time in, facts and effects out.

One step is: what the event means (`answers`), then whatever has fallen due, one fact after the other, until nothing
is (`due`), each with its effects (`effects_of`). What is due depends on the state and the time alone, so a step that
was cut short by the end of a process is completed by the next step of its successor, and a timer that comes twice or
not at the right moment does no harm.

Guarantees: a round closes with at least a quorum of updates, each checked and durable; the parts of a round are folded
in the order of their clusters' names; replaying the durable facts gives the state without its streams. Assumptions:
the shell writes the facts of a step to the journal, as one, before any of its effects. Caveat: `now` is the wall
clock, because waits outlive a process; a clock that jumps ends a wait early or late, and changes nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import assert_never

from hub_manager.aggregator.domain import JoinPolicy
from hub_manager.aggregator.rounds import records
from hub_manager.aggregator.rounds.decisions import decide
from hub_manager.aggregator.rounds.effect_rules import effects_of
from hub_manager.aggregator.rounds.effects import Effect, ReportStatus, SetTimer
from hub_manager.aggregator.rounds.inputs import Event, Resumed, Timer
from hub_manager.aggregator.rounds.records import DurableRecord, Record, RunFailureReason
from hub_manager.aggregator.rounds.state import Phase, State
from hub_manager.aggregator.rounds.transitions import apply
from hub_manager.aggregator.validation.refusal import UpdateRefusal


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one event led to."""

    state: State
    records: tuple[Record, ...] = ()
    effects: tuple[Effect, ...] = ()
    refusals: Mapping[str, UpdateRefusal] = field(default_factory=lambda: MappingProxyType({}))
    """Why an input of the peer was rejected; a rejected input changes nothing."""

    @property
    def durable_records(self) -> tuple[DurableRecord, ...]:
        """What the journal has to hold before the first effect is performed."""
        return tuple(record for record in self.records if records.is_durable(record))


def advance(state: State, event: Event, now: float) -> StepResult:
    """One step of the run.

    Args:
        state: As the step before left it, or as the journal's facts make it.
        event: What the shell saw.
        now: Seconds since the epoch.

    Raises:
        ImpossibleRecord: The engine contradicts itself; nothing of the step may be written or done.
    """
    decision = decide(state, event, now)
    step = _followed(StepResult(state), decision.records)
    step = replace(step, effects=(*step.effects, *decision.effects))
    while (record := due(step.state, now)) is not None:
        step = _followed(step, [record])
    effects: list[Effect] = [effect for effect in step.effects if not isinstance(effect, ReportStatus)]
    if len(effects) < len(step.effects):
        effects.append(ReportStatus())
    deadline = step.state.deadline
    # Timers run on the monotonic clock: one that comes while its deadline is ahead has seen the wall clock put back.
    if deadline is not None and (deadline != state.deadline or isinstance(event, Resumed | Timer)):
        effects.append(SetTimer(deadline))
    return replace(step, effects=tuple(effects), refusals=decision.refusals)


def _followed(step: StepResult, coming: Iterable[Record]) -> StepResult:
    for record in coming:
        after = apply(step.state, record)
        effects = effects_of(step.state, record, after)
        step = replace(step, state=after, records=(*step.records, record), effects=(*step.effects, *effects))
    return step


def due(state: State, now: float) -> DurableRecord | None:
    """The fact that state and time ask for by themselves, if any."""
    match state.phase:
        case Phase.GATHERING:
            return _gathered(state, now)
        case Phase.AWAITING_INITIAL_MODEL:
            return _initial_model_due(state, now)
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


def _gathered(state: State, now: float) -> DurableRecord | None:
    """QuorumLost: too few collaborators came in their time, or are left to come."""
    members, here = state.members, len(state.connected)
    waiting = now < _deadline(state)
    if len(members) < state.parameters.quorum and not _may_grow(state, now):
        return _quorum_lost(state, f"{len(members)} clusters are left in the run")
    if here < state.parameters.quorum:
        return None if waiting else _quorum_lost(state, f"{here} of {len(members)} collaborators came in time")
    if waiting and here < len(members):
        return None
    return _initial_model_requested(state, now) if state.model is None else _next_round(state, now)


def _initial_model_due(state: State, now: float) -> DurableRecord | None:
    """The next one is asked when time is up, or in place of one that is out as soon as another is there.

    Another may be on its way, so an aggregator that has just been started anew doesn't give up for want of one.
    """
    if now < _deadline(state):
        unasked = frozenset(state.members).difference(state.requested_from)
        hoped_for = bool(unasked) or _may_grow(state, now)
        if state.requested_from[-1] not in state.removed or (hoped_for and not state.connected & unasked):
            return None
    return _initial_model_requested(state, now)


def _initial_model_requested(state: State, now: float) -> DurableRecord:
    """NoFirstModel: nobody who is connected gave one; asked in the order of names, each for a round's time."""
    candidates = sorted(state.connected.difference(state.requested_from))
    if not candidates:
        message = f"no collaborator sent the initial model; asked: {', '.join(state.requested_from)}"
        return records.RunEnded(RunFailureReason.NO_FIRST_MODEL, message)
    return records.InitialModelRequested(candidates[0], now + state.parameters.round_seconds)


def _collected(state: State, now: float) -> DurableRecord | None:
    """QuorumLost: too few updates came in the round's time and its extension, or clusters are left to send them."""
    parameters, roster, counted = state.parameters, state.roster, len(state.parts)
    late = now >= _deadline(state)
    if counted >= parameters.quorum:
        whole = counted == len(roster)
        if late or state.overdue or (whole and all(state.measured(peer) for peer in roster)):
            return records.RoundClosed()
        if whole and not state.awaiting_metrics:
            return records.MetricsAwaited(min(_deadline(state), now + parameters.metrics_seconds))
    if len(roster) < parameters.quorum and (record := _refilled(state, now)) is not None:
        return record
    if not late:
        return None
    if state.overdue:
        return _quorum_lost(state, f"{counted} of {len(roster)} updates of round {state.round} came in time")
    return records.RoundExtended(now + parameters.extension_seconds)


def _refilled(state: State, now: float) -> DurableRecord | None:
    """A round that can't reach its quorum takes in whoever was admitted since it opened, or the run is lost."""
    if len(state.members) > len(state.roster):
        return records.RoundOpened(state.round, state.members, now + state.parameters.round_seconds)
    if _may_grow(state, now):
        return None
    return _quorum_lost(state, f"{len(state.roster)} clusters are left in round {state.round}")


def _next_round(state: State, now: float) -> DurableRecord:
    parameters = state.parameters
    coming = state.model_round + 1
    if coming <= parameters.rounds:
        return records.RoundOpened(coming, state.members, now + parameters.round_seconds)
    if parameters.evaluate and parameters.evaluation and state.members:
        return records.EvaluationOpened(state.members, now + parameters.round_seconds)
    return records.RunEnded(None, _COMPLETED)


def _may_grow(state: State, now: float) -> bool:
    """Whether clusters may still be admitted in place of those that were removed."""
    return state.parameters.join_policy is JoinPolicy.NEXT_ROUND and now < _deadline(state)


def _quorum_lost(state: State, what: str) -> DurableRecord:
    return records.RunEnded(RunFailureReason.QUORUM_LOST, f"{what}; {state.parameters.quorum} are needed")


def _deadline(state: State) -> float:
    """The end of the present wait; evolution holds that there is one in every phase that asks."""
    return state.deadline if state.deadline is not None else float("inf")
