"""Whatever dies while a run goes on, its model is that of an undisturbed one, to the last bit."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from demo.install import HUB_NAMESPACE
from fleet.cluster.network import Link
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import TIMEOUT, until
from tests.support.fleet.fleet_processes import process_of
from tests.support.fleet.fleet_runs import FleetRun, Model, Sites, cluster_of, condition, equal

pytestmark = pytest.mark.fleet
AGGREGATOR = "hub_manager.aggregator"
COLLABORATOR = "runtimes.openfl"
Phase = Callable[[Path], bool]


def _newest_round(folder: Path) -> Path | None:
    """The folder of the updates of the round in work; None before the first has come."""
    rounds = sorted((folder / "updates").glob("[0-9]*"), key=lambda path: int(path.name))
    return rounds[-1] if rounds else None


def collecting(folder: Path) -> bool:
    """One site's update is whole, the other's is not."""
    newest = _newest_round(folder)
    return newest is not None and len(list(newest.glob("*.whole"))) == 1


def folding(folder: Path) -> bool:
    """Both updates are whole, and their model is not stored yet."""
    newest = _newest_round(folder)
    if newest is None or len(list(newest.glob("*.whole"))) < 2:
        return False
    return not (folder / "checkpoints" / f"round-{int(newest.name):06}").exists()


def evaluating(folder: Path) -> bool:
    """A model is stored, and no update to it has come."""
    newest = _newest_round(folder)
    stored = len(list((folder / "checkpoints").glob("round-*")))
    return stored > 1 and (newest is None or not any(newest.iterdir()))


def _shows(phase: Phase, base: Path) -> bool:
    """Whether the one attempt below a run's folder is in the phase; not before it has a folder."""
    try:
        (folder,) = base.iterdir()
        return phase(folder)
    except (FileNotFoundError, ValueError):
        return False


async def _reached(fleet: Fleet, run: FleetRun, phase: Phase) -> int:
    """The aggregator's process, as soon as its folder shows the phase."""
    found: list[int] = []

    async def runs() -> bool:
        with suppress(LookupError):
            found.append(process_of(fleet, HUB, AGGREGATOR, f"HOSTNAME={run.name}-server-"))
        return bool(found)

    await until(runs, "the aggregator's process")
    base = run.volume(fleet) / run.namespace / run.name
    async with asyncio.timeout(TIMEOUT):
        while not await asyncio.to_thread(_shows, phase, base):
            pass
    return found[0]


async def _killed(fleet: Fleet, image: str, phase: Phase) -> FleetRun:
    """A run whose aggregator was killed in that phase."""
    run = FleetRun(fleet, f"digits-{phase.__name__}", phase.__name__)
    await run.submit(image)
    os.kill(await _reached(fleet, run, phase), signal.SIGKILL)
    return run


async def _deleted(fleet: Fleet, image: str) -> FleetRun:
    """A run whose aggregator's pod was deleted in the middle of a round, without time to end."""
    run = FleetRun(fleet, "digits-deleted", "deleted")
    await run.submit(image)
    await _reached(fleet, run, collecting)
    pods = await run.kubectl("get", "pods", "--output=name")
    await run.kubectl("delete", *pods.split(), "--force", "--grace-period=0")
    return run


async def test_an_aggregator_killed_in_every_phase_of_a_round_makes_the_same_model(
    fleet: Fleet, sites: Sites, reference: list[Model]
) -> None:
    image, phases = sites.image.reference, (collecting, folding, evaluating)
    deleted, *killed = await asyncio.gather(_deleted(fleet, image), *(_killed(fleet, image, phase) for phase in phases))

    for run in (deleted, *killed):
        status = await run.ended()
        assert equal(await run.model(status), reference[-1]), run.namespace
        assert status["attempt"] == 1
        pods = await run.kubectl("get", "pods", f"--selector=batch.kubernetes.io/job-name={run.name}-server", "-o=name")
        assert len(pods.split()) == 1 + (run in killed), "another pod has gone on"
        await run.delete()


async def test_a_hub_manager_that_dies_and_a_site_that_is_cut_off_change_nothing(
    fleet: Fleet, sites: Sites, reference: list[Model]
) -> None:
    run = FleetRun(fleet, "digits-cut")
    cut = sites.names[1]
    await run.submit(sites.image.reference, rounds=12)
    await run.in_round(2)
    job = await run.kubectl("get", "job", f"{run.name}-server", "--output=jsonpath={.metadata.uid}")
    await fleet.set_link(cut, Link(cut=True))
    try:
        managers = f"--namespace={HUB_NAMESPACE}"
        await fleet.kubectl(HUB, "delete", "pods", "--all", managers, "--force", "--grace-period=0")
        await fleet.kubectl(HUB, "rollout", "status", "deployment/federated-learning-hub-manager", managers)
    finally:
        await fleet.set_link(cut, Link())

    status = await run.ended()

    assert equal(await run.model(status), reference[11])
    assert status["attempt"] == 1
    assert await run.kubectl("get", "job", f"{run.name}-server", "--output=jsonpath={.metadata.uid}") == job
    await run.delete()


async def test_a_round_closes_without_a_site_that_died_and_the_site_rejoins_the_next(
    fleet: Fleet, sites: Sites
) -> None:
    run = FleetRun(fleet, "digits-dies")
    dies, stays = sites.names[1], sites.names[0]
    await run.submit(sites.image.reference, rounds=400, minClientsPerRound=1, roundTimeoutSeconds=5)
    await run.in_round(2)
    pod = await fleet.kubectl(
        dies, "get", "pods", "--all-namespaces", "--selector=batch.kubernetes.io/job-name", "--output=jsonpath={..name}"
    )
    assert pod
    os.kill(process_of(fleet, dies, COLLABORATOR, f"FL_RUN={run.namespace}/{run.name}"), signal.SIGKILL)
    at_death = await run.status()

    def behind(status: dict[str, object]) -> bool:
        alone, gone = (cluster_of(status, name).get("round", 0) for name in (stays, dies))
        return bool(alone > gone and alone >= at_death["round"] + 2)

    def back(status: dict[str, object]) -> bool:
        return bool(cluster_of(status, dies).get("round", 0) > at_death["round"] + 2)

    await run.until(behind, "rounds close without the dead site")
    status = await run.until(back, "the site takes part again")

    assert condition(status, "Progressing")["status"] == "True"
    await run.delete()
