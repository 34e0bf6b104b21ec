"""What is free, as the numbers of an AddOnPlacementScore, and when they are worth a write. Pure.

A score means the same at every site: it grows with the logarithm of an absolute amount, from -100 for nothing to 100
for more than any cluster has. A linear scale with a cap, as OCM's resource-usage add-on has it, gives every cluster
above the cap the same 100 and the small ones hardly any difference; a share of the site's own capacity can't be
compared between sites. Here each doubling of what is free is worth the same number of points, at two cores and at two
thousand.

A written score makes the hub schedule Placements anew, so small changes wait and are written together. Scores that
nobody renews expire (`validUntil`), and a Placement's AddOn prioritizer then counts them as 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from spoke_agent.claims.resources import GIB, FreeResources

LOWEST: Final = -100
HIGHEST: Final = 100

VALIDITY: Final = timedelta(minutes=5)
RENEWAL: Final = VALIDITY / 2
"""Age at which unchanged scores are written again, so that one failed write doesn't let them expire."""
NOTABLE: Final = 3
"""Points by which a score must differ to be written soon: a quarter more or less of the CPU that is free."""
SOON: Final = timedelta(seconds=5)
LATER: Final = timedelta(minutes=1)
"""Least time between two writes, for notable and for other changes."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic scale: `unit` is where amounts begin to tell, `most` earns the full 100."""

    unit: Decimal
    most: Decimal

    def score(self, free: Decimal) -> int:
        """The score of an amount: never less for more, -100 for nothing, within -100 and 100."""
        share = math.log2(1 + min(free, self.most) / self.unit) / math.log2(1 + self.most / self.unit)
        return round(LOWEST + (HIGHEST - LOWEST) * share)


CPU_SCALE: Final = Scale(unit=Decimal("0.1"), most=Decimal(10_000))
"""Cores: some 12 points for each doubling."""
MEMORY_SCALE: Final = Scale(unit=Decimal(GIB) / 8, most=Decimal(GIB) * 2**16)
"""Bytes, up to 64 TiB: some 10 points for each doubling."""
GPU_SCALE: Final = Scale(unit=Decimal(1), most=Decimal(1023))
"""Devices: 20 points for the first, and for each doubling."""


@dataclass(frozen=True, slots=True)
class Written:
    """The scores that the hub has, and since when."""

    scores: Mapping[str, int]
    at: datetime


def scores_of(free: FreeResources) -> dict[str, int]:
    """The scores by name: `free…` for the cluster as a whole, `free…OnOneNode` for the best that one pod can have."""
    return {
        "freeCPU": CPU_SCALE.score(free.cluster.cpu),
        "freeMemory": MEMORY_SCALE.score(free.cluster.memory),
        "freeGPU": GPU_SCALE.score(free.cluster.gpu),
        "freeCPUOnOneNode": CPU_SCALE.score(free.node.cpu),
        "freeMemoryOnOneNode": MEMORY_SCALE.score(free.node.memory),
        "freeGPUOnOneNode": GPU_SCALE.score(free.node.gpu),
    }


def due_in(scores: Mapping[str, int], written: Written | None, now: datetime) -> timedelta:
    """How long the scores may wait before they are written; zero for now.

    Args:
        scores: What they are.
        written: What the hub has; None when this process hasn't written yet.
        now: The time.
    """
    if written is None or scores.keys() != written.scores.keys():
        return timedelta(0)
    change = max((abs(value - written.scores[name]) for name, value in scores.items()), default=0)
    wait = SOON if change >= NOTABLE else LATER if change else RENEWAL
    return max(timedelta(0), written.at + wait - now)
