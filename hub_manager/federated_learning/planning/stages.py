"""The stages of a run, as one pass over it goes through them; `plan` says which comes when, and puts it all together.

Waiting asks the selected sites, and fixes the cohort once enough have accepted. Running has the aggregator and the
members' works as they have to be. What comes after the end is removal.
"""

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from federation.api.collaborator import RunPlan
from federation.api.kubernetes.run_objects import Job
from federation.api.meta import condition_of
from federation.api.run_names import run_id
from federation.api.run_status import (
    COHORT_READY,
    FAILED,
    PROGRESSING,
    SCHEDULED,
    SERVER_READY,
    ClusterStatus,
    FederatedLearningStatus,
    ListenerStatus,
)
from federation.kube.conditions import rfc3339
from hub_manager.federated_learning.actions import RunAction
from hub_manager.federated_learning.observation.observed import Observed
from hub_manager.federated_learning.planning import cohort as cohorts
from hub_manager.federated_learning.planning import timestamps, writes
from hub_manager.federated_learning.planning.attempt import of_spec, recipe_of
from hub_manager.federated_learning.planning.conditions import Reason, Told
from hub_manager.federated_learning.planning.outcome import outcome
from hub_manager.federated_learning.planning.pod_diagnosis import not_started, pod_due, succeeded, without_pod
from hub_manager.federated_learning.planning.scheduling import Refused, Selected, schedule
from hub_manager.federated_learning.planning.training_plan import Known, Planned
from hub_manager.federated_learning.planning.validate import Fault, faults
from hub_manager.federated_learning.resources.listeners import reached
from hub_manager.federated_learning.resources.names import work_name
from hub_manager.federated_learning.settings import RunSettings
from hub_manager.federated_learning.site import answer


@dataclass(slots=True)
class Pass:
    """What the stages add to: what they find, and what is to be done."""

    observed: Observed
    settings: RunSettings
    attempt: FederatedLearningStatus
    told: Told
    planned: Planned
    """By which plan the attempt goes."""
    clusters: tuple[ClusterStatus, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    ready: int = 0
    actions: list[RunAction] = field(default_factory=list)
    due: list[datetime] = field(default_factory=list)

    @property
    def plan(self) -> RunPlan | None:
        """What sites are told of the plan; None is the image's own."""
        return self.planned.plan if isinstance(self.planned, Known) else None

    @property
    def unfit(self) -> Fault | None:
        """Why no aggregator is made of this spec; a recorded cohort doesn't prove that the spec has been judged."""
        found = faults(self.observed.run, self.settings.limits)
        return self.planned if isinstance(self.planned, Fault) else next(iter(found), None)


def waiting(step: Pass) -> None:
    """The cohort is not fixed: asks the sites that the placement selects."""
    observed, told = step.observed, step.told
    run = observed.run
    told.say(SERVER_READY, "False", Reason.NOT_STARTED.value, "The aggregator starts once the cohort is fixed")
    if run.spec.suspend:
        message = "Set spec.suspend to false for the run to begin"
        told.say(PROGRESSING, "False", Reason.SUSPENDED.value, message)
        told.say(COHORT_READY, "False", Reason.SUSPENDED.value, message)
        step.actions += [*writes.removed_works(observed), *writes.stale_job(observed, step.attempt.attempt)]
        return
    told.say(PROGRESSING, "False", Reason.NOT_STARTED.value, "The run waits for its sites")
    scheduled = schedule(observed, step.settings, step.planned)
    step.actions += scheduled.actions
    if isinstance(scheduled, Refused):
        told.say(SCHEDULED, scheduled.status, scheduled.reason, scheduled.message)
        told.say(COHORT_READY, "False", Reason.NOT_STARTED.value, "Sites are asked once enough are selected")
        step.clusters = _stands(step, observed.selected, member=False) if scheduled.keeps_works else ()
        keep = frozenset(observed.selected) if scheduled.keeps_works else frozenset[str]()
        name = work_name(run, step.attempt.attempt)
        step.actions += writes.removed_works(observed, keep=keep, name=name)
        return
    told.say(SCHEDULED, "True", Reason.SELECTED.value, scheduled.message)
    _gathering(step, scheduled)


def _gathering(step: Pass, scheduled: Selected) -> None:
    observed, told = step.observed, step.told
    run, number = observed.run, step.attempt.attempt
    step.actions += [*writes.claim(observed), *writes.services(observed)]
    step.actions += [
        *writes.stale_job(observed, number),
        *writes.works(observed, step.attempt, scheduled.clusters, (), step.plan),
    ]
    step.listeners = _listeners(observed)
    step.clusters = _stands(step, scheduled.clusters, member=False)
    step.ready = cohorts.ready_count(step.clusters, scheduled.clusters)
    since = timestamps.since(condition_of(told.conditions, SCHEDULED), observed.now)
    gathered = cohorts.gather(step.clusters, run.spec.server.quorum, since=since, now=observed.now)
    if isinstance(gathered, cohorts.Gathering):
        refused = cohorts.still_able(step.clusters, scheduled.clusters) < run.spec.server.quorum
        reason = Reason.SITES_REFUSED if refused else Reason.GATHERING
        told.say(COHORT_READY, "False", reason.value, cohorts.gathering_message(run, step.clusters))
        if gathered.until is not None:
            step.due.append(gathered.until)
    elif observed.job is None or observed.job_of(number) is not None:
        # An earlier attempt's aggregator is gone: none but this one's will write to the status.
        step.attempt = msgspec.structs.replace(step.attempt, cohort=gathered.members)
        step.actions = []
        running(step)
    else:
        told.say(COHORT_READY, "False", Reason.GATHERING.value, "An earlier attempt's aggregator is about to end")


def running(step: Pass) -> None:
    """The cohort is fixed: keeps the aggregator and the members' works as they have to be, until the run ends."""
    observed = step.observed
    run, number, cohort = observed.run, step.attempt.attempt, step.attempt.cohort
    changed = of_spec(step.attempt.recipe) != recipe_of(run.spec)
    step.listeners = _listeners(observed)
    known = tuple(sorted({*cohort, *observed.selected})) if _open_to_all(observed) else cohort
    stands = _stands(step, known, member=True)
    if not changed:
        cohort = cohorts.members_now(run, cohort, observed.selected, stands)
        step.attempt = msgspec.structs.replace(step.attempt, cohort=cohort)
    step.clusters = stands
    step.ready = cohorts.ready_count(stands, cohort)
    result = outcome(observed, number, stands, cohort)
    if result is not None:
        _end(step, result.condition, result.reason, result.message)
        return
    if not changed:
        scheduled = schedule(observed, step.settings, step.planned)
        step.actions += [*scheduled.actions, *writes.claim(observed), *writes.services(observed)]
    # The aggregator has to know of a member before that member is told where the aggregator is.
    chosen = observed.chosen(work_name(run, number))
    told_cohort = cohorts.told(cohort, observed.sites, chosen, observed.told, observed.now)
    step.actions += writes.surroundings(observed, step.attempt, told_cohort)
    if not changed and isinstance(step.planned, Known):
        dialled = writes.dialled(step.listeners, suspended=run.spec.suspend)
        asked = tuple(name for name in known if name in chosen)
        step.actions += writes.works(observed, step.attempt, asked, dialled, step.plan)
    else:
        step.actions += writes.removed_works(observed, keep=frozenset(known), name=work_name(run, number))
    step.actions += writes.certificate(observed, step.listeners)
    if observed.job_of(number) is not None or (isinstance(step.planned, Known) and step.unfit is None):
        step.actions += writes.aggregator_writes(observed, number, step.settings)
    else:
        step.actions += writes.stale_job(observed, number)
    if (renewal := writes.renewal(observed)) is not None:
        step.due.append(renewal)
    _tell_running(step, cohort, changed=changed)


def _tell_running(step: Pass, cohort: tuple[str, ...], *, changed: bool) -> None:
    observed, told = step.observed, step.told
    run = observed.run
    tell_server(step)
    enough = step.ready >= run.spec.server.round_quorum
    missing = cohorts.missing_message(step.clusters, cohort)
    if enough:
        message = f"{step.ready} of {len(cohort)} members take part" + (f"; {missing}" if missing else "")
        told.say(COHORT_READY, "True", Reason.COHORT_FIXED.value, message)
    else:
        message = f"{step.ready} of {len(cohort)} members take part, a round needs {run.spec.server.round_quorum}"
        told.say(COHORT_READY, "False", Reason.QUORUM_LOST.value, f"{message}: {missing}")
    if run.spec.suspend:
        message = "The run goes on from its last checkpoint once spec.suspend is false"
        told.say(PROGRESSING, "False", Reason.SUSPENDED.value, message)
    elif changed:
        message = "The changed spec takes effect after this run; set spec.suspend to stop it now"
        told.say(PROGRESSING, "True", Reason.SPEC_CHANGED.value, message)
    elif told.said[SERVER_READY].reason in {Reason.SERVING.value, Reason.FINISHED.value}:
        told.say(PROGRESSING, "True", Reason.ROUNDS.value, "Rounds are run")
    else:
        message = "Rounds go on once the aggregator is ready; ServerReady says what keeps it"
        told.say(PROGRESSING, "True", Reason.STARTING.value, message)


def overdue(step: Pass) -> bool:
    """Whether the run has come to its deadline; ends it if so.

    A Job that has ended did so in time, or at least before anybody looked: what came of it counts.
    """
    seconds, job = step.observed.run.spec.active_deadline_seconds, step.observed.job_of(step.attempt.attempt)
    if seconds is None or (step.attempt.cohort and job is not None and job.ended):
        return False
    deadline = timestamps.later(timestamps.moment(step.attempt.start_time, step.observed.now), seconds)
    if step.observed.now < deadline:
        step.due.append(deadline)
        return False
    message = f"The run has not ended within {seconds} s: raise spec.activeDeadlineSeconds to start it anew"
    step.clusters = step.observed.run.status.clusters_of_hub
    _end(step, FAILED, Reason.DEADLINE_EXCEEDED.value, message)
    return True


def _end(step: Pass, condition: str, reason: str, message: str) -> None:
    """Records how the run has ended. The rest follows from it, with the next pass too."""
    step.told.say(condition, "True", reason, message)
    for kind in (SERVER_READY, PROGRESSING):
        step.told.say(kind, "False", Reason.ENDED.value, "The run is over")
    step.attempt = msgspec.structs.replace(step.attempt, completion_time=rfc3339(step.observed.now))
    step.clusters = cohorts.after_end(step.clusters)
    _after(step)


def ended(step: Pass) -> None:
    """The run is over, as an earlier pass has recorded."""
    status = step.observed.run.status
    step.clusters, step.listeners = status.clusters_of_hub, status.listeners
    step.ready = cohorts.ready_count(step.clusters, status.cohort)
    _after(step)


def _after(step: Pass) -> None:
    """Works go at once, an aggregator that still runs is stopped, the rest goes when its time is over."""
    observed, run = step.observed, step.observed.run
    step.actions += writes.removed_works(observed)
    ttl = run.spec.ttl_seconds_after_finished
    ended_at = timestamps.moment(step.attempt.completion_time, observed.now)
    over = None if ttl is None else timestamps.later(ended_at, ttl)
    if over is not None and observed.now >= over:
        step.actions += writes.remains(observed)
        return
    if over is not None:
        step.due.append(over)
    step.actions += writes.stopped(observed)


def _stands(step: Pass, names: tuple[str, ...], *, member: bool) -> tuple[ClusterStatus, ...]:
    observed, run = step.observed, step.observed.run
    name, attempt = work_name(run, step.attempt.attempt), run_id(run, step.attempt.attempt)
    works = {w.metadata.namespace: w for w in observed.works if w.metadata.name == name}
    chosen = observed.chosen(name)
    return tuple(
        cohorts.stand(
            cluster,
            observed.sites.get(cluster),
            works.get(cluster),
            answer(works.get(cluster), attempt),
            run,
            member=member and cluster in step.attempt.cohort,
            chosen=cluster in chosen,
        )
        for cluster in names
    )


def _listeners(observed: Observed) -> tuple[ListenerStatus, ...]:
    return reached(observed.run, writes.listener_services(observed), observed.nodes)


def _open_to_all(observed: Observed) -> bool:
    return observed.run.spec.server.join_policy == cohorts.NEXT_ROUND


def tell_server(step: Pass) -> None:
    """Says whether the aggregator serves, and what keeps it."""
    observed, told = step.observed, step.told
    job = observed.job_of(step.attempt.attempt)
    if observed.authority is None:
        message = "The hub manager has no certificate authority yet; see its own log and Events"
        told.say(SERVER_READY, "False", Reason.NO_AUTHORITY.value, message)
    elif job is None and (fault := step.unfit) is not None:
        told.say(SERVER_READY, "False", fault.reason.value, str(fault))
    elif not step.listeners:
        types = ", ".join(listener.type for listener in observed.run.spec.server.listeners)
        message = f"No listener ({types}) has an address yet: look at the Services of the run"
        told.say(SERVER_READY, "False", Reason.NO_ADDRESS.value, message)
    elif succeeded(observed.pods, step.attempt.attempt):
        message = "The aggregator has ended well; the run is complete once its Job is"
        told.say(SERVER_READY, "False", Reason.FINISHED.value, message)
    elif job is None or not job.status.ready:
        told.say(SERVER_READY, "False", Reason.STARTING.value, _not_ready(step, job))
    else:
        first = step.listeners[0]
        told.say(SERVER_READY, "True", Reason.SERVING.value, f"The aggregator serves at {first.address}:{first.port}")


def _not_ready(step: Pass, job: Job | None) -> str:
    """What keeps the aggregator's pod, as far as Kubernetes says it; a Job without one says it in an Event alone."""
    observed, number = step.observed, step.attempt.attempt
    if why := not_started(observed.pods, number):
        return f"The aggregator's pod does not start: {why}"
    ready = condition_of(step.told.before, SERVER_READY)
    since = timestamps.since(ready if ready is not None and ready.status == "False" else None, observed.now)
    due = pod_due(job, observed.pods, number, since)
    if job is None or due is None or observed.now < due:
        step.due += [] if due is None else [due]
        return "The aggregator's pod is not ready"
    return without_pod(job)
