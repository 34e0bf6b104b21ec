"""Read and write a shard of the digits, the file that a site's administrator puts on a volume.

`digits.csv`: a header, then for each image its 64 pixels, row by row, from 0 (white) to 16 (black), and the digit.
"""

from pathlib import Path

import numpy as np

from src.model import PIXELS, Floats, Labels

FILE = "digits.csv"
DARKEST = 16


def read_shard(path: Path) -> tuple[Floats, Labels]:
    """Return the pixels [samples, 64] as float32 from 0 to 1, and the digits [samples].

    Raises:
        FileNotFoundError: The shard is missing.
        ValueError: The table has the wrong number of columns.
    """
    table = np.loadtxt(path, dtype=np.int64, delimiter=",", skiprows=1, ndmin=2)
    if table.shape[1] != PIXELS + 1:
        raise ValueError(f"{path.name} has {table.shape[1]} columns instead of {PIXELS + 1}")
    return table[:, :PIXELS].astype(np.float32) / np.float32(DARKEST), table[:, PIXELS]


def write_shard(path: Path, pixels: Labels, labels: Labels) -> None:
    """Write images [samples, 64] of whole numbers from 0 to 16, and their digits."""
    header = ",".join([*(f"pixel{number}" for number in range(PIXELS)), "digit"])
    np.savetxt(path, np.column_stack([pixels, labels]), fmt="%d", delimiter=",", header=header, comments="")
