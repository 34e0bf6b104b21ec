"""Compute the wait before a retry."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with jitter, in seconds; `draw` returns numbers in [0, 1).

    The jitter only shortens the wait, by at most the fraction `jitter`, so that `cap` is the longest wait. Based on
    client-go's reflector (`tools/cache/reflector.go`, 0.8 s to 30 s), whose jitter lengthens it.
    """

    first: float = 0.8
    cap: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5
    draw: Callable[[], float] = random.random

    def delay(self, failures: int) -> float:
        """Return the wait after this number of consecutive failures, from 1 up."""
        exponent = min(max(failures - 1, 0), 64)
        return min(self.first * self.factor**exponent, self.cap) * (1 - self.jitter * self.draw())
