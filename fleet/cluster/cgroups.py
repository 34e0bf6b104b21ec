"""The cgroups of a fleet: every process of a cluster runs below one, so that all of them can be found and stopped.

Supports cgroup v1 (a folder in each controller's hierarchy) and v2 (one folder whose leaves hold the processes). The
kubelet puts its pods below the same folder, beside the daemons.
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
    """Return whether the machine uses cgroup v2 only."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies() -> tuple[Path, ...]:
    """Return the mount point of each hierarchy."""
    if is_v2():
        return (ROOT,)
    return tuple(sorted(path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink()))


def create(name: str) -> None:
    """Create the cluster's cgroup, with a leaf for its daemons, in each hierarchy."""
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
    """Copy CPUs and memory nodes from the root: a v1 cpuset starts empty, and no process can enter an empty one."""
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if not is_v2() and (root / setting).exists():
            (group / setting).write_text((root / setting).read_text())


def processes(name: str) -> frozenset[int]:
    """Return the ids of all processes below the cgroup, in any hierarchy."""
    found: set[int] = set()
    for root in hierarchies():
        for folder, _, files in os.walk(root / name):
            if "cgroup.procs" in files:
                found.update(_members(Path(folder)))
    return frozenset(found - {0})


def _members(group: Path) -> Iterator[int]:
    """Yield the processes of one cgroup; none if the kubelet removes the cgroup during the read."""
    try:
        listed = (group / "cgroup.procs").read_text()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise
        return
    yield from map(int, listed.split())


def remove(name: str) -> bool:
    """Remove the cgroup and its descendants; return False while a process in it is still exiting."""
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
    """Return the files to which a daemon writes its process id before it starts."""
    return tuple(root / name / DAEMONS / "cgroup.procs" for root in hierarchies())


def memory_bytes(name: str) -> int:
    """Return the cluster's anonymous memory in bytes.

    The page cache is excluded because the kernel reclaims it on demand.
    """
    group = ROOT / name if is_v2() else ROOT / "memory" / name
    fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(fields.get("anon") or fields.get("total_rss") or 0)


def cpu_seconds(name: str) -> float:
    """Return the CPU seconds that the cluster has used since it started."""
    if is_v2():
        fields = dict(line.split() for line in (ROOT / name / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6
    return int((ROOT / "cpuacct" / name / "cpuacct.usage").read_text()) / 1e9


def exists(name: str) -> bool:
    """Return whether any hierarchy has the cgroup."""
    return any((root / name).exists() for root in hierarchies())
