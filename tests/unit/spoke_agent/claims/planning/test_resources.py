"""The capacity and the free resources that a cluster publishes."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.api.kubernetes.capacity import Node, Pod
from federation.api.ocm.claims import CPU_CLAIM, GPU_CLAIM, GPU_PRODUCT_CLAIM, MEMORY_CLAIM
from spoke_agent.claims.planning.resources import GIB, Amounts, free_resources, pod_requests, resource_claims
from tests.support.builders.site_objects import node, pod, pod_of

NO_SCHEDULE = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]


def test_claims_are_whole_cores_gib_and_gpus_of_all_usable_nodes() -> None:
    nodes = [
        node("a", cpu="3920m", memory="16326504Ki", nvidia_gpu="2"),
        node("b", cpu="3920m", memory="16326504Ki", amd_gpu="1"),
    ]

    assert resource_claims(nodes) == {CPU_CLAIM: "7", MEMORY_CLAIM: "31", GPU_CLAIM: "3"}


@pytest.mark.parametrize(
    "unusable",
    [
        node("b", cpu="8", memory="1Gi", ready=False),
        node("b", cpu="8", memory="1Gi", unschedulable=True),
        node("b", cpu="8", memory="1Gi", taints=NO_SCHEDULE),
        node("b", cpu="8", memory="1Gi", taints=[{"key": "any", "effect": "NoExecute"}]),
    ],
    ids=["not ready", "cordoned", "control plane", "evicting"],
)
def test_a_node_that_takes_no_collaborator_does_not_count(unusable: Node) -> None:
    nodes = [node("a", cpu="2", memory="4Gi"), unusable]

    assert resource_claims(nodes)[CPU_CLAIM] == "2"
    assert free_resources(nodes, []).cluster.cpu == 2


@pytest.mark.parametrize(
    "taint", [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}, {"key": "any", "effect": "PreferNoSchedule"}]
)
def test_a_taint_that_a_collaborator_gets_past_does_not_hide_the_node(taint: dict[str, str]) -> None:
    assert resource_claims([node(cpu="2", nvidia_gpu="1", taints=[taint])])[GPU_CLAIM] == "1"


def test_a_cluster_without_usable_nodes_claims_nothing_of_each() -> None:
    assert resource_claims([]) == {CPU_CLAIM: "0", MEMORY_CLAIM: "0", GPU_CLAIM: "0"}


def test_the_product_is_the_one_with_most_gpus() -> None:
    nodes = [
        node("a", nvidia_gpu="2", labels={"nvidia.com/gpu.product": "NVIDIA-L4"}),
        node("b", nvidia_gpu="8", labels={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}),
        node("c", amd_gpu="4", labels={"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}),
        node("d", cpu="64", labels={"nvidia.com/gpu.product": "No-Device"}),
    ]

    assert resource_claims(nodes)[GPU_PRODUCT_CLAIM] == "NVIDIA-H100-80GB-HBM3"
    assert resource_claims(nodes[2:])[GPU_PRODUCT_CLAIM] == "AMD_Instinct_MI300X_OAM"
    assert GPU_PRODUCT_CLAIM not in resource_claims(nodes[3:])


def test_a_quantity_that_cannot_be_read_costs_only_itself() -> None:
    assert resource_claims([node("a", cpu="lots", memory="8Gi"), node("b", cpu="2", memory="-1")]) == {
        CPU_CLAIM: "2",
        MEMORY_CLAIM: "8",
        GPU_CLAIM: "0",
    }


def test_free_is_allocatable_less_the_requests_of_pods_that_still_run() -> None:
    nodes = [node("a", cpu="4", memory="8Gi", nvidia_gpu="2"), node("b", cpu="2", memory="4Gi")]
    pods = [
        pod(on="a", cpu="500m", memory="1Gi", nvidia_gpu="1"),
        pod(on="a", cpu="1", phase="Pending"),
        pod(on="a", cpu="3", phase="Succeeded"),
        pod(on="a", cpu="3", phase="Failed"),
        pod(on="", cpu="3", phase="Pending"),
        pod(on="gone", cpu="3"),
    ]

    free = free_resources(nodes, pods)

    assert free.cluster == Amounts(Decimal("4.5"), Decimal(11 * GIB), Decimal(1))
    assert free.node == Amounts(Decimal("2.5"), Decimal(7 * GIB), Decimal(1))


def test_an_overcommitted_node_has_nothing_free_and_takes_nothing_from_another() -> None:
    free = free_resources([node("a", cpu="1"), node("b", cpu="1")], [pod(on="a", cpu="5")])

    assert free.cluster.cpu == 1


@pytest.mark.parametrize(
    ("counted", "cpu"),
    [
        (pod_of([{"cpu": "1"}, {"cpu": "2"}]), "3"),
        (pod_of([{"cpu": "1"}], init=[({"cpu": "4"}, "")]), "4"),
        (pod_of([{"cpu": "3"}], init=[({"cpu": "2"}, ""), ({"cpu": "2"}, "")]), "3"),
        (pod_of([{"cpu": "1"}], init=[({"cpu": "1"}, "Always")]), "2"),
        (pod_of([{"cpu": "1"}], init=[({"cpu": "1"}, "Always"), ({"cpu": "3"}, "")]), "4"),
        (pod_of([{"cpu": "1"}], init=[({"cpu": "3"}, ""), ({"cpu": "1"}, "Always")]), "3"),
        (pod_of([{"cpu": "1"}], overhead={"cpu": "250m"}), "1.25"),
    ],
    ids=["sum", "init peak", "init below", "sidecar", "init beside sidecar", "init before sidecar", "overhead"],
)
def test_a_pod_takes_what_the_scheduler_reserves_for_it(counted: Pod, cpu: str) -> None:
    assert pod_requests(counted).cpu == Decimal(cpu)


def test_what_a_pod_requests_as_a_whole_counts_in_place_of_its_containers_sum() -> None:
    containers = [{"cpu": "2", "memory": "1Gi", "nvidia_gpu": "1"}, {}]
    init = [({"cpu": "4"}, "")]
    overhead = {"cpu": "250m", "memory": "1Gi"}

    counted = pod_requests(pod_of(containers, init=init, whole={"cpu": "3"}, overhead=overhead))
    unnamed = pod_requests(pod_of([{}, {}], whole={"cpu": "3", "memory": "2Gi", "nvidia_gpu": "9"}))

    assert counted == Amounts(Decimal("3.25"), Decimal(2 * GIB), Decimal(1))
    assert unnamed == Amounts(Decimal(3), Decimal(2 * GIB), Decimal(0))


quantities = st.integers(0, 10**6).map(lambda count: f"{count}m")


@given(st.lists(quantities, max_size=5), st.lists(st.tuples(quantities, st.sampled_from("0123"))), quantities)
def test_another_pod_never_leaves_more_and_free_never_exceeds_what_there_is(
    sizes: list[str], taken: list[tuple[str, str]], more: str
) -> None:
    nodes = [node(str(number), cpu=size) for number, size in enumerate(sizes)]
    pods = [pod(on=name, cpu=size) for size, name in taken]

    free, less = free_resources(nodes, pods), free_resources(nodes, [*pods, pod(on="0", cpu=more)])

    assert 0 <= less.cluster.cpu <= free.cluster.cpu <= free_resources(nodes, []).cluster.cpu
    assert less.node.cpu <= free.node.cpu <= free.cluster.cpu


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))))
def test_every_claimed_value_is_a_label_value_whatever_nodes_say(texts: list[tuple[str, str, str]]) -> None:
    nodes = [node(cpu=cpu, memory=memory, nvidia_gpu=gpu) for cpu, memory, gpu in texts]

    assert all(re.fullmatch(r"[0-9]{1,63}", value) for value in resource_claims(nodes).values())
