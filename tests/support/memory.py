"""The storage of an API server: objects, the history of their changes, and the owners of their fields.

One counter numbers every change of every collection, as etcd's revision does.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from federation.kube.conditions import rfc3339
from federation.kube.resource import Json, Kind, ObjectKey
from tests.support.api_server.label_selectors import selects
from tests.support.api_server.merging import Owners

Collection = tuple[str, str]
"""API group and plural: the versions of a kind are one collection."""


def collection_of(kind: Kind[Any]) -> Collection:
    return kind.group, kind.plural


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection a list or a watch shows."""

    collection: Collection
    namespace: str
    labels: str
    name: str = ""

    def shows(self, raw: Json | None) -> bool:
        return (
            raw is not None
            and self.name in {"", raw["metadata"]["name"]}
            and self.namespace in {"", raw["metadata"].get("namespace", "")}
            and selects(self.labels, raw["metadata"].get("labels") or {})
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history; `last` is `after`, or what was deleted, with the version of this change."""

    version: int
    collection: Collection
    before: Json | None
    after: Json | None
    last: Json

    def seen_through(self, selection: Selection) -> Literal["ADDED", "MODIFIED", "DELETED"] | None:
        """The event that a watch makes of it: entering the selection is an addition, leaving it a deletion."""
        if self.collection != selection.collection:
            return None
        match selection.shows(self.before), selection.shows(self.after):
            case False, True:
                return "ADDED"
            case True, True:
                return "MODIFIED"
            case True, False:
                return "DELETED"
            case _:
                return None


class Memory:
    """The storage of one server; everything in it is replaced, never changed in place."""

    def __init__(self) -> None:
        self.version = 1
        self.compacted = 0
        self.changed = asyncio.Event()
        """Set at the next change, then replaced by a new one."""
        self._collections: dict[Collection, dict[ObjectKey, Json]] = {}
        self._owners: dict[str, Owners] = {}
        self._history: list[Change] = []
        self._uids = 0

    def next_uid(self) -> str:
        self._uids += 1
        return f"00000000-0000-4000-8000-{self._uids:012d}"

    def find(self, collection: Collection, key: ObjectKey) -> Json | None:
        return self._collections.get(collection, {}).get(key)

    def owners(self, raw: Json) -> Owners:
        return self._owners.get(raw["metadata"]["uid"], {})

    def selected(self, selection: Selection) -> list[Json]:
        objects = self._collections.get(selection.collection, {})
        return [objects[key] for key in sorted(objects) if selection.shows(objects[key])]

    def since(self, version: int) -> Sequence[Change]:
        return self._history[bisect_right(self._history, version, key=lambda change: change.version) :]

    def compact(self) -> None:
        self.compacted = self.version
        self._history.clear()

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def store(self, collection: Collection, key: ObjectKey, after: Json, owners: Owners) -> Json:
        """Stores the object with a new version, unless it is what is stored; one that may go now, goes."""
        before = self.find(collection, key)
        uid = after["metadata"]["uid"]
        self._owners[uid] = owners
        if before is not None and _unversioned(before) == _unversioned(after):
            return before
        if before is not None and "deletionTimestamp" in after["metadata"] and not after["metadata"].get("finalizers"):
            return self._remove(collection, key, after)
        stored = self._versioned(after)
        self._collections.setdefault(collection, {})[key] = stored
        self._log(collection, before, stored, stored)
        return stored

    def delete(self, collection: Collection, key: ObjectKey, *, now: Any, foreground: bool = False) -> None:
        """Removes the object, or marks it as being deleted while a finalizer holds it."""
        live = self._collections[collection][key]
        metadata = dict(live["metadata"])
        if foreground and "foregroundDeletion" not in metadata.get("finalizers", ()):
            metadata["finalizers"] = [*metadata.get("finalizers", ()), "foregroundDeletion"]
        if not metadata.get("finalizers"):
            self._remove(collection, key, live)
        elif "deletionTimestamp" not in metadata:
            metadata |= {"deletionTimestamp": rfc3339(now), "deletionGracePeriodSeconds": 0}
            if "generation" in metadata:
                metadata["generation"] += 1
            self.store(collection, key, {**live, "metadata": metadata}, self.owners(live))

    def remove(self, collection: Collection, key: ObjectKey) -> None:
        """Removes the object, whatever holds it."""
        if (live := self.find(collection, key)) is not None:
            self._remove(collection, key, live)

    def collect_garbage(self, *, now: Any) -> None:
        """Until nothing changes: deletes what has owners of which none is left, ends foreground deletions."""
        before = -1
        while before != self.version:
            before = self.version
            for collection, key, raw in list(self._every()):
                self._collect(collection, key, raw, now)

    def _collect(self, collection: Collection, key: ObjectKey, raw: Json, now: Any) -> None:
        owners = {owner["uid"] for owner in raw["metadata"].get("ownerReferences", ())}
        going = {
            other["metadata"]["uid"]: "foregroundDeletion" in other["metadata"].get("finalizers", ())
            and "deletionTimestamp" in other["metadata"]
            for _, _, other in self._every()
        }
        if owners and all(going.get(owner, True) for owner in owners):
            self.delete(collection, key, now=now)
            return
        uid = raw["metadata"]["uid"]
        dependents = (other["metadata"].get("ownerReferences", ()) for _, _, other in self._every())
        if going[uid] and not any(owner["uid"] == uid for references in dependents for owner in references):
            finalizers = [name for name in raw["metadata"]["finalizers"] if name != "foregroundDeletion"]
            ended = {**raw, "metadata": {**raw["metadata"], "finalizers": finalizers}}
            self.store(collection, key, ended, self.owners(raw))

    def _every(self) -> Iterator[tuple[Collection, ObjectKey, Json]]:
        for collection, objects in self._collections.items():
            for key, raw in objects.items():
                yield collection, key, raw

    def _remove(self, collection: Collection, key: ObjectKey, last: Json) -> Json:
        before = self._collections[collection].pop(key)
        self._owners.pop(before["metadata"]["uid"], None)
        gone = self._versioned(last)
        self._log(collection, before, None, gone)
        return gone

    def _versioned(self, raw: Json) -> Json:
        self.version += 1
        return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self.version)}}

    def _log(self, collection: Collection, before: Json | None, after: Json | None, last: Json) -> None:
        self._history.append(Change(self.version, collection, before, after, last))
        self.wake()


def _unversioned(raw: Json) -> Json:
    metadata = {name: value for name, value in raw["metadata"].items() if name != "resourceVersion"}
    return {**raw, "metadata": metadata}
