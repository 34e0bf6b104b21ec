"""An overview of a fleet for its administrator."""

import asyncio
import json
from dataclasses import dataclass

from fleet.cluster import cgroups, daemons
from fleet.command import CommandFailed
from fleet.fleet import Fleet
from fleet.layout import HUB

_AVAILABLE = "ManagedClusterConditionAvailable"


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """The node, membership and resource usage of one cluster."""

    name: str
    node: str
    member: str
    pods: str
    memory_mib: int
    cpu_seconds: float
    dead: tuple[str, ...]


async def cluster_status(fleet: Fleet, name: str) -> ClusterHealth:
    """Return the status of a cluster; fields are `?` if its API server does not answer."""
    layout = fleet.layout.cluster(name)
    dead = tuple(d.name for d in daemons.recorded(layout) if not d.alive)
    try:
        nodes = json.loads(await fleet.kubectl(name, "get", "nodes", "--output=json", deadline=10))["items"]
        pods = json.loads(await fleet.kubectl(name, "get", "pods", "-A", "--output=json", deadline=10))["items"]
        node = "Ready" if nodes and all(_condition(n, "Ready") == "True" for n in nodes) else "NotReady"
        ready = f"{sum(_condition(p, 'Ready') == 'True' for p in pods)}/{len(pods)}"
    except CommandFailed:
        node, ready = "?", "?"
    memory, cpu = cgroups.memory_bytes(layout.cgroup), cgroups.cpu_seconds(layout.cgroup)
    return ClusterHealth(name, node, await _membership(fleet, name), ready, memory // 2**20, cpu, dead)


async def _membership(fleet: Fleet, name: str) -> str:
    if name == HUB:
        return "-"
    try:
        found = json.loads(await fleet.kubectl(HUB, "get", "managedcluster", name, "--output=json", deadline=10))
    except CommandFailed:
        return "?"
    return "Available" if _condition(found, _AVAILABLE) == "True" else f"Available={_condition(found, _AVAILABLE)}"


def _condition(item: dict[str, object], kind: str) -> str:
    status = item.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return next((c["status"] for c in conditions if c["type"] == kind), "Unknown")


async def render_table(fleet: Fleet) -> str:
    """Return the fleet's status as a table, one line per cluster."""
    rows = await asyncio.gather(*(cluster_status(fleet, name) for name in fleet.clusters))
    lines = [f"{'CLUSTER':<9}{'NODE':<10}{'MEMBER':<19}{'PODS READY':<12}{'MEMORY':>9}{'CPU':>9}"]
    for row in rows:
        size, cpu = f"{row.memory_mib} MiB", f"{row.cpu_seconds:.0f} s"
        lines.append(f"{row.name:<9}{row.node:<10}{row.member:<19}{row.pods:<12}{size:>9}{cpu:>9}")
        lines += [f"  {name} has died: see {daemons.log_of(fleet.layout.cluster(row.name), name)}" for name in row.dead]
    return "\n".join(lines)
