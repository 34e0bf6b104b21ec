"""Validate a run's spec beyond the rules of the CRD; each fault names the field and the remedy.

The CRD sees one object at a time. Rules that depend on the hub's settings, on this version's features, or on parsing a
quantity are checked here, before any object is created for the run.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes.quantity import parse_quantity
from federation.api.ocm.claims import data_key
from federation.pki.names import NameRefused, aggregator_dns
from hub_manager.federated_learning.settings import RunLimits

SUPPORTED_LISTENERS: Final = ("LoadBalancer", "NodePort", "ClusterIP")


class FaultReason(Enum):
    """Reasons for which a spec can't be run; set as the reason of the conditions Scheduled and ServerReady."""

    NAME_UNUSABLE = "NameUnusable"
    """The run's name is invalid as the name of a Service or in a certificate."""
    FRAMEWORK_NOT_SERVED = "FrameworkNotServed"
    """The framework is unsupported in this version."""
    LISTENER_NOT_SERVED = "ListenerNotServed"
    """The listener type is unsupported in this version, or the run has no listener."""
    ADDRESS_UNUSABLE = "AddressUnusable"
    """The `ip` of a listener is not an IP address."""
    STORAGE_NOT_SERVED = "StorageNotServed"
    """The storage type is unsupported in this version."""
    HOST_PATH_NOT_ALLOWED = "HostPathNotAllowed"
    """The hub's administrator has not allowed runs to use the folder."""
    ROUNDS_MISSING = "RoundsMissing"
    """The number of rounds is missing."""
    QUORUM_UNREACHABLE = "QuorumUnreachable"
    """A round needs more updates than the run needs clusters to start."""
    PLAN_NOT_FOUND = "PlanNotFound"
    """The ConfigMap with the plan is missing, or has no text under the key."""
    PLAN_TOO_LARGE = "PlanTooLarge"
    """The plan in the ConfigMap exceeds 128 KiB, the limit for sending it to clusters."""
    DATA_UNNAMED = "DataUnnamed"
    """The spec names no dataset, and the placement requires no claim that names one."""
    QUANTITY_UNREADABLE = "QuantityUnreadable"
    """An amount of a resource is not a valid quantity."""


@dataclass(frozen=True, slots=True)
class SpecFault:
    """Invalid or unsupported field of a spec."""

    reason: FaultReason
    field: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.remedy}"


def faults(run: FederatedLearning, limits: RunLimits) -> tuple[SpecFault, ...]:
    """Return the faults of the spec in a fixed order; empty for a valid spec.

    For an unsupported framework only that fault is returned: its spec has no rounds or listeners to validate.
    """
    return tuple(_framework(run, limits)) or tuple(fault for check in _CHECKS for fault in check(run, limits))


def allowed(name: str, patterns: Iterable[str]) -> bool:
    """Check whether the name matches one of the administrator's patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _name(run: FederatedLearning, _: RunLimits) -> Iterator[SpecFault]:
    try:
        aggregator_dns(run.metadata.name, run.metadata.namespace)
    except NameRefused as error:
        yield SpecFault(FaultReason.NAME_UNUSABLE, "metadata.name", f"rename the FederatedLearning: {error}")


def _framework(run: FederatedLearning, _: RunLimits) -> Iterator[SpecFault]:
    if run.spec.framework == "flower":
        remedy = (
            "set it to openfl, or to other with an image that supports the exchange protocol: Flower is unsupported"
        )
        yield SpecFault(FaultReason.FRAMEWORK_NOT_SERVED, "spec.framework", remedy)


def _rounds(run: FederatedLearning, _: RunLimits) -> Iterator[SpecFault]:
    server = run.spec.server
    if server.rounds < 1:
        yield SpecFault(FaultReason.ROUNDS_MISSING, "spec.server.rounds", "set the number of rounds to 1 or more")
    if server.round_quorum > server.quorum:
        remedy = f"set it to at most minAvailableClients ({server.quorum}): the run may start with that many clusters"
        yield SpecFault(FaultReason.QUORUM_UNREACHABLE, "spec.server.minClientsPerRound", remedy)


def _listeners(run: FederatedLearning, _: RunLimits) -> Iterator[SpecFault]:
    if not run.spec.server.listeners:
        remedy = (
            "add a listener for collaborators to connect to, for example {name: main, type: LoadBalancer, port: 8080}"
        )
        yield SpecFault(FaultReason.LISTENER_NOT_SERVED, "spec.server.listeners", remedy)
    for place, listener in enumerate(run.spec.server.listeners):
        if listener.type not in SUPPORTED_LISTENERS:
            remedy = f"set it to one of {', '.join(SUPPORTED_LISTENERS)}: {listener.type} is unsupported"
            yield SpecFault(FaultReason.LISTENER_NOT_SERVED, f"spec.server.listeners[{place}].type", remedy)
        if listener.ip and not _is_address(listener.ip):
            remedy = "set it to an IP address, or set hostname to a DNS name"
            yield SpecFault(FaultReason.ADDRESS_UNUSABLE, f"spec.server.listeners[{place}].ip", remedy)


def _is_address(text: str) -> bool:
    """Check for an IP address as the CRD defines it: IPv6 without a zone or a dotted IPv4 part."""
    try:
        return "%" not in text and not (":" in text and "." in text) and ipaddress.ip_address(text) is not None
    except ValueError:
        return False


def _storage(run: FederatedLearning, limits: RunLimits) -> Iterator[SpecFault]:
    storage = run.spec.server.storage
    match storage.type:
        case "PersistentVolumeClaim":
            if not storage.name:
                remedy = "set it to the name of a PersistentVolumeClaim, which is created if it is missing"
                yield SpecFault(FaultReason.STORAGE_NOT_SERVED, "spec.server.storage.name", remedy)
        case "HostPath":
            if ".." in storage.path.split("/") or not allowed(storage.path, limits.host_paths):
                remedy = "set type to PersistentVolumeClaim, or ask the hub's administrator to allow this folder"
                yield SpecFault(FaultReason.HOST_PATH_NOT_ALLOWED, "spec.server.storage.path", remedy)
        case other:
            remedy = f"set it to PersistentVolumeClaim: {other or 'an empty type'} is unsupported"
            yield SpecFault(FaultReason.STORAGE_NOT_SERVED, "spec.server.storage.type", remedy)
    if storage.size:
        yield from _quantity("spec.server.storage.size", storage.size)


def _data(run: FederatedLearning, _: RunLimits) -> Iterator[SpecFault]:
    if not run.spec.client.dataset and not data_key(run.spec.client.placement):
        remedy = "set it to the name of a Dataset, or require a claim with operator Exists in spec.client.placement"
        yield SpecFault(FaultReason.DATA_UNNAMED, "spec.client.dataset", remedy)


def _amounts(run: FederatedLearning, _: RunLimits) -> Iterator[SpecFault]:
    for side, resources in (("server", run.spec.server.resources), ("client", run.spec.client.resources)):
        for part, amounts in (("requests", resources.requests), ("limits", resources.limits)):
            for name, amount in amounts.items():
                yield from _quantity(f"spec.{side}.resources.{part}[{name}]", str(amount))


def _quantity(field: str, text: str) -> Iterator[SpecFault]:
    try:
        amount = parse_quantity(text)
    except ValueError as error:
        yield SpecFault(FaultReason.QUANTITY_UNREADABLE, field, str(error))
        return
    if amount < 0:
        yield SpecFault(FaultReason.QUANTITY_UNREADABLE, field, "set it to an amount of 0 or more")


_CHECKS: Final[tuple[Callable[[FederatedLearning, RunLimits], Iterator[SpecFault]], ...]] = (
    _name,
    _rounds,
    _listeners,
    _storage,
    _data,
    _amounts,
)
