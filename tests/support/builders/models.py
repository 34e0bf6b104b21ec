"""Small models as bytes, and as the plain numbers that the reference works on."""

import struct
from collections.abc import Mapping, Sequence

from federation.model import DType, ModelManifest, TensorSpec, manifest_of
from tests.support.exchange.reference_fold import ROUNDING

FORMATS: Mapping[DType, str] = {DType.FLOAT64: "d", DType.FLOAT32: "f", DType.FLOAT16: "e", DType.BFLOAT16: "H"}
MIXED = manifest_of(
    [
        TensorSpec("scale", DType.FLOAT64, (3,)),
        TensorSpec("dense/kernel", DType.FLOAT32, (5, 3)),
        TensorSpec("dense/bias", DType.FLOAT32, (3,)),
        TensorSpec("empty", DType.FLOAT32, (0, 3)),
        TensorSpec("half", DType.FLOAT16, (3,)),
        TensorSpec("brain", DType.BFLOAT16, (2, 2)),
        TensorSpec("scalar", DType.BFLOAT16, ()),
    ]
)
"""Every element type, an odd number of each, a scalar and an empty tensor."""


def packed(manifest: ModelManifest, model: Mapping[str, Sequence[float]]) -> bytes:
    """The bytes of a model whose values are rounded already."""
    return b"".join(_pack(tensor.dtype, model[tensor.name]) for tensor in manifest.tensors)


def unpacked(manifest: ModelManifest, raw: bytes) -> dict[str, list[float]]:
    """The values of a model's bytes."""
    return {
        tensor.name: _unpack(tensor.dtype, raw[offset : offset + tensor.nbytes]) for tensor, offset in manifest.placed()
    }


def rounded(manifest: ModelManifest, numbers: Sequence[float]) -> dict[str, list[float]]:
    """A model with these numbers, as many as it has elements, each rounded to its tensor's type."""
    coming = iter(numbers)
    return {
        tensor.name: [ROUNDING[tensor.dtype.value](next(coming)) for _ in range(tensor.size)]
        for tensor in manifest.tensors
    }


def elements(manifest: ModelManifest) -> int:
    """Elements of the whole model."""
    return sum(tensor.size for tensor in manifest.tensors)


def _pack(dtype: DType, values: Sequence[float]) -> bytes:
    if dtype is DType.BFLOAT16:
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)


def _unpack(dtype: DType, raw: bytes) -> list[float]:
    count = len(raw) // dtype.width
    if dtype is DType.BFLOAT16:
        return [struct.unpack("<f", b"\0\0" + raw[2 * index : 2 * index + 2])[0] for index in range(count)]
    return list(struct.unpack(f"<{count}{FORMATS[dtype]}", raw))


class Held:
    """A model's bytes in memory, read as from a file."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer from the byte at `offset` on."""
        into[:] = self._raw[offset : offset + len(into)]
