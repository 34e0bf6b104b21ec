"""Existing clusters instead of a fleet: `FLEET=existing`.

The tests then run on a hub and spokes with OCM, such as kind clusters, given by kubeconfigs. Existing clusters offer no
network faults, no restart of an API server and no access to processes.
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
        kubeconfigs: kubeconfig by cluster name; the hub is `hub`, a spoke has the name of its ManagedCluster.
        image_loader: a command that loads an image on a cluster's nodes; the cluster's name and the archive's path
            are appended.
    """

    kubeconfigs: Mapping[str, Path]
    image_loader: tuple[str, ...] = ()
    layout: Layout = field(default_factory=default_layout)

    @property
    def spokes(self) -> tuple[str, ...]:
        """Return the names of the spokes."""
        return tuple(name for name in self.kubeconfigs if name != HUB)

    @property
    def clusters(self) -> tuple[str, ...]:
        """Return the names of the hub and the spokes."""
        return (HUB, *self.spokes)

    def kubeconfig(self, name: str) -> Path:
        """Return the path of a cluster's administrator kubeconfig."""
        return self.kubeconfigs[name]

    @property
    def kubectl_program(self) -> str:
        """Return the kubectl program for these clusters."""
        return "kubectl"

    async def kubectl(
        self, name: str, *arguments: str, stdin: str | None = None, deadline: float = PROGRAM_TIMEOUT
    ) -> str:
        """Run kubectl on a cluster and return its output.

        Raises:
            CommandFailed: kubectl failed; the message contains its output.
        """
        return await run(
            self.kubectl_program, f"--kubeconfig={self.kubeconfig(name)}", *arguments, stdin=stdin, deadline=deadline
        )

    async def build_image(self, recipe: Recipe) -> Image:
        """Return the image of the recipe, from the cache or newly built."""
        return await build(self.layout, recipe)

    async def load_image(self, image: Image, names: Sequence[str] = ()) -> None:
        """Load the image on the nodes of the named clusters, or of all.

        Raises:
            LookupError: no image loader is configured.
        """
        if not self.image_loader:
            raise LookupError(
                "FLEET_LOAD_IMAGE is missing: set it to the command that loads an image archive on a cluster"
            )
        for name in names or self.clusters:
            await run(*self.image_loader, name, image.archive, deadline=600)


def from_environment(environment: Mapping[str, str] = os.environ) -> ExistingFleet:
    """Return the clusters that `FLEET_HUB` and `FLEET_SPOKES` name.

    Raises:
        ValueError: a variable is missing or invalid; the message contains the expected format.
    """
    hub = environment.get("FLEET_HUB", "")
    if not hub:
        raise ValueError("FLEET_HUB is missing: set it to the path of the hub's kubeconfig")
    pairs = [entry.partition("=") for entry in environment.get("FLEET_SPOKES", "").split(",") if entry]
    if not pairs or not all(name and path for name, _, path in pairs):
        raise ValueError("FLEET_SPOKES is missing or invalid: write name=kubeconfig[,name=kubeconfig…]")
    kubeconfigs = {HUB: Path(hub), **{name: Path(path) for name, _, path in pairs}}
    absent = [f"{name}: {path}" for name, path in kubeconfigs.items() if not path.is_file()]
    if absent:
        raise ValueError(f"kubeconfig not found: {', '.join(absent)}; fix FLEET_HUB or FLEET_SPOKES")
    return ExistingFleet(kubeconfigs, tuple(shlex.split(environment.get("FLEET_LOAD_IMAGE", ""))))
