"""The example as its user runs it: from one resource to a model that no site could have made alone."""

from pathlib import Path

import pytest

from demo import digits
from tests.support.fleet.fleet_runs import FleetRun, Model, Sites, condition, equal, read_model

pytestmark = pytest.mark.fleet
ENOUGH = 0.90


async def test_the_model_is_the_references_and_beats_every_site_alone(
    sites: Sites, reference: list[Model], tmp_path: Path
) -> None:
    run = FleetRun(sites.clusters, "digits")
    await run.submit(sites.image.reference)

    status = await run.ended()
    model = await run.fetched(tmp_path)
    verdict = await digits.evaluate(sites.shards, model)

    assert equal(read_model(model), reference[-1])
    assert verdict.federation >= ENOUGH
    assert verdict.federation > max(verdict.alone.values())
    assert verdict.alone.keys() == set(sites.names)
    assert {metric["task"] for metric in status["metrics"]} >= {"aggregated_model_validation"}
    assert status["cohort"] == sorted(sites.names)
    assert condition(status, "Complete")["reason"] == "ModelStored"


async def test_runs_of_one_name_in_two_namespaces_do_not_meet(sites: Sites, reference: list[Model]) -> None:
    """They overwrote each other's works; and both ask for one node port, which one of them gets."""
    short, long = FleetRun(sites.clusters, "digits-a"), FleetRun(sites.clusters, "digits-b")
    await short.submit(sites.image.reference, rounds=3)
    await long.submit(sites.image.reference, rounds=5)

    after = [await run.ended() for run in (short, long)]

    assert equal(await short.model(after[0]), reference[2])
    assert equal(await long.model(after[1]), reference[4])
    assert len({status["listeners"][0]["port"] for status in after}) == 2
    for run in (short, long):
        await run.delete()
