"""Certificates built from profiles: all content comes from the caller, never from a request.

Every certificate has what strict verifiers require (RFC 5280 section 4.2; OpenSSL's `-x509_strict`; Python's
`ssl.VERIFY_X509_STRICT`): critical basic constraints and key usage, subject and authority key identifiers, an extended
key usage on every leaf. Time, serial number and keys are arguments; ECDSA signatures are deterministic (RFC 6979), so
equal arguments give equal bytes.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.api.identity import COLLABORATOR_ORGANIZATION, Subject
from federation.pki.names import AGGREGATOR_UNIT, distinguished_name

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LeafKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

SERIAL_BITS: Final = 159
"""Random bits of a serial number: RFC 5280 allows 20 octets, and the first bit must be 0."""


class KeyRefused(ValueError):
    """The key is unsupported or too weak for a certificate."""


@dataclass(frozen=True, slots=True)
class Validity:
    """The validity period of a certificate, both ends included, in whole seconds UTC."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate authority that can sign: its certificate and private key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False, compare=False)


def authority_certificate(key: PrivateKey, *, serial: int, validity: Validity) -> x509.Certificate:
    """Build a self-signed authority that signs only leaves (path length 0).

    Its common name ends in part of its serial number: some verifiers find an issuer by name, and during a rollover one
    bundle contains two authorities.
    """
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, COLLABORATOR_ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{COLLABORATOR_ORGANIZATION} authority {serial:040x}"[:50]),
        ]
    )
    builder = (
        _begin(name, name, key.public_key(), serial, validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    return _sign(builder, key)


def client_certificate(
    issuer: Issuer, key: LeafKey, subject: Subject, dns_names: Iterable[str], *, serial: int, validity: Validity
) -> x509.Certificate:
    """Build a client certificate; its only extended key usage is clientAuth.

    Raises:
        ValueError: The subject has an empty value or one over X.520's 64 characters.
    """
    names = [x509.DNSName(name) for name in dns_names]
    return _leaf(issuer, key, distinguished_name(subject), names, ExtendedKeyUsageOID.CLIENT_AUTH, serial, validity)


def server_certificate(
    issuer: Issuer, key: LeafKey, names: Sequence[str], *, serial: int, validity: Validity
) -> x509.Certificate:
    """Build an aggregator's certificate for DNS names and IP addresses; its only extended key usage is serverAuth.

    Args:
        issuer: The signing authority.
        key: The aggregator's public key.
        names: DNS names and IP addresses, at least one; the stable one (`names.aggregator_dns`) first.
        serial: A random positive number of at most `SERIAL_BITS` bits.
        validity: The validity period of the certificate.

    Raises:
        ValueError: `names` is empty, or one of them is neither an address nor an ASCII DNS name.
    """
    if not names:
        raise ValueError("a server's certificate needs at least one name")
    subject = Subject(user="", groups=(COLLABORATOR_ORGANIZATION,), organization_units=(AGGREGATOR_UNIT,))
    alternatives = [_general_name(name) for name in names]
    return _leaf(
        issuer, key, distinguished_name(subject), alternatives, ExtendedKeyUsageOID.SERVER_AUTH, serial, validity
    )


def leaf_key(der: bytes) -> LeafKey:
    """Return the public key in a DER SubjectPublicKeyInfo.

    Raises:
        KeyRefused: It does not decode, or is neither EC nor RSA nor Ed25519.
    """
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused("the public key does not decode") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise KeyRefused(f"{type(key).__name__} is neither EC nor RSA nor Ed25519")
    return key


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return the certificate as one PEM block that ends with a newline."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def private_key_pem(key: PrivateKey) -> str:
    """Return the private key as an unencrypted PKCS #8 PEM block."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def private_key_from_pem(pem: str) -> PrivateKey:
    """Return the EC or RSA private key in a PEM text: PKCS #8, or the older forms that cert-manager writes by default.

    Raises:
        KeyRefused: It does not decode, is encrypted, is of another family, or is weak: EC below P-256, RSA below 2048.
    """
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyRefused("the private key does not decode; it has to be PEM and unencrypted") from error
    match key:
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        case rsa.RSAPrivateKey() if key.key_size >= 2048:
            return key
        case _:
            raise KeyRefused(f"{type(key).__name__} is neither EC P-256 or P-384 nor RSA of 2048 bits or more")


def _leaf(
    issuer: Issuer,
    key: LeafKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    serial: int,
    validity: Validity,
) -> x509.Certificate:
    # keyEncipherment means something for RSA alone (RFC 8446 has no RSA key exchange, RFC 5480 forbids it on EC keys).
    usage = _usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPublicKey))
    builder = (
        _begin(subject, issuer.certificate.subject, key, serial, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(authority_key_identifier(issuer.certificate), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _sign(builder, issuer.key)


def authority_key_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the authority key identifier of a leaf: the authority's subject key identifier, or a digest of its key."""
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = authority.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise KeyRefused("the authority's key is neither EC nor RSA") from None
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: LeafKey, serial: int, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(validity.not_before.astimezone(UTC))
        .not_valid_after(validity.not_after.astimezone(UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    deterministic = True if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=deterministic)


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
