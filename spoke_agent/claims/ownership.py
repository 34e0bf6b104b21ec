"""Owner of the agent's ClusterClaims and Lease, so that they are deleted with the add-on.

Claims are cluster-scoped, and only a cluster-scoped object can own them: the agent's own ClusterRole, which the
add-on's ManifestWork creates and deletes. Kubernetes' garbage collector then deletes the claims, and the hub stops
selecting a cluster that has no agent. Nothing has to run at that moment, on the spoke or on the hub.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from federation.kube.api import Api
from federation.kube.errors import NotFound
from federation.kube.resource import Json, Kind, ObjectKey, Resource

CLUSTER_ROLE: Final = Kind(
    group="rbac.authorization.k8s.io",
    version="v1",
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    struct=Resource,
)

_log = structlog.stdlib.get_logger(__name__)


def cluster_role_owner(api: Api, name: str) -> Callable[[], Awaitable[Json | None]]:
    """Return a call that reads the ClusterRole and returns an ownerReference to it, or None if it is missing.

    The call reads it at each use: a role that is created again has another uid, and a claim with a reference to the old
    uid would be deleted at once.
    """

    async def owner() -> Json | None:
        try:
            role = await api.read(CLUSTER_ROLE, ObjectKey("", name))
        except NotFound:
            _log.warning("claim_owner_missing", cluster_role=name)
            return None
        return {
            "apiVersion": CLUSTER_ROLE.api_version,
            "kind": CLUSTER_ROLE.kind,
            "name": name,
            "uid": role.metadata.uid,
        }

    return owner
