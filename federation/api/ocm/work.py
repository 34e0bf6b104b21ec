"""ManifestWorks: the manifests that a cluster's work agent applies, and its results.

Decoding replaces the manifests by a digest, which is enough to compare them with the desired ones. The manifests of
many clusters would take hundreds of megabytes of memory.
Source: open-cluster-management.io/api `work/v1/types.go`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from federation.api.meta import Condition, Resource, Struct

APPLIED: Final = "Applied"
AVAILABLE: Final = "Available"
CONFIG_SPEC_HASH_ANNOTATION: Final = "open-cluster-management.io/config-spec-hash"


def manifests_digest(manifests: Sequence[dict[str, Any]]) -> str:
    """Return the SHA-256 of the manifests in their order, in hexadecimal; the order of keys has no effect."""
    return hashlib.sha256(msgspec.json.encode(manifests, order="deterministic")).hexdigest()


class ManifestWorkSpec(Struct, frozen=True):
    """The manifests to apply; `workload` is cleared after `digest` is computed from its manifests."""

    workload: dict[str, Any] = msgspec.field(default_factory=dict)
    manifest_configs: tuple[dict[str, Any], ...] = ()
    delete_option: dict[str, Any] | None = None
    executor: dict[str, Any] | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.workload:
            digest = manifests_digest(self.workload.get("manifests") or ())
            msgspec.structs.force_setattr(self, "digest", digest)
            msgspec.structs.force_setattr(self, "workload", {})


class ManifestResourceMeta(Struct, frozen=True):
    """The manifest of a result."""

    ordinal: int = 0
    group: str = ""
    version: str = ""
    kind: str = ""
    resource: str = ""
    name: str = ""
    namespace: str = ""


class FieldValue(Struct, frozen=True):
    """A feedback value; only the member that `type` names is set."""

    type: str
    integer: int | None = None
    string: str | None = None
    boolean: bool | None = None
    json_raw: str | None = None


class FeedbackValue(Struct, frozen=True):
    """A named value that a feedback rule read from the applied object."""

    name: str
    value: FieldValue = msgspec.field(name="fieldValue")


class StatusFeedback(Struct, frozen=True):
    """All feedback values of one applied object."""

    values: tuple[FeedbackValue, ...] = ()


class ManifestResult(Struct, frozen=True):
    """The result of one manifest, reported by the spoke."""

    resource_meta: ManifestResourceMeta = ManifestResourceMeta()
    conditions: tuple[Condition, ...] = ()
    status_feedback: StatusFeedback = StatusFeedback()

    def value(self, name: str) -> FieldValue | None:
        """Return the feedback value of this name, or None if it is missing."""
        return next((v.value for v in self.status_feedback.values if v.name == name), None)


class ResourceStatus(Struct, frozen=True):
    """The results of all manifests."""

    manifests: tuple[ManifestResult, ...] = ()


class ManifestWorkStatus(Struct, frozen=True):
    """The status that the spoke's work agent writes."""

    conditions: tuple[Condition, ...] = ()
    resource_status: ResourceStatus = ResourceStatus()


class ManifestWork(Resource, frozen=True):
    """The manifests for one cluster; the object is in the cluster's namespace on the hub."""

    spec: ManifestWorkSpec = ManifestWorkSpec()
    status: ManifestWorkStatus = ManifestWorkStatus()
