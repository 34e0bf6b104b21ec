"""To whom our ClusterClaims and our Lease belong, so that none outlives the add-on.

Claims are cluster-scoped, and only a cluster-scoped object can own them: the agent's own ClusterRole, which the
add-on's ManifestWork brings and takes away. When it goes, Kubernetes' garbage collector removes the claims, and the hub
stops selecting a cluster that has no agent any more. Nothing has to run at that moment, on the spoke or on the hub.
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
    """A call that reads the ClusterRole of that name and returns the ownerReference to it, None where there is none.

    It is read at each use: the role's uid changes when it is made anew, and a reference to the old uid would have the
    claim collected at once.
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
