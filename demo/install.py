"""Install the add-on on a fleet: the hub with kustomize, a cluster with a ManagedClusterAddOn.

clusteradm creates the same ManagedClusterAddOn (its `pkg/cmd/addon/enable/exec.go`).
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
    """Load the images and install the hub manager; return when both replicas are ready."""
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
    """Return the ManagedClusterAddOn that enables the add-on on a cluster."""
    return {
        "apiVersion": "addon.open-cluster-management.io/v1alpha1",
        "kind": "ManagedClusterAddOn",
        "metadata": {"name": ADD_ON, "namespace": cluster},
        "spec": {"installNamespace": install_namespace},
    }


async def enable(fleet: Fleet | ExistingFleet, *clusters: str) -> None:
    """Enable the add-on on clusters; return when it is Available on each.

    This is the slowest step, because a klusterlet checks Leases every 30 s.
    """
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=manifest.text([add_on(cluster) for cluster in clusters]))
    await _on_each(fleet, clusters, "wait", "--for=condition=Available")


async def disable(fleet: Fleet | ExistingFleet, *clusters: str) -> None:
    """Disable the add-on on clusters; return when the hub has deleted its objects."""
    await _on_each(fleet, clusters, "delete")


async def _on_each(fleet: Fleet | ExistingFleet, clusters: Sequence[str], *words: str) -> None:
    """Run a kubectl command on the add-on of each cluster, concurrently."""
    what = (f"managedclusteraddon/{ADD_ON}", TIMEOUT_FLAG)
    await asyncio.gather(*(fleet.kubectl(HUB, *words, *what, f"--namespace={cluster}") for cluster in clusters))
