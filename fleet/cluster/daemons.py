"""Long-running programs of a cluster, started in its namespaces and cgroup and stopped by process id.

The kernel reuses process ids, so a daemon is identified by its id and its start time. The record on disk survives the
process that ran `up`.
"""

import asyncio
import json
import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.cluster import cgroups
from fleet.cluster.network import inside
from fleet.command import run
from fleet.layout import ClusterLayout


@dataclass(frozen=True, slots=True)
class Daemon:
    """A started program; `started` is the clock tick of its start (proc(5), stat field 22)."""

    name: str
    pid: int
    started: int
    argv: tuple[str, ...]
    wrapper: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Return whether this process is still running."""
        return _start_tick(self.pid) == self.started


def _start_tick(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


class DaemonDied(Exception):
    """A required program has exited; the message contains the end of its log."""


def record_of(cluster: ClusterLayout, name: str) -> Path:
    """Return the path of the daemon's record."""
    return cluster.folder / "daemons" / f"{name}.json"


def log_of(cluster: ClusterLayout, name: str) -> Path:
    """Return the path of the daemon's log."""
    return cluster.folder / "logs" / f"{name}.log"


def find(cluster: ClusterLayout, name: str) -> Daemon | None:
    """Return the daemon as last started, or None if it never was."""
    try:
        fields = json.loads(record_of(cluster, name).read_text())
    except FileNotFoundError:
        return None
    return Daemon(fields["name"], fields["pid"], fields["started"], tuple(fields["argv"]), tuple(fields["wrapper"]))


def recorded(cluster: ClusterLayout) -> tuple[Daemon, ...]:
    """Return all daemons that were started for the cluster."""
    records = sorted((cluster.folder / "daemons").glob("*.json"))
    return tuple(daemon for record in records if (daemon := find(cluster, record.stem)))


def require_alive(cluster: ClusterLayout, name: str) -> None:
    """Check that the daemon is running.

    Raises:
        DaemonDied: the daemon has exited.
    """
    daemon = find(cluster, name)
    if daemon is None or not daemon.alive:
        output = log_of(cluster, name).read_text(errors="replace")[-2000:]
        raise DaemonDied(f"{name} of {cluster.name} has exited; its log ({log_of(cluster, name)}) ends with:\n{output}")


async def start(
    cluster: ClusterLayout, name: str, argv: Sequence[str | Path], *, wrapper: Sequence[str] = ()
) -> Daemon:
    """Start the program in the cluster's network namespace and cgroup, as a child of init.

    Args:
        cluster: the cluster that the daemon belongs to.
        name: its name in records and logs.
        argv: the program and its arguments.
        wrapper: a command prefix inside the network namespace that executes the program in place.
    """
    for folder in ("daemons", "logs"):
        (cluster.folder / folder).mkdir(parents=True, exist_ok=True)
    enter = "".join(f"echo $$ > {path}; " for path in cgroups.entry_files(cluster.cgroup))
    script = f'{enter}log=$1; shift; "$@" >>"$log" 2>&1 & echo $!'
    log = log_of(cluster, name)
    pid = int(await run("setsid", "sh", "-c", script, "sh", log, *inside(cluster), *wrapper, *argv))
    daemon = Daemon(name, pid, _start_tick(pid) or 0, tuple(str(word) for word in argv), tuple(wrapper))
    record_of(cluster, name).write_text(json.dumps(asdict(daemon)))
    return daemon


async def restart(cluster: ClusterLayout, name: str) -> Daemon:
    """Stop the daemon if it is running, and start it with the same arguments.

    Raises:
        LookupError: the daemon was never started.
    """
    daemon = find(cluster, name)
    if daemon is None:
        raise LookupError(f"{cluster.name} has no daemon {name!r}: it has {[d.name for d in recorded(cluster)]}")
    if daemon.alive:
        await end([daemon.pid])
    return await start(cluster, name, daemon.argv, wrapper=daemon.wrapper)


async def end(pids: Iterable[int], *, grace: float = 10.0, first: signal.Signals = signal.SIGTERM) -> None:
    """Stop the processes: send the signal `first`, and kill those still running after `grace` seconds.

    Uses process descriptors, so a process that reuses an id is never signalled.
    """
    descriptors: list[int] = []
    try:
        for pid in pids:
            try:
                descriptors.append(os.pidfd_open(pid))
            except ProcessLookupError:
                continue
        waiting = _signal_all(descriptors, first)
        waiting = await _until_ended(waiting, grace)
        await _until_ended(_signal_all(waiting, signal.SIGKILL), 30.0)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _signal_all(descriptors: Iterable[int], number: signal.Signals) -> list[int]:
    reached = []
    for descriptor in descriptors:
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            continue
        reached.append(descriptor)
    return reached


async def _until_ended(descriptors: Iterable[int], seconds: float) -> list[int]:
    """Return the descriptors of processes that did not exit in time."""
    loop = asyncio.get_running_loop()
    ended: dict[int, asyncio.Event] = {descriptor: asyncio.Event() for descriptor in descriptors}
    try:
        for descriptor, event in ended.items():
            loop.add_reader(descriptor, event.set)
        async with asyncio.timeout(seconds):
            for event in ended.values():
                await event.wait()
    except TimeoutError:
        pass
    finally:
        for descriptor in ended:
            loop.remove_reader(descriptor)
    return [descriptor for descriptor, event in ended.items() if not event.is_set()]
