"""The hub manager as a whole: the one place that puts its parts together.

Every replica serves its probes and metrics; the parts run in the one that holds the Lease. What ends one of them, or
the Lease's loss, ends the process. The connection and the election are handed in, so that tests run the whole of it
against an API server in memory.
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
from hub_manager.addon.controllers import AddonReflectors, addon_controllers, bundle_is_everywhere, watch_addons
from hub_manager.addon.plan import Settings
from hub_manager.addon.templates import load_templates
from hub_manager.certificates import controllers as certificates
from hub_manager.certificates.authority import Schedule
from hub_manager.certificates.issuing import Life
from hub_manager.certificates.settings import CertificateSettings, schedule_for
from hub_manager.certificates.telling import certificate_metrics
from hub_manager.certificates.trust import Trust
from hub_manager.config import SHORTEST_CERTIFICATE, Config
from hub_manager.federated_learning import controllers as runs
from hub_manager.federated_learning.dependencies import RunDependencies
from hub_manager.federated_learning.observation.observer import SharedReflectors
from hub_manager.federated_learning.resources.certificate import Authority

SILENCE_LIMIT: Final = 900.0
"""Seconds: a watch lasts ten minutes at the most and sends a bookmark a minute, so that this is no quiet server."""

_log = structlog.stdlib.get_logger(__name__)


class Part(Protocol):
    """Something that runs for ever: a reflector, a controller, a rotation."""

    async def run(self) -> None:
        """Runs until cancelled; an error ends the process."""
        ...


FurtherParts = Callable[[AddonReflectors], Sequence[Part]]
"""Makes the parts beside the add-on's own, on the same reflectors of clusters and add-ons; called once per process."""


def further_parts(
    config: Config, api: Api, registry: CollectorRegistry, *, schedule: Schedule | None = None
) -> FurtherParts:
    """The certificates' part and the runs', on what the add-on's part watches.

    Args:
        config: What the administrator has set.
        api: The hub's API server.
        registry: Takes the parts' metrics.
        schedule: When authorities follow one another; fitted to the life of certificates where none is given.
    """
    settings = CertificateSettings(
        namespace=config.namespace,
        brought_secret=config.authority_secret,
        life=Life(longest=config.certificate_lifetime, shortest=min(SHORTEST_CERTIFICATE, config.certificate_lifetime)),
        schedule=schedule or schedule_for(config.certificate_lifetime),
    )
    metrics = certificate_metrics(registry)

    def parts(watched: AddonReflectors) -> Sequence[Part]:
        around = certificates.Surroundings(
            clusters=watched.clusters,
            addons=watched.addons,
            fleets=watched.fleets,
            config_maps=watched.bundles,
            carriers=(watched.works,),
            spread=lambda bundle: bundle_is_everywhere(watched, bundle),
        )
        made = certificates.certificate_parts(api, around, settings, metrics, clock=_now)
        beside = SharedReflectors(clusters=watched.clusters, addons=watched.addons, bundles=watched.bundles)
        dependencies = _run_dependencies(made.trust, settings.life.longest)
        own = runs.run_parts(api, beside, config.runs, dependencies, registry, authority_known=made.trust.subscribe)
        return (*made.parts, *own)

    return parts


def _run_dependencies(trust: Trust, longest: timedelta) -> RunDependencies:
    """What the runs' part has from outside: aggregators are certified by the authority that signs for sites."""

    def authority() -> Authority | None:
        state = trust.authority()
        return None if state is None else Authority(state.current, trust.bundle(), longest)

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
        config: Config,
        api: Api,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        further: FurtherParts = lambda _reflectors: (),
    ) -> None:
        """Reads the templates and makes the parts; nothing runs yet. Raises BrokenTemplate."""
        settings = Settings(templates=load_templates(config.templates), image=config.agent_image)
        reflectors = watch_addons(api, config.namespace)
        controllers = addon_controllers(api, reflectors, settings, namespace=config.namespace, now=now)
        self._parts: tuple[Part, ...] = (*reflectors, *controllers, *further(reflectors))
        self._watched: tuple[Reflector[Any], ...] = tuple(p for p in self._parts if isinstance(p, Reflector))
        self._monotonic = monotonic
        self._leading_since: float | None = None

    async def lead(self) -> None:
        """Does the manager's work for ever; only the holder of the Lease may call it, and only once."""
        self._leading_since = self._monotonic()
        _log.info("leadership_begun", parts=len(self._parts))
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts:
                tasks.create_task(part.run())

    async def run(self, elect: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        """Waits for the Lease, then leads.

        Args:
            elect: Calls what it is given while it holds the Lease, and raises when it loses it.
        """
        await elect(self.lead)

    def ready(self) -> str | None:
        """What keeps this replica from its work; one that waits for the Lease is ready to take over."""
        if self._leading_since is None:
            return None
        unsynced: list[str] = [reflector.kind.plural for reflector in self._watched if not reflector.synced]
        return f"not seen yet: {', '.join(unsynced)}" if unsynced else None

    def healthy(self) -> str | None:
        """A watch that has gone silent, which a new connection may mend; all else ends the process by its own error."""
        if self._leading_since is None:
            return None
        oldest = self._monotonic() - SILENCE_LIMIT
        silent = [r.kind.plural for r in self._watched if max(r.heard_at, self._leading_since) < oldest]
        return f"not heard of for {SILENCE_LIMIT:.0f} s: {', '.join(silent)}" if silent else None
