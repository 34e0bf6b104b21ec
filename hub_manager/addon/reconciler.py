"""The shell around the add-on's plan: reads the stores into one frozen value, plans, and carries the writes out.

A write that fails ends the pass; the next one plans anew from what is there then. Two keys' passes share nothing.
What is read may be older than what was just written: every write is either the same whole object again, or carries
the version that it was made from.
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
from hub_manager.addon import cluster_management_addon
from hub_manager.addon.hub_permissions import permission_key
from hub_manager.addon.plan import AddOnSettings, ObservedAddOn, plan_addon
from hub_manager.addon.works import is_deploy_work

FIELD_MANAGER: Final = "federated-learning-hub-manager"
BY_NAMESPACE: Final = "namespace"
"""The index under which the store of works files each by its namespace."""

R_co = TypeVar("R_co", bound=Resource, covariant=True)

_log = structlog.stdlib.get_logger(__name__)


class ReadableStore(Protocol[R_co]):
    """What has been seen of one kind; `federation.kube.store.Store` is one."""

    def find(self, key: ObjectKey) -> R_co | None:
        """The object of that key, or None where there is none."""
        ...

    def values(self) -> Iterator[R_co]:
        """Every object, in key order."""
        ...

    def by_index(self, index: str, value: str) -> Sequence[R_co]:
        """The objects that the index files under the value, in key order."""
        ...


@dataclass(frozen=True, slots=True)
class AddOnStores:
    """Everything that the add-on's controllers read."""

    clusters: ReadableStore[ManagedCluster]
    addons: ReadableStore[ManagedClusterAddOn]
    cluster_management_addons: ReadableStore[ClusterManagementAddOn]
    configs: ReadableStore[AddOnDeploymentConfig]
    works: ReadableStore[ManifestWork]
    roles: ReadableStore[Role]
    role_bindings: ReadableStore[RoleBinding]
    scores: ReadableStore[AddOnPlacementScore]


class _StoredConfigs(dict[ConfigReferent, AddOnDeploymentConfig]):
    """The configurations by the name under which OCM refers to them."""

    def __init__(self, configs: Iterable[AddOnDeploymentConfig]) -> None:
        super().__init__((ConfigReferent(name=c.metadata.name, namespace=c.metadata.namespace), c) for c in configs)


class AddOnReconciler:
    """Keeps every cluster's add-on, and the fleet's, as their plans want them."""

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
        """Does what there is to do for the add-on of the cluster in whose namespace the key is.

        Raises:
            KubeError: A write failed; those after it were not tried.
        """
        return await self._perform(plan_addon(self.observe(key.namespace), self._settings), key.namespace)

    async def reconcile_cluster_management_addon(self, _key: ObjectKey) -> float | None:
        """Does what there is to do for the ClusterManagementAddOn.

        Raises:
            KubeError: A write failed; those after it were not tried.
        """
        present = self._stores.cluster_management_addons.find(cluster_management_addon.KEY)
        return await self._perform(
            cluster_management_addon.plan_cluster_management_addon(
                present, _StoredConfigs(self._stores.configs.values())
            ),
            "",
        )

    def observe(self, cluster: str) -> ObservedAddOn:
        """What is known of one cluster's add-on now."""
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
