"""A spoke on a bare API server: the agent under the rights that the add-on's own templates give it, and no others."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from demo.images import REPOSITORY
from federation.kube.client import Client
from federation.kube.errors import NotFound
from federation.kube.kinds import COLLABORATOR, DATASET, NAMESPACE, ROLE, ROLE_BINDING
from federation.kube.resource import Json, Kind, Resource
from fleet.cluster.credentials import kubeconfig, write_private
from spoke_agent.claims.ownership import CLUSTER_ROLE
from tests.support.api_server.apiserver import LoopbackApiServer

AGENT: Final = "federated-learning-agent"
WORK_AGENT: Final = "work-agent"
"""The user that applies the hub's manifests."""
_RBAC: Final = "rbac.authorization.k8s.io"


def _cluster_wide(group: str, kind: str, plural: str) -> Kind[Resource]:
    return Kind(group=group, version="v1", kind=kind, plural=plural, namespaced=False, struct=Resource)


CRD: Final = _cluster_wide("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions")
CLUSTER_ROLE_BINDING: Final = _cluster_wide(_RBAC, "ClusterRoleBinding", "clusterrolebindings")


async def install_agent(admin: Client, namespace: str) -> None:
    """The add-on's own manifests in an install namespace, but for users in the place of service accounts."""
    for name in ("datasets", "collaborators"):
        await admin.create(CRD, template(f"crds/{name}"))
    await admin.create(NAMESPACE, named(NAMESPACE, namespace))
    await admin.create(CLUSTER_ROLE, template("agent/cluster-role"))
    await admin.create(CLUSTER_ROLE, template("agent/work-role"))
    role = template("agent/role")
    role["metadata"]["namespace"] = namespace
    await admin.create(ROLE, role, namespace=namespace)
    await admin.create(ROLE_BINDING, bound(ROLE_BINDING, ROLE, AGENT, AGENT), namespace=namespace)
    await admin.create(CLUSTER_ROLE_BINDING, bound(CLUSTER_ROLE_BINDING, CLUSTER_ROLE, AGENT, AGENT))
    work_role = template("agent/work-role")["metadata"]["name"]
    await admin.create(CLUSTER_ROLE_BINDING, bound(CLUSTER_ROLE_BINDING, CLUSTER_ROLE, work_role, WORK_AGENT))
    for kind in (DATASET, COLLABORATOR):
        await eventually(lambda kind=kind: admin.list_page(kind))  # type: ignore[misc]


def user_kubeconfig(server: LoopbackApiServer, name: str) -> Path:
    """The kubeconfig of a user who has only the rights that are bound to the name."""
    path = server.folder / f"{name}.kubeconfig"
    pair = server.authority.issue(name)
    write_private(path, kubeconfig(server.url, server.authority.pair.certificate, pair).encode())
    return path


def template(name: str) -> Json:
    """An object that the add-on deploys."""
    body: Json = yaml.safe_load((REPOSITORY / "addon-templates" / f"{name}.yaml").read_text(encoding="utf-8"))
    return body


def named(kind: Kind[Any], name: str, **fields: Any) -> Json:
    """An object of the kind."""
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, **fields}


def bound(kind: Kind[Any], role_kind: Kind[Any], role: str, user: str) -> Json:
    """The binding of a role to a user."""
    reference = {"apiGroup": _RBAC, "kind": role_kind.kind, "name": role}
    return named(kind, user, roleRef=reference, subjects=[{"apiGroup": _RBAC, "kind": "User", "name": user}])


async def eventually(call: Callable[[], Any], *, holds: Callable[[Any], bool] = lambda _: True) -> Any:
    """Return the call's result after it succeeds and the condition holds."""
    async with asyncio.timeout(60):
        while True:
            try:
                result = await call()
            except NotFound:
                result = None
            if result is not None and holds(result):
                return result
            await asyncio.sleep(0.05)
