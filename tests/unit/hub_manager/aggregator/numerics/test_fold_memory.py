"""Memory of a fold is independent of the model size and the number of sites."""

import tracemalloc

import pytest

from federation.model import DType, TensorSpec, manifest_of
from hub_manager.aggregator.numerics.algorithms import Aggregation, Combination, Median, TrimmedMean, WeightedMean, Yogi
from hub_manager.aggregator.numerics.fold import Folding, Slot, fold


class Zeros:
    """Model of any size whose values are all zero."""

    def read_into(self, _: int, into: memoryview) -> None:
        into[:] = bytes(len(into))


def allocated(combination: Combination, parameters: int, sites: int) -> int:
    manifest = manifest_of([TensorSpec("w", DType.FLOAT32, (parameters,))])
    aggregation = Aggregation(combination, Yogi(0.1))
    folding = Folding(manifest, aggregation, [Zeros()] * sites, [1] * sites, Zeros(), [Slot(Zeros())] * 2)
    tracemalloc.start()
    try:
        assert fold(folding, lambda _: None, [lambda _: None] * 2) is None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "combination", [WeightedMean(), Median(), TrimmedMean(0.2)], ids=lambda found: type(found).__name__
)
def test_memory_is_limited_to_a_few_blocks(combination: Combination) -> None:
    small, many, large = (allocated(combination, *size) for size in ((300_000, 3), (300_000, 16), (3_000_000, 3)))
    assert max(small, many, large) < 8 << 20
    assert abs(large - small) < 1 << 20
