"""The requests that the policies grant, and every refusal by its reason."""

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.api.identity import (
    ADDON_LABEL,
    ADDON_NAME,
    CLUSTER_LABEL,
    COLLABORATOR_SIGNER,
    KUBE_CLIENT_SIGNER,
    Subject,
    agent_subject,
    collaborator_subject,
    dns_name,
)
from federation.api.ocm.addon import ManagedClusterAddOn
from federation.pki.csr import MalformedRequest, Request, parse_request
from hub_manager.certificates.requests.policy import Input, RequestRules, concerns_us, refusal_of
from hub_manager.certificates.requests.refusal import CertificateReason
from hub_manager.certificates.requests.requester import GRPC_SERVER, USER_ANNOTATION, Drivers
from tests.support.builders import csr as make

LABELS = {CLUSTER_LABEL: "c1", ADDON_LABEL: ADDON_NAME}
OWN = Subject(user="c1", groups=("federated-learning",))


def known(changes: dict[str, Any] | None = None, of: str = "c1", **facts: Any) -> Input:
    csr = make.decoded_request(of, **(changes or {}))
    request: Request | MalformedRequest
    try:
        request = parse_request(csr.spec.request)
    except MalformedRequest as error:
        request = error
    name = csr.metadata.labels.get(CLUSTER_LABEL, "")
    world = {
        "cluster": make.cluster(name),
        "addon": make.addon(name),
        "cluster_management_addon": make.cluster_management_addon(),
    } | facts
    return Input(csr=csr, request=request, **world)


def agent_request(cluster: str = "c1", **changes: Any) -> dict[str, Any]:
    subject = changes.pop("subject", agent_subject(cluster))
    return {"signerName": KUBE_CLIENT_SIGNER, "request": make.request_pem(subject), **changes}


def asking(**changes: Any) -> dict[str, Any]:
    """A request whose PKCS #10 part differs."""
    return {"request": make.request_pem(**changes)}


@pytest.mark.parametrize("cluster", ["c1", "c10", "edge-site-7", "x" * 63])
def test_grants_the_honest_klusterlet_both_certificates(cluster: str) -> None:
    assert refusal_of(known(of=cluster)) is None
    assert refusal_of(known(agent_request(cluster), of=cluster)) is None


def test_grants_a_request_made_by_go_with_both_organisations_in_one_name() -> None:
    assert refusal_of(known(agent_request(request=make.MADE_BY_GO))) is None


HOSTILE: dict[str, tuple[dict[str, Any], CertificateReason]] = {
    "a request for another cluster": (
        {
            "labels": LABELS | {CLUSTER_LABEL: "c2"},
            "name": f"addon-c2-{ADDON_NAME}-aaaaa",
            **asking(subject=collaborator_subject("c2")),
        },
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "c10 that asks for c1": (
        {
            "username": "system:open-cluster-management:c10:agent1",
            "groups": ["system:open-cluster-management:c10", "system:open-cluster-management:managed-clusters"],
        },
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "another cluster's subject under its own labels": (
        asking(subject=collaborator_subject("c10")),
        CertificateReason.COMMON_NAME_MISMATCH,
    ),
    "an extra organisation": (
        asking(subject=Subject("c1", ("federated-learning", "system:masters"))),
        CertificateReason.ORGANIZATION_MISMATCH,
    ),
    "no organisation": (asking(subject=Subject("c1", ())), CertificateReason.ORGANIZATION_MISMATCH),
    "another common name": (asking(subject=Subject("aggregator", OWN.groups)), CertificateReason.COMMON_NAME_MISMATCH),
    "a second common name": (
        asking(attributes={x509.ObjectIdentifier("2.5.4.3"): "c2"}),
        CertificateReason.COMMON_NAME_MISMATCH,
    ),
    "an organisational unit": (
        asking(subject=Subject("c1", OWN.groups, ("aggregator",))),
        CertificateReason.SUBJECT_ATTRIBUTE,
    ),
    "a serial number in the subject": (
        asking(attributes={NameOID.SERIAL_NUMBER: "1"}),
        CertificateReason.SUBJECT_ATTRIBUTE,
    ),
    "another DNS name": (
        asking(names=[x509.DNSName(dns_name()), x509.DNSName("aggregator.example.org")]),
        CertificateReason.ALTERNATIVE_NAME,
    ),
    "an IP address": (
        asking(names=[x509.IPAddress(ip_address("192.0.2.1"))]),
        CertificateReason.ALTERNATIVE_NAME,
    ),
    "a URI": (asking(names=[x509.UniformResourceIdentifier("spiffe://a/b")]), CertificateReason.ALTERNATIVE_NAME),
    "an e-mail address": (asking(names=[x509.RFC822Name("root@example.org")]), CertificateReason.ALTERNATIVE_NAME),
    "serverAuth among the usages": ({"usages": ["client auth", "server auth"]}, CertificateReason.USAGE),
    "serverAuth alone": ({"usages": ["server auth"]}, CertificateReason.USAGE),
    "no usage at all": ({"usages": []}, CertificateReason.USAGE),
    "serverAuth inside the request": (
        asking(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]),
        CertificateReason.EXTENSION,
    ),
    "an authority inside the request": (
        asking(extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
        CertificateReason.EXTENSION,
    ),
    "a challenge password": (asking(challenge=b"letmein"), CertificateReason.EXTENSION),
    "another signer": ({"signerName": "example.org/any"}, CertificateReason.FOREIGN_SIGNER),
    "an RSA-1024 key": (asking(key="rsa1024"), CertificateReason.KEY_UNACCEPTABLE),
    "a P-224 key": (asking(key="p224"), CertificateReason.KEY_UNACCEPTABLE),
    "a broken self-signature": (asking(break_signature=True), CertificateReason.SIGNATURE_INVALID),
    "no request at all": ({"request": b"hello"}, CertificateReason.REQUEST_MALFORMED),
    "a name of another add-on": ({"name": "addon-c1-other-aaaaa"}, CertificateReason.NAME_MISMATCH),
    "a name of a longer cluster": ({"name": f"addon-c10-{ADDON_NAME}-aaaaa"}, CertificateReason.NAME_MISMATCH),
    "no labels": ({"labels": {}}, CertificateReason.LABEL_MISMATCH),
    "another add-on's label": ({"labels": LABELS | {ADDON_LABEL: "other"}}, CertificateReason.LABEL_MISMATCH),
    "a cluster that is no label": ({"labels": LABELS | {CLUSTER_LABEL: "c1.c2"}}, CertificateReason.LABEL_MISMATCH),
    "a bootstrap token": (
        {"username": "system:bootstrap:abcdef", "groups": ["system:bootstrappers"]},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "the agent of an add-on": (
        {"username": "system:open-cluster-management:cluster:c1:addon:x:agent:y"},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "a user without an agent's name": (
        {"username": "system:open-cluster-management:c1:"},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "a user without the cluster's group": (
        {"groups": ["system:authenticated"]},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "a member of two clusters": (
        {"groups": ["system:open-cluster-management:c1", "system:open-cluster-management:c10"]},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "the gRPC server's annotation by somebody else": (
        {"username": "eve", "annotations": {USER_ANNOTATION: "system:open-cluster-management:c1:agent1"}},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "the gRPC server for another cluster": (
        {"username": GRPC_SERVER, "annotations": {USER_ANNOTATION: "system:open-cluster-management:c10:agent1"}},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "the gRPC server without annotation": ({"username": GRPC_SERVER}, CertificateReason.REQUESTER_NOT_CLUSTER),
    "an AWS role nobody opted in to": (
        {"username": "c1", "groups": ["open-cluster-management:c1"]},
        CertificateReason.REQUESTER_NOT_CLUSTER,
    ),
    "years of life from the API server's signer": (
        agent_request(expirationSeconds=31_536_001),
        CertificateReason.EXPIRY,
    ),
    "a collaborator's subject from the API server's signer": (
        agent_request(subject=OWN),
        CertificateReason.COMMON_NAME_MISMATCH,
    ),
    "masters from the API server's signer": (
        agent_request(subject=Subject(agent_subject("c1").user, (*agent_subject("c1").groups, "system:masters"))),
        CertificateReason.ORGANIZATION_MISMATCH,
    ),
    "an agent's subject from the collaborators' signer": (
        asking(subject=agent_subject("c1")),
        CertificateReason.COMMON_NAME_MISMATCH,
    ),
}


@pytest.mark.parametrize(("changes", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_refuses_for_good(changes: dict[str, Any], reason: CertificateReason) -> None:
    refusal = refusal_of(known(changes))

    assert refusal is not None
    assert refusal.reason is reason
    assert refusal.reason.lasting


FACTS: dict[str, tuple[dict[str, Any], CertificateReason]] = {
    "a cluster that is not there": ({"cluster": None}, CertificateReason.CLUSTER_UNKNOWN),
    "another cluster's facts": ({"cluster": make.cluster("c10")}, CertificateReason.CLUSTER_UNKNOWN),
    "a cluster that is being removed": ({"cluster": make.cluster(deleting=True)}, CertificateReason.CLUSTER_LEAVING),
    "a cluster that nobody accepted": (
        {"cluster": make.cluster(accepted=False)},
        CertificateReason.CLUSTER_NOT_ACCEPTED,
    ),
    "an add-on that is not enabled": ({"addon": None}, CertificateReason.ADDON_NOT_ENABLED),
    "another cluster's add-on": ({"addon": make.addon("c10")}, CertificateReason.ADDON_NOT_ENABLED),
    "an add-on that is being removed": ({"addon": make.addon(deleting=True)}, CertificateReason.ADDON_LEAVING),
    "an add-on without its owner": ({"addon": make.addon(owned=False)}, CertificateReason.ADDON_NOT_OWNED),
    "an add-on of no fleet": ({"cluster_management_addon": None}, CertificateReason.ADDON_NOT_OWNED),
    "no registration yet": ({"addon": make.addon(signers=())}, CertificateReason.SIGNER_NOT_REGISTERED),
    "a registration of the other signer alone": (
        {"addon": make.addon(signers=[KUBE_CLIENT_SIGNER])},
        CertificateReason.SIGNER_NOT_REGISTERED,
    ),
}


@pytest.mark.parametrize(("facts", "reason"), FACTS.values(), ids=FACTS)
def test_refuses_until_the_hub_changes(facts: dict[str, Any], reason: CertificateReason) -> None:
    refusal = refusal_of(known(**facts))

    assert refusal is not None
    assert refusal.reason is reason
    assert not refusal.reason.lasting


def test_refuses_the_eleventh_request_of_a_cluster() -> None:
    assert refusal_of(known(earlier=9)) is None
    refusal = refusal_of(known(earlier=10))

    assert refusal is not None
    assert refusal.reason is CertificateReason.TOO_MANY_REQUESTS


def test_a_registration_rewritten_by_the_spoke_changes_no_expected_subject() -> None:
    rewritten = {"signerName": COLLABORATOR_SIGNER, "subject": {"user": "evil", "groups": ["admins"]}}
    body = make.addon_object() | {"status": {"registrations": [rewritten]}}
    addon = msgspec.convert(body, ManagedClusterAddOn)

    refusal = refusal_of(known(asking(subject=Subject("evil", ("admins",))), addon=addon))

    assert refusal is not None
    assert refusal.reason is CertificateReason.COMMON_NAME_MISMATCH
    assert refusal_of(known(addon=addon)) is None


@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048", "ed25519"])
def test_grants_sound_keys(key: str) -> None:
    assert refusal_of(known(asking(key=key))) is None


@pytest.mark.parametrize("names", [(), (x509.DNSName(dns_name()),)], ids=["none", "the klusterlet's"])
def test_grants_the_klusterlets_name_or_none(names: tuple[x509.GeneralName, ...]) -> None:
    assert refusal_of(known(asking(names=names))) is None


def test_grants_a_year_because_clusteradm_asks_for_one() -> None:
    assert refusal_of(known({"expirationSeconds": 31_536_000})) is None
    assert refusal_of(known(agent_request(expirationSeconds=31_536_000))) is None


def test_grants_what_the_grpc_server_notes_of_the_cluster() -> None:
    noted = {USER_ANNOTATION: "system:open-cluster-management:c1:agent1"}
    changes = {"username": GRPC_SERVER, "groups": ["system:serviceaccounts"], "annotations": noted}

    assert refusal_of(known(changes)) is None
    assert refusal_of(known(changes, rules=RequestRules(drivers=Drivers(grpc_server="")))) is not None


@pytest.mark.parametrize(
    ("group", "granted"), [("open-cluster-management:c1", True), ("open-cluster-management:c10", False)]
)
def test_grants_an_aws_role_on_opt_in_by_its_own_group_alone(group: str, *, granted: bool) -> None:
    changes = {"username": "c1", "groups": [group, "system:authenticated"]}

    assert (refusal_of(known(changes, rules=RequestRules(drivers=Drivers(aws=True)))) is None) is granted


def test_a_long_cluster_name_is_recognised_though_the_server_cuts_generated_names() -> None:
    name = "c" * 50
    cut = f"addon-{name}-{ADDON_NAME}-"[:58] + "abcde"

    assert refusal_of(known({"name": cut}, of=name)) is None


def test_passes_over_requests_of_other_signers_and_other_addons() -> None:
    assert not concerns_us(make.decoded_request(signerName=KUBE_CLIENT_SIGNER, labels={CLUSTER_LABEL: "c1"}))
    assert not concerns_us(make.decoded_request(signerName="example.org/any", labels={ADDON_LABEL: "other"}))
    assert concerns_us(make.decoded_request(labels={}))
    assert concerns_us(make.decoded_request(signerName="example.org/any"))


def test_a_strangers_text_is_escaped_and_cut_in_the_message() -> None:
    refusal = refusal_of(known({"username": "eve\n" + "x" * 5000}))

    assert refusal is not None
    assert "\n" not in refusal.message
    assert len(refusal.message) < 400
