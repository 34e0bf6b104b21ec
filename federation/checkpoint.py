"""What a checkpoint's folder holds, for the aggregator that writes it and for whoever reads the model out of it.

Beside the model, a safetensors file, lies `manifest.json`. The digest of a model is that of its tensors' bytes, as
collaborators get them; `fileDigest` is that of the whole file, its header included, as `b3sum` prints it.
"""

from typing import Final

import msgspec

from federation.model import ModelManifest

FORMAT: Final = 2
"""The format of the folder. A reader rejects any other."""
MODEL: Final = "model"
"""The name of the model's file, before `.safetensors`, beside the optimizer's slots."""
MANIFEST_FILE: Final = "manifest.json"


class TensorFile(msgspec.Struct, frozen=True, rename="camel"):
    """One safetensors file of a checkpoint."""

    name: str
    bytes: int
    """Of the tensors, without the header."""
    digest: str
    file_digest: str


class CheckpointManifest(msgspec.Struct, frozen=True, rename="camel"):
    """A checkpoint's `manifest.json`."""

    format: int
    run: str
    round: int
    model: TensorFile
    tensors: ModelManifest
    slots: tuple[TensorFile, ...] = ()
