"""The plan is a fix-point, from wherever it starts and wherever it is cut off."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hub_manager.addon.planning.plan import plan_addon
from tests.support.builders.addon_objects import (
    ADC,
    CONFIGURED,
    World,
    chosen,
    cluster,
    cluster_management_addon,
    configs_of,
    deployment_config,
    raw_addon,
    reference,
    settings,
)

CONFIG = deployment_config(agentInstallNamespace="fl", customizedVariables=[{"name": "X", "value": "y"}])
BROKEN = deployment_config(resourceRequirements=[{"containerID": "agent", "resources": {}}])
OTHERS = {**CONFIGURED, "type": "Available", "reason": "Lease"}

_subjects = st.fixed_dictionaries({"user": st.text(max_size=5), "groups": st.lists(st.text(max_size=5), max_size=2)})
_statuses = st.fixed_dictionaries(
    {"conditions": st.sampled_from([[], [CONFIGURED], [OTHERS, CONFIGURED]])},
    optional={
        "registrations": st.lists(st.fixed_dictionaries({"signerName": st.just("a.b/c"), "subject": _subjects})),
        "namespace": st.sampled_from(["", "fl", "evil"]),
        "supportedConfigs": st.sampled_from([[], [ADC], [{"group": "g", "resource": "r"}, ADC]]),
        "configReferences": st.sampled_from(
            [[], [reference(CONFIG)], [reference(CONFIG, digest="")], [reference(BROKEN)], [{**ADC, "name": "n"}]]
        ),
        "kubeClientDriver": st.sampled_from(["", "csr", "token", "grpc"]),
        "healthCheck": st.sampled_from([{}, {"mode": "Customized"}]),
    },
)


def _mostly(usual: Any, *others: Any) -> Any:
    """A factor that seldom keeps a world from being deployed, so that the rest of it is looked at."""
    return st.sampled_from([usual] * 9 + list(others))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    config = draw(_mostly(CONFIG, BROKEN))
    spec: dict[str, Any] = draw(st.sampled_from([{}, {"configs": [chosen(config)]}, {"installNamespace": "site"}]))
    if draw(_mostly(False, True)):
        spec = {"configs": [{**ADC, "resource": "tunings"}]}
    status = draw(_statuses)
    if draw(_mostly(True, False)):
        released = [reference(config)] if spec.get("configs") else []
        status |= {"conditions": [CONFIGURED], "configReferences": released}
    addon: Any = raw_addon(status=status, **spec)
    if draw(_mostly(False, True)):
        addon["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return World(
        addon=draw(_mostly(addon, None)),
        cluster=draw(_mostly(cluster(), cluster(accepted=False), None)),
        cluster_management_addon=draw(
            _mostly(cluster_management_addon(), cluster_management_addon(defaults="adc"), None)
        ),
        configs=draw(_mostly(configs_of(config), {})),
        trust_bundle=draw(_mostly("-----BEGIN CERTIFICATE-----\n", "")),
    )


@hypothesis_settings(max_examples=150, deadline=None)
@given(worlds())
def test_a_plan_that_took_effect_leaves_nothing_to_do(world: World) -> None:
    world.settle()

    assert plan_addon(world.observe(), settings()).actions == ()


@hypothesis_settings(max_examples=60, deadline=None)
@given(worlds(), st.lists(st.integers(min_value=0, max_value=4), max_size=6))
def test_whatever_is_cut_off_the_same_state_is_reached(world: World, cuts: list[int]) -> None:
    undisturbed = copy.deepcopy(world)
    for cut in cuts:
        for action in plan_addon(world.observe(), settings()).actions[:cut]:
            world.carry_out(action)
    world.settle()
    reached = _meaning(world)

    undisturbed.settle()

    assert reached == _meaning(undisturbed)


def _meaning(world: World) -> Any:
    objects = {key: {**body, "metadata": {**body["metadata"], "uid": ""}} for key, body in world.objects.items()}
    status = None if world.addon is None else world.addon["status"]
    return objects, status
