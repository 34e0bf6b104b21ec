"""For any events in any order, the state stays sound and equals the replay of the journal."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_manager.aggregator import domain
from hub_manager.aggregator.domain import JoinPolicy
from hub_manager.aggregator.rounds import inputs
from hub_manager.aggregator.rounds.records import Snapshot, is_durable
from hub_manager.aggregator.rounds.snapshot import snapshot_of
from hub_manager.aggregator.rounds.state import Phase, durable
from hub_manager.aggregator.rounds.transitions import replay
from tests.support.exchange.rounds import (
    INITIAL_MODEL,
    MANIFEST,
    OTHER_MODEL,
    TASKS,
    World,
    announcement,
    cohort_of,
    parameters,
    refusals,
)

COHORT = ("c1", "c10", "c2", "c3")
PEERS = st.sampled_from((*COHORT, "stranger"))
ROUNDS = st.integers(-1, 4)


def updates(
    kind: type[inputs.UpdateBegun | inputs.UpdateComplete | inputs.UpdateBroken],
) -> st.SearchStrategy[inputs.Event]:
    announced = st.builds(announcement, PEERS, ROUNDS, weight=st.sampled_from((0, 1, 10, 10**9)))
    return st.builds(kind, PEERS, announced)


NAMES = st.sets(PEERS, min_size=1)
COHORTS = st.builds(cohort_of, st.integers(1, 6), NAMES, st.sets(PEERS))
"""Cohorts with newer, older and repeated generations."""
EVENTS = st.one_of(
    st.builds(inputs.Joined, PEERS, st.sampled_from((MANIFEST, MANIFEST, MANIFEST, OTHER_MODEL))),
    st.builds(inputs.Left, PEERS),
    updates(inputs.UpdateBegun),
    updates(inputs.UpdateComplete),
    updates(inputs.UpdateBroken),
    st.builds(
        domain.MetricsReported,
        PEERS,
        ROUNDS,
        st.sampled_from([task.name for task in TASKS]),
        st.integers(0, 5),
        st.just((domain.Metric("loss", 0.5),)),
    ),
    COHORTS.map(inputs.CohortReceived),
    st.builds(inputs.FoldDiverged, ROUNDS, st.just("overflow")),
)
STEPS = st.one_of(
    EVENTS,
    st.tuples(st.just("send"), st.sampled_from(COHORT)),
    st.tuples(st.just("time"), st.integers(0, 120)),
    st.tuples(st.just("fold"), st.none()),
    st.tuples(st.just("crash"), st.none()),
)


def take(world: World, step: inputs.Event | tuple[str, object]) -> None:
    match step:
        case ("send", str(peer)):
            if peer not in world.state.connected:
                world.join(peer)
            world.send(peer, weight=10 if world.state.round else 0)
        case ("time", int(seconds)):
            world.pass_time(seconds)
        case ("fold", _):
            if world.pending:
                world.fold()
        case ("crash", _):
            world.crash()
        case _:
            assert not isinstance(step, tuple)
            world.see(step)


@settings(deadline=None)
@given(
    st.lists(STEPS, max_size=60),
    st.sampled_from(JoinPolicy),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
)
def test_state_is_sound_and_equals_its_replay(
    steps: Sequence[inputs.Event | tuple[str, object]], policy: JoinPolicy, warm: bool, whole_plan: bool, quorum: int
) -> None:
    tasks = TASKS if whole_plan else TASKS[1:2]
    agreed = parameters(COHORT, quorum=quorum, join_policy=policy, tasks=tasks, evaluate=whole_plan)
    world = World(agreed, stored=INITIAL_MODEL if warm else None)
    for step in steps:
        take(world, step)
        assert all(is_durable(record) for record in world.journal)
        assert replay(agreed, world.journal) == durable(world.state)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=40), st.sampled_from(JoinPolicy), st.booleans(), st.data())
def test_snapshot_replaces_all_earlier_records(
    steps: Sequence[inputs.Event | tuple[str, object]], policy: JoinPolicy, warm: bool, data: st.DataObject
) -> None:
    agreed = parameters(COHORT, quorum=2, join_policy=policy, tasks=TASKS, evaluate=True)
    world = World(agreed, stored=INITIAL_MODEL if warm else None)
    world.join(*COHORT)
    for step in steps:
        take(world, step)
    assert_stands_for_all_before_it(world, data.draw(st.integers(0, len(world.journal))))


@pytest.mark.parametrize("warm", [False, True])
def test_snapshot_replaces_all_records_of_a_completed_run(warm: bool) -> None:
    world = World(parameters(COHORT, quorum=4, tasks=TASKS, evaluate=True), stored=INITIAL_MODEL if warm else None)
    honest_run(world, list)
    assert world.state.ended is not None
    for cut in range(len(world.journal) + 1):
        assert_stands_for_all_before_it(world, cut)


def assert_stands_for_all_before_it(world: World, cut: int) -> None:
    so_far = replay(world.parameters, world.journal[:cut])
    written = msgspec.json.decode(msgspec.json.encode(snapshot_of(so_far)), type=Snapshot)
    assert replay(world.parameters, [written]) == so_far
    assert replay(world.parameters, [written, *world.journal[cut:]]) == durable(world.state)


@settings(deadline=None)
@given(st.data(), st.sampled_from(JoinPolicy), st.booleans())
def test_newest_cohort_decides_the_members_in_any_order(data: st.DataObject, policy: JoinPolicy, warm: bool) -> None:
    """The hub removes and readmits clusters; old cohorts arrive late, twice, and after a crash."""
    agreed = parameters(COHORT, quorum=1, rounds=100, join_policy=policy)
    world = World(agreed, stored=INITIAL_MODEL if warm else None)
    others = st.just(frozenset(COHORT)) if policy is JoinPolicy.FROZEN else NAMES
    cohorts = [
        cohort_of(number, data.draw(others), data.draw(st.sets(st.sampled_from(COHORT[1:]))) - {COHORT[0]})
        for number in range(1, 6)
    ]
    newest = cohort_of(0, COHORT)
    for number in data.draw(st.lists(st.integers(0, 4), max_size=20)):
        step = data.draw(STEPS.filter(lambda step: not isinstance(step, inputs.CohortReceived)))
        take(world, step)
        before = world.state.phase
        world.see(inputs.CohortReceived(cohorts[number]))
        if before is not Phase.ENDED and cohorts[number].generation > newest.generation:
            newest = cohorts[number]
        assert set(world.state.members) == set(newest.members) - set(newest.revoked)
        assert replay(agreed, world.journal) == durable(world.state)
        for peer in set(COHORT) - set(world.state.members):
            assert refusals(world.join(peer))
            assert peer not in world.state.roster or world.state.phase not in {Phase.COLLECTING, Phase.EVALUATING}


@settings(deadline=None)
@given(st.data(), st.booleans())
def test_model_is_independent_of_order_and_crashes(data: st.DataObject, warm: bool) -> None:
    agreed = parameters(COHORT, quorum=4, tasks=TASKS, evaluate=True)
    world, calm = (World(agreed, stored=INITIAL_MODEL if warm else None) for _ in range(2))
    honest_run(calm, list)
    honest_run(world, lambda peers: data.draw(st.permutations(peers)), lambda: data.draw(st.integers(0, 5)) == 0)
    assert (world.state.ended, world.state.model) == (calm.state.ended, calm.state.model)
    assert world.state.model_round == agreed.rounds


def honest_run(
    world: World, order: Callable[[list[str]], Sequence[str]], crashes: Callable[[], bool] = lambda: False
) -> None:
    def perhaps_crash() -> None:
        if crashes():
            world.crash()
            world.join(*order(list(COHORT)))

    world.join(*order(list(COHORT)))
    for _ in range(20):
        if world.state.phase is Phase.ENDED:
            return
        for peer in order(list(COHORT)):
            world.send(peer, weight=7 if world.state.round else 0)
            perhaps_crash()
        for peer in order(list(COHORT)):
            for task in (TASKS[0], TASKS[2]):
                world.measure(peer, task.name)
                perhaps_crash()
        while world.pending:
            world.fold()
            perhaps_crash()
