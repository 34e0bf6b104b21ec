"""Plan the next steps for one Collaborator from one observation of the site. Pure.

The NetworkPolicy comes before the Job, so that no container runs without it. A Job is never changed: one that was
created from other inputs is deleted, and the next is created once it is gone and no pod of the Collaborator's name
runs. So a site never has two collaborators in a run at once. A Job that has ended is kept until the hub asks for
another attempt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from federation.api.collaborator import (
    ACCEPTED,
    FINISHED,
    RUNNING,
    AggregatorAddress,
    Collaborator,
    CollaboratorStatus,
)
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob, SiteNetworkPolicy
from federation.api.meta import Resource
from federation.kube.actions import Apply, Create, Delete, ReconcilePlan
from federation.kube.kinds import COLLABORATOR, COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY
from federation.kube.resource import key_of
from spoke_agent.collaborator.planning import admission
from spoke_agent.collaborator.planning.container_exit import has_stopped
from spoke_agent.collaborator.planning.job import (
    INPUTS_ANNOTATION,
    RENDERED_ANNOTATION,
    RUN_ID_ANNOTATION,
    AgentLocation,
    inputs_digest,
    job,
    network_policy,
)
from spoke_agent.collaborator.planning.status import CollaboratorReason, JobProblem, build_status, has_ended

REFUSAL_RETRY: Final = 30.0
"""Seconds until a refused action is retried: quotas and permissions change, and no watch reports it."""
_OWN_CONDITIONS: Final = frozenset({ACCEPTED, RUNNING, FINISHED})

CollaboratorAction = Apply | Create | Delete


@dataclass(frozen=True, slots=True)
class ObservedCollaborator:
    """One Collaborator and the objects that concern it."""

    collaborator: Collaborator
    dataset: Dataset | None
    job: SiteJob | None
    """Any Job of the Collaborator's name, of any owner."""
    network_policy: SiteNetworkPolicy | None
    pods: tuple[CollaboratorPod, ...]
    """All pods with the Collaborator's label, of any owner."""
    refusal: str | None = None
    """The API server's message if it has refused an action of the plan for this observation."""


def plan(observed: ObservedCollaborator, site: AgentLocation, now: datetime) -> ReconcilePlan[CollaboratorAction]:
    """Plan the next actions and the status; after a refusal, only the status that reports it and the retry."""
    collaborator = observed.collaborator
    verdict = admission.review_request(collaborator, observed.dataset, now)
    own = observed.job if observed.job is not None and is_owned(observed.job, collaborator) else None
    current = own if own is not None and _attempt(own) == collaborator.spec.run.attempt else None
    pods = () if current is None else _in_order(pod for pod in observed.pods if _is_of(pod, current))
    ended = current is not None and has_ended(current)
    problem: JobProblem | None = None
    actions: tuple[CollaboratorAction, ...] = ()
    requeue_after: float | None = None
    if observed.refusal is not None:
        problem = JobProblem(
            CollaboratorReason.JOB_REFUSED, f"the site's API server rejected the request: {observed.refusal}"
        )
        requeue_after = REFUSAL_RETRY
    else:
        remaining: float | None = None
        if isinstance(verdict, admission.RequestAccepted) and verdict.until is not None:
            remaining = (verdict.until - now).total_seconds()
        if not ended and remaining is not None:
            requeue_after = max(0.0, remaining)
        match verdict:
            case admission.RequestAccepted(dataset) if collaborator.spec.aggregator is not None and not ended:
                problem = _name_conflict(observed) or _leftover_pod(observed)
                if problem is None:
                    actions = _start(observed, collaborator.spec.aggregator, dataset, site, remaining)
            case _:
                actions = _stop(observed, own, keep=ended)
    status = build_status(collaborator, verdict, current, pods, now, dataset=observed.dataset, problem=problem)
    return ReconcilePlan(
        actions=actions,
        status=None if status == collaborator.status else _status_write(collaborator, status),
        requeue_after=requeue_after,
    )


def is_owned(resource: Resource, collaborator: Collaborator) -> bool:
    """Return whether this Collaborator owns the object, and not an earlier one of its name."""
    return any(owner.uid == collaborator.metadata.uid for owner in resource.metadata.owner_references)


def _start(
    observed: ObservedCollaborator,
    aggregator: AggregatorAddress,
    dataset: Dataset,
    site: AgentLocation,
    remaining: float | None,
) -> tuple[CollaboratorAction, ...]:
    collaborator, present = observed.collaborator, observed.job
    if present is None:
        made = job(collaborator, aggregator, dataset, site, remaining=remaining)
        return (*_confine(observed, aggregator, site), Create(COLLABORATOR_JOB, key_of(collaborator), made))
    if present.metadata.deleting:
        return ()
    if not _made_from(present, collaborator, dataset):
        return (_job_deletion(present),)
    return _confine(observed, aggregator, site)


def _confine(
    observed: ObservedCollaborator, aggregator: AggregatorAddress, site: AgentLocation
) -> tuple[CollaboratorAction, ...]:
    """Return the write of a missing or outdated NetworkPolicy."""
    wanted = network_policy(observed.collaborator, aggregator, site)
    present = observed.network_policy
    digest = wanted["metadata"]["annotations"][RENDERED_ANNOTATION]
    if present is not None and present.metadata.annotations.get(RENDERED_ANNOTATION) == digest:
        return ()
    return (Apply(COLLABORATOR_NETWORK_POLICY, key_of(observed.collaborator), wanted),)


def _stop(observed: ObservedCollaborator, own: SiteJob | None, *, keep: bool) -> tuple[CollaboratorAction, ...]:
    """Delete the Job, and the NetworkPolicy once the Job is gone, since its pod may still run until then."""
    if own is not None:
        return () if keep or own.metadata.deleting else (_job_deletion(own),)
    present = observed.network_policy
    if present is None or present.metadata.deleting or not is_owned(present, observed.collaborator):
        return ()
    return (Delete(COLLABORATOR_NETWORK_POLICY, key_of(present), present.metadata.uid),)


def _job_deletion(present: SiteJob) -> Delete:
    """Return the deletion of this Job by uid; foreground, so that its pod is deleted first."""
    return Delete(COLLABORATOR_JOB, key_of(present), present.metadata.uid, propagation="Foreground")


def _status_write(collaborator: Collaborator, status: CollaboratorStatus) -> Apply:
    """Return the write of the status with the agent's own conditions alone, so that it takes over no other."""
    key = key_of(collaborator)
    own = tuple(condition for condition in status.conditions if condition.type in _OWN_CONDITIONS)
    body = {
        "apiVersion": COLLABORATOR.api_version,
        "kind": COLLABORATOR.kind,
        "metadata": {"name": key.name, "namespace": key.namespace},
        "status": msgspec.to_builtins(msgspec.structs.replace(status, conditions=own)),
    }
    return Apply(COLLABORATOR, key, body, subresource="status")


def _name_conflict(observed: ObservedCollaborator) -> JobProblem | None:
    for kind, present in (("Job", observed.job), ("NetworkPolicy", observed.network_policy)):
        if present is not None and not is_owned(present, observed.collaborator):
            name = observed.collaborator.metadata.name
            message = f"the install namespace has a {kind} {name} of another owner: delete it, or wait until it is gone"
            return JobProblem(CollaboratorReason.NAME_TAKEN, message)
    return None


def _leftover_pod(observed: ObservedCollaborator) -> JobProblem | None:
    """Return the problem that a pod still runs without its Job, within its grace period.

    That happens after a background deletion of the Job, and after an earlier Collaborator of the name.
    """
    if observed.job is not None or all(has_stopped(pod) for pod in observed.pods):
        return None
    return JobProblem(
        CollaboratorReason.JOB_PENDING, "a pod of an earlier Job is still running: the Job is created once it has ended"
    )


def _made_from(present: SiteJob, collaborator: Collaborator, dataset: Dataset) -> bool:
    wanted = (collaborator.spec.run.attempt, inputs_digest(collaborator, dataset))
    return (_attempt(present), present.metadata.annotations.get(INPUTS_ANNOTATION)) == wanted


def _attempt(present: SiteJob) -> str:
    return present.metadata.annotations.get(RUN_ID_ANNOTATION, "")


def _is_of(pod: CollaboratorPod, present: SiteJob) -> bool:
    return any(owner.uid == present.metadata.uid for owner in pod.metadata.owner_references)


def _in_order(pods: Iterable[CollaboratorPod]) -> tuple[CollaboratorPod, ...]:
    """Sort the pods from the oldest to the newest."""
    return tuple(sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name)))
