"""The Helm chart renders what kustomize renders, and its values become values and nothing more."""

import asyncio
import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.api_server.apiserver import find_programs

pytestmark = pytest.mark.apiserver

MANIFESTS = Path(__file__).parents[2] / "manifests"
HOSTILE = "x: y\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: evil\n"


@functools.cache
def _programs() -> Path:
    return asyncio.run(find_programs())


def _program(name: str) -> str:
    """One of the fleet's programs."""
    return str(_programs() / name)


def _objects(*command: str, given: str = "") -> dict[tuple[str, str], Any]:
    text = subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}


def _chart(namespace: str = "federated-learning-system", **values: Any) -> dict[tuple[str, str], Any]:
    command = [_program("helm"), "template", "federated-learning", str(MANIFESTS / "chart"), "--namespace", namespace]
    return _objects(*command, "--kube-version", "1.34.0", "--values", "-", given=json.dumps(values))


def test_the_chart_renders_the_same_manifests_as_kustomize() -> None:
    kustomized = _objects(_program("kubectl"), "kustomize", str(MANIFESTS / "hub"))
    # Helm makes the release's namespace itself.
    del kustomized["Namespace", "federated-learning-system"]

    assert _chart() == kustomized


def test_everything_follows_the_releases_namespace() -> None:
    rendered = _chart("elsewhere").values()

    places = {o["metadata"].get("namespace", "elsewhere") for o in rendered}
    subjects = {s["namespace"] for o in rendered for s in o.get("subjects", ())}
    assert places == subjects == {"elsewhere"}


def test_a_value_adds_no_object() -> None:
    rendered = _chart(agentImage=HOSTILE, authoritySecret=HOSTILE, nodeSelector={"a": HOSTILE})

    assert rendered.keys() == _chart().keys()
    pod = rendered["Deployment", "federated-learning-hub-manager"]["spec"]["template"]["spec"]
    environment = {v["name"]: v.get("value") for v in pod["containers"][0]["env"]}
    assert environment["AGENT_IMAGE"] == environment["AUTHORITY_SECRET"] == pod["nodeSelector"]["a"] == HOSTILE


def test_the_limits_of_runs_reach_the_manager() -> None:
    runs = {"hostPaths": ["/srv/a", "/srv/b"], "clusterSets": ["shops"], "fsGroup": "none"}
    pod = _chart(runs=runs)["Deployment", "federated-learning-hub-manager"]["spec"]["template"]["spec"]
    environment = {v["name"]: v.get("value") for v in pod["containers"][0]["env"]}

    assert environment["RUN_HOST_PATHS"] == "/srv/a,/srv/b"
    assert environment["RUN_CLUSTER_SETS"] == "shops"
    assert environment["AGGREGATOR_FS_GROUP"] == "none"


@pytest.mark.parametrize(
    ("sets", "bound"),
    [
        (["shops"], [["shops"]]),
        (["global", "shops"], [["global", "shops"]]),
        (["shops", "plants-*"], [["shops"]]),
        (["*"], [["global"]]),
        (["plants-*"], []),
        ([], []),
    ],
    ids=str,
)
def test_the_manager_may_bind_the_cluster_sets_that_are_named_and_no_other(sets: list[str], bound: list[Any]) -> None:
    rules = _chart(runs={"clusterSets": sets})["ClusterRole", "federated-learning-hub-manager"]["rules"]

    assert [rule["resourceNames"] for rule in rules if "managedclustersets/bind" in rule["resources"]] == bound


@pytest.mark.parametrize(
    "values",
    [
        {"image": "a:latest"},
        {"aggregatorImage": "a:latest"},
        {"certificateLifetimeSeconds": 60},
        {"logLevel": "loud"},
        {"replica": 2},
        {"runs": {"hostPaths": ["relative"]}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_value_that_cannot_be_used_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        _chart(**values)
