"""Serve `/healthz`, `/readyz` and `/metrics` over HTTP to the kubelet and Prometheus.

Each probe evaluates the state of the process at every request. Liveness covers only problems that a restart can fix,
because the kubelet restarts a process that returns 503 from `/healthz`; readiness covers all others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Probe = Callable[[], str | None]
"""Called at each request; returns None if healthy, otherwise the problem in a text for the administrator."""


def probes_and_metrics(*, ready: Probe, healthy: Probe, registry: CollectorRegistry) -> web.Application:
    """Create the HTTP application with the three paths.

    Args:
        ready: Probe for readiness.
        healthy: Probe for liveness.
        registry: The metrics that `/metrics` renders, as Prometheus text or OpenMetrics (as requested).
    """

    async def metrics(request: web.Request) -> web.Response:
        render, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=render(registry), headers={"Content-Type": content_type})

    application = web.Application()
    application.router.add_get("/healthz", _answer(healthy))
    application.router.add_get("/readyz", _answer(ready))
    application.router.add_get("/metrics", metrics)
    return application


async def serve(port: int, *, ready: Probe, healthy: Probe, registry: CollectorRegistry) -> None:
    """Serve the three paths on every interface until cancelled.

    Args:
        port: The TCP port to listen on.
        ready: See `probes_and_metrics`.
        healthy: See `probes_and_metrics`.
        registry: See `probes_and_metrics`.

    Raises:
        OSError: The port is unavailable.
    """
    # The kubelet probes every few seconds, so an access log would hide other events.
    runner = web.AppRunner(
        probes_and_metrics(ready=ready, healthy=healthy, registry=registry), access_log=None, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _answer(probe: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def respond(_request: web.Request) -> web.Response:
        problem = probe()
        if problem is None:
            return web.Response(text="ok\n")
        return web.Response(text=f"{problem}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    return respond
