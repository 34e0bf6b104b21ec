"""`python -m spoke_agent`: the agent as its Deployment starts it."""

import asyncio
import os
import signal
import sys
from typing import Final

import structlog

from federation.environment import ConfigError
from federation.logging import configure_logging
from spoke_agent.app import run
from spoke_agent.config import Config, config_from

FAILED: Final = 1
UNUSABLE_SETTINGS: Final = 2
"""Exit status; a restart alone does not help."""


async def run_until_stopped(config: Config) -> None:
    """Run the agent until the kubelet stops it (SIGTERM), which is a clean end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            agent = tasks.create_task(run(config), name="agent")
            await stop.wait()
            agent.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def main() -> int:
    """Start the agent and return the exit status of the process."""
    configure_logging()
    log = structlog.stdlib.get_logger("spoke_agent")
    try:
        config = config_from(os.environ)
    except ConfigError as error:
        log.error("settings_refused", error=str(error))  # noqa: TRY400 - the message is complete without a traceback
        return UNUSABLE_SETTINGS
    configure_logging(config.log_level)
    log.info("agent_started", cluster=config.cluster, namespace=config.namespace)
    try:
        asyncio.run(run_until_stopped(config))
    except ExceptionGroup:
        log.exception("agent_failed")
        return FAILED
    log.info("agent_stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
