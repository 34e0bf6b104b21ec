"""The conditions under which a request of the add-on is granted: an ordered list of pure checks for each signer.

Each check looks at one frozen `Input` and returns None or a `Refusal`; the first refusal counts. Checks of the request
itself come before checks of the hub's state, so that a request which can never be granted is not kept waiting. They
run when a request is approved and again when it is signed, because others than us may approve.

What a check compares with is computed from the cluster's name (`federation.api.identity`); labels and
`status.registrations` are a spoke's to write and can only make a request fail.
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
from hub_manager.certificates.refusal import CertificateReason, CertificateRefusal
from hub_manager.certificates.requester import Drivers, requesting_cluster

GENERATED_BASE: Final = 58
"""Characters that an API server keeps of a `generateName` (k8s.io/apiserver `pkg/storage/names/generate.go`)."""

YEAR: Final = 31_536_000
"""Seconds; what `clusteradm join` makes every klusterlet ask for."""


@dataclass(frozen=True, slots=True)
class RequestRules:
    """What an administrator can set about who gets a certificate."""

    limit: int = 10
    """Standing requests of one cluster for this add-on; a klusterlet itself stops at as many (ocm#853)."""
    drivers: Drivers = field(default_factory=Drivers)


@dataclass(frozen=True, slots=True)
class Input:
    """All that a decision about one request may rest on."""

    csr: CertificateSigningRequest
    request: Request | MalformedRequest
    cluster: ManagedCluster | None
    """The ManagedCluster that the request's label names."""
    addon: ManagedClusterAddOn | None
    """The add-on in that cluster's namespace."""
    cluster_management_addon: ClusterManagementAddOn | None
    """The add-on of the fleet."""
    earlier: int = 0
    """Requests that the same cluster made before this one for this add-on, and that nobody rejected."""
    rules: RequestRules = RequestRules()

    @property
    def claimed(self) -> str:
        """The cluster's name as the request's label has it, to be proven by the checks."""
        return self.csr.metadata.labels.get(CLUSTER_LABEL, "")


Check: TypeAlias = Callable[[Input], CertificateRefusal | None]


def concerns_us(csr: CertificateSigningRequest) -> bool:
    """Whether the request is ours to judge: of our signer, or of our add-on. Any other is passed over in silence."""
    return csr.spec.signer_name == COLLABORATOR_SIGNER or csr.metadata.labels.get(ADDON_LABEL) == ADDON_NAME


def refusal_of(known: Input) -> CertificateRefusal | None:
    """Why the request is not granted, or None when every check of its signer's policy holds."""
    policy = POLICIES.get(known.csr.spec.signer_name, (_foreign_signer,))
    return next((refusal for check in policy if (refusal := check(known)) is not None), None)


def _foreign_signer(known: Input) -> CertificateRefusal:
    """ForeignSigner: the add-on asks two signers only, and another's requests are not ours to deny."""
    return CertificateRefusal(
        CertificateReason.FOREIGN_SIGNER, f"{ADDON_NAME} asks nothing of signer {_short(known.csr.spec.signer_name)}"
    )


def labelled(known: Input) -> CertificateRefusal | None:
    """LabelMismatch: a klusterlet labels its requests with the add-on and its cluster, whose name is a DNS label."""
    if is_dns_label(known.claimed) and known.csr.metadata.labels.get(ADDON_LABEL) == ADDON_NAME:
        return None
    return CertificateRefusal(
        CertificateReason.LABEL_MISMATCH,
        f"{CLUSTER_LABEL}={_short(known.claimed)}; a cluster and {ADDON_LABEL}={ADDON_NAME} needed",
    )


def named_for_cluster(known: Input) -> CertificateRefusal | None:
    """NameMismatch: a klusterlet generates `addon-CLUSTER-ADDON-…`, of which the API server keeps 58 characters."""
    base = f"addon-{known.claimed}-{ADDON_NAME}-"[:GENERATED_BASE]
    name = known.csr.metadata.name
    if name.startswith(base) and len(name) > len(base):
        return None
    return CertificateRefusal(CertificateReason.NAME_MISMATCH, f"the name does not begin with {_short(base)}")


def requested_by_cluster(known: Input) -> CertificateRefusal | None:
    """RequesterNotCluster: only the klusterlet of the cluster asks for the cluster, compared whole (`c1`, `c10`)."""
    if requesting_cluster(known.csr, known.rules.drivers) == known.claimed:
        return None
    user = _short(known.csr.spec.username)
    return CertificateRefusal(
        CertificateReason.REQUESTER_NOT_CLUSTER, f"{user} is not the klusterlet of {_short(known.claimed)}"
    )


def well_formed(known: Input) -> CertificateRefusal | None:
    """RequestMalformed: the request is one PEM block that decodes."""
    if isinstance(known.request, MalformedRequest):
        return CertificateRefusal(CertificateReason.REQUEST_MALFORMED, str(known.request))
    return None


def self_signed(request: Request, _: Input) -> CertificateRefusal | None:
    """SignatureInvalid: a signature by the request's own key shows that the requester holds it."""
    if request.self_signed:
        return None
    return CertificateRefusal(
        CertificateReason.SIGNATURE_INVALID, "the request's own signature is broken, or by a hash weaker than SHA-256"
    )


def key_strong(request: Request, _: Input) -> CertificateRefusal | None:
    """KeyUnacceptable: EC P-256 or P-384, RSA of 2048 to 8192 bits with an exponent of 65537 or more, or Ed25519."""
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
        CertificateReason.KEY_UNACCEPTABLE, f"a key {key.algorithm.value} {key.curve} of {key.bits} bits is not taken"
    )


def subject_expected(subject_for: Callable[[str], Subject]) -> tuple[Check, ...]:
    """CommonNameMismatch, OrganizationMismatch, SubjectAttribute: the subject is the expected one, as sets of values.

    Sets, because Go sorts nothing and a repeated organisation says nothing new; the certificate is not built from it.
    """

    def common_name(request: Request, known: Input) -> CertificateRefusal | None:
        expected = subject_for(known.claimed).user
        if request.common_names == (expected,):
            return None
        return CertificateRefusal(
            CertificateReason.COMMON_NAME_MISMATCH, f"common name {_short(request.common_names)}, not {expected}"
        )

    def organization(request: Request, known: Input) -> CertificateRefusal | None:
        expected = set(subject_for(known.claimed).groups)
        if set(request.organizations) == expected:
            return None
        return CertificateRefusal(
            CertificateReason.ORGANIZATION_MISMATCH,
            f"organisations {_short(request.organizations)}, not {sorted(expected)}",
        )

    def attributes(request: Request, known: Input) -> CertificateRefusal | None:
        expected = set(subject_for(known.claimed).organization_units)
        if set(request.organization_units) == expected and not request.other_attributes:
            return None
        found = request.organization_units + request.other_attributes
        return CertificateRefusal(
            CertificateReason.SUBJECT_ATTRIBUTE, f"further attributes of the subject: {_short(found)}"
        )

    return _of_request(common_name), _of_request(organization), _of_request(attributes)


def alternative_names(request: Request, _: Input) -> CertificateRefusal | None:
    """AlternativeName: at most the one DNS name that klusterlets ask for; no address, URI or e-mail."""
    if set(request.dns_names) <= {dns_name()} and not request.other_names:
        return None
    found = request.other_names + request.dns_names
    return CertificateRefusal(
        CertificateReason.ALTERNATIVE_NAME, f"alternative names {_short(found)}, not {dns_name()} alone"
    )


def no_extensions(request: Request, _: Input) -> CertificateRefusal | None:
    """Extension: nothing else is asked for inside the request, key usages and challenge passwords included."""
    found = request.extensions + request.extras
    if not found:
        return None
    return CertificateRefusal(CertificateReason.EXTENSION, f"extensions or attributes {_short(found)} are asked for")


def usages(known: Input) -> CertificateRefusal | None:
    """Usage: a client's certificate; asking for serverAuth is asking to be taken for an aggregator."""
    found = set(known.csr.spec.usages)
    if CLIENT_AUTH in found and found <= {CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT}:
        return None
    return CertificateRefusal(CertificateReason.USAGE, f"usages {_short(sorted(found))}")


def expiry_within_year(known: Input) -> CertificateRefusal | None:
    """Expiry: for the API server's signer alone, which kube-controller-manager serves and we can't cap.

    A year is what `clusteradm join` sets, so an honest klusterlet may ask for it. A collaborator's request may ask for
    any time: `issuing` never grants more than the administrator's life of certificates.
    """
    asked = known.csr.spec.expiration_seconds
    if asked is None or asked <= YEAR:
        return None
    return CertificateRefusal(CertificateReason.EXPIRY, f"{asked} seconds are asked for, more than a year")


def within_limit(known: Input) -> CertificateRefusal | None:
    """TooManyRequests: a klusterlet stops by itself at as many; whoever goes on is no klusterlet."""
    if known.earlier < known.rules.limit:
        return None
    return CertificateRefusal(
        CertificateReason.TOO_MANY_REQUESTS, f"{known.earlier} earlier requests stand, the limit is {known.rules.limit}"
    )


def cluster_accepted(known: Input) -> CertificateRefusal | None:
    """ClusterUnknown, ClusterLeaving, ClusterNotAccepted: the hub's administrator has let the cluster in, and still."""
    cluster = known.cluster
    if cluster is None or cluster.metadata.name != known.claimed:
        return CertificateRefusal(
            CertificateReason.CLUSTER_UNKNOWN, f"there is no ManagedCluster {_short(known.claimed)}"
        )
    if cluster.metadata.deleting:
        return CertificateRefusal(CertificateReason.CLUSTER_LEAVING, f"ManagedCluster {cluster.name} is being deleted")
    if not cluster.accepted:
        return CertificateRefusal(
            CertificateReason.CLUSTER_NOT_ACCEPTED, f"ManagedCluster {cluster.name} has spec.hubAcceptsClient false"
        )
    return None


def addon_enabled(known: Input) -> CertificateRefusal | None:
    """AddOnNotEnabled, AddOnLeaving, AddOnNotOwned: the add-on is on that cluster, as part of the fleet's add-on."""
    addon, cluster_management_addon = known.addon, known.cluster_management_addon
    if addon is None or (addon.cluster, addon.metadata.name) != (known.claimed, ADDON_NAME):
        return CertificateRefusal(
            CertificateReason.ADDON_NOT_ENABLED, f"there is no ManagedClusterAddOn {_short(known.claimed)}/{ADDON_NAME}"
        )
    if addon.metadata.deleting:
        return CertificateRefusal(
            CertificateReason.ADDON_LEAVING, f"ManagedClusterAddOn {addon.cluster}/{ADDON_NAME} is being deleted"
        )
    if cluster_management_addon is None or not owned_by(addon, cluster_management_addon):
        return CertificateRefusal(
            CertificateReason.ADDON_NOT_OWNED, f"ClusterManagementAddOn {ADDON_NAME} does not own it (yet)"
        )
    return None


def signer_registered(known: Input) -> CertificateRefusal | None:
    """SignerNotRegistered: the registrations name the signer; consistency only, for a spoke can write them."""
    registrations = known.addon.status.registrations if known.addon is not None else ()
    if any(registration.signer_name == known.csr.spec.signer_name for registration in registrations):
        return None
    return CertificateRefusal(
        CertificateReason.SIGNER_NOT_REGISTERED, "status.registrations of the add-on does not name the signer"
    )


def _of_request(check: Callable[[Request, Input], CertificateRefusal | None]) -> Check:
    def checked(known: Input) -> CertificateRefusal | None:
        # A malformed request is `well_formed`'s to refuse, which stands before.
        return None if isinstance(known.request, MalformedRequest) else check(known.request, known)

    return checked


def _short(value: str | Iterable[str]) -> str:
    """A stranger's text, escaped and cut, fit for an Event and a log."""
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
    COLLABORATOR_SIGNER: (*_BEFORE, *subject_expected(collaborator_subject), *_AFTER),
    KUBE_CLIENT_SIGNER: (*_BEFORE, *subject_expected(agent_subject), expiry_within_year, *_AFTER),
}
"""The checks of each signer that the add-on's registrations name, in their order."""
