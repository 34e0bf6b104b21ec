"""A round's updates folded into the next model, block by block over all of them at once.

For each block, every update is read in the cohort's order, combined, stepped and rounded, and the block of the next
model is written. So memory is a few blocks whatever the size of the model and the number of sites, every byte is read
and written once, and the blocks fit the processor's cache. The arithmetic is `aggregation`'s; where the bytes come
from and go to is the caller's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from federation.model import DType, ModelManifest, Section, TensorSpec, manifest_of
from hub_manager.aggregator.numerics.algorithms import (
    Aggregation,
    Doubles,
    Median,
    TrimmedMean,
    WeightedMean,
    combined,
    stepped,
)
from hub_manager.aggregator.numerics.dtypes import Floats, all_finite, decoded, encoded

BLOCK_BYTES: Final = 1 << 18
"""Of one update in a weighted mean: with a sum and a term of float64, what a second-level cache just holds. Smaller
blocks cost more calls."""
OPTIMIZED_BYTES: Final = 1 << 17
"""The same where an optimizer steps, whose eight arrays of a block come and go with it."""
NETWORK_BYTES: Final = 1 << 20
"""Of all updates together, in a sorting network."""
SLOT_TYPE: Final = DType.FLOAT64
"""Of everything that an optimizer keeps."""


class Source(Protocol):
    """A model's bytes, in the layout of its manifest."""

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer from the byte at `offset` on."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What an optimizer keeps of one kind, as the round before left it."""

    source: Source | None
    """None before the first round."""


Write = Callable[[memoryview], None]


@dataclass(frozen=True, slots=True)
class Folding:
    """All that a fold reads."""

    manifest: ModelManifest
    aggregation: Aggregation
    updates: Sequence[Source]
    """In the cohort's order."""
    weights: Sequence[int]
    """For each update, at least 1."""
    base: Source
    """The model that the round started from."""
    slots: Sequence[Slot] = ()
    """One for each of the aggregation's."""


@dataclass(frozen=True, slots=True)
class Diverged:
    """A value of the next model, or of what the optimizer keeps, is not finite."""

    tensor: str


def slot_manifest(manifest: ModelManifest) -> ModelManifest:
    """The layout of one slot: a flat tensor of float64 for each section of the model.

    Whatever the model's types: a second moment is a sum of squares, and that of a float32 may be no float32.
    """
    sections = enumerate(manifest.sections())
    return manifest_of(TensorSpec(f"section-{index}", SLOT_TYPE, (section.size,)) for index, section in sections)


def fold(
    folding: Folding, model: Write, slots: Sequence[Write] = (), *, block_bytes: int | None = None
) -> Diverged | None:
    """Write the next model, and what the optimizer keeps, from first byte to last.

    Args:
        folding: What to fold.
        model: Takes the model's bytes in order; each buffer is only good until it returns.
        slots: The same, for each slot.
        block_bytes: Of one update, read at a time; the result does not depend on it.

    Returns:
        None when all is written, else where the fold stopped; what was written then is of no use.

    Raises:
        OSError: A source or a sink failed.
    """
    size = block_bytes or _block_bytes(folding)
    room = _room(folding.manifest, size)
    slot_offset = 0
    for section in folding.manifest.sections():
        step = _step(section, size)
        for first in range(0, section.size, step):
            block = _Block(section, first, min(step, section.size - first), slot_offset)
            outputs = _folded(folding, block, room)
            types = [section.dtype, *[SLOT_TYPE] * len(slots)]
            for values, dtype, write in zip(outputs, types, (model, *slots), strict=True):
                raw = encoded(values, dtype).data.cast("B")
                if not all_finite(raw, dtype):
                    return Diverged(_first_infinite(folding.manifest, block, raw, dtype))
                write(raw)
        slot_offset += section.size * SLOT_TYPE.width
    return None


@dataclass(frozen=True, slots=True)
class _Block:
    section: Section
    first: int
    """Of the section's elements."""
    size: int
    slot_offset: int
    """Bytes of a slot before the section."""

    @property
    def offset(self) -> int:
        return self.section.offset + self.first * self.section.dtype.width


@dataclass(frozen=True, slots=True)
class _Room:
    """Memory that every block uses again."""

    read: memoryview
    """For a block of an update, of any element type."""
    scratch: Doubles
    """`[2, elements] float64`, for the arithmetic."""


def _room(manifest: ModelManifest, size: int) -> _Room:
    """For blocks of so many bytes, or of one element where that is more."""
    steps = [(section.dtype.width, min(_step(section, size), section.size)) for section in manifest.sections()]
    bytes_ = max((width * step for width, step in steps), default=0)
    return _Room(memoryview(bytearray(bytes_)), np.empty((2, max((step for _, step in steps), default=0))))


def _step(section: Section, size: int) -> int:
    return max(size // section.dtype.width, 1)


def _block_bytes(folding: Folding) -> int:
    largest = BLOCK_BYTES if folding.aggregation.optimizer is None else OPTIMIZED_BYTES
    match folding.aggregation.combination:
        case WeightedMean():
            return largest
        case Median() | TrimmedMean():
            return min(max(NETWORK_BYTES // len(folding.updates), 1 << 12), largest)


def _folded(folding: Folding, block: _Block, room: _Room) -> list[Doubles]:
    section, aggregation = block.section, folding.aggregation
    buffer = room.read[: block.size * section.dtype.width]

    def read(source: Source) -> Floats:
        source.read_into(block.offset, buffer)
        return decoded(buffer, section.dtype)

    rows = (read(update) for update in folding.updates)
    aggregate = combined(aggregation.combination, rows, folding.weights, room.scratch[:, : block.size])
    if aggregation.optimizer is None:
        return [aggregate]
    base = read(folding.base).astype(np.float64)
    kept = [
        _kept(aggregation.initial(name), slot, block)
        for name, slot in zip(aggregation.slots, folding.slots, strict=True)
    ]
    return stepped(aggregation.optimizer, base, aggregate, kept)


def _kept(initial: float, slot: Slot, block: _Block) -> Doubles:
    if slot.source is None:
        return np.full(block.size, initial)
    buffer = bytearray(block.size * SLOT_TYPE.width)
    slot.source.read_into(block.slot_offset + block.first * SLOT_TYPE.width, memoryview(buffer))
    return decoded(buffer, SLOT_TYPE).astype(np.float64)


def _first_infinite(manifest: ModelManifest, block: _Block, raw: memoryview, dtype: DType) -> str:
    index = int(np.flatnonzero(~np.isfinite(decoded(raw, dtype)))[0])
    return manifest.tensor_at(block.offset + index * block.section.dtype.width).name
