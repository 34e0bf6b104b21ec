"""Fold a round's updates into the next model, block by block.

For each block, the fold reads every update in the cohort's order, combines and rounds the values, and writes the block
of the next model. Memory is limited to a few blocks for any model size and number of sites. Every byte is read and
written once, and the blocks fit into the processor's cache. `algorithms` has the arithmetic; the caller provides the
sources and the sinks.
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
"""Block size of one update in a weighted mean. With a float64 sum and term, it just fits into a second-level cache;
smaller blocks need more calls."""
OPTIMIZED_BYTES: Final = 1 << 17
"""Block size with an optimizer, which needs eight more arrays for each block."""
NETWORK_BYTES: Final = 1 << 20
"""Block size of all updates together in a sorting network."""
SLOT_TYPE: Final = DType.FLOAT64
"""Element type of the optimizer's slots."""


class TensorSource(Protocol):
    """A model's bytes, in the layout of its manifest."""

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer from the byte at `offset` on."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One optimizer slot from the previous round."""

    source: TensorSource | None
    """None before the first round."""


Write = Callable[[memoryview], None]


@dataclass(frozen=True, slots=True)
class Folding:
    """Inputs of a fold."""

    manifest: ModelManifest
    aggregation: Aggregation
    updates: Sequence[TensorSource]
    """In the cohort's order."""
    weights: Sequence[int]
    """For each update, at least 1."""
    base: TensorSource
    """The model that the round started from."""
    slots: Sequence[Slot] = ()
    """In the order of `Aggregation.slots`."""


@dataclass(frozen=True, slots=True)
class Diverged:
    """Outcome of a fold in which a value of the next model or of a slot is not finite."""

    tensor: str


def slot_manifest(manifest: ModelManifest) -> ModelManifest:
    """Return the layout of one slot: a flat float64 tensor for each section of the model.

    Slots are float64 for every model type: a second moment is a sum of squares, which may exceed float32.
    """
    sections = enumerate(manifest.sections())
    return manifest_of(TensorSpec(f"section-{index}", SLOT_TYPE, (section.size,)) for index, section in sections)


def fold(
    folding: Folding, model: Write, slots: Sequence[Write] = (), *, block_bytes: int | None = None
) -> Diverged | None:
    """Write the next model and the optimizer's slots, from first byte to last.

    Args:
        folding: The inputs.
        model: Receives the model's bytes in order; each buffer is valid only during the call.
        slots: Receive the bytes of each slot in the same way.
        block_bytes: Bytes of one update to read at a time; the result does not depend on it.

    Returns:
        None on success, else the tensor at which the fold stopped; the caller must then discard the output.

    Raises:
        OSError: A source or a sink failed.
    """
    size = block_bytes or _block_bytes(folding)
    buffers = _buffers(folding.manifest, size)
    slot_offset = 0
    for section in folding.manifest.sections():
        step = _step(section, size)
        for first in range(0, section.size, step):
            block = _Block(section, first, min(step, section.size - first), slot_offset)
            outputs = _folded(folding, block, buffers)
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
    """Index of the block's first element in the section."""
    size: int
    slot_offset: int
    """Offset of the section in a slot, in bytes."""

    @property
    def offset(self) -> int:
        return self.section.offset + self.first * self.section.dtype.width


@dataclass(frozen=True, slots=True)
class _Buffers:
    """Buffers that all blocks share."""

    read: memoryview
    """Holds one block of one update, in any element type."""
    scratch: Doubles
    """`[2, elements] float64`, for the arithmetic."""


def _buffers(manifest: ModelManifest, size: int) -> _Buffers:
    """Allocate the buffers for blocks of `size` bytes, or of one element if that is larger."""
    steps = [(section.dtype.width, min(_step(section, size), section.size)) for section in manifest.sections()]
    read_bytes = max((width * step for width, step in steps), default=0)
    return _Buffers(memoryview(bytearray(read_bytes)), np.empty((2, max((step for _, step in steps), default=0))))


def _step(section: Section, size: int) -> int:
    return max(size // section.dtype.width, 1)


def _block_bytes(folding: Folding) -> int:
    largest = BLOCK_BYTES if folding.aggregation.optimizer is None else OPTIMIZED_BYTES
    match folding.aggregation.combination:
        case WeightedMean():
            return largest
        case Median() | TrimmedMean():
            return min(max(NETWORK_BYTES // len(folding.updates), 1 << 12), largest)


def _folded(folding: Folding, block: _Block, buffers: _Buffers) -> list[Doubles]:
    section, aggregation = block.section, folding.aggregation
    buffer = buffers.read[: block.size * section.dtype.width]

    def read(source: TensorSource) -> Floats:
        source.read_into(block.offset, buffer)
        return decoded(buffer, section.dtype)

    rows = (read(update) for update in folding.updates)
    aggregate = combined(aggregation.combination, rows, folding.weights, buffers.scratch[:, : block.size])
    if aggregation.optimizer is None:
        return [aggregate]
    base = read(folding.base).astype(np.float64)
    previous_slots = [
        _slot_values(aggregation.initial(name), slot, block)
        for name, slot in zip(aggregation.slots, folding.slots, strict=True)
    ]
    return stepped(aggregation.optimizer, base, aggregate, previous_slots)


def _slot_values(initial: float, slot: Slot, block: _Block) -> Doubles:
    if slot.source is None:
        return np.full(block.size, initial)
    buffer = bytearray(block.size * SLOT_TYPE.width)
    slot.source.read_into(block.slot_offset + block.first * SLOT_TYPE.width, memoryview(buffer))
    return decoded(buffer, SLOT_TYPE).astype(np.float64)


def _first_infinite(manifest: ModelManifest, block: _Block, raw: memoryview, dtype: DType) -> str:
    index = int(np.flatnonzero(~np.isfinite(decoded(raw, dtype)))[0])
    return manifest.tensor_at(block.offset + index * block.section.dtype.width).name
