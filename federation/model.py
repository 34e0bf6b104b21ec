"""What a model is between hub and spokes: an ordered list of named tensors, laid out as one run of bytes.

Both sides lay a model out by the same rule, so an update is compared, checked and folded without parsing it: the
tensors stand in the manifest's order, each in C order and little-endian, with nothing between them. The manifest's
order is that of `layout_order`: by the width of the elements, widest first, then by name. So every element is aligned
to its own width, elements of one type lie together, and two sides that hold the same tensors have the same bytes
whatever the order of their dictionaries. A safetensors file has the same order in its data section.

`hub_manager.aggregator.validation.manifest` decides first whether a model from a stranger is accepted.
"""

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import accumulate, groupby
from typing import Final

import msgspec
from blake3 import blake3

DIGEST_PREFIX: Final = "blake3:"
"""What a digest begins with, before 64 lower-case hexadecimal digits."""


class DType(Enum):
    """The element types that can be averaged; an integer tensor (a counter) has to be sent as a float, or kept out."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"

    @property
    def width(self) -> int:
        """Bytes of one element."""
        return _WIDTHS[self]


_WIDTHS: Final = {DType.FLOAT64: 8, DType.FLOAT32: 4, DType.FLOAT16: 2, DType.BFLOAT16: 2}
_RANKS: Final = {dtype: rank for rank, dtype in enumerate(DType)}


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=False):
    """One tensor without its values."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    """Empty for a scalar."""

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the layout."""
        return self.size * self.dtype.width


class Section(msgspec.Struct, frozen=True):
    """A stretch of the layout whose elements all have one type; a model has at most one for each type."""

    dtype: DType
    offset: int
    """Bytes from the layout's start; a multiple of the element's width."""
    size: int
    """Elements."""

    @property
    def nbytes(self) -> int:
        """Bytes of the stretch."""
        return self.size * self.dtype.width

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.nbytes


def layout_order(tensor: TensorSpec) -> tuple[int, str]:
    """The key by which a model's tensors are sorted: element type, widest first, then name by code points."""
    return _RANKS[tensor.dtype], tensor.name


class ModelManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tensors of a model in the order of their layout; made by `manifest_of`, which sorts them."""

    tensors: tuple[TensorSpec, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole model, which every update of it has too."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def digest(self) -> str:
        """The digest of names, types and shapes; equal for equal layouts only."""
        return digest_of(b"federated-learning model manifest 1\n", msgspec.json.encode(self.tensors))

    def placed(self) -> Iterator[tuple[TensorSpec, int]]:
        """Each tensor with the byte at which it begins."""
        offsets = accumulate((tensor.nbytes for tensor in self.tensors), initial=0)
        return zip(self.tensors, offsets, strict=False)

    def sections(self) -> tuple[Section, ...]:
        """The layout as stretches of one element type each, in order."""
        sections = []
        offset = 0
        for dtype, tensors in groupby(self.tensors, key=lambda tensor: tensor.dtype):
            section = Section(dtype, offset, sum(tensor.size for tensor in tensors))
            sections.append(section)
            offset = section.end
        return tuple(sections)

    def tensor_at(self, offset: int) -> TensorSpec:
        """The tensor whose values the byte at `offset` belongs to.

        Raises:
            IndexError: The offset lies outside the layout.
        """
        for tensor, start in self.placed():
            if start <= offset < start + tensor.nbytes:
                return tensor
        raise IndexError(offset)


def manifest_of(tensors: Iterable[TensorSpec]) -> ModelManifest:
    """The manifest of a model with these tensors, in whatever order they come."""
    return ModelManifest(tuple(sorted(tensors, key=layout_order)))


def digest_of(*parts: bytes | bytearray | memoryview) -> str:
    """The BLAKE3 digest of the parts' bytes, one after the other, as it is written everywhere."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return DIGEST_PREFIX + hasher.hexdigest()
