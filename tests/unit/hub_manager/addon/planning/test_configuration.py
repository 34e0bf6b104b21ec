"""The configuration that applies to a cluster, also if a spoke has changed its status."""

from typing import Any

import pytest

from hub_manager.addon.planning.configuration import (
    ConfigurationReason,
    ResolvedConfig,
    UnresolvedConfig,
    observed_references,
    resolve,
)
from hub_manager.addon.planning.deployment_config import spec_hash
from tests.support.builders.addon_objects import (
    CONFIGURED,
    World,
    addon,
    chosen,
    cluster_management_addon,
    configs_of,
    deployment_config,
    raw_addon,
    reference,
)

CONFIG = deployment_config(agentInstallNamespace="fl")
SECRETIVE = deployment_config("other-clusters", proxyConfig={"httpProxy": "http://user:password@proxy"})


def _status(*references: Any, conditions: tuple[Any, ...] = (CONFIGURED,)) -> dict[str, Any]:
    return {"conditions": list(conditions), "configReferences": list(references)}


def test_a_configuration_chosen_for_the_cluster_is_in_force() -> None:
    own = addon(configs=[chosen(CONFIG)], status=_status(reference(CONFIG)))

    found = resolve(own, cluster_management_addon(), configs_of(CONFIG))

    assert isinstance(found, ResolvedConfig)
    assert found.configuration.agent_install_namespace == "fl"


@pytest.mark.parametrize(
    "named",
    [cluster_management_addon(defaults="adc"), cluster_management_addon(placed=["adc"])],
    ids=["default", "placement"],
)
def test_a_configuration_of_the_fleet_is_in_force_once_it_is_released(named: Any) -> None:
    held = resolve(addon(status=_status(reference(CONFIG, digest="old"))), named, configs_of(CONFIG))
    released = resolve(addon(status=_status(reference(CONFIG))), named, configs_of(CONFIG))

    assert isinstance(held, UnresolvedConfig)
    assert held.reason is ConfigurationReason.PENDING
    assert isinstance(released, ResolvedConfig)


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ([], cluster_management_addon()),
        ([], cluster_management_addon(defaults="adc")),
        ([chosen(CONFIG)], cluster_management_addon(defaults="other-clusters")),
    ],
    ids=["nothing-named", "another-default", "own-choice-rules-out"],
)
def test_ignores_a_configuration_that_only_the_spoke_names(own: list[Any], named: Any) -> None:
    tampered = addon(configs=own, status=_status(reference(SECRETIVE)))

    found = resolve(tampered, named, configs_of(CONFIG, SECRETIVE))

    assert isinstance(found, UnresolvedConfig)
    assert observed_references(tampered, named, configs_of(CONFIG, SECRETIVE))[0].last_observed_generation == 0


@pytest.mark.parametrize(
    ("own", "status", "configs", "reason", "named"),
    [
        ([], {"conditions": []}, (), ConfigurationReason.PENDING, "addon-manager"),
        ([chosen(CONFIG)], _status(), (CONFIG,), ConfigurationReason.PENDING, "spec.configs"),
        ([chosen(CONFIG)], _status(reference(CONFIG)), (), ConfigurationReason.MISSING, "ns/adc"),
        (
            [{"group": "example.org", "resource": "tunings", "name": "x"}],
            _status(),
            (),
            ConfigurationReason.UNSUPPORTED,
            "tunings.example.org",
        ),
    ],
    ids=["not-configured", "not-taken-up", "missing", "unsupported"],
)
def test_what_cannot_be_honoured_is_withheld_by_name(
    own: list[Any], status: dict[str, Any], configs: Any, reason: ConfigurationReason, named: str
) -> None:
    found = resolve(addon(configs=own, status=status), cluster_management_addon(), configs_of(*configs))

    assert isinstance(found, UnresolvedConfig)
    assert found.reason is reason
    assert named in found.message


def test_the_digest_of_a_chosen_configuration_is_recorded_and_only_then_deployed() -> None:
    world = World(
        addon=raw_addon(configs=[chosen(CONFIG)], status=_status(reference(CONFIG, digest=""))),
        configs=configs_of(CONFIG),
    )

    world.settle()

    recorded = world.status()["configReferences"][0]
    assert recorded["desiredConfig"]["specHash"] == spec_hash(CONFIG)
    assert recorded["lastObservedGeneration"] == 3
    assert world.status()["namespace"] == "fl"
    assert world.works() != []


def test_a_change_that_is_not_rolled_out_here_leaves_what_is_deployed() -> None:
    world = World(
        addon=raw_addon(status=_status(reference(CONFIG))),
        configs=configs_of(CONFIG),
        cluster_management_addon=cluster_management_addon(defaults="adc"),
    )
    world.settle()
    before = world.works()
    changed = deployment_config(agentInstallNamespace="elsewhere", generation=4)
    world.configs = configs_of(changed)

    world.settle()
    held = (world.works(), world.status()["namespace"])
    world.status()["configReferences"] = [reference(changed)]
    world.settle()

    assert held == (before, "fl")
    assert world.status()["namespace"] == "elsewhere"
    assert world.manifest("Namespace")["metadata"]["name"] == "elsewhere"


def test_an_invalid_configuration_is_named_in_the_conditions_and_nothing_is_deployed() -> None:
    broken = deployment_config(resourceRequirements=[{"containerID": "agent", "resources": {}}])
    world = World(
        addon=raw_addon(configs=[chosen(broken)], status=_status(reference(broken))), configs=configs_of(broken)
    )

    world.settle()

    accepted, applied = world.condition("ConfigurationAccepted"), world.condition("ManifestApplied")
    assert accepted is not None
    assert (accepted["status"], accepted["reason"]) == ("False", "Invalid")
    assert "containerID" in accepted["message"]
    assert applied is not None
    assert (applied["status"], applied["reason"]) == ("False", "ManifestWorkApplyFailed")
    assert world.works() == []
    assert "registrations" not in world.status()
