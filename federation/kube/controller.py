"""A controller maps changed objects to keys and runs one reconcile function for each key.

Level-triggered: `reconcile` receives only a key, reads the stores, and moves the state towards the desired one; running
it twice changes nothing. A change during a run causes another run. The controller decides only when a key runs again:
after success on a change, after `Transient` and unexpected errors with back-off, after `Terminal` on a change or at the
next sweep.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import structlog

from federation.kube.errors import Terminal, Transient
from federation.kube.queue import KeyedQueue
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, T

log = structlog.get_logger(__name__)

Reconcile = Callable[[ObjectKey], Awaitable[float | None]]


@dataclass(frozen=True)
class Source(Generic[T]):
    """A reflector, and the keys that each of its objects concerns."""

    reflector: Reflector[T]
    keys: Callable[[T], Iterable[ObjectKey]]
    """Called with the old and the new version, so that a key which an object no longer concerns runs once more."""


class Controller:
    """Runs `reconcile` for each key that a source's change concerns, and for all keys once every `resync` seconds."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        sources: Sequence[Source[Any]],
        *,
        workers: int = 4,
        resync: float = 600.0,
        deadline: float = 120.0,
        queue: KeyedQueue[ObjectKey] | None = None,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._sources = tuple(sources)
        self._workers = workers
        self._resync = resync
        self._deadline = deadline
        self._queue: KeyedQueue[ObjectKey] = queue or KeyedQueue()
        self._log = log.bind(controller=name)

    def enqueue(self, key: ObjectKey, *, delay: float = 0.0) -> None:
        """Enqueue a key for a reason outside the sources."""
        self._queue.add(key, delay=delay)

    async def run(self) -> None:
        """Wait until every source is synced, then reconcile until cancelled; errors of `reconcile` do not end it."""
        for source in self._sources:
            self._subscribe(source)
        for source in self._sources:
            await source.reflector.wait_synced()
        for key in self._every_key():
            self._queue.add(key)
        self._log.info("controller_started", keys=len(self._queue))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep(), name=f"{self.name}-sweep")
            for number in range(self._workers):
                tasks.create_task(self._work(), name=f"{self.name}-{number}")

    def _subscribe(self, source: Source[T]) -> None:
        def changed(old: T | None, new: T | None) -> None:
            for version in (old, new):
                for key in self._keys_of(source, version):
                    self._queue.add(key)

        source.reflector.subscribe(changed)

    def _keys_of(self, source: Source[T], resource: T | None) -> tuple[ObjectKey, ...]:
        """Return the keys that the object concerns; an invalid object must not affect the others."""
        if resource is None:
            return ()
        try:
            return tuple(source.keys(resource))
        except Exception:  # noqa: BLE001 - a spoke may have written the object
            self._log.exception("keys_not_found", kind=source.reflector.kind.kind, object=resource.metadata.name)
            return ()

    def _every_key(self) -> Iterator[ObjectKey]:
        for source in self._sources:
            for resource in source.reflector.store.values():
                yield from self._keys_of(source, resource)

    async def _sweep(self) -> None:
        """Enqueue every key once per period, spread over it: a safety net for the watches."""
        while True:
            await asyncio.sleep(self._resync)
            keys = sorted(set(self._every_key()))
            for place, key in enumerate(keys):
                self._queue.add(key, delay=self._resync * place / len(keys))

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            await asyncio.sleep(0)  # yield: a key that is due, and a run without writes, never await anything else
            await self._run_once(key)

    async def _run_once(self, key: ObjectKey) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                again = await self._reconcile(key)
        except Transient as error:
            delay = self._queue.failed(key, retry_after=error.retry_after or 0.0)
            self._log.info("reconcile_deferred", key=str(key), error=str(error), delay=round(delay, 3))
        except Terminal as error:
            self._queue.succeeded(key)
            self._log.error("reconcile_refused", key=str(key), error=str(error))
        except Exception:  # noqa: BLE001 - an error of one key must not affect the others
            delay = self._queue.failed(key)
            self._log.exception("reconcile_failed", key=str(key), delay=round(delay, 3))
        else:
            if again is not None:
                self._queue.add(key, delay=again)
            self._queue.succeeded(key)
