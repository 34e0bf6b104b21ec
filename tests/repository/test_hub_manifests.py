"""The manifests for the hub: hardened, two replicas, and permissions limited to names."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from federation.kube.kinds import EVENT
from hub_manager.addon.planning.cluster_management_addon import BODY
from hub_manager.addon.planning.hub_permissions import NAME, RULES
from hub_manager.config import config_from
from hub_manager.federated_learning.settings import RunLimits

HUB = Path(__file__).parents[2] / "manifests" / "hub"
CHART = HUB.parent / "chart"


def _object(name: str) -> Any:
    return yaml.safe_load((HUB / f"{name}.yaml").read_text(encoding="utf-8"))


RULES_OF_MANAGER: list[dict[str, Any]] = [*_object("cluster-role")["rules"]]


def _may(group: str, resource: str, verb: str, name: str = "") -> bool:
    return any(
        group in rule["apiGroups"]
        and resource in rule["resources"]
        and verb in rule["verbs"]
        and (not rule.get("resourceNames") or name in rule["resourceNames"])
        for rule in RULES_OF_MANAGER
    )


def test_every_file_is_installed() -> None:
    listed = set(_object("kustomization")["resources"])

    assert listed == {path.name for path in HUB.glob("*.yaml")} - {"kustomization.yaml"} | {"../crds"}


def test_every_resource_type_is_installed() -> None:
    crds = HUB.parent / "crds"
    listed = set(yaml.safe_load((crds / "kustomization.yaml").read_text(encoding="utf-8"))["resources"])

    assert listed == {path.name for path in crds.glob("*.yaml")} - {"kustomization.yaml"}


def test_the_chart_holds_the_same_files() -> None:
    assert (CHART / "objects").resolve() == HUB
    assert (CHART / "definitions").resolve() == HUB.parent / "crds"
    assert [path.name for path in (CHART / "templates").iterdir()] == ["objects.yaml"]


OLDEST = "1.29"
"""Kubernetes' PodReplacementPolicy is on from there (KEP-3939), and a new rule may use `isQuantity`."""
TOO_NEW = re.compile(r"\b(isIP|ip|isCIDR|cidr|isSemver|semver)\(|\b(sets|format|optional)\.|\.\?|\[\?")
"""CEL functions that k8s.io/apiserver `pkg/cel/environment/base.go` adds in 1.29 or later; a new rule may use
what the previous minor version has."""


@pytest.mark.parametrize(
    "path", [*HUB.parent.glob("crds/fed*.yaml"), *HUB.parents[1].glob("addon-templates/crds/*.yaml")]
)
def test_the_rules_of_a_type_are_understood_by_the_oldest_kubernetes_that_the_chart_admits(path: Path) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    rules = re.findall(r"rule: (.*?)\n +(?:message|- rule):", path.read_text(encoding="utf-8"), re.DOTALL)

    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    assert f"Kubernetes {OLDEST}" in (HUB.parents[1] / "docs" / "install.md").read_text(encoding="utf-8")
    assert rules
    assert [rule for rule in rules if TOO_NEW.search(rule)] == []


def test_the_charts_defaults_are_those_of_the_files() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    deployment = _object("deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {v["name"]: v.get("value") for v in container["env"]}

    assert values["image"] == container["image"]
    assert values["agentImage"] == environment["AGENT_IMAGE"]
    assert values["aggregatorImage"] == environment["AGGREGATOR_IMAGE"]
    assert values["replicas"] == deployment["spec"]["replicas"]


def test_of_cluster_sets_the_manager_may_bind_the_one_that_runs_may_use_by_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    bound = [rule["resourceNames"] for rule in RULES_OF_MANAGER if "managedclustersets/bind" in rule["resources"]]

    assert bound == [values["runs"]["clusterSets"]] == [list(RunLimits().cluster_sets)]


def test_the_manager_starts_with_the_environment_it_is_given() -> None:
    (container,) = _object("deployment")["spec"]["template"]["spec"]["containers"]
    fields = {"metadata.name": "hub-manager-0", "metadata.namespace": "federated-learning-system"}
    environment = {
        v["name"]: v["value"] if "value" in v else fields[v["valueFrom"]["fieldRef"]["fieldPath"]]
        for v in container["env"]
    }

    assert config_from(environment).namespace == "federated-learning-system"


def test_the_manager_is_hardened() -> None:
    deployment = _object("deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert deployment["spec"]["replicas"] == 2
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


def test_no_right_is_a_wildcard() -> None:
    for rule in [*RULES_OF_MANAGER, *_object("role")["rules"]]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_secrets_are_read_in_the_managers_own_namespace_alone() -> None:
    elsewhere = {verb for rule in RULES_OF_MANAGER if "secrets" in rule["resources"] for verb in rule["verbs"]}

    # Both `patch` and `update` return the object, so either permission includes reading.
    assert elsewhere <= {"create", "delete"}


@pytest.mark.parametrize("verb", ["patch", "update", "delete"])
def test_roles_of_others_are_out_of_reach(verb: str) -> None:
    assert not _may("rbac.authorization.k8s.io", "roles", verb, "admin")
    assert not _may("rbac.authorization.k8s.io", "rolebindings", verb, "admin")


def test_signing_is_for_our_signer_alone() -> None:
    ours, kube = "federation-ai.open-cluster-management.io/collaborator", "kubernetes.io/kube-apiserver-client"

    assert _may("certificates.k8s.io", "signers", "sign", ours)
    assert not _may("certificates.k8s.io", "signers", "sign", kube)
    assert _may("certificates.k8s.io", "signers", "approve", kube)
    assert not _may("certificates.k8s.io", "signers", "approve", "kubernetes.io/kubelet-serving")


def test_the_manager_has_the_permissions_that_it_grants() -> None:
    for rule in RULES:
        for verb in rule["verbs"]:
            (group,), (resource,), (name,) = rule["apiGroups"], rule["resources"], rule["resourceNames"]
            assert _may(group, resource, verb, name), f"{verb} {resource}"


@pytest.mark.parametrize("verb", ["create", "get", "patch"])
def test_the_manager_may_update_events(verb: str) -> None:
    assert _may(EVENT.group, EVENT.plural, verb)


@pytest.mark.parametrize(
    ("group", "resource", "verb", "name"),
    [
        ("addon.open-cluster-management.io", "clustermanagementaddons", "create", ""),
        ("addon.open-cluster-management.io", "clustermanagementaddons", "patch", BODY["metadata"]["name"]),
        ("addon.open-cluster-management.io", "clustermanagementaddons/status", "patch", "federated-learning"),
        ("addon.open-cluster-management.io", "managedclusteraddons/status", "patch", "federated-learning"),
        ("work.open-cluster-management.io", "manifestworks", "patch", "addon-federated-learning-deploy-0"),
        ("work.open-cluster-management.io", "manifestworks", "create", ""),
        ("work.open-cluster-management.io", "manifestworks", "delete", "addon-federated-learning-deploy-0"),
        ("rbac.authorization.k8s.io", "rolebindings", "patch", NAME),
        ("rbac.authorization.k8s.io", "roles", "delete", NAME),
        ("cluster.open-cluster-management.io", "addonplacementscores", "create", ""),
        ("cluster.open-cluster-management.io", "addonplacementscores", "delete", "federated-learning"),
    ],
)
def test_the_manager_may_write_the_objects_of_the_plan(group: str, resource: str, verb: str, name: str) -> None:
    assert _may(group, resource, verb, name)
