"""Messages of the exchange and the round engine's values, one made from the other; pure.

What comes from a peer is bytes until it has passed here: a message that does not decode, or lacks a part that it means
nothing without, raises `Malformed` and nothing else. Whether what it says is true or allowed is not judged here.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar, assert_never

from google.protobuf.message import DecodeError, Message

from federation.model import ModelManifest
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.policy import CHUNK_BYTES
from hub_manager.aggregator.domain import Announcement, Metric, MetricsReported, TaskKind
from hub_manager.aggregator.ports import JoinResult, Order
from hub_manager.aggregator.rounds.effects import RequestInitialModel, SendRunEnded, SendWait, SendWork
from hub_manager.aggregator.validation.manifest import AnnouncedTensor

MessageT = TypeVar("MessageT", bound=Message)

SizeOf = Callable[[str], int]
"""The bytes of the model with that digest."""

_KINDS: Final = {
    TaskKind.VALIDATE_AGGREGATED: pb.TASK_KIND_VALIDATE_AGGREGATED,
    TaskKind.TRAIN: pb.TASK_KIND_TRAIN,
    TaskKind.VALIDATE_LOCAL: pb.TASK_KIND_VALIDATE_LOCAL,
}

_DATA_TAG: Final = pb.UploadRequest.DATA_FIELD_NUMBER << 3 | 2
"""A length-delimited field (protobuf's encoding, "Message Structure")."""
_AROUND_DATA: Final = 64
"""Bytes of an upload's message beside its data, which have a tag and a length before them."""
_REPLY_TAG: Final = bytes([pb.DownloadReply.DATA_FIELD_NUMBER << 3 | 2])


class Malformed(ValueError):
    """A message that can't be understood; the text names the field."""


def parse(kind: type[MessageT], raw: bytes) -> MessageT:
    """The message in the bytes.

    Raises:
        Malformed: They do not decode.
    """
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise Malformed(f"the message is not a valid {kind.DESCRIPTOR.name}") from error


def tensors_of(request: pb.JoinRequest) -> tuple[AnnouncedTensor, ...] | None:
    """The model that the collaborator has, None where it takes whatever the run's is."""
    if not request.HasField("manifest"):
        return None
    return tuple(AnnouncedTensor(tensor.name, tensor.dtype, tuple(tensor.shape)) for tensor in request.manifest.tensors)


def announcement_of(request: pb.QueryOffsetRequest | pb.UploadHeader) -> Announcement:
    """The announced upload.

    Raises:
        Malformed: It says nothing of its size and digest.
    """
    if not request.announcement.HasField("blob"):
        raise Malformed("announcement.blob: set size and digest")
    said = request.announcement
    return Announcement(said.round, said.task, said.blob.bytes, said.blob.digest, said.samples)


def header_of(raw: bytes) -> pb.UploadHeader:
    """The header in an upload's first message.

    Raises:
        Malformed: The message is none, or carries something else.
    """
    request = parse(pb.UploadRequest, raw)
    if request.WhichOneof("part") != "header":
        raise Malformed("the first message of an upload has to carry its header")
    return request.header


def data_of(raw: bytes) -> memoryview:
    """The model data in any further message of an upload, without a copy.

    A message that consists of the one field, as every client writes it, is cut by hand: protobuf would copy the data
    twice. Any other form of the same goes through protobuf.

    Raises:
        Malformed: The message is none, carries something else, nothing, or more than `CHUNK_BYTES`.
    """
    if len(raw) > CHUNK_BYTES + _AROUND_DATA:
        raise _chunk_refused()
    begin = _only_field(raw)
    if begin is None:
        request = parse(pb.UploadRequest, raw)
        if request.WhichOneof("part") != "data":
            raise Malformed("every message of an upload but the first has to carry data")
        data = memoryview(request.data)
    else:
        data = memoryview(raw)[begin:]
    if not data or len(data) > CHUNK_BYTES:
        raise _chunk_refused()
    return data


def _chunk_refused() -> Malformed:
    return Malformed(f"data: send from 1 to {CHUNK_BYTES} bytes in one message")


def _only_field(raw: bytes) -> int | None:
    """Where the data begin in a message whose one field they are, up to its end; None for any other message."""
    if not raw or raw[0] != _DATA_TAG:
        return None
    size = shift = 0
    for position, byte in enumerate(raw[1:6], start=1):
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return position + 1 if position + 1 + size == len(raw) else None
    return None


def data_reply(data: bytes) -> bytes:
    """The `DownloadReply` with the data, encoded by hand: protobuf would copy them twice."""
    length, left = bytearray(), len(data)
    while left >= 0x80:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    length.append(left)
    return b"".join((_REPLY_TAG, length, data))


def metrics_of(request: pb.ReportMetricsRequest, peer: str) -> MetricsReported:
    """What the peer reports; whether its numbers are any is not judged here."""
    metrics = tuple(Metric(metric.name, metric.value) for metric in request.metrics)
    return MetricsReported(peer, request.round, request.task, request.samples, metrics)


def join_reply(parameters: JoinResult) -> pb.JoinReply:
    """What a peer that has joined is told."""
    reply = pb.JoinReply(rounds=parameters.rounds, maximum_chunk_bytes=CHUNK_BYTES)
    if parameters.manifest is not None:
        reply.manifest.CopyFrom(manifest_message(parameters.manifest))
    return reply


def manifest_message(manifest: ModelManifest) -> pb.ModelManifest:
    """The manifest on the wire."""
    tensors: Sequence[pb.TensorSpec] = [
        pb.TensorSpec(name=tensor.name, dtype=tensor.dtype.value, shape=tensor.shape) for tensor in manifest.tensors
    ]
    return pb.ModelManifest(tensors=tensors)


def order_message(order: Order, *, now: float, size_of: SizeOf) -> pb.WorkOrder:
    """The order on the wire.

    Args:
        order: What is due.
        now: Seconds since the epoch; deadlines travel as what is left of them.
        size_of: Of a model that the order names.
    """
    match order:
        case SendWait():
            return pb.WorkOrder(wait=pb.Wait(round=order.round))
        case RequestInitialModel():
            return pb.WorkOrder(provide_model=pb.ProvideModel(seconds_left=max(0.0, order.deadline - now)))
        case SendWork():
            tasks = [pb.Task(name=task.name, kind=_KINDS[task.kind]) for task in order.tasks]
            model = pb.Blob(bytes=size_of(order.digest), digest=order.digest)
            left = max(0.0, order.deadline - now)
            return pb.WorkOrder(round=pb.Round(round=order.round, model=model, tasks=tasks, seconds_left=left))
        case SendRunEnded():
            ended = pb.RunEnded(completed=order.completed, message=order.message)
            if order.digest is not None:
                ended.model.CopyFrom(pb.Blob(bytes=size_of(order.digest), digest=order.digest))
            return pb.WorkOrder(run_ended=ended)
        case _:
            assert_never(order)
