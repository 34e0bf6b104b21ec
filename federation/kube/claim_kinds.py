"""The kinds in which a spoke says what it holds and can compute: claims there, scores on the hub."""

from typing import Final

from federation.api.claims import AddOnPlacementScore, ClusterClaim
from federation.kube.resource import Kind

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
