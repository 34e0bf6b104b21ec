"""Messages with many parts are limited before they are decoded, and do not delay other peers."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.policy import CHUNK_BYTES, MESSAGE_BYTES, REQUEST_BYTES, client_options
from federation.rpc.tls import client_credentials
from hub_manager.aggregator.exchange import prescan
from hub_manager.aggregator.exchange.messages import Malformed
from hub_manager.aggregator.exchange.prescan import join_refusal, report_refusal
from hub_manager.aggregator.ports import JoinResult
from hub_manager.aggregator.validation.manifest import MAX_TENSORS, AnnouncedTensor
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason
from tests.support.exchange.exchange import (
    Aggregator,
    SimpleEngine,
    aggregator,
    announcement,
    caller,
    header,
    refusal_of,
    stub,
)
from tests.support.exchange.tls import SERVER_NAME, Desk
from tests.support.waiting import until


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def decision(running: Aggregator, desk: Desk, method: str, raw: bytes) -> str:
    """Call with this message and return the reason of the refusal."""
    options = client_options(SERVER_NAME)
    async with grpc.aio.secure_channel(running.address, client_credentials(desk.collaborator()), options) as channel:
        method_of: grpc.aio.StreamUnaryMultiCallable[bytes, bytes]
        method_of = channel.stream_unary(f"/federation.v1.Exchange/{method}")
        return (await refusal_of(method_of(iter([raw]), timeout=20))).reason


def counted(tag: int, value: bytes) -> bytes:
    """Encode a length-delimited field."""
    head, left = bytearray([tag << 3 | 2]), len(value)
    while left >= 0x80:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes(head) + bytes([left]) + value


def many_tensors(number: int) -> bytes:
    return counted(2, b"\x0a\x00" * number)


def shaped(dimensions: int) -> bytes:
    tensor = pb.TensorSpec(name="w", dtype="float32", shape=[1] * dimensions)
    return pb.JoinRequest(caller=caller(), manifest=pb.ModelManifest(tensors=[tensor])).SerializeToString()


def metrics(number: int) -> bytes:
    return pb.ReportMetricsRequest(caller=caller(), metrics=[pb.Metric()] * number).SerializeToString()


PADDING = counted(15, bytes(REQUEST_BYTES))
"""A field from a later version."""


@pytest.mark.parametrize(
    ("method", "raw", "reason"),
    [
        ("Join", many_tensors(MESSAGE_BYTES // 2 - 8), "TooManyTensors"),
        ("Join", many_tensors(MAX_TENSORS) + many_tensors(1), "TooManyTensors"),
        ("Join", b"\x1a\x00" * (MESSAGE_BYTES // 2), "Malformed"),
        ("Join", shaped(33), "TensorShape"),
        ("Join", shaped(MESSAGE_BYTES - 100), "TensorShape"),
        ("ReportMetrics", metrics(65), "TooManyMetrics"),
        ("ReportMetrics", metrics(REQUEST_BYTES), "TooManyMetrics"),
        ("ReportMetrics", PADDING + metrics(1), "TooManyMetrics"),
        ("ReportMetrics", b"\x7a\x00" * REQUEST_BYTES, "Malformed"),
        ("Work", PADDING + pb.WorkRequest(caller=caller()).SerializeToString(), "Malformed"),
        ("Download", PADDING + pb.DownloadRequest(caller=caller()).SerializeToString(), "Malformed"),
        (
            "QueryOffset",
            PADDING + pb.QueryOffsetRequest(caller=caller(), announcement=announcement()).SerializeToString(),
            "Malformed",
        ),
        ("Upload", PADDING + header().SerializeToString(), "Malformed"),
    ],
    ids=[
        "tensors",
        "tensors in two pieces",
        "fields",
        "33 dimensions",
        "8 million dimensions",
        "65 metrics",
        "metrics",
        "a long report",
        "fields of a report",
        "a long wish for work",
        "a long wish for a model",
        "a long question",
        "a long header",
    ],
)
async def test_message_with_too_many_parts_is_rejected(desk: Desk, method: str, raw: bytes, reason: str) -> None:
    async with aggregator(desk.server()) as running:
        assert await decision(running, desk, method, raw) == reason
        assert not running.engine.joined
        assert not running.engine.reported


async def test_chunk_with_extra_fields_is_rejected(desk: Desk) -> None:
    chunk = pb.UploadRequest(data=bytes(10)).SerializeToString() + counted(15, bytes(CHUNK_BYTES + 60))
    async with aggregator(desk.server()) as running:
        options = client_options(SERVER_NAME)
        files = desk.collaborator()
        async with grpc.aio.secure_channel(running.address, client_credentials(files), options) as channel:
            upload: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
                "/federation.v1.Exchange/Upload"
            )
            refusal = await refusal_of(upload(iter([header().SerializeToString(), chunk]), timeout=20))

    assert (refusal.reason, "data: send from 1" in refusal.message) == ("Malformed", True)


@dataclass
class Pondering(SimpleEngine):
    """Engine whose joins block until the test releases them."""

    begun: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def join(self, peer: str, tensors: Sequence[AnnouncedTensor] | None) -> JoinResult | UpdateRefusal:
        self.begun.set()
        assert self.done.wait(10)
        return super().join(peer, tensors)


async def test_others_are_served_while_a_join_is_read(desk: Desk) -> None:
    engine = Pondering()
    report = pb.ReportMetricsRequest(caller=caller("c2"), round=1, task="train")
    async with (
        aggregator(desk.server(), engine) as running,
        stub(running.address, desk.collaborator()) as joining,
        stub(running.address, desk.collaborator("c2")) as other,
    ):
        call = joining.Join(pb.JoinRequest(caller=caller()), timeout=20)
        waiting = asyncio.ensure_future(call)
        await until(engine.begun.is_set)
        await other.ReportMetrics(report, timeout=5)
        engine.done.set()
        await waiting

    assert list(engine.joined) == ["c1"]


specs = st.builds(
    pb.TensorSpec,
    name=st.text(max_size=300),
    dtype=st.text(max_size=4),
    shape=st.lists(st.integers(0, (1 << 64) - 1), max_size=4),
)
joins = st.builds(
    pb.JoinRequest,
    caller=st.none() | st.builds(pb.Caller, run=st.text(), cluster=st.text()),
    manifest=st.none() | st.builds(pb.ModelManifest, tensors=st.lists(specs, max_size=6)),
)


@given(joins, joins)
def test_prescan_counts_the_same_parts_as_protobuf(first: pb.JoinRequest, second: pb.JoinRequest) -> None:
    raw = first.SerializeToString() + second.SerializeToString()
    found = len(pb.JoinRequest.FromString(raw).manifest.tensors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prescan, "MAX_TENSORS", found)
        assert join_refusal(raw) is None
        patch.setattr(prescan, "MAX_TENSORS", found - 1)
        refusal = join_refusal(raw)

    assert (refusal is None) == (found == 0)
    assert refusal is None or refusal.reason is UpdateRefusalReason.TOO_MANY_TENSORS


@pytest.mark.parametrize("count", [join_refusal, report_refusal])
@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_counted_or_malformed(count: Callable[[bytes], UpdateRefusal | None], raw: bytes) -> None:
    try:
        refusal = count(raw)
    except Malformed:
        return
    assert refusal is None, "so few bytes hold too much of nothing"
