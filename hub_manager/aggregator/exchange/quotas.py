"""How much one peer may ask for, so that it can't starve the others: pure bookkeeping, with the time as an argument."""

from dataclasses import dataclass, field
from enum import Enum

from hub_manager.aggregator.rate_limit import TokenBucket


class CallKind(Enum):
    """What a call holds on to while it lasts."""

    WORK = "work"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    QUESTION = "question"
    """Join, QueryOffset and ReportMetrics: answered at once."""


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """What one peer may have. An honest collaborator needs a fraction of each."""

    open_calls: int = 4
    """Of the kinds `DOWNLOAD` and `QUESTION`; of `WORK` and `UPLOAD` there is one, the newest."""
    calls_per_second: float = 40.0
    """In the long run. A collaborator makes some ten calls a round, and of a small model several rounds a second."""
    burst: int = 120
    """At once, after a pause: reconnecting after a cut, with as many metrics as a plan has tasks."""
    max_resends: float = 4.0
    """How often an upload's announced bytes may arrive per round, counted in whole uploads: resends after cuts."""


@dataclass(slots=True)
class UploadBudget:
    """What a peer has sent for one round, beside what it may: a resent upload is honest, an endless one is not."""

    round: int = -1
    received: int = 0

    def grant(self, round_: int, size: int, max_resends: float) -> int:
        """The bytes that may still arrive for the round; a new round begins with all of them.

        Args:
            round_: The upload's round.
            size: Of the whole upload, in bytes.
            max_resends: How many times that may arrive.
        """
        if round_ != self.round:
            self.round, self.received = round_, 0
        return int(size * max_resends) - self.received

    def count(self, size: int) -> None:
        """That many bytes have arrived."""
        self.received += size


@dataclass(slots=True)
class PeerQuota:
    """What is kept of one peer while the process lives."""

    calls: TokenBucket
    allowance: UploadBudget = field(default_factory=UploadBudget)


@dataclass(slots=True)
class PeerQuotas:
    """A tally for each peer, bounded by the number of clusters that hold a certificate."""

    limits: ExchangeLimits
    of_peers: dict[str, PeerQuota] = field(default_factory=dict)

    def of(self, peer: str, now: float) -> PeerQuota:
        """The peer's tally, a fresh one at first sight."""
        tally = self.of_peers.get(peer)
        if tally is None:
            tally = PeerQuota(TokenBucket(self.limits.calls_per_second, self.limits.burst, self.limits.burst, now))
            self.of_peers[peer] = tally
        return tally
