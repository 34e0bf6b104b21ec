"""Describe the folder of a checkpoint, which the aggregator writes and readers of a model open.

The folder holds the model, a safetensors file for each optimizer slot, and `manifest.json`. The digest of a model is
that of its tensors' bytes, as collaborators receive them. `fileDigest` is that of the whole file with its header, as
`b3sum` prints it.
"""

from typing import Final

import msgspec

from federation.model import ModelManifest

FORMAT: Final = 2
"""Format of the folder. A reader rejects any other."""
MODEL: Final = "model"
"""Name of the model's file, without `.safetensors`."""
MANIFEST_FILE: Final = "manifest.json"


class TensorFile(msgspec.Struct, frozen=True, rename="camel"):
    """One safetensors file of a checkpoint."""

    name: str
    """Name of the file, without `.safetensors`."""
    bytes: int
    """Size of the tensors, without the header."""
    digest: str
    file_digest: str


class CheckpointManifest(msgspec.Struct, frozen=True, rename="camel"):
    """A checkpoint's `manifest.json`."""

    format: int
    run: str
    """Run ID."""
    round: int
    model: TensorFile
    tensors: ModelManifest
    slots: tuple[TensorFile, ...] = ()
    """Optimizer slots."""
