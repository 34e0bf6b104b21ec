"""Datasets and Placements, as a site's administrator and a user of the hub write them."""

from typing import Any, Final

from demo.install import INSTALL_NAMESPACE
from federation.api.ocm.claims import dataset_predicate
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from tests.support.fleet.on_hub import read

Clusters = Fleet | ExistingFleet
Json = dict[str, Any]
NAMESPACE: Final = "placement-tests"


def binding() -> Json:
    """The binding that lets the Placements of the namespace select from all clusters."""
    return {
        "apiVersion": "cluster.open-cluster-management.io/v1beta2",
        "kind": "ManagedClusterSetBinding",
        "metadata": {"name": "global", "namespace": NAMESPACE},
        "spec": {"clusterSet": "global"},
    }


def dataset(name: str) -> Json:
    """A Dataset over a ConfigMap, which need not be there to be published."""
    return {
        "apiVersion": "federation-ai.open-cluster-management.io/v1alpha1",
        "kind": "Dataset",
        "metadata": {"name": name, "namespace": INSTALL_NAMESPACE},
        "spec": {
            "volume": {"configMap": {"name": name}},
            "attributes": {"rows": 1797},
            "policy": {"runs": [{"namespace": "research"}], "images": ["registry.example.com/research/"]},
        },
    }


def placement(name: str, **spec: Any) -> Json:
    """A Placement over all clusters."""
    return {
        "apiVersion": "cluster.open-cluster-management.io/v1beta1",
        "kind": "Placement",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"clusterSets": ["global"], **spec},
    }


def asks_for(*datasets: str) -> list[Json]:
    """The predicate of a Placement that asks for datasets."""
    wanted = [dataset_predicate(name) for name in datasets]
    return [{"requiredClusterSelector": {"celSelector": {"celExpressions": wanted}}}]


async def selected(clusters: Clusters, name: str) -> list[str]:
    """The clusters that a Placement has decided on."""
    found = await read(
        clusters, HUB, "placementdecisions", f"--namespace={NAMESPACE}",
        f"--selector=cluster.open-cluster-management.io/placement={name}",
    )  # fmt: skip
    return sorted(d["clusterName"] for item in found["items"] for d in item.get("status", {}).get("decisions", []))
