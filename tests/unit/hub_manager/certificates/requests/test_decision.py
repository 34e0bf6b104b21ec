"""The decision on a request, and its removal."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from federation.api.identity import KUBE_CLIENT_SIGNER, agent_subject
from federation.api.kubernetes.certificates import CertificateSigningRequest
from federation.pki.csr import MalformedRequest, parse_request
from hub_manager.certificates.requests.decision import (
    Approve,
    Decision,
    Deny,
    Fail,
    Issue,
    Leave,
    Remove,
    Retention,
    Wait,
    decide,
)
from hub_manager.certificates.requests.policy import Input
from hub_manager.certificates.requests.refusal import CertificateReason
from tests.support.builders import csr as make

NOW = make.NOW
MINUTE = timedelta(minutes=1)
ISSUED = {"conditions": [make.condition("Approved")], "certificate": "eA=="}
APPROVED = {"conditions": [make.condition("Approved", "AutoApproved")]}
AGENT: dict[str, Any] = {"signerName": KUBE_CLIENT_SIGNER, "request": make.request_pem(agent_subject("c1"))}


def decided(*, later: timedelta = timedelta(0), facts: dict[str, Any] | None = None, **changes: Any) -> Decision:
    csr = make.decoded_request(**changes)
    request: Any
    try:
        request = parse_request(csr.spec.request)
    except MalformedRequest as error:
        request = error
    world: dict[str, Any] = {
        "cluster": make.cluster(),
        "addon": make.addon(),
        "cluster_management_addon": make.cluster_management_addon(),
    } | (facts or {})
    return decide(Input(csr=csr, request=request, **world), Retention(), NOW + later)


def test_an_honest_request_is_approved_then_issued_then_removed() -> None:
    assert decided() == Approve()
    assert decided(status=APPROVED) == Issue()
    assert decided(status=ISSUED) == Leave(NOW + MINUTE)
    assert decided(status=ISSUED, later=MINUTE) == Remove()


def test_the_api_servers_signer_is_left_to_sign_what_was_approved() -> None:
    assert decided(**AGENT) == Approve()
    assert decided(**AGENT, status=APPROVED) == Leave()
    assert decided(**AGENT, status=ISSUED, later=MINUTE) == Remove()


def test_a_hostile_request_is_denied_and_soon_removed_so_that_the_klusterlet_can_go_on() -> None:
    match decided(usages=["server auth"]):
        case Deny(refusal=refusal):
            assert refusal.reason is CertificateReason.USAGE
        case other:
            pytest.fail(str(other))
    denied = {"conditions": [make.condition("Denied", "Usage")]}
    assert decided(usages=["server auth"], status=denied) == Leave(NOW + MINUTE)
    assert decided(usages=["server auth"], status=denied, later=MINUTE) == Remove()


def test_fails_and_removes_a_request_approved_against_the_policy() -> None:
    match decided(usages=["server auth"], status=APPROVED):
        case Fail(refusal=refusal):
            assert refusal.reason is CertificateReason.USAGE
        case other:
            pytest.fail(str(other))
    failed = {"conditions": [make.condition("Approved"), make.condition("Failed", "Usage")]}
    assert decided(usages=["server auth"], status=failed, later=MINUTE) == Remove()


def test_an_administrators_denial_stands() -> None:
    denied = {"conditions": [make.condition("Denied", "KubectlDeny")]}

    assert decided(status=denied, later=timedelta(days=1)) == Leave()


@pytest.mark.parametrize("status", [{}, APPROVED], ids=["pending", "approved by another"])
def test_an_early_request_waits_for_the_hub_and_is_removed_when_it_waits_too_long(status: dict[str, Any]) -> None:
    facts = {"cluster": make.cluster(accepted=False)}

    match decided(facts=facts, status=status):
        case Wait(refusal=refusal, until=until):
            assert refusal.reason is CertificateReason.CLUSTER_NOT_ACCEPTED
            assert until == NOW + 60 * MINUTE
        case other:
            pytest.fail(str(other))
    assert decided(facts=facts, status=status, later=60 * MINUTE) == Remove()


@pytest.mark.parametrize(
    "status",
    [{}, {"conditions": [make.condition("Denied", "Usage")]}, ISSUED],
    ids=["pending", "denied", "issued"],
)
def test_only_reports_a_request_for_another_signer(status: dict[str, Any]) -> None:
    decision = decided(signerName="example.org/any", status=status, later=timedelta(days=1))

    assert isinstance(decision, Wait | Leave)
    assert getattr(decision, "until", None) is None


def test_a_request_that_is_being_deleted_is_left_alone() -> None:
    csr = make.signing_request()
    csr["metadata"]["deletionTimestamp"] = "2030-01-01T12:00:00Z"
    deleting = msgspec.convert(csr, CertificateSigningRequest)

    assert decide(Input(deleting, MalformedRequest(""), None, None, None), Retention(), NOW) == Leave()


def test_a_request_for_another_signer_goes_when_its_maker_is_not_the_cluster_whose_label_it_bears() -> None:
    """Klusterlets count by label, and stop at ten: c2 must not be able to stop c1."""
    theirs = make.signing_request("c2")["spec"]
    flood = {"signerName": "example.org/other", "username": theirs["username"], "groups": theirs["groups"]}

    assert isinstance(decided(**flood), Wait)
    assert decided(**flood, later=MINUTE) == Remove()
    assert isinstance(decided(signerName="example.org/other", later=timedelta(hours=2)), Wait)
