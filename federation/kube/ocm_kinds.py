"""The kinds of Open Cluster Management that we read and write, in the versions that OCM stores."""

from typing import Final

from federation.api.addon import ADDON_GROUP, AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from federation.api.cluster import ManagedCluster
from federation.api.work import ManifestWork
from federation.kube.resource import Kind

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
