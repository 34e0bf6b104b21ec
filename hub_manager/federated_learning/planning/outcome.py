"""Determine how a run ended: from its Job, the aggregator's termination message and the reports of its clusters.

A missing Job does not count as an end: an end is recorded as a condition when it is observed.
"""

from dataclasses import dataclass

from federation.api.meta import condition_of, is_true
from federation.api.run_status import COMPLETE, FAILED, ClusterState, ClusterStatus
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning.cohort import able_count
from hub_manager.federated_learning.planning.conditions import RunReason
from hub_manager.federated_learning.planning.pod_diagnosis import last_failure


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of a run: the condition that becomes true, with its reason and message."""

    condition: str
    reason: str
    message: str


def outcome(
    observed: ObservedRun, attempt: int, clusters: tuple[ClusterStatus, ...], members: tuple[str, ...]
) -> Outcome | None:
    """Return the run's end, or None while it continues.

    Args:
        observed: The observed run.
        attempt: Number of the current attempt.
        clusters: Status of each cluster.
        members: The cohort.
    """
    job = observed.job_of(attempt)
    if job is not None and is_true(job.status.conditions, "Complete"):
        return Outcome(COMPLETE, RunReason.MODEL_STORED.value, _stored(observed))
    if job is not None and is_true(job.status.conditions, "Failed"):
        return _failed(observed, attempt)
    needed = observed.run.spec.server.round_quorum
    if able_count(clusters, members) < needed:
        first = next((c for c in clusters if c.name in members and c.state == ClusterState.FAILED.value), None)
        first = first or next((c for c in clusters if c.state == ClusterState.REFUSED.value), None)
        cause = "" if first is None else f"{first.name}: {first.reason}: {first.last_error}"
        message = f"Too many members have failed or refused: a round needs {needed} updates. {cause}"
        return Outcome(FAILED, RunReason.SITES_FAILED.value, message)
    return None


def _stored(observed: ObservedRun) -> str:
    run = observed.run
    model, storage = run.status.model, run.spec.server.storage
    where = f"{storage.type} {storage.name or storage.path}"
    if model is None:
        return f"All rounds are complete; the model is stored in {where}"
    details = f"{model.location} ({model.digest}, {model.size} bytes)"
    return f"All rounds are complete; the model is stored in {where}, {details}"


def _failed(observed: ObservedRun, attempt: int) -> Outcome:
    """Return the failure with the reason that the aggregator reported, if any."""
    failure = observed.run.status.failure
    if failure is not None and failure.reason:
        site = f"{failure.cluster}: " if failure.cluster else ""
        return Outcome(FAILED, failure.reason, site + failure.message)
    last = last_failure(observed.pods, attempt)
    if last is not None and last.reason:
        return Outcome(FAILED, last.reason, last.message)
    job = observed.job_of(attempt)
    failed = None if job is None else condition_of(job.status.conditions, "Failed")
    cause = "" if failed is None else f" ({failed.reason}: {failed.message})"
    detail = "" if last is None else f" {last.message}."
    message = (
        f"The aggregator ended without reporting a reason{cause}.{detail} Check that the images support the exchange "
        "protocol: remove spec.server.image to use the add-on's image, and base spec.client.image on a runtime's image"
    )
    return Outcome(FAILED, RunReason.AGGREGATOR_FAILED.value, message)
