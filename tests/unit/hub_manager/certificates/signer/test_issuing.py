"""An issued certificate passes our validator, OpenSSL in strict mode and a TLS 1.3 handshake."""

import ssl
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from federation.api.identity import Subject, collaborator_subject, dns_name
from federation.pki.certificate import (
    Issuer,
    Validity,
    certificate_pem,
    client_certificate,
    leaf_key,
    server_certificate,
)
from federation.pki.names import aggregator_dns, collaborator_of
from hub_manager.certificates.requests.validator import Expectation, find_problems
from hub_manager.certificates.signer.issuing import AuthorityRunsOut, CertificateLifetime, issue, validity
from tests.support.builders.authorities import authority
from tests.support.builders.csr import NOW, cluster, key_of, public_der

SERIAL = 1 << 150
KEY = public_der(key_of("p256"))
DAY = timedelta(hours=24)


def issued(issuer: Issuer, *, name: str = "c1", now: datetime = NOW, key: bytes = KEY) -> x509.Certificate:
    return issue(
        issuer,
        cluster(name),
        key,
        serial=SERIAL,
        holding=validity(CertificateLifetime(), None, issuer.certificate, now),
    )


def expectation(issuer: Issuer, now: datetime = NOW) -> Expectation:
    return Expectation(cluster="c1", public_key=KEY, longest=DAY, bundle=[issuer.certificate], now=now)


@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048", "ed25519"])
@pytest.mark.parametrize("authority_key", ["p256", "p384", "rsa2048"])
def test_an_issued_certificate_has_no_flaw(key: str, authority_key: str) -> None:
    issuer = authority(key=authority_key)
    certificate = issued(issuer, key=public_der(key_of(key)))

    assert (
        find_problems(certificate_pem(certificate), replace(expectation(issuer), public_key=public_der(key_of(key))))
        == ()
    )


def test_the_holder_is_the_cluster_and_nothing_else() -> None:
    certificate = issued(authority(), name="c10")

    assert collaborator_of(certificate.subject) == "c10"
    assert certificate.subject.rfc4514_string() == "CN=c10,O=federated-learning"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, DAY),
        (31_536_000, DAY),
        (2**31 - 1, DAY),
        (7200, timedelta(hours=2)),
        (3600, timedelta(hours=1)),
        (600, timedelta(hours=1)),
    ],
    ids=["nothing asked", "a year", "the most a CSR can ask", "two hours", "one hour", "below the floor"],
)
def test_a_life_lies_within_the_policys_bounds(asked: int | None, granted: timedelta) -> None:
    holding = validity(CertificateLifetime(), asked, authority().certificate, NOW)

    assert holding.not_after - NOW == granted


def test_no_certificate_outlives_its_authority() -> None:
    ending = authority(life=timedelta(hours=3)).certificate

    assert validity(CertificateLifetime(), None, ending, NOW).not_after == ending.not_valid_after_utc


def test_an_authority_about_to_end_signs_nothing() -> None:
    with pytest.raises(AuthorityRunsOut):
        validity(CertificateLifetime(), None, authority(life=timedelta(minutes=59)).certificate, NOW)


def test_a_short_life_is_not_backdated_so_far_that_the_klusterlet_renews_at_once() -> None:
    life = CertificateLifetime(longest=timedelta(seconds=60), shortest=timedelta(seconds=60))
    issuer = authority(begin=NOW - timedelta(days=1))

    holding = validity(life, None, issuer.certificate, NOW)

    remaining, total = holding.not_after - NOW, holding.not_after - holding.not_before
    assert holding.not_before < NOW
    assert remaining / total > 0.9


@pytest.mark.parametrize(
    ("shortest", "longest"), [(timedelta(0), DAY), (timedelta(hours=2), timedelta(hours=1))], ids=["zero", "crossed"]
)
def test_invalid_bounds_are_refused(shortest: timedelta, longest: timedelta) -> None:
    with pytest.raises(ValueError, match="invalid lifetime bounds"):
        CertificateLifetime(longest=longest, shortest=shortest)


def misissued(**changes: object) -> tuple[str, ...]:
    issuer = authority()
    fields = {
        "key": KEY,
        "subject": collaborator_subject("c1"),
        "names": (dns_name(),),
        "serial": SERIAL,
        "validity": Validity(NOW - timedelta(minutes=5), NOW + DAY),
        "issuer": issuer,
    } | changes
    certificate = client_certificate(
        fields["issuer"],  # type: ignore[arg-type]
        leaf_key(fields["key"]),  # type: ignore[arg-type]
        fields["subject"],  # type: ignore[arg-type]
        fields["names"],  # type: ignore[arg-type]
        serial=fields["serial"],  # type: ignore[arg-type]
        validity=fields["validity"],  # type: ignore[arg-type]
    )
    return find_problems(certificate_pem(certificate), expectation(issuer))


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"subject": collaborator_subject("c10")}, "it names c10"),
        ({"subject": Subject("c1", ("federated-learning", "admins"))}, "not a collaborator's subject"),
        ({"subject": Subject("c1", ("federated-learning",), ("aggregator",))}, "not a collaborator's subject"),
        ({"key": public_der(key_of("another p256"))}, "its key is not"),
        ({"names": ()}, "its extensions"),
        ({"names": (dns_name(), "example.org")}, "its alternative names"),
        ({"serial": 7}, "its serial number"),
        ({"validity": Validity(NOW, NOW + 2 * DAY)}, "it is valid from"),
        ({"validity": Validity(NOW + timedelta(hours=1), NOW + DAY)}, "it is valid from"),
        ({"issuer": authority(key="p384")}, "none of 1 authorities"),
    ],
    ids=[
        "another cluster",
        "another organization",
        "a unit",
        "another key",
        "no name",
        "a further name",
        "a small serial",
        "too long",
        "not yet",
        "a stranger's signature",
    ],
)
def test_the_validator_finds(changes: dict[str, object], flaw: str) -> None:
    assert any(flaw in found for found in misissued(**changes)), misissued(**changes)


def test_the_validator_finds_nothing_in_the_profile_itself() -> None:
    assert misissued() == ()


def test_the_validator_finds_a_servers_certificate() -> None:
    issuer = authority()
    server = server_certificate(
        issuer, leaf_key(KEY), [aggregator_dns("run", "ns")], serial=SERIAL, validity=Validity(NOW, NOW + DAY)
    )

    assert any("client authentication" in flaw for flaw in find_problems(certificate_pem(server), expectation(issuer)))


def test_equal_arguments_give_equal_bytes() -> None:
    assert issued(authority()) == issued(authority())


@pytest.fixture
def today() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def write_key(path: Path, key: str) -> None:
    path.write_bytes(
        key_of(key).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.mark.parametrize("authority_key", ["p256", "rsa2048"])
@pytest.mark.parametrize("purpose", ["sslclient", "sslserver"])
def test_openssl_accepts_both_profiles_in_strict_mode(
    tmp_path: Path, today: datetime, authority_key: str, purpose: str
) -> None:
    issuer = authority(begin=today - timedelta(days=1), key=authority_key)
    names = [aggregator_dns("run", "ns")]
    leaf = issued(issuer, now=today)
    if purpose == "sslserver":
        holding = Validity(today - timedelta(minutes=5), today + DAY)
        leaf = server_certificate(issuer, leaf_key(KEY), names, serial=SERIAL, validity=holding)
    (tmp_path / "ca.crt").write_text(certificate_pem(issuer.certificate))
    (tmp_path / "leaf.crt").write_text(certificate_pem(leaf))

    other = {"sslclient": "sslserver", "sslserver": "sslclient"}[purpose]
    assert openssl_verify(tmp_path, purpose) == "leaf.crt: OK"
    assert "purpose" in openssl_verify(tmp_path, other)


def openssl_verify(folder: Path, purpose: str) -> str:
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose, "-CAfile", "ca.crt"]
    done = subprocess.run([*command, "leaf.crt"], cwd=folder, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def test_collaborator_and_aggregator_shake_hands_in_tls_1_3_with_strict_checks(tmp_path: Path, today: datetime) -> None:
    issuer = authority(begin=today - timedelta(days=1))
    name = aggregator_dns("run", "ns")
    holding = Validity(today - timedelta(minutes=5), today + DAY)
    server_key = leaf_key(public_der(key_of("server p256")))
    server = server_certificate(issuer, server_key, [name, "192.0.2.1"], serial=SERIAL, validity=holding)
    for file, certificate, key in (("client", issued(issuer, now=today), "p256"), ("server", server, "server p256")):
        (tmp_path / f"{file}.crt").write_text(certificate_pem(certificate))
        write_key(tmp_path / f"{file}.key", key)

    peer = handshake(tmp_path, certificate_pem(issuer.certificate), name)

    assert collaborator_of(peer.subject) == "c1"


def handshake(folder: Path, bundle: str, name: str) -> x509.Certificate:
    """The client's certificate as the server sees it after a handshake in memory."""
    contexts = {side: ssl.SSLContext(protocol) for side, protocol in _PROTOCOLS.items()}
    for side, context in contexts.items():
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=bundle)
        context.load_cert_chain(folder / f"{side}.crt", folder / f"{side}.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts["client"].wrap_bio(to_client, to_server, server_hostname=name)
    server = contexts["server"].wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    for _ in range(10):
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    assert server.version() == "TLSv1.3"
    der = server.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


_PROTOCOLS = {"client": ssl.PROTOCOL_TLS_CLIENT, "server": ssl.PROTOCOL_TLS_SERVER}
