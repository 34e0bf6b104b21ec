"""Certificate subjects of hub and spokes, computed only from the name of the managed cluster.

The hub manager writes these subjects into `ManagedClusterAddOn.status.registrations`, the klusterlet requests them in
its certificate signing requests, and the certificate policy compares requests with them. Everything that a spoke can
write (labels, `status.registrations`, the request) is compared with these values and never trusted.
`federation.pki` builds the certificates.
"""

from dataclasses import dataclass
from typing import Final

from federation.api.meta import FEDERATION_GROUP

ADDON_NAME: Final = "federated-learning"
"""The name of the ClusterManagementAddOn, and of the ManagedClusterAddOn in each cluster's namespace."""

AGENT_NAME: Final = "federated-learning-agent"
"""The last part of the spoke agent's user name on the hub."""

COLLABORATOR_ORGANIZATION: Final = "federated-learning"
"""The only organisation (O) of a collaborator's certificate."""

COLLABORATOR_SIGNER: Final = f"{FEDERATION_GROUP}/collaborator"
"""The signer of collaborators' certificates, which the hub manager implements."""

KUBE_CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
"""The signer of clients of the hub's API server; the hub manager approves, kube-controller-manager signs."""

CLUSTER_LABEL: Final = "open-cluster-management.io/cluster-name"
"""The label by which a klusterlet's request names its cluster: a hint, because the requester sets it."""

ADDON_LABEL: Final = "open-cluster-management.io/addon-name"
"""The label by which a klusterlet's request names its add-on: a hint, because the requester sets it."""


TRUST_BUNDLE: Final = "federated-learning-trust-bundle"
"""The ConfigMap of the trust bundle, in the manager's namespace and on each spoke."""

TRUST_BUNDLE_KEY: Final = "ca.crt"
"""The key of the bundle in the ConfigMap; its value is a sequence of PEM certificates."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a certificate in the terms of OCM's registrations; the order of names has no meaning."""

    user: str
    """The common name (CN)."""
    groups: tuple[str, ...]
    """The organisations (O)."""
    organization_units: tuple[str, ...] = ()
    """The organisational units (OU); the field is `organizationUnit` in add-on API v1alpha1."""


def collaborator_subject(cluster: str) -> Subject:
    """Return the subject of the certificate that a cluster's collaborators use.

    It must never change: the klusterlet deletes the Secret at once when a registration's
    subject changes (ocm `pkg/registration/register/csr/csr.go`).

    Args:
        cluster: The name of the ManagedCluster, as the hub has it.
    """
    return Subject(user=cluster, groups=(COLLABORATOR_ORGANIZATION,))


def agent_subject(cluster: str) -> Subject:
    """Return the subject of a cluster's spoke agent on the hub's API server.

    It is OCM's default identity of an add-on's agent: addon-framework `pkg/agent/inteface.go`, `DefaultUser` and
    `DefaultGroups`. Roles bind to the first group, which names this cluster and this add-on alone.

    Args:
        cluster: The name of the ManagedCluster, as the hub has it.
    """
    own_group = f"system:open-cluster-management:cluster:{cluster}:addon:{ADDON_NAME}"
    return Subject(
        user=f"{own_group}:agent:{AGENT_NAME}",
        groups=(own_group, f"system:open-cluster-management:addon:{ADDON_NAME}"),
    )


def dns_name() -> str:
    """Return the DNS name that every klusterlet puts into its requests for this add-on.

    It does not identify a cluster, so no decision may depend on it (ocm `pkg/registration/register/csr/csr.go`).
    """
    return f"{ADDON_NAME}.addon.open-cluster-management.io"
