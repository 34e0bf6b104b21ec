"""The values that are read from a request, and the limits of a hostile one."""

import base64

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from federation.api.identity import Subject, agent_subject, dns_name
from federation.pki.csr import MAXIMUM_BYTES, KeyAlgorithm, MalformedRequest, parse_request
from tests.support.builders.csr import MADE_BY_GO, armour, key_of, public_der, request_pem

HONEST = request_pem()
DER = base64.b64decode(b"".join(HONEST.splitlines()[1:-1]))


def test_reads_what_go_writes() -> None:
    request = parse_request(MADE_BY_GO)

    expected = agent_subject("c1")
    assert request.common_names == (expected.user,)
    assert set(request.organizations) == set(expected.groups)
    assert request.organization_units == request.other_attributes == ()
    assert request.dns_names == (dns_name(),)
    assert request.other_names == request.extensions == request.extras == ()
    assert (request.key.algorithm, request.key.curve, request.self_signed) == (KeyAlgorithm.EC, "secp256r1", True)


def test_collects_everything_that_is_asked_for() -> None:
    request = parse_request(
        request_pem(
            Subject("c1", ("a", "b"), ("u",)),
            names=[x509.DNSName("d"), x509.RFC822Name("a@b")],
            attributes={NameOID.COUNTRY_NAME: "CH"},
            extensions=[x509.BasicConstraints(ca=True, path_length=None)],
            challenge=b"secret",
        )
    )

    assert request.organizations == ("a", "b")
    assert request.organization_units == ("u",)
    assert request.other_attributes == (NameOID.COUNTRY_NAME.dotted_string,)
    assert request.dns_names == ("d",)
    assert request.other_names == ("RFC822Name:a@b",)
    assert request.extensions == (ExtensionOID.BASIC_CONSTRAINTS.dotted_string,)
    assert request.extras == ("1.2.840.113549.1.9.7",)


@pytest.mark.parametrize(
    ("key", "algorithm", "bits"),
    [
        ("p256", KeyAlgorithm.EC, 256),
        ("rsa1024", KeyAlgorithm.RSA, 1024),
        ("rsa2048", KeyAlgorithm.RSA, 2048),
        ("ed25519", KeyAlgorithm.ED25519, 256),
        ("ed448", KeyAlgorithm.OTHER, 0),
    ],
)
def test_tells_keys_apart(key: str, algorithm: KeyAlgorithm, bits: int) -> None:
    request = parse_request(request_pem(key=key))

    assert (request.key.algorithm, request.key.bits) == (algorithm, bits)
    assert request.key.der == public_der(key_of(key))
    assert request.self_signed is (algorithm is not KeyAlgorithm.OTHER)


def test_a_changed_request_is_not_self_signed() -> None:
    assert not parse_request(request_pem(break_signature=True)).self_signed


MALFORMED = {
    "empty": b"",
    "binary": b"\xff\xfe",
    "twice": HONEST + HONEST,
    "text before": b"x" + HONEST,
    "headers": HONEST.replace(b"-----\nM", b"-----\nProc-Type: 4,ENCRYPTED\n\nM"),
    "an older label": armour(DER, "NEW CERTIFICATE REQUEST"),
    "a certificate": armour(DER, "CERTIFICATE"),
    "cut": armour(DER[:-1]),
    "trailing bytes": armour(DER + b"\0"),
    "indefinite length": armour(b"\x30\x80" + DER),
    "too long": b" " * MAXIMUM_BYTES + HONEST,
    "no base64": HONEST.replace(b"A", b"=", 1),
}


@pytest.mark.parametrize("pem", MALFORMED.values(), ids=MALFORMED)
def test_anything_else_is_malformed(pem: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse_request(pem)


@given(st.integers(0, len(DER) - 1), st.binary(min_size=1, max_size=4))
def test_changed_bytes_are_malformed_or_break_the_signature(place: int, replacement: bytes) -> None:
    changed = DER[:place] + replacement + DER[place + len(replacement) :]
    try:
        request = parse_request(armour(changed))
    except MalformedRequest:
        return
    assert changed == DER or not request.self_signed


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_raise_nothing_else(noise: bytes) -> None:
    for pem in (noise, armour(noise), armour(b"\x30\x82\x01\x00" + noise)):
        with pytest.raises(MalformedRequest):
            parse_request(pem)
