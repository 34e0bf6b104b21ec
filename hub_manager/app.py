"""The hub manager's composition root.

Every replica serves its probes and metrics; the parts run only in the replica that holds the Lease. The end of a part
or the loss of the Lease ends the process. The connection and the election are arguments, so that tests run the whole
hub manager against an API server in memory.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from federation.kube.api import Api
from federation.kube.reflector import Reflector
from hub_manager.addon.controllers import AddOnReflectors, addon_controllers, is_bundle_rolled_out, watch_addons
from hub_manager.addon.planning.plan import AddOnSettings
from hub_manager.addon.planning.templates import load_templates
from hub_manager.certificates import controllers as certificates
from hub_manager.certificates.decision_recorder import certificate_metrics
from hub_manager.certificates.settings import CertificateSettings, schedule_for
from hub_manager.certificates.signer.authority import AuthoritySchedule
from hub_manager.certificates.signer.issuing import CertificateLifetime
from hub_manager.certificates.trust import Trust
from hub_manager.config import SHORTEST_CERTIFICATE, HubManagerConfig
from hub_manager.federated_learning import controllers as runs
from hub_manager.federated_learning.dependencies import RunDependencies
from hub_manager.federated_learning.observation.observer import SharedReflectors
from hub_manager.federated_learning.resources.certificate import AggregatorAuthority

SILENCE_LIMIT: Final = 900.0
"""Seconds; a watch lasts at most ten minutes and receives a bookmark each minute, so longer silence is a failure."""

_log = structlog.stdlib.get_logger(__name__)


class Part(Protocol):
    """A reflector, a controller or another task that runs until cancelled."""

    async def run(self) -> None:
        """Run until cancelled; an error ends the process."""
        ...


FurtherParts = Callable[[AddOnReflectors], Sequence[Part]]
"""Creates the parts besides the add-on's, which share its reflectors; called once per process."""


def further_parts(
    config: HubManagerConfig, api: Api, registry: CollectorRegistry, *, schedule: AuthoritySchedule | None = None
) -> FurtherParts:
    """Create the parts of the certificates and of the runs, on the add-on's reflectors.

    Args:
        config: The administrator's settings.
        api: The hub's API server.
        registry: The registry of the parts' metrics.
        schedule: The rotation schedule; derived from the certificates' lifetime by default.
    """
    settings = CertificateSettings(
        namespace=config.namespace,
        provided_ca_secret=config.authority_secret,
        lifetime=CertificateLifetime(
            longest=config.certificate_lifetime, shortest=min(SHORTEST_CERTIFICATE, config.certificate_lifetime)
        ),
        schedule=schedule or schedule_for(config.certificate_lifetime),
    )
    metrics = certificate_metrics(registry)

    def parts(watched: AddOnReflectors) -> Sequence[Part]:
        shared = certificates.CertificateInputs(
            clusters=watched.clusters,
            addons=watched.addons,
            cluster_management_addons=watched.cluster_management_addons,
            config_maps=watched.bundles,
            rollout_sources=(watched.works,),
            is_rolled_out=lambda bundle: is_bundle_rolled_out(watched, bundle),
        )
        certificate_parts = certificates.certificate_parts(api, shared, settings, metrics, clock=_now)
        run_reflectors = SharedReflectors(clusters=watched.clusters, addons=watched.addons, bundles=watched.bundles)
        dependencies = _run_dependencies(certificate_parts.trust, settings.lifetime.longest)
        run_parts = runs.run_parts(
            api, run_reflectors, config.runs, dependencies, registry, authority_known=certificate_parts.trust.subscribe
        )
        return (*certificate_parts.parts, *run_parts)

    return parts


def _run_dependencies(trust: Trust, longest: timedelta) -> RunDependencies:
    """Return the dependencies of the runs; the authority of the sites also certifies aggregators."""

    def authority() -> AggregatorAuthority | None:
        state = trust.authority()
        return None if state is None else AggregatorAuthority(state.current, trust.bundle(), longest)

    return RunDependencies(
        now=_now,
        serial=certificates.RANDOM.serial,
        authority=authority,
        new_key=lambda: ec.generate_private_key(ec.SECP256R1()),
    )


def _now() -> datetime:
    return datetime.now(UTC)


class Hub:
    """The hub manager's parts on one API server."""

    def __init__(
        self,
        config: HubManagerConfig,
        api: Api,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        further: FurtherParts = lambda _reflectors: (),
    ) -> None:
        """Load the templates and create the parts; nothing runs yet. Raises BrokenTemplate."""
        settings = AddOnSettings(templates=load_templates(config.templates), image=config.agent_image)
        reflectors = watch_addons(api, config.namespace)
        controllers = addon_controllers(api, reflectors, settings, namespace=config.namespace, now=now)
        self._parts: tuple[Part, ...] = (*reflectors, *controllers, *further(reflectors))
        self._watched: tuple[Reflector[Any], ...] = tuple(p for p in self._parts if isinstance(p, Reflector))
        self._monotonic = monotonic
        self._leading_since: float | None = None

    async def lead(self) -> None:
        """Run the parts until cancelled; only the holder of the Lease may call this, once."""
        self._leading_since = self._monotonic()
        _log.info("leadership_begun", parts=len(self._parts))
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts:
                tasks.create_task(part.run())

    async def run(self, elect: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        """Wait for the Lease, then lead.

        Args:
            elect: Calls its argument while it holds the Lease, and raises when it loses the Lease.
        """
        await elect(self.lead)

    def ready(self) -> str | None:
        """Return why this replica is not ready, or None; one that waits for the Lease is ready to take over."""
        if self._leading_since is None:
            return None
        unsynced: list[str] = [reflector.kind.plural for reflector in self._watched if not reflector.synced]
        return f"not synced yet: {', '.join(unsynced)}" if unsynced else None

    def healthy(self) -> str | None:
        """Return which watches are silent, or None; a restart opens new ones."""
        if self._leading_since is None:
            return None
        oldest = self._monotonic() - SILENCE_LIMIT
        silent = [r.kind.plural for r in self._watched if max(r.heard_at, self._leading_since) < oldest]
        return f"no events for {SILENCE_LIMIT:.0f} s: {', '.join(silent)}" if silent else None
