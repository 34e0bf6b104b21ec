"""How updates become the next model: the combination of what the sites sent, and the server's step from it.

All arithmetic is in float64, coordinate by coordinate, in the order of the cohort, and each result is rounded once to
the model's own type. No operation here depends on where a block begins or how long it is, so the result is the same to
the last bit for any block size. Zero is always +0: a negative zero would make a minimum depend on its position.

Combinations: `WeightedMean` (McMahan et al. 2017, FedAvg); `Median` and `TrimmedMean` of each coordinate (Yin et al.
2018), in which every site has one voice whatever its weight. Server steps: `Momentum` (Hsu et al. 2019, FedAvgM),
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
    """The mean of what is left when the smallest and the largest values are dropped."""

    ratio: float
    """Of the values, how many are dropped at either end, rounded down; from 0 to below 0.5."""

    def dropped(self, values: int) -> int:
        """Values dropped at either end; at least one is left."""
        return min(math.floor(self.ratio * values), (values - 1) // 2)


Combination: TypeAlias = WeightedMean | Median | TrimmedMean


@dataclass(frozen=True, slots=True)
class Momentum:
    """`m = beta m + d`, `x = x + rate m`, where `d` is the combination less the model."""

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
    """What a run does with a round's updates."""

    combination: Combination = WeightedMean()
    optimizer: Optimizer | None = None
    """None: the combination is the next model."""

    @property
    def slots(self) -> tuple[str, ...]:
        """What the optimizer keeps from round to round, each a float64 for every element of the model."""
        match self.optimizer:
            case None:
                return ()
            case Momentum():
                return ("first-moment",)
            case Adam() | Yogi():
                return ("first-moment", "second-moment")
        assert_never(self.optimizer)

    def initial(self, slot: str) -> float:
        """What every coordinate of a slot starts from."""
        adaptive = isinstance(self.optimizer, Adam | Yogi) and slot == "second-moment"
        return self.optimizer.tau**2 if adaptive and not isinstance(self.optimizer, Momentum | None) else 0.0


def combined(combination: Combination, rows: Iterable[Floats], weights: Sequence[int], scratch: Doubles) -> Doubles:
    """One block of all updates, combined.

    Args:
        combination: How.
        rows: For each update, in the cohort's order, `[block] float32` or `float64`, all finite; a row may be
            overwritten once the next one is asked for.
        weights: For each update, at least 1; used by `WeightedMean` alone.
        scratch: `[2, block] float64`, overwritten: what a mean allocates for each block costs more than the mean.

    Returns:
        `[block] float64`, maybe in `scratch`; infinite where a sum overflows.
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
        raise ValueError("there is nothing to combine")
    total: Doubles = scratch[0]
    term: Doubles = scratch[1]
    for index, (row, weight) in enumerate(zip(rows, weights, strict=True)):
        # Widened first and multiplied in place: NumPy is a third slower when it does both at once.
        np.copyto(term, row)
        np.multiply(term, np.float64(weight), out=term)
        np.add(term, total if index else 0.0, out=total)
    return np.divide(total, np.float64(sum(weights)), out=total)


def _mean_of_ranks(rows: Iterable[Floats], count: int, ranks: range) -> Doubles:
    """The mean, summed from the smallest on, of the values of these ranks in sorted order."""
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
    """The server's step for one block.

    Args:
        optimizer: Which.
        base: `[block] float64`, the model that the round started from.
        aggregate: `[block] float64`, the combination of the updates.
        slots: For each of `Aggregation.slots`, `[block] float64` as the round before left it.

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
