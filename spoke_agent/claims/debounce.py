"""Slow facts told slowly: a change of a capacity claim counts only once it has lasted. Pure.

A node that is not ready for ten seconds would otherwise write the ManagedCluster twice, and make the hub schedule every
Placement of its sets twice. What was never told before is told at once, so a new site is usable as soon as it is up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

SETTLING: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A value that differs from what is told, and since when it does; `None` stands for the claim's absence."""

    value: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What to tell now, what is still waiting, and when the first of it is due."""

    claims: Mapping[str, str]
    waiting: Mapping[str, Unsettled] = field(default_factory=dict)
    due: datetime | None = None


def settle(
    observed: Mapping[str, str], told: Mapping[str, str], waiting: Mapping[str, Unsettled], now: datetime
) -> Settled:
    """The claims to tell, given what is observed now.

    Args:
        observed: What the cluster looks like, claim to value.
        told: Our claims as they are.
        waiting: What was waiting the last time.
        now: The time.
    """
    claims: dict[str, str] = {}
    still: dict[str, Unsettled] = {}
    for name in sorted(observed.keys() | told.keys()):
        value, present = observed.get(name), told.get(name)
        if value != present and present is not None:
            before = waiting.get(name)
            unsettled = before if before is not None and before.value == value else Unsettled(value, now)
            if now < unsettled.since + SETTLING:
                still[name] = unsettled
                value = present
        if value is not None:
            claims[name] = value
    return Settled(claims, still, min((each.since + SETTLING for each in still.values()), default=None))
