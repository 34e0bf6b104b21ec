"""The Job and the NetworkPolicy of an accepted Collaborator, built as structures. Pure.

The pod meets the `restricted` Pod Security Standard, but for a `hostPath` that the site's own Dataset names. It fixes
neither user nor group: the image names its own, an OpenShift namespace gives one, and a group given to a volume would
have the kubelet change the owner of the site's data. What is mounted comes from the Dataset and from the add-on's own
certificate and trust bundle; the Collaborator has no part in it, but for the text of a plan (`run_plan`).
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from federation.api.collaborator import COLLABORATOR_LABEL, AggregatorAddress, Collaborator, ContainerResources
from federation.api.dataset import (
    ConfigMapVolume,
    CsiVolume,
    Dataset,
    DatasetVolume,
    HostPathVolume,
    PersistentVolumeClaimVolume,
    SecretVolume,
)
from federation.api.identity import ADDON_NAME, COLLABORATOR_SIGNER, TRUST_BUNDLE, TRUST_BUNDLE_KEY
from federation.api.kubernetes.quantity import parse_quantity
from federation.api.meta import FEDERATION_GROUP
from federation.kube.kinds import COLLABORATOR, COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY
from federation.kube.resource import Json, Kind
from federation.pki.names import aggregator_dns
from federation.runtime_contract import CONTAINER, DATA_FOLDER, FATAL_EXITS, SCRATCH, TERMINATION_LOG, TLS_FOLDER
from spoke_agent.claims.validation import expiry
from spoke_agent.collaborator import training_plan
from spoke_agent.collaborator.network import destination_of, egress_rules

CERTIFICATE_SECRET: Final = f"{ADDON_NAME}-{COLLABORATOR_SIGNER.replace('/', '-')}-client-cert"
"""The Secret that the klusterlet keeps (ocm `pkg/registration/spoke/addon/configuration.go`)."""
INPUTS_ANNOTATION: Final = f"{FEDERATION_GROUP}/inputs"
"""The digest of all that a Job was made from; with another, a Job that has not ended is made anew."""
RUN_ID_ANNOTATION: Final = f"{FEDERATION_GROUP}/run-id"
"""The attempt that a Job is of; for another, one that has ended is made anew as well."""
RENDERED_ANNOTATION: Final = f"{FEDERATION_GROUP}/rendered"
"""The digest of a NetworkPolicy as it was rendered."""
RETRIES: Final = 6
"""With the Job controller's back-off, from 10 s doubling, about ten minutes."""
LONGEST: Final = 2**31 - 1
"""Seconds, 68 years: the Job controller counts nanoseconds in an int64, and 292 years overflow it into the past
(kubernetes `pkg/controller/job/job_controller.go`, `pastActiveDeadline`)."""
SCRATCH_LIMIT: Final = "8Gi"
READABLE: Final = 0o444
"""The volume is in memory and the pod's alone, and whom the image runs as isn't known."""


@dataclass(frozen=True, slots=True)
class AgentLocation:
    """What the agent knows of where it is."""

    cluster: str
    """The ManagedCluster's name."""
    namespace: str
    """The install namespace."""


def inputs_digest(collaborator: Collaborator, dataset: Dataset) -> str:
    """A digest of what the site and the hub have said; a newer agent that renders the Job otherwise restarts nothing.

    When the dataset expires is a part of it, since the Job's own deadline comes from that and is never changed.
    """
    until = expiry(dataset)
    said = (collaborator.spec, dataset.spec.volume, *(() if until is None else (until.timestamp(),)))
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


def job(
    collaborator: Collaborator,
    aggregator: AggregatorAddress,
    dataset: Dataset,
    site: AgentLocation,
    *,
    remaining: float | None,
) -> Json:
    """The Job of a Collaborator that the policy has accepted.

    Args:
        collaborator: What was accepted.
        aggregator: Its addresses.
        dataset: What it may see.
        site: Where.
        remaining: Seconds until the dataset expires: the Job ends by then, even when no agent is there to end it.
    """
    spec = collaborator.spec
    limits = [limit for limit in (spec.active_deadline_seconds, remaining) if limit is not None]
    body = _object(COLLABORATOR_JOB, collaborator, site)
    body["metadata"]["annotations"] = {
        INPUTS_ANNOTATION: inputs_digest(collaborator, dataset),
        RUN_ID_ANNOTATION: spec.run.attempt,
    }
    body["spec"] = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": RETRIES,
        # Two collaborators of one site must never be in a run at once.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": {
            "metadata": {"labels": labels(collaborator), "annotations": training_plan.annotations(spec.plan)},
            "spec": _pod(collaborator, aggregator, dataset.spec.volume, site),
        },
    }
    if limits:
        body["spec"]["activeDeadlineSeconds"] = max(1, int(min(*limits, LONGEST)))
    return body


def network_policy(collaborator: Collaborator, aggregator: AggregatorAddress, site: AgentLocation) -> Json:
    """Nobody connects to the collaborator, and it connects to the aggregator alone."""
    body = _object(COLLABORATOR_NETWORK_POLICY, collaborator, site)
    body["spec"] = {
        "podSelector": {"matchLabels": {COLLABORATOR_LABEL: collaborator.metadata.name}},
        "policyTypes": ["Ingress", "Egress"],
        "egress": egress_rules(destination_of(address) for address in aggregator.addresses),
    }
    digest = hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()
    body["metadata"]["annotations"] = {RENDERED_ANNOTATION: digest}
    return body


def labels(collaborator: Collaborator) -> dict[str, str]:
    """The labels of what belongs to the Collaborator."""
    return {"app.kubernetes.io/name": "federated-learning-collaborator", COLLABORATOR_LABEL: collaborator.metadata.name}


def _object(kind: Kind[Any], collaborator: Collaborator, site: AgentLocation) -> Json:
    owner = {
        "apiVersion": COLLABORATOR.api_version,
        "kind": COLLABORATOR.kind,
        "name": collaborator.metadata.name,
        "uid": collaborator.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": collaborator.metadata.name,
            "namespace": site.namespace,
            "labels": labels(collaborator),
            "ownerReferences": [owner],
        },
    }


def _failure_rules() -> list[Json]:
    """A drained node's pod is replaced uncounted; what would fail again is not tried again (KEP-3329)."""
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(FATAL_EXITS)},
        },
    ]


def _pod(collaborator: Collaborator, aggregator: AggregatorAddress, volume: DatasetVolume, site: AgentLocation) -> Json:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(collaborator, aggregator, volume, site)],
        "tolerations": _tolerations(collaborator.spec.resources),
        "volumes": [
            {"name": "dataset", **dataset_source(volume)},
            {"name": "tls", "projected": {"defaultMode": READABLE, "sources": _identity()}},
            {"name": "scratch", "emptyDir": {"sizeLimit": SCRATCH_LIMIT}},
            *training_plan.volumes(collaborator.spec.plan),
        ],
    }


def _container(
    collaborator: Collaborator, aggregator: AggregatorAddress, volume: DatasetVolume, site: AgentLocation
) -> Json:
    spec = collaborator.spec
    data: Json = {
        "name": "dataset",
        "mountPath": DATA_FOLDER,
        "readOnly": True,
        "recursiveReadOnly": "IfPossible",  # KEP-3857: else what is mounted below a hostPath stays writable
    }
    if volume.sub_path:
        data["subPath"] = volume.sub_path
    container: Json = {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(collaborator, aggregator, site),
        "terminationMessagePath": TERMINATION_LOG,
        # The kubelet hands on the end of the log where the runtime wrote nothing: the agent needs no right to logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(spec.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            data,
            {"name": "tls", "mountPath": TLS_FOLDER, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH},
            *training_plan.mounts(spec.plan),
        ],
    }
    if spec.args:
        container["args"] = list(spec.args)
    return container


def _environment(collaborator: Collaborator, aggregator: AggregatorAddress, site: AgentLocation) -> list[Json]:
    """The hub's variables, then ours: none of the former begins with `FL_`."""
    run = collaborator.spec.run
    asked = {"HOME": SCRATCH} | {variable.name: variable.value for variable in collaborator.spec.env}
    told = {
        "FL_RUN": f"{run.namespace}/{run.name}",
        "FL_RUN_ID": run.attempt,
        "FL_CLUSTER": site.cluster,
        "FL_AGGREGATORS": ",".join(aggregator.addresses),
        "FL_SERVER_NAME": aggregator_dns(run.name, run.namespace),
        "FL_DATA": DATA_FOLDER,
        "FL_TLS": TLS_FOLDER,
        "FL_DEADLINE_SECONDS": str(aggregator.patience_seconds),
        "FL_TERMINATION_LOG": TERMINATION_LOG,
    }
    told |= training_plan.variables(collaborator.spec.plan)
    return [{"name": name, "value": value} for name, value in (asked | told).items()]


def _resources(wanted: ContainerResources) -> Json:
    """As asked; a device that is only requested is limited too, as Kubernetes wants it of extended resources."""
    requests = {name: str(quantity) for name, quantity in wanted.requests.items()}
    limits = {name: str(quantity) for name, quantity in wanted.limits.items()}
    devices = {name: quantity for name, quantity in requests.items() if "/" in name}
    return {"requests": requests, "limits": devices | limits}


def _tolerations(wanted: ContainerResources) -> list[Json]:
    """Past the taints that keep a device's nodes for pods that ask for the device: where that is the taint's key.

    The admission plug-in `ExtendedResourceToleration` would add them, but no API server has it on by default. As there,
    what is Kubernetes' own is no device (kubernetes `pkg/apis/core/helper/helpers.go`, `IsExtendedResourceName`).
    """
    asked = [*wanted.requests.items(), *wanted.limits.items()]
    devices = {
        name
        for name, quantity in asked
        if "/" in name and "kubernetes.io/" not in name and parse_quantity(str(quantity)) > 0
    }
    return [{"key": name, "operator": "Exists"} for name in sorted(devices)]


def _identity() -> list[Json]:
    """The certificate and the authorities in one folder; the kubelet renews both while the pod runs."""
    pair = [{"key": name, "path": name} for name in ("tls.crt", "tls.key")]
    return [
        {"secret": {"name": CERTIFICATE_SECRET, "items": pair}},
        {"configMap": {"name": TRUST_BUNDLE, "items": [{"key": TRUST_BUNDLE_KEY, "path": "ca.crt"}]}},
    ]


def dataset_source(volume: DatasetVolume) -> Json:
    """The pod's volume that holds the dataset.

    Raises:
        ValueError: The Dataset has not exactly one source; the policy refuses such a one.
    """
    match volume.sources:
        case (PersistentVolumeClaimVolume(claim_name=name),):
            return {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}
        case (HostPathVolume(path=path),):
            return {"hostPath": {"path": path, "type": "Directory"}}
        case (ConfigMapVolume(name=name),):
            return {"configMap": {"name": name, "defaultMode": READABLE}}
        case (SecretVolume(secret_name=name),):
            return {"secret": {"secretName": name, "defaultMode": READABLE}}
        case (CsiVolume() as csi,):
            source: Json = {"driver": csi.driver, "readOnly": True, "volumeAttributes": dict(csi.volume_attributes)}
            if csi.fs_type:
                source["fsType"] = csi.fs_type
            if csi.node_publish_secret:
                source["nodePublishSecretRef"] = {"name": csi.node_publish_secret}
            return {"csi": source}
        case _:
            raise ValueError("spec.volume: set exactly one source")
