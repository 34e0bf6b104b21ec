"""ManagedClusters in OCM's API.

A spoke can update its ManagedCluster, including labels and claims. Only the name, the deletion timestamp and
`spec.hubAcceptsClient` (guarded by OCM's webhook) may authorize a cluster. Labels and claims may only rank or select.
Source: open-cluster-management.io/api `cluster/v1/types.go`.
"""

from typing import Final

from federation.api.meta import Condition, Resource, Struct, is_true

AVAILABLE: Final = "ManagedClusterConditionAvailable"
JOINED: Final = "ManagedClusterJoined"


class ReportedClaim(Struct, frozen=True):
    """One claim of the spoke."""

    name: str = ""
    value: str = ""


class ClusterTaint(Struct, frozen=True):
    """A taint that keeps Placements away from the cluster."""

    key: str
    effect: str
    value: str = ""


class ClusterVersion(Struct, frozen=True):
    """The versions that the cluster reports."""

    kubernetes: str = ""


class ManagedClusterSpec(Struct, frozen=True):
    """The hub administrator's settings for the cluster."""

    hub_accepts_client: bool = False
    taints: tuple[ClusterTaint, ...] = ()


class ManagedClusterStatus(Struct, frozen=True):
    """The status that the spoke reports; it may not be trusted."""

    conditions: tuple[Condition, ...] = ()
    cluster_claims: tuple[ReportedClaim, ...] = ()
    version: ClusterVersion = ClusterVersion()


class ManagedCluster(Resource, frozen=True):
    """A cluster that is registered with the hub."""

    spec: ManagedClusterSpec = ManagedClusterSpec()
    status: ManagedClusterStatus = ManagedClusterStatus()

    @property
    def name(self) -> str:
        """Return the cluster's name, which is also its namespace on the hub."""
        return self.metadata.name

    @property
    def accepted(self) -> bool:
        """Report whether the hub accepts the cluster and its deletion has not begun."""
        return self.spec.hub_accepts_client and not self.metadata.deleting

    @property
    def available(self) -> bool:
        """Report whether the klusterlet renews its lease."""
        return is_true(self.status.conditions, AVAILABLE)
