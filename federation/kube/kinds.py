"""Every kind of object that the hub and the agent read or write."""

from typing import Final

from federation.api.collaborator import Collaborator
from federation.api.dataset import Dataset
from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes import core, run_objects
from federation.api.kubernetes.capacity import Node, Pod
from federation.api.kubernetes.certificates import CertificateSigningRequest
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob, SiteNetworkPolicy
from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from federation.api.ocm.addon import ADDON_GROUP, AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from federation.api.ocm.claims import AddOnPlacementScore, ClusterClaim
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork
from federation.kube.resource import Kind

SECRET: Final = Kind(group="", version="v1", kind="Secret", plural="secrets", namespaced=True, struct=core.Secret)
CONFIG_MAP: Final = Kind(
    group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True, struct=core.ConfigMap
)
NAMESPACE: Final = Kind(
    group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False, struct=core.Namespace
)
EVENT: Final = Kind(group="", version="v1", kind="Event", plural="events", namespaced=True, struct=core.Event)
LEASE: Final = Kind(
    group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", namespaced=True, struct=core.Lease
)
ROLE: Final = Kind(
    group="rbac.authorization.k8s.io", version="v1", kind="Role", plural="roles", namespaced=True, struct=core.Role
)
ROLE_BINDING: Final = Kind(
    group="rbac.authorization.k8s.io",
    version="v1",
    kind="RoleBinding",
    plural="rolebindings",
    namespaced=True,
    struct=core.RoleBinding,
)
DEPLOYMENT: Final = Kind(
    group="apps", version="v1", kind="Deployment", plural="deployments", namespaced=True, struct=core.Deployment
)

CERTIFICATE_SIGNING_REQUEST: Final = Kind(
    group="certificates.k8s.io",
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    struct=CertificateSigningRequest,
)

CLUSTER_CLAIM: Final = Kind(
    group="cluster.open-cluster-management.io",
    version="v1alpha1",
    kind="ClusterClaim",
    plural="clusterclaims",
    namespaced=False,
    struct=ClusterClaim,
)
ADD_ON_PLACEMENT_SCORE: Final = Kind(
    group="cluster.open-cluster-management.io",
    version="v1alpha1",
    kind="AddOnPlacementScore",
    plural="addonplacementscores",
    namespaced=True,
    struct=AddOnPlacementScore,
)

COLLABORATOR: Final = Kind(
    group=FEDERATION_GROUP,
    version=FEDERATION_VERSION,
    kind="Collaborator",
    plural="collaborators",
    namespaced=True,
    struct=Collaborator,
)
COLLABORATOR_JOB: Final = Kind(group="batch", version="v1", kind="Job", plural="jobs", namespaced=True, struct=SiteJob)
COLLABORATOR_POD: Final = Kind(
    group="", version="v1", kind="Pod", plural="pods", namespaced=True, struct=CollaboratorPod
)
COLLABORATOR_NETWORK_POLICY: Final = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    namespaced=True,
    struct=SiteNetworkPolicy,
)

MANAGED_CLUSTER: Final = Kind(
    group="cluster.open-cluster-management.io",
    version="v1",
    kind="ManagedCluster",
    plural="managedclusters",
    namespaced=False,
    struct=ManagedCluster,
)
MANAGED_CLUSTER_ADD_ON: Final = Kind(
    group=ADDON_GROUP,
    version="v1alpha1",
    kind="ManagedClusterAddOn",
    plural="managedclusteraddons",
    namespaced=True,
    struct=ManagedClusterAddOn,
)
CLUSTER_MANAGEMENT_ADD_ON: Final = Kind(
    group=ADDON_GROUP,
    version="v1alpha1",
    kind="ClusterManagementAddOn",
    plural="clustermanagementaddons",
    namespaced=False,
    struct=ClusterManagementAddOn,
)
ADD_ON_DEPLOYMENT_CONFIG: Final = Kind(
    group=ADDON_GROUP,
    version="v1alpha1",
    kind="AddOnDeploymentConfig",
    plural="addondeploymentconfigs",
    namespaced=True,
    struct=AddOnDeploymentConfig,
)
MANIFEST_WORK: Final = Kind(
    group="work.open-cluster-management.io",
    version="v1",
    kind="ManifestWork",
    plural="manifestworks",
    namespaced=True,
    struct=ManifestWork,
)

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

DATASET: Final = Kind(
    group=FEDERATION_GROUP,
    version=FEDERATION_VERSION,
    kind="Dataset",
    plural="datasets",
    namespaced=True,
    struct=Dataset,
)
NODE_CAPACITY: Final = Kind(group="", version="v1", kind="Node", plural="nodes", namespaced=False, struct=Node)
POD_REQUESTS: Final = Kind(group="", version="v1", kind="Pod", plural="pods", namespaced=True, struct=Pod)
