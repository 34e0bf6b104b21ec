"""The traffic that an eavesdropper sees, and the callers that the aggregator admits, during a run."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from demo.images import REPOSITORY
from demo.install import HUB_NAMESPACE
from federation.pki.names import aggregator_dns
from federation.rpc.tls import Files
from fleet.fleet import Fleet
from fleet.layout import API_SERVER_PORT, API_SERVER_SERVICE, DNS_SERVICE, HUB, SWITCH
from hub_manager.certificates.settings import SLOTS_SECRET
from hub_manager.certificates.signer.slots import read_slots
from tests.support.builders.authorities import authority
from tests.support.exchange import tls_capture
from tests.support.exchange.attacker import Attacker, Target, reason_of
from tests.support.exchange.tls import Desk, now
from tests.support.fleet.fleet_runs import FleetRun, Sites
from tests.support.fleet.on_hub import read, secret
from tests.support.fleet.workloads import pod_address, reaches

pytestmark = pytest.mark.fleet
AGENT = "--selector=app.kubernetes.io/name=federated-learning-agent"


@asynccontextmanager
async def tapped(device: str, port: int, out: Path) -> AsyncIterator[None]:
    """A tap on a cluster's end of the switch that joins all of them."""
    program = (sys.executable, "-m", "tests.support.exchange.tls_capture", device, str(port), str(out))
    tap = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net=/run/netns/{SWITCH}", *program), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert tap.stdout is not None
    assert await tap.stdout.readline() == b"tapping\n"
    try:
        yield
    finally:
        tap.terminate()
        await tap.wait()


async def test_nothing_readable_goes_over_the_line(fleet: Fleet, sites: Sites, tmp_path: Path) -> None:
    run, site, out = FleetRun(fleet, "digits-tapped"), sites.names[0], tmp_path / "captured"
    # From the range that an API server assigns last by itself (ServiceNodePortStaticSubrange).
    port = 30077
    listeners = [{"name": "tapped", "type": "NodePort", "port": port}]
    async with tapped(site, port, out):
        await run.submit(sites.image.reference, rounds=3, listeners=listeners)
        status = await run.ended()
    found = tls_capture.flows(out)
    from_hub = [stream for flow, stream in found.items() if flow[1] == port]
    to_hub = [stream for flow, stream in found.items() if flow[3] == port]

    assert from_hub
    for stream in from_hub:
        (kind, hello), *others = tls_capture.records(stream)
        assert (kind, hello[0]) == (tls_capture.HANDSHAKE, tls_capture.SERVER_HELLO)
        assert tls_capture.agreed_version(hello) == tls_capture.TLS_1_3
        assert {kind for kind, _ in others} <= {tls_capture.APPLICATION_DATA, tls_capture.CHANGE_CIPHER_SPEC}
    for stream in to_hub:
        kinds = [kind for kind, _ in tls_capture.records(stream)]
        assert kinds[0] == tls_capture.HANDSHAKE
        assert set(kinds[1:]) <= {tls_capture.APPLICATION_DATA, tls_capture.CHANGE_CIPHER_SPEC}
    sent = b"".join((*from_hub, *to_hub))
    tensors = [tensor.tobytes() for tensor in (await run.model(status)).values()]
    # Three global models came down and three updates went up, so the tap has seen them, sealed.
    assert len(sent) > 6 * sum(map(len, tensors))
    for piece in (*(t[at : at + 16] for t in tensors for at in range(0, len(t) - 16, 16)), b"hidden.weight", b"spoke"):
        assert piece not in sent
    await run.delete()


@pytest_asyncio.fixture(scope="module")
async def door(sites: Sites) -> AsyncIterator[tuple[Target, FleetRun]]:
    """The aggregator of a long run, for a caller that claims to be its second site."""
    run = FleetRun(sites.clusters, "digits-door")
    await run.submit(sites.image.reference, rounds=10_000)
    status = await run.in_round(1)
    resource = await read(sites.clusters, HUB, "federatedlearning", run.name, f"--namespace={run.namespace}")
    listener = status["listeners"][0]
    name = aggregator_dns(run.name, run.namespace)
    identity = f"{resource['metadata']['uid']}-{status['attempt']}"
    yield Target(f"{listener['address']}:{listener['port']}", name, identity, sites.names[1]), run
    await run.delete()


@pytest_asyncio.fixture
async def desk(sites: Sites, tmp_path: Path) -> Desk:
    """An attacker with the hub's authority, who can issue any certificate."""
    slots = read_slots(await secret(sites.clusters, HUB, SLOTS_SECRET, namespace=HUB_NAMESPACE))
    return Desk(tmp_path, slots.current)


async def _handshake(target: Target, files: Files) -> bytes:
    """The first bytes that a client without a certificate reads."""
    context = ssl.create_default_context(cafile=str(files.authorities))
    context.set_alpn_protocols(["h2"])
    host, port = target.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=target.server_name)
    try:
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        async with asyncio.timeout(60):
            return await reader.readexactly(9)
    finally:
        writer.close()


async def test_a_connection_without_a_certificate_is_rejected(door: tuple[Target, FleetRun], desk: Desk) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await _handshake(door[0], desk.collaborator())


def of_another_authority(desk: Desk, cluster: str) -> Files:
    other = Desk(desk.folder / "other", authority(7, begin=now(), key="another p256"), trusted=desk.issuer)
    return other.collaborator(cluster)


def for_servers_only(desk: Desk, cluster: str) -> Files:
    return desk.server(cluster, into="serving")


def expired(desk: Desk, cluster: str) -> Files:
    return desk.collaborator(cluster, life=timedelta(seconds=-60))


@pytest.mark.parametrize("made", [of_another_authority, for_servers_only, expired], ids=lambda made: made.__name__)
async def test_an_unsuitable_certificate_is_rejected_in_the_handshake(
    door: tuple[Target, FleetRun], desk: Desk, made: Callable[[Desk, str], Files]
) -> None:
    target = door[0]
    attacker = Attacker(target, made(desk, target.cluster))
    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(attacker.join)
    attacker.close()

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_cluster_outside_the_cohort_and_one_under_anothers_name_are_refused_and_recorded(
    door: tuple[Target, FleetRun], desk: Desk
) -> None:
    target, run = door
    reasons = []
    for mine, said in (("spoke9", "spoke9"), (target.cluster, "spoke9")):
        attacker = Attacker(target, desk.collaborator(mine))
        with pytest.raises(grpc.RpcError) as refused:
            await asyncio.to_thread(attacker.join, cluster=said)
        attacker.close()
        reasons.append(reason_of(refused.value))
    log = await run.log()

    assert reasons == ["NotInCohort", "NameDiffers"]
    for cluster, reason in (("spoke9", "NotInCohort"), (target.cluster, "NameDiffers")):
        assert f'"cluster": "{cluster}", "reason": "{reason}"' in log


async def _pod_of(fleet: Fleet, cluster: str, *selection: str) -> tuple[str, str]:
    """The name of the one running pod of that selection, and kubectl's word for its namespace."""
    words = ("get", "pods", "--field-selector=status.phase=Running", *selection)
    path = "--output=jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{'\\n'}{end}"
    namespace, name = (await fleet.kubectl(cluster, *words, path)).split()
    return name, f"--namespace={namespace}"


async def test_a_collaborator_reaches_its_aggregator_and_nothing_else(
    fleet: Fleet, door: tuple[Target, FleetRun]
) -> None:
    site, aggregator = door[0].cluster, door[0].address
    selection = ("--all-namespaces", "--selector=batch.kubernetes.io/job-name")
    collaborator, scope = await _pod_of(fleet, site, *selection)
    agent = await _pod_of(fleet, site, "--all-namespaces", AGENT)
    servers = [f"{fleet.layout.cluster(name).address}:{API_SERVER_PORT}" for name in (site, HUB)]
    others = (
        *servers,
        f"{API_SERVER_SERVICE}:443",
        f"{DNS_SERVICE}:53",
        f"{await pod_address(fleet, site, *agent)}:8080",
    )

    assert await reaches(fleet, site, collaborator, aggregator, scope)
    for address in others:
        assert await reaches(fleet, site, agent[0], address, agent[1]), (
            f"{address}, which no policy keeps the agent from"
        )
        assert not await reaches(fleet, site, collaborator, address, scope), address


async def test_an_aggregator_reaches_its_api_server_and_nothing_else(
    fleet: Fleet, door: tuple[Target, FleetRun]
) -> None:
    aggregator, scope = await _pod_of(fleet, HUB, f"--namespace={door[1].namespace}")
    of_managers = "--selector=app.kubernetes.io/name=federated-learning-hub-manager"
    pods = await read(fleet, HUB, "pods", of_managers, f"--namespace={HUB_NAMESPACE}")
    manager = pods["items"][0]
    name, address = manager["metadata"]["name"], manager["status"]["podIP"]

    assert await reaches(fleet, HUB, aggregator, f"{API_SERVER_SERVICE}:443", scope)
    for other in (f"{DNS_SERVICE}:53", f"{address}:8080"):
        assert await reaches(fleet, HUB, name, other, f"--namespace={HUB_NAMESPACE}"), other
        assert not await reaches(fleet, HUB, aggregator, other, scope), other
