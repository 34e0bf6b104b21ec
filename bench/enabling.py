"""Measure the time from the ManagedClusterAddOn to the certificate, and to Available.

Ten times on the spokes of the fleet, all of them at once, with the medians. `Available` depends on the
klusterlet, which checks the agent's Lease every 30 s (ocm `pkg/registration/spoke/addon/lease_controller.go`).
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from demo import install
from fleet import lifecycle
from fleet.fleet import Fleet
from fleet.layout import HUB, default_layout
from fleet.waiting import until
from tests.support.fleet.on_hub import CERTIFICATE_SECRET, conditions, secret

RUNS = 10


async def _seconds(holds: Callable[[], Awaitable[bool]], what: str, since: float) -> float:
    await until(holds, what)
    return time.monotonic() - since


async def _once(fleet: Fleet, spoke: str) -> tuple[float, float]:
    async def has_certificate() -> bool:
        return bool(await secret(fleet, spoke, CERTIFICATE_SECRET))

    async def has_none() -> bool:
        return not await has_certificate()

    async def available() -> bool:
        return (await conditions(fleet, spoke)).get("Available", "").startswith("True")

    await until(has_none, "the spoke is clear")
    since = time.monotonic()
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(install.add_on(spoke)))
    certificate = await _seconds(has_certificate, "the certificate", since)
    ready = await _seconds(available, "Available", since)
    await install.disable(fleet, spoke)
    # A klusterlet halts at ten standing requests; an administrator is not as quick as this loop.
    await fleet.kubectl(HUB, "delete", "csr", f"--selector=open-cluster-management.io/cluster-name={spoke}")
    return certificate, ready


async def main() -> None:
    """Print each run and the medians."""
    fleet = lifecycle.find(default_layout())
    if fleet is None:
        raise SystemExit("no fleet is up: make fleet-up")
    await install.install_hub(fleet)
    for spoke in fleet.spokes:
        await fleet.kubectl(HUB, "delete", "managedclusteraddon", install.ADD_ON, f"-n={spoke}", "--ignore-not-found")
    rows: list[tuple[float, float]] = []
    while len(rows) < RUNS:
        rows += await asyncio.gather(*(_once(fleet, spoke) for spoke in fleet.spokes))
    for certificate, ready in rows:
        sys.stdout.write(f"certificate {certificate:5.1f} s, Available {ready:5.1f} s\n")
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    sys.stdout.write(f"median of {len(rows)}: certificate {medians[0]:.1f} s, Available {medians[1]:.1f} s\n")


if __name__ == "__main__":
    asyncio.run(main())
