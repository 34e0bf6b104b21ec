"""Authentication of callers, with TLS on the loopback."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from federation.api.identity import Subject
from federation.pki.certificate import certificate_pem
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.refusal import REFUSAL_METADATA, CallReason, Refused, Remedy, from_metadata, refused
from federation.rpc.tls import Files, MaterialRefused, read_material, server_credentials
from tests.support.builders.authorities import authority
from tests.support.exchange.exchange import SimpleEngine, aggregator, caller, header, stub
from tests.support.exchange.tls import SERVER_NAME, Desk, now


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def refusal_of(error: grpc.aio.AioRpcError) -> Refused:
    """The metadata of the refusal."""
    values = [value for key, value in error.trailing_metadata() or () if key == REFUSAL_METADATA]
    assert isinstance(values[0], bytes)
    return from_metadata(error.code(), values[0])


async def join(address: str, files: Files, cluster: str = "c1") -> pb.JoinReply:
    async with stub(address, files) as exchange:
        reply: pb.JoinReply = await exchange.Join(pb.JoinRequest(caller=caller(cluster)), timeout=10)
        return reply


async def handshake(address: str, context: ssl.SSLContext) -> bytes:
    """Read the first frame with a client that has this context; raises the error of a refused handshake."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=SERVER_NAME)
    try:
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        async with asyncio.timeout(60):
            return await reader.readexactly(9)
    finally:
        writer.close()


def context_of(files: Files, *, certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.authorities))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(files.certificate, files.key)
    return context


async def test_accepts_a_collaborator_of_the_cohort(desk: Desk) -> None:
    async with aggregator(desk.server()) as running:
        reply = await join(running.address, desk.collaborator())

    assert reply.rounds == 3
    assert "c1" in running.engine.joined


async def test_accepts_tls_1_3(desk: Desk) -> None:
    async with aggregator(desk.server()) as running:
        assert await handshake(running.address, context_of(desk.collaborator()))


async def test_refuses_tls_1_2(desk: Desk) -> None:
    context = context_of(desk.collaborator())
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async with aggregator(desk.server()) as running:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await handshake(running.address, context)


async def test_refuses_a_client_without_a_certificate(desk: Desk) -> None:
    async with aggregator(desk.server()) as running:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await handshake(running.address, context_of(desk.collaborator(), certificate=False))


def other_authority(desk: Desk) -> Files:
    return Desk(
        desk.folder / "other", authority(7, begin=now(), key="another p256"), trusted=desk.issuer
    ).collaborator()


def server_certificate(desk: Desk) -> Files:
    return desk.server("c1", into="serving")


def expired(desk: Desk) -> Files:
    return desk.collaborator(life=timedelta(seconds=-60))


@pytest.mark.parametrize("files", [other_authority, server_certificate, expired], ids=lambda make: make.__name__)
async def test_refuses_in_the_handshake(desk: Desk, files: Callable[[Desk], Files]) -> None:
    async with aggregator(desk.server()) as running:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await join(running.address, files(desk))

    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not running.engine.joined


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (None, "NotInCohort"),
        (Subject("c1", ("another-addon",), ()), "NotACollaborator"),
        (Subject("c1", ("federated-learning", "system:masters"), ()), "NotACollaborator"),
        (Subject("", ("federated-learning",), ()), "NotACollaborator"),
    ],
    ids=["outside the cohort", "another organisation", "two organisations", "no name"],
)
async def test_refuses_before_reading_a_byte(desk: Desk, subject: Subject | None, reason: str) -> None:
    async with (
        aggregator(desk.server()) as running,
        stub(running.address, desk.collaborator("c10", subject=subject)) as s,
    ):
        call = s.Upload(timeout=10)
        status = await call.code()
        metadata = await call.trailing_metadata()

    assert status is grpc.StatusCode.PERMISSION_DENIED
    value = next(value for key, value in metadata if key == REFUSAL_METADATA)
    assert isinstance(value, bytes)
    assert from_metadata(status, value).reason == reason
    assert running.refusals() == {("other", reason): 1.0}


async def test_refuses_and_counts_a_name_that_differs_from_the_certificate(desk: Desk) -> None:
    async with aggregator(desk.server()) as running:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await join(running.address, desk.collaborator("c1"), "c2")

    assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refusal_of(failure.value).reason == "NameDiffers"
    assert refusal_of(failure.value).remedy is Remedy.STOP
    assert running.refusals() == {("c1", "NameDiffers"): 1.0}
    assert not running.engine.joined


@pytest.mark.parametrize("method", ["Work", "Download", "QueryOffset", "ReportMetrics", "Upload"])
async def test_every_method_checks_the_caller(desk: Desk, method: str) -> None:
    requests = {
        "Work": pb.WorkRequest,
        "Download": pb.DownloadRequest,
        "QueryOffset": pb.QueryOffsetRequest,
        "ReportMetrics": pb.ReportMetricsRequest,
    }
    async with aggregator(desk.server()) as running, stub(running.address, desk.collaborator("c1")) as exchange:
        if method == "Upload":
            call = exchange.Upload(iter([header(cluster="c2")]), timeout=10)
        else:
            call = getattr(exchange, method)(requests[method](caller=caller("c2")), timeout=10)
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED

    assert running.refusals() == {("c1", "NameDiffers"): 1.0}


async def test_refuses_a_message_for_another_run(desk: Desk) -> None:
    async with aggregator(desk.server()) as running, stub(running.address, desk.collaborator()) as exchange:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await exchange.Join(pb.JoinRequest(caller=caller(run="another")), timeout=10)

    assert refusal_of(failure.value).reason == "OtherRun"


async def test_stream_ends_when_its_certificate_expires(desk: Desk) -> None:
    files = desk.collaborator(life=timedelta(seconds=3))
    async with aggregator(desk.server()) as running, stub(running.address, files) as exchange:
        await exchange.Join(pb.JoinRequest(caller=caller()), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await anext(aiter(exchange.Work(pb.WorkRequest(caller=caller()), timeout=20)))

    assert refusal_of(failure.value).reason == "CertificateExpired"
    assert refusal_of(failure.value).remedy is Remedy.RETRY


async def test_streams_of_a_removed_cluster_end_at_once(desk: Desk) -> None:
    engine = SimpleEngine()
    async with aggregator(desk.server(), engine) as running, stub(running.address, desk.collaborator()) as exchange:
        await exchange.Join(pb.JoinRequest(caller=caller()), timeout=10)
        working = exchange.Work(pb.WorkRequest(caller=caller()), timeout=60)
        uploading = exchange.Upload(timeout=60)
        await uploading.write(header())
        await uploading.write(pb.UploadRequest(data=b"x"))
        await engine.arrived.wait()

        engine.cohort.discard("c1")
        running.calls.cut("c1", refused(CallReason.NOT_IN_COHORT, "the cluster has left the run"))

        assert await working.code() is grpc.StatusCode.PERMISSION_DENIED
        assert await uploading.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await exchange.Join(pb.JoinRequest(caller=caller()), timeout=10)

    assert refusal_of(failure.value).reason == "NotInCohort"
    assert engine.closed == 1
    assert running.calls.peers() == frozenset()


def served_serial(address: str, files: Files) -> int:
    """Return the serial number of the server's current certificate."""
    host, port = address.split(":")
    context = context_of(files)
    raw = socket.create_connection((host, int(port)), timeout=10)
    with context.wrap_socket(raw, server_hostname=SERVER_NAME) as secured:
        shown = secured.getpeercert()
    assert shown is not None
    return int(str(shown["serialNumber"]), 16)


async def test_serves_a_renewed_certificate_without_a_restart(desk: Desk) -> None:
    files = desk.server()
    mine = desk.collaborator()
    first = read_material(files).leaf.serial_number
    async with aggregator(files) as running, stub(running.address, mine) as exchange:
        await exchange.Join(pb.JoinRequest(caller=caller()), timeout=10)
        before = await asyncio.to_thread(served_serial, running.address, mine)
        desk.server()
        after = await asyncio.to_thread(served_serial, running.address, mine)
        files.key.write_text("half a ke")
        kept = await asyncio.to_thread(served_serial, running.address, mine)
        await exchange.Join(pb.JoinRequest(caller=caller()), timeout=10)

    assert before == first
    assert after == first + 2  # the collaborator's lies between
    assert kept == after


async def test_accepts_a_rotated_ca(desk: Desk) -> None:
    files = desk.server()
    old = desk.collaborator()
    next_desk = Desk(desk.folder / "next", authority(9, begin=now(), key="another p256"), trusted=desk.issuer)
    new = next_desk.collaborator()
    async with aggregator(files) as running:
        with pytest.raises(grpc.aio.AioRpcError):
            await join(running.address, new)
        files.authorities.write_text(files.authorities.read_text() + _authority_of(next_desk))
        assert await join(running.address, new)
        assert await join(running.address, old)


def _authority_of(desk: Desk) -> str:
    return certificate_pem(desk.issuer.certificate)


def test_mismatched_files_are_named(desk: Desk) -> None:
    files = desk.server()
    files.key.write_text(desk.collaborator().key.read_text())

    with pytest.raises(MaterialRefused, match=r"tls\.key does not match the certificate .*tls\.crt"):
        server_credentials(files)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MaterialRefused, match=r"nowhere\.key: No such file"):
        read_material(Files(tmp_path / "nowhere.key", tmp_path / "tls.crt", tmp_path / "ca.crt"))


def test_a_process_that_imports_grpc_first_does_not_serve(tmp_path: Path) -> None:
    files = Desk(tmp_path).server()
    program = (
        "import sys, grpc; from pathlib import Path; from federation.rpc.tls import Files, server_credentials;"
        "server_credentials(Files(*map(Path, sys.argv[1:])))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}

    ended = subprocess.run(
        [sys.executable, "-c", program, files.key, files.certificate, files.authorities],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "MaterialRefused: gRPC would allow TLS 1.2" in ended.stderr
