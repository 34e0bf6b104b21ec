"""The probes and metrics that a process serves to the kubelet and Prometheus."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Counter

from federation.serving import Probe, probes_and_metrics, serve


def well() -> str | None:
    return None


def unwell() -> str | None:
    return "datasets: nothing heard for 301 s"


@asynccontextmanager
async def client(
    *, ready: Probe = well, healthy: Probe = well, registry: CollectorRegistry | None = None
) -> AsyncIterator["TestClient[aiohttp.web.Request, aiohttp.web.Application]"]:
    application = probes_and_metrics(ready=ready, healthy=healthy, registry=registry or CollectorRegistry())
    async with TestClient(TestServer(application)) as connected:
        yield connected


@pytest.mark.parametrize(("path", "other"), [("/healthz", "/readyz"), ("/readyz", "/healthz")])
async def test_a_probe_answers_503_with_the_reason_and_leaves_the_other_alone(path: str, other: str) -> None:
    probes: dict[str, Probe] = {"/healthz": well, "/readyz": well} | {path: unwell}

    async with client(ready=probes["/readyz"], healthy=probes["/healthz"]) as http:
        refused, fine = await http.get(path), await http.get(other)

        assert (refused.status, await refused.text()) == (503, "datasets: nothing heard for 301 s\n")
        assert (fine.status, await fine.text()) == (200, "ok\n")


async def test_a_probe_is_asked_anew_at_each_request() -> None:
    answers = iter(["not synced", None])

    async with client(ready=lambda: next(answers)) as http:
        first, second = await http.get("/readyz"), await http.get("/readyz")

    assert (first.status, second.status) == (503, 200)


async def test_metrics_are_rendered_in_the_format_that_the_scraper_asks_for() -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)

    async with client(registry=registry) as http:
        plain = await http.get("/metrics")
        openmetrics = await http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

        assert "things_total 3.0" in await plain.text()
        assert (await openmetrics.text()).endswith("# EOF\n")


async def test_serving_ends_when_cancelled_and_frees_the_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    task = asyncio.create_task(serve(port, ready=well, healthy=well, registry=CollectorRegistry()))

    async with aiohttp.ClientSession() as session:
        status = await _status_once_listening(session, f"http://127.0.0.1:{port}/readyz")
    task.cancel()
    await asyncio.wait([task], timeout=5)

    assert status == 200
    assert task.cancelled()
    with socket.socket() as again:
        assert again.connect_ex(("127.0.0.1", port)) != 0


async def _status_once_listening(session: aiohttp.ClientSession, url: str) -> int:
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get(url) as response:
                    return response.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0)
