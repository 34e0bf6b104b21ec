"""Requests on an API server: approved, issued, refused with a reason, removed; and whatever dies in between."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from federation.api.identity import CLUSTER_LABEL, KUBE_CLIENT_SIGNER, Subject, agent_subject
from federation.kube.errors import Conflict, Unavailable
from federation.kube.kinds import CERTIFICATE_SIGNING_REQUEST, EVENT, MANAGED_CLUSTER, SECRET
from federation.kube.resource import ObjectKey
from federation.pki.chain import Purpose, parse_bundle, verify_leaf
from federation.pki.names import collaborator_of
from hub_manager.certificates.settings import CertificateSettings, schedule_for
from hub_manager.certificates.signer.issuing import CertificateLifetime
from tests.support.builders import csr as make
from tests.support.builders.certificates import Hub
from tests.support.fakes.fake_api import Crash

MINUTE = timedelta(minutes=1)
AGENT = {"signerName": KUBE_CLIENT_SIGNER, "request": make.request_pem(agent_subject("c1"))}


def events(hub: Hub) -> list[tuple[str, str]]:
    return [(raw["involvedObject"]["name"], raw["reason"]) for raw in hub.api.objects(EVENT)]


def holder(hub: Hub, name: str) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(hub.certificate(name).encode())
    verify_leaf(certificate, parse_bundle(hub.bundle()), purpose=Purpose.CLIENT, now=hub.clock.now)
    return certificate


async def test_an_honest_klusterlet_gets_a_certificate_that_chains_to_the_bundle() -> None:
    hub = Hub()
    hub.enable()
    name = await hub.request()

    await hub.settle()

    assert hub.conditions(name) == [("Approved", "PolicyHolds")]
    assert collaborator_of(holder(hub, name).subject) == "c1"
    assert holder(hub, name).not_valid_after_utc == hub.clock.now + timedelta(hours=24)
    assert hub.registry.get_sample_value("federated_learning_hub_certificates_issued_total") == 1
    assert hub.counted("approved") == {"PolicyHolds": 1}


async def test_the_agents_request_is_approved_and_left_to_the_api_servers_signer() -> None:
    hub = Hub()
    hub.enable()
    name = await hub.request(**AGENT)

    await hub.settle()

    assert hub.conditions(name) == [("Approved", "PolicyHolds")]
    assert hub.certificate(name) == ""


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "serverAuth": ({"usages": ["client auth", "server auth"]}, "Usage"),
    "another cluster": (
        {"username": "system:open-cluster-management:c10:a", "groups": ["system:open-cluster-management:c10"]},
        "RequesterNotCluster",
    ),
    "an extra organisation": (
        {"request": make.request_pem(Subject("c1", ("federated-learning", "x")))},
        "OrganizationMismatch",
    ),
    "a weak key": ({"request": make.request_pem(key="rsa1024")}, "KeyUnacceptable"),
    "no labels": ({"labels": {}}, "LabelMismatch"),
}


@pytest.mark.parametrize(("changes", "reason"), HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_request_is_denied_with_its_reason_and_the_honest_one_still_works(
    changes: dict[str, Any], reason: str
) -> None:
    hub = Hub()
    hub.enable()
    hostile = await hub.request(name="addon-c1-federated-learning-evil", **changes)
    await hub.settle()
    await hub.settle()

    assert hub.conditions(hostile) == [("Denied", reason)]
    assert hub.certificate(hostile) == ""
    assert events(hub) == [(hostile, reason)]
    assert hub.counted("denied") == {reason: 1}
    hub.clock.forward(MINUTE)
    honest = await hub.request()
    await hub.settle()
    assert hub.find(hostile) is None
    assert collaborator_of(holder(hub, honest).subject) == "c1"


@pytest.mark.parametrize(("changes", "reason"), HOSTILE.values(), ids=HOSTILE)
async def test_what_a_third_party_approved_is_not_signed(changes: dict[str, Any], reason: str) -> None:
    hub = Hub()
    hub.enable()
    approved = {"conditions": [make.condition("Approved", "KubectlApprove")]}
    name = await hub.request(status=approved, **changes)

    await hub.settle()

    assert hub.conditions(name) == [("Approved", "KubectlApprove"), ("Failed", reason)]
    assert hub.certificate(name) == ""
    assert events(hub) == [(name, reason)]


async def test_a_cluster_removed_between_approval_and_signing_gets_nothing() -> None:
    hub = Hub()
    hub.enable()
    name = await hub.request(status={"conditions": [make.condition("Approved", "PolicyHolds")]})
    hub.api.remove(MANAGED_CLUSTER, ObjectKey("", "c1"))

    await hub.settle()

    assert hub.certificate(name) == ""
    assert events(hub) == [(name, "ClusterUnknown")]


async def test_an_early_request_waits_and_is_granted_when_the_administrator_accepts() -> None:
    hub = Hub()
    hub.enable(accepted=False)
    name = await hub.request()
    await hub.settle()
    assert hub.conditions(name) == []
    assert events(hub) == [(name, "ClusterNotAccepted")]
    assert hub.counted("waiting") == {"ClusterNotAccepted": 1}

    hub.enable()
    await hub.settle()

    assert collaborator_of(holder(hub, name).subject) == "c1"


async def test_the_eleventh_request_is_denied_and_another_clusters_first_is_not() -> None:
    hub = Hub()
    hub.enable("c1")
    hub.enable("c10")
    names = [await hub.request(name=f"addon-c1-federated-learning-{number:02}") for number in range(11)]
    other = await hub.request("c10")

    await hub.settle()

    assert [bool(hub.certificate(name)) for name in names] == [True] * 10 + [False]
    assert hub.conditions(names[-1]) == [("Denied", "TooManyRequests")]
    assert hub.certificate(other)
    hub.clock.forward(5 * MINUTE)
    await hub.settle()
    again = await hub.request(name="addon-c1-federated-learning-again")
    await hub.settle()
    assert hub.certificate(again)
    assert all(hub.find(name) is None for name in names)


async def test_a_cluster_cannot_use_up_anothers_measure() -> None:
    hub = Hub()
    hub.enable("c1")
    intruder = {"username": "system:open-cluster-management:c2:a", "groups": ["system:open-cluster-management:c2"]}
    for number in range(12):
        await hub.request(name=f"addon-c1-federated-learning-{number:02}", **intruder)
    honest = await hub.request(name="addon-c1-federated-learning-zz")

    await hub.settle()

    assert hub.certificate(honest)


async def test_denied_requests_use_up_nothing() -> None:
    hub = Hub()
    hub.enable()
    for number in range(12):
        await hub.request(name=f"addon-c1-federated-learning-{number:02}", usages=["server auth"])
    await hub.settle()
    honest = await hub.request(name="addon-c1-federated-learning-zz")

    await hub.settle()

    assert hub.certificate(honest)


async def test_requests_of_others_are_never_touched() -> None:
    hub = Hub()
    hub.enable()
    foreign = await hub.request(name="a", signerName="example.org/any", labels={CLUSTER_LABEL: "c1"})
    klusterlet = await hub.request(name="b", signerName=KUBE_CLIENT_SIGNER, labels={CLUSTER_LABEL: "c1"})
    ours = await hub.request(name="c", signerName="example.org/any")

    hub.clock.forward(timedelta(days=2))
    await hub.settle()

    assert [hub.conditions(name) for name in (foreign, klusterlet, ours)] == [[], [], []]
    assert events(hub) == [(ours, "ForeignSigner")]
    assert hub.counted("waiting") == {"ForeignSigner": 1}


async def test_a_decision_is_not_written_over_one_that_came_in_between() -> None:
    hub = Hub()
    hub.enable()
    name = await hub.request()
    hub.api.fail_next(Unavailable("503"))
    with pytest.raises(Unavailable):
        await hub.settle()
    requests = await hub.requests()
    key = ObjectKey("", name)
    raw = await hub.api.read_raw(CERTIFICATE_SIGNING_REQUEST, key)
    raw["status"] = {"conditions": [make.condition("Denied", "KubectlDeny")]}
    await hub.api.replace(CERTIFICATE_SIGNING_REQUEST, key, raw, subresource="approval")

    with pytest.raises(Conflict):
        await requests.reconcile(key)

    assert hub.conditions(name) == [("Denied", "KubectlDeny")]


async def test_no_certificate_lives_longer_than_the_slots_have_on_record() -> None:
    hub = Hub()
    hub.enable()
    await hub.settle()
    long = timedelta(hours=48)
    hub.settings = CertificateSettings(lifetime=CertificateLifetime(longest=long), schedule=schedule_for(long))
    hub.restart()
    name = await hub.request()

    await hub.settle()

    slots = hub.slots()
    assert slots is not None
    assert holder(hub, name).not_valid_after_utc - hub.clock.now == long == slots.leaf_life


async def test_a_longer_life_is_granted_only_once_the_slots_have_it_on_record() -> None:
    hub = Hub()
    hub.enable()
    name = await hub.request(status={"conditions": [make.condition("Approved", "PolicyHolds")]})
    await hub.trust.reconcile(hub.trust.key)
    long = timedelta(hours=48)
    hub.settings = CertificateSettings(lifetime=CertificateLifetime(longest=long), schedule=schedule_for(long))

    await (await hub.requests()).reconcile(ObjectKey("", name))

    assert holder(hub, name).not_valid_after_utc == hub.clock.now + timedelta(hours=24)


@pytest.mark.parametrize("writes", range(1, 8))
async def test_killed_after_any_write_another_manager_ends_at_the_same_objects(writes: int) -> None:
    hub = Hub()
    hub.enable()
    honest = await hub.request()
    hostile = await hub.request(name="addon-c1-federated-learning-evil", usages=["server auth"])
    hub.api.crash_after(writes)
    try:
        await hub.settle()
    except Crash:
        hub.restart()
        await hub.settle()

    assert hub.conditions(honest) == [("Approved", "PolicyHolds")]
    assert collaborator_of(holder(hub, honest).subject) == "c1"
    assert hub.conditions(hostile) == [("Denied", "Usage")]
    assert events(hub) == [(hostile, "Usage")]
    assert len(parse_bundle(hub.bundle())) == 1
    assert len(hub.api.objects(SECRET)) == 1


async def test_settling_twice_writes_nothing_more() -> None:
    hub = Hub()
    hub.enable()
    await hub.request()
    await hub.settle()
    version = hub.api.version

    hub.restart()
    await hub.settle()

    assert hub.api.version == version


async def test_a_short_life_is_served_as_configured() -> None:
    hub = Hub()
    short = CertificateLifetime(longest=timedelta(minutes=11), shortest=10 * MINUTE)
    hub.settings = replace(hub.settings, lifetime=short)
    hub.restart()
    hub.enable()
    name = await hub.request(expirationSeconds=31_536_000)

    await hub.settle()

    assert holder(hub, name).not_valid_after_utc == hub.clock.now + timedelta(minutes=11)
