"""Sum the allocatable and the free resources of the cluster from its Nodes and Pods. Pure.

Only nodes on which a collaborator could be scheduled count: ready, not cordoned, and without a taint that it would have
to tolerate. Claims carry allocatable resources, which change with the machines. Free resources change with every pod
and go into scores only, because each change of a claim is a write of the ManagedCluster on the hub.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from federation.api.kubernetes.capacity import Node, Pod, PodContainer
from federation.api.kubernetes.quantity import parse_quantity
from federation.api.ocm.claims import CPU_CLAIM, GPU_CLAIM, GPU_PRODUCT_CLAIM, GPU_RESOURCES, MEMORY_CLAIM

GIB: Final = 2**30
_PRODUCT_LABELS: Final = ("nvidia.com/gpu.product", "amd.com/gpu.product-name")
"""Set by NVIDIA's GPU feature discovery and AMD's node labeller."""
_REPELLING_EFFECTS: Final = frozenset({"NoSchedule", "NoExecute"})
_GPU_TAINTS: Final = frozenset(GPU_RESOURCES)
"""Taints that reserve a node for pods that request its GPUs.

A collaborator that requests GPUs tolerates them (`spoke_agent.collaborator.planning.job`); another can't use the node.
Its CPU and memory count in any case: claims only narrow a choice, and excluding a site that could take a run is worse
than asking one that can't.
"""


@dataclass(frozen=True, slots=True)
class Amounts:
    """CPU in cores, memory in bytes, GPUs in devices."""

    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)
    gpu: Decimal = Decimal(0)

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.cpu + other.cpu, self.memory + other.memory, self.gpu + other.gpu)

    def less(self, other: "Amounts") -> "Amounts":
        """Subtract the other amounts, down to 0."""
        return Amounts(
            max(Decimal(0), self.cpu - other.cpu),
            max(Decimal(0), self.memory - other.memory),
            max(Decimal(0), self.gpu - other.gpu),
        )

    def at_least(self, other: "Amounts") -> "Amounts":
        """Return the greater of each amount."""
        return Amounts(max(self.cpu, other.cpu), max(self.memory, other.memory), max(self.gpu, other.gpu))


@dataclass(frozen=True, slots=True)
class FreeResources:
    """Resources that new pods could request."""

    cluster: Amounts
    """Of all usable nodes together."""
    node: Amounts
    """The most that a single node has, of each resource: a collaborator is one pod."""


def usable(node: Node) -> bool:
    """Return whether a collaborator could be scheduled on the node."""
    repelled = any(t.effect in _REPELLING_EFFECTS and t.key not in _GPU_TAINTS for t in node.spec.taints)
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)
    return ready and not repelled and not node.spec.unschedulable


def resource_claims(nodes: Iterable[Node]) -> dict[str, str]:
    """Build the capacity claims of these nodes, name to value; every value is a valid label value."""
    counted = [node for node in nodes if usable(node)]
    total = sum((amounts_in(node.status.allocatable) for node in counted), Amounts())
    claims = {
        CPU_CLAIM: str(int(total.cpu)),
        MEMORY_CLAIM: str(int(total.memory // GIB)),
        GPU_CLAIM: str(int(total.gpu)),
    }
    product = _gpu_product(counted)
    return {**claims, GPU_PRODUCT_CLAIM: product} if product else claims


def free_resources(nodes: Iterable[Node], pods: Iterable[Pod]) -> FreeResources:
    """Subtract the pods' requests from the nodes' allocatable resources, as the scheduler does."""
    taken: dict[str, Amounts] = {}
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in {"Succeeded", "Failed"}:
            taken[pod.spec.node_name] = taken.get(pod.spec.node_name, Amounts()) + pod_requests(pod)
    cluster, most = Amounts(), Amounts()
    for node in nodes:
        if usable(node):
            free = amounts_in(node.status.allocatable).less(taken.get(node.metadata.name, Amounts()))
            cluster, most = cluster + free, most.at_least(free)
    return FreeResources(cluster=cluster, node=most)


def pod_requests(pod: Pod) -> Amounts:
    """Return the scheduler's reservation for the pod; requests of the pod as a whole override those of its containers.

    Source: Kubernetes `component-helpers/resource/helpers.go` `PodRequests`, KEP-2837.
    """
    summed, named = _requested_by_containers(pod), pod.spec.resources.requests
    whole = amounts_in(named)
    reserved = Amounts(
        cpu=whole.cpu if "cpu" in named else summed.cpu,
        memory=whole.memory if "memory" in named else summed.memory,
        gpu=summed.gpu,
    )
    return reserved + amounts_in(pod.spec.overhead)


def _requested_by_containers(pod: Pod) -> Amounts:
    """Return the maximum over the pod's initialization and its run.

    An init container runs beside the sidecars that were started before it, the containers beside all sidecars. Source:
    Kubernetes `component-helpers/resource/helpers.go` `AggregateContainerRequests`, KEP-753.
    """
    sidecars, peak = Amounts(), Amounts()
    for container in pod.spec.init_containers:
        requested = _requested(container)
        if container.restart_policy == "Always":
            sidecars += requested
            peak = peak.at_least(sidecars)
        else:
            peak = peak.at_least(sidecars + requested)
    running = sum((_requested(container) for container in pod.spec.containers), sidecars)
    return peak.at_least(running)


def amounts_in(resources: Mapping[str, str]) -> Amounts:
    """Parse the amounts of a resource list; an invalid one counts as 0, so that one bad node hides no other."""
    gpu = sum((_amount(resources, name) for name in GPU_RESOURCES), Decimal(0))
    return Amounts(cpu=_amount(resources, "cpu"), memory=_amount(resources, "memory"), gpu=gpu)


def _amount(resources: Mapping[str, str], name: str) -> Decimal:
    try:
        return max(Decimal(0), parse_quantity(resources.get(name, "0")))
    except ValueError:
        return Decimal(0)


def _requested(container: PodContainer) -> Amounts:
    return amounts_in(container.resources.requests)


def _gpu_product(nodes: Iterable[Node]) -> str:
    """Return the product with the most GPUs, the first by name among equals; `""` if no node with GPUs names one."""
    products: Counter[str] = Counter()
    for node in nodes:
        product = next((node.metadata.labels[key] for key in _PRODUCT_LABELS if node.metadata.labels.get(key)), "")
        gpus = int(amounts_in(node.status.allocatable).gpu)
        if product and gpus:
            products[product] += gpus
    return min(products, key=lambda product: (-products[product], product), default="")
