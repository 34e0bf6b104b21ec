"""Validate a certificate that was just signed, before it is published.

The check reads the certificate from its PEM text and knows nothing of how it was built, so that it finds errors of the
template (SPIRE does the same, `pkg/server/credvalidator/validator.go`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID

from federation.api.identity import dns_name
from federation.pki.certificate import SERIAL_BITS
from federation.pki.chain import BundleRefused, Purpose, Untrusted, parse_bundle, verify_leaf
from federation.pki.names import NameRefused, collaborator_of

_E = TypeVar("_E", bound=x509.ExtensionType)

_EXPECTED_EXTENSIONS: Final = {
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: False,
}
"""Each extension of the profile, and whether it is critical."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected content of the certificate."""

    cluster: str
    public_key: bytes
    """The request's key, DER SubjectPublicKeyInfo."""
    longest: timedelta
    """Maximum time from now to its expiry."""
    bundle: Sequence[x509.Certificate]
    now: datetime


def find_problems(pem: str, expected: Expectation) -> tuple[str, ...]:
    """Return the problems of the certificate, one sentence each; empty if it may be published."""
    try:
        certificates = parse_bundle(pem)
    except BundleRefused as error:
        return (str(error),)
    if len(certificates) != 1:
        return (f"{len(certificates)} certificates instead of one",)
    certificate = certificates[0]
    found = (
        _wrong_holder(certificate, expected),
        _wrong_key(certificate, expected),
        _wrong_dates(certificate, expected),
        _wrong_serial(certificate),
        _wrong_extensions(certificate),
        _wrong_usage(certificate),
        _wrong_names(certificate),
        _wrong_chain(certificate, expected),
    )
    return tuple(problem for problem in found if problem)


def _wrong_holder(certificate: x509.Certificate, expected: Expectation) -> str:
    try:
        cluster = collaborator_of(certificate.subject)
    except NameRefused as error:
        return str(error)
    return "" if cluster == expected.cluster else f"it names {cluster}, not {expected.cluster}"


def _wrong_key(certificate: x509.Certificate, expected: Expectation) -> str:
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "" if key == expected.public_key else "its key is not that of the request"


def _wrong_dates(certificate: x509.Certificate, expected: Expectation) -> str:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin <= expected.now < end <= expected.now + expected.longest:
        return ""
    return f"it is valid from {begin} to {end}"


def _wrong_serial(certificate: x509.Certificate) -> str:
    # A random number of 159 bits is below 2^64 once in 2^95 times, so a smaller one is not random.
    return "" if 64 < certificate.serial_number.bit_length() <= SERIAL_BITS else "its serial number is not random"


def _wrong_extensions(certificate: x509.Certificate) -> str:
    found = {extension.oid: extension.critical for extension in certificate.extensions}
    return "" if found == _EXPECTED_EXTENSIONS else "its extensions do not match the profile"


def _wrong_usage(certificate: x509.Certificate) -> str:
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        return "its key usage is not that of a leaf"
    return ""


def _wrong_names(certificate: x509.Certificate) -> str:
    names = _extension(certificate, x509.SubjectAlternativeName)
    found = [] if names is None else [name.value for name in names]
    return "" if found == [dns_name()] else f"its alternative names are {found}"


def _wrong_chain(certificate: x509.Certificate, expected: Expectation) -> str:
    try:
        verify_leaf(certificate, expected.bundle, purpose=Purpose.CLIENT, now=expected.now)
    except Untrusted as error:
        return str(error)
    return ""


def _extension(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
