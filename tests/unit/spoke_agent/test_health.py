"""When the agent says that it is well, and what it says otherwise."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from spoke_agent.health import LONG_SILENCE, SILENCE, HealthInputs, health_problems, stuck_watch

WELL = HealthInputs(silence={"datasets": 0.0, "nodes": SILENCE}, claims_applied=True, hub_kubeconfig=True)


def test_a_well_agent_has_no_ailment() -> None:
    assert health_problems(WELL) == ()
    assert stuck_watch(WELL) is None


@pytest.mark.parametrize(
    ("health_inputs", "says"),
    [
        (replace(WELL, silence={"datasets": None, "nodes": 0.0}), "datasets: not listed yet"),
        (replace(WELL, silence={"nodes": SILENCE + 1}), "nodes: no message from the API server for 181 s"),
        (replace(WELL, claims_applied=False), "claims: not all are written"),
        (replace(WELL, hub_kubeconfig=False), "hub: no kubeconfig yet"),
    ],
    ids=["never listed", "silent", "claims unwritten", "no kubeconfig"],
)
def test_each_problem_alone_makes_the_agent_unhealthy_and_is_named(health_inputs: HealthInputs, says: str) -> None:
    (ailment,) = health_problems(health_inputs)

    assert ailment.startswith(says)


@pytest.mark.parametrize(
    ("silence", "hope"),
    [
        ({"nodes": None}, True),
        ({"nodes": LONG_SILENCE}, True),
        ({"datasets": 0.0, "nodes": LONG_SILENCE + 1}, False),
    ],
    ids=["never listed", "silent for a while", "silent for long"],
)
def test_only_a_watch_that_fell_silent_for_long_is_worth_a_restart(
    silence: Mapping[str, float | None], hope: bool
) -> None:
    assert (stuck_watch(replace(WELL, silence=silence, claims_applied=False)) is None) == hope
