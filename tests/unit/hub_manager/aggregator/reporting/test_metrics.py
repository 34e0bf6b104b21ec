"""Metrics of a round, per site and weighted."""

import pytest

from hub_manager.aggregator.domain import Metric
from hub_manager.aggregator.reporting.run_status import round_metrics
from hub_manager.aggregator.rounds.records import MetricsCounted


def report(peer: str, samples: int, *values: float, task: str = "validation") -> MetricsCounted:
    return MetricsCounted(peer, task, samples, tuple(Metric("accuracy", value) for value in values))


def test_mean_is_weighted_by_samples_and_keeps_values_of_each_site() -> None:
    (found,) = round_metrics([report("c2", 30, 0.9), report("c1", 10, 0.5)])
    assert (found.task, found.name, found.sites) == ("validation", "accuracy", (("c1", 0.5), ("c2", 0.9)))
    assert found.mean == pytest.approx(0.8)


def test_metrics_are_separated_by_task_and_independent_of_order() -> None:
    reports = [report("c1", 1, 0.1), report("c1", 1, 0.2, task="train"), report("c10", 7, 0.7)]
    assert round_metrics(reports) == round_metrics(reversed(reports))
    assert [found.task for found in round_metrics(reports)] == ["train", "validation"]


def test_largest_values_do_not_overflow_and_a_repeated_name_counts_once() -> None:
    (found,) = round_metrics([report("c1", 1 << 40, 1.0, 1.7e308), report("c2", 1 << 40, 1.7e308)])
    assert found.mean == pytest.approx(1.7e308)
    assert len(found.sites) == 2
