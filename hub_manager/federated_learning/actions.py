"""The writes that a run's plan can ask for, as values; the reconciler carries them out in their order."""

from dataclasses import dataclass
from typing import Any

from federation.kube.resource import Json, Kind, ObjectKey


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of the whole body."""

    kind: Kind[Any]
    key: ObjectKey
    body: Json
    otherwise: Json | None = None
    """What to apply where the server finds the body invalid: a Service without the node port that is taken."""


@dataclass(frozen=True, slots=True)
class Create:
    """A new object; one of the name that is there already must be the run's own."""

    kind: Kind[Any]
    key: ObjectKey
    body: Json


@dataclass(frozen=True, slots=True)
class Patch:
    """A merge patch, with preconditions in it where they matter."""

    kind: Kind[Any]
    key: ObjectKey
    patch: Json
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of that object and no other of its name; a Job goes after its pods."""

    kind: Kind[Any]
    key: ObjectKey
    uid: str


@dataclass(frozen=True, slots=True)
class Purge:
    """Deletion of every object that bears the run's uid, as the server has them; nothing comes after one refused."""

    kind: Kind[Any]
    key: ObjectKey
    """The run's."""
    uid: str


@dataclass(frozen=True, slots=True)
class Certify:
    """A new key and certificate for the aggregator, into its Secret."""

    key: ObjectKey
    record: ObjectKey
    """The ConfigMap on which it is recorded."""
    names: tuple[str, ...]
    metadata: Json
    digest: str
    """What it is made of; recorded beside the time at which it is due again."""


Action = Apply | Create | Patch | Delete | Purge | Certify
