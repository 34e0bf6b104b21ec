"""Limits on the number of parts in a message, checked before the message is decoded; pure.

A part of two bytes costs the aggregator about a hundred bytes of memory and a microsecond of its event loop. The parts
of a join and a report are counted in the raw bytes, because protobuf creates an object for each part. Other messages
are short (`CallStream.read_single`).
"""

from collections.abc import Iterator
from typing import Final

from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.policy import REQUEST_BYTES
from hub_manager.aggregator.exchange.messages import Malformed
from hub_manager.aggregator.validation.manifest import MAX_RANK, MAX_TENSORS
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason, short
from hub_manager.aggregator.validation.update import MAX_METRICS

_MOST_FIELDS: Final = 16
"""Maximum number of fields in a message that has a few; the rest is reserved for later versions."""
_LONGEST_VARINT: Final = 10


def join_refusal(raw: bytes) -> UpdateRefusal | None:
    """Reject a join with more tensors than any model may have (TooManyTensors).

    Args:
        raw: The received bytes of a JoinRequest.

    Raises:
        Malformed: The bytes are not a valid message, or have too many fields.
    """
    tensors = 0
    for position, (number, begin, end) in enumerate(_fields(raw, 0, len(raw))):
        if position == _MOST_FIELDS:
            raise Malformed(f"the JoinRequest has more than {_MOST_FIELDS} fields")
        if number != pb.JoinRequest.MANIFEST_FIELD_NUMBER:
            continue
        for _ in _fields(raw, begin, end):
            tensors += 1
            if tensors > MAX_TENSORS:
                return UpdateRefusal(
                    UpdateRefusalReason.TOO_MANY_TENSORS, f"the model has more than {MAX_TENSORS} tensors"
                )
    return None


def manifest_refusal(manifest: pb.ModelManifest) -> UpdateRefusal | None:
    """Reject a manifest with a tensor of more than 32 dimensions (TensorShape)."""
    for tensor in manifest.tensors:
        if len(tensor.shape) > MAX_RANK:
            return UpdateRefusal(
                UpdateRefusalReason.TENSOR_SHAPE,
                f"tensor {short(tensor.name)} has {len(tensor.shape)} dimensions; the limit is {MAX_RANK}",
            )
    return None


def report_refusal(raw: bytes) -> UpdateRefusal | None:
    """Reject a report with more than 64 metrics, or with more bytes than those need (TooManyMetrics).

    An honest site may exceed the limit; its round then continues without the metrics.

    Args:
        raw: The received bytes of a ReportMetricsRequest.

    Raises:
        Malformed: The bytes are not a valid message, or have too many fields.
    """
    metrics = 0
    for position, (number, _, _) in enumerate(_fields(raw, 0, len(raw))):
        metrics += number == pb.ReportMetricsRequest.METRICS_FIELD_NUMBER
        if metrics > MAX_METRICS:
            return UpdateRefusal(UpdateRefusalReason.TOO_MANY_METRICS, f"the task has more than {MAX_METRICS} metrics")
        if position - metrics == _MOST_FIELDS:
            raise Malformed(f"the ReportMetricsRequest has more than {_MOST_FIELDS} other fields")
    if len(raw) > REQUEST_BYTES:
        return UpdateRefusal(
            UpdateRefusalReason.TOO_MANY_METRICS, f"the metrics have {len(raw)} bytes; the limit is {REQUEST_BYTES}"
        )
    return None


def _fields(raw: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number, start and end of each field in the message at `begin`.

    The wire types are those of protobuf's encoding, "Message Structure". The exchange's messages have no groups.
    """
    at = begin
    while at < end:
        tag, at = _varint(raw, at)
        size = 0
        match tag & 7:
            case 0:
                _, at = _varint(raw, at)
            case 1:
                size = 8
            case 2:
                size, at = _varint(raw, at)
            case 5:
                size = 4
            case _:
                raise Malformed("a field has an unsupported wire type")
        yield tag >> 3, at, at + size
        at += size
    if at != end:
        raise Malformed("a field is longer than its message")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the varint at this offset, and the offset after it."""
    value = 0
    for position, byte in enumerate(raw[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value, at + position + 1
    raise Malformed("a varint is too long")
