"""Plan the stages of a run; `reconcile_plan` chooses the stage and assembles the plan.

`waiting` asks the selected clusters, and fixes the cohort once enough have accepted. `running` keeps the aggregator and
the members' ManifestWorks as the spec requires. `ended` removes what the run no longer needs.
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
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning import cohort as cohorts
from hub_manager.federated_learning.planning import timestamps, writes
from hub_manager.federated_learning.planning.attempt import SpecHash
from hub_manager.federated_learning.planning.conditions import ConditionBuilder, RunReason
from hub_manager.federated_learning.planning.outcome import outcome
from hub_manager.federated_learning.planning.pod_diagnosis import missing_pod_message, pod_due, start_problem, succeeded
from hub_manager.federated_learning.planning.scheduling import Selected, Unscheduled, schedule
from hub_manager.federated_learning.planning.training_plan import KnownPlan, TrainingPlanState
from hub_manager.federated_learning.planning.validate import SpecFault, faults
from hub_manager.federated_learning.resources.listeners import listener_statuses
from hub_manager.federated_learning.resources.names import work_name
from hub_manager.federated_learning.settings import RunSettings
from hub_manager.federated_learning.site import report_of


@dataclass(slots=True)
class PlanBuilder:
    """Inputs of one reconcile pass, and the status fields and writes that the stages add."""

    observed: ObservedRun
    settings: RunSettings
    attempt: FederatedLearningStatus
    conditions: ConditionBuilder
    training_plan: TrainingPlanState
    """The training plan of the attempt."""
    clusters: tuple[ClusterStatus, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    ready: int = 0
    actions: list[RunAction] = field(default_factory=list)
    due: list[datetime] = field(default_factory=list)

    @property
    def plan(self) -> RunPlan | None:
        """Return the plan to send to clusters; None selects the image's default plan."""
        return self.training_plan.plan if isinstance(self.training_plan, KnownPlan) else None

    @property
    def spec_fault(self) -> SpecFault | None:
        """Return the first fault of the spec; a recorded cohort does not prove that the spec was validated."""
        spec_faults = faults(self.observed.run, self.settings.limits)
        return self.training_plan if isinstance(self.training_plan, SpecFault) else next(iter(spec_faults), None)


def waiting(builder: PlanBuilder) -> None:
    """Ask the clusters that the placement selects, while the cohort is not fixed."""
    observed, conditions = builder.observed, builder.conditions
    run = observed.run
    conditions.set(SERVER_READY, "False", RunReason.NOT_STARTED.value, "The aggregator starts once the cohort is fixed")
    if run.spec.suspend:
        message = "The run is suspended. Set spec.suspend to false to start it"
        conditions.set(PROGRESSING, "False", RunReason.SUSPENDED.value, message)
        conditions.set(COHORT_READY, "False", RunReason.SUSPENDED.value, message)
        builder.actions += [*writes.removed_works(observed), *writes.stale_job(observed, builder.attempt.attempt)]
        return
    conditions.set(PROGRESSING, "False", RunReason.NOT_STARTED.value, "Waiting for enough clusters to accept the run")
    scheduled = schedule(observed, builder.settings, builder.training_plan)
    if isinstance(scheduled, Unscheduled):
        builder.actions += scheduled.actions
        conditions.set(SCHEDULED, scheduled.status, scheduled.reason, scheduled.message)
        conditions.set(COHORT_READY, "False", RunReason.NOT_STARTED.value, "Waiting for enough clusters to be selected")
        builder.clusters = _cluster_statuses(builder, observed.selected, member=False) if scheduled.keeps_works else ()
        keep = frozenset(observed.selected) if scheduled.keeps_works else frozenset[str]()
        name = work_name(run, builder.attempt.attempt)
        builder.actions += writes.removed_works(observed, keep=keep, name=name)
        return
    conditions.set(SCHEDULED, "True", RunReason.SELECTED.value, scheduled.message)
    _gather(builder, scheduled)


def _gather(builder: PlanBuilder, scheduled: Selected) -> None:
    """Ask the selected clusters, or start the run once enough of them have accepted."""
    observed, conditions = builder.observed, builder.conditions
    run, number = observed.run, builder.attempt.attempt
    builder.clusters = _cluster_statuses(builder, scheduled.clusters, member=False)
    since = timestamps.since(condition_of(conditions.build(), SCHEDULED), observed.now)
    gathered = cohorts.gather(builder.clusters, run.spec.server.quorum, since=since, now=observed.now)
    # The status must be written by this attempt's aggregator alone, so an earlier one has to be gone first.
    is_earlier_gone = observed.job is None or observed.job_of(number) is not None
    if isinstance(gathered, cohorts.FixedCohort) and is_earlier_gone:
        builder.attempt = msgspec.structs.replace(builder.attempt, cohort=gathered.members)
        running(builder)
        return
    builder.listeners = _listeners(observed)
    builder.ready = cohorts.ready_count(builder.clusters, scheduled.clusters)
    builder.actions += [
        *scheduled.actions,
        *writes.claim(observed),
        *writes.services(observed),
        *writes.stale_job(observed, number),
        *writes.works(observed, builder.attempt, scheduled.clusters, (), builder.plan),
    ]
    if isinstance(gathered, cohorts.FixedCohort):
        message = "Waiting for the aggregator of the previous attempt to stop"
        conditions.set(COHORT_READY, "False", RunReason.GATHERING.value, message)
        return
    refused = cohorts.able_count(builder.clusters, scheduled.clusters) < run.spec.server.quorum
    reason = RunReason.SITES_REFUSED if refused else RunReason.GATHERING
    conditions.set(COHORT_READY, "False", reason.value, cohorts.gathering_message(run, builder.clusters))
    if gathered.until is not None:
        builder.due.append(gathered.until)


def running(builder: PlanBuilder) -> None:
    """Keep the aggregator and the members' ManifestWorks current, from the fixed cohort to the end of the run."""
    observed = builder.observed
    run, number, cohort = observed.run, builder.attempt.attempt, builder.attempt.cohort
    changed = not SpecHash.parse(builder.attempt.recipe).is_same_spec(SpecHash.of(run.spec))
    builder.listeners = _listeners(observed)
    known = tuple(sorted({*cohort, *observed.selected})) if _open_to_all(observed) else cohort
    clusters = _cluster_statuses(builder, known, member=True)
    if not changed:
        cohort = cohorts.current_members(run, cohort, observed.selected, clusters)
        builder.attempt = msgspec.structs.replace(builder.attempt, cohort=cohort)
    builder.clusters = clusters
    builder.ready = cohorts.ready_count(clusters, cohort)
    result = outcome(observed, number, clusters, cohort)
    if result is not None:
        _end(builder, result.condition, result.reason, result.message)
        return
    if not changed:
        scheduled = schedule(observed, builder.settings, builder.training_plan)
        builder.actions += [*scheduled.actions, *writes.claim(observed), *writes.services(observed)]
    # The aggregator must admit a member before the member gets the aggregator's address.
    chosen = observed.chosen(work_name(run, number))
    published = cohorts.published_cohort(cohort, observed.sites, chosen, observed.cohort_text, observed.now)
    builder.actions += writes.prerequisites(observed, builder.attempt, published)
    if not changed and isinstance(builder.training_plan, KnownPlan):
        collaborator_addresses = writes.collaborator_addresses(builder.listeners, suspended=run.spec.suspend)
        invited = tuple(name for name in known if name in chosen)
        builder.actions += writes.works(observed, builder.attempt, invited, collaborator_addresses, builder.plan)
    else:
        builder.actions += writes.removed_works(observed, keep=frozenset(known), name=work_name(run, number))
    builder.actions += writes.certificate(observed, builder.listeners)
    can_start = isinstance(builder.training_plan, KnownPlan) and builder.spec_fault is None
    if can_start or observed.job_of(number) is not None:
        builder.actions += writes.aggregator_writes(observed, number, builder.settings)
    else:
        builder.actions += writes.stale_job(observed, number)
    if (renewal := writes.renewal(observed)) is not None:
        builder.due.append(renewal)
    _set_running_conditions(builder, cohort, changed=changed)


def _set_running_conditions(builder: PlanBuilder, cohort: tuple[str, ...], *, changed: bool) -> None:
    observed, conditions = builder.observed, builder.conditions
    run = observed.run
    set_server_ready(builder)
    enough = builder.ready >= run.spec.server.round_quorum
    missing = cohorts.missing_message(builder.clusters, cohort)
    if enough:
        message = f"{builder.ready} of {len(cohort)} members are ready" + (f"; {missing}" if missing else "")
        conditions.set(COHORT_READY, "True", RunReason.COHORT_FIXED.value, message)
    else:
        message = f"{builder.ready} of {len(cohort)} members are ready, a round needs {run.spec.server.round_quorum}"
        conditions.set(COHORT_READY, "False", RunReason.QUORUM_LOST.value, f"{message}: {missing}")
    if run.spec.suspend:
        message = "The run is suspended. Set spec.suspend to false to resume it from its last checkpoint"
        conditions.set(PROGRESSING, "False", RunReason.SUSPENDED.value, message)
    elif changed:
        message = "The changed spec takes effect after this attempt. To stop the attempt now, set spec.suspend to true"
        conditions.set(PROGRESSING, "True", RunReason.SPEC_CHANGED.value, message)
    elif conditions.updates[SERVER_READY].reason in {RunReason.SERVING.value, RunReason.FINISHED.value}:
        conditions.set(PROGRESSING, "True", RunReason.ROUNDS.value, "Rounds are in progress")
    else:
        message = "Waiting for the aggregator to become ready; see the condition ServerReady"
        conditions.set(PROGRESSING, "True", RunReason.STARTING.value, message)


def end_if_deadline_passed(builder: PlanBuilder) -> bool:
    """End the run if its deadline has passed; return whether it has.

    The result of a Job that has already ended counts, even if it ended after the deadline.
    """
    seconds, job = builder.observed.run.spec.active_deadline_seconds, builder.observed.job_of(builder.attempt.attempt)
    if seconds is None or (builder.attempt.cohort and job is not None and job.ended):
        return False
    deadline = timestamps.later(timestamps.moment(builder.attempt.start_time, builder.observed.now), seconds)
    if builder.observed.now < deadline:
        builder.due.append(deadline)
        return False
    message = f"The run did not end within {seconds} s. Raise spec.activeDeadlineSeconds to start a new attempt"
    builder.clusters = builder.observed.run.status.clusters_of_hub
    _end(builder, FAILED, RunReason.DEADLINE_EXCEEDED.value, message)
    return True


def _end(builder: PlanBuilder, condition: str, reason: str, message: str) -> None:
    """Record the end of the run and plan the removal of its objects."""
    builder.conditions.set(condition, "True", reason, message)
    for kind in (SERVER_READY, PROGRESSING):
        builder.conditions.set(kind, "False", RunReason.ENDED.value, "The run has ended")
    builder.attempt = msgspec.structs.replace(builder.attempt, completion_time=rfc3339(builder.observed.now))
    builder.clusters = cohorts.after_end(builder.clusters)
    _clean_up(builder)


def ended(builder: PlanBuilder) -> None:
    """Keep the recorded status of a run that an earlier pass ended, and remove its objects."""
    status = builder.observed.run.status
    builder.clusters, builder.listeners = status.clusters_of_hub, status.listeners
    builder.ready = cohorts.ready_count(builder.clusters, status.cohort)
    _clean_up(builder)


def _clean_up(builder: PlanBuilder) -> None:
    """Remove ManifestWorks and stop the aggregator now; remove the rest once the time to live has passed."""
    observed, run = builder.observed, builder.observed.run
    builder.actions += writes.removed_works(observed)
    ttl = run.spec.ttl_seconds_after_finished
    ended_at = timestamps.moment(builder.attempt.completion_time, observed.now)
    over = None if ttl is None else timestamps.later(ended_at, ttl)
    if over is not None and observed.now >= over:
        builder.actions += writes.remaining_objects(observed)
        return
    if over is not None:
        builder.due.append(over)
    builder.actions += writes.stop_aggregator(observed)


def _cluster_statuses(builder: PlanBuilder, names: tuple[str, ...], *, member: bool) -> tuple[ClusterStatus, ...]:
    observed, run = builder.observed, builder.observed.run
    name, attempt = work_name(run, builder.attempt.attempt), run_id(run, builder.attempt.attempt)
    works = {w.metadata.namespace: w for w in observed.works if w.metadata.name == name}
    chosen = observed.chosen(name)
    return tuple(
        cohorts.cluster_status(
            cluster,
            observed.sites.get(cluster),
            works.get(cluster),
            report_of(works.get(cluster), attempt),
            run,
            member=member and cluster in builder.attempt.cohort,
            chosen=cluster in chosen,
        )
        for cluster in names
    )


def _listeners(observed: ObservedRun) -> tuple[ListenerStatus, ...]:
    return listener_statuses(observed.run, writes.listener_services(observed), observed.nodes)


def _open_to_all(observed: ObservedRun) -> bool:
    return observed.run.spec.server.join_policy == cohorts.NEXT_ROUND


def set_server_ready(builder: PlanBuilder) -> None:
    """Set the condition ServerReady, with what the aggregator waits for."""
    observed, conditions = builder.observed, builder.conditions
    job = observed.job_of(builder.attempt.attempt)
    if observed.authority is None:
        message = "The hub manager has no certificate authority yet. Check its log and Events"
        conditions.set(SERVER_READY, "False", RunReason.NO_AUTHORITY.value, message)
    elif job is None and (fault := builder.spec_fault) is not None:
        conditions.set(SERVER_READY, "False", fault.reason.value, str(fault))
    elif not builder.listeners:
        types = ", ".join(listener.type for listener in observed.run.spec.server.listeners)
        message = f"No listener ({types}) has an address yet. Check the Services of the run"
        conditions.set(SERVER_READY, "False", RunReason.NO_ADDRESS.value, message)
    elif succeeded(observed.pods, builder.attempt.attempt):
        message = "The aggregator has finished; the run is complete once its Job is"
        conditions.set(SERVER_READY, "False", RunReason.FINISHED.value, message)
    elif job is None or not job.status.ready:
        conditions.set(SERVER_READY, "False", RunReason.STARTING.value, _not_ready(builder, job))
    else:
        first = builder.listeners[0]
        conditions.set(
            SERVER_READY, "True", RunReason.SERVING.value, f"The aggregator is ready at {first.address}:{first.port}"
        )


def _not_ready(builder: PlanBuilder, job: Job | None) -> str:
    """Describe why the aggregator's pod is not ready, from the pod's status or the lack of a pod."""
    observed, number = builder.observed, builder.attempt.attempt
    if why := start_problem(observed.pods, number):
        return f"The aggregator's pod cannot start: {why}"
    ready = condition_of(builder.conditions.before, SERVER_READY)
    since = timestamps.since(ready if ready is not None and ready.status == "False" else None, observed.now)
    due = pod_due(job, observed.pods, number, since)
    if job is None or due is None or observed.now < due:
        builder.due += [] if due is None else [due]
        return "The aggregator's pod is not ready"
    return missing_pod_message(job)
