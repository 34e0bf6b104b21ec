"""A reflector follows the server through every state, and tells each change once and in order."""

from collections.abc import Callable
from typing import Any

import pytest

from federation.api.kubernetes.core import ConfigMap
from federation.backoff import Backoff
from federation.kube.errors import Denied, Gone, Invalid, KubeError, Unavailable
from federation.kube.kinds import CONFIG_MAP, SECRET
from federation.kube.reflector import Empty, InitListed, InitPage, Reflector, Retain, Watching
from federation.kube.resource import ObjectKey
from tests.support.builders.objects import config_map
from tests.support.fakes.fake_api import FakeApi
from tests.support.waiting import running, until

AT_ONCE = Backoff(first=0.0)
Told = list[tuple[str | None, str | None]]


def reflector_of(api: FakeApi, **options: Any) -> tuple[Reflector[ConfigMap], Told]:
    reflector = Reflector(api, CONFIG_MAP, backoff=AT_ONCE, **options)
    told: Told = []
    reflector.subscribe(lambda old, new: told.append((old.data["v"] if old else None, new.data["v"] if new else None)))
    return reflector, told


def versions(reflector: Reflector[ConfigMap]) -> dict[str, str]:
    return {stored.metadata.name: stored.data["v"] for stored in reflector.store.values()}


async def test_steps_from_nothing_through_the_pages_of_a_list_to_a_watch() -> None:
    api = FakeApi()
    for number in range(501):
        api.seed(CONFIG_MAP, config_map(f"m{number:03}", v="1"))
    reflector, _ = reflector_of(api)

    events, state, failed = await reflector.step(Empty())
    assert (len(events), failed) == (500, None)
    assert isinstance(state, InitPage)
    events, state, failed = await reflector.step(state)
    assert (len(events), failed) == (2, None)
    assert isinstance(events[-1], Retain)
    assert len(events[-1].keys) == 501
    assert isinstance(state, InitListed)
    events, state, failed = await reflector.step(state)
    assert (events, failed) == ([], None)
    assert isinstance(state, Watching)


async def test_notifies_of_additions_changes_and_deletions_in_order() -> None:
    api = FakeApi()
    api.seed(CONFIG_MAP, config_map("a", v="1"))
    reflector, told = reflector_of(api)
    async with running(reflector.run()):
        await reflector.wait_synced()
        await api.create(CONFIG_MAP, config_map("b", v="1"))
        await api.merge_patch(CONFIG_MAP, ObjectKey("default", "a"), {"data": {"v": "2"}})
        await api.delete(CONFIG_MAP, ObjectKey("default", "b"))
        await until(lambda: len(told) == 4)
    assert told == [(None, "1"), (None, "1"), ("1", "2"), ("1", None)]


async def test_resumes_a_cut_watch_without_listing_again() -> None:
    api = FakeApi()
    api.seed(CONFIG_MAP, config_map("a", v="1"))
    reflector, told = reflector_of(api)
    async with running(reflector.run()):
        await reflector.wait_synced()
        api.cut_watches(Unavailable("connection reset"))
        api.fail_next(Unavailable("connection refused"), Unavailable("connection refused"))
        api.seed(CONFIG_MAP, config_map("a", v="2"))
        api.seed(CONFIG_MAP, config_map("a", v="3"))
        await until(lambda: versions(reflector) == {"a": "3"})
    assert told == [(None, "1"), ("1", "2"), ("2", "3")], "a relist would have shown 1 -> 3 alone"


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(lambda: Gone("410"), id="too-old"),
        pytest.param(lambda: Invalid("400"), id="version-of-another-life-of-the-server"),
        pytest.param(lambda: Denied("403"), id="right-withdrawn-and-given-again"),
    ],
)
async def test_lists_again_after_a_refusal_and_deletes_what_vanished_meanwhile(
    refusal: Callable[[], KubeError],
) -> None:
    api = FakeApi()
    api.seed(CONFIG_MAP, config_map("stays", v="1"))
    api.seed(CONFIG_MAP, config_map("vanishes", v="1"))
    reflector, told = reflector_of(api)
    async with running(reflector.run()):
        await until(lambda: len(told) == 2 and reflector.synced)
        api.fail_next(refusal())
        api.cut_watches(Unavailable("cut"))
        api.remove(CONFIG_MAP, ObjectKey("default", "vanishes"))
        api.compact()
        await until(lambda: versions(reflector) == {"stays": "1"})
        assert not api.pending_faults
        api.seed(CONFIG_MAP, config_map("stays", v="2"))
        await until(lambda: versions(reflector) == {"stays": "2"})
    assert told[2:] == [("1", None), ("1", "2")]


async def test_relist_after_compaction_shows_the_net_change_of_each_object_once() -> None:
    api = FakeApi()
    api.seed(CONFIG_MAP, config_map("changes", v="1"))
    api.seed(CONFIG_MAP, config_map("stays", v="1"))
    api.seed(CONFIG_MAP, config_map("vanishes", v="9"))
    reflector, told = reflector_of(api)
    async with running(reflector.run()):
        await until(lambda: len(told) == 3 and reflector.synced)
        told.clear()
        api.cut_watches(Unavailable("cut"))
        api.seed(CONFIG_MAP, config_map("changes", v="2"))
        api.seed(CONFIG_MAP, config_map("changes", v="3"))
        api.remove(CONFIG_MAP, ObjectKey("default", "vanishes"))
        api.compact()
        await until(lambda: len(told) == 2)
    assert told == [("1", "3"), ("9", None)]
    assert versions(reflector) == {"changes": "3", "stays": "1"}


async def test_removes_an_object_that_has_lost_the_label() -> None:
    api = FakeApi()
    api.seed(CONFIG_MAP, config_map("a", labels={"ours": "yes"}, v="1"))
    api.seed(CONFIG_MAP, config_map("b", v="1"))
    reflector, told = reflector_of(api, label_selector="ours=yes")
    async with running(reflector.run()):
        await reflector.wait_synced()
        await api.merge_patch(CONFIG_MAP, ObjectKey("default", "a"), {"metadata": {"labels": {"ours": None}}})
        await until(lambda: len(told) == 2)
    assert told == [(None, "1"), ("1", None)]


async def test_one_object_that_cannot_be_read_hides_no_other() -> None:
    api = FakeApi()
    with pytest.raises(Invalid, match=r"'broken' cannot be read.*data"):
        api.seed(CONFIG_MAP, {**config_map("broken"), "data": {"v": 1}})
    api.seed(CONFIG_MAP, config_map("sound", v="1"))
    reflector, _ = reflector_of(api)
    async with running(reflector.run()):
        await reflector.wait_synced()
        assert versions(reflector) == {"sound": "1"}
        with pytest.raises(Invalid):
            api.seed(CONFIG_MAP, {**config_map("sound"), "data": {"v": 1}})
        api.seed(CONFIG_MAP, config_map("later", v="1"))
        await until(lambda: versions(reflector) == {"later": "1"})


async def test_hears_from_the_server_by_bookmarks_alone() -> None:
    api = FakeApi()
    times = iter(range(1000))
    reflector, _ = reflector_of(api, clock=lambda: float(next(times)))
    async with running(reflector.run()):
        await reflector.wait_synced()
        heard = reflector.heard_at
        await until(lambda: api.open_watches == 1)
        api.bookmark()
        await until(lambda: reflector.heard_at > heard)


async def test_resumes_from_its_bookmark_when_all_before_it_is_compacted() -> None:
    api = FakeApi()
    api.seed(CONFIG_MAP, config_map("a", v="1"))
    reflector, told = reflector_of(api)
    async with running(reflector.run()):
        await until(lambda: reflector.synced and api.open_watches == 1)
        heard = reflector.heard_at
        api.seed(SECRET, {"metadata": {"name": "of-another-kind", "namespace": "default"}})
        api.bookmark()
        await until(lambda: reflector.heard_at > heard)
        api.compact()
        api.cut_watches()
        api.seed(CONFIG_MAP, config_map("a", v="2"))
        api.seed(CONFIG_MAP, config_map("a", v="3"))
        await until(lambda: versions(reflector) == {"a": "3"})
    assert told == [(None, "1"), ("1", "2"), ("2", "3")]
