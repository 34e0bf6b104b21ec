"""The built-in Kubernetes objects that more than one part reads, with the fields they read.

Source: k8s.io/api `core/v1`, `coordination/v1`, `rbac/v1`, `apps/v1`.
"""

from typing import Any

import msgspec

from federation.api.meta import Condition, Resource, Struct


class Secret(Resource, frozen=True):
    """Named bytes, base64 on the wire; the values never reach a log."""

    type: str = ""
    data: dict[str, bytes] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, {sorted(self.data)})"


class ConfigMap(Resource, frozen=True):
    """Named texts."""

    data: dict[str, str] = msgspec.field(default_factory=dict)


class NamespaceStatus(Struct, frozen=True):
    """Whether the namespace is Active or Terminating."""

    phase: str = ""


class Namespace(Resource, frozen=True):
    """A namespace."""

    status: NamespaceStatus = NamespaceStatus()


class ObjectReference(Struct, frozen=True):
    """Which object an Event is about."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Event(Resource, frozen=True):
    """Something that happened to an object, for whoever describes it."""

    involved_object: ObjectReference = ObjectReference()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int = 0


class LeaseSpec(Struct, frozen=True):
    """Who holds the lease and when it was renewed, by the holder's clock."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


class Lease(Resource, frozen=True):
    """A claim to be the one that acts, or a sign of life."""

    spec: LeaseSpec = LeaseSpec()


class Role(Resource, frozen=True):
    """Rights within a namespace; rules are compared as they are, and not decoded."""

    rules: tuple[dict[str, Any], ...] = ()


class RoleBinding(Resource, frozen=True):
    """Who has the rights of a role within a namespace; compared as it is, and not decoded."""

    role_ref: dict[str, Any] = msgspec.field(default_factory=dict)
    subjects: tuple[dict[str, Any], ...] = ()


class DeploymentStatus(Struct, frozen=True):
    """How far a Deployment is."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(Resource, frozen=True):
    """A set of equal pods."""

    status: DeploymentStatus = DeploymentStatus()
