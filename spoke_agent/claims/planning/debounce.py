"""Debounce capacity claims: publish a changed value only after it has lasted `SETTLING`. Pure.

Otherwise a node that is not ready for ten seconds would change the ManagedCluster twice, and the hub would schedule
every Placement of its sets twice. A claim that does not exist yet is published at once, so a new site can be selected
as soon as its agent runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

SETTLING: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A value that differs from the published one, and the time since it does; a value of None is a missing claim."""

    value: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """Claims to publish now, changes that wait, and the time at which the first of them is due."""

    claims: Mapping[str, str]
    waiting: Mapping[str, Unsettled] = field(default_factory=dict)
    due: datetime | None = None


def settle(
    observed: Mapping[str, str], published: Mapping[str, str], waiting: Mapping[str, Unsettled], now: datetime
) -> Settled:
    """Choose the claims to publish for the observed values.

    Args:
        observed: Observed values, claim name to value.
        published: The agent's current claims.
        waiting: Changes that waited in the last pass.
        now: The time.
    """
    claims: dict[str, str] = {}
    still: dict[str, Unsettled] = {}
    for name in sorted(observed.keys() | published.keys()):
        value, present = observed.get(name), published.get(name)
        if value != present and present is not None:
            before = waiting.get(name)
            unsettled = before if before is not None and before.value == value else Unsettled(value, now)
            if now < unsettled.since + SETTLING:
                still[name] = unsettled
                value = present
        if value is not None:
            claims[name] = value
    return Settled(claims, still, min((each.since + SETTLING for each in still.values()), default=None))
