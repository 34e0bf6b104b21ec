"""The rounds of a run as a pure state machine, which turns an event and the time into records and effects.

A step first decides the event's records (`decisions`). It then adds the records that are due, one after the other,
until none is left (`due`). `effects_of` derives the effects of each record. Because `due` depends on the state and the
time only, a restarted process completes an interrupted step with its next step. A repeated or mistimed timer has no
effect.

Guarantees: a round closes with at least a quorum of updates, each validated and durable. The updates of a round are
folded in the order of their clusters' names. Replaying the durable records restores the state without its streams.

Assumption: the driver writes the records of a step to the journal in one line, before it performs any effect.

Caveat: `now` is the wall clock, because a wait can outlive a process. A clock that jumps ends a wait early or late,
and changes nothing else.
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
    """The result of one event."""

    state: State
    records: tuple[Record, ...] = ()
    effects: tuple[Effect, ...] = ()
    refusals: Mapping[str, UpdateRefusal] = field(default_factory=lambda: MappingProxyType({}))
    """By peer, the reason for which its input was rejected; a rejected input changes nothing."""

    @property
    def durable_records(self) -> tuple[DurableRecord, ...]:
        """The records that the driver writes to the journal before it performs the first effect."""
        return tuple(record for record in self.records if records.is_durable(record))


def advance(state: State, event: Event, now: float) -> StepResult:
    """Advance the run by one step.

    Args:
        state: The state after the previous step, or after the replay of the journal.
        event: The event that the driver observed.
        now: Seconds since the epoch.

    Raises:
        ImpossibleRecord: The engine contradicts itself; the caller must discard the step.
    """
    decision = decide(state, event, now)
    step = _with_records(StepResult(state), decision.records)
    step = replace(step, effects=(*step.effects, *decision.effects))
    while (record := due(step.state, now)) is not None:
        step = _with_records(step, [record])
    effects: list[Effect] = [effect for effect in step.effects if not isinstance(effect, ReportStatus)]
    if len(effects) < len(step.effects):
        effects.append(ReportStatus())
    deadline = step.state.deadline
    # Timers run on the monotonic clock. One that fires before its deadline shows that the wall clock was set back.
    if deadline is not None and (deadline != state.deadline or isinstance(event, Resumed | Timer)):
        effects.append(SetTimer(deadline))
    return replace(step, effects=tuple(effects), refusals=decision.refusals)


def _with_records(step: StepResult, added: Iterable[Record]) -> StepResult:
    """Apply the records to the step's state, and add their effects."""
    for record in added:
        after = apply(step.state, record)
        effects = effects_of(step.state, record, after)
        step = replace(step, state=after, records=(*step.records, record), effects=(*step.effects, *effects))
    return step


def due(state: State, now: float) -> DurableRecord | None:
    """Return the record that is due in this state at this time, if any."""
    match state.phase:
        case Phase.GATHERING:
            return _gathering_due(state, now)
        case Phase.AWAITING_INITIAL_MODEL:
            return _initial_model_due(state, now)
        case Phase.COLLECTING:
            return _collecting_due(state, now)
        case Phase.BETWEEN:
            return _next_round(state, now)
        case Phase.EVALUATING:
            done = all(state.measured(peer) for peer in state.roster)
            return records.RunEnded(None, _COMPLETED) if done or now >= _deadline(state) else None
        case Phase.NEW | Phase.STORING | Phase.ENDED:
            return None
    assert_never(state.phase)


_COMPLETED = "all rounds are done"


def _gathering_due(state: State, now: float) -> DurableRecord | None:
    """Start the first round or request the initial model; fail with QuorumLost if too few collaborators connect."""
    members, connected = state.members, len(state.connected)
    waiting = now < _deadline(state)
    if len(members) < state.parameters.quorum and not _may_grow(state, now):
        return _quorum_lost(state, f"clusters remaining in the run: {len(members)}")
    if connected < state.parameters.quorum:
        return (
            None if waiting else _quorum_lost(state, f"{connected} of {len(members)} collaborators connected in time")
        )
    if waiting and connected < len(members):
        return None
    return _initial_model_requested(state, now) if state.model is None else _next_round(state, now)


def _initial_model_due(state: State, now: float) -> DurableRecord | None:
    """Ask the next collaborator after the deadline, or once the asked one is removed and another is connected.

    Right after a restart other collaborators may still be reconnecting, so their absence doesn't end the run yet.
    """
    if now < _deadline(state):
        unasked = frozenset(state.members).difference(state.requested_from)
        may_connect = bool(unasked) or _may_grow(state, now)
        if state.requested_from[-1] not in state.removed or (may_connect and not state.connected & unasked):
            return None
    return _initial_model_requested(state, now)


def _initial_model_requested(state: State, now: float) -> DurableRecord:
    """Ask the next connected collaborator by name, for a round's time; fail with NoFirstModel if none is left."""
    candidates = sorted(state.connected.difference(state.requested_from))
    if not candidates:
        message = f"no collaborator sent the initial model; asked: {', '.join(state.requested_from)}"
        return records.RunEnded(RunFailureReason.NO_INITIAL_MODEL, message)
    return records.InitialModelRequested(candidates[0], now + state.parameters.round_seconds)


def _collecting_due(state: State, now: float) -> DurableRecord | None:
    """Close, extend or refill the round; fail with QuorumLost if the quorum can't be reached in time."""
    parameters, roster, counted = state.parameters, state.roster, len(state.parts)
    late = now >= _deadline(state)
    if counted >= parameters.quorum:
        complete = counted == len(roster)
        if late or state.overdue or (complete and all(state.measured(peer) for peer in roster)):
            return records.RoundClosed()
        if complete and not state.awaiting_metrics:
            return records.MetricsAwaited(min(_deadline(state), now + parameters.metrics_seconds))
    if len(roster) < parameters.quorum and (record := _reopen_or_fail(state, now)) is not None:
        return record
    if not late:
        return None
    if state.overdue:
        return _quorum_lost(state, f"{counted} of {len(roster)} updates of round {state.round} arrived in time")
    return records.RoundExtended(now + parameters.extension_seconds)


def _reopen_or_fail(state: State, now: float) -> DurableRecord | None:
    """Reopen a round without enough clusters for those admitted since; without any, fail with QuorumLost."""
    if len(state.members) > len(state.roster):
        return records.RoundOpened(state.round, state.members, now + state.parameters.round_seconds)
    if _may_grow(state, now):
        return None
    return _quorum_lost(state, f"clusters remaining in round {state.round}: {len(state.roster)}")


def _next_round(state: State, now: float) -> DurableRecord:
    parameters = state.parameters
    next_round = state.model_round + 1
    if next_round <= parameters.rounds:
        return records.RoundOpened(next_round, state.members, now + parameters.round_seconds)
    if parameters.evaluate and parameters.evaluation and state.members:
        return records.EvaluationOpened(state.members, now + parameters.round_seconds)
    return records.RunEnded(None, _COMPLETED)


def _may_grow(state: State, now: float) -> bool:
    """Return whether clusters may still be admitted in place of removed ones."""
    return state.parameters.join_policy is JoinPolicy.NEXT_ROUND and now < _deadline(state)


def _quorum_lost(state: State, cause: str) -> DurableRecord:
    return records.RunEnded(RunFailureReason.QUORUM_LOST, f"{cause}; {state.parameters.quorum} are needed")


def _deadline(state: State) -> float:
    """Return the deadline of the current wait; `transitions` ensures that every phase with a wait has one."""
    return state.deadline if state.deadline is not None else float("inf")
