"""An API server in memory, with the semantics that controllers depend on and the faults that they must survive.

It answers the `Api` protocol; the contract suite holds it against a real kube-apiserver. Calls yield to the event loop
before they take effect, so that tasks interleave. What it leaves out: schemas and defaults, rights, namespaces' own
life, and garbage collection except when `collect_garbage` is called.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from federation.kube.api import Page, WatchEvent
from federation.kube.errors import AlreadyExists, Conflict, Gone, Invalid, KubeError, NotFound, Unavailable
from federation.kube.resource import Json, Kind, ObjectKey, T
from federation.kube.wire import event_from, object_from, page_from
from tests.support.api_server import merging
from tests.support.api_server.admission import admitted, check_identity, fresh
from tests.support.memory import Memory, Selection, collection_of


class Crash(BaseException):
    """The process under test dies: no handler of `Exception` stops it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A requested write, including one without effect."""

    verb: Literal["create", "apply", "merge_patch", "replace", "delete"]
    plural: str
    key: ObjectKey
    subresource: str = ""


class FakeApi:
    """An API server in memory."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self.now = now
        self.calls: list[Call] = []
        """Every write asked for, in order."""
        self._memory = Memory()
        self._lists: dict[str, tuple[int, list[Json]]] = {}
        self._bookmarks = 0
        self._cuts: list[KubeError | None] = []
        self._faults: list[KubeError] = []
        self._writes_to_crash: int | None = None
        self.page_limit = 500
        """The most objects in a page, whatever a list asks for."""
        self.open_watches = 0
        """How many watches wait for news."""
        self.lists = 0
        """How many lists have been asked for, further pages not counted."""
        self.reachable = True
        """Whether calls get through; a copy made by `beside` always does."""

    # What a test looks at, and prepares.

    @property
    def version(self) -> int:
        """The version of the newest change; it stays when a write changes nothing."""
        return self._memory.version

    def objects(self, kind: Kind[Any]) -> list[Json]:
        """Every object of the kind as stored, in key order."""
        return copy.deepcopy(self._memory.selected(Selection(collection_of(kind), "", "")))

    def seed(self, kind: Kind[T], body: Json) -> T:
        """Stores a whole object, status and times included, in the place of any of its name; counts as no call."""
        metadata = body["metadata"]
        key = ObjectKey(metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])
        live = self._memory.find(collection_of(kind), key)
        uid = metadata.get("uid") or (live["metadata"]["uid"] if live else self._memory.next_uid())
        made = fresh(kind, body, key, uid=uid, now=self.now())
        kept = ("creationTimestamp", "deletionTimestamp", "generation")
        made["metadata"] |= {field: metadata[field] for field in kept if field in metadata}
        if "status" in body:
            made["status"] = copy.deepcopy(body["status"])
        return self._stored(kind, key, made, merging.update({}, made, {}))

    def beside(self) -> "FakeApi":
        """Another connection to the same server, without faults."""
        other = FakeApi(now=self.now)
        other._memory = self._memory
        return other

    def remove(self, kind: Kind[Any], key: ObjectKey) -> None:
        """Deletes an object, finalizers or not; counts as no call."""
        self._memory.remove(collection_of(kind), key)

    @property
    def pending_faults(self) -> int:
        """How many errors of `fail_next` no call has met yet."""
        return len(self._faults)

    def bookmark(self) -> None:
        """Sends a bookmark to every open watch, once it has caught up."""
        self._bookmarks += 1
        self._memory.wake()

    def compact(self) -> None:
        """Forgets the history: older versions and unfinished lists are Gone."""
        self._memory.compact()
        self._lists.clear()

    def cut_watches(self, error: KubeError | None = None) -> None:
        """Ends every open watch, quietly or with the error."""
        self._cuts.append(error)
        self._memory.wake()

    def fail_next(self, *errors: KubeError) -> None:
        """Answers the next calls, beginning watches too, with these errors, before they take effect."""
        self._faults.extend(errors)

    def crash_after(self, n_writes: int) -> None:
        """Raises Crash once, when the n-th write from now has taken effect and before its caller hears of it."""
        self._writes_to_crash = n_writes

    def collect_garbage(self) -> None:
        """Does what kube-controller-manager's garbage collector would, to its end."""
        self._memory.collect_garbage(now=self.now())

    # The Api protocol.

    async def read(self, kind: Kind[T], key: ObjectKey) -> T:
        await self._enter()
        return _decode(kind, self._live(kind, key))

    async def read_raw(self, kind: Kind[T], key: ObjectKey) -> Json:
        await self._enter()
        return copy.deepcopy(self._live(kind, key))

    async def list_page(
        self,
        kind: Kind[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        name: str = "",
        limit: int = 500,
        continue_: str = "",
    ) -> Page[T]:
        await self._enter()
        if continue_ and continue_ not in self._lists:
            raise Gone("410 Expired: The provided continue parameter is too old")
        self.lists += not continue_
        selection = Selection(collection_of(kind), namespace, label_selector, name)
        begun = (self.version, self._memory.selected(selection))
        version, items = self._lists[continue_] if continue_ else begun
        limit = min(limit, self.page_limit)
        rest = items[limit:]
        token = f"{version}/{selection}/{len(rest)}" if rest else ""
        if rest:
            self._lists[token] = (version, rest)
        body = {"metadata": {"resourceVersion": str(version), "continue": token}, "items": items[:limit]}
        return page_from(kind, msgspec.json.encode(body))[0]

    async def watch(
        self, kind: Kind[T], *, resource_version: str, namespace: str = "", label_selector: str = "", name: str = ""
    ) -> AsyncIterator[WatchEvent[T]]:
        await self._enter()
        selection = Selection(collection_of(kind), namespace, label_selector, name)
        reached, bookmarks, cuts = int(resource_version), self._bookmarks, len(self._cuts)
        while True:
            if reached < self._memory.compacted:
                raise Gone(f"410 Expired: too old resource version: {reached} ({self._memory.compacted})")
            for change in self._memory.since(reached):
                if len(self._cuts) > cuts:
                    break
                reached = change.version
                if (shown := change.seen_through(selection)) is not None:
                    yield event_from(kind, msgspec.json.encode({"type": shown, "object": change.last}))[0]
            if len(self._cuts) > cuts:
                if (error := self._cuts[cuts]) is not None:
                    raise error
                return
            if reached < self.version:
                continue
            if self._bookmarks > bookmarks:
                bookmarks = self._bookmarks
                yield WatchEvent("BOOKMARK", None, str(reached))
                continue
            self.open_watches += 1
            try:
                await self._memory.changed.wait()
            finally:
                self.open_watches -= 1

    async def create(self, kind: Kind[T], body: Json, *, namespace: str = "") -> T:
        metadata = body.get("metadata") or {}
        uid = self._memory.next_uid()
        name = metadata.get("name") or (metadata["generateName"] + uid[-5:] if "generateName" in metadata else "")
        key = ObjectKey(namespace or metadata.get("namespace", "") if kind.namespaced else "", name)
        await self._enter(Call("create", kind.plural, key))
        if not name or (kind.namespaced and metadata.get("namespace", key.namespace) != key.namespace):
            raise Invalid(f"{kind.kind} {key}: its metadata name none, or another namespace than the request")
        if self._memory.find(collection_of(kind), key) is not None:
            raise AlreadyExists(f"409 AlreadyExists: {kind.plural} {name!r} already exists")
        made = fresh(kind, body, key, uid=uid, now=self.now())
        return self._written(kind, key, made, merging.update({}, made, {}))

    async def apply(
        self,
        kind: Kind[T],
        key: ObjectKey,
        body: Json,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str = "",
    ) -> T:
        await self._enter(Call("apply", kind.plural, key, subresource))
        live = self._memory.find(collection_of(kind), key)
        wanted = merging.owned_part(body, subresource)
        if live is None:
            if subresource:
                raise NotFound(f"404 NotFound: {kind.plural} {key} not found")
            made = fresh(
                kind, {**body, "metadata": body.get("metadata") or {}}, key, uid=self._memory.next_uid(), now=self.now()
            )
            return self._written(kind, key, made, {field_manager: frozenset(dict(merging.leaves(wanted)))})
        check_identity(live, body)
        manager = f"{field_manager}/{subresource}" if subresource else field_manager
        merged, owners = merging.apply(live, wanted, self._memory.owners(live), manager, force=force)
        return self._written(kind, key, admitted(kind, live, merged, subresource=subresource), owners)

    async def merge_patch(self, kind: Kind[T], key: ObjectKey, patch: Json, *, subresource: str = "") -> T:
        await self._enter(Call("merge_patch", kind.plural, key, subresource))
        live = self._live(kind, key)
        return self._updated(kind, key, live, merging.merge_patch(live, patch), subresource)

    async def replace(self, kind: Kind[T], key: ObjectKey, body: Json, *, subresource: str = "") -> T:
        await self._enter(Call("replace", kind.plural, key, subresource))
        live = self._live(kind, key)
        if not (body.get("metadata") or {}).get("resourceVersion"):
            raise Invalid("metadata.resourceVersion: must be specified for an update")
        if body["metadata"].get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            raise Conflict("409 Conflict: the UID in the precondition is not that of the object")
        return self._updated(kind, key, live, body, subresource)

    async def delete(
        self,
        kind: Kind[T],
        key: ObjectKey,
        *,
        uid: str = "",
        propagation: Literal["Background", "Foreground"] = "Background",
    ) -> None:
        await self._enter(Call("delete", kind.plural, key))
        live = self._memory.find(collection_of(kind), key)
        if live is None:
            return
        if uid and uid != live["metadata"]["uid"]:
            raise Conflict(f"409 Conflict: the UID in the precondition is not that of {kind.plural} {key}")
        self._memory.delete(collection_of(kind), key, now=self.now(), foreground=propagation == "Foreground")
        self._count_write()

    # Within.

    async def _enter(self, call: Call | None = None) -> None:
        await asyncio.sleep(0)
        if not self.reachable:
            raise Unavailable("connection refused")
        if self._faults:
            raise self._faults.pop(0)
        if call is not None:
            self.calls.append(call)

    def _live(self, kind: Kind[Any], key: ObjectKey) -> Json:
        live = self._memory.find(collection_of(kind), key)
        if live is None:
            raise NotFound(f"404 NotFound: {kind.plural} {key} not found")
        return live

    def _updated(self, kind: Kind[T], key: ObjectKey, live: Json, asked: Json, subresource: str) -> T:
        after = admitted(kind, live, copy.deepcopy(asked), subresource=subresource)
        return self._written(kind, key, after, merging.update(live, after, self._memory.owners(live)))

    def _written(self, kind: Kind[T], key: ObjectKey, after: Json, owners: merging.Owners) -> T:
        stored = self._stored(kind, key, after, owners)
        self._count_write()
        return stored

    def _stored(self, kind: Kind[T], key: ObjectKey, after: Json, owners: merging.Owners) -> T:
        return _decode(kind, self._memory.store(collection_of(kind), key, after, owners))

    def _count_write(self) -> None:
        if self._writes_to_crash is None:
            return
        self._writes_to_crash -= 1
        if self._writes_to_crash == 0:
            self._writes_to_crash = None
            raise Crash


def _decode(kind: Kind[T], raw: Json) -> T:
    return object_from(kind, msgspec.json.encode(raw))
