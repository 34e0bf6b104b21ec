"""Reconcile the add-on: read the stores into one frozen value, plan, and perform the writes.

A failed write ends the pass; the next pass plans again from the state at that time. Passes of two keys share no state.
The stores may be older than the last write, so every write is either idempotent or names the version that it is based
on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar

import structlog

from federation.api.identity import ADDON_NAME
from federation.api.kubernetes.core import Role, RoleBinding
from federation.api.ocm.addon import (
    AddOnDeploymentConfig,
    ClusterManagementAddOn,
    ConfigReferent,
    ManagedClusterAddOn,
)
from federation.api.ocm.claims import AddOnPlacementScore
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork
from federation.kube.actions import Action, ActionExecutor, ReconcilePlan
from federation.kube.api import Api
from federation.kube.resource import ObjectKey, Resource
from hub_manager.addon.planning import cluster_management_addon
from hub_manager.addon.planning.hub_permissions import permission_key
from hub_manager.addon.planning.plan import AddOnSettings, ObservedAddOn, plan_addon
from hub_manager.addon.planning.works import is_deploy_work

FIELD_MANAGER: Final = "federated-learning-hub-manager"
BY_NAMESPACE: Final = "namespace"
"""The index of the store of works by namespace."""

R_co = TypeVar("R_co", bound=Resource, covariant=True)

_log = structlog.stdlib.get_logger(__name__)


class ReadableStore(Protocol[R_co]):
    """A store of one kind that can be read; `federation.kube.store.Store` implements it."""

    def find(self, key: ObjectKey) -> R_co | None:
        """Return the object of the key, or None."""
        ...

    def values(self) -> Iterator[R_co]:
        """Iterate over all objects in key order."""
        ...

    def by_index(self, index: str, value: str) -> Sequence[R_co]:
        """Return the objects with this value in the index, in key order."""
        ...


@dataclass(frozen=True, slots=True)
class AddOnStores:
    """The stores that the add-on's controllers read."""

    clusters: ReadableStore[ManagedCluster]
    addons: ReadableStore[ManagedClusterAddOn]
    cluster_management_addons: ReadableStore[ClusterManagementAddOn]
    configs: ReadableStore[AddOnDeploymentConfig]
    works: ReadableStore[ManifestWork]
    roles: ReadableStore[Role]
    role_bindings: ReadableStore[RoleBinding]
    scores: ReadableStore[AddOnPlacementScore]


class _StoredConfigs(dict[ConfigReferent, AddOnDeploymentConfig]):
    """The configurations by the name with which OCM refers to them."""

    def __init__(self, configs: Iterable[AddOnDeploymentConfig]) -> None:
        super().__init__((ConfigReferent(name=c.metadata.name, namespace=c.metadata.namespace), c) for c in configs)


class AddOnReconciler:
    """Reconciles the add-on of every cluster, and the ClusterManagementAddOn."""

    def __init__(
        self,
        api: Api,
        stores: AddOnStores,
        settings: AddOnSettings,
        *,
        trust_bundle: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self._executor = ActionExecutor(api, FIELD_MANAGER)
        self._stores = stores
        self._settings = settings
        self._trust_bundle = trust_bundle
        self._now = now

    async def reconcile_addon(self, key: ObjectKey) -> float | None:
        """Reconcile the add-on of the cluster in whose namespace the key is.

        Raises:
            KubeError: A write failed; the writes after it were not attempted.
        """
        return await self._perform(plan_addon(self.observe(key.namespace), self._settings), key.namespace)

    async def reconcile_cluster_management_addon(self, _key: ObjectKey) -> float | None:
        """Reconcile the ClusterManagementAddOn.

        Raises:
            KubeError: A write failed; the writes after it were not attempted.
        """
        present = self._stores.cluster_management_addons.find(cluster_management_addon.KEY)
        return await self._perform(
            cluster_management_addon.plan_cluster_management_addon(
                present, _StoredConfigs(self._stores.configs.values())
            ),
            "",
        )

    def observe(self, cluster: str) -> ObservedAddOn:
        """Collect the observed state of one cluster's add-on."""
        stores = self._stores
        return ObservedAddOn(
            now=self._now(),
            namespace=cluster,
            cluster=stores.clusters.find(ObjectKey("", cluster)),
            addon=stores.addons.find(ObjectKey(cluster, ADDON_NAME)),
            cluster_management_addon=stores.cluster_management_addons.find(cluster_management_addon.KEY),
            configs=_StoredConfigs(stores.configs.values()),
            works=tuple(work for work in stores.works.by_index(BY_NAMESPACE, cluster) if is_deploy_work(work)),
            role=stores.roles.find(permission_key(cluster)),
            role_binding=stores.role_bindings.find(permission_key(cluster)),
            score=stores.scores.find(ObjectKey(cluster, ADDON_NAME)),
            trust_bundle=self._trust_bundle(),
        )

    async def _perform(self, planned: ReconcilePlan[Action], cluster: str) -> float | None:
        log = _log.bind(cluster=cluster)
        for action in planned.actions:
            await self._executor.perform(action, log)
        return planned.requeue_after
