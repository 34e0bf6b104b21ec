"""Whether the agent may say that it is well: the Lease by which OCM calls the add-on Available.

The klusterlet reads the Lease every 30 s and takes the add-on for unavailable when it was not renewed for 300 s (ocm
`pkg/registration/spoke/addon/lease_controller.go`). A process that merely runs must not renew it: an agent that no
longer hears of Datasets would keep offering data that its site has withdrawn.

Whether the hub answers is no part of it. OCM itself judges a cluster that lost its hub, and the agent's duties to its
own site go on meanwhile.
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
"""OCM looks for a Lease of the add-on's own name in its install namespace."""
RENEWAL: Final = timedelta(seconds=60)
RETRY: Final = timedelta(seconds=5)
"""Until the next try after a renewal that failed."""
UNHEALTHY_INTERVAL: Final = timedelta(seconds=1)
"""Until the next look after one that found the agent unwell: who recovers is to be Available as soon as can be."""
SILENCE: Final = 180.0
"""Seconds. The API server sends a bookmark about every minute; three that fail to come mean that nothing would."""
LONG_SILENCE: Final = 900.0
"""Seconds. A reflector resumes, relists and backs off by itself; what all that did not mend in this time is stuck."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HealthInputs:
    """What the agent's health is judged by."""

    silence: Mapping[str, float | None]
    """For each kind that is watched, the seconds since its API server said anything of it; None until it is listed."""
    claims_applied: bool
    hub_kubeconfig: bool


def health_problems(health_inputs: HealthInputs) -> tuple[str, ...]:
    """What is wrong with the agent, in words for the administrator; empty when it is well."""
    found: list[str] = []
    for kind, silence in sorted(health_inputs.silence.items()):
        if silence is None:
            found.append(f"{kind}: not listed yet")
        elif silence > SILENCE:
            found.append(f"{kind}: nothing heard for {silence:.0f} s")
    if not health_inputs.claims_applied:
        found.append("claims: not all of them are written")
    if not health_inputs.hub_kubeconfig:
        found.append("hub: no kubeconfig yet; the klusterlet brings it when the hub has approved the add-on's request")
    return tuple(found)


def stuck_watch(health_inputs: HealthInputs) -> str | None:
    """Why only a restart can help: a watch that was heard once and has been silent for long; None where there is hope.

    What never was listed is not: a cluster whose API server refuses a list gains nothing from a restarted agent.
    """
    for kind, silence in sorted(health_inputs.silence.items()):
        if silence is not None and silence > LONG_SILENCE:
            return f"{kind}: nothing heard for {silence:.0f} s"
    return None


class Heartbeat:
    """Renews the add-on's Lease for as long as the agent is well."""

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
        """Args beyond the obvious: `owner` reads the ownerReference with which the Lease goes when the add-on goes."""
        self._api = api
        self._key = ObjectKey(namespace, LEASE_NAME)
        self._identity = identity
        self._health_inputs = health_inputs
        self._owner = owner
        self._now = now
        self._metrics = metrics
        self._last: tuple[str, ...] | None = None

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Beats for ever, sleeping in between."""
        while True:
            await sleep((await self.beat()).total_seconds())

    async def beat(self) -> timedelta:
        """Renews the Lease if the agent is well; returns how long to wait before the next beat."""
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
        # A Lease that outlived its agent would have the klusterlet call the next one Available before it lives.
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
