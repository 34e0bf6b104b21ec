"""Schedule a run: validate its spec, check the bound cluster sets, and wait for enough selected clusters."""

from dataclasses import dataclass

from federation.api.meta import ConditionStatus, condition_of
from federation.kube.actions import Action, Apply
from federation.kube.kinds import MANAGED_CLUSTER_SET_BINDING, PLACEMENT
from federation.kube.resource import ObjectKey
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning import writes
from hub_manager.federated_learning.planning.conditions import RunReason
from hub_manager.federated_learning.planning.training_plan import TrainingPlanState, UnreadPlan
from hub_manager.federated_learning.planning.validate import SpecFault, allowed, faults
from hub_manager.federated_learning.resources.names import is_current
from hub_manager.federated_learning.resources.placement import binding, cluster_sets, placement
from hub_manager.federated_learning.settings import RunSettings

SATISFIED = "PlacementSatisfied"
MISCONFIGURED = "PlacementMisconfigured"
"""Conditions of OCM's Placement (api `cluster/v1beta1/types_placement.go`)."""


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """Reason why the run is not scheduled, with the writes that may change that."""

    status: ConditionStatus
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    keeps_works: bool = False
    """Whether clusters keep their ManifestWorks, because enough clusters may be selected in a moment."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Names of the selected clusters, once they are enough."""

    clusters: tuple[str, ...]
    message: str
    actions: tuple[Action, ...] = ()


def schedule(observed: ObservedRun, settings: RunSettings, training_plan: TrainingPlanState) -> Unscheduled | Selected:
    """Return the selected clusters, or why the run is not scheduled, with the writes for its Placement.

    Args:
        observed: The observed run.
        settings: Settings for every run.
        training_plan: The plan of this attempt.
    """
    run = observed.run
    plan_faults = (training_plan,) if isinstance(training_plan, SpecFault) else ()
    all_faults = (*faults(run, settings.limits), *plan_faults)
    if all_faults or isinstance(training_plan, SpecFault):
        return Unscheduled("False", all_faults[0].reason.value, "; ".join(map(str, all_faults)))
    if isinstance(training_plan, UnreadPlan):
        message = "Reading the ConfigMap in spec.server.plan.configMap"
        return Unscheduled("Unknown", RunReason.PLAN_PENDING.value, message, keeps_works=True)
    barred = [
        name
        for name in cluster_sets(run)
        if name not in observed.bindings and not allowed(name, settings.limits.cluster_sets)
    ]
    if barred:
        message = (
            f"spec.client.placement.clusterSets: {', '.join(barred)}: ask an administrator of the cluster sets to "
            f"create a ManagedClusterSetBinding in namespace {run.metadata.namespace} (clusteradm clusterset bind)"
        )
        return Unscheduled("False", RunReason.CLUSTER_SET_NOT_BOUND.value, message)
    actions = (*writes.plan_copy(observed, training_plan), *_wanted(observed, settings))
    if not training_plan.copied and not observed.refusals:
        message = "Copying the plan for this attempt"
        return Unscheduled("Unknown", RunReason.PLAN_PENDING.value, message, actions, keeps_works=True)
    quorum = run.spec.server.quorum
    if training_plan.copied and len(observed.selected) >= quorum and is_current(observed.placement, placement(run)):
        message = f"{len(observed.selected)} clusters are selected, {quorum} are required"
        return Selected(observed.selected, message, actions)
    return _undecided(observed, actions)


def _undecided(observed: ObservedRun, actions: tuple[Action, ...]) -> Unscheduled:
    run, present = observed.run, observed.placement
    if observed.refusals:
        return Unscheduled(
            "False", RunReason.REFUSED_BY_SERVER.value, "; ".join(observed.refusals), actions, keeps_works=True
        )
    if present is None or not is_current(present, placement(run)) or not present.status.conditions:
        return Unscheduled(
            "Unknown",
            RunReason.NOT_DECIDED.value,
            "Waiting for OCM to decide on the Placement",
            actions,
            keeps_works=True,
        )
    misconfigured = condition_of(present.status.conditions, MISCONFIGURED)
    if misconfigured is not None and misconfigured.status == "True":
        message = f"spec.client.placement: {misconfigured.message}"
        return Unscheduled("False", RunReason.TOO_FEW_CLUSTERS.value, message, actions, keeps_works=True)
    why = condition_of(present.status.conditions, SATISFIED)
    detail = f" ({why.message})" if why is not None and why.message else ""
    message = (
        f"{len(observed.selected)} of at least {run.spec.server.quorum} clusters are selected{detail}. Widen "
        "spec.client.placement, lower spec.server.minAvailableClients, or offer the dataset and the resources of "
        "spec.client on more clusters"
    )
    return Unscheduled("False", RunReason.TOO_FEW_CLUSTERS.value, message, actions, keeps_works=True)


def _wanted(observed: ObservedRun, settings: RunSettings) -> tuple[Action, ...]:
    run = observed.run
    bindings = tuple(
        Apply(MANAGED_CLUSTER_SET_BINDING, ObjectKey(run.metadata.namespace, name), binding(run, name))
        for name in cluster_sets(run)
        if name not in observed.bindings and allowed(name, settings.limits.cluster_sets)
    )
    body = placement(run)
    return (*bindings, *writes.ensure(PLACEMENT, observed.placement, body))
