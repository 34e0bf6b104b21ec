"""What to do for one Collaborator now, from one look at the site. Pure.

The NetworkPolicy comes before the Job, so that no container ever runs without it. A Job is never changed: one that was
made from other inputs is deleted, and once it is gone and no pod of the Collaborator's name runs any more, another is
made: two collaborators of one site are never in a run at once. One that has ended stays as it is
until the hub asks for another attempt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from federation.api.collaborator import AggregatorAddress, Collaborator
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob, SiteNetworkPolicy
from federation.api.meta import Resource
from federation.kube.resource import Json
from spoke_agent.collaborator import admission
from spoke_agent.collaborator.container_exit import has_stopped
from spoke_agent.collaborator.job import (
    INPUTS_ANNOTATION,
    RENDERED_ANNOTATION,
    RUN_ID_ANNOTATION,
    Site,
    inputs_digest,
    job,
    network_policy,
)
from spoke_agent.collaborator.status import Reason, Trouble, has_ended


@dataclass(frozen=True, slots=True)
class Observed:
    """One Collaborator and what there is of it."""

    collaborator: Collaborator
    dataset: Dataset | None
    job: SiteJob | None
    """Whatever Job has its name, ours or not."""
    network_policy: SiteNetworkPolicy | None
    pods: tuple[CollaboratorPod, ...]
    """All with its label, whosever."""


@dataclass(frozen=True, slots=True)
class ApplyNetworkPolicy:
    """Make the NetworkPolicy, or change it."""

    body: Json


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Start the Job."""

    body: Json


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Stop the Job, if it is still the one that was seen; its pod goes before it does."""

    uid: str


@dataclass(frozen=True, slots=True)
class DeleteNetworkPolicy:
    """Remove the NetworkPolicy, if it is still the one that was seen."""

    uid: str


Action = ApplyNetworkPolicy | CreateJob | DeleteJob | DeleteNetworkPolicy


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what the status is to speak of."""

    verdict: admission.Verdict
    actions: tuple[Action, ...]
    job: SiteJob | None
    """The Job of the attempt asked for."""
    pods: tuple[CollaboratorPod, ...]
    trouble: Trouble | None
    due: datetime | None
    """When time alone changes the plan."""


def plan(observed: Observed, site: Site, now: datetime) -> Plan:
    """The next steps for the Collaborator; doing them and planning again ends in no steps."""
    collaborator = observed.collaborator
    verdict = admission.judge(collaborator, observed.dataset, now)
    own = observed.job if observed.job is not None and is_owned(observed.job, collaborator) else None
    current = own if own is not None and _attempt(own) == collaborator.spec.run.attempt else None
    pods = () if current is None else _in_order(pod for pod in observed.pods if _is_of(pod, current))
    ended = current is not None and has_ended(current)
    trouble: Trouble | None = None
    actions: tuple[Action, ...] = ()
    match verdict:
        case admission.Accepted(dataset, until) if collaborator.spec.aggregator is not None and not ended:
            trouble = _taken(observed) or _waited_for(observed)
            remaining = None if until is None else (until - now).total_seconds()
            if trouble is None:
                actions = _start(observed, collaborator.spec.aggregator, dataset, site, remaining)
        case _:
            actions = _stop(observed, own, keep=ended)
    due = verdict.until if isinstance(verdict, admission.Accepted) and not ended else None
    return Plan(verdict, actions, current, pods, trouble, due)


def is_owned(resource: Resource, collaborator: Collaborator) -> bool:
    """Whether the object belongs to this very Collaborator, and not to an earlier one of its name or to somebody."""
    return any(owner.uid == collaborator.metadata.uid for owner in resource.metadata.owner_references)


def _start(
    observed: Observed, aggregator: AggregatorAddress, dataset: Dataset, site: Site, remaining: float | None
) -> tuple[Action, ...]:
    collaborator, present = observed.collaborator, observed.job
    if present is None:
        made = job(collaborator, aggregator, dataset, site, remaining=remaining)
        return (*_open(observed, aggregator, site), CreateJob(made))
    if present.metadata.deleting:
        return ()
    if not _made_from(present, collaborator, dataset):
        return (DeleteJob(present.metadata.uid),)
    return _open(observed, aggregator, site)


def _open(observed: Observed, aggregator: AggregatorAddress, site: Site) -> tuple[Action, ...]:
    """The NetworkPolicy, where it isn't there as it should be."""
    wanted = network_policy(observed.collaborator, aggregator, site)
    present = observed.network_policy
    digest = wanted["metadata"]["annotations"][RENDERED_ANNOTATION]
    if present is not None and present.metadata.annotations.get(RENDERED_ANNOTATION) == digest:
        return ()
    return (ApplyNetworkPolicy(wanted),)


def _stop(observed: Observed, own: SiteJob | None, *, keep: bool) -> tuple[Action, ...]:
    """What is left is taken away; the NetworkPolicy stays for as long as the Job, whose pod may still run."""
    if own is not None:
        return () if keep or own.metadata.deleting else (DeleteJob(own.metadata.uid),)
    present = observed.network_policy
    if present is None or present.metadata.deleting or not is_owned(present, observed.collaborator):
        return ()
    return (DeleteNetworkPolicy(present.metadata.uid),)


def _taken(observed: Observed) -> Trouble | None:
    for kind, present in (("Job", observed.job), ("NetworkPolicy", observed.network_policy)):
        if present is not None and not is_owned(present, observed.collaborator):
            name = observed.collaborator.metadata.name
            message = f"the {kind} {name} of the install namespace is another's: wait until it is gone, or delete it"
            return Trouble(Reason.NAME_TAKEN, message)
    return None


def _waited_for(observed: Observed) -> Trouble | None:
    """A pod that goes on without its Job, in its time of grace.

    So after a Job that was deleted in the background, and after an earlier Collaborator of the name.
    """
    if observed.job is not None or all(has_stopped(pod) for pod in observed.pods):
        return None
    return Trouble(Reason.JOB_PENDING, "a pod of an earlier Job is there still: the Job is made once it has ended")


def _made_from(present: SiteJob, collaborator: Collaborator, dataset: Dataset) -> bool:
    wanted = (collaborator.spec.run.attempt, inputs_digest(collaborator, dataset))
    return (_attempt(present), present.metadata.annotations.get(INPUTS_ANNOTATION)) == wanted


def _attempt(present: SiteJob) -> str:
    return present.metadata.annotations.get(RUN_ID_ANNOTATION, "")


def _is_of(pod: CollaboratorPod, present: SiteJob) -> bool:
    return any(owner.uid == present.metadata.uid for owner in pod.metadata.owner_references)


def _in_order(pods: Iterable[CollaboratorPod]) -> tuple[CollaboratorPod, ...]:
    """The pods from the oldest to the newest."""
    return tuple(sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name)))
