"""Build the aggregator's part of a run's `status` from the engine's state; pure.

The hub manager owns the phase, the conditions and its own fields of each cluster. This module sets only the fields
that `federation.api.run_status` assigns to the aggregator, so that server-side apply keeps the two owners apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from federation.api.run_status import (
    ClusterMetric,
    ClusterStatus,
    FederatedLearningStatus,
    Metric,
    ModelStatus,
    RunFailure,
)
from federation.kube.conditions import rfc3339
from federation.kube.resource import Json
from hub_manager.aggregator.rounds.records import MetricsCounted
from hub_manager.aggregator.rounds.state import Phase, State


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Values of the status that are not in the state, gathered while the process runs."""

    location: str = ""
    """The run's folder, relative to the volume's root."""
    seen: Mapping[str, datetime] | None = None
    """Time of each cluster's last call."""
    metrics: tuple[Metric, ...] = ()
    """Metrics of the last complete round."""
    contributions: Mapping[str, tuple[int, int]] | None = None
    """Round and samples of each cluster's last update."""
    pace: timedelta | None = None
    """Mean duration of a round, if known."""


def status_of(state: State, reported: ReportInputs, now: datetime) -> Json:
    """Build the aggregator's part of the status, without empty fields."""
    rounds = state.parameters.rounds
    left = rounds - state.model_round
    going = state.ended is None and reported.pace is not None
    status = FederatedLearningStatus(
        round=state.reported_round,
        rounds=rounds,
        progress_percent=100 * state.model_round // rounds,
        estimated_completion_time=rfc3339(now + left * reported.pace) if going and reported.pace is not None else "",
        clusters=_clusters(state, reported),
        metrics=reported.metrics,
        model=_model(state, reported.location),
        failure=_failure(state),
    )
    built: Json = msgspec.to_builtins(status)
    return built


def metrics_of(state: State, before: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Return the metrics of the last complete round; an open round is complete once every member has reported.

    Args:
        state: The run.
        before: The metrics of the previous status.
    """
    measured = all(state.measured(peer) for peer in state.roster)
    if not state.metrics or (state.phase in {Phase.COLLECTING, Phase.EVALUATING} and not measured):
        return before
    return tuple(
        Metric(
            task=metric.task,
            name=metric.name,
            value=metric.mean,
            round=0 if state.is_final_evaluation else state.round,
            clusters=tuple(ClusterMetric(name=site, value=value) for site, value in metric.sites),
        )
        for metric in round_metrics(state.metrics.values())
    )


def _clusters(state: State, reported: ReportInputs) -> tuple[ClusterStatus, ...]:
    seen, contributions = reported.seen or {}, reported.contributions or {}
    known = [name for name in state.cohort if name in seen or name in contributions]
    return tuple(
        ClusterStatus(
            name=name,
            round=contributions.get(name, (0, 0))[0],
            samples=contributions.get(name, (0, 0))[1],
            last_seen=rfc3339(seen[name]) if name in seen else "",
        )
        for name in known
    )


def _model(state: State, location: str) -> ModelStatus | None:
    if state.model is None or state.manifest is None:
        return None
    file = f"{location}/checkpoints/round-{state.model_round:06}/model.safetensors"
    return ModelStatus(location=file, digest=state.model, size=state.manifest.nbytes, round=state.model_round)


def _failure(state: State) -> RunFailure | None:
    if state.ended is None or state.ended.failure is None:
        return None
    return RunFailure(reason=state.ended.failure.value, message=state.ended.message)


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
    """Compute a round's metrics, sorted by task and name; cluster order makes the sums reproducible to the bit.

    Args:
        reported: As the state of a run has them, in any order.
    """
    entries_by_metric: dict[tuple[str, str], list[tuple[str, int, float]]] = {}
    for report in sorted(reported, key=lambda report: report.peer):
        # A name that a site reports twice counts once, as its last.
        for name, value in {metric.name: metric.value for metric in report.metrics}.items():
            entries_by_metric.setdefault((report.task, name), []).append((report.peer, report.samples, value))
    return tuple(_summed(task, name, entries) for (task, name), entries in sorted(entries_by_metric.items()))


def _summed(task: str, name: str, entries: list[tuple[str, int, float]]) -> RoundMetric:
    total = sum(samples for _, samples, _ in entries)
    # Each share is taken first: finite values can't overflow on the way to a mean that lies between them.
    mean = sum(value * (samples / total) for _, samples, value in entries)
    return RoundMetric(task, name, mean, tuple((peer, value) for peer, _, value in entries))
