"""A connection follows its credentials, reads streams of any shape, and ends what takes too long."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from federation.kube.connection import Connection, Kubeconfig, ServiceAccount
from federation.kube.errors import Denied, Unavailable
from fleet.cluster.credentials import Authority
from tests.support.waiting import until

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """An HTTPS server that knows its callers by their certificates or tokens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority("tests")
        self.handler: Handler = self.name_caller
        self.callers: list[str] = []
        self.port = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for field, value in part if field == "commonName"]
        self.callers.append(names[0] if names else request.headers.get("Authorization", ""))
        return await self.handler(request)

    async def name_caller(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text=self.callers[-1])

    def write_identity(self, name: str) -> None:
        """Puts a new certificate in the place of the present one, as a mounted Secret does: by renaming."""
        self.authority.issue(name).write(self.folder, "new")
        for suffix in ("crt", "key"):
            (self.folder / f"new.{suffix}").rename(self.folder / f"tls.{suffix}")

    def write_kubeconfig(self, **user: str) -> Kubeconfig:
        path = self.folder / "kubeconfig"
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": "ca.crt"}
        content = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user or {"client-certificate": "tls.crt", "client-key": "tls.key"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(yaml.safe_dump(content))
        return Kubeconfig(path)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    made.authority.pair.write(tmp_path, "ca")
    made.authority.issue("server", hosts=["127.0.0.1"]).write(tmp_path, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.crt"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.port = runner.addresses[0][1]
    made.write_identity("first")
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def connection(server: Server) -> AsyncIterator[Connection]:
    made = Connection(server.write_kubeconfig(), user_agent="tests")
    yield made
    await made.close()


async def called(connection: Connection) -> str:
    return (await connection.call("GET", "/", query={})).decode()


async def test_uses_a_new_certificate_without_a_restart(server: Server, connection: Connection) -> None:
    assert await called(connection) == "first"
    server.write_identity("second")
    assert await called(connection) == "second"


async def test_an_open_stream_lives_on_under_the_old_certificate(server: Server, connection: Connection) -> None:
    more = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await more.wait()
        await response.write(b"two\n")
        return response

    server.handler = stream
    first, second = (connection.lines("/", query={}, silence=10) for _ in range(2))
    assert await anext(first) == await anext(second) == b"one"
    server.handler = server.name_caller
    server.write_identity("second")
    assert await called(connection) == "second"
    await first.aclose()
    more.set()
    assert [line async for line in second] == [b"two"]
    assert server.callers == ["first", "first", "second"]


async def test_half_written_credentials_leave_the_old_ones_in_use(server: Server, connection: Connection) -> None:
    assert await called(connection) == "first"
    whole = (server.folder / "tls.key").read_bytes()
    (server.folder / "tls.key").write_bytes(whole[:50])
    assert await called(connection) == "first"
    (server.folder / "kubeconfig").write_text("clusters: [")
    assert await called(connection) == "first"
    server.write_identity("second")
    server.write_kubeconfig()
    assert await called(connection) == "second"


@pytest.mark.parametrize(
    ("field", "value"),
    [("server", "http://127.0.0.1:1"), ("insecure-skip-tls-verify", True)],
)
async def test_refuses_a_server_that_it_could_not_verify(server: Server, field: str, value: object) -> None:
    path = server.write_kubeconfig().path
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"][field] = value
    path.write_text(yaml.safe_dump(content))
    connection = Connection(Kubeconfig(path), user_agent="tests")
    with pytest.raises(Unavailable, match="https"):
        await called(connection)


async def test_missing_credentials_are_waited_for(server: Server, tmp_path: Path) -> None:
    connection = Connection(Kubeconfig(tmp_path / "kubeconfig"), user_agent="tests")
    with pytest.raises(Unavailable, match="credentials"):
        await called(connection)
    server.write_kubeconfig()
    assert await called(connection) == "first"
    await connection.close()


async def test_a_replaced_token_is_used_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    token = server.folder / "token"
    token.write_text("one\n")
    connection = Connection(ServiceAccount(server.folder), user_agent="tests")
    assert await called(connection) == "Bearer one"
    token.write_text("another\n")
    assert await called(connection) == "Bearer another"
    await connection.close()


async def test_reads_the_credentials_again_when_they_are_no_longer_accepted(server: Server) -> None:
    connection = Connection(server.write_kubeconfig(), user_agent="tests")
    assert await called(connection) == "first"

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    server.handler = refuse
    with pytest.raises(Denied):
        await called(connection)
    server.handler = server.name_caller
    pool = connection._pool
    await called(connection)
    assert connection._pool is not pool
    await connection.close()


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"one\ntwo\n"], id="lines-in-one-chunk"),
        pytest.param([b"o", b"n", b"e\nt", b"wo\n"], id="a-line-in-many-chunks"),
        pytest.param([b"one\n", b"two"], id="cut-in-the-middle-of-a-line"),
        pytest.param([b"x" * 3_000_000, b"\n"], id="larger-than-any-buffer"),
    ],
)
async def test_lines_of_a_stream(server: Server, connection: Connection, chunks: list[bytes]) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.005)  # so that chunks arrive as they were sent
        return response

    server.handler = stream
    whole = b"".join(chunks)
    assert [line async for line in connection.lines("/", query={}, silence=10)] == whole.split(b"\n")[:-1]


async def test_a_silent_stream_ends_with_an_error(server: Server, connection: Connection) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await asyncio.Event().wait()
        return response

    server.handler = silent
    lines = connection.lines("/", query={}, silence=0.1)
    assert await anext(lines) == b"one"
    with pytest.raises(Unavailable, match="no answer in time"):
        await anext(lines)


async def test_a_call_ends_at_its_deadline_and_makes_room_for_the_next(server: Server) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    server.handler = hang
    connection = Connection(server.write_kubeconfig(), user_agent="tests", deadline=0.2, at_once=1)
    with pytest.raises(Unavailable, match="no answer in time"):
        await called(connection)
    server.handler = server.name_caller
    assert await called(connection) == "first"
    await connection.close()


async def test_no_more_calls_than_allowed_are_in_flight(server: Server) -> None:
    gate, active, most = asyncio.Event(), 0, 0

    async def count(_: web.Request) -> web.StreamResponse:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await gate.wait()
        active -= 1
        return web.Response()

    server.handler = count
    connection = Connection(server.write_kubeconfig(), user_agent="tests", at_once=3)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(called(connection))
        await until(lambda: active == 3)
        gate.set()
    assert most == 3
    await connection.close()


async def test_follows_no_redirect(server: Server, connection: Connection) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere")

    server.handler = redirect
    with pytest.raises(Exception, match="302"):
        await called(connection)
    assert len(server.callers) == 1
