"""Identify the managed cluster that made a request, from the identity that the API server authenticated.

OCM gives a klusterlet the user name `system:open-cluster-management:CLUSTER:AGENT`. A comparison by prefix, as in
addon-framework `pkg/utils/csr_helpers.go`, would let the agent of `c10` pass for `c1`; so the name is parsed.
"""

from dataclasses import dataclass
from typing import Final

from federation.api.kubernetes.certificates import CertificateSigningRequest

CLUSTER_PREFIX: Final = "system:open-cluster-management:"
ALL_CLUSTERS_GROUP: Final = "system:open-cluster-management:managed-clusters"
AWS_PREFIX: Final = "open-cluster-management:"
USER_ANNOTATION: Final = "open-cluster-management.io/csr-user"
GRPC_SERVER: Final = "system:serviceaccount:open-cluster-management-hub:grpc-server-sa"


@dataclass(frozen=True, slots=True)
class Drivers:
    """The registration drivers (ocm `pkg/registration/register`) whose requesters are accepted."""

    grpc_server: str = GRPC_SERVER
    """The user name of OCM's gRPC server, which makes requests for agents and annotates the agent's name; or `""`."""
    aws: bool = False
    """Whether `awsirsa` is in use. Its user name is the bare cluster name, so it is accepted only if set."""


def requesting_cluster(csr: CertificateSigningRequest, drivers: Drivers) -> str | None:
    """Return the name of the cluster whose klusterlet made the request, or None for any other requester."""
    user = csr.spec.username
    if drivers.grpc_server and user == drivers.grpc_server:
        # The groups are those of the server, and only the server's annotation can be trusted
        # (ocm pkg/server/services/csr/csr.go).
        return _cluster_in(csr.metadata.annotations.get(USER_ANNOTATION, ""))
    groups = set(csr.spec.groups)
    cluster = _cluster_in(user)
    if cluster is not None:
        own = {group for group in groups if group.startswith(CLUSTER_PREFIX)} - {ALL_CLUSTERS_GROUP}
        return cluster if own == {CLUSTER_PREFIX + cluster} else None
    if drivers.aws and user and ":" not in user:
        own = {group for group in groups if group.startswith(AWS_PREFIX)}
        return user if own == {AWS_PREFIX + user} else None
    return None


def _cluster_in(user: str) -> str | None:
    match user.removeprefix(CLUSTER_PREFIX).split(":"):
        case [cluster, agent] if cluster and agent and user.startswith(CLUSTER_PREFIX):
            return cluster
        case _:
            return None
