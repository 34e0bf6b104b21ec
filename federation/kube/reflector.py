"""A reflector keeps a store equal to the API server's objects of a kind, as long as it runs.

List and watch are one state machine of named states, after kube-rs (`kube-runtime/src/watcher.rs`): each call of `step`
makes one request or takes one event, and returns the resulting events and the next state.

    Empty --> InitPage --> ... --> InitListed --> Watching
      ^          |                   ^     |         |
      |          |                   +-----|---------+  the stream ended or broke: resume at the last version
      +----------+-------------------------+---------+  410, or any refusal: list again

Guarantees: events reach the store and the subscribers in the order in which the server made them; an object that
disappeared between two watches is deleted at the end of the next list; no error ends `run`, each is logged and retried
with jittered back-off. Assumption: a version is opaque and only sent back. Caveat: versions between two
observed ones may be missed, so a reflector does not suit consumers that need every event of an object.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, assert_never, cast

import structlog

from federation.backoff import Backoff
from federation.kube.api import Api, WatchEvent
from federation.kube.errors import KubeError, Transient
from federation.kube.resource import Kind, ObjectKey, T, key_of
from federation.kube.store import Store

log = structlog.get_logger(__name__)

QUIET: Final = 5.0
"""Seconds after which the end of an empty stream is normal, and not a failure."""


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing is known; the next step requests the first page."""


@dataclass(frozen=True, slots=True)
class InitPage:
    """Some pages of a list were read; `seen` holds their keys."""

    continue_: str
    seen: frozenset[ObjectKey]


@dataclass(frozen=True, slots=True)
class InitListed:
    """Everything up to the version is known; the next step starts a watch from it."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class Watching(Generic[T]):
    """A stream is open, and has been read up to the version."""

    resource_version: str
    stream: AsyncIterator[WatchEvent[T]]
    since: float
    """When the stream was opened, by the monotonic clock."""


State = Empty | InitPage | InitListed | Watching[T]


@dataclass(frozen=True, slots=True)
class Upsert(Generic[T]):
    """The object exists, in this version."""

    resource: T


@dataclass(frozen=True, slots=True)
class Forget:
    """The object was deleted."""

    key: ObjectKey


@dataclass(frozen=True, slots=True)
class Retain:
    """A list is complete: objects that are not in it were deleted."""

    keys: frozenset[ObjectKey]


ReflectorEvent = Upsert[T] | Forget | Retain


@dataclass(frozen=True, slots=True)
class Failed:
    """The step failed; the next one waits."""

    error: KubeError | None
    """The server's error; None for a stream that ended at once, without an event."""


class Reflector(Generic[T]):
    """Lists and watches one kind into a store."""

    def __init__(  # noqa: PLR0913 - three of them select the watched objects
        self,
        api: Api,
        kind: Kind[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        name: str = "",
        indexes: Mapping[str, Callable[[T], Iterable[str]]] | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = kind
        self.store: Store[T] = Store(indexes)
        self.heard_at = float("-inf")
        """When the server last answered or sent an event, bookmarks included, by the monotonic clock."""
        self._api = api
        self._namespace = namespace
        self._label_selector = label_selector
        self._name = name
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._listeners: list[Callable[[T | None, T | None], None]] = []
        self._synced = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether a first list is complete."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until a first list is complete."""
        await self._synced.wait()

    def subscribe(self, listener: Callable[[T | None, T | None], None]) -> None:
        """Call the listener with the old and new version of each change; it must not block or raise."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Keep the store equal to the server's state until cancelled."""
        state: State[T] = Empty()
        failures = 0
        try:
            while True:
                watched = isinstance(state, Watching)
                events, state, failed = await self.step(state)
                for event in events:
                    self._take(event)
                if isinstance(state, InitListed) and not failed:
                    self._synced.set()
                if failed is not None:
                    failures += 1
                    await self._pause(failed, failures, state)
                elif watched:
                    # Only a working watch resets the back-off: lists may succeed while every watch is refused.
                    failures = 0
        finally:
            if isinstance(state, Watching):
                async with aclosing(cast("Any", state.stream)):
                    pass

    async def step(self, state: State[T]) -> tuple[list[ReflectorEvent[T]], State[T], Failed | None]:
        """Make one request or take one event; return the resulting events and the next state."""
        try:
            match state:
                case Empty():
                    return await self._list("", frozenset())
                case InitPage(continue_, seen):
                    return await self._list(continue_, seen)
                case InitListed(version):
                    return [], self._open(version), None
                case Watching():
                    return await self._next(state)
                case _:
                    assert_never(state)
        except Transient as error:
            # A list resumes at its page and a watch at its version, which the server still has.
            resumed = InitListed(state.resource_version) if isinstance(state, Watching) else state
            return [], resumed, Failed(error)
        except KubeError as error:
            return [], Empty(), Failed(error)

    async def _list(
        self, continue_: str, seen: frozenset[ObjectKey]
    ) -> tuple[list[ReflectorEvent[T]], State[T], Failed | None]:
        page = await self._api.list_page(
            self.kind,
            namespace=self._namespace,
            label_selector=self._label_selector,
            name=self._name,
            continue_=continue_,
        )
        self.heard_at = self._clock()
        events: list[ReflectorEvent[T]] = [Upsert(item) for item in page.items]
        seen |= {key_of(item) for item in page.items}
        if page.continue_:
            return events, InitPage(page.continue_, seen), None
        return [*events, Retain(seen)], InitListed(page.resource_version), None

    def _open(self, version: str) -> Watching[T]:
        stream = self._api.watch(
            self.kind,
            resource_version=version,
            namespace=self._namespace,
            label_selector=self._label_selector,
            name=self._name,
        )
        return Watching(version, stream, self._clock())

    async def _next(self, state: Watching[T]) -> tuple[list[ReflectorEvent[T]], State[T], Failed | None]:
        try:
            event = await anext(state.stream)
        except StopAsyncIteration:
            quick = self._clock() - state.since < QUIET and self.heard_at < state.since
            return [], InitListed(state.resource_version), Failed(None) if quick else None
        self.heard_at = self._clock()
        after = replace(state, resource_version=event.resource_version or state.resource_version)
        if event.object is None:
            return [], after, None
        if event.type == "DELETED":
            return [Forget(key_of(event.object))], after, None
        return [Upsert(event.object)], after, None

    def _take(self, event: ReflectorEvent[T]) -> None:
        match event:
            case Upsert(resource):
                old = self.store.put(resource)
                if old is None or old.metadata.resource_version != resource.metadata.resource_version:
                    self._notify(old, resource)
            case Forget(key):
                self._forget(key)
            case Retain(keys):
                for key in self.store.sorted_keys():
                    if key not in keys:
                        self._forget(key)
            case _:
                assert_never(event)

    def _forget(self, key: ObjectKey) -> None:
        old = self.store.remove(key)
        if old is not None:
            self._notify(old, None)

    def _notify(self, old: T | None, new: T | None) -> None:
        for listener in self._listeners:
            listener(old, new)

    async def _pause(self, failed: Failed, failures: int, state: State[T]) -> None:
        asked = failed.error.retry_after if isinstance(failed.error, Transient) else None
        delay = max(self._backoff.delay(failures), asked or 0.0)
        log.warning(
            "reflector_interrupted",
            kind=self.kind.kind,
            next=type(state).__name__,
            error=str(failed.error) if failed.error else "the stream ended at once",
            delay=round(delay, 3),
        )
        await asyncio.sleep(delay)
