"""The settings from the image contract's environment, and the errors for invalid ones."""

from pathlib import Path

import pytest

from federation.environment import ConfigError
from runtimes.kit.config import collaborator_config, workspace_config

SERVER_NAME = "digits.research.aggregator.federated-learning.internal"
TOLD = {
    "FL_RUN": "research/digits",
    "FL_RUN_ID": "8a6e0804",
    "FL_CLUSTER": "c1",
    "FL_AGGREGATORS": "hub.example.com:31531",
    "FL_SERVER_NAME": SERVER_NAME,
}


def test_who_it_is_and_whom_it_dials_is_all_that_it_must_be_told() -> None:
    config = collaborator_config(TOLD)

    assert (config.run, config.run_id, config.cluster) == ("research/digits", "8a6e0804", "c1")
    assert (config.aggregators, config.server_name) == (("hub.example.com:31531",), SERVER_NAME)
    assert (config.data, config.tls, config.deadline) == (Path("/data"), Path("/tls"), 600.0)
    assert config.workspace.plan == Path("/workspace/plan/plan.yaml")
    assert config.workspace.termination_log == Path("/dev/termination-log")


def test_a_plan_from_elsewhere_comes_before_the_workspaces_own() -> None:
    assert workspace_config({"FL_PLAN": "/plan/plan.yaml"}).plan == Path("/plan/plan.yaml")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("FL_RUN", "digits", "NAMESPACE/NAME"),
        ("FL_RUN_ID", "../x", "ID of the run"),
        ("FL_SERVER_NAME", "", "DNS name"),
        ("FL_CLUSTER", "C 1", "ManagedCluster's name"),
        ("FL_AGGREGATORS", "hub.example.com", "HOST:PORT"),
        ("FL_AGGREGATORS", "dns:///x:1", "HOST:PORT"),
        ("FL_DEADLINE_SECONDS", "0", "whole seconds"),
        ("FL_WORKSPACE", "workspace", "absolute path"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
    ],
)
def test_an_unusable_setting_is_named_with_its_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}=.*{remedy}"):
        collaborator_config(TOLD | {name: value})


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        collaborator_config({})

    assert all(name in str(refused.value) for name in TOLD)


def test_an_address_of_version_six_is_taken() -> None:
    assert collaborator_config(TOLD | {"FL_AGGREGATORS": "[2001:db8::1]:31531,hub:1"}).aggregators == (
        "[2001:db8::1]:31531",
        "hub:1",
    )
