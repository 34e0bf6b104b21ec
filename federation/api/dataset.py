"""A Dataset: what a site offers to federated learning, and on what terms. It never leaves the spoke.

Namespaced, and only those in the add-on's install namespace count. A volume's PVC, ConfigMap or Secret is namespaced,
and a pod mounts only those of its own namespace: a collaborator's Job therefore runs where its Dataset is, and the
agent needs rights in that one namespace alone. Who may offer data, a host's path included, is then who may write
Datasets there: the site's administrator, or whom they grant it by a Role in that namespace. A cluster-scoped Dataset
would have to name a namespace, and would make its author's right reach into every one.

The structs accept whatever the CRD lets through (`addon-templates/crds`); `spoke_agent.claims.datasets` judges it.
"""

from typing import Final

import msgspec

from federation.api.meta import Condition, Resource, Struct

FEDERATION_GROUP: Final = "federation-ai.open-cluster-management.io"
FEDERATION_VERSION: Final = "v1alpha1"

PUBLISHED: Final = "Published"
"""Condition type: whether the hub can select this cluster by the dataset."""


class PersistentVolumeClaimVolume(Struct, frozen=True):
    """A PersistentVolumeClaim of the Dataset's namespace."""

    claim_name: str = ""
    """Its name."""


class HostPathVolume(Struct, frozen=True):
    """A directory that every node which may run a collaborator has."""

    path: str = ""
    """Absolute, without `..`."""


class ConfigMapVolume(Struct, frozen=True):
    """A ConfigMap of the Dataset's namespace: for samples and tests."""

    name: str = ""
    """Its name."""


class SecretVolume(Struct, frozen=True):
    """A Secret of the Dataset's namespace, for example credentials of an object store that holds the data."""

    secret_name: str = ""
    """Its name."""


class CsiVolume(Struct, frozen=True):
    """An inline volume of a CSI driver (Kubernetes `CSIVolumeSource`)."""

    driver: str = ""
    """The driver's name."""
    fs_type: str = ""
    """The file system."""
    volume_attributes: dict[str, str] = msgspec.field(default_factory=dict)
    """What the driver asks for."""
    node_publish_secret: str = ""
    """The name of a Secret of the Dataset's namespace."""


class DatasetVolume(Struct, frozen=True):
    """Where the data is: exactly one source. It is mounted read-only."""

    persistent_volume_claim: PersistentVolumeClaimVolume | None = None
    host_path: HostPathVolume | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    csi: CsiVolume | None = None
    sub_path: str = ""
    """A folder within the volume; alone it is mounted."""

    @property
    def sources(self) -> tuple[Struct, ...]:
        """The sources that are set; a valid volume has one."""
        every = (self.persistent_volume_claim, self.host_path, self.config_map, self.secret, self.csi)
        return tuple(source for source in every if source is not None)


class DatasetAttributes(Struct, frozen=True):
    """What the site tells the hub of the data; all of it ends up in a ClusterClaim, and nothing else does."""

    rows: int | None = None
    """How many rows the data has."""
    schema_digest: str = ""
    """`sha256:` and 64 hexadecimal digits, of whatever description of the columns the federation has agreed on."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """Free words about the data."""


class RunPattern(Struct, frozen=True):
    """Runs that may use the data: both patterns must match, `*` standing for any characters."""

    namespace: str = ""
    """The FederatedLearning's namespace on the hub."""
    name: str = "*"
    """The FederatedLearning's name."""


class DatasetPolicy(Struct, frozen=True):
    """The site's terms. A run has to meet every one; an empty list admits nothing."""

    runs: tuple[RunPattern, ...] = ()
    """Who may use the data: runs of which one entry matches namespace and name; `*` stands for any characters."""
    images: tuple[str, ...] = ()
    """Which images may see the data, each by digest (`…@sha256:…`) or as a prefix that ends with `/`."""
    expires_at: str = ""
    """RFC 3339; from then on the dataset is neither published nor mounted. Empty: no end."""
    approval: str = "Manual"
    """`Manual`: someone at the site approves each run."""


class DatasetSpec(Struct, frozen=True):
    """What is offered."""

    volume: DatasetVolume = DatasetVolume()
    attributes: DatasetAttributes = DatasetAttributes()
    policy: DatasetPolicy = DatasetPolicy()


class DatasetStatus(Struct, frozen=True):
    """What the agent made of it."""

    conditions: tuple[Condition, ...] = ()
    """Whether it is published."""
    observed_generation: int = 0
    """The generation of the spec that the condition speaks of."""


class Dataset(Resource, frozen=True):
    """One dataset of a site; its name is the one that a FederatedLearning asks for."""

    spec: DatasetSpec = DatasetSpec()
    status: DatasetStatus = DatasetStatus()
