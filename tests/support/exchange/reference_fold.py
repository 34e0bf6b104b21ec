"""Reference implementation of the fold, one number at a time, which shares no code with the engine.

It uses only Python's floats, `sorted` and `struct`. Models are dictionaries of flat lists. The code is slow, but
easy to verify.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

Model: TypeAlias = Mapping[str, Sequence[float]]
"""Values by tensor name, already rounded to the tensor's type."""

Combine: TypeAlias = Callable[[Sequence[float], Sequence[int]], float]


def to_float64(value: float) -> float:
    return value


def to_float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def to_float16(value: float) -> float:
    return float(struct.unpack("<e", struct.pack("<e", value))[0])


def to_bfloat16(value: float) -> float:
    """Round to the upper half of a float32, to nearest with ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    lower, upper = bits & 0xFFFF, bits >> 16
    if lower > 0x8000 or (lower == 0x8000 and upper % 2 == 1):
        upper += 1
    return float(struct.unpack("<f", struct.pack("<I", upper << 16))[0])


ROUNDING: Mapping[str, Callable[[float], float]] = {
    "float64": to_float64,
    "float32": to_float32,
    "float16": to_float16,
    "bfloat16": to_bfloat16,
}


def weighted_mean(values: Sequence[float], weights: Sequence[int]) -> float:
    total = 0.0
    for value, weight in zip(values, weights, strict=True):
        total += float(weight) * value
    return total / float(sum(weights))


def median(values: Sequence[float], _: Sequence[int]) -> float:
    ranked = sorted(value + 0.0 for value in values)
    middle = len(ranked) // 2
    if len(ranked) % 2 == 1:
        return ranked[middle]
    return (ranked[middle - 1] + ranked[middle]) / 2.0


def trimmed_mean(ratio: float) -> Combine:
    def combine(values: Sequence[float], _: Sequence[int]) -> float:
        ranked = sorted(value + 0.0 for value in values)
        dropped = min(math.floor(ratio * len(ranked)), (len(ranked) - 1) // 2)
        left = ranked[dropped : len(ranked) - dropped]
        total = left[0]
        for value in left[1:]:
            total += value
        return total / float(len(left))

    return combine


class Server:
    """Server optimizer of a whole run: FedAvgM, FedAdam and FedYogi, as in the papers."""

    def __init__(self, kind: str, rate: float, beta1: float, beta2: float, tau: float) -> None:
        self.kind, self.rate, self.beta1, self.beta2, self.tau = kind, rate, beta1, beta2, tau
        self.first: dict[tuple[str, int], float] = {}
        self.second: dict[tuple[str, int], float] = {}

    def step(self, where: tuple[str, int], start: float, target: float) -> float:
        """Return the next value of one coordinate; the moments are kept unrounded."""
        change = target - start
        first = self.first.get(where, 0.0)
        second = self.second.get(where, self.tau**2)
        if self.kind == "momentum":
            first = self.beta1 * first + change
            self.first[where] = first
            return start + self.rate * first
        first = self.beta1 * first + (1 - self.beta1) * change
        if self.kind == "adam":
            second = self.beta2 * second + (1 - self.beta2) * (change * change)
        else:
            gap = second - change * change
            sign = 0.0 if gap == 0 else math.copysign(1.0, gap)
            second = second - (1 - self.beta2) * (change * change) * sign
        self.first[where], self.second[where] = first, second
        return start + self.rate * first / (math.sqrt(second) + self.tau)


def reference_round(
    base: Model,
    updates: Sequence[tuple[Model, int]],
    types: Mapping[str, str],
    combine: Combine,
    server: Server | None = None,
) -> dict[str, list[float]]:
    """Compute the model after a round.

    Args:
        base: The model before the round.
        updates: Each site's model and weight, in the order of the sites' names.
        types: The element type of each tensor.
        combine: Combines the sites' values of one coordinate.
        server: The server optimizer, which keeps its moments from round to round.
    """
    following: dict[str, list[float]] = {}
    weights = [weight for _, weight in updates]
    for name, start in base.items():
        rounding = ROUNDING[types[name]]
        following[name] = []
        for index, value in enumerate(start):
            target = combine([model[name][index] for model, _ in updates], weights)
            if server is not None:
                target = server.step((name, index), value, target)
            following[name].append(rounding(target))
    return following
