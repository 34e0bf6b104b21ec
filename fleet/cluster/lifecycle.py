"""Starts and stops one cluster: namespaces, control plane and node, with DNS and NetworkPolicies for its pods."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import manifest
from fleet.cluster import cgroups, control_plane, daemons, network, node
from fleet.command import CommandFailed, run
from fleet.images import Image
from fleet.layout import ClusterLayout, Layout
from fleet.waiting import PROGRAM_TIMEOUT, TIMEOUT_FLAG, until

_NO_CONDITIONS_YET: Final = "accessor error: <nil>"
"""The error with which `kubectl wait` exits for an object whose conditions are still null."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The build results that every cluster needs: the programs' folder, and the images by name."""

    programs: Path
    images: dict[str, Image]


async def start(layout: Layout, cluster: ClusterLayout, artifacts: Artifacts, preload: Sequence[str]) -> None:
    """Start the cluster and wait until its node is Ready, with images loaded, DNS applied and NetworkPolicies enforced.

    Raises:
        CommandFailed, TimeoutError: a program failed to start, or was not ready in time.
    """
    cluster.folder.mkdir(parents=True, exist_ok=True)
    cgroups.create(cluster.cgroup)
    await network.connect_cluster(layout, cluster)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(control_plane.start(artifacts.programs, cluster))
        tasks.create_task(_prepare_node(cluster, artifacts, preload))
    await node.start_kubelet(artifacts.programs, cluster)
    network_parts = manifest.read(manifest.FOLDER / "dns.yaml", manifest.FOLDER / "network-policies.yaml")
    images = {"coredns": artifacts.images["coredns"].reference}
    await control_plane.apply(artifacts.programs, cluster, manifest.text(manifest.with_images(network_parts, images)))
    await node.start_kube_router(artifacts.programs, cluster)
    await wait_for(artifacts.programs, cluster, "create", f"node/{cluster.name}")
    await wait_for(artifacts.programs, cluster, "condition=Ready", f"node/{cluster.name}")


async def _prepare_node(cluster: ClusterLayout, artifacts: Artifacts, preload: Sequence[str]) -> None:
    await node.start_containerd(cluster, artifacts.images["pause"].reference)
    for name in ("pause", "coredns", *preload):
        await node.load_image(cluster, artifacts.images[name].archive)


async def wait_for(programs: Path, cluster: ClusterLayout, condition: str, *what: str, namespace: str = "") -> None:
    """Wait for a condition with `kubectl wait --for=…`.

    Raises:
        CommandFailed: the condition was not met in time; the message contains kubectl's output.
    """
    scope = (f"--namespace={namespace}",) if namespace else ()
    words = ("wait", f"--for={condition}", TIMEOUT_FLAG, *scope, *what)

    async def came() -> bool:
        try:
            await run(*control_plane.kubectl(programs, cluster), *words)
        except CommandFailed as error:
            if _NO_CONDITIONS_YET not in error.output:
                raise
            return False
        return True

    await until(came, f"{condition} of {', '.join(what)} on {cluster.name}", deadline=PROGRAM_TIMEOUT)


async def stop(cluster: ClusterLayout) -> None:
    """Stop every process of the cluster: the daemons first, then all others below its cgroup."""
    running = [daemon.pid for daemon in daemons.recorded(cluster) if daemon.alive]
    # A short grace period: the fleet's folder is deleted anyway, so the programs have nothing to save.
    await daemons.end(running, grace=2.0)

    async def gone() -> bool:
        await daemons.end(cgroups.processes(cluster.cgroup), grace=0.0)
        return cgroups.remove(cluster.cgroup)

    await until(gone, f"every process of {cluster.name} exits")
