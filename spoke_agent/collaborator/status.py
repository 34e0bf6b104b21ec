"""What a Collaborator's status says: from the site's verdict, the Job and its pods. Pure.

The status is the only thing that reaches the hub, as scalars that a ManifestWork feeds back. A Job that has ended says
how for as long as its attempt is the one asked for, even when the site's terms no longer admit it; of one that is gone
or whose pods are, the last that was seen of a failure stays. What others than the user's container say is told without
what the Dataset says of its volume (`withheld`).
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
from spoke_agent.collaborator import admission
from spoke_agent.collaborator.container_exit import (
    clean,
    ended_well,
    exit_of,
    has_stopped,
    in_words,
    reason_of,
    terminated,
)
from spoke_agent.collaborator.redaction import Withheld

JOB_COMPLETE: Final = "Complete"
JOB_FAILED: Final = "Failed"


class Reason(StrEnum):
    """Reasons of the conditions `Running` and `Finished`, beside those that a runtime, a kubelet or the Job brings."""

    NOT_ACCEPTED = "NotAccepted"
    """The condition `Accepted` says why."""
    WAITING_FOR_AGGREGATOR = "WaitingForAggregator"
    """The hub has named no aggregator yet."""
    JOB_PENDING = "JobPending"
    """The Job is being made, or an earlier one or its pod is going."""
    JOB_REFUSED = "JobRefused"
    """The site's API server won't take the Job: a quota, an admission policy, a quantity."""
    NAME_TAKEN = "NameTaken"
    """Something that is not this Collaborator's has the name of its Job or NetworkPolicy."""
    POD_PENDING = "PodPending"
    """The Job's pod is not there, or says nothing of itself."""
    UNSCHEDULABLE = "Unschedulable"
    """No node of the site takes the pod."""
    RETRYING = "Retrying"
    """A container has failed, and another is due."""
    RUNNING = "ContainerRunning"
    """The container runs."""
    SUCCEEDED = "Succeeded"
    """The collaborator has ended well."""
    ENDED = "Ended"
    """The container doesn't run any more; the condition `Finished` says how it ended."""
    NOT_FINISHED = "NotFinished"
    """The Job has not ended."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a Job that should be there from being there."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Account:
    """The state with its reason in words."""

    state: CollaboratorState
    reason: str
    message: str
    ended: CollaboratorExit | None = None


_ENDED_WELL: Final = Account(CollaboratorState.SUCCEEDED, Reason.SUCCEEDED, "the collaborator has ended well")


def has_ended(job: SiteJob) -> bool:
    """Whether the Job will start no container any more."""
    return is_true(job.status.conditions, JOB_COMPLETE) or is_true(job.status.conditions, JOB_FAILED)


def report(
    collaborator: Collaborator,
    verdict: admission.Verdict,
    job: SiteJob | None,
    pods: Sequence[CollaboratorPod],
    now: datetime,
    *,
    dataset: Dataset | None,
    trouble: Trouble | None = None,
) -> CollaboratorStatus:
    """The status to write.

    Args:
        collaborator: As it is, its present status included.
        verdict: What the site's terms say of it.
        job: Its own Job of the attempt asked for, None where there is none.
        pods: That Job's pods.
        now: The time of a condition that changes.
        dataset: The Dataset that it asks for, whose volume the hub isn't told; None where there is none.
        trouble: What keeps the Job from being made, where something does.
    """
    withheld = Withheld(dataset, pods, image=collaborator.spec.image)
    told = tuple(map(withheld.out_of_pod, pods))
    account = _account(collaborator, verdict, job, told, _as_told(trouble, withheld))
    before = collaborator.status
    generation = collaborator.metadata.generation
    conditions: tuple[Condition, ...] = before.conditions
    for condition in _conditions(verdict, account):
        due = msgspec.structs.replace(condition, observed_generation=generation)
        conditions = merge_condition(conditions, due, now=now)
    return CollaboratorStatus(
        observed_generation=generation,
        run_id=clean(collaborator.spec.run.attempt),
        state=account.state,
        reason=account.reason,
        message=account.message,
        approval=verdict.approval if isinstance(verdict, admission.Pending) else "",
        restarts=0 if job is None else job.status.failed,
        exit=account.ended or CollaboratorExit(),
        conditions=conditions,
    )


def _as_told(trouble: Trouble | None, withheld: Withheld) -> Trouble | None:
    """The trouble; what the API server has refused, it may have quoted."""
    if trouble is None or trouble.reason is not Reason.JOB_REFUSED:
        return trouble
    return replace(trouble, message=withheld.out_of(trouble.message))


def _account(
    collaborator: Collaborator,
    verdict: admission.Verdict,
    job: SiteJob | None,
    pods: Sequence[CollaboratorPod],
    trouble: Trouble | None,
) -> Account:
    ended = _last_exit(collaborator, pods)
    if job is not None and has_ended(job):
        return _account_of_the_end(job, ended)
    match verdict:
        case admission.Refused(reason, message):
            return Account(CollaboratorState.REFUSED, reason, clean(message), ended)
        case admission.Pending(message, _):
            return Account(CollaboratorState.PENDING, admission.Reason.APPROVAL_PENDING, clean(message), ended)
        case admission.Accepted():
            if collaborator.spec.aggregator is None:
                return Account(
                    CollaboratorState.ACCEPTED, Reason.WAITING_FOR_AGGREGATOR, "waits for the run's aggregator", ended
                )
            if trouble is not None:
                return Account(CollaboratorState.STARTING, trouble.reason, clean(trouble.message), ended)
            return _account_of_the_job(job, pods, ended)
        case _:
            assert_never(verdict)


def _account_of_the_end(job: SiteJob, ended: CollaboratorExit | None) -> Account:
    failed = condition_of(job.status.conditions, JOB_FAILED)
    if failed is None or failed.status != "True":
        return _ENDED_WELL
    if ended is None or failed.reason == "DeadlineExceeded":
        reason = reason_of(failed.reason, "JobFailed")
        return Account(CollaboratorState.FAILED, reason, clean(failed.message), ended)
    return Account(CollaboratorState.FAILED, ended.reason, in_words(ended), ended)


def _account_of_the_job(
    job: SiteJob | None, pods: Sequence[CollaboratorPod], ended: CollaboratorExit | None
) -> Account:
    if job is None:
        return Account(CollaboratorState.STARTING, Reason.JOB_PENDING, "the Job is being made", ended)
    for pod in pods:
        if any(each.name == CONTAINER and each.state.running for each in pod.status.container_statuses):
            return Account(CollaboratorState.RUNNING, Reason.RUNNING, "the collaborator runs", ended)
    if any(ended_well(pod) for pod in pods):  # its Job is complete in a moment
        return _ENDED_WELL
    alive = [pod for pod in pods if terminated(pod) is None and not has_stopped(pod)]
    waiting = _waiting(alive[-1]) if alive else None
    if waiting is not None:
        return Account(CollaboratorState.STARTING, waiting.reason, waiting.message, ended)
    if ended is not None:
        return Account(CollaboratorState.RETRYING, Reason.RETRYING, in_words(ended), ended)
    return Account(CollaboratorState.STARTING, Reason.POD_PENDING, "the Job's pod is not there yet", ended)


def _waiting(pod: CollaboratorPod) -> Account | None:
    """Why the pod's container doesn't run; None where the pod doesn't say."""
    for each in pod.status.conditions:
        if each.type == "PodScheduled" and each.status == "False":
            reason = reason_of(each.reason, Reason.UNSCHEDULABLE)
            return Account(CollaboratorState.STARTING, reason, clean(each.message))
    for status in pod.status.container_statuses:
        if status.name == CONTAINER and status.state.waiting is not None and status.state.waiting.reason:
            waiting = status.state.waiting
            words = waiting.message or f"the container waits: {waiting.reason}"
            return Account(CollaboratorState.STARTING, reason_of(waiting.reason, Reason.POD_PENDING), clean(words))
    return None


def _last_exit(collaborator: Collaborator, pods: Sequence[CollaboratorPod]) -> CollaboratorExit | None:
    """The newest failure that there is evidence of, or the one that was told of this attempt before."""

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


def _conditions(verdict: admission.Verdict, account: Account) -> tuple[Condition, ...]:
    state = account.state
    ended = state in {CollaboratorState.SUCCEEDED, CollaboratorState.FAILED}
    accepted = isinstance(verdict, admission.Accepted)
    if state is CollaboratorState.RUNNING:
        running = Condition(type=RUNNING, status="True", reason=account.reason, message=account.message)
    elif ended:
        message = "the collaborator has ended"
        running = Condition(type=RUNNING, status="False", reason=Reason.ENDED, message=message)
    elif not accepted:
        message = "the site does not take part"
        running = Condition(type=RUNNING, status="False", reason=Reason.NOT_ACCEPTED, message=message)
    else:
        running = Condition(type=RUNNING, status="False", reason=account.reason, message=account.message)
    finished = (
        Condition(type=FINISHED, status="True", reason=account.reason, message=account.message)
        if ended
        else Condition(type=FINISHED, status="False", reason=Reason.NOT_FINISHED, message="the Job has not ended")
    )
    return _acceptance(verdict), running, finished


def _acceptance(verdict: admission.Verdict) -> Condition:
    match verdict:
        case admission.Accepted():
            message = "the request meets the site's terms"
            return Condition(type=ACCEPTED, status="True", reason=admission.Reason.MEETS_POLICY, message=message)
        case admission.Pending(message, _):
            return Condition(
                type=ACCEPTED, status="False", reason=admission.Reason.APPROVAL_PENDING, message=clean(message)
            )
        case admission.Refused(reason, message):
            return Condition(type=ACCEPTED, status="False", reason=reason, message=clean(message))
        case _:
            assert_never(verdict)
