"""The add-on's part on a real API server, with OCM's own definitions and under the rights that it is installed with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from federation.kube.client import Client
from federation.kube.errors import NotFound
from federation.kube.kinds import (
    ADD_ON_PLACEMENT_SCORE,
    CLUSTER_MANAGEMENT_ADD_ON,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANIFEST_WORK,
    ROLE,
    ROLE_BINDING,
)
from federation.kube.resource import Json, Kind, ObjectKey
from hub_manager.addon.planning.hub_permissions import NAME
from hub_manager.app import Hub
from tests.support.api_server.apiserver import LoopbackApiServer, loopback_api_server
from tests.support.builders.addon_objects import CONFIGURED
from tests.support.fleet.ocm_hub import install, manager_config, manager_kubeconfig

pytestmark = pytest.mark.apiserver

OURS = ObjectKey("c1", "federated-learning")
WORK = ObjectKey("c1", "addon-federated-learning-deploy-0")


@asynccontextmanager
async def _hub(server: LoopbackApiServer) -> AsyncIterator[None]:
    """A leading hub manager that has the rights of manifests/hub and no others."""
    path = manager_kubeconfig(server)
    async with Client.from_kubeconfig(path, field_manager="federated-learning-hub-manager") as api:
        leading = asyncio.create_task(Hub(manager_config(), api, now=lambda: datetime.now(UTC)).lead())
        try:
            yield
        finally:
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)


async def _until(look: Callable[[], Awaitable[Any]], deadline: float = 60.0) -> Any:
    async with asyncio.timeout(deadline):
        while True:
            try:
                if found := await look():
                    return found
            except NotFound:
                pass
            await asyncio.sleep(0.1)


async def _gone(admin: Client, kind: Kind[Any], key: ObjectKey) -> bool:
    try:
        await admin.read(kind, key)
    except NotFound:
        return True
    return False


async def test_enabling_and_disabling_under_the_installed_rights() -> None:
    async with (
        loopback_api_server() as server,
        Client.from_kubeconfig(server.kubeconfig, field_manager="administrator") as admin,
    ):
        await install(admin)
        async with _hub(server):
            fleet = await _until(lambda: admin.read(CLUSTER_MANAGEMENT_ADD_ON, ObjectKey("", "federated-learning")))
            cluster = {"metadata": {"name": "c1"}, "spec": {"hubAcceptsClient": True}}
            await admin.create(MANAGED_CLUSTER, _typed(MANAGED_CLUSTER, cluster))
            owner = {
                "apiVersion": "addon.open-cluster-management.io/v1beta1",
                "kind": "ClusterManagementAddOn",
                "name": "federated-learning",
                "uid": fleet.metadata.uid,
            }
            metadata = {"name": OURS.name, "namespace": "c1", "ownerReferences": [owner]}
            enabled = _typed(MANAGED_CLUSTER_ADD_ON, {"metadata": metadata, "spec": {}})
            await admin.create(MANAGED_CLUSTER_ADD_ON, enabled, namespace="c1")
            configured = {"status": {"conditions": [CONFIGURED]}}
            await admin.merge_patch(MANAGED_CLUSTER_ADD_ON, OURS, configured, subresource="status")

            work = await _until(lambda: admin.read(MANIFEST_WORK, WORK))
            status = (await admin.read(MANAGED_CLUSTER_ADD_ON, OURS)).status
            assert [r.subject.user for r in status.registrations][1] == "c1"
            assert "RegistrationApplied" in {c.type for c in status.conditions}
            version = (await admin.read(MANAGED_CLUSTER_ADD_ON, OURS)).metadata.resource_version

        async with _hub(server):
            await asyncio.sleep(1)
            addon = await admin.read(MANAGED_CLUSTER_ADD_ON, OURS)
            again = await admin.read(MANIFEST_WORK, WORK)
            assert (addon.metadata.resource_version, again.metadata.generation) == (version, work.metadata.generation)

            await admin.delete(MANAGED_CLUSTER_ADD_ON, OURS)
            for kind, key in (
                (ROLE_BINDING, ObjectKey("c1", NAME)),
                (ROLE, ObjectKey("c1", NAME)),
                (ADD_ON_PLACEMENT_SCORE, OURS),
                (MANIFEST_WORK, WORK),
            ):
                await _until(lambda kind=kind, key=key: _gone(admin, kind, key))  # type: ignore[misc]


def _typed(kind: Kind[Any], body: Json) -> Json:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body}
