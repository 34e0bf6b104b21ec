"""The processes of a fleet's pods, seen from the machine that they run on: to be stopped, or killed at a moment."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.cluster import cgroups
from fleet.fleet import Fleet


def process_of(fleet: Fleet, cluster: str, module: str, variable: str) -> int:
    """The process that runs a module in a pod of the cluster with that variable, by its name and value's beginning.

    The kubelet gives a pod its name as the host's: `HOSTNAME=digits-server-`.

    Raises:
        LookupError: The process does not exist.
    """
    for pid in sorted(cgroups.processes(fleet.layout.cluster(cluster).cgroup)):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if module in words and any(each.startswith(variable) for each in environment):
            return pid
    raise LookupError(f"no process of {module} with {variable}… on {cluster}")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Has the process stand still, as one on a machine that hangs, until the block ends."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
