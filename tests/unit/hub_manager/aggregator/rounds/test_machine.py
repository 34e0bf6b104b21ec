"""Behaviour of the round machine that collaborators and users can observe."""

from dataclasses import replace

import pytest

from hub_manager.aggregator import domain
from hub_manager.aggregator.rounds import effects, inputs, records
from hub_manager.aggregator.rounds.records import RunFailureReason
from hub_manager.aggregator.rounds.state import Phase
from hub_manager.aggregator.rounds.transitions import ImpossibleRecord, apply
from hub_manager.aggregator.validation.refusal import UpdateRefusalReason
from tests.support.exchange.rounds import (
    COHORT,
    INITIAL_MODEL,
    MANIFEST,
    TASKS,
    World,
    announcement,
    kinds,
    opened,
    parameters,
    refusals,
)


def test_first_round_opens_when_the_whole_cohort_is_connected() -> None:
    world = World(parameters())
    assert kinds(world.join("c1", "c10")) == [effects.SendWait] * 2
    work = [effect for effect in world.join("c2") if isinstance(effect, effects.SendWork)]
    assert [(order.peer, order.round, order.deadline) for order in work] == [
        (peer, 1, 100.0) for peer in ("c1", "c10", "c2")
    ]


def test_first_round_opens_with_a_quorum_at_the_deadline() -> None:
    world = World(parameters())
    world.join("c1", "c2")
    world.pass_time(50)
    assert (world.state.phase, world.state.roster) == (Phase.COLLECTING, ("c1", "c10", "c2"))


def test_run_fails_if_too_few_collaborators_connect() -> None:
    world = World(parameters())
    world.join("c1")
    world.pass_time(50)
    assert world.state.ended == records.RunEnded(
        RunFailureReason.QUORUM_LOST, "1 of 3 collaborators connected in time; 2 are needed"
    )
    assert (
        effects.SendRunEnded("c1", False, "1 of 3 collaborators connected in time; 2 are needed", world.state.model)
        in world.effects
    )


def test_run_completes_after_the_last_round_and_sends_the_final_model() -> None:
    world = opened()
    for _ in range(2):
        for peer in world.parameters.cohort:
            world.send(peer)
        last = world.fold()
    assert world.state.ended == records.RunEnded(None, "all rounds are done")
    assert effects.SendRunEnded("c2", True, "all rounds are done", world.state.model) in last


def test_updates_are_folded_in_the_order_of_names() -> None:
    world = opened()
    for peer in ("c2", "c1", "c10"):
        world.send(peer)
    (fold,) = world.pending
    assert isinstance(fold, effects.FoldUpdates)
    assert [part.peer for part in fold.parts] == ["c1", "c10", "c2"]


def test_round_closes_with_a_quorum_at_its_deadline_and_cuts_open_uploads() -> None:
    world = opened()
    world.send("c1")
    world.send("c2")
    world.see(inputs.UpdateBegun("c10", announcement("c10", 1)))
    closing = world.pass_time(100)
    assert [(cut.peer, cut.refusal.reason) for cut in closing if isinstance(cut, effects.CutUpload)] == [
        ("c10", UpdateRefusalReason.ROUND_CLOSED)
    ]
    assert refusals(world.see(inputs.UpdateComplete("c10", announcement("c10", 1)))) == [
        UpdateRefusalReason.ROUND_CLOSED
    ]


def test_site_that_missed_a_round_receives_the_next_order() -> None:
    world = opened()
    world.see(inputs.Left("c10"))
    world.send("c1")
    world.send("c2")
    world.pass_time(100)
    world.fold()
    (order,) = world.join("c10")
    assert isinstance(order, effects.SendWork)
    assert order.round == 2


def test_round_without_a_quorum_is_extended_and_then_fails_the_run() -> None:
    world = opened()
    world.send("c1")
    world.pass_time(100)
    assert (world.state.overdue, world.state.deadline) == (True, 120.0)
    world.pass_time(20)
    assert world.state.ended is not None
    assert world.state.ended.failure is RunFailureReason.QUORUM_LOST


def test_overdue_round_closes_once_it_has_a_quorum() -> None:
    world = opened()
    world.send("c1")
    world.pass_time(100)
    world.send("c10")
    assert world.state.phase is Phase.STORING


def test_first_member_by_name_is_asked_for_the_initial_model() -> None:
    world = World(parameters(), stored=None)
    requested_from = [
        effect for effect in world.join("c2", "c10", "c1") if isinstance(effect, effects.RequestInitialModel)
    ]
    assert requested_from == [effects.RequestInitialModel("c1", 100.0)]
    assert refusals(world.send("c2")) == [UpdateRefusalReason.NOT_EXPECTED]
    world.send("c1", weight=0)
    world.fold()
    assert (world.state.round, world.state.manifest) == (1, MANIFEST)


def test_next_member_is_asked_for_the_initial_model_after_the_deadline() -> None:
    world = World(parameters(), stored=None)
    world.join("c1", "c10", "c2")
    world.see(inputs.UpdateBegun("c1", announcement("c1", 0, weight=0)))
    assert kinds(world.pass_time(100))[:4] == [
        effects.CutUpload,
        effects.SendWait,
        effects.RequestInitialModel,
        effects.SendWait,
    ]
    world.submit(*COHORT, revoked=["c10"])
    world.pass_time(100)
    assert world.state.ended is not None
    assert world.state.ended.failure is RunFailureReason.NO_INITIAL_MODEL


def asked_for_the_initial_model_and_revoked_after_a_crash() -> World:
    world = World(parameters(), stored=None)
    world.join(*COHORT)
    world.crash()
    world.submit(*COHORT, revoked=["c1"])
    return world


def test_restarted_run_waits_for_collaborators_to_reconnect() -> None:
    world = asked_for_the_initial_model_and_revoked_after_a_crash()
    assert world.state.phase is Phase.AWAITING_INITIAL_MODEL
    world.pass_time(30)
    assert effects.RequestInitialModel("c10", 130.0) in world.join("c10")


def test_wait_for_the_initial_model_ends_at_the_deadline() -> None:
    world = asked_for_the_initial_model_and_revoked_after_a_crash()
    world.pass_time(100)
    assert world.state.ended is not None
    assert world.state.ended.failure is RunFailureReason.NO_INITIAL_MODEL


def test_run_without_a_source_of_the_initial_model_fails_at_once() -> None:
    world = asked_for_the_initial_model_and_revoked_after_a_crash()
    world.submit(*COHORT, revoked=COHORT)
    assert world.state.ended is not None
    assert world.state.ended.failure is RunFailureReason.NO_INITIAL_MODEL


def test_wait_for_metrics_is_limited() -> None:
    world = opened(tasks=TASKS)
    for peer in world.parameters.cohort:
        world.send(peer)
    assert (world.state.phase, world.state.deadline) == (Phase.COLLECTING, 10.0)
    world.pass_time(10)
    assert world.state.phase is Phase.STORING


def test_round_closes_once_it_has_all_updates_and_metrics() -> None:
    world = opened(tasks=TASKS)
    for peer in world.parameters.cohort:
        world.send(peer)
        world.measure(peer, TASKS[0].name)
        world.measure(peer, TASKS[2].name)
    assert world.state.phase is Phase.STORING


def test_final_model_is_validated_by_the_cohort() -> None:
    world = opened(tasks=TASKS[:2], rounds=1, evaluate=True)
    for peer in world.parameters.cohort:
        world.send(peer)
    world.pass_time(10)
    orders = [order for order in world.fold() if isinstance(order, effects.SendWork)]
    assert [order.tasks for order in orders] == [TASKS[:1]] * 3
    assert {order.digest for order in orders} == {world.state.model}
    for peer in world.parameters.cohort:
        assert world.state.phase is Phase.EVALUATING
        world.measure(peer, TASKS[0].name)
    assert world.state.ended == records.RunEnded(None, "all rounds are done")


def test_diverged_fold_fails_the_run() -> None:
    world = opened()
    for peer in world.parameters.cohort:
        world.send(peer)
    world.see(inputs.FoldDiverged(1, "weight overflows"))
    assert world.state.ended == records.RunEnded(RunFailureReason.DIVERGED, "weight overflows")


def test_restart_renews_the_current_wait() -> None:
    world = opened()
    world.send("c1")
    world.now = 10_000
    world.crash()
    assert (world.state.deadline, list(world.state.parts)) == (10_100.0, ["c1"])
    assert effects.SetTimer(10_100.0) in world.effects


def test_early_timer_is_set_again() -> None:
    world = opened()
    world.now = -3600  # The wall clock is put back while the monotonic one runs on.
    assert world.see(inputs.Timer()) == [effects.SetTimer(100.0)]
    world.now = 100
    world.see(inputs.Timer())
    assert world.state.overdue


def test_restarted_process_repeats_the_fold() -> None:
    world = opened()
    for peer in world.parameters.cohort:
        world.send(peer)
    requested_from = world.pending[0]
    world.crash()
    assert world.pending == [requested_from]


def test_run_rolls_back_to_the_last_intact_checkpoint() -> None:
    world = opened()
    for peer in world.parameters.cohort:
        world.send(peer)
    older = world.stored
    world.fold()
    world.send("c1")
    world.stored = older
    world.crash()
    assert (world.state.round, dict(world.state.parts)) == (1, {})
    assert effects.DropSpool(2) in world.effects


@pytest.mark.parametrize("stored", [None, replace(INITIAL_MODEL, digest="blake3:other")], ids=["none", "another"])
def test_run_fails_if_its_model_is_lost(stored: domain.StoredModel | None) -> None:
    world = opened()
    world.stored = stored
    world.crash()
    assert world.state.ended is not None
    assert world.state.ended.failure is RunFailureReason.MODEL_LOST


def test_impossible_record_is_an_error() -> None:
    world = opened()
    with pytest.raises(ImpossibleRecord, match="ModelRecorded in phase Collecting"):
        apply(world.state, records.ModelRecorded(1, "blake3:x"))
    with pytest.raises(ImpossibleRecord, match="counted updates are from clusters"):
        apply(world.state, records.UpdateCounted("stranger", "blake3:x", 1))
    with pytest.raises(ImpossibleRecord, match="a closed round has a quorum"):
        apply(world.state, records.RoundClosed())
