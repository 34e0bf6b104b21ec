"""`python -m hub_manager`: reads the environment, connects, and runs until it is told to stop or loses the Lease."""

import asyncio
import os
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from federation.environment import ConfigError
from federation.kube.client import Client
from federation.kube.lease import Leadership
from federation.kube.resource import ObjectKey
from federation.logging import configure_logging
from federation.serving import serve
from hub_manager.addon.reconciler import FIELD_MANAGER
from hub_manager.addon.templates import BrokenTemplate
from hub_manager.app import Hub, further_parts
from hub_manager.config import HubManagerConfig, config_from

LEASE_NAME: Final = "federated-learning-hub-manager"

_log = structlog.stdlib.get_logger(__name__)


async def run(config: HubManagerConfig) -> None:
    """Runs the hub manager until cancelled.

    Raises:
        BrokenTemplate: The image's templates can't be read.
        BaseExceptionGroup: A part ended; LeadershipLost is in it where the Lease was lost.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(_connect(config))
        hub = Hub(config, api, now=lambda: datetime.now(UTC), further=further_parts(config, api, registry))
        # A pod's name outlives its container: a second life under it must not take the first one's Lease for its own.
        identity = f"{config.identity}-{secrets.token_hex(4)}"
        leadership = Leadership(api, ObjectKey(config.namespace, LEASE_NAME), identity)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(config.port, ready=hub.ready, healthy=hub.healthy, registry=registry))
            tasks.create_task(hub.run(leadership.run))


def _connect(config: HubManagerConfig) -> Client:
    if config.kubeconfig is not None:
        return Client.from_kubeconfig(config.kubeconfig, field_manager=FIELD_MANAGER)
    return Client.in_cluster(field_manager=FIELD_MANAGER)


async def _until_told_to_stop(config: HubManagerConfig) -> None:
    running = asyncio.create_task(run(config))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        _log.info("stopped")


def main() -> int:
    """The exit status: 0 when told to stop, 2 for settings that can't be used, 1 for anything else."""
    configure_logging()
    try:
        config = config_from(os.environ)
    except ConfigError as error:
        _log.error("settings_refused", error=str(error))  # the message is the whole of it
        return 2
    configure_logging(config.log_level)
    try:
        asyncio.run(_until_told_to_stop(config))
    except BrokenTemplate as error:
        _log.error("templates_refused", error=str(error))  # the message is the whole of it
        return 2
    except Exception:  # noqa: BLE001 - the process ends, whatever it was; a new one starts from nothing
        _log.exception("ended")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
