"""Why a request is not granted: the words that reach conditions, Events and metrics."""

from dataclasses import dataclass
from enum import Enum


class CertificateReason(Enum):
    """One member for each check of `policy`, beside which it is explained.

    A lasting reason lies in the request itself, which nobody can change: it is denied. Any other reason lies in the
    hub's state, which may come right by itself: an honest klusterlet is often earlier than the administrator's word or
    OCM's controllers, and a denied request would stop it until the object is deleted.
    """

    FOREIGN_SIGNER = "ForeignSigner"
    """Labelled as this add-on's, for a signer that is not the add-on's."""
    LABEL_MISMATCH = "LabelMismatch"
    """The labels name no cluster, or not this add-on."""
    NAME_MISMATCH = "NameMismatch"
    """The name isn't `addon-CLUSTER-federated-learning-…`."""
    REQUESTER_NOT_CLUSTER = "RequesterNotCluster"
    """Somebody else asks than the klusterlet of the cluster that the label names."""
    REQUEST_MALFORMED = "RequestMalformed"
    """Not one PEM block CERTIFICATE REQUEST that decodes, or over 16 KiB."""
    SIGNATURE_INVALID = "SignatureInvalid"
    """The request isn't signed by its own key, or with a hash weaker than SHA-256."""
    KEY_UNACCEPTABLE = "KeyUnacceptable"
    """A kind or size of key that isn't taken."""
    COMMON_NAME_MISMATCH = "CommonNameMismatch"
    """The common name isn't the one of this cluster."""
    ORGANIZATION_MISMATCH = "OrganizationMismatch"
    """Organisations are missing or added."""
    SUBJECT_ATTRIBUTE = "SubjectAttribute"
    """The subject has further attributes."""
    ALTERNATIVE_NAME = "AlternativeName"
    """Another DNS name, an address, a URI or an e-mail."""
    EXTENSION = "Extension"
    """Further extensions or attributes inside the request."""
    USAGE = "Usage"
    """Usages other than digital signature, key encipherment and client auth, or no client auth."""
    EXPIRY = "Expiry"
    """Agent's certificate only: more than a year is asked for."""
    TOO_MANY_REQUESTS = "TooManyRequests"
    """Ten earlier requests of this cluster for the add-on stand."""
    CLUSTER_UNKNOWN = "ClusterUnknown"
    """There is no such ManagedCluster."""
    CLUSTER_LEAVING = "ClusterLeaving"
    """The ManagedCluster is being deleted."""
    CLUSTER_NOT_ACCEPTED = "ClusterNotAccepted"
    """`spec.hubAcceptsClient` is false."""
    ADDON_NOT_ENABLED = "AddOnNotEnabled"
    """There is no ManagedClusterAddOn in the cluster's namespace."""
    ADDON_LEAVING = "AddOnLeaving"
    """The ManagedClusterAddOn is being deleted."""
    ADDON_NOT_OWNED = "AddOnNotOwned"
    """The ClusterManagementAddOn doesn't own the ManagedClusterAddOn."""
    SIGNER_NOT_REGISTERED = "SignerNotRegistered"
    """The registrations in the ManagedClusterAddOn's status don't name the signer."""

    @property
    def lasting(self) -> bool:
        """Whether nothing on the hub can make the same request acceptable."""
        return self not in _PASSING


_PASSING = frozenset(
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
    """One request's refusal; the message names the value at fault, shortened, and never holds PEM text."""

    reason: CertificateReason
    message: str
