"""What there is to do for one run: everything observed in, the status and the writes out, in their order.

Pure and level-triggered: the same observation gives the same plan, and one in which it all took effect gives none. The
status is written first: which attempt this is, and who is in its cohort, is recorded before anything is made on its
account, so that a manager killed at any point is followed by one that decides the same.

    Waiting: validate -> Placement -> ask the selected sites -> enough have accepted -> fix the cohort
    Running: certificate, ConfigMap, Job, works with the aggregator's address -> the Job ends, or nobody is left
    ended:   works removed, the rest kept until the time to live is over

No branch reads the phase: it is made of the conditions at the end. What can pass (a lost site, an API server that does
not answer, a lost quorum) is a condition and never ends a run; what can't (the aggregator gave up, so many sites failed
for good that no round can close, the deadline) does.
"""

from collections.abc import Iterator
from typing import Final

from federation.api.meta import Condition, condition_of, is_true
from federation.api.run_status import COHORT_READY, COMPLETE, FAILED, PROGRESSING, SCHEDULED, SERVER_READY
from federation.kube.actions import Action, Apply, Delete, DeleteOwned, OwnerLabel, Patch, ReconcilePlan
from federation.kube.kinds import FEDERATED_LEARNING, MANIFEST_WORK, PERSISTENT_VOLUME_CLAIM, SECRET
from federation.kube.resource import Json, key_of
from hub_manager.federated_learning.actions import RunAction
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning.attempt import SpecHash, current_attempt
from hub_manager.federated_learning.planning.conditions import (
    ConditionBuilder,
    RunReason,
    derive_status,
    event_records,
    status_body,
)
from hub_manager.federated_learning.planning.stages import PlanBuilder, end_if_deadline_passed, ended, running, waiting
from hub_manager.federated_learning.planning.training_plan import training_plan
from hub_manager.federated_learning.resources.names import FINALIZER, RUN_UID_LABEL, belongs, key_of_run, secret_key
from hub_manager.federated_learning.settings import RunSettings

AGGREGATORS_OWN: Final = (
    "round",
    "rounds",
    "progressPercent",
    "estimatedCompletionTime",
    "metrics",
    "model",
    "failure",
)


def plan_run(observed: ObservedRun, settings: RunSettings) -> ReconcilePlan[RunAction]:
    """The status and the writes that bring the run nearer to what it has to be."""
    run = observed.run
    if run.metadata.deleting:
        return ReconcilePlan(actions=tuple(_cleanup(observed)))
    if FINALIZER not in run.metadata.finalizers:
        return ReconcilePlan(actions=(_finalizers(observed, (*run.metadata.finalizers, FINALIZER)),))
    attempt = current_attempt(observed)
    if not attempt.cohort and _has_rounds(observed):
        # An earlier attempt's aggregator owns these fields, so that only a patch removes them.
        cleared: Json = dict.fromkeys(AGGREGATORS_OWN) | {"clusters": None}
        return ReconcilePlan(
            actions=(Patch(FEDERATED_LEARNING, key_of_run(run), {"status": cleared}, subresource="status"),)
        )
    recorded = run.status.conditions if attempt.attempt == run.status.attempt else ()
    current_plan = training_plan(observed, SpecHash.parse(attempt.recipe).plan)
    builder = PlanBuilder(observed, settings, attempt, ConditionBuilder(run, observed.now, recorded), current_plan)
    if is_true(recorded, COMPLETE) or is_true(recorded, FAILED):
        ended(builder)
    elif not end_if_deadline_passed(builder):
        running(builder) if attempt.cohort else waiting(builder)
    return _reconcile_plan(builder)


def _reconcile_plan(builder: PlanBuilder) -> ReconcilePlan[RunAction]:
    run = builder.observed.run
    for kind in (SCHEDULED, SERVER_READY, COHORT_READY, PROGRESSING):
        if condition_of(builder.conditions.build(), kind) is None:
            builder.conditions.set(kind, "Unknown", RunReason.NOT_STARTED.value, "The run has not reached this step")
    for kind in (COMPLETE, FAILED):
        if condition_of(builder.conditions.build(), kind) is None:
            builder.conditions.set(kind, "False", RunReason.NOT_ENDED.value, "The run has not ended")
    if builder.observed.refusals:
        builder.conditions.set(
            SERVER_READY, "False", RunReason.REFUSED_BY_SERVER.value, "; ".join(builder.observed.refusals)
        )
    desired = derive_status(
        run,
        builder.conditions.build(),
        attempt=builder.attempt,
        clusters=builder.clusters,
        listeners=builder.listeners,
        ready=builder.ready,
    )
    before: tuple[Condition, ...] = run.status.conditions
    status = status_body(run, desired)
    now = builder.observed.now
    # Skip what was due by now: this pass has handled it.
    delays = ((moment - now).total_seconds() for moment in builder.due if moment > now)
    return ReconcilePlan(
        actions=tuple(builder.actions),
        status=None if status is None else Apply(FEDERATED_LEARNING, key_of_run(run), status, subresource="status"),
        events=() if status is None else event_records(before, builder.conditions.build()),
        requeue_after=min(delays, default=None),
    )


def _cleanup(observed: ObservedRun) -> Iterator[Action]:
    """Every work of the run, wherever it is, then its claim where asked, and last the finalizer.

    The works have no owner, and one that was made a moment ago may not be observed yet: the server is asked for them.
    A site that can't be reached holds nothing up: its work is on its way out, and goes when the site is back. What is
    in the run's namespace has the run as its owner.
    """
    run = observed.run
    if FINALIZER not in run.metadata.finalizers:
        return
    yield DeleteOwned(MANIFEST_WORK, key_of_run(run), OwnerLabel(RUN_UID_LABEL, run.metadata.uid))
    claim = observed.claim
    ours = claim is not None and belongs(claim, run) and not claim.metadata.deleting
    if claim is not None and ours and run.spec.server.storage.retention_policy == "Delete":
        yield Delete(PERSISTENT_VOLUME_CLAIM, key_of(claim), claim.metadata.uid)
    if observed.config_map is not None:
        yield Delete(SECRET, secret_key(run), "")
    yield _finalizers(observed, tuple(name for name in run.metadata.finalizers if name != FINALIZER))


def _finalizers(observed: ObservedRun, names: tuple[str, ...]) -> Action:
    metadata = observed.run.metadata
    patch = {"uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": list(names)}
    return Patch(FEDERATED_LEARNING, key_of_run(observed.run), {"metadata": patch})


def _has_rounds(observed: ObservedRun) -> bool:
    status = observed.run.status
    own = (status.round, status.rounds, status.metrics, status.model, status.failure, status.estimated_completion_time)
    return any(own) or any(cluster.round or cluster.last_seen for cluster in status.clusters)
