"""Record decisions about objects as Kubernetes Events, for `kubectl describe`.

Recording an equal Event again increments its count, also after a restart: its name is a digest of its content. A failed
write is logged and never fails the decision.
Source: k8s.io/client-go `tools/record/events_cache.go`, whose keys are the same fields.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog

from federation.kube.api import Api
from federation.kube.conditions import rfc3339
from federation.kube.errors import AlreadyExists, KubeError
from federation.kube.kinds import EVENT
from federation.kube.resource import Json, Kind, ObjectKey, Resource

log = structlog.get_logger(__name__)

Severity = Literal["Normal", "Warning"]
NOTE_BYTES: Final = 1024
"""Maximum bytes of a message in events.k8s.io (KEP-383)."""
CLUSTER_SCOPED: Final = "default"
"""The namespace of Events about cluster-scoped objects, where `kubectl describe` reads them."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """The content of an Event; `reason` is an enum member's value, in CamelCase."""

    severity: Severity
    reason: str
    message: str


class Recorder:
    """Records Events of one component."""

    def __init__(self, api: Api, component: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._api = api
        self._component = component
        self._now = now

    async def record(self, kind: Kind[Any], about: Resource, *, severity: Severity, reason: str, message: str) -> None:
        """Record an Event about an object; `reason` is an enum member's value, in CamelCase."""
        content = EventRecord(severity, reason, message)
        body = event_body(kind, about, content, component=self._component, now=self._now())
        key = ObjectKey(body["metadata"]["namespace"], body["metadata"]["name"])
        try:
            try:
                await self._api.create(EVENT, body, namespace=key.namespace)
            except AlreadyExists:
                present = await self._api.read(EVENT, key)
                again = {"count": present.count + 1, "lastTimestamp": body["lastTimestamp"]}
                await self._api.merge_patch(EVENT, key, again)
        except KubeError as error:
            log.warning("event_not_recorded", reason=reason, object=about.metadata.name, error=str(error))


def event_body(kind: Kind[Any], about: Resource, record: EventRecord, *, component: str, now: datetime) -> Json:
    """Build the Event; equal content about the same object gives equal names."""
    metadata = about.metadata
    message = record.message.encode()[:NOTE_BYTES].decode(errors="ignore")
    identity = (kind.api_version, kind.kind, metadata.uid, record.severity, record.reason, message, component)
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    return {
        "metadata": {
            "name": f"{metadata.name[:200].rstrip('-.')}.{digest}",
            "namespace": metadata.namespace or CLUSTER_SCOPED,
        },
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "type": record.severity,
        "reason": record.reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "count": 1,
    }
