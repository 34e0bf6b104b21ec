"""What an optimizer kept, as checkpoints of format 1 hold it: read as if it had been float64 from the start.

A float32 is a float64, so nothing is lost, and a run whose aggregator is replaced by a newer one goes on from it.
"""

from pathlib import Path
from typing import Final

from federation.model import DType, ModelManifest
from hub_manager.aggregator.numerics.dtypes import decoded
from hub_manager.aggregator.storage.volume import FileSource

NARROW_SLOTS: Final = 1
"""The format of a checkpoint."""


class NarrowSlot(FileSource):
    """A slot that is float32 but for the model's float64 tensors, which stand first in every layout."""

    def __init__(self, path: Path, base: int, manifest: ModelManifest) -> None:
        """Open the file.

        Args:
            path: To read from.
            base: The byte of the file at which the tensors begin.
            manifest: The model's layout.

        Raises:
            OSError: The file can't be opened.
        """
        super().__init__(path, base)
        self._wide = sum(tensor.nbytes for tensor in manifest.tensors if tensor.dtype is DType.FLOAT64)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer from the byte at `offset` of the float64 layout on.

        Args:
            offset: Where an element begins.
            into: For whole elements.

        Raises:
            OSError: The file can't be read, or ends before the buffer is full.
        """
        split = min(max(self._wide - offset, 0), len(into))
        super().read_into(offset, into[:split])
        rest = into[split:]
        narrow = bytearray(len(rest) // 2)
        super().read_into(self._wide + (offset + split - self._wide) // 2, memoryview(narrow))
        rest[:] = decoded(narrow, DType.FLOAT32).astype("<f8").tobytes()
