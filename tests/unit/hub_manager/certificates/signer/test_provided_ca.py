"""An administrator's Secret: what is taken, and the key that a refusal names."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from federation.pki.certificate import Issuer, certificate_pem, private_key_pem
from hub_manager.certificates.signer.authority import Authority, Prepared, Retired
from hub_manager.certificates.signer.provided_ca import SecretRefused, read_provided_ca
from hub_manager.certificates.signer.slots import read_slots, write_slots
from tests.support.builders.authorities import authority, odd_authority
from tests.support.builders.csr import NOW, key_of

DAY = timedelta(days=1)
SIGNING = authority().certificate.extensions.get_extension_for_class(x509.KeyUsage).value
IDENTIFIED = authority().certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
CA = x509.BasicConstraints(ca=True, path_length=None)
PLAIN: tuple[tuple[x509.ExtensionType, bool], ...] = ((CA, True), (SIGNING, True), (IDENTIFIED, False))


def secret(issuer: Issuer, **changes: bytes) -> dict[str, bytes]:
    own = {"tls.crt": certificate_pem(issuer.certificate).encode(), "tls.key": private_key_pem(issuer.key).encode()}
    return own | {name.replace("_", "."): value for name, value in changes.items()}


@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048"])
def test_takes_a_sound_authority(key: str) -> None:
    issuer = odd_authority(key=key, extensions=PLAIN)

    assert read_provided_ca(secret(issuer), NOW).certificate == issuer.certificate
    ca = certificate_pem(issuer.certificate).encode()
    assert read_provided_ca(secret(issuer, ca_crt=ca), NOW).certificate == issuer.certificate
    assert read_provided_ca(secret(issuer, ca_crt=b""), NOW).certificate == issuer.certificate


def test_takes_the_older_form_of_private_keys() -> None:
    issuer = authority(key="rsa2048")
    old = issuer.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )

    assert read_provided_ca(secret(issuer, tls_key=old), NOW).certificate == issuer.certificate


def encrypted(issuer: Issuer) -> bytes:
    return issuer.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


INVALID_SECRETS: dict[str, tuple[Callable[[], dict[str, bytes]], str, str]] = {
    "no certificate": (lambda: secret(authority(), tls_crt=b""), "tls.crt", "missing"),
    "no key": (lambda: secret(authority(), tls_key=b""), "tls.key", "missing"),
    "certificate is text": (lambda: secret(authority(), tls_crt=b"hello"), "tls.crt", "PEM blocks"),
    "certificate is binary": (lambda: secret(authority(), tls_crt=b"\xff"), "tls.crt", "not PEM"),
    "key is encrypted": (lambda: secret(authority(), tls_key=encrypted(authority())), "tls.key", "unencrypted"),
    "key is another's": (
        lambda: secret(authority(), tls_key=private_key_pem(authority(key="p384").key).encode()),
        "tls.key",
        "not the private key",
    ),
    "key is weak": (lambda: secret(odd_authority(key="rsa1024", extensions=PLAIN)), "tls.key", "neither"),
    "a leaf": (
        lambda: secret(odd_authority(extensions=((x509.BasicConstraints(ca=False, path_length=None), True),))),
        "tls.crt",
        "not a CA",
    ),
    "no key usage": (lambda: secret(odd_authority(extensions=(PLAIN[0], PLAIN[2]))), "tls.crt", "not a CA"),
    "constraints not critical": (
        lambda: secret(odd_authority(extensions=((CA, False), *PLAIN[1:]))),
        "tls.crt",
        "critical",
    ),
    "no key identifier": (lambda: secret(odd_authority(extensions=PLAIN[:2])), "tls.crt", "subjectKeyIdentifier"),
    "servers only": (
        lambda: secret(
            odd_authority(extensions=(*PLAIN, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)))
        ),
        "tls.crt",
        "extendedKeyUsage",
    ),
    "names constrained": (
        lambda: secret(
            odd_authority(extensions=(*PLAIN, (x509.NameConstraints([x509.DNSName("example.org")], None), True)))
        ),
        "tls.crt",
        "nameConstraints",
    ),
    "expired": (lambda: secret(authority(begin=NOW - 2 * DAY, life=DAY)), "tls.crt", "expired"),
    "not yet": (lambda: secret(authority(begin=NOW + DAY)), "tls.crt", "not valid before"),
    "parents are text": (lambda: secret(authority(), ca_crt=b"x"), "ca.crt", "PEM blocks"),
    "parents of another": (
        lambda: secret(authority(), ca_crt=certificate_pem(odd_authority(extensions=PLAIN).certificate).encode()),
        "ca.crt",
        "neither",
    ),
}


@pytest.mark.parametrize(("build", "key", "problem"), INVALID_SECRETS.values(), ids=INVALID_SECRETS)
def test_the_error_names_the_key_and_the_problem(build: Callable[[], dict[str, bytes]], key: str, problem: str) -> None:
    with pytest.raises(SecretRefused, match=problem) as refused:
        read_provided_ca(build(), NOW)

    assert refused.value.key == key


FULL = Authority(
    authority(),
    timedelta(hours=24),
    Prepared(authority(1 << 101), NOW),
    (Retired(authority(1 << 102).certificate, NOW + DAY), Retired(authority(1 << 103).certificate, NOW + 2 * DAY)),
)


def test_the_slots_are_read_back_from_their_secret() -> None:
    assert read_slots(write_slots(FULL)) == FULL
    assert read_slots(write_slots(Authority(authority(), DAY))) == Authority(authority(), DAY)


@pytest.mark.parametrize("key", sorted(write_slots(FULL)))
def test_damaged_slots_are_refused_by_their_key(key: str) -> None:
    with pytest.raises(SecretRefused) as refused:
        read_slots(write_slots(FULL) | {key: b"damaged"})
    assert refused.value.key == key
    with pytest.raises(SecretRefused):
        read_slots({name: value for name, value in write_slots(FULL).items() if name != key})


def test_distinguishes_two_authorities_of_one_key() -> None:
    assert key_of("authority p256") is key_of("authority p256")
    assert authority(1 << 101).certificate.subject != authority(1 << 102).certificate.subject
