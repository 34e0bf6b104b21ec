"""`python -m hub_manager.aggregator`: one run's aggregator, until the run is over or the pod is stopped."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from federation.api.aggregator_run import GIVEN_UP, AggregatorRun
from federation.kube.api import Api
from federation.kube.client import Client
from federation.logging import configure_logging
from federation.process import Stopped, run_until_stopped
from hub_manager.aggregator.app import Aggregator, AggregatorSettings
from hub_manager.aggregator.cohort_watch import follow_server
from hub_manager.aggregator.config import AggregatorFolders, ConfigError, read_config, read_run
from hub_manager.aggregator.reporting.reporter import FIELD_MANAGER, Reporter, report_unusable
from hub_manager.aggregator.rounds.state import State
from hub_manager.aggregator.storage.initial_model import ModelUnusable

_log = structlog.stdlib.get_logger(__name__)


async def run(folders: AggregatorFolders) -> State | None:
    """Runs the aggregator to the end of its run; None for a run that can't begin, as its status says now.

    Raises:
        ConfigError: Not even `run.json` can be understood.
        MaterialRefused: The certificate can't be used.
        KubeError: The API server can't be told that the run can't begin; alone or in a group.
        BaseExceptionGroup: See `Aggregator.run`.
    """
    reported = read_run(folders)
    async with Client.in_cluster(field_manager=FIELD_MANAGER) as api:
        return await run_once(api, reported, folders, AggregatorSettings())


async def run_once(
    api: Api, reported: AggregatorRun, folders: AggregatorFolders, settings: AggregatorSettings
) -> State | None:
    """The same, of a run that can be told about.

    Raises:
        KubeError: The API server can't be told that the run can't begin; alone or in a group.
        BaseExceptionGroup: See `Aggregator.run`.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    reporter = Reporter(api, reported, clock=lambda: datetime.now(UTC))
    try:
        config = await asyncio.to_thread(read_config, folders)
        aggregator = Aggregator(config, folders, registry, settings)
        return await aggregator.run(reporter, followed=partial(follow_server, api, reported))
    except* (ConfigError, ModelUnusable) as unusable:
        error = unusable.exceptions[0]
        _log.error("run_unusable", error=str(error))  # the message is the whole of it
        await report_unusable(api, reported, type(error).__name__, str(error))
    return None


def _exit_status(state: State | None) -> int:
    if state is None or state.ended is None:
        return GIVEN_UP
    failure = state.ended.failure
    _log.info("run_ended", failure=None if failure is None else failure.value, message=state.ended.message)
    return 0 if failure is None else GIVEN_UP


def main() -> int:
    """The exit status.

    0 when the run is completed; `GIVEN_UP` when it can't be; 1 for what a successor may get past, a stop among it: the
    Job has to start one.
    """
    configure_logging()
    os.umask(0o077)
    try:
        return _exit_status(asyncio.run(run_until_stopped(run(AggregatorFolders()))))
    except Stopped:
        _log.info("stopped")
    except ConfigError as error:
        _log.error("start_refused", error=str(error))  # the message is the whole of it
    except Exception:  # noqa: BLE001 - the process ends, whatever it was; a new one goes on from the volume
        _log.exception("ended")
    return 1


if __name__ == "__main__":
    sys.exit(main())
