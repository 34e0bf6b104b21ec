"""The add-on's controllers against an API server in memory, killed at each of their writes in turn."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from federation.api.identity import TRUST_BUNDLE
from federation.kube.kinds import (
    ADD_ON_PLACEMENT_SCORE,
    CLUSTER_MANAGEMENT_ADD_ON,
    CONFIG_MAP,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANIFEST_WORK,
    ROLE,
    ROLE_BINDING,
)
from federation.kube.resource import Json, Kind, ObjectKey
from hub_manager.addon.controllers import addon_controllers, watch_addons
from tests.support.builders.addon_objects import BUNDLE, NOW, raw_addon, settings
from tests.support.fakes.fake_api import FakeApi

SYSTEM = "federated-learning-system"
WRITTEN: tuple[Kind[Any], ...] = (
    CLUSTER_MANAGEMENT_ADD_ON,
    ROLE,
    ROLE_BINDING,
    ADD_ON_PLACEMENT_SCORE,
    MANAGED_CLUSTER_ADD_ON,
    MANIFEST_WORK,
)


def _hub() -> FakeApi:
    api = FakeApi(now=lambda: NOW)
    api.seed(MANAGED_CLUSTER, {"metadata": {"name": "c1"}, "spec": {"hubAcceptsClient": True}})
    api.seed(CONFIG_MAP, {"metadata": {"name": TRUST_BUNDLE, "namespace": SYSTEM}, "data": {"ca.crt": BUNDLE}})
    return api


def _enable(api: FakeApi) -> None:
    """Act as the administrator and OCM's addon-manager."""
    (cluster_management_addon,) = api.objects(CLUSTER_MANAGEMENT_ADD_ON)
    addon = raw_addon()
    addon["metadata"]["ownerReferences"][0]["uid"] = cluster_management_addon["metadata"]["uid"]
    api.seed(MANAGED_CLUSTER_ADD_ON, addon)


@asynccontextmanager
async def _manager(api: FakeApi) -> AsyncIterator[asyncio.Task[None]]:
    """A hub manager's add-on part, until the block ends or a write kills the whole of it."""
    reflectors = watch_addons(api, SYSTEM)
    controllers = addon_controllers(api, reflectors, settings(), namespace=SYSTEM, now=lambda: NOW)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in (*reflectors, *controllers):
                tasks.create_task(part.run())

    running = asyncio.create_task(run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _quiet(api: FakeApi, turns: int = 60) -> None:
    """Lets everything run until nothing has been written for a while."""
    version, still = -1, 0
    while still < turns:
        await asyncio.sleep(0)
        still = still + 1 if api.version == version else 0
        version = api.version


def _state(api: FakeApi) -> dict[str, list[Json]]:
    return {kind.kind: [_without_versions(body) for body in api.objects(kind)] for kind in WRITTEN}


def _without_versions(body: Json) -> Json:
    clean = copy.deepcopy(body)
    for name in ("uid", "resourceVersion", "managedFields", "generation", "ownerReferences"):
        clean["metadata"].pop(name, None)
    return clean


async def _enabled() -> FakeApi:
    api = _hub()
    async with _manager(api):
        await _quiet(api)
        _enable(api)
        await _quiet(api)
    return api


async def test_enabling_on_an_api_server_registers_and_deploys() -> None:
    api = await _enabled()

    (addon,) = api.objects(MANAGED_CLUSTER_ADD_ON)
    assert [r["subject"]["user"] for r in addon["status"]["registrations"]][1] == "c1"
    assert [w["metadata"]["name"] for w in api.objects(MANIFEST_WORK)] == ["addon-federated-learning-deploy-0"]
    assert len(api.objects(ROLE_BINDING)) == 1


async def test_a_settled_hub_is_not_written_to_again() -> None:
    api = await _enabled()
    before = len(api.calls)

    async with _manager(api):
        await _quiet(api)

    assert len(api.calls) == before


@pytest.mark.parametrize("n_writes", range(1, 8))
async def test_killed_after_any_write_a_new_manager_reaches_the_same_state(n_writes: int) -> None:
    undisturbed = _state(await _enabled())
    api = _hub()
    api.crash_after(n_writes)
    async with _manager(api) as doomed:
        await _quiet(api)
        if not doomed.done():
            _enable(api)
        await _quiet(api)
        assert doomed.done()
    async with _manager(api):
        await _quiet(api)
        if not api.objects(MANAGED_CLUSTER_ADD_ON):
            _enable(api)
        await _quiet(api)

    assert _state(api) == undisturbed


async def test_disabling_leaves_nothing_behind_even_without_a_garbage_collector() -> None:
    api = await _enabled()

    async with _manager(api):
        await _quiet(api)
        await api.delete(MANAGED_CLUSTER_ADD_ON, ObjectKey("c1", "federated-learning"))
        await _quiet(api)

    left = {kind.kind for kind in WRITTEN if api.objects(kind)}
    assert left == {"ClusterManagementAddOn"}


async def test_a_new_trust_bundle_reaches_every_work() -> None:
    api = await _enabled()

    async with _manager(api):
        await _quiet(api)
        new = {"metadata": {"name": TRUST_BUNDLE, "namespace": SYSTEM}, "data": {"ca.crt": BUNDLE * 2}}
        api.seed(CONFIG_MAP, new)
        await _quiet(api)

    (work,) = api.objects(MANIFEST_WORK)
    bundles = [m["data"] for m in work["spec"]["workload"]["manifests"] if m["kind"] == "ConfigMap"]
    assert bundles == [{"ca.crt": BUNDLE * 2}]
