"""A hub on a bare API server: OCM's own definitions, and the hub manager's rights as they are installed."""

import subprocess
from pathlib import Path
from typing import Final

import yaml

from demo.images import REPOSITORY
from federation.kube.client import Client
from federation.kube.resource import Json, Kind, ObjectKey, Resource
from fleet.cluster.credentials import kubeconfig, write_private
from hub_manager.config import HubManagerConfig, config_from
from tests.support.api_server.apiserver import LoopbackApiServer
from tests.support.builders.addon_objects import BUNDLE

MANAGER: Final = "hub-manager"
_PLURALS = {
    "CustomResourceDefinition": "customresourcedefinitions",
    "Namespace": "namespaces",
    "ConfigMap": "configmaps",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}
_NEEDED = (
    "clustermanagementaddons",
    "managedclusteraddons",
    "addondeploymentconfigs",
    "managedclusters.",
    "manifestworks.",
    "addonplacementscores",
    "placements.",
    "placementdecisions",
    "managedclustersetbindings",
)


def _kind(body: Json) -> Kind[Resource]:
    group, _, version = body["apiVersion"].rpartition("/")
    namespaced = "namespace" in body["metadata"]
    return Kind(group, version, body["kind"], _PLURALS[body["kind"]], namespaced, Resource)


async def put(admin: Client, body: Json) -> None:
    """Applies one object as the administrator."""
    key = ObjectKey(body["metadata"].get("namespace", ""), body["metadata"]["name"])
    await admin.apply(_kind(body), key, body, field_manager="administrator")


def _definitions() -> list[Json]:
    """OCM's own, but for the conversion webhook: no version but the stored one is asked for."""
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", "open-cluster-management.io/ocm"]
    module = subprocess.run(listed, cwd=REPOSITORY / "fleet", check=True, capture_output=True, text=True).stdout.strip()
    folder = Path(module) / "manifests" / "cluster-manager" / "hub" / "crds"
    definitions = []
    for path in sorted(folder.iterdir()):
        if any(name in path.name for name in _NEEDED):
            lines = (line for line in path.read_text(encoding="utf-8").splitlines() if "{{" not in line)
            definition = yaml.safe_load("\n".join(lines))
            definition["spec"].pop("conversion", None)
            definition["spec"]["versions"] = [v for v in definition["spec"]["versions"] if v["storage"]]
            definition.pop("status", None)
            definitions.append(definition)
    return definitions


def _installed(name: str) -> Json:
    body: Json = yaml.safe_load((REPOSITORY / "manifests" / "hub" / f"{name}.yaml").read_text(encoding="utf-8"))
    return body


async def install(admin: Client) -> None:
    """OCM's definitions and ours, the manager's namespace and rights, the namespace of a cluster `c1`, and a bundle."""
    ours = REPOSITORY / "manifests" / "crds" / "federatedlearnings.yaml"
    for definition in (*_definitions(), yaml.safe_load(ours.read_text(encoding="utf-8"))):
        await put(admin, definition)
    for name in ("namespace", "cluster-role", "role"):
        await put(
            admin, yaml.safe_load((REPOSITORY / "manifests" / "hub" / f"{name}.yaml").read_text(encoding="utf-8"))
        )
    user = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": MANAGER}
    for name in ("cluster-role-binding", "role-binding"):
        binding = _installed(name)
        await put(admin, binding | {"subjects": [user]})
    await put(admin, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c1"}})
    bundle = {"name": "federated-learning-trust-bundle", "namespace": "federated-learning-system"}
    await put(admin, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": bundle, "data": {"ca.crt": BUNDLE}})


def manager_config(**variables: str) -> HubManagerConfig:
    """The settings of a manager that deploys images nobody pulls."""
    told = {"POD_NAME": "p", "AGENT_IMAGE": "agent:1", "AGGREGATOR_IMAGE": "aggregator:1"}
    return config_from({**told, "TEMPLATES": str(REPOSITORY / "addon-templates"), **variables})


def manager_kubeconfig(server: LoopbackApiServer) -> Path:
    """A kubeconfig of a user with the permissions of manifests/hub and no others."""
    path = server.folder / "hub-manager.kubeconfig"
    path.unlink(missing_ok=True)
    pair = server.authority.issue(MANAGER, groups=["nobody"])
    write_private(path, kubeconfig(server.url, server.authority.pair.certificate, pair).encode())
    return path
