"""An exchange service on the loopback with an in-memory engine, and honest and hostile clients."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import grpc
from prometheus_client import CollectorRegistry

from federation.backoff import Backoff
from federation.exported_plan import TaskKind
from federation.model import DType, TensorSpec, digest_of, manifest_of
from federation.rpc.connection import Endpoint
from federation.rpc.exchange_client import ExchangeClient
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.gen.exchange_pb2_grpc import ExchangeStub
from federation.rpc.policy import Patience, client_options, server_options
from federation.rpc.refusal import REFUSAL_METADATA, Refused, from_metadata
from federation.rpc.tls import Files, client_credentials, server_credentials
from hub_manager.aggregator.domain import Announcement, MetricsReported, Task
from hub_manager.aggregator.exchange.open_calls import OpenCalls
from hub_manager.aggregator.exchange.quotas import ExchangeLimits, PeerQuotas
from hub_manager.aggregator.exchange.service import Exchange
from hub_manager.aggregator.exchange.stream import CallTimeouts
from hub_manager.aggregator.ports import JoinResult, Order, ReadableModel, SpooledUpload, UploadSession
from hub_manager.aggregator.reporting.telemetry import AggregatorTelemetry
from hub_manager.aggregator.rounds.effects import SendRunEnded, SendWork
from hub_manager.aggregator.validation.manifest import AnnouncedTensor
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason
from tests.support.exchange.tls import RUN, SERVER_NAME

if TYPE_CHECKING:  # only the generated types tell the two stubs apart
    from federation.rpc.gen.exchange_pb2_grpc import ExchangeAsyncStub

MANIFEST: Final = manifest_of([TensorSpec("w", DType.FLOAT32, (1024, 1024)), TensorSpec("b", DType.FLOAT32, (7,))])
MODEL: Final = bytes(range(251)) * (MANIFEST.nbytes // 251) + bytes(MANIFEST.nbytes % 251)
TASKS: Final = (Task("train", TaskKind.TRAIN), Task("aggregated_model_validation", TaskKind.VALIDATE_AGGREGATED))
QUICK: Final = Patience(Backoff(first=0.02, cap=0.1), budget=20.0)


@dataclass
class MemoryModel:
    """A model in memory."""

    values: bytes

    @property
    def nbytes(self) -> int:
        return len(self.values)

    def read(self, offset: int, size: int) -> bytes:
        return self.values[offset : offset + size]


@dataclass
class MemoryUploadSession:
    """An upload into memory; `hold` blocks `write`."""

    engine: "SimpleEngine"
    peer: str
    announcement: Announcement

    @property
    def offset(self) -> int:
        return len(self._held)

    @property
    def _held(self) -> bytearray:
        return self.engine.spool[self.peer, self.announcement.digest]

    async def write(self, data: memoryview) -> UpdateRefusal | None:
        if self.engine.cut_after is not None and len(self._held) >= self.engine.cut_after:
            self.engine.cut_after = None
            raise OSError("the volume is gone for a moment")
        if len(self._held) + len(data) > self.announcement.size:
            return UpdateRefusal(UpdateRefusalReason.TOO_LONG, "more bytes than announced")
        self._held.extend(data)
        self.engine.arrived.set()
        return None

    async def finish(self) -> UpdateRefusal | None:
        if len(self._held) < self.announcement.size:
            return UpdateRefusal(UpdateRefusalReason.TOO_SHORT, "the upload is not whole")
        if digest_of(self._held) != self.announcement.digest:
            self._held.clear()
            return UpdateRefusal(UpdateRefusalReason.WRONG_DIGEST, "another digest")
        self.engine.counted[self.peer] = (self.announcement, bytes(self._held))
        return None

    async def close(self) -> None:
        self.engine.closed += 1


@dataclass
class SimpleEngine:
    """An engine with one round; tests may change its fields at any time."""

    cohort: set[str] = field(default_factory=lambda: {"c1", "c2"})
    due: list[Order] = field(default_factory=list)
    spool: dict[tuple[str, str], bytearray] = field(default_factory=dict)
    counted: dict[str, tuple[Announcement, bytes]] = field(default_factory=dict)
    reported: list[MetricsReported] = field(default_factory=list)
    joined: dict[str, Sequence[AnnouncedTensor] | None] = field(default_factory=dict)
    models: dict[str, ReadableModel] = field(default_factory=lambda: {digest_of(MODEL): MemoryModel(MODEL)})
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    cut_after: int | None = None
    closed: int = 0

    def is_member(self, peer: str) -> bool:
        return peer in self.cohort

    def join(self, peer: str, tensors: Sequence[AnnouncedTensor] | None) -> JoinResult | UpdateRefusal:
        names = None if tensors is None else [tensor.name for tensor in tensors]
        if names is not None and names != [tensor.name for tensor in MANIFEST.tensors]:
            return UpdateRefusal(UpdateRefusalReason.EXTRA_TENSOR, "another model")
        self.joined[peer] = tensors
        return JoinResult(3, MANIFEST)

    async def push(self, order: Order) -> None:
        async with self.changed:
            self.due.append(order)
            self.changed.notify_all()

    async def orders(self, peer: str) -> AsyncGenerator[Order, None]:
        sent = max(0, len(self.due) - 1)
        while True:
            async with self.changed:
                await self.changed.wait_for(lambda: len(self.due) > sent)  # noqa: B023 - runs before it changes
            order = self.due[sent]
            sent += 1
            if order.peer == peer:
                yield order
                if isinstance(order, SendRunEnded):
                    return

    async def query_offset(self, peer: str, announcement: Announcement) -> SpooledUpload | UpdateRefusal:
        if announcement.size != MANIFEST.nbytes:
            return UpdateRefusal(
                UpdateRefusalReason.WRONG_SIZE, f"{announcement.size} bytes, the model has {MANIFEST.nbytes}"
            )
        found = self.counted.get(peer)
        if found is not None and found[0] == announcement:
            return SpooledUpload(announcement.size, accepted=True)
        return SpooledUpload(len(self.spool.get((peer, announcement.digest), b"")), accepted=False)

    async def receive(
        self, peer: str, announcement: Announcement, offset: int
    ) -> UploadSession | SpooledUpload | UpdateRefusal:
        stored = await self.query_offset(peer, announcement)
        if isinstance(stored, UpdateRefusal) or stored.accepted:
            return stored
        if offset != stored.offset:
            return UpdateRefusal(UpdateRefusalReason.OUT_OF_PLACE, f"resume the upload at byte {stored.offset}")
        self.spool.setdefault((peer, announcement.digest), bytearray())
        return MemoryUploadSession(self, peer, announcement)

    def model(self, digest: str) -> ReadableModel | None:
        return self.models.get(digest)

    async def report(self, reported: MetricsReported) -> UpdateRefusal | None:
        if any(metric.value != metric.value for metric in reported.metrics):
            return UpdateRefusal(UpdateRefusalReason.METRIC_NOT_FINITE, "a metric is NaN")
        self.reported.append(reported)
        return None


def round_order(peer: str = "c1", round_: int = 1) -> SendWork:
    """Build a work order for the peer with the engine's model."""
    return SendWork(peer, round_, TASKS, digest_of(MODEL), datetime.now(UTC).timestamp() + 600)


@dataclass
class Aggregator:
    """A service on the loopback."""

    port: int
    engine: SimpleEngine
    exchange: Exchange
    calls: OpenCalls
    registry: CollectorRegistry

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def refusals(self) -> dict[tuple[str, str], float]:
        """Return the number of refused calls by cluster and reason from `/metrics`."""
        return {
            (sample.labels["cluster"], sample.labels["reason"]): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "federated_learning_aggregator_refusals_total"
        }


@asynccontextmanager
async def aggregator(
    files: Files,
    engine: SimpleEngine | None = None,
    *,
    limits: ExchangeLimits | None = None,
    timing: CallTimeouts | None = None,
    port: int = 0,
) -> AsyncIterator[Aggregator]:
    """Serve the exchange with these files while the context is open."""
    engine = engine or SimpleEngine()
    registry = CollectorRegistry()
    chosen = limits or ExchangeLimits(calls_per_second=1000, burst=1000)
    calls = OpenCalls(chosen, clock=lambda: datetime.now(UTC))
    exchange = Exchange(RUN, engine, calls, PeerQuotas(chosen), AggregatorTelemetry(registry), timing)
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((exchange.handler(),))
    bound = server.add_secure_port(f"127.0.0.1:{port}", server_credentials(files))
    await server.start()
    try:
        yield Aggregator(bound, engine, exchange, calls, registry)
    finally:
        await server.stop(grace=None)


def endpoint(address: str, files: Files, cluster: str = "c1") -> Endpoint:
    """Build the endpoint for a collaborator of the cluster."""
    return Endpoint((address,), SERVER_NAME, RUN, cluster, files)


def client(address: str, files: Files, cluster: str = "c1", *, patience: Patience = QUICK) -> ExchangeClient:
    """Create the client that a runtime uses."""
    return ExchangeClient(endpoint(address, files, cluster), framework="test", version="1", patience=patience)


@asynccontextmanager
async def stub(address: str, files: Files) -> AsyncIterator["ExchangeAsyncStub"]:
    """Raw calls of the exchange, for hostile clients."""
    async with grpc.aio.secure_channel(address, client_credentials(files), client_options(SERVER_NAME)) as channel:
        found: ExchangeAsyncStub = ExchangeStub(channel)  # type: ignore[assignment]
        yield found


async def refusal_of(call: "grpc.aio.Call") -> Refused:
    """Return the refusal that ended the call."""
    status = await call.code()
    values = [value for key, value in await call.trailing_metadata() if key == REFUSAL_METADATA]
    assert values, f"{status}: {await call.details()}"
    assert isinstance(values[0], bytes)
    return from_metadata(status, values[0])


def caller(cluster: str = "c1", run: str = RUN) -> pb.Caller:
    return pb.Caller(run=run, cluster=cluster)


def announcement(data: bytes = MODEL, *, size: int | None = None, round_: int = 1) -> pb.Announcement:
    """Build the announcement of an upload of the data; `size` may be wrong."""
    blob = pb.Blob(bytes=len(data) if size is None else size, digest=digest_of(data))
    return pb.Announcement(round=round_, task="train", blob=blob, samples=10)


def header(announced: pb.Announcement | None = None, *, offset: int = 0, cluster: str = "c1") -> pb.UploadRequest:
    """Build the first message of an upload."""
    return pb.UploadRequest(
        header=pb.UploadHeader(caller=caller(cluster), announcement=announced or announcement(), offset=offset)
    )
