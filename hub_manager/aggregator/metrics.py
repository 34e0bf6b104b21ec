"""The metrics of a round as its reader sees them: each site's own, and their mean weighted by samples."""

from collections.abc import Iterable
from dataclasses import dataclass

from hub_manager.aggregator.facts import MetricsCounted


@dataclass(frozen=True, slots=True)
class RoundMetric:
    """One metric of one task over all sites that reported it."""

    task: str
    name: str
    mean: float
    """Weighted by the samples that each site took it over."""
    sites: tuple[tuple[str, float], ...]
    """By cluster name, sorted."""


def round_metrics(reported: Iterable[MetricsCounted]) -> tuple[RoundMetric, ...]:
    """The metrics of a round, sorted by task and name; summed in the order of clusters, so always to the same bits.

    Args:
        reported: As the state of a run has them, in any order.
    """
    found: dict[tuple[str, str], list[tuple[str, int, float]]] = {}
    for report in sorted(reported, key=lambda report: report.peer):
        # A name that a site reports twice counts once, as its last.
        for name, value in {metric.name: metric.value for metric in report.metrics}.items():
            found.setdefault((report.task, name), []).append((report.peer, report.samples, value))
    return tuple(_summed(task, name, entries) for (task, name), entries in sorted(found.items()))


def _summed(task: str, name: str, entries: list[tuple[str, int, float]]) -> RoundMetric:
    total = sum(samples for _, samples, _ in entries)
    # Each share is taken first: finite values can't overflow on the way to a mean that lies between them.
    mean = sum(value * (samples / total) for _, samples, value in entries)
    return RoundMetric(task, name, mean, tuple((peer, value) for peer, _, value in entries))
