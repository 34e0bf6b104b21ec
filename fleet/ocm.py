"""Open Cluster Management on a fleet: OCM's operators from OCM's manifests, and OCM's registration of spokes.

The hub's operator deploys registration, placement, work, the add-on manager and the webhooks; a spoke's operator
deploys the registration and work agents, with OCM's RBAC. A spoke joins with a bootstrap token; the administrator then
approves its certificate request and accepts the cluster.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

from fleet import manifest
from fleet.cluster import control_plane
from fleet.cluster.lifecycle import Artifacts, wait_for
from fleet.command import run
from fleet.layout import ClusterLayout
from fleet.programs import module_folder
from fleet.waiting import until

MODULE: Final = "open-cluster-management.io/ocm"
OPERATOR_NAMESPACE: Final = "open-cluster-management"
HUB_NAMESPACE: Final = "open-cluster-management-hub"
AGENT_NAMESPACE: Final = "open-cluster-management-agent"
BOOTSTRAP_ACCOUNT: Final = "agent-registration-bootstrap"
HUB_PROGRAMS: Final = ("registration-operator", "registration", "placement", "work", "addon")
SPOKE_PROGRAMS: Final = ("registration-operator", "registration", "work")
_HUB_DEPLOYMENTS: Final = (
    "addon-manager-controller",
    "addon-webhook",
    "placement-controller",
    "registration-controller",
    "registration-webhook",
    "work-controller",
    "work-webhook",
)
_SPOKE_DEPLOYMENTS: Final = ("klusterlet-registration-agent", "klusterlet-work-agent")


async def operator_manifests(artifacts: Artifacts, name: str) -> list[manifest.Json]:
    """Return OCM's manifests of `cluster-manager` or `klusterlet`, with one replica and the fleet's images."""
    folder = await module_folder(MODULE) / "deploy" / name / "config"
    kustomization = manifest.read(folder / "kustomization.yaml")[0]
    objects = manifest.read(*(folder / resource for resource in kustomization["resources"]))
    for deployment in (o for o in objects if o["kind"] == "Deployment"):
        deployment["spec"]["replicas"] = 1
    return manifest.with_images(objects, {name: image.reference for name, image in artifacts.images.items()})


def cluster_manager(artifacts: Artifacts) -> manifest.Json:
    """Return the ClusterManager, with the work controller enabled."""
    gate = {"feature": "ManifestWorkReplicaSet", "mode": "Enable"}
    return {
        "apiVersion": "operator.open-cluster-management.io/v1",
        "kind": "ClusterManager",
        "metadata": {"name": "cluster-manager"},
        "spec": {
            "registrationImagePullSpec": artifacts.images["registration"].reference,
            "workImagePullSpec": artifacts.images["work"].reference,
            "placementImagePullSpec": artifacts.images["placement"].reference,
            "addOnManagerImagePullSpec": artifacts.images["addon"].reference,
            "deployOption": {"mode": "Default"},
            "workConfiguration": {"workDriver": "kube", "featureGates": [gate]},
        },
    }


async def start_hub(hub: ClusterLayout, artifacts: Artifacts) -> None:
    """Installs OCM on the hub; clusters can join when this returns."""
    programs = artifacts.programs
    objects = [
        *await operator_manifests(artifacts, "cluster-manager"),
        *manifest.read(manifest.FOLDER / "bootstrap.yaml"),
    ]
    await control_plane.apply(programs, hub, manifest.text(_definitions_first(objects)))
    await wait_for(programs, hub, "condition=Established", "crd/clustermanagers.operator.open-cluster-management.io")
    await control_plane.apply(programs, hub, manifest.text([cluster_manager(artifacts)]))
    await wait_for(programs, hub, "condition=Applied", "clustermanager/cluster-manager")
    deployments = [f"deployment/cluster-manager-{name}" for name in _HUB_DEPLOYMENTS]
    await wait_for(programs, hub, "condition=Available", *deployments, namespace=HUB_NAMESPACE)


def _definitions_first(objects: list[manifest.Json]) -> list[manifest.Json]:
    order = {"Namespace": 0, "CustomResourceDefinition": 1}
    return sorted(objects, key=lambda o: order.get(o["kind"], 2))


async def start_spoke_operator(spoke: ClusterLayout, artifacts: Artifacts) -> None:
    """Installs the klusterlet's operator; it waits for a Klusterlet."""
    objects = _definitions_first(await operator_manifests(artifacts, "klusterlet"))
    await control_plane.apply(artifacts.programs, spoke, manifest.text(objects))
    await wait_for(
        artifacts.programs, spoke, "condition=Established", "crd/klusterlets.operator.open-cluster-management.io"
    )


async def join(hub: ClusterLayout, spoke: ClusterLayout, artifacts: Artifacts) -> None:
    """Register a spoke whose operator is installed: apply its Klusterlet, then approve and accept it on the hub."""
    programs = artifacts.programs
    await control_plane.apply(programs, spoke, manifest.text(await _klusterlet(hub, spoke, artifacts)))
    await wait_for(programs, hub, "create", f"managedcluster/{spoke.name}")
    await until(lambda: _approve_request(hub, spoke, programs), f"the certificate request of {spoke.name}")
    acceptance = json.dumps({"spec": {"hubAcceptsClient": True}})
    await run(
        *control_plane.kubectl(programs, hub),
        *("patch", "managedcluster", spoke.name, "--type=merge", f"--patch={acceptance}"),
    )
    await wait_for(programs, hub, "condition=ManagedClusterConditionAvailable", f"managedcluster/{spoke.name}")
    deployments = [f"deployment/{name}" for name in _SPOKE_DEPLOYMENTS]
    await wait_for(programs, spoke, "condition=Available", *deployments, namespace=AGENT_NAMESPACE)


async def _klusterlet(hub: ClusterLayout, spoke: ClusterLayout, artifacts: Artifacts) -> list[manifest.Json]:
    token = await run(
        *control_plane.kubectl(artifacts.programs, hub),
        *("create", "token", BOOTSTRAP_ACCOUNT, f"--namespace={OPERATOR_NAMESPACE}", "--duration=1h"),
    )
    bootstrap = bootstrap_kubeconfig(hub, token.strip())
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENT_NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "bootstrap-hub-kubeconfig", "namespace": AGENT_NAMESPACE},
            "stringData": {"kubeconfig": json.dumps(bootstrap)},
        },
        {
            "apiVersion": "operator.open-cluster-management.io/v1",
            "kind": "Klusterlet",
            "metadata": {"name": "klusterlet"},
            "spec": {
                "deployOption": {"mode": "Default"},
                "registrationImagePullSpec": artifacts.images["registration"].reference,
                "workImagePullSpec": artifacts.images["work"].reference,
                "imagePullSpec": artifacts.images["registration-operator"].reference,
                "clusterName": spoke.name,
                "namespace": AGENT_NAMESPACE,
                # OCM's default is a minute, for which tests would wait for status feedback.
                "workConfiguration": {"statusSyncInterval": "5s"},
            },
        },
    ]


def bootstrap_kubeconfig(hub: ClusterLayout, token: str) -> dict[str, Any]:
    """Return the bootstrap kubeconfig with which a cluster requests to join."""
    authority = base64.b64encode(Path(hub.folder / "pki" / "ca.crt").read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hub", "cluster": {"server": hub.server, "certificate-authority-data": authority}}],
        "users": [{"name": "bootstrap", "user": {"token": token}}],
        "contexts": [{"name": "bootstrap", "context": {"cluster": "hub", "user": "bootstrap"}}],
        "current-context": "bootstrap",
    }


async def _approve_request(hub: ClusterLayout, spoke: ClusterLayout, programs: Path) -> bool:
    """Approve the spoke's certificate requests as the administrator; return whether there was one."""
    kubectl = control_plane.kubectl(programs, hub)
    selector = f"--selector=open-cluster-management.io/cluster-name={spoke.name}"
    listed = json.loads(await run(*kubectl, "get", "csr", selector, "--output=json"))
    account = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{BOOTSTRAP_ACCOUNT}"
    names = [csr["metadata"]["name"] for csr in listed["items"] if csr["spec"]["username"] == account]
    if names:
        await run(*kubectl, "certificate", "approve", *names)
    return bool(names)
