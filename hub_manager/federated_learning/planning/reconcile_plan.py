"""Plan one reconcile pass of a run: from the observed state to the status and the ordered writes.

Pure and level-triggered: an observation always gives the same plan, and a state in which that plan took effect gives an
empty one. The status is written first: the attempt and its cohort are recorded before any object is created for them.
A manager that is killed at any point is therefore followed by one that makes the same decisions.

    Waiting: validate -> Placement -> ask the selected clusters -> enough have accepted -> fix the cohort
    Running: certificate, ConfigMap, Job, ManifestWorks with the aggregator's address -> the Job ends, or a quorum fails
    Ended:   ManifestWorks removed; other objects kept until the time to live has passed

No branch reads the phase, which is derived from the conditions. Temporary problems (a lost cluster, an API server that
does not answer, a lost quorum) are conditions and never end a run. Permanent ones do: the aggregator gave up, too many
clusters failed permanently for a round to close, or the deadline has passed.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from federation.api.meta import Condition, is_true
from federation.api.run_status import COHORT_READY, COMPLETE, FAILED, PROGRESSING, SCHEDULED, SERVER_READY
from federation.kube.actions import Action, Apply, Delete, DeleteOwned, OwnerLabel, Patch, ReconcilePlan
from federation.kube.kinds import FEDERATED_LEARNING, MANIFEST_WORK, PERSISTENT_VOLUME_CLAIM, SECRET
from federation.kube.resource import Json, key_of
from hub_manager.federated_learning.actions import RunAction
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning.attempt import SpecHash, current_attempt
from hub_manager.federated_learning.planning.conditions import (
    ConditionUpdate,
    RunReason,
    derive_status,
    event_records,
    merge_updates,
    status_body,
)
from hub_manager.federated_learning.planning.stages import (
    StageInput,
    StageResult,
    deadline,
    ended,
    past_deadline,
    running,
    waiting,
)
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


NOT_REACHED: Final = "The run has not reached this step"
NOT_ENDED: Final = "The run has not ended"


def plan_run(observed: ObservedRun, settings: RunSettings) -> ReconcilePlan[RunAction]:
    """Return the status and the writes that bring the run closer to its spec."""
    run = observed.run
    if run.metadata.deleting:
        return ReconcilePlan(actions=tuple(_cleanup(observed)))
    if FINALIZER not in run.metadata.finalizers:
        return ReconcilePlan(actions=(_finalizers(observed, (*run.metadata.finalizers, FINALIZER)),))
    attempt = current_attempt(observed)
    if not attempt.cohort and _has_rounds(observed):
        # The aggregator of an earlier attempt owns these fields; server-side apply would not remove them.
        cleared: Json = dict.fromkeys(AGGREGATORS_OWN) | {"clusters": None}
        return ReconcilePlan(
            actions=(Patch(FEDERATED_LEARNING, key_of_run(run), {"status": cleared}, subresource="status"),)
        )
    recorded = run.status.conditions if attempt.attempt == run.status.attempt else ()
    current_plan = training_plan(observed, SpecHash.parse(attempt.recipe).plan)
    stage = StageInput(observed, settings, attempt, recorded, current_plan)
    limit = deadline(stage)
    if is_true(recorded, COMPLETE) or is_true(recorded, FAILED):
        result, limit = ended(stage), None
    elif limit is not None and observed.now >= limit:
        result, limit = past_deadline(stage), None
    else:
        result = running(stage) if attempt.cohort else waiting(stage)
    return _reconcile_plan(stage, result, () if limit is None else (limit,))


def _reconcile_plan(stage: StageInput, result: StageResult, limit: tuple[datetime, ...]) -> ReconcilePlan[RunAction]:
    observed = stage.observed
    run, now = observed.run, observed.now
    conditions = _conditions(stage, result)
    desired = derive_status(
        run,
        conditions,
        attempt=result.attempt,
        clusters=result.clusters,
        listeners=result.listeners,
        ready=result.ready,
    )
    status = status_body(run, desired)
    # Times that have passed are handled by this pass.
    delays = ((moment - now).total_seconds() for moment in (*limit, *result.due) if moment > now)
    return ReconcilePlan(
        actions=result.actions,
        status=None if status is None else Apply(FEDERATED_LEARNING, key_of_run(run), status, subresource="status"),
        events=() if status is None else event_records(run.status.conditions, conditions),
        requeue_after=min(delays, default=None),
    )


def _conditions(stage: StageInput, result: StageResult) -> tuple[Condition, ...]:
    """Return all conditions of the run; the types that no stage has set yet get a default."""
    observed = stage.observed
    present = {update.type for update in result.conditions} | {condition.type for condition in stage.recorded}
    steps = (SCHEDULED, SERVER_READY, COHORT_READY, PROGRESSING)
    defaults = [
        *(ConditionUpdate(kind, "Unknown", RunReason.NOT_STARTED.value, NOT_REACHED) for kind in steps),
        *(ConditionUpdate(kind, "False", RunReason.NOT_ENDED.value, NOT_ENDED) for kind in (COMPLETE, FAILED)),
    ]
    updates = [*result.conditions, *(default for default in defaults if default.type not in present)]
    if observed.refusals:
        message = "; ".join(observed.refusals)
        updates.append(ConditionUpdate(SERVER_READY, "False", RunReason.REFUSED_BY_SERVER.value, message))
    return merge_updates(observed.run, stage.recorded, updates, observed.now)


def _cleanup(observed: ObservedRun) -> Iterator[Action]:
    """Delete the run's ManifestWorks, its volume claim if the spec asks for that, and the finalizer last.

    ManifestWorks have no owner, and a recent one may not be observed yet, so the server lists them. An unreachable
    cluster does not delay the deletion: its work agent removes the ManifestWork once it is back. Objects in the run's
    namespace are owned by the run and garbage-collected.
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
