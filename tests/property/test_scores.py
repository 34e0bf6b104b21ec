"""Scores mean the same at every site: more is never worth less, the small tell apart, nothing leaves the bounds."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke_agent.claims.planning.resources import GIB, Amounts, FreeResources
from spoke_agent.claims.planning.scores import (
    CPU_SCALE,
    GPU_SCALE,
    LATER,
    MEMORY_SCALE,
    RENEWAL,
    SOON,
    VALIDITY,
    Scale,
    Written,
    due_in,
    scores_of,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
scales = st.sampled_from([CPU_SCALE, MEMORY_SCALE, GPU_SCALE])
amounts = st.decimals(min_value=0, max_value=10**16, places=3)


@given(scales, amounts, amounts)
def test_more_is_never_worth_less_and_stays_within_bounds(scale: Scale, one: Decimal, other: Decimal) -> None:
    less, more = sorted((one, other))

    assert -100 <= scale.score(less) <= scale.score(more) <= 100


@given(scales, st.floats(0, 1))
def test_twice_as_much_is_worth_more_at_every_size_below_the_top(scale: Scale, part: float) -> None:
    amount = scale.unit + (scale.most / 2 - scale.unit) * Decimal(part)

    assert scale.score(amount * 2) >= scale.score(amount) + 5


@given(scales)
def test_nothing_is_the_lowest_and_the_most_is_the_highest(scale: Scale) -> None:
    assert (scale.score(Decimal(0)), scale.score(scale.most), scale.score(scale.most * 9)) == (-100, 100, 100)


def test_ordinary_memory_sizes_do_not_saturate() -> None:
    scores = [MEMORY_SCALE.score(Decimal(gib * GIB)) for gib in (1, 4, 16, 64, 256, 1024, 4096)]

    assert scores == sorted(set(scores))
    assert scores[-1] < 100


def test_an_idle_cluster_of_two_cores_outranks_a_busy_one() -> None:
    def free(cpu: str) -> FreeResources:
        return FreeResources(cluster=Amounts(cpu=Decimal(cpu)), node=Amounts(cpu=Decimal(cpu)))

    idle, busy = scores_of(free("1.8")), scores_of(free("0.8"))

    assert idle["freeCPU"] >= busy["freeCPU"] + 10
    assert idle["freeCPUOnOneNode"] >= busy["freeCPUOnOneNode"] + 10


@pytest.mark.parametrize(
    ("score", "age", "wait"),
    [
        (50, timedelta(0), RENEWAL),
        (50, RENEWAL, timedelta(0)),
        (51, timedelta(0), LATER),
        (49, LATER, timedelta(0)),
        (53, timedelta(0), SOON),
        (47, timedelta(seconds=2), SOON - timedelta(seconds=2)),
        (80, timedelta(hours=1), timedelta(0)),
    ],
    ids=["same", "same but old", "slight", "slight and waited", "notable", "notable, part waited", "overdue"],
)
def test_small_changes_wait_longer_than_notable_ones(score: int, age: timedelta, wait: timedelta) -> None:
    written = Written({"freeCPU": 50, "freeGPU": -100}, NOW - age)

    assert due_in({"freeCPU": score, "freeGPU": -100}, written, NOW) == wait


def test_the_first_scores_and_new_names_are_written_at_once() -> None:
    assert due_in({"freeCPU": 1}, None, NOW) == timedelta(0)
    assert due_in({"freeCPU": 1, "new": 1}, Written({"freeCPU": 1}, NOW), NOW) == timedelta(0)


@given(st.dictionaries(st.sampled_from("abc"), st.integers(-100, 100)), st.integers(0, 10**6))
def test_scores_never_wait_until_they_expire(scores: dict[str, int], age: int) -> None:
    written = Written(dict.fromkeys(scores, 0), NOW - timedelta(seconds=age))

    assert due_in(scores, written, NOW) <= max(timedelta(0), written.at + VALIDITY / 2 - NOW)
