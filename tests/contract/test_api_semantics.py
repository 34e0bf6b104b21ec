"""The API server semantics that controllers rely on, tested on the fake and on a real API server."""

import asyncio
from typing import Any

import pytest

from federation.api.kubernetes.core import ConfigMap
from federation.kube.api import WatchEvent
from federation.kube.errors import AlreadyExists, Conflict, Gone, Invalid, NotFound
from federation.kube.kinds import CONFIG_MAP, DEPLOYMENT
from federation.kube.resource import Json, ObjectKey
from tests.support.api_server.served import Served
from tests.support.builders.objects import config_map, deployment


def key_in(served: Served, name: str) -> ObjectKey:
    return ObjectKey(served.namespace, name)


async def created(served: Served, name: str = "a", **options: Any) -> ConfigMap:
    return await served.api.create(CONFIG_MAP, config_map(name, served.namespace, **options))


async def next_event(served: Served, version: str, *, label_selector: str = "") -> WatchEvent[ConfigMap]:
    stream = served.api.watch(
        CONFIG_MAP, resource_version=version, namespace=served.namespace, label_selector=label_selector
    )
    async with asyncio.timeout(60):
        async for event in stream:
            if event.object is not None:
                return event
    raise AssertionError("the stream ended")


async def test_created_objects_have_an_identity_and_a_version(served: Served) -> None:
    made = await created(served, x="1")
    assert made.metadata.uid
    assert made.metadata.creation_timestamp.endswith("Z")
    assert made.data == {"x": "1"}
    assert await served.api.read(CONFIG_MAP, key_in(served, "a")) == made
    with pytest.raises(AlreadyExists):
        await created(served)
    with pytest.raises(NotFound):
        await served.api.read(CONFIG_MAP, key_in(served, "b"))


async def test_generated_names_differ(served: Served) -> None:
    body: Json = {"metadata": {"generateName": "some-", "namespace": served.namespace}}
    names = {(await served.api.create(CONFIG_MAP, body)).metadata.name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("some-") for name in names)


async def test_a_merge_patch_sets_adds_and_removes(served: Served) -> None:
    made = await created(served, keep="1", change="1", drop="1")
    patch: Json = {"data": {"change": "2", "drop": None, "add": "1"}}
    patched = await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), patch)
    assert patched.data == {"keep": "1", "change": "2", "add": "1"}
    assert patched.metadata.resource_version != made.metadata.resource_version
    assert patched.metadata.uid == made.metadata.uid


async def test_a_write_that_changes_nothing_makes_no_version(served: Served) -> None:
    made = await created(served, x="1")
    patched = await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), {"data": {"x": "1"}})
    assert patched.metadata.resource_version == made.metadata.resource_version
    raw = await served.api.read_raw(CONFIG_MAP, key_in(served, "a"))
    replaced = await served.api.replace(CONFIG_MAP, key_in(served, "a"), raw)
    assert replaced.metadata.resource_version == made.metadata.resource_version


async def test_a_stale_write_is_a_conflict(served: Served) -> None:
    made = await created(served, x="1")
    raw = await served.api.read_raw(CONFIG_MAP, key_in(served, "a"))
    await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), {"data": {"x": "2"}})
    stale: Json = {"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"x": "3"}}
    with pytest.raises(Conflict):
        await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), stale)
    with pytest.raises(Conflict):
        await served.api.replace(CONFIG_MAP, key_in(served, "a"), raw)
    assert (await served.api.read(CONFIG_MAP, key_in(served, "a"))).data == {"x": "2"}


async def test_a_write_for_another_object_of_the_name_is_refused(served: Served) -> None:
    made = await created(served)
    other: Json = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "data": {"x": "1"}}
    with pytest.raises(Invalid):
        await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), other)
    other["metadata"]["resourceVersion"] = "1"
    with pytest.raises(Conflict):
        await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), other)
    other["metadata"] = {**other["metadata"], "name": "a", "resourceVersion": made.metadata.resource_version}
    with pytest.raises(Conflict):
        await served.api.replace(CONFIG_MAP, key_in(served, "a"), other)


async def test_delete_checks_the_uid_and_ignores_missing_objects(served: Served) -> None:
    made = await created(served)
    with pytest.raises(Conflict):
        await served.api.delete(CONFIG_MAP, key_in(served, "a"), uid="00000000-0000-0000-0000-000000000000")
    await served.api.delete(CONFIG_MAP, key_in(served, "a"), uid=made.metadata.uid)
    await served.api.delete(CONFIG_MAP, key_in(served, "a"))
    with pytest.raises(NotFound):
        await served.api.read(CONFIG_MAP, key_in(served, "a"))


async def test_a_finalizer_holds_a_deleted_object_until_it_is_removed(served: Served) -> None:
    body = config_map("a", served.namespace)
    body["metadata"]["finalizers"] = ["example.com/held"]
    await served.api.create(CONFIG_MAP, body)
    await served.api.delete(CONFIG_MAP, key_in(served, "a"))
    held = await served.api.read(CONFIG_MAP, key_in(served, "a"))
    assert held.metadata.deleting
    await served.api.delete(CONFIG_MAP, key_in(served, "a"))
    more: Json = {"metadata": {"finalizers": ["example.com/held", "example.com/more"]}}
    with pytest.raises(Invalid):
        await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), more)
    await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await served.api.read(CONFIG_MAP, key_in(served, "a"))


async def test_lists_come_in_pages_of_one_moment(served: Served) -> None:
    for number in range(5):
        await created(served, f"m{number}")
    page = await served.api.list_page(CONFIG_MAP, namespace=served.namespace, limit=2)
    await created(served, "late")
    names = [item.metadata.name for item in page.items]
    assert names == ["m0", "m1"]
    while page.continue_:
        page = await served.api.list_page(CONFIG_MAP, namespace=served.namespace, limit=2, continue_=page.continue_)
        names += [item.metadata.name for item in page.items]
    assert names == ["m0", "m1", "m2", "m3", "m4"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=a", ["one"]),
        ("tier==a", ["one"]),
        ("tier!=a", ["three", "two"]),
        ("tier", ["one", "two"]),
        ("!tier", ["three"]),
        ("tier in (a, b),extra", ["two"]),
        ("tier notin (a)", ["three", "two"]),
    ],
)
async def test_label_selectors(served: Served, selector: str, names: list[str]) -> None:
    await created(served, "one", labels={"tier": "a"})
    await created(served, "two", labels={"tier": "b", "extra": ""})
    await created(served, "three")
    page = await served.api.list_page(CONFIG_MAP, namespace=served.namespace, label_selector=selector)
    assert [item.metadata.name for item in page.items if item.metadata.name != "kube-root-ca.crt"] == names


async def test_one_name_is_listed_and_watched_alone(served: Served) -> None:
    await created(served, "one")
    page = await served.api.list_page(CONFIG_MAP, namespace=served.namespace, name="two")
    await created(served, "two")
    await served.api.merge_patch(CONFIG_MAP, key_in(served, "one"), {"data": {"x": "2"}})
    patched = await served.api.merge_patch(CONFIG_MAP, key_in(served, "two"), {"data": {"x": "2"}})
    shown = served.api.watch(CONFIG_MAP, resource_version=page.resource_version, namespace=served.namespace, name="two")
    added, modified = await anext(shown), await anext(shown)

    assert page.items == ()
    assert (added.type, added.object and added.object.metadata.name) == ("ADDED", "two")
    assert modified.object == patched


async def test_a_watch_shows_each_change_since_the_version(served: Served) -> None:
    start = (await served.api.list_page(CONFIG_MAP, namespace=served.namespace)).resource_version
    made = await created(served, x="1")
    event = await next_event(served, start)
    assert (event.type, event.object, event.resource_version) == ("ADDED", made, made.metadata.resource_version)
    patched = await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), {"data": {"x": "2"}})
    event = await next_event(served, event.resource_version)
    assert (event.type, event.object) == ("MODIFIED", patched)
    await served.api.delete(CONFIG_MAP, key_in(served, "a"))
    event = await next_event(served, event.resource_version)
    assert event.type == "DELETED"
    assert event.resource_version not in {"", patched.metadata.resource_version}


async def test_for_a_watch_a_lost_label_is_a_deletion_and_a_gained_one_an_addition(served: Served) -> None:
    start = (await served.api.list_page(CONFIG_MAP, namespace=served.namespace)).resource_version
    await created(served)
    key = key_in(served, "a")
    await served.api.merge_patch(CONFIG_MAP, key, {"metadata": {"labels": {"ours": "yes"}}})
    event = await next_event(served, start, label_selector="ours=yes")
    assert event.type == "ADDED"
    await served.api.merge_patch(CONFIG_MAP, key, {"metadata": {"labels": {"ours": "no"}}})
    event = await next_event(served, event.resource_version, label_selector="ours=yes")
    assert event.type == "DELETED"


async def test_a_watch_carries_objects_of_any_size(served: Served) -> None:
    start = (await served.api.list_page(CONFIG_MAP, namespace=served.namespace)).resource_version
    made = await created(served, large="x" * 900_000)
    event = await next_event(served, start)
    assert event.object == made


async def test_a_forgotten_version_is_gone(served: Served) -> None:
    start = (await served.api.list_page(CONFIG_MAP, namespace=served.namespace)).resource_version
    await created(served)
    await created(served, "b")
    page = await served.api.list_page(CONFIG_MAP, limit=1)
    await created(served, "c")
    await served.forget()
    with pytest.raises(Gone):
        await next_event(served, start)
    with pytest.raises(Gone):
        await served.api.list_page(CONFIG_MAP, limit=1, continue_=page.continue_)


async def test_the_generation_counts_changes_of_the_spec_alone(served: Served) -> None:
    key = key_in(served, "a")
    made = await served.api.create(DEPLOYMENT, {**deployment(served.namespace), "status": {"replicas": 7}})
    assert (made.metadata.generation, made.status.replicas) == (1, 0)
    labelled = await served.api.merge_patch(DEPLOYMENT, key, {"metadata": {"labels": {"x": "y"}}})
    assert labelled.metadata.generation == 1
    scaled = await served.api.merge_patch(DEPLOYMENT, key, {"spec": {"replicas": 2}, "status": {"replicas": 7}})
    assert (scaled.metadata.generation, scaled.status.replicas) == (2, 0)
    reported = await served.api.merge_patch(
        DEPLOYMENT, key, {"status": {"replicas": 2}, "spec": {"replicas": 9}}, subresource="status"
    )
    assert (reported.metadata.generation, reported.status.replicas) == (2, 2)
    assert (await served.api.read_raw(DEPLOYMENT, key))["spec"]["replicas"] == 2


async def test_a_kind_without_status_has_no_status_to_write(served: Served) -> None:
    await created(served)
    with pytest.raises(NotFound):
        await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), {"status": {}}, subresource="status")


async def test_names_cannot_reach_another_path(served: Served) -> None:
    for name in ("../configmaps/a", "a/status", "..", "a?dryRun=All", ""):
        with pytest.raises((NotFound, Invalid)):
            await served.api.read(CONFIG_MAP, ObjectKey(served.namespace, name))
