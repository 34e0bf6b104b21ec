"""What an event means for a run: the facts that it establishes, or the refusal of whoever caused it.

Everything that a peer caused is judged here against the state: is it a member, is it asked, is it this round. What it
sent is judged by `checks`. A refusal changes nothing, so an honest resend finds the round as it was.
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
    """What an event comes to, before anything that falls due through it."""

    records: Sequence[Record] = ()
    effects: Sequence[Effect] = ()
    """To be done after those of the facts."""
    refusals: Mapping[str, UpdateRefusal] = field(default_factory=lambda: MappingProxyType({}))
    """Why an input of the peer was rejected."""


NOTHING = Decision()


def decide(state: State, event: Event, now: float) -> Decision:  # noqa: C901, PLR0911 -- a case for each event
    """The answer to one event.

    Args:
        state: The run as it is.
        event: What the shell saw.
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
            return _begun(state, event)
        case inputs.UpdateComplete():
            return _complete(state, event)
        case inputs.UpdateBroken():
            current = state.uploads.get(event.peer) == event.announcement
            return Decision([records.UploadEnded(event.peer)]) if current else NOTHING
        case domain.MetricsReported():
            return _measured(state, event)
        case inputs.CohortReceived():
            return Decision(cohort_records(state, event.cohort)) if state.phase is not Phase.ENDED else NOTHING
        case inputs.ModelStored():
            if state.phase is not Phase.STORING or event.round != state.round:
                return NOTHING
            first = state.manifest if event.round == INITIAL_ROUND else None
            return Decision([records.ModelRecorded(event.round, event.digest, first)])
        case inputs.FoldDiverged():
            current = state.phase is Phase.STORING and event.round == state.round
            return Decision([records.RunEnded(RunFailureReason.DIVERGED, event.message)]) if current else NOTHING
        case inputs.Timer():
            return NOTHING
    assert_never(event)


def _resumed(state: State, event: inputs.Resumed, now: float) -> Decision:
    stored = event.stored
    if state.phase is Phase.NEW:
        known = [records.ModelRecorded(stored.round, stored.digest, stored.manifest)] if stored is not None else []
        return Decision([*known, records.Started(now + state.parameters.gather_seconds)])
    if state.phase is Phase.ENDED or state.model is None:
        return Decision(_renewed(state, now), list(pending(state)))
    if stored is None or stored.manifest != state.manifest:
        return _lost("the volume has no intact checkpoint of the run")
    if stored.round < state.model_round and state.phase is not Phase.GATHERING:
        return Decision([records.RolledBack(stored.round, stored.digest)])
    # A process may have died between the checkpoint and the journal: then the round is folded again, to the same bits.
    ahead = state.phase is Phase.STORING and stored.round == state.round
    if not ahead and (stored.round, stored.digest) != (state.model_round, state.model):
        return _lost(f"the newest intact checkpoint, of round {stored.round}, differs from the journal")
    return Decision(_renewed(state, now), list(pending(state)))


def _lost(message: str) -> Decision:
    """ModelLost: the volume doesn't hold the model that the journal speaks of; training on would be another run."""
    return Decision([records.RunEnded(RunFailureReason.MODEL_LOST, message)])


def _renewed(state: State, now: float) -> list[Record]:
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
    """NotInCohort, Removed: the run takes part with the clusters that the hub chose, and those that are still in."""
    if peer in state.removed:
        return UpdateRefusal(UpdateRefusalReason.REMOVED, f"cluster {peer} was removed from the run")
    if peer not in state.cohort:
        return UpdateRefusal(UpdateRefusalReason.NOT_IN_COHORT, f"cluster {peer} is not in the run's cohort")
    return None


def update_refusal(state: State, peer: str, announced: Announcement) -> UpdateRefusal | None:
    """Why the peer's update can't come in now, or None; its bytes are judged later."""
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
    """RunOver, OtherRound, Repeated, Replaced, RoundClosed, NotExpected: the update of now, once, of whoever is asked.

    A round's number is all that tells a replay of an older update from a new one; the same update sent twice in one
    round counts once.
    """
    if state.phase is Phase.ENDED:
        return UpdateRefusal(UpdateRefusalReason.RUN_OVER, "the run is over")
    seeding = state.phase is Phase.AWAITING_INITIAL_MODEL
    if announced.round != state.round or (announced.round == INITIAL_ROUND and not (seeding or state.parts)):
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
    requested_from = state.requested_from[-1:] if seeding else state.roster if state.phase is Phase.COLLECTING else ()
    if peer not in requested_from:
        return UpdateRefusal(
            UpdateRefusalReason.NOT_EXPECTED,
            f"cluster {peer} is not asked for an update in {_round_name(state, announced.round)}",
        )
    return None


def _round_name(state: State, number: int) -> str:
    """Name a round for a message; the final evaluation follows the last round and is called by its name."""
    return "the final evaluation" if number == state.parameters.rounds + 1 else f"round {number}"


def _begun(state: State, event: inputs.UpdateBegun) -> Decision:
    refusal = update_refusal(state, event.peer, event.announcement)
    if refusal is not None:
        return Decision(refusals={event.peer: refusal})
    return Decision([records.UploadOpened(event.peer, event.announcement)])


def _complete(state: State, event: inputs.UpdateComplete) -> Decision:
    """An update that was let in counts, unless the round has closed or the peer was removed while it came."""
    peer, announced = event.peer, event.announcement
    refusal = update_refusal(state, peer, announced)
    if refusal is None and state.uploads.get(peer) != announced:
        refusal = UpdateRefusal(UpdateRefusalReason.NOT_EXPECTED, "this update was not announced")
    if refusal is not None:
        return Decision(refusals={peer: refusal})
    if state.phase is Phase.AWAITING_INITIAL_MODEL:
        return Decision([records.InitialModelCounted(peer, announced.digest, state.declared[peer])])
    return Decision([records.UploadEnded(peer), records.UpdateCounted(peer, announced.digest, announced.weight)])


def _measured(state: State, event: domain.MetricsReported) -> Decision:
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
    """What a cohort changes in the run; nothing, where it is none newer than the run knows.

    Whoever is revoked is out, and in again from the next round on once a newer cohort has it as a member that is not.
    A cluster that is gone from the members without being revoked was deselected: with joinPolicy NextRound nobody waits
    for it any more, and it may be selected again; a run with a frozen cohort is not changed by a Placement that moves.
    """
    if cohort.generation <= state.generation:
        return ()
    revoked, members = frozenset(cohort.revoked), frozenset(state.members)
    wanted = frozenset(cohort.members) - revoked
    if state.parameters.join_policy is JoinPolicy.NEXT_ROUND:
        out, back = members - wanted, wanted - members
    else:
        out, back = members & revoked, wanted & state.removed
    dropped, taken = map(PeerDropped, sorted(out)), map(PeerAdmitted, sorted(back))
    return (CohortApplied(cohort.generation), *dropped, *taken)
