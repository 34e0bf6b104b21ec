"""Entry point `python -m hub_manager.aggregator`: serve one run until it is over or the pod is stopped."""

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
from hub_manager.aggregator.config import CONFIG_ERROR, AggregatorFolders, ConfigError, read_config, read_run
from hub_manager.aggregator.reporting.reporter import FIELD_MANAGER, Reporter, report_unusable
from hub_manager.aggregator.rounds.state import State
from hub_manager.aggregator.storage.initial_model import MODEL_UNUSABLE, ModelUnusable

_log = structlog.stdlib.get_logger(__name__)


async def run(folders: AggregatorFolders) -> State | None:
    """Run the aggregator until the run is over; return None if it can't start and its status shows the reason.

    Raises:
        ConfigError: `run.json` is missing or invalid, so that the aggregator can't set a status.
        MaterialRefused: The certificate is invalid.
        KubeError: The status of a run that can't start was not written; alone or in a group.
        BaseExceptionGroup: See `Aggregator.run`.
    """
    aggregator_run = read_run(folders)
    async with Client.in_cluster(field_manager=FIELD_MANAGER) as api:
        return await run_once(api, aggregator_run, folders, AggregatorSettings())


async def run_once(
    api: Api, aggregator_run: AggregatorRun, folders: AggregatorFolders, settings: AggregatorSettings
) -> State | None:
    """Run the aggregator for a run whose `run.json` is valid; see `run`.

    Raises:
        KubeError: The status of a run that can't start was not written; alone or in a group.
        BaseExceptionGroup: See `Aggregator.run`.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    reporter = Reporter(api, aggregator_run, clock=lambda: datetime.now(UTC))
    try:
        config = await asyncio.to_thread(read_config, folders)
        aggregator = Aggregator(config, folders, registry, settings)
        return await aggregator.run(reporter, followed=partial(follow_server, api, aggregator_run))
    except* (ConfigError, ModelUnusable) as unusable:
        error = unusable.exceptions[0]
        _log.error("run_unusable", error=str(error))  # a traceback adds nothing
        reason = CONFIG_ERROR if isinstance(error, ConfigError) else MODEL_UNUSABLE
        await report_unusable(api, aggregator_run, reason, str(error))
    return None


def _exit_status(state: State | None) -> int:
    if state is None or state.ended is None:
        return GIVEN_UP
    failure = state.ended.failure
    _log.info("run_ended", failure=None if failure is None else failure.value, message=state.ended.message)
    return 0 if failure is None else GIVEN_UP


def main() -> int:
    """Run the aggregator and return its exit code.

    0: the run is completed. `GIVEN_UP`: the run failed for good. 1: the process was stopped, or failed in a way that
    a restart may fix, so the Job must start a new pod.
    """
    configure_logging()
    os.umask(0o077)
    try:
        return _exit_status(asyncio.run(run_until_stopped(run(AggregatorFolders()))))
    except Stopped:
        _log.info("stopped")
    except ConfigError as error:
        _log.error("start_refused", error=str(error))  # a traceback adds nothing
    except Exception:  # noqa: BLE001 - log any error; a new process continues from the volume
        _log.exception("ended")
    return 1


if __name__ == "__main__":
    sys.exit(main())
