"""The exchange client as a runtime sees it: each work once, and three kinds of errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest
from grpc import StatusCode

from federation.exported_plan import TaskKind
from federation.model import DType, ModelManifest, TensorSpec, digest_of, manifest_of
from federation.rpc.connection import GaveUp
from federation.rpc.exchange_client import BrokenModel, ExchangeClient
from federation.rpc.orders import Blob, Joined, NotUnderstood, Order, ProvideModel, Round, RunEnded, Task, Update, Wait
from federation.rpc.refusal import Refused, Remedy
from runtimes.kit.exchange import AggregatorLost, Ended, ExchangeRefused, InitialModelWork, RoundClosed, RoundWork
from runtimes.kit.network_exchange import NetworkExchange

MODEL = b"model"
TASKS = (Task("validation", TaskKind.VALIDATE_AGGREGATED), Task("train", TaskKind.TRAIN))


def round_(number: int) -> Round:
    return Round(number, Blob(len(MODEL), digest_of(MODEL)), TASKS, deadline=60.0)


def refusal(remedy: Remedy) -> Refused:
    return Refused("WrongRound", remedy, "round 1 has closed", StatusCode.FAILED_PRECONDITION)


@dataclass
class ScriptedClient:
    """Gives orders in turn, each for as long as the one before is not named as carried out; or fails."""

    orders: list[Order] = field(default_factory=list)
    error: Exception | None = None
    sent: list[tuple[Update, bytes]] = field(default_factory=list)

    def join(self, manifest: ModelManifest) -> Joined:
        self._fail()
        return Joined(rounds=2, manifest=manifest)

    def next_order(self, after: Order | None = None) -> Order:
        self._fail()
        if after is not None and self.orders[0] == after:
            self.orders.pop(0)
        return self.orders[0]

    def download(self, blob: Blob) -> bytearray:
        self._fail()
        assert blob.digest == digest_of(MODEL)
        return bytearray(MODEL)

    def upload(self, update: Update, data: bytes) -> None:
        self._fail()
        self.sent.append((update, bytes(data)))

    def report(self, _round: int, _task: str, _samples: int, _metrics: Mapping[str, float]) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def over(client: ScriptedClient) -> NetworkExchange:
    return NetworkExchange(cast(ExchangeClient, client))


def test_each_order_is_work_once_and_waiting_is_none() -> None:
    ended = RunEnded(completed=True, message="done", model=None)
    exchange = over(ScriptedClient([Wait(0), ProvideModel(60.0), Wait(0), round_(1), Wait(1), round_(2), ended]))

    work = [exchange.next_work() for _ in range(4)]

    tasks = ("validation", "train")
    assert work == [InitialModelWork(), RoundWork(1, tasks), RoundWork(2, tasks), Ended("done")]


def test_work_after_the_last_round_is_the_final_evaluation() -> None:
    exchange = over(ScriptedClient([round_(2), round_(3)]))
    exchange.join(manifest_of([TensorSpec("weight", DType.FLOAT32, (1,))]))

    assert [exchange.next_work() for _ in range(2)] == [
        RoundWork(2, ("validation", "train")),
        RoundWork(3, ("validation", "train"), final_evaluation=True),
    ]


def test_the_model_is_that_of_the_order() -> None:
    exchange = over(ScriptedClient([round_(1)]))
    exchange.next_work()

    assert exchange.download(1) == MODEL
    with pytest.raises(RoundClosed):
        exchange.download(2)


def test_update_has_task_and_weight_and_initial_model_has_neither() -> None:
    client = ScriptedClient()

    over(client).upload(3, "train", 560, MODEL)
    over(client).upload_initial_model(MODEL)

    assert client.sent == [(Update(3, "train", 560), MODEL), (Update(0, "", 0), MODEL)]


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (refusal(Remedy.NEXT_ORDER), RoundClosed),
        (refusal(Remedy.STOP), ExchangeRefused),
        (refusal(Remedy.RESEND), ExchangeRefused),
        (NotUnderstood("a new order"), ExchangeRefused),
        (GaveUp("600 s"), AggregatorLost),
        (BrokenModel("three times"), AggregatorLost),
    ],
    ids=["next-order", "stop", "resent-too-often", "not-understood", "gave-up", "broken-model"],
)
def test_bad_news_keeps_its_words_and_its_cause(error: Exception, becomes: type[Exception]) -> None:
    exchange = over(ScriptedClient(error=error))

    with pytest.raises(becomes, match=r"round 1 has closed|a new order|600 s|three times") as caught:
        exchange.upload(1, "train", 1, MODEL)
    assert caught.value.__cause__ is error
    with pytest.raises(becomes):
        exchange.report(1, "train", 1, {})


def test_an_initial_model_that_arrives_late_is_ignored() -> None:
    client = ScriptedClient(error=refusal(Remedy.NEXT_ORDER))

    over(client).upload_initial_model(MODEL)

    assert client.sent == []
