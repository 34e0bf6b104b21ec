"""The agent against a real API server, under the rights that the add-on gives it and no others.

What a fake can't show: that the CRD is one that a server takes and refuses with, that the rights suffice, and that
OCM's own schemas take the claims and scores.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from federation.api.dataset import Dataset
from federation.api.ocm.claims import CPU_CLAIM, DATASET_CLAIMS, GPU_CLAIM, MEMORY_CLAIM, SCORE_OBJECT
from federation.kube.client import Client
from federation.kube.errors import Invalid, KubeError
from federation.kube.kinds import (
    ADD_ON_PLACEMENT_SCORE,
    CLUSTER_CLAIM,
    DATASET,
    LEASE,
    NAMESPACE,
    NODE_CAPACITY,
    ROLE,
    ROLE_BINDING,
)
from federation.kube.resource import ObjectKey
from fleet.programs import module_folder
from hub_manager.addon.planning.hub_permissions import RULES
from spoke_agent.app import Agent
from spoke_agent.config import config_from
from tests.support.api_server.apiserver import loopback_api_server
from tests.support.builders.site_objects import dataset_json, policy
from tests.support.fleet.spoke_server import AGENT, CRD, bound, eventually, install_agent, named, user_kubeconfig

pytestmark = pytest.mark.apiserver


@dataclass(frozen=True)
class Cluster:
    """One API server that is spoke and hub at once, with what an agent finds there."""

    admin: Client
    agent_kubeconfig: Path


@pytest_asyncio.fixture(scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    async with loopback_api_server() as server:
        admin = Client.from_kubeconfig(server.kubeconfig, field_manager="test")
        try:
            await install(admin)
            yield Cluster(admin, user_kubeconfig(server, AGENT))
        finally:
            await admin.close()


@pytest_asyncio.fixture
async def agent(cluster: Cluster) -> AsyncIterator[Agent]:
    spoke = Client.from_kubeconfig(cluster.agent_kubeconfig, field_manager=AGENT)
    hub = Client.from_kubeconfig(cluster.agent_kubeconfig, field_manager=AGENT)
    config = config_from(
        {"CLUSTER_NAME": "c1", "INSTALL_NAMESPACE": "agent", "HUB_KUBECONFIG": str(cluster.agent_kubeconfig)}
    )
    made = Agent(config, spoke, lambda _: hub, now=lambda: datetime.now(UTC))
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])
    await spoke.close()
    await hub.close()


async def install(admin: Client) -> None:
    await install_agent(admin, "agent")
    ocm = await module_folder("open-cluster-management.io/api") / "cluster" / "v1alpha1"
    for path in (*sorted(ocm.glob("*clusterclaims.crd.yaml")), *sorted(ocm.glob("*placementscores.crd.yaml"))):
        await admin.create(CRD, yaml.safe_load(path.read_text(encoding="utf-8")))
    await admin.create(NAMESPACE, named(NAMESPACE, "c1"))
    await admin.create(ROLE, named(ROLE, AGENT, rules=[*RULES]), namespace="c1")
    await admin.create(ROLE_BINDING, bound(ROLE_BINDING, ROLE, AGENT, AGENT), namespace="c1")
    await admin.create(NODE_CAPACITY, named(NODE_CAPACITY, "n1"))
    status = {
        "allocatable": {"cpu": "3920m", "memory": "16326504Ki"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    await admin.merge_patch(NODE_CAPACITY, ObjectKey("", "n1"), {"status": status}, subresource="status")
    await admin.merge_patch(NODE_CAPACITY, ObjectKey("", "n1"), {"spec": {"taints": None}})
    await eventually(
        lambda: admin.create(ADD_ON_PLACEMENT_SCORE, named(ADD_ON_PLACEMENT_SCORE, SCORE_OBJECT), namespace="c1")
    )
    await eventually(lambda: admin.list_page(CLUSTER_CLAIM))


async def claims(cluster: Cluster) -> dict[str, str]:
    page = await cluster.admin.list_page(CLUSTER_CLAIM)
    return {claim.metadata.name: claim.spec.value for claim in page.items}


@pytest.mark.usefixtures("agent")
async def test_a_dataset_comes_and_goes_as_a_claim_under_the_rights_that_the_agent_has(cluster: Cluster) -> None:
    capacity = {CPU_CLAIM: "3", MEMORY_CLAIM: "15", GPU_CLAIM: "0"}
    await eventually(lambda: claims(cluster), holds=lambda found: found == capacity)

    await cluster.admin.create(DATASET, dataset_json("mnist"), namespace="agent")
    both = {**capacity, DATASET_CLAIMS[0]: '{"mnist":{"rows":60000}}'}
    await eventually(lambda: claims(cluster), holds=lambda found: found == both)
    key = ObjectKey("agent", "mnist")
    judged: Dataset = await eventually(
        lambda: cluster.admin.read(DATASET, key), holds=lambda d: bool(d.status.conditions)
    )
    await cluster.admin.delete(DATASET, key)

    assert (judged.status.conditions[0].status, judged.status.conditions[0].reason) == ("True", "Claimed")
    assert judged.status.observed_generation == judged.metadata.generation
    await eventually(lambda: claims(cluster), holds=lambda found: found == capacity)


async def test_the_agent_becomes_ready_renews_its_lease_and_scores_on_the_hub(cluster: Cluster, agent: Agent) -> None:
    lease = await eventually(lambda: cluster.admin.read_raw(LEASE, ObjectKey("agent", "federated-learning")))
    score = await eventually(
        lambda: cluster.admin.read(ADD_ON_PLACEMENT_SCORE, ObjectKey("c1", SCORE_OBJECT)),
        holds=lambda found: bool(found.status.scores),
    )

    assert agent.ready() is None
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
    assert abs((datetime.now(UTC) - renewed).total_seconds()) < 60
    assert {each.name for each in score.status.scores} >= {"freeCPU", "freeMemory", "freeGPU"}
    assert datetime.fromisoformat(score.status.valid_until) > datetime.now(UTC)


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ({"volume": {}}, "set exactly one of"),
        ({"volume": {"hostPath": {"path": "/srv/../etc"}}}, "write an absolute path without '..'"),
        ({"volume": {"configMap": {"name": "a"}, "subPath": "a/../../b"}}, "write a relative path without '..'"),
        ({"attributes": {"schemaDigest": "sha256:ab"}}, "64 lower-case hexadecimal digits"),
        ({"attributes": {"labels": {"a": 'x"'}}}, "letters, digits"),
        ({"policy": policy(images=["registry.example/fl:latest"])}, "write an image with its digest"),
        ({"policy": policy(approval="Maybe")}, 'supported values: "Automatic", "Manual"'),
    ],
    ids=["no source", "path upwards", "subPath upwards", "digest", "label", "image by tag", "approval"],
)
async def test_the_server_refuses_an_unsound_dataset_with_the_remedy(
    cluster: Cluster, spec: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(Invalid, match=remedy):
        await cluster.admin.create(DATASET, dataset_json("bad", spec=spec), namespace="agent")


async def test_the_server_refuses_a_name_that_no_claim_could_carry(cluster: Cluster) -> None:
    with pytest.raises(Invalid, match="rename the Dataset"):
        await cluster.admin.create(DATASET, dataset_json("a.b"), namespace="agent")


async def test_the_server_takes_the_sample(cluster: Cluster) -> None:
    sample = yaml.safe_load(await asyncio.to_thread(Path("manifests/samples/dataset.yaml").read_text))
    sample["metadata"]["namespace"] = "default"

    taken = await cluster.admin.create(DATASET, sample, namespace="default")

    assert taken.spec.policy.approval == "Manual"


async def test_the_agent_may_do_nothing_that_its_rights_do_not_name(cluster: Cluster) -> None:
    intruder = Client.from_kubeconfig(cluster.agent_kubeconfig, field_manager=AGENT)
    try:
        for attempt in (
            intruder.create(DATASET, dataset_json("mine"), namespace="agent"),
            intruder.list_page(DATASET),
            intruder.list_page(ADD_ON_PLACEMENT_SCORE, namespace="c1"),
            intruder.create(ADD_ON_PLACEMENT_SCORE, named(ADD_ON_PLACEMENT_SCORE, "x"), namespace="c1"),
            intruder.merge_patch(LEASE, ObjectKey("agent", "other"), {"spec": {}}),
        ):
            with pytest.raises(KubeError, match=r"forbidden|403"):
                await attempt
    finally:
        await intruder.close()
