"""The whole agent between a spoke and a hub in memory: what an administrator sees come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from federation.api.ocm.claims import DATASET_CLAIMS, SCORE_OBJECT
from federation.kube.api import Api
from federation.kube.kinds import ADD_ON_PLACEMENT_SCORE, CLUSTER_CLAIM, DATASET, LEASE, NODE_CAPACITY
from federation.kube.resource import ObjectKey
from spoke_agent.app import Agent
from spoke_agent.claims.ownership import CLUSTER_ROLE
from spoke_agent.config import Config, config_from
from tests.support.builders.site_objects import dataset_json
from tests.support.fakes.fake_api import FakeApi

NOW = datetime(2030, 6, 1, tzinfo=UTC)
NODE: dict[str, Any] = {
    "metadata": {"name": "n1"},
    "status": {
        "allocatable": {"cpu": "2", "memory": "4Gi"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


class World:
    """A spoke with one node, a hub, and the agent between them."""

    def __init__(self, folder: Path) -> None:
        self.spoke, self.hub = FakeApi(), FakeApi()
        self.kubeconfig = folder / "kubeconfig"
        self.monotonic = 0.0
        self.spoke.seed(NODE_CAPACITY, NODE)
        self.spoke.seed(CLUSTER_ROLE, {"metadata": {"name": "federated-learning-agent"}})
        self.hub.seed(ADD_ON_PLACEMENT_SCORE, {"metadata": {"name": SCORE_OBJECT, "namespace": "c1"}})
        self.connected: list[Path] = []
        self.agent = Agent(
            self.config(), self.spoke, self.connect, now=lambda: NOW, monotonic=lambda: self.monotonic, sleep=self.nap
        )

    def config(self) -> Config:
        return config_from({"CLUSTER_NAME": "c1", "INSTALL_NAMESPACE": "agent", "HUB_KUBECONFIG": str(self.kubeconfig)})

    def connect(self, kubeconfig: Path) -> Api:
        self.connected.append(kubeconfig)
        return self.hub

    async def nap(self, _seconds: float) -> None:
        await asyncio.sleep(0)

    def bring_kubeconfig(self) -> None:
        self.kubeconfig.write_text("{}", encoding="utf-8")

    def claim_names(self) -> set[str]:
        return {raw["metadata"]["name"] for raw in self.spoke.objects(CLUSTER_CLAIM)}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Lets the agent work until what is waited for holds; fails when it doesn't within its deadline."""
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - it waits for whatever a fake holds, and that tells nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    task = asyncio.create_task(world.agent.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as made:
        yield made


async def test_a_created_dataset_is_claimed_and_a_deleted_one_is_withdrawn(world: World) -> None:
    await world.until(lambda: bool(world.claim_names()))

    await world.spoke.create(DATASET, dataset_json("mnist"), namespace="agent")
    await world.until(lambda: DATASET_CLAIMS[0] in world.claim_names())
    await world.spoke.delete(DATASET, ObjectKey("agent", "mnist"))

    await world.until(lambda: DATASET_CLAIMS[0] not in world.claim_names())


async def test_a_dataset_of_another_namespace_does_not_count(world: World) -> None:
    elsewhere = dataset_json("mnist")
    elsewhere["metadata"]["namespace"] = "default"
    await world.spoke.create(DATASET, elsewhere, namespace="default")
    await world.spoke.create(DATASET, dataset_json("cifar"), namespace="agent")

    await world.until(lambda: DATASET_CLAIMS[0] in world.claim_names())

    (value,) = [
        raw["spec"]["value"]
        for raw in world.spoke.objects(CLUSTER_CLAIM)
        if raw["metadata"]["name"] == DATASET_CLAIMS[0]
    ]
    assert value == '{"cifar":{"rows":60000}}'


async def test_a_claim_that_someone_deletes_comes_back(world: World) -> None:
    await world.until(lambda: len(world.claim_names()) == 3)
    name = min(world.claim_names())

    await world.spoke.delete(CLUSTER_CLAIM, ObjectKey("", name))

    await world.until(lambda: name in world.claim_names())


async def test_without_a_hub_kubeconfig_it_claims_but_is_not_available(world: World) -> None:
    await world.until(lambda: len(world.claim_names()) == 3)

    assert "hub: no kubeconfig yet" in (world.agent.ready() or "")
    assert world.agent.healthy() is None
    assert world.spoke.objects(LEASE) == []
    assert world.connected == []


async def test_when_the_kubeconfig_comes_it_scores_on_the_hub_and_becomes_available(world: World) -> None:
    await world.until(lambda: len(world.claim_names()) == 3)

    world.bring_kubeconfig()

    await world.until(lambda: any("status" in raw for raw in world.hub.objects(ADD_ON_PLACEMENT_SCORE)))
    await world.until(lambda: bool(world.spoke.objects(LEASE)))
    assert world.connected == [world.kubeconfig]
    assert world.agent.ready() is None


async def test_an_agent_that_hears_nothing_any_more_is_neither_ready_nor_in_the_end_alive(world: World) -> None:
    world.bring_kubeconfig()
    await world.until(lambda: world.agent.ready() is None)

    world.monotonic = 200.0
    deaf = world.agent.ready()
    alive = world.agent.healthy()
    world.monotonic = 1000.0

    assert "nodes: no message from the API server for 200 s" in (deaf or "")
    assert alive is None
    assert "no message from the API server for 1000 s" in (world.agent.healthy() or "")


async def test_a_bookmark_is_enough_to_be_heard_by(world: World) -> None:
    world.bring_kubeconfig()
    await world.until(lambda: world.agent.ready() is None)
    world.monotonic = 200.0

    world.spoke.bookmark()

    await world.until(lambda: world.agent.ready() is None)


async def test_a_cluster_without_any_object_still_has_claims(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.spoke.delete(NODE_CAPACITY, ObjectKey("", "n1"))
    task = asyncio.create_task(world.agent.run())

    await world.until(lambda: len(world.claim_names()) == 3)

    task.cancel()
    await asyncio.wait([task])
