"""The changes between two observations of a run, one line each, and the result of an ended run."""

from collections.abc import Iterator
from dataclasses import dataclass

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import condition_of
from federation.api.run_status import COMPLETE, FAILED, FederatedLearningStatus
from kubectl_fl.terminal_text import one_line
from kubectl_fl.views.run_status import format_metric


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run that has ended."""

    well: bool
    cause: str
    """Reason and message of the condition."""


def run_result(run: FederatedLearning) -> RunResult | None:
    """Return the result of an ended run, or None.

    A result of an older generation is ignored: the hub manager may start a new attempt.
    """
    for kind, well in ((FAILED, False), (COMPLETE, True)):
        condition = condition_of(run.status.conditions, kind)
        if condition is not None and condition.status == "True":
            if run.status.observed_generation < run.metadata.generation:
                return None
            return RunResult(well, one_line(f"{condition.reason}: {condition.message}"))
    return None


def describe_changes(before: FederatedLearning | None, after: FederatedLearning) -> list[str]:
    """Return one line for each change; without an earlier observation, one for each known fact."""
    old = before.status if before is not None else FederatedLearningStatus()
    new = after.status
    if before is not None and old.attempt != new.attempt and old.attempt:
        old = FederatedLearningStatus(phase=old.phase)
    return [one_line(line) for line in _status_changes(old, new)]


def _status_changes(old: FederatedLearningStatus, new: FederatedLearningStatus) -> Iterator[str]:
    if (new.phase, new.message) != (old.phase, old.message) and new.phase:
        yield f"{new.phase}: {new.message}"
    if new.cohort != old.cohort and new.cohort:
        yield f"cohort: {len(new.cohort)} clusters: {', '.join(new.cohort)}"
    for listener in new.listeners:
        if listener not in old.listeners:
            yield f"listener {listener.name} listens on {listener.address}:{listener.port}"
    if new.round != old.round and new.round:
        yield f"round {new.round} of {new.rounds}"
    yield from _cluster_changes(old, new)
    if new.model is not None and (old.model is None or new.model.round != old.model.round):
        yield f"stored the model of round {new.model.round}, {new.model.digest}"
    for metric in new.metrics:
        if metric not in old.metrics:
            measured_in = f"round {metric.round}" if metric.round else "final evaluation"
            yield f"{measured_in}: {metric.task} {metric.name} {format_metric(metric.value)}"


def _cluster_changes(old: FederatedLearningStatus, new: FederatedLearningStatus) -> Iterator[str]:
    known = {cluster.name: cluster for cluster in old.clusters}
    for cluster in new.clusters:
        was = known.get(cluster.name)
        if was is not None and (was.state, was.reason, was.last_error) == (
            cluster.state,
            cluster.reason,
            cluster.last_error,
        ):
            continue
        if cluster.state:
            reason = f" ({cluster.reason})" if cluster.reason else ""
            error = f": {cluster.last_error}" if cluster.last_error else ""
            yield f"{cluster.name} is {cluster.state}{reason}{error}"
