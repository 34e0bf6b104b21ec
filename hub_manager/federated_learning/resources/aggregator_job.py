"""Render the aggregator's Job: one hardened pod that resumes from its checkpoint after each restart.

A Job's template is immutable, so it contains nothing that changes during a run: the cohort is a file of a ConfigMap,
and the certificate is in a Secret. The pod meets the `restricted` Pod Security Standard and sets no user, because an
OpenShift namespace assigns one. The init container, which runs the user's image, gets no token and no rights.
"""

from typing import Final

import msgspec

from federation.api.aggregator_run import (
    EXCHANGE_PORT,
    GIVEN_UP,
    HTTP_PORT,
    PLAN_FOLDER,
    RUN_FOLDER,
    TLS_FOLDER,
    WORKSPACE_FOLDER,
)
from federation.api.federated_learning import FederatedLearning, Resources
from federation.api.run_names import AGGREGATOR_CONTAINER, WORKSPACE_CONTAINER
from federation.kube.kinds import JOB
from federation.kube.resource import Json
from federation.runtime_contract import FATAL_EXPORT_EXITS, Variable
from hub_manager.federated_learning.resources.aggregator import mount_path, pod_labels
from hub_manager.federated_learning.resources.names import (
    ATTEMPT_LABEL,
    COPIED_KEY,
    labels,
    owner,
    plan_key,
    secret_key,
    server_name,
    with_digest,
)
from hub_manager.federated_learning.settings import RunImages

TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where clients look for it
RESTARTS: Final = 50
"""Limit of pod failures; drained pods do not count. The back-off between pods is at most six minutes."""
SCRATCH: Final = "/tmp"  # noqa: S108 - an emptyDir of the pod; the root is read-only


def aggregator_image(run: FederatedLearning, images: RunImages) -> str:
    """Return the run's image, or the default if the run sets none or repeats the client's, as older manifests do."""
    own = run.spec.server.image
    return own if own and own != run.spec.client.image else images.aggregator


def job(run: FederatedLearning, attempt: int, images: RunImages) -> Json:
    """Render the Job of one attempt at the run."""
    own = labels(run) | {ATTEMPT_LABEL: str(attempt)}
    return with_digest(
        {
            "apiVersion": JOB.api_version,
            "kind": JOB.kind,
            "metadata": {
                "name": server_name(run),
                "namespace": run.metadata.namespace,
                "labels": own,
                "ownerReferences": [owner(run)],
            },
            "spec": {
                "backoffLimit": RESTARTS,
                "podFailurePolicy": {"rules": _failure_rules()},
                "podReplacementPolicy": "Failed",
                "template": {
                    "metadata": {"labels": pod_labels(run) | {ATTEMPT_LABEL: str(attempt)}},
                    "spec": _pod(run, images),
                },
            },
        }
    )


def _pod(run: FederatedLearning, images: RunImages) -> Json:
    server = run.spec.server
    pod: Json = {
        "restartPolicy": "Never",
        "serviceAccountName": server_name(run),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": _pod_security(images),
        "initContainers": [_workspace(run)],
        "containers": [_aggregator(run, images)],
        "volumes": _volumes(run),
    }
    if server.node_selector:
        pod["nodeSelector"] = dict(server.node_selector)
    if server.tolerations:
        pod["tolerations"] = [msgspec.to_builtins(toleration) for toleration in server.tolerations]
    if server.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in server.image_pull_secrets]
    return pod


def _failure_rules() -> list[Json]:
    """Replace the pods of drained nodes without counting them; never restart an aggregator that gave up (KEP-3329)."""
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": AGGREGATOR_CONTAINER, "operator": "In", "values": [GIVEN_UP]},
        },
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": WORKSPACE_CONTAINER, "operator": "In", "values": list(FATAL_EXPORT_EXITS)},
        },
    ]


def _aggregator(run: FederatedLearning, images: RunImages) -> Json:
    mounts: list[Json] = [
        {"name": "run", "mountPath": RUN_FOLDER, "readOnly": True},
        {"name": "tls", "mountPath": TLS_FOLDER, "readOnly": True},
        {"name": "workspace", "mountPath": WORKSPACE_FOLDER, "readOnly": True},
        {"name": "storage", "mountPath": mount_path(run)},
        {"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH, "subPath": "aggregator"},
    ]
    if _has_plan(run):
        mounts.append({"name": "plan", "mountPath": PLAN_FOLDER, "readOnly": True})
    return {
        "name": AGGREGATOR_CONTAINER,
        "image": aggregator_image(run, images),
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "ports": [
            {"name": "exchange", "containerPort": EXCHANGE_PORT, "protocol": "TCP"},
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
        ],
        "startupProbe": _probe("/healthz", periodSeconds=2, failureThreshold=60),
        "livenessProbe": _probe("/healthz", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
        "readinessProbe": _probe("/readyz", periodSeconds=5, timeoutSeconds=5),
        "securityContext": _container_security(),
        "volumeMounts": mounts,
        **_resources(run.spec.server.resources),
    }


def _workspace(run: FederatedLearning) -> Json:
    """Render the container that exports the plan and any initial model from the user's workspace, as data."""
    plan = run.spec.server.plan
    mounts: list[Json] = [
        {"name": "workspace", "mountPath": WORKSPACE_FOLDER},
        {"name": "scratch", "mountPath": SCRATCH, "subPath": "workspace"},
    ]
    environment: list[Json] = []
    if plan is not None and plan.config_map:
        environment = [{"name": Variable.PLAN.value, "value": f"{PLAN_FOLDER}/{plan.key}"}]
        mounts.append({"name": "plan", "mountPath": PLAN_FOLDER, "readOnly": True})
    elif plan is not None and plan.path:
        # Kubernetes expands $(NAME) in values; $$ escapes it.
        environment = [{"name": Variable.PLAN.value, "value": plan.path.replace("$", "$$")}]
    return {
        "name": WORKSPACE_CONTAINER,
        "image": run.spec.client.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["export", WORKSPACE_FOLDER],
        "env": environment,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _container_security(),
        "volumeMounts": mounts,
        **_resources(run.spec.server.resources),
    }


def _volumes(run: FederatedLearning) -> list[Json]:
    name, storage, plan = server_name(run), run.spec.server.storage, run.spec.server.plan
    if storage.type == "HostPath":
        model: Json = {"name": "storage", "hostPath": {"path": storage.path, "type": "Directory"}}
    else:
        model = {"name": "storage", "persistentVolumeClaim": {"claimName": storage.name}}
    volumes: list[Json] = [
        {"name": "run", "configMap": {"name": name}},
        {"name": "tls", "secret": {"secretName": secret_key(run).name}},
        {"name": "workspace", "emptyDir": {"sizeLimit": "20Gi"}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "token", "projected": {"sources": _token_sources()}},
        model,
    ]
    if plan is not None and plan.config_map:
        item = {"key": COPIED_KEY, "path": plan.key}
        volumes.append({"name": "plan", "configMap": {"name": plan_key(run).name, "items": [item]}})
    return volumes


def _token_sources() -> list[Json]:
    """Return the sources of an automatic token mount, to mount them in one container only (KEP-1205)."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]


def _has_plan(run: FederatedLearning) -> bool:
    plan = run.spec.server.plan
    return plan is not None and bool(plan.config_map)


def _pod_security(images: RunImages) -> Json:
    group = {} if images.fs_group is None else {"fsGroup": images.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    return {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **group}


def _container_security() -> Json:
    return {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _probe(path: str, **timing: int) -> Json:
    return {"httpGet": {"path": path, "port": "http"}, **timing}


def _resources(resources: Resources) -> Json:
    stated = {"requests": resources.requests, "limits": resources.limits}
    amounts = {part: dict(value) for part, value in stated.items() if value}
    return {"resources": amounts} if amounts else {}
