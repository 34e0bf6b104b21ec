"""The values of an AddOnDeploymentConfig, and its digest."""

from typing import Any

import pytest

from hub_manager.addon.planning.deployment_config import Configuration, decode, spec_hash
from tests.support.builders.addon_objects import deployment_config

# What Go and Python escape differently.
HOSTILE = '<debug> & \u2028\u2029 "quoted" \\ \u00e9\u4e2d\U0001f600 \u0001\b\f\n\r\t\u007f'


@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        (
            {"agentInstallNamespace": "open-cluster-management-agent-addon"},
            "d18a79b7b556192a80b3023546cd8346114f2dec27fb39707e6193a0130e4b39",
        ),
        (
            {
                "proxyConfig": {},
                "customizedVariables": [{"value": HOSTILE, "name": "LOG_LEVEL"}],
                "nodePlacement": {
                    "nodeSelector": {"b": "2", "a": "1"},
                    "tolerations": [{"operator": "Exists", "tolerationSeconds": 300, "key": "gpu"}],
                },
            },
            "a6871c26901bd194c88bcc1b1ece753b00e91c407732480de7e972a6e7c9b0ee",
        ),
        (
            {
                "resourceRequirements": [
                    {"resources": {"limits": {"memory": "512Mi", "cpu": 1}}, "containerID": "*:*:*"}
                ]
            },
            "48a2d98d21d7fb0507927c480079fd00cf0ce4ebdb2f86bef939f487b59bdde5",
        ),
    ],
    ids=["plain", "escapes", "numbers"],
)
def test_the_digest_is_the_one_that_go_computes(spec: dict[str, Any], digest: str) -> None:
    assert spec_hash(deployment_config(**spec)) == digest


@pytest.mark.parametrize(
    ("registries", "image"),
    [
        ([], "quay.io/fl/agent:1"),
        ([{"source": "quay.io/fl", "mirror": "mirror.local/x"}], "mirror.local/x/agent:1"),
        ([{"source": "quay.io/fl/", "mirror": "mirror.local/x/"}], "mirror.local/x/agent:1"),
        ([{"source": "", "mirror": "mirror.local"}], "mirror.local/agent:1"),
        ([{"source": "docker.io", "mirror": "mirror.local"}], "quay.io/fl/agent:1"),
        ([{"source": "quay.io", "mirror": ""}], "quay.io/fl/agent:1"),
        ([{"source": "quay.io", "mirror": "a"}, {"source": "quay.io/fl", "mirror": "b"}], "b/agent:1"),
    ],
    ids=["none", "prefix", "slashes", "every-source", "other-source", "no-mirror", "last-counts"],
)
def test_images_come_from_the_mirror(registries: list[dict[str, str]], image: str) -> None:
    configuration = decode({"registries": registries})

    assert isinstance(configuration, Configuration)
    assert configuration.image("quay.io/fl/agent:1") == image


@pytest.mark.parametrize(
    ("container", "matches"),
    [
        ("*:*:*", True),
        ("deployments:*:agent", True),
        ("deployments:federated-learning-agent:agent", True),
        ("daemonsets:*:*", False),
        ("deployments:federated-learning-agen.:agent", False),
        ("*:*:other", False),
    ],
)
def test_resources_go_to_the_containers_that_are_meant(container: str, *, matches: bool) -> None:
    spec = {"resourceRequirements": [{"containerID": container, "resources": {"limits": {"cpu": "1"}}}]}
    configuration = decode(spec)

    assert isinstance(configuration, Configuration)
    found = configuration.resources("deployments", "federated-learning-agent", "agent")
    assert (found is not None) == matches


def test_of_several_matching_resources_the_last_counts() -> None:
    configuration = decode(
        {
            "resourceRequirements": [
                {"containerID": "*:*:*", "resources": {"limits": {"cpu": "1"}}},
                {"containerID": "deployments:*:*", "resources": {"limits": {"cpu": "2"}}},
            ]
        }
    )

    assert isinstance(configuration, Configuration)
    found = configuration.resources("deployments", "a", "b")
    assert found is not None
    assert found.limits == {"cpu": "2"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"agentInstallNamespace": "a/b"}, "agentInstallNamespace"),
        ({"agentInstallNamespace": "x" * 64}, "agentInstallNamespace"),
        ({"resourceRequirements": [{"containerID": "agent", "resources": {}}]}, "containerID"),
        ({"proxyConfig": {"caBundle": "!!"}}, "caBundle"),
        ({"proxyConfig": {"caBundle": "/////w=="}}, "caBundle"),
        ({"nodePlacement": {"tolerations": "all"}}, "tolerations"),
    ],
    ids=["namespace", "long-namespace", "container", "base64", "not-text", "shape"],
)
def test_what_cannot_be_honoured_is_named(spec: dict[str, object], field: str) -> None:
    wrong = decode(spec)

    assert isinstance(wrong, str)
    assert field in wrong
