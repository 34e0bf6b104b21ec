"""Starts and stops a fleet, from any state that a crash left.

`up` records the fleet before it starts anything, so that a later `down` or `up` can clean up. Cluster names, namespaces
and cgroups are fixed, so leftovers are found even without the record.
"""

import asyncio
import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fleet import images, ocm, programs
from fleet.cluster import cgroups, daemons, network
from fleet.cluster import lifecycle as cluster
from fleet.cluster.lifecycle import Artifacts
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import HOST_LINK, HUB, SWITCH, Layout, spoke_names

Report = Callable[[str], None]


class Steps:
    """Reports each completed step, with the seconds since the start and its own duration."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._start = time.monotonic()

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Time the body and report it."""
        began = time.monotonic()
        yield
        now = time.monotonic()
        self._report(f"{now - self._start:6.1f} s  {what} ({now - began:.1f} s)")


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Lock this user's fleet against a concurrent `up` or `down`.

    Raises:
        BlockingIOError: another `up` or `down` is running.
    """
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / "fleet.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError("another `fleet up` or `fleet down` is running: wait for it to finish") from error
        yield


def recorded(layout: Layout) -> Fleet | None:
    """Return the fleet that was last started and not stopped, complete or not."""
    try:
        record = json.loads((layout.folder / "fleet.json").read_text())
    except FileNotFoundError:
        return None
    return Fleet(layout, Path(record["programs"]), tuple(record["spokes"]))


def find(layout: Layout) -> Fleet | None:
    """Return the running fleet; None if it is down or one of its daemons has died."""
    fleet = recorded(layout)
    if fleet is None or not _completed(layout).exists():
        return None
    running = (daemons.recorded(layout.cluster(name)) for name in fleet.clusters)
    return fleet if all(found and all(d.alive for d in found) for found in running) else None


def _record(fleet: Fleet) -> None:
    fleet.layout.folder.mkdir(parents=True, exist_ok=True)
    record = {"programs": str(fleet.programs), "spokes": fleet.spokes}
    (fleet.layout.folder / "fleet.json").write_text(json.dumps(record))


def _completed(layout: Layout) -> Path:
    """Return the path of the marker that the last `up` succeeded."""
    return layout.folder / "complete"


async def build(layout: Layout, report: Report) -> Artifacts:
    """Return the programs and images of the fleet, from the cache or newly built."""
    folder = await programs.build(layout, report=report)
    recipes = [images.program(folder, name) for name in ("coredns", *ocm.HUB_PROGRAMS)]
    recipes += [await images.pause(layout), await images.python(layout)]
    built: dict[str, Image] = {}
    for recipe in recipes:
        built[recipe.name] = await images.build(layout, recipe)
    return Artifacts(folder, built)


async def up(layout: Layout, *, spokes: int, report: Report) -> Fleet:
    """Return the fleet with a hub and that many spokes; start it unless it is running.

    Raises:
        BlockingIOError: another `up` or `down` is running.
        CommandFailed, TimeoutError: a part failed to start; the others are left for inspection, and the next `up` or
            `down` removes them.
    """
    with locked(layout):
        fleet = find(layout)
        if fleet is not None and fleet.spokes == spoke_names(spokes):
            report(f"the fleet is up: {', '.join(fleet.clusters)}")
            return fleet
        artifacts = await build(layout, report)
        steps = Steps(report)
        with steps.step("removed leftovers"):
            await _clear(layout)
        fleet = Fleet(layout, artifacts.programs, spoke_names(spokes))
        _record(fleet)
        await network.create_switch(layout)
        await _start(fleet, artifacts, steps)
        _completed(layout).touch()
        return fleet


async def _start(fleet: Fleet, artifacts: Artifacts, steps: Steps) -> None:
    layout = fleet.layout
    hub = layout.cluster(HUB)
    hub_takes_members = asyncio.Event()

    async def start_hub() -> None:
        with steps.step("hub: cluster"):
            await cluster.start(layout, hub, artifacts, ocm.HUB_PROGRAMS)
        with steps.step("hub: OCM"):
            await ocm.start_hub(hub, artifacts)
        hub_takes_members.set()

    async def start_spoke(name: str) -> None:
        spoke = layout.cluster(name)
        with steps.step(f"{name}: cluster"):
            await cluster.start(layout, spoke, artifacts, ocm.SPOKE_PROGRAMS)
        await ocm.start_spoke_operator(spoke, artifacts)
        await hub_takes_members.wait()
        with steps.step(f"{name}: joined the hub"):
            await ocm.join(hub, spoke, artifacts)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(start_hub())
        for name in fleet.spokes:
            tasks.create_task(start_spoke(name))


async def down(layout: Layout, *, report: Report) -> None:
    """Stop the fleet and remove everything but the cache.

    Raises:
        BlockingIOError: another `up` or `down` is running.
    """
    with locked(layout), Steps(report).step("the fleet is down"):
        await _clear(layout)


async def _clear(layout: Layout) -> None:
    present = [c for c in layout.all_clusters() if c.folder.exists() or cgroups.exists(c.cgroup)]
    async with asyncio.TaskGroup() as tasks:
        for layout_of_cluster in present:
            tasks.create_task(cluster.stop(layout_of_cluster))
    await network.remove(layout)
    if layout.folder.exists():
        await asyncio.to_thread(shutil.rmtree, layout.folder)


def leftovers(layout: Layout) -> Sequence[str]:
    """Return the fleet's processes, namespaces, links, cgroups, mounts and files; empty after `down`."""
    names = [c.namespace for c in layout.all_clusters()]
    found = [f"process {pid}" for c in layout.all_clusters() for pid in cgroups.processes(c.cgroup)]
    found += [f"cgroup {name}" for name in names if cgroups.exists(name)]
    found += [f"namespace {name}" for name in (SWITCH, *names) if Path("/run/netns", name).exists()]
    found += [f"link {HOST_LINK}"] if Path("/sys/class/net", HOST_LINK).exists() else []
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line.split()[4]}" for line in mounts if str(layout.folder) in line]
    found += [f"folder {layout.folder}"] if layout.folder.exists() else []
    return found
