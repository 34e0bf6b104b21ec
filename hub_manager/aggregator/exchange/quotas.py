"""How much one peer may ask for, so that it can't starve the others: pure bookkeeping, with the time as an argument."""

from dataclasses import dataclass, field
from enum import Enum

from hub_manager.aggregator.rate_limit import Bucket


class CallKind(Enum):
    """What a call holds on to while it lasts."""

    WORK = "work"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    QUESTION = "question"
    """Join, QueryOffset and ReportMetrics: answered at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may have. An honest collaborator needs a fraction of each."""

    open_calls: int = 4
    """Of the kinds `DOWNLOAD` and `QUESTION`; of `WORK` and `UPLOAD` there is one, the newest."""
    calls_per_second: float = 40.0
    """In the long run. A collaborator makes some ten calls a round, and of a small model several rounds a second."""
    burst: int = 120
    """At once, after a pause: reconnecting after a cut, with as many metrics as a plan has tasks."""
    sendings: float = 4.0
    """How often an upload's announced bytes may arrive per round, counted in whole uploads: resends after cuts."""


@dataclass(slots=True)
class Allowance:
    """What a peer has sent for one round, beside what it may: a resent upload is honest, an endless one is not."""

    round: int = -1
    received: int = 0

    def grant(self, round_: int, size: int, sendings: float) -> int:
        """The bytes that may still arrive for the round; a new round begins with all of them.

        Args:
            round_: The upload's round.
            size: Of the whole upload, in bytes.
            sendings: How many times that may arrive.
        """
        if round_ != self.round:
            self.round, self.received = round_, 0
        return int(size * sendings) - self.received

    def count(self, size: int) -> None:
        """That many bytes have arrived."""
        self.received += size


@dataclass(slots=True)
class Tally:
    """What is kept of one peer while the process lives."""

    calls: Bucket
    allowance: Allowance = field(default_factory=Allowance)


@dataclass(slots=True)
class Tallies:
    """A tally for each peer, bounded by the number of clusters that hold a certificate."""

    limits: Limits
    of_peers: dict[str, Tally] = field(default_factory=dict)

    def of(self, peer: str, now: float) -> Tally:
        """The peer's tally, a fresh one at first sight."""
        tally = self.of_peers.get(peer)
        if tally is None:
            tally = Tally(Bucket(self.limits.calls_per_second, self.limits.burst, self.limits.burst, now))
            self.of_peers[peer] = tally
        return tally
