"""Decisions on events: the records that an event adds to a run, or the refusal that its peer receives.

This module validates a peer's event against the state: the peer must be a member, be asked for the input, and name the
open round. The `validation` package validates the input itself. A refusal changes nothing, so a peer may resend.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import assert_never

from federation.api.aggregator_run import Cohort
from federation.model import ModelManifest
from hub_manager.aggregator import domain
from hub_manager.aggregator.domain import INITIAL_ROUND, Announcement, JoinPolicy
from hub_manager.aggregator.rounds import inputs, records
from hub_manager.aggregator.rounds.effect_rules import pending
from hub_manager.aggregator.rounds.effects import Disconnect, Effect
from hub_manager.aggregator.rounds.inputs import Event
from hub_manager.aggregator.rounds.records import (
    CohortApplied,
    DurableRecord,
    PeerAdmitted,
    PeerDropped,
    Record,
    RunFailureReason,
)
from hub_manager.aggregator.rounds.state import Phase, State
from hub_manager.aggregator.validation.manifest import AnnouncedTensor
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason
from hub_manager.aggregator.validation.update import announcement_refusal, layout_refusal, metrics_refusal


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision on one event, without the records that become due because of it."""

    records: Sequence[Record] = ()
    effects: Sequence[Effect] = ()
    """Effects to perform after those of the records."""
    refusals: Mapping[str, UpdateRefusal] = field(default_factory=lambda: MappingProxyType({}))
    """By peer, the reason for which its input was rejected."""


NOTHING = Decision()


def decide(state: State, event: Event, now: float) -> Decision:  # noqa: C901, PLR0911 -- a case for each event
    """Decide one event.

    Args:
        state: The current state of the run.
        event: The event that the driver observed.
        now: Seconds since the epoch.
    """
    match event:
        case inputs.Resumed():
            return _resumed(state, event, now)
        case inputs.Joined():
            return _joined(state, event)
        case inputs.Left():
            return Decision([records.PeerDisconnected(event.peer)]) if event.peer in state.connected else NOTHING
        case inputs.UpdateBegun():
            return _upload_begun(state, event)
        case inputs.UpdateComplete():
            return _upload_complete(state, event)
        case inputs.UpdateBroken():
            current = state.uploads.get(event.peer) == event.announcement
            return Decision([records.UploadEnded(event.peer)]) if current else NOTHING
        case domain.MetricsReported():
            return _metrics_reported(state, event)
        case inputs.CohortReceived():
            return Decision(cohort_records(state, event.cohort)) if state.phase is not Phase.ENDED else NOTHING
        case inputs.ModelStored():
            if state.phase is not Phase.STORING or event.round != state.round:
                return NOTHING
            manifest = state.manifest if event.round == INITIAL_ROUND else None
            return Decision([records.ModelRecorded(event.round, event.digest, manifest)])
        case inputs.FoldDiverged():
            current = state.phase is Phase.STORING and event.round == state.round
            return Decision([records.RunEnded(RunFailureReason.DIVERGED, event.message)]) if current else NOTHING
        case inputs.Timer():
            return NOTHING
    assert_never(event)


def _resumed(state: State, event: inputs.Resumed, now: float) -> Decision:
    stored = event.stored
    if state.phase is Phase.NEW:
        initial = [records.ModelRecorded(stored.round, stored.digest, stored.manifest)] if stored is not None else []
        return Decision([*initial, records.Started(now + state.parameters.gather_seconds)])
    if state.phase is Phase.ENDED or state.model is None:
        return Decision(_renew_wait(state, now), list(pending(state)))
    if stored is None or stored.manifest != state.manifest:
        return _model_lost("the volume has no intact checkpoint of the run")
    if stored.round < state.model_round and state.phase is not Phase.GATHERING:
        return Decision([records.RolledBack(stored.round, stored.digest)])
    # The process may have crashed between checkpoint and journal. The round is then folded again, to the same bits.
    ahead = state.phase is Phase.STORING and stored.round == state.round
    if not ahead and (stored.round, stored.digest) != (state.model_round, state.model):
        return _model_lost(f"the newest intact checkpoint, of round {stored.round}, differs from the journal")
    return Decision(_renew_wait(state, now), list(pending(state)))


def _model_lost(message: str) -> Decision:
    """Fail with ModelLost: the volume lacks the model that the journal names, so the run can't continue from it."""
    return Decision([records.RunEnded(RunFailureReason.MODEL_LOST, message)])


def _renew_wait(state: State, now: float) -> list[Record]:
    if state.deadline is None:
        return []
    parameters = state.parameters
    if state.phase is Phase.GATHERING:
        return [records.WaitRenewed(now + parameters.gather_seconds)]
    if state.overdue:
        return [records.WaitRenewed(now + parameters.extension_seconds)]
    return [
        records.WaitRenewed(now + (parameters.metrics_seconds if state.awaiting_metrics else parameters.round_seconds))
    ]


def _joined(state: State, event: inputs.Joined) -> Decision:
    peer = event.peer
    refusal = _membership(state, peer)
    if refusal is None and state.manifest is not None:
        refusal = _model_refusal(event.manifest, state.manifest)
    if refusal is not None:
        return Decision(effects=[Disconnect(peer)], refusals={peer: refusal})
    return Decision([records.PeerConnected(peer, event.manifest)])


def _membership(state: State, peer: str) -> UpdateRefusal | None:
    """Reject a cluster that the hub has not selected (NotInCohort) or has removed (Removed)."""
    if peer in state.removed:
        return UpdateRefusal(UpdateRefusalReason.REMOVED, f"cluster {peer} was removed from the run")
    if peer not in state.cohort:
        return UpdateRefusal(UpdateRefusalReason.NOT_IN_COHORT, f"cluster {peer} is not in the run's cohort")
    return None


def update_refusal(state: State, peer: str, announced: Announcement) -> UpdateRefusal | None:
    """Return the reason for which the peer may not send this update now, or None; its bytes are validated later."""
    declared = state.declared.get(peer)
    refusal = _membership(state, peer) or _timing(state, peer, announced)
    if refusal is not None:
        return refusal
    if declared is None:
        return UpdateRefusal(
            UpdateRefusalReason.NOT_JOINED, f"cluster {peer} has not joined since the aggregator started"
        )
    manifest = state.manifest or declared
    return _model_refusal(declared, manifest) or announcement_refusal(announced, state.parameters, manifest)


def _model_refusal(declared: ModelManifest, manifest: ModelManifest) -> UpdateRefusal | None:
    if declared == manifest:
        return None
    tensors = [AnnouncedTensor(tensor.name, tensor.dtype.value, tensor.shape) for tensor in declared.tensors]
    return layout_refusal(tensors, manifest)


def _timing(state: State, peer: str, announced: Announcement) -> UpdateRefusal | None:
    """Reject an update that is not due: RunOver, OtherRound, Repeated, Replaced, RoundClosed or NotExpected.

    Only the round number distinguishes a replayed older update from a new one. An update that is sent twice in one
    round counts once.
    """
    if state.phase is Phase.ENDED:
        return UpdateRefusal(UpdateRefusalReason.RUN_OVER, "the run is over")
    awaits_model = state.phase is Phase.AWAITING_INITIAL_MODEL
    if announced.round != state.round or (announced.round == INITIAL_ROUND and not (awaits_model or state.parts)):
        return UpdateRefusal(
            UpdateRefusalReason.OTHER_ROUND,
            f"the update is for {_round_name(state, announced.round)}; the run is in {_round_name(state, state.round)}",
        )
    counted = state.parts.get(peer)
    if counted is not None:
        same = counted.digest == announced.digest
        message = f"{'this' if same else 'another'} update of round {announced.round} is already counted"
        return UpdateRefusal(UpdateRefusalReason.REPEATED if same else UpdateRefusalReason.REPLACED, message)
    if state.phase is Phase.STORING:
        return UpdateRefusal(UpdateRefusalReason.ROUND_CLOSED, f"round {announced.round} is closed")
    requested_from = (
        state.requested_from[-1:] if awaits_model else state.roster if state.phase is Phase.COLLECTING else ()
    )
    if peer not in requested_from:
        return UpdateRefusal(
            UpdateRefusalReason.NOT_EXPECTED,
            f"cluster {peer} is not asked for an update in {_round_name(state, announced.round)}",
        )
    return None


def _round_name(state: State, number: int) -> str:
    """Name a round for a message; the final evaluation follows the last round and is called by its name."""
    return "the final evaluation" if number == state.parameters.rounds + 1 else f"round {number}"


def _upload_begun(state: State, event: inputs.UpdateBegun) -> Decision:
    refusal = update_refusal(state, event.peer, event.announcement)
    if refusal is not None:
        return Decision(refusals={event.peer: refusal})
    return Decision([records.UploadOpened(event.peer, event.announcement)])


def _upload_complete(state: State, event: inputs.UpdateComplete) -> Decision:
    """Count an accepted update, unless the round was closed or the peer removed during the upload."""
    peer, announced = event.peer, event.announcement
    refusal = update_refusal(state, peer, announced)
    if refusal is None and state.uploads.get(peer) != announced:
        refusal = UpdateRefusal(UpdateRefusalReason.NOT_EXPECTED, "this update was not announced")
    if refusal is not None:
        return Decision(refusals={peer: refusal})
    if state.phase is Phase.AWAITING_INITIAL_MODEL:
        return Decision([records.InitialModelCounted(peer, announced.digest, state.declared[peer])])
    return Decision([records.UploadEnded(peer), records.UpdateCounted(peer, announced.digest, announced.weight)])


def _metrics_reported(state: State, event: domain.MetricsReported) -> Decision:
    refusal = _membership(state, event.peer)
    if refusal is None and (event.round != state.round or state.phase not in {Phase.COLLECTING, Phase.EVALUATING}):
        refusal = UpdateRefusal(
            UpdateRefusalReason.OTHER_ROUND,
            f"the metrics are for {_round_name(state, event.round)}; the run is in {_round_name(state, state.round)}",
        )
    if refusal is None and event.peer not in state.roster:
        refusal = UpdateRefusal(
            UpdateRefusalReason.NOT_EXPECTED,
            f"cluster {event.peer} is not asked for metrics in {_round_name(state, event.round)}",
        )
    refusal = refusal or metrics_refusal(event, state.due_tasks)
    if refusal is not None:
        return Decision(refusals={event.peer: refusal})
    if (event.peer, event.task) in state.metrics:
        return NOTHING
    return Decision([records.MetricsCounted(event.peer, event.task, event.samples, event.metrics)])


def cohort_records(state: State, cohort: Cohort) -> tuple[DurableRecord, ...]:
    """Return the records by which a cohort changes the run; an old or repeated generation yields none.

    A revoked cluster is dropped. It is admitted again from the next round on once a newer cohort lists it as a member
    that is not revoked. A cluster that is no longer a member but not revoked was deselected. With joinPolicy NextRound
    it is dropped, and may be selected again. With joinPolicy Frozen a changed Placement has no effect on the run.
    """
    if cohort.generation <= state.generation:
        return ()
    revoked, members = frozenset(cohort.revoked), frozenset(state.members)
    wanted = frozenset(cohort.members) - revoked
    if state.parameters.join_policy is JoinPolicy.NEXT_ROUND:
        dropped, admitted = members - wanted, wanted - members
    else:
        dropped, admitted = members & revoked, wanted & state.removed
    return (
        CohortApplied(cohort.generation),
        *map(PeerDropped, sorted(dropped)),
        *map(PeerAdmitted, sorted(admitted)),
    )
