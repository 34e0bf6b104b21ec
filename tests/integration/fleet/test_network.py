"""Clusters reach one another as separate sites do, and no further; lines can be cut, slowed and made lossy."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest
import pytest_asyncio

from fleet.cluster.network import Link, inside
from fleet.command import CommandFailed, run
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import HUB
from fleet.waiting import until
from tests.support.fleet.workloads import SERVE, STAND, pod, reaches, running, service

pytestmark = pytest.mark.fleet
_DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
_SEND = """
import contextlib, socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(400):
    with contextlib.suppress(PermissionError):  # how the kernel tells a sender that its own filter dropped it
        sender.sendto(b"x", (sys.argv[1], 40000))
"""
_COUNT = """
import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("", 40000))
receiver.settimeout(60)
received = 0
try:
    while receiver.recv(16) != b"end":
        received += 1
        receiver.settimeout(2)
except TimeoutError:
    pass
print(received)
"""


@pytest_asyncio.fixture(scope="module")
async def node_ports(clusters: Fleet, python_image: Image) -> AsyncIterator[dict[str, int]]:
    """A web server behind a NodePort on the hub and on spoke 1: the ports, by cluster."""
    ports = {}
    labels = {"app": "dialled"}
    objects = [
        pod("dialled", python_image.reference, SERVE, labels=labels),
        service("dialled", selector=labels, port=8000, kind="NodePort"),
    ]
    async with AsyncExitStack() as stack:
        for name in (HUB, clusters.spokes[0]):
            await stack.enter_async_context(running(clusters, name, *objects))
            found = json.loads(await clusters.kubectl(name, "get", "service", "dialled", "-o", "json"))
            ports[name] = found["spec"]["ports"][0]["nodePort"]
            opened = partial(dial, clusters, name, name, ports[name])
            await until(opened, f"the NodePort of {name} answers")
        yield ports


@pytest_asyncio.fixture
async def line(fleet: Fleet) -> AsyncIterator[str]:
    """Spoke 1, whose line is healed at the end."""
    yield fleet.spokes[0]
    await fleet.set_link(fleet.spokes[0], Link())


async def dial(fleet: Fleet, source: str, target: str, port: int) -> bool:
    """Whether a connection can be opened from one cluster's node to another's address."""
    address = fleet.layout.cluster(target).address
    try:
        await run(*inside(fleet.layout.cluster(source)), "python3", "-c", _DIAL, address, str(port))
    except CommandFailed:
        return False
    return True


async def test_a_pod_on_a_spoke_reaches_a_node_port_of_the_hub(
    fleet: Fleet, node_ports: dict[str, int], python_image: Image
) -> None:
    spoke, hub = fleet.spokes[0], fleet.layout.cluster(HUB).address
    async with running(fleet, spoke, pod("dialler", python_image.reference, STAND)):
        reached = partial(reaches, fleet, spoke, "dialler", f"{hub}:{node_ports[HUB]}")
        await until(reached, "the NodePort answers a pod of the spoke")


async def test_nobody_opens_a_connection_to_a_spoke(fleet: Fleet, node_ports: dict[str, int]) -> None:
    spoke, other = fleet.spokes[:2]
    assert await dial(fleet, spoke, spoke, node_ports[spoke]), "the NodePort itself must work"
    for source in (HUB, other):
        assert not await dial(fleet, source, spoke, node_ports[spoke])
        assert not await dial(fleet, source, spoke, 6443)


async def test_the_hub_shows_its_api_and_node_ports_and_nothing_else(fleet: Fleet, node_ports: dict[str, int]) -> None:
    spoke = fleet.spokes[0]
    assert await dial(fleet, spoke, HUB, 6443)
    assert await dial(fleet, spoke, HUB, node_ports[HUB])
    assert await dial(fleet, HUB, HUB, 10250), "the kubelet itself must listen"
    assert not await dial(fleet, spoke, HUB, 10250)


async def test_a_partition_makes_the_member_unknown_and_healing_makes_it_available(fleet: Fleet, line: str) -> None:
    # The hub calls a member unknown five lease durations after its last word.
    before = await fleet.kubectl(HUB, "get", "managedcluster", line, "-o", "jsonpath={.spec.leaseDurationSeconds}")
    await _set_lease(fleet, line, 2)
    path = "jsonpath={.status.conditions[?(@.type=='ManagedClusterConditionAvailable')].status}"

    async def says(status: str) -> bool:
        return await fleet.kubectl(HUB, "get", "managedcluster", line, "-o", path) == status

    try:
        await fleet.set_link(line, Link(cut=True))
        await until(lambda: says("Unknown"), f"{line} becomes unknown")
        nodes = await fleet.kubectl(line, "get", "nodes", "-o", "name")
        assert nodes.strip() == f"node/{line}", "the administrator still reaches a site that is cut off"
        await fleet.set_link(line, Link())
        await until(lambda: says("True"), f"{line} is available again")
    finally:
        await _set_lease(fleet, line, int(before))


async def _set_lease(fleet: Fleet, spoke: str, seconds: int) -> None:
    patch = json.dumps({"spec": {"leaseDurationSeconds": seconds}})
    await fleet.kubectl(HUB, "patch", "managedcluster", spoke, "--type=merge", "--patch", patch)


async def test_a_slow_line_is_as_slow_as_asked(fleet: Fleet, line: str) -> None:
    await fleet.set_link(line, Link(rate="8mbit"))
    size, seconds = await _read_schema(fleet, line)
    # On any fast machine; a slow one is not a counterexample. The first part is sent in one burst.
    assert size > 1_000_000
    assert seconds > 0.8 * size / 1_000_000


async def _read_schema(fleet: Fleet, spoke: str) -> tuple[int, float]:
    """Reads a page of the hub's API server from a spoke: its size in bytes, and the seconds that it took."""
    program = """
import ssl, sys, time, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
context.load_cert_chain(sys.argv[3] + ".crt", sys.argv[3] + ".key")
url = sys.argv[1] + "/openapi/v2"
start = time.monotonic()
size = len(urllib.request.urlopen(url, context=context, timeout=60).read())
print(size, time.monotonic() - start)
"""
    hub = fleet.layout.cluster(HUB)
    pki = hub.folder / "pki"
    where = inside(fleet.layout.cluster(spoke))
    words = (hub.server, pki / "ca.crt", pki / "apiserver-kubelet-client")
    size, seconds = (await run(*where, "python3", "-c", program, *words)).split()
    return int(size), float(seconds)


async def test_a_lossy_line_loses_the_share_asked_for(fleet: Fleet, line: str) -> None:
    await fleet.set_link(line, Link(loss=0.5))
    received = await _count_datagrams(fleet, line)
    # 400 datagrams leave through one lossy filter: 200 expected, standard deviation 10.
    assert 130 < received < 270


async def _count_datagrams(fleet: Fleet, spoke: str) -> int:
    """How many of 400 datagrams from the spoke's node arrive at the hub's."""
    hub = fleet.layout.cluster(HUB)
    rule = ("-p", "udp", "--dport", "40000", "-j", "ACCEPT")
    table = (*inside(hub), "iptables", "-t", "mangle")
    await run(*table, "-I", "PREROUTING", "1", *rule)
    try:
        counting = asyncio.create_task(run(*inside(hub), "python3", "-c", _COUNT))
        listening = (*inside(hub), "ss", "--udp", "--listening", "--numeric", "--no-header", "sport = :40000")

        async def bound() -> bool:
            return bool((await run(*listening)).strip())

        await until(bound, "the counter listens")
        await run(*inside(fleet.layout.cluster(spoke)), "python3", "-c", _SEND, hub.address)
        return int(await counting)
    finally:
        await run(*table, "-D", "PREROUTING", *rule)
