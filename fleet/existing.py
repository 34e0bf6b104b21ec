"""Clusters that somebody else made, in place of a fleet: `FLEET=existing`.

Whoever has a hub and spokes with OCM (kind on a laptop) names their kubeconfigs, and the add-on's tests run on them.
What only a machine's own fleet can do, cutting a line, restarting an API server, killing a process, is not offered.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleet.command import run
from fleet.images import Image, Recipe, build
from fleet.layout import HUB, Layout, default_layout
from fleet.waiting import PROGRAM_TIMEOUT


@dataclass(frozen=True, slots=True)
class ExistingFleet:
    """A hub and spokes by their administrators' kubeconfigs.

    Args:
        kubeconfigs: by cluster name, the hub's under `hub`; a spoke's name is that of its ManagedCluster.
        image_loader: the words of a command that puts an image on a cluster's nodes; the cluster's name and the
            archive's path are added.
    """

    kubeconfigs: Mapping[str, Path]
    image_loader: tuple[str, ...] = ()
    layout: Layout = field(default_factory=default_layout)

    @property
    def spokes(self) -> tuple[str, ...]:
        """The spokes' names."""
        return tuple(name for name in self.kubeconfigs if name != HUB)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The hub and the spokes."""
        return (HUB, *self.spokes)

    def kubeconfig(self, name: str) -> Path:
        """The administrator's kubeconfig of a cluster."""
        return self.kubeconfigs[name]

    @property
    def kubectl_program(self) -> str:
        """The kubectl that speaks to these clusters."""
        return "kubectl"

    async def kubectl(
        self, name: str, *arguments: str, stdin: str | None = None, deadline: float = PROGRAM_TIMEOUT
    ) -> str:
        """What kubectl prints, run on a cluster.

        Raises:
            CommandFailed: kubectl's own words.
        """
        return await run(
            self.kubectl_program, f"--kubeconfig={self.kubeconfig(name)}", *arguments, stdin=stdin, deadline=deadline
        )

    async def build_image(self, recipe: Recipe) -> Image:
        """The image of the recipe, built where the cache has none."""
        return await build(self.layout, recipe)

    async def load_image(self, image: Image, names: Sequence[str] = ()) -> None:
        """Puts the image on the nodes of the named clusters, or of all.

        Raises:
            LookupError: nobody output how.
        """
        if not self.image_loader:
            raise LookupError("FLEET_LOAD_IMAGE is not set: give the command that loads an image archive on a cluster")
        for name in names or self.clusters:
            await run(*self.image_loader, name, image.archive, deadline=600)


def from_environment(environment: Mapping[str, str] = os.environ) -> ExistingFleet:
    """The clusters that `FLEET_HUB` and `FLEET_SPOKES` name.

    Raises:
        ValueError: a variable is missing or malformed; the message says how to write it.
    """
    hub = environment.get("FLEET_HUB", "")
    if not hub:
        raise ValueError("FLEET=existing needs FLEET_HUB: the path of the hub's kubeconfig")
    pairs = [entry.partition("=") for entry in environment.get("FLEET_SPOKES", "").split(",") if entry]
    if not pairs or not all(name and path for name, _, path in pairs):
        raise ValueError("FLEET=existing needs FLEET_SPOKES: name=kubeconfig[,name=kubeconfig…]")
    kubeconfigs = {HUB: Path(hub), **{name: Path(path) for name, _, path in pairs}}
    absent = [f"{name}: {path}" for name, path in kubeconfigs.items() if not path.is_file()]
    if absent:
        raise ValueError(f"no such kubeconfig: {', '.join(absent)}; correct FLEET_HUB or FLEET_SPOKES")
    return ExistingFleet(kubeconfigs, tuple(shlex.split(environment.get("FLEET_LOAD_IMAGE", ""))))
