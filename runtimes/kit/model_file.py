"""Write a model as a safetensors file, without the `safetensors` library.

The library would be one more native dependency in every user's image.
"""

import os
from pathlib import Path

from federation.model import ModelManifest
from federation.safetensors import header


def write(path: Path, manifest: ModelManifest, model: bytes | bytearray) -> None:
    """Write the model under a temporary name, then rename it, so that a reader never sees a partial file.

    Args:
        path: The destination.
        manifest: The model's tensors.
        model: Their bytes, in the layout of the manifest.
    """
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("wb") as file:
        file.write(header(manifest))
        file.write(model)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
