"""Parse times of a run's status and spec; malformed values have a fallback and never raise.

The hub manager writes the times in a status, but a holder of the aggregator's token can overwrite them. The durations
in a spec come from the user.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from federation.api.federated_learning import LONGEST_SPAN
from federation.api.meta import Condition

NEVER: Final = datetime.max.replace(tzinfo=UTC)


def moment(text: str, otherwise: datetime) -> datetime:
    """Parse an RFC 3339 time, in UTC if it has no zone; return `otherwise` for invalid text."""
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return otherwise


def later(begin: datetime, seconds: int) -> datetime:
    """Add seconds to a time, at most the longest span that the CRD admits."""
    try:
        return begin + timedelta(seconds=min(seconds, LONGEST_SPAN))
    except OverflowError:
        return NEVER


def since(condition: Condition | None, otherwise: datetime) -> datetime:
    """Return the time since which the condition has its status; `otherwise` if that is unknown."""
    return otherwise if condition is None else moment(condition.last_transition_time, otherwise)
