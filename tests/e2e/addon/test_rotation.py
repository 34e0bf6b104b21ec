"""Certificates are renewed and authorities follow one another while everything runs."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo import install
from demo.install import HUB_NAMESPACE, INSTALL_NAMESPACE
from federation.pki.certificate import Validity, authority_certificate
from federation.pki.chain import fingerprint, parse_bundle
from fleet.command import run
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import TIMEOUT, TIMEOUT_FLAG, until
from hub_manager.certificates.signer.authority import AuthoritySchedule
from tests.support.fleet.hub_process import config, installed_stopped, leading, manager_kubeconfig
from tests.support.fleet.on_hub import CERTIFICATE_SECRET, lose_kubeconfig, read, secret

pytestmark = pytest.mark.fleet
Clusters = Fleet | ExistingFleet
LIFE = timedelta(seconds=90)
QUICK = AuthoritySchedule(
    authority_life=timedelta(days=2),
    prepare_before=timedelta(days=1),
    leaf_life=LIFE,
    rollout_min=timedelta(seconds=3),
    rollout_max=timedelta(minutes=5),
)
BROUGHT = "company-authority"


async def certificate_of(clusters: Clusters, spoke: str) -> tuple[bytes, x509.Certificate] | None:
    """The certificate that a spoke holds, as PEM and read."""
    held = (await secret(clusters, spoke, CERTIFICATE_SECRET)).get("tls.crt", b"")
    return (held, x509.load_pem_x509_certificate(held)) if held else None


async def nudge(clusters: Clusters, spoke: str, word: str) -> None:
    """Has the klusterlet look at its certificates, which it does at each event and else every five minutes."""
    where = f"--namespace={INSTALL_NAMESPACE}"
    await clusters.kubectl(spoke, "annotate", "secret", CERTIFICATE_SECRET, where, "--overwrite", f"nudged={word}")


async def openssl_accepts(certificate: bytes, bundle: str, folder: Path) -> bool:
    """Whether OpenSSL's strict verification accepts the certificate by that bundle."""
    await asyncio.to_thread((folder / "leaf.crt").write_bytes, certificate)
    await asyncio.to_thread((folder / "bundle.crt").write_text, bundle)
    verify = ("openssl", "verify", "-x509_strict", "-partial_chain", "-purpose", "sslclient", "-CAfile")
    return (await run(*verify, folder / "bundle.crt", folder / "leaf.crt")).endswith("OK\n")


async def test_a_lost_kubeconfig_is_reissued_and_the_agent_continues_without_a_restart(enabled: Clusters) -> None:
    spoke = enabled.spokes[0]
    deployment = ("deployment/federated-learning-agent", f"--namespace={INSTALL_NAMESPACE}")
    await enabled.kubectl(spoke, "rollout", "status", *deployment, TIMEOUT_FLAG)
    before = await _agents(enabled, spoke)
    assert before

    await lose_kubeconfig(enabled, spoke)

    await enabled.kubectl(spoke, "wait", "--for=condition=Available", *deployment, TIMEOUT_FLAG)
    assert await _agents(enabled, spoke) == before


async def _agents(clusters: Clusters, spoke: str) -> set[tuple[str, int]]:
    """The agent's pods on a spoke, but for such as are on their way out, each with how often it was restarted."""
    selector = "--selector=app.kubernetes.io/name=federated-learning-agent"
    pods = (await read(clusters, spoke, "pods", f"--namespace={INSTALL_NAMESPACE}", selector))["items"]
    stay = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {(pod["metadata"]["uid"], s["restartCount"]) for pod in stay for s in pod["status"]["containerStatuses"]}


async def test_authorities_roll_over_while_each_spokes_certificate_stays_valid_throughout(
    enabled: Clusters, tmp_path: Path
) -> None:
    company = _company_authority()
    issuers: dict[str, set[bytes]] = {spoke: set() for spoke in enabled.spokes}
    rolled = 0

    async def every_certificate_is_valid() -> bool:
        """Looks at each spoke once; whether all of them have a certificate of the company's authority by now."""
        nonlocal rolled
        rolled += 1
        for spoke in enabled.spokes:
            await nudge(enabled, spoke, str(rolled))
            held = await certificate_of(enabled, spoke)
            assert held is not None, f"{spoke} has lost its certificate"
            pem, certificate = held
            assert certificate.not_valid_after_utc > datetime.now(UTC), f"{spoke}'s certificate was not renewed in time"
            for cluster, namespace in ((HUB, HUB_NAMESPACE), (spoke, INSTALL_NAMESPACE)):
                found = await read(
                    enabled, cluster, "configmap", "federated-learning-trust-bundle", f"--namespace={namespace}"
                )
                assert await openssl_accepts(pem, found["data"]["ca.crt"], tmp_path)
            issuers[spoke].add(_issuer_of(certificate))
        return all(company[2] in seen for seen in issuers.values())

    async with installed_stopped(enabled) as agent_image:
        kubeconfig = await manager_kubeconfig(enabled, tmp_path)
        settings = config(kubeconfig, agent_image, certificate_lifetime=LIFE, authority_secret=BROUGHT)
        await _bring(enabled, company)
        for spoke in enabled.spokes:
            await enabled.kubectl(spoke, "delete", "secret", CERTIFICATE_SECRET, f"--namespace={INSTALL_NAMESPACE}")
        try:
            async with leading(settings, QUICK):
                for spoke in enabled.spokes:
                    await _until_short_lived(enabled, spoke)
                await until(every_certificate_is_valid, "the company's authority signs for all", deadline=2 * TIMEOUT)
                bundle = await read(
                    enabled, HUB, "configmap", "federated-learning-trust-bundle", f"--namespace={HUB_NAMESPACE}"
                )
                assert company[3] in {fingerprint(c) for c in parse_bundle(bundle["data"]["ca.crt"])}
        finally:
            await enabled.kubectl(
                HUB, "delete", "secret", BROUGHT, "federated-learning-authority", f"--namespace={HUB_NAMESPACE}"
            )
    await install.disable(enabled, *enabled.spokes)
    await install.enable(enabled, *enabled.spokes)


def _issuer_of(certificate: x509.Certificate) -> bytes:
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return identifier.key_identifier or b""


async def _until_short_lived(clusters: Clusters, spoke: str) -> None:
    async def so() -> bool:
        held = await certificate_of(clusters, spoke)
        return held is not None and held[1].not_valid_after_utc - datetime.now(UTC) <= LIFE

    await until(so, f"{spoke} has a certificate that holds {LIFE.total_seconds():.0f} s")


def _company_authority() -> tuple[bytes, bytes, bytes, str]:
    """An administrator's own CA: certificate and key as PEM, its key identifier, its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    validity = Validity(now - timedelta(minutes=5), now + timedelta(days=365))
    certificate = authority_certificate(key, serial=x509.random_serial_number(), validity=validity)
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, private, identifier, fingerprint(certificate)


async def _bring(clusters: Clusters, company: tuple[bytes, bytes, bytes, str]) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": BROUGHT, "namespace": HUB_NAMESPACE},
        "stringData": {"tls.crt": company[0].decode(), "tls.key": company[1].decode()},
    }
    await clusters.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(body))
