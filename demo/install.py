"""Installs the add-on on a fleet as its users do: the hub by kustomize, a cluster by a ManagedClusterAddOn.

`clusteradm addon enable --names federated-learning --clusters C` creates the same ManagedClusterAddOn (clusteradm
`pkg/cmd/addon/enable/exec.go`).
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from demo import images
from demo.images import REPOSITORY
from fleet import manifest
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import TIMEOUT_FLAG

ADD_ON: Final = "federated-learning"
HUB_NAMESPACE: Final = "federated-learning-system"
INSTALL_NAMESPACE: Final = "open-cluster-management-agent-addon"
_HUB_MANAGER: Final = "deployment/federated-learning-hub-manager"


async def install_hub(fleet: Fleet | ExistingFleet) -> None:
    """The hub manager, and its images where they are run; both replicas are ready when this returns."""
    hub_image = await images.build(fleet.layout, images.HUB)
    aggregator_image = await images.build_aggregator(fleet.layout)
    agent_image = await images.build(fleet.layout, images.AGENT)
    await fleet.load_image(hub_image, [HUB])
    await fleet.load_image(aggregator_image, [HUB])
    await fleet.load_image(agent_image, fleet.spokes)
    rendered = await fleet.kubectl(HUB, "kustomize", str(REPOSITORY / "manifests" / "hub"))
    named = {
        "hub-manager": hub_image.reference,
        "aggregator": aggregator_image.reference,
        "agent": agent_image.reference,
    }
    objects = manifest.text(manifest.with_images(manifest.parse(rendered), named))
    await fleet.kubectl(HUB, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=objects)
    await fleet.kubectl(HUB, "rollout", "status", _HUB_MANAGER, f"--namespace={HUB_NAMESPACE}", TIMEOUT_FLAG)


def add_on(cluster: str, *, install_namespace: str = INSTALL_NAMESPACE) -> manifest.Json:
    """The ManagedClusterAddOn that enables the add-on on a cluster."""
    return {
        "apiVersion": "addon.open-cluster-management.io/v1alpha1",
        "kind": "ManagedClusterAddOn",
        "metadata": {"name": ADD_ON, "namespace": cluster},
        "spec": {"installNamespace": install_namespace},
    }


async def enable(fleet: Fleet | ExistingFleet, *clusters: str) -> None:
    """Enables the add-on on clusters; returns when OCM calls it Available on each.

    That takes the longest of all: a klusterlet looks at Leases every 30 s.
    """
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=manifest.text([add_on(cluster) for cluster in clusters]))
    await _on_each(fleet, clusters, "wait", "--for=condition=Available")


async def disable(fleet: Fleet | ExistingFleet, *clusters: str) -> None:
    """Disables the add-on on clusters; returns when nothing of it is left on the hub."""
    await _on_each(fleet, clusters, "delete")


async def _on_each(fleet: Fleet | ExistingFleet, clusters: Sequence[str], *words: str) -> None:
    """Has kubectl do something with the add-on of each cluster, side by side."""
    what = (f"managedclusteraddon/{ADD_ON}", TIMEOUT_FLAG)
    await asyncio.gather(*(fleet.kubectl(HUB, *words, *what, f"--namespace={cluster}") for cluster in clusters))
