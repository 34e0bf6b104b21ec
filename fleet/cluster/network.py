"""The fleet's network: one bridge in its own namespace, and one namespace with one link for each cluster.

The firewall allows the connections that real sites allow: spokes connect to the hub's API server and NodePorts, no
cluster connects to a spoke, and this machine (the administrator) reaches every API server. The rules are in the
`mangle` table, before kube-proxy's address translation. The bridge is in a namespace so that neither the machine's
firewall nor Docker's filters its frames.

A partition drops every packet between a spoke and the other clusters, in both directions, but not the administrator's:
connections hang as on a broken link, and tests can still inspect the spoke.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.command import run, succeeds
from fleet.layout import API_SERVER_PORT, HOST_LINK, HUB, NODE_PORTS, SWITCH, ClusterLayout, Layout

LINK_CHAIN = "FLEET-LINK"


def inside(cluster: ClusterLayout) -> tuple[str, ...]:
    """Return the command prefix that runs a program in the cluster's network namespace.

    `ip netns exec` is unsuitable: it remounts /sys, which hides the cgroup mounts from the kubelet.
    """
    return ("nsenter", f"--net=/run/netns/{cluster.namespace}")


async def create_switch(layout: Layout) -> None:
    """Create the bridge, and this machine's link to it."""
    await run("ip", "netns", "add", SWITCH)
    await run(
        "ip", "-n", SWITCH, "-batch", "-",
        stdin="link add br0 type bridge\nlink set br0 up\nlink set lo up\n",
    )  # fmt: skip
    await run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "host", "netns", SWITCH)
    await run("ip", "-n", SWITCH, "link", "set", "host", "master", "br0", "up")
    await run("ip", "address", "add", f"{layout.host_address}/24", "dev", HOST_LINK)
    await run("ip", "link", "set", HOST_LINK, "up")


async def connect_cluster(layout: Layout, cluster: ClusterLayout) -> None:
    """Create the cluster's namespace, its link to the bridge, and its firewall."""
    namespace = cluster.namespace
    await run("ip", "netns", "add", namespace)
    await run(
        "ip", "link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", cluster.name, "netns", SWITCH
    )
    await run("ip", "-n", SWITCH, "link", "set", cluster.name, "master", "br0", "up")
    await run(
        "ip", "-n", namespace, "-batch", "-",
        stdin=f"link set lo up\naddress add {cluster.address}/24 dev eth0\nlink set eth0 up\n"
        # The gateway forwards nothing; the route lets service addresses resolve to a device before translation.
        f"route add default via {layout.host_address}\n",
    )  # fmt: skip
    settings = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")
    writes = " && ".join(f"echo 1 > /proc/sys/{setting}" for setting in settings)
    await run(*inside(cluster), "sh", "-c", writes)
    await run(*inside(cluster), "iptables-restore", "--noflush", stdin=firewall(layout, cluster))


def firewall(layout: Layout, cluster: ClusterLayout) -> str:
    """Return the firewall rules of a cluster, in the format of `iptables-restore`."""
    new = f"-A PREROUTING -i eth0 ! -s {layout.host_address} -m conntrack --ctstate NEW"
    allowed = [f"{new} -p tcp --dport {port} -j ACCEPT" for port in (API_SERVER_PORT, NODE_PORTS)]
    return "\n".join(
        [
            "*mangle",
            f":{LINK_CHAIN} - [0:0]",
            f"-A PREROUTING -i eth0 ! -s {layout.host_address} -j {LINK_CHAIN}",
            f"-A POSTROUTING -o eth0 ! -d {layout.host_address} -j {LINK_CHAIN}",
            *(allowed if cluster.name == HUB else []),
            f"{new} -j DROP",
            "COMMIT",
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class Link:
    """The state of a cluster's link to the others.

    Args:
        cut: drop all packets.
        loss: the share of packets dropped in each direction, 0 to 1.
        rate: the bandwidth in each direction, in tc's notation (`10mbit`); `""` for no limit.
    """

    cut: bool = False
    loss: float = 0.0
    rate: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 1:
            raise ValueError(f"loss is {self.loss}: give a share from 0 to 1")


def link_rules(link: Link) -> Sequence[str]:
    """Return the rules of the cluster's FLEET-LINK chain for that state of the link."""
    if link.cut:
        return (f"-A {LINK_CHAIN} -j DROP",)
    if link.loss:
        return (f"-A {LINK_CHAIN} -m statistic --mode random --probability {link.loss:.4f} -j DROP",)
    return ()


async def set_link(cluster: ClusterLayout, link: Link) -> None:
    """Set the state of the cluster's link, whatever it was before."""
    rules = "\n".join(["*mangle", f":{LINK_CHAIN} - [0:0]", *link_rules(link), "COMMIT", ""])
    await run(*inside(cluster), "iptables-restore", "--noflush", stdin=rules)
    for namespace, device in ((cluster.namespace, "eth0"), (SWITCH, cluster.name)):
        tc = ("tc", "-n", namespace, "qdisc")
        if link.rate:
            await run(
                *tc, "replace", "dev", device, "root", "tbf", "rate", link.rate, "burst", "64kb", "latency", "400ms"
            )
        else:
            await succeeds(*tc, "delete", "dev", device, "root")


async def remove(layout: Layout) -> None:
    """Remove every namespace and link of a fleet, including a partly created one.

    This machine's link goes first: after its peer's namespace is deleted, the kernel removes it at an unknown time.
    """
    if await succeeds("ip", "link", "show", HOST_LINK):
        await run("ip", "link", "delete", HOST_LINK)
    present = {line.split()[0] for line in (await run("ip", "netns", "list")).splitlines() if line.strip()}
    for namespace in (SWITCH, *(cluster.namespace for cluster in layout.all_clusters())):
        if namespace in present:
            await run("ip", "netns", "delete", namespace)
