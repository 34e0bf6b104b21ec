"""Test properties of run planning: it reaches a fixed point, survives crashes, and never turns text into a key."""

import asyncio
import contextlib
import copy
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from federation.api.aggregator_run import Cohort
from federation.api.collaborator import RunPlan
from federation.kube.kinds import CONFIG_MAP, MANAGED_CLUSTER
from federation.kube.resource import Json
from hub_manager.federated_learning.resources.aggregator import (
    config_map,
    network_policy,
    plan_copy,
    role,
    service,
    volume_claim,
)
from hub_manager.federated_learning.resources.aggregator_job import job
from hub_manager.federated_learning.resources.manifest_work import Address, work
from hub_manager.federated_learning.resources.names import work_name
from hub_manager.federated_learning.resources.placement import placement
from hub_manager.federated_learning.settings import RunImages
from hub_manager.federated_learning.site import RunCluster
from tests.support.builders.run_objects import run_json, run_of
from tests.support.fakes.fake_api import Crash
from tests.support.fakes.run_world import RunWorld, clusters

NAMES = ("c1", "c2", "c3")
REFUSED = {"state": "Refused", "reason": "NotAllowed"}
STATES = ({"state": "Accepted"}, {"state": "Running"}, REFUSED, {"state": "Failed"})
PASTED = ("a\n---\nkind: Pod", "x: {y: z}", '"]}', "${HOME}", "{{.}}")
hostile = st.text(min_size=1, max_size=30) | st.sampled_from(PASTED)


@st.composite
def histories(draw: st.DrawFn) -> tuple[RunWorld, Json, list[Json]]:
    """Draw a world, a run, and a sequence of changes by users."""
    chosen = tuple(sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1))))
    world = clusters(RunWorld(selected={"default/mnist": chosen}), *draw(st.sets(st.sampled_from(NAMES), min_size=2)))
    world.sites = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(STATES), max_size=1))
    policy = draw(st.sampled_from(["Frozen", "NextRound"]))
    plan = draw(st.sampled_from([{}, {"path": "plan/other.yaml"}, {"configMap": "plans"}]))
    server = {"joinPolicy": policy, "minAvailableClients": draw(st.integers(1, 2)), "plan": plan}
    changes: list[Json] = draw(
        st.lists(
            st.sampled_from(
                [
                    {"suspend": True},
                    {"suspend": False},
                    {"server": {"rounds": 7}},
                    {"client": {"dataset": "other"}},
                    {"ttlSecondsAfterFinished": 0},
                    {"text of the plan": "epochs: 1"},
                    {"text of the plan": "epochs: 2"},
                    {"server": {"listeners": [{"type": "NodePort", "port": 8080}, {"type": "LoadBalancer"}]}},
                ]
            ),
            max_size=3,
        )
    )
    return world, run_json(server=server), changes


@hypothesis_settings(max_examples=40, deadline=None)
@given(histories())
def test_a_run_settles_and_is_not_written_again(history: tuple[RunWorld, Json, list[Json]]) -> None:
    world, body, changes = history

    async def live() -> int:
        await world.submit(body)
        await world.settle()
        for change in changes:
            await make(world, change)
            await world.settle()
            assert_one_plan(world)
        return await world.writes_of()

    assert asyncio.run(live()) == 0


@hypothesis_settings(max_examples=40, deadline=None)
@given(histories(), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_a_manager_killed_after_any_write_is_followed_by_one_that_reaches_the_same_state(
    history: tuple[RunWorld, Json, list[Json]], crashes: list[int]
) -> None:
    world, body, changes = history
    other = copy_of(world)

    async def live(hub: RunWorld, crashing: list[int]) -> Any:
        await hub.submit(body)
        pending = list(crashing)
        for change in ({}, *changes):
            await make(hub, change)
            while pending:
                hub.api.crash_after(pending.pop())
                with contextlib.suppress(Crash):
                    await hub.settle()
                hub.api.crash_after(10**9)
                hub.restart()
            await hub.settle()
        return hub.everything()

    assert asyncio.run(live(world, crashes)) == asyncio.run(live(other, []))


@hypothesis_settings(max_examples=60, deadline=None)
@given(hostile, hostile, hostile)
def test_a_users_text_never_becomes_a_key_or_another_object(first: str, second: str, third: str) -> None:
    body = run_json()
    usual = rendered(body)
    body["spec"]["client"] |= {"image": first, "args": [second], "env": [{"name": "A", "value": third}]}
    body["spec"]["server"] |= {"image": second, "nodeSelector": {"disk": first}}
    body["spec"]["server"]["storage"] |= {"path": third}
    body["spec"]["server"]["listeners"][0] |= {"hostname": second}
    body["spec"]["client"]["dataset"] = "digits"

    for one, other, more in zip(rendered(body), usual, ALLOWED, strict=True):
        assert shape(one) <= shape(other) | more
        assert (one["kind"], one["metadata"]["namespace"]) == (other["kind"], other["metadata"]["namespace"])


async def make(world: RunWorld, change: Json) -> None:
    """Apply a change by a user to the plan's ConfigMap, or to the spec."""
    match change:
        case {"text of the plan": text}:
            metadata = {"name": "plans", "namespace": "default"}
            world.api.seed(CONFIG_MAP, {"metadata": metadata, "data": {"plan.yaml": text}})
        case _ if change:
            await world.change(**change)


def assert_one_plan(world: RunWorld) -> None:
    """Assert that the clusters get the text that the hub's export reads, after any edit by the user."""
    sent = [spec.get("plan", {}).get("text") for spec in world.collaborators().values()]
    copies = [o["data"]["plan"] for o in world.api.objects(CONFIG_MAP) if o["metadata"]["name"] == "mnist-server-plan"]
    assert {text for text in sent if text} <= set(copies)


NODE_SELECTOR = "spec.template.spec.nodeSelector"
ALLOWED: list[frozenset[str]] = [
    frozenset({NODE_SELECTOR, f"{NODE_SELECTOR}.disk"}),
    *[frozenset[str]()] * 5,
    frozenset(f"spec.workload.manifests.spec.{name}" for name in ("args", "env", "env.name", "env.value")),
    frozenset(),
    frozenset(),
]


def rendered(body: Json) -> list[Json]:
    body = {**body, "metadata": {**body["metadata"], "uid": "0123"}}
    run = run_of(body)
    site = RunCluster("c1", accepted=True, available=True, install_namespace="agent")
    return [
        job(run, 1, RunImages("aggregator:1")),
        config_map(run, 1, Cohort(generation=1, members=("c1",))),
        service(run, 0),
        volume_claim(run),
        role(run),
        network_policy(run, ()),
        work(run, 1, site, "digits", (Address("192.0.2.1", 8080),), RunPlan(text=run.spec.server.image or "x")),
        plan_copy(run, run.spec.server.image or "x"),
        placement(run),
    ]


def shape(value: Any, path: str = "") -> frozenset[str]:
    """Return the paths of all keys."""
    match value:
        case dict():
            names = frozenset(f"{path}{name}" for name in value)
            return names.union(*(shape(child, f"{path}{name}.") for name, child in value.items()))
        case list():
            return frozenset().union(*(shape(child, path) for child in value))
        case _:
            return frozenset()


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40), st.integers(1, 99), st.integers(1, 99))
def test_works_of_runs_and_attempts_have_different_names(one: str, other: str, first: int, second: int) -> None:
    names = {
        work_name(run_of({**run_json(), "metadata": {"name": "mnist", "uid": uid}}), attempt)
        for uid in {one, other}
        for attempt in {first, second}
    }

    assert len(names) == len({one, other}) * len({first, second})


def copy_of(world: RunWorld) -> RunWorld:
    return clusters(
        RunWorld(selected=dict(world.selected), sites=copy.deepcopy(world.sites)),
        *(o["metadata"]["name"] for o in world.api.objects(MANAGED_CLUSTER)),
    )
