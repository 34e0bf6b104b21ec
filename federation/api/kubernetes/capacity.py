"""The fields of Nodes and Pods from which the agent computes allocatable and free resources.

The agent of a large cluster keeps all Pods in memory, so the structs decode only what the sums need.
Sources: Kubernetes `core/v1` types; effective requests: KEP-753 (sidecars), KEP-688 (overhead) and KEP-2837
(requests of a pod).
"""

import msgspec

from federation.api.meta import Resource, Struct


class NodeTaint(Struct, frozen=True):
    """A taint of a node."""

    key: str = ""
    effect: str = ""


class NodeSpec(Struct, frozen=True):
    """The scheduling settings of a node."""

    unschedulable: bool = False
    taints: tuple[NodeTaint, ...] = ()


class NodeCondition(Struct, frozen=True):
    """One entry of a Node's conditions, whose times may be null, unlike those of `metav1.Condition`."""

    type: str = ""
    status: str = ""


class NodeStatus(Struct, frozen=True):
    """The allocatable resources of a node, as quantities by resource name, and its conditions."""

    allocatable: dict[str, str] = msgspec.field(default_factory=dict)
    conditions: tuple[NodeCondition, ...] = ()


class Node(Resource, frozen=True):
    """A node of the spoke."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ResourceRequests(Struct, frozen=True):
    """The requests of a container or pod, as quantities by resource name."""

    requests: dict[str, str] = msgspec.field(default_factory=dict)


class PodContainer(Struct, frozen=True):
    """A container with the fields that the scheduler counts."""

    resources: ResourceRequests = ResourceRequests()
    restart_policy: str = ""
    """`Always` makes an init container a sidecar, which runs as long as the pod."""


class PodSpec(Struct, frozen=True):
    """The node and the requests of a pod."""

    node_name: str = ""
    containers: tuple[PodContainer, ...] = ()
    init_containers: tuple[PodContainer, ...] = ()
    resources: ResourceRequests = ResourceRequests()
    """Requests of the whole pod; a resource in it replaces the containers' requests."""
    overhead: dict[str, str] = msgspec.field(default_factory=dict)


class PodStatus(Struct, frozen=True):
    """The phase of a pod; a pod that Succeeded or Failed uses no resources."""

    phase: str = ""


class Pod(Resource, frozen=True):
    """A pod of the spoke."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
