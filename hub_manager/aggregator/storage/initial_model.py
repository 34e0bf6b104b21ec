"""A first model out of the user's workspace: a safetensors file, hostile until it is in the run's own store.

The file was written in the user's image. Its header is bounded before it is read, nothing is allocated for what it
announces, and its data have to lie as `federation.model` lays a model out, which is how the runtimes write them. The
values are looked at as those of an update are: a model that is not finite is none to start from.
"""

from pathlib import Path
from typing import Final

import msgspec

from federation.model import ModelManifest
from hub_manager.aggregator.domain import INITIAL_ROUND, Announcement
from hub_manager.aggregator.storage.volume import FileSource
from hub_manager.aggregator.validation.content import Inspection
from hub_manager.aggregator.validation.manifest import AnnouncedTensor, ModelLimits, read_manifest
from hub_manager.aggregator.validation.refusal import UpdateRefusal

LARGEST_HEADER: Final = 32 << 20
"""Bytes; 65,536 tensors with names of 300 characters."""
_TYPES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_READ: Final = 1 << 20
"""Bytes at a time."""
_METADATA: Final = "__metadata__"


class ModelUnusable(Exception):
    """The workspace's first model can't be what a run starts from; the message says why."""


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_initial_model(path: Path, limits: ModelLimits) -> tuple[ModelManifest, FileSource]:
    """The model's layout, and its values, to be closed by the caller.

    Args:
        path: To the file.
        limits: Of the run.

    Raises:
        ModelUnusable: The file is none that a run can start from.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > LARGEST_HEADER:
            raise ModelUnusable(f"{path.name}: the header has {size} bytes; the limit is {LARGEST_HEADER}")
        text = file.read(size)
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        raw.pop(_METADATA, None)
        entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelUnusable(f"{path.name}: {error}") from error
    ordered = sorted(entries.items(), key=lambda entry: entry[1].data_offsets)
    announced = [AnnouncedTensor(name, _TYPES.get(e.dtype, e.dtype), e.shape) for name, e in ordered]
    manifest = read_manifest(announced, limits)
    if isinstance(manifest, UpdateRefusal):
        raise ModelUnusable(f"{path.name}: {manifest.reason.value}: {manifest.message}")
    expected = [(offset, offset + tensor.nbytes) for tensor, offset in manifest.placed()]
    source = FileSource(path, 8 + size)
    whole = [entry.data_offsets for _, entry in ordered] == expected and source.size == manifest.nbytes
    wrong = (
        _not_finite(source, manifest)
        if whole
        else "the tensors' bytes are not contiguous and in the order of the header"
    )
    if wrong:
        source.close()
        raise ModelUnusable(f"{path.name}: {wrong}")
    return manifest, source


def _not_finite(source: FileSource, manifest: ModelManifest) -> str:
    inspection = Inspection(manifest, Announcement(INITIAL_ROUND, "", manifest.nbytes, "", 0))
    for offset in range(0, manifest.nbytes, _READ):
        piece = bytearray(min(_READ, manifest.nbytes - offset))
        source.read_into(offset, memoryview(piece))
        refusal = inspection.feed(piece)
        if refusal is not None:
            return refusal.message
    return ""
