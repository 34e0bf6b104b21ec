"""The reader pod: hardened, scheduled like the aggregator, built only from the hub's objects."""

from pathlib import Path

import pytest

from federation.api.run_names import ATTEMPT_LABEL, RUN_UID_LABEL, server_name
from federation.kube.kinds import AGGREGATOR_POD, JOB
from federation.kube.resource import Json
from hub_manager.federated_learning.resources.aggregator_job import job
from hub_manager.federated_learning.settings import RunImages
from kubectl_fl.errors import CommandError
from kubectl_fl.resources.pods import AGGREGATOR_JOB
from kubectl_fl.resources.reader_pod import model_location
from tests.support.fleet.model_hub import IMAGE, Hub


def test_the_pod_meets_the_restricted_standard_and_is_read_only(hub: Hub, target: Path) -> None:
    hub.download(target)
    pod = hub.kubectl.created
    spec = pod["spec"]
    (container,) = spec["containers"]

    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["activeDeadlineSeconds"] == 3600
    assert spec["volumes"] == [{"name": "storage", "persistentVolumeClaim": {"claimName": "model", "readOnly": True}}]
    assert container["volumeMounts"][0]["readOnly"] is True
    assert container["image"] == IMAGE


def test_the_pod_shares_the_aggregators_group_and_scheduling_but_no_labels(tmp_path: Path, target: Path) -> None:
    server = {"nodeSelector": {"zone": "a"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    hub = Hub(tmp_path, **server, imagePullSecrets=[{"name": "pull"}])
    labels = {RUN_UID_LABEL: "u-1", ATTEMPT_LABEL: "1"}
    metadata = {"name": "mnist-server-x", "namespace": "default", "labels": labels}
    hub.kubectl.has(AGGREGATOR_POD, {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}})
    hub.download(target)
    made = hub.kubectl.created
    original = job(hub.run, 1, RunImages(aggregator=IMAGE))["spec"]["template"]

    for field in ("securityContext", "nodeSelector", "tolerations", "imagePullSecrets"):
        assert made["spec"][field] == original["spec"][field]
    assert "n1" in str(made["spec"]["affinity"])
    assert made["metadata"]["labels"].items().isdisjoint(original["metadata"]["labels"].items())
    assert RUN_UID_LABEL not in made["metadata"]["labels"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_a_deleted_job_requires_an_image_and_uses_the_default_group(hub: Hub, target: Path) -> None:
    hub.kubectl.objects[JOB.plural] = []

    with pytest.raises(CommandError, match="--image"):
        hub.download(target)
    hub.download(target, "registry.example.org/python:1")

    assert hub.kubectl.created["spec"]["containers"][0]["image"] == "registry.example.org/python:1"
    assert hub.kubectl.created["spec"]["securityContext"]["fsGroup"] == 65532


def test_a_forbidden_job_is_optional_with_an_image(hub: Hub, target: Path) -> None:
    hub.kubectl.denied.append(JOB.plural)

    with pytest.raises(CommandError, match=r"for this permission, or set the image .* --image"):
        hub.download(target)
    hub.download(target, "registry.example.org/python:1")

    assert target.read_bytes() == hub.file.read_bytes()
    assert "(get on jobs.batch in default)" in hub.told[0]


def test_the_job_of_an_earlier_run_with_the_same_name_is_ignored(hub: Hub, target: Path) -> None:
    hub.kubectl.objects[JOB.plural][0]["metadata"]["labels"][RUN_UID_LABEL] = "another"

    with pytest.raises(CommandError, match="--image"):
        hub.download(target)


@pytest.mark.parametrize(
    ("server", "model", "words"),
    [
        ({"storage": {"type": "HostPath", "path": "/data"}}, {}, "copy /data/default/mnist.*--check FILE"),
        ({"storage": {"type": "S3Bucket"}}, {}, "S3Bucket"),
        ({}, {"location": "../../etc/passwd"}, "is outside the run's volume"),
        ({}, {"location": "/etc/passwd"}, "is outside the run's volume"),
        ({}, {"location": ""}, "no model yet"),
    ],
    ids=["host path", "bucket", "upwards", "absolute", "none"],
)
def test_an_unsupported_location_is_rejected_with_its_remedy(
    tmp_path: Path, server: Json, model: Json, words: str
) -> None:
    hub = Hub(tmp_path, **server)
    hub.body["status"]["model"] |= model

    with pytest.raises(CommandError, match=words):
        model_location(hub.run)


def test_the_jobs_name_matches_the_hub_managers(hub: Hub) -> None:
    assert server_name(hub.run) == job(hub.run, 1, RunImages(aggregator=IMAGE))["metadata"]["name"]
    assert AGGREGATOR_JOB.plural == JOB.plural
