"""A complete aggregator on the loopback with TLS and configuration files, and sites that train on plain numbers."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from federation.api.aggregator_run import RUN_FILE, AggregatorRun
from federation.api.federated_learning import Aggregation
from federation.exported_plan import MODEL_FILE, PLAN_FILE, ExportedPlan, PlannedTask, TaskGroup, TaskKind, encode
from federation.rpc.orders import ProvideModel, Round, RunEnded, Update, Wait
from hub_manager.aggregator.app import Aggregator, AggregatorSettings, Follow
from hub_manager.aggregator.config import AggregatorFolders, read_config
from hub_manager.aggregator.exchange.quotas import ExchangeLimits
from hub_manager.aggregator.numerics.algorithms import Yogi
from hub_manager.aggregator.reporting.reporter import Reporter
from hub_manager.aggregator.rounds.state import State
from tests.support.builders.models import MIXED, packed, unpacked
from tests.support.exchange.engine_runs import COHORT, WEIGHTS, initial_model, trained
from tests.support.exchange.exchange import client
from tests.support.exchange.rounds import cohort_of
from tests.support.exchange.tls import RUN, SERVER_NAME, Desk

PLAN = ExportedPlan(
    rounds=3,
    tasks=(PlannedTask("train", TaskKind.TRAIN), PlannedTask("validation", TaskKind.VALIDATE_AGGREGATED)),
    groups=(TaskGroup("learning", 1, ("train", "validation")),),
)
YOGI = Yogi(0.1)
SERVER = Aggregation(algorithm="Yogi", learning_rate=YOGI.rate, beta1=YOGI.beta1, beta2=YOGI.beta2, epsilon=YOGI.tau)


Seen = Callable[[str, int], None]
"""Called for each round that a site has completed."""


@dataclass
class Pod:
    """The mounts of an aggregator's pod in one folder, which survives the aggregator."""

    folder: Path
    desk: Desk = field(init=False)
    folders: AggregatorFolders = field(init=False)
    _generation: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.desk = Desk(self.folder / "desk")
        self.folders = AggregatorFolders(
            self.folder / "run", self.folder / "desk" / "aggregator", self.folder / "workspace"
        )
        for folder in (self.folders.run, self.folders.workspace):
            folder.mkdir()
        self.desk.server()
        self.submit()
        self.write_cohort(*COHORT)
        (self.folders.workspace / PLAN_FILE).write_bytes(encode(PLAN))

    def submit(self, **changes: Any) -> None:
        """Write `run.json`."""
        run = AggregatorRun(
            config_map="mnist-server",
            id=RUN,
            name="digits",
            namespace="default",
            uid="run-uid",
            rounds=3,
            round_timeout_seconds=120,
            min_clients_per_round=3,
            join_policy="Frozen",
            aggregation=SERVER,
            framework="openfl",
            folder=str(self.folder / "models" / "digits"),
            location="digits",
            server_name=SERVER_NAME,
        )
        changed = msgspec.structs.replace(run, **changes)
        (self.folders.run / RUN_FILE).write_bytes(msgspec.json.encode(changed))

    def export_initial_model(self, file: bytes) -> None:
        """Add an initial model to the workspace and to its plan."""
        plan = msgspec.structs.replace(PLAN, initial_model=MODEL_FILE)
        (self.folders.workspace / PLAN_FILE).write_bytes(encode(plan))
        (self.folders.workspace / MODEL_FILE).write_bytes(file)

    def write_cohort(self, *members: str, revoked: Iterable[str] = (), generation: int | None = None) -> None:
        """Write `cohort.json`, by default with the next generation."""
        self._generation = self._generation + 1 if generation is None else generation
        partial = self.folders.run / "partial"
        partial.write_bytes(msgspec.json.encode(cohort_of(self._generation, members, revoked)))
        partial.replace(self.folders.cohort)

    def aggregator(self, port: int = 0, *, registry: CollectorRegistry | None = None) -> Aggregator:
        """Create an aggregator process for the pod."""
        settings = AggregatorSettings(
            f"127.0.0.1:{port}", 0, ExchangeLimits(calls_per_second=1000, burst=1000), cohort_read_seconds=0.05
        )
        return Aggregator(read_config(self.folders), self.folders, registry or CollectorRegistry(), settings)

    def model(self, round_: int) -> bytes:
        """Read the values of the model after a round with the safetensors library."""
        raw = (
            self.folder / "models" / "digits" / "checkpoints" / f"round-{round_:06}" / "model.safetensors"
        ).read_bytes()
        return raw[8 + int.from_bytes(raw[:8], "little") :]


async def serving(
    aggregator: Aggregator, reporter: Reporter | None = None, *, followed: Follow | None = None
) -> "tuple[asyncio.Task[State], int]":
    """Start the aggregator as a task; return it with the port once it serves."""
    living = asyncio.create_task(aggregator.run(reporter, followed=followed))
    waiting = asyncio.create_task(aggregator.started.wait())
    await asyncio.wait({living, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not aggregator.started.is_set():
        waiting.cancel()
        living.result()
    return living, aggregator.port


def site(
    pod: Pod, port: int, cluster: str, seen: Callable[[str, int], None] = lambda _cluster, _round: None
) -> RunEnded:
    """Run one collaborator until the end of the run; call this in a thread."""
    with client(f"127.0.0.1:{port}", pod.desk.collaborator(cluster), cluster) as mine:
        mine.join(MIXED)
        order = mine.next_order()
        while True:
            match order:
                case RunEnded():
                    return order
                case ProvideModel():
                    mine.upload(Update(0, "", 0), packed(MIXED, initial_model()))
                case Round():
                    model = unpacked(MIXED, bytes(mine.download(order.model)))
                    accuracy = order.round + WEIGHTS[cluster] / 1000
                    mine.report(order.round, "validation", WEIGHTS[cluster], {"accuracy": accuracy})
                    if any(task.name == "train" for task in order.tasks):
                        update = packed(MIXED, trained(cluster, order.round, model))
                        mine.upload(Update(order.round, "train", WEIGHTS[cluster]), update)
                    seen(cluster, order.round)
                case Wait():
                    pass
            order = mine.next_order(order)
