"""Provide a collaborator's runtime with blocking calls to the aggregator.

A background thread keeps the stream of work open, even while the runtime trains: the aggregator expects the
collaborator's update while the stream is open, and the client gets new orders at once. The thread joins again and
reopens the stream when it breaks. All other calls run in the caller's thread.

Guarantees: a call that returns took effect exactly once, despite lost connections and restarts; a permanent refusal
raises `Refused` from the next call; no call exceeds its time budget without success. A model is bytes in the layout of
`federation.model`; the client does not read its tensors.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import structlog

from federation.model import ModelManifest, digest_of
from federation.rpc import policy
from federation.rpc.connection import Closed, Connection, Endpoint, GaveUp, StreamEnded
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.gen.exchange_pb2_grpc import ExchangeStub
from federation.rpc.orders import (
    Blob,
    Joined,
    NotUnderstood,
    Order,
    RunEnded,
    Update,
    joined_of,
    manifest_message,
    order_of,
)
from federation.rpc.policy import PATIENCE, Patience
from federation.rpc.refusal import Refused

_log = structlog.stdlib.get_logger(__name__)


class BrokenModel(Exception):
    """The downloaded model differs from the announced model, after several downloads."""


class ExchangeClient:
    """Client for one collaborator of a run; a context manager that closes the connection."""

    def __init__(self, endpoint: Endpoint, *, framework: str, version: str, patience: Patience = PATIENCE) -> None:
        """Create the client; `join` is the first call that connects."""
        self._caller = pb.Caller(run=endpoint.run, cluster=endpoint.cluster)
        self._runtime = pb.Runtime(framework=framework, version=version)
        self._connection = Connection(endpoint, patience)
        self._manifest: ModelManifest | None = None
        self._news = threading.Condition()
        self._order: Order | None = None
        self._failure: Exception | None = None
        self._orders = 0
        self._listener: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Leave the run; another process with the same certificate may join."""
        self._connection.close()
        if self._listener is not None:
            self._listener.join()

    def join(self, manifest: ModelManifest | None) -> Joined:
        """Join the run.

        Args:
            manifest: The tensors of the runtime's model; None to accept the run's model, without a check.

        Raises:
            Refused: The aggregator rejects this collaborator or its model.
            GaveUp: The aggregator was unreachable.
        """
        self._manifest = manifest
        joined = self._connection.patiently("join", self._join)
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, name="exchange-work", daemon=True)
            self._listener.start()
        return joined

    def next_order(self, after: Order | None = None, *, timeout: float | None = None) -> Order:
        """Wait for an order that differs from `after` and return it; the last order of a run is always returned.

        Args:
            after: The last order that the caller completed.
            timeout: Seconds; None for no limit while the aggregator is reachable.

        Raises:
            Refused: The aggregator rejects this collaborator.
            GaveUp: The aggregator was unreachable.
            TimeoutError: No other order arrived in time.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._failure is not None or self._differs(after), timeout):
                raise TimeoutError("no other order arrived in time")
            if self._order is not None and self._differs(after):
                return self._order
            assert self._failure is not None  # noqa: S101 - the wait above ends with an order or a failure
            raise self._failure

    def download(self, blob: Blob) -> bytearray:
        """Download a model in the layout of `federation.model` and check its digest.

        Raises:
            Refused: The model is no longer available; the next order names another model.
            GaveUp: The aggregator was unreachable.
            BrokenModel: Three downloads did not match the digest.
        """
        for _ in range(3):
            received = self._download_once(blob)
            if len(received) == blob.size and digest_of(received) == blob.digest:
                return received
            _log.warning("model_broken", expected=blob.digest, size=len(received))
        raise BrokenModel(f"{blob.digest}: three downloads did not match this digest")

    def upload(self, update: Update, data: bytes | bytearray | memoryview) -> None:
        """Send an update, or its missing part; return when the aggregator has stored and accepted it.

        Args:
            update: Description of the update.
            data: All bytes of the update, in the layout of `federation.model`; must not change during the call.

        Raises:
            Refused: The update is rejected; the remedy states whether this collaborator continues.
            GaveUp: The aggregator was unreachable.
        """
        view = memoryview(data).cast("B")
        blob = pb.Blob(bytes=len(view), digest=digest_of(view))
        announcement = pb.Announcement(round=update.round, task=update.task, blob=blob, samples=update.samples)
        held = 0

        def attempt(stub: ExchangeStub) -> None:
            nonlocal held
            request = pb.QueryOffsetRequest(caller=self._caller, announcement=announcement)
            reply = stub.QueryOffset(request, timeout=policy.UNARY_SECONDS)
            if reply.accepted:
                return
            held = max(held, reply.offset)
            header = pb.UploadHeader(caller=self._caller, announcement=announcement, offset=reply.offset)
            seconds = policy.transfer_seconds(len(view) - reply.offset) + policy.SETTLE_SECONDS
            stub.Upload(_parts(header, view), timeout=seconds)

        self._connection.patiently("upload", attempt, lambda: held)

    def report(self, round_: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Report a task's metrics.

        Args:
            round_: The round of the task.
            task: The task's name in the user's plan.
            samples: The number of samples that the metrics average.
            metrics: Finite values by name.

        Raises:
            Refused: The aggregator rejects the metrics.
            GaveUp: The aggregator was unreachable.
        """
        request = pb.ReportMetricsRequest(
            caller=self._caller,
            round=round_,
            task=task,
            samples=samples,
            metrics=[pb.Metric(name=name, value=float(value)) for name, value in metrics.items()],
        )
        self._connection.patiently("report", lambda stub: stub.ReportMetrics(request, timeout=policy.UNARY_SECONDS))

    def _download_once(self, blob: Blob) -> bytearray:
        received = bytearray()

        def attempt(stub: ExchangeStub) -> None:
            request = pb.DownloadRequest(caller=self._caller, digest=blob.digest, offset=len(received))
            for reply in stub.Download(request, timeout=policy.transfer_seconds(blob.size - len(received))):
                received.extend(reply.data)
                if len(received) > blob.size:
                    return
            if len(received) < blob.size:
                raise StreamEnded("the model")

        self._connection.patiently("download", attempt, received.__len__)
        return received

    def _join(self, stub: ExchangeStub) -> Joined:
        request = pb.JoinRequest(caller=self._caller, runtime=self._runtime)
        if self._manifest is not None:
            request.manifest.CopyFrom(manifest_message(self._manifest))
        return joined_of(stub.Join(request, timeout=policy.UNARY_SECONDS))

    def _listen(self) -> None:
        """Keep the stream of work open until the run ends, the aggregator rejects it, or the client is closed."""
        try:
            while not isinstance(self._order, RunEnded):
                self._connection.patiently("work", self._hear, lambda: self._orders)
        except (Refused, GaveUp, Closed, NotUnderstood) as error:
            self._publish(None, error)
        except Exception as error:  # noqa: BLE001 - `next_order` raises any error of this thread
            self._publish(None, error)

    def _hear(self, stub: ExchangeStub) -> None:
        self._join(stub)
        for message in stub.Work(pb.WorkRequest(caller=self._caller)):
            self._publish(order_of(message, now=time.monotonic()), None)
        if not isinstance(self._order, RunEnded):
            raise StreamEnded("the stream of work")

    def _publish(self, order: Order | None, failure: Exception | None) -> None:
        with self._news:
            if order is not None:
                self._order = order
                self._orders += 1
            self._failure = failure
            self._news.notify_all()

    def _differs(self, after: Order | None) -> bool:
        return self._order is not None and (self._order != after or isinstance(self._order, RunEnded))


def _parts(header: pb.UploadHeader, data: memoryview) -> Iterator[pb.UploadRequest]:
    yield pb.UploadRequest(header=header)
    for begin in range(header.offset, len(data), policy.CHUNK_BYTES):
        yield pb.UploadRequest(data=bytes(data[begin : begin + policy.CHUNK_BYTES]))
