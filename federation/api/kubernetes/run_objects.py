"""The hub's objects that a federated run is made of, with the fields that decisions read.

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
    """How far the choice is."""

    number_of_selected_clusters: int = 0
    conditions: tuple[Condition, ...] = ()


class Placement(Resource, frozen=True):
    """The rule by which clusters are chosen."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: PlacementStatus = PlacementStatus()


class ClusterDecision(Struct, frozen=True):
    """One chosen cluster."""

    cluster_name: str = ""
    reason: str = ""


class PlacementDecisionStatus(Struct, frozen=True):
    """Up to 100 chosen clusters."""

    decisions: tuple[ClusterDecision, ...] = ()


class PlacementDecision(Resource, frozen=True):
    """Some of the clusters that a Placement has chosen; OCM's placement controller alone writes it."""

    status: PlacementDecisionStatus = PlacementDecisionStatus()


class ManagedClusterSetBindingSpec(Struct, frozen=True):
    """Which set."""

    cluster_set: str = ""


class ManagedClusterSetBinding(Resource, frozen=True):
    """Lets the Placements of a namespace choose from a set; named as the set."""

    spec: ManagedClusterSetBindingSpec = ManagedClusterSetBindingSpec()


class JobSpec(Struct, frozen=True):
    """The part of a Job that can be changed."""

    suspend: bool = False


class JobStatus(Struct, frozen=True):
    """How far the Job is."""

    start_time: str = ""
    """When it began, or was resumed last."""
    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[Condition, ...] = ()


class Job(Resource, frozen=True):
    """Pods that run to an end."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not; it makes no pod any more."""
        return is_true(self.status.conditions, "Complete") or is_true(self.status.conditions, "Failed")


class AggregatorPodStatus(Struct, frozen=True):
    """How far the pod is."""

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
    """How a Service is reached."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ports: tuple[ServicePort, ...] = ()


class LoadBalancerIngress(Struct, frozen=True):
    """An address that a load balancer was given."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Struct, frozen=True):
    """Every address of a load balancer."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Struct, frozen=True):
    """What the cluster made of the Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Resource, frozen=True):
    """A stable address of pods."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ServiceAccount(Resource, frozen=True):
    """Who a pod is."""


class ClaimStatus(Struct, frozen=True):
    """Whether there is a volume."""

    phase: str = ""


class PersistentVolumeClaim(Resource, frozen=True):
    """A volume that outlives pods."""

    status: ClaimStatus = ClaimStatus()


class NetworkPolicy(Resource, frozen=True):
    """Who may reach a pod, and whom it may reach."""


class Endpoint(Struct, frozen=True):
    """What stands behind a Service under these addresses."""

    addresses: tuple[str, ...] = ()


class EndpointPort(Struct, frozen=True):
    """The port of every endpoint of a slice."""

    port: int | None = None


class EndpointSlice(Resource, frozen=True):
    """A part of what stands behind a Service."""

    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class NodeAddress(Struct, frozen=True):
    """One address of a machine."""

    type: str = ""
    address: str = ""


class NodeAddressesStatus(Struct, frozen=True):
    """Under which addresses the machine is reached."""

    addresses: tuple[NodeAddress, ...] = ()


class NodeAddresses(Resource, frozen=True):
    """A machine of the hub, as far as a NodePort reaches it."""

    status: NodeAddressesStatus = NodeAddressesStatus()
