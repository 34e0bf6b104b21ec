"""Read an authority from a Secret: the administrator's, or a slot of ours.

An authority is validated before it signs, so that an error names the Secret's key instead of failing handshakes on a
hundred spokes.
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
    """The value of a Secret's key is missing or invalid."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"key {key}: {problem}")
        self.key = key
        """The Secret's invalid key."""


def read_provided_ca(data: Mapping[str, bytes], now: datetime) -> Issuer:
    """Read the administrator's authority from the data of a `kubernetes.io/tls` Secret.

    The first certificate of `tls.crt` signs and becomes the trust anchor. Its parents, in `tls.crt` or `ca.crt`, are
    validated but not trusted.

    Raises:
        SecretRefused: A value is missing, cannot be decoded, does not match another, or cannot sign collaborators.
    """
    issuer = read_issuer(data, CERTIFICATE_KEY, PRIVATE_KEY)
    certificate = issuer.certificate
    if now < certificate.not_valid_before_utc:
        raise SecretRefused(CERTIFICATE_KEY, f"it is not valid before {certificate.not_valid_before_utc.isoformat()}")
    if certificate.not_valid_after_utc <= now:
        raise SecretRefused(CERTIFICATE_KEY, f"it expired at {certificate.not_valid_after_utc.isoformat()}")
    if data.get(PARENTS_KEY, b"").strip():
        _check_parents(certificate, _text(data, PARENTS_KEY))
    return issuer


def read_issuer(data: Mapping[str, bytes], certificate_key: str, private_key: str) -> Issuer:
    """Read the authority from two keys of a Secret; its validity period is not checked.

    Raises:
        SecretRefused: As for `read_provided_ca`, except for dates and parents.
    """
    try:
        certificate = parse_bundle(_text(data, certificate_key))[0]
    except BundleRefused as error:
        raise SecretRefused(certificate_key, str(error)) from error
    for check in _CHECKS:
        if problem := check(certificate):
            raise SecretRefused(certificate_key, problem)
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
        return "its extensions cannot be decoded"
    return ""


def _authority(certificate: x509.Certificate) -> str:
    if not is_authority(certificate):
        return "it is not a CA: set basicConstraints CA:TRUE and keyUsage keyCertSign"
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return (
        ""
        if constraints.critical
        else "its basicConstraints are not critical: mark them critical, as strict verifiers require"
    )


def _identified(certificate: x509.Certificate) -> str:
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return "its subjectKeyIdentifier is missing: add it, as strict verifiers require"
    return ""


def _unconstrained(certificate: x509.Certificate) -> str:
    extensions = certificate.extensions
    try:
        extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        pass
    else:
        return "its nameConstraints are unsupported: remove them"
    try:
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return ""
    needed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    return (
        ""
        if needed <= usages
        else "its extendedKeyUsage lacks clientAuth or serverAuth: add both, or remove the extension"
    )


def _soundly_signed(certificate: x509.Certificate) -> str:
    if isinstance(certificate.signature_hash_algorithm, _SOUND_HASHES):
        return ""
    return "it is signed with a hash weaker than SHA-256: sign it with SHA-256 or stronger"


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
