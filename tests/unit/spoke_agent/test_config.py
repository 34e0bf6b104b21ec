"""The settings of the agent, and the errors for invalid ones."""

from pathlib import Path

import pytest

from federation.environment import ConfigError
from spoke_agent.config import config_from


def test_only_the_cluster_name_is_required() -> None:
    config = config_from({"CLUSTER_NAME": "c1"})

    assert config.cluster == "c1"
    assert config.namespace == "open-cluster-management-agent-addon"
    assert config.hub_kubeconfig == Path("/managed/hub-kubeconfig/kubeconfig")
    assert (config.port, config.log_level, config.spoke_kubeconfig) == (8080, "info", None)


def test_every_setting_is_taken_from_the_environment() -> None:
    config = config_from(
        {
            "CLUSTER_NAME": "c1",
            "INSTALL_NAMESPACE": "fl",
            "HUB_KUBECONFIG": "/hub",
            "SPOKE_KUBECONFIG": "/spoke",
            "POD_NAME": "agent-6c5f",
            "CLAIM_OWNER": "owner",
            "PORT": "9090",
            "LOG_LEVEL": "DEBUG",
        }
    )

    assert (config.namespace, config.identity, config.claim_owner) == ("fl", "agent-6c5f", "owner")
    assert (config.hub_kubeconfig, config.spoke_kubeconfig) == (Path("/hub"), Path("/spoke"))
    assert (config.port, config.log_level) == (9090, "debug")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("CLUSTER_NAME", "", "ManagedCluster's name"),
        ("CLUSTER_NAME", "c1/../c2", "ManagedCluster's name"),
        ("INSTALL_NAMESPACE", "a b", "agent's namespace"),
        ("HUB_KUBECONFIG", "relative", "absolute path"),
        ("PORT", "0", "from 1 to 65535"),
        ("PORT", "70000", "from 1 to 65535"),
        ("PORT", "http", "from 1 to 65535"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
    ],
)
def test_an_unusable_setting_is_named_with_its_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=.*{remedy}"):
        config_from({"CLUSTER_NAME": "c1"} | {name: value})


def test_all_unusable_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        config_from({"PORT": "x", "LOG_LEVEL": "y"})

    assert all(name in str(refused.value) for name in ("CLUSTER_NAME", "PORT", "LOG_LEVEL"))
