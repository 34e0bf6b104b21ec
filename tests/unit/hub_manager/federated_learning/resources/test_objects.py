"""Test the objects rendered for a run: its Placement, the aggregator's objects and the ManifestWorks."""

import base64
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from federation.api.aggregator_run import AggregatorRun, Cohort
from federation.api.collaborator import Collaborator
from federation.api.kubernetes.run_objects import NodeAddresses, Service
from federation.api.ocm.claims import (
    CPU_CLAIM,
    GPU_CLAIM,
    MEMORY_CLAIM,
    at_least_predicate,
    data_key,
    dataset_predicate,
)
from federation.kube.resource import Json
from hub_manager.federated_learning.planning.validate import FaultReason, faults
from hub_manager.federated_learning.resources.aggregator import config_map, network_policy, role, service
from hub_manager.federated_learning.resources.aggregator_job import job
from hub_manager.federated_learning.resources.certificate import AggregatorAuthority, issue_certificate
from hub_manager.federated_learning.resources.listeners import certificate_names, listener_statuses
from hub_manager.federated_learning.resources.manifest_work import Address, work
from hub_manager.federated_learning.resources.placement import placement
from hub_manager.federated_learning.settings import RunImages, RunLimits
from hub_manager.federated_learning.site import RunCluster
from tests.support.builders.authorities import authority
from tests.support.builders.controllers_manifests import FLOWER
from tests.support.builders.csr import NOW, key_of
from tests.support.builders.run_objects import CLIENT_IMAGE, run_json, run_of
from tests.support.exchange.rounds import cohort_of

IMAGES = RunImages(aggregator="aggregator:1")
SITE = RunCluster("c1", accepted=True, available=True, install_namespace="agent")


def _pod(body: Json | None = None) -> Json:
    pod: Json = job(run_of(body or run_json()), 1, IMAGES)["spec"]["template"]["spec"]
    return pod


def test_the_dataset_and_the_resources_narrow_every_alternative_of_the_users_placement() -> None:
    own = {"celSelector": {"celExpressions": ["true"]}, "labelSelector": {"matchLabels": {"a": "b"}}}
    requests = {"cpu": "2500m", "memory": "3Gi", "nvidia.com/gpu": 1}
    client = {"placement": {"predicates": [{"requiredClusterSelector": own}, {}]}, "resources": {"requests": requests}}
    spec = placement(run_of(run_json(client=client)))["spec"]

    needs = [
        dataset_predicate("digits"),
        at_least_predicate(CPU_CLAIM, 2),
        at_least_predicate(MEMORY_CLAIM, 3),
        at_least_predicate(GPU_CLAIM, 1),
    ]
    selectors = [predicate["requiredClusterSelector"] for predicate in spec["predicates"]]
    assert selectors[0]["labelSelector"] == own["labelSelector"]
    assert [s["celSelector"]["celExpressions"] for s in selectors] == [["true", *needs], needs]
    assert len(spec["prioritizerPolicy"]["configurations"]) == 3


def test_a_limit_without_a_request_is_reserved_as_kubernetes_has_it() -> None:
    """GPUs are usually set as a limit only."""
    resources = {"requests": {"cpu": "2"}, "limits": {"cpu": "4", "nvidia.com/gpu": 1}}
    spec = placement(run_of(run_json(client={"dataset": "", "resources": resources})))["spec"]

    needs = [at_least_predicate(CPU_CLAIM, 2), at_least_predicate(GPU_CLAIM, 1)]
    (predicate,) = spec["predicates"]
    assert predicate["requiredClusterSelector"]["celSelector"]["celExpressions"] == needs
    scores = [c["scoreCoordinate"]["addOn"]["scoreName"] for c in spec["prioritizerPolicy"]["configurations"]]
    assert scores == ["freeCPUOnOneNode", "freeGPUOnOneNode"]


def test_gpus_are_summed_and_other_devices_ignored() -> None:
    asked = {"nvidia.com/gpu": 1, "amd.com/gpu": 2, "example.com/gpu": 4, "gpu.intel.com/i915": 8}
    spec = placement(run_of(run_json(client={"dataset": "", "resources": {"requests": asked}})))["spec"]
    others = {name: asked[name] for name in ("example.com/gpu", "gpu.intel.com/i915")}
    unclaimed = placement(run_of(run_json(client={"dataset": "", "resources": {"requests": others}})))["spec"]

    (predicate,) = spec["predicates"]
    assert predicate["requiredClusterSelector"]["celSelector"]["celExpressions"] == [at_least_predicate(GPU_CLAIM, 3)]
    assert not {"predicates", "prioritizerPolicy"} & unclaimed.keys()


def test_a_request_below_the_unit_of_a_claim_excludes_no_cluster() -> None:
    spec = placement(run_of(run_json(client={"dataset": "", "resources": {"requests": {"cpu": "900m"}}})))["spec"]

    assert "predicates" not in spec


def test_the_last_claim_required_to_exist_is_the_data_key() -> None:
    def asking(*expressions: tuple[str, str]) -> Json:
        selector = {"matchExpressions": [{"key": key, "operator": operator} for key, operator in expressions]}
        return {"requiredClusterSelector": {"claimSelector": selector}}

    assert data_key({"predicates": [asking(("a", "Exists"), ("b", "In")), asking(("c", "Exists"))]}) == "c"
    assert data_key({"predicates": [{}]}) == ""


FAULTS: dict[str, tuple[Json, FaultReason, str]] = {
    "flower": ({"framework": "flower"}, FaultReason.FRAMEWORK_NOT_SERVED, "spec.framework"),
    "Route": ({"server": {"listeners": [{"type": "Route"}]}}, FaultReason.LISTENER_NOT_SERVED, "listeners[0]"),
    "no listeners": ({"server": {"listeners": []}}, FaultReason.LISTENER_NOT_SERVED, "spec.server.listeners"),
    "S3": ({"server": {"storage": {"type": "S3Bucket"}}}, FaultReason.STORAGE_NOT_SERVED, "storage.type"),
    "HostPath": (
        {"server": {"storage": {"type": "HostPath", "path": "/etc"}}},
        FaultReason.HOST_PATH_NOT_ALLOWED,
        "storage.path",
    ),
    "HostPath out of an allowed folder": (
        {"server": {"storage": {"type": "HostPath", "path": "/srv/fl/../../etc"}}},
        FaultReason.HOST_PATH_NOT_ALLOWED,
        "storage.path",
    ),
    "address": ({"server": {"listeners": [{"ip": "10.0.0"}]}}, FaultReason.ADDRESS_UNUSABLE, "listeners[0].ip"),
    "zone": ({"server": {"listeners": [{"ip": "fe80::1%eth0"}]}}, FaultReason.ADDRESS_UNUSABLE, "listeners[0].ip"),
    "no data": ({"client": {"dataset": ""}}, FaultReason.DATA_UNNAMED, "spec.client.dataset"),
    "no rounds": ({"server": {"rounds": 0}}, FaultReason.ROUNDS_MISSING, "spec.server.rounds"),
    "quorum": ({"server": {"minClientsPerRound": 3}}, FaultReason.QUORUM_UNREACHABLE, "minClientsPerRound"),
    "amount": ({"client": {"resources": {"requests": {"cpu": "many"}}}}, FaultReason.QUANTITY_UNREADABLE, "cpu"),
    "negative": ({"client": {"resources": {"limits": {"cpu": "-1"}}}}, FaultReason.QUANTITY_UNREADABLE, "cpu"),
}


@pytest.mark.parametrize(("spec", "reason", "field"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_names_the_field_and_the_remedy(spec: Json, reason: FaultReason, field: str) -> None:
    """Regression: unsupported listeners and storage left the phase Waiting, empty listeners without any hint."""
    (fault,) = faults(run_of(run_json(**spec)), RunLimits(host_paths=("/srv/fl/*",)))

    assert fault.reason is reason
    assert field in fault.field
    assert fault.remedy


def test_a_flower_run_has_only_the_fault_that_flower_is_unsupported() -> None:
    (fault,) = faults(run_of(yaml.safe_load(FLOWER)), RunLimits())

    assert fault.reason is FaultReason.FRAMEWORK_NOT_SERVED


def test_a_valid_spec_has_no_faults() -> None:
    host_path = {"storage": {"type": "HostPath", "path": "/srv/fl/models"}}

    assert faults(run_of(run_json()), RunLimits()) == ()
    assert faults(run_of(run_json(server=host_path)), RunLimits(host_paths=("/srv/fl/*",))) == ()


def test_the_aggregators_pod_is_hardened() -> None:
    """Regression: Jobs came without a restricted securityContext, and with a fixed user that OpenShift refuses."""
    pod = _pod()

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "runAsUser" not in str(pod)
    for container in (*pod["initContainers"], *pod["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_users_image_gets_no_token_key_or_volume() -> None:
    (workspace,) = _pod()["initContainers"]

    assert workspace["image"] == CLIENT_IMAGE
    assert {mount["name"] for mount in workspace["volumeMounts"]} == {"workspace", "scratch"}


def test_a_server_image_equal_to_the_clients_is_ignored() -> None:
    assert _pod(run_json(server={"image": CLIENT_IMAGE}))["containers"][0]["image"] == "aggregator:1"
    assert _pod(run_json(server={"image": "mine:2"}))["containers"][0]["image"] == "mine:2"


def test_a_plan_from_a_config_map_is_mounted_in_both_containers() -> None:
    pod = _pod(run_json(server={"plan": {"configMap": "plans", "key": "a.yaml"}}))

    (volume,) = [v for v in pod["volumes"] if v["name"] == "plan"]
    assert volume["configMap"] == {"name": "mnist-server-plan", "items": [{"key": "plan", "path": "a.yaml"}]}
    (variable,) = pod["initContainers"][0]["env"]
    assert (variable["name"], variable["value"].endswith("/a.yaml")) == ("FL_PLAN", True)


def test_the_aggregators_config_map_decodes_and_differs_between_attempts() -> None:
    run = run_of(run_json(server={"maxSamplesPerClient": 60000}))
    first, second = (config_map(run, n, cohort_of(7, ("a", "b")))["data"] for n in (1, 2))
    told = [msgspec.json.decode(data["run.json"], type=AggregatorRun) for data in (first, second)]

    assert msgspec.json.decode(first["cohort.json"], type=Cohort).members == ("a", "b")
    assert told[0].server_name == "mnist.default.aggregator.federated-learning.internal"
    assert (told[0].min_clients_per_round, told[0].rounds, told[0].max_samples_per_client) == (2, 3, 60000)
    assert told[0].id != told[1].id
    assert told[0].folder != told[1].folder


@pytest.mark.parametrize(("port", "asked"), [(31531, 31531), (8080, None), (29999, None), (32768, None)])
def test_a_node_port_is_requested_only_within_the_default_range(port: int, asked: int | None) -> None:
    """Regression: port 8080 with NodePort rendered a nodePort that every server rejects."""
    body = service(run_of(run_json(server={"listeners": [{"type": "NodePort", "port": port}]})), 0)

    assert body["spec"]["ports"][0].get("nodePort") == asked
    assert body["spec"]["ports"][0]["port"] == port


def test_the_aggregator_may_only_patch_its_status_and_watch_its_cohort() -> None:
    rules = role(run_of(run_json()))["rules"]
    may = {(tuple(r["resourceNames"]), r["resources"][0], verb) for r in rules for verb in r["verbs"]}

    assert may == {
        (("mnist",), "federatedlearnings", "get"),
        (("mnist",), "federatedlearnings/status", "get"),
        (("mnist",), "federatedlearnings/status", "patch"),
        (("mnist-server",), "configmaps", "get"),
        (("mnist-server",), "configmaps", "list"),
        (("mnist-server",), "configmaps", "watch"),
    }


def test_the_network_policy_allows_the_exchange_and_egress_to_the_api_server_only() -> None:
    """Regression: there was no NetworkPolicy for the aggregator."""
    spec = network_policy(run_of(run_json()), (("192.0.2.1", 6443), ("2001:db8::1", 6443)))["spec"]

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["to"][0]["ipBlock"]["cidr"] for rule in spec["egress"]] == ["192.0.2.1/32", "2001:db8::1/128"]


def test_a_collaborator_names_a_dataset_and_never_a_path() -> None:
    body = work(run_of(run_json()), 1, SITE, "digits", (Address("2001:db8::7", 8080),))
    (manifest,) = body["spec"]["workload"]["manifests"]
    (config,) = body["spec"]["manifestConfigs"]
    asked = msgspec.convert(manifest, Collaborator).spec

    assert (asked.dataset, asked.image) == ("digits", CLIENT_IMAGE)
    assert asked.aggregator is not None
    assert asked.aggregator.addresses == ("[2001:db8::7]:8080",)
    assert config["updateStrategy"]["type"] == "ServerSideApply"
    assert config["resourceIdentifier"]["namespace"] == manifest["metadata"]["namespace"] == "agent"


def _service(**spec: Any) -> Service:
    return msgspec.convert(spec, Service)


NODES = tuple(
    msgspec.convert({"metadata": {"name": n}, "status": {"addresses": [{"type": t, "address": a}]}}, NodeAddresses)
    for n, t, a in (("n1", "InternalIP", "10.0.0.1"), ("n2", "ExternalIP", "192.0.2.2"))
)
PORT = [{"port": 8080, "nodePort": 30555}]


@pytest.mark.parametrize(
    ("listener", "found", "expected"),
    [
        ({"type": "NodePort"}, {"spec": {"type": "NodePort", "ports": PORT}}, ("192.0.2.2", 30555)),
        ({"type": "NodePort", "ip": "192.0.2.9"}, {"spec": {"type": "NodePort", "ports": PORT}}, ("192.0.2.9", 30555)),
        (
            {"type": "ClusterIP"},
            {"spec": {"type": "ClusterIP", "clusterIP": "10.9.9.9", "ports": PORT}},
            ("10.9.9.9", 8080),
        ),
        ({"type": "LoadBalancer"}, {"spec": {"type": "LoadBalancer", "ports": PORT}}, None),
        (
            {"type": "LoadBalancer"},
            {
                "spec": {"type": "LoadBalancer", "ports": PORT},
                "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}},
            },
            ("lb.example.org", 8080),
        ),
        (
            {"type": "LoadBalancer", "hostname": "fl.example.org"},
            {"spec": {"type": "LoadBalancer", "ports": PORT}},
            ("fl.example.org", 8080),
        ),
    ],
    ids=["node", "named node", "cluster", "no address yet", "load balancer", "hostname"],
)
def test_the_address_of_a_listener_comes_from_the_cluster_or_the_user(
    listener: Json, found: Json, expected: tuple[str, int] | None
) -> None:
    run = run_of(run_json(server={"listeners": [listener]}))
    statuses = listener_statuses(run, [_service(**found)], NODES)

    assert [(s.address, s.port) for s in statuses] == ([] if expected is None else [expected])


def test_the_certificate_has_the_stable_name_and_addresses_and_expires_before_its_authority() -> None:
    run = run_of(run_json(server={"listeners": [{"type": "NodePort", "ip": "192.0.2.9"}]}))
    listeners = listener_statuses(run, [_service(spec={"type": "NodePort", "ports": PORT})], ())
    signer = AggregatorAuthority(authority(life=timedelta(hours=5)), "bundle", timedelta(hours=24))
    key: Any = key_of("authority p256")
    made = issue_certificate(signer, certificate_names(run, listeners), {"name": "s"}, key=key, serial=7, now=NOW)

    data = {name: base64.b64decode(value) for name, value in made.secret["data"].items()}
    certificate = x509.load_pem_x509_certificate(data["tls.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert names.get_values_for_type(x509.DNSName) == ["mnist.default.aggregator.federated-learning.internal"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.9"]
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.not_valid_after_utc == NOW + timedelta(hours=5)
    assert made.renew_at < certificate.not_valid_after_utc
    assert set(data) == {"tls.crt", "tls.key", "ca.crt"}
