"""Members of a run that are admitted, dropped and admitted again."""

import pytest

from hub_manager.aggregator.domain import JoinPolicy
from hub_manager.aggregator.rounds import effects, inputs, records
from hub_manager.aggregator.rounds.state import Phase
from hub_manager.aggregator.validation.refusal import UpdateRefusalReason
from tests.support.exchange.rounds import COHORT, TASKS, announcement, cohort_of, kinds, opened, refusals


def test_update_of_a_removed_cluster_is_discarded() -> None:
    world = opened()
    world.send("c1")
    world.see(inputs.UpdateBegun("c10", announcement("c10", 1)))
    assert kinds(world.submit(*COHORT, revoked=["c10"]))[:2] == [effects.CutUpload, effects.Disconnect]
    world.submit(*COHORT, revoked=["c1", "c10"])
    assert world.state.ended is not None
    assert world.state.ended.message == "clusters remaining in round 1: 1; 2 are needed"


def test_round_closes_when_the_last_missing_cluster_is_removed() -> None:
    world = opened()
    world.send("c1")
    world.send("c2")
    world.submit(*COHORT, revoked=["c10"])
    assert world.state.phase is Phase.STORING


def test_deselected_cluster_is_dropped_and_may_return() -> None:
    world = opened(join_policy=JoinPolicy.NEXT_ROUND)
    world.send("c1")
    world.send("c2")
    assert effects.Disconnect("c10") in world.submit("c1", "c2")
    assert world.state.phase is Phase.STORING
    world.fold()
    assert world.state.roster == ("c1", "c2")

    world.submit(*COHORT)
    assert kinds(world.join("c10")) == [effects.SendWait]


def test_frozen_cohort_ignores_a_changed_placement() -> None:
    world = opened()
    world.submit("c1")
    assert world.state.members == COHORT


@pytest.mark.parametrize("policy", JoinPolicy)
def test_readmitted_cluster_joins_the_next_round_in_order(policy: JoinPolicy) -> None:
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
def test_older_cohort_does_not_readmit_a_revoked_cluster(policy: JoinPolicy) -> None:
    world = opened(join_policy=policy)
    stale = inputs.CohortReceived(cohort_of(1, COHORT))
    world.see(stale)
    world.see(inputs.CohortReceived(cohort_of(2, COHORT, ["c10"])))
    for crash in (False, True):
        if crash:
            world.crash()
        world.see(stale)
        assert refusals(world.join("c10")) == [UpdateRefusalReason.REMOVED]


def test_evaluation_does_not_wait_for_a_removed_cluster() -> None:
    world = opened(tasks=TASKS[:2], rounds=1, evaluate=True)
    for peer in COHORT:
        world.send(peer)
    world.pass_time(10)
    world.fold()
    world.measure("c1", TASKS[0].name)
    world.measure("c2", TASKS[0].name)
    world.submit(*COHORT, revoked=["c10"])
    assert world.state.ended == records.RunEnded(None, "all rounds are done")


def test_next_round_policy_admits_a_cluster_to_the_next_round() -> None:
    world = opened(join_policy=JoinPolicy.NEXT_ROUND)
    world.submit(*COHORT, "c3")
    assert kinds(world.join("c3")) == [effects.SendWait]
    for peer in ("c1", "c10", "c2"):
        world.send(peer)
    handed = [order.peer for order in world.fold() if isinstance(order, effects.SendWork)]
    assert handed == ["c1", "c10", "c2", "c3"]


def test_frozen_cohort_admits_no_cluster() -> None:
    world = opened()
    world.submit(*COHORT, "c3")
    assert refusals(world.join("c3")) == [UpdateRefusalReason.NOT_IN_COHORT]


def test_admitted_cluster_restores_the_quorum_of_a_round() -> None:
    world = opened(join_policy=JoinPolicy.NEXT_ROUND)
    world.send("c1")
    world.submit(*COHORT, revoked=["c10", "c2"])
    world.submit(*COHORT, "c3", revoked=["c10", "c2"])
    world.join("c3")
    world.send("c3")
    (fold,) = world.pending
    assert isinstance(fold, effects.FoldUpdates)
    assert [part.peer for part in fold.parts] == ["c1", "c3"]
