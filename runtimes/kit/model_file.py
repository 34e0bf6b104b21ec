"""A model as a safetensors file: its tensors in the manifest's order, which is that of the format too.

Written by hand because the format is a length, a JSON header and the bytes, and the library is one more native
dependency in every user's image. Source: https://huggingface.co/docs/safetensors (Format).
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from federation.model import DType, ModelManifest

_TYPES: Final = {DType.FLOAT64: "F64", DType.FLOAT32: "F32", DType.FLOAT16: "F16", DType.BFLOAT16: "BF16"}
_ALIGNMENT: Final = 8
"""Bytes; the data begins at a multiple, so that it can be mapped as it is."""


def header(manifest: ModelManifest) -> bytes:
    """All that comes before the model's bytes."""
    entries = {
        tensor.name: {
            "dtype": _TYPES[tensor.dtype],
            "shape": tensor.shape,
            "data_offsets": (begin, begin + tensor.nbytes),
        }
        for tensor, begin in manifest.placed()
    }
    text = msgspec.json.encode(entries)
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def write(path: Path, manifest: ModelManifest, model: bytes | bytearray) -> None:
    """Writes the model whole or not at all.

    Args:
        path: where to.
        manifest: what the model is made of.
        model: its bytes, as the manifest lays them out.
    """
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("wb") as file:
        file.write(header(manifest))
        file.write(model)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
