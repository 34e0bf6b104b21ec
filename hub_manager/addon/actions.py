"""The writes that a plan can ask for, as values; the reconciler carries them out in their order."""

from dataclasses import dataclass
from typing import Any

from federation.kube.resource import Json, Kind, ObjectKey


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of the whole body."""

    kind: Kind[Any]
    key: ObjectKey
    body: Json


@dataclass(frozen=True, slots=True)
class PatchStatus:
    """A merge patch of the status, with preconditions in it."""

    kind: Kind[Any]
    key: ObjectKey
    patch: Json


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of that object and no other of its name."""

    kind: Kind[Any]
    key: ObjectKey
    uid: str


Action = Apply | PatchStatus | Delete
