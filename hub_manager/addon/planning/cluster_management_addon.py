"""Plan the ClusterManagementAddOn, without which `clusteradm` rejects the add-on's name.

Only our fields are applied. The install strategy and the default configuration belong to the administrator:
server-side apply keeps every field that is not in the body.
"""

from typing import Final

import msgspec

from federation.api.identity import ADDON_NAME
from federation.api.ocm.addon import (
    LIFECYCLE_ANNOTATION,
    ClusterManagementAddOn,
    ConfigReferent,
    ConfigSpecHash,
    DefaultConfigReference,
    InstallConfigReference,
    InstallProgression,
)
from federation.kube.actions import Action, Apply, Patch, ReconcilePlan
from federation.kube.encoding import condition_json, plain
from federation.kube.kinds import CLUSTER_MANAGEMENT_ADD_ON
from federation.kube.resource import Json, ObjectKey
from hub_manager.addon.planning.configuration import DEPLOYMENT_CONFIG, Configs
from hub_manager.addon.planning.deployment_config import spec_hash
from hub_manager.addon.planning.status import preconditions

KEY: Final = ObjectKey("", ADDON_NAME)

BODY: Final[Json] = {
    "apiVersion": CLUSTER_MANAGEMENT_ADD_ON.api_version,
    "kind": CLUSTER_MANAGEMENT_ADD_ON.kind,
    "metadata": {
        "name": ADDON_NAME,
        # With any other value, OCM's addon-manager does not adopt or configure the ManagedClusterAddOns.
        "annotations": {LIFECYCLE_ANNOTATION: "addon-manager"},
    },
    "spec": {
        "addOnMeta": {
            "displayName": "Federated Learning",
            "description": "Trains one model across clusters; data stays where it is.",
        },
        "supportedConfigs": [{"group": DEPLOYMENT_CONFIG.group, "resource": DEPLOYMENT_CONFIG.resource}],
    },
}


def plan_cluster_management_addon(
    cluster_management_addon: ClusterManagementAddOn | None, configs: Configs
) -> ReconcilePlan[Action]:
    """Plan the writes that create the ClusterManagementAddOn and set the digests that addon-manager rolls out."""
    if cluster_management_addon is None:
        return ReconcilePlan(actions=(Apply(CLUSTER_MANAGEMENT_ADD_ON, KEY, BODY),))
    if cluster_management_addon.metadata.deleting:
        return ReconcilePlan()
    adopted = cluster_management_addon.metadata.annotations.get(LIFECYCLE_ANNOTATION) == "addon-manager" and any(
        supported.kind == DEPLOYMENT_CONFIG for supported in cluster_management_addon.spec.supported_configs
    )
    apply = () if adopted else (Apply(CLUSTER_MANAGEMENT_ADD_ON, KEY, BODY),)
    patch = _digests_patch(cluster_management_addon, configs)
    status = (Patch(CLUSTER_MANAGEMENT_ADD_ON, KEY, patch, subresource="status"),) if patch else ()
    return ReconcilePlan(actions=(*apply, *status))


def _digests_patch(cluster_management_addon: ClusterManagementAddOn, configs: Configs) -> Json | None:
    defaults = tuple(
        _default(reference, configs) for reference in cluster_management_addon.status.default_config_references
    )
    progressions = tuple(
        msgspec.structs.replace(p, config_references=tuple(_installed(r, configs) for r in p.config_references))
        for p in cluster_management_addon.status.install_progressions
    )
    status: Json = {}
    if defaults != cluster_management_addon.status.default_config_references:
        status["defaultconfigReferences"] = plain(defaults)
    if progressions != cluster_management_addon.status.install_progressions:
        status["installProgressions"] = [_progression_json(progression) for progression in progressions]
    return {"metadata": preconditions(cluster_management_addon.metadata), "status": status} if status else None


def _default(reference: DefaultConfigReference, configs: Configs) -> DefaultConfigReference:
    if reference.kind != DEPLOYMENT_CONFIG or reference.desired_config is None:
        return reference
    return msgspec.structs.replace(reference, desired_config=_with_digest(reference.desired_config, configs))


def _installed(reference: InstallConfigReference, configs: Configs) -> InstallConfigReference:
    if reference.kind != DEPLOYMENT_CONFIG or reference.desired_config is None:
        return reference
    return msgspec.structs.replace(reference, desired_config=_with_digest(reference.desired_config, configs))


def _with_digest(desired: ConfigSpecHash, configs: Configs) -> ConfigSpecHash:
    """Set the digest of the object; that of a missing one is empty, as in addon-framework's `cmaconfig`."""
    config = configs.get(ConfigReferent(name=desired.name, namespace=desired.namespace))
    return msgspec.structs.replace(desired, spec_hash="" if config is None else spec_hash(config))


def _progression_json(progression: InstallProgression) -> Json:
    body: Json = plain(progression)
    return body | {"conditions": [condition_json(condition) for condition in progression.conditions]}
