"""Token buckets, which limit a peer's calls and the log lines about its refusals."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class TokenBucket:
    """A token bucket; `taken_at` uses the caller's clock, in seconds."""

    rate: float
    burst: float
    tokens: float
    taken_at: float

    def take(self, now: float) -> bool:
        """Take one token and return True, or return False if none is left; a clock that goes back adds no tokens."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.taken_at) * self.rate)
        self.taken_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


LOG_BURST: Final = 5
"""Number of refusals of one peer for one reason that are logged without sampling."""
LOG_LINES_PER_SECOND: Final = 0.1
"""Rate after the burst: low, because a peer can cause refusals at no cost, but enough to show that they continue."""


@dataclass(slots=True)
class LogSampler:
    """Sampler of the log lines about refusals; its size is limited by the number of clusters and reasons."""

    buckets: dict[tuple[str | None, str], TokenBucket] = field(default_factory=dict)
    left_out: Counter[tuple[str | None, str]] = field(default_factory=Counter)

    def take(self, peer: str | None, reason: str, now: float) -> int | None:
        """Return the number of refusals omitted since the last line, or None to omit this refusal too.

        Args:
            peer: The cluster; None for a caller without a collaborator certificate.
            reason: The reason of the refusal.
            now: Seconds.
        """
        key = (peer, reason)
        if key not in self.buckets:
            self.buckets[key] = TokenBucket(LOG_LINES_PER_SECOND, LOG_BURST, LOG_BURST, now)
        if not self.buckets[key].take(now):
            self.left_out[key] += 1
            return None
        return self.left_out.pop(key, 0)
