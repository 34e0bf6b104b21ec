"""Element types: decode bytes to floats without loss, and encode float64 values with one rounding.

float16 and bfloat16 are decoded to float32, which represents all their values. Encoding rounds to nearest, ties to even
(IEEE 754); bfloat16 is rounded through float32. NumPy has no bfloat16, so this module shifts its bits.
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
"""The exponent bits of a 16-bit type, all of which are set in NaN and infinity only."""


def decoded(raw: Bytes, dtype: DType) -> Floats:
    """Decode elements to floats; for float32 and float64 the result is a view of the bytes.

    Args:
        raw: Whole elements, little-endian.
        dtype: Their type.

    Returns:
        `[elements] float64` for float64, else `[elements] float32`.
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
    """Round values to the element type; a value out of range becomes infinite, which the caller must check.

    Args:
        values: `[elements] float64`
        dtype: The type to round to.

    Returns:
        `[elements]`, little-endian and contiguous, in the layout of the model.
    """
    with np.errstate(over="ignore"):
        if dtype is not DType.BFLOAT16:
            return values.astype(_RAW[dtype])
        bits = values.astype("<f4").view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def all_finite(raw: Bytes, dtype: DType) -> bool:
    """Return whether every element is finite.

    For float32 and float64 this checks the sum first, which is several times faster than checking each element: a NaN
    or an infinity always makes the sum non-finite. As the sum may also overflow, a non-finite sum leads to a check of
    each element.

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
    """Return the index of the first element that is NaN or infinite, and whether it is NaN; None if all are finite."""
    values = decoded(raw, dtype)
    indices = np.flatnonzero(~np.isfinite(values))
    return (int(indices[0]), bool(np.isnan(values[indices[0]]))) if indices.size else None
