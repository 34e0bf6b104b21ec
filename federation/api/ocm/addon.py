"""The add-on as OCM's hub knows it: the add-on of the fleet, of one cluster, and its deployment's configuration.

API version v1alpha1: OCM stores it, so that no conversion webhook stands between us and our own objects. A spoke can
write the whole `status` of its own ManagedClusterAddOn; nothing there is a ground for trust.
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
    """A configuration object and the digest of what it says; `""` until somebody computed it."""

    name: str = ""
    namespace: str = ""
    spec_hash: str = ""

    @property
    def referent(self) -> ConfigReferent:
        """The object's name without the digest."""
        return ConfigReferent(name=self.name, namespace=self.namespace)


class AddOnConfig(Struct, frozen=True):
    """A configuration object that somebody chose for the add-on."""

    resource: str
    group: str = ""
    name: str = ""
    namespace: str = ""

    @property
    def kind(self) -> GroupResource:
        """The kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)

    @property
    def referent(self) -> ConfigReferent:
        """The object's name."""
        return ConfigReferent(name=self.name, namespace=self.namespace)


class ConfigReference(Struct, frozen=True):
    """A configuration in force for one cluster; OCM's addon-manager writes the entry, we its digest."""

    resource: str
    group: str = ""
    name: str = ""
    namespace: str = ""
    last_observed_generation: int = 0
    desired_config: ConfigSpecHash | None = None
    last_applied_config: ConfigSpecHash | None = None

    @property
    def kind(self) -> GroupResource:
        """The kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class RegistrationSubject(Struct, frozen=True):
    """What a certificate request of the add-on's agent has to name; the unit's field is singular in v1alpha1."""

    user: str = ""
    groups: tuple[str, ...] = ()
    organization_unit: tuple[str, ...] = ()


class Registration(Struct, frozen=True):
    """One certificate that the klusterlet shall ask for on the agent's behalf."""

    signer_name: str
    subject: RegistrationSubject = RegistrationSubject()


class HealthCheck(Struct, frozen=True):
    """Who judges the agent's health: the klusterlet by `Lease`, or the add-on itself, `Customized`."""

    mode: str = ""


class ManagedClusterAddOnSpec(Struct, frozen=True):
    """What the administrator asked for on one cluster."""

    install_namespace: str = ""
    configs: tuple[AddOnConfig, ...] = ()


class ManagedClusterAddOnStatus(Struct, frozen=True):
    """Shared by addon-manager, klusterlet and us; see OCM's table of who owns what."""

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
        """The cluster's name."""
        return self.metadata.namespace


class SupportedConfig(Struct, frozen=True):
    """A kind of configuration that the add-on understands, and the administrator's default of it."""

    resource: str
    group: str = ""
    default_config: ConfigReferent | None = None

    @property
    def kind(self) -> GroupResource:
        """The kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class PlacementStrategy(Struct, frozen=True):
    """A Placement whose clusters get the add-on, and the configurations that they get with it."""

    configs: tuple[AddOnConfig, ...] = ()


class InstallStrategy(Struct, frozen=True):
    """Where the add-on goes by itself: the administrator's, never written by us."""

    placements: tuple[PlacementStrategy, ...] = ()


class ClusterManagementAddOnSpec(Struct, frozen=True):
    """What the administrator asked for on the fleet."""

    supported_configs: tuple[SupportedConfig, ...] = ()
    install_strategy: InstallStrategy = InstallStrategy()


class DefaultConfigReference(Struct, frozen=True):
    """A default configuration and its digest, which we compute."""

    resource: str
    group: str = ""
    desired_config: ConfigSpecHash | None = None

    @property
    def kind(self) -> GroupResource:
        """The kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class InstallConfigReference(Struct, frozen=True):
    """A configuration of one Placement's installs: its digest is ours, the rest addon-manager's."""

    resource: str
    group: str = ""
    desired_config: ConfigSpecHash | None = None
    last_known_good_config: ConfigSpecHash | None = None
    last_applied_config: ConfigSpecHash | None = None

    @property
    def kind(self) -> GroupResource:
        """The kind of the object."""
        return GroupResource(resource=self.resource, group=self.group)


class InstallProgression(Struct, frozen=True):
    """How far the installs by one Placement are."""

    name: str
    namespace: str
    config_references: tuple[InstallConfigReference, ...] = ()
    conditions: tuple[Condition, ...] = ()


class ClusterManagementAddOnStatus(Struct, frozen=True):
    """Written by addon-manager, but for the digests; `defaultconfigReferences` is spelt so upstream."""

    default_config_references: tuple[DefaultConfigReference, ...] = msgspec.field(
        default=(), name="defaultconfigReferences"
    )
    install_progressions: tuple[InstallProgression, ...] = ()


class ClusterManagementAddOn(Resource, frozen=True):
    """The add-on of the fleet."""

    spec: ClusterManagementAddOnSpec = ClusterManagementAddOnSpec()
    status: ClusterManagementAddOnStatus = ClusterManagementAddOnStatus()


class AddOnDeploymentConfig(Resource, frozen=True):
    """How the agent is to be deployed; `spec` stays as sent, because OCM's digest covers all of it."""

    spec: dict[str, Any] = msgspec.field(default_factory=dict)


def owned_by(addon: ManagedClusterAddOn, fleet: ClusterManagementAddOn) -> bool:
    """Whether OCM has tied the cluster's add-on to the fleet's: by group, kind, name and uid, whatever version."""
    return any(
        owner.group == ADDON_GROUP
        and owner.kind == "ClusterManagementAddOn"
        and owner.name == fleet.metadata.name
        and owner.uid == fleet.metadata.uid
        for owner in addon.metadata.owner_references
    )
