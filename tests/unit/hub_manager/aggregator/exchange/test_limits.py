"""Limits for hostile, stalled and greedy peers, which must not affect honest ones."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from federation.rpc.connection import refusal_in
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.gen.exchange_pb2_grpc import ExchangeStub
from federation.rpc.orders import Update
from federation.rpc.policy import CHUNK_BYTES, MESSAGE_BYTES, client_options
from federation.rpc.refusal import Refused, Remedy
from federation.rpc.tls import Files, client_credentials
from hub_manager.aggregator.exchange.quotas import ExchangeLimits
from hub_manager.aggregator.exchange.stream import CallTimeouts
from hub_manager.aggregator.rate_limit import LOG_BURST, LOG_LINES_PER_SECOND, LogSampler
from tests.support.exchange.exchange import (
    MANIFEST,
    MODEL,
    Aggregator,
    SimpleEngine,
    aggregator,
    announcement,
    caller,
    client,
    header,
    refusal_of,
    stub,
)
from tests.support.exchange.tls import SERVER_NAME, Desk

QUICKLY = CallTimeouts(unary=5.0, idle=0.2, settle=5.0)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def raw_channel(running: Aggregator, desk: Desk) -> grpc.aio.Channel:
    """Open a channel without client-side limits."""
    options = (*client_options(SERVER_NAME), ("grpc.max_send_message_length", -1))
    return grpc.aio.secure_channel(running.address, client_credentials(desk.collaborator()), options)


async def sent(running: Aggregator, files: Files, messages: Iterable[pb.UploadRequest]) -> Refused:
    """Upload these messages and return the aggregator's answer.

    gRPC's blocking client sends them: its asyncio one loses the status of a call that ends while it writes
    ("Internal error from Core").
    """

    def send() -> Refused:
        options = client_options(SERVER_NAME)
        with grpc.secure_channel(running.address, client_credentials(files), options) as channel:
            with pytest.raises(grpc.RpcError) as failure:
                ExchangeStub(channel).Upload(iter(messages), timeout=20)
            refusal = refusal_in(failure.value)
        assert refusal is not None, failure.value
        return refusal

    return await asyncio.to_thread(send)


def dripping() -> Iterator[pb.UploadRequest]:
    """Yield messages endlessly; gRPC reads the next one once the last was sent."""
    yield header()
    while True:
        yield pb.UploadRequest(data=b"x")


def chunks(data: bytes) -> list[pb.UploadRequest]:
    return [pb.UploadRequest(data=data[n : n + CHUNK_BYTES]) for n in range(0, len(data), CHUNK_BYTES)]


async def honest_upload(running: Aggregator, desk: Desk, cluster: str = "c2") -> None:
    with client(running.address, desk.collaborator(cluster), cluster) as other:
        await asyncio.to_thread(other.join, MANIFEST)
        await asyncio.to_thread(other.upload, Update(1, "train", 10), MODEL)
    assert running.engine.counted[cluster][1] == MODEL


@pytest.mark.parametrize(
    ("messages", "reason", "remedy"),
    [
        ([header(announcement(size=1 << 40))], "WrongSize", Remedy.NEXT_ORDER),
        ([header(offset=5)], "OutOfPlace", Remedy.RESEND),
        ([header(), *chunks(MODEL[:-1])], "TooShort", Remedy.RESEND),
        ([header(), *chunks(MODEL), pb.UploadRequest(data=b"x")], "TooLong", Remedy.NEXT_ORDER),
        ([header(), *chunks(b"y" + MODEL[1:])], "WrongDigest", Remedy.RESEND),
        ([pb.UploadRequest(data=b"x")], "Malformed", Remedy.STOP),
        ([header(), header()], "Malformed", Remedy.STOP),
        ([header(), pb.UploadRequest(data=b"")], "Malformed", Remedy.STOP),
        ([header(), pb.UploadRequest(data=bytes(CHUNK_BYTES + 1))], "Malformed", Remedy.STOP),
        ([header(pb.Announcement(round=1, task="train"))], "Malformed", Remedy.STOP),
        ([], "Malformed", Remedy.STOP),
    ],
    ids=[
        "1 TB",
        "offset",
        "short",
        "long",
        "digest",
        "no header",
        "header again",
        "empty",
        "big chunk",
        "no size",
        "none",
    ],
)
async def test_refuses_an_upload_by_name(
    desk: Desk, messages: list[pb.UploadRequest], reason: str, remedy: Remedy
) -> None:
    async with aggregator(desk.server()) as running:
        refusal = await sent(running, desk.collaborator(), messages)
        await honest_upload(running, desk)

    assert (refusal.reason, refusal.remedy) == (reason, remedy)
    assert running.refusals() == {("c1", reason): 1.0}
    assert "c1" not in running.engine.counted


async def test_message_over_the_limit_ends_only_its_call(desk: Desk) -> None:
    async with aggregator(desk.server()) as running, raw_channel(running, desk) as channel:
        join: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/federation.v1.Exchange/Join")
        call = join(bytes(MESSAGE_BYTES + 1), timeout=10)
        status = await call.code()
        await honest_upload(running, desk)

    assert status in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT}


async def test_stalled_stream_is_cut_without_affecting_others(desk: Desk) -> None:
    mine = desk.collaborator()
    async with aggregator(desk.server(), timing=QUICKLY) as running, stub(running.address, mine) as exchange:
        call = exchange.Upload(timeout=20)
        await call.write(header())
        await call.write(pb.UploadRequest(data=b"x"))
        await honest_upload(running, desk)
        refusal = await refusal_of(call)

    assert refusal.reason == "Stalled"
    assert running.engine.closed == 2
    assert running.calls.peers() == frozenset()


async def test_slow_stream_ends_at_its_deadline(desk: Desk) -> None:
    timing = CallTimeouts(unary=5.0, idle=5.0, settle=5.0, transfer=lambda _size: 0.3)
    mine = desk.collaborator()
    async with aggregator(desk.server(), timing=timing) as running:
        refusal = await sent(running, mine, dripping())

    assert refusal.reason == "Deadline"


async def test_call_without_a_request_is_ended(desk: Desk) -> None:
    mine = desk.collaborator()
    async with aggregator(desk.server(), timing=QUICKLY) as running, stub(running.address, mine) as exchange:
        call = exchange.Upload(timeout=20)  # only the headers of a call are sent
        refusal = await refusal_of(call)

    assert refusal.reason == "Stalled"


async def test_newest_of_twenty_concurrent_uploads_continues(desk: Desk) -> None:
    async with aggregator(desk.server()) as running, stub(running.address, desk.collaborator()) as exchange:
        calls = []
        for _ in range(20):
            call = exchange.Upload(timeout=20)
            await call.write(header())
            calls.append(call)
        reasons = await asyncio.gather(*(_ended(call) for call in calls[:-1]))
        assert running.calls.count("c1") == 1
        await honest_upload(running, desk)
        for message in chunks(MODEL):
            await calls[-1].write(message)
        await calls[-1].done_writing()
        reply = await calls[-1]

    assert set(reasons) == {"Superseded"}
    assert reply.bytes == len(MODEL)
    assert running.engine.counted["c1"][1] == MODEL


async def _ended(call: "grpc.aio.Call") -> str:
    return (await refusal_of(call)).reason


async def test_open_calls_of_a_peer_are_limited(desk: Desk) -> None:
    async with aggregator(desk.server()) as running, stub(running.address, desk.collaborator()) as exchange:
        wanted = pb.DownloadRequest(caller=caller(), digest=announcement().blob.digest)
        calls = [exchange.Download(wanted, timeout=20) for _ in range(20)]
        endings = await asyncio.gather(*(_read(call) for call in calls))

    assert endings.count("OK") >= 4
    assert set(endings) <= {"OK", "TooManyStreams"}


async def _read(call: "grpc.aio.UnaryStreamCall[pb.DownloadRequest, pb.DownloadReply]") -> str:
    received = 0
    try:
        async for reply in call:
            received += len(reply.data)
    except grpc.aio.AioRpcError:
        return (await refusal_of(call)).reason
    assert received == len(MODEL)
    return "OK"


async def test_call_rate_of_a_peer_is_limited_without_affecting_others(desk: Desk) -> None:
    limits = ExchangeLimits(calls_per_second=0.001, burst=5)
    async with aggregator(desk.server(), limits=limits) as running:
        async with stub(running.address, desk.collaborator()) as exchange:
            for _ in range(5):
                await exchange.Join(pb.JoinRequest(caller=caller()), timeout=10)
            refusal = await refusal_of(exchange.Join(pb.JoinRequest(caller=caller()), timeout=10))
        await honest_upload(running, desk)

    assert (refusal.reason, refusal.remedy) == ("TooManyCalls", Remedy.RETRY)


async def test_all_refused_calls_are_counted_and_some_are_logged(desk: Desk) -> None:
    limits = ExchangeLimits(calls_per_second=0.001, burst=1)
    with capture_logs() as lines:
        async with aggregator(desk.server(), limits=limits) as running:
            for cluster in ("c1", "c2"):
                async with stub(running.address, desk.collaborator(cluster)) as exchange:
                    for _ in range(31):
                        call = exchange.Join(pb.JoinRequest(caller=caller("another")), timeout=10)
                        await refusal_of(call)
            refusals = running.refusals()

    reported = Counter((line["cluster"], line["reason"]) for line in lines if line["event"] == "call_refused")
    assert refusals == {
        (cluster, reason): number
        for cluster in ("c1", "c2")
        for reason, number in (("NameDiffers", 1), ("TooManyCalls", 30))
    }
    assert reported == {
        (cluster, reason): number
        for cluster in ("c1", "c2")
        for reason, number in (("NameDiffers", 1), ("TooManyCalls", LOG_BURST))
    }


def test_log_line_has_the_number_of_omitted_refusals() -> None:
    lines = LogSampler()
    at_once = [lines.take("c1", "TooManyCalls", 100.0) for _ in range(LOG_BURST + 7)]

    assert at_once == [0] * LOG_BURST + [None] * 7
    assert lines.take("c1", "Stalled", 100.0) == 0
    assert lines.take("c10", "TooManyCalls", 100.0) == 0
    assert lines.take("c1", "TooManyCalls", 100.0 + 1 / LOG_LINES_PER_SECOND) == 7
    assert lines.take("c1", "TooManyCalls", 100.0 + 1 / LOG_LINES_PER_SECOND) is None


async def test_endless_upload_is_stopped_for_the_round(desk: Desk) -> None:
    limits = ExchangeLimits(calls_per_second=1000, burst=1000, max_resends=2.0)
    wrong = [header(), *chunks(b"y" + MODEL[1:])]
    mine = desk.collaborator()
    async with aggregator(desk.server(), limits=limits) as running:
        reasons = [(await sent(running, mine, wrong)).reason for _ in range(3)]

    assert reasons == ["WrongDigest", "WrongDigest", "TooManyBytes"]


async def test_non_finite_metric_is_refused(desk: Desk) -> None:
    request = pb.ReportMetricsRequest(
        caller=caller(), round=1, task="t", metrics=[pb.Metric(name="loss", value=float("nan"))]
    )
    async with aggregator(desk.server()) as running, stub(running.address, desk.collaborator()) as exchange:
        assert await _ended(exchange.ReportMetrics(request, timeout=10)) == "MetricNotFinite"
        assert not running.engine.reported


async def test_invalid_message_is_refused(desk: Desk) -> None:
    async with aggregator(desk.server()) as running, raw_channel(running, desk) as channel:
        join: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/federation.v1.Exchange/Join")
        call = join(b"\xff\xff\xff", timeout=10)
        assert await _ended(call) == "Malformed"


async def test_work_requires_a_join(desk: Desk) -> None:
    mine = desk.collaborator()
    async with aggregator(desk.server(), SimpleEngine()) as running, stub(running.address, mine) as exchange:
        refusal = await refusal_of(exchange.Work(pb.WorkRequest(caller=caller()), timeout=10))

    assert (refusal.reason, refusal.remedy) == ("NotJoined", Remedy.RETRY)
