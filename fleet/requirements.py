"""The requirements of a fleet on this machine, each with its reason and remedy."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fleet.cluster import cgroups
from fleet.cluster.node import CNI_PLUGINS
from fleet.layout import Layout

# Program -> the Debian package that has it.
PACKAGES: Final = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables-restore": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "gcc": "gcc",
}
CNI_PACKAGE: Final = "containernetworking-plugins"
ALTERNATIVE: Final = "Alternatively set FLEET=existing to use existing clusters, such as kind: see docs/fleet.md."
_GIB: Final = 2**30
_MEMORY: Final = 5 * _GIB
_DISK: Final = 20 * _GIB


def missing_packages() -> tuple[str, ...]:
    """Return the Debian packages that the fleet needs and this machine lacks."""
    programs = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    libraries = [] if Path("/usr/include/stdlib.h").exists() else ["libc6-dev"]
    plugins = [] if (CNI_PLUGINS / "bridge").exists() else [CNI_PACKAGE]
    return tuple(dict.fromkeys([*programs, *libraries, *plugins]))


def unmet(layout: Layout) -> Iterator[str]:
    """Yield each requirement that this machine does not meet, as a sentence with its remedy."""
    if platform.system() != "Linux":
        yield f"A fleet needs Linux namespaces, but this is {platform.system()}. Use a Linux machine."
        return
    if os.geteuid() != 0:
        yield "A fleet creates network namespaces and cgroups, which needs root. Run it as root."
    if shutil.which("go") is None:
        yield "The Go toolchain, which builds Kubernetes and OCM, is missing. Install Go 1.25 or newer."
    if not cgroups.ROOT.is_dir() or not os.access(cgroups.ROOT, os.W_OK):
        yield f"{cgroups.ROOT} is not writable, but kubelets need cgroups. Run the fleet outside of a container."
    if missing := missing_packages():
        yield f"Debian packages are missing. Run `make fleet-packages`, or install {' '.join(missing)}."
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < _MEMORY:
        yield f"{memory / _GIB:.1f} GiB of memory are too few: a hub and two spokes need {_MEMORY // _GIB} GiB."
    for folder in (layout.folder, layout.cache):
        free = shutil.disk_usage(_existing(folder)).free
        if free < _DISK:
            yield f"{folder} has {free / _GIB:.1f} GiB free, but needs {_DISK // _GIB}. Free some, or set FLEET_HOME."


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


class RequirementsNotMet(Exception):
    """This machine cannot run a fleet; the message lists the reasons and remedies."""


def check(layout: Layout) -> None:
    """Check that this machine can run a fleet.

    Raises:
        RequirementsNotMet: a requirement is not met.
    """
    if reasons := list(unmet(layout)):
        raise RequirementsNotMet("\n".join([*(f"- {reason}" for reason in reasons), ALTERNATIVE]))
