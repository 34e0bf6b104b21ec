"""One run on a page, or runs in a table, as lines without escape sequences."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.api.run_status import ClusterStatus, FederatedLearningStatus, Metric
from kubectl_fl.doctor.remedies import conditions_needing_attention, remedy_for
from kubectl_fl.terminal_text import (
    format_age,
    format_bytes,
    format_duration,
    format_table,
    one_line,
    parse_timestamp,
    sanitize,
)

MAX_METRIC_COLUMNS: Final = 5
"""Maximum number of clusters with a metric column each; beyond it only the lowest and highest value are shown."""
_BAR_WIDTH: Final = 24
_MAX_ERROR_CHARACTERS: Final = 300
"""Maximum length of an error in the table; `kubectl fl logs` prints all of it."""


def render_run_table(runs: Iterable[FederatedLearning], now: datetime, *, everywhere: bool) -> list[str]:
    """Return a table with one line for each run."""
    rows = []
    for run in sorted(runs, key=lambda run: (run.metadata.namespace, run.metadata.name)):
        status, created = run.status, parse_timestamp(run.metadata.creation_timestamp)
        age = "-" if created is None else format_duration(now - created)
        row = [
            run.metadata.name,
            status.phase or "-",
            status.summary.round or "-",
            status.summary.clusters or "-",
            status.summary.metric or "-",
            age,
        ]
        rows.append([run.metadata.namespace, *row] if everywhere else row)
    if not rows:
        return ["No runs" if everywhere else "No runs in this namespace; use -A for all namespaces"]
    header = ["NAME", "PHASE", "ROUND", "CLUSTERS", "METRIC", "AGE"]
    return format_table(["NAMESPACE", *header] if everywhere else header, rows)


def render_run(run: FederatedLearning, now: datetime) -> list[str]:
    """Return the page of one run."""
    status = run.status
    lines = [*_headline(run, now), "", *_facts(run, now)]
    if attention := list(_attention(run)):
        lines += ["", "Needs attention", *attention]
    if status.clusters:
        lines += ["", *_clusters(status.clusters, now)]
    if status.metrics:
        lines += ["", *_metrics(status.metrics)]
    return lines


def _headline(run: FederatedLearning, now: datetime) -> Iterator[str]:
    status = run.status
    name = f"{run.metadata.namespace}/{run.metadata.name}"
    yield one_line(f"{name}   {status.phase or 'not observed by the hub manager yet'}{_progress(status, now)}")
    yield from (f"  {line}" for line in sanitize(status.message).splitlines())


def _progress(status: FederatedLearningStatus, now: datetime) -> str:
    if not status.rounds:
        return ""
    done = max(0, min(_BAR_WIDTH, status.progress_percent * _BAR_WIDTH // 100))
    bar = "#" * done + "." * (_BAR_WIDTH - done)
    end = parse_timestamp(status.estimated_completion_time)
    left = "" if end is None or status.completion_time or end <= now else f", about {format_duration(end - now)} left"
    return f"   [{bar}] round {status.round} of {status.rounds}, {status.progress_percent} %{left}"


def _facts(run: FederatedLearning, now: datetime) -> Iterator[str]:
    status = run.status
    if status.cohort:
        yield _fact("Cohort", f"{len(status.cohort)}: {', '.join(status.cohort)}")
    else:
        yield _fact("Cohort", f"not fixed; {run.spec.server.quorum} clusters required")
    if status.start_time:
        yield _fact("Started", f"{status.start_time} ({format_age(status.start_time, now)})")
    if status.completion_time:
        yield _fact("Ended", f"{status.completion_time} ({format_age(status.completion_time, now)})")
    if status.attempt > 1:
        yield _fact("Attempt", str(status.attempt))
    for listener in status.listeners:
        yield _fact("Listener", f"{listener.name} ({listener.type}) {listener.address}:{listener.port}")
    if status.model is not None and status.model.location:
        model = status.model
        storage = run.spec.server.storage
        where = f"{storage.type} {storage.name or storage.path}"
        yield _fact("Model", f"after round {model.round}, {format_bytes(model.size)}, {model.digest}")
        yield _fact("", f"{model.location} in {where}")


def _fact(name: str, value: str) -> str:
    return one_line(f"{name}:").ljust(10) + one_line(value) if name else " " * 10 + one_line(value)


def _attention(run: FederatedLearning) -> Iterator[str]:
    for condition in conditions_needing_attention(run.status.conditions):
        yield f"  {one_line(f'{condition.type} {condition.status}, {condition.reason}')}"
        if condition.message != run.status.message:
            yield from (f"    {line}" for line in sanitize(condition.message).splitlines())
        yield f"    -> {remedy_for(condition)}"
    if run.status.observed_generation < run.metadata.generation:
        yield "  The hub manager has not observed the current generation of the spec"
        yield "    -> if this persists, check that the hub manager is running"


def _clusters(clusters: Sequence[ClusterStatus], now: datetime) -> list[str]:
    rows = [
        [
            cluster.name,
            cluster.state or "-",
            str(cluster.round or "-"),
            str(cluster.samples or "-"),
            format_age(cluster.last_seen, now),
            _error(cluster),
        ]
        for cluster in clusters
    ]
    return format_table(["CLUSTER", "STATE", "ROUND", "SAMPLES", "LAST SEEN", "LAST ERROR"], rows)


def _error(cluster: ClusterStatus) -> str:
    if not cluster.last_error:
        return ""
    return one_line(f"{cluster.reason}: {cluster.last_error}" if cluster.reason else cluster.last_error)[
        :_MAX_ERROR_CHARACTERS
    ]


def _metrics(metrics: Sequence[Metric]) -> list[str]:
    sites = sorted({site.name for metric in metrics for site in metric.clusters})
    abreast = len(sites) <= MAX_METRIC_COLUMNS
    header = ["METRIC", "TASK", "ROUND", "WEIGHTED", *(map(one_line, sites) if abreast else ("LOWEST", "HIGHEST"))]
    rows = []
    for metric in metrics:
        row = [metric.name, metric.task, str(metric.round or "final"), format_metric(metric.value)]
        values = {site.name: site.value for site in metric.clusters}
        if abreast:
            row += [format_metric(values[site]) if site in values else "-" for site in sites]
        else:
            least, most = (
                min(values, key=values.__getitem__, default=""),
                max(values, key=values.__getitem__, default=""),
            )
            row += [f"{format_metric(values[name])} {name}" if name else "-" for name in (least, most)]
        rows.append(row)
    return format_table(header, rows)


def format_metric(value: float) -> str:
    """Format a metric's value with four significant digits."""
    return f"{value:.4g}"
