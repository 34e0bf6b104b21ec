"""The checks of one cluster, on objects that the hub manager creates."""

from pathlib import Path
from typing import Any

import pytest

from federation.api.ocm.claims import CPU_CLAIM, GPU_CLAIM, DatasetName, PublishedAttributes, dataset_claims
from federation.api.run_names import ATTEMPT_LABEL
from federation.kube.kinds import MANAGED_CLUSTER, MANIFEST_WORK
from federation.kube.resource import Json
from kubectl_fl.doctor.findings import Finding, Verdict
from tests.support.builders.run_objects import run_json
from tests.support.doctor import applied, conditions, enabled, member, of_cluster, of_run, seen, waiting
from tests.support.fakes.run_world import RunWorld

REQUEST = "f79a3459f9af4794b202f06962b2760d"
PENDING = (
    "an administrator of the site must approve the request: kubectl annotate dataset digits --namespace agent "
    f"approval.federation-ai.open-cluster-management.io/{REQUEST}=approved"
)


async def answered(folder: Path, **said: Any) -> Finding:
    world = await waiting(sites={"c2": said})
    await applied(world)
    return of_cluster(seen(world, folder), "c2", "collaborator")


async def test_a_pending_request_names_its_approval_command(tmp_path: Path) -> None:
    answer = await answered(tmp_path, state="Pending", reason="ApprovalPending", message=PENDING)

    assert answer.verdict is Verdict.PROBLEM
    assert answer.remedy == (
        "on that cluster: kubectl annotate dataset digits --namespace agent "
        f"approval.federation-ai.open-cluster-management.io/{REQUEST}=approved"
    )


@pytest.mark.parametrize(
    "message",
    [
        PENDING.replace("digits", "$(reboot)"),
        PENDING.replace("agent", "agent;reboot"),
        PENDING.replace(REQUEST, "x" * 32),
        "kubectl delete everything",
    ],
    ids=["dataset", "namespace", "request", "another command"],
)
async def test_a_spoke_cannot_inject_text_into_the_approval_command(tmp_path: Path, message: str) -> None:
    answer = await answered(tmp_path, state="Pending", reason="ApprovalPending", message=message)

    assert answer.remedy == "a site administrator must approve the request"


async def test_text_after_the_approval_command_is_dropped(tmp_path: Path) -> None:
    answer = await answered(tmp_path, state="Pending", reason="ApprovalPending", message=PENDING + " && reboot")

    assert answer.remedy.endswith(f"{REQUEST}=approved")


@pytest.mark.parametrize(
    ("said", "verdict", "words"),
    [
        ({"state": "Refused", "reason": "ImageNotAllowed", "message": "ask"}, Verdict.PROBLEM, "ImageNotAllowed): ask"),
        ({"state": "Failed", "reason": "WorkspaceFailed", "message": "KeyError", "file": "src/data.py", "line": 12,
          "restarts": 7}, Verdict.PROBLEM, "KeyError at src/data.py:12, 7 failed"),
        ({"state": "Accepted", "reason": "MeetsPolicy"}, Verdict.OK, "Accepted (MeetsPolicy)"),
        ({"state": "Starting", "reason": "PodPending"}, Verdict.UNKNOWN, "Starting"),
    ],
    ids=["refused", "failed", "accepted", "starting"],
)  # fmt: skip
async def test_the_collaborators_state_is_reported(
    tmp_path: Path, said: dict[str, Any], verdict: Verdict, words: str
) -> None:
    answer = await answered(tmp_path, **said)

    assert answer.verdict is verdict
    assert words in answer.detail


async def test_a_report_of_another_attempt_is_ignored(tmp_path: Path) -> None:
    answer = await answered(tmp_path, runId="uid-of-another-1", state="Failed", reason="WorkspaceFailed", message="old")

    assert (answer.verdict, answer.detail) == (Verdict.UNKNOWN, "no response yet")


async def test_a_collaborator_unseen_by_the_aggregator_is_a_connection_problem(tmp_path: Path) -> None:
    world = await waiting()
    await applied(world)
    line = of_cluster(seen(world, tmp_path), "c1", "connection")

    assert line.verdict is Verdict.PROBLEM
    assert "10.0.0.7:8080" in line.remedy


@pytest.mark.parametrize(
    ("claims", "requests", "check", "detail", "remedy"),
    [
        ({}, {}, "dataset", "digits is not published (published: none)", "create the Dataset digits"),
        (dataset_claims({DatasetName("other"): PublishedAttributes()}), {}, "dataset", "published: other", "Dataset"),
        ({CPU_CLAIM: "2"}, {"cpu": "4"}, "capacity", "4 cores requested, 2 available", "lower spec.client"),
        ({}, {"nvidia.com/gpu": 1}, "capacity", "1 GPUs requested, but the cluster has no claim", "agent is running"),
        ({GPU_CLAIM: "many"}, {"nvidia.com/gpu": 1}, "capacity", "no claim for it", "agent is running"),
    ],
    ids=["no dataset", "another dataset", "too small", "unclaimed", "hostile claim"],
)
async def test_a_missing_dataset_or_capacity_is_reported(
    tmp_path: Path, claims: dict[str, str], requests: Json, check: str, detail: str, remedy: str
) -> None:
    world = RunWorld()
    member(world, "c1", claims)
    await world.submit(run_json(client={"resources": {"requests": requests}}))
    await world.settle()
    lack = of_cluster(seen(world, tmp_path), "c1", check)

    assert lack.verdict is Verdict.PROBLEM
    assert detail in lack.detail
    assert remedy in lack.remedy


async def test_exactly_enough_capacity_is_sufficient(tmp_path: Path) -> None:
    world = RunWorld()
    member(world, "c1", {CPU_CLAIM: "4"})
    await world.submit(run_json(client={"resources": {"requests": {"cpu": "4500m"}}}))
    await world.settle()

    assert of_cluster(seen(world, tmp_path), "c1", "capacity").verdict is Verdict.OK


UNCOMPARED = "only whole cores, GiB of memory, nvidia.com/gpu and amd.com/gpu are compared, so this excludes no cluster"


@pytest.mark.parametrize(
    ("requests", "detail"),
    [
        ({}, "spec.client.resources requests nothing"),
        ({"cpu": "0", "memory": 0}, "spec.client.resources requests nothing"),
        ({"cpu": "500m"}, f"requested: cpu 500m; {UNCOMPARED}"),
        ({"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": 0}, f"requested: cpu 500m, memory 512Mi; {UNCOMPARED}"),
        ({"ephemeral-storage": "10Gi"}, f"requested: ephemeral-storage 10Gi; {UNCOMPARED}"),
        ({"example.com/gpu": 1}, f"requested: example.com/gpu 1; {UNCOMPARED}"),
        ({"cpu": "1", "memory": "512Mi"}, "sufficient for spec.client.resources"),
    ],
    ids=["nothing", "noughts", "half a core", "two parts", "unclaimed kind", "another GPU", "one is compared"],
)
async def test_requests_that_are_not_compared_are_reported_as_such(tmp_path: Path, requests: Json, detail: str) -> None:
    world = RunWorld()
    member(world, "c1", {CPU_CLAIM: "1"})
    await world.submit(run_json(client={"resources": {"requests": requests}}))
    await world.settle()
    capacity = of_cluster(seen(world, tmp_path), "c1", "capacity")

    assert (capacity.verdict, capacity.detail) == (Verdict.OK, detail)


async def test_unaccepted_and_unknown_clusters_are_reported(tmp_path: Path) -> None:
    world = await waiting()
    member(world, "c2", hubAcceptsClient=False)
    what = seen(world, tmp_path)

    assert of_cluster(what, "c2", "membership").remedy == "clusteradm accept --clusters c2"
    assert of_cluster(what, "c9", "membership").detail == "the ManagedCluster does not exist"
    assert of_cluster(what, "c9", "add-on").remedy.endswith("--names federated-learning --clusters c9")


async def test_an_unhealthy_add_on_is_reported_with_its_conditions(tmp_path: Path) -> None:
    world = await waiting()
    enabled(world, "c1", conditions("RegistrationApplied", ClusterCertificateRotated="denied", Available="no lease"))
    what = seen(world, tmp_path)

    assert of_cluster(what, "c1", "add-on").detail == "enabled, not available: Wrong: no lease"
    assert of_cluster(what, "c1", "certificate").verdict is Verdict.PROBLEM
    assert of_cluster(what, "c1", "certificate").detail == "Wrong: denied"


async def test_cluster_sets_and_taints_explain_an_unselected_cluster(tmp_path: Path) -> None:
    placement = {"clusterSets": ["hospitals"], "tolerations": [{"key": "slow", "operator": "Exists"}]}
    world = await waiting(run_json(client={"placement": placement}), selected={})
    in_set = {"name": "c2", "labels": {"cluster.open-cluster-management.io/clusterset": "hospitals"}}
    taints = [{"key": "slow", "effect": "NoSelect"}, {"key": "gone", "effect": "NoSelect"}]
    body = {"metadata": in_set, "spec": {"hubAcceptsClient": True, "taints": taints}, "status": {}}
    world.api.seed(MANAGED_CLUSTER, body)
    what = seen(world, tmp_path)

    assert of_cluster(what, "c1", "selected").remedy == "clusteradm clusterset set hospitals --clusters c1"
    assert of_cluster(what, "c2", "selected").detail == "tainted: gone"
    assert of_run(what, "cluster sets").remedy == "clusteradm clusterset bind hospitals --namespace default"


async def test_the_manifest_work_of_an_earlier_attempt_is_ignored(tmp_path: Path) -> None:
    world = await waiting()
    await applied(world)
    for work in world.api.objects(MANIFEST_WORK):
        labels = work["metadata"]["labels"] | {ATTEMPT_LABEL: "7"}
        world.api.seed(MANIFEST_WORK, work | {"metadata": work["metadata"] | {"labels": labels}})

    assert (
        of_cluster(seen(world, tmp_path), "c1", "work").detail == "the hub manager has not created the ManifestWork yet"
    )
