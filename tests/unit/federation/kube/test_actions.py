"""Every action of a plan, performed against an API server in memory."""

from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from federation.api.kubernetes.core import ConfigMap
from federation.kube.actions import (
    Action,
    ActionExecutor,
    Apply,
    Create,
    Delete,
    DeleteOwned,
    NotOwned,
    OwnerLabel,
    Patch,
)
from federation.kube.errors import AlreadyExists, Conflict, Denied, Invalid, NotFound
from federation.kube.kinds import CONFIG_MAP, MANAGED_CLUSTER_ADD_ON
from federation.kube.resource import Json, ObjectKey
from tests.support.builders.objects import config_map
from tests.support.fakes.fake_api import Call, FakeApi

OWNER = OwnerLabel("example.com/managed-by", "tests")
OTHER_OWNER = OwnerLabel("example.com/managed-by", "another")
KEY = ObjectKey("default", "a")


def owned(name: str = "a", owner: OwnerLabel = OWNER, **data: str) -> Json:
    """A ConfigMap that bears the owner's label."""
    return config_map(name, labels={owner.name: owner.value}, **data)


@dataclass(frozen=True)
class Performed:
    """The log lines of some actions, without their level."""

    lines: list[dict[str, Any]]

    @property
    def events(self) -> list[str]:
        """The events in their order."""
        return [line["event"] for line in self.lines]


async def perform(api: FakeApi, *actions: Action) -> Performed:
    executor = ActionExecutor(api, "tests")
    with structlog.testing.capture_logs() as lines:
        for action in actions:
            await executor.perform(action, structlog.stdlib.get_logger())
    return Performed([dict(line) for line in lines])


def data(api: FakeApi) -> dict[str, Any]:
    return {found["metadata"]["name"]: found.get("data") for found in api.objects(CONFIG_MAP)}


def seeded(api: FakeApi, body: Json) -> ConfigMap:
    return api.seed(CONFIG_MAP, body)


async def test_apply_creates_and_changes_the_object() -> None:
    api = FakeApi()
    performed = await perform(
        api,
        Apply(CONFIG_MAP, KEY, config_map("a", x="1")),
        Apply(CONFIG_MAP, KEY, config_map("a", x="2")),
    )
    assert data(api) == {"a": {"x": "2"}}
    assert performed.lines[0] == {
        "event": "object_applied",
        "kind": "ConfigMap",
        "object": "default/a",
        "log_level": "info",
    }


async def test_apply_uses_the_fallback_when_the_body_is_invalid() -> None:
    api = FakeApi()
    api.fail_next(Invalid("the node port is taken"))
    await perform(api, Apply(CONFIG_MAP, KEY, config_map("a", x="wanted"), fallback=config_map("a", x="fallback")))
    assert data(api) == {"a": {"x": "fallback"}}


async def test_apply_raises_an_invalid_body_without_a_fallback() -> None:
    api = FakeApi()
    api.fail_next(Invalid("the node port is taken"))
    with pytest.raises(Invalid, match="node port"):
        await perform(api, Apply(CONFIG_MAP, KEY, config_map("a")))
    assert data(api) == {}


async def test_apply_uses_no_fallback_for_other_errors() -> None:
    api = FakeApi()
    api.fail_next(Denied("403"))
    with pytest.raises(Denied):
        await perform(api, Apply(CONFIG_MAP, KEY, config_map("a"), fallback=config_map("a")))
    assert data(api) == {}


@pytest.mark.parametrize("present", [None, owned(x="old")], ids=["missing", "owned"])
async def test_apply_with_an_owner_writes_an_owned_or_missing_object(present: Json | None) -> None:
    api = FakeApi()
    if present is not None:
        seeded(api, present)
    await perform(api, Apply(CONFIG_MAP, KEY, owned(x="new"), owner=OWNER))
    assert data(api) == {"a": {"x": "new"}}


@pytest.mark.parametrize(
    "present", [config_map("a", x="old"), owned(owner=OTHER_OWNER, x="old")], ids=["unlabeled", "another-owner"]
)
@pytest.mark.parametrize(
    "action",
    [Apply(CONFIG_MAP, KEY, owned(x="new"), owner=OWNER), Create(CONFIG_MAP, KEY, owned(x="new"), owner=OWNER)],
    ids=["apply", "create"],
)
async def test_an_owner_never_changes_an_object_without_its_label(present: Json, action: Action) -> None:
    api = FakeApi()
    seeded(api, present)
    before = api.objects(CONFIG_MAP)
    with pytest.raises(NotOwned, match="managed-by=tests"):
        await perform(api, action)
    assert api.objects(CONFIG_MAP) == before


async def test_apply_and_patch_log_a_status_as_such() -> None:
    api = FakeApi()
    key = ObjectKey("cluster1", "a")
    body: Json = {"apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ManagedClusterAddOn"}
    body |= {"metadata": {"name": key.name, "namespace": key.namespace}}
    api.seed(MANAGED_CLUSTER_ADD_ON, body)
    performed = await perform(
        api,
        Patch(MANAGED_CLUSTER_ADD_ON, key, {"status": {"namespace": "b"}}, subresource="status"),
        Apply(MANAGED_CLUSTER_ADD_ON, key, body | {"status": {"namespace": "c"}}, subresource="status"),
    )
    assert api.objects(MANAGED_CLUSTER_ADD_ON)[0]["status"] == {"namespace": "c"}
    assert performed.events == ["status_patched", "status_applied"]
    assert [call.subresource for call in api.calls] == ["status", "status"]


async def test_create_without_an_owner_rejects_an_existing_object() -> None:
    api = FakeApi()
    performed = await perform(api, Create(CONFIG_MAP, KEY, owned(x="first")))
    assert performed.events == ["object_created"]
    with pytest.raises(AlreadyExists):
        await perform(api, Create(CONFIG_MAP, KEY, owned(x="second")))
    assert data(api) == {"a": {"x": "first"}}


async def test_create_with_an_owner_accepts_an_object_that_it_owns() -> None:
    api = FakeApi()
    seeded(api, owned(x="first"))
    await perform(api, Create(CONFIG_MAP, KEY, owned(x="second"), owner=OWNER))
    assert data(api) == {"a": {"x": "first"}}


async def test_patch_changes_the_fields_that_it_names() -> None:
    api = FakeApi()
    seeded(api, config_map("a", x="1", y="1"))
    performed = await perform(api, Patch(CONFIG_MAP, KEY, {"data": {"x": "2"}}))
    assert data(api) == {"a": {"x": "2", "y": "1"}}
    assert performed.events == ["object_patched"]


async def test_patch_of_an_older_version_conflicts() -> None:
    api = FakeApi()
    version = seeded(api, config_map("a", x="1")).metadata.resource_version
    patch = {"metadata": {"resourceVersion": version}, "data": {"x": "2"}}
    await perform(api, Patch(CONFIG_MAP, KEY, patch))
    with pytest.raises(Conflict):
        await perform(api, Patch(CONFIG_MAP, KEY, patch | {"data": {"x": "3"}}))
    assert data(api) == {"a": {"x": "2"}}


async def test_patch_raises_for_a_missing_object() -> None:
    with pytest.raises(NotFound):
        await perform(FakeApi(), Patch(CONFIG_MAP, KEY, {"data": {}}))


@pytest.mark.parametrize("any_uid", [False, True], ids=["uid", "any-uid"])
async def test_delete_removes_the_object_that_the_planner_saw(any_uid: bool) -> None:
    api = FakeApi()
    uid = "" if any_uid else seeded(api, config_map("a")).metadata.uid
    performed = await perform(api, Delete(CONFIG_MAP, KEY, uid))
    assert data(api) == {}
    assert performed.events == ["object_deleted"]


async def test_delete_keeps_another_object_of_the_same_name() -> None:
    api = FakeApi()
    seen = seeded(api, config_map("a", x="old"))
    api.remove(CONFIG_MAP, KEY)
    seeded(api, config_map("a", x="new"))
    with pytest.raises(Conflict):
        await perform(api, Delete(CONFIG_MAP, KEY, seen.metadata.uid))
    assert data(api) == {"a": {"x": "new"}}


async def test_foreground_deletion_keeps_the_object_until_its_dependents_are_gone() -> None:
    api = FakeApi()
    uid = seeded(api, config_map("a")).metadata.uid
    await perform(api, Delete(CONFIG_MAP, KEY, uid, propagation="Foreground"))
    (found,) = api.objects(CONFIG_MAP)
    assert found["metadata"]["finalizers"] == ["foregroundDeletion"]
    api.collect_garbage()
    assert data(api) == {}


async def test_delete_owned_removes_every_page_of_its_objects_and_no_other() -> None:
    api = FakeApi()
    api.page_limit = 2
    for name in ("a", "b", "c", "d", "e"):
        seeded(api, owned(name))
    seeded(api, owned("f", OTHER_OWNER))
    seeded(api, config_map("g"))
    performed = await perform(api, DeleteOwned(CONFIG_MAP, ObjectKey("", "run"), OWNER))
    assert set(data(api)) == {"f", "g"}
    assert [line["object"] for line in performed.lines] == [f"default/{name}" for name in "abcde"]


async def test_delete_owned_leaves_objects_that_are_being_deleted() -> None:
    api = FakeApi()
    uid = seeded(api, owned()).metadata.uid
    await perform(api, Delete(CONFIG_MAP, KEY, uid, propagation="Foreground"))
    performed = await perform(api, DeleteOwned(CONFIG_MAP, ObjectKey("", "run"), OWNER))
    assert performed.lines == []
    assert api.calls == [Call("delete", "configmaps", KEY)]


@pytest.mark.parametrize(
    "action",
    [
        Apply(CONFIG_MAP, KEY, owned(x="new")),
        Apply(CONFIG_MAP, KEY, owned(x="new"), owner=OWNER),
        Create(CONFIG_MAP, ObjectKey("default", "b"), owned("b"), owner=OWNER),
        Patch(CONFIG_MAP, KEY, {"data": {"x": "new"}}),
        Delete(CONFIG_MAP, KEY, "uid"),
        DeleteOwned(CONFIG_MAP, KEY, OWNER),
    ],
    ids=["apply", "apply-owned", "create-owned", "patch", "delete", "delete-owned"],
)
async def test_an_action_performed_twice_changes_nothing_the_second_time(action: Action) -> None:
    api = FakeApi()
    body = owned(x="old")
    body["metadata"]["uid"] = "uid"
    seeded(api, body)
    before = api.version
    await perform(api, action)
    first = api.version
    assert first > before
    await perform(api, action)
    assert api.version == first
