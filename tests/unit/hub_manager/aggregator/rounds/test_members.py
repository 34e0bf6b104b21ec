"""Who takes part in a run and who does not, as its members come, go and are removed."""

import pytest

from hub_manager.aggregator.domain import JoinPolicy
from hub_manager.aggregator.rounds import effects, inputs, records
from hub_manager.aggregator.rounds.state import Phase
from hub_manager.aggregator.validation.refusal import UpdateRefusalReason
from tests.support.exchange.rounds import COHORT, TASKS, announcement, cohort_of, kinds, opened, refusals


def test_removed_cluster_takes_its_update_with_it_and_is_cut() -> None:
    world = opened()
    world.send("c1")
    world.see(inputs.UpdateBegun("c10", announcement("c10", 1)))
    assert kinds(world.submit(*COHORT, revoked=["c10"]))[:2] == [effects.CutUpload, effects.Disconnect]
    world.submit(*COHORT, revoked=["c1", "c10"])
    assert world.state.ended is not None
    assert world.state.ended.message == "clusters left in round 1: 1; 2 are needed"


def test_round_closes_at_once_when_the_only_one_missing_is_removed() -> None:
    world = opened()
    world.send("c1")
    world.send("c2")
    world.submit(*COHORT, revoked=["c10"])
    assert world.state.phase is Phase.STORING


def test_nobody_waits_for_a_cluster_that_the_placement_has_deselected_and_it_may_be_selected_again() -> None:
    world = opened(join_policy=JoinPolicy.NEXT_ROUND)
    world.send("c1")
    world.send("c2")
    assert effects.Disconnect("c10") in world.submit("c1", "c2")
    assert world.state.phase is Phase.STORING
    world.fold()
    assert world.state.roster == ("c1", "c2")

    world.submit(*COHORT)
    assert kinds(world.join("c10")) == [effects.SendWait]


def test_a_frozen_cohort_loses_nobody_to_a_placement_that_moves() -> None:
    world = opened()
    world.submit("c1")
    assert world.state.members == COHORT


@pytest.mark.parametrize("policy", JoinPolicy)
def test_a_cluster_that_the_hub_accepts_again_is_in_from_the_next_round_on_at_its_own_place(policy: JoinPolicy) -> None:
    world = opened(join_policy=policy, rounds=3)
    world.send("c10")
    world.submit(*COHORT, revoked=["c10"])
    assert refusals(world.join("c10")) == [UpdateRefusalReason.REMOVED]
    world.send("c1")
    world.submit(*COHORT)
    assert kinds(world.join("c10")) == [effects.SendWait]
    assert refusals(world.send("c10")) == [UpdateRefusalReason.NOT_EXPECTED]
    world.send("c2")
    (fold,) = world.pending
    assert isinstance(fold, effects.FoldUpdates)
    assert [part.peer for part in fold.parts] == ["c1", "c2"]

    world.fold()
    for peer in ("c2", "c10", "c1"):
        world.send(peer)
    (fold,) = world.pending
    assert isinstance(fold, effects.FoldUpdates)
    assert [part.peer for part in fold.parts] == ["c1", "c10", "c2"]


@pytest.mark.parametrize("policy", JoinPolicy)
def test_an_older_cohort_lets_nobody_in_that_was_revoked_since_not_even_after_a_crash(policy: JoinPolicy) -> None:
    world = opened(join_policy=policy)
    stale = inputs.CohortReceived(cohort_of(1, COHORT))
    world.see(stale)
    world.see(inputs.CohortReceived(cohort_of(2, COHORT, ["c10"])))
    for crash in (False, True):
        if crash:
            world.crash()
        world.see(stale)
        assert refusals(world.join("c10")) == [UpdateRefusalReason.REMOVED]


def test_a_cluster_that_is_removed_is_not_waited_for_in_the_evaluation_either() -> None:
    world = opened(tasks=TASKS[:2], rounds=1, evaluate=True)
    for peer in COHORT:
        world.send(peer)
    world.pass_time(10)
    world.fold()
    world.measure("c1", TASKS[0].name)
    world.measure("c2", TASKS[0].name)
    world.submit(*COHORT, revoked=["c10"])
    assert world.state.ended == records.RunEnded(None, "all rounds are done")


def test_admitted_cluster_joins_the_next_round_where_the_policy_says_so() -> None:
    world = opened(join_policy=JoinPolicy.NEXT_ROUND)
    world.submit(*COHORT, "c3")
    assert kinds(world.join("c3")) == [effects.SendWait]
    for peer in ("c1", "c10", "c2"):
        world.send(peer)
    handed = [order.peer for order in world.fold() if isinstance(order, effects.SendWork)]
    assert handed == ["c1", "c10", "c2", "c3"]


def test_frozen_cohort_takes_nobody_in() -> None:
    world = opened()
    world.submit(*COHORT, "c3")
    assert refusals(world.join("c3")) == [UpdateRefusalReason.NOT_IN_COHORT]


def test_admitted_cluster_rescues_a_round_that_lost_its_quorum() -> None:
    world = opened(join_policy=JoinPolicy.NEXT_ROUND)
    world.send("c1")
    world.submit(*COHORT, revoked=["c10", "c2"])
    world.submit(*COHORT, "c3", revoked=["c10", "c2"])
    world.join("c3")
    world.send("c3")
    (fold,) = world.pending
    assert isinstance(fold, effects.FoldUpdates)
    assert [part.peer for part in fold.parts] == ["c1", "c3"]
