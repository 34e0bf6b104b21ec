"""Test the ConfigMaps that runs name as plans: each is watched by name, and only while a run refers to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes.core import ConfigMap
from federation.kube.kinds import CONFIG_MAP, FEDERATED_LEARNING
from federation.kube.reflector import Reflector
from federation.kube.resource import Json, ObjectKey
from hub_manager.federated_learning.observation.plan_config_maps import PlanSources
from tests.support.builders.run_objects import run_json
from tests.support.fakes.fake_api import FakeApi
from tests.support.waiting import running, until

KEY = ObjectKey("default", "mnist")
PLANS = ObjectKey("default", "plans")


@dataclass
class Hub:
    """An API server with runs, and the source of their plans."""

    api: FakeApi = field(default_factory=FakeApi)
    woken: list[ObjectKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs: Reflector[FederatedLearning] = Reflector(self.api, FEDERATED_LEARNING)
        self.sources = PlanSources(self.api, self.runs)
        self.sources.subscribe(self.woken.append)

    def text(self) -> str | None:
        """Return the observed plan of the run: its text, "absent" if it is missing, or None if it is unread."""
        run = self.runs.store.find(KEY)
        found = None if run is None else self.sources.find(run)
        if found is None:
            return None
        config_map: ConfigMap | None = found.config_map
        return "absent" if config_map is None else config_map.data["plan.yaml"]

    async def submit(self, **plan: str) -> None:
        body = run_json(server={"plan": plan} if plan else {})
        await self.api.apply(FEDERATED_LEARNING, KEY, body, field_manager="user")

    async def write(self, text: str) -> None:
        body: Json = {"metadata": {"name": "plans", "namespace": "default"}, "data": {"plan.yaml": text}}
        await self.api.apply(CONFIG_MAP, PLANS, body, field_manager="user")


@asynccontextmanager
async def hub() -> AsyncIterator[Hub]:
    made = Hub()
    async with running(made.runs.run(), made.sources.run()):
        await made.runs.wait_synced()
        yield made


async def test_a_missing_or_changed_config_map_requeues_its_runs() -> None:
    async with hub() as seen:
        await seen.submit(configMap="plans")
        await until(lambda: seen.text() == "absent" and seen.woken == [KEY])

        for text in ("epochs: 1", "epochs: 2"):
            seen.woken.clear()
            await seen.write(text)
            await until(lambda: seen.text() == text and bool(seen.woken))  # noqa: B023 - awaited within the turn

        seen.woken.clear()
        await seen.api.delete(CONFIG_MAP, PLANS)
        await until(lambda: seen.text() == "absent" and bool(seen.woken))


async def test_no_config_map_is_read_for_a_run_that_names_none() -> None:
    async with hub() as seen:
        await seen.submit()
        await until(lambda: len(seen.runs.store) == 1)
        await seen.submit(path="plan/plan.yaml")
        await asyncio.sleep(0)

        assert seen.text() is None
        assert (seen.api.lists, seen.api.open_watches) == (1, 1)  # the runs' own


async def test_a_config_map_is_not_watched_after_its_last_run_ends() -> None:
    async with hub() as seen:
        await seen.submit(configMap="plans")
        await until(lambda: seen.api.open_watches == 2)

        status = {"status": {"completionTime": "2030-01-01T00:00:00Z"}}
        await seen.api.merge_patch(FEDERATED_LEARNING, KEY, status, subresource="status")
        await until(lambda: seen.api.open_watches == 1)
        assert seen.text() is None

        again = {"status": {"completionTime": None}}
        await seen.api.merge_patch(FEDERATED_LEARNING, KEY, again, subresource="status")
        await until(lambda: seen.text() == "absent")
