"""The content of a PKCS #10 request (RFC 2986), as a frozen value.

A request is untrusted: its size is bounded before it is parsed, and every error is raised as `MalformedRequest`. This
module does not decide; `hub_manager.certificates.requests.policy` compares the value with what the hub expects. A
certificate takes only the public key from it.
"""

import base64
import binascii
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

MAXIMUM_BYTES: Final = 16 * 1024
"""The largest PEM text that is parsed: RSA-8192 with a full subject stays below 4 KiB."""

_ARMOUR: Final = re.compile(
    rb"\s*-----BEGIN CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE REQUEST-----\s*"
)
_EXTENSION_REQUEST: Final = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
"""The PKCS #9 attribute that carries the extensions (RFC 2985 section 5.4.2)."""

_SOUND_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD_NAMES: Final = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)


class MalformedRequest(ValueError):
    """The text is not a well-formed certificate request."""


class KeyAlgorithm(Enum):
    """The families of public keys."""

    EC = "EC"
    RSA = "RSA"
    ED25519 = "Ed25519"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key's family and strength, and the key itself as DER SubjectPublicKeyInfo."""

    algorithm: KeyAlgorithm
    bits: int
    curve: str
    """The curve's SEC name, `""` for other families."""
    exponent: int
    """RSA's public exponent, 0 for other families."""
    der: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """The content of a request; each tuple is in the order of the request, with repetitions.

    Attributes of the subject are collected over all relative distinguished names, because Go puts several values of
    one type into a single multi-valued one (crypto/x509/pkix `Name.ToRDNSequence`).
    """

    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    organization_units: tuple[str, ...]
    other_attributes: tuple[str, ...]
    """Object identifiers of the subject's further attributes."""
    dns_names: tuple[str, ...]
    other_names: tuple[str, ...]
    """Subject alternative names other than DNS names, as `kind:value`."""
    extensions: tuple[str, ...]
    """Object identifiers of requested extensions besides the subject alternative name."""
    extras: tuple[str, ...]
    """Object identifiers of PKCS #10 attributes besides the extension request, such as a challenge password."""
    key: PublicKey
    self_signed: bool
    """True if the signature over the request is valid, with SHA-2 or Ed25519: the requester has the private key."""


def parse_request(pem: bytes) -> Request:
    """Parse the PEM text.

    Args:
        pem: One block of type `CERTIFICATE REQUEST`, without headers or other text.

    Raises:
        MalformedRequest: The text is too long, is not such a block, or its DER does not decode.
    """
    if len(pem) > MAXIMUM_BYTES:
        raise MalformedRequest(f"the request has {len(pem)} bytes, more than {MAXIMUM_BYTES}")
    armoured = _ARMOUR.fullmatch(pem)
    if armoured is None:
        raise MalformedRequest("the request is not exactly one PEM block CERTIFICATE REQUEST")
    try:
        der = base64.b64decode(armoured[1].translate(None, b"\r\n"), validate=True)
        # cryptography warns of unusual encodings and of names over X.520's limits, which every agent's common name
        # exceeds. The policy decides on them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(x509.load_der_x509_csr(der))
    except binascii.Error as error:
        raise MalformedRequest("the PEM block is not base64") from error
    except Exception as error:  # the parser's errors have no common base class
        raise MalformedRequest(f"the request does not decode: {type(error).__name__}") from error


def _read(csr: x509.CertificateSigningRequest) -> Request:
    names = _alternative_names(csr.extensions)
    return Request(
        common_names=_values(csr.subject, NameOID.COMMON_NAME),
        organizations=_values(csr.subject, NameOID.ORGANIZATION_NAME),
        organization_units=_values(csr.subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
        other_attributes=tuple(a.oid.dotted_string for a in csr.subject if a.oid not in _UNDERSTOOD_NAMES),
        dns_names=tuple(name.value for name in names if isinstance(name, x509.DNSName)),
        other_names=tuple(_describe(name) for name in names if not isinstance(name, x509.DNSName)),
        extensions=tuple(e.oid.dotted_string for e in csr.extensions if e.oid != ExtensionOID.SUBJECT_ALTERNATIVE_NAME),
        extras=tuple(a.oid.dotted_string for a in csr.attributes if a.oid != _EXTENSION_REQUEST),
        key=_public_key(csr),
        self_signed=_self_signed(csr),
    )


def _values(subject: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    values = (attribute.value for attribute in subject.get_attributes_for_oid(oid))
    return tuple(value if isinstance(value, str) else f"bytes:{value.hex()}" for value in values)


def _alternative_names(extensions: x509.Extensions) -> Iterable[x509.GeneralName]:
    try:
        return tuple(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _describe(name: x509.GeneralName) -> str:
    return f"{type(name).__name__}:{name.value}"


def _public_key(csr: x509.CertificateSigningRequest) -> PublicKey:
    key = csr.public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    match key:
        case ec.EllipticCurvePublicKey():
            return PublicKey(KeyAlgorithm.EC, key.key_size, key.curve.name, 0, der)
        case rsa.RSAPublicKey():
            return PublicKey(KeyAlgorithm.RSA, key.key_size, "", key.public_numbers().e, der)
        case ed25519.Ed25519PublicKey():
            return PublicKey(KeyAlgorithm.ED25519, 256, "", 0, der)
        case _:
            return PublicKey(KeyAlgorithm.OTHER, 0, "", 0, der)


def _self_signed(csr: x509.CertificateSigningRequest) -> bool:
    if isinstance(csr.public_key(), ed25519.Ed25519PublicKey):
        return csr.is_signature_valid
    if not isinstance(csr.signature_hash_algorithm, _SOUND_HASHES):
        return False
    try:
        return csr.is_signature_valid
    except InvalidSignature:
        return False
