"""Compose the agent: create the connections and run the controllers.

Everything the agent knows of its cluster comes from reflectors. Three controllers read them: one writes claims and
Datasets' statuses to the spoke, one runs the collaborators (`spoke_agent.collaborator`), and one
writes scores to the hub once the klusterlet has mounted a kubeconfig for it. The heartbeat renews the add-on's Lease
while the agent is healthy.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from federation.api.dataset import Dataset
from federation.api.kubernetes.capacity import Node, Pod
from federation.api.ocm.claims import ClusterClaim
from federation.kube.api import Api
from federation.kube.client import Client
from federation.kube.controller import Controller, Source
from federation.kube.kinds import CLUSTER_CLAIM, DATASET, NODE_CAPACITY, POD_REQUESTS
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, Resource
from federation.serving import serve
from spoke_agent.claims.ownership import cluster_role_owner
from spoke_agent.claims.reconciler import FIELD_MANAGER, SITE, ClaimReconciler, SiteView
from spoke_agent.claims.score_writer import ScoreWriter
from spoke_agent.collaborator.controllers import collaborator_parts
from spoke_agent.collaborator.planning.job import AgentLocation
from spoke_agent.config import Config
from spoke_agent.health import HealthInputs, Heartbeat, health_problems, stuck_watch
from spoke_agent.metrics import AgentMetrics

_KUBECONFIG_INTERVAL: Final = 2.0
"""Seconds between checks for the hub's kubeconfig: it is mounted from a Secret, and mounts send no event."""

_log = structlog.stdlib.get_logger(__name__)


async def run(config: Config) -> None:
    """Connect to the spoke, and run the agent and its HTTP server until cancelled."""
    hubs: list[Client] = []

    def connect_hub(kubeconfig: Path) -> Api:
        hubs.append(Client.from_kubeconfig(kubeconfig, field_manager=FIELD_MANAGER))
        return hubs[-1]

    spoke = (
        Client.in_cluster(field_manager=FIELD_MANAGER)
        if config.spoke_kubeconfig is None
        else Client.from_kubeconfig(config.spoke_kubeconfig, field_manager=FIELD_MANAGER)
    )
    agent = Agent(config, spoke, connect_hub, now=lambda: datetime.now(UTC))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(agent.run(), name="agent")
            tasks.create_task(
                serve(config.port, ready=agent.ready, healthy=agent.healthy, registry=agent.registry), name="http"
            )
    finally:
        for client in (spoke, *hubs):
            await client.close()


@dataclass(frozen=True, slots=True)
class _Watched:
    """Reflectors that more than the collaborators' controller needs."""

    datasets: Reflector[Dataset]
    claims: Reflector[ClusterClaim]
    nodes: Reflector[Node]
    pods: Reflector[Pod]

    def reflectors(self) -> tuple[Reflector[Any], ...]:
        return self.datasets, self.claims, self.nodes, self.pods

    def site_view(self) -> SiteView:
        return SiteView(
            datasets=self.datasets.store.values, claims=self.claims.store.values, nodes=self.nodes.store.values
        )


def _watch(spoke: Api, namespace: str, monotonic: Callable[[], float]) -> _Watched:
    return _Watched(
        datasets=Reflector(spoke, DATASET, namespace=namespace, clock=monotonic),
        claims=Reflector(spoke, CLUSTER_CLAIM, clock=monotonic),
        nodes=Reflector(spoke, NODE_CAPACITY, clock=monotonic),
        pods=Reflector(spoke, POD_REQUESTS, clock=monotonic),
    )


class Agent:
    """The agent's parts, between a spoke and a hub."""

    def __init__(
        self,
        config: Config,
        spoke: Api,
        connect_hub: Callable[[Path], Api],
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._connect_hub = connect_hub
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self.registry = CollectorRegistry()
        self._metrics = AgentMetrics(self.registry)
        self._watched = watched = _watch(spoke, config.namespace, monotonic)
        site = AgentLocation(config.cluster, config.namespace)
        self._collaborators = collaborator_parts(
            spoke, site, watched.datasets, now=now, metrics=self._metrics, monotonic=monotonic
        )
        self._reflectors = (*watched.reflectors(), *self._collaborators.reflectors)
        owner = cluster_role_owner(spoke, config.claim_owner)
        self._claims = ClaimReconciler(spoke, watched.site_view(), owner=owner, now=now, metrics=self._metrics)
        self._heartbeat = Heartbeat(
            spoke,
            config.namespace,
            config.identity,
            health_inputs=self.health_inputs,
            owner=owner,
            now=now,
            metrics=self._metrics,
        )

    async def run(self) -> None:
        """Run all parts until cancelled; if one fails, all end."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run(), name=f"reflector {reflector.kind.plural}")
            tasks.create_task(self._run_claims(), name="claims")
            tasks.create_task(self._run_scores(), name="scores")
            tasks.create_task(self._collaborators.controller.run(), name="collaborators")
            tasks.create_task(self._heartbeat.run(self._sleep), name="heartbeat")

    def health_inputs(self) -> HealthInputs:
        """Read the inputs of the health check now."""
        now = self._monotonic()
        return HealthInputs(
            silence={each.kind.plural: now - each.heard_at if each.synced else None for each in self._reflectors},
            claims_applied=self._claims.applied,
            hub_kubeconfig=self._config.hub_kubeconfig.is_file(),
        )

    def ready(self) -> str | None:
        """Return the problems that keep the agent from being ready; None if it is ready."""
        return "\n".join(health_problems(self.health_inputs())) or None

    def healthy(self) -> str | None:
        """Return why a restart is needed; None if it would not help."""
        return stuck_watch(self.health_inputs())

    async def _run_claims(self) -> None:
        watched = self._watched
        sources: list[Source[Any]] = [
            Source(reflector, _site) for reflector in (watched.datasets, watched.claims, watched.nodes)
        ]
        await self._run_controller(Controller("claims", self._claims.reconcile, sources, workers=1))

    async def _run_scores(self) -> None:
        while not self._config.hub_kubeconfig.is_file():
            await self._sleep(_KUBECONFIG_INTERVAL)
        _log.info("hub_kubeconfig_found")
        writer = ScoreWriter(
            self._connect_hub(self._config.hub_kubeconfig),
            self._config.cluster,
            nodes=self._watched.nodes.store.values,
            pods=self._watched.pods.store.values,
            now=self._now,
            metrics=self._metrics,
        )
        sources: list[Source[Any]] = [Source(self._watched.nodes, _site), Source(self._watched.pods, _site)]
        await self._run_controller(Controller("scores", writer.reconcile, sources, workers=1))

    async def _run_controller(self, controller: Controller) -> None:
        """Run the controller; enqueue the site first, since a cluster without any object has claims and scores too."""
        controller.enqueue(SITE)
        await controller.run()


def _site(_resource: Resource) -> tuple[ObjectKey, ...]:
    return (SITE,)
