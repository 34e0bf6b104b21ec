"""A running fleet, as tests and the demo use it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet import images
from fleet.cluster import control_plane, daemons, network, node
from fleet.cluster.network import Link
from fleet.command import run
from fleet.images import Image, Recipe
from fleet.layout import HUB, Layout
from fleet.waiting import PROGRAM_TIMEOUT


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running hub and its spokes, with administrator access."""

    layout: Layout
    programs: Path
    spokes: tuple[str, ...]

    @property
    def clusters(self) -> tuple[str, ...]:
        """Return the names of the hub and the spokes."""
        return (HUB, *self.spokes)

    def kubeconfig(self, name: str) -> Path:
        """Return the path of a cluster's administrator kubeconfig."""
        return self.layout.cluster(name).kubeconfig

    @property
    def kubectl_program(self) -> str:
        """Return the kubectl program for these clusters."""
        return str(self.programs / "kubectl")

    async def kubectl(
        self, name: str, *arguments: str, stdin: str | None = None, deadline: float = PROGRAM_TIMEOUT
    ) -> str:
        """Run kubectl on a cluster and return its output.

        Raises:
            CommandFailed: kubectl failed; the message contains its output.
        """
        words = control_plane.kubectl(self.programs, self.layout.cluster(name))
        return await run(*words, *arguments, stdin=stdin, deadline=deadline)

    async def load_image(self, image: Image, names: Sequence[str] = ()) -> None:
        """Load the image on the nodes of the named clusters, or of all."""
        async with asyncio.TaskGroup() as tasks:
            for name in names or self.clusters:
                tasks.create_task(node.load_image(self.layout.cluster(name), image.archive))

    async def build_image(self, recipe: Recipe) -> Image:
        """Return the image of the recipe, from the cache or newly built."""
        return await images.build(self.layout, recipe)

    async def set_link(self, spoke: str, link: Link) -> None:
        """Set the state of a spoke's link; `Link()` restores it."""
        if spoke not in self.spokes:
            raise ValueError(f"no spoke {spoke!r}: this fleet has {', '.join(self.spokes)}")
        await network.set_link(self.layout.cluster(spoke), link)

    async def restart(self, name: str, daemon: str) -> None:
        """Restart a daemon of a cluster, such as `kube-apiserver`."""
        await daemons.restart(self.layout.cluster(name), daemon)
        if daemon in {"kube-apiserver", "etcd"}:
            await control_plane.until_ready(self.programs, self.layout.cluster(name))
