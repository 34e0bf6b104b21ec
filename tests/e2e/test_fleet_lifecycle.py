"""A fleet comes up after a crash, and leaves nothing when it is taken down."""

import asyncio
import signal
from pathlib import Path

import pytest

from fleet import lifecycle
from fleet.cluster import cgroups, daemons
from fleet.command import run
from fleet.fleet import Fleet
from fleet.layout import HUB

pytestmark = [pytest.mark.fleet, pytest.mark.ends_fleet]


def processes_that_name(folder: Path) -> list[str]:
    """The command lines of all processes of the machine that mention the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in words:
            found.append(words)
    return found


async def test_up_works_after_everything_was_killed(fleet: Fleet) -> None:
    clusters = [fleet.layout.cluster(name) for name in fleet.clusters]
    pids = {pid for cluster in clusters for pid in cgroups.processes(cluster.cgroup)}
    assert len(pids) > 40, "the fleet's daemons, shims and pods"
    await daemons.end(pids, first=signal.SIGKILL)

    again = await lifecycle.up(fleet.layout, spokes=2, report=print)

    path = "jsonpath={.items[*].status.conditions[?(@.type=='ManagedClusterConditionAvailable')].status}"
    assert await again.kubectl(HUB, "get", "managedclusters", "-o", path) == "True True"


async def test_down_leaves_no_process_mount_link_or_cgroup(fleet: Fleet) -> None:
    layout = fleet.layout
    assert processes_that_name(layout.folder), "a fleet that is up has processes"

    await lifecycle.down(layout, report=print)

    assert lifecycle.leftovers(layout) == []
    assert processes_that_name(layout.folder) == []
    assert "fleet" not in await run("ip", "-brief", "link")
    assert "fleet" not in await run("ip", "netns", "list")
    assert str(layout.folder) not in await asyncio.to_thread(Path("/proc/self/mountinfo").read_text)
    assert [str(path) for root in cgroups.hierarchies() for path in root.glob("fleet-*")] == []
    assert layout.subnet not in await run("iptables-save")
