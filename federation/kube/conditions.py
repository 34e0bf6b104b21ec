"""Merge conditions: the transition time changes only with the status.

Source: k8s.io/apimachinery `pkg/api/meta/conditions.go` (SetStatusCondition).
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from federation.api.meta import Condition, condition_of


def rfc3339(moment: datetime) -> str:
    """Format a time as Kubernetes does a `metav1.Time`: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime) -> str:
    """Format a time as Kubernetes does a `metav1.MicroTime`, for Leases: UTC, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def merge_condition(present: Iterable[Condition], new: Condition, *, now: datetime) -> tuple[Condition, ...]:
    """Replace the condition of the same type as `new`, or append `new`.

    Merging an equal condition changes nothing, so a writer can compare the result with `present` to decide whether to
    write. The transition time in `new` is ignored.
    """
    before = tuple(present)
    old = condition_of(before, new.type)
    moved = old is None or old.status != new.status or not old.last_transition_time
    since = rfc3339(now) if old is None or moved else old.last_transition_time
    merged = msgspec.structs.replace(new, last_transition_time=since)
    if old is None:
        return (*before, merged)
    return tuple(merged if condition is old else condition for condition in before)
