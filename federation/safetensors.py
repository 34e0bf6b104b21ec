"""Lay out the safetensors file format: an 8-byte header length, a JSON header, the tensors' bytes.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from federation.model import DType, ModelManifest

HEADER_LENGTH: Final = 8
"""Number of bytes at the start of the file that give the length of the header, little-endian."""
METADATA_KEY: Final = "__metadata__"
"""Key of the header under which free text is stored; a tensor can't have this name."""
DTYPE_CODES: Final[Mapping[DType, str]] = MappingProxyType(
    {DType.FLOAT64: "F64", DType.FLOAT32: "F32", DType.FLOAT16: "F16", DType.BFLOAT16: "BF16"}
)
"""Code of each element type in the header."""
DTYPES: Final[Mapping[str, DType]] = MappingProxyType({code: dtype for dtype, code in DTYPE_CODES.items()})
"""Element type of each code; the format has further codes, which no model of a run may use."""


class TensorEntry(msgspec.Struct, frozen=True):
    """Entry of one tensor in the header."""

    dtype: str
    """Code of the element type."""
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """First byte and the byte after the last, counted from the end of the header."""


def tensors_start(first: bytes) -> int:
    """Return the byte of the file at which the tensors begin.

    Args:
        first: The file's first `HEADER_LENGTH` bytes. A shorter file is invalid and gives a meaningless result.
    """
    return HEADER_LENGTH + int.from_bytes(first, "little")


def header(manifest: ModelManifest, metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode the header with its length, padded so that the tensors begin at a multiple of 8 bytes.

    Args:
        manifest: The tensors, in the order of their bytes.
        metadata: Free text; without it the header has no `METADATA_KEY`.
    """
    entries: dict[str, object] = {} if metadata is None else {METADATA_KEY: metadata}
    for tensor, offset in manifest.placed():
        place = (offset, offset + tensor.nbytes)
        entries[tensor.name] = TensorEntry(DTYPE_CODES[tensor.dtype], tensor.shape, place)
    text = msgspec.json.encode(entries)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(HEADER_LENGTH, "little") + text
