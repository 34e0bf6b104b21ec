"""A site's administrator publishes a Dataset, and a Placement on the hub finds the site; idle sites are preferred."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from demo.install import ADD_ON, INSTALL_NAMESPACE
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import HUB
from fleet.waiting import until
from tests.support.builders.placements import NAMESPACE, asks_for, binding, dataset, placement, selected
from tests.support.fleet.on_hub import read
from tests.support.fleet.workloads import pod

pytestmark = pytest.mark.fleet
Clusters = Fleet | ExistingFleet


@pytest_asyncio.fixture(scope="module")
async def hub_namespace(enabled: Clusters) -> AsyncIterator[Clusters]:
    """The fleet, with a namespace on the hub whose Placements may select from all clusters."""
    await enabled.kubectl(HUB, "create", "namespace", NAMESPACE)
    await enabled.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(binding()))
    yield enabled
    await enabled.kubectl(HUB, "delete", "namespace", NAMESPACE)


async def until_selected(clusters: Clusters, name: str, expected: list[str]) -> None:
    async def so() -> bool:
        return await selected(clusters, name) == expected

    await until(so, f"Placement {name} selects {expected}")


async def test_a_dataset_makes_its_site_the_only_one_selected_and_its_end_deselects_it(hub_namespace: Clusters) -> None:
    holder = hub_namespace.spokes[0]
    asked = placement("has-beds", predicates=asks_for("beds"))
    await hub_namespace.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(asked))

    await hub_namespace.kubectl(holder, "apply", "-f", "-", stdin=json.dumps(dataset("beds")))
    await until_selected(hub_namespace, "has-beds", [holder])
    published = await read(hub_namespace, holder, "dataset", "beds", f"--namespace={INSTALL_NAMESPACE}")
    assert [(c["type"], c["status"]) for c in published["status"]["conditions"]] == [("Published", "True")]

    await hub_namespace.kubectl(holder, "delete", "dataset", "beds", f"--namespace={INSTALL_NAMESPACE}")
    await until_selected(hub_namespace, "has-beds", [])


async def test_thirty_datasets_fit_into_the_claims_that_ocm_carries(hub_namespace: Clusters) -> None:
    holder = hub_namespace.spokes[1]
    names = [f"ward-{number}" for number in range(30)]
    await hub_namespace.kubectl(
        holder, "apply", "-f", "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [dataset(name) for name in names]}),
    )  # fmt: skip
    try:
        asked = placement("has-every-ward", predicates=asks_for(*names))
        await hub_namespace.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(asked))
        await until_selected(hub_namespace, "has-every-ward", [holder])
    finally:
        await hub_namespace.kubectl(holder, "delete", "datasets", "--all", f"--namespace={INSTALL_NAMESPACE}")


async def test_an_unsound_dataset_is_refused_with_its_field_and_remedy(hub_namespace: Clusters) -> None:
    unsound = dataset("unsound")
    unsound["spec"]["volume"]["hostPath"] = {"path": "../data"}
    with pytest.raises(Exception, match="write an absolute path without"):
        await hub_namespace.kubectl(hub_namespace.spokes[0], "apply", "-f", "-", stdin=json.dumps(unsound))


async def test_a_claim_that_is_not_ours_is_left_alone(hub_namespace: Clusters) -> None:
    spoke = hub_namespace.spokes[0]
    claim = {
        "apiVersion": "cluster.open-cluster-management.io/v1alpha1",
        "kind": "ClusterClaim",
        "metadata": {"name": "sample.client-data"},
        "spec": {"value": "/data/private"},
    }
    await hub_namespace.kubectl(spoke, "apply", "-f", "-", stdin=json.dumps(claim))
    asked = placement(
        "by-hand",
        predicates=[
            {
                "requiredClusterSelector": {
                    "claimSelector": {"matchExpressions": [{"key": "sample.client-data", "operator": "Exists"}]}
                }
            }
        ],
    )
    try:
        await hub_namespace.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(asked))
        await until_selected(hub_namespace, "by-hand", [spoke])
        found = await read(hub_namespace, spoke, "clusterclaim", "sample.client-data")
        assert found["spec"]["value"] == "/data/private"
    finally:
        await hub_namespace.kubectl(spoke, "delete", "clusterclaim", "sample.client-data")


async def test_a_placement_that_prefers_free_cpu_picks_the_idle_spoke(
    hub_namespace: Clusters, python_image: Image
) -> None:
    busy, idle = hub_namespace.spokes[:2]
    hog = pod("hog", python_image.reference, "import signal; signal.pause()")
    hog["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1200m"}}
    await hub_namespace.kubectl(busy, "apply", "-f", "-", stdin=json.dumps(hog))
    try:

        async def told() -> bool:
            of_busy, of_idle = [await _score(hub_namespace, spoke) for spoke in (busy, idle)]
            return of_busy is not None and of_idle is not None and of_busy < of_idle

        await until(told, "the busy spoke's score sinks below the idle one's")
        score = {"type": "AddOn", "addOn": {"resourceName": ADD_ON, "scoreName": "freeCPU"}}
        prioritizers = {"mode": "Exact", "configurations": [{"scoreCoordinate": score, "weight": 1}]}
        asked = placement("idle-first", numberOfClusters=1, prioritizerPolicy=prioritizers)
        await hub_namespace.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(asked))
        await until_selected(hub_namespace, "idle-first", [idle])
    finally:
        await hub_namespace.kubectl(busy, "delete", "pod", "hog", "--now")


async def _score(clusters: Clusters, spoke: str) -> int | None:
    """The spoke's score of free CPU; None before the first report."""
    found = await read(clusters, HUB, "addonplacementscore", ADD_ON, f"--namespace={spoke}")
    if "status" not in found:
        return None
    assert found["status"]["validUntil"]
    return next(int(s["value"]) for s in found["status"]["scores"] if s["name"] == "freeCPU")
