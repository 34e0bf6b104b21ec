"""Render the aggregator's objects other than its Job, as structures: no value of a user becomes a key.

All objects bear the run's uid as a label and are owned by the run. The volume claim has no owner, because the model
outlives its run unless the user requests otherwise.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from federation.api.aggregator_run import (
    COHORT_FILE,
    EXCHANGE_PORT,
    HTTP_PORT,
    RUN_FILE,
    STORAGE_FOLDER,
    AggregatorRun,
    Cohort,
)
from federation.api.federated_learning import FederatedLearning, Listener
from federation.api.meta import FEDERATION_GROUP
from federation.api.run_names import run_id
from federation.kube.kinds import (
    CONFIG_MAP,
    FEDERATED_LEARNING,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
)
from federation.kube.resource import Json, Kind
from federation.pki.names import aggregator_dns
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

NODE_PORTS: Final = range(30000, 32768)
"""Default range of node ports (kube-apiserver `--service-node-port-range`)."""
DEFAULT_SIZE: Final = "1Gi"
API_SERVER_PORTS: Final = (443, 6443)
"""Ports of the API server that are allowed while its endpoints are unknown."""
COMPONENT: Final = "federated-learning-aggregator"


def mount_path(run: FederatedLearning) -> str:
    """Return the mount path of the volume in the aggregator's container."""
    return run.spec.server.storage.path or STORAGE_FOLDER


def pod_labels(run: FederatedLearning) -> dict[str, str]:
    """Return the labels by which Services and the NetworkPolicy select the aggregator's pod."""
    return labels(run) | {"app.kubernetes.io/component": COMPONENT}


def service(run: FederatedLearning, index: int, *, node_port: bool = True) -> Json:
    """Render the Service of a listener; without `node_port` the cluster assigns the node port."""
    listener = run.spec.server.listeners[index]
    port: Json = {"name": "exchange", "port": listener.port, "targetPort": "exchange", "protocol": "TCP"}
    if node_port and listener.type == "NodePort" and listener.port in NODE_PORTS:
        port["nodePort"] = listener.port
    spec: Json = {"type": listener.type, "selector": pod_labels(run), "ports": [port]}
    if listener.type == "LoadBalancer" and listener.class_name:
        spec["loadBalancerClass"] = listener.class_name
    body = _object(SERVICE, run, server_name(run, index))
    if listener.annotations:
        body["metadata"]["annotations"] = dict(listener.annotations)
    return with_digest(body | {"spec": spec})


def listener_name(listener: Listener, index: int) -> str:
    """Return the name of a listener, or one from its index."""
    return listener.name or f"listener-{index}"


def volume_claim(run: FederatedLearning) -> Json:
    """Render the claim for the run's volume, without an owner."""
    storage = run.spec.server.storage
    spec: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size or DEFAULT_SIZE}},
    }
    if storage.storage_class_name:
        spec["storageClassName"] = storage.storage_class_name
    body = _object(PERSISTENT_VOLUME_CLAIM, run, storage.name)
    del body["metadata"]["ownerReferences"]
    return with_digest(body | {"spec": spec})


def config_map(run: FederatedLearning, attempt: int, cohort: Cohort, kept: str = "") -> Json:
    """Render the aggregator's ConfigMap (`federation.api.aggregator_run`).

    Args:
        run: The run.
        attempt: Number of the attempt.
        cohort: Current cohort.
        kept: The `run.json` of an aggregator that is already running; a changed spec must not reach it.
    """
    server = run.spec.server
    location = f"{run.metadata.namespace}/{run.metadata.name}/{attempt}-{run.metadata.uid}"
    run_file = AggregatorRun(
        id=run_id(run, attempt),
        name=run.metadata.name,
        namespace=run.metadata.namespace,
        uid=run.metadata.uid,
        rounds=server.rounds,
        round_timeout_seconds=server.round_timeout_seconds,
        min_clients_per_round=server.round_quorum,
        join_policy=server.join_policy,
        max_samples_per_client=server.max_samples_per_client,
        aggregation=server.aggregation,
        framework=run.spec.framework,
        folder=f"{mount_path(run)}/{location}",
        location=location,
        server_name=aggregator_dns(run.metadata.name, run.metadata.namespace),
        config_map=server_name(run),
        plan=server.plan.key if server.plan is not None and server.plan.config_map else "",
    )
    data = {RUN_FILE: kept or _json(run_file), COHORT_FILE: _json(cohort)}
    return with_digest(_object(CONFIG_MAP, run, server_name(run), attempt) | {"data": data})


def plan_copy(run: FederatedLearning, text: str) -> Json:
    """Render the immutable copy of the attempt's plan, for the export on the hub."""
    body = _object(CONFIG_MAP, run, plan_key(run).name)
    return with_digest(body | {"immutable": True, "data": {COPIED_KEY: text}})


def service_account(run: FederatedLearning) -> Json:
    """Render the aggregator's ServiceAccount; only the aggregator's container mounts its token."""
    return with_digest(_object(SERVICE_ACCOUNT, run, server_name(run)) | {"automountServiceAccountToken": False})


def role(run: FederatedLearning) -> Json:
    """Render the aggregator's Role: read its run, patch the run's status, and watch its ConfigMap."""
    named = {"apiGroups": [FEDERATION_GROUP], "resourceNames": [run.metadata.name]}
    rules = [
        named | {"resources": [FEDERATED_LEARNING.plural], "verbs": ["get"]},
        named | {"resources": [f"{FEDERATED_LEARNING.plural}/status"], "verbs": ["get", "patch"]},
        {
            "apiGroups": [CONFIG_MAP.group],
            "resourceNames": [server_name(run)],
            "resources": [CONFIG_MAP.plural],
            "verbs": ["get", "list", "watch"],
        },
    ]
    return with_digest(_object(ROLE, run, server_name(run)) | {"rules": rules})


def role_binding(run: FederatedLearning) -> Json:
    """Render the RoleBinding of the aggregator."""
    name = server_name(run)
    account = {"kind": "ServiceAccount", "name": name, "namespace": run.metadata.namespace}
    reference = {"apiGroup": ROLE.group, "kind": "Role", "name": name}
    return with_digest(_object(ROLE_BINDING, run, name) | {"roleRef": reference, "subjects": [account]})


def network_policy(run: FederatedLearning, api_server: Iterable[tuple[str, int]]) -> Json:
    """Render the NetworkPolicy: collaborators reach the exchange, pods reach the metrics, egress only the API server.

    Collaborators connect from other networks, often through address translation, so no source can be listed; their
    certificate authenticates them. The egress rules also apply to the init container, which runs the user's image.

    Args:
        run: The run.
        api_server: Addresses and ports of the API server; empty if unknown.
    """
    known = [
        {"to": [{"ipBlock": {"cidr": f"{address}/{128 if ':' in address else 32}"}}], "ports": [_tcp(port)]}
        for address, port in sorted(api_server)
    ]
    egress = known or [{"ports": [_tcp(port) for port in API_SERVER_PORTS]}]
    spec = {
        "podSelector": {"matchLabels": pod_labels(run)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"ports": [_tcp(EXCHANGE_PORT)]},
            {"from": [{"namespaceSelector": {}}], "ports": [_tcp(HTTP_PORT)]},
        ],
        "egress": egress,
    }
    return with_digest(_object(NETWORK_POLICY, run, server_name(run)) | {"spec": spec})


def certificate_metadata(run: FederatedLearning) -> Json:
    """Return the metadata of the Secret with the aggregator's certificate."""
    metadata: Json = _object(CONFIG_MAP, run, secret_key(run).name)["metadata"]
    return metadata


def _object(kind: Kind[Any], run: FederatedLearning, name: str, attempt: int = 0) -> Json:
    own = labels(run) | ({ATTEMPT_LABEL: str(attempt)} if attempt else {})
    metadata = {
        "name": name,
        "namespace": run.metadata.namespace,
        "labels": own,
        "ownerReferences": [owner(run)],
    }
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _tcp(port: int) -> Json:
    return {"protocol": "TCP", "port": port}


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
