"""Measure CPU seconds and private memory of another process, from `/proc` (proc(5)).

Pages of files that it has read or written are the kernel's to drop, and count in no figure here: `RssAnon` is what the
process would be killed for, `VmHWM` has its programs' own pages on top.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_KEPT_FREE: Final = 256 << 20
_READ: Final = 4 << 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS: Final = 0.02


def cpu_seconds(process: int) -> float:
    """Return the user and system time of all its threads so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(process: int, field: str) -> int:
    """Return the bytes of a field of `/proc/PID/status`: `VmHWM`, `VmRSS`, `RssAnon`."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


class MemoryWatch:
    """Peak anonymous memory of a process while this is open; reads it fifty times a second."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory-watch", daemon=True)
        self.idle = memory(process, "RssAnon")
        """Bytes at creation."""
        self.peak = self.idle
        """Bytes."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                self.peak = max(self.peak, memory(self._process, "RssAnon"))
            except (OSError, StopIteration):  # it has ended
                return


class Ballast:
    """Page cache that fills the machine's free memory, as on a machine with a long uptime.

    Some virtual machines give free memory back to their host (free page reporting), and touching it again costs some
    1.5 s of CPU time per GB: more than all that is measured here. A sparse file's holes are read instead.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file, which is sparse."""
        self._file = path.open("a+b", buffering=0)
        self._file.truncate(_machine("MemTotal"))
        self._file.seek(0)

    def fill(self) -> None:
        """Read until little memory is free, or the whole file is read."""
        buffer = bytearray(_READ)
        for _ in range(0, _machine("MemTotal"), _READ):
            if _machine("MemFree") < _KEPT_FREE:
                return
            if self._file.readinto(buffer) == 0:
                self._file.seek(0)

    def close(self) -> None:
        """Close the file; its memory is free once the file is deleted."""
        self._file.close()


@contextmanager
def filled(ballast: Path | None) -> Iterator[Callable[[], None]]:
    """Return a function to call before each step: it fills the memory from that file, if one is given."""
    if ballast is None:
        yield lambda: None
        return
    with closing(Ballast(ballast)) as found:
        yield found.fill


def _machine(field: str) -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024
