"""The conditions under which a request of the add-on is granted: an ordered list of pure checks for each signer.

Each check reads one frozen `Input` and returns None or a `CertificateRefusal`; the first refusal counts. Checks of the
request come before checks of the hub's state, so that a request which can never be granted is not kept waiting. The
checks run at approval and again at signing, because other approvers exist.

Expected values are computed from the cluster's name (`federation.api.identity`). A spoke can write labels and
`status.registrations`; they can only make a request fail.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from federation.api.dns_names import is_dns_label
from federation.api.identity import (
    ADDON_LABEL,
    ADDON_NAME,
    CLUSTER_LABEL,
    COLLABORATOR_SIGNER,
    KUBE_CLIENT_SIGNER,
    Subject,
    agent_subject,
    collaborator_subject,
    dns_name,
)
from federation.api.kubernetes.certificates import (
    CLIENT_AUTH,
    DIGITAL_SIGNATURE,
    KEY_ENCIPHERMENT,
    CertificateSigningRequest,
)
from federation.api.ocm.addon import ClusterManagementAddOn, ManagedClusterAddOn, owned_by
from federation.api.ocm.cluster import ManagedCluster
from federation.pki.csr import KeyAlgorithm, MalformedRequest, Request
from hub_manager.certificates.requests.refusal import CertificateReason, CertificateRefusal
from hub_manager.certificates.requests.requester import Drivers, requesting_cluster

GENERATED_BASE: Final = 58
"""Characters of a `generateName` that an API server keeps (k8s.io/apiserver `pkg/storage/names/generate.go`)."""

YEAR: Final = 31_536_000
"""Seconds; `clusteradm join` makes every klusterlet ask for it."""


@dataclass(frozen=True, slots=True)
class RequestRules:
    """The administrator's settings for granting certificates."""

    limit: int = 10
    """Maximum of a cluster's open requests for this add-on; a klusterlet stops at the same number (ocm#853)."""
    drivers: Drivers = field(default_factory=Drivers)


@dataclass(frozen=True, slots=True)
class Input:
    """Everything that a decision about one request depends on."""

    csr: CertificateSigningRequest
    request: Request | MalformedRequest
    cluster: ManagedCluster | None
    """The ManagedCluster that the request's label names."""
    addon: ManagedClusterAddOn | None
    """The add-on in that cluster's namespace."""
    cluster_management_addon: ClusterManagementAddOn | None
    """The add-on's ClusterManagementAddOn."""
    earlier: int = 0
    """Number of earlier requests of the same cluster for this add-on that have not been rejected."""
    rules: RequestRules = RequestRules()

    @property
    def claimed(self) -> str:
        """The cluster's name in the request's label; the checks verify it."""
        return self.csr.metadata.labels.get(CLUSTER_LABEL, "")


Check: TypeAlias = Callable[[Input], CertificateRefusal | None]


def concerns_us(csr: CertificateSigningRequest) -> bool:
    """Whether the request names our signer or our add-on; all others are ignored."""
    return csr.spec.signer_name == COLLABORATOR_SIGNER or csr.metadata.labels.get(ADDON_LABEL) == ADDON_NAME


def refusal_of(known: Input) -> CertificateRefusal | None:
    """Return the first refusal, or None if all checks of the signer's policy pass."""
    policy = POLICIES.get(known.csr.spec.signer_name, (_foreign_signer,))
    return next((refusal for check in policy if (refusal := check(known)) is not None), None)


def _foreign_signer(known: Input) -> CertificateRefusal:
    """Return ForeignSigner: the add-on uses two signers, and requests to others are theirs to deny."""
    return CertificateRefusal(
        CertificateReason.FOREIGN_SIGNER,
        f"{ADDON_NAME} does not use the signer {_short(known.csr.spec.signer_name)}; remove the label {ADDON_LABEL}",
    )


def labelled(known: Input) -> CertificateRefusal | None:
    """Check the labels (LabelMismatch): the add-on's name, and the name of a cluster, which is a DNS label."""
    if is_dns_label(known.claimed) and known.csr.metadata.labels.get(ADDON_LABEL) == ADDON_NAME:
        return None
    return CertificateRefusal(
        CertificateReason.LABEL_MISMATCH,
        f"invalid labels: set {CLUSTER_LABEL}, now {_short(known.claimed)}, to the cluster's name "
        f"and {ADDON_LABEL} to {ADDON_NAME}",
    )


def named_for_cluster(known: Input) -> CertificateRefusal | None:
    """Check the name (NameMismatch): `addon-CLUSTER-ADDON-…`, of which the API server keeps 58 characters."""
    base = f"addon-{known.claimed}-{ADDON_NAME}-"[:GENERATED_BASE]
    name = known.csr.metadata.name
    if name.startswith(base) and len(name) > len(base):
        return None
    return CertificateRefusal(
        CertificateReason.NAME_MISMATCH, f"invalid metadata.name: set metadata.generateName to {_short(base)}"
    )


def requested_by_cluster(known: Input) -> CertificateRefusal | None:
    """Check the requester (RequesterNotCluster): the klusterlet of the cluster, by its whole name (`c1`, `c10`)."""
    if requesting_cluster(known.csr, known.rules.drivers) == known.claimed:
        return None
    user = _short(known.csr.spec.username)
    return CertificateRefusal(
        CertificateReason.REQUESTER_NOT_CLUSTER,
        f"user {user} is not the klusterlet of {_short(known.claimed)}: request it as that cluster's klusterlet",
    )


def well_formed(known: Input) -> CertificateRefusal | None:
    """Check that the request is one PEM block that decodes (RequestMalformed)."""
    if isinstance(known.request, MalformedRequest):
        return CertificateRefusal(CertificateReason.REQUEST_MALFORMED, str(known.request))
    return None


def self_signed(request: Request, _: Input) -> CertificateRefusal | None:
    """Check the self-signature (SignatureInvalid), which proves that the requester has the private key."""
    if request.self_signed:
        return None
    return CertificateRefusal(
        CertificateReason.SIGNATURE_INVALID,
        "invalid signature: sign spec.request with its own key and SHA-256 or stronger",
    )


def key_strong(request: Request, _: Input) -> CertificateRefusal | None:
    """Check the key (KeyUnacceptable): P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits, exponent at least 65537."""
    key = request.key
    match key.algorithm:
        case KeyAlgorithm.EC:
            sound = key.curve in {"secp256r1", "secp384r1"}
        case KeyAlgorithm.RSA:
            sound = 2048 <= key.bits <= 8192 and key.exponent >= 65537
        case KeyAlgorithm.ED25519:
            sound = True
        case KeyAlgorithm.OTHER:
            sound = False
    if sound:
        return None
    return CertificateRefusal(
        CertificateReason.KEY_UNACCEPTABLE,
        f"unsupported key {key.algorithm.value} {key.curve} of {key.bits} bits: "
        "use P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits",
    )


def subject_checks(subject_for: Callable[[str], Subject]) -> tuple[Check, ...]:
    """Return the checks of the subject (CommonNameMismatch, OrganizationMismatch, SubjectAttribute).

    They compare sets of values, because Go does not sort them. The certificate is not built from the request's subject.
    """

    def common_name(request: Request, known: Input) -> CertificateRefusal | None:
        expected = subject_for(known.claimed).user
        if request.common_names == (expected,):
            return None
        return CertificateRefusal(
            CertificateReason.COMMON_NAME_MISMATCH,
            f"invalid common name {_short(request.common_names)}: set it to {expected}",
        )

    def organization(request: Request, known: Input) -> CertificateRefusal | None:
        expected = set(subject_for(known.claimed).groups)
        if set(request.organizations) == expected:
            return None
        return CertificateRefusal(
            CertificateReason.ORGANIZATION_MISMATCH,
            f"invalid organizations {_short(request.organizations)}: set them to {sorted(expected)}",
        )

    def attributes(request: Request, known: Input) -> CertificateRefusal | None:
        expected = set(subject_for(known.claimed).organization_units)
        if set(request.organization_units) == expected and not request.other_attributes:
            return None
        found = request.organization_units + request.other_attributes
        return CertificateRefusal(
            CertificateReason.SUBJECT_ATTRIBUTE, f"unsupported attributes of the subject: remove {_short(found)}"
        )

    return _of_request(common_name), _of_request(organization), _of_request(attributes)


def alternative_names(request: Request, _: Input) -> CertificateRefusal | None:
    """Check the alternative names (AlternativeName): at most the DNS name that klusterlets request."""
    if set(request.dns_names) <= {dns_name()} and not request.other_names:
        return None
    found = request.other_names + request.dns_names
    return CertificateRefusal(
        CertificateReason.ALTERNATIVE_NAME, f"invalid alternative names {_short(found)}: only {dns_name()} is allowed"
    )


def no_extensions(request: Request, _: Input) -> CertificateRefusal | None:
    """Check for further extensions and attributes (Extension), such as key usages and challenge passwords."""
    found = request.extensions + request.extras
    if not found:
        return None
    return CertificateRefusal(
        CertificateReason.EXTENSION, f"unsupported extensions or attributes: remove {_short(found)}"
    )


def usages(known: Input) -> CertificateRefusal | None:
    """Check the usages (Usage): those of a client; serverAuth would let it pass for an aggregator."""
    found = set(known.csr.spec.usages)
    if CLIENT_AUTH in found and found <= {CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT}:
        return None
    return CertificateRefusal(
        CertificateReason.USAGE,
        f"invalid spec.usages {_short(sorted(found))}: set {CLIENT_AUTH!r}, "
        f"and no others than {DIGITAL_SIGNATURE!r} and {KEY_ENCIPHERMENT!r}",
    )


def expiry_within_year(known: Input) -> CertificateRefusal | None:
    """Check the requested lifetime (Expiry) for the API server's signer, which kube-controller-manager serves.

    `clusteradm join` sets a year, so an honest klusterlet may request it. A collaborator may request any lifetime:
    `issuing` never grants more than the administrator's limit.
    """
    asked = known.csr.spec.expiration_seconds
    if asked is None or asked <= YEAR:
        return None
    return CertificateRefusal(
        CertificateReason.EXPIRY, f"invalid spec.expirationSeconds {asked}: set it to {YEAR}, a year, or less"
    )


def within_limit(known: Input) -> CertificateRefusal | None:
    """Check the number of open requests (TooManyRequests); a klusterlet stops by itself at the same number."""
    if known.earlier < known.rules.limit:
        return None
    return CertificateRefusal(
        CertificateReason.TOO_MANY_REQUESTS,
        f"{known.earlier} earlier requests are open, the limit is {known.rules.limit}: delete some of them",
    )


def cluster_accepted(known: Input) -> CertificateRefusal | None:
    """Check that the hub accepts the cluster (ClusterUnknown, ClusterLeaving, ClusterNotAccepted)."""
    cluster = known.cluster
    if cluster is None or cluster.metadata.name != known.claimed:
        return CertificateRefusal(
            CertificateReason.CLUSTER_UNKNOWN,
            f"ManagedCluster {_short(known.claimed)} does not exist: register the cluster",
        )
    if cluster.metadata.deleting:
        return CertificateRefusal(
            CertificateReason.CLUSTER_LEAVING,
            f"ManagedCluster {cluster.name} is being deleted: register the cluster again",
        )
    if not cluster.accepted:
        return CertificateRefusal(
            CertificateReason.CLUSTER_NOT_ACCEPTED,
            f"ManagedCluster {cluster.name} is not accepted: set spec.hubAcceptsClient to true",
        )
    return None


def addon_enabled(known: Input) -> CertificateRefusal | None:
    """Check that the add-on is enabled on the cluster (AddOnNotEnabled, AddOnLeaving, AddOnNotOwned)."""
    addon, cluster_management_addon = known.addon, known.cluster_management_addon
    if addon is None or (addon.cluster, addon.metadata.name) != (known.claimed, ADDON_NAME):
        return CertificateRefusal(
            CertificateReason.ADDON_NOT_ENABLED,
            f"ManagedClusterAddOn {_short(known.claimed)}/{ADDON_NAME} does not exist: enable the add-on",
        )
    if addon.metadata.deleting:
        return CertificateRefusal(
            CertificateReason.ADDON_LEAVING,
            f"ManagedClusterAddOn {addon.cluster}/{ADDON_NAME} is being deleted: enable the add-on again",
        )
    if cluster_management_addon is None or not owned_by(addon, cluster_management_addon):
        return CertificateRefusal(
            CertificateReason.ADDON_NOT_OWNED,
            f"ClusterManagementAddOn {ADDON_NAME} does not own the add-on yet: wait for OCM's addon-manager",
        )
    return None


def signer_registered(known: Input) -> CertificateRefusal | None:
    """Check that the registrations name the signer (SignerNotRegistered); a spoke can write them."""
    registrations = known.addon.status.registrations if known.addon is not None else ()
    if any(registration.signer_name == known.csr.spec.signer_name for registration in registrations):
        return None
    return CertificateRefusal(
        CertificateReason.SIGNER_NOT_REGISTERED,
        "status.registrations of the ManagedClusterAddOn does not name the signer yet: wait for the hub manager",
    )


def _of_request(check: Callable[[Request, Input], CertificateRefusal | None]) -> Check:
    def checked(known: Input) -> CertificateRefusal | None:
        # The check `well_formed` comes first and refuses a malformed request.
        return None if isinstance(known.request, MalformedRequest) else check(known.request, known)

    return checked


def _short(value: str | Iterable[str]) -> str:
    """Escape and shorten untrusted text for an Event and a log."""
    text = repr(value) if isinstance(value, str) else repr(list(value))
    return text if len(text) <= 120 else f"{text[:117]}..."


_BEFORE: Final[tuple[Check, ...]] = (
    labelled,
    named_for_cluster,
    requested_by_cluster,
    well_formed,
    _of_request(self_signed),
    _of_request(key_strong),
)
_AFTER: Final[tuple[Check, ...]] = (
    _of_request(alternative_names),
    _of_request(no_extensions),
    usages,
    within_limit,
    cluster_accepted,
    addon_enabled,
    signer_registered,
)
POLICIES: Final[dict[str, tuple[Check, ...]]] = {
    COLLABORATOR_SIGNER: (*_BEFORE, *subject_checks(collaborator_subject), *_AFTER),
    KUBE_CLIENT_SIGNER: (*_BEFORE, *subject_checks(agent_subject), expiry_within_year, *_AFTER),
}
"""The ordered checks of each signer that the add-on's registrations name."""
