"""Conversion between messages of the exchange and values of the round engine; pure.

Received bytes become values only here. A message that does not decode, or that lacks a required part, raises
`Malformed` and no other error. This module doesn't validate the values of a message.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar, assert_never

from google.protobuf.message import DecodeError, Message

from federation.model import ModelManifest
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.orders import TASK_KINDS
from federation.rpc.policy import CHUNK_BYTES
from hub_manager.aggregator.domain import Announcement, Metric, MetricsReported
from hub_manager.aggregator.ports import JoinResult, Order
from hub_manager.aggregator.rounds.effects import RequestInitialModel, SendRunEnded, SendWait, SendWork
from hub_manager.aggregator.validation.manifest import AnnouncedTensor

MessageT = TypeVar("MessageT", bound=Message)

SizeOf = Callable[[str], int]
"""Returns the size in bytes of the model with this digest."""

_DATA_TAG: Final = pb.UploadRequest.DATA_FIELD_NUMBER << 3 | 2
"""A length-delimited field (protobuf's encoding, "Message Structure")."""
_AROUND_DATA: Final = 64
"""Maximum bytes of an upload's message around its data, which are a tag and a length."""
_REPLY_TAG: Final = bytes([pb.DownloadReply.DATA_FIELD_NUMBER << 3 | 2])


class Malformed(ValueError):
    """The message is invalid; the text names the field."""


def parse(kind: type[MessageT], raw: bytes) -> MessageT:
    """Decode a message.

    Raises:
        Malformed: The bytes do not decode.
    """
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise Malformed(f"the message is not a valid {kind.DESCRIPTOR.name}") from error


def tensors_of(request: pb.JoinRequest) -> tuple[AnnouncedTensor, ...] | None:
    """Return the collaborator's model, or None if it accepts any model of the run."""
    if not request.HasField("manifest"):
        return None
    return tuple(AnnouncedTensor(tensor.name, tensor.dtype, tuple(tensor.shape)) for tensor in request.manifest.tensors)


def announcement_of(request: pb.QueryOffsetRequest | pb.UploadHeader) -> Announcement:
    """Return the announced upload.

    Raises:
        Malformed: The size and the digest are missing.
    """
    if not request.announcement.HasField("blob"):
        raise Malformed("announcement.blob: set size and digest")
    message = request.announcement
    return Announcement(message.round, message.task, message.blob.bytes, message.blob.digest, message.samples)


def header_of(raw: bytes) -> pb.UploadHeader:
    """Return the header from an upload's first message.

    Raises:
        Malformed: The message is invalid or has no header.
    """
    request = parse(pb.UploadRequest, raw)
    if request.WhichOneof("part") != "header":
        raise Malformed("the first message of an upload must contain its header")
    return request.header


def data_of(raw: bytes) -> memoryview:
    """Return the model data from a later message of an upload, without a copy.

    A message with only this field, as all clients send it, is parsed by hand, because protobuf would copy the data
    twice. Other encodings are parsed by protobuf.

    Raises:
        Malformed: The message is invalid, or its data are missing, empty, or longer than `CHUNK_BYTES`.
    """
    if len(raw) > CHUNK_BYTES + _AROUND_DATA:
        raise _chunk_refused()
    begin = _sole_data_field(raw)
    if begin is None:
        request = parse(pb.UploadRequest, raw)
        if request.WhichOneof("part") != "data":
            raise Malformed("each message of an upload after the first must contain data")
        data = memoryview(request.data)
    else:
        data = memoryview(raw)[begin:]
    if not data or len(data) > CHUNK_BYTES:
        raise _chunk_refused()
    return data


def _chunk_refused() -> Malformed:
    return Malformed(f"data: send from 1 to {CHUNK_BYTES} bytes in one message")


def _sole_data_field(raw: bytes) -> int | None:
    """Return the start of the data if they are the message's only field and extend to its end, else None."""
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
    """Encode a `DownloadReply` by hand, because protobuf would copy the data twice."""
    length, left = bytearray(), len(data)
    while left >= 0x80:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    length.append(left)
    return b"".join((_REPLY_TAG, length, data))


def metrics_of(request: pb.ReportMetricsRequest, peer: str) -> MetricsReported:
    """Return the reported metrics; their values are not validated yet."""
    metrics = tuple(Metric(metric.name, metric.value) for metric in request.metrics)
    return MetricsReported(peer, request.round, request.task, request.samples, metrics)


def join_reply(result: JoinResult) -> pb.JoinReply:
    """Build the reply to a join."""
    reply = pb.JoinReply(rounds=result.rounds, maximum_chunk_bytes=CHUNK_BYTES)
    if result.manifest is not None:
        reply.manifest.CopyFrom(manifest_message(result.manifest))
    return reply


def manifest_message(manifest: ModelManifest) -> pb.ModelManifest:
    """Build the message of a manifest."""
    tensors: Sequence[pb.TensorSpec] = [
        pb.TensorSpec(name=tensor.name, dtype=tensor.dtype.value, shape=tensor.shape) for tensor in manifest.tensors
    ]
    return pb.ModelManifest(tensors=tensors)


def order_message(order: Order, *, now: float, size_of: SizeOf) -> pb.WorkOrder:
    """Build the message of a work order.

    Args:
        order: The order to send.
        now: Seconds since the epoch; the message contains the seconds left until the deadline.
        size_of: Returns the size of a model that the order names.
    """
    match order:
        case SendWait():
            return pb.WorkOrder(wait=pb.Wait(round=order.round))
        case RequestInitialModel():
            return pb.WorkOrder(provide_model=pb.ProvideModel(seconds_left=max(0.0, order.deadline - now)))
        case SendWork():
            tasks = [pb.Task(name=task.name, kind=TASK_KINDS[task.kind]) for task in order.tasks]
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
