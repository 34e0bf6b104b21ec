"""The exchange over the network: what OpenFL's collaborator asks, in the words of `federation.rpc`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version

from federation.model import ModelManifest
from federation.rpc.connection import Endpoint, GaveUp
from federation.rpc.exchange_client import BrokenModel, ExchangeClient
from federation.rpc.orders import NotUnderstood, Order, ProvideModel, Round, RunEnded, Update, Wait
from federation.rpc.policy import PATIENCE
from federation.rpc.refusal import Refused, Remedy
from federation.rpc.tls import Files
from runtimes.kit.config import Config
from runtimes.kit.exchange import (
    AggregatorLost,
    Ended,
    Exchange,
    ExchangeRefused,
    InitialModelWanted,
    RoundClosed,
    RoundWork,
    Work,
)


@contextmanager
def connect(config: Config) -> Iterator[Exchange]:
    """The connection to the run's aggregator, closed at the end."""
    endpoint = Endpoint(
        addresses=config.aggregators,
        server_name=config.server_name,
        run=config.run_id,
        cluster=config.cluster,
        files=Files(config.tls / "tls.key", config.tls / "tls.crt", config.tls / "ca.crt"),
    )
    patience = replace(PATIENCE, budget=config.deadline)
    with ExchangeClient(endpoint, framework="openfl", version=version("openfl"), patience=patience) as client:
        yield NetworkExchange(client)


class NetworkExchange:
    """An `Exchange` over a client of the aggregator.

    An order that has been carried out is not carried out again: the aggregator repeats it until it has taken notice.
    """

    def __init__(self, client: ExchangeClient) -> None:
        self._client = client
        self._order: Order | None = None

    def join(self, manifest: ModelManifest) -> None:
        """Takes part in the run with such a model."""
        with _translated():
            self._client.join(manifest)

    def next_work(self) -> Work:
        """Waits until there is something to do; as long as the aggregator can be reached at all."""
        while True:
            with _translated():
                self._order = self._client.next_order(self._order)
            match self._order:
                case Wait():
                    continue
                case ProvideModel():
                    return InitialModelWanted()
                case Round(round=number, tasks=tasks):
                    return RoundWork(number, tuple(task.name for task in tasks))
                case RunEnded(message=message):
                    return Ended(message)

    def download(self, round_number: int) -> bytearray:
        """The global model of the round that is being worked on."""
        if not isinstance(self._order, Round) or self._order.round != round_number:
            raise RoundClosed(f"round {round_number} is not the one that was handed out")
        with _translated():
            return self._client.download(self._order.model)

    def upload(self, round_number: int, task: str, samples: int, model: bytes | bytearray) -> None:
        """Sends the round's update; returns when it is durable at the aggregator, and counts."""
        with _translated():
            self._client.upload(Update(round_number, task, samples), model)

    def upload_initial_model(self, model: bytes | bytearray) -> None:
        """Sends the model that the run begins with; too late is no fault, another one is then there."""
        try:
            with _translated():
                self._client.upload(Update(0, "", 0), model)
        except RoundClosed:
            return

    def report(self, round_number: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Sends a task's metrics."""
        with _translated():
            self._client.report(round_number, task, samples, metrics)


@contextmanager
def _translated() -> Iterator[None]:
    """Turns what the client raises into what the collaborator knows."""
    try:
        yield
    except Refused as error:
        if error.remedy is Remedy.NEXT_ORDER:
            raise RoundClosed(str(error)) from error
        raise ExchangeRefused(str(error)) from error
    except NotUnderstood as error:
        raise ExchangeRefused(str(error)) from error
    except (GaveUp, BrokenModel) as error:
        raise AggregatorLost(str(error)) from error
