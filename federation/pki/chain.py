"""Trust bundles, and the verification of leaves against them.

An anchor is the certificate of an authority, self-signed or not. If a company's root signed an administrator's
authority, the root is not an anchor; otherwise the holder of any certificate below the root would be a collaborator.
Verifiers of such a bundle accept a chain that ends at an anchor (X509_V_FLAG_PARTIAL_CHAIN, which gRPC sets).
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from federation.pki.certificate import certificate_pem

MAXIMUM_BYTES: Final = 256 * 1024
"""The largest bundle that is parsed; an authority's certificate has about 1 KiB."""

_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


class BundleRefused(ValueError):
    """The text is not a valid bundle of certificates."""


class Untrusted(Exception):
    """A certificate does not chain to the bundle, is outside its validity period, or has another purpose."""


class Purpose(Enum):
    """The use of a leaf: client or server authentication."""

    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
    SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the certificate's DER, in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def parse_bundle(pem: str) -> tuple[x509.Certificate, ...]:
    """Return the distinct certificates of a PEM text in order; text between blocks is ignored (RFC 7468).

    Raises:
        BundleRefused: The text is too long, holds no certificate, or one that does not decode.
    """
    if len(pem) > MAXIMUM_BYTES:
        raise BundleRefused(f"the bundle has {len(pem)} characters, more than {MAXIMUM_BYTES}")
    blocks = _BLOCK.findall(pem)
    if not blocks or len(blocks) != pem.count("-----BEGIN CERTIFICATE-----"):
        raise BundleRefused("the text does not consist of PEM blocks CERTIFICATE")
    try:
        certificates = [x509.load_pem_x509_certificate(block.encode()) for block in blocks]
    except ValueError as error:
        raise BundleRefused("a certificate does not decode") from error
    return tuple({fingerprint(certificate): certificate for certificate in certificates}.values())


def render_bundle(certificates: Iterable[x509.Certificate]) -> str:
    """Render distinct certificates as PEM, the latest expiry first; equal sets give equal texts."""
    distinct = {fingerprint(certificate): certificate for certificate in certificates}
    ordered = sorted(distinct.items(), key=lambda entry: (-entry[1].not_valid_after_utc.timestamp(), entry[0]))
    return "".join(certificate_pem(certificate) for _, certificate in ordered)


def verify_leaf(
    leaf: x509.Certificate, bundle: Sequence[x509.Certificate], *, purpose: Purpose, now: datetime
) -> x509.Certificate:
    """Return the anchor that directly signed the leaf (RFC 5280 section 6.1, for paths of length one).

    Raises:
        Untrusted: The leaf is not signed by a valid anchor, is outside its validity period, or its extended key usage
            is not exactly the purpose.
    """
    if not holds(leaf, now):
        raise Untrusted(f"the certificate holds from {leaf.not_valid_before_utc} to {leaf.not_valid_after_utc}")
    usages = _extended_usages(leaf)
    if usages != {purpose.value}:
        raise Untrusted(f"its extended key usage is not exactly {purpose.name.lower()} authentication")
    if is_authority(leaf):
        raise Untrusted("it is an authority's certificate, not a leaf")
    for anchor in bundle:
        if holds(anchor, now) and is_authority(anchor) and _signed_by(leaf, anchor):
            return anchor
    raise Untrusted(f"none of {len(bundle)} authorities signed it and holds now")


def holds(certificate: x509.Certificate, now: datetime) -> bool:
    """Report whether the time is within the certificate's validity period."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def is_authority(certificate: x509.Certificate) -> bool:
    """Report whether basic constraints and key usage let the certificate sign others."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign


def _signed_by(leaf: x509.Certificate, anchor: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(anchor)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _extended_usages(leaf: x509.Certificate) -> set[x509.ObjectIdentifier]:
    try:
        return set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()
