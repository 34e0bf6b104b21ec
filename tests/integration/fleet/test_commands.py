"""The fleet's command line, as a person uses it."""

import sys

import pytest

from fleet import lifecycle
from fleet.cluster import daemons
from fleet.cluster.network import inside
from fleet.command import CommandFailed, run
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import until

pytestmark = pytest.mark.fleet
COMMAND = (sys.executable, "-m", "fleet")


def started(fleet: Fleet) -> dict[tuple[str, str], int]:
    """The process id of each daemon."""
    return {(name, d.name): d.pid for name in fleet.clusters for d in daemons.recorded(fleet.layout.cluster(name))}


async def test_a_second_up_starts_nothing_anew(fleet: Fleet) -> None:
    before = started(fleet)
    said = await run(*COMMAND, "up", "--spokes", str(len(fleet.spokes)))
    assert "the fleet is up" in said
    assert started(fleet) == before


async def test_status_shows_every_cluster_ready_and_available(fleet: Fleet) -> None:
    lines = (await run(*COMMAND, "status")).splitlines()[1:]
    assert [line.split()[:3] for line in lines] == [
        [HUB, "Ready", "-"],
        *([spoke, "Ready", "Available"] for spoke in fleet.spokes),
    ]


async def test_exec_runs_in_the_clusters_network_as_its_administrator(fleet: Fleet) -> None:
    spoke = fleet.spokes[0]
    assert await run(*COMMAND, "exec", spoke, "kubectl", "get", "nodes", "-o", "name") == f"node/{spoke}\n"
    assert fleet.layout.cluster(spoke).address in await run(*COMMAND, "exec", spoke, "ip", "address")


async def test_a_timed_partition_cuts_and_heals(fleet: Fleet) -> None:
    spoke = fleet.spokes[1]
    said = await run(*COMMAND, "partition", spoke, "--after", "0.2", "--for", "0.2")
    assert said.splitlines() == [f"{spoke} is cut off", f"{spoke} is connected again"]
    hub = fleet.layout.cluster(HUB)
    dial = "import socket, sys; socket.create_connection((sys.argv[1], 6443), 5)"
    await run(*inside(fleet.layout.cluster(spoke)), "python3", "-c", dial, hub.address)


@pytest.mark.usefixtures("fleet")
async def test_a_wrong_name_is_refused_with_the_right_ones() -> None:
    with pytest.raises(CommandFailed, match="no spoke 'spoke9': this fleet has spoke1, spoke2"):
        await run(*COMMAND, "heal", "spoke9")
    with pytest.raises(CommandFailed, match="no cluster 'nowhere'"):
        await run(*COMMAND, "logs", "nowhere")


@pytest.mark.usefixtures("fleet")
async def test_the_log_of_a_daemon_is_shown() -> None:
    names = (await run(*COMMAND, "logs", HUB)).split()
    assert {"etcd", "kube-apiserver", "kubelet", "containerd", "kube-proxy", "kube-router"} <= set(names)
    assert "v1.34.3" in await run(*COMMAND, "logs", HUB, "kube-apiserver")


async def test_a_killed_api_server_is_started_again_and_members_stay(fleet: Fleet) -> None:
    before = started(fleet)
    await fleet.restart(HUB, "kube-apiserver")
    after = started(fleet)
    assert {key for key in before if before[key] != after[key]} == {(HUB, "kube-apiserver")}
    path = "jsonpath={.items[*].status.conditions[?(@.type=='ManagedClusterConditionAvailable')].status}"

    async def available() -> bool:
        return await fleet.kubectl(HUB, "get", "managedclusters", "-o", path) == " ".join("True" for _ in fleet.spokes)

    await until(available, "the members stay available")


async def test_a_dead_daemon_means_the_fleet_is_not_up(fleet: Fleet) -> None:
    spoke = fleet.layout.cluster(fleet.spokes[0])
    scheduler = daemons.find(spoke, "kube-scheduler")
    assert scheduler is not None
    await daemons.end([scheduler.pid])
    try:
        assert lifecycle.find(fleet.layout) is None
        assert "kube-scheduler has died" in await run(*COMMAND, "status")
    finally:
        await fleet.restart(spoke.name, "kube-scheduler")
    assert lifecycle.find(fleet.layout) == fleet
