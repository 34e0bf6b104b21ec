"""Moments of a run out of its status and spec: whatever others have written there, each is one that can be compared.

The times in a status are the hub manager's, and yet the aggregator's token may overwrite them; the spans in a spec are
the user's. Neither may bring a pass to its end.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from federation.api.federated_learning import LONGEST_SPAN
from federation.api.meta import Condition

NEVER: Final = datetime.max.replace(tzinfo=UTC)


def moment(text: str, otherwise: datetime) -> datetime:
    """The moment that the text names, in UTC where it says nothing of a zone; `otherwise` where it names none."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return otherwise


def later(begin: datetime, seconds: int) -> datetime:
    """So many seconds after the beginning; a span above the longest that the CRD admits counts as that."""
    try:
        return begin + timedelta(seconds=min(seconds, LONGEST_SPAN))
    except OverflowError:
        return NEVER


def since(condition: Condition | None, otherwise: datetime) -> datetime:
    """Since when the condition has its status."""
    return otherwise if condition is None else moment(condition.last_transition_time, otherwise)
