"""Build a Collaborator's status from the site's verdict, the Job and its pods. Pure.

Only the status reaches the hub, as scalars that a ManifestWork feeds back. It reports the result of an ended Job while
its attempt is the requested one, even if the site's policy no longer admits it. It keeps the last failure after the Job
or its pods are gone. Messages from outside the user's container are redacted of the Dataset's volume (`redaction`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from federation.api.collaborator import (
    ACCEPTED,
    FINISHED,
    RUNNING,
    Collaborator,
    CollaboratorExit,
    CollaboratorState,
    CollaboratorStatus,
)
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob
from federation.api.meta import Condition, condition_of, is_true
from federation.kube.conditions import merge_condition
from federation.runtime_contract import CONTAINER
from spoke_agent.collaborator.planning import admission
from spoke_agent.collaborator.planning.container_exit import (
    clean,
    ended_well,
    exit_of,
    has_stopped,
    in_words,
    reason_of,
    terminated,
)
from spoke_agent.collaborator.planning.redaction import VolumeRedaction

JOB_COMPLETE: Final = "Complete"
JOB_FAILED: Final = "Failed"


class CollaboratorReason(StrEnum):
    """Reasons of the conditions `Running` and `Finished`, beside those of a runtime, a kubelet or the Job."""

    NOT_ACCEPTED = "NotAccepted"
    """The site has not accepted the request; the condition `Accepted` has the cause."""
    WAITING_FOR_AGGREGATOR = "WaitingForAggregator"
    """The hub has not set the aggregator's address yet."""
    JOB_PENDING = "JobPending"
    """The Job is being created, or an earlier Job or its pod is being deleted."""
    JOB_REFUSED = "JobRefused"
    """The site's API server rejects the Job, for example by a quota or an admission policy."""
    NAME_TAKEN = "NameTaken"
    """Another owner's object has the name of this Collaborator's Job or NetworkPolicy."""
    POD_PENDING = "PodPending"
    """The Job's pod is missing, or reports no state."""
    UNSCHEDULABLE = "Unschedulable"
    """No node of the site can run the pod."""
    RETRYING = "Retrying"
    """A container has failed, and the Job will start another."""
    RUNNING = "ContainerRunning"
    """The container is running."""
    SUCCEEDED = "Succeeded"
    """The collaborator has succeeded."""
    ENDED = "Ended"
    """The container has ended; the condition `Finished` has the result."""
    NOT_FINISHED = "NotFinished"
    """The Job has not finished."""


@dataclass(frozen=True, slots=True)
class JobProblem:
    """Cause that prevents the creation of a Job."""

    reason: CollaboratorReason
    message: str


@dataclass(frozen=True, slots=True)
class StateSummary:
    """State with its reason and message."""

    state: CollaboratorState
    reason: str
    message: str
    ended: CollaboratorExit | None = None


_ENDED_WELL: Final = StateSummary(
    CollaboratorState.SUCCEEDED, CollaboratorReason.SUCCEEDED, "the collaborator has succeeded"
)


def has_ended(job: SiteJob) -> bool:
    """Return whether the Job is complete or failed, and starts no more containers."""
    return is_true(job.status.conditions, JOB_COMPLETE) or is_true(job.status.conditions, JOB_FAILED)


def build_status(
    collaborator: Collaborator,
    verdict: admission.AdmissionVerdict,
    job: SiteJob | None,
    pods: Sequence[CollaboratorPod],
    now: datetime,
    *,
    dataset: Dataset | None,
    problem: JobProblem | None = None,
) -> CollaboratorStatus:
    """Build the status to write.

    Args:
        collaborator: The Collaborator with its current status.
        verdict: The site's decision on the request.
        job: The Collaborator's Job of the requested attempt; None if it is missing.
        pods: The pods of that Job.
        now: The time of a condition that changes.
        dataset: The requested Dataset, whose volume is redacted; None if it is missing.
        problem: The cause that prevents the Job; None if nothing does.
    """
    redaction = VolumeRedaction(dataset, pods, image=collaborator.spec.image)
    redacted_pods = tuple(map(redaction.redact_pod, pods))
    summary = _summary(collaborator, verdict, job, redacted_pods, _redacted(problem, redaction))
    before = collaborator.status
    generation = collaborator.metadata.generation
    conditions: tuple[Condition, ...] = before.conditions
    for condition in _conditions(verdict, summary):
        due = msgspec.structs.replace(condition, observed_generation=generation)
        conditions = merge_condition(conditions, due, now=now)
    return CollaboratorStatus(
        observed_generation=generation,
        run_id=clean(collaborator.spec.run.attempt),
        state=summary.state,
        reason=summary.reason,
        message=summary.message,
        approval=verdict.approval if isinstance(verdict, admission.RequestPending) else "",
        restarts=0 if job is None else job.status.failed,
        exit=summary.ended or CollaboratorExit(),
        conditions=conditions,
    )


def _redacted(problem: JobProblem | None, redaction: VolumeRedaction) -> JobProblem | None:
    """Redact a rejection by the API server, which may quote the Job; other problems are unchanged."""
    if problem is None or problem.reason is not CollaboratorReason.JOB_REFUSED:
        return problem
    return replace(problem, message=redaction.redact(problem.message))


def _summary(
    collaborator: Collaborator,
    verdict: admission.AdmissionVerdict,
    job: SiteJob | None,
    pods: Sequence[CollaboratorPod],
    problem: JobProblem | None,
) -> StateSummary:
    ended = _last_exit(collaborator, pods)
    if job is not None and has_ended(job):
        return _summary_of_ended_job(job, ended)
    match verdict:
        case admission.RequestRejected(reason, message):
            return StateSummary(CollaboratorState.REFUSED, reason, clean(message), ended)
        case admission.RequestPending(message, _):
            return StateSummary(
                CollaboratorState.PENDING, admission.AdmissionReason.APPROVAL_PENDING, clean(message), ended
            )
        case admission.RequestAccepted():
            if collaborator.spec.aggregator is None:
                return StateSummary(
                    CollaboratorState.ACCEPTED,
                    CollaboratorReason.WAITING_FOR_AGGREGATOR,
                    "waiting for the address of the run's aggregator",
                    ended,
                )
            if problem is not None:
                return StateSummary(CollaboratorState.STARTING, problem.reason, clean(problem.message), ended)
            return _summary_of_running_job(job, pods, ended)
        case _:
            assert_never(verdict)


def _summary_of_ended_job(job: SiteJob, ended: CollaboratorExit | None) -> StateSummary:
    failed = condition_of(job.status.conditions, JOB_FAILED)
    if failed is None or failed.status != "True":
        return _ENDED_WELL
    if ended is None or failed.reason == "DeadlineExceeded":
        reason = reason_of(failed.reason, "JobFailed")
        return StateSummary(CollaboratorState.FAILED, reason, clean(failed.message), ended)
    return StateSummary(CollaboratorState.FAILED, ended.reason, in_words(ended), ended)


def _summary_of_running_job(
    job: SiteJob | None, pods: Sequence[CollaboratorPod], ended: CollaboratorExit | None
) -> StateSummary:
    if job is None:
        return StateSummary(
            CollaboratorState.STARTING, CollaboratorReason.JOB_PENDING, "the Job is being created", ended
        )
    for pod in pods:
        if any(each.name == CONTAINER and each.state.running for each in pod.status.container_statuses):
            return StateSummary(
                CollaboratorState.RUNNING, CollaboratorReason.RUNNING, "the collaborator is running", ended
            )
    if any(ended_well(pod) for pod in pods):  # the Job controller has not updated the Job yet
        return _ENDED_WELL
    alive = [pod for pod in pods if terminated(pod) is None and not has_stopped(pod)]
    waiting = _waiting(alive[-1]) if alive else None
    if waiting is not None:
        return StateSummary(CollaboratorState.STARTING, waiting.reason, waiting.message, ended)
    if ended is not None:
        return StateSummary(CollaboratorState.RETRYING, CollaboratorReason.RETRYING, in_words(ended), ended)
    return StateSummary(CollaboratorState.STARTING, CollaboratorReason.POD_PENDING, "the Job has no pod yet", ended)


def _waiting(pod: CollaboratorPod) -> StateSummary | None:
    """Return why the pod's container is not running; None if the pod reports no cause."""
    for each in pod.status.conditions:
        if each.type == "PodScheduled" and each.status == "False":
            reason = reason_of(each.reason, CollaboratorReason.UNSCHEDULABLE)
            return StateSummary(CollaboratorState.STARTING, reason, clean(each.message))
    for status in pod.status.container_statuses:
        if status.name == CONTAINER and status.state.waiting is not None and status.state.waiting.reason:
            waiting = status.state.waiting
            words = waiting.message or f"the container is waiting: {waiting.reason}"
            return StateSummary(
                CollaboratorState.STARTING, reason_of(waiting.reason, CollaboratorReason.POD_PENDING), clean(words)
            )
    return None


def _last_exit(collaborator: Collaborator, pods: Sequence[CollaboratorPod]) -> CollaboratorExit | None:
    """Return the newest failure of the pods, or else the failure of this attempt in the current status."""

    def when(pod: CollaboratorPod) -> tuple[str, str]:
        ended = terminated(pod)
        at = "" if ended is None else ended.finished_at or ""
        return at or pod.metadata.creation_timestamp, pod.metadata.name

    for pod in sorted(pods, key=when, reverse=True):
        ended = exit_of(pod)
        if ended is not None:
            return ended
    before = collaborator.status
    remembered = before.run_id == collaborator.spec.run.attempt and before.exit.reason
    return before.exit if remembered else None


def _conditions(verdict: admission.AdmissionVerdict, summary: StateSummary) -> tuple[Condition, ...]:
    state = summary.state
    ended = state in {CollaboratorState.SUCCEEDED, CollaboratorState.FAILED}
    accepted = isinstance(verdict, admission.RequestAccepted)
    if state is CollaboratorState.RUNNING:
        running = Condition(type=RUNNING, status="True", reason=summary.reason, message=summary.message)
    elif ended:
        message = "the collaborator has ended"
        running = Condition(type=RUNNING, status="False", reason=CollaboratorReason.ENDED, message=message)
    elif not accepted:
        message = "the site does not take part"
        running = Condition(type=RUNNING, status="False", reason=CollaboratorReason.NOT_ACCEPTED, message=message)
    else:
        running = Condition(type=RUNNING, status="False", reason=summary.reason, message=summary.message)
    finished = (
        Condition(type=FINISHED, status="True", reason=summary.reason, message=summary.message)
        if ended
        else Condition(
            type=FINISHED, status="False", reason=CollaboratorReason.NOT_FINISHED, message="the Job has not finished"
        )
    )
    return _acceptance(verdict), running, finished


def _acceptance(verdict: admission.AdmissionVerdict) -> Condition:
    match verdict:
        case admission.RequestAccepted():
            message = "the request meets the site's terms"
            return Condition(
                type=ACCEPTED, status="True", reason=admission.AdmissionReason.MEETS_POLICY, message=message
            )
        case admission.RequestPending(message, _):
            return Condition(
                type=ACCEPTED, status="False", reason=admission.AdmissionReason.APPROVAL_PENDING, message=clean(message)
            )
        case admission.RequestRejected(reason, message):
            return Condition(type=ACCEPTED, status="False", reason=reason, message=clean(message))
        case _:
            assert_never(verdict)
