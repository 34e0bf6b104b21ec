"""Reasons for refusing a certificate request, as they appear in conditions, Events and metrics."""

from dataclasses import dataclass
from enum import Enum


class CertificateReason(Enum):
    """One member for each check of `policy`, beside which it is explained.

    A lasting reason concerns the immutable request: the request is denied. Any other reason concerns the hub's state,
    which may still change: a klusterlet often requests before the administrator or OCM's controllers have acted, and a
    denied request would block it until the object is deleted.
    """

    FOREIGN_SIGNER = "ForeignSigner"
    """Labeled as this add-on's, but for a signer that the add-on does not use."""
    LABEL_MISMATCH = "LabelMismatch"
    """The labels do not name a cluster and this add-on."""
    NAME_MISMATCH = "NameMismatch"
    """The name isn't `addon-CLUSTER-federated-learning-…`."""
    REQUESTER_NOT_CLUSTER = "RequesterNotCluster"
    """The requester isn't the klusterlet of the cluster that the label names."""
    REQUEST_MALFORMED = "RequestMalformed"
    """The request isn't a single valid PEM block CERTIFICATE REQUEST, or exceeds 16 KiB."""
    SIGNATURE_INVALID = "SignatureInvalid"
    """The request isn't signed by its own key, or is signed with a hash weaker than SHA-256."""
    KEY_UNACCEPTABLE = "KeyUnacceptable"
    """The type or size of the key is unsupported."""
    COMMON_NAME_MISMATCH = "CommonNameMismatch"
    """The common name isn't that of this cluster."""
    ORGANIZATION_MISMATCH = "OrganizationMismatch"
    """An organization is missing or unexpected."""
    SUBJECT_ATTRIBUTE = "SubjectAttribute"
    """The subject has other attributes."""
    ALTERNATIVE_NAME = "AlternativeName"
    """There is an unexpected DNS name, an address, a URI or an e-mail."""
    EXTENSION = "Extension"
    """The request contains other extensions or attributes."""
    USAGE = "Usage"
    """The usages lack client auth, or include others than client auth, digital signature and key encipherment."""
    EXPIRY = "Expiry"
    """The agent's certificate is requested for more than a year."""
    TOO_MANY_REQUESTS = "TooManyRequests"
    """Ten earlier requests of this cluster for the add-on are open."""
    CLUSTER_UNKNOWN = "ClusterUnknown"
    """The ManagedCluster does not exist."""
    CLUSTER_LEAVING = "ClusterLeaving"
    """The ManagedCluster is being deleted."""
    CLUSTER_NOT_ACCEPTED = "ClusterNotAccepted"
    """`spec.hubAcceptsClient` is false."""
    ADDON_NOT_ENABLED = "AddOnNotEnabled"
    """The ManagedClusterAddOn does not exist in the cluster's namespace."""
    ADDON_LEAVING = "AddOnLeaving"
    """The ManagedClusterAddOn is being deleted."""
    ADDON_NOT_OWNED = "AddOnNotOwned"
    """The ClusterManagementAddOn doesn't own the ManagedClusterAddOn."""
    SIGNER_NOT_REGISTERED = "SignerNotRegistered"
    """The registrations in the ManagedClusterAddOn's status don't name the signer."""

    @property
    def lasting(self) -> bool:
        """Whether no change on the hub can make the same request acceptable."""
        return self not in _TEMPORARY


_TEMPORARY = frozenset(
    {
        CertificateReason.CLUSTER_UNKNOWN,
        CertificateReason.CLUSTER_LEAVING,
        CertificateReason.CLUSTER_NOT_ACCEPTED,
        CertificateReason.ADDON_NOT_ENABLED,
        CertificateReason.ADDON_LEAVING,
        CertificateReason.ADDON_NOT_OWNED,
        CertificateReason.SIGNER_NOT_REGISTERED,
    }
)


@dataclass(frozen=True, slots=True)
class CertificateRefusal:
    """The refusal of one request; the message names the invalid value, shortened, and the remedy, but no PEM text."""

    reason: CertificateReason
    message: str
