"""Object metadata and conditions as every Kubernetes resource carries them.

Structs name only the fields that some decision reads; whatever else an object carries is dropped when it is decoded.
Source: k8s.io/apimachinery `pkg/apis/meta/v1/types.go`.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

ConditionStatus = Literal["True", "False", "Unknown"]


class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A frozen value decoded from Kubernetes JSON; unknown fields are ignored, `camelCase` on the wire.

    A subclass repeats `frozen=True`: mypy does not inherit it.
    """


class OwnerReference(Struct, frozen=True):
    """Who owns an object; group, kind, name and uid identify it, the version does not (OCM rewrites it)."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False

    @property
    def group(self) -> str:
        """The API group, `""` for the core group."""
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
        """Whether deletion has begun."""
        return self.deletion_timestamp is not None


class Resource(Struct, frozen=True):
    """The least that a decoded object has."""

    metadata: ObjectMeta = ObjectMeta()


class Condition(Struct, frozen=True):
    """One entry of `status.conditions`."""

    type: str
    status: ConditionStatus
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


def condition_of(conditions: Iterable[Condition], condition_type: str) -> Condition | None:
    """The condition of that type, or None where it is absent."""
    return next((c for c in conditions if c.type == condition_type), None)


def is_true(conditions: Iterable[Condition], condition_type: str) -> bool:
    """Whether the condition of that type is present with status True."""
    found = condition_of(conditions, condition_type)
    return found is not None and found.status == "True"
