"""The element types as arithmetic sees them: bytes to floats that hold every value exactly, and back by rounding once.

float16 and bfloat16 become float32, of which both are a subset. Going back, values are rounded to the nearest, ties to
even, as IEEE 754 has it; to bfloat16 by way of float32. NumPy has no bfloat16, so its bits are shifted.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.model import DType

Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Bytes: TypeAlias = bytes | bytearray | memoryview

_RAW: Final[dict[DType, str]] = {
    DType.FLOAT64: "<f8",
    DType.FLOAT32: "<f4",
    DType.FLOAT16: "<f2",
    DType.BFLOAT16: "<u2",
}
_EXPONENT: Final[dict[DType, int]] = {DType.FLOAT16: 0x7C00, DType.BFLOAT16: 0x7F80}
"""The bits of a 16-bit type that are all set in NaN and infinity, and in nothing else."""


def decoded(raw: Bytes, dtype: DType) -> Floats:
    """The elements' values; for the two wider types a view of the bytes.

    Args:
        raw: Whole elements, little-endian.
        dtype: Their type.

    Returns:
        `[elements] float64` of float64, else `[elements] float32`.
    """
    stored: NDArray[Any] = np.frombuffer(raw, _RAW[dtype])
    match dtype:
        case DType.BFLOAT16:
            return (stored.astype(np.uint32) << 16).view(np.float32)
        case DType.FLOAT16:
            return stored.astype(np.float32)
        case _:
            return stored


def encoded(values: NDArray[np.float64], dtype: DType) -> NDArray[Any]:
    """The values as elements of the type, rounded; one too large becomes infinite, which the caller has to look for.

    Args:
        values: `[elements] float64`
        dtype: The type to round to.

    Returns:
        `[elements]`, little-endian and contiguous, whose bytes are the layout's.
    """
    with np.errstate(over="ignore"):
        if dtype is not DType.BFLOAT16:
            return values.astype(_RAW[dtype])
        bits = values.astype("<f4").view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def all_finite(raw: Bytes, dtype: DType) -> bool:
    """Whether no element is NaN or infinite.

    Of the two wider types by their sum, several times faster than looking at each: NaN and infinity never leave a sum
    again. A sum that is not finite may also have overflowed; only then is each element looked at.

    Args:
        raw: Whole elements, little-endian.
        dtype: Their type.
    """
    stored: NDArray[Any] = np.frombuffer(raw, _RAW[dtype])
    mask = _EXPONENT.get(dtype)
    if mask is not None:
        return not bool(((stored.view("<u2") & mask) == mask).any())
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.add.reduce(stored))) or bool(np.isfinite(stored).all())


def first_not_finite(raw: Bytes, dtype: DType) -> tuple[int, bool] | None:
    """The index of the first element that is NaN or infinite, and whether it is NaN."""
    values = decoded(raw, dtype)
    wrong = np.flatnonzero(~np.isfinite(values))
    return (int(wrong[0]), bool(np.isnan(values[wrong[0]]))) if wrong.size else None
