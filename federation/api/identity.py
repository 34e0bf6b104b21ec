"""Who is who between hub and spokes: the one place that computes a subject, from the name of a managed cluster alone.

The hub manager writes these subjects into `ManagedClusterAddOn.status.registrations`, the klusterlet asks for them in
its certificate signing requests, and the certificate policy compares with them. Everything that a spoke can write
(labels, `status.registrations`, the request itself) is compared with the values computed here and never read as truth.
What a certificate looks like is `federation.pki`'s business.
"""

from dataclasses import dataclass
from typing import Final

from federation.api.meta import FEDERATION_GROUP

ADDON_NAME: Final = "federated-learning"
"""The name of the ClusterManagementAddOn, and of the ManagedClusterAddOn in each cluster's namespace."""

AGENT_NAME: Final = "federated-learning-agent"
"""The agent's part of the user name under which the spoke agent speaks to the hub."""

COLLABORATOR_ORGANIZATION: Final = "federated-learning"
"""The only organisation (O) of a collaborator's certificate."""

COLLABORATOR_SIGNER: Final = f"{FEDERATION_GROUP}/collaborator"
"""The signer of collaborators' certificates; the hub manager is the only one to serve it."""

KUBE_CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
"""The signer of clients of the hub's API server; kube-controller-manager serves it, we only approve."""

CLUSTER_LABEL: Final = "open-cluster-management.io/cluster-name"
"""The label by which a klusterlet's request names its cluster: a hint, whoever asks can write anything into it."""

ADDON_LABEL: Final = "open-cluster-management.io/addon-name"
"""The label by which a klusterlet's request names its add-on: a hint as well."""


TRUST_BUNDLE: Final = "federated-learning-trust-bundle"
"""The ConfigMap with the authorities to trust: in the manager's namespace, and from there in each spoke's."""

TRUST_BUNDLE_KEY: Final = "ca.crt"
"""The bundle's key in it: PEM certificates, one after the other."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate says of its holder, in the terms of OCM's registrations; the order of names means nothing."""

    user: str
    """The common name (CN)."""
    groups: tuple[str, ...]
    """The organisations (O)."""
    organization_units: tuple[str, ...] = ()
    """The organisational units (OU); the field is `organizationUnit` in add-on API v1alpha1."""


def collaborator_subject(cluster: str) -> Subject:
    """The subject of the certificate with which a cluster's collaborators reach an aggregator.

    It has to stay the same for the add-on's life: the klusterlet deletes the Secret at once when a registration's
    subject changes (ocm `pkg/registration/register/csr/csr.go`).

    Args:
        cluster: The name of the ManagedCluster, as the hub has it.
    """
    return Subject(user=cluster, groups=(COLLABORATOR_ORGANIZATION,))


def agent_subject(cluster: str) -> Subject:
    """The subject under which a cluster's spoke agent speaks to the hub's API server.

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
    """The one DNS name that a klusterlet puts into every request for this add-on, whichever cluster it is.

    It names no cluster, so nothing may be decided on it (ocm `pkg/registration/register/csr/csr.go`).
    """
    return f"{ADDON_NAME}.addon.open-cluster-management.io"
