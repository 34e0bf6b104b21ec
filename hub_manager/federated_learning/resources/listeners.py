"""Derive the addresses at which collaborators connect, from the aggregator's Services and the hub's nodes."""

import ipaddress
from collections.abc import Iterator, Sequence

from federation.api.federated_learning import FederatedLearning, Listener
from federation.api.kubernetes.run_objects import NodeAddresses, Service
from federation.api.run_status import ListenerStatus
from federation.pki.names import aggregator_dns
from hub_manager.federated_learning.resources.aggregator import listener_name
from hub_manager.federated_learning.resources.manifest_work import Address


def listener_statuses(
    run: FederatedLearning, services: Sequence[Service | None], nodes: Sequence[NodeAddresses]
) -> tuple[ListenerStatus, ...]:
    """Return the listeners that have an address, in the order of the spec.

    Args:
        run: The run.
        services: Service of each listener, None for a missing one.
        nodes: The hub's nodes, by name.
    """
    statuses = []
    for place, (listener, service) in enumerate(zip(run.spec.server.listeners, services, strict=True)):
        if service is None or service.spec.type != listener.type or not service.spec.ports:
            continue
        host = next(_hosts(listener, service, nodes), "")
        port = service.spec.ports[0].node_port if listener.type == "NodePort" else service.spec.ports[0].port
        if host and port:
            name = listener_name(listener, place)
            statuses.append(ListenerStatus(name=name, type=listener.type, address=host, port=port))
    return tuple(statuses)


def addresses(listeners: Sequence[ListenerStatus]) -> tuple[Address, ...]:
    """Return the addresses for collaborators, in order of preference."""
    return tuple(Address(listener.address, listener.port) for listener in listeners)


def certificate_names(run: FederatedLearning, listeners: Sequence[ListenerStatus]) -> tuple[str, ...]:
    """Return the names for the aggregator's certificate: the stable name that collaborators verify, then the addresses.

    An address that is invalid in a certificate is left out; collaborators verify the stable name only.
    """
    stable = aggregator_dns(run.metadata.name, run.metadata.namespace)
    further = sorted({listener.address for listener in listeners if _can_be_certified(listener.address)})
    return (stable, *further)


def _hosts(listener: Listener, service: Service, nodes: Sequence[NodeAddresses]) -> Iterator[str]:
    """Yield the addresses in order of preference: those in the spec, then those that the cluster assigned."""
    yield from (text for text in (listener.hostname, listener.ip) if text)
    match listener.type:
        case "NodePort":
            for kind in ("ExternalIP", "InternalIP"):
                yield from (a.address for node in nodes for a in node.status.addresses if a.type == kind)
        case "LoadBalancer":
            for ingress in service.status.load_balancer.ingress:
                yield from (text for text in (ingress.ip, ingress.hostname) if text)
        case "ClusterIP":
            if service.spec.cluster_ip not in {"", "None"}:
                yield service.spec.cluster_ip


def _can_be_certified(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return address.isascii() and len(address) <= 253
    return True
