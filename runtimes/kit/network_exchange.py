"""Implement the collaborator's interface to the aggregator over gRPC, with the client of `federation.rpc`."""

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
from runtimes.kit.config import CollaboratorConfig
from runtimes.kit.exchange import (
    AggregatorLost,
    Ended,
    Exchange,
    ExchangeRefused,
    InitialModelWork,
    RoundClosed,
    RoundWork,
    Work,
)


@contextmanager
def connect(config: CollaboratorConfig, *, framework: str) -> Iterator[Exchange]:
    """Connect to the run's aggregator; close the connection on exit.

    Args:
        config: The collaborator's settings.
        framework: The framework's name, which is also its distribution's name.
    """
    endpoint = Endpoint(
        addresses=config.aggregators,
        server_name=config.server_name,
        run=config.run_id,
        cluster=config.cluster,
        files=Files(config.tls / "tls.key", config.tls / "tls.crt", config.tls / "ca.crt"),
    )
    patience = replace(PATIENCE, budget=config.deadline)
    with ExchangeClient(endpoint, framework=framework, version=version(framework), patience=patience) as client:
        yield NetworkExchange(client)


class NetworkExchange:
    """Exchange over a client of the aggregator.

    The aggregator repeats an order until it has the result; `next_work` returns each order once.
    """

    def __init__(self, client: ExchangeClient) -> None:
        self._client = client
        self._order: Order | None = None
        self._rounds: int | None = None

    def join(self, manifest: ModelManifest) -> None:
        """Join the run with a model of these tensors."""
        with _translated():
            self._rounds = self._client.join(manifest).rounds

    def next_work(self) -> Work:
        """Wait for work and return it; the wait has no limit while the aggregator is reachable."""
        while True:
            with _translated():
                self._order = self._client.next_order(self._order)
            match self._order:
                case Wait():
                    continue
                case ProvideModel():
                    return InitialModelWork()
                case Round(round=number, tasks=tasks):
                    return RoundWork(
                        number,
                        tuple(task.name for task in tasks),
                        final_evaluation=self._rounds is not None and number > self._rounds,
                    )
                case RunEnded(message=message):
                    return Ended(message)

    def download(self, round_number: int) -> bytearray:
        """Return the global model at the start of the current round."""
        if not isinstance(self._order, Round) or self._order.round != round_number:
            raise RoundClosed(f"round {round_number} is not the current round")
        with _translated():
            return self._client.download(self._order.model)

    def upload(self, round_number: int, task: str, samples: int, model: bytes | bytearray) -> None:
        """Send the round's update; return when the aggregator has stored and accepted it."""
        with _translated():
            self._client.upload(Update(round_number, task, samples), model)

    def upload_initial_model(self, model: bytes | bytearray) -> None:
        """Send the run's initial model; ignored if the run already has one."""
        try:
            with _translated():
                self._client.upload(Update(0, "", 0), model)
        except RoundClosed:
            return

    def report(self, round_number: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Send a task's metrics."""
        with _translated():
            self._client.report(round_number, task, samples, metrics)


@contextmanager
def _translated() -> Iterator[None]:
    """Convert the client's exceptions into those of `runtimes.kit.exchange`."""
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
