"""A run's objects on a real API server: taken as they are rendered, and at rest once they are there.

What a fake can't show: that the server's schemas take every field, that what it defaults doesn't make the manager write
again, that a taken node port is not the run's end, and that the manager's own rights suffice.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from federation.api.federated_learning import FederatedLearning
from federation.kube.client import Client
from federation.kube.errors import NotFound
from federation.kube.events import Recorder
from federation.kube.kinds import (
    CONFIG_MAP,
    EVENT,
    FEDERATED_LEARNING,
    JOB,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANAGED_CLUSTER_SET_BINDING,
    MANIFEST_WORK,
    NAMESPACE,
    PLACEMENT,
    PLACEMENT_DECISION,
    SECRET,
    SERVICE,
)
from federation.kube.reflector import Reflector
from federation.kube.resource import Json, Kind, ObjectKey, key_of
from hub_manager.federated_learning.controllers import run_parts
from hub_manager.federated_learning.dependencies import RunDependencies
from hub_manager.federated_learning.observation.observer import SharedReflectors
from hub_manager.federated_learning.resources.certificate import AggregatorAuthority
from hub_manager.federated_learning.resources.names import secret_key
from hub_manager.federated_learning.settings import RunImages, RunSettings
from tests.support.api_server.apiserver import loopback_api_server
from tests.support.builders.authorities import authority
from tests.support.builders.run_objects import run_json
from tests.support.fakes.run_world import feedback
from tests.support.fleet.ocm_hub import install, manager_kubeconfig

pytestmark = pytest.mark.apiserver

KEY = ObjectKey("default", "mnist")
SERVER = ObjectKey("default", "mnist-server")
PLAN = "tasks:\n  train: {kwargs: {epochs: 1}}  # é\n" * 1000


@dataclass(frozen=True)
class Hub:
    """The server with a manager's part that runs on it, under the rights of manifests/hub alone."""

    admin: Client
    api: Client
    """The manager's own."""
    manager: asyncio.Task[None]


@pytest_asyncio.fixture(scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with (
        loopback_api_server() as server,
        Client.from_kubeconfig(server.kubeconfig, field_manager="administrator") as admin,
    ):
        await _install(admin)
        async with Client.from_kubeconfig(manager_kubeconfig(server), field_manager="hub") as api:
            manager = asyncio.create_task(_manage(api))
            yield Hub(admin, api, manager)
            manager.cancel()
            await asyncio.wait([manager])


async def _install(admin: Client) -> None:
    await install(admin)
    served: tuple[Kind[Any], ...] = (FEDERATED_LEARNING, MANAGED_CLUSTER, MANAGED_CLUSTER_ADD_ON, MANIFEST_WORK)
    for each in (*served, PLACEMENT, PLACEMENT_DECISION, MANAGED_CLUSTER_SET_BINDING):
        await _until(admin, each)
    await admin.create(NAMESPACE, _body(NAMESPACE, "c2"))
    for cluster in ("c1", "c2"):
        await admin.create(MANAGED_CLUSTER, _body(MANAGED_CLUSTER, cluster, spec={"hubAcceptsClient": True}))
        addon = _body(MANAGED_CLUSTER_ADD_ON, "federated-learning", spec={})
        await admin.create(MANAGED_CLUSTER_ADD_ON, addon, namespace=cluster)


def _body(kind: Kind[Any], name: str, **fields: Any) -> Json:
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, **fields}


async def _until(admin: Client, kind: Kind[Any]) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await admin.list_page(kind)
            except NotFound:
                await asyncio.sleep(0.05)
            else:
                return


async def _manage(api: Client) -> None:
    signer = AggregatorAuthority(authority(begin=datetime.now(UTC)), "bundle\n", timedelta(hours=24))
    world = RunDependencies(
        lambda: datetime.now(UTC), lambda: 7, lambda: signer, lambda: ec.generate_private_key(ec.SECP256R1())
    )
    bundles = Reflector(api, CONFIG_MAP, namespace="default")
    around = SharedReflectors(Reflector(api, MANAGED_CLUSTER), Reflector(api, MANAGED_CLUSTER_ADD_ON), bundles)
    settings = RunSettings(RunImages("aggregator:1"))
    parts: tuple[Any, ...] = tuple(run_parts(api, around, settings, world, CollectorRegistry()))
    async with asyncio.TaskGroup() as tasks:
        for part in (around.clusters, around.addons, around.bundles, *parts):
            tasks.create_task(part.run())


async def _see(hub: Hub, kind: Kind[Any], key: ObjectKey, holds: Any = lambda _: True) -> Any:
    async with asyncio.timeout(60):
        while True:
            if hub.manager.done():
                hub.manager.result()
            try:
                found = await hub.admin.read(kind, key)
                if holds(found):
                    return found
            except NotFound:
                pass
            await asyncio.sleep(0.05)


async def _decide(hub: Hub) -> None:
    decision = _body(PLACEMENT_DECISION, "mnist-decision-1")
    decision["metadata"]["labels"] = {"cluster.open-cluster-management.io/placement": "mnist"}
    await hub.admin.create(PLACEMENT_DECISION, decision, namespace="default")
    status = {"decisions": [{"clusterName": name, "reason": ""} for name in ("c1", "c2")]}
    key = ObjectKey("default", "mnist-decision-1")
    await hub.admin.merge_patch(PLACEMENT_DECISION, key, {"status": status}, subresource="status")


async def _accept(hub: Hub, work: ObjectKey) -> None:
    await _see(hub, MANIFEST_WORK, work)
    raw: Json = await hub.admin.read_raw(MANIFEST_WORK, work)
    (collaborator,) = raw["spec"]["workload"]["manifests"]
    name = collaborator["metadata"]["name"]
    meta = {"ordinal": 0, "kind": "Collaborator", "name": name}
    result = {
        "resourceMeta": meta,
        "conditions": [],
        "statusFeedback": feedback(collaborator["spec"]["run"]["id"], state="Accepted"),
    }
    status = {"resourceStatus": {"manifests": [result]}}
    await hub.admin.merge_patch(MANIFEST_WORK, work, {"status": status}, subresource="status")


async def test_a_run_starts_with_the_managers_permissions_and_settles(hub: Hub) -> None:
    taken = _body(SERVICE, "taken", spec={"type": "NodePort", "ports": [{"port": 1, "nodePort": 31531}]})
    await hub.admin.create(SERVICE, taken, namespace="default")
    listeners = [{"name": "main", "type": "NodePort", "port": 31531, "ip": "192.0.2.1"}]
    body = run_json(server={"listeners": listeners, "plan": {"configMap": "plans"}})
    await hub.admin.apply(FEDERATED_LEARNING, KEY, body, field_manager="user")
    await _see(hub, FEDERATED_LEARNING, KEY, lambda found: _reason(found, "Scheduled") == "PlanNotFound")
    await hub.admin.create(CONFIG_MAP, _body(CONFIG_MAP, "plans", data={"plan.yaml": PLAN}), namespace="default")
    await _see(hub, CONFIG_MAP, ObjectKey("default", "mnist-server-plan"), lambda found: found.data == {"plan": PLAN})
    await _see(hub, PLACEMENT, KEY)
    await _decide(hub)
    run: FederatedLearning = await _see(hub, FEDERATED_LEARNING, KEY, lambda found: len(found.status.clusters) == 2)
    listed = await hub.admin.list_page(MANIFEST_WORK)
    while len(listed.items) < 2:
        listed = await hub.admin.list_page(MANIFEST_WORK)
    sent = await hub.admin.read_raw(MANIFEST_WORK, key_of(listed.items[0]))
    assert sent["spec"]["workload"]["manifests"][0]["spec"]["plan"] == {"text": PLAN}
    for work in listed.items:
        await _accept(hub, ObjectKey(work.metadata.namespace, work.metadata.name))

    await _see(hub, JOB, SERVER)
    service = await _see(hub, SERVICE, SERVER)
    assert service.spec.ports[0].node_port not in {0, 31531}
    secret = await _see(hub, SECRET, secret_key(run))
    assert set(secret.data) == {"ca.crt", "tls.crt", "tls.key"}
    run = await _see(hub, FEDERATED_LEARNING, KEY, lambda found: found.status.phase == "Running")
    assert run.status.cohort == ("c1", "c2")
    run = await _see(hub, FEDERATED_LEARNING, KEY, lambda found: _reason(found, "ServerReady") == "AggregatorStarting")

    kinds: tuple[Kind[Any], ...] = (FEDERATED_LEARNING, JOB, SERVICE, CONFIG_MAP, PLACEMENT)
    before = [(await _see(hub, kind, KEY if kind in {FEDERATED_LEARNING, PLACEMENT} else SERVER)) for kind in kinds]
    await hub.admin.merge_patch(FEDERATED_LEARNING, KEY, {"metadata": {"annotations": {"touched": "1"}}})
    await hub.admin.merge_patch(JOB, SERVER, {"status": {"active": 1, "ready": 1}}, subresource="status")
    await _see(hub, FEDERATED_LEARNING, KEY, lambda found: _reason(found, "ServerReady") == "AggregatorServing")
    after = [(await _see(hub, kind, KEY if kind in {FEDERATED_LEARNING, PLACEMENT} else SERVER)) for kind in kinds]
    assert [b.metadata.generation for b in before] == [a.metadata.generation for a in after]
    assert before[2:] == after[2:]


async def test_repeated_events_are_counted_in_one_event(hub: Hub) -> None:
    about = await hub.admin.read(NAMESPACE, ObjectKey("", "c1"))
    for _ in range(3):
        recorder = Recorder(hub.api, "federated-learning-hub-manager")
        await recorder.record(NAMESPACE, about, severity="Warning", reason="SaidAgain", message="so")

    listed = await hub.admin.list_page(EVENT, namespace="default")
    assert [event.count for event in listed.items if event.reason == "SaidAgain"] == [3]


def _reason(run: FederatedLearning, kind: str) -> str:
    return next((c.reason for c in run.status.conditions if c.type == kind), "")
