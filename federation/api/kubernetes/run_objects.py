"""The objects of a run on the hub, with the fields that decisions read.

Sources: k8s.io/api `core/v1`, `batch/v1`, `discovery/v1`, `networking/v1`; open-cluster-management.io/api
`cluster/v1beta1`, `cluster/v1beta2`.
"""

from typing import Any, Final

import msgspec

from federation.api.kubernetes.site_workloads import ContainerStatus, PodCondition
from federation.api.meta import Condition, Resource, Struct, is_true

PLACEMENT_LABEL: Final = "cluster.open-cluster-management.io/placement"
"""The label by which a PlacementDecision names its Placement."""


class PlacementStatus(Struct, frozen=True):
    """The result of a Placement."""

    number_of_selected_clusters: int = 0
    conditions: tuple[Condition, ...] = ()


class Placement(Resource, frozen=True):
    """A Placement, which selects clusters."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: PlacementStatus = PlacementStatus()


class ClusterDecision(Struct, frozen=True):
    """One selected cluster."""

    cluster_name: str = ""
    reason: str = ""


class PlacementDecisionStatus(Struct, frozen=True):
    """Up to 100 selected clusters."""

    decisions: tuple[ClusterDecision, ...] = ()


class PlacementDecision(Resource, frozen=True):
    """A part of the clusters that a Placement selected; only OCM's placement controller writes it."""

    status: PlacementDecisionStatus = PlacementDecisionStatus()


class ManagedClusterSetBindingSpec(Struct, frozen=True):
    """The bound cluster set."""

    cluster_set: str = ""


class ManagedClusterSetBinding(Resource, frozen=True):
    """A binding that lets the Placements of a namespace select from a cluster set; it has the set's name."""

    spec: ManagedClusterSetBindingSpec = ManagedClusterSetBindingSpec()


class JobSpec(Struct, frozen=True):
    """The mutable part of a Job."""

    suspend: bool = False


class JobStatus(Struct, frozen=True):
    """The status of a Job."""

    start_time: str = ""
    """Time of the start or the last resumption."""
    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[Condition, ...] = ()


class Job(Resource, frozen=True):
    """A Job."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def ended(self) -> bool:
        """Report whether the Job has completed or failed and creates no more pods."""
        return is_true(self.status.conditions, "Complete") or is_true(self.status.conditions, "Failed")


class AggregatorPodStatus(Struct, frozen=True):
    """The status of the aggregator's pod."""

    phase: str = ""
    conditions: tuple[PodCondition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class AggregatorPod(Resource, frozen=True):
    """A pod of the aggregator's Job."""

    status: AggregatorPodStatus = AggregatorPodStatus()


class ServicePort(Struct, frozen=True):
    """One port of a Service."""

    name: str = ""
    port: int = 0
    node_port: int = 0


class ServiceSpec(Struct, frozen=True):
    """The type, address and ports of a Service."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ports: tuple[ServicePort, ...] = ()


class LoadBalancerIngress(Struct, frozen=True):
    """One address of a load balancer."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Struct, frozen=True):
    """All addresses of a load balancer."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Struct, frozen=True):
    """The status of a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Resource, frozen=True):
    """A stable address of pods."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ServiceAccount(Resource, frozen=True):
    """The identity of a pod."""


class ClaimStatus(Struct, frozen=True):
    """The phase of a PersistentVolumeClaim."""

    phase: str = ""


class PersistentVolumeClaim(Resource, frozen=True):
    """A volume that outlives pods."""

    status: ClaimStatus = ClaimStatus()


class NetworkPolicy(Resource, frozen=True):
    """The allowed ingress and egress of a pod."""


class SliceEndpoint(Struct, frozen=True):
    """One backend of a Service, with its addresses."""

    addresses: tuple[str, ...] = ()


class EndpointPort(Struct, frozen=True):
    """A port of all endpoints of a slice."""

    port: int | None = None


class EndpointSlice(Resource, frozen=True):
    """A part of the backends of a Service."""

    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class NodeAddress(Struct, frozen=True):
    """One address of a node."""

    type: str = ""
    address: str = ""


class NodeAddressesStatus(Struct, frozen=True):
    """The addresses of a node."""

    addresses: tuple[NodeAddress, ...] = ()


class NodeAddresses(Resource, frozen=True):
    """A node of the hub, with its addresses for NodePorts."""

    status: NodeAddressesStatus = NodeAddressesStatus()
