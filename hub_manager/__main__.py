"""`python -m hub_manager`: read the environment, connect, and run until a signal stops it or the Lease is lost."""

import asyncio
import os
import secrets
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
from federation.process import Stopped, run_until_stopped
from federation.serving import serve
from hub_manager.addon.planning.templates import BrokenTemplate
from hub_manager.addon.reconciler import FIELD_MANAGER
from hub_manager.app import Hub, further_parts
from hub_manager.config import HubManagerConfig, config_from

LEASE_NAME: Final = "federated-learning-hub-manager"

_log = structlog.stdlib.get_logger(__name__)


async def run(config: HubManagerConfig) -> None:
    """Run the hub manager until cancelled.

    Raises:
        BrokenTemplate: The image's templates can't be read.
        BaseExceptionGroup: A part ended; it contains LeadershipLost if the Lease was lost.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(_connect(config))
        hub = Hub(config, api, now=lambda: datetime.now(UTC), further=further_parts(config, api, registry))
        # A restarted container has the same pod name, and must not take the Lease of its predecessor for its own.
        identity = f"{config.identity}-{secrets.token_hex(4)}"
        leadership = Leadership(api, ObjectKey(config.namespace, LEASE_NAME), identity)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(config.port, ready=hub.ready, healthy=hub.healthy, registry=registry))
            tasks.create_task(hub.run(leadership.run))


def _connect(config: HubManagerConfig) -> Client:
    if config.kubeconfig is not None:
        return Client.from_kubeconfig(config.kubeconfig, field_manager=FIELD_MANAGER)
    return Client.in_cluster(field_manager=FIELD_MANAGER)


def main() -> int:
    """Run the hub manager; return 0 after a stop signal, 2 for invalid settings or templates, 1 for other errors."""
    configure_logging()
    try:
        config = config_from(os.environ)
    except ConfigError as error:
        _log.error("settings_refused", error=str(error))  # the message suffices; a traceback adds nothing
        return 2
    configure_logging(config.log_level)
    try:
        asyncio.run(run_until_stopped(run(config)))
    except Stopped:
        _log.info("stopped")
    except BrokenTemplate as error:
        _log.error("templates_refused", error=str(error))  # the message suffices; a traceback adds nothing
        return 2
    except Exception:  # noqa: BLE001 - any error ends the process; a new one starts from the API server's state
        _log.exception("ended")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
