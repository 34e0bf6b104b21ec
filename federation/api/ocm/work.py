"""ManifestWorks: what the hub asks a cluster's work agent to apply, and what comes back.

The manifests themselves are not kept: a fleet's works would fill hundreds of megabytes. They become a digest as they
are decoded, which is all that a comparison with the desired ones needs.
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
    """SHA-256, in hexadecimal, of the manifests in their order; the order of keys within them does not matter."""
    return hashlib.sha256(msgspec.json.encode(manifests, order="deterministic")).hexdigest()


class ManifestWorkSpec(Struct, frozen=True):
    """What to apply; `workload` is emptied once `digest` has been taken of its manifests."""

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
    """Which manifest a result belongs to."""

    ordinal: int = 0
    group: str = ""
    version: str = ""
    kind: str = ""
    resource: str = ""
    name: str = ""
    namespace: str = ""


class FieldValue(Struct, frozen=True):
    """A value fed back; exactly the member that `type` names is set."""

    type: str
    integer: int | None = None
    string: str | None = None
    boolean: bool | None = None
    json_raw: str | None = None


class FeedbackValue(Struct, frozen=True):
    """One named value that a feedback rule found in the applied object."""

    name: str
    value: FieldValue = msgspec.field(name="fieldValue")


class StatusFeedback(Struct, frozen=True):
    """All that was found in one applied object."""

    values: tuple[FeedbackValue, ...] = ()


class ManifestResult(Struct, frozen=True):
    """What became of one manifest; reported by the spoke."""

    resource_meta: ManifestResourceMeta = ManifestResourceMeta()
    conditions: tuple[Condition, ...] = ()
    status_feedback: StatusFeedback = StatusFeedback()

    def value(self, name: str) -> FieldValue | None:
        """The value fed back under that name, or None where the spoke sent none."""
        return next((v.value for v in self.status_feedback.values if v.name == name), None)


class ResourceStatus(Struct, frozen=True):
    """The results of all manifests."""

    manifests: tuple[ManifestResult, ...] = ()


class ManifestWorkStatus(Struct, frozen=True):
    """Written by the spoke's work agent."""

    conditions: tuple[Condition, ...] = ()
    resource_status: ResourceStatus = ResourceStatus()


class ManifestWork(Resource, frozen=True):
    """One bundle of manifests for one cluster; it lives in the cluster's namespace."""

    spec: ManifestWorkSpec = ManifestWorkSpec()
    status: ManifestWorkStatus = ManifestWorkStatus()
