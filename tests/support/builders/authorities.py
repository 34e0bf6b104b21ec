"""Authorities for tests, made with a key that is shared by the run."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from federation.pki.certificate import Issuer, Validity, authority_certificate
from tests.support.builders.csr import NOW, key_of


def authority(
    serial: int = 1 << 100, *, begin: datetime = NOW, life: timedelta = timedelta(days=365), key: str = "p256"
) -> Issuer:
    """A self-signed authority as the hub manager makes them."""
    private = key_of(f"authority {key}")
    assert isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return Issuer(authority_certificate(private, serial=serial, validity=Validity(begin, begin + life)), private)


def odd_authority(
    *,
    begin: datetime = NOW,
    life: timedelta = timedelta(days=365),
    key: str = "p256",
    extensions: tuple[tuple[x509.ExtensionType, bool], ...],
) -> Issuer:
    """An authority with exactly these extensions, as administrators bring them."""
    private = key_of(f"authority {key}")
    assert isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an administrator's")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1 << 90)
        .not_valid_before(begin)
        .not_valid_after(begin + life)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Issuer(builder.sign(private, hashes.SHA256()), private)
