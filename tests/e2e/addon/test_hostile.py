"""A hostile spoke, with the real identity that the hub gave its klusterlet, against the real hub.

Each request is made by that identity on the hub's API server, so that what is refused by OCM's own RBAC, by the API
server or by our policy shows as its user would see it.
"""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from federation.api.identity import (
    ADDON_LABEL,
    ADDON_NAME,
    CLUSTER_LABEL,
    COLLABORATOR_SIGNER,
    Subject,
    collaborator_subject,
    dns_name,
)
from federation.kube.client import Client
from federation.kube.kinds import MANAGED_CLUSTER_ADD_ON
from federation.kube.resource import ObjectKey
from fleet.command import CommandFailed
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import until
from tests.support.builders.csr import request_pem, subject_of
from tests.support.fleet.hub_process import installed_stopped
from tests.support.fleet.on_hub import klusterlet_kubeconfig, lose_kubeconfig, read

pytestmark = pytest.mark.fleet
Clusters = Fleet | ExistingFleet
Json = dict[str, Any]
OWN_NAME = x509.DNSName(dns_name())


@dataclass(frozen=True)
class Klusterlet:
    """The actions on the hub of an attacker with a spoke's klusterlet identity."""

    clusters: Clusters
    cluster: str
    kubeconfig: Path

    async def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """The output of kubectl on the hub with that identity."""
        return await self.clusters.kubectl(HUB, f"--kubeconfig={self.kubeconfig}", *words, stdin=stdin)

    async def ask(self, request: bytes, *, cluster: str = "", **spec: Any) -> str:
        """Makes a certificate request as a klusterlet does, and returns its name."""
        named = cluster or self.cluster
        name = f"addon-{named}-{ADDON_NAME}-{uuid.uuid4().hex[:5]}"
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name, "labels": {CLUSTER_LABEL: named, ADDON_LABEL: ADDON_NAME}},
            "spec": {
                "request": base64.b64encode(request).decode(),
                "signerName": COLLABORATOR_SIGNER,
                "usages": ["digital signature", "key encipherment", "client auth"],
                **spec,
            },
        }
        await self.kubectl("create", "-f", "-", stdin=json.dumps(body))
        return name


@pytest_asyncio.fixture
async def klusterlet(enabled: Clusters, tmp_path: Path) -> AsyncIterator[Klusterlet]:
    """The klusterlet of spoke 1, in hostile hands; its requests are counted, so none is left to the next test."""
    spoke = enabled.spokes[0]
    forget = ("delete", "csr", f"--selector={CLUSTER_LABEL}={spoke},{ADDON_LABEL}={ADDON_NAME}")
    await enabled.kubectl(HUB, *forget)
    yield Klusterlet(enabled, spoke, await klusterlet_kubeconfig(enabled, spoke, tmp_path))
    await enabled.kubectl(HUB, *forget)


async def outcome(clusters: Clusters, name: str) -> tuple[str, str]:
    """How a request ended: `Denied` or `Failed` with its reason, or `Issued`."""
    ended: list[tuple[str, str]] = []

    async def decided() -> bool:
        found = await read(clusters, HUB, "csr", name)
        status = found.get("status", {})
        rejected = [c for c in status.get("conditions", []) if c["type"] in {"Denied", "Failed"}]
        if rejected:
            ended.append((rejected[0]["type"], rejected[0]["reason"]))
        elif status.get("certificate"):
            ended.append(("Issued", ""))
        return bool(ended)

    await until(decided, f"request {name} is decided")
    return ended[0]


@dataclass(frozen=True)
class Attack:
    """The difference from an honest request, and the reason of its refusal."""

    reason: str
    request: Json = field(default_factory=dict)
    spec: Json = field(default_factory=dict)


def names(*more: x509.GeneralName) -> Json:
    return {"names": (OWN_NAME, *more)}


ATTACKS = {
    "another organisation besides": Attack(
        "OrganizationMismatch", {"groups": ("federated-learning", "system:masters")}
    ),
    "another common name": Attack("CommonNameMismatch", {"user": "aggregator"}),
    "the other spoke's common name": Attack("CommonNameMismatch", {"user": "spoke2"}),
    "a longer cluster name": Attack("CommonNameMismatch", {"user": "spoke10"}),
    "an organisational unit": Attack("SubjectAttribute", {"organization_units": ("admins",)}),
    "another DNS name": Attack("AlternativeName", names(x509.DNSName("aggregator.example"))),
    "an address": Attack("AlternativeName", names(x509.IPAddress(ip_address("10.0.0.1")))),
    "a URI": Attack("AlternativeName", names(x509.UniformResourceIdentifier("spiffe://hub/aggregator"))),
    "an e-mail address": Attack("AlternativeName", names(x509.RFC822Name("admin@example.org"))),
    "serverAuth": Attack("Usage", spec={"usages": ["digital signature", "client auth", "server auth"]}),
    "an RSA key of 1024 bits": Attack("KeyUnacceptable", {"key": "rsa1024"}),
    "a broken signature of its own": Attack("SignatureInvalid", {"break_signature": True}),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_request_is_denied_with_its_reason(klusterlet: Klusterlet, attack: Attack) -> None:
    changes = dict(attack.request)
    honest = collaborator_subject(klusterlet.cluster)
    subject = Subject(
        changes.pop("user", honest.user),
        changes.pop("groups", honest.groups),
        changes.pop("organization_units", ()),
    )
    if attack.reason == "SignatureInvalid":
        # The API server itself refuses it, before anybody could approve.
        with pytest.raises(CommandFailed, match="ECDSA verification failure"):
            await klusterlet.ask(request_pem(subject, **changes), **attack.spec)
        return
    name = await klusterlet.ask(request_pem(subject, **changes), **attack.spec)
    assert await outcome(klusterlet.clusters, name) == ("Denied", attack.reason)
    await until(partial(told, klusterlet.clusters, name, attack.reason), "the refusal is told")


async def told(clusters: Clusters, name: str, reason: str) -> bool:
    """Whether an Event of that reason is about the request."""
    events = await read(clusters, HUB, "events", "--all-namespaces", f"--field-selector=reason={reason}")
    return any(event["involvedObject"]["name"] == name for event in events["items"])


@pytest.mark.parametrize("other", ["spoke2", "spoke10", "spoke"])
async def test_a_request_for_another_cluster_is_denied(klusterlet: Klusterlet, other: str) -> None:
    name = await klusterlet.ask(request_pem(collaborator_subject(other)), cluster=other)
    assert await outcome(klusterlet.clusters, name) == ("Denied", "RequesterNotCluster")


async def test_years_that_are_asked_for_are_not_given(klusterlet: Klusterlet) -> None:
    request = request_pem(collaborator_subject(klusterlet.cluster))
    name = await klusterlet.ask(request, expirationSeconds=10 * 365 * 86400)
    assert await outcome(klusterlet.clusters, name) == ("Issued", "")
    found = await read(klusterlet.clusters, HUB, "csr", name)
    certificate = x509.load_pem_x509_certificate(base64.b64decode(found["status"]["certificate"]))
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life.total_seconds() <= 86400 + 600


async def test_a_request_of_another_signer_is_not_ours_to_approve(klusterlet: Klusterlet) -> None:
    request = request_pem(collaborator_subject(klusterlet.cluster))
    name = await klusterlet.ask(request, signerName="example.org/other")
    honest = await klusterlet.ask(request)
    assert await outcome(klusterlet.clusters, honest) == ("Issued", "")
    found = await read(klusterlet.clusters, HUB, "csr", name)
    assert "conditions" not in found.get("status", {})
    await klusterlet.clusters.kubectl(HUB, "delete", "csr", name)


async def test_a_third_partys_approval_yields_no_certificate(klusterlet: Klusterlet) -> None:
    """An approver can be misled; the policy is checked again at signing."""
    async with installed_stopped(klusterlet.clusters):
        name = await klusterlet.ask(request_pem(Subject("aggregator", ("federated-learning",))))
        await klusterlet.clusters.kubectl(HUB, "certificate", "approve", name)
    assert await outcome(klusterlet.clusters, name) == ("Failed", "CommonNameMismatch")


async def test_registrations_rewritten_by_the_spoke_give_it_nothing_and_are_put_back(klusterlet: Klusterlet) -> None:
    evil = {"signerName": COLLABORATOR_SIGNER, "subject": {"user": "aggregator", "groups": ["system:masters"]}}
    add_on = ("managedclusteraddon", ADDON_NAME, f"--namespace={klusterlet.cluster}")
    before = (await read(klusterlet.clusters, HUB, *add_on))["status"]["registrations"]

    async with Client.from_kubeconfig(klusterlet.kubeconfig, field_manager="evil") as api:
        key = ObjectKey(klusterlet.cluster, ADDON_NAME)
        await api.merge_patch(MANAGED_CLUSTER_ADD_ON, key, {"status": {"registrations": [evil]}}, subresource="status")

    async def put_back() -> bool:
        return bool((await read(klusterlet.clusters, HUB, *add_on))["status"]["registrations"] == before)

    await until(put_back, "the registrations are put back")
    await lose_kubeconfig(klusterlet.clusters, klusterlet.cluster)
    requests = await read(klusterlet.clusters, HUB, "csr", f"--selector={CLUSTER_LABEL}={klusterlet.cluster}")
    certificates = [item.get("status", {}).get("certificate") for item in requests["items"]]
    subjects = [subject_of(base64.b64decode(certificate)) for certificate in certificates if certificate]
    assert subjects
    assert not [subject for subject in subjects if "masters" in subject or "aggregator" in subject]


async def test_the_spoke_has_no_other_way_on_the_hub(klusterlet: Klusterlet) -> None:
    for words in (
        ("delete", "managedclusteraddon", ADDON_NAME, f"--namespace={klusterlet.cluster}"),
        ("get", "secrets", "--namespace=federated-learning-system"),
        ("get", "manifestworks", "--namespace=spoke2"),
    ):
        with pytest.raises(CommandFailed, match="forbidden"):
            await klusterlet.kubectl(*words)


async def test_an_unaccepted_cluster_gets_nothing_until_it_is_accepted_again(klusterlet: Klusterlet) -> None:
    accept = ("patch", "managedcluster", klusterlet.cluster, "--type=merge")
    request = request_pem(collaborator_subject(klusterlet.cluster))
    await klusterlet.clusters.kubectl(HUB, *accept, '--patch={"spec":{"hubAcceptsClient":false}}')
    try:
        # OCM also removes the klusterlet's permissions; a request with remaining permissions is refused.
        name = await _ask_as_cluster(klusterlet, request)
        await until(partial(told, klusterlet.clusters, name, "ClusterNotAccepted"), "the refusal is told")
        assert "certificate" not in (await read(klusterlet.clusters, HUB, "csr", name)).get("status", {})
    finally:
        await klusterlet.clusters.kubectl(HUB, *accept, '--patch={"spec":{"hubAcceptsClient":true}}')
    assert await outcome(klusterlet.clusters, name) == ("Issued", "")

    async def may_ask() -> bool:
        with suppress(CommandFailed):
            return await klusterlet.kubectl("auth", "can-i", "create", "csr") == "yes\n"
        return False

    await until(may_ask, "OCM gives the klusterlet its rights again")


async def _ask_as_cluster(klusterlet: Klusterlet, request: bytes) -> str:
    """A request in the cluster's name with remaining permissions: an administrator's impersonation."""
    name = f"addon-{klusterlet.cluster}-{ADDON_NAME}-{uuid.uuid4().hex[:5]}"
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "labels": {CLUSTER_LABEL: klusterlet.cluster, ADDON_LABEL: ADDON_NAME}},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": COLLABORATOR_SIGNER,
            "usages": ["digital signature", "key encipherment", "client auth"],
        },
    }
    group = f"system:open-cluster-management:{klusterlet.cluster}"
    who = (f"--as={group}:agent", f"--as-group={group}", "--as-group=system:masters")
    await klusterlet.clusters.kubectl(HUB, "create", *who, "-f", "-", stdin=json.dumps(body))
    return name


async def test_the_eleventh_request_is_denied_and_the_honest_one_still_works(klusterlet: Klusterlet) -> None:
    request = request_pem(collaborator_subject(klusterlet.cluster))
    asked = [await klusterlet.ask(request) for _ in range(12)]
    outcomes = [await outcome(klusterlet.clusters, name) for name in asked]
    # Requests of one second are ordered only by name, so the test can't predict which ones are too many.
    assert set(outcomes) == {("Issued", ""), ("Denied", "TooManyRequests")}
    assert outcomes.count(("Issued", "")) <= 10

    await klusterlet.clusters.kubectl(HUB, "delete", "csr", *asked)
    honest = await klusterlet.ask(request)
    assert await outcome(klusterlet.clusters, honest) == ("Issued", "")
