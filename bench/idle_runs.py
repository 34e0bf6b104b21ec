"""What the hub manager's resync of idle runs costs: CPU seconds of one whole sweep, and how many writes.

`python -m bench.idle_runs [--runs N]`. The runs' own reconciler on its own stores, filled from the API in memory: a
sweep that writes nothing asks the API server for nothing, so this is all there is to it. The runs are spread over hubs
of twenty, because the API in memory looks through everything for each write; a run is read by index, whatever else
there is. The controller sweeps once every 600 s.
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
    """Some runs at rest, and the hub that they are on."""

    world: RunWorld
    keys: Sequence[ObjectKey]

    async def sweep(self) -> int:
        """Every run once, as the controller does it; how many writes that made."""
        before = len(self.world.api.calls)
        for key in self.keys:
            await self.world.reconciler.reconcile(key)
        return len(self.world.api.calls) - before


async def hub_of(runs: int, *, selected: tuple[str, ...]) -> Hub:
    """A hub with so many runs, each with these clusters for its Placement."""
    keys = [ObjectKey("default", f"run-{number:04}") for number in range(runs)]
    world = clusters(RunWorld(selected={f"{key.namespace}/{key.name}": selected for key in keys}), "c1", "c2")
    for key in keys:
        await world.submit(run_json(key.name, key.namespace))
    await world.settle(*keys)
    return Hub(world, keys)


async def completed(runs: int) -> Hub:
    """Runs that were trained to the end."""
    hub = await hub_of(runs, selected=("c1", "c2"))
    for key in hub.keys:
        hub.world.set_job(key=key, ready=1, active=1)
    await hub.world.settle(*hub.keys)
    for key in hub.keys:
        hub.world.set_job("Complete", key=key, succeeded=1)
    await hub.world.settle(*hub.keys)
    return hub


async def waiting(runs: int) -> Hub:
    """Runs for which no cluster is selected."""
    return await hub_of(runs, selected=())


async def show(phase: str, made: Callable[[int], Awaitable[Hub]], runs: int) -> None:
    """Prints the least of three sweeps."""
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
    """Prints a line for each phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=500)
    requested_from = parser.parse_args()
    configure_logging("error")
    await show("Completed", completed, requested_from.runs)
    await show("Waiting", waiting, requested_from.runs)


if __name__ == "__main__":
    asyncio.run(main())
