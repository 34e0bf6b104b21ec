"""Field ownership under server-side apply (KEP-555), on the fake and on a real API server."""

from typing import Any

import pytest

from federation.api.kubernetes.core import ConfigMap
from federation.kube.errors import Conflict
from federation.kube.kinds import CONFIG_MAP, DEPLOYMENT
from federation.kube.resource import Json, ObjectKey
from tests.support.api_server.served import Served
from tests.support.builders.objects import config_map, deployment


def key_in(served: Served, name: str) -> ObjectKey:
    return ObjectKey(served.namespace, name)


async def apply(served: Served, manager: str, *, force: bool = True, labels: Any = None, **data: str) -> ConfigMap:
    body = config_map("a", served.namespace, labels=labels, **data)
    return await served.api.apply(CONFIG_MAP, key_in(served, "a"), body, field_manager=manager, force=force)


async def test_apply_creates_fields_and_removes_omitted_ones(served: Served) -> None:
    made = await apply(served, "ours", x="1", y="1", labels={"l": "1"})
    assert made.data == {"x": "1", "y": "1"}
    again = await apply(served, "ours", x="1", y="1", labels={"l": "1"})
    assert again.metadata.resource_version == made.metadata.resource_version
    fewer = await apply(served, "ours", x="2")
    assert fewer.data == {"x": "2"}
    assert fewer.metadata.labels == {}


async def test_apply_keeps_fields_of_other_owners(served: Served) -> None:
    await apply(served, "theirs", shared="1", theirs="1")
    await apply(served, "ours", shared="1", ours="1")
    left = await apply(served, "ours", ours="1")
    assert left.data == {"shared": "1", "theirs": "1", "ours": "1"}


async def test_apply_takes_a_contested_field_only_by_force(served: Served) -> None:
    await apply(served, "theirs", x="1")
    with pytest.raises(Conflict):
        await apply(served, "ours", x="2", force=False)
    taken = await apply(served, "ours", x="2")
    assert taken.data == {"x": "2"}
    with pytest.raises(Conflict):
        await apply(served, "theirs", x="1", force=False)


async def test_apply_conflicts_with_fields_written_without_apply(served: Served) -> None:
    await apply(served, "ours", x="1", y="1")
    await served.api.merge_patch(CONFIG_MAP, key_in(served, "a"), {"data": {"x": "2"}})
    with pytest.raises(Conflict):
        await apply(served, "ours", x="1", y="1", force=False)
    dropped = await apply(served, "ours", y="1")
    assert dropped.data == {"x": "2", "y": "1"}


async def test_apply_merges_keyed_lists_by_their_keys(served: Served) -> None:
    key = key_in(served, "a")
    await served.api.apply(DEPLOYMENT, key, deployment(served.namespace), field_manager="theirs")
    ours: Json = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "example.com/b:1"}]}}}}
    await served.api.apply(DEPLOYMENT, key, ours, field_manager="ours")
    raw = await served.api.read_raw(DEPLOYMENT, key)
    assert [each["name"] for each in raw["spec"]["template"]["spec"]["containers"]] == ["a", "b"]
    nothing: Json = {"spec": {}}
    await served.api.apply(DEPLOYMENT, key, nothing, field_manager="ours")
    raw = await served.api.read_raw(DEPLOYMENT, key)
    assert [each["name"] for each in raw["spec"]["template"]["spec"]["containers"]] == ["a"]


async def test_apply_of_the_status_touches_the_status_alone(served: Served) -> None:
    key = key_in(served, "a")
    await served.api.apply(DEPLOYMENT, key, deployment(served.namespace), field_manager="ours")
    since = {"status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z", "lastUpdateTime": "2030-01-01T00:00:00Z"}
    status: Json = {"status": {"conditions": [{"type": "Ours", **since}]}, "spec": {"replicas": 5}}
    applied = await served.api.apply(DEPLOYMENT, key, status, field_manager="ours", subresource="status")
    theirs: Json = {"status": {"conditions": [{"type": "Theirs", **since}]}}
    applied = await served.api.apply(DEPLOYMENT, key, theirs, field_manager="theirs", subresource="status")
    assert {condition.type for condition in applied.status.conditions} == {"Ours", "Theirs"}
    applied = await served.api.apply(DEPLOYMENT, key, {"status": {}}, field_manager="ours", subresource="status")
    assert [condition.type for condition in applied.status.conditions] == ["Theirs"]
    assert applied.metadata.generation == 1
