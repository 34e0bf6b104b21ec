"""The short-lived pod that reads a run's volume, and its scripts.

It uses the aggregator's image, which is known to be pullable, has Python, and runs as the user that owns the files
(mode 0600). The pod meets the `restricted` Pod Security Standard, mounts the claim read-only and no token, and has none
of the run's labels, so that the aggregator's Service and NetworkPolicy and the hub manager ignore it.
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import Resource
from federation.api.run_names import AGGREGATOR_CONTAINER, FS_GROUP
from federation.api.run_status import ModelStatus
from federation.checkpoint import MANIFEST_FILE
from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json
from kubectl_fl.errors import CommandError
from kubectl_fl.resources.pods import AggregatorJob, PodTemplateSpec, RunPod

MOUNT_PATH: Final = "/volume"
READER_CONTAINER: Final = "reader"
ACTIVE_DEADLINE_SECONDS: Final = 3600
"""Seconds after which Kubernetes ends a pod that was not deleted."""

WAIT_SCRIPT: Final = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(86400)"
)
SIZE_SCRIPT: Final = """\
import os, sys
try:
    print(os.stat(sys.argv[1]).st_size)
except OSError as error:
    sys.exit(str(error))
"""
READ_SCRIPT: Final = """\
import shutil, sys
try:
    with open(sys.argv[1], "rb") as file:
        file.seek(int(sys.argv[2]))
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        sys.stdout.flush()
except OSError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """The location of a run's model."""

    claim: str
    path: str
    """The path of the file in the reader pod."""
    digest: str
    size: int
    """The size of the tensors in bytes."""
    round: int

    @property
    def manifest(self) -> str:
        """Return the path of the checkpoint's manifest."""
        return str(PurePosixPath(self.path).parent / MANIFEST_FILE)


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """The settings that the reader pod shares with the aggregator's pod."""

    image: str
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)
    node: str = ""
    """The node with the mounted claim: a ReadWriteOnce volume is on one node at a time."""


def recorded_model(run: FederatedLearning) -> ModelStatus:
    """Return the model recorded in the run's status.

    Raises:
        CommandError: The run has no model yet.
    """
    model, name = run.status.model, run.metadata.name
    if model is None or not model.location or not model.digest:
        raise CommandError(f"{name} has no model yet, not even the initial model: see kubectl fl status {name}")
    return model


def model_location(run: FederatedLearning) -> ModelLocation:
    """Return the location of the run's model.

    Raises:
        CommandError: The run has no model yet, or its storage is unsupported.
    """
    model, storage, name = recorded_model(run), run.spec.server.storage, run.metadata.name
    if storage.type == "HostPath":
        raise CommandError(
            f"{name} uses HostPath storage, which a restricted pod cannot mount: copy "
            f"{storage.path}/{model.location} from the aggregator's node, then verify the copy with "
            f"kubectl fl model {name} --check FILE"
        )
    if storage.type != "PersistentVolumeClaim":
        raise CommandError(f"{name} uses storage type {storage.type}, which this version does not support")
    path = PurePosixPath(model.location)
    if path.is_absolute() or ".." in path.parts or "\0" in model.location:
        raise CommandError("status.model.location is outside the run's volume")
    return ModelLocation(storage.name, f"{MOUNT_PATH}/{path}", model.digest, model.size, model.round)


def reader_settings(
    job: AggregatorJob | None, pod: RunPod | None, image: str, run: FederatedLearning
) -> ReaderSettings:
    """Return the settings that the reader pod shares with the aggregator's pod.

    Args:
        job: The aggregator's Job, None if it was deleted.
        pod: The aggregator's newest pod.
        image: The value of --image, `""` for the aggregator's.
        run: The run.

    Raises:
        CommandError: No image is known.
    """
    template = PodTemplateSpec() if job is None else job.spec.template.spec
    own = next((c.image for c in template.containers if c.name == AGGREGATOR_CONTAINER), "")
    if not image and not own:
        raise CommandError(
            f"the Job {run.metadata.name}-server was deleted: set --image to an image that has "
            "python3 and runs as user 65532, the hub manager's for example"
        )
    running = pod is not None and pod.status.phase == "Running"
    return ReaderSettings(image or own, template, pod.spec.node_name if pod is not None and running else "")


def reader_pod_name(run: FederatedLearning, name_suffix: str) -> str:
    """Return the pod's name; the suffix separates concurrent downloads."""
    return f"{run.metadata.name}-read-{name_suffix}"


def reader_pod(run: FederatedLearning, place: ModelLocation, host: ReaderSettings, name: str) -> Json:
    """Build the reader pod."""
    template = host.template
    group = {"fsGroup": FS_GROUP, "fsGroupChangePolicy": "OnRootMismatch"}
    security = dict(template.security_context) if template.containers else group
    spec: Json = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": ACTIVE_DEADLINE_SECONDS,
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security | {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(host.image)],
        "volumes": [
            {"name": "storage", "persistentVolumeClaim": {"claimName": place.claim, "readOnly": True}},
        ],
    }
    if template.node_selector:
        spec["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        spec["tolerations"] = list(template.tolerations)
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = list(template.image_pull_secrets)
    if host.node:
        spec["affinity"] = _node_affinity(host.node)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": run.metadata.namespace,
            "labels": {
                "app.kubernetes.io/name": "kubectl-fl",
                "app.kubernetes.io/component": "federated-learning-model-reader",
            },
            "ownerReferences": [_owner_reference(run)],
        },
        "spec": spec,
    }


def _container(image: str) -> Json:
    return {
        "name": READER_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", "-c", WAIT_SCRIPT],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "volumeMounts": [{"name": "storage", "mountPath": MOUNT_PATH, "readOnly": True}],
    }


def _node_affinity(node: str) -> Json:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _owner_reference(run: Resource) -> Json:
    """Make the run own the pod, so that a leftover pod is deleted with the run."""
    return {
        "apiVersion": FEDERATED_LEARNING.api_version,
        "kind": FEDERATED_LEARNING.kind,
        "name": run.metadata.name,
        "uid": run.metadata.uid,
    }
