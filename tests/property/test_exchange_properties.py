"""Properties of every message and every order of calls: no input of a peer bypasses or breaks the parsing."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.exported_plan import TaskKind
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.orders import Round, RunEnded, Wait, order_of
from federation.rpc.policy import CHUNK_BYTES
from hub_manager.aggregator.domain import Task
from hub_manager.aggregator.exchange.messages import (
    Malformed,
    data_of,
    data_reply,
    header_of,
    order_message,
    parse,
    tensors_of,
)
from hub_manager.aggregator.exchange.quotas import UploadBudget
from hub_manager.aggregator.rate_limit import TokenBucket
from hub_manager.aggregator.rounds.effects import SendRunEnded, SendWait, SendWork

DIGEST = "blake3:" + "0" * 64


@given(st.binary(min_size=1, max_size=2000))
def test_data_survive_encoding(data: bytes) -> None:
    assert data_of(pb.UploadRequest(data=data).SerializeToString()) == data


@pytest.mark.parametrize("size", [1, 127, 128, 16383, 16384, CHUNK_BYTES - 1, CHUNK_BYTES])
def test_data_with_every_length_of_varint_survive_encoding(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)

    assert data_of(pb.UploadRequest(data=data).SerializeToString()) == data
    assert data_reply(data) == pb.DownloadReply(data=data).SerializeToString()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_as_by_protobuf_or_malformed(raw: bytes) -> None:
    try:
        found = bytes(data_of(raw))
    except Malformed:
        return
    assert pb.UploadRequest.FromString(raw).data == found


@given(st.binary(max_size=300))
def test_invalid_bytes_raise_only_malformed(raw: bytes) -> None:
    for read in (header_of, lambda raw: tensors_of(parse(pb.JoinRequest, raw))):
        with contextlib.suppress(Malformed):
            read(raw)


@given(
    st.integers(1, 1 << 31),
    st.lists(st.tuples(st.text(max_size=20), st.sampled_from(TaskKind)), max_size=4),
    st.floats(0, 1e6),
)
def test_work_order_survives_encoding(round_: int, tasks: list[tuple[str, TaskKind]], left: float) -> None:
    work = SendWork("c1", round_, tuple(Task(name, kind) for name, kind in tasks), DIGEST, 1000.0 + left)

    order = order_of(order_message(work, now=1000.0, size_of=lambda _digest: 7), now=50.0)

    assert isinstance(order, Round)
    assert (order.round, order.model.size, order.model.digest) == (round_, 7, DIGEST)
    assert [(task.name, task.kind.name) for task in order.tasks] == [(name, kind.name) for name, kind in tasks]
    assert order.deadline == pytest.approx(50.0 + left, abs=1e-6)


def test_only_a_completed_run_ends_with_a_model() -> None:
    lost = SendRunEnded("c1", completed=False, message="QuorumLost", digest=None)

    assert order_of(order_message(lost, now=0, size_of=len), now=0) == RunEnded(
        completed=False, message="QuorumLost", model=None
    )
    assert order_of(order_message(SendWait("c1", 3), now=0, size_of=len), now=0) == Wait(3)


@given(st.lists(st.floats(-5, 20), max_size=200), st.floats(0.1, 10), st.integers(1, 20))
def test_calls_are_limited_by_burst_and_rate(steps: list[float], rate: float, burst: int) -> None:
    now = latest = 0.0
    bucket = TokenBucket(rate, burst, burst, 0.0)
    taken = 0
    gone = 0.0
    for step in steps:
        now += step
        gone += max(0.0, step)
        latest = max(latest, now)
        taken += bucket.take(now)

    assert taken <= burst + rate * gone + 1e-6


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100)), max_size=60))
def test_bytes_of_a_round_are_limited(arrivals: list[tuple[int, int]]) -> None:
    allowance = UploadBudget()
    for round_, size in arrivals:
        left = allowance.grant(round_, 50, 2.0)
        if size <= left:
            allowance.count(size)
        assert 0 <= allowance.received <= 100
