"""A real API server for tests: etcd and kube-apiserver on loopback ports, in a folder that goes with them.

No controller, no kubelet and no namespace but the built-in ones; every right is the administrator's. It can be killed
and started again on the same port, and made to forget its history, which a server otherwise does after minutes.
"""

import asyncio
import base64
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp

from fleet import programs
from fleet.cluster.credentials import Authority, kubeconfig, new_private_key, write_private
from fleet.layout import default_layout
from fleet.waiting import TIMEOUT

WITHOUT: Final = ("ServiceAccount", "PodSecurity", "MutatingAdmissionWebhook", "ValidatingAdmissionWebhook")
"""Admission plugins that need controllers, or that no test is about."""


async def find_programs() -> Path:
    """The folder with `etcd` and `kube-apiserver`: FLEET_PROGRAMS, or else what the fleet builds from source."""
    if folder := os.environ.get("FLEET_PROGRAMS"):
        return Path(folder)
    return await programs.build(default_layout(), report=print)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class LoopbackApiServer:
    """One API server; its credentials are files in `folder`, and `kubeconfig` is the administrator's."""

    def __init__(self, program_folder: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="apiserver-"))
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.authority = Authority("loopback")
        self.port, self._etcd_port, self._peer_port = free_ports(3)
        self._programs = program_folder
        self._etcd: asyncio.subprocess.Process | None = None
        self._api_server: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def tls(self) -> ssl.SSLContext:
        """The administrator's client settings."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        return context

    def write_kubeconfig(self, path: Path, server: str, *, user: str = "admin") -> None:
        """A kubeconfig for that server's address, as a new certificate of the user."""
        pair = self.authority.issue(user, groups=["system:masters"])
        path.unlink(missing_ok=True)
        write_private(path, kubeconfig(server, self.authority.pair.certificate, pair).encode())

    async def start(self) -> None:
        """Starts both programs; the server is ready when this returns.

        Raises:
            RuntimeError: a program ended, with the end of its log.
            TimeoutError: the server was not ready in time.
        """
        await asyncio.to_thread(self._write_credentials)
        self._etcd = await self._spawn("etcd", *self._etcd_arguments())
        await self._start_api_server()

    async def kill(self) -> None:
        """Ends kube-apiserver as `kill -9` does; etcd lives on."""
        await _end(self._api_server, at_once=True)

    async def start_again(self) -> None:
        """Starts kube-apiserver once more, on the same port. Raises as `start` does."""
        await self._start_api_server()

    async def restart(self) -> None:
        """Kills kube-apiserver and starts it again. Raises as `start` does."""
        await self.kill()
        await self.start_again()

    async def stop(self) -> None:
        """Ends both programs and removes their folder."""
        await _end(self._api_server)
        await _end(self._etcd)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def compact(self) -> None:
        """Has etcd forget every revision before the present one; what the server caches is not touched."""
        base = f"http://127.0.0.1:{self._etcd_port}/v3/kv"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
            key = base64.b64encode(b"/").decode()
            async with http.post(f"{base}/range", json={"key": key, "count_only": True}) as response:
                revision = (await response.json())["header"]["revision"]
            async with http.post(f"{base}/compaction", json={"revision": revision, "physical": True}) as response:
                response.raise_for_status()

    def _write_credentials(self) -> None:
        self.authority.pair.write(self.folder, "ca")
        self.authority.issue("kube-apiserver", hosts=["localhost", "127.0.0.1"]).write(self.folder, "serving")
        self.authority.issue("admin", groups=["system:masters"]).write(self.folder, "admin")
        write_private(self.folder / "service-accounts.key", new_private_key()[1])
        self.write_kubeconfig(self.kubeconfig, self.url)

    def _etcd_arguments(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        return [
            "--name=loopback",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=loopback={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server_arguments(self) -> list[str]:
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--tls-cert-file={self.folder / 'serving.crt'}",
            f"--tls-private-key-file={self.folder / 'serving.key'}",
            f"--client-ca-file={self.folder / 'ca.crt'}",
            f"--requestheader-client-ca-file={self.folder / 'ca.crt'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'service-accounts.key'}",
            f"--service-account-signing-key-file={self.folder / 'service-accounts.key'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--disable-admission-plugins={','.join(WITHOUT)}",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        ]

    async def _start_api_server(self) -> None:
        self._api_server = await self._spawn("kube-apiserver", *self._api_server_arguments())
        async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as http:
            while not await self._ready(http):
                for name, process in (("etcd", self._etcd), ("kube-apiserver", self._api_server)):
                    if process is not None and process.returncode is not None:
                        tail = await asyncio.to_thread((self.folder / f"{name}.log").read_text)
                        raise RuntimeError(f"{name} ended with {process.returncode}:\n{tail[-2000:]}")
                await asyncio.sleep(0.1)

    async def _ready(self, http: aiohttp.ClientSession) -> bool:
        # Not only ready, but with its own namespace there: what a test writes first goes into it.
        for path in ("/readyz", "/api/v1/namespaces/default"):
            try:
                async with http.get(self.url + path, ssl=self.tls) as response:
                    if response.status != 200:
                        return False
            except aiohttp.ClientError:
                return False
        return True

    async def _spawn(self, name: str, *arguments: str) -> asyncio.subprocess.Process:
        program = self._programs / name
        if not program.exists():
            raise RuntimeError(f"{program} does not exist: unset FLEET_PROGRAMS to have the programs built")
        with (self.folder / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(program, *arguments, stdout=log, stderr=log)


async def _end(process: asyncio.subprocess.Process | None, *, at_once: bool = False) -> None:
    if process is None or process.returncode is not None:
        return
    (process.kill if at_once else process.terminate)()
    try:
        async with asyncio.timeout(60):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def loopback_api_server() -> AsyncIterator[LoopbackApiServer]:
    """A server for as long as the context lasts."""
    server = LoopbackApiServer(await find_programs())
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
