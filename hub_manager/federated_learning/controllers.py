"""Assemble the runs' part of the hub manager, and map each changed object to the runs that it affects."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes.run_objects import (
    PLACEMENT_LABEL,
    NodeAddresses,
    PersistentVolumeClaim,
    PlacementDecision,
)
from federation.api.ocm.work import ManifestWork
from federation.kube.api import Api
from federation.kube.controller import Controller, Source
from federation.kube.events import Recorder
from federation.kube.resource import ObjectKey, Resource
from federation.kube.store import Store
from hub_manager.federated_learning.dependencies import RunDependencies
from hub_manager.federated_learning.metrics import RunMetrics
from hub_manager.federated_learning.observation.observer import (
    BY_CLUSTER,
    BY_NAMESPACE,
    Observer,
    RunReflectors,
    SharedReflectors,
    watch_runs,
)
from hub_manager.federated_learning.observation.plan_config_maps import PlanSources
from hub_manager.federated_learning.reconciler import RunReconciler
from hub_manager.federated_learning.resources.names import RUN_LABEL, run_of_work
from hub_manager.federated_learning.settings import RunSettings


class RunPart(Protocol):
    """Long-running task: a reflector or the controller."""

    async def run(self) -> None:
        """Run until cancelled."""
        ...


def run_parts(
    api: Api,
    around: SharedReflectors,
    settings: RunSettings,
    dependencies: RunDependencies,
    registry: CollectorRegistry,
    *,
    authority_known: Callable[[Callable[[], None]], None] = lambda _: None,
) -> Sequence[RunPart]:
    """Return the runs' part of the hub manager, not started; the caller starts the shared reflectors.

    Args:
        api: The hub's API server.
        around: Reflectors of other parts of the hub manager.
        settings: Settings for every run.
        dependencies: Time, keys, serial numbers and the authority.
        registry: Registry for the part's metrics.
        authority_known: Registers a callback for the time when an authority becomes available.
    """
    watched = watch_runs(api)
    recorder = Recorder(api, "federated-learning-hub-manager", now=dependencies.now)
    plans = PlanSources(api, watched.runs)
    observer = Observer(watched, around, dependencies, plans.find)
    reconciler = RunReconciler(api, observer, observer.strays, settings, dependencies, recorder, RunMetrics(registry))
    controller = Controller("run", reconciler.reconcile, _sources(watched, around))
    plans.subscribe(controller.enqueue)

    def requeue_all() -> None:
        for run in watched.runs.store.values():
            controller.enqueue(_key(run))

    authority_known(requeue_all)
    return (*watched.parts(), plans, controller)


@dataclass(frozen=True, slots=True)
class _AffectedRuns:
    """Look-up of the runs that a changed object affects without naming them."""

    runs: Store[FederatedLearning]

    def of_namespace(self, changed: Resource) -> Iterable[ObjectKey]:
        return [_key(run) for run in self.runs.by_index(BY_NAMESPACE, changed.metadata.namespace)]

    def of_claim(self, claim: PersistentVolumeClaim) -> Iterable[ObjectKey]:
        name = claim.metadata.name
        users = self.runs.by_index(BY_NAMESPACE, claim.metadata.namespace)
        return [_key(run) for run in users if run.spec.server.storage.name == name]

    def of_cluster(self, name: str) -> Iterable[ObjectKey]:
        return [_key(run) for run in self.runs.by_index(BY_CLUSTER, name)]

    def all_with_cohort(self, _changed: Resource) -> Iterable[ObjectKey]:
        return [_key(run) for run in self.runs.values() if run.status.cohort and not run.status.completion_time]


def _sources(watched: RunReflectors, around: SharedReflectors) -> tuple[Source[Any], ...]:
    affected = _AffectedRuns(watched.runs.store)
    owned = (
        watched.placements,
        watched.jobs,
        watched.services,
        watched.config_maps,
        watched.service_accounts,
        watched.roles,
        watched.role_bindings,
        watched.network_policies,
        watched.pods,
    )
    return (
        Source(watched.runs, _itself),
        Source(watched.decisions, _of_placement),
        Source(watched.bindings, affected.of_namespace),
        Source(watched.works, _of_work),
        Source(watched.claims, affected.of_claim),
        Source(watched.nodes, _none),
        Source(watched.api_server, affected.all_with_cohort),
        *(Source(reflector, _of_owned) for reflector in owned),
        Source(around.clusters, lambda cluster: affected.of_cluster(cluster.name)),
        Source(around.addons, lambda addon: affected.of_cluster(addon.metadata.namespace)),
        Source(around.bundles, affected.all_with_cohort),
    )


def _itself(run: FederatedLearning) -> Iterable[ObjectKey]:
    return (_key(run),)


def _of_placement(decision: PlacementDecision) -> Iterable[ObjectKey]:
    return (ObjectKey(decision.metadata.namespace, decision.metadata.labels.get(PLACEMENT_LABEL, "")),)


def _of_work(work: ManifestWork) -> Iterable[ObjectKey]:
    run = run_of_work(work.metadata.annotations)
    return () if run is None else (run,)


def _none(_node: NodeAddresses) -> Iterable[ObjectKey]:
    # Addresses seldom change, but a node's status often does; the next resync is soon enough.
    return ()


def _of_owned(owned: Resource) -> Iterable[ObjectKey]:
    return (ObjectKey(owned.metadata.namespace, owned.metadata.labels.get(RUN_LABEL, "")),)


def _key(run: FederatedLearning) -> ObjectKey:
    return ObjectKey(run.metadata.namespace, run.metadata.name)
