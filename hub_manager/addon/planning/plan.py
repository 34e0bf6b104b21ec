"""Plan the writes for one cluster's add-on, in their order, from everything that was observed.

Pure and level-triggered: the same observation gives the same writes, and none once all took effect.

The order is OCM's: first the supported configurations, then the agent's rights on the hub, then registrations and
install namespace, then the works (addon-framework `controllers/registration`, `controllers/agentdeploy`).

Deletion needs no finalizer: the ManagedClusterAddOn owns every object, so a partitioned spoke cannot delay its
deletion, and the agent's rights on the hub are removed at once. The plan also deletes what the garbage collector would
delete, in case the collector is slow or its discovery is broken.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, assert_never

from federation.api.identity import ADDON_NAME
from federation.api.kubernetes.core import Role, RoleBinding
from federation.api.meta import Condition, ConditionStatus
from federation.api.ocm.addon import ClusterManagementAddOn, HealthCheck, ManagedClusterAddOn, owned_by
from federation.api.ocm.claims import AddOnPlacementScore
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork
from federation.kube.actions import Action, Apply, Delete, Patch, ReconcilePlan
from federation.kube.kinds import ADD_ON_PLACEMENT_SCORE, MANAGED_CLUSTER_ADD_ON, MANIFEST_WORK, ROLE, ROLE_BINDING
from federation.kube.resource import Json, Kind, ObjectKey, Resource, key_of
from hub_manager.addon.planning import hub_permissions
from hub_manager.addon.planning.agent_manifests import AgentFacts, render
from hub_manager.addon.planning.configuration import (
    DEPLOYMENT_CONFIG,
    Configs,
    ConfigurationReason,
    ResolvedConfig,
    UnresolvedConfig,
    install_namespace,
    observed_references,
    resolve,
)
from hub_manager.addon.planning.deployment_config import Configuration
from hub_manager.addon.planning.registration import registrations
from hub_manager.addon.planning.status import (
    CONFIGURATION_ACCEPTED,
    MANIFEST_APPLIED,
    AddOnReason,
    manifest_applied,
    registered,
    status_patch,
    with_condition,
)
from hub_manager.addon.planning.templates import Templates
from hub_manager.addon.planning.works import ManifestTooLarge, covers, deploy_works, is_current, is_deploy_work

LEASE: Final = HealthCheck(mode="Lease")


@dataclass(frozen=True, slots=True)
class ObservedAddOn:
    """The observed state of one cluster's add-on."""

    now: datetime
    namespace: str
    """The cluster's namespace on the hub, which is its name."""
    cluster: ManagedCluster | None
    addon: ManagedClusterAddOn | None
    cluster_management_addon: ClusterManagementAddOn | None
    configs: Configs
    works: tuple[ManifestWork, ...]
    """The works of the namespace with the add-on's label."""
    role: Role | None
    role_binding: RoleBinding | None
    score: AddOnPlacementScore | None
    trust_bundle: str
    """PEM text; `""` until the certificates' controllers have published one."""


@dataclass(frozen=True, slots=True)
class AddOnSettings:
    """Settings that are the same for every cluster."""

    templates: Templates
    image: str


def plan_addon(observed: ObservedAddOn, settings: AddOnSettings) -> ReconcilePlan[Action]:
    """Plan the writes that bring the cluster's add-on to its desired state.

    The status is one of the actions, because registrations must follow the rights and come before the works.
    """
    return ReconcilePlan(actions=tuple(_actions(observed, settings)))


def _actions(observed: ObservedAddOn, settings: AddOnSettings) -> Iterator[Action]:
    cluster, addon, cluster_management_addon = observed.cluster, observed.addon, observed.cluster_management_addon
    if addon is None or addon.metadata.deleting:
        yield from _removed(observed, rights_only=False)
    elif cluster is None or not cluster.accepted:
        yield from _removed(observed, rights_only=True)
    elif cluster_management_addon is not None and owned_by(addon, cluster_management_addon):
        yield from _deployed(observed, addon, cluster_management_addon, settings)


def _removed(observed: ObservedAddOn, *, rights_only: bool) -> Iterator[Action]:
    """Delete the agent's rights on the hub first, so that they end even if the spoke is unreachable."""
    present: list[tuple[Kind[Any], Resource | None]] = [(ROLE_BINDING, observed.role_binding), (ROLE, observed.role)]
    if not rights_only:
        present.append((ADD_ON_PLACEMENT_SCORE, observed.score))
        present += [(MANIFEST_WORK, work) for work in observed.works if is_deploy_work(work)]
    for kind, resource in present:
        if resource is not None and not resource.metadata.deleting:
            yield Delete(kind, key_of(resource), resource.metadata.uid)


def _deployed(
    observed: ObservedAddOn,
    addon: ManagedClusterAddOn,
    cluster_management_addon: ClusterManagementAddOn,
    settings: AddOnSettings,
) -> Iterator[Action]:
    resolution = resolve(addon, cluster_management_addon, observed.configs)
    references = observed_references(addon, cluster_management_addon, observed.configs)
    own = {work.metadata.name: work for work in observed.works if is_deploy_work(work)}
    wanted: tuple[Json, ...] | None = None
    unrenderable = ""
    # Register only after addon-manager has read the supported configurations; else it reports them as unsupported.
    settled = resolution if addon.status.supported_configs == (DEPLOYMENT_CONFIG,) else None
    if isinstance(settled, ResolvedConfig):
        yield from _permissions(observed, addon)
        if observed.trust_bundle:
            try:
                wanted = deploy_works(addon, _manifests(observed, addon, settled.configuration, settings), references)
            except ManifestTooLarge as error:
                unrenderable = str(error)

    conditions = _configuration_condition(addon.status.conditions, resolution, observed.now)
    if isinstance(resolution, UnresolvedConfig) and resolution.reason is not ConfigurationReason.PENDING:
        unrenderable = resolution.message
    if unrenderable:
        reason = AddOnReason.NOT_RENDERED.value
        conditions = with_condition(conditions, MANIFEST_APPLIED, "False", reason, unrenderable, observed.now)
    elif wanted is not None:
        conditions = manifest_applied(conditions, _current(own, addon, wanted), observed.now)
    desired: dict[str, Any] = {
        "supported_configs": (DEPLOYMENT_CONFIG,),
        "config_references": references,
        "health_check": LEASE,
    }
    if isinstance(settled, ResolvedConfig):
        desired["registrations"] = registrations(addon.cluster, addon.status.kube_client_driver)
        desired["namespace"] = install_namespace(addon, settled.configuration)
        conditions = registered(conditions, observed.now)
    patch = status_patch(addon, desired | {"conditions": conditions})
    if patch is not None:
        yield Patch(MANAGED_CLUSTER_ADD_ON, key_of(addon), patch, subresource="status")
    if wanted is not None:
        yield from _works(own, addon, wanted)


def _manifests(
    observed: ObservedAddOn, addon: ManagedClusterAddOn, configuration: Configuration, settings: AddOnSettings
) -> tuple[Json, ...]:
    facts = AgentFacts(
        cluster=addon.cluster,
        namespace=install_namespace(addon, configuration),
        image=settings.image,
        trust_bundle=observed.trust_bundle,
        configuration=configuration,
    )
    return render(settings.templates, facts)


def _current(
    own: Mapping[str, ManifestWork], addon: ManagedClusterAddOn, wanted: tuple[Json, ...]
) -> tuple[ManifestWork, ...]:
    """Return the desired works if all of them exist and are current, else an empty tuple."""
    present = [(own.get(body["metadata"]["name"]), body) for body in wanted]
    current = tuple(work for work, body in present if work is not None and is_current(work, addon, body))
    return current if len(current) == len(wanted) else ()


def _works(own: Mapping[str, ManifestWork], addon: ManagedClusterAddOn, wanted: tuple[Json, ...]) -> Iterator[Action]:
    names = {body["metadata"]["name"] for body in wanted}
    for body in wanted:
        present = own.get(body["metadata"]["name"])
        if present is not None and present.metadata.deleting:
            # It belongs to an earlier add-on, whose spoke is still removing it; its deletion requeues the key.
            continue
        if present is None or not is_current(present, addon, body):
            yield Apply(MANIFEST_WORK, ObjectKey(addon.cluster, body["metadata"]["name"]), body)
    for name, work in own.items():
        if name not in names and not work.metadata.deleting:
            yield Delete(MANIFEST_WORK, key_of(work), work.metadata.uid)


def _permissions(observed: ObservedAddOn, addon: ManagedClusterAddOn) -> Iterator[Action]:
    key = hub_permissions.permission_key(addon.cluster)
    role, binding, score = observed.role, observed.role_binding, observed.score
    wanted_role, wanted_binding = hub_permissions.role(addon), hub_permissions.role_binding(addon)
    if role is None or list(role.rules) != wanted_role["rules"] or not _belongs(role, addon):
        yield Apply(ROLE, key, wanted_role)
    if binding is not None and not covers(binding.role_ref, hub_permissions.ROLE_REF):
        # The roleRef is immutable: delete the binding; its deletion requeues the key.
        yield Delete(ROLE_BINDING, key, binding.metadata.uid)
    elif (
        binding is None
        or not covers(list(binding.subjects), wanted_binding["subjects"])
        or not _belongs(binding, addon)
    ):
        yield Apply(ROLE_BINDING, key, wanted_binding)
    if score is None or not _belongs(score, addon):
        yield Apply(
            ADD_ON_PLACEMENT_SCORE, ObjectKey(addon.cluster, ADDON_NAME), hub_permissions.placement_score(addon)
        )


def _belongs(resource: Resource, addon: ManagedClusterAddOn) -> bool:
    """Whether this add-on owns the object, and not an earlier one of the same name."""
    return any(owner.uid == addon.metadata.uid for owner in resource.metadata.owner_references)


def _configuration_condition(
    conditions: tuple[Condition, ...], resolution: ResolvedConfig | UnresolvedConfig, now: datetime
) -> tuple[Condition, ...]:
    status: ConditionStatus
    match resolution:
        case ResolvedConfig():
            status = "True"
        case UnresolvedConfig(reason=ConfigurationReason.PENDING):
            status = "Unknown"
        case UnresolvedConfig():
            status = "False"
        case _:
            assert_never(resolution)
    return with_condition(conditions, CONFIGURATION_ACCEPTED, status, resolution.reason.value, resolution.message, now)
