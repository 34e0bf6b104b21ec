"""Enable a thousand clusters at once; measure the time until each has its certificate, and the hub manager's cost.

Objects only, on a real kube-apiserver and etcd on loopback: a thousand ManagedClusterAddOns and as many certificate
requests are created together, each request in the name of its cluster's klusterlet. The hub manager is a process of its
own under the rights that it is installed with. `N=200 python -m bench.thousand` for fewer.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from demo.images import REPOSITORY
from federation.api.identity import ADDON_LABEL, ADDON_NAME, CLUSTER_LABEL, COLLABORATOR_SIGNER, collaborator_subject
from federation.kube.client import Client
from federation.kube.resource import Json
from fleet.waiting import until
from tests.support.api_server.apiserver import LoopbackApiServer, loopback_api_server
from tests.support.builders.addon_objects import CONFIGURED
from tests.support.builders.csr import request_pem
from tests.support.fleet.ocm_hub import install, manager_kubeconfig

COUNT = int(os.environ.get("N", "1000"))
PORT = 18080
ADDONS = "/apis/addon.open-cluster-management.io/v1alpha1"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
WORKS = "/apis/work.open-cluster-management.io/v1/manifestworks"
ISSUED = "federated_learning_hub_certificates_issued_total"


@dataclass(frozen=True)
class Administrator:
    """Client of the API server with a few concurrent calls."""

    http: aiohttp.ClientSession
    url: str
    gate: asyncio.Semaphore

    async def send(self, method: str, path: str, body: Json, *, as_cluster: str = "") -> Json:
        """Send one request, for a klusterlet's request in its name."""
        headers = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
        group = f"system:open-cluster-management:{as_cluster}"
        names = [("Impersonate-User", f"{group}:agent"), ("Impersonate-Group", group)] if as_cluster else []
        names += [("Impersonate-Group", "system:masters")] if as_cluster else []
        return await self._json(method, path, data=json.dumps(body), headers=[*headers.items(), *names])

    async def count(self, path: str) -> int:
        """Return the number of objects from a list of one: listing all would dominate the load."""
        found = await self._json("GET", f"{path}?limit=1")
        return len(found["items"]) + int(found["metadata"].get("remainingItemCount", 0))

    async def issued(self) -> int:
        """Return the number of issued certificates from the hub manager's metrics."""
        async with self.http.get(f"http://127.0.0.1:{PORT}/metrics") as response:
            lines = (await response.text()).splitlines()
        return int(next(float(line.split()[1]) for line in lines if line.startswith(f"{ISSUED} ")))

    async def _json(self, method: str, path: str, **named: Any) -> Json:
        """Send a request and return the response; retry while the server is overloaded."""
        while True:
            async with self.gate, self.http.request(method, self.url + path, **named) as response:
                answer: Json = await response.json(content_type=None) if response.status != 429 else {}
            if response.status < 400:
                return answer
            if response.status != 429:
                raise RuntimeError(f"{method} {path}: {answer}")
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    await asyncio.gather(*calls)


async def _enable(admin: Administrator, cluster: str, owner: Json) -> None:
    metadata = {"name": ADDON_NAME, "namespace": cluster, "ownerReferences": [owner]}
    body = {
        "apiVersion": "addon.open-cluster-management.io/v1alpha1",
        "kind": "ManagedClusterAddOn",
        "metadata": metadata,
    }
    path = f"{ADDONS}/namespaces/{cluster}/managedclusteraddons"
    await admin.send("POST", path, {**body, "spec": {}})
    # What OCM's addon-manager says of an add-on without configurations.
    await admin.send("PATCH", f"{path}/{ADDON_NAME}/status", {"status": {"conditions": [CONFIGURED]}})


async def _ask(admin: Administrator, cluster: str) -> None:
    labels = {CLUSTER_LABEL: cluster, ADDON_LABEL: ADDON_NAME}
    spec = {
        "request": base64.b64encode(request_pem(collaborator_subject(cluster))).decode(),
        "signerName": COLLABORATOR_SIGNER,
        "usages": ["digital signature", "key encipherment", "client auth"],
    }
    metadata = {"generateName": f"addon-{cluster}-{ADDON_NAME}-", "labels": labels}
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": metadata,
        "spec": spec,
    }
    await admin.send("POST", REQUESTS, body, as_cluster=cluster)


@asynccontextmanager
async def _manager(server: LoopbackApiServer) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Start the hub manager as a separate process."""
    environment = {
        **os.environ,
        "POD_NAME": "bench",
        "AGENT_IMAGE": "agent:1",
        "AGGREGATOR_IMAGE": "aggregator:1",
        "TEMPLATES": str(REPOSITORY / "addon-templates"),
        "KUBECONFIG": str(manager_kubeconfig(server)),
        "PORT": str(PORT),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "error"),
    }
    process = subprocess.Popen([sys.executable, "-m", "hub_manager"], env=environment, cwd=REPOSITORY)  # noqa: ASYNC220
    try:
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


def _usage(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Return the CPU seconds and peak memory in MiB of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(status["VmHWM"].split()[0]) // 1024


async def _join(admin: Administrator, clusters: Sequence[str]) -> None:
    """Create the clusters, without the add-on."""
    api = "/apis/cluster.open-cluster-management.io/v1/managedclusters"
    kind = {"apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster"}
    spec = {"hubAcceptsClient": True}
    await _all(
        admin.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": c}})
        for c in clusters
    )
    await _all(admin.send("POST", api, {**kind, "metadata": {"name": c}, "spec": spec}) for c in clusters)


async def _installed_addon(admin: Administrator) -> Json:
    """Return the ClusterManagementAddOn once the manager has installed it, as the owner of each cluster's add-on."""

    async def installed() -> bool:
        return await admin.count(f"{ADDONS}/clustermanagementaddons") == 1

    await until(installed, "the manager is at work", deadline=60)
    fleet = await admin.send("GET", f"{ADDONS}/clustermanagementaddons/{ADDON_NAME}", {})
    return {
        "apiVersion": "addon.open-cluster-management.io/v1alpha1",
        "kind": "ClusterManagementAddOn",
        "name": ADDON_NAME,
        "uid": fleet["metadata"]["uid"],
    }


async def _measure(admin: Administrator, server: LoopbackApiServer) -> None:
    clusters = [f"cluster{number}" for number in range(COUNT)]
    await _join(admin, clusters)
    async with _manager(server) as process:
        owner = await _installed_addon(admin)
        before, _ = _usage(process)
        began = time.monotonic()
        await _all([*(_enable(admin, c, owner) for c in clusters), *(_ask(admin, c) for c in clusters)])
        created = time.monotonic() - began

        async def signed() -> bool:
            return await admin.issued() == COUNT

        async def deployed() -> bool:
            return await admin.count(WORKS) == COUNT

        await until(signed, "every request is signed", deadline=600)
        all_signed = time.monotonic() - began
        await until(deployed, "every agent's work is there", deadline=600)
        all_deployed = time.monotonic() - began
        cpu, memory = await asyncio.to_thread(_usage, process)
    sys.stdout.write(
        f"{COUNT} add-ons and requests: created in {created:.1f} s, all signed after {all_signed:.1f} s, "
        f"all works there after {all_deployed:.1f} s; hub manager {cpu - before:.1f} CPU s, {memory} MiB at its peak\n"
    )


async def main() -> None:
    """Print one line."""
    async with loopback_api_server() as server:
        connector = aiohttp.TCPConnector(ssl=server.tls)
        async with Client.from_kubeconfig(server.kubeconfig, field_manager="administrator") as client:
            await install(client)
        async with aiohttp.ClientSession(connector=connector) as http:
            await _measure(Administrator(http, server.url, asyncio.Semaphore(32)), server)


if __name__ == "__main__":
    asyncio.run(main())
