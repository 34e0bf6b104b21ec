"""Which changes concern which run: the runs' part of the hub manager, put together."""

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


class Part(Protocol):
    """Something that runs for ever: a reflector or the controller."""

    async def run(self) -> None:
        """Runs until cancelled."""
        ...


def run_parts(
    api: Api,
    around: SharedReflectors,
    settings: RunSettings,
    dependencies: RunDependencies,
    registry: CollectorRegistry,
    *,
    authority_known: Callable[[Callable[[], None]], None] = lambda _: None,
) -> Sequence[Part]:
    """The runs' part of the hub manager, not running yet; the parts around it are run by whoever made them.

    Args:
        api: The hub's API server.
        around: What is watched already.
        settings: What is the same for every run.
        dependencies: Time, keys, serial numbers and the authority.
        registry: Takes the part's metrics.
        authority_known: Has what it is given called when there is an authority where there was none.
    """
    watched = watch_runs(api)
    recorder = Recorder(api, "federated-learning-hub-manager", now=dependencies.now)
    plans = PlanSources(api, watched.runs)
    observer = Observer(watched, around, dependencies, plans.find)
    reconciler = RunReconciler(api, observer, observer.strays, settings, dependencies, recorder, RunMetrics(registry))
    controller = Controller("run", reconciler.reconcile, _sources(watched, around))
    plans.subscribe(controller.enqueue)

    def all_look_again() -> None:
        for run in watched.runs.store.values():
            controller.enqueue(_key(run))

    authority_known(all_look_again)
    return (*watched.parts(), plans, controller)


@dataclass(frozen=True, slots=True)
class _Concerned:
    """Which runs a change concerns, where what has changed names none."""

    runs: Store[FederatedLearning]

    def of_namespace(self, changed: Resource) -> Iterable[ObjectKey]:
        return [_key(run) for run in self.runs.by_index(BY_NAMESPACE, changed.metadata.namespace)]

    def of_claim(self, claim: PersistentVolumeClaim) -> Iterable[ObjectKey]:
        name = claim.metadata.name
        users = self.runs.by_index(BY_NAMESPACE, claim.metadata.namespace)
        return [_key(run) for run in users if run.spec.server.storage.name == name]

    def of_cluster(self, name: str) -> Iterable[ObjectKey]:
        return [_key(run) for run in self.runs.by_index(BY_CLUSTER, name)]

    def everyone(self, _changed: Resource) -> Iterable[ObjectKey]:
        return [_key(run) for run in self.runs.values() if run.status.cohort and not run.status.completion_time]


def _sources(watched: RunReflectors, around: SharedReflectors) -> tuple[Source[Any], ...]:
    concerned = _Concerned(watched.runs.store)
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
        Source(watched.bindings, concerned.of_namespace),
        Source(watched.works, _of_work),
        Source(watched.claims, concerned.of_claim),
        Source(watched.nodes, _nobody),
        Source(watched.api_server, concerned.everyone),
        *(Source(reflector, _of_owned) for reflector in owned),
        Source(around.clusters, lambda cluster: concerned.of_cluster(cluster.name)),
        Source(around.addons, lambda addon: concerned.of_cluster(addon.metadata.namespace)),
        Source(around.bundles, concerned.everyone),
    )


def _itself(run: FederatedLearning) -> Iterable[ObjectKey]:
    return (_key(run),)


def _of_placement(decision: PlacementDecision) -> Iterable[ObjectKey]:
    return (ObjectKey(decision.metadata.namespace, decision.metadata.labels.get(PLACEMENT_LABEL, "")),)


def _of_work(work: ManifestWork) -> Iterable[ObjectKey]:
    found = run_of_work(work.metadata.annotations)
    return () if found is None else (found,)


def _nobody(_node: NodeAddresses) -> Iterable[ObjectKey]:
    # Addresses seldom change, nodes' status often does: the next sweep is soon enough.
    return ()


def _of_owned(owned: Resource) -> Iterable[ObjectKey]:
    return (ObjectKey(owned.metadata.namespace, owned.metadata.labels.get(RUN_LABEL, "")),)


def _key(run: FederatedLearning) -> ObjectKey:
    return ObjectKey(run.metadata.namespace, run.metadata.name)
