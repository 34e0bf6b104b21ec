"""Which key is worked on next: a queue of keys with deadlines.

Guarantees, after kube-rs (`scheduler.rs`, `runner.rs`) and client-go (`util/workqueue`): a key is in the queue once,
at the earliest of its deadlines; a key that is being worked on is not handed out again until it is done; marked in the
meantime, it comes again. A key carries no event: whoever takes it reads the world anew.
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
    """The pure part: keys, deadlines, and who is being worked on; the time is an argument."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._running: set[K] = set()
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: K, due: float) -> None:
        """Marks the key for that time, or leaves it where it is due sooner."""
        present = self._due.get(key)
        if present is None or due < present:
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._arrivals), key))

    def take(self, now: float) -> K | None:
        """Hands out the key that has been due the longest, or None; it is running until `done`."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._running.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on the key has ended; marked in the meantime, it is due again as marked."""
        self._running.discard(key)
        if key in self._due:
            heapq.heappush(self._heap, (self._due[key], next(self._arrivals), key))

    def next_due(self) -> float | None:
        """When the next key can be taken; None where there is none."""
        while self._heap:
            due, _, key = self._heap[0]
            if key not in self._running and self._due.get(key) == due:
                return due
            heapq.heappop(self._heap)
        return None


class KeyedQueue(Generic[K]):
    """A schedule that can be waited on, and remembers how often each key has failed in a row."""

    def __init__(self, *, backoff: Backoff | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._schedule: Schedule[K] = Schedule()
        self._failures: dict[K, int] = {}
        self._backoff = backoff or Backoff(first=0.05, cap=300.0)
        self._clock = clock
        self._earlier = asyncio.Event()

    def __len__(self) -> int:
        return len(self._schedule)

    def add(self, key: K, *, delay: float = 0.0) -> None:
        """Marks the key, to be taken after `delay` seconds at the latest."""
        self._schedule.add(key, self._clock() + delay)
        self._earlier.set()

    async def take(self) -> K:
        """Waits for a key to be due; the caller ends the work on it with `succeeded` or `failed`."""
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
        """The work on the key is done."""
        self._failures.pop(key, None)
        self._end(key)

    def failed(self, key: K, *, retry_after: float = 0.0) -> float:
        """The work on the key failed: it is due again after its back-off, or later if asked for; returns when."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = max(self._backoff.delay(failures), retry_after)
        self._schedule.add(key, self._clock() + delay)
        self._end(key)
        return delay

    def _end(self, key: K) -> None:
        self._schedule.done(key)
        self._earlier.set()
