"""Token buckets: how often a peer may call, and how many log lines it may cause."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class TokenBucket:
    """A token bucket; `taken_at` is in the seconds of whoever asks."""

    rate: float
    burst: float
    tokens: float
    taken_at: float

    def take(self, now: float) -> bool:
        """Whether one more is allowed now; a clock that goes back gives nothing."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.taken_at) * self.rate)
        self.taken_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


LOG_BURST: Final = 5
"""Refusals of one peer for one reason that are each worth a line in the log."""
LOG_LINES_PER_SECOND: Final = 0.1
"""After those: enough to see that it goes on. A refusal costs a peer nothing, and the log is everybody's."""


@dataclass(slots=True)
class LogSampler:
    """Which refusals get a line of their own, bounded by the clusters that hold a certificate and by the reasons."""

    buckets: dict[tuple[str | None, str], TokenBucket] = field(default_factory=dict)
    left_out: Counter[tuple[str | None, str]] = field(default_factory=Counter)

    def take(self, peer: str | None, reason: str, now: float) -> int | None:
        """How many were left out since the last line, where this one is due; None where it is left out as well.

        Args:
            peer: A cluster; None for whoever is none.
            reason: Why the call was refused.
            now: Seconds.
        """
        key = (peer, reason)
        if key not in self.buckets:
            self.buckets[key] = TokenBucket(LOG_LINES_PER_SECOND, LOG_BURST, LOG_BURST, now)
        if not self.buckets[key].take(now):
            self.left_out[key] += 1
            return None
        return self.left_out.pop(key, 0)
