"""Folders, names and addresses of a fleet, all derived, so that `down` finds the leftovers of a crashed `up`.

All clusters use the same ports, pod range and service range, each in its own network namespace; only the address of
their interface differs.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HUB: Final = "hub"
MAX_SPOKES: Final = 4
DEFAULT_SUBNET: Final = "10.200.0"

API_SERVER_PORT: Final = 6443
NODE_PORTS: Final = "30000:32767"
POD_RANGE: Final = "10.244.0.0/16"
SERVICE_RANGE: Final = "10.96.0.0/16"
API_SERVER_SERVICE: Final = "10.96.0.1"
DNS_SERVICE: Final = "10.96.0.10"
CLUSTER_DOMAIN: Final = "cluster.local"

SWITCH: Final = "fleet-switch"
HOST_LINK: Final = "fleet0"


@dataclass(frozen=True, slots=True)
class ClusterLayout:
    """The names, address and folder of one cluster."""

    name: str
    address: str
    folder: Path

    @property
    def namespace(self) -> str:
        """Return the name of the network namespace."""
        return f"fleet-{self.name}"

    @property
    def cgroup(self) -> str:
        """Return the cgroup of all processes of the cluster, in each hierarchy."""
        return f"fleet-{self.name}"

    @property
    def server(self) -> str:
        """Return the URL of the API server, the same for spokes, pods and this machine."""
        return f"https://{self.address}:{API_SERVER_PORT}"

    @property
    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Return the path of containerd's socket."""
        return self.folder / "containerd.sock"


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder, cache and address range of a fleet."""

    folder: Path
    cache: Path
    subnet: str = DEFAULT_SUBNET

    @property
    def host_address(self) -> str:
        """Return this machine's address on the fleet's network, from which an administrator connects."""
        return f"{self.subnet}.1"

    def cluster(self, name: str) -> ClusterLayout:
        """Return the layout of `hub` or `spokeN`.

        Raises:
            ValueError: the name is invalid.
        """
        if name == HUB:
            number = 0
        elif name in spoke_names(MAX_SPOKES):
            number = int(name.removeprefix("spoke"))
        else:
            raise ValueError(f"no cluster {name!r}: a fleet has {HUB!r} and {', '.join(spoke_names(MAX_SPOKES))}")
        return ClusterLayout(name, f"{self.subnet}.{10 + number}", self.folder / name)

    def all_clusters(self) -> tuple[ClusterLayout, ...]:
        """Return all clusters that can exist on this machine, running or not."""
        return tuple(self.cluster(name) for name in (HUB, *spoke_names(MAX_SPOKES)))


def spoke_names(count: int) -> tuple[str, ...]:
    """Return `spoke1` … `spokeN`."""
    return tuple(f"spoke{n}" for n in range(1, count + 1))


def default_layout() -> Layout:
    """Return the layout from `FLEET_HOME`, `FLEET_SUBNET` and the XDG folders.

    Source: XDG Base Directory Specification 0.8.
    """
    home = Path.home()
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return Layout(
        folder=Path(os.environ.get("FLEET_HOME") or state / "federated-fleet").absolute(),
        cache=(cache / "federated-fleet").absolute(),
        subnet=os.environ.get("FLEET_SUBNET") or DEFAULT_SUBNET,
    )
