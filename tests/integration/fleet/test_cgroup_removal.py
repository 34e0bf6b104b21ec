"""A cluster's cgroup on a real machine: it stays for as long as a process is in it."""

import asyncio
from collections.abc import Iterator

import pytest

from fleet.cluster import cgroups
from fleet.fleet import Fleet
from fleet.waiting import until

pytestmark = [pytest.mark.fleet, pytest.mark.usefixtures("fleet")]
NAME = "fleet-tested"


@pytest.fixture
def group(fleet: Fleet) -> Iterator[str]:
    """A cgroup beside those of the fleet's clusters."""
    assert NAME not in [fleet.layout.cluster(name).cgroup for name in fleet.clusters]
    cgroups.create(NAME)
    yield NAME
    cgroups.remove(NAME)


async def test_a_cgroup_is_removed_once_its_last_process_has_ended(group: str) -> None:
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    for entry in cgroups.entry_files(group):
        entry.write_text(str(process.pid))
    assert cgroups.processes(group) == {process.pid}
    assert not cgroups.remove(group)

    process.kill()
    await process.wait()

    async def removed() -> bool:
        return cgroups.remove(group)

    await until(removed, "the cgroup is removed")
    assert not cgroups.exists(group)
