"""Clusters as OCM's hub knows them.

A spoke can PUT its own ManagedCluster, labels and claims included: of what is decoded here only the name, the
deletion timestamp and `spec.hubAcceptsClient` (guarded by OCM's webhook) may decide who is let in. Labels and claims
may only rank or select.
Source: open-cluster-management.io/api `cluster/v1/types.go`.
"""

from typing import Final

from federation.api.meta import Condition, Resource, Struct, is_true

AVAILABLE: Final = "ManagedClusterConditionAvailable"
JOINED: Final = "ManagedClusterJoined"


class ClusterClaim(Struct, frozen=True):
    """One claim that the spoke makes about itself."""

    name: str = ""
    value: str = ""


class Taint(Struct, frozen=True):
    """A taint that keeps Placements away from the cluster."""

    key: str
    effect: str
    value: str = ""


class ClusterVersion(Struct, frozen=True):
    """What the cluster runs."""

    kubernetes: str = ""


class ManagedClusterSpec(Struct, frozen=True):
    """The hub administrator's word on the cluster."""

    hub_accepts_client: bool = False
    taints: tuple[Taint, ...] = ()


class ManagedClusterStatus(Struct, frozen=True):
    """What the spoke reports; never a ground for trust."""

    conditions: tuple[Condition, ...] = ()
    cluster_claims: tuple[ClusterClaim, ...] = ()
    version: ClusterVersion = ClusterVersion()


class ManagedCluster(Resource, frozen=True):
    """One cluster of the fleet."""

    spec: ManagedClusterSpec = ManagedClusterSpec()
    status: ManagedClusterStatus = ManagedClusterStatus()

    @property
    def name(self) -> str:
        """The cluster's name, which is also its namespace on the hub."""
        return self.metadata.name

    @property
    def accepted(self) -> bool:
        """Whether the hub's administrator accepts the cluster, and it is not on its way out."""
        return self.spec.hub_accepts_client and not self.metadata.deleting

    @property
    def available(self) -> bool:
        """Whether the klusterlet renews its lease."""
        return is_true(self.status.conditions, AVAILABLE)
