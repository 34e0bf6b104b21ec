"""Record each decision once: as an Event on the object, in a counter and in the log.

The Event's name is computed from its content, so that the API server recognizes a recorded decision across restarts and
replicas, for as long as it keeps Events (an hour by default).
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
    """Counters and gauges of the certificates' controllers."""

    decisions: Counter
    """By `signer`, `decision` and `reason`; all three come from fixed lists."""
    issued: Counter
    ends: Gauge
    """By `slot`, `current` or `next`: expiry of the authority's certificate in seconds since 1970."""


def certificate_metrics(registry: CollectorRegistry) -> CertificateMetrics:
    """Register the metrics, once per process."""
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
    """Records decisions as Events; a failure is logged and ignored, because no decision may depend on it."""

    def __init__(self, api: Api, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock

    async def record(self, kind: Kind[Any], about: Resource, reason: str, message: str) -> bool:
        """Record a warning; return whether it is new, that is, its Event did not exist.

        Unlike `federation.kube.events.Recorder`, recording the same warning again writes nothing: a waiting request is
        checked again at every change on the hub.
        """
        content = EventRecord("Warning", reason, message)
        body = event_body(kind, about, content, component=COMPONENT, now=self._clock())
        try:
            await self._api.create(EVENT, body, namespace=body["metadata"]["namespace"])
        except AlreadyExists:
            return False
        except KubeError as error:
            log.warning("event_lost", reason=reason, error=str(error))
        return True
