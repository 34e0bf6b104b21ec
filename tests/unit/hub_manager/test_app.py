"""The hub manager put together: it leads only when elected, and says what it waits for."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from federation.kube.errors import Unavailable
from federation.kube.kinds import CLUSTER_MANAGEMENT_ADD_ON
from hub_manager.app import Hub
from tests.support.builders.addon_objects import NOW
from tests.support.fakes.fake_api import FakeApi
from tests.support.fleet.ocm_hub import manager_config


async def _turns(count: int = 200) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_replica_without_the_lease_writes_nothing_and_is_ready_to_take_over() -> None:
    api = FakeApi(now=lambda: NOW)
    hub = Hub(manager_config(), api, now=lambda: NOW)
    elected = asyncio.Event()

    async def elect(lead: Callable[[], Awaitable[None]]) -> None:
        await elected.wait()
        await lead()

    running = asyncio.create_task(hub.run(elect))
    await _turns()
    before = (len(api.calls), hub.ready())
    elected.set()
    await _turns()
    after = [body["metadata"]["name"] for body in api.objects(CLUSTER_MANAGEMENT_ADD_ON)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert before == (0, None)
    assert after == ["federated-learning"]


async def test_a_leader_that_cannot_read_reports_what_it_waits_for() -> None:
    api = FakeApi(now=lambda: NOW)
    api.fail_next(*[Unavailable("503") for _ in range(9)])
    hub = Hub(manager_config(), api, now=lambda: NOW)

    running = asyncio.create_task(hub.lead())
    await _turns(20)
    waiting = hub.ready()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert waiting is not None
    assert "managedclusters" in waiting


async def test_the_end_of_one_part_ends_the_whole() -> None:
    class Broken:
        async def run(self) -> None:
            raise RuntimeError("authority lost")

    hub = Hub(manager_config(), FakeApi(now=lambda: NOW), now=lambda: NOW, further=lambda _reflectors: (Broken(),))

    with pytest.raises(ExceptionGroup) as caught:
        await hub.lead()

    assert caught.group_contains(RuntimeError, match="authority lost")


async def test_a_leader_with_silent_watches_is_unhealthy() -> None:
    clock = [1000.0]
    hub = Hub(manager_config(), FakeApi(now=lambda: NOW), now=lambda: NOW, monotonic=lambda: clock[0])

    running = asyncio.create_task(hub.lead())
    await _turns()
    at_first = hub.healthy()
    # The reflectors' own clock stands far behind this one.
    clock[0] = 1e12
    later = hub.healthy()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert at_first is None
    assert later is not None
    assert "managedclusters" in later
