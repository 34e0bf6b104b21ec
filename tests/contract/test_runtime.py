"""Reflector and controller against what befalls a server and the line to it."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from federation.api.kubernetes.core import ConfigMap
from federation.backoff import Backoff
from federation.kube.api import Api
from federation.kube.controller import Controller, Source
from federation.kube.errors import Unavailable
from federation.kube.kinds import CONFIG_MAP
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, key_of
from tests.support.api_server.served import FakeServed, Served
from tests.support.builders.objects import config_map
from tests.support.waiting import running, until

SOON = Backoff(first=0.05, cap=0.2)
OURS = {"ours": "yes"}


def reflector_of(served: Served) -> Reflector[ConfigMap]:
    return Reflector(served.api, CONFIG_MAP, namespace=served.namespace, label_selector="ours=yes", backoff=SOON)


def held(reflector: Reflector[ConfigMap]) -> dict[str, str]:
    return {stored.metadata.name: stored.data["v"] for stored in reflector.store.values()}


class Writer:
    """Writes beside the line under test."""

    def __init__(self, served: Served, api: Api) -> None:
        self.namespace = served.namespace
        self.api = api

    async def put(self, name: str, v: str) -> None:
        key = ObjectKey(self.namespace, name)
        body = config_map(name, self.namespace, labels=OURS, v=v)
        await self.api.apply(CONFIG_MAP, key, body, field_manager="writer")

    async def delete(self, name: str) -> None:
        await self.api.delete(CONFIG_MAP, ObjectKey(self.namespace, name))


async def writer_of(served: Served) -> Writer:
    return Writer(served, await served.write_api())


async def test_follows_on_after_the_watch_is_cut_without_listing_again(served: Served) -> None:
    writer, reflector = await writer_of(served), reflector_of(served)
    await writer.put("a", "1")
    told: list[tuple[Any, Any]] = []
    reflector.subscribe(lambda old, new: told.append((old and old.data["v"], new and new.data["v"])))
    async with running(reflector.run()):
        await reflector.wait_synced()
        for round_ in range(2, 5):
            await served.close_line()
            await writer.put("a", f"{round_}a")
            await writer.put("a", f"{round_}b")
            await served.open_line()
            await until(lambda: held(reflector) == {"a": f"{round_}b"})  # noqa: B023 - awaited at once
    versions = ["1", "2a", "2b", "3a", "3b", "4a", "4b"]
    assert told == list(zip([None, *versions], versions, strict=False)), "no version was missed or shown twice"
    assert served.lists == 1


async def test_follows_on_after_the_server_is_killed_and_started_again(served: Served) -> None:
    writer, reflector = await writer_of(served), reflector_of(served)
    await writer.put("stays", "1")
    await writer.put("goes", "1")
    async with running(reflector.run()):
        await reflector.wait_synced()
        await served.restart()
        await writer.put("stays", "2")
        await writer.put("new", "1")
        await writer.delete("goes")
        await until(lambda: held(reflector) == {"stays": "2", "new": "1"})


async def test_relists_after_an_expired_version_and_deletes_missing_objects(served: Served) -> None:
    writer, reflector = await writer_of(served), reflector_of(served)
    for name in ("stays", "changes", "vanishes"):
        await writer.put(name, "1")
    told: list[tuple[str, Any, Any]] = []
    async with running(reflector.run()):
        await reflector.wait_synced()
        reflector.subscribe(lambda old, new: told.append((_name(old, new), _value(old), _value(new))))
        await served.close_line()
        await writer.put("changes", "2")
        await writer.delete("vanishes")
        await served.forget()
        await served.open_line()
        await until(lambda: held(reflector) == {"stays": "1", "changes": "2"})
        assert sorted(told, key=str) == [("changes", "1", "2"), ("vanishes", "1", None)]
        assert served.lists == 2
        await writer.put("stays", "2")
        await until(lambda: held(reflector) == {"stays": "2", "changes": "2"})


def _name(old: ConfigMap | None, new: ConfigMap | None) -> str:
    present = new or old
    assert present is not None
    return present.metadata.name


def _value(stored: ConfigMap | None) -> str | None:
    return stored.data["v"] if stored else None


async def test_waits_as_long_as_a_busy_server_asks(served: Served) -> None:
    writer, reflector = await writer_of(served), reflector_of(served)
    await writer.put("a", "1")
    await served.refuse_next(2, retry_after=1)
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with running(reflector.run()):
        await reflector.wait_synced()
    assert 2 <= clock() - begun < 10
    assert held(reflector) == {"a": "1"}


async def test_a_rejected_write_reports_the_retry_delay(served: Served) -> None:
    await served.refuse_next(1, retry_after=7)
    with pytest.raises(Unavailable) as refused:
        await served.api.create(CONFIG_MAP, config_map("a", served.namespace))
    assert refused.value.retry_after == 7


async def test_holds_and_works_through_thousands_of_objects(served: Served) -> None:
    count = 5000 if isinstance(served, FakeServed) else 1000
    writer, reflector = await writer_of(served), reflector_of(served)
    turns = asyncio.Semaphore(16)

    async def put(name: str) -> None:
        async with turns:
            body = config_map(name, served.namespace, labels=OURS, v="1")
            await writer.api.create(CONFIG_MAP, body)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(put(f"m{number}"))

    runs: Counter[ObjectKey] = Counter()

    async def reconcile(key: ObjectKey) -> None:
        runs[key] += 1

    controller = Controller("many", reconcile, [Source(reflector, lambda stored: [key_of(stored)])])
    async with running(reflector.run(), controller.run()):
        await until(lambda: len(runs) == count)
        await writer.put("m0", "2")
        await until(lambda: runs[ObjectKey(served.namespace, "m0")] == 2)
    assert len(reflector.store) == count
    assert sum(runs.values()) == count + 1


async def test_a_slow_reconcile_delays_no_other_key_and_misses_no_change(served: Served) -> None:
    writer, reflector = await writer_of(served), reflector_of(served)
    await writer.put("slow", "1")
    gate, seen = asyncio.Event(), Counter[tuple[str, str]]()

    async def reconcile(key: ObjectKey) -> None:
        found = reflector.store.find(key)
        assert found is not None
        if (key.name, found.data["v"]) == ("slow", "1"):
            await gate.wait()
        seen[key.name, found.data["v"]] += 1

    controller = Controller("slow", reconcile, [Source(reflector, lambda stored: [key_of(stored)])], workers=2)
    async with running(reflector.run(), controller.run()):
        await reflector.wait_synced()
        await writer.put("quick", "1")
        await until(lambda: seen["quick", "1"] == 1)
        await writer.put("slow", "2")
        await served.cut()
        await writer.put("slow", "3")
        await writer.put("quick", "2")
        await until(lambda: seen["quick", "2"] == 1)
        assert not any(name == "slow" for name, _ in seen)
        gate.set()
        await until(lambda: seen["slow", "3"] == 1)
    assert seen["slow", "2"] == 0
