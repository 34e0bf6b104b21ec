"""The add-on, installed on the fleet's hub and enabled on its spokes, once a session."""

from collections.abc import AsyncIterator

import pytest_asyncio

from demo import install
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet

Clusters = Fleet | ExistingFleet


@pytest_asyncio.fixture(scope="session")
async def hub(clusters: Clusters) -> Clusters:
    """The fleet, with the hub manager installed."""
    await install.install_hub(clusters)
    return clusters


@pytest_asyncio.fixture(scope="session")
async def enabled(hub: Clusters) -> AsyncIterator[Clusters]:
    """The fleet, with the add-on Available on every spoke."""
    await install.enable(hub, *hub.spokes)
    yield hub
    # A fleet of this machine's own has been taken down by now, and its add-on with it.
    if isinstance(hub, ExistingFleet):
        await install.disable(hub, *hub.spokes)
