"""The engine's fold and the plain reference agree to the last bit, for every aggregation, type and block size."""

import math
from itertools import count
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model import DType, TensorSpec, manifest_of
from hub_manager.aggregator.numerics.algorithms import (
    Adam,
    Aggregation,
    Median,
    Momentum,
    TrimmedMean,
    WeightedMean,
    Yogi,
)
from hub_manager.aggregator.numerics.dtypes import all_finite, decoded, encoded
from hub_manager.aggregator.numerics.fold import Diverged, Folding, Slot, fold
from hub_manager.aggregator.numerics.sorting_network import merge_exchange, selecting_network
from tests.support.builders.models import MIXED, Held, elements, packed, rounded, unpacked
from tests.support.exchange.reference_fold import (
    ROUNDING,
    Combine,
    Server,
    median,
    reference_round,
    trimmed_mean,
    weighted_mean,
)

TYPES = {tensor.name: tensor.dtype.value for tensor in MIXED.tensors}
NUMBERS = st.one_of(st.floats(-100, 100), st.sampled_from((0.0, -0.0, 1e-7, -1e-40, 1.0, 3e4)))
SPECIAL = (0.0, -0.0, 1e-7, -1e-40, 1.0, 3e4)


def any_model(random: Random) -> dict[str, list[float]]:
    """Draw numbers of all magnitudes, with ties and zeros of either sign."""
    draw = (
        random.choice(SPECIAL) if random.random() < 0.2 else random.gauss(0, 10 ** random.randint(-6, 3))
        for _ in count()
    )
    return rounded(MIXED, [next(draw) for _ in range(elements(MIXED))])


AGGREGATIONS: dict[str, tuple[Aggregation, Combine, tuple[str, float, float, float, float] | None]] = {
    "mean": (Aggregation(), weighted_mean, None),
    "median": (Aggregation(Median()), median, None),
    "trimmed": (Aggregation(TrimmedMean(0.2)), trimmed_mean(0.2), None),
    "momentum": (Aggregation(WeightedMean(), Momentum(0.7, 0.9)), weighted_mean, ("momentum", 0.7, 0.9, 0.0, 0.0)),
    "adam": (Aggregation(WeightedMean(), Adam(0.1)), weighted_mean, ("adam", 0.1, 0.9, 0.99, 1e-3)),
    "yogi": (Aggregation(WeightedMean(), Yogi(0.1)), weighted_mean, ("yogi", 0.1, 0.9, 0.99, 1e-3)),
    "yogi of medians": (Aggregation(Median(), Yogi(0.1)), median, ("yogi", 0.1, 0.9, 0.99, 1e-3)),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32), sites=st.integers(1, 9), block_bytes=st.sampled_from((1, 8, 24, 1 << 18)))
def test_three_rounds_equal_the_reference(name: str, seed: int, sites: int, block_bytes: int) -> None:
    aggregation, combine, optimizer = AGGREGATIONS[name]
    server = Server(*optimizer) if optimizer is not None else None
    random = Random(seed)  # noqa: S311 -- numbers for a test
    model = any_model(random)
    raw = packed(MIXED, model)
    slots = [Slot(None) for _ in aggregation.slots]
    for _ in range(3):
        updates = [(any_model(random), random.randint(1, 10_000)) for _ in range(sites)]
        model = reference_round(model, updates, TYPES, combine, server)
        sources = [Held(packed(MIXED, update)) for update, _ in updates]
        folding = Folding(MIXED, aggregation, sources, [weight for _, weight in updates], Held(raw), slots)
        written, kept = bytearray(), [bytearray() for _ in slots]
        assert fold(folding, written.extend, [into.extend for into in kept], block_bytes=block_bytes) is None
        raw, slots = bytes(written), [Slot(Held(bytes(slot))) for slot in kept]
        assert raw == packed(MIXED, model)


@pytest.mark.parametrize("name", ["adam", "yogi"])
@pytest.mark.parametrize("change", [1e21, 1e38], ids=str)
def test_change_whose_square_exceeds_float32_is_folded(name: str, change: float) -> None:
    manifest = manifest_of([TensorSpec("w", DType.FLOAT32, (3,)), TensorSpec("b", DType.BFLOAT16, (2,))])
    types = {tensor.name: tensor.dtype.value for tensor in manifest.tensors}
    aggregation, combine, optimizer = AGGREGATIONS[name]
    assert optimizer is not None
    server = Server(*optimizer)
    model = rounded(manifest, [0.5] * elements(manifest))
    raw = packed(manifest, model)
    slots = [Slot(None) for _ in aggregation.slots]
    for sent in (0.25, change, 0.25):
        update = rounded(manifest, [sent] * elements(manifest))
        model = reference_round(model, [(update, 1)], types, combine, server)
        folding = Folding(manifest, aggregation, [Held(packed(manifest, update))], [1], Held(raw), slots)
        written, kept = bytearray(), [bytearray() for _ in slots]
        assert fold(folding, written.extend, [into.extend for into in kept]) is None
        raw, slots = bytes(written), [Slot(Held(bytes(slot))) for slot in kept]
        assert raw == packed(manifest, model)


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=elements(MIXED), max_size=elements(MIXED)))
def test_values_survive_encoding(numbers: list[float]) -> None:
    model = rounded(MIXED, numbers)
    assert unpacked(MIXED, packed(MIXED, model)) == model


@pytest.mark.parametrize("dtype", DType)
@settings(deadline=None)
@given(st.lists(st.floats(-6e4, 6e4), min_size=1, max_size=40))
def test_encoding_rounds_as_ieee_754(dtype: DType, numbers: list[float]) -> None:
    found = decoded(encoded(np.array(numbers), dtype).tobytes(), dtype)
    assert found.tolist() == [ROUNDING[dtype.value](number) for number in numbers]


@pytest.mark.parametrize("wires", range(1, 9))
def test_network_sorts_every_sequence_of_zeros_and_ones(wires: int) -> None:
    # A network that sorts these sorts everything (Knuth 5.3.4, the 0-1 principle).
    for word in range(1 << wires):
        bits = [word >> wire & 1 for wire in range(wires)]
        for low, high in merge_exchange(wires):
            bits[low], bits[high] = min(bits[low], bits[high]), max(bits[low], bits[high])
        assert bits == sorted(bits)


@settings(deadline=None)
@given(st.lists(st.integers(), min_size=1, max_size=33), st.data())
def test_pruned_network_puts_the_wanted_ranks_in_place(values: list[int], data: st.DataObject) -> None:
    wanted = data.draw(st.frozensets(st.integers(0, len(values) - 1), min_size=1))
    wires = list(values)
    for low, high in selecting_network(len(values), wanted):
        wires[low], wires[high] = min(wires[low], wires[high]), max(wires[low], wires[high])
    assert all(wires[rank] == sorted(values)[rank] for rank in wanted)


@pytest.mark.parametrize("dtype", DType)
@settings(deadline=None)
@given(data=st.data())
def test_single_non_finite_value_is_found(dtype: DType, data: st.DataObject) -> None:
    numbers = np.array(data.draw(st.lists(st.floats(-6e4, 6e4), min_size=1, max_size=100)))
    assert all_finite(encoded(numbers, dtype).tobytes(), dtype)
    numbers[data.draw(st.integers(0, len(numbers) - 1))] = data.draw(st.sampled_from((math.nan, math.inf, -math.inf)))
    assert not all_finite(encoded(numbers, dtype).tobytes(), dtype)


def test_values_whose_sum_overflows_are_finite() -> None:
    assert all_finite(np.full(100, 3e38, np.float32).tobytes(), DType.FLOAT32)
    assert all_finite(np.full(100, 1.7e308).tobytes(), DType.FLOAT64)


def test_overflowing_model_is_named_and_not_written() -> None:
    model = rounded(MIXED, [1.0] * elements(MIXED))
    large = {**model, "half": [6e4] * 3}
    written = bytearray()
    aggregation = Aggregation(WeightedMean(), Momentum(2.0, 0.9))
    sources = [Held(packed(MIXED, large))]
    folding = Folding(MIXED, aggregation, sources, [1], Held(packed(MIXED, model)), [Slot(None)])
    assert fold(folding, written.extend, [lambda _: None]) == Diverged("half")
    assert len(written) == sum(section.nbytes for section in MIXED.sections()[:2])
