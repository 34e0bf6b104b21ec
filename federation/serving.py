"""What a process of ours tells its kubelet and Prometheus: `/healthz`, `/readyz` and `/metrics` over HTTP.

The two probes ask the process itself each time and answer with its own words; neither is ever a constant. Liveness is
for what only a restart can mend, readiness for everything else: a process that answers 503 to `/healthz` is killed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Probe = Callable[[], str | None]
"""Asked at each request; None when all is well, otherwise what is wrong, in words for the administrator."""


def probes_and_metrics(*, ready: Probe, healthy: Probe, registry: CollectorRegistry) -> web.Application:
    """The HTTP application of the three paths.

    Args:
        ready: Whether the process does its work now.
        healthy: Whether the process is worth keeping.
        registry: The metrics that `/metrics` renders, as Prometheus text or OpenMetrics (as the scraper asks).
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
    """Serves the three paths on every interface until cancelled.

    Args:
        port: The TCP port to listen on.
        ready: See `probes_and_metrics`.
        healthy: See `probes_and_metrics`.
        registry: See `probes_and_metrics`.

    Raises:
        OSError: The port can't be listened on.
    """
    # A kubelet probes every few seconds: an access log of it would drown what matters.
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
        wrong = probe()
        if wrong is None:
            return web.Response(text="ok\n")
        return web.Response(text=f"{wrong}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    return respond
