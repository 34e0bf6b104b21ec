"""Read the initial model of the user's workspace, a safetensors file that is hostile until it is in the run's store.

The file was written in the user's image. The size of its header is checked before the header is read, and nothing is
allocated for the sizes that it announces. Its bytes must have the layout of `federation.model`, which the runtimes
write. As with an update, every value must be finite.
"""

from pathlib import Path
from typing import Final

import msgspec

from federation.model import ModelManifest
from federation.safetensors import DTYPES, HEADER_LENGTH, METADATA_KEY, TensorEntry
from hub_manager.aggregator.domain import INITIAL_ROUND, Announcement
from hub_manager.aggregator.storage.volume import FileSource
from hub_manager.aggregator.validation.content import Inspection
from hub_manager.aggregator.validation.manifest import AnnouncedTensor, ModelLimits, read_manifest
from hub_manager.aggregator.validation.refusal import UpdateRefusal

LARGEST_HEADER: Final = 32 << 20
"""Bytes; enough for 65,536 tensors with names of 300 characters."""
_READ: Final = 1 << 20
"""Bytes at a time."""


MODEL_UNUSABLE: Final = "ModelUnusable"
"""Reason in the run's status for a `ModelUnusable`."""


class ModelUnusable(Exception):
    """The run can't start from the workspace's initial model; the message has the cause."""


def read_initial_model(path: Path, limits: ModelLimits) -> tuple[ModelManifest, FileSource]:
    """Check an initial model, and return its layout and an open source of its values; the caller closes the source.

    Args:
        path: Of the file.
        limits: Of the run.

    Raises:
        ModelUnusable: The file is invalid as an initial model.
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(HEADER_LENGTH), "little")
        if size > LARGEST_HEADER:
            raise ModelUnusable(f"{path.name}: the header has {size} bytes; the limit is {LARGEST_HEADER}")
        text = file.read(size)
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        raw.pop(METADATA_KEY, None)
        entries = {name: msgspec.json.decode(entry, type=TensorEntry) for name, entry in raw.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelUnusable(f"{path.name}: {error}") from error
    ordered = sorted(entries.items(), key=lambda entry: entry[1].data_offsets)
    announced = [AnnouncedTensor(name, _dtype_name(e.dtype), e.shape) for name, e in ordered]
    manifest = read_manifest(announced, limits)
    if isinstance(manifest, UpdateRefusal):
        raise ModelUnusable(f"{path.name}: {manifest.reason.value}: {manifest.message}")
    expected = [(offset, offset + tensor.nbytes) for tensor, offset in manifest.placed()]
    source = FileSource(path, HEADER_LENGTH + size)
    contiguous = [entry.data_offsets for _, entry in ordered] == expected and source.size == manifest.nbytes
    problem = (
        _content_problem(source, manifest)
        if contiguous
        else "the tensors' bytes are not contiguous and in the order of the header"
    )
    if problem:
        source.close()
        raise ModelUnusable(f"{path.name}: {problem}")
    return manifest, source


def _dtype_name(code: str) -> str:
    """Return the element type's name, or the code itself, which the check of the manifest then rejects."""
    return DTYPES[code].value if code in DTYPES else code


def _content_problem(source: FileSource, manifest: ModelManifest) -> str:
    inspection = Inspection(manifest, Announcement(INITIAL_ROUND, "", manifest.nbytes, "", 0))
    for offset in range(0, manifest.nbytes, _READ):
        piece = bytearray(min(_READ, manifest.nbytes - offset))
        source.read_into(offset, memoryview(piece))
        refusal = inspection.feed(piece)
        if refusal is not None:
            return refusal.message
    return ""
