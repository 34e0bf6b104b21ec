"""The servers that the contract is held against: the fake, and a real kube-apiserver behind a proxy."""

from typing import Protocol

from aiohttp import web

from federation.kube.api import Api
from federation.kube.client import Client
from federation.kube.errors import Unavailable
from tests.support.api_server.apiserver import LoopbackApiServer
from tests.support.fakes.fake_api import FakeApi
from tests.support.fakes.proxy import Proxy


class Served(Protocol):
    """A server under test, and what can befall it; `api` is a connection to it that suffers that."""

    api: Api
    namespace: str
    """A namespace of the test's own."""

    async def write_api(self) -> Api:
        """A connection that suffers nothing."""
        ...

    async def cut(self) -> None:
        """Cuts the open watches."""
        ...

    async def close_line(self) -> None:
        """Cuts the open watches and lets no request through."""
        ...

    async def open_line(self) -> None:
        """Lets requests through again."""
        ...

    async def forget(self) -> None:
        """Makes every version before the present one Gone."""
        ...

    async def restart(self) -> None:
        """Kills the server and starts it again."""
        ...

    async def refuse_next(self, times: int, *, retry_after: int) -> None:
        """Answers the next requests with 429."""
        ...

    @property
    def lists(self) -> int:
        """How many lists have been asked for."""
        ...


class FakeServed:
    """The fake."""

    def __init__(self, namespace: str) -> None:
        self.fake = FakeApi()
        self.api: Api = self.fake
        self.namespace = namespace

    async def write_api(self) -> Api:
        return self.fake.beside()

    async def cut(self) -> None:
        self.fake.cut_watches(Unavailable("connection reset"))

    async def close_line(self) -> None:
        self.fake.reachable = False
        self.fake.cut_watches(Unavailable("connection reset"))

    async def open_line(self) -> None:
        self.fake.reachable = True

    async def forget(self) -> None:
        self.fake.compact()

    async def restart(self) -> None:
        self.fake.compact()
        self.fake.cut_watches(Unavailable("connection reset"))

    async def refuse_next(self, times: int, *, retry_after: int) -> None:
        self.fake.fail_next(*[Unavailable("429", retry_after=retry_after)] * times)

    @property
    def lists(self) -> int:
        return self.fake.lists


class RealServed:
    """A kube-apiserver; the connection under test goes through the proxy, the one beside it does not."""

    def __init__(self, server: LoopbackApiServer, proxy: Proxy, namespace: str) -> None:
        self.server = server
        self.proxy = proxy
        self.namespace = namespace
        path = server.folder / f"{namespace}.kubeconfig"
        server.write_kubeconfig(path, proxy.url)
        self.client = Client.from_kubeconfig(path, field_manager="contract")
        self.beside = Client.from_kubeconfig(server.kubeconfig, field_manager="contract")
        self.api: Api = self.client

    async def write_api(self) -> Api:
        return self.beside

    async def cut(self) -> None:
        self.proxy.cut()

    async def close_line(self) -> None:
        self.proxy.open = False
        self.proxy.cut()

    async def open_line(self) -> None:
        self.proxy.open = True

    async def forget(self) -> None:
        # A server caches the last minutes of history; one that has just begun has cached none of it.
        await self.server.compact()
        await self.server.restart()

    async def restart(self) -> None:
        await self.server.restart()

    async def refuse_next(self, times: int, *, retry_after: int) -> None:
        for _ in range(times):
            self.proxy.answers.append(web.Response(status=429, headers={"Retry-After": str(retry_after)}))

    @property
    def lists(self) -> int:
        reads = (line for line in self.proxy.requests if line.startswith("GET") and "watch=true" not in line)
        return sum("limit=" in line and "continue=" not in line for line in reads)

    async def close(self) -> None:
        await self.client.close()
        await self.beside.close()
