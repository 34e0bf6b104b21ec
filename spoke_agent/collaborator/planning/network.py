"""Build the egress rules of a collaborator: the aggregator's addresses, and DNS if one of them is a name. Pure.

A NetworkPolicy has addresses and no names (k8s.io/api `networking/v1`). For an aggregator with a DNS name, it allows
the port at every address but those within a node, such as a cloud's metadata service. For one with an IP address, it
allows that address alone and no DNS, through which data could leave.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DNS_PORTS: Final = (53, 5353)
"""5353 is the port of OpenShift's DNS pods; a policy applies to the port behind a Service."""
_NAME: Final = re.compile(
    r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*"
)
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_WITHIN_A_NODE: Final[tuple[Network, ...]] = (
    ipaddress.IPv4Network("0.0.0.0/8"),
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv4Network("169.254.0.0/16"),
    ipaddress.IPv4Network("224.0.0.0/4"),
    ipaddress.IPv4Network("255.255.255.255/32"),
    ipaddress.IPv6Network("::/127"),
    ipaddress.IPv6Network("::ffff:0:0/96"),
    ipaddress.IPv6Network("fd00:ec2::254/128"),
    ipaddress.IPv6Network("fe80::/10"),
    ipaddress.IPv6Network("ff00::/8"),
)
"""Unspecified, loopback, link-local (clouds' metadata services among them), multicast, and IPv4-mapped IPv6."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One address of an aggregator."""

    host: str
    """An IP address without brackets, or a DNS name."""
    port: int
    network: Network | None
    """The address as a network of one; None for a name."""


def destination_of(address: str) -> Destination:
    """Parse `HOST:PORT`.

    Raises:
        ValueError: The address is invalid, or lies within a node.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{address[:80]!r}: write HOST:PORT, an IPv6 address in brackets")
    try:
        network = ipaddress.ip_network(host[1:-1] if bracketed else host)
    except ValueError:
        # Resolvers accept short forms of IPv4 such as `127.1`; they end in a number, and a domain never does.
        if bracketed or len(host) > 253 or not _NAME.fullmatch(host) or host.rpartition(".")[2].isdecimal():
            raise ValueError(f"{address[:80]!r}: write HOST:PORT, an IPv6 address in brackets") from None
        if host.lower() == "localhost" or re.search(r"(^|\.)0[xX][0-9a-fA-F]*$", host):
            raise ValueError(f"{address[:80]!r}: write an address outside of the site's nodes") from None
        return Destination(host, int(port), None)
    if "/" in host or bracketed != (network.version == 6):
        raise ValueError(f"{address[:80]!r}: write HOST:PORT, an IPv6 address in brackets")
    if any(network.version == inner.version and network.overlaps(inner) for inner in _WITHIN_A_NODE):
        raise ValueError(f"{address[:80]!r}: write an address outside of the site's nodes")
    return Destination(str(network.network_address), int(port), network)


def egress_rules(destinations: Iterable[Destination]) -> list[dict[str, Any]]:
    """Build the rules of a NetworkPolicy that allow these destinations and nothing else."""
    wanted = tuple(dict.fromkeys(destinations))
    rules: list[dict[str, Any]] = [
        {"to": _peers(destination), "ports": [_port("TCP", destination.port)]} for destination in wanted
    ]
    if any(destination.network is None for destination in wanted):
        ports = [_port(protocol, port) for port in DNS_PORTS for protocol in ("UDP", "TCP")]
        rules.append({"ports": ports})
    return rules


def _peers(destination: Destination) -> list[dict[str, Any]]:
    if destination.network is not None:
        return [{"ipBlock": {"cidr": str(destination.network)}}]
    return [
        {
            "ipBlock": {
                "cidr": everywhere,
                "except": [str(inner) for inner in _WITHIN_A_NODE if inner.version == version],
            }
        }
        for everywhere, version in (("0.0.0.0/0", 4), ("::/0", 6))
    ]


def _port(protocol: str, port: int) -> dict[str, Any]:
    return {"protocol": protocol, "port": port}
