"""The FederatedLearning CRD on a real API server: what it takes and refuses, and how two writers share a status.

The existing controller's manifests have to apply unchanged, and so have those of the documentation.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import Resource
from federation.kube.client import Client
from federation.kube.errors import Invalid, NotFound
from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json, Kind, ObjectKey
from hub_manager.federated_learning.planning.validate import faults
from hub_manager.federated_learning.settings import RunLimits
from tests.support.api_server.apiserver import loopback_api_server
from tests.support.builders.controllers_manifests import FLOWER, OPENFL, README_VARIANT
from tests.support.builders.run_objects import run_json, run_of
from tests.support.documentation import documented_runs

pytestmark = pytest.mark.apiserver

CRD: Kind[Resource] = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, Resource
)
DEFINITION: Json = yaml.safe_load(Path("manifests/crds/federatedlearnings.yaml").read_text(encoding="utf-8"))
REMEDY = re.compile(r"(set|write|use|rename) |Unsupported value|should be (greater|less) than")


@pytest_asyncio.fixture(scope="module")
async def api() -> AsyncIterator[Client]:
    async with (
        loopback_api_server() as server,
        Client.from_kubeconfig(server.kubeconfig, field_manager="administrator") as client,
    ):
        await client.apply(CRD, ObjectKey("", DEFINITION["metadata"]["name"]), DEFINITION, field_manager="test")

        async with asyncio.timeout(60):
            while not await _served(client):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)
        yield client


async def _served(api: Client) -> bool:
    try:
        await api.list_page(FEDERATED_LEARNING, namespace="default")
    except NotFound:
        return False
    return True


async def _apply(api: Client, body: Json) -> FederatedLearning:
    key = ObjectKey("default", body["metadata"]["name"])
    await api.delete(FEDERATED_LEARNING, key)
    return await api.apply(FEDERATED_LEARNING, key, body, field_manager="kubectl")


@pytest.mark.parametrize("manifest", [FLOWER, OPENFL, README_VARIANT], ids=["flower", "openfl", "openfl-readme"])
async def test_the_existing_controllers_manifests_apply_unchanged(api: Client, manifest: str) -> None:
    """D1, D3: also the one whose port no NodePort has, and whose path is another."""
    body = yaml.safe_load(manifest)

    taken = await _apply(api, body)

    raw = await api.read_raw(FEDERATED_LEARNING, ObjectKey("default", "federated-learning-sample"))
    assert _within(body["spec"], raw["spec"])
    assert taken.spec.framework == body["spec"]["framework"]


@pytest.mark.parametrize("page", ["runs.md", "openfl-workspace.md"])
async def test_the_documented_runs_are_taken(api: Client, page: str) -> None:
    runs = documented_runs(page)

    assert runs
    for body in runs:
        taken = await _apply(api, body | {"metadata": {"name": "documented"}})
        assert taken.spec.client.dataset == body["spec"]["client"]["dataset"]


def _within(wanted: Any, present: Any) -> bool:
    match wanted:
        case dict():
            return all(name in present and _within(value, present[name]) for name, value in wanted.items())
        case list():
            return len(wanted) == len(present) and all(map(_within, wanted, present))
        case _:
            return bool(wanted == present)


async def test_the_servers_defaults_equal_the_structs_defaults(api: Client) -> None:
    body = run_json()
    body["spec"]["server"] |= {"aggregation": {}, "plan": {}, "listeners": [{}], "storage": {"name": "model"}}

    taken = await _apply(api, body)

    assert taken.spec == type(taken.spec)(
        **{name: getattr(taken.spec, name) for name in ("framework", "client")}, server=run_of(body).spec.server
    )


BROKEN: dict[str, tuple[list[str], Any]] = {
    "framework": (["framework"], "opnfl"),
    "a deadline beyond any": (["activeDeadlineSeconds"], 10**12),
    "a life beyond any": (["ttlSecondsAfterFinished"], 10**12),
    "no rounds": (["server", "rounds"], None),
    "rounds 0": (["server", "rounds"], 0),
    "no site": (["server", "minAvailableClients"], 0),
    "no listener": (["server", "listeners"], []),
    "no listeners": (["server", "listeners"], None),
    "no storage": (["server", "storage"], None),
    "no path of HostPath": (["server", "storage"], {"type": "HostPath"}),
    "storage": (["server", "storage", "type"], "Tape"),
    "unnamed claim": (["server", "storage"], {"size": "1Gi"}),
    "size": (["server", "storage", "size"], "big"),
    "path": (["server", "storage", "path"], "/models/../etc"),
    "listener": (["server", "listeners"], [{"type": "Carrier Pigeon"}]),
    "Route without a name": (["server", "listeners"], [{"type": "Route"}]),
    "address": (["server", "listeners"], [{"type": "NodePort", "ip": "10.0.0"}]),
    **{
        f"address {text}": (["server", "listeners"], [{"type": "NodePort", "ip": text}])
        for text in ("256.0.0.1", "1.2.3.4.5", "01.2.3.4", "1:2:3:4:5:6:7", "1::2::3", "1:2:3:4::5:6:7:8", "node", ":")
    },
    "a port beyond": (["server", "listeners"], [{"port": 70000}]),
    "quorum above the start's": (["server", "minClientsPerRound"], 3),
    "no sample": (["server", "maxSamplesPerClient"], 0),
    "more samples than a sum takes": (["server", "maxSamplesPerClient"], (1 << 40) + 1),
    "join policy": (["server", "joinPolicy"], "Whenever"),
    "algorithm": (["server", "aggregation"], {"algorithm": "Mode"}),
    "trim ratio": (["server", "aggregation"], {"trimRatio": 0.5}),
    "two plans": (["server", "plan"], {"configMap": "a", "path": "b"}),
    "plan outside the workspace": (["server", "plan"], {"path": "../../etc/passwd"}),
    "no image": (["client", "image"], None),
    "dataset": (["client", "dataset"], "Digits\n---\n"),
    "variable": (["client", "env"], [{"name": "A=B"}]),
    "a variable that begins with a digit": (["client", "env"], [{"name": "1A"}]),
    "a variable of the site's": (["client", "env"], [{"name": "FL_DATA", "value": "/"}]),
    "a variable twice": (["client", "env"], [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}]),
}


@pytest.mark.parametrize(("path", "value"), BROKEN.values(), ids=BROKEN.keys())
async def test_an_invalid_spec_is_refused_with_field_and_remedy(api: Client, path: list[str], value: Any) -> None:
    body = run_json()
    place = body["spec"]
    for step in path[:-1]:
        place = place[step]
    place.pop(path[-1], None)
    if value is not None:
        place[path[-1]] = value

    with pytest.raises(Invalid) as refusal:
        await _apply(api, body)

    message = str(refusal.value)
    assert f"spec.{path[0]}" in message
    assert REMEDY.search(message), message


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.7", "255.255.255.255", "::", "::1", "fd00::", "2001:db8::a:1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::"],
)
async def test_every_address_of_a_node_is_taken(api: Client, text: str) -> None:
    taken = await _apply(api, run_json(server={"listeners": [{"type": "NodePort", "ip": text}]}))

    assert taken.spec.server.listeners[0].ip == text
    assert faults(taken, RunLimits()) == ()


async def test_as_many_variables_as_there_may_be_are_taken(api: Client) -> None:
    env = [{"name": f"V{number}" + "x" * 200, "value": str(number)} for number in range(64)]

    taken = await _apply(api, run_json(client={"env": env}))

    assert len(taken.spec.client.env) == 64


@pytest.mark.parametrize("name", ["a.b", "1run", "a" * 53, "A"])
async def test_a_name_that_a_service_cannot_bear_is_refused(api: Client, name: str) -> None:
    with pytest.raises(Invalid):
        await _apply(api, run_json(name=name))


async def test_the_hub_manager_and_the_aggregator_write_one_status_without_taking_it_from_each_other(
    api: Client,
) -> None:
    await _apply(api, run_json())
    key = ObjectKey("default", "mnist")
    hub = {"phase": "Running", "clusters": [{"name": "c1", "state": "Running"}, {"name": "c2", "state": "Running"}]}
    ours = {"round": 3, "clusters": [{"name": "c1", "round": 3, "samples": 10}]}
    for manager, status in (("hub", hub), ("aggregator", ours), ("hub", hub | {"phase": "Waiting"})):
        identity = {"apiVersion": FEDERATED_LEARNING.api_version, "kind": "FederatedLearning"}
        body = identity | {"metadata": {"name": "mnist"}, "status": status}
        seen = await api.apply(FEDERATED_LEARNING, key, body, field_manager=manager, force=False, subresource="status")

    assert (seen.status.phase, seen.status.round) == ("Waiting", 3)
    assert [(c.name, c.state, c.round) for c in seen.status.clusters] == [("c1", "Running", 3), ("c2", "Running", 0)]
