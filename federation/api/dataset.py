"""A Dataset: data that a site offers to federated learning, and the policy for its use. It never leaves the spoke.

Datasets are namespaced, and only those in the add-on's install namespace count. A PersistentVolumeClaim, ConfigMap or
Secret is namespaced and a pod mounts only those of its namespace, so a collaborator's Job runs in the namespace of its
Dataset and the agent needs permissions in that namespace only. The right to offer data, host paths included, is the
right to write Datasets in that namespace; the site's administrator grants it by a Role. A cluster-scoped Dataset would
have to name a namespace, and its author could reach into every namespace.

The structs accept every object that the CRD admits; `spoke_agent.claims.planning.validation` validates it.
"""

from typing import Annotated, Final

import msgspec

from federation.api.dns_names import DNS_LABEL
from federation.api.meta import Condition, CustomResource, Struct
from federation.api.schema import (
    RELATIVE_PATH,
    REQUIRED,
    Int64,
    PrinterColumn,
    Timestamp,
    bounds,
    entries,
    items,
    length,
    map_list,
    matches,
    one_of,
    rule,
)

PUBLISHED: Final = "Published"
"""Condition type: whether the hub can select this cluster by the dataset."""

MAX_ROWS: Final = 2**53
"""CEL reads JSON numbers as doubles, which are exact up to this number."""
MAX_LABELS: Final = 8
SCHEMA_DIGEST: Final = "sha256:[0-9a-f]{64}"
"""Pattern of `attributes.schemaDigest`."""
LABEL_KEY: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
"""Pattern of a key in `attributes.labels`."""
LABEL_VALUE: Final = f"({LABEL_KEY})?"
"""Pattern of a value in `attributes.labels`."""
ADMITTED_IMAGE: Final = "[A-Za-z0-9][-A-Za-z0-9._:/]*(/|@sha256:[0-9a-f]{64})"
"""Pattern of an entry in `policy.images`."""


class PersistentVolumeClaimVolume(Struct, frozen=True):
    """A PersistentVolumeClaim in the Dataset's namespace."""

    claim_name: Annotated[str, REQUIRED, length(253, minimum=1)] = ""
    """Name of the PersistentVolumeClaim."""


class HostPathVolume(Struct, frozen=True):
    """A directory on every node that can run a collaborator."""

    path: Annotated[
        str,
        REQUIRED,
        length(1024),
        rule(
            "self.startsWith('/') && !self.startsWith('//') && !self.split('/').exists(part, part == '..')",
            "write an absolute path without '..'",
        ),
    ] = ""
    """Absolute path, without `..`."""


class ConfigMapVolume(Struct, frozen=True):
    """A ConfigMap in the Dataset's namespace, for samples and tests."""

    name: Annotated[str, REQUIRED, length(253, minimum=1)] = ""
    """Name of the ConfigMap."""


class SecretVolume(Struct, frozen=True):
    """A Secret in the Dataset's namespace, for example with credentials of the object store that holds the data."""

    secret_name: Annotated[str, REQUIRED, length(253, minimum=1)] = ""
    """Name of the Secret."""


class CsiVolume(Struct, frozen=True):
    """An inline volume of a CSI driver (Kubernetes `CSIVolumeSource`)."""

    driver: Annotated[str, REQUIRED, length(253, minimum=1)] = ""
    """Name of the CSI driver."""
    fs_type: Annotated[str, length(63)] = ""
    """Type of the file system."""
    volume_attributes: Annotated[dict[str, Annotated[str, length(1024)]], entries(64)] = msgspec.field(
        default_factory=dict
    )
    """Attributes that are passed to the CSI driver."""
    node_publish_secret: Annotated[str, length(253)] = ""
    """Name of a Secret in the Dataset's namespace that the CSI driver needs to mount the volume."""


class DatasetVolume(Struct, frozen=True):
    """Location of the data: exactly one source. The volume is mounted read-only."""

    cel_rules = (
        rule(
            "[has(self.persistentVolumeClaim), has(self.hostPath), has(self.configMap), has(self.secret), "
            "has(self.csi)].filter(set, set).size() == 1",
            "set exactly one of persistentVolumeClaim, hostPath, configMap, secret, csi",
        ),
    )

    persistent_volume_claim: PersistentVolumeClaimVolume | None = None
    host_path: HostPathVolume | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    csi: CsiVolume | None = None
    sub_path: Annotated[str, length(1024), RELATIVE_PATH] = ""
    """Folder within the volume; only this folder is mounted."""

    @property
    def sources(self) -> tuple[Struct, ...]:
        """The sources that are set; a valid volume has one."""
        every = (self.persistent_volume_claim, self.host_path, self.config_map, self.secret, self.csi)
        return tuple(source for source in every if source is not None)


class DatasetAttributes(Struct, frozen=True):
    """Description of the data for the hub, published in a ClusterClaim. The hub sees no other field but the name."""

    rows: Annotated[Int64, bounds(0, MAX_ROWS)] | None = None
    """Number of rows."""
    schema_digest: Annotated[
        str,
        length(71),
        matches(SCHEMA_DIGEST, "write 'sha256:' and 64 lower-case hexadecimal digits", or_empty=True),
    ] = ""
    """SHA-256 of a description of the columns that the federation has agreed on, as `sha256:` and 64 hexadecimal
    digits."""
    labels: Annotated[
        dict[str, Annotated[str, length(63)]],
        entries(MAX_LABELS),
        rule(
            f"self.all(key, key.matches('^{LABEL_KEY}$') && self[key].matches('^{LABEL_VALUE}$'))",
            "use at most 63 letters, digits, '-', '_' and '.' for each key and value, beginning and ending with a "
            "letter or digit",
        ),
    ] = msgspec.field(default_factory=dict)
    """Labels that describe the data."""


class RunPattern(Struct, frozen=True):
    """Runs that may use the data: both patterns must match; `*` matches any characters."""

    namespace: Annotated[str, REQUIRED, length(63, minimum=1)] = ""
    """Pattern for the namespace of the FederatedLearning on the hub."""
    name: Annotated[str, length(253, minimum=1)] = "*"
    """Pattern for the name of the FederatedLearning."""


class DatasetPolicy(Struct, frozen=True):
    """The site's policy. A run must meet every field; an empty list admits no run."""

    runs: Annotated[tuple[RunPattern, ...], REQUIRED, items(64, minimum=1)] = ()
    """Runs that may use the data: one entry must match the run's namespace and name; `*` matches any characters."""
    images: Annotated[
        tuple[
            Annotated[
                str,
                length(512),
                matches(ADMITTED_IMAGE, "write an image with its digest (…@sha256:…), or a prefix that ends with '/'"),
            ],
            ...,
        ],
        REQUIRED,
        items(64, minimum=1),
    ] = ()
    """Images that may read the data: each entry is an image with its digest (`…@sha256:…`), or a prefix that ends with
    `/`."""
    expires_at: Timestamp = ""
    """Time (RFC 3339) from which the dataset is neither published nor mounted. If empty, it does not expire."""
    approval: Annotated[str, one_of("Automatic", "Manual")] = "Manual"
    """With `Manual`, an administrator of the site must approve each run."""


class DatasetSpec(Struct, frozen=True):
    """The data that the site offers, and the policy for its use."""

    volume: Annotated[DatasetVolume, REQUIRED] = DatasetVolume()
    attributes: DatasetAttributes = DatasetAttributes()
    policy: Annotated[DatasetPolicy, REQUIRED] = DatasetPolicy()


class DatasetStatus(Struct, frozen=True):
    """Status of the dataset, as reported by the agent."""

    conditions: Annotated[tuple[Condition, ...], map_list("type")] = ()
    """Whether the dataset is published."""
    observed_generation: Int64 = 0
    """Generation of the spec that the condition describes."""


class Dataset(CustomResource, frozen=True):
    """Data that this site offers to federated learning, and the policy for its use.

    Only Datasets in the add-on's install namespace count. A Dataset never leaves the cluster: the hub sees its name and
    `spec.attributes` only.
    """

    cel_rules = (
        rule(
            f"self.metadata.name.matches('^{DNS_LABEL}$')",
            "rename the Dataset: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or "
            "digit",
        ),
    )
    printer_columns = (
        PrinterColumn("Rows", ".spec.attributes.rows", "integer"),
        PrinterColumn("Approval", ".spec.policy.approval"),
        PrinterColumn("Published", f'.status.conditions[?(@.type=="{PUBLISHED}")].status'),
        PrinterColumn("Reason", f'.status.conditions[?(@.type=="{PUBLISHED}")].reason'),
        PrinterColumn("Expires", ".spec.policy.expiresAt", priority=1),
    )

    spec: Annotated[DatasetSpec, REQUIRED] = DatasetSpec()
    status: DatasetStatus = DatasetStatus()
