"""The sites of the digits example on the fleet, and what their runs have to come to."""

from pathlib import Path

import pytest
import pytest_asyncio

from demo import digits, install
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from tests.support.fleet.fleet_runs import TERMS, Model, Sites, reference_models


@pytest_asyncio.fixture(scope="session")
async def sites(enabled: Fleet | ExistingFleet, tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """The fleet with the example's image on every node, and a shard at each of two sites."""
    shards = tmp_path_factory.mktemp("shards")
    made = Sites(enabled, await digits.load_collaborator(enabled), shards)
    await digits.make_shards(shards, made.names)
    # Tests of the add-on before these may have left it disabled.
    await install.enable(enabled, *made.names)
    for name in made.names:
        await digits.publish(enabled, name, shards, **TERMS)
    return made


@pytest_asyncio.fixture(scope="session")
async def reference(sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """The model after each round, as the reference has it."""
    return await reference_models(sites.shards, sites.names, Path(tmp_path_factory.mktemp("reference")))
