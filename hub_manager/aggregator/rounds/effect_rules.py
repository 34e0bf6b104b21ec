"""What each fact asks the shell to do: the effects that follow from a decision, whatever event led to it.

Work is pushed by one rule, `work_for`, to a peer that connects and to all of them when something comes due, so that a
peer that was away finds what everybody else was told.
"""

from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from hub_manager.aggregator.domain import INITIAL_ROUND
from hub_manager.aggregator.rounds import records
from hub_manager.aggregator.rounds.effects import (
    CutUpload,
    Disconnect,
    DropSpool,
    Effect,
    FoldUpdates,
    ReportStatus,
    RequestInitialModel,
    SendRunEnded,
    SendWait,
    SendWork,
    StoreInitialModel,
)
from hub_manager.aggregator.rounds.records import Record
from hub_manager.aggregator.rounds.state import Phase, State
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason

_ONLY_REPORTED: Final = (
    records.Started,
    records.WaitRenewed,
    records.CohortApplied,
    records.PeerAdmitted,
    records.MetricsCounted,
    records.MetricsAwaited,
    records.RoundExtended,
    records.PeerDisconnected,
    records.UploadOpened,
    records.UploadEnded,
    records.Snapshot,
)
"""What the shell does nothing about, but for a report of what is durable."""


def effects_of(before: State, record: Record, after: State) -> Iterator[Effect]:  # noqa: C901 -- one case for each fact
    """The effects of one fact, in order.

    Args:
        before: The state that the fact came to.
        record: The decision.
        after: The state that it made.
    """
    yield from _uploads_cut(before, record)
    match record:
        case records.PeerConnected():
            yield work_for(after, record.peer)
        case records.InitialModelRequested() | records.EvaluationOpened():
            yield from _handed(after, after.connected)
        case records.UpdateCounted() | records.InitialModelCounted():
            yield from pending(after)
        case records.RoundOpened():
            reopened = before.phase is Phase.COLLECTING
            yield from _handed(after, after.connected.difference(before.roster if reopened else ()))
        case records.RoundClosed():
            yield from pending(after)
        case records.ModelRecorded():
            yield DropSpool(record.round)
        case records.RolledBack():
            yield DropSpool(before.round)
        case records.RunEnded():
            yield DropSpool(before.round)
            yield from _handed(after, after.connected)
        case records.PeerDropped():
            yield Disconnect(record.peer)
        case _:
            if not isinstance(record, _ONLY_REPORTED):
                assert_never(record)
    if records.is_durable(record):
        yield ReportStatus()


def pending(state: State) -> Iterator[Effect]:
    """The work of the aggregator itself that the state waits for; asked again by a process that takes over."""
    if state.phase is not Phase.STORING:
        return
    parts = tuple(state.parts[peer] for peer in sorted(state.parts))
    if state.round > INITIAL_ROUND and state.model is not None:
        yield FoldUpdates(state.round, state.model, parts)
    elif state.manifest is not None:
        yield StoreInitialModel(parts[0], state.manifest)


def work_for(state: State, peer: str) -> Effect:
    """What the peer should be doing now."""
    if state.ended is not None:
        return SendRunEnded(peer, state.ended.failure is None, state.ended.message, state.model)
    if state.deadline is not None and state.phase is Phase.AWAITING_INITIAL_MODEL and peer == state.requested_from[-1]:
        return RequestInitialModel(peer, state.deadline)
    open_round = state.deadline is not None and state.phase in {Phase.COLLECTING, Phase.EVALUATING}
    # Whose update counts is not asked again: a collaborator that has started anew would train another one.
    if open_round and state.model is not None and peer in state.roster and peer not in state.parts:
        assert state.deadline is not None  # noqa: S101 -- part of open_round
        return SendWork(peer, state.round, state.due_tasks, state.model, state.deadline)
    return SendWait(peer, state.round)


def _handed(state: State, peers: Iterable[str]) -> Iterator[Effect]:
    return (work_for(state, peer) for peer in sorted(peers))


def _uploads_cut(before: State, record: Record) -> Iterator[Effect]:
    """The uploads that the fact leaves without a use, each with what its peer is told."""
    match record:
        case records.InitialModelRequested():
            yield from _cut(
                before,
                before.uploads,
                UpdateRefusalReason.NOT_EXPECTED,
                "another cluster is asked for the initial model",
            )
        case records.RoundClosed():
            yield from _cut(before, before.uploads, UpdateRefusalReason.ROUND_CLOSED, f"round {before.round} is closed")
        case records.RolledBack():
            yield from _cut(
                before, before.uploads, UpdateRefusalReason.ROUND_CLOSED, f"round {record.round + 1} is repeated"
            )
        case records.RunEnded():
            yield from _cut(before, before.uploads, UpdateRefusalReason.RUN_OVER, "the run is over")
        case records.PeerDropped():
            yield from _cut(
                before, {record.peer} & before.uploads.keys(), UpdateRefusalReason.REMOVED, "the cluster was removed"
            )
        case _:
            pass


def _cut(state: State, peers: Iterable[str], reason: UpdateRefusalReason, message: str) -> Iterator[Effect]:
    return (CutUpload(peer, state.uploads[peer].round, UpdateRefusal(reason, message)) for peer in sorted(peers))
