"""Health of the agent, and the Lease from which OCM derives the add-on's condition Available.

The klusterlet reads the Lease every 30 s and reports the add-on as unavailable if it was not renewed for 300 s (ocm
`pkg/registration/spoke/addon/lease_controller.go`). A process that merely runs must not renew it: an agent
that receives no Dataset events would keep offering data that its site has withdrawn.

The state of the hub does not matter here. OCM itself detects a cluster that lost its hub, and the agent continues to
serve its site meanwhile.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from federation.kube.api import Api
from federation.kube.conditions import rfc3339_micro
from federation.kube.errors import AlreadyExists, KubeError, NotFound
from federation.kube.kinds import LEASE
from federation.kube.resource import Json, ObjectKey
from spoke_agent.metrics import AgentMetrics

LEASE_NAME: Final = "federated-learning"
"""OCM reads the Lease with the add-on's name in the install namespace."""
RENEWAL: Final = timedelta(seconds=60)
RETRY: Final = timedelta(seconds=5)
"""Interval after a failed renewal."""
UNHEALTHY_INTERVAL: Final = timedelta(seconds=1)
"""Check interval while unhealthy; short, so that recovery is reported quickly."""
SILENCE: Final = 180.0
"""Seconds. The API server sends a bookmark about every minute; three missing ones mean a dead watch."""
LONG_SILENCE: Final = 900.0
"""Seconds. A reflector resumes, relists and backs off on its own; after this time it is stuck."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HealthInputs:
    """Inputs of the health check."""

    silence: Mapping[str, float | None]
    """For each watched kind, the seconds since the API server's last message; None until the kind is listed."""
    claims_applied: bool
    hub_kubeconfig: bool


def health_problems(health_inputs: HealthInputs) -> tuple[str, ...]:
    """Describe the problems of the agent for the administrator; empty if it is healthy."""
    found: list[str] = []
    for kind, silence in sorted(health_inputs.silence.items()):
        if silence is None:
            found.append(f"{kind}: not listed yet")
        elif silence > SILENCE:
            found.append(f"{kind}: no message from the API server for {silence:.0f} s")
    if not health_inputs.claims_applied:
        found.append("claims: not all are written")
    if not health_inputs.hub_kubeconfig:
        found.append("hub: no kubeconfig yet; the klusterlet mounts it once the hub has approved the add-on")
    return tuple(found)


def stuck_watch(health_inputs: HealthInputs) -> str | None:
    """Return which watch is stuck, so that only a restart can help; None if all are alive.

    A kind that was never listed is not stuck: a restart cannot help if the API server refuses the list.
    """
    for kind, silence in sorted(health_inputs.silence.items()):
        if silence is not None and silence > LONG_SILENCE:
            return f"{kind}: no message from the API server for {silence:.0f} s"
    return None


class Heartbeat:
    """Renewal of the add-on's Lease while the agent is healthy."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        identity: str,
        *,
        health_inputs: Callable[[], HealthInputs],
        owner: Callable[[], Awaitable[Json | None]],
        now: Callable[[], datetime],
        metrics: AgentMetrics,
    ) -> None:
        """Initialize; `owner` reads the ownerReference by which the Lease is deleted with the add-on."""
        self._api = api
        self._key = ObjectKey(namespace, LEASE_NAME)
        self._identity = identity
        self._health_inputs = health_inputs
        self._owner = owner
        self._now = now
        self._metrics = metrics
        self._last: tuple[str, ...] | None = None

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Renew the Lease periodically until cancelled."""
        while True:
            await sleep((await self.beat()).total_seconds())

    async def beat(self) -> timedelta:
        """Renew the Lease if the agent is healthy, and return the time until the next renewal."""
        found = health_problems(self._health_inputs())
        self._metrics.health_problems.set(len(found))
        if found != self._last:
            _log.info("agent_well" if not found else "agent_unwell", ailments=found)
            self._last = found
        if found:
            return UNHEALTHY_INTERVAL
        try:
            await self._renew()
        except KubeError:
            _log.warning("lease_renewal_failed", exc_info=True)
            return RETRY
        self._metrics.lease_renewals.inc()
        return RENEWAL

    async def _renew(self) -> None:
        owner = await self._owner()
        # A Lease that outlived its agent would make the next agent Available before it runs.
        metadata = {"ownerReferences": [owner] if owner is not None else []}
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(RENEWAL.total_seconds()),
            "renewTime": rfc3339_micro(self._now()),
        }
        try:
            await self._api.merge_patch(LEASE, self._key, {"metadata": metadata, "spec": spec})
        except NotFound:
            body: Json = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": self._key.name, "namespace": self._key.namespace, **metadata},
                "spec": spec,
            }
            try:
                await self._api.create(LEASE, body, namespace=self._key.namespace)
            except AlreadyExists:
                await self._api.merge_patch(LEASE, self._key, {"metadata": metadata, "spec": spec})
