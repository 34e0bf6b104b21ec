"""A controller runs each key that a change concerns, survives every error, and never runs a key twice at once."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from federation.api.kubernetes.core import ConfigMap
from federation.backoff import Backoff
from federation.kube.controller import Controller, Source
from federation.kube.errors import Conflict, Invalid, Unavailable
from federation.kube.kinds import CONFIG_MAP
from federation.kube.queue import KeyedQueue
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, key_of
from tests.support.builders.objects import config_map
from tests.support.fakes.fake_api import Crash, FakeApi
from tests.support.waiting import running, until

Reconcile = Callable[[ObjectKey], Awaitable[float | None]]


def own_key(stored: ConfigMap) -> list[ObjectKey]:
    return [key_of(stored)]


def controlled(
    api: FakeApi, reconcile: Reconcile, keys: Callable[[ConfigMap], list[ObjectKey]] = own_key, **options: Any
) -> tuple[Reflector[ConfigMap], Controller]:
    reflector = Reflector(api, CONFIG_MAP, backoff=Backoff(first=0.0))
    queue: KeyedQueue[ObjectKey] = KeyedQueue(backoff=Backoff(first=0.0))
    return reflector, Controller("test", reconcile, [Source(reflector, keys)], queue=queue, **options)


async def test_runs_what_is_there_at_the_start_and_what_changes_later() -> None:
    api, runs = FakeApi(), Counter[str]()
    api.seed(CONFIG_MAP, config_map("a"))

    async def reconcile(key: ObjectKey) -> None:
        runs[key.name] += 1

    reflector, controller = controlled(api, reconcile)
    async with running(reflector.run(), controller.run()):
        await until(lambda: runs == {"a": 1})
        await api.create(CONFIG_MAP, config_map("b"))
        await until(lambda: runs == {"a": 1, "b": 1})
        await api.delete(CONFIG_MAP, ObjectKey("default", "a"))
        await until(lambda: runs == {"a": 2, "b": 1})


async def test_does_nothing_before_every_source_is_synced() -> None:
    api, runs = FakeApi(), Counter[str]()
    api.seed(CONFIG_MAP, config_map("a"))

    async def reconcile(key: ObjectKey) -> None:
        runs[key.name] += 1

    synced, late = Reflector(api, CONFIG_MAP), Reflector(api, CONFIG_MAP)
    controller = Controller("test", reconcile, [Source(synced, own_key), Source(late, own_key)])
    async with running(synced.run(), controller.run()) as tasks:
        await synced.wait_synced()
        await until(lambda: api.open_watches == 1)
        assert not runs
        following = tasks.create_task(late.run())
        await until(lambda: runs == {"a": 1})
        following.cancel()


async def test_runs_the_keys_of_the_old_version_too() -> None:
    api, runs = FakeApi(), Counter[str]()
    api.seed(CONFIG_MAP, config_map("a", concerns="x"))

    async def reconcile(key: ObjectKey) -> None:
        runs[key.name] += 1

    reflector, controller = controlled(api, reconcile, lambda stored: [ObjectKey("", stored.data["concerns"])])
    async with running(reflector.run(), controller.run()):
        await until(lambda: runs == {"x": 1})
        await api.merge_patch(CONFIG_MAP, ObjectKey("default", "a"), {"data": {"concerns": "y"}})
        await until(lambda: runs == {"x": 2, "y": 1})


async def test_a_key_never_runs_twice_at_once_and_a_slow_one_holds_up_no_other() -> None:
    api, runs, gate = FakeApi(), Counter[str](), asyncio.Event()
    active: defaultdict[str, int] = defaultdict(int)

    async def reconcile(key: ObjectKey) -> None:
        active[key.name] += 1
        assert active[key.name] == 1
        if key.name == "slow":
            await gate.wait()
        runs[key.name] += 1
        active[key.name] -= 1

    api.seed(CONFIG_MAP, config_map("slow"))
    reflector, controller = controlled(api, reconcile, workers=2)
    async with running(reflector.run(), controller.run()):
        await until(lambda: active["slow"] == 1)
        for number in range(20):
            api.seed(CONFIG_MAP, config_map("slow", v=str(number)))
            api.seed(CONFIG_MAP, config_map(f"quick{number}"))
        await until(lambda: sum(runs.values()) == 20)
        assert runs["slow"] == 0
        gate.set()
        await until(lambda: runs["slow"] == 2)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unavailable("503"), id="unavailable"),
        pytest.param(Conflict("409"), id="conflict"),
        pytest.param(ZeroDivisionError(), id="bug"),
    ],
)
async def test_retries_what_failed_until_it_succeeds(error: Exception) -> None:
    api, tries = FakeApi(), 0
    api.seed(CONFIG_MAP, config_map("a"))

    async def reconcile(_: ObjectKey) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise error

    reflector, controller = controlled(api, reconcile)
    async with running(reflector.run(), controller.run()):
        await until(lambda: tries == 4)


async def test_does_not_retry_a_terminal_error_until_something_changes() -> None:
    api, tries = FakeApi(), Counter[str]()
    api.seed(CONFIG_MAP, config_map("a"))

    async def reconcile(key: ObjectKey) -> None:
        tries[key.name] += 1
        if key.name == "a":
            raise Invalid("422")

    reflector, controller = controlled(api, reconcile, workers=1)
    async with running(reflector.run(), controller.run()):
        await until(lambda: tries["a"] == 1)
        for number in range(5):
            api.seed(CONFIG_MAP, config_map(f"other{number}"))
            await until(lambda: tries[f"other{number}"] == 1)  # noqa: B023 - awaited at once
        assert tries["a"] == 1
        api.seed(CONFIG_MAP, config_map("a", v="2"))
        await until(lambda: tries["a"] == 2)


async def test_a_run_that_hangs_is_ended_at_its_deadline_and_tried_again() -> None:
    api, tries = FakeApi(), 0
    api.seed(CONFIG_MAP, config_map("a"))

    async def reconcile(_: ObjectKey) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.Event().wait()

    reflector, controller = controlled(api, reconcile, deadline=0.02)
    async with running(reflector.run(), controller.run()):
        await until(lambda: tries == 2)


async def test_a_key_comes_again_when_it_asked_to() -> None:
    api, runs = FakeApi(), 0
    api.seed(CONFIG_MAP, config_map("a"))

    async def reconcile(_: ObjectKey) -> float | None:
        nonlocal runs
        runs += 1
        return 0.01 if runs == 1 else None

    reflector, controller = controlled(api, reconcile)
    async with running(reflector.run(), controller.run()):
        await until(lambda: runs == 2)


async def test_sweeps_every_key_again_once_per_period_without_a_change() -> None:
    api, runs = FakeApi(), Counter[str]()
    api.seed(CONFIG_MAP, config_map("a"))
    api.seed(CONFIG_MAP, config_map("b"))

    async def reconcile(key: ObjectKey) -> None:
        runs[key.name] += 1

    reflector, controller = controlled(api, reconcile, resync=0.02)
    async with running(reflector.run(), controller.run()):
        await until(lambda: min(runs["a"], runs["b"]) >= 3)


async def test_an_object_without_keys_does_not_affect_others() -> None:
    api, runs = FakeApi(), Counter[str]()
    api.seed(CONFIG_MAP, config_map("hostile"))
    api.seed(CONFIG_MAP, config_map("honest", concerns="x"))

    async def reconcile(key: ObjectKey) -> None:
        runs[key.name] += 1

    reflector, controller = controlled(api, reconcile, lambda stored: [ObjectKey("", stored.data["concerns"])])
    async with running(reflector.run(), controller.run()):
        await until(lambda: runs == {"x": 1})


async def test_a_key_that_is_due_again_at_once_leaves_everything_else_its_turn() -> None:
    api, turns = FakeApi(), 0
    api.seed(CONFIG_MAP, config_map("busy"))

    async def reconcile(_: ObjectKey) -> float:
        return 0.0

    async def beside() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    reflector, controller = controlled(api, reconcile)
    async with asyncio.timeout(60), running(reflector.run(), controller.run(), beside()):
        await until(lambda: turns > 100)


async def test_a_crash_ends_the_controller() -> None:
    api = FakeApi()
    api.seed(CONFIG_MAP, config_map("a"))
    api.crash_after(1)

    async def reconcile(key: ObjectKey) -> None:
        await api.merge_patch(CONFIG_MAP, key, {"data": {"v": "written"}})

    reflector, controller = controlled(api, reconcile)
    with pytest.raises(BaseExceptionGroup) as ended:
        async with running(reflector.run(), controller.run()):
            await until(lambda: False)
    assert ended.group_contains(Crash)
    assert api.objects(CONFIG_MAP)[0]["data"] == {"v": "written"}
