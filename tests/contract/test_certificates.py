"""Requests by a real identity on a real API server, checked and signed with the manager's permissions."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from cryptography import x509
from prometheus_client import CollectorRegistry

from federation.api.identity import (
    COLLABORATOR_SIGNER,
    KUBE_CLIENT_SIGNER,
    Subject,
    agent_subject,
    collaborator_subject,
)
from federation.api.meta import Resource
from federation.kube.client import Client
from federation.kube.errors import Invalid
from federation.kube.kinds import CERTIFICATE_SIGNING_REQUEST, EVENT, NAMESPACE
from federation.kube.resource import Json, Kind, ObjectKey
from federation.kube.store import Store
from federation.pki.chain import Purpose, parse_bundle, verify_leaf
from federation.pki.names import collaborator_of
from fleet.cluster.credentials import kubeconfig, write_private
from hub_manager.certificates.controllers import RANDOM
from hub_manager.certificates.decision_recorder import certificate_metrics
from hub_manager.certificates.settings import CertificateSettings
from hub_manager.certificates.signing_reconciler import (
    CertificateDependencies,
    CertificateStores,
    SigningReconciler,
    request_indexes,
)
from hub_manager.certificates.trust import Trust
from tests.support.api_server.apiserver import LoopbackApiServer, loopback_api_server
from tests.support.builders import csr as make

pytestmark = pytest.mark.apiserver

SETTINGS: Final = CertificateSettings()
RBAC: Final = "rbac.authorization.k8s.io"
MANAGER: Final = "federated-learning-hub-manager"


def rbac_kind(kind: str, *, namespaced: bool) -> Kind[Resource]:
    return Kind(group=RBAC, version="v1", kind=kind, plural=f"{kind.lower()}s", namespaced=namespaced, struct=Resource)


def rule(group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()) -> Json:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs, **({"resourceNames": names} if names else {})}


CSRS: Final = "certificatesigningrequests"
SIGNERS: Final = [COLLABORATOR_SIGNER, KUBE_CLIENT_SIGNER]
MANAGER_RULES: Final = [
    rule("certificates.k8s.io", [CSRS], ["get", "list", "watch", "delete"]),
    rule("certificates.k8s.io", [f"{CSRS}/approval", f"{CSRS}/status"], ["update"]),
    rule("certificates.k8s.io", ["signers"], ["approve"], SIGNERS),
    rule("certificates.k8s.io", ["signers"], ["sign"], [COLLABORATOR_SIGNER]),
    rule("", ["events"], ["create"]),
]
MANAGER_NAMESPACE_RULES: Final = [
    rule("", ["secrets"], ["get", "list", "watch", "create", "update"]),
    rule("", ["configmaps"], ["get", "list", "watch", "create", "patch"]),
]
KLUSTERLET_RULES: Final = [rule("certificates.k8s.io", [CSRS], ["create", "get", "list", "watch"])]


@dataclass(frozen=True)
class Hub:
    """The API server under three identities, and the reconcilers over it."""

    admin: Client
    manager: Client
    klusterlet: Client
    trust: Trust

    async def ask(self, **changes: Any) -> str:
        """A request that the klusterlet of c1 makes; its name."""
        body = make.signing_request("c1", **changes)
        labels = body["metadata"]["labels"]
        name = {"generateName": "addon-c1-federated-learning-"}
        asked = {"metadata": {**name, "labels": labels}, "spec": body["spec"]}
        created = await self.klusterlet.create(CERTIFICATE_SIGNING_REQUEST, asked)
        return created.metadata.name

    async def settle(self, *names: str) -> None:
        """Two runs of each request: to its approval, and to its certificate."""
        await self.trust.reconcile(self.trust.key)
        for name in names * 2:
            await (await self._requests()).reconcile(ObjectKey("", name))

    async def _requests(self) -> SigningReconciler:
        requests = Store(request_indexes(SETTINGS.rules.drivers))
        for csr in (await self.manager.list_page(CERTIFICATE_SIGNING_REQUEST)).items:
            requests.put(csr)
        stores = CertificateStores(requests, Store(), Store(), Store())
        stores.clusters.put(make.cluster())
        stores.addons.put(make.addon())
        stores.cluster_management_addons.put(make.cluster_management_addon())
        world = CertificateDependencies(clock=now, serial=RANDOM.serial, authority=self.trust.authority)
        return SigningReconciler(self.manager, stores, world, SETTINGS, certificate_metrics(CollectorRegistry()))

    async def outcome(self, name: str) -> tuple[list[tuple[str, str]], bytes]:
        """Conditions by type and reason, and the certificate."""
        csr = await self.manager.read(CERTIFICATE_SIGNING_REQUEST, ObjectKey("", name))
        return [(c.type, c.reason) for c in csr.status.conditions], csr.status.certificate

    async def told(self, name: str) -> set[str]:
        """The reasons of the Events on the request."""
        events = (await self.admin.list_page(EVENT, namespace="default")).items
        return {event.reason for event in events if event.involved_object.name == name}


def now() -> datetime:
    return datetime.now(UTC)


@pytest_asyncio.fixture(scope="session")
async def certificates_hub() -> AsyncIterator[Hub]:
    async with loopback_api_server() as server:
        admin = Client.from_kubeconfig(server.kubeconfig, field_manager="admin")
        manager = client_of(server, MANAGER, [])
        klusterlet = client_of(
            server,
            "system:open-cluster-management:c1:agent1",
            ["system:open-cluster-management:c1", "system:open-cluster-management:managed-clusters"],
        )
        await admin.create(NAMESPACE, {"metadata": {"name": SETTINGS.namespace}})
        user = {"kind": "User", "name": MANAGER, "apiGroup": RBAC}
        group = {"kind": "Group", "name": "system:open-cluster-management:managed-clusters", "apiGroup": RBAC}
        await grant(admin, "manager", MANAGER_RULES, user)
        await grant(admin, "manager", MANAGER_NAMESPACE_RULES, user, namespace=SETTINGS.namespace)
        await grant(admin, "klusterlet", KLUSTERLET_RULES, group)
        metrics = certificate_metrics(CollectorRegistry())
        yield Hub(admin, manager, klusterlet, Trust(manager, SETTINGS, metrics, clock=now, entropy=RANDOM))
        for client in (admin, manager, klusterlet):
            await client.close()


def client_of(server: LoopbackApiServer, user: str, groups: list[str]) -> Client:
    path: Path = server.folder / f"{user.replace(':', '-')}.kubeconfig"
    pair = server.authority.issue(user, groups=groups)
    write_private(path, kubeconfig(server.url, server.authority.pair.certificate, pair).encode())
    return Client.from_kubeconfig(path, field_manager=user.rpartition(":")[2])


async def grant(admin: Client, name: str, rules: list[Json], to: Json, *, namespace: str = "") -> None:
    prefix = "" if namespace else "Cluster"
    role, binding = (rbac_kind(prefix + kind, namespaced=bool(namespace)) for kind in ("Role", "RoleBinding"))
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    reference = {"apiGroup": RBAC, "kind": role.kind, "name": name}
    await admin.create(role, {"metadata": metadata, "rules": rules}, namespace=namespace)
    await admin.create(binding, {"metadata": metadata, "roleRef": reference, "subjects": [to]}, namespace=namespace)


async def test_the_honest_klusterlet_gets_both_decisions_and_the_certificate(certificates_hub: Hub) -> None:
    hub = certificates_hub
    collaborator = await hub.ask(expirationSeconds=31_536_000)
    agent = await hub.ask(signerName=KUBE_CLIENT_SIGNER, request=make.request_pem(agent_subject("c1")))
    by_go = await hub.ask(signerName=KUBE_CLIENT_SIGNER, request=make.MADE_BY_GO)

    await hub.settle(collaborator, agent, by_go)

    conditions, pem = await hub.outcome(collaborator)
    certificate = x509.load_pem_x509_certificate(pem)
    verify_leaf(certificate, parse_bundle(hub.trust.bundle()), purpose=Purpose.CLIENT, now=now())
    assert conditions == [("Approved", "PolicyHolds")]
    assert collaborator_of(certificate.subject) == "c1"
    assert await hub.outcome(agent) == ([("Approved", "PolicyHolds")], b"")
    assert await hub.outcome(by_go) == ([("Approved", "PolicyHolds")], b"")


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "another cluster's name": ({"request": make.request_pem(collaborator_subject("c10"))}, "CommonNameMismatch"),
    "another cluster's label": ({"labels": {**make.signing_request("c2")["metadata"]["labels"]}}, "NameMismatch"),
    "an extra organisation": (
        {"request": make.request_pem(Subject("c1", ("federated-learning", "admins")))},
        "OrganizationMismatch",
    ),
    "a URI": (
        {"request": make.request_pem(names=[x509.UniformResourceIdentifier("spiffe://a/b")])},
        "AlternativeName",
    ),
    "serverAuth": ({"usages": ["client auth", "server auth"]}, "Usage"),
    "RSA-1024": ({"request": make.request_pem(key="rsa1024")}, "KeyUnacceptable"),
    "no labels": ({"labels": {}}, "LabelMismatch"),
}


@pytest.mark.parametrize(("changes", "reason"), HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_request_is_denied_with_an_event(
    certificates_hub: Hub, changes: dict[str, Any], reason: str
) -> None:
    name = await certificates_hub.ask(**changes)

    await certificates_hub.settle(name)

    assert await certificates_hub.outcome(name) == ([("Denied", reason)], b"")
    assert await certificates_hub.told(name) == {reason}


async def test_the_server_itself_takes_no_broken_signature(certificates_hub: Hub) -> None:
    with pytest.raises(Invalid, match="verification failure"):
        await certificates_hub.ask(request=make.request_pem(break_signature=True))


async def test_an_approval_against_the_policy_fails_at_signing(certificates_hub: Hub) -> None:
    hub = certificates_hub
    name = await hub.ask(usages=["client auth", "server auth"])
    raw = await hub.admin.read_raw(CERTIFICATE_SIGNING_REQUEST, ObjectKey("", name))
    raw["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "ByHand"}]}
    await hub.admin.replace(CERTIFICATE_SIGNING_REQUEST, ObjectKey("", name), raw, subresource="approval")

    await hub.settle(name)

    assert await hub.outcome(name) == ([("Approved", "ByHand"), ("Failed", "Usage")], b"")


async def test_another_signers_request_gets_an_event_and_no_decision(certificates_hub: Hub) -> None:
    name = await certificates_hub.ask(signerName="example.org/any")

    await certificates_hub.settle(name)

    assert await certificates_hub.outcome(name) == ([], b"")
    assert await certificates_hub.told(name) == {"ForeignSigner"}


async def test_the_requester_is_the_one_that_the_server_authenticated(certificates_hub: Hub) -> None:
    hub = certificates_hub
    forged = make.signing_request("c10")
    body = {"metadata": {"generateName": "addon-c10-federated-learning-"}, "spec": forged["spec"]}
    body["metadata"]["labels"] = forged["metadata"]["labels"]
    created = await hub.klusterlet.create(CERTIFICATE_SIGNING_REQUEST, body)

    await hub.settle(created.metadata.name)

    assert created.spec.username == "system:open-cluster-management:c1:agent1"
    assert await hub.outcome(created.metadata.name) == ([("Denied", "RequesterNotCluster")], b"")
