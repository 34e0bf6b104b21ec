"""The volume and the policy of a Dataset stay at the site, in every message."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from federation.api.collaborator import CollaboratorStatus
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, CollaboratorPodSpec
from spoke_agent.collaborator.planning import admission
from spoke_agent.collaborator.planning.job import dataset_source
from spoke_agent.collaborator.planning.redaction import REPLACEMENT, VolumeRedaction
from spoke_agent.collaborator.planning.status import CollaboratorReason, JobProblem, build_status
from tests.support.builders.collaborator_objects import (
    collaborator,
    failed_state,
    job_of,
    open_dataset,
    pod_of_job,
    told,
)

NOW = datetime(2030, 6, 1, tzinfo=UTC)
CLAIM = {"persistentVolumeClaim": {"claimName": "patients-oncology-2030"}}
SECRET = "patients-oncology-2030"
MISSING = f'persistentvolumeclaim "{SECRET}" not found'


def reported(*pods: CollaboratorPod, dataset: Dataset | None, problem: JobProblem | None = None) -> CollaboratorStatus:
    asked, offered = collaborator(), open_dataset(volume=CLAIM)
    job = None if problem else job_of(asked, offered)
    accepted = admission.RequestAccepted(offered, None)
    return build_status(asked, accepted, job, pods, NOW, dataset=dataset, problem=problem)


def waiting(reason: str) -> Any:
    return {"waiting": {"reason": reason, "message": MISSING}}


UNSCHEDULED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": MISSING}]


@pytest.mark.parametrize(
    "pod",
    [
        pod_of_job(conditions=UNSCHEDULED),
        pod_of_job(state=waiting("CreateContainerConfigError")),
        pod_of_job(phase="Failed", reason="Evicted", message=MISSING),
        pod_of_job(state=failed_state(MISSING, code=128, reason="StartError")),
    ],
    ids=["scheduler", "kubelet", "eviction", "container runtime"],
)
def test_others_words_reach_the_hub_without_the_volume(pod: CollaboratorPod) -> None:
    status = reported(pod, dataset=open_dataset(volume=CLAIM))

    said = msgspec.json.encode(status).decode()
    assert SECRET not in said
    assert REPLACEMENT in said


def test_a_refusal_of_the_api_server_reaches_the_hub_without_the_volume() -> None:
    status = reported(dataset=open_dataset(volume=CLAIM), problem=JobProblem(CollaboratorReason.JOB_REFUSED, MISSING))

    assert status.message == f'persistentvolumeclaim "{REPLACEMENT}" not found'


@pytest.mark.parametrize("dataset", [None, open_dataset()], ids=["gone", "over another volume"])
def test_a_volume_that_the_dataset_had_when_the_pod_was_made_is_withheld_too(dataset: Dataset | None) -> None:
    sources = [{"name": "dataset", **dataset_source(open_dataset(volume=CLAIM).spec.volume)}, {"name": "tls"}]
    spec = msgspec.convert({"volumes": sources}, CollaboratorPodSpec)
    pod = msgspec.structs.replace(pod_of_job(conditions=UNSCHEDULED), spec=spec)

    status = reported(pod, dataset=dataset)

    assert status.message == f'persistentvolumeclaim "{REPLACEMENT}" not found'


def test_messages_of_the_users_container_are_not_redacted() -> None:
    said = told(message=f"{SECRET} is no column", log="")

    status = reported(pod_of_job(state=failed_state(said)), dataset=open_dataset(volume=CLAIM))

    assert status.exit.message == f"{SECRET} is no column"


@pytest.mark.parametrize(
    ("volume", "words", "expected"),
    [
        ({"hostPath": {"path": "/srv/x/"}}, 'mount "/srv/x": no such file', f'mount "{REPLACEMENT}": no such file'),
        ({"hostPath": {"path": "/srv/x"}, "subPath": "2030/a"}, "/srv/x/2030/a", f"{REPLACEMENT}/{REPLACEMENT}"),
        ({"hostPath": {"path": "/a\\b"}}, r'hostPath.path: "/a\\b"', f'hostPath.path: "{REPLACEMENT}"'),
        ({"secret": {"secretName": "oncology"}}, "secret oncology2", f"secret {REPLACEMENT}2"),
        ({"configMap": {"name": "data"}}, "no data: data-1, metadata", f"no {REPLACEMENT}: data-1, metadata"),
        (
            {"csi": {"driver": "nfs.csi", "volumeAttributes": {"server": "10.0.0.9", "share": "/x"}}},
            "nfs.csi: server 10.0.0.9 refuses share /x",
            f"{REPLACEMENT}: server {REPLACEMENT} refuses share {REPLACEMENT}",
        ),
        ({"csi": {"driver": "abcdefgh", "nodePublishSecret": "efghijkl"}}, "abcdefghijkl", REPLACEMENT),
    ],
    ids=["path", "folder", "quoted", "within a word", "short", "csi", "overlapping"],
)
def test_every_string_of_a_volume_is_withheld(volume: Any, words: str, expected: str) -> None:
    assert VolumeRedaction(open_dataset(volume=volume)).redact(words) == expected


def test_the_image_that_the_hub_has_asked_for_stays_readable() -> None:
    claim = open_dataset(volume={"persistentVolumeClaim": {"claimName": "training-data"}})
    image = "quay.io/training-data/model:v1"
    withheld = VolumeRedaction(claim, image=image)

    assert withheld.redact(f"can't pull {image} for training-data") == f"can't pull {image} for {REPLACEMENT}"


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"expiresAt": "2030-05-17T00:00:00Z"}, admission.AdmissionReason.DATASET_EXPIRED),
        ({"expiresAt": "2030-05-17"}, admission.AdmissionReason.DATASET_NOT_OFFERED),
        ({"images": ["secret.example/fl"]}, admission.AdmissionReason.DATASET_NOT_OFFERED),
    ],
)
def test_why_a_dataset_is_not_on_offer_is_for_its_administrator(terms: Any, reason: admission.AdmissionReason) -> None:
    verdict = admission.review_request(collaborator(), open_dataset(**terms), NOW)

    assert isinstance(verdict, admission.RequestRejected)
    assert verdict.reason is reason
    assert "2030" not in verdict.message
    assert "spec." not in verdict.message
    assert "Published" in verdict.message
