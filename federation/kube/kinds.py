"""The built-in kinds that more than one part reads."""

from typing import Final

from federation.api import core
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
