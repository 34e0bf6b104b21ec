"""The example as its user runs it: from one resource to a model that no site could have made alone."""

import pytest

from demo import digits
from fleet.fleet import Fleet
from tests.support.fleet_runs import FleetRun, Model, Sites, condition, equal

pytestmark = pytest.mark.fleet
ENOUGH = 0.90


async def test_the_model_is_the_references_and_beats_every_site_alone(
    fleet: Fleet, sites: Sites, reference: list[Model]
) -> None:
    run = FleetRun(fleet, "digits")
    await run.submit(sites.image.reference)

    status = await run.ended()
    verdict = await digits.judge(sites.shards, run.volume(fleet) / status["model"]["location"])

    assert equal(run.model(fleet, status), reference[-1])
    assert verdict.federation >= ENOUGH
    assert verdict.federation > max(verdict.alone.values())
    assert verdict.alone.keys() == set(sites.names)
    assert {metric["task"] for metric in status["metrics"]} >= {"aggregated_model_validation"}
    assert status["cohort"] == sorted(sites.names)
    assert condition(status, "Complete")["reason"] == "ModelStored"


async def test_runs_of_one_name_in_two_namespaces_do_not_meet(
    fleet: Fleet, sites: Sites, reference: list[Model]
) -> None:
    """D13: they overwrote each other's works; and both ask for one node port, which one of them gets (D1)."""
    short, long = FleetRun(fleet, "digits-a"), FleetRun(fleet, "digits-b")
    await short.submit(sites.image.reference, rounds=3)
    await long.submit(sites.image.reference, rounds=5)

    after = [await run.ended() for run in (short, long)]

    assert equal(short.model(fleet, after[0]), reference[2])
    assert equal(long.model(fleet, after[1]), reference[4])
    assert len({status["listeners"][0]["port"] for status in after}) == 2
    for run in (short, long):
        await run.delete()
