"""The driver handles calls that are cut while they wait."""

import asyncio
from pathlib import Path

import pytest

from federation.model import digest_of
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.engine.driver import Driver
from hub_manager.aggregator.engine.engine import open_engine
from hub_manager.aggregator.numerics.algorithms import Aggregation, WeightedMean
from hub_manager.aggregator.rounds.inputs import Event, UpdateBegun, UpdateBroken
from hub_manager.aggregator.rounds.machine import StepResult
from hub_manager.aggregator.validation.manifest import ModelLimits
from tests.support.exchange.rounds import parameters


class Noted(Driver):
    """Records its calls."""

    reported: tuple[Event, ...] = ()

    def submit(self, event: Event) -> "asyncio.Future[StepResult]":
        self.reported = (*self.reported, event)
        return super().submit(event)


async def test_upload_cut_before_acceptance_is_discarded(tmp_path: Path) -> None:
    engine, first = open_engine(tmp_path, "a-run", parameters(("c1", "c2")), Aggregation(WeightedMean()), 0.0)
    driver = Noted(engine, first, ModelLimits())
    announced = Announcement(1, "train", 8, digest_of(b"an update"), 10)
    call = asyncio.create_task(driver.receive("c1", announced, 0))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    driver.close()

    assert driver.reported == (UpdateBegun("c1", announced), UpdateBroken("c1", announced))
