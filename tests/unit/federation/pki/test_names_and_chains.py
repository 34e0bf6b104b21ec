"""The grammar of identities, bundles, and chains of length one."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from federation.api.identity import Subject, collaborator_subject, dns_name
from federation.pki.certificate import (
    Issuer,
    KeyRefused,
    Validity,
    certificate_pem,
    client_certificate,
    leaf_key,
    private_key_from_pem,
    private_key_pem,
    server_certificate,
)
from federation.pki.chain import BundleRefused, Purpose, Untrusted, parse_bundle, render_bundle, verify_leaf
from federation.pki.names import NameRefused, aggregator_dns, collaborator_of, distinguished_name
from tests.support.builders.authorities import authority
from tests.support.builders.csr import NOW, key_of, public_der

HOUR = timedelta(hours=1)
OLD = authority(1 << 101, life=timedelta(days=30))
NEW = authority(1 << 102, life=timedelta(days=60), key="p384")
TWO_HOURS = Validity(NOW - HOUR, NOW + HOUR)


def leaf(issuer: Issuer, *, holding: Validity = TWO_HOURS, server: bool = False) -> x509.Certificate:
    key = leaf_key(public_der(key_of("p256")))
    if server:
        return server_certificate(issuer, key, [aggregator_dns("r", "n")], serial=1 << 99, validity=holding)
    return client_certificate(issuer, key, collaborator_subject("c1"), [dns_name()], serial=1 << 99, validity=holding)


@pytest.mark.parametrize("cluster", ["c1", "c10", "a-b", "x" * 63])
def test_a_collaborators_name_is_read_back(cluster: str) -> None:
    assert collaborator_of(distinguished_name(collaborator_subject(cluster))) == cluster


@pytest.mark.parametrize(
    "subject",
    [
        Subject("c1", ()),
        Subject("c1", ("other",)),
        Subject("c1", ("federated-learning", "x")),
        Subject("c1", ("federated-learning",), ("aggregator",)),
        Subject("", ("federated-learning",), ("aggregator",)),
        Subject("C1", ("federated-learning",)),
        Subject("c1.c2", ("federated-learning",)),
    ],
    ids=["no organisation", "another", "two", "a unit", "an aggregator", "upper case", "a dot"],
)
def test_no_other_subject_is_a_collaborators(subject: Subject) -> None:
    with pytest.raises(NameRefused):
        collaborator_of(distinguished_name(subject))


def test_two_common_names_are_nobody() -> None:
    twice = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("c1", "c2")]

    with pytest.raises(NameRefused):
        collaborator_of(x509.Name([*twice, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "federated-learning")]))


def test_an_aggregator_is_no_collaborator() -> None:
    with pytest.raises(NameRefused):
        collaborator_of(leaf(OLD, server=True).subject)


@pytest.mark.parametrize(("run", "namespace"), [("a.b", "n"), ("r", "n.m"), ("", "n"), ("R", "n"), ("x" * 64, "n")])
def test_two_runs_never_share_a_name(run: str, namespace: str) -> None:
    with pytest.raises(NameRefused):
        aggregator_dns(run, namespace)


def test_a_bundle_is_read_back_in_its_order_and_each_certificate_once() -> None:
    text = render_bundle([OLD.certificate, NEW.certificate, OLD.certificate])

    assert parse_bundle(text) == (NEW.certificate, OLD.certificate)
    assert parse_bundle("by hand\n" + text + text) == (NEW.certificate, OLD.certificate)
    assert text == render_bundle([NEW.certificate, OLD.certificate])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no certificate",
        certificate_pem(OLD.certificate)[:-40],
        certificate_pem(OLD.certificate).replace("M", "N", 3),
        "x" * (256 * 1024 + 1),
    ],
    ids=["empty", "text", "cut", "changed", "long"],
)
def test_what_is_no_bundle_is_refused(text: str) -> None:
    with pytest.raises(BundleRefused):
        parse_bundle(text)


@pytest.mark.parametrize("issuer", [OLD, NEW], ids=["old", "new"])
def test_a_leaf_chains_to_whichever_authority_signed_it(issuer: Issuer) -> None:
    bundle = (NEW.certificate, OLD.certificate)

    assert verify_leaf(leaf(issuer), bundle, purpose=Purpose.CLIENT, now=NOW) == issuer.certificate
    assert verify_leaf(leaf(issuer, server=True), bundle, purpose=Purpose.SERVER, now=NOW) == issuer.certificate


@pytest.mark.parametrize(
    ("certificate", "bundle", "purpose", "at"),
    [
        (leaf(OLD), [NEW.certificate], Purpose.CLIENT, NOW),
        (leaf(OLD), [], Purpose.CLIENT, NOW),
        (leaf(OLD), [OLD.certificate], Purpose.SERVER, NOW),
        (leaf(OLD, server=True), [OLD.certificate], Purpose.CLIENT, NOW),
        (leaf(OLD), [OLD.certificate], Purpose.CLIENT, NOW + 2 * HOUR),
        (leaf(OLD), [OLD.certificate], Purpose.CLIENT, NOW - 2 * HOUR),
        (
            leaf(OLD, holding=Validity(NOW, NOW + timedelta(days=90))),
            [OLD.certificate],
            Purpose.CLIENT,
            NOW + timedelta(days=31),
        ),
        (leaf(OLD), [leaf(OLD)], Purpose.CLIENT, NOW),
        (OLD.certificate, [OLD.certificate], Purpose.CLIENT, NOW),
    ],
    ids=[
        "another authority",
        "empty bundle",
        "client as server",
        "server as client",
        "expired",
        "not yet",
        "authority expired",
        "leaf as anchor",
        "authority as leaf",
    ],
)
def test_is_untrusted(
    certificate: x509.Certificate, bundle: list[x509.Certificate], purpose: Purpose, at: object
) -> None:
    with pytest.raises(Untrusted):
        verify_leaf(certificate, bundle, purpose=purpose, now=at)  # type: ignore[arg-type]


def test_a_private_key_is_read_back() -> None:
    assert private_key_from_pem(private_key_pem(OLD.key)).public_key() == OLD.key.public_key()


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_private_key_is_refused(pem: str) -> None:
    with pytest.raises(KeyRefused):
        private_key_from_pem(pem)
