"""Fixtures that all tests share: the fleet starts once per session, if a test needs it."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

import federation.rpc as _before_grpc  # noqa: F401 - it says there why
from fleet import images, lifecycle, requirements
from fleet.existing import ExistingFleet, from_environment
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import default_layout

# A busy machine does not falsify a property. Continuous integration tries the same examples each time, people new ones.
settings.register_profile(
    "house", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

# A shell without job control has what it starts in the background ignore Ctrl-C, and so would every program under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that take the fleet down last; all others keep their order.

    A test on the fleet has several waits, each with its own deadline, so its own timeout is longer.
    """
    for item in items:
        if item.get_closest_marker("fleet"):
            item.add_marker(pytest.mark.timeout(1200, func_only=True))
    items.sort(key=lambda item: item.get_closest_marker("ends_fleet") is not None)


@pytest_asyncio.fixture(scope="session")
async def clusters() -> AsyncIterator[Fleet | ExistingFleet]:
    """A hub and its spokes: those of FLEET=existing, or this machine's own, taken down at the end if they came up here.

    A machine that can't run a fleet fails the test with what it lacks: a skipped promise is not a kept one.
    """
    if os.environ.get("FLEET") == "existing":
        yield from_environment()
        return
    layout = default_layout()
    requirements.check(layout)
    already_up = lifecycle.find(layout) is not None
    yield await lifecycle.up(layout, spokes=2, report=print)
    if not already_up:
        await lifecycle.down(layout, report=print)


@pytest.fixture
def fleet(clusters: Fleet | ExistingFleet) -> Fleet:
    """This machine's own fleet, for what only its own network and processes can show."""
    if isinstance(clusters, ExistingFleet):
        pytest.skip("only a fleet of this machine's own can be cut, slowed or restarted (FLEET=existing)")
    return clusters


@pytest_asyncio.fixture(scope="session")
async def python_image(clusters: Fleet | ExistingFleet) -> Image:
    """The Python base image, on every node."""
    image = await clusters.build_image(await images.python(clusters.layout))
    await clusters.load_image(image)
    return image
