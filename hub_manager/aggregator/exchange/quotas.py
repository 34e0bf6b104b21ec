"""Quotas of each peer, so that no peer can starve the others; pure, with the time as an argument."""

from dataclasses import dataclass, field
from enum import Enum

from hub_manager.aggregator.rate_limit import TokenBucket


class CallKind(Enum):
    """Kind of a call, by the resource that it uses."""

    WORK = "work"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    QUESTION = "question"
    """Join, QueryOffset and ReportMetrics, which are answered at once."""


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """Limits for one peer. An honest collaborator uses a fraction of each."""

    open_calls: int = 4
    """Open calls of the kinds `DOWNLOAD` and `QUESTION`; of `WORK` and `UPLOAD` only the newest call stays open."""
    calls_per_second: float = 40.0
    """Long-term rate. A collaborator makes about ten calls a round, and with a small model several rounds a second."""
    burst: int = 120
    """Calls at once after a pause, as after a reconnection with the metrics of all tasks."""
    max_resends: float = 4.0
    """Limit of the bytes received for an upload per round, as a multiple of its size, which allows for resends."""


@dataclass(slots=True)
class UploadBudget:
    """Bytes that a peer has sent for one round; allows resends, but no endless upload."""

    round: int = -1
    received: int = 0

    def grant(self, round_: int, size: int, max_resends: float) -> int:
        """Return the bytes that the peer may still send for the round; a new round resets the count.

        Args:
            round_: The upload's round.
            size: Of the whole upload, in bytes.
            max_resends: Multiple of the size that the peer may send.
        """
        if round_ != self.round:
            self.round, self.received = round_, 0
        return int(size * max_resends) - self.received

    def count(self, size: int) -> None:
        """Add received bytes."""
        self.received += size


@dataclass(slots=True)
class PeerQuota:
    """Quota of one peer, kept while the process runs."""

    calls: TokenBucket
    upload_budget: UploadBudget = field(default_factory=UploadBudget)


@dataclass(slots=True)
class PeerQuotas:
    """The quotas of all peers; their number is limited by the clusters that have a certificate."""

    limits: ExchangeLimits
    of_peers: dict[str, PeerQuota] = field(default_factory=dict)

    def of(self, peer: str, now: float) -> PeerQuota:
        """Return the peer's quota, and create it for a new peer."""
        quota = self.of_peers.get(peer)
        if quota is None:
            quota = PeerQuota(TokenBucket(self.limits.calls_per_second, self.limits.burst, self.limits.burst, now))
            self.of_peers[peer] = quota
        return quota
