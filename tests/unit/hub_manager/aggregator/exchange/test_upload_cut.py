"""Resumed uploads, with a thread that still uses the file or a large stored part."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from federation.rpc.gen import exchange_pb2 as pb
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.engine.upload_session import SpoolUploadSession
from hub_manager.aggregator.exchange.stream import CallTimeouts
from hub_manager.aggregator.ports import SpooledUpload, UploadSession
from hub_manager.aggregator.rounds.inputs import Event, UpdateBroken, UpdateComplete
from hub_manager.aggregator.rounds.machine import StepResult
from hub_manager.aggregator.rounds.state import new_run
from hub_manager.aggregator.storage.spool import Spool
from hub_manager.aggregator.validation.content import Inspection
from hub_manager.aggregator.validation.refusal import UpdateRefusal
from tests.support.exchange.exchange import (
    MANIFEST,
    MODEL,
    SimpleEngine,
    aggregator,
    announcement,
    header,
    refusal_of,
    stub,
)
from tests.support.exchange.rounds import parameters
from tests.support.exchange.tls import Desk
from tests.support.waiting import until

T = TypeVar("T")
HALF = len(MODEL) // 8
"""Fits into one message."""


class Watched(SpoolUploadSession):
    """Session that signals the start of its close."""

    closing = 0

    async def close(self) -> None:
        Watched.closing += 1
        await super().close()


@dataclass
class SpoolingEngine(SimpleEngine):
    """Stores uploads on a volume, and records the submitted events."""

    volume: Spool = field(default_factory=lambda: Spool(Path("none")))
    received_events: list[Event] = field(default_factory=list)
    begun: int = 0

    def submit(self, event: Event) -> "asyncio.Future[StepResult]":
        self.received_events.append(event)
        decision: asyncio.Future[StepResult] = asyncio.get_running_loop().create_future()
        decision.set_result(StepResult(new_run(parameters())))
        return decision

    async def receive(self, peer: str, announcement: Announcement, offset: int) -> SpoolUploadSession:
        self.begun += 1
        session = Watched(peer, announcement, self.submit)
        try:
            await session.open(self.volume, MANIFEST)
        except BaseException:
            await session.close()
            raise
        assert session.offset == offset
        return session


class Gate:
    """Blocks the first thread until the test opens the gate."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def before(self, work: Callable[..., T]) -> Callable[..., T]:
        def held(*args: Any) -> T:
            if not self.reached.is_set():
                self.reached.set()
                assert self.opened.wait(10)
            return work(*args)

        return held


@pytest.fixture
def gate() -> Gate:
    Watched.closing = 0
    return Gate()


def open_files(folder: Path) -> list[str]:
    """Return this process's open files below the folder."""
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [str(path) for path in links if path.is_relative_to(folder)]


def messages(offset: int) -> list[pb.UploadRequest]:
    rest = range(offset, len(MODEL), HALF)
    return [header(offset=offset), *(pb.UploadRequest(data=MODEL[at : at + HALF]) for at in rest)]


@pytest.mark.parametrize(
    ("held", "name", "offset"), [(os, "fsync", 0), (Inspection, "feed", HALF)], ids=["during finish", "during open"]
)
async def test_newer_upload_waits_for_the_thread_of_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate, held: object, name: str, offset: int
) -> None:
    desk, volume = Desk(tmp_path / "desk"), tmp_path / "volume"
    engine = SpoolingEngine(volume=Spool(volume))
    announced = Announcement(1, "train", len(MODEL), announcement().blob.digest, 10)
    with engine.volume.receive("c1", announced, MANIFEST) as before:
        before.write(0, MODEL[:offset])
    monkeypatch.setattr(held, name, gate.before(getattr(held, name)))
    files = desk.collaborator()
    async with aggregator(desk.server(), engine) as running, stub(running.address, files) as exchange:
        left = exchange.Upload(iter(messages(offset)), timeout=20)
        await until(gate.reached.is_set)
        left.cancel()
        await until(lambda: Watched.closing == 1)
        at = len(MODEL) if offset == 0 else offset
        newer = exchange.Upload(iter(messages(at)), timeout=20)
        await until(lambda: running.calls.count("c1") == 2 or engine.begun == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        begun_beside_the_thread = engine.begun - 1
        gate.opened.set()
        reply = await newer

    assert begun_beside_the_thread == 0
    assert [type(event) for event in engine.received_events] == [UpdateBroken, UpdateComplete]
    assert reply.bytes == len(MODEL)
    with engine.volume.source("c1", 1, announced.digest) as source:
        assert source.read(0, len(MODEL)) == MODEL
    assert open_files(volume) == []


@dataclass
class Reading(SimpleEngine):
    """Engine that reads the stored part of c1's upload until a later call has exceeded its deadline."""

    other_ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(
        self, peer: str, announcement: Announcement, offset: int
    ) -> UploadSession | SpooledUpload | UpdateRefusal:
        if peer == "c1":
            await self.other_ended.wait()
        return await super().receive(peer, announcement, offset)


async def test_upload_is_not_cut_while_its_stored_part_is_read(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    engine, timing = Reading(), CallTimeouts(unary=0.3, idle=5.0, settle=10.0)
    async with (
        aggregator(desk.server(), engine, timing=timing) as running,
        stub(running.address, desk.collaborator()) as exchange,
        stub(running.address, desk.collaborator("c2")) as other,
    ):
        upload = exchange.Upload(iter(messages(0)), timeout=20)
        await until(lambda: running.calls.count("c1") == 1)
        assert (await refusal_of(other.Upload(timeout=20))).reason == "Deadline"
        engine.other_ended.set()
        reply = await upload

    assert reply.bytes == len(MODEL)
