"""No cluster obtains another's identity, whatever it writes into its request."""

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from federation.api.identity import (
    ADDON_LABEL,
    ADDON_NAME,
    CLUSTER_LABEL,
    COLLABORATOR_SIGNER,
    KUBE_CLIENT_SIGNER,
    Subject,
    agent_subject,
    collaborator_subject,
)
from federation.pki.csr import parse_request
from federation.pki.names import collaborator_of
from hub_manager.certificates.requests.policy import Input, refusal_of
from hub_manager.certificates.signer.issuing import CertificateLifetime, issue, validity
from tests.support.builders import csr as make
from tests.support.builders.authorities import authority

# Names that are prefixes of each other, hold the separators of user names and DNS, or are as long as names get.
CLUSTERS = st.sampled_from(
    ["c1", "c10", "c1-0", "c", "c1-federated-learning", "cluster", "managed-clusters", "c1.c2", "x" * 63, "x" * 65]
) | st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
TEXTS = CLUSTERS | st.sampled_from(["c1:agent", "c1:", ":c1", "C1", "c1 ", "*", "federated-learning"])
SIGNERS = st.sampled_from([COLLABORATOR_SIGNER, KUBE_CLIENT_SIGNER])


@st.composite
def subjects(draw: st.DrawFn, attacker: str, victim: str) -> Subject:
    user = draw(st.sampled_from([attacker, victim, agent_subject(attacker).user, agent_subject(victim).user]) | TEXTS)
    groups = st.sampled_from(
        ["federated-learning", *agent_subject(attacker).groups, *agent_subject(victim).groups, "system:masters"]
    )
    return Subject(user, tuple(draw(st.lists(groups, max_size=4))), tuple(draw(st.lists(TEXTS, max_size=1))))


@st.composite
def attacks(draw: st.DrawFn) -> tuple[str, str, Subject, dict[str, Any]]:
    """The attacker, the victim, the subject asked for, and the rest of the request: all that an attacker can write."""
    attacker, victim = draw(CLUSTERS), draw(CLUSTERS)
    named = draw(st.sampled_from([attacker, victim]) | TEXTS)
    changes = {
        "labels": {CLUSTER_LABEL: draw(st.sampled_from([attacker, victim]) | TEXTS), ADDON_LABEL: ADDON_NAME},
        "annotations": {"open-cluster-management.io/csr-user": f"system:open-cluster-management:{victim}:agent1"},
        "name": f"addon-{named}-{ADDON_NAME}-"[: draw(st.sampled_from([58, 253]))] + "abcde",
        "signerName": draw(SIGNERS),
    }
    return attacker, victim, draw(subjects(attacker, victim)), changes


@settings(max_examples=300)
@given(attacks())
def test_a_granted_request_names_its_requester_and_nobody_else(
    attack: tuple[str, str, Subject, dict[str, Any]],
) -> None:
    attacker, _, subject, changes = attack
    csr = make.decoded_request(attacker, request=make.request_pem(subject), **changes)
    claimed = csr.metadata.labels[CLUSTER_LABEL]
    known = Input(
        csr=csr,
        request=parse_request(csr.spec.request),
        cluster=make.cluster(claimed),
        addon=make.addon(claimed),
        cluster_management_addon=make.cluster_management_addon(),
    )

    if refusal_of(known) is not None:
        return
    expected = {COLLABORATOR_SIGNER: collaborator_subject, KUBE_CLIENT_SIGNER: agent_subject}
    own = expected[csr.spec.signer_name](attacker)
    assert claimed == attacker
    assert (subject.user, set(subject.groups), subject.organization_units) == (own.user, set(own.groups), ())


@settings(max_examples=100)
@given(CLUSTERS.filter(lambda name: "." not in name and len(name) <= 63 and name != "managed-clusters"), SIGNERS)
def test_the_honest_request_is_granted_whatever_the_clusters_name(cluster: str, signer: str) -> None:
    subject = {COLLABORATOR_SIGNER: collaborator_subject, KUBE_CLIENT_SIGNER: agent_subject}[signer](cluster)
    csr = make.decoded_request(cluster, request=make.request_pem(subject), signerName=signer)

    refusal = refusal_of(
        Input(
            csr=csr,
            request=parse_request(csr.spec.request),
            cluster=make.cluster(cluster),
            addon=make.addon(cluster),
            cluster_management_addon=make.cluster_management_addon(),
        )
    )

    assert refusal is None


@settings(max_examples=50)
@given(CLUSTERS, subjects("c1", "c2"))
def test_the_issued_subject_depends_on_the_hubs_facts_alone(cluster: str, asked: Subject) -> None:
    assume("." not in cluster and len(cluster) <= 63)
    issuer = authority()
    request = parse_request(make.request_pem(asked))

    holding = validity(CertificateLifetime(), None, issuer.certificate, make.NOW)
    certificate = issue(issuer, make.cluster(cluster), request.key.der, serial=1 << 100, holding=holding)

    assert collaborator_of(certificate.subject) == cluster
