"""The AddOnDeploymentConfig in force for a cluster, and what it asks for.

OCM's addon-manager records in `status.configReferences` which configuration is in force and, while it rolls a change
out, with which digest. That status can be written by the spoke: a reference counts only when the administrator named
the object for this add-on, in a field that no spoke can write, and the digest is recomputed from the object itself.
A configuration that addon-manager has not released to the cluster yet leaves what is deployed as it is.
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
from hub_manager.addon.deployment_config import Configuration, decode, spec_hash

DEPLOYMENT_CONFIG: Final = GroupResource(group=ADDON_GROUP, resource="addondeploymentconfigs")
"""The only kind of configuration that this add-on reads."""

Configs = Mapping[ConfigReferent, AddOnDeploymentConfig]


class ConfigurationReason(Enum):
    """The reasons of the condition `ConfigurationAccepted`."""

    ACCEPTED = "Accepted"
    """In force as it stands, or there is none."""
    VARIABLES_IGNORED = "VariablesIgnored"
    """In force, but for variables that this add-on does not know."""
    PENDING = "Pending"
    """OCM's addon-manager has not settled or not released it to this cluster; what is deployed stays."""
    UNSUPPORTED = "UnsupportedKind"
    """The administrator named a configuration of a kind that this add-on does not read."""
    MISSING = "NotFound"
    """The administrator named an object that does not exist."""
    INVALID = "Invalid"
    """A field can't be honoured; the message names it."""


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """The configuration to deploy with."""

    configuration: Configuration
    reason: ConfigurationReason = ConfigurationReason.ACCEPTED
    message: str = "The agent is deployed as configured."


@dataclass(frozen=True, slots=True)
class UnresolvedConfig:
    """No configuration to deploy with: what is deployed stays as it is."""

    reason: ConfigurationReason
    message: str


def resolve(
    addon: ManagedClusterAddOn, cluster_management_addon: ClusterManagementAddOn, configs: Configs
) -> ResolvedConfig | UnresolvedConfig:
    """The configuration in force for the cluster, or why none can be honoured."""
    for chosen in addon.spec.configs:
        if chosen.kind != DEPLOYMENT_CONFIG:
            kind = f"{chosen.resource}.{chosen.group}"
            return UnresolvedConfig(
                ConfigurationReason.UNSUPPORTED,
                f"spec.configs names a {kind}: remove it, only AddOnDeploymentConfigs are supported.",
            )
    if not is_true(addon.status.conditions, "Configured"):
        return UnresolvedConfig(
            ConfigurationReason.PENDING, "OCM's addon-manager has not settled the configuration yet."
        )
    reference = _reference(addon)
    admissible = admissible_configs(addon, cluster_management_addon)
    if reference is None:
        if admissible and addon.spec.configs:
            return UnresolvedConfig(
                ConfigurationReason.PENDING, "OCM's addon-manager has not taken up spec.configs yet."
            )
        return ResolvedConfig(Configuration(), message="No configuration is in force.")
    return _released(reference, admissible, configs)


def admissible_configs(
    addon: ManagedClusterAddOn, cluster_management_addon: ClusterManagementAddOn
) -> frozenset[ConfigReferent]:
    """The configurations that the administrator named for this cluster, in fields that no spoke can write.

    A choice on the ManagedClusterAddOn rules out every other. Which of the install strategy's Placements selected the
    cluster is not asked, so that all configurations it names are admissible.
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
    """`status.configReferences` with our part filled in: the generation seen, and the digests of `spec.configs`.

    The other digests are addon-manager's to release, cluster by cluster.
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
    """Where the agent lives on the spoke: the configuration's word, then the add-on's, then OCM's default."""
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
            "status.configReferences names a configuration that the administrator did not choose for this add-on.",
        )
    name = f"{desired.namespace}/{desired.name}"
    config = configs.get(desired.referent)
    if config is None:
        return UnresolvedConfig(ConfigurationReason.MISSING, f"AddOnDeploymentConfig {name} does not exist: create it.")
    if desired.spec_hash != spec_hash(config):
        return UnresolvedConfig(
            ConfigurationReason.PENDING, f"AddOnDeploymentConfig {name} changed and is not rolled out here yet."
        )
    return _decoded(name, config.spec)


def _decoded(name: str, spec: Json) -> ResolvedConfig | UnresolvedConfig:
    configuration = decode(spec)
    if isinstance(configuration, str):
        return UnresolvedConfig(ConfigurationReason.INVALID, f"AddOnDeploymentConfig {name}: {configuration}")
    if configuration.ignored_variables:
        ignored = ", ".join(configuration.ignored_variables)
        return ResolvedConfig(
            configuration, ConfigurationReason.VARIABLES_IGNORED, f"Variables not known to this add-on: {ignored}."
        )
    return ResolvedConfig(configuration)
