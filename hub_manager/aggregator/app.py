"""The aggregator process of one run: the engine on its volume, the exchange, the run's status, probes and metrics.

The process may stop at any point and be restarted, because every decision is durable in the run's folder before any
peer learns of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import grpc
import structlog
from prometheus_client import CollectorRegistry

from federation.api.aggregator_run import EXCHANGE_PORT, HTTP_PORT, Cohort
from federation.rpc.policy import server_options
from federation.rpc.tls import server_credentials
from federation.serving import serve
from hub_manager.aggregator.cohort_watch import Take, follow_file
from hub_manager.aggregator.config import AggregatorConfig, AggregatorFolders
from hub_manager.aggregator.engine.driver import Driver, DriverCallbacks
from hub_manager.aggregator.engine.engine import open_engine
from hub_manager.aggregator.exchange.open_calls import OpenCalls
from hub_manager.aggregator.exchange.quotas import CallKind, ExchangeLimits, PeerQuotas
from hub_manager.aggregator.exchange.service import Exchange
from hub_manager.aggregator.exchange.status_codes import answer
from hub_manager.aggregator.reporting.reporter import Reporter
from hub_manager.aggregator.reporting.telemetry import AggregatorTelemetry
from hub_manager.aggregator.rounds.inputs import CohortReceived
from hub_manager.aggregator.rounds.state import State
from hub_manager.aggregator.storage.checkpoint import CheckpointStore
from hub_manager.aggregator.storage.initial_model import read_initial_model
from hub_manager.aggregator.validation.manifest import ModelLimits
from hub_manager.aggregator.validation.refusal import UpdateRefusal

Follow = Callable[[Take], Coroutine[None, None, None]]
"""Follows the cohort and passes on every change, until cancelled."""

COHORT_READ_SECONDS: Final = 1.0
"""Interval between two reads of the cohort's file."""
STUCK_SECONDS: Final = 300.0
"""Limit for one event, which normally writes and synchronises some hundred bytes in the journal."""
FAREWELL_SECONDS: Final = 20.0
"""Limit for sending the end of the run to the collaborators, and for writing the last status."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """Settings of the process; tests set other ports."""

    address: str = f"[::]:{EXCHANGE_PORT}"
    http_port: int = HTTP_PORT
    limits: ExchangeLimits = field(default_factory=ExchangeLimits)
    models: ModelLimits = field(default_factory=ModelLimits)
    cohort_read_seconds: float = COHORT_READ_SECONDS


class Aggregator:
    """The process of one run."""

    def __init__(
        self,
        config: AggregatorConfig,
        folders: AggregatorFolders,
        registry: CollectorRegistry,
        settings: AggregatorSettings | None = None,
    ) -> None:
        """Store the configuration; `run` opens the volume and the ports."""
        self._config = config
        self._folders = folders
        self._settings = settings or AggregatorSettings()
        self._telemetry = AggregatorTelemetry(registry)
        self._registry = registry
        self._calls = OpenCalls(self._settings.limits, clock=lambda: datetime.now(UTC))
        self._driver: Driver | None = None
        self._resumed = False
        self._unready: str | None = "the run's folder is being opened"
        self.started = asyncio.Event()
        """Set once the exchange serves collaborators."""
        self.port = 0
        """Port of the exchange, once `started` is set."""

    def ready(self) -> str | None:
        """Return the reason for which the exchange doesn't serve collaborators, or None if it does."""
        return self._unready

    def healthy(self) -> str | None:
        """Return an error if the volume has stopped responding; other errors that a restart may fix end the process."""
        if self._driver is None or self._driver.stuck_for() < STUCK_SECONDS:
            return None
        return f"the run's volume has not answered for {self._driver.stuck_for():.0f} s"

    async def run(
        self,
        reporter: Reporter | None = None,
        *,
        followed: Follow | None = None,
    ) -> State:
        """Serve the run until it has ended and all connected collaborators have received its end.

        Args:
            reporter: Writes the run's status; None without an API server.
            followed: Watches the cohort through the API server; None without one.

        Returns:
            The final state of the run.

        Raises:
            BaseExceptionGroup: The workspace's initial model is invalid (`ModelUnusable`), which is final. Or the
                volume failed, the certificate is invalid, or a port is in use; a restarted process then continues.
        """
        ended = asyncio.Event()
        report = self._reporting(reporter, ended)
        with ExitStack() as stack:
            async with asyncio.TaskGroup() as tasks:
                http = serve(self._settings.http_port, ready=self.ready, healthy=self.healthy, registry=self._registry)
                background = [tasks.create_task(http)]
                driver = self._driver = stack.enter_context(closing(await self._open()))
                report(driver.state)
                if reporter is not None:
                    background.append(tasks.create_task(reporter.run()))
                background += [
                    tasks.create_task(driver.run(self._callbacks(report))),
                    *self._follow(driver, followed, tasks),
                ]
                async with self._exchange_served(driver):
                    self.started.set()
                    await ended.wait()
                    await self._send_run_end(driver, reporter)
                for task in background:
                    task.cancel()
        return driver.state

    async def _open(self) -> Driver:
        """Open the engine in a thread: it reads whole models, and the probes must be answered meanwhile."""
        config = self._config

        def opened() -> Driver:
            self._resumed = (config.folder / "journal").exists()
            self._store_initial_model()
            now = datetime.now(UTC).timestamp()
            engine, initial_effects = open_engine(
                config.folder, config.run.id, config.parameters, config.aggregation, now
            )
            return Driver(engine, initial_effects, self._settings.models)

        return await asyncio.to_thread(opened)

    def _store_initial_model(self) -> None:
        """Store the workspace's initial model, if it has one and the run has not started.

        Raises:
            ModelUnusable: The initial model is invalid.
            OSError: The volume failed.
        """
        config = self._config
        if config.initial_model is None or (config.folder / "journal").exists():
            return
        manifest, source = read_initial_model(config.initial_model, self._settings.models)
        with closing(source):
            CheckpointStore(config.folder / "checkpoints", config.run.id).store_initial_model(manifest, source)

    def _reporting(self, reporter: Reporter | None, ended: asyncio.Event) -> Callable[[State], None]:
        """Return a callback that reports every new state, and sets `ended` with the last one."""

        def report(state: State) -> None:
            self._telemetry.run_seen(state)
            if reporter is not None:
                reporter.report(state)
            if state.ended is not None:
                ended.set()

        return report

    @asynccontextmanager
    async def _exchange_served(self, driver: Driver) -> AsyncIterator[None]:
        """Serve collaborators while the context is open."""
        server = await self._serve(driver)
        try:
            yield
        finally:
            self._unready = "the run is over"
            await server.stop(grace=1.0)

    async def _serve(self, driver: Driver) -> "grpc.aio.Server":
        exchange = Exchange(
            self._config.run.id, driver, self._calls, PeerQuotas(self._settings.limits), self._telemetry
        )
        server = grpc.aio.server(options=server_options())
        server.add_generic_rpc_handlers((exchange.handler(),))
        credentials = server_credentials(self._folders.files, reloaded=self._telemetry.certificate_shown)
        self.port = server.add_secure_port(self._settings.address, credentials)
        await server.start()
        self._unready = None
        _log.info("exchange_served", run=self._config.run.id, port=self.port, cohort=self._config.parameters.cohort)
        return server

    def _callbacks(self, report: Callable[[State], None]) -> DriverCallbacks:
        return DriverCallbacks(
            cut_peer=lambda peer, refusal: self._cut(peer, refusal, None),
            cut_upload=lambda peer, refusal: self._cut(peer, refusal, CallKind.UPLOAD),
            report=report,
            folded=self._telemetry.folded,
        )

    def _cut(self, peer: str, refusal: UpdateRefusal, kind: CallKind | None) -> None:
        calls = self._calls.cut(peer, answer(refusal), kind)
        if calls:
            _log.warning("collaborator_cut", cluster=peer, reason=refusal.reason.value, calls=calls)

    def _follow(
        self, driver: Driver, followed: Follow | None, tasks: asyncio.TaskGroup
    ) -> Iterator["asyncio.Task[None]"]:
        """Start the watches of the cohort, which submit every change to the engine once."""

        def take(cohort: Cohort) -> None:
            if cohort.generation > driver.state.generation:
                driver.submit(CohortReceived(cohort))

        yield tasks.create_task(follow_file(self._folders, take, self._settings.cohort_read_seconds))
        if followed is not None:
            yield tasks.create_task(followed(take))

    async def _send_run_end(self, driver: Driver, reporter: Reporter | None) -> None:
        """Wait until the collaborators have received the end of the run, and the last status is written."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                if self._resumed:
                    # Collaborators of the previous process are still reconnecting, and would otherwise retry in vain.
                    await driver.wait_for_members()
                await self._calls.wait_until_closed(CallKind.WORK)
        except TimeoutError:
            _log.warning("farewell_cut_short", clusters=sorted(self._calls.peers()))
        if reporter is not None and not await reporter.written(FAREWELL_SECONDS):
            _log.error("last_status_not_written")
