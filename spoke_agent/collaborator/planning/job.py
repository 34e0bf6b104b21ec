"""Build the Job and the NetworkPolicy of an accepted Collaborator. Pure.

The pod meets the `restricted` Pod Security Standard, except for a `hostPath` that the site's Dataset names. It sets
neither user nor group: the image or an OpenShift namespace sets the user, and with an `fsGroup` the kubelet would
change the owner of the site's data. The Dataset and the add-on's certificate and trust bundle determine the mounts; the
Collaborator adds only the text of a plan (`training_plan`).
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
from federation.runtime_contract import (
    CONTAINER,
    DATA_FOLDER,
    FATAL_EXITS,
    SCRATCH,
    TERMINATION_LOG,
    TLS_FOLDER,
    Variable,
)
from spoke_agent.claims.planning.validation import expiry
from spoke_agent.collaborator.planning import training_plan
from spoke_agent.collaborator.planning.network import destination_of, egress_rules

CERTIFICATE_SECRET: Final = f"{ADDON_NAME}-{COLLABORATOR_SIGNER.replace('/', '-')}-client-cert"
"""The Secret that the klusterlet keeps (ocm `pkg/registration/spoke/addon/configuration.go`)."""
INPUTS_ANNOTATION: Final = f"{FEDERATION_GROUP}/inputs"
"""Digest of all inputs of a Job; if it changes, a Job that has not ended is replaced."""
RUN_ID_ANNOTATION: Final = f"{FEDERATION_GROUP}/run-id"
"""Attempt of a Job; if it changes, even a Job that has ended is replaced."""
RENDERED_ANNOTATION: Final = f"{FEDERATION_GROUP}/rendered"
"""Digest of the rendered NetworkPolicy."""
RETRIES: Final = 6
"""With the Job controller's back-off, from 10 s doubling, about ten minutes."""
LONGEST: Final = 2**31 - 1
"""Seconds, 68 years: the Job controller counts nanoseconds in an int64, and 292 years overflow it into the past
(kubernetes `pkg/controller/job/job_controller.go`, `pastActiveDeadline`)."""
SCRATCH_LIMIT: Final = "8Gi"
READABLE: Final = 0o444
"""World-readable, since the image's user is unknown; the volume is in memory and belongs to this pod."""


@dataclass(frozen=True, slots=True)
class AgentLocation:
    """Cluster and namespace of the agent."""

    cluster: str
    """The ManagedCluster's name."""
    namespace: str
    """The install namespace."""


def inputs_digest(collaborator: Collaborator, dataset: Dataset) -> str:
    """Return a digest of the inputs, not of the rendered Job, so that an upgrade of the agent restarts no Job.

    It covers the expiry of the dataset, which sets the Job's immutable deadline.
    """
    until = expiry(dataset)
    inputs = (collaborator.spec, dataset.spec.volume, *(() if until is None else (until.timestamp(),)))
    return hashlib.sha256(msgspec.json.encode(inputs, order="deterministic")).hexdigest()


def job(
    collaborator: Collaborator,
    aggregator: AggregatorAddress,
    dataset: Dataset,
    site: AgentLocation,
    *,
    remaining: float | None,
) -> Json:
    """Build the Job of a Collaborator that the policy accepts.

    Args:
        collaborator: The accepted Collaborator.
        aggregator: The aggregator's addresses.
        dataset: The Dataset to mount.
        site: The cluster and the install namespace.
        remaining: Seconds until the dataset expires: the Job ends by then even if the agent is down.
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
        # A site must never have two collaborators in a run at once.
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
    """Build the NetworkPolicy that denies all ingress and allows egress to the aggregator alone."""
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
    """Return the labels of the objects that the Collaborator owns."""
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
    """Return the rules that do not count a drained pod, and do not retry a permanent failure (KEP-3329)."""
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
        "recursiveReadOnly": "IfPossible",  # KEP-3857: otherwise mounts below a hostPath stay writable
    }
    if volume.sub_path:
        data["subPath"] = volume.sub_path
    container: Json = {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(collaborator, aggregator, site),
        "terminationMessagePath": TERMINATION_LOG,
        # If the runtime wrote no message, the kubelet passes on the end of the log: the agent needs no access to logs.
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
    """Return the hub's variables, then the agent's; none of the former begins with `FL_`."""
    run = collaborator.spec.run
    asked = {"HOME": SCRATCH} | {variable.name: variable.value for variable in collaborator.spec.env}
    reserved = {
        Variable.RUN.value: f"{run.namespace}/{run.name}",
        Variable.RUN_ID.value: run.attempt,
        Variable.CLUSTER.value: site.cluster,
        Variable.AGGREGATORS.value: ",".join(aggregator.addresses),
        Variable.SERVER_NAME.value: aggregator_dns(run.name, run.namespace),
        Variable.DATA.value: DATA_FOLDER,
        Variable.TLS.value: TLS_FOLDER,
        Variable.DEADLINE_SECONDS.value: str(aggregator.patience_seconds),
        Variable.TERMINATION_LOG.value: TERMINATION_LOG,
    }
    reserved |= training_plan.variables(collaborator.spec.plan)
    return [{"name": name, "value": value} for name, value in (asked | reserved).items()]


def _resources(wanted: ContainerResources) -> Json:
    """Copy the resources; add the limit that Kubernetes requires for a requested extended resource."""
    requests = {name: str(quantity) for name, quantity in wanted.requests.items()}
    limits = {name: str(quantity) for name, quantity in wanted.limits.items()}
    devices = {name: quantity for name, quantity in requests.items() if "/" in name}
    return {"requests": requests, "limits": devices | limits}


def _tolerations(wanted: ContainerResources) -> list[Json]:
    """Tolerate the taints that reserve nodes for pods that request a device, whose key is the device's name.

    The admission plug-in `ExtendedResourceToleration` would add them, but it is off by default in API servers. As
    in that plug-in, resources of Kubernetes itself are excluded (kubernetes `pkg/apis/core/helper/helpers.go`,
    `IsExtendedResourceName`).
    """
    asked = [*wanted.requests.items(), *wanted.limits.items()]
    devices = {
        name
        for name, quantity in asked
        if "/" in name and "kubernetes.io/" not in name and parse_quantity(str(quantity)) > 0
    }
    return [{"key": name, "operator": "Exists"} for name in sorted(devices)]


def _identity() -> list[Json]:
    """Project the certificate and the trust bundle into one folder; the kubelet updates both while the pod runs."""
    pair = [{"key": name, "path": name} for name in ("tls.crt", "tls.key")]
    return [
        {"secret": {"name": CERTIFICATE_SECRET, "items": pair}},
        {"configMap": {"name": TRUST_BUNDLE, "items": [{"key": TRUST_BUNDLE_KEY, "path": "ca.crt"}]}},
    ]


def dataset_source(volume: DatasetVolume) -> Json:
    """Build the pod's volume with the dataset.

    Raises:
        ValueError: The volume does not have exactly one source; admission rejects such a Dataset.
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
