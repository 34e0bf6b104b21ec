"""An authority that comes as a Secret: the administrator's own, and each slot of ours when it is read back.

Everything is checked before it signs, so that a mistake is told as the name of the Secret's key and the remedy, and not
as handshakes that fail on a hundred spokes.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from federation.pki.certificate import Issuer, KeyRefused, private_key_from_pem
from federation.pki.chain import BundleRefused, is_authority, parse_bundle

CERTIFICATE_KEY: Final = "tls.crt"
PRIVATE_KEY: Final = "tls.key"
PARENTS_KEY: Final = "ca.crt"

_SOUND_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CheckAuthority: TypeAlias = Callable[[x509.Certificate], str]


class SecretRefused(ValueError):
    """A key of a Secret doesn't hold what it has to."""

    def __init__(self, key: str, fault: str) -> None:
        super().__init__(f"key {key}: {fault}")
        self.key = key
        """The Secret's key at fault."""


def read_provided_ca(data: Mapping[str, bytes], now: datetime) -> Issuer:
    """The administrator's authority, from the data of his `kubernetes.io/tls` Secret.

    The first certificate of `tls.crt` signs and becomes the anchor; parents, in `tls.crt` or `ca.crt`, are checked to
    belong to it and are not trusted.

    Raises:
        SecretRefused: Something is missing, doesn't decode, doesn't fit together, or can't sign collaborators.
    """
    issuer = read_issuer(data, CERTIFICATE_KEY, PRIVATE_KEY)
    certificate = issuer.certificate
    if now < certificate.not_valid_before_utc:
        raise SecretRefused(CERTIFICATE_KEY, f"it holds only from {certificate.not_valid_before_utc.isoformat()} on")
    if certificate.not_valid_after_utc <= now:
        raise SecretRefused(CERTIFICATE_KEY, f"it expired {certificate.not_valid_after_utc.isoformat()}")
    if data.get(PARENTS_KEY, b"").strip():
        _check_parents(certificate, _text(data, PARENTS_KEY))
    return issuer


def read_issuer(data: Mapping[str, bytes], certificate_key: str, private_key: str) -> Issuer:
    """The authority in two keys of a Secret, whatever the time.

    Raises:
        SecretRefused: As for `read_provided_ca`, but for dates and parents.
    """
    try:
        certificate = parse_bundle(_text(data, certificate_key))[0]
    except BundleRefused as error:
        raise SecretRefused(certificate_key, str(error)) from error
    for check in _CHECKS:
        if fault := check(certificate):
            raise SecretRefused(certificate_key, fault)
    try:
        key = private_key_from_pem(_text(data, private_key))
    except KeyRefused as error:
        raise SecretRefused(private_key, str(error)) from error
    if key.public_key() != certificate.public_key():
        raise SecretRefused(private_key, f"it is not the private key of the certificate in {certificate_key}")
    return Issuer(certificate, key)


def _text(data: Mapping[str, bytes], key: str) -> str:
    if not data.get(key):
        raise SecretRefused(key, "it is missing or empty")
    try:
        return data[key].decode("ascii")
    except UnicodeDecodeError as error:
        raise SecretRefused(key, "it is not PEM text") from error


def _extensions_decode(certificate: x509.Certificate) -> str:
    try:
        tuple(certificate.extensions)
    except (ValueError, x509.DuplicateExtension):
        return "its extensions don't decode"
    return ""


def _authority(certificate: x509.Certificate) -> str:
    if not is_authority(certificate):
        return "it is no authority: basicConstraints CA:TRUE and keyUsage keyCertSign are needed"
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return "" if constraints.critical else "its basicConstraints are not critical, which strict verifiers refuse"


def _identified(certificate: x509.Certificate) -> str:
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return "it has no subjectKeyIdentifier, which strict verifiers refuse"
    return ""


def _unconstrained(certificate: x509.Certificate) -> str:
    extensions = certificate.extensions
    try:
        extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        pass
    else:
        return "it has nameConstraints, which the add-on's certificates can't be held to"
    try:
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return ""
    needed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    return "" if needed <= usages else "its extendedKeyUsage leaves out clientAuth or serverAuth"


def _soundly_signed(certificate: x509.Certificate) -> str:
    if isinstance(certificate.signature_hash_algorithm, _SOUND_HASHES):
        return ""
    return "it is signed with a hash weaker than SHA-256"


_CHECKS: Final[tuple[_CheckAuthority, ...]] = (
    _extensions_decode,
    _authority,
    _identified,
    _unconstrained,
    _soundly_signed,
)


def _check_parents(certificate: x509.Certificate, pem: str) -> None:
    try:
        parents = parse_bundle(pem)
    except BundleRefused as error:
        raise SecretRefused(PARENTS_KEY, str(error)) from error
    if certificate not in parents and all(parent.subject != certificate.issuer for parent in parents):
        raise SecretRefused(PARENTS_KEY, f"it has neither the certificate of {CERTIFICATE_KEY} nor its issuer's")
