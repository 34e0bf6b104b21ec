"""Build the hub manager's part of a run's status: its conditions, and the fields derived from them.

The status is written by server-side apply with the resourceVersion that it was computed from. The aggregator keeps its
fields. A status computed from an outdated object is rejected and computed again; an unchanged one is not written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgspec

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import Condition, ConditionStatus, condition_of
from federation.api.run_status import (
    COHORT_READY,
    COMPLETE,
    FAILED,
    PROGRESSING,
    SCHEDULED,
    SERVER_READY,
    ClusterStatus,
    FederatedLearningStatus,
    ListenerStatus,
    Summary,
    phase_of,
)
from federation.kube.conditions import merge_condition
from federation.kube.encoding import condition_json, plain
from federation.kube.events import EventRecord
from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json

MESSAGE_LIMIT: Final = 4096


class RunReason(Enum):
    """Reasons of a run's conditions, in addition to those of `validate.FaultReason`."""

    SELECTED = "ClustersSelected"
    """Scheduled: enough clusters are selected."""
    TOO_FEW_CLUSTERS = "TooFewClusters"
    """Scheduled: the placement selects fewer clusters than the run needs."""
    NOT_DECIDED = "PlacementNotDecided"
    """Scheduled: OCM has not decided on the placement yet."""
    PLAN_PENDING = "PlanPending"
    """Scheduled: the hub manager is reading the ConfigMap with the plan, or copying it for this attempt."""
    CLUSTER_SET_NOT_BOUND = "ClusterSetNotBound"
    """Scheduled: the namespace is not bound to a cluster set that the placement names."""
    REFUSED_BY_SERVER = "RefusedByServer"
    """Scheduled, ServerReady: the hub's API server rejected an object of the run; the message has the error."""
    GATHERING = "GatheringSites"
    """CohortReady: too few selected clusters have accepted the run, or some have not answered yet."""
    SITES_REFUSED = "SitesRefused"
    """CohortReady: too many clusters refused for the run to start; the message has their reasons."""
    COHORT_FIXED = "CohortFixed"
    """CohortReady: enough members are ready for a round."""
    QUORUM_LOST = "QuorumLost"
    """CohortReady: fewer members are ready than a round needs; the open round waits for them, at most until its
    extended deadline."""
    NO_AUTHORITY = "NoAuthority"
    """ServerReady: the hub manager has no certificate authority yet."""
    NO_ADDRESS = "NoAddress"
    """ServerReady: no listener has an address yet."""
    STARTING = "AggregatorStarting"
    """ServerReady, Progressing: the aggregator is not ready."""
    SERVING = "AggregatorServing"
    """ServerReady: the aggregator is ready and has an address."""
    FINISHED = "AggregatorFinished"
    """ServerReady: the aggregator has finished; the run is complete once its Job is."""
    NOT_STARTED = "NotStarted"
    """Scheduled, ServerReady, CohortReady, Progressing: the run has not reached this step."""
    ROUNDS = "RoundsUnderWay"
    """Progressing: rounds are in progress."""
    SUSPENDED = "Suspended"
    """CohortReady, Progressing: `spec.suspend` is set."""
    SPEC_CHANGED = "SpecChanged"
    """Progressing: the spec changed during the rounds; the change takes effect after this attempt."""
    ENDED = "Ended"
    """ServerReady, Progressing: the run has ended."""
    MODEL_STORED = "ModelStored"
    """Complete: all rounds are complete."""
    NOT_ENDED = "NotEnded"
    """Complete, Failed: the run has not ended."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """Failed: `spec.activeDeadlineSeconds` has passed."""
    SITES_FAILED = "SitesFailed"
    """Failed: too many members have failed or refused for a round to close; the message has the first error."""
    AGGREGATOR_FAILED = "AggregatorFailed"
    """Failed: the aggregator ended repeatedly without reporting a reason."""


@dataclass(frozen=True, slots=True)
class ConditionUpdate:
    """A condition to set in this pass; `reason` is the value of an enum member."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def merge_updates(
    run: FederatedLearning, recorded: tuple[Condition, ...], updates: Iterable[ConditionUpdate], now: datetime
) -> tuple[Condition, ...]:
    """Return all conditions of the run; those without an update keep their recorded value.

    The last update of a type counts. A transition time changes only if the status of its condition changes.
    """
    merged = recorded
    for update in {update.type: update for update in updates}.values():
        new = Condition(
            type=update.type,
            status=update.status,
            reason=update.reason,
            message=update.message[:MESSAGE_LIMIT],
            observed_generation=run.metadata.generation,
        )
        merged = merge_condition(merged, new, now=now)
    return merged


def status_body(run: FederatedLearning, desired: FederatedLearningStatus) -> Json | None:
    """Return the body to apply to the status, or None if the hub manager's part of the status is current."""
    if all(getattr(run.status, name) == getattr(desired, name) for name in HUB_MANAGERS_OWN) and _same_clusters(
        run, desired
    ):
        return None
    own: Json = {_WIRE[name]: _json(getattr(desired, name)) for name in HUB_MANAGERS_OWN}
    own["clusters"] = [_cluster_json(cluster) for cluster in desired.clusters]
    return {
        "apiVersion": FEDERATED_LEARNING.api_version,
        "kind": FEDERATED_LEARNING.kind,
        "metadata": {
            "name": run.metadata.name,
            "namespace": run.metadata.namespace,
            "uid": run.metadata.uid,
            "resourceVersion": run.metadata.resource_version,
        },
        "status": {name: value for name, value in own.items() if value not in ("", [], {})},
    }


def derive_status(
    run: FederatedLearning,
    conditions: tuple[Condition, ...],
    *,
    attempt: FederatedLearningStatus,
    clusters: tuple[ClusterStatus, ...],
    listeners: tuple[ListenerStatus, ...],
    ready: int,
) -> FederatedLearningStatus:
    """Derive the status from the conditions.

    Args:
        run: The run, with the aggregator's fields of its status.
        conditions: The conditions.
        attempt: Number, hash, cohort and times of the attempt.
        clusters: Status of each cluster.
        listeners: Addresses of the aggregator.
        ready: Number of ready clusters.
    """
    started = bool(attempt.cohort)
    selected = len(attempt.cohort) if started else len(clusters)
    current = run.status.attempt == attempt.attempt
    return msgspec.structs.replace(
        attempt,
        phase=phase_of(conditions, started=started).value,
        message=_headline(conditions, started=started),
        listeners=listeners,
        conditions=conditions,
        observed_generation=run.metadata.generation,
        clusters=clusters,
        summary=Summary(
            round=f"{run.status.round if current else 0}/{run.spec.server.rounds}",
            clusters=f"{ready}/{selected}",
            metric=_metric(run.status) if current else "",
        ),
    )


def event_records(before: Iterable[Condition], after: Iterable[Condition]) -> tuple[EventRecord, ...]:
    """Return an Event for each condition whose status or reason changed."""
    old = tuple(before)
    events = []
    for condition in after:
        previous = condition_of(old, condition.type)
        if previous is not None and (previous.status, previous.reason) == (condition.status, condition.reason):
            continue
        if condition.reason in _QUIET:
            continue
        bad = condition.type == FAILED or (condition.status == "False" and condition.reason not in _MILD)
        events.append(EventRecord("Warning" if bad else "Normal", condition.reason, condition.message))
    return tuple(events)


def _headline(conditions: tuple[Condition, ...], *, started: bool) -> str:
    """Return the message of the condition that matters most to a reader."""
    by_type: Mapping[str, Condition] = {c.type: c for c in conditions}
    for kind in (FAILED, COMPLETE):
        if kind in by_type and by_type[kind].status == "True":
            return by_type[kind].message
    if (refused := by_type.get(SERVER_READY)) is not None and refused.reason == RunReason.REFUSED_BY_SERVER.value:
        return refused.message
    order = (COHORT_READY, SERVER_READY, PROGRESSING) if started else (SCHEDULED, COHORT_READY, SERVER_READY)
    wrong = (by_type[kind] for kind in order if kind in by_type and by_type[kind].status != "True")
    fine = (by_type[kind] for kind in reversed(order) if kind in by_type)
    return next((c.message for c in (*wrong, *fine)), "")


def _metric(status: FederatedLearningStatus) -> str:
    return f"{status.metrics[0].name} {status.metrics[0].value:.4g}" if status.metrics else ""


def _same_clusters(run: FederatedLearning, desired: FederatedLearningStatus) -> bool:
    present = [_cluster_json(cluster) for cluster in run.status.clusters if cluster.state]
    return present == [_cluster_json(cluster) for cluster in desired.clusters]


def _cluster_json(cluster: ClusterStatus) -> Json:
    own = {
        "name": cluster.name,
        "state": cluster.state,
        "reason": cluster.reason,
        "lastError": cluster.last_error,
    }
    return {name: value for name, value in own.items() if value}


def _json(value: Any) -> Any:
    match value:
        case tuple():
            return [_json(item) for item in value]
        case Condition():
            return condition_json(value)
        case _:
            return plain(value)


HUB_MANAGERS_OWN: Final = (
    "phase",
    "message",
    "listeners",
    "conditions",
    "observed_generation",
    "attempt",
    "recipe",
    "cohort",
    "summary",
    "start_time",
    "completion_time",
)
_WIRE: Final = {f.name: f.encode_name for f in msgspec.structs.fields(FederatedLearningStatus)}
_QUIET: Final = frozenset(
    reason.value
    for reason in (RunReason.NOT_ENDED, RunReason.NOT_STARTED, RunReason.FINISHED, RunReason.ENDED, RunReason.ROUNDS)
)
_MILD: Final = frozenset(
    reason.value
    for reason in (
        RunReason.GATHERING,
        RunReason.NOT_DECIDED,
        RunReason.PLAN_PENDING,
        RunReason.STARTING,
        RunReason.NO_ADDRESS,
        RunReason.SUSPENDED,
    )
)
