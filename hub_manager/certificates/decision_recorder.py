"""How a decision is made known: an Event on the object, a counter, and one line in the log, once for each decision.

The Event's name is computed from what it tells, so that the API server remembers for us, over restarts and from one
replica to the next, what has been told (for as long as it keeps Events: an hour by default).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from federation.kube.api import Api
from federation.kube.errors import AlreadyExists, KubeError
from federation.kube.events import EventRecord, event_body
from federation.kube.kinds import EVENT
from federation.kube.resource import Kind, Resource

log = structlog.get_logger(__name__)

COMPONENT: Final = "federated-learning-hub-manager"


@dataclass(frozen=True, slots=True)
class CertificateMetrics:
    """The counters and gauges of the certificates' controllers."""

    decisions: Counter
    """By `signer`, `decision` and `reason`; all three come from fixed lists."""
    issued: Counter
    ends: Gauge
    """By `slot`, `current` or `next`: when the authority's certificate ends, seconds since 1970."""


def certificate_metrics(registry: CollectorRegistry) -> CertificateMetrics:
    """The metrics, registered once for the process."""
    return CertificateMetrics(
        decisions=Counter(
            "federated_learning_hub_csr_decisions",
            "Decisions on certificate requests",
            ["signer", "decision", "reason"],
            registry=registry,
        ),
        issued=Counter(
            "federated_learning_hub_certificates_issued", "Collaborators' certificates issued", registry=registry
        ),
        ends=Gauge(
            "federated_learning_hub_authority_expiry_timestamp_seconds",
            "End of the authority's certificate, Unix time",
            ["slot"],
            registry=registry,
        ),
    )


class DecisionRecorder:
    """Writes notices as Events; that fails without consequence, for no decision may hang on it."""

    def __init__(self, api: Api, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock

    async def record(self, kind: Kind[Any], about: Resource, reason: str, message: str) -> bool:
        """Whether the warning is news: false when its Event is there already.

        Otherwise than `federation.kube.events.Recorder`, saying a thing again writes nothing: a request that waits is
        judged again at every change of the hub.
        """
        said = EventRecord("Warning", reason, message)
        body = event_body(kind, about, said, component=COMPONENT, now=self._clock())
        try:
            await self._api.create(EVENT, body, namespace=body["metadata"]["namespace"])
        except AlreadyExists:
            return False
        except KubeError as error:
            log.warning("event_lost", reason=reason, error=str(error))
        return True
