"""The manifests for a spoke: hardened, with minimal permissions, and limited to the templates."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.api.collaborator import COLLABORATOR_LABEL
from federation.api.dns_names import is_dns_label
from hub_manager.addon.planning.agent_manifests import AgentFacts, render
from hub_manager.addon.planning.deployment_config import Configuration, decode
from hub_manager.addon.planning.templates import ALWAYS, BrokenTemplate, load_templates
from spoke_agent.collaborator.planning.job import labels
from tests.support.builders.addon_objects import BUNDLE, IMAGE, templates
from tests.support.builders.collaborator_objects import collaborator

TEMPLATES = templates()


def _render(namespace: str = "fl", **spec: Any) -> dict[str, Any]:
    configuration = decode(spec)
    assert isinstance(configuration, Configuration), configuration
    manifests = render(TEMPLATES, AgentFacts("c1", namespace, IMAGE, BUNDLE, configuration))
    return {f"{m['kind']}/{m['metadata']['name']}": m for m in manifests}


def _pod(manifests: dict[str, Any]) -> Any:
    return manifests["Deployment/federated-learning-agent"]["spec"]["template"]["spec"]


def _environment(manifests: dict[str, Any]) -> dict[str, str]:
    variables = _pod(manifests)["containers"][0]["env"]
    names = [v["name"] for v in variables]
    assert len(names) == len(set(names))
    return {v["name"]: v.get("value", "") for v in variables}


def test_the_agent_is_neither_root_nor_able_to_write_its_image() -> None:
    pod = _pod(_render())

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostPath"} & {key for volume in pod["volumes"] for key in volume}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_no_right_of_the_agent_is_a_wildcard_or_reaches_secrets() -> None:
    rules = [r for m in _render().values() if m["kind"] in {"Role", "ClusterRole"} for r in m["rules"]]

    assert rules
    for rule in rules:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "configmaps"} & set(rule["resources"])
        if rule["apiGroups"] == ["rbac.authorization.k8s.io"]:
            assert rule["resourceNames"] == ["federated-learning-agent"]
            assert rule["verbs"] == ["get"]


def test_the_role_that_owns_the_claims_is_one_that_the_agent_can_read() -> None:
    manifests = _render()

    owner = _environment(manifests)["CLAIM_OWNER"]

    rules = manifests[f"ClusterRole/{owner}"]["rules"]
    assert {"get"} in [set(r["verbs"]) for r in rules if r.get("resourceNames") == [owner]]


def test_the_work_agent_may_carry_collaborators_and_no_dataset() -> None:
    role = _render()["ClusterRole/open-cluster-management:federated-learning:work"]

    assert role["metadata"]["labels"] == {"open-cluster-management.io/aggregate-to-work": "true"}
    assert [r["resources"] for r in role["rules"]] == [["collaborators"]]


def test_a_collaborators_pod_is_confined_whatever_becomes_of_its_runs_own_policy() -> None:
    """That one goes with its Collaborator, at once; the pod has its time of grace."""
    manifests = _render()
    policy = manifests["NetworkPolicy/federated-learning.collaborators"]
    agent = manifests["Deployment/federated-learning-agent"]["spec"]["template"]["metadata"]["labels"]

    assert policy["spec"] == {
        "podSelector": {"matchExpressions": [{"key": COLLABORATOR_LABEL, "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert COLLABORATOR_LABEL in labels(collaborator())
    assert COLLABORATOR_LABEL not in agent
    assert not is_dns_label(policy["metadata"]["name"]), "a Collaborator's own policy would have its name"


def test_everything_is_in_the_install_namespace() -> None:
    manifests = _render("site")

    places = {m["metadata"].get("namespace", "site") for m in manifests.values()}
    subjects = {s["namespace"] for m in manifests.values() for s in m.get("subjects", ())}
    assert places == {"site"}
    assert subjects == {"site"}
    assert "Namespace/site" in manifests
    assert _environment(manifests)["INSTALL_NAMESPACE"] == "site"
    assert _environment(manifests)["CLUSTER_NAME"] == "c1"


def test_ocms_own_namespace_is_not_ours_to_make() -> None:
    assert not [name for name in _render("open-cluster-management-agent-addon") if name.startswith("Namespace/")]


def test_tolerations_are_honoured_without_a_node_selector() -> None:
    pod = _pod(_render(nodePlacement={"tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}]}))

    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}]
    assert pod["nodeSelector"] == {}


def test_resources_mirror_and_selector_reach_the_container() -> None:
    manifests = _render(
        nodePlacement={"nodeSelector": {"disk": "ssd"}},
        registries=[{"source": "registry.example.org", "mirror": "mirror.local"}],
        resourceRequirements=[{"containerID": "*:*:agent", "resources": {"limits": {"memory": "1Gi"}}}],
    )

    container = _pod(manifests)["containers"][0]
    assert _pod(manifests)["nodeSelector"] == {"disk": "ssd"}
    assert container["image"] == "mirror.local/federation/agent:1.2.3"
    assert container["resources"] == {"limits": {"memory": "1Gi"}}


def test_a_proxy_and_its_ca_reach_the_agent() -> None:
    bundle = base64.b64encode(BUNDLE.encode()).decode()
    manifests = _render(proxyConfig={"httpsProxy": "http://proxy:3128", "noProxy": ".svc", "caBundle": bundle})

    environment = _environment(manifests)
    assert environment["HTTPS_PROXY"] == environment["https_proxy"] == "http://proxy:3128"
    assert environment["NO_PROXY"] == ".svc"
    assert "HTTP_PROXY" not in environment
    mounts = {m["name"]: m["mountPath"] for m in _pod(manifests)["containers"][0]["volumeMounts"]}
    assert environment["CA_BUNDLE_FILE_PATH"] == f"{mounts['proxy-ca']}/ca-bundle.crt"
    assert manifests["ConfigMap/federated-learning-proxy-ca"]["data"] == {"ca-bundle.crt": BUNDLE}


def test_a_variable_cannot_take_the_place_of_the_agents_identity() -> None:
    manifests = _render(
        customizedVariables=[{"name": "CLUSTER_NAME", "value": "c2"}, {"name": "LOG_LEVEL", "value": "debug"}]
    )

    assert _environment(manifests)["CLUSTER_NAME"] == "c1"
    assert _environment(manifests)["LOG_LEVEL"] == "debug"


def test_rendering_leaves_the_templates_as_they_are() -> None:
    before = msgspec.json.encode(TEMPLATES)

    _render(nodePlacement={"nodeSelector": {"a": "b"}})

    assert msgspec.json.encode(TEMPLATES) == before


_hostile = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["x\n---\nkind: ClusterRoleBinding", '"}, {"kind": "Secret"', "{{ .x }}", "a: b\n  c: d", "$(id)"]),
)


@settings(max_examples=60, deadline=None)
@given(level=_hostile, proxy=_hostile, selector=st.dictionaries(_hostile, _hostile, max_size=2), mirror=_hostile)
def test_no_value_adds_an_object_or_a_field(level: str, proxy: str, selector: dict[str, str], mirror: str) -> None:
    plain = _render(
        customizedVariables=[{"name": "LOG_LEVEL", "value": "info"}],
        proxyConfig={"httpProxy": "p"},
        nodePlacement={"nodeSelector": {}},
        registries=[{"mirror": "m"}],
    )
    hostile = _render(
        customizedVariables=[{"name": "LOG_LEVEL", "value": level}],
        proxyConfig={"httpProxy": proxy or "p"},
        nodePlacement={"nodeSelector": selector},
        registries=[{"mirror": mirror or "m"}],
    )
    read_back = {name: msgspec.json.decode(msgspec.json.encode(m)) for name, m in hostile.items()}
    assert read_back == hostile
    assert read_back.keys() == plain.keys()

    _pod(hostile)["nodeSelector"] = {}
    assert _keys(hostile) == _keys(plain)


def _keys(value: Any) -> Any:
    match value:
        case dict():
            return {key: _keys(inner) for key, inner in value.items()}
        case list():
            return [_keys(inner) for inner in value]
        case _:
            return type(value).__name__


def test_a_broken_template_is_named(tmp_path: Any) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / f"{ALWAYS[0]}.yaml").write_text("kind: ServiceAccount\n---\nkind: Secret\n")

    with pytest.raises(BrokenTemplate, match=ALWAYS[0]):
        load_templates(tmp_path)
