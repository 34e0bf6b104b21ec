"""Implement a collaborator with little overhead: it sends one chunk repeatedly and discards downloaded models."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import grpc

from federation.model import digest_of
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.gen.exchange_pb2_grpc import ExchangeStub
from federation.rpc.policy import CHUNK_BYTES, client_options
from federation.rpc.tls import Files, client_credentials
from tests.support.exchange.tls import RUN, SERVER_NAME

CHUNK = CHUNK_BYTES
STEP_SECONDS = 1200.0
SERVICE = "/federation.v1.Exchange"


@dataclass(frozen=True)
class Repeated:
    """Model of `size` bytes that repeats a chunk."""

    chunk: bytes
    size: int

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        for begin in range(0, self.size, len(self.chunk)):
            yield self.chunk[: self.size - begin]


class ExchangeSite:
    """One site (`lockstep.Site`)."""

    def __init__(self, address: str, files: Files, cluster: str, update: Repeated, *, samples: int) -> None:
        """Join the run and listen for work."""
        self._channel = grpc.secure_channel(address, client_credentials(files), client_options(SERVER_NAME))
        self._stub = ExchangeStub(self._channel)
        self._download: grpc.UnaryStreamMultiCallable[pb.DownloadRequest, bytes] = self._channel.unary_stream(
            f"{SERVICE}/Download", pb.DownloadRequest.SerializeToString
        )
        self._upload: grpc.StreamUnaryMultiCallable[bytes, bytes] = self._channel.stream_unary(f"{SERVICE}/Upload")
        self._caller = pb.Caller(run=RUN, cluster=cluster)
        self._update = update
        self._samples = samples
        self._blob = pb.Blob(bytes=update.size, digest=digest_of(*update))
        self._news = threading.Condition()
        self._order: pb.WorkOrder | None = None
        runtime = pb.Runtime(framework="bench", version="1")
        self._stub.Join(pb.JoinRequest(caller=self._caller, runtime=runtime), timeout=STEP_SECONDS)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(grpc.RpcError):  # `await_round` reports a missing order
            for order in self._stub.Work(pb.WorkRequest(caller=self._caller)):
                with self._news:
                    self._order = order
                    self._news.notify_all()

    def _due(self, round_: int) -> bool:
        if self._order is None:
            return False
        return self._order.HasField("run_ended") or self._order.round.round == round_

    def await_round(self, round_: int) -> None:
        """See `lockstep.Site`."""
        with self._news:
            if not self._news.wait_for(lambda: self._due(round_), STEP_SECONDS):
                raise TimeoutError(f"round {round_} did not come")

    @property
    def _round(self) -> pb.Round:
        assert self._order is not None  # noqa: S101 -- a round was waited for
        return self._order.round

    def close(self) -> None:
        """See `lockstep.Site`."""
        self._channel.close()

    def download(self) -> int:
        """See `lockstep.Site`."""
        request = pb.DownloadRequest(caller=self._caller, digest=self._round.model.digest)
        size = sum(len(message) for message in self._download(request, timeout=STEP_SECONDS))
        if size < self._round.model.bytes:
            raise ValueError(f"{size} bytes came, the model has {self._round.model.bytes}")
        return self._round.model.bytes

    def upload(self) -> int:
        """See `lockstep.Site`."""
        round_ = self._round.round
        accuracy = [pb.Metric(name="accuracy", value=0.5)]
        report = pb.ReportMetricsRequest(
            caller=self._caller, round=round_, task="validation", samples=self._samples, metrics=accuracy
        )
        self._stub.ReportMetrics(report, timeout=STEP_SECONDS)
        said = pb.Announcement(round=round_, task="train", blob=self._blob, samples=self._samples)
        header = pb.UploadHeader(caller=self._caller, announcement=said)
        self._upload(self._messages(header), timeout=STEP_SECONDS)
        return self._update.size

    def _messages(self, header: pb.UploadHeader) -> Iterator[bytes]:
        yield pb.UploadRequest(header=header).SerializeToString()
        whole = pb.UploadRequest(data=self._update.chunk).SerializeToString()
        for chunk in self._update:
            yield whole if len(chunk) == len(self._update.chunk) else pb.UploadRequest(data=chunk).SerializeToString()
