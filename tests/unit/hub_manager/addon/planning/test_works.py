"""How manifests are divided among works."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_manager.addon.planning.works import ManifestTooLarge, covers, split


def _manifest(size: int) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"x": "a" * size}}


@given(st.lists(st.integers(min_value=0, max_value=900), max_size=30))
def test_works_keep_the_order_and_their_limit(sizes: list[int]) -> None:
    manifests = [_manifest(size) for size in sizes]

    works = split(manifests, limit=1000)

    assert [m for work in works for m in work] == manifests
    assert all(sum(len(msgspec.json.encode(m)) for m in work) <= 1000 for work in works)
    assert all(work for work in works)


def test_a_manifest_that_fits_no_work_is_named() -> None:
    with pytest.raises(ManifestTooLarge, match="ConfigMap m"):
        split([_manifest(2000)], limit=1000)


@pytest.mark.parametrize(
    ("present", "desired", "covered"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ([{"a": 1, "b": 2}], [{"a": 1}], True),
        ([1, 2], [1], False),
        (None, {"a": 1}, False),
        (None, [], False),
    ],
)
def test_covers_ignores_only_added_fields(present: Any, desired: Any, *, covered: bool) -> None:
    assert covers(present, desired) is covered
