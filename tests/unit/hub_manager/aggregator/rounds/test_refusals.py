"""Inputs that a run refuses, with their reasons; a later valid input is still counted."""

import math
from dataclasses import replace

import pytest

from hub_manager.aggregator import domain
from hub_manager.aggregator.domain import Metric
from hub_manager.aggregator.rounds import inputs
from hub_manager.aggregator.validation.refusal import UpdateRefusalReason
from tests.support.exchange.rounds import (
    MANIFEST,
    OTHER_MODEL,
    TASKS,
    World,
    announcement,
    opened,
    parameters,
    refusals,
)


def test_peer_whose_model_differs_from_the_initial_model_is_refused() -> None:
    world = World(parameters(), stored=None)
    world.join("c1", "c10")
    world.join("c2", manifest=OTHER_MODEL)
    world.send("c1", weight=0)
    world.fold()
    assert refusals(world.send("c2")) == [UpdateRefusalReason.WRONG_SHAPE]


BEGUN = {
    "other round": (replace(announcement("c1", 1), round=2), UpdateRefusalReason.OTHER_ROUND),
    "initial model after the start": (announcement("c1", 0), UpdateRefusalReason.OTHER_ROUND),
    "unknown task": (replace(announcement("c1", 1), task="steal"), UpdateRefusalReason.UNKNOWN_TASK),
    "validation as training": (replace(announcement("c1", 1), task=TASKS[0].name), UpdateRefusalReason.UNKNOWN_TASK),
    "a terabyte": (replace(announcement("c1", 1), size=1 << 40), UpdateRefusalReason.WRONG_SIZE),
    "a byte less": (replace(announcement("c1", 1), size=MANIFEST.nbytes - 1), UpdateRefusalReason.WRONG_SIZE),
    "no weight": (announcement("c1", 1, weight=0), UpdateRefusalReason.WEIGHT_OUT_OF_BOUNDS),
    "negative weight": (announcement("c1", 1, weight=-199), UpdateRefusalReason.WEIGHT_OUT_OF_BOUNDS),
    "huge weight": (announcement("c1", 1, weight=2**31 - 1), UpdateRefusalReason.WEIGHT_OUT_OF_BOUNDS),
    "path as digest": (replace(announcement("c1", 1), digest="../../x"), UpdateRefusalReason.MALFORMED_DIGEST),
    "digest and more": (
        replace(announcement("c1", 1), digest=announcement("c1", 1).digest + "\n"),
        UpdateRefusalReason.MALFORMED_DIGEST,
    ),
}


@pytest.mark.parametrize(("announced", "reason"), BEGUN.values(), ids=BEGUN.keys())
def test_update_is_counted_after_a_refused_one(announced: domain.Announcement, reason: UpdateRefusalReason) -> None:
    world = opened(tasks=TASKS)
    before = world.state
    assert refusals(world.see(inputs.UpdateBegun("c1", announced))) == [reason]
    assert world.state == before
    world.send("c1")
    assert "c1" in world.state.parts


def test_repeated_update_counts_once_and_a_different_one_is_refused() -> None:
    world = opened()
    world.send("c1")
    assert refusals(world.send("c1")) == [UpdateRefusalReason.REPEATED]
    assert refusals(world.see(inputs.UpdateBegun("c1", announcement("c2", 1)))) == [UpdateRefusalReason.REPLACED]
    assert UpdateRefusalReason.REPEATED.counted


def test_replay_of_an_older_round_is_refused() -> None:
    world = opened()
    for peer in world.parameters.cohort:
        world.send(peer)
    world.fold()
    assert refusals(world.see(inputs.UpdateBegun("c1", announcement("c1", 1)))) == [UpdateRefusalReason.OTHER_ROUND]


def test_update_that_was_not_announced_does_not_count() -> None:
    world = opened()
    assert refusals(world.see(inputs.UpdateComplete("c1", announcement("c1", 1)))) == [UpdateRefusalReason.NOT_EXPECTED]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_metric_is_refused_without_affecting_the_update(value: float) -> None:
    world = opened(tasks=TASKS)
    assert refusals(world.measure("c1", TASKS[0].name, value)) == [UpdateRefusalReason.METRIC_NOT_FINITE]
    world.send("c1")
    assert "c1" in world.state.parts


def named(name: str) -> Metric:
    return Metric(name, 1.0)


METRICS = {
    "unknown task": (domain.MetricsReported("c1", 1, "steal", 5, ()), UpdateRefusalReason.UNKNOWN_TASK),
    "other round": (domain.MetricsReported("c1", 2, TASKS[0].name, 5, ()), UpdateRefusalReason.OTHER_ROUND),
    "no samples": (domain.MetricsReported("c1", 1, TASKS[0].name, 0, ()), UpdateRefusalReason.WEIGHT_OUT_OF_BOUNDS),
    "too many": (
        domain.MetricsReported("c1", 1, TASKS[0].name, 5, (Metric("m", 1.0),) * 65),
        UpdateRefusalReason.TOO_MANY_METRICS,
    ),
    "name with a line's end": (
        domain.MetricsReported("c1", 1, TASKS[0].name, 5, (Metric("a\nb", 1.0),)),
        UpdateRefusalReason.METRIC_NAME,
    ),
    "name of 129 bytes": (
        domain.MetricsReported("c1", 1, TASKS[0].name, 5, (named("é" * 64 + "e"),)),
        UpdateRefusalReason.METRIC_NAME,
    ),
    "half a letter": (
        domain.MetricsReported("c1", 1, TASKS[0].name, 5, (named("\ud800"),)),
        UpdateRefusalReason.METRIC_NAME,
    ),
    "stranger": (domain.MetricsReported("c11", 1, TASKS[0].name, 5, ()), UpdateRefusalReason.NOT_IN_COHORT),
}


@pytest.mark.parametrize(("reported", "reason"), METRICS.values(), ids=METRICS.keys())
def test_refuses_metrics_by_name(reported: domain.MetricsReported, reason: UpdateRefusalReason) -> None:
    world = opened(tasks=TASKS)
    assert refusals(world.see(reported)) == [reason]


def test_metrics_with_names_of_maximum_length_are_counted() -> None:
    world = opened(tasks=TASKS)
    longest = tuple(named(f"{number:02}" + "é" * 63) for number in range(64))
    reported = domain.MetricsReported("c1", 1, TASKS[0].name, 5, longest)
    assert refusals(world.see(reported)) == []
    assert world.state.metrics["c1", TASKS[0].name].metrics == longest
