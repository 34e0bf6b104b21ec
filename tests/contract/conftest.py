"""The servers that the contract is held against, one after the other."""

import itertools
from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from federation.kube.kinds import NAMESPACE
from tests.support.api_server.apiserver import LoopbackApiServer, loopback_api_server
from tests.support.api_server.served import FakeServed, RealServed, Served
from tests.support.fakes.proxy import Proxy

_NAMES = itertools.count()


@pytest.fixture
def namespace() -> str:
    """A namespace of the test's own."""
    return f"contract-{next(_NAMES)}"


@pytest_asyncio.fixture(scope="session")
async def real_server() -> AsyncIterator[LoopbackApiServer]:
    """One kube-apiserver for the session."""
    async with loopback_api_server() as server:
        yield server


@pytest_asyncio.fixture
async def real(real_server: LoopbackApiServer, namespace: str) -> AsyncIterator[RealServed]:
    """The kube-apiserver behind a proxy of the test's own."""
    proxy = Proxy(real_server)
    await proxy.start()
    served = RealServed(real_server, proxy, namespace)
    try:
        await served.beside.create(NAMESPACE, {"metadata": {"name": namespace}})
        yield served
    finally:
        await served.close()
        await proxy.stop()


@pytest_asyncio.fixture
async def fake(namespace: str) -> FakeServed:
    """The fake."""
    served = FakeServed(namespace)
    await served.fake.create(NAMESPACE, {"metadata": {"name": namespace}})
    return served


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.apiserver)])
def served(request: pytest.FixtureRequest) -> Served:
    """Each server in turn."""
    return cast("Served", request.getfixturevalue(request.param))
