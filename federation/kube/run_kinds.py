"""The kinds that a federated run is made of, on the hub."""

from typing import Final

from federation.api import run_objects
from federation.api.federated_learning import FederatedLearning
from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from federation.kube.resource import Kind

FEDERATED_LEARNING: Final = Kind(
    group=FEDERATION_GROUP,
    version=FEDERATION_VERSION,
    kind="FederatedLearning",
    plural="federatedlearnings",
    namespaced=True,
    struct=FederatedLearning,
)
PLACEMENT: Final = Kind(
    group="cluster.open-cluster-management.io",
    version="v1beta1",
    kind="Placement",
    plural="placements",
    namespaced=True,
    struct=run_objects.Placement,
)
PLACEMENT_DECISION: Final = Kind(
    group="cluster.open-cluster-management.io",
    version="v1beta1",
    kind="PlacementDecision",
    plural="placementdecisions",
    namespaced=True,
    struct=run_objects.PlacementDecision,
)
MANAGED_CLUSTER_SET_BINDING: Final = Kind(
    group="cluster.open-cluster-management.io",
    version="v1beta2",
    kind="ManagedClusterSetBinding",
    plural="managedclustersetbindings",
    namespaced=True,
    struct=run_objects.ManagedClusterSetBinding,
)
JOB: Final = Kind(group="batch", version="v1", kind="Job", plural="jobs", namespaced=True, struct=run_objects.Job)
AGGREGATOR_POD: Final = Kind(
    group="", version="v1", kind="Pod", plural="pods", namespaced=True, struct=run_objects.AggregatorPod
)
SERVICE: Final = Kind(
    group="", version="v1", kind="Service", plural="services", namespaced=True, struct=run_objects.Service
)
SERVICE_ACCOUNT: Final = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    namespaced=True,
    struct=run_objects.ServiceAccount,
)
PERSISTENT_VOLUME_CLAIM: Final = Kind(
    group="",
    version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    namespaced=True,
    struct=run_objects.PersistentVolumeClaim,
)
NETWORK_POLICY: Final = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    namespaced=True,
    struct=run_objects.NetworkPolicy,
)
ENDPOINT_SLICE: Final = Kind(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    namespaced=True,
    struct=run_objects.EndpointSlice,
)
HUB_NODE: Final = Kind(
    group="", version="v1", kind="Node", plural="nodes", namespaced=False, struct=run_objects.NodeAddresses
)
