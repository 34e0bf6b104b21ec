"""Aggregation algorithms: the combination of the sites' updates, and the server's step from it to the next model.

All arithmetic is in float64, coordinate by coordinate, in the order of the cohort. Each result is rounded once to the
model's element type. No operation depends on the start or the length of a block, so the result is the same to the last
bit for any block size. Zero is always +0: with a negative zero, a minimum would depend on its position.

Combinations: `WeightedMean` (McMahan et al. 2017, FedAvg); coordinate-wise `Median` and `TrimmedMean` (Yin et al.
2018), which ignore the weights. Server steps: `Momentum` (Hsu et al. 2019, FedAvgM),
`Adam` and `Yogi` (Reddi et al. 2021, Adaptive Federated Optimization, Algorithm 2, without bias correction; the first
moment starts at 0 and the second at tau squared).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from hub_manager.aggregator.numerics.dtypes import Floats
from hub_manager.aggregator.numerics.sorting_network import selecting_network

Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """The sum of weight times value, divided by the sum of the weights."""


@dataclass(frozen=True, slots=True)
class Median:
    """The middle value, or half the sum of the two in the middle."""


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """The mean of the values without the smallest and the largest ones."""

    ratio: float
    """Share of the values to drop at either end, rounded down; from 0 to below 0.5."""

    def dropped(self, values: int) -> int:
        """Return the number of values to drop at either end; at least one value is left."""
        return min(math.floor(self.ratio * values), (values - 1) // 2)


Combination: TypeAlias = WeightedMean | Median | TrimmedMean


@dataclass(frozen=True, slots=True)
class Momentum:
    """`m = beta m + d`, `x = x + rate m`, where `d` is the combination minus the model."""

    rate: float = 1.0
    beta: float = 0.9


@dataclass(frozen=True, slots=True)
class Adam:
    """`m = beta1 m + (1 - beta1) d`, `v = beta2 v + (1 - beta2) d²`, `x = x + rate m / (sqrt(v) + tau)`."""

    rate: float
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3


@dataclass(frozen=True, slots=True)
class Yogi:
    """As Adam, but `v = v - (1 - beta2) d² sign(v - d²)`."""

    rate: float
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3


Optimizer: TypeAlias = Momentum | Adam | Yogi


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Aggregation of a run: a combination and an optional server step."""

    combination: Combination = WeightedMean()
    optimizer: Optimizer | None = None
    """None: the combination is the next model."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the optimizer's slots, each of which keeps a float64 for every element of the model."""
        match self.optimizer:
            case None:
                return ()
            case Momentum():
                return ("first-moment",)
            case Adam() | Yogi():
                return ("first-moment", "second-moment")
        assert_never(self.optimizer)

    def initial(self, slot: str) -> float:
        """Return the value of a slot's coordinates before the first round."""
        adaptive = isinstance(self.optimizer, Adam | Yogi) and slot == "second-moment"
        return self.optimizer.tau**2 if adaptive and not isinstance(self.optimizer, Momentum | None) else 0.0


def combined(combination: Combination, rows: Iterable[Floats], weights: Sequence[int], scratch: Doubles) -> Doubles:
    """Combine one block of all updates.

    Args:
        combination: The combination to compute.
        rows: For each update, in the cohort's order, `[block] float32` or `float64`, all finite; a row may be
            overwritten once the next one is read.
        weights: For each update, at least 1; only `WeightedMean` uses them.
        scratch: `[2, block] float64`, overwritten; allocating it for each block would cost more than the mean itself.

    Returns:
        `[block] float64`, which may share memory with `scratch`; infinite where a sum overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        match combination:
            case WeightedMean():
                return _weighted_mean(rows, weights, scratch)
            case Median():
                count = len(weights)
                return _mean_of_ranks(rows, count, range((count - 1) // 2, count // 2 + 1))
            case TrimmedMean():
                count, dropped = len(weights), combination.dropped(len(weights))
                return _mean_of_ranks(rows, count, range(dropped, count - dropped))
    assert_never(combination)


def _weighted_mean(rows: Iterable[Floats], weights: Sequence[int], scratch: Doubles) -> Doubles:
    if not weights:
        raise ValueError("no updates to combine")
    total: Doubles = scratch[0]
    term: Doubles = scratch[1]
    for index, (row, weight) in enumerate(zip(rows, weights, strict=True)):
        # Widen first and multiply in place: in one step, NumPy is a third slower.
        np.copyto(term, row)
        np.multiply(term, np.float64(weight), out=term)
        np.add(term, total if index else 0.0, out=total)
    return np.divide(total, np.float64(sum(weights)), out=total)


def _mean_of_ranks(rows: Iterable[Floats], count: int, ranks: range) -> Doubles:
    """Compute the mean of the values with these ranks in sorted order, summed from the smallest to the largest."""
    wires: list[NDArray[Any]] = [row + row.dtype.type(0) for row in rows]
    spare = np.empty_like(wires[0])
    for low, high in selecting_network(count, frozenset(ranks)):
        np.minimum(wires[low], wires[high], out=spare)
        np.maximum(wires[low], wires[high], out=wires[high])
        wires[low], spare = spare, wires[low]
    total = wires[ranks[0]].astype(np.float64)
    for rank in ranks[1:]:
        np.add(total, wires[rank], out=total)
    return np.divide(total, np.float64(len(ranks)), out=total)


def stepped(optimizer: Optimizer, base: Doubles, aggregate: Doubles, slots: Sequence[Doubles]) -> list[Doubles]:
    """Take the server's step for one block.

    Args:
        optimizer: The optimizer to apply.
        base: `[block] float64`, the model that the round started from.
        aggregate: `[block] float64`, the combination of the updates.
        slots: For each of `Aggregation.slots`, `[block] float64` from the previous round.

    Returns:
        The next model, then each slot, all `[block] float64`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        change = aggregate - base
        match optimizer:
            case Momentum():
                first = optimizer.beta * slots[0] + change
                return [base + optimizer.rate * first, first]
            case Adam():
                squared = change * change
                second = optimizer.beta2 * slots[1] + (1 - optimizer.beta2) * squared
            case Yogi():
                squared = change * change
                second = slots[1] - (1 - optimizer.beta2) * squared * np.sign(slots[1] - squared)
            case _:
                assert_never(optimizer)
        first = optimizer.beta1 * slots[0] + (1 - optimizer.beta1) * change
        return [base + optimizer.rate * first / (np.sqrt(second) + optimizer.tau), first, second]
