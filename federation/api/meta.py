"""Object metadata and conditions, common to all Kubernetes resources, and the API group of the product.

Structs declare only the fields that a decision reads; decoding drops the rest of an object.
Source: k8s.io/apimachinery `pkg/apis/meta/v1/types.go`.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Final, Literal

import msgspec

from federation.api.schema import REQUIRED, Int64, PrinterColumn, Timestamp, bounds, length

FEDERATION_GROUP: Final = "federation-ai.open-cluster-management.io"
"""API group of FederatedLearning, Dataset and Collaborator."""
FEDERATION_VERSION: Final = "v1alpha1"

ConditionStatus = Literal["True", "False", "Unknown"]


class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A frozen value decoded from Kubernetes JSON; unknown fields are ignored, names are `camelCase` in JSON.

    A subclass repeats `frozen=True`: mypy does not inherit it.
    """

    cel_rules: ClassVar[tuple[msgspec.Meta, ...]] = ()
    """CEL rules on several fields of the object, made by `schema.rule`; for the CRD only."""


class OwnerReference(Struct, frozen=True):
    """The owner of an object, identified by group, kind, name and uid; OCM may rewrite the version."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False

    @property
    def group(self) -> str:
        """Return the API group, `""` for the core group."""
        return self.api_version.rpartition("/")[0]


class ObjectMeta(Struct, frozen=True):
    """The part of `metadata` that decisions read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def deleting(self) -> bool:
        """Report whether deletion has begun."""
        return self.deletion_timestamp is not None


class Resource(Struct, frozen=True):
    """A Kubernetes object; a subclass adds the fields that decisions read."""

    metadata: ObjectMeta = ObjectMeta()


class CustomResource(Resource, frozen=True):
    """A resource of the product's API group, with the parts of its CRD that no field implies."""

    short_names: ClassVar[tuple[str, ...]] = ()
    printer_columns: ClassVar[tuple[PrinterColumn, ...]] = ()


class Condition(Struct, frozen=True):
    """One entry of `status.conditions`."""

    type: Annotated[str, REQUIRED, length(316)]
    """Type of the condition, in CamelCase."""
    status: Annotated[ConditionStatus, REQUIRED]
    """Whether the condition holds."""
    reason: Annotated[str, REQUIRED, length(1024)] = ""
    """Machine-readable reason, in CamelCase."""
    message: Annotated[str, REQUIRED, length(32768)] = ""
    """Details and, where there is one, the remedy."""
    last_transition_time: Annotated[Timestamp, REQUIRED] = ""
    """Time of the last change of `status`."""
    observed_generation: Annotated[Int64, bounds(0)] = 0
    """Generation of the object that the condition describes."""


def condition_of(conditions: Iterable[Condition], condition_type: str) -> Condition | None:
    """Return the condition of the type, or None if it is absent."""
    return next((c for c in conditions if c.type == condition_type), None)


def is_true(conditions: Iterable[Condition], condition_type: str) -> bool:
    """Return whether the condition of the type is present with status True."""
    found = condition_of(conditions, condition_type)
    return found is not None and found.status == "True"
