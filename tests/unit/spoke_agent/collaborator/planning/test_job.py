"""The Job of an accepted Collaborator, and the network that it can reach."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from federation.api.collaborator import AggregatorAddress
from spoke_agent.collaborator.planning.job import CERTIFICATE_SECRET, inputs_digest, job, network_policy
from spoke_agent.collaborator.planning.training_plan import ANNOTATION
from tests.support.builders.collaborator_objects import AGGREGATOR, SITE, collaborator, open_dataset

ADDRESS = AggregatorAddress(addresses=("198.51.100.7:30051", "[2001:db8::1]:443"))


def rendered(*, remaining: float | None = None, volume: Any = None, **asked: Any) -> dict[str, Any]:
    return job(collaborator(**asked), ADDRESS, open_dataset(volume=volume), SITE, remaining=remaining)


def pod_of(body: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = body["spec"]["template"]["spec"]
    return spec


def variables(body: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod_of(body)["containers"][0]["env"]}


def test_it_runs_without_rights_of_any_kind() -> None:
    pod = pod_of(rendered())
    container = pod["containers"][0]

    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()


def test_it_keeps_the_images_entry_point() -> None:
    container = pod_of(rendered(args=["--verbose"]))["containers"][0]

    assert "command" not in container
    assert container["args"] == ["--verbose"]


@pytest.mark.parametrize(
    ("volume", "source"),
    [
        (
            {"persistentVolumeClaim": {"claimName": "d"}},
            {"persistentVolumeClaim": {"claimName": "d", "readOnly": True}},
        ),
        ({"hostPath": {"path": "/srv/d"}}, {"hostPath": {"path": "/srv/d", "type": "Directory"}}),
        ({"configMap": {"name": "d"}}, {"configMap": {"name": "d", "defaultMode": 0o444}}),
        ({"secret": {"secretName": "d"}}, {"secret": {"secretName": "d", "defaultMode": 0o444}}),
        (
            {"csi": {"driver": "d", "fsType": "ext4", "volumeAttributes": {"a": "b"}, "nodePublishSecret": "s"}},
            {
                "csi": {
                    "driver": "d",
                    "readOnly": True,
                    "fsType": "ext4",
                    "volumeAttributes": {"a": "b"},
                    "nodePublishSecretRef": {"name": "s"},
                }
            },
        ),
    ],
    ids=["claim", "host path", "config map", "secret", "csi"],
)
def test_the_data_is_the_datasets_volume_read_only(volume: dict[str, Any], source: dict[str, Any]) -> None:
    pod = pod_of(rendered(volume=volume))

    assert pod["volumes"][0] == {"name": "dataset", **source}
    mount = pod["containers"][0]["volumeMounts"][0]
    assert (mount["name"], mount["mountPath"], mount["readOnly"]) == ("dataset", "/data", True)
    assert mount["recursiveReadOnly"] == "IfPossible"


def test_a_folder_of_the_volume_is_mounted_alone() -> None:
    volume = {"hostPath": {"path": "/srv"}, "subPath": "2030"}

    assert pod_of(rendered(volume=volume))["containers"][0]["volumeMounts"][0]["subPath"] == "2030"


def test_the_certificate_and_the_authorities_are_those_that_the_add_on_deploys() -> None:
    deployment = yaml.safe_load(Path("addon-templates/agent/deployment.yaml").read_text(encoding="utf-8"))
    volumes = {each["name"]: each for each in deployment["spec"]["template"]["spec"]["volumes"]}

    tls = next(each for each in pod_of(rendered())["volumes"] if each["name"] == "tls")["projected"]["sources"]

    assert tls[0]["secret"]["name"] == CERTIFICATE_SECRET == volumes["collaborator-certificate"]["secret"]["secretName"]
    assert tls[1]["configMap"]["name"] == volumes["trust-bundle"]["configMap"]["name"]
    assert [item["path"] for source in (tls[0]["secret"], tls[1]["configMap"]) for item in source["items"]] == [
        "tls.crt",
        "tls.key",
        "ca.crt",
    ]


def test_the_job_sets_the_variables_of_the_image_contract() -> None:
    told = variables(rendered(env=[{"name": "HOME", "value": "/nowhere"}, {"name": "SEED", "value": "7"}]))

    assert told == {
        "HOME": "/nowhere",
        "SEED": "7",
        "FL_RUN": "research-a/digits",
        "FL_RUN_ID": "run-uid-1",
        "FL_CLUSTER": "c1",
        "FL_AGGREGATORS": "198.51.100.7:30051,[2001:db8::1]:443",
        "FL_SERVER_NAME": "digits.research-a.aggregator.federated-learning.internal",
        "FL_DATA": "/data",
        "FL_TLS": "/tls",
        "FL_DEADLINE_SECONDS": "600",
        "FL_TERMINATION_LOG": "/dev/termination-log",
    }


def test_a_plans_text_is_a_file_of_the_pods_own_and_needs_no_object_beside_it() -> None:
    body = rendered(plan={"text": "tasks:\n  train: {}\n"})
    pod = pod_of(body)

    assert body["spec"]["template"]["metadata"]["annotations"] == {ANNOTATION: "tasks:\n  train: {}\n"}
    (volume,) = [each for each in pod["volumes"] if each["name"] == "plan"]
    (item,) = volume["downwardAPI"]["items"]
    assert item == {"path": "plan.yaml", "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}']"}}
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "plan"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/plan", True)
    assert variables(body)["FL_PLAN"] == "/plan/plan.yaml"


def test_a_plans_file_is_one_of_the_workspace_and_no_other_variables_value() -> None:
    body = rendered(plan={"file": "plan/$(FL_DATA)/fast.yaml"})

    assert variables(body)["FL_PLAN"] == "plan/$$(FL_DATA)/fast.yaml"
    assert [each["name"] for each in pod_of(body)["volumes"]] == ["dataset", "tls", "scratch"]


def test_the_hub_cannot_tell_it_what_the_agent_does() -> None:
    """The policy refuses such a variable; the Job would not believe it either."""
    assert variables(rendered(env=[{"name": "FL_DATA", "value": "/etc"}]))["FL_DATA"] == "/data"


def test_it_gets_the_resources_that_were_asked_for_and_devices_as_kubernetes_wants_them() -> None:
    asked = {"requests": {"cpu": 2, "nvidia.com/gpu": "1"}, "limits": {"memory": "4Gi"}}

    assert pod_of(rendered(resources=asked))["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "nvidia.com/gpu": "1"},
        "limits": {"memory": "4Gi", "nvidia.com/gpu": "1"},
    }


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        (
            {"requests": {"nvidia.com/gpu": 1, "cpu": 2}, "limits": {"example.com/nic": "2"}},
            ["example.com/nic", "nvidia.com/gpu"],
        ),
        ({"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}, ["nvidia.com/gpu"]),
        ({"requests": {"nvidia.com/gpu": "0"}, "limits": {"amd.com/gpu": 0}}, []),
        ({"requests": {"node-role.kubernetes.io/control-plane": "1"}}, []),
        ({"requests": {"cpu": "1"}}, []),
    ],
    ids=["devices", "twice", "none of it", "kubernetes' own", "no device"],
)
def test_it_may_run_where_nodes_are_kept_for_the_devices_that_it_asks_for(
    asked: dict[str, Any], keys: list[str]
) -> None:
    """ExtendedResourceToleration, which would see to it, is off by default."""
    assert pod_of(rendered(resources=asked))["tolerations"] == [{"key": key, "operator": "Exists"} for key in keys]


@pytest.mark.parametrize(
    ("asked", "remaining", "expected"),
    [
        (None, None, None),
        (60, None, 60),
        (60, 30.5, 30),
        (None, 30.0, 30),
        (60, 90.0, 60),
        (None, 0.2, 1),
        (None, 2.5e11, 2**31 - 1),
        (2**63 - 1, None, 2**31 - 1),
    ],
)
def test_it_ends_by_the_runs_deadline_and_the_datasets_expiry(
    asked: int | None, remaining: float | None, expected: int | None
) -> None:
    body = rendered(remaining=remaining, activeDeadlineSeconds=asked)

    assert body["spec"].get("activeDeadlineSeconds") == expected


def test_the_collaborator_owns_the_job() -> None:
    for body in (rendered(), network_policy(collaborator(), ADDRESS, SITE)):
        metadata = body["metadata"]
        assert (metadata["namespace"], metadata["name"]) == ("agent", "fl-digits")
        assert [(owner["kind"], owner["uid"]) for owner in metadata["ownerReferences"]] == [("Collaborator", "c-uid")]


def test_its_pods_are_those_that_the_network_policy_confines() -> None:
    confined = network_policy(collaborator(), ADDRESS, SITE)["spec"]
    labels = rendered()["spec"]["template"]["metadata"]["labels"]

    assert confined["podSelector"]["matchLabels"].items() <= labels.items()
    assert confined["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in confined
    assert [rule["to"][0]["ipBlock"]["cidr"] for rule in confined["egress"]] == ["198.51.100.7/32", "2001:db8::1/128"]


def test_a_failure_that_would_come_again_ends_it_and_a_drained_node_does_not_count() -> None:
    spec = rendered()["spec"]

    ignored, fatal = spec["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert (fatal["action"], fatal["onExitCodes"]["values"]) == ("FailJob", [2, 3, 4, 5])
    assert fatal["onExitCodes"]["containerName"] == pod_of(rendered())["containers"][0]["name"]
    assert spec["podReplacementPolicy"] == "Failed"


def test_its_inputs_are_what_the_hub_and_the_site_said() -> None:
    same = inputs_digest(collaborator(), open_dataset())

    assert same == inputs_digest(collaborator(status={"state": "Running"}), open_dataset(approval="Manual"))
    assert same != inputs_digest(collaborator(args=["x"]), open_dataset())
    assert same != inputs_digest(collaborator(plan={"text": "x"}), open_dataset())
    assert same != inputs_digest(collaborator(aggregator={**AGGREGATOR, "patienceSeconds": 5}), open_dataset())
    assert same != inputs_digest(collaborator(), open_dataset(volume={"hostPath": {"path": "/srv"}}))
    assert same != inputs_digest(collaborator(), open_dataset(expiresAt="2031-01-01T00:00:00Z"))
