"""Run the hub's aggregator as a process without an API server: `python -m bench.aggregator_process FOLDER`.

The folder has the layout of `tests.support.exchange.aggregator_runs.Pod`. The process writes the port to standard
output once it serves collaborators. Everything else is as in `hub_manager.aggregator.__main__`.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from federation.logging import configure_logging
from hub_manager.aggregator.app import Aggregator, AggregatorSettings
from hub_manager.aggregator.config import AggregatorFolders, read_config

LINGER_SECONDS = 5.0
"""Wait after the run's end, so that the benchmark can measure this process a last time."""


def main() -> None:
    """Serve the run until it ends."""
    configure_logging("warning", stream=sys.stderr)
    os.umask(0o077)
    folder = Path(sys.argv[1])
    folders = AggregatorFolders(folder / "run", folder / "desk" / "aggregator", folder / "workspace")
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    aggregator = Aggregator(read_config(folders), folders, registry, AggregatorSettings("127.0.0.1:0", 0))
    asyncio.run(_run(aggregator))
    time.sleep(LINGER_SECONDS)


async def _run(aggregator: Aggregator) -> None:
    """Run the aggregator, and print its port once it serves."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(aggregator.run())
        await aggregator.started.wait()
        print(aggregator.port, flush=True)


if __name__ == "__main__":
    main()
