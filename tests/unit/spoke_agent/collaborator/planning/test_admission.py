"""Whether a site takes part: every refusal by its reason, and whose approval counts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from federation.api.collaborator import APPROVAL_PREFIX, APPROVED
from spoke_agent.collaborator.planning.admission import (
    AdmissionReason,
    RequestAccepted,
    RequestPending,
    RequestRejected,
    approval_of,
    matches,
    review_request,
)
from tests.support.builders.collaborator_objects import AGGREGATOR, RUN, collaborator, open_dataset

NOW = datetime(2030, 6, 1, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


def test_accepts_what_meets_every_term() -> None:
    verdict = review_request(collaborator(), open_dataset(expiresAt="2030-06-02T00:00:00Z"), NOW)

    assert isinstance(verdict, RequestAccepted)
    assert verdict.until == datetime(2030, 6, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "reason", "words"),
    [
        ({"name": "a.b"}, AdmissionReason.INVALID_NAME, "metadata.name"),
        ({"run": {**RUN, "name": "a.b"}}, AdmissionReason.INVALID_RUN, "spec.run"),
        ({"run": {**RUN, "namespace": ""}}, AdmissionReason.INVALID_RUN, "spec.run"),
        ({"run": {**RUN, "uid": ""}}, AdmissionReason.INVALID_RUN, "uid"),
        ({"run": {**RUN, "id": "a\nb"}}, AdmissionReason.INVALID_RUN, "id"),
        ({"image": "digits:1"}, AdmissionReason.INVALID_IMAGE, "REGISTRY/PATH"),
        ({"image": "registry.example/fl/../evil/x"}, AdmissionReason.INVALID_IMAGE, "REGISTRY/PATH"),
        ({"env": [{"name": "1A"}]}, AdmissionReason.INVALID_ENVIRONMENT, "letters, digits"),
        ({"env": [{"name": "FL_DATA", "value": "/"}]}, AdmissionReason.INVALID_ENVIRONMENT, "another prefix"),
        ({"env": [{"name": "A"}, {"name": "A"}]}, AdmissionReason.INVALID_ENVIRONMENT, "once"),
        ({"plan": {}}, AdmissionReason.INVALID_PLAN, "either file or text"),
        ({"plan": {"file": "a", "text": "b"}}, AdmissionReason.INVALID_PLAN, "either file or text"),
        ({"plan": {"file": "/data/plan.yaml"}}, AdmissionReason.INVALID_PLAN, "relative path"),
        ({"plan": {"file": "plan/../../tls/tls.key"}}, AdmissionReason.INVALID_PLAN, "without '..'"),
        ({"plan": {"text": "é" * (64 * 1024) + "x"}}, AdmissionReason.INVALID_PLAN, "131072 bytes"),
        ({"resources": {"requests": {"cpu": "much"}}}, AdmissionReason.INVALID_RESOURCES, "no quantity"),
        ({"resources": {"limits": {"cpu": "-1"}}}, AdmissionReason.INVALID_RESOURCES, "at least 0"),
        ({"resources": {"limits": {"a b": "1"}}}, AdmissionReason.INVALID_RESOURCES, "valid resource name"),
        (
            {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1"}}},
            AdmissionReason.INVALID_RESOURCES,
            "at most the limit",
        ),
        ({"aggregator": {"addresses": []}}, AdmissionReason.INVALID_AGGREGATOR, "set an address"),
        ({"aggregator": {"addresses": ["169.254.169.254:80"]}}, AdmissionReason.INVALID_AGGREGATOR, "outside"),
        ({"aggregator": {**AGGREGATOR, "patienceSeconds": 0}}, AdmissionReason.INVALID_AGGREGATOR, "patienceSeconds"),
        ({"activeDeadlineSeconds": 0}, AdmissionReason.INVALID_AGGREGATOR, "activeDeadlineSeconds"),
    ],
)
def test_rejects_an_invalid_request_under_any_policy(
    asked: dict[str, Any], reason: AdmissionReason, words: str
) -> None:
    verdict = review_request(collaborator(**asked), open_dataset(runs=[{"namespace": "*"}]), NOW)

    assert isinstance(verdict, RequestRejected)
    assert verdict.reason == reason
    assert words in verdict.message


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"expiresAt": "2030-06-01T00:00:00Z"}, AdmissionReason.DATASET_EXPIRED),
        ({"runs": []}, AdmissionReason.DATASET_NOT_OFFERED),
        ({"runs": [{"namespace": "research-b"}]}, AdmissionReason.RUN_NOT_ALLOWED),
        ({"runs": [{"namespace": "research-*", "name": "mnist"}]}, AdmissionReason.RUN_NOT_ALLOWED),
        ({"runs": [{"namespace": "x", "name": "digits"}, {"namespace": "research-a", "name": "x"}]}, "RunNotAllowed"),
        ({"images": ["registry.example/other/"]}, AdmissionReason.IMAGE_NOT_ALLOWED),
        ({"images": [f"registry.example/fl/digits@{DIGEST}"]}, AdmissionReason.IMAGE_NOT_ALLOWED),
    ],
)
def test_refuses_what_the_terms_do_not_admit(terms: dict[str, Any], reason: str) -> None:
    verdict = review_request(collaborator(), open_dataset(**terms), NOW)

    assert isinstance(verdict, RequestRejected)
    assert verdict.reason == reason


def test_refuses_a_dataset_that_the_site_does_not_have() -> None:
    verdict = review_request(collaborator(), None, NOW)

    assert verdict == RequestRejected(
        AdmissionReason.DATASET_NOT_FOUND, "the site has no Dataset 'mnist' in the add-on's namespace"
    )


def test_a_refusal_does_not_tell_the_hub_the_terms() -> None:
    terms = {"runs": [{"namespace": "secret-project"}], "images": ["registry.internal/secret/"]}

    verdict = review_request(collaborator(), open_dataset(**terms), NOW)

    assert isinstance(verdict, RequestRejected)
    assert "secret" not in verdict.message


def test_waits_for_approval_and_reports_the_command() -> None:
    asked = collaborator()

    verdict = review_request(asked, open_dataset(approval="Manual"), NOW)

    assert isinstance(verdict, RequestPending)
    assert verdict.approval == approval_of(asked)
    command = f"kubectl annotate dataset mnist --namespace agent {APPROVAL_PREFIX}{verdict.approval}=approved"
    assert verdict.message.endswith(command)


def test_accepts_what_someone_at_the_site_has_approved() -> None:
    asked = collaborator()
    approval = {APPROVAL_PREFIX + approval_of(asked): APPROVED}

    assert isinstance(
        review_request(asked, open_dataset(approval="Manual", annotations=approval), NOW), RequestAccepted
    )


@pytest.mark.parametrize("value", ["", "false", "Approved"])
def test_an_annotation_with_another_value_does_not_approve(value: str) -> None:
    asked = collaborator()
    annotations = {APPROVAL_PREFIX + approval_of(asked): value}

    assert isinstance(
        review_request(asked, open_dataset(approval="Manual", annotations=annotations), NOW), RequestPending
    )


def test_an_approval_on_the_hubs_own_object_counts_for_nothing() -> None:
    asked = collaborator()
    annotations = {APPROVAL_PREFIX + approval_of(asked): APPROVED}
    forged = collaborator(metadata={"annotations": annotations}, status={"approval": approval_of(asked)})

    assert isinstance(review_request(forged, open_dataset(approval="Manual"), NOW), RequestPending)


@pytest.mark.parametrize(
    "changed",
    [
        {"image": "registry.example/fl/other:1"},
        {"args": ["--dump"]},
        {"env": [{"name": "A", "value": "b"}]},
        {"framework": "flower"},
        {"plan": {"file": "plan/other.yaml"}},
        {"plan": {"text": "tasks: {}"}},
        {"resources": {"requests": {"nvidia.com/gpu": "8"}}},
        {"run": {**RUN, "uid": "another"}},
        {"dataset": "other"},
    ],
)
def test_an_approval_ends_when_what_would_run_changes(changed: dict[str, Any]) -> None:
    approval = {APPROVAL_PREFIX + approval_of(collaborator()): APPROVED}
    dataset = open_dataset(approval="Manual", annotations=approval)

    assert isinstance(review_request(collaborator(**changed), dataset, NOW), RequestPending)


def test_an_approval_is_of_one_text_of_the_plan_alone() -> None:
    approved = collaborator(plan={"text": "epochs: 1"})
    approval = {APPROVAL_PREFIX + approval_of(approved): APPROVED}
    dataset = open_dataset(approval="Manual", annotations=approval)

    assert isinstance(review_request(approved, dataset, NOW), RequestAccepted)
    assert isinstance(review_request(collaborator(plan={"text": "epochs: 2"}), dataset, NOW), RequestPending)
    assert isinstance(review_request(collaborator(), dataset, NOW), RequestPending)


def test_a_request_without_a_plan_keeps_the_approval_that_it_had_before_there_were_plans() -> None:
    assert approval_of(collaborator()) == "f79a3459f9af4794b202f06962b2760d"


@pytest.mark.parametrize(
    "changed",
    [{"name": "fl-digits-2"}, {"aggregator": None}, {"run": {**RUN, "id": "run-uid-2"}}, {"activeDeadlineSeconds": 9}],
)
def test_an_approval_outlives_another_attempt_and_another_address(changed: dict[str, Any]) -> None:
    assert approval_of(collaborator(**changed)) == approval_of(collaborator())


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("*", "", True),
        ("a*", "a", True),
        ("a*b", "ab", True),
        ("ab*b", "ab", False),
        ("a*a", "a", False),
        ("*b*", "abc", True),
        ("a*b*c", "a-c-b", False),
        ("a*b*c", "abbc", True),
        ("a.c", "abc", False),
        ("a?", "ab", False),
        ("[ab]", "a", False),
        ("research-*", "xresearch-a", False),
        ("*-a*a", "b-a", False),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_does(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected
