"""The fleet's network: one bridge in a namespace of its own, and one namespace with one link for each cluster.

What may cross it is what may cross between real sites: spokes open connections to the hub's API server and NodePorts,
nobody opens one to a spoke, and this machine (the administrator) reaches every API server. The rules stand in the
`mangle` table, before kube-proxy's address translation. The bridge is in a namespace so that neither the machine's own
firewall nor Docker's sees the fleet's frames.

A partition drops every packet between a spoke and the other clusters, in both directions, and leaves the
administrator's access: connections freeze as they do when a line is cut, and the tests can still look inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.command import run, succeeds
from fleet.layout import API_SERVER_PORT, HOST_LINK, HUB, NODE_PORTS, SWITCH, ClusterLayout, Layout

LINK_CHAIN = "FLEET-LINK"


def inside(cluster: ClusterLayout) -> tuple[str, ...]:
    """The words that run a program in the cluster's network namespace.

    Not `ip netns exec`: it remounts /sys and hides the cgroup mounts from the kubelet.
    """
    return ("nsenter", f"--net=/run/netns/{cluster.namespace}")


async def create_switch(layout: Layout) -> None:
    """The bridge, and this machine's link to it."""
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
    """The cluster's namespace, its link to the bridge, and its firewall."""
    namespace = cluster.namespace
    await run("ip", "netns", "add", namespace)
    await run(
        "ip", "link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", cluster.name, "netns", SWITCH
    )
    await run("ip", "-n", SWITCH, "link", "set", cluster.name, "master", "br0", "up")
    await run(
        "ip", "-n", namespace, "-batch", "-",
        stdin=f"link set lo up\naddress add {cluster.address}/24 dev eth0\nlink set eth0 up\n"
        # Nothing answers beyond: the route exists so that service addresses resolve to a device before translation.
        f"route add default via {layout.host_address}\n",
    )  # fmt: skip
    settings = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")
    writes = " && ".join(f"echo 1 > /proc/sys/{setting}" for setting in settings)
    await run(*inside(cluster), "sh", "-c", writes)
    await run(*inside(cluster), "iptables-restore", "--noflush", stdin=firewall(layout, cluster))


def firewall(layout: Layout, cluster: ClusterLayout) -> str:
    """The rules of a site's edge, as `iptables-restore` reads them."""
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
    """The state of a cluster's line to the others.

    Args:
        cut: nothing passes.
        loss: the share of packets that are lost in each direction, 0 to 1.
        rate: bits per second in each direction, as `tc` writes them (`10mbit`); `""` for no limit.
    """

    cut: bool = False
    loss: float = 0.0
    rate: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 1:
            raise ValueError(f"loss is {self.loss}: give a share from 0 to 1")


def link_rules(link: Link) -> Sequence[str]:
    """What the cluster's FLEET-LINK chain holds for that state of the line."""
    if link.cut:
        return (f"-A {LINK_CHAIN} -j DROP",)
    if link.loss:
        return (f"-A {LINK_CHAIN} -m statistic --mode random --probability {link.loss:.4f} -j DROP",)
    return ()


async def set_link(cluster: ClusterLayout, link: Link) -> None:
    """Puts the cluster's line into that state, from whatever state it was in."""
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
    """Every namespace and link of a fleet, whether whole or half made.

    This machine's link goes first: a link whose other end's namespace is deleted goes when the kernel comes to it.
    """
    if await succeeds("ip", "link", "show", HOST_LINK):
        await run("ip", "link", "delete", HOST_LINK)
    present = {line.split()[0] for line in (await run("ip", "netns", "list")).splitlines() if line.strip()}
    for namespace in (SWITCH, *(cluster.namespace for cluster in layout.all_clusters())):
        if namespace in present:
            await run("ip", "netns", "delete", namespace)
