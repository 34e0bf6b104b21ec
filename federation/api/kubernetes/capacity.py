"""The part of Nodes and Pods that says what a cluster can compute, and what of it is taken.

The agent of a large cluster holds every Pod in memory, so these decode only what the sums need.
Sources: Kubernetes `core/v1` types; effective requests: KEP-753 (sidecars), KEP-688 (overhead) and KEP-2837
(requests of a pod).
"""

import msgspec

from federation.api.meta import Resource, Struct


class Taint(Struct, frozen=True):
    """What keeps pods off a node unless they tolerate it."""

    key: str = ""
    effect: str = ""


class NodeSpec(Struct, frozen=True):
    """How the node takes pods."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeCondition(Struct, frozen=True):
    """One entry of a Node's conditions, whose times may be null, unlike those of `metav1.Condition`."""

    type: str = ""
    status: str = ""


class NodeStatus(Struct, frozen=True):
    """What the node has for pods, as quantities by resource name."""

    allocatable: dict[str, str] = msgspec.field(default_factory=dict)
    conditions: tuple[NodeCondition, ...] = ()


class Node(Resource, frozen=True):
    """A machine of the spoke."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ResourceRequests(Struct, frozen=True):
    """What a container reserves, or a pod as a whole, as quantities by resource name."""

    requests: dict[str, str] = msgspec.field(default_factory=dict)


class PodContainer(Struct, frozen=True):
    """A container, as the scheduler counts it."""

    resources: ResourceRequests = ResourceRequests()
    restart_policy: str = ""
    """`Always` makes an init container a sidecar, which stays."""


class PodSpec(Struct, frozen=True):
    """What the pod takes, and where."""

    node_name: str = ""
    containers: tuple[PodContainer, ...] = ()
    init_containers: tuple[PodContainer, ...] = ()
    resources: ResourceRequests = ResourceRequests()
    """Of the pod as a whole; what it names counts in place of what the containers reserve."""
    overhead: dict[str, str] = msgspec.field(default_factory=dict)


class PodStatus(Struct, frozen=True):
    """How far the pod is: one that Succeeded or Failed takes nothing any more."""

    phase: str = ""


class Pod(Resource, frozen=True):
    """What runs, or is about to, on a node."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
