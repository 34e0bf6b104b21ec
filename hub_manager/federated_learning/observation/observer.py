"""Watch the objects of runs, and read each run from the stores.

For kinds with many unrelated objects the reflectors select the run label (`names.OURS`). Claims and nodes have no such
label: a claim may be the user's, and only the addresses of nodes are kept.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from federation.api.dns_names import is_dns_label
from federation.api.federated_learning import FederatedLearning
from federation.api.identity import ADDON_NAME
from federation.api.kubernetes.core import ConfigMap, Role, RoleBinding
from federation.api.kubernetes.run_objects import (
    PLACEMENT_LABEL,
    AggregatorPod,
    EndpointSlice,
    Job,
    ManagedClusterSetBinding,
    NetworkPolicy,
    NodeAddresses,
    PersistentVolumeClaim,
    Placement,
    PlacementDecision,
    Service,
    ServiceAccount,
)
from federation.api.meta import is_true
from federation.api.ocm.addon import DEFAULT_INSTALL_NAMESPACE, ManagedClusterAddOn
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork
from federation.kube.api import Api
from federation.kube.kinds import (
    AGGREGATOR_POD,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    FEDERATED_LEARNING,
    HUB_NODE,
    JOB,
    MANAGED_CLUSTER_SET_BINDING,
    MANIFEST_WORK,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    PLACEMENT,
    PLACEMENT_DECISION,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
)
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, Resource
from hub_manager.federated_learning.dependencies import RunDependencies
from hub_manager.federated_learning.observation.observed import ConfigMapLookup, ObservedRun
from hub_manager.federated_learning.resources.names import (
    OURS,
    RUN_UID_LABEL,
    belongs,
    plan_key,
    run_of_work,
    server_key,
)
from hub_manager.federated_learning.resources.placement import selected
from hub_manager.federated_learning.site import RunCluster

BY_CLUSTER: Final = "cluster"
BY_UID: Final = "uid"
BY_RUN: Final = "run"
BY_PLACEMENT: Final = "placement"
BY_NAMESPACE: Final = "namespace"
AVAILABLE: Final = "Available"
API_SERVER_SLICES: Final = "kubernetes.io/service-name=kubernetes"
"""EndpointSlices that the API server publishes in namespace `default` (Kubernetes `pkg/controlplane/reconcilers`)."""
R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class SharedReflectors:
    """Reflectors of other parts of the hub manager."""

    clusters: Reflector[ManagedCluster]
    addons: Reflector[ManagedClusterAddOn]
    bundles: Reflector[ConfigMap]
    """ConfigMap of the trust bundle, which changes together with the certificate authority."""


@dataclass(frozen=True)
class RunReflectors:
    """Reflectors that the runs' part starts."""

    runs: Reflector[FederatedLearning]
    placements: Reflector[Placement]
    decisions: Reflector[PlacementDecision]
    bindings: Reflector[ManagedClusterSetBinding]
    works: Reflector[ManifestWork]
    jobs: Reflector[Job]
    services: Reflector[Service]
    claims: Reflector[PersistentVolumeClaim]
    config_maps: Reflector[ConfigMap]
    service_accounts: Reflector[ServiceAccount]
    roles: Reflector[Role]
    role_bindings: Reflector[RoleBinding]
    network_policies: Reflector[NetworkPolicy]
    nodes: Reflector[NodeAddresses]
    api_server: Reflector[EndpointSlice]
    pods: Reflector[AggregatorPod]

    def parts(self) -> tuple[Reflector[Any], ...]:
        """Return all reflectors."""
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


def watch_runs(api: Api) -> RunReflectors:
    """Create the reflectors without starting them."""
    by_uid = {BY_UID: _uid_of}
    return RunReflectors(
        runs=Reflector(api, FEDERATED_LEARNING, indexes={BY_CLUSTER: _clusters_of, BY_NAMESPACE: _namespace_of}),
        placements=Reflector(api, PLACEMENT, label_selector=OURS),
        decisions=Reflector(api, PLACEMENT_DECISION, indexes={BY_PLACEMENT: _placement_of}),
        bindings=Reflector(api, MANAGED_CLUSTER_SET_BINDING, indexes={BY_NAMESPACE: _namespace_of}),
        works=Reflector(api, MANIFEST_WORK, label_selector=OURS, indexes={**by_uid, BY_RUN: _run_of}),
        jobs=Reflector(api, JOB, label_selector=OURS),
        services=Reflector(api, SERVICE, label_selector=OURS, indexes=by_uid),
        claims=Reflector(api, PERSISTENT_VOLUME_CLAIM),
        config_maps=Reflector(api, CONFIG_MAP, label_selector=OURS),
        service_accounts=Reflector(api, SERVICE_ACCOUNT, label_selector=OURS),
        roles=Reflector(api, ROLE, label_selector=OURS),
        role_bindings=Reflector(api, ROLE_BINDING, label_selector=OURS),
        network_policies=Reflector(api, NETWORK_POLICY, label_selector=OURS),
        nodes=Reflector(api, HUB_NODE),
        api_server=Reflector(api, ENDPOINT_SLICE, namespace="default", label_selector=API_SERVER_SLICES),
        pods=Reflector(api, AGGREGATOR_POD, label_selector=OURS, indexes=by_uid),
    )


class Observer:
    """Reader of one run from the stores."""

    def __init__(
        self,
        watched: RunReflectors,
        around: SharedReflectors,
        dependencies: RunDependencies,
        plan_source: Callable[[FederatedLearning], ConfigMapLookup | None],
    ) -> None:
        self._watched = watched
        self._around = around
        self._dependencies = dependencies
        self._plan_source = plan_source

    def __call__(self, key: ObjectKey) -> ObservedRun | None:
        """Return the observed state of the run, or None if it does not exist."""
        watched = self._watched
        run = watched.runs.store.find(key)
        if run is None:
            return None
        server = server_key(run)
        chosen = selected(run, watched.decisions.store.by_index(BY_PLACEMENT, f"{key.namespace}/{key.name}"))
        claim = ObjectKey(key.namespace, run.spec.server.storage.name)
        authority = self._dependencies.authority()
        return ObservedRun(
            now=self._dependencies.now(),
            run=run,
            placement=_ours(watched.placements, key, run),
            selected=chosen,
            bindings=frozenset(
                b.spec.cluster_set for b in watched.bindings.store.by_index(BY_NAMESPACE, key.namespace)
            ),
            sites={name: site for name in {*chosen, *run.status.cohort} if (site := self._site(name)) is not None},
            works=tuple(watched.works.store.by_index(BY_UID, run.metadata.uid)),
            job=_ours(watched.jobs, server, run),
            services=tuple(watched.services.store.by_index(BY_UID, run.metadata.uid)),
            claim=watched.claims.store.find(claim),
            config_map=_ours(watched.config_maps, server, run),
            service_account=_ours(watched.service_accounts, server, run),
            role=_ours(watched.roles, server, run),
            role_binding=_ours(watched.role_bindings, server, run),
            network_policy=_ours(watched.network_policies, server, run),
            nodes=tuple(watched.nodes.store.values()),
            authority=None if authority is None else authority.facts,
            api_server=frozenset(_reached_at(watched.api_server.store.values())),
            plan_source=self._plan_source(run),
            plan_copy=_ours(watched.config_maps, plan_key(run), run),
            pods=tuple(watched.pods.store.by_index(BY_UID, run.metadata.uid)),
        )

    def strays(self, key: ObjectKey) -> tuple[ManifestWork, ...]:
        """Return ManifestWorks that refer to a run of this key, but not to the existing run."""
        run = self._watched.runs.store.find(key)
        works = self._watched.works.store.by_index(BY_RUN, f"{key.namespace}/{key.name}")
        return tuple(w for w in works if not w.metadata.deleting and (run is None or not belongs(w, run)))

    def _site(self, name: str) -> RunCluster | None:
        cluster = self._around.clusters.store.find(ObjectKey("", name))
        addon = self._around.addons.store.find(ObjectKey(name, ADDON_NAME))
        if cluster is None:
            return None
        namespace = "" if addon is None else addon.status.namespace
        return RunCluster(
            name=name,
            accepted=cluster.accepted and addon is not None and not addon.metadata.deleting,
            available=addon is not None and is_true(addon.status.conditions, AVAILABLE),
            install_namespace=namespace if is_dns_label(namespace) else DEFAULT_INSTALL_NAMESPACE,
            claims=tuple((claim.name, claim.value) for claim in cluster.status.cluster_claims),
        )


def _ours(reflector: Reflector[R], key: ObjectKey, run: FederatedLearning) -> R | None:
    resource = reflector.store.find(key)
    return resource if resource is not None and belongs(resource, run) else None


def _reached_at(slices: Iterable[EndpointSlice]) -> Iterable[tuple[str, int]]:
    for part in slices:
        for port in part.ports:
            for endpoint in part.endpoints if port.port else ():
                yield from ((address, port.port or 0) for address in endpoint.addresses)


def _key(run: FederatedLearning) -> ObjectKey:
    return ObjectKey(run.metadata.namespace, run.metadata.name)


def _uid_of(resource: Resource) -> Iterable[str]:
    return (resource.metadata.labels.get(RUN_UID_LABEL, ""),)


def _run_of(work: ManifestWork) -> Iterable[str]:
    key = run_of_work(work.metadata.annotations)
    return () if key is None else (f"{key.namespace}/{key.name}",)


def _namespace_of(resource: Resource) -> Iterable[str]:
    return (resource.metadata.namespace,)


def _placement_of(decision: PlacementDecision) -> Iterable[str]:
    return (f"{decision.metadata.namespace}/{decision.metadata.labels.get(PLACEMENT_LABEL, '')}",)


def _clusters_of(run: FederatedLearning) -> Iterable[str]:
    """Index a run by its clusters; a run that has ended has none."""
    if run.status.completion_time:
        return ()
    return {*run.status.cohort, *(cluster.name for cluster in run.status.clusters)}
