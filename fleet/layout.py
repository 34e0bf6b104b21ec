"""Where everything of a fleet is: folders, names, addresses. Pure, so that `down` finds what a dead `up` left.

All clusters use the same ports, pod range and service range, each in its own network namespace; only the address of
their one interface differs.
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
    """One cluster's names, address and folder."""

    name: str
    address: str
    folder: Path

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return f"fleet-{self.name}"

    @property
    def cgroup(self) -> str:
        """The cgroup below which every process of the cluster runs, in each hierarchy."""
        return f"fleet-{self.name}"

    @property
    def server(self) -> str:
        """The URL of the API server, as spokes, pods and the machine itself reach it."""
        return f"https://{self.address}:{API_SERVER_PORT}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.folder / "containerd.sock"


@dataclass(frozen=True, slots=True)
class Layout:
    """The fleet's folder and address range."""

    folder: Path
    cache: Path
    subnet: str = DEFAULT_SUBNET

    @property
    def host_address(self) -> str:
        """This machine's own address on the fleet's network: where an administrator dials from."""
        return f"{self.subnet}.1"

    def cluster(self, name: str) -> ClusterLayout:
        """The layout of `hub` or `spokeN`.

        Raises:
            ValueError: there is no such cluster.
        """
        if name == HUB:
            number = 0
        elif name in spoke_names(MAX_SPOKES):
            number = int(name.removeprefix("spoke"))
        else:
            raise ValueError(f"no cluster {name!r}: a fleet has {HUB!r} and {', '.join(spoke_names(MAX_SPOKES))}")
        return ClusterLayout(name, f"{self.subnet}.{10 + number}", self.folder / name)

    def all_clusters(self) -> tuple[ClusterLayout, ...]:
        """All that this machine could hold, whether up or not."""
        return tuple(self.cluster(name) for name in (HUB, *spoke_names(MAX_SPOKES)))


def spoke_names(count: int) -> tuple[str, ...]:
    """`spoke1` … `spokeN`."""
    return tuple(f"spoke{n}" for n in range(1, count + 1))


def default_layout() -> Layout:
    """The layout of this user's fleet: `FLEET_HOME`, `FLEET_SUBNET` and the XDG folders decide.

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
