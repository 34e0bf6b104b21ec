"""Attacker with a valid site certificate who sends arbitrary messages, with gRPC's blocking client.

The asyncio client would lose the status of a stream that the server ends during a write.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc

from federation.model import digest_of
from federation.rpc.connection import refusal_in
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.gen.exchange_pb2_grpc import ExchangeStub
from federation.rpc.policy import CHUNK_BYTES, client_options
from federation.rpc.tls import Files, client_credentials


@dataclass(frozen=True, slots=True)
class Target:
    """An aggregator to attack, and the run that the messages name."""

    address: str
    server_name: str
    run: str
    cluster: str


class Attacker:
    """One connection with a certificate."""

    def __init__(self, target: Target, files: Files) -> None:
        """Prepare the channel; the first call connects it."""
        self.caller = pb.Caller(run=target.run, cluster=target.cluster)
        options = client_options(target.server_name)
        self._channel = grpc.secure_channel(target.address, client_credentials(files), options)
        self._stub = ExchangeStub(self._channel)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def join(self, manifest: pb.ModelManifest | None = None, *, cluster: str = "") -> pb.JoinReply:
        """Join, by default under the name in the certificate. Raises grpc.RpcError."""
        caller = pb.Caller(run=self.caller.run, cluster=cluster or self.caller.cluster)
        return self._stub.Join(pb.JoinRequest(caller=caller, manifest=manifest), timeout=60)

    def upload(self, announced: pb.Announcement, data: bytes, *, offset: int = 0) -> None:
        """Upload data with any announcement, valid or not. Raises grpc.RpcError."""
        header = pb.UploadHeader(caller=self.caller, announcement=announced, offset=offset)
        parts = [pb.UploadRequest(header=header)]
        parts += [pb.UploadRequest(data=data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES)]
        self._stub.Upload(iter(parts), timeout=60)

    def report(self, round_: int, task: str, metrics: Iterable[pb.Metric]) -> None:
        """Report metrics. Raises grpc.RpcError."""
        request = pb.ReportMetricsRequest(caller=self.caller, round=round_, task=task, samples=1, metrics=metrics)
        self._stub.ReportMetrics(request, timeout=60)


def announced(
    data: bytes, round_: int, *, size: int | None = None, task: str = "train", samples: int = 10
) -> pb.Announcement:
    """Build an announcement that is honest except for the given values."""
    blob = pb.Blob(bytes=len(data) if size is None else size, digest=digest_of(data))
    return pb.Announcement(round=round_, task=task, blob=blob, samples=samples)


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason of a refusal, or the gRPC status if it has none."""
    refusal = refusal_in(error)
    return str(error) if refusal is None else refusal.reason


def files_in(folder: Path, *, key: bytes, certificate: bytes, authorities: bytes) -> Files:
    """Write the key and the certificates to files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder / "tls.key", folder / "tls.crt", folder / "ca.crt")
    for path, content in ((files.key, key), (files.certificate, certificate), (files.authorities, authorities)):
        path.write_bytes(content)
    return files
