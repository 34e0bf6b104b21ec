"""Plan the stages of a run; `reconcile_plan` chooses the stage and assembles the plan.

`waiting` asks the selected clusters, and fixes the cohort once enough have accepted. `running` keeps the aggregator and
the members' ManifestWorks as the spec requires. `ended` removes what the run no longer needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from federation.api.collaborator import RunPlan
from federation.api.kubernetes.run_objects import Job
from federation.api.meta import Condition, ConditionStatus, condition_of
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
from hub_manager.federated_learning.planning.conditions import ConditionUpdate, RunReason, merge_updates
from hub_manager.federated_learning.planning.outcome import outcome
from hub_manager.federated_learning.planning.pod_diagnosis import missing_pod_message, pod_due, start_problem, succeeded
from hub_manager.federated_learning.planning.scheduling import Selected, Unscheduled, schedule
from hub_manager.federated_learning.planning.training_plan import KnownPlan, TrainingPlanState
from hub_manager.federated_learning.planning.validate import SpecFault, faults
from hub_manager.federated_learning.resources.listeners import listener_statuses
from hub_manager.federated_learning.resources.names import work_name
from hub_manager.federated_learning.settings import RunSettings
from hub_manager.federated_learning.site import report_of


@dataclass(frozen=True, slots=True)
class StageInput:
    """Inputs of a stage."""

    observed: ObservedRun
    settings: RunSettings
    attempt: FederatedLearningStatus
    recorded: tuple[Condition, ...]
    """The conditions that an earlier pass of this attempt has set."""
    training_plan: TrainingPlanState
    """The training plan of the attempt."""

    @property
    def plan(self) -> RunPlan | None:
        """Return the plan to send to clusters; None selects the image's default plan."""
        return self.training_plan.plan if isinstance(self.training_plan, KnownPlan) else None

    @property
    def spec_fault(self) -> SpecFault | None:
        """Return the first fault of the spec; a recorded cohort does not prove that the spec was validated."""
        spec_faults = faults(self.observed.run, self.settings.limits)
        return self.training_plan if isinstance(self.training_plan, SpecFault) else next(iter(spec_faults), None)


@dataclass(frozen=True, slots=True)
class StageResult:
    """The status fields and writes that a stage plans."""

    attempt: FederatedLearningStatus
    conditions: tuple[ConditionUpdate, ...] = ()
    clusters: tuple[ClusterStatus, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    ready: int = 0
    actions: tuple[RunAction, ...] = ()
    due: tuple[datetime, ...] = ()
    """Times at which the plan changes although no object does."""


def waiting(stage: StageInput) -> StageResult:
    """Ask the clusters that the placement selects, while the cohort is not fixed."""
    observed, attempt = stage.observed, stage.attempt
    run = observed.run
    server = _update(SERVER_READY, "False", RunReason.NOT_STARTED, "The aggregator starts once the cohort is fixed")
    if run.spec.suspend:
        message = "The run is suspended. Set spec.suspend to false to start it"
        return StageResult(
            attempt,
            conditions=(
                server,
                _update(PROGRESSING, "False", RunReason.SUSPENDED, message),
                _update(COHORT_READY, "False", RunReason.SUSPENDED, message),
            ),
            actions=(*writes.removed_works(observed), *writes.stale_job(observed, attempt.attempt)),
        )
    message = "Waiting for enough clusters to accept the run"
    started = (server, _update(PROGRESSING, "False", RunReason.NOT_STARTED, message))
    scheduled = schedule(observed, stage.settings, stage.training_plan)
    if isinstance(scheduled, Unscheduled):
        message = "Waiting for enough clusters to be selected"
        invited = observed.selected if scheduled.keeps_works else ()
        name = work_name(run, attempt.attempt)
        return StageResult(
            attempt,
            conditions=(
                *started,
                ConditionUpdate(SCHEDULED, scheduled.status, scheduled.reason, scheduled.message),
                _update(COHORT_READY, "False", RunReason.NOT_STARTED, message),
            ),
            clusters=_cluster_statuses(stage, invited, member=False),
            actions=(*scheduled.actions, *writes.removed_works(observed, keep=frozenset(invited), name=name)),
        )
    selected = _update(SCHEDULED, "True", RunReason.SELECTED, scheduled.message)
    since = _scheduled_since(stage, selected)
    gathered = _gather(stage, scheduled, since)
    return replace(gathered, conditions=(*started, selected, *gathered.conditions))


def _scheduled_since(stage: StageInput, selected: ConditionUpdate) -> datetime:
    observed = stage.observed
    conditions = merge_updates(observed.run, stage.recorded, (selected,), observed.now)
    return timestamps.since(condition_of(conditions, SCHEDULED), observed.now)


def _gather(stage: StageInput, scheduled: Selected, since: datetime) -> StageResult:
    """Ask the selected clusters, or start the run once enough of them have accepted."""
    observed, attempt = stage.observed, stage.attempt
    run, number = observed.run, attempt.attempt
    clusters = _cluster_statuses(stage, scheduled.clusters, member=False)
    gathered = cohorts.gather(clusters, run.spec.server.quorum, since=since, now=observed.now)
    # The status must be written by this attempt's aggregator alone, so an earlier one has to be gone first.
    is_earlier_gone = observed.job is None or observed.job_of(number) is not None
    if isinstance(gathered, cohorts.FixedCohort) and is_earlier_gone:
        return running(replace(stage, attempt=msgspec.structs.replace(attempt, cohort=gathered.members)))
    due: tuple[datetime, ...] = ()
    if isinstance(gathered, cohorts.FixedCohort):
        reason, message = RunReason.GATHERING, "Waiting for the aggregator of the previous attempt to stop"
    else:
        refused = cohorts.able_count(clusters, scheduled.clusters) < run.spec.server.quorum
        reason = RunReason.SITES_REFUSED if refused else RunReason.GATHERING
        message = cohorts.gathering_message(run, clusters)
        due = () if gathered.until is None else (gathered.until,)
    return StageResult(
        attempt,
        conditions=(_update(COHORT_READY, "False", reason, message),),
        clusters=clusters,
        listeners=_listeners(observed),
        ready=cohorts.ready_count(clusters, scheduled.clusters),
        actions=(
            *scheduled.actions,
            *writes.claim(observed),
            *writes.services(observed),
            *writes.stale_job(observed, number),
            *writes.works(observed, attempt, scheduled.clusters, (), stage.plan),
        ),
        due=due,
    )


def running(stage: StageInput) -> StageResult:
    """Keep the aggregator and the members' ManifestWorks current, from the fixed cohort to the end of the run."""
    observed, attempt = stage.observed, stage.attempt
    run, cohort = observed.run, attempt.cohort
    changed = not SpecHash.parse(attempt.recipe).is_same_spec(SpecHash.of(run.spec))
    known = tuple(sorted({*cohort, *observed.selected})) if _open_to_all(observed) else cohort
    clusters = _cluster_statuses(stage, known, member=True)
    if not changed:
        cohort = cohorts.current_members(run, cohort, observed.selected, clusters)
        stage = replace(stage, attempt=msgspec.structs.replace(attempt, cohort=cohort))
    listeners, ready = _listeners(observed), cohorts.ready_count(clusters, cohort)
    result = outcome(observed, attempt.attempt, clusters, cohort)
    if result is not None:
        end = _end(stage, clusters, result.condition, result.reason, result.message)
        return replace(end, listeners=listeners, ready=ready)
    server, due = _server_ready(stage, listeners)
    renewal = writes.renewal(observed)
    return StageResult(
        stage.attempt,
        conditions=(
            server,
            _cohort_ready(stage, clusters, cohort, ready),
            _progressing(stage, server, changed=changed),
        ),
        clusters=clusters,
        listeners=listeners,
        ready=ready,
        actions=tuple(_running_actions(stage, known, cohort, listeners, changed=changed)),
        due=(*due, *(() if renewal is None else (renewal,))),
    )


def _running_actions(
    stage: StageInput,
    known: tuple[str, ...],
    cohort: tuple[str, ...],
    listeners: tuple[ListenerStatus, ...],
    *,
    changed: bool,
) -> Iterator[RunAction]:
    observed, number = stage.observed, stage.attempt.attempt
    run = observed.run
    if not changed:
        yield from schedule(observed, stage.settings, stage.training_plan).actions
        yield from writes.claim(observed)
        yield from writes.services(observed)
    # The aggregator must admit a member before the member gets the aggregator's address.
    chosen = observed.chosen(work_name(run, number))
    published = cohorts.published_cohort(cohort, observed.sites, chosen, observed.cohort_text, observed.now)
    yield from writes.prerequisites(observed, stage.attempt, published)
    if not changed and isinstance(stage.training_plan, KnownPlan):
        collaborator_addresses = writes.collaborator_addresses(listeners, suspended=run.spec.suspend)
        invited = tuple(name for name in known if name in chosen)
        yield from writes.works(observed, stage.attempt, invited, collaborator_addresses, stage.plan)
    else:
        yield from writes.removed_works(observed, keep=frozenset(known), name=work_name(run, number))
    yield from writes.certificate(observed, listeners)
    can_start = isinstance(stage.training_plan, KnownPlan) and stage.spec_fault is None
    if can_start or observed.job_of(number) is not None:
        yield from writes.aggregator_writes(observed, number, stage.settings)
    else:
        yield from writes.stale_job(observed, number)


def _cohort_ready(
    stage: StageInput, clusters: tuple[ClusterStatus, ...], cohort: tuple[str, ...], ready: int
) -> ConditionUpdate:
    quorum = stage.observed.run.spec.server.round_quorum
    missing = cohorts.missing_message(clusters, cohort)
    message = f"{ready} of {len(cohort)} members are ready"
    if ready >= quorum:
        message += f"; {missing}" if missing else ""
        return _update(COHORT_READY, "True", RunReason.COHORT_FIXED, message)
    return _update(COHORT_READY, "False", RunReason.QUORUM_LOST, f"{message}, a round needs {quorum}: {missing}")


def _progressing(stage: StageInput, server: ConditionUpdate, *, changed: bool) -> ConditionUpdate:
    if stage.observed.run.spec.suspend:
        message = "The run is suspended. Set spec.suspend to false to resume it from its last checkpoint"
        return _update(PROGRESSING, "False", RunReason.SUSPENDED, message)
    if changed:
        message = "The changed spec takes effect after this attempt. To stop the attempt now, set spec.suspend to true"
        return _update(PROGRESSING, "True", RunReason.SPEC_CHANGED, message)
    if server.reason in {RunReason.SERVING.value, RunReason.FINISHED.value}:
        return _update(PROGRESSING, "True", RunReason.ROUNDS, "Rounds are in progress")
    message = "Waiting for the aggregator to become ready; see the condition ServerReady"
    return _update(PROGRESSING, "True", RunReason.STARTING, message)


def deadline(stage: StageInput) -> datetime | None:
    """Return the time at which the run ends in any case; None if it has no deadline.

    The result of a Job that has already ended counts, even if it ended after the deadline.
    """
    observed, attempt = stage.observed, stage.attempt
    seconds, job = observed.run.spec.active_deadline_seconds, observed.job_of(attempt.attempt)
    if seconds is None or (attempt.cohort and job is not None and job.ended):
        return None
    return timestamps.later(timestamps.moment(attempt.start_time, observed.now), seconds)


def past_deadline(stage: StageInput) -> StageResult:
    """End the run because its deadline has passed."""
    run = stage.observed.run
    seconds = run.spec.active_deadline_seconds
    message = f"The run did not end within {seconds} s. Raise spec.activeDeadlineSeconds to start a new attempt"
    return _end(stage, run.status.clusters_of_hub, FAILED, RunReason.DEADLINE_EXCEEDED.value, message)


def _end(
    stage: StageInput, clusters: tuple[ClusterStatus, ...], condition: str, reason: str, message: str
) -> StageResult:
    """Record the end of the run and plan the removal of its objects."""
    attempt = msgspec.structs.replace(stage.attempt, completion_time=rfc3339(stage.observed.now))
    actions, due = _cleanup(stage.observed, attempt)
    return StageResult(
        attempt,
        conditions=(
            ConditionUpdate(condition, "True", reason, message),
            _update(SERVER_READY, "False", RunReason.ENDED, "The run has ended"),
            _update(PROGRESSING, "False", RunReason.ENDED, "The run has ended"),
        ),
        clusters=cohorts.after_end(clusters),
        actions=actions,
        due=due,
    )


def ended(stage: StageInput) -> StageResult:
    """Keep the recorded status of a run that an earlier pass ended, and remove its objects."""
    status = stage.observed.run.status
    actions, due = _cleanup(stage.observed, stage.attempt)
    return StageResult(
        stage.attempt,
        clusters=status.clusters_of_hub,
        listeners=status.listeners,
        ready=cohorts.ready_count(status.clusters_of_hub, status.cohort),
        actions=actions,
        due=due,
    )


def _cleanup(
    observed: ObservedRun, attempt: FederatedLearningStatus
) -> tuple[tuple[RunAction, ...], tuple[datetime, ...]]:
    """Remove ManifestWorks and stop the aggregator now; remove the rest once the time to live has passed.

    Returns:
        The actions, and the end of the time to live if it is in the future.
    """
    works = tuple(writes.removed_works(observed))
    ttl = observed.run.spec.ttl_seconds_after_finished
    stop = (*works, *writes.stop_aggregator(observed))
    if ttl is None:
        return stop, ()
    over = timestamps.later(timestamps.moment(attempt.completion_time, observed.now), ttl)
    if observed.now >= over:
        return (*works, *writes.remaining_objects(observed)), ()
    return stop, (over,)


def _cluster_statuses(stage: StageInput, names: tuple[str, ...], *, member: bool) -> tuple[ClusterStatus, ...]:
    observed, run = stage.observed, stage.observed.run
    name, attempt = work_name(run, stage.attempt.attempt), run_id(run, stage.attempt.attempt)
    works = {w.metadata.namespace: w for w in observed.works if w.metadata.name == name}
    chosen = observed.chosen(name)
    return tuple(
        cohorts.cluster_status(
            cluster,
            observed.sites.get(cluster),
            works.get(cluster),
            report_of(works.get(cluster), attempt),
            run,
            member=member and cluster in stage.attempt.cohort,
            chosen=cluster in chosen,
        )
        for cluster in names
    )


def _listeners(observed: ObservedRun) -> tuple[ListenerStatus, ...]:
    return listener_statuses(observed.run, writes.listener_services(observed), observed.nodes)


def _open_to_all(observed: ObservedRun) -> bool:
    return observed.run.spec.server.join_policy == cohorts.NEXT_ROUND


def _update(kind: str, status: ConditionStatus, reason: RunReason, message: str) -> ConditionUpdate:
    return ConditionUpdate(kind, status, reason.value, message)


def _server_ready(
    stage: StageInput, listeners: tuple[ListenerStatus, ...]
) -> tuple[ConditionUpdate, tuple[datetime, ...]]:
    """Return the condition ServerReady, with what the aggregator waits for, and when time alone changes it."""
    observed, number = stage.observed, stage.attempt.attempt
    job = observed.job_of(number)
    if observed.authority is None:
        message = "The hub manager has no certificate authority yet. Check its log and Events"
        return _update(SERVER_READY, "False", RunReason.NO_AUTHORITY, message), ()
    if job is None and (fault := stage.spec_fault) is not None:
        return ConditionUpdate(SERVER_READY, "False", fault.reason.value, str(fault)), ()
    if not listeners:
        types = ", ".join(listener.type for listener in observed.run.spec.server.listeners)
        message = f"No listener ({types}) has an address yet. Check the Services of the run"
        return _update(SERVER_READY, "False", RunReason.NO_ADDRESS, message), ()
    if succeeded(observed.pods, number):
        message = "The aggregator has finished; the run is complete once its Job is"
        return _update(SERVER_READY, "False", RunReason.FINISHED, message), ()
    if job is None or not job.status.ready:
        message, due = _not_ready(stage, job)
        return _update(SERVER_READY, "False", RunReason.STARTING, message), due
    message = f"The aggregator is ready at {listeners[0].address}:{listeners[0].port}"
    return _update(SERVER_READY, "True", RunReason.SERVING, message), ()


def _not_ready(stage: StageInput, job: Job | None) -> tuple[str, tuple[datetime, ...]]:
    """Describe why the aggregator's pod is not ready, from the pod's status or the lack of a pod."""
    observed, number = stage.observed, stage.attempt.attempt
    if why := start_problem(observed.pods, number):
        return f"The aggregator's pod cannot start: {why}", ()
    ready = condition_of(stage.recorded, SERVER_READY)
    since = timestamps.since(ready if ready is not None and ready.status == "False" else None, observed.now)
    due = pod_due(job, observed.pods, number, since)
    if job is None or due is None or observed.now < due:
        return "The aggregator's pod is not ready", () if due is None else (due,)
    return missing_pod_message(job), ()
