"""A queue of keys with deadlines, from which workers take the next key.

Guarantees, after kube-rs (`scheduler.rs`, `runner.rs`) and client-go (`util/workqueue`): a key is in the queue once,
at the earliest of its deadlines; a running key is not handed out again until it is done; a key that is added while it
runs is handed out again afterwards. A key carries no event: the worker reads the current state.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, TypeVar

from federation.backoff import Backoff

K = TypeVar("K", bound=Hashable)


class Schedule(Generic[K]):
    """The pure part: keys, deadlines and running keys; the time is an argument."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._running: set[K] = set()
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: K, due: float) -> None:
        """Add the key with a deadline, unless it is due earlier."""
        present = self._due.get(key)
        if present is None or due < present:
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._arrivals), key))

    def take(self, now: float) -> K | None:
        """Take the key that has been due the longest, or None; it is running until `done`."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._running.add(key)
        return key

    def done(self, key: K) -> None:
        """Mark the key as not running; if it was added in the meantime, it is due again."""
        self._running.discard(key)
        if key in self._due:
            heapq.heappush(self._heap, (self._due[key], next(self._arrivals), key))

    def next_due(self) -> float | None:
        """Return the time at which the next key can be taken, or None for an empty schedule."""
        while self._heap:
            due, _, key = self._heap[0]
            if key not in self._running and self._due.get(key) == due:
                return due
            heapq.heappop(self._heap)
        return None


class KeyedQueue(Generic[K]):
    """A schedule on which workers wait; it counts the consecutive failures of each key."""

    def __init__(self, *, backoff: Backoff | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._schedule: Schedule[K] = Schedule()
        self._failures: dict[K, int] = {}
        self._backoff = backoff or Backoff(first=0.05, cap=300.0)
        self._clock = clock
        self._earlier = asyncio.Event()

    def __len__(self) -> int:
        return len(self._schedule)

    def add(self, key: K, *, delay: float = 0.0) -> None:
        """Add the key, due in at most `delay` seconds."""
        self._schedule.add(key, self._clock() + delay)
        self._earlier.set()

    async def take(self) -> K:
        """Wait for a key to be due; the caller reports the end of the work with `succeeded` or `failed`."""
        while True:
            now = self._clock()
            key = self._schedule.take(now)
            if key is not None:
                return key
            due = self._schedule.next_due()
            self._earlier.clear()
            try:
                async with asyncio.timeout(None if due is None else due - now):
                    await self._earlier.wait()
            except TimeoutError:
                continue

    def succeeded(self, key: K) -> None:
        """Report success, which resets the back-off of the key."""
        self._failures.pop(key, None)
        self._end(key)

    def failed(self, key: K, *, retry_after: float = 0.0) -> float:
        """Requeue the failed key after its back-off, or after `retry_after` if longer; return the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = max(self._backoff.delay(failures), retry_after)
        self._schedule.add(key, self._clock() + delay)
        self._end(key)
        return delay

    def _end(self, key: K) -> None:
        self._schedule.done(key)
        self._earlier.set()
