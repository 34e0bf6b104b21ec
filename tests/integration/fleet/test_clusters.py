"""A running fleet as a platform engineer sees it: real clusters, joined by real OCM."""

import json
from functools import partial

import pytest

from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import HUB
from fleet.waiting import until
from tests.support.fleet.workloads import SERVE, STAND, manifest_work, pod, reaches, running, service, text

pytestmark = pytest.mark.fleet
Clusters = Fleet | ExistingFleet


async def said_by(clusters: Clusters, cluster: str, name: str, image: Image, program: str) -> str:
    """Return the output of a Python program in a pod of the cluster, its traceback included."""
    await clusters.kubectl(cluster, "apply", "-f", "-", stdin=text(pod(name, image.reference, program)))

    async def ended() -> bool:
        phase = await clusters.kubectl(cluster, "get", "pod", name, "--output=jsonpath={.status.phase}")
        return phase in {"Succeeded", "Failed"}

    try:
        await until(ended, f"pod {name} ends")
        return await clusters.kubectl(cluster, "logs", name)
    finally:
        await clusters.kubectl(cluster, "delete", "pod", name, "--now")


async def test_every_node_is_ready(clusters: Clusters) -> None:
    for name in clusters.clusters:
        nodes = json.loads(await clusters.kubectl(name, "get", "nodes", "-o", "json"))["items"]
        assert [c["status"] for n in nodes for c in n["status"]["conditions"] if c["type"] == "Ready"] == ["True"]


async def test_every_spoke_is_an_accepted_and_available_member(clusters: Clusters) -> None:
    members = json.loads(await clusters.kubectl(HUB, "get", "managedclusters", "-o", "json"))["items"]
    by_name = {m["metadata"]["name"]: m for m in members}
    assert set(by_name) >= set(clusters.spokes)
    for spoke in clusters.spokes:
        conditions = {c["type"]: c["status"] for c in by_name[spoke]["status"]["conditions"]}
        assert conditions["HubAcceptedManagedCluster"] == "True"
        assert conditions["ManagedClusterConditionAvailable"] == "True"


async def test_a_claim_made_on_a_spoke_arrives_on_the_hub(clusters: Clusters) -> None:
    spoke = clusters.spokes[0]
    claim = {
        "apiVersion": "cluster.open-cluster-management.io/v1alpha1",
        "kind": "ClusterClaim",
        "metadata": {"name": "probe.fleet"},
        "spec": {"value": "arrived"},
    }
    await clusters.kubectl(spoke, "apply", "-f", "-", stdin=text(claim))
    try:
        path = "jsonpath={.status.clusterClaims[?(@.name=='probe.fleet')].value}"

        async def arrived() -> bool:
            return await clusters.kubectl(HUB, "get", "managedcluster", spoke, "-o", path) == "arrived"

        await until(arrived, "the claim arrives on the hub")
    finally:
        await clusters.kubectl(spoke, "delete", "clusterclaim", "probe.fleet")


async def test_a_pod_sent_by_manifestwork_runs_on_that_spoke_and_reports_back(
    clusters: Clusters, python_image: Image
) -> None:
    chosen, other = clusters.spokes[:2]
    work = manifest_work(
        "probe", chosen, pod("probe", python_image.reference, "print('ran')"), feedback={"phase": ".status.phase"}
    )
    await clusters.kubectl(HUB, "apply", "-f", "-", stdin=text(work))
    try:
        path = "jsonpath={.status.resourceStatus.manifests[0].statusFeedback.values[0].fieldValue.string}"

        async def reported() -> bool:
            return await clusters.kubectl(HUB, "get", "manifestwork", "probe", "-n", chosen, "-o", path) == "Succeeded"

        await until(reported, "the pod's phase comes back")
        assert await clusters.kubectl(chosen, "logs", "probe") == "ran\n"
        assert await clusters.kubectl(other, "get", "pods", "-o", "name") == ""
    finally:
        await clusters.kubectl(HUB, "delete", "manifestwork", "probe", "-n", chosen)


async def test_a_service_is_found_by_its_name(clusters: Clusters, python_image: Image) -> None:
    spoke, labels = clusters.spokes[0], {"app": "resolved"}
    objects = (
        pod("resolved", python_image.reference, SERVE, labels=labels),
        service("resolved", selector=labels, port=8000),
        pod("resolver", python_image.reference, STAND),
    )
    async with running(clusters, spoke, *objects):
        for name in ("resolved", "resolved.default.svc.cluster.local"):
            found = partial(reaches, clusters, spoke, "resolver", f"{name}:8000")
            await until(found, f"{name} is found")
        assert not await reaches(clusters, spoke, "resolver", "nobody.default.svc.cluster.local:8000")


async def test_pods_run_without_root_or_a_shell(clusters: Clusters, python_image: Image) -> None:
    program = "import os, shutil; print(os.getuid(), [shutil.which(p) for p in ('sh', 'apt', 'gcc')])"
    assert await said_by(clusters, clusters.spokes[0], "who", python_image, program) == "65532 [None, None, None]\n"


async def test_the_work_agent_has_ocms_own_rights_and_no_more(clusters: Clusters) -> None:
    spoke = clusters.spokes[0]
    agent = "--as=system:serviceaccount:open-cluster-management-agent:klusterlet-work-sa"
    rules = await clusters.kubectl(spoke, "auth", "can-i", "--list", agent)
    assert "deployments.apps" in rules
    assert not [line for line in rules.splitlines() if line.startswith("*.*")]
