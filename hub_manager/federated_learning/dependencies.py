"""External dependencies of the run reconciler, constructed in `hub_manager.app`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from hub_manager.federated_learning.resources.certificate import AggregatorAuthority, Serials


@dataclass(frozen=True, slots=True)
class RunDependencies:
    """Clock, serial numbers, certificate authority and key generator."""

    now: Callable[[], datetime]
    serial: Serials
    authority: Callable[[], AggregatorAuthority | None]
    new_key: Callable[[], ec.EllipticCurvePrivateKey]
