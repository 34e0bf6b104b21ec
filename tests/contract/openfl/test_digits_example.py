"""The example is worth running: together the sites do what none of them can alone."""

from pathlib import Path

import pytest

from tests.support.builders.workspaces import DIGITS
from tests.support.exchange import reference_run
from tests.support.exchange.reference_run import importable

pytestmark = pytest.mark.openfl

ENOUGH = 0.90


@pytest.mark.parametrize("sites", [2, 3, 4])
def test_the_federation_beats_every_site_on_held_out_digits(tmp_path: Path, sites: int) -> None:
    names = [f"c{number}" for number in range(1, sites + 1)]
    with importable(DIGITS):
        from make_shards import make_shards  # noqa: PLC0415 - a script of the example, importable only here
        from src.model import accuracy  # noqa: PLC0415
        from src.shard import read_shard  # noqa: PLC0415

        make_shards(tmp_path, names)
        held_out = read_shard(tmp_path / "held-out" / "digits.csv")
    shards = {name: tmp_path / name for name in names}

    together = accuracy(reference_run.run(DIGITS, shards).final, *held_out)
    alone = [accuracy(reference_run.run(DIGITS, {name: shards[name]}).final, *held_out) for name in names]

    assert together >= ENOUGH
    assert together > max(alone)


def test_no_image_is_in_two_places_and_none_is_lost(tmp_path: Path) -> None:
    with importable(DIGITS):
        from make_shards import make_shards  # noqa: PLC0415
        from sklearn.datasets import load_digits  # noqa: PLC0415

        make_shards(tmp_path, ["c1", "c2", "c3"])
    lines = [
        line
        for name in ("held-out", "c1", "c2", "c3")
        for line in (tmp_path / name / "digits.csv").read_text(encoding="utf-8").splitlines()[1:]
    ]
    digits = load_digits()
    every = [",".join(map(str, [*map(int, row), label])) for row, label in zip(digits.data, digits.target, strict=True)]

    assert sorted(lines) == sorted(every)
