"""The cgroups of a fleet: every process of a cluster runs below one, so that each of them is found and can be ended.

Both versions: on v1 a folder in each controller's hierarchy, on v2 one folder whose leaves hold the processes. The
kubelet puts its pods beside the daemons, below the same folder.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
DAEMONS: Final = "daemons"
_V2_CONTROLLERS: Final = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")


def is_v2() -> bool:
    """Whether the machine has the unified hierarchy alone."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies() -> tuple[Path, ...]:
    """The mount point of each hierarchy."""
    if is_v2():
        return (ROOT,)
    return tuple(sorted(path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink()))


def create(name: str) -> None:
    """The cluster's cgroup with a leaf for its daemons, in each hierarchy."""
    for root in hierarchies():
        if is_v2():
            _delegate(root)
        (root / name).mkdir(exist_ok=True)
        if is_v2():
            _delegate(root / name)
        _copy_cpuset(root, root / name)
        (root / name / DAEMONS).mkdir(exist_ok=True)
        _copy_cpuset(root, root / name / DAEMONS)


def _delegate(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    wanted = [f"+{controller}" for controller in _V2_CONTROLLERS if controller in available]
    (group / "cgroup.subtree_control").write_text(" ".join(wanted))


def _copy_cpuset(root: Path, group: Path) -> None:
    """A v1 cpuset starts empty, and no process can enter it until it has processors and memory nodes."""
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if not is_v2() and (root / setting).exists():
            (group / setting).write_text((root / setting).read_text())


def processes(name: str) -> frozenset[int]:
    """The ids of all processes below the cgroup, in any hierarchy."""
    found: set[int] = set()
    for root in hierarchies():
        for folder, _, files in os.walk(root / name):
            if "cgroup.procs" in files:
                found.update(_members(Path(folder)))
    return frozenset(found - {0})


def _members(group: Path) -> Iterator[int]:
    """The processes of one cgroup; the kubelet may remove it while it is read, and then there are none."""
    try:
        listed = (group / "cgroup.procs").read_text()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise
        return
    yield from map(int, listed.split())


def remove(name: str) -> bool:
    """Removes the cgroup and all below it; false while one of its processes has not ended for good."""
    for root in hierarchies():
        for folder, _, _ in os.walk(root / name, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                return False
    return True


def entry_files(name: str) -> tuple[Path, ...]:
    """The files into which a daemon writes its own id before it starts."""
    return tuple(root / name / DAEMONS / "cgroup.procs" for root in hierarchies())


def memory_bytes(name: str) -> int:
    """Anonymous and kernel-pinned memory of the cluster in bytes: what it would take from an otherwise idle machine.

    The page cache is left out: the kernel gives it back on demand.
    """
    group = ROOT / name if is_v2() else ROOT / "memory" / name
    fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(fields.get("anon") or fields.get("total_rss") or 0)


def cpu_seconds(name: str) -> float:
    """CPU seconds that the cluster has used since it started."""
    if is_v2():
        fields = dict(line.split() for line in (ROOT / name / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6
    return int((ROOT / "cpuacct" / name / "cpuacct.usage").read_text()) / 1e9


def exists(name: str) -> bool:
    """Whether any hierarchy has the cgroup."""
    return any((root / name).exists() for root in hierarchies())
