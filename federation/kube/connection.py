"""The transport to one API server: HTTP requests under credentials that may change at any time.

kubernetes-asyncio reads the credentials, aiohttp carries the bytes; nothing else of the project imports the former.
Each request first checks the credential files with `stat`. Once one has changed, new requests use a new pool of
connections with the new credentials, and the old pool closes when its last request or watch ends. If the files are
invalid, for example in the middle of a rotation, the old credentials stay in use until the files change again.

Every request has a deadline. TCP keep-alive ends a connection whose peer has disappeared, which distinguishes a quiet
watch from a dead one within half a minute.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import structlog
import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config.config_exception import ConfigException
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader
from kubernetes_asyncio.config.kube_config import load_kube_config

from federation.kube.errors import Denied, Unavailable
from federation.kube.wire import error_from

log = structlog.get_logger(__name__)

KEEP_ALIVE: Final = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REFERENCES: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_UNUSABLE: Final = (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)
"""Errors of reading half-written files; ssl.SSLError is an OSError."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class Credentials(Protocol):
    """A source of credentials."""

    def files(self) -> tuple[Path, ...]:
        """Return the files that the credentials depend on."""
        ...

    async def load(self) -> Configuration:
        """Load the current credentials."""
        ...


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """The current context of a kubeconfig file, and the files that it refers to."""

    path: Path

    def files(self) -> tuple[Path, ...]:
        """Return the kubeconfig and all files that its clusters and users name."""
        content = yaml.safe_load(self.path.read_text())
        entries = [entry.get("cluster") or {} for entry in content.get("clusters") or ()]
        entries += [entry.get("user") or {} for entry in content.get("users") or ()]
        named = (entry[field] for entry in entries for field in _REFERENCES if field in entry)
        return (self.path, *(self.path.parent / name for name in named))

    async def load(self) -> Configuration:
        """Read the files again."""
        configuration = Configuration()
        await load_kube_config(str(self.path), client_configuration=configuration, persist_config=False)
        return configuration


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The service account of the pod that this process runs in; its token is replaced about every hour."""

    folder: Path = SERVICE_ACCOUNT

    def files(self) -> tuple[Path, ...]:
        """Return the token and the CA."""
        return (self.folder / "token", self.folder / "ca.crt")

    async def load(self) -> Configuration:
        """Read the files again; the address comes from the pod's environment."""
        configuration = Configuration()
        token, authority = self.files()
        InClusterConfigLoader(str(token), str(authority), try_refresh_token=False).load_and_set(configuration)
        return configuration


class _Pool:
    """Connections under one set of credentials."""

    def __init__(self, configuration: Configuration, stamp: Stamp, user_agent: str) -> None:
        server = configuration.host or ""
        if not server.startswith("https://") or not configuration.verify_ssl:
            raise ConfigException("set an https server, and do not disable the verification of its certificate")
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        # Answers are small or local: compression would cost the server more than it saves.
        headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        if token := configuration.api_key.get("BearerToken"):
            headers["Authorization"] = token.strip()
        self.server = server
        self.options: dict[str, Any] = {
            "server_hostname": configuration.tls_server_name,
            "proxy": configuration.proxy,
            "allow_redirects": False,
        }
        self.stamp = stamp
        self.in_use = 0
        self.retired = False
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0, socket_factory=_socket),
            headers=headers,
            trust_env=True,  # HTTPS_PROXY and NO_PROXY: an add-on's configuration sets them
            timeout=aiohttp.ClientTimeout(total=None),
        )


class Connection:
    """Requests to one API server."""

    def __init__(self, credentials: Credentials, *, user_agent: str, deadline: float = 30.0, at_once: int = 32) -> None:
        self._credentials = credentials
        self._user_agent = user_agent
        self._deadline = deadline
        self._turn = asyncio.Semaphore(at_once)
        self._opening = asyncio.Lock()
        self._files: tuple[Path, ...] = ()
        self._refused: Stamp | None = None
        self._pool: _Pool | None = None

    async def close(self) -> None:
        """Close idle connections now, and those of watches when the watches end."""
        if self._pool is not None:
            await self._retire(self._pool)
            self._pool = None

    async def call(
        self, method: str, path: str, *, query: Mapping[str, str], body: bytes = b"", content_type: str = ""
    ) -> bytes:
        """Send a request and return the body of the answer; at most `at_once` requests run at a time.

        Raises:
            KubeError: the server refused (`wire.error_from`), or did not answer completely within the deadline.
        """
        headers = {"Content-Type": content_type} if content_type else {}
        with _translated(f"{method} {path}"):
            async with asyncio.timeout(self._deadline), self._turn, self._borrowed() as pool:
                response = await pool.http.request(
                    method, pool.server + path, params=query, data=body or None, headers=headers, **pool.options
                )
                async with response:
                    return await self._checked(pool, response)

    async def lines(self, path: str, *, query: Mapping[str, str], silence: float) -> AsyncGenerator[bytes, None]:
        """Iterate over the lines of a streamed answer, of any length, until the server ends it.

        Args:
            path: the path to stream.
            query: the parameters of the request.
            silence: seconds without a byte after which the stream is treated as broken.

        Raises:
            KubeError: the server refused, or the stream broke.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_read=silence)
        async with self._borrowed() as pool:
            with _translated(f"watch {path}"):
                async with asyncio.timeout(self._deadline):
                    response = await pool.http.get(pool.server + path, params=query, timeout=timeout, **pool.options)
            async with response:
                rest: list[bytes] = []
                with _translated(f"watch {path}"):
                    if response.status != 200:
                        await self._checked(pool, response)
                chunks = response.content.iter_any()
                while True:
                    # Not readline(): it rejects lines above a limit, and an object may exceed any limit.
                    with _translated(f"watch {path}"):
                        chunk = await anext(chunks, b"")
                    if not chunk:
                        return
                    *ends, last = chunk.split(b"\n")
                    for end in ends:
                        yield b"".join((*rest, end))
                        rest.clear()
                    rest.append(last)

    async def _checked(self, pool: _Pool, response: aiohttp.ClientResponse) -> bytes:
        body = await response.read()
        if 200 <= response.status < 300:
            return body
        error = error_from(response.status, body, response.headers.get("Retry-After", ""))
        if isinstance(error, Denied) and response.status == 401:
            pool.stamp = ()  # a token may have been renewed without a change of a file: read the credentials again
        raise error

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[_Pool]:
        pool = await self._current()
        pool.in_use += 1
        try:
            yield pool
        finally:
            pool.in_use -= 1
            if pool.retired and not pool.in_use:
                await pool.http.close()

    async def _current(self) -> _Pool:
        async with self._opening:
            stamp = _stamp(self._files)
            if self._pool is not None and stamp in {self._pool.stamp, self._refused}:
                return self._pool
            try:
                self._files = self._credentials.files()
                stamp = _stamp(self._files)
                fresh = _Pool(await self._credentials.load(), stamp, self._user_agent)
            except _UNUSABLE as error:
                if self._pool is None:
                    raise Unavailable(f"the credentials cannot be used: {error}") from error
                self._refused = stamp
                log.warning("credentials_refused", error=str(error))
                return self._pool
            if self._pool is not None:
                log.info("credentials_renewed", server=fresh.server)
                await self._retire(self._pool)
            self._pool, self._refused = fresh, None
            return fresh

    @staticmethod
    async def _retire(pool: _Pool) -> None:
        pool.retired = True
        if not pool.in_use:
            await pool.http.close()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"{what}: no answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{what}: {error or type(error).__name__}") from error


def _stamp(files: tuple[Path, ...]) -> Stamp:
    return tuple(_stamp_of(file) for file in files)


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    keep_alive_socket = socket.socket(*address[:3])
    keep_alive_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE.items():
        keep_alive_socket.setsockopt(socket.IPPROTO_TCP, option, value)
    return keep_alive_socket
