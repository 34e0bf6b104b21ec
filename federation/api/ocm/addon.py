"""The add-on in OCM's API: ClusterManagementAddOn, ManagedClusterAddOn and AddOnDeploymentConfig.

OCM stores API version v1alpha1, so reading and writing it needs no conversion webhook. A spoke can write the whole
`status` of its ManagedClusterAddOn; nothing there may be trusted.
Source: open-cluster-management.io/api `addon/v1alpha1/types_*.go`.
"""

from typing import Any, Final

import msgspec

from federation.api.meta import Condition, Resource, Struct

ADDON_GROUP: Final = "addon.open-cluster-management.io"
ADDON_NAMESPACE_LABEL: Final = "open-cluster-management.io/addon-namespace"
LIFECYCLE_ANNOTATION: Final = "addon.open-cluster-management.io/lifecycle"
HOSTING_CLUSTER_ANNOTATION: Final = "addon.open-cluster-management.io/hosting-cluster-name"
DEFAULT_INSTALL_NAMESPACE: Final = "open-cluster-management-agent-addon"


class GroupResource(Struct, frozen=True):
    """A kind of configuration object."""

    resource: str
    group: str = ""


class ConfigReferent(Struct, frozen=True):
    """The name of a configuration object."""

    name: str = ""
    namespace: str = ""


class ConfigSpecHash(Struct, frozen=True):
    """A configuration object and the digest of its spec; `""` until it is computed."""

    name: str = ""
    namespace: str = ""
    spec_hash: str = ""

    @property
    def referent(self) -> ConfigReferent:
        """Return the object's name without the digest."""
        return ConfigReferent(name=self.name, namespace=self.namespace)


class AddOnConfig(Struct, frozen=True):
    """A configuration object that an administrator chose for the add-on."""

    resource: str
    group: str = ""
    name: str = ""
    namespace: str = ""

    @property
    def kind(self) -> GroupResource:
        """Return the kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)

    @property
    def referent(self) -> ConfigReferent:
        """Return the object's name."""
        return ConfigReferent(name=self.name, namespace=self.namespace)


class ConfigReference(Struct, frozen=True):
    """A configuration that applies to one cluster; addon-manager writes the entry, the hub manager its digest."""

    resource: str
    group: str = ""
    name: str = ""
    namespace: str = ""
    last_observed_generation: int = 0
    desired_config: ConfigSpecHash | None = None
    last_applied_config: ConfigSpecHash | None = None

    @property
    def kind(self) -> GroupResource:
        """Return the kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class RegistrationSubject(Struct, frozen=True):
    """The subject that a registration's request must have; `organizationUnit` is singular in v1alpha1."""

    user: str = ""
    groups: tuple[str, ...] = ()
    organization_unit: tuple[str, ...] = ()


class Registration(Struct, frozen=True):
    """One certificate that the klusterlet requests for the agent."""

    signer_name: str
    subject: RegistrationSubject = RegistrationSubject()


class HealthCheck(Struct, frozen=True):
    """The source of the agent's health: `Lease` (the klusterlet checks) or `Customized` (the add-on reports)."""

    mode: str = ""


class ManagedClusterAddOnSpec(Struct, frozen=True):
    """The administrator's settings for one cluster."""

    install_namespace: str = ""
    configs: tuple[AddOnConfig, ...] = ()


class ManagedClusterAddOnStatus(Struct, frozen=True):
    """Status fields that addon-manager, klusterlet and hub manager share; OCM documents their owners."""

    conditions: tuple[Condition, ...] = ()
    supported_configs: tuple[GroupResource, ...] = ()
    config_references: tuple[ConfigReference, ...] = ()
    namespace: str = ""
    registrations: tuple[Registration, ...] = ()
    health_check: HealthCheck = HealthCheck()
    kube_client_driver: str = ""


class ManagedClusterAddOn(Resource, frozen=True):
    """The add-on on one cluster; it lives in the cluster's namespace."""

    spec: ManagedClusterAddOnSpec = ManagedClusterAddOnSpec()
    status: ManagedClusterAddOnStatus = ManagedClusterAddOnStatus()

    @property
    def cluster(self) -> str:
        """Return the cluster's name."""
        return self.metadata.namespace


class SupportedConfig(Struct, frozen=True):
    """A supported kind of configuration, and the administrator's default."""

    resource: str
    group: str = ""
    default_config: ConfigReferent | None = None

    @property
    def kind(self) -> GroupResource:
        """Return the kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class PlacementStrategy(Struct, frozen=True):
    """A Placement whose clusters get the add-on, with their configurations."""

    configs: tuple[AddOnConfig, ...] = ()


class InstallStrategy(Struct, frozen=True):
    """The automatic installation of the add-on; only the administrator writes it."""

    placements: tuple[PlacementStrategy, ...] = ()


class ClusterManagementAddOnSpec(Struct, frozen=True):
    """The administrator's settings for all clusters."""

    supported_configs: tuple[SupportedConfig, ...] = ()
    install_strategy: InstallStrategy = InstallStrategy()


class DefaultConfigReference(Struct, frozen=True):
    """A default configuration and its digest, which the hub manager computes."""

    resource: str
    group: str = ""
    desired_config: ConfigSpecHash | None = None

    @property
    def kind(self) -> GroupResource:
        """Return the kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class InstallConfigReference(Struct, frozen=True):
    """A configuration of one Placement's installations; addon-manager writes all but the digest."""

    resource: str
    group: str = ""
    desired_config: ConfigSpecHash | None = None
    last_known_good_config: ConfigSpecHash | None = None
    last_applied_config: ConfigSpecHash | None = None

    @property
    def kind(self) -> GroupResource:
        """Return the kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class InstallProgression(Struct, frozen=True):
    """The progress of the installations by one Placement."""

    name: str
    namespace: str
    config_references: tuple[InstallConfigReference, ...] = ()
    conditions: tuple[Condition, ...] = ()


class ClusterManagementAddOnStatus(Struct, frozen=True):
    """Status written by addon-manager, except for digests; `defaultconfigReferences` is the upstream spelling."""

    default_config_references: tuple[DefaultConfigReference, ...] = msgspec.field(
        default=(), name="defaultconfigReferences"
    )
    install_progressions: tuple[InstallProgression, ...] = ()


class ClusterManagementAddOn(Resource, frozen=True):
    """The add-on, for all clusters of the hub."""

    spec: ClusterManagementAddOnSpec = ClusterManagementAddOnSpec()
    status: ClusterManagementAddOnStatus = ClusterManagementAddOnStatus()


class AddOnDeploymentConfig(Resource, frozen=True):
    """The deployment settings of the agent; `spec` is not decoded, because OCM's digest covers all of it."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)


def owned_by(addon: ManagedClusterAddOn, fleet: ClusterManagementAddOn) -> bool:
    """Report whether the ManagedClusterAddOn is owned by the ClusterManagementAddOn, in any API version."""
    return any(
        owner.group == ADDON_GROUP
        and owner.kind == "ClusterManagementAddOn"
        and owner.name == fleet.metadata.name
        and owner.uid == fleet.metadata.uid
        for owner in addon.metadata.owner_references
    )
