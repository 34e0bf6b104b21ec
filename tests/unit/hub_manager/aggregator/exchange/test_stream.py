"""Calls that are cut during the write of a message."""

import asyncio
from typing import Any, cast

import pytest

from federation.rpc.gen import exchange_pb2 as pb
from hub_manager.aggregator.exchange import stream as module
from hub_manager.aggregator.exchange.stream import CallStream


class SlowLine:
    """Context whose writes end when the test releases them."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.done: list[str] = []

    async def write(self, _raw: bytes) -> None:
        await self.gone.wait()
        self.done.append("written")


def writing(line: SlowLine) -> "asyncio.Task[None]":
    stream = CallStream(cast("Any", None), cast("Any", None), cast("Any", line), idle=60.0)
    return asyncio.create_task(stream.write(pb.ReportMetricsReply()))


async def test_last_message_is_sent_before_the_call_ends() -> None:
    line = SlowLine()
    task = writing(line)
    task.add_done_callback(lambda _: line.done.append("ended"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    line.gone.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.done == ["written", "ended"]


async def test_peer_that_reads_nothing_does_not_delay_the_end_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_WRITE_SECONDS", 0.01)
    line = SlowLine()
    task = writing(line)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.done == []
    line.gone.set()
