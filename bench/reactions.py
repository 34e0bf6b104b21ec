"""Measure the delay of reactions between hub and sites, on a fleet with the add-on enabled.

The delays are: from publishing or withdrawing a Dataset to the decision of a Placement on the hub; from submitting a
run to its first round; from a site's failure to its file and line in the run's status; from disabling a cluster to the
end of its stream. Each is polled at least twice a second.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from demo import digits, images, install
from fleet import lifecycle
from fleet.fleet import Fleet
from fleet.layout import HUB, default_layout
from fleet.waiting import until
from tests.support.builders.placements import NAMESPACE, asks_for, binding, dataset, placement, selected
from tests.support.builders.workspaces import BROKEN_IN_TRAINING, with_missing_import
from tests.support.fleet.fleet_runs import TERMS, FleetRun

RUNS = 10


def _say(what: str, seconds: list[float]) -> None:
    sys.stdout.write(f"{what:<60} {statistics.median(seconds):5.1f} s, at most {max(seconds):5.1f} ({len(seconds)})\n")


async def _seconds(act: Callable[[], Awaitable[object]], holds: Callable[[], Awaitable[bool]], what: str) -> float:
    """Delay from the end of an action to its effect."""
    await act()
    since = time.monotonic()
    await until(holds, what)
    return time.monotonic() - since


async def _datasets(fleet: Fleet) -> None:
    holder, body = fleet.spokes[0], json.dumps(dataset("measured"))
    await fleet.kubectl(HUB, "create", "namespace", NAMESPACE)
    requested_from = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [binding(), placement("all", predicates=asks_for("measured"))],
    }
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(requested_from))

    async def chosen() -> bool:
        return await selected(fleet, "all") == [holder]

    async def left() -> bool:
        return not await chosen()

    def kubectl(verb: str) -> Callable[[], Awaitable[object]]:
        return lambda: fleet.kubectl(holder, verb, "-f", "-", stdin=body)

    try:
        rows = [
            (await _seconds(kubectl("apply"), chosen, "chosen"), await _seconds(kubectl("delete"), left, "left"))
            for _ in range(RUNS)
        ]
    finally:
        await fleet.kubectl(HUB, "delete", "namespace", NAMESPACE)
    for what, column in zip(("published", "withdrawn"), zip(*rows, strict=True), strict=True):
        _say(f"a Dataset {what}, until a Placement has decided", list(column))


async def _failure(fleet: Fleet, folder: Path) -> None:
    workspace, line = with_missing_import(folder, BROKEN_IN_TRAINING)
    image = await images.build_digits(fleet.layout, workspace)
    await fleet.load_image(image)
    run = FleetRun(fleet, "digits-measured-error")

    async def reported() -> bool:
        clusters = (await run.status()).get("clusters", ())
        return any(f"src/taskrunner.py:{line}" in each.get("lastError", "") for each in clusters)

    async def opened() -> None:
        await run.submit(image.reference)
        await run.in_round(1)

    _say("a site's failure after the first round is open, until told", [await _seconds(opened, reported, "told")])
    await run.delete()


async def _stream(fleet: Fleet) -> None:
    image = await digits.load_collaborator(fleet)
    run, leaves = FleetRun(fleet, "digits-measured"), fleet.spokes[1]

    async def opened() -> bool:
        return bool((await run.status()).get("round", 0) >= 1)

    async def cut() -> bool:
        return await run.has_cut(leaves)

    async def submitted() -> None:
        await run.submit(image.reference, rounds=10_000, minClientsPerRound=1, roundTimeoutSeconds=30)

    _say(
        "a run submitted, until its first round is open", [await _seconds(submitted, opened, "the first round is open")]
    )
    await run.in_round(2)
    disabling = asyncio.create_task(install.disable(fleet, leaves))
    _say("a cluster disabled, until its stream is cut", [await _seconds(lambda: asyncio.sleep(0), cut, "cut")])
    await disabling
    await run.delete()
    await install.enable(fleet, leaves)


async def main() -> None:
    """Print each reaction's median and longest time."""
    fleet = lifecycle.find(default_layout())
    if fleet is None:
        raise SystemExit("no fleet is up: make fleet-up install")
    with tempfile.TemporaryDirectory() as scratch:
        shards = Path(scratch) / "shards"
        await digits.make_shards(shards, fleet.spokes)
        await install.enable(fleet, *fleet.spokes)
        for spoke in fleet.spokes:
            await digits.publish(fleet, spoke, shards, **TERMS)
        await _datasets(fleet)
        await _stream(fleet)
        await _failure(fleet, Path(scratch))


if __name__ == "__main__":
    asyncio.run(main())
