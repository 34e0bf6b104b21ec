"""Effect rules: the effects that follow from each record, independent of the event that caused it.

`work_for` decides the work order of a peer. It serves both a peer that connects and all peers when new work is due, so
a peer that reconnects receives the same order as the others.
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
"""Records without effects, except for the status report of the durable ones."""


def effects_of(before: State, record: Record, after: State) -> Iterator[Effect]:  # noqa: C901 -- one case for each record
    """Yield the effects of one record, in order.

    Args:
        before: The state before the record.
        record: The decided record.
        after: The state after the record.
    """
    yield from _uploads_cut(before, record)
    match record:
        case records.PeerConnected():
            yield work_for(after, record.peer)
        case records.InitialModelRequested() | records.EvaluationOpened():
            yield from _orders_for(after, after.connected)
        case records.UpdateCounted() | records.InitialModelCounted():
            yield from pending(after)
        case records.RoundOpened():
            reopened = before.phase is Phase.COLLECTING
            yield from _orders_for(after, after.connected.difference(before.roster if reopened else ()))
        case records.RoundClosed():
            yield from pending(after)
        case records.ModelRecorded():
            yield DropSpool(record.round)
        case records.RolledBack():
            yield DropSpool(before.round)
        case records.RunEnded():
            yield DropSpool(before.round)
            yield from _orders_for(after, after.connected)
        case records.PeerDropped():
            yield Disconnect(record.peer)
        case _:
            if not isinstance(record, _ONLY_REPORTED):
                assert_never(record)
    if records.is_durable(record):
        yield ReportStatus()


def pending(state: State) -> Iterator[Effect]:
    """Yield the aggregator's own work that the state waits for; a restarted process performs it again."""
    if state.phase is not Phase.STORING:
        return
    parts = tuple(state.parts[peer] for peer in sorted(state.parts))
    if state.round > INITIAL_ROUND and state.model is not None:
        yield FoldUpdates(state.round, state.model, parts)
    elif state.manifest is not None:
        yield StoreInitialModel(parts[0], state.manifest)


def work_for(state: State, peer: str) -> Effect:
    """Return the peer's current work order."""
    if state.ended is not None:
        return SendRunEnded(peer, state.ended.failure is None, state.ended.message, state.model)
    if state.deadline is not None and state.phase is Phase.AWAITING_INITIAL_MODEL and peer == state.requested_from[-1]:
        return RequestInitialModel(peer, state.deadline)
    open_round = state.deadline is not None and state.phase in {Phase.COLLECTING, Phase.EVALUATING}
    # A peer whose update is counted gets no order: a restarted collaborator would train a second update.
    if open_round and state.model is not None and peer in state.roster and peer not in state.parts:
        assert state.deadline is not None  # noqa: S101 -- part of open_round
        return SendWork(peer, state.round, state.due_tasks, state.model, state.deadline)
    return SendWait(peer, state.round)


def _orders_for(state: State, peers: Iterable[str]) -> Iterator[Effect]:
    return (work_for(state, peer) for peer in sorted(peers))


def _uploads_cut(before: State, record: Record) -> Iterator[Effect]:
    """Yield the cuts of uploads that the record makes useless, each with the refusal for its peer."""
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
