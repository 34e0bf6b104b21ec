"""Lay out the safetensors file format: an 8-byte header length, a JSON header, the tensors' bytes.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from typing import Final

import msgspec

from federation.model import DType, ModelManifest

HEADER_LENGTH: Final = 8
"""Bytes, little-endian, that a safetensors file begins with: how long its header is
(https://github.com/huggingface/safetensors, "Format")."""


def tensors_start(first: bytes) -> int:
    """The byte of a safetensors file at which its tensors begin.

    Args:
        first: The file's first `HEADER_LENGTH` bytes; a shorter file has fewer, and says nothing that holds.
    """
    return HEADER_LENGTH + int.from_bytes(first, "little")


_CODES: Final = {DType.FLOAT64: "F64", DType.FLOAT32: "F32", DType.FLOAT16: "F16", DType.BFLOAT16: "BF16"}


def header(manifest: ModelManifest, metadata: dict[str, str]) -> bytes:
    """What stands before the tensors in a safetensors file (https://github.com/huggingface/safetensors, "Format").

    Padded so that the tensors begin at a multiple of 8 bytes.

    Args:
        manifest: The tensors, in the order of their bytes.
        metadata: Free text.
    """
    entries: dict[str, object] = {"__metadata__": metadata}
    for tensor, offset in manifest.placed():
        place = (offset, offset + tensor.nbytes)
        entries[tensor.name] = {"dtype": _CODES[tensor.dtype], "shape": tensor.shape, "data_offsets": place}
    text = msgspec.json.encode(entries)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
