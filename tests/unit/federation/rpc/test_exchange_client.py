"""The client that runtimes use, against an aggregator that is cut, restarted and in doubt."""

import asyncio
import dataclasses
import threading
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from federation.backoff import Backoff
from federation.exported_plan import TaskKind
from federation.model import DType, TensorSpec, digest_of, manifest_of
from federation.rpc.connection import Closed, Connection, GaveUp
from federation.rpc.exchange_client import BrokenModel, ExchangeClient
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.gen.exchange_pb2_grpc import ExchangeStub
from federation.rpc.orders import Blob, Order, Round, RunEnded, Update
from federation.rpc.policy import Patience
from federation.rpc.refusal import CallReason, Refused, Remedy, refused
from hub_manager.aggregator.rounds.effects import SendRunEnded
from tests.support.exchange.exchange import (
    MANIFEST,
    MODEL,
    QUICK,
    MemoryModel,
    SimpleEngine,
    aggregator,
    client,
    endpoint,
    round_order,
)
from tests.support.exchange.tls import Desk

UPDATE = Update(round=1, task="train", samples=10)
BLOB = Blob(len(MODEL), digest_of(MODEL))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_round_from_joining_to_its_end(desk: Desk) -> None:
    engine = SimpleEngine()
    async with aggregator(desk.server(), engine) as running:
        with client(running.address, desk.collaborator()) as mine:
            joined = await asyncio.to_thread(mine.join, MANIFEST)
            await engine.push(round_order())
            order = await asyncio.to_thread(mine.next_order)
            assert isinstance(order, Round)
            model = await asyncio.to_thread(mine.download, order.model)
            await asyncio.to_thread(mine.upload, UPDATE, model)
            await asyncio.to_thread(mine.report, 1, "aggregated_model_validation", 20, {"accuracy": 0.5})
            await engine.push(SendRunEnded("c1", completed=True, message="done", digest=digest_of(MODEL)))
            last = await asyncio.to_thread(mine.next_order, order)

    assert (joined.rounds, joined.manifest) == (3, MANIFEST)
    assert [task.kind for task in order.tasks] == [TaskKind.TRAIN, TaskKind.VALIDATE_AGGREGATED]
    assert last == RunEnded(completed=True, message="done", model=BLOB)
    assert engine.counted["c1"][1] == MODEL
    assert (engine.counted["c1"][0].weight, engine.counted["c1"][0].task) == (10, "train")
    assert [(m.round, m.task, m.samples, m.metrics[0].value) for m in engine.reported] == [
        (1, "aggregated_model_validation", 20, 0.5)
    ]


async def test_of_several_addresses_one_that_answers_is_enough(desk: Desk, unused_tcp_port: int) -> None:
    engine = SimpleEngine()
    async with aggregator(desk.server(), engine) as running:
        told = dataclasses.replace(
            endpoint(running.address, desk.collaborator()), addresses=(f"127.0.0.1:{unused_tcp_port}", running.address)
        )
        with ExchangeClient(told, framework="test", version="1", patience=QUICK) as mine:
            joined = await asyncio.to_thread(mine.join, MANIFEST)

    assert joined.rounds == 3


@pytest.mark.parametrize("words", ["Cannot invoke RPC on closed channel!", "Cannot invoke RPC: Channel closed!"])
async def test_a_channel_that_another_thread_has_renewed_is_no_failure(desk: Desk, words: str) -> None:
    connection = Connection(endpoint("127.0.0.1:1", desk.collaborator()), QUICK)
    failing = [ValueError(words)]

    def attempt(_stub: object) -> str:
        if failing:
            raise failing.pop()
        return "done"

    assert await asyncio.to_thread(connection.patiently, "join", attempt) == "done"
    with pytest.raises(ValueError, match="unlike"):
        connection.patiently("join", lambda _stub: (_ for _ in ()).throw(ValueError("unlike")))
    connection.close()


async def test_a_cut_upload_goes_on_where_it_was(desk: Desk) -> None:
    engine = SimpleEngine(cut_after=2 << 20)
    async with aggregator(desk.server(), engine) as running:
        with client(running.address, desk.collaborator()) as mine:
            await asyncio.to_thread(mine.join, MANIFEST)
            await asyncio.to_thread(mine.upload, UPDATE, MODEL)

        received = running.registry.get_sample_value(
            "federated_learning_aggregator_received_bytes_total", {"cluster": "c1"}
        )

    assert engine.counted["c1"][1] == MODEL
    assert received is not None
    assert received <= len(MODEL) + (1 << 20), "more than the chunk that was cut came twice"
    assert running.refusals() == {("c1", "NotReady"): 1.0}


async def test_goes_on_with_an_aggregator_that_was_restarted(desk: Desk) -> None:
    files = desk.server()
    engine = SimpleEngine()
    await engine.push(round_order())
    async with aggregator(files, engine) as running:
        mine = client(running.address, desk.collaborator())
        await asyncio.to_thread(mine.join, MANIFEST)
        order = await asyncio.to_thread(mine.next_order)
    engine.joined.clear()
    try:
        async with aggregator(files, engine, port=running.port):
            await asyncio.to_thread(mine.upload, UPDATE, MODEL)
            await engine.push(round_order(round_=2))
            second = await asyncio.to_thread(mine.next_order, order)
    finally:
        await asyncio.to_thread(mine.close)

    assert isinstance(second, Round)
    assert second.round == 2
    assert "c1" in engine.joined


async def test_an_order_told_again_is_no_other_order(desk: Desk) -> None:
    engine = SimpleEngine()
    await engine.push(round_order())
    async with aggregator(desk.server(), engine) as running:
        with client(running.address, desk.collaborator()) as mine:
            await asyncio.to_thread(mine.join, MANIFEST)
            order = await asyncio.to_thread(mine.next_order)
            assert isinstance(order, Round)
            await engine.push(round_order())

            with pytest.raises(TimeoutError):
                await asyncio.to_thread(mine.next_order, order, timeout=0.3)


async def test_a_fatal_refusal_ends_every_call_with_its_reason(desk: Desk) -> None:
    engine = SimpleEngine()
    async with aggregator(desk.server(), engine) as running:
        with client(running.address, desk.collaborator()) as mine:
            await asyncio.to_thread(mine.join, MANIFEST)
            engine.cohort.clear()
            running.calls.cut("c1", refused(CallReason.NOT_IN_COHORT, "the cluster has left the run"))
            with pytest.raises(Refused) as waiting:
                await asyncio.to_thread(mine.next_order)
            with pytest.raises(Refused) as uploading:
                await asyncio.to_thread(mine.upload, UPDATE, MODEL)

    assert waiting.value.reason == uploading.value.reason == "NotInCohort"
    assert waiting.value.remedy is Remedy.STOP


async def test_another_model_is_refused_by_name_at_once(desk: Desk) -> None:
    other = manifest_of([TensorSpec("other", DType.FLOAT32, (3,))])
    async with aggregator(desk.server()) as running:
        with client(running.address, desk.collaborator()) as mine, pytest.raises(Refused) as refused:
            await asyncio.to_thread(mine.join, other)

    assert (refused.value.reason, refused.value.message) == ("ExtraTensor", "another model")
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_second_process_of_the_cluster_takes_the_first_ones_place(desk: Desk) -> None:
    engine = SimpleEngine()
    async with aggregator(desk.server(), engine) as running:
        files = desk.collaborator()
        with client(running.address, files) as first, client(running.address, files) as second:
            await asyncio.to_thread(first.join, MANIFEST)
            await engine.push(round_order())
            await asyncio.to_thread(first.next_order)
            await asyncio.to_thread(second.join, MANIFEST)
            await asyncio.to_thread(second.next_order)
            with pytest.raises(Refused) as refused:
                await asyncio.to_thread(_until_refused, first)

    assert refused.value.reason == "Superseded"


def _until_refused(mine: ExchangeClient) -> None:
    order: Order | None = mine.next_order()
    while True:
        order = mine.next_order(order, timeout=10)


async def test_gives_up_an_aggregator_that_is_not_there(desk: Desk) -> None:
    patience = Patience(Backoff(first=0.01, cap=0.05), budget=0.3)
    files = desk.collaborator()
    with client("127.0.0.1:9", files, patience=patience) as mine, pytest.raises(GaveUp, match="join: no success"):
        await asyncio.to_thread(mine.join, MANIFEST)


async def test_gives_up_a_server_of_another_name(desk: Desk) -> None:
    patience = Patience(Backoff(first=0.01, cap=0.05), budget=0.3)
    async with aggregator(desk.server("digits.other.aggregator.federated-learning.internal")) as running:
        with client(running.address, desk.collaborator(), patience=patience) as mine, pytest.raises(GaveUp):
            await asyncio.to_thread(mine.join, MANIFEST)

    assert not running.engine.joined


async def test_closing_ends_a_wait_between_two_tries(desk: Desk) -> None:
    patience = Patience(Backoff(first=60.0, cap=60.0), budget=900.0)
    mine = client("127.0.0.1:9", desk.collaborator(), patience=patience)
    ended: list[str] = []

    def join() -> None:
        with pytest.raises(Closed) as closed:
            mine.join(MANIFEST)
        ended.append(str(closed.value))

    thread = threading.Thread(target=join)
    thread.start()
    await asyncio.to_thread(mine.close)
    await asyncio.to_thread(thread.join, 20)

    assert ended


async def test_renews_its_certificate_when_the_old_one_ends(desk: Desk) -> None:
    engine = SimpleEngine()
    files = desk.collaborator(life=timedelta(seconds=2))
    async with aggregator(desk.server(), engine) as running:
        with client(running.address, files) as mine:
            await asyncio.to_thread(mine.join, MANIFEST)
            renewed = desk.collaborator()
            files.key.write_text(renewed.key.read_text())
            files.certificate.write_text(renewed.certificate.read_text())
            while not running.refusals():
                await asyncio.to_thread(mine.report, 1, "aggregated_model_validation", 1, {})
                await asyncio.sleep(0)
            await engine.push(round_order())
            order = await asyncio.to_thread(mine.next_order)

    assert isinstance(order, Round)
    assert set(running.refusals()) == {("c1", "CertificateExpired")}


async def test_a_model_that_is_not_what_was_announced_is_not_handed_on(desk: Desk) -> None:
    engine = SimpleEngine(models={BLOB.digest: MemoryModel(MODEL[:-1] + b"x")})
    async with aggregator(desk.server(), engine) as running:
        with client(running.address, desk.collaborator()) as mine:
            await asyncio.to_thread(mine.join, MANIFEST)
            with pytest.raises(BrokenModel):
                await asyncio.to_thread(mine.download, BLOB)


async def test_a_download_that_was_cut_goes_on_where_it_was(desk: Desk) -> None:
    reads: list[int] = []

    class Torn(MemoryModel):
        def read(self, offset: int, size: int) -> bytes:
            reads.append(offset)
            if len(reads) == 2:
                raise OSError("the volume is gone for a moment")
            return super().read(offset, min(size, 1 << 20))

    engine = SimpleEngine(models={BLOB.digest: Torn(MODEL)})
    async with aggregator(desk.server(), engine) as running:
        with client(running.address, desk.collaborator()) as mine:
            await asyncio.to_thread(mine.join, MANIFEST)
            assert await asyncio.to_thread(mine.download, BLOB) == MODEL

    assert reads[:3] == [0, 1 << 20, 1 << 20]


@pytest.mark.parametrize("request_", [pb.JoinRequest(), pb.DownloadRequest()], ids=["unary", "stream"])
def test_a_channel_that_another_thread_renews_just_before_a_call_is_no_error(
    desk: Desk, request_: pb.JoinRequest | pb.DownloadRequest
) -> None:
    connection = Connection(endpoint("127.0.0.1:1", desk.collaborator()), QUICK)
    tries = 0

    def attempt(stub: ExchangeStub) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            connection._renew(connection._generation)
            stub.Join(request_) if isinstance(request_, pb.JoinRequest) else stub.Download(request_)
        return tries

    assert connection.patiently("call", attempt) == 2
    connection.close()
