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
    """The phase of a namespace: Active or Terminating."""

    phase: str = ""


class Namespace(Resource, frozen=True):
    """A namespace."""

    status: NamespaceStatus = NamespaceStatus()


class ObjectReference(Struct, frozen=True):
    """The object that an Event describes."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Event(Resource, frozen=True):
    """An Event, which `kubectl describe` shows with its object."""

    involved_object: ObjectReference = ObjectReference()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int = 0


class LeaseSpec(Struct, frozen=True):
    """The holder of a lease and the time of its renewal, by the holder's clock."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


class Lease(Resource, frozen=True):
    """A lease for leader election, or a heartbeat."""

    spec: LeaseSpec = LeaseSpec()


class Role(Resource, frozen=True):
    """Permissions within a namespace; rules are compared without decoding."""

    rules: tuple[dict[str, Any], ...] = ()


class RoleBinding(Resource, frozen=True):
    """The subjects of a role within a namespace; compared without decoding."""

    role_ref: dict[str, Any] = msgspec.field(default_factory=dict)
    subjects: tuple[dict[str, Any], ...] = ()


class DeploymentStatus(Struct, frozen=True):
    """The status of a Deployment."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(Resource, frozen=True):
    """A Deployment."""

    status: DeploymentStatus = DeploymentStatus()
