"""Resolve the AddOnDeploymentConfig that applies to a cluster.

OCM's addon-manager records in `status.configReferences` which configuration applies and, during a rollout, its digest.
A spoke can write that status. So a reference counts only if the administrator named the object for this add-on, in a
field that a spoke cannot write, and the digest is recomputed from the object. Until addon-manager releases a
configuration to the cluster, the deployed manifests stay unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from federation.api.meta import is_true
from federation.api.ocm.addon import (
    ADDON_GROUP,
    DEFAULT_INSTALL_NAMESPACE,
    AddOnDeploymentConfig,
    ClusterManagementAddOn,
    ConfigReference,
    ConfigReferent,
    ConfigSpecHash,
    GroupResource,
    ManagedClusterAddOn,
)
from federation.kube.resource import Json
from hub_manager.addon.planning.deployment_config import Configuration, decode, spec_hash

DEPLOYMENT_CONFIG: Final = GroupResource(group=ADDON_GROUP, resource="addondeploymentconfigs")
"""The only kind of configuration that this add-on reads."""

Configs = Mapping[ConfigReferent, AddOnDeploymentConfig]


class ConfigurationReason(Enum):
    """The reasons of the condition `ConfigurationAccepted`."""

    ACCEPTED = "Accepted"
    """Applied in full, or not set."""
    VARIABLES_IGNORED = "VariablesIgnored"
    """Applied, except for variables that this add-on does not support."""
    PENDING = "Pending"
    """OCM's addon-manager has not resolved it or not released it to this cluster; the deployed manifests stay."""
    UNSUPPORTED = "UnsupportedKind"
    """The administrator named a configuration of an unsupported kind."""
    MISSING = "NotFound"
    """The administrator named an object that does not exist."""
    INVALID = "Invalid"
    """A field is invalid; the message names it."""


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """The configuration to deploy with."""

    configuration: Configuration
    reason: ConfigurationReason = ConfigurationReason.ACCEPTED
    message: str = "The agent is deployed as configured."


@dataclass(frozen=True, slots=True)
class UnresolvedConfig:
    """The reason why no configuration can be applied; the deployed manifests stay unchanged."""

    reason: ConfigurationReason
    message: str


def resolve(
    addon: ManagedClusterAddOn, cluster_management_addon: ClusterManagementAddOn, configs: Configs
) -> ResolvedConfig | UnresolvedConfig:
    """Resolve the configuration for the cluster, or the reason why it cannot be applied."""
    for chosen in addon.spec.configs:
        if chosen.kind != DEPLOYMENT_CONFIG:
            kind = f"{chosen.resource}.{chosen.group}"
            return UnresolvedConfig(
                ConfigurationReason.UNSUPPORTED,
                f"Remove the {kind} from spec.configs: only AddOnDeploymentConfigs are supported.",
            )
    if not is_true(addon.status.conditions, "Configured"):
        return UnresolvedConfig(
            ConfigurationReason.PENDING, "OCM's addon-manager has not resolved the configuration yet."
        )
    reference = _reference(addon)
    admissible = admissible_configs(addon, cluster_management_addon)
    if reference is None:
        if admissible and addon.spec.configs:
            return UnresolvedConfig(
                ConfigurationReason.PENDING, "OCM's addon-manager has not applied spec.configs yet."
            )
        return ResolvedConfig(Configuration(), message="No AddOnDeploymentConfig is set.")
    return _released(reference, admissible, configs)


def admissible_configs(
    addon: ManagedClusterAddOn, cluster_management_addon: ClusterManagementAddOn
) -> frozenset[ConfigReferent]:
    """Return the configurations that the administrator named for this cluster, in fields closed to spokes.

    Configurations on the ManagedClusterAddOn exclude all others. The Placement that selected the cluster is not read,
    so all configurations of the install strategy are admissible.
    """
    own = frozenset(c.referent for c in addon.spec.configs if c.kind == DEPLOYMENT_CONFIG)
    if own:
        return own
    defaults = {
        supported.default_config
        for supported in cluster_management_addon.spec.supported_configs
        if supported.kind == DEPLOYMENT_CONFIG and supported.default_config is not None
    }
    placed = {
        config.referent
        for placement in cluster_management_addon.spec.install_strategy.placements
        for config in placement.configs
        if config.kind == DEPLOYMENT_CONFIG
    }
    return frozenset(defaults | placed)


def observed_references(
    addon: ManagedClusterAddOn, cluster_management_addon: ClusterManagementAddOn, configs: Configs
) -> tuple[ConfigReference, ...]:
    """Fill in our part of `status.configReferences`: the observed generation, and the digests of `spec.configs`.

    OCM's addon-manager sets the other digests when it releases a change to the cluster.
    """
    admissible = admissible_configs(addon, cluster_management_addon)
    own = {c.referent for c in addon.spec.configs if c.kind == DEPLOYMENT_CONFIG}

    def observed(reference: ConfigReference) -> ConfigReference:
        desired = reference.desired_config
        if reference.kind != DEPLOYMENT_CONFIG or desired is None or desired.referent not in admissible:
            return reference
        config = configs.get(desired.referent)
        if config is None:
            return reference
        if desired.referent in own:
            desired = ConfigSpecHash(name=desired.name, namespace=desired.namespace, spec_hash=spec_hash(config))
        return msgspec.structs.replace(
            reference, last_observed_generation=config.metadata.generation, desired_config=desired
        )

    return tuple(observed(reference) for reference in addon.status.config_references)


def install_namespace(addon: ManagedClusterAddOn, configuration: Configuration) -> str:
    """Return the agent's namespace on the spoke: from the configuration, else from the add-on, else OCM's default."""
    return configuration.agent_install_namespace or addon.spec.install_namespace or DEFAULT_INSTALL_NAMESPACE


def _reference(addon: ManagedClusterAddOn) -> ConfigReference | None:
    return next((r for r in addon.status.config_references if r.kind == DEPLOYMENT_CONFIG), None)


def _released(
    reference: ConfigReference, admissible: frozenset[ConfigReferent], configs: Configs
) -> ResolvedConfig | UnresolvedConfig:
    desired = reference.desired_config
    if desired is None or desired.referent not in admissible:
        return UnresolvedConfig(
            ConfigurationReason.PENDING,
            "status.configReferences names a configuration that spec.configs and the ClusterManagementAddOn do not.",
        )
    name = f"{desired.namespace}/{desired.name}"
    config = configs.get(desired.referent)
    if config is None:
        return UnresolvedConfig(
            ConfigurationReason.MISSING,
            f"AddOnDeploymentConfig {name} does not exist. Create it, or remove the reference.",
        )
    if desired.spec_hash != spec_hash(config):
        return UnresolvedConfig(
            ConfigurationReason.PENDING,
            f"The change of AddOnDeploymentConfig {name} is not rolled out to this cluster yet.",
        )
    return _decoded(name, config.spec)


def _decoded(name: str, spec: Json) -> ResolvedConfig | UnresolvedConfig:
    configuration = decode(spec)
    if isinstance(configuration, str):
        return UnresolvedConfig(ConfigurationReason.INVALID, f"AddOnDeploymentConfig {name}: {configuration}")
    if configuration.ignored_variables:
        ignored = ", ".join(configuration.ignored_variables)
        return ResolvedConfig(
            configuration,
            ConfigurationReason.VARIABLES_IGNORED,
            f"Unsupported customizedVariables are ignored: {ignored}.",
        )
    return ResolvedConfig(configuration)
