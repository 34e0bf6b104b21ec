"""Which datasets a site publishes, and what their administrators read of the others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from federation.api.ocm.claims import DATASET_CLAIMS, datasets_in
from spoke_agent.claims.planning.datasets import Publication, publish, published_condition
from spoke_agent.claims.planning.validation import DatasetReason, dataset_refusal
from tests.support.builders.site_objects import DIGEST, dataset, policy

NOW = datetime(2030, 6, 1, tzinfo=UTC)


def published(*datasets: Any, present: dict[str, str] | None = None, barred: tuple[str, ...] = ()) -> Publication:
    return publish(datasets, present=present or {}, barred=barred, now=NOW)


def test_publishes_the_name_and_the_attributes_and_nothing_of_volume_or_policy() -> None:
    attributes = {"rows": 60000, "schemaDigest": DIGEST, "labels": {"modality": "image"}}
    secretive = {"hostPath": {"path": "/srv/patients"}}

    result = published(dataset("mnist", spec={"attributes": attributes, "volume": secretive}))

    assert result.claims == {
        DATASET_CLAIMS[0]: '{"mnist":{"rows":60000,"schema":"ab12cd34ef56","labels":{"modality":"image"}}}'
    }
    assert result.refusals == {}


@pytest.mark.parametrize(
    ("spec", "reason", "remedy"),
    [
        pytest.param({"volume": {}}, DatasetReason.INVALID_VOLUME, "exactly one", id="no source"),
        pytest.param(
            {"volume": {"configMap": {"name": "a"}, "secret": {"secretName": "b"}}},
            DatasetReason.INVALID_VOLUME,
            "exactly one",
            id="two sources",
        ),
        pytest.param(
            {"volume": {"hostPath": {"path": "srv"}}}, DatasetReason.INVALID_VOLUME, "absolute", id="relative path"
        ),
        pytest.param(
            {"volume": {"hostPath": {"path": "/srv/../etc"}}},
            DatasetReason.INVALID_VOLUME,
            "absolute",
            id="path upwards",
        ),
        pytest.param(
            {"volume": {"configMap": {"name": "a"}, "subPath": "../b"}},
            DatasetReason.INVALID_VOLUME,
            "relative path",
            id="subPath upwards",
        ),
        pytest.param(
            {"volume": {"configMap": {"name": "a"}, "subPath": "/b"}},
            DatasetReason.INVALID_VOLUME,
            "relative path",
            id="absolute subPath",
        ),
        pytest.param(
            {"volume": {"persistentVolumeClaim": {}}}, DatasetReason.INVALID_VOLUME, "name the", id="nameless claim"
        ),
        pytest.param({"volume": {"csi": {}}}, DatasetReason.INVALID_VOLUME, "name the", id="no CSI driver"),
        pytest.param({"attributes": {"rows": -1}}, DatasetReason.INVALID_ATTRIBUTES, "rows", id="negative rows"),
        pytest.param({"attributes": {"rows": 2**53 + 1}}, DatasetReason.INVALID_ATTRIBUTES, "rows", id="inexact rows"),
        pytest.param(
            {"attributes": {"schemaDigest": "sha256:ab"}}, DatasetReason.INVALID_ATTRIBUTES, "64", id="short digest"
        ),
        pytest.param(
            {"attributes": {"labels": {"a": 'x" || true'}}},
            DatasetReason.INVALID_ATTRIBUTES,
            "letters",
            id="label value",
        ),
        pytest.param(
            {"attributes": {"labels": {"": "x"}}}, DatasetReason.INVALID_ATTRIBUTES, "letters", id="label key"
        ),
        pytest.param(
            {"attributes": {"labels": {f"k{n}": "v" for n in range(9)}}},
            DatasetReason.INVALID_ATTRIBUTES,
            "at most 8",
            id="many labels",
        ),
        pytest.param({"policy": policy(runs=[])}, DatasetReason.INVALID_POLICY, "runs", id="nobody may"),
        pytest.param({"policy": policy(runs=[{"name": "a"}])}, DatasetReason.INVALID_POLICY, "runs", id="no namespace"),
        pytest.param({"policy": policy(images=[])}, DatasetReason.INVALID_POLICY, "images", id="no image"),
        pytest.param(
            {"policy": policy(images=["registry.example/fl"])},
            DatasetReason.INVALID_POLICY,
            "images",
            id="open-ended prefix",
        ),
        pytest.param(
            {"policy": policy(images=["registry.example/fl:v1"])},
            DatasetReason.INVALID_POLICY,
            "images",
            id="image by tag",
        ),
        pytest.param({"policy": policy(approval="Maybe")}, DatasetReason.INVALID_POLICY, "approval", id="approval"),
        pytest.param({"policy": policy(expiresAt="soon")}, DatasetReason.INVALID_POLICY, "expiresAt", id="no time"),
        pytest.param(
            {"policy": policy(expiresAt="2031-01-01T00:00:00")}, DatasetReason.INVALID_POLICY, "offset", id="no offset"
        ),
        pytest.param(
            {"policy": policy(expiresAt="2030-06-01T00:00:00Z")}, DatasetReason.EXPIRED, "has passed", id="expired now"
        ),
        pytest.param(
            {"policy": policy(expiresAt="2030-06-01T01:59:59+02:00")},
            DatasetReason.EXPIRED,
            "has passed",
            id="expired by zone",
        ),
    ],
)
def test_rejects_an_invalid_dataset_with_reason_and_remedy(
    spec: dict[str, Any], reason: DatasetReason, remedy: str
) -> None:
    unsound = dataset("bad", spec=spec, generation=3)

    result = published(unsound, dataset("good"))

    assert datasets_in(result.claims).keys() == {"good"}
    assert result.refusals.keys() == {"bad"}
    condition = published_condition(unsound, result.refusals["bad"])
    assert (condition.type, condition.status, condition.reason) == ("Published", "False", reason)
    assert remedy in condition.message
    assert condition.observed_generation == 3


@pytest.mark.parametrize(
    "spec",
    [
        {"volume": {"hostPath": {"path": "/srv/data"}, "subPath": "2030/train"}},
        {"volume": {"configMap": {"name": "digits"}}},
        {"volume": {"secret": {"secretName": "bucket"}}},
        {"volume": {"csi": {"driver": "nfs.csi.k8s.io", "volumeAttributes": {"server": "nas"}}}},
        {"attributes": {}},
        {"attributes": {"rows": 0, "labels": {"region": ""}}},
        {"policy": policy(images=[f"registry.example:5000/fl/train@{DIGEST}"], approval="Automatic")},
        {"policy": policy(expiresAt="2030-06-01T00:00:01Z")},
    ],
)
def test_every_sound_form_is_published(spec: dict[str, Any]) -> None:
    assert dataset_refusal(dataset(spec=spec), NOW) is None


def test_a_name_with_a_dot_and_a_deletion_under_way_are_kept_back() -> None:
    result = published(dataset("a.b"), dataset("going", deletionTimestamp="2030-06-01T00:00:00Z"))

    assert {name: refusal.reason for name, refusal in result.refusals.items()} == {
        "a.b": DatasetReason.INVALID_NAME,
        "going": DatasetReason.DELETING,
    }
    assert result.claims == {}


def test_the_next_expiry_is_when_it_is_due_again() -> None:
    soon, later = NOW + timedelta(hours=1), NOW + timedelta(days=1)
    past = NOW - timedelta(days=1)

    result = published(
        *(dataset(f"d{n}", spec={"policy": policy(expiresAt=t.isoformat())}) for n, t in enumerate([later, soon, past]))
    )

    assert result.due == soon
    assert published(dataset()).due is None


def test_full_claims_keep_the_older_datasets_and_reject_the_new_one() -> None:
    old = [dataset(f"{n:060d}", creationTimestamp="2030-01-01T00:00:00Z") for n in range(104)]
    newcomer = dataset("a" * 60, creationTimestamp="2030-02-01T00:00:00Z")

    full = published(*old)
    result = published(newcomer, *old, present=dict(full.claims))

    assert len(full.claims) == len(DATASET_CLAIMS)
    assert full.refusals == {}
    assert result.claims == full.claims
    assert result.refusals[newcomer.metadata.name].reason == DatasetReason.NO_ROOM


def test_when_nothing_was_published_yet_age_decides_and_not_the_name() -> None:
    newer = dataset("0" * 60, creationTimestamp="2030-02-01T00:00:00Z")
    older = [dataset(f"{n:060d}", creationTimestamp="2030-01-01T00:00:00Z") for n in range(1, 105)]

    assert published(newer, *older).refusals.keys() == {newer.metadata.name}


def test_a_claim_that_is_anothers_is_gone_around() -> None:
    result = published(dataset(), barred=(DATASET_CLAIMS[0],))

    assert list(result.claims) == [DATASET_CLAIMS[1]]


def test_a_published_dataset_reads_so() -> None:
    condition = published_condition(dataset(), None)

    assert (condition.status, condition.reason) == ("True", "Claimed")
