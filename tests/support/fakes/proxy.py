"""A proxy in front of a real API server that does to its clients what networks and busy servers do.

It speaks TLS with the server's own certificate, and to the server as its administrator.
"""

import asyncio
import ssl
from typing import Final

import aiohttp
from aiohttp import web

from tests.support.api_server.apiserver import LoopbackApiServer

HOP_BY_HOP: Final = frozenset({"connection", "host", "transfer-encoding", "content-length"})


class Proxy:
    """Forwards requests, or refuses or cuts them on request of the test."""

    def __init__(self, server: LoopbackApiServer) -> None:
        self.port = 0
        self.requests: list[str] = []
        """Method and path with query of every request, in order."""
        self.answers: list[web.Response] = []
        """The responses to the next requests, in place of the server's."""
        self.open = True
        """Whether new requests get through."""
        self._server = server
        self._streams: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listens on a free port of the loopback interface."""
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._server.tls, limit=0))
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._server.folder / "serving.crt", self._server.folder / "serving.key")
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cuts everything and listens no more."""
        self.cut()
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def cut(self) -> None:
        """Cuts every open stream in the middle of whatever it was sending."""
        for stream in self._streams:
            stream.cancel()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        if not self.open:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        if self.answers:
            return self.answers.pop(0)
        assert self._http is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        url = self._server.url + request.raw_path
        try:
            async with self._http.request(request.method, url, data=await request.read(), headers=headers) as answer:
                return await self._forward(request, answer)
        except aiohttp.ClientError:
            return web.Response(status=502)

    async def _forward(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        if "watch=true" not in request.path_qs:
            await response.write(await answer.read())
            return response
        pumping = asyncio.ensure_future(self._pump(answer, response))
        self._streams.add(pumping)
        try:
            await pumping
        except (asyncio.CancelledError, aiohttp.ClientError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.discard(pumping)
        return response

    @staticmethod
    async def _pump(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
