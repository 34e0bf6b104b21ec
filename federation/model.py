"""Define the layout of a model between hub and spokes: an ordered list of named tensors as one block of bytes.

Both sides use the same layout, so an update is compared, checked and folded without parsing. The tensors are in the
manifest's order, each in C order and little-endian, without gaps. `layout_order` sorts by element width, widest first,
then by name. So every element is aligned to its width, elements of one type are contiguous, and equal tensors have
equal bytes, independent of the order of a dictionary. The data section of a safetensors file has the same order.

`hub_manager.aggregator.validation.manifest` first validates a manifest from an untrusted peer.
"""

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import accumulate, groupby
from typing import Final

import msgspec
from blake3 import blake3

DIGEST_PREFIX: Final = "blake3:"
"""Prefix of a digest, before 64 lower-case hexadecimal digits."""


class DType(Enum):
    """Element types that can be averaged; send an integer tensor (a counter) as a float, or exclude it."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"

    @property
    def width(self) -> int:
        """Bytes per element."""
        return _WIDTHS[self]


_WIDTHS: Final = {DType.FLOAT64: 8, DType.FLOAT32: 4, DType.FLOAT16: 2, DType.BFLOAT16: 2}
_RANKS: Final = {dtype: rank for rank, dtype in enumerate(DType)}


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=False):
    """Tensor without its values."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    """Empty for a scalar."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the layout."""
        return self.size * self.dtype.width


class Section(msgspec.Struct, frozen=True):
    """Contiguous elements of one type in the layout; a model has at most one section for each type."""

    dtype: DType
    offset: int
    """Bytes from the layout's start; a multiple of the element's width."""
    size: int
    """Number of elements."""

    @property
    def nbytes(self) -> int:
        """Bytes of the section."""
        return self.size * self.dtype.width

    @property
    def end(self) -> int:
        """The first byte after the section."""
        return self.offset + self.nbytes


def layout_order(tensor: TensorSpec) -> tuple[int, str]:
    """Return the sort key of a model's tensors: element type, widest first, then name by code points."""
    return _RANKS[tensor.dtype], tensor.name


class ModelManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tensors of a model in layout order; create it with `manifest_of`, which sorts them."""

    tensors: tuple[TensorSpec, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole model, and of each update."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def digest(self) -> str:
        """The digest of names, types and shapes; equal only for equal layouts."""
        return digest_of(b"federated-learning model manifest 1\n", msgspec.json.encode(self.tensors))

    def placed(self) -> Iterator[tuple[TensorSpec, int]]:
        """Return each tensor with the offset of its first byte."""
        offsets = accumulate((tensor.nbytes for tensor in self.tensors), initial=0)
        return zip(self.tensors, offsets, strict=False)

    def sections(self) -> tuple[Section, ...]:
        """Return the sections of the layout, in order."""
        sections = []
        offset = 0
        for dtype, tensors in groupby(self.tensors, key=lambda tensor: tensor.dtype):
            section = Section(dtype, offset, sum(tensor.size for tensor in tensors))
            sections.append(section)
            offset = section.end
        return tuple(sections)

    def tensor_at(self, offset: int) -> TensorSpec:
        """Return the tensor that contains the byte at `offset`.

        Raises:
            IndexError: The offset is outside the layout.
        """
        for tensor, start in self.placed():
            if start <= offset < start + tensor.nbytes:
                return tensor
        raise IndexError(offset)


def manifest_of(tensors: Iterable[TensorSpec]) -> ModelManifest:
    """Return the manifest of a model with these tensors, in any order."""
    return ModelManifest(tuple(sorted(tensors, key=layout_order)))


def digest_of(*parts: bytes | bytearray | memoryview) -> str:
    """Return the BLAKE3 digest of the concatenated parts, with its prefix."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return DIGEST_PREFIX + hasher.hexdigest()
