"""A merged condition moves its transition time only when its status moves."""

from datetime import UTC, datetime
from typing import Any

import pytest

from federation.api.meta import Condition
from federation.kube.conditions import merge_condition

EARLIER = "2030-01-01T00:00:00Z"
NOW = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def ready(status: Any = "True", reason: str = "Up", since: str = "") -> Condition:
    return Condition(type="Ready", status=status, reason=reason, last_transition_time=since)


@pytest.mark.parametrize(
    ("present", "new", "since"),
    [
        pytest.param([], ready(), "2030-01-02T03:04:05Z", id="first"),
        pytest.param([ready(since=EARLIER)], ready(), EARLIER, id="unchanged"),
        pytest.param([ready(since=EARLIER)], ready(reason="Healed"), EARLIER, id="another-reason"),
        pytest.param([ready(since=EARLIER)], ready("False"), "2030-01-02T03:04:05Z", id="another-status"),
        pytest.param([ready()], ready(), "2030-01-02T03:04:05Z", id="time-was-missing"),
        pytest.param([ready(since=EARLIER)], ready(since="1999-01-01T00:00:00Z"), EARLIER, id="time-brought-along"),
    ],
)
def test_transition_time(present: list[Condition], new: Condition, since: str) -> None:
    (merged,) = merge_condition(present, new, now=NOW)
    assert merged.last_transition_time == since
    assert (merged.status, merged.reason) == (new.status, new.reason)


def test_other_conditions_keep_their_place() -> None:
    others = (Condition(type="A", status="True"), ready("False", since=EARLIER), Condition(type="B", status="True"))
    merged = merge_condition(others, ready(), now=NOW)
    assert [condition.type for condition in merged] == ["A", "Ready", "B"]
    assert (merged[0], merged[2]) == (others[0], others[2])


def test_merging_again_changes_nothing() -> None:
    once = merge_condition([], ready(), now=NOW)
    assert merge_condition(once, ready(), now=datetime(2031, 1, 1, tzinfo=UTC)) == once
