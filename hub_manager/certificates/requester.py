"""Which managed cluster made a request, by what the API server authenticated and by nothing that the requester wrote.

OCM gives a klusterlet the user name `system:open-cluster-management:CLUSTER:AGENT`. A comparison by prefix would let
the agent of `c10` pass for `c1` (addon-framework `pkg/utils/csr_helpers.go` compares so); the name is taken apart.
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
    """The ways of cluster registration (ocm `pkg/registration/register`) whose requesters are known."""

    grpc_server: str = GRPC_SERVER
    """The user name of OCM's gRPC server, which makes requests for agents and notes the agent's name; `""`: none."""
    aws: bool = False
    """Whether `awsirsa` is in use. There the user name is the bare cluster name, so it has to be asked for."""


def requesting_cluster(csr: CertificateSigningRequest, drivers: Drivers) -> str | None:
    """The name of the cluster whose klusterlet made the request, None when it was somebody else."""
    user = csr.spec.username
    if drivers.grpc_server and user == drivers.grpc_server:
        # The groups are the server's own; the annotation is its word, and worth nothing from anybody else
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
