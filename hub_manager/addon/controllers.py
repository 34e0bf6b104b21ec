"""The reflectors and the two controllers of the add-on, which map changed objects to clusters."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from federation.api.identity import ADDON_LABEL, ADDON_NAME, TRUST_BUNDLE, TRUST_BUNDLE_KEY
from federation.api.kubernetes.core import ConfigMap, Role, RoleBinding
from federation.api.ocm.addon import ADDON_GROUP, AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from federation.api.ocm.claims import AddOnPlacementScore
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork
from federation.kube.api import Api
from federation.kube.controller import Controller, Source
from federation.kube.kinds import (
    ADD_ON_DEPLOYMENT_CONFIG,
    ADD_ON_PLACEMENT_SCORE,
    CLUSTER_MANAGEMENT_ADD_ON,
    CONFIG_MAP,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANIFEST_WORK,
    ROLE,
    ROLE_BINDING,
)
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, Resource
from hub_manager.addon.planning import cluster_management_addon
from hub_manager.addon.planning.plan import AddOnSettings
from hub_manager.addon.planning.works import has_applied_bundle
from hub_manager.addon.reconciler import BY_NAMESPACE, AddOnReconciler, AddOnStores

OURS: Final = f"{ADDON_LABEL}={ADDON_NAME}"


@dataclass(frozen=True)
class AddOnReflectors:
    """The reflectors of the add-on's controllers; other controllers share the first three."""

    clusters: Reflector[ManagedCluster]
    addons: Reflector[ManagedClusterAddOn]
    cluster_management_addons: Reflector[ClusterManagementAddOn]
    configs: Reflector[AddOnDeploymentConfig]
    works: Reflector[ManifestWork]
    roles: Reflector[Role]
    role_bindings: Reflector[RoleBinding]
    scores: Reflector[AddOnPlacementScore]
    bundles: Reflector[ConfigMap]

    def __iter__(self) -> Any:
        return iter(
            (
                self.clusters,
                self.addons,
                self.cluster_management_addons,
                self.configs,
                self.works,
                self.roles,
                self.role_bindings,
                self.scores,
                self.bundles,
            )
        )


def watch_addons(api: Api, namespace: str) -> AddOnReflectors:
    """Create the reflectors, not running yet.

    Args:
        api: The hub's API server.
        namespace: The manager's namespace, which contains the trust bundle.
    """
    by_namespace: Mapping[str, Callable[[Resource], Iterable[str]]] = {
        BY_NAMESPACE: lambda resource: (resource.metadata.namespace,)
    }
    return AddOnReflectors(
        clusters=Reflector(api, MANAGED_CLUSTER),
        addons=Reflector(api, MANAGED_CLUSTER_ADD_ON),
        cluster_management_addons=Reflector(api, CLUSTER_MANAGEMENT_ADD_ON),
        configs=Reflector(api, ADD_ON_DEPLOYMENT_CONFIG),
        works=Reflector(api, MANIFEST_WORK, label_selector=OURS, indexes=by_namespace),
        roles=Reflector(api, ROLE, label_selector=OURS),
        role_bindings=Reflector(api, ROLE_BINDING, label_selector=OURS),
        scores=Reflector(api, ADD_ON_PLACEMENT_SCORE, label_selector=OURS),
        bundles=Reflector(api, CONFIG_MAP, namespace=namespace),
    )


def addon_controllers(
    api: Api, reflectors: AddOnReflectors, settings: AddOnSettings, *, namespace: str, now: Callable[[], datetime]
) -> tuple[Controller, Controller]:
    """Create the controllers of the ManagedClusterAddOns and the ClusterManagementAddOn, not running yet."""

    def trust_bundle() -> str:
        found = reflectors.bundles.store.find(ObjectKey(namespace, TRUST_BUNDLE))
        return "" if found is None else found.data.get(TRUST_BUNDLE_KEY, "")

    stores = AddOnStores(
        clusters=reflectors.clusters.store,
        addons=reflectors.addons.store,
        cluster_management_addons=reflectors.cluster_management_addons.store,
        configs=reflectors.configs.store,
        works=reflectors.works.store,
        roles=reflectors.roles.store,
        role_bindings=reflectors.role_bindings.store,
        scores=reflectors.scores.store,
    )
    reconciler = AddOnReconciler(api, stores, settings, trust_bundle=trust_bundle, now=now)
    addons = Controller("addon", reconciler.reconcile_addon, _addon_sources(reflectors))
    cluster_management_addons = Controller(
        "addon-fleet",
        reconciler.reconcile_cluster_management_addon,
        _cluster_management_addon_sources(reflectors),
        workers=1,
    )
    # A ClusterManagementAddOn that does not exist yet causes no event.
    cluster_management_addons.enqueue(cluster_management_addon.KEY)
    return addons, cluster_management_addons


def is_bundle_rolled_out(reflectors: AddOnReflectors, bundle: str) -> bool:
    """Whether every cluster with the add-on has reported that its works with this trust bundle are applied."""
    works = reflectors.works.store
    enabled = (a for a in reflectors.addons.store.values() if _ours(a) and not a.metadata.deleting)
    return all(
        any(has_applied_bundle(work, bundle) for work in works.by_index(BY_NAMESPACE, a.cluster)) for a in enabled
    )


def _addon_sources(reflectors: AddOnReflectors) -> tuple[Source[Any], ...]:
    def every_addon(_changed: Resource) -> Iterable[ObjectKey]:
        return [_key(addon.cluster) for addon in reflectors.addons.store.values() if _ours(addon)]

    def users_of_bundle(changed: ConfigMap) -> Iterable[ObjectKey]:
        return every_addon(changed) if changed.metadata.name == TRUST_BUNDLE else ()

    def users_of_config(changed: AddOnDeploymentConfig) -> Iterable[ObjectKey]:
        name = (changed.metadata.namespace, changed.metadata.name)
        return [
            _key(addon.cluster)
            for addon in reflectors.addons.store.values()
            if _ours(addon) and name in _configs_named(addon)
        ]

    return (
        Source(reflectors.addons, lambda addon: (_key(addon.cluster),) if _ours(addon) else ()),
        Source(reflectors.clusters, lambda cluster: (_key(cluster.name),)),
        Source(
            reflectors.cluster_management_addons,
            lambda found: every_addon(found) if found.metadata.name == ADDON_NAME else (),
        ),
        Source(reflectors.configs, users_of_config),
        Source(reflectors.bundles, users_of_bundle),
        *(
            Source(reflector, lambda owned: (_key(owned.metadata.namespace),))
            for reflector in (reflectors.works, reflectors.roles, reflectors.role_bindings, reflectors.scores)
        ),
    )


def _cluster_management_addon_sources(reflectors: AddOnReflectors) -> tuple[Source[Any], ...]:
    return (
        Source(
            reflectors.cluster_management_addons,
            lambda found: (cluster_management_addon.KEY,) if found.metadata.name == ADDON_NAME else (),
        ),
        Source(reflectors.configs, lambda _config: (cluster_management_addon.KEY,)),
    )


def _ours(addon: ManagedClusterAddOn) -> bool:
    return addon.metadata.name == ADDON_NAME


def _key(cluster: str) -> ObjectKey:
    return ObjectKey(cluster, ADDON_NAME)


def _configs_named(addon: ManagedClusterAddOn) -> set[tuple[str, str]]:
    chosen = {(c.namespace, c.name) for c in addon.spec.configs if c.group == ADDON_GROUP}
    desired = (r.desired_config for r in addon.status.config_references)
    return chosen | {(d.namespace, d.name) for d in desired if d is not None}
