"""Compute placement scores from free resources, and the time at which they are due for a write. Pure.

A score means the same at every site: it grows with the logarithm of an absolute amount, from -100 for nothing to 100
for more than any cluster has. A linear scale with a cap, as OCM's resource-usage add-on has it, gives every cluster
above the cap the same 100 and the small ones hardly any difference; a share of the site's own capacity can't be
compared between sites. Here each doubling of the free amount adds the same number of points, at two cores and at two
thousand.

A written score makes the hub schedule Placements again, so small changes wait and are written together. Scores that
are not renewed expire (`validUntil`), and a Placement's add-on prioritizer then counts them as 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from spoke_agent.claims.planning.resources import GIB, FreeResources

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
    """A logarithmic scale: amounts far below `unit` hardly count, `most` scores the full 100."""

    unit: Decimal
    most: Decimal

    def score(self, free: Decimal) -> int:
        """Return the score of an amount, from -100 for 0 to 100 for `most`; it never decreases."""
        share = math.log2(1 + min(free, self.most) / self.unit) / math.log2(1 + self.most / self.unit)
        return round(LOWEST + (HIGHEST - LOWEST) * share)


CPU_SCALE: Final = Scale(unit=Decimal("0.1"), most=Decimal(10_000))
"""Cores: about 12 points for each doubling."""
MEMORY_SCALE: Final = Scale(unit=Decimal(GIB) / 8, most=Decimal(GIB) * 2**16)
"""Bytes, up to 64 TiB: about 10 points for each doubling."""
GPU_SCALE: Final = Scale(unit=Decimal(1), most=Decimal(1023))
"""Devices: 20 points for the first, and for each doubling."""


@dataclass(frozen=True, slots=True)
class Written:
    """Scores that the hub has, and the time of their write."""

    scores: Mapping[str, int]
    at: datetime


def scores_of(free: FreeResources) -> dict[str, int]:
    """Return the scores by name: `free…` of the whole cluster, `free…OnOneNode` of the largest possible pod."""
    return {
        "freeCPU": CPU_SCALE.score(free.cluster.cpu),
        "freeMemory": MEMORY_SCALE.score(free.cluster.memory),
        "freeGPU": GPU_SCALE.score(free.cluster.gpu),
        "freeCPUOnOneNode": CPU_SCALE.score(free.node.cpu),
        "freeMemoryOnOneNode": MEMORY_SCALE.score(free.node.memory),
        "freeGPUOnOneNode": GPU_SCALE.score(free.node.gpu),
    }


def due_in(scores: Mapping[str, int], written: Written | None, now: datetime) -> timedelta:
    """Return the time until the scores are due for a write; zero if they are due now.

    Args:
        scores: The current scores.
        written: The last write; None if this process has not written yet.
        now: The time.
    """
    if written is None or scores.keys() != written.scores.keys():
        return timedelta(0)
    change = max((abs(value - written.scores[name]) for name, value in scores.items()), default=0)
    wait = SOON if change >= NOTABLE else LATER if change else RENEWAL
    return max(timedelta(0), written.at + wait - now)
