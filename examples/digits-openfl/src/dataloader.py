"""The data loader: reads the shard that the site has mounted, and keeps a part of it for validation."""

from pathlib import Path
from typing import Any

import numpy as np
from openfl.federated.data.loader import DataLoader

from src.model import PIXELS, Floats, Labels
from src.shard import FILE, read_shard


class DigitsLoader(DataLoader):  # type: ignore[misc]  # openfl has no types
    """A site's digits.

    Args:
        data_path: The mounted folder; None if only the model's shape is needed, as on the hub.
        validation_share: Share of the shard that is excluded from training.
        seed: Selects those samples.
    """

    def __init__(self, data_path: str | None, validation_share: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if data_path is None:
            pixels, labels = np.zeros((0, PIXELS), np.float32), np.zeros(0, np.int64)
        else:
            pixels, labels = read_shard(Path(data_path) / FILE)
        order = np.random.default_rng(seed).permutation(len(labels))
        kept = int(len(labels) * validation_share)
        self._valid, self._train = (
            (pixels[order[:kept]], labels[order[:kept]]),
            (pixels[order[kept:]], labels[order[kept:]]),
        )

    def get_feature_shape(self) -> tuple[int, ...]:
        """Return the shape of one image."""
        return (PIXELS,)

    def get_train_loader(self, **_: Any) -> tuple[Floats, Labels]:
        """Return all training samples; the task runner splits them into batches."""
        return self._train

    def get_valid_loader(self, **_: Any) -> tuple[Floats, Labels]:
        """Return all validation samples."""
        return self._valid

    def get_train_data_size(self) -> int:
        """Return the number of training samples, which is the weight of this site's update."""
        return len(self._train[1])

    def get_valid_data_size(self) -> int:
        """Return the number of validation samples."""
        return len(self._valid[1])
