"""Drive rounds step by step over all sites at once, to measure an aggregator for each step.

Each site is a thread. All wait for the round, then all download, then all upload; between two steps the aggregator has
nothing to do, and its CPU time is read. The fold and its checkpoint fall between the last upload and the next round,
and are counted with what was received.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from bench.usage import MemoryWatch, cpu_seconds, memory

STEP_SECONDS = 1200.0


class Site(Protocol):
    """Collaborator for any aggregator's protocol, without a model in memory."""

    def await_round(self, round_: int) -> None:
        """Wait until the round, from 1 up, is open; after the last round, until the run has ended."""
        ...

    def download(self) -> int:
        """Download the global model; return its bytes."""
        ...

    def upload(self) -> int:
        """Report metrics and send an update until it is acknowledged; return its bytes."""
        ...

    def close(self) -> None:
        """Cancel all waits of this site's threads with an error."""
        ...


@dataclass
class Step:
    """Cost of one kind of step, by round."""

    cpu: list[float] = field(default_factory=list)
    """Seconds of the aggregator."""
    wall: list[float] = field(default_factory=list)
    bytes: int = 0
    """Of models, received or sent by the aggregator in all rounds."""

    @property
    def cpu_per_gb(self) -> float:
        """CPU seconds of the aggregator per 10⁹ bytes in the cheapest round: others on the machine only add to it."""
        return min(self.cpu) * len(self.cpu) / self.bytes * 1e9


@dataclass
class Measured:
    """All rounds of one aggregator."""

    received: Step
    """From the first byte of the updates to the next model, durable."""
    sent: Step
    """Downloads of the global model."""
    idle: int
    """Bytes of anonymous memory when it began to serve."""
    peak: int
    """The most of the same."""
    peak_resident: int
    """`VmHWM`."""


class _Books:
    """Costs of the steps of all rounds; a barrier before each step records the previous one."""

    def __init__(self, sites: Sequence[Site], process: int, between: Callable[[], None]) -> None:
        self.received, self.sent = Step(), Step()
        self._sites, self._process, self._between = sites, process, between
        self._began = (0.0, 0.0)
        self._lock = threading.Lock()
        self._lines = {step: self._line(step) for step in ("joined", "sent", "received")}

    def count(self, step: Step, size: int) -> None:
        """Add a site's bytes to the step."""
        with self._lock:
            step.bytes += size

    def meet(self, ended: str) -> None:
        """Wait for all sites at the end of a step."""
        self._lines[ended].wait()

    def abandon(self) -> None:
        """Cancel all waits of the sites, for each other and for the aggregator."""
        for line in self._lines.values():
            line.abort()
        for site in self._sites:
            site.close()

    def _line(self, ended: str) -> threading.Barrier:
        step = {"sent": self.sent, "received": self.received}.get(ended)
        return threading.Barrier(len(self._sites), lambda: self._book(step), STEP_SECONDS)

    def _book(self, step: Step | None) -> None:
        if step is not None:
            step.cpu.append(cpu_seconds(self._process) - self._began[0])
            step.wall.append(time.monotonic() - self._began[1])
        self._between()
        self._began = (cpu_seconds(self._process), time.monotonic())


def drive(sites: Sequence[Site], rounds: int, process: int, between: Callable[[], None]) -> Measured:
    """Run all rounds with all sites.

    Args:
        sites: Each gets a thread.
        rounds: Of the run.
        process: The aggregator's, already serving.
        between: Called before each step; not measured.

    Raises:
        ExceptionGroup: What the sites have met, the first to fail and those that this left alone.
    """
    books = _Books(sites, process, between)

    def work(site: Site) -> None:
        try:
            site.await_round(1)
            books.meet("joined")
            for round_ in range(1, rounds + 1):
                books.count(books.sent, site.download())
                books.meet("sent")
                books.count(books.received, site.upload())
                site.await_round(round_ + 1)
                books.meet("received")
        except BaseException:
            books.abandon()
            raise

    with MemoryWatch(process) as watch, ThreadPoolExecutor(len(sites)) as threads:
        ended = [threads.submit(work, site) for site in sites]
        failures = [failure for future in ended if isinstance(failure := future.exception(), Exception)]
    if failures:
        raise ExceptionGroup("sites have failed", failures)
    return Measured(books.received, books.sent, watch.idle, watch.peak, memory(process, "VmHWM"))
