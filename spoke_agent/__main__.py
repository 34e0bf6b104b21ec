"""`python -m spoke_agent`: the agent as its Deployment starts it."""

import asyncio
import os
import sys
from typing import Final

import structlog

from federation.environment import ConfigError
from federation.logging import configure_logging
from federation.process import Stopped, run_until_stopped
from spoke_agent.app import run
from spoke_agent.config import config_from

FAILED: Final = 1
UNUSABLE_SETTINGS: Final = 2
"""Exit status; a restart alone does not help."""


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
        asyncio.run(run_until_stopped(run(config)))
    except Stopped:
        pass
    except Exception:
        log.exception("agent_failed")
        return FAILED
    log.info("agent_stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
