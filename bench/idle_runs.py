"""Measure the hub manager's resync of idle runs: CPU seconds and writes of one whole sweep.

`python -m bench.idle_runs [--runs N]`. The runs' own reconciler on its own stores, filled from the API in memory: a
sweep without writes sends no request to the API server, so the measurement is complete. The runs are spread over hubs
of twenty, because the API in memory scans all objects for each write; reading a run uses an index. The
controller sweeps once every 600 s.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from federation.kube.resource import ObjectKey
from federation.logging import configure_logging
from tests.support.builders.run_objects import run_json
from tests.support.fakes.run_world import RunWorld, clusters

RESYNC_SECONDS = 600.0
TRIES = 3
A_HUB = 20


@dataclass(frozen=True)
class Hub:
    """Idle runs and their hub."""

    world: RunWorld
    keys: Sequence[ObjectKey]

    async def sweep(self) -> int:
        """Reconcile every run once, as the controller does; return the number of writes."""
        before = len(self.world.api.calls)
        for key in self.keys:
            await self.world.reconciler.reconcile(key)
        return len(self.world.api.calls) - before


async def hub_of(runs: int, *, selected: tuple[str, ...]) -> Hub:
    """Create a hub with this number of runs, each with these clusters for its Placement."""
    keys = [ObjectKey("default", f"run-{number:04}") for number in range(runs)]
    world = clusters(RunWorld(selected={f"{key.namespace}/{key.name}": selected for key in keys}), "c1", "c2")
    for key in keys:
        await world.submit(run_json(key.name, key.namespace))
    await world.settle(*keys)
    return Hub(world, keys)


async def completed(runs: int) -> Hub:
    """Create completed runs."""
    hub = await hub_of(runs, selected=("c1", "c2"))
    for key in hub.keys:
        hub.world.set_job(key=key, ready=1, active=1)
    await hub.world.settle(*hub.keys)
    for key in hub.keys:
        hub.world.set_job("Complete", key=key, succeeded=1)
    await hub.world.settle(*hub.keys)
    return hub


async def waiting(runs: int) -> Hub:
    """Create runs without a selected cluster."""
    return await hub_of(runs, selected=())


async def show(phase: str, made: Callable[[int], Awaitable[Hub]], runs: int) -> None:
    """Print the fastest of three sweeps."""
    hubs = [await made(min(A_HUB, runs - begin)) for begin in range(0, runs, A_HUB)]
    found = {hub.world.run(key).status.phase for hub in hubs for key in hub.keys}
    if found != {phase}:
        raise SystemExit(f"the runs are {found}, not {phase}")
    seconds, writes = [], 0
    for _ in range(TRIES):
        began = time.process_time()
        writes += sum([await hub.sweep() for hub in hubs])
        seconds.append(time.process_time() - began)
    least = min(seconds)
    share = least / RESYNC_SECONDS
    print(f"{runs} runs {phase}: {least:.2f} CPU s a sweep, {writes} writes; {share:.3%} of a core in the long run")


async def main() -> None:
    """Print a line for each phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=500)
    requested_from = parser.parse_args()
    configure_logging("error")
    await show("Completed", completed, requested_from.runs)
    await show("Waiting", waiting, requested_from.runs)


if __name__ == "__main__":
    asyncio.run(main())
