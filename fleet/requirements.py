"""What a machine needs to run a fleet; whoever lacks it is told at once what, why, and what to do instead."""

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
ALTERNATIVE: Final = "Or use clusters that you have (kind will do) with FLEET=existing: see docs/fleet.md."
_GIB: Final = 2**30
_MEMORY: Final = 5 * _GIB
_DISK: Final = 20 * _GIB


def missing_packages() -> tuple[str, ...]:
    """The Debian packages that the fleet needs and the machine lacks."""
    programs = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    libraries = [] if Path("/usr/include/stdlib.h").exists() else ["libc6-dev"]
    plugins = [] if (CNI_PLUGINS / "bridge").exists() else [CNI_PACKAGE]
    return tuple(dict.fromkeys([*programs, *libraries, *plugins]))


def unmet(layout: Layout) -> Iterator[str]:
    """Why this machine can't run a fleet, a sentence with its remedy for each reason; nothing if it can."""
    if platform.system() != "Linux":
        yield f"This is {platform.system()}: a fleet is made of Linux namespaces. Use a Linux machine."
        return
    if os.geteuid() != 0:
        yield "You are not root: network namespaces and cgroups can't be made. Run it as root."
    if shutil.which("go") is None:
        yield "There is no Go toolchain: Kubernetes and OCM are built with it. Install Go 1.25 or newer."
    if not cgroups.ROOT.is_dir() or not os.access(cgroups.ROOT, os.W_OK):
        yield f"{cgroups.ROOT} can't be written: kubelets need cgroups. Run it outside of a container."
    if missing := missing_packages():
        yield f"Programs are missing. Run `make fleet-packages`, or install {' '.join(missing)}."
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < _MEMORY:
        yield f"The machine has {memory / _GIB:.1f} GiB of memory: a hub and two spokes need {_MEMORY // _GIB}."
    for folder in (layout.folder, layout.cache):
        free = shutil.disk_usage(_existing(folder)).free
        if free < _DISK:
            yield f"{folder} has {free / _GIB:.1f} GiB free: {_DISK // _GIB} are needed. Free some, or set FLEET_HOME."


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


class RequirementsNotMet(Exception):
    """This machine can't run a fleet; the message says why and what to do."""


def check(layout: Layout) -> None:
    """Does nothing on a machine that can run a fleet.

    Raises:
        RequirementsNotMet: it can't.
    """
    if reasons := list(unmet(layout)):
        raise RequirementsNotMet("\n".join([*(f"- {reason}" for reason in reasons), ALTERNATIVE]))
