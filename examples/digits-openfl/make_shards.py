"""Split scikit-learn's handwritten digits over sites with unbalanced classes.

    python make_shards.py OUT SITE [SITE …]

writes `OUT/SITE/digits.csv` for each site and `OUT/held-out/digits.csv`, which no site has and on
which models are evaluated. In a real federation nobody has all of the data; this script stands in for the sites'
administrators, each of whom puts a file on the site's volume.

The images are the test set of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998): 1,797 of
8 by 8 pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from src.model import CLASSES, Labels
from src.shard import FILE, write_shard

HELD_OUT = 400
HOME_SHARE = 0.95
"""Share of a class at its main site; the rest is split evenly over the other sites."""


def split(labels: Labels, sites: int, seed: int) -> tuple[Labels, list[Labels]]:
    """Return the held-out samples and those of each site; every sample is in one set only.

    Classes are assigned to the sites in turn, so that a site has many samples of its classes and few of the others.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    shares: list[list[Labels]] = [[] for _ in range(sites)]
    for digit in range(CLASSES):
        own = rest[labels[rest] == digit]
        at_home = own if sites == 1 else own[: round(len(own) * HOME_SHARE)]
        away = own[len(at_home) :]
        home = digit % sites
        shares[home].append(at_home)
        others = [site for site in range(sites) if site != home]
        for site, part in zip(others, np.array_split(away, len(others)) if others else [], strict=True):
            shares[site].append(part)
    return held_out, [random.permutation(np.concatenate(share)) for share in shares]


def make_shards(folder: Path, sites: list[str], seed: int = 7) -> None:
    """Write the shard of each site, and the held-out samples."""
    digits = load_digits()
    pixels, labels = digits.data.astype(np.int64), digits.target.astype(np.int64)
    held_out, shares = split(labels, len(sites), seed)
    for name, rows in [("held-out", held_out), *zip(sites, shares, strict=True)]:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        write_shard(place / FILE, pixels[rows], labels[rows])


def main() -> None:
    """Read the arguments and write the shards."""
    parser = argparse.ArgumentParser(description="Split the digits over sites.")
    parser.add_argument("folder", type=Path, help="the output folder")
    parser.add_argument("sites", nargs="+", help="the sites' names")
    arguments = parser.parse_args()
    make_shards(arguments.folder, arguments.sites)


if __name__ == "__main__":
    main()
