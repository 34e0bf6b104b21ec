"""Run the work of `bench.exchange` with OpenFL 1.9's own aggregator and protocol, and with equally small sites.

`python -m bench.openfl_aggregator FOLDER PARAMETERS SITES ROUNDS`, started by `bench.exchange` with the Python of an
environment that has OpenFL; prints the results as JSON.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import grpc
import msgspec
import numpy as np
from openfl.protocols import aggregator_pb2, base_pb2
from openfl.protocols.aggregator_pb2_grpc import AggregatorStub

from bench.lockstep import STEP_SECONDS, Measured, drive
from bench.usage import filled
from bench.work import AGGREGATED_VALIDATION, FEDERATION, OPENFL_AGGREGATOR, TRAIN, Work
from federation.rpc.tls import Files, client_credentials
from tests.support.exchange.tls import SERVER_NAME, Desk

LARGEST = 1 << 30
PIECE = 2 << 20
"""Bytes of a message, as OpenFL's client cuts an upload."""
POLL_SECONDS = 0.1
START_SECONDS = 60.0
OPTIONS = (
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.use_local_subchannel_pool", 1),
)


def messages(
    head: aggregator_pb2.TaskResults, tensors: Iterable[base_pb2.NamedTensor]
) -> Iterator[base_pb2.DataStream]:
    """Encode an upload tensor by tensor: encoded messages one after the other are one (protobuf, "Last One Wins")."""
    parts = (aggregator_pb2.TaskResults(tensors=[tensor]).SerializeToString() for tensor in tensors)
    for part in chain((head.SerializeToString(),), parts):
        for begin in range(0, len(part), PIECE):
            piece = part[begin : begin + PIECE]
            yield base_pb2.DataStream(size=len(piece), npbytes=piece)


class OpenFLSite:
    """One site (`lockstep.Site`)."""

    def __init__(self, port: int, files: Files, name: str, work: Work, values: bytes, *, samples: int) -> None:
        self._channel = grpc.secure_channel(f"127.0.0.1:{port}", client_credentials(files), OPTIONS)
        grpc.channel_ready_future(self._channel).result(START_SECONDS)
        self._stub = AggregatorStub(self._channel)
        self._header = aggregator_pb2.MessageHeader(
            sender=name, receiver=OPENFL_AGGREGATOR, federation_uuid=FEDERATION, single_col_cert_common_name=""
        )
        self._work = work
        self._values = values
        self._samples = samples
        self._round = 0

    def await_round(self, round_: int) -> None:
        """See `lockstep.Site`; OpenFL counts from 0 and has to be asked."""
        while True:
            tasks = self._stub.GetTasks(aggregator_pb2.GetTasksRequest(header=self._header), timeout=STEP_SECONDS)
            if tasks.quit or (tasks.tasks and tasks.round_number == round_ - 1):
                self._round = tasks.round_number
                return
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """See `lockstep.Site`."""
        self._channel.close()

    def download(self) -> int:
        """See `lockstep.Site`."""
        size = 0
        for tensor in self._work.manifest.tensors:
            request = aggregator_pb2.GetAggregatedTensorRequest(
                header=self._header,
                tensor_name=tensor.name,
                round_number=self._round,
                tags=["model"],
                require_lossless=True,
            )
            size += len(self._stub.GetAggregatedTensor(request, timeout=STEP_SECONDS).tensor.data_bytes)
        return size

    def upload(self) -> int:
        """See `lockstep.Site`."""
        tags = ["compressed", "metric", "validate_agg"]
        accuracy = self._tensor("accuracy", tags, np.float32(0.5).tobytes(), shape=[], report=True)
        self._send(AGGREGATED_VALIDATION, [accuracy])
        tensors = self._work.manifest.tensors
        trained = (
            self._tensor(tensor.name, ["compressed", "trained"], self._values, shape=tensor.shape) for tensor in tensors
        )
        self._send(TRAIN, trained)
        return self._work.model_bytes

    def _tensor(
        self, name: str, tags: list[str], values: bytes, *, shape: Sequence[int], report: bool = False
    ) -> base_pb2.NamedTensor:
        return base_pb2.NamedTensor(
            name=name,
            round_number=self._round,
            lossless=True,
            report=report,
            tags=tags,
            transformer_metadata=[base_pb2.MetadataProto(int_list=shape)],
            data_bytes=values,
        )

    def _send(self, task: str, tensors: Iterable[base_pb2.NamedTensor]) -> None:
        head = aggregator_pb2.TaskResults(
            header=self._header, round_number=self._round, task_name=task, data_size=self._samples
        )
        self._stub.SendLocalTaskResults(messages(head, tensors), timeout=STEP_SECONDS)


def measured(work: Work, folder: Path, between: Callable[[], None], *, durable: bool) -> Measured:
    """Measure OpenFL's aggregator in the folder."""
    desk = Desk(folder)
    desk.server()
    values = np.random.default_rng(0).normal(0, 0.01, work.manifest.tensors[0].size).astype("<f4").tobytes()
    with aggregator(work, folder, durable=durable) as (process, port):
        sites = [
            OpenFLSite(port, desk.collaborator(name), name, work, values, samples=10 + place)
            for place, name in enumerate(work.clusters)
        ]
        return drive(sites, work.rounds, process, between)


@contextmanager
def aggregator(work: Work, folder: Path, *, durable: bool) -> Iterator[tuple[int, int]]:
    """Start OpenFL's aggregator and yield its process ID and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    numbers = map(str, (port, work.parameters, work.sites, work.rounds))
    command = [sys.executable, "-m", "bench.openfl_server", str(folder), *numbers, *["--durable"] * durable]
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        try:
            yield process.pid, port
        finally:
            process.kill()


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=int, nargs=3)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--ballast", type=Path, default=None)
    requested_from = parser.parse_args()
    with filled(requested_from.ballast) as between:
        found = measured(Work(*requested_from.work), requested_from.folder, between, durable=requested_from.durable)
    print(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main()
