"""The exchange as a collaborator's runtime uses it: plain calls that block, and come back with a result or a reason.

A thread of the client's own holds the stream of work open, also while the runtime trains: the aggregator counts on the
collaborator as long as it stands, and what is due is known at once. It joins and opens the stream anew whenever it
breaks. Everything else runs in the caller's thread.

Guarantees: a call that returns has happened, exactly once in effect, whatever was cut or restarted in between; a
refusal that nothing can change raises `Refused` at once, from whichever call is next; no call outlasts its budget
without success. What it does not know: tensors. A model is bytes in the layout of `federation.model`.
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
    """What was downloaded is not the model that was announced, several times over."""


class ExchangeClient:
    """One collaborator's part of a run; a context manager that closes the connection."""

    def __init__(self, endpoint: Endpoint, *, framework: str, version: str, patience: Patience = PATIENCE) -> None:
        """Nothing is dialled before `join`."""
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
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Leaves the run; another process under the same certificate may join again."""
        self._connection.close()
        if self._listener is not None:
            self._listener.join()

    def join(self, manifest: ModelManifest | None) -> Joined:
        """Takes part in the run.

        Args:
            manifest: What the runtime's model looks like; None where it takes whatever the run's is.

        Raises:
            Refused: The aggregator does not want this collaborator, or not with this model.
            GaveUp: The aggregator was not reached.
        """
        self._manifest = manifest
        joined = self._connection.patiently("join", self._join)
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, name="exchange-work", daemon=True)
            self._listener.start()
        return joined

    def next_order(self, after: Order | None = None, *, timeout: float | None = None) -> Order:
        """What is due, once it differs from `after`; the last order of a run is given again and again.

        Args:
            after: The order that was carried out last.
            timeout: Seconds; None waits as long as the aggregator can be reached at all.

        Raises:
            Refused: The aggregator wants no more of this collaborator.
            GaveUp: The aggregator was not reached.
            TimeoutError: Nothing else became due in time.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._failure is not None or self._differs(after), timeout):
                raise TimeoutError("no other order came")
            if self._order is not None and self._differs(after):
                return self._order
            assert self._failure is not None  # noqa: S101 - what the wait above ended for
            raise self._failure

    def download(self, blob: Blob) -> bytearray:
        """The model's bytes, in the layout of `federation.model`, checked against the digest.

        Raises:
            Refused: It is no longer to be had; the next order names another.
            GaveUp: The aggregator was not reached.
            BrokenModel: What came was another model, three times.
        """
        for _ in range(3):
            received = self._download_once(blob)
            if len(received) == blob.size and digest_of(received) == blob.digest:
                return received
            _log.warning("model_broken", expected=blob.digest, size=len(received))
        raise BrokenModel(f"{blob.digest}: what came was another model, three times")

    def upload(self, update: Update, data: bytes | bytearray | memoryview) -> None:
        """Sends an update, or what the aggregator lacks of it; returns when it is durable there, and counts.

        Args:
            update: What it is.
            data: All of its bytes, in the layout of `federation.model`; not changed while this runs.

        Raises:
            Refused: It does not count: the reason says why, the remedy whether the run goes on for this collaborator.
            GaveUp: The aggregator was not reached.
        """
        view = memoryview(data).cast("B")
        blob = pb.Blob(bytes=len(view), digest=digest_of(view))
        said = pb.Announcement(round=update.round, task=update.task, blob=blob, samples=update.samples)
        held = 0

        def attempt(stub: ExchangeStub) -> None:
            nonlocal held
            question = pb.QueryOffsetRequest(caller=self._caller, announcement=said)
            answer = stub.QueryOffset(question, timeout=policy.UNARY_SECONDS)
            if answer.accepted:
                return
            held = max(held, answer.offset)
            header = pb.UploadHeader(caller=self._caller, announcement=said, offset=answer.offset)
            seconds = policy.transfer_seconds(len(view) - answer.offset) + policy.SETTLE_SECONDS
            stub.Upload(_parts(header, view), timeout=seconds)

        self._connection.patiently("upload", attempt, lambda: held)

    def report(self, round_: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Reports a task's metrics.

        Args:
            round_: In which the task ran.
            task: Its name in the user's plan.
            samples: How many the metrics were taken over.
            metrics: By name; finite.

        Raises:
            Refused: They don't count.
            GaveUp: The aggregator was not reached.
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
        """Holds the stream of work open until the run ends, is refused, or the client is closed."""
        try:
            while not isinstance(self._order, RunEnded):
                self._connection.patiently("work", self._hear, lambda: self._orders)
        except (Refused, GaveUp, Closed, NotUnderstood) as error:
            self._publish(None, error)
        except Exception as error:  # noqa: BLE001 - a thread's error belongs to whoever waits for its orders
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
