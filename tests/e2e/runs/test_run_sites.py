"""A site has its own word: what it refuses, what fails there, and what becomes of one that the hub no longer wants."""

from pathlib import Path

import pytest

from demo import digits, images, install
from fleet.waiting import until
from tests.support.builders.workspaces import BROKEN_AT_ONCE, BROKEN_IN_TRAINING, with_missing_import
from tests.support.fleet.fleet_runs import TERMS, Clusters, FleetRun, Model, Sites, cluster_of, condition, equal

pytestmark = pytest.mark.fleet


async def test_a_site_that_refuses_holds_up_a_run_that_needs_it_and_no_other(
    sites: Sites, reference: list[Model]
) -> None:
    clusters = sites.clusters
    needs_both, needs_one = FleetRun(clusters, "digits-refused"), FleetRun(clusters, "digits-one")
    refuses, takes_part = sites.names[1], sites.names[0]
    await digits.publish(clusters, refuses, sites.shards, runs=[{"namespace": "digits-others"}])
    await needs_both.submit(sites.image.reference, rounds=2)
    await needs_one.submit(sites.image.reference, rounds=2, minAvailableClients=1, minClientsPerRound=1)

    alone = await needs_one.ended()
    waiting = await needs_both.until(
        lambda status: condition(status, "CohortReady").get("reason") == "SitesRefused", "the run says who refuses"
    )
    described = await needs_both.kubectl("describe", "federatedlearning", needs_both.name)
    await digits.publish(clusters, refuses, sites.shards, **TERMS)
    status = await needs_both.ended()

    assert alone["cohort"] == [takes_part]
    assert waiting["phase"] == "Waiting"
    assert cluster_of(waiting, refuses)["state"] == "Refused"
    assert "the site's terms do not admit the run digits-refused/digits" in described
    assert equal(await needs_both.model(status), reference[1])
    for run in (needs_both, needs_one):
        await run.delete()


async def test_a_site_that_wants_to_be_asked_takes_part_once_its_administrator_approves(
    sites: Sites, reference: list[Model]
) -> None:
    clusters = sites.clusters
    run, asks = FleetRun(clusters, "digits-asked"), sites.names[1]
    await digits.publish(clusters, asks, sites.shards, approval="Manual", **TERMS)
    await run.submit(sites.image.reference, rounds=2)
    waiting = await run.until(
        lambda status: cluster_of(status, asks).get("reason") == "ApprovalPending", "the site's question"
    )
    said = cluster_of(waiting, asks)["lastError"]
    words = said[said.index("kubectl annotate") :].split()[1:]
    await clusters.kubectl(asks, *words)

    status = await run.ended()
    await digits.publish(clusters, asks, sites.shards, **TERMS)

    assert equal(await run.model(status), reference[1])
    await run.delete()


async def _with_import(clusters: Clusters, folder: Path, before: str) -> tuple[str, int]:
    """The image of a workspace that imports what isn't there, on every node, and the line of the import."""
    workspace, line = with_missing_import(folder, before)
    image = await images.build_digits(clusters.layout, workspace)
    await clusters.load_image(image)
    return image.reference, line


async def test_an_import_error_is_seen_with_file_and_line_and_ends_the_run(
    sites: Sites, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clusters = sites.clusters
    at_once, at_the_sites = FleetRun(clusters, "digits-import"), FleetRun(clusters, "digits-error")
    folder = tmp_path_factory.mktemp("broken")
    image, first_line = await _with_import(clusters, folder / "import", BROKEN_AT_ONCE)
    later, later_line = await _with_import(clusters, folder / "error", BROKEN_IN_TRAINING)
    await at_once.submit(image)
    await at_the_sites.submit(later)

    await at_the_sites.until(
        lambda s: any("no_such_package" in c.get("lastError", "") for c in s.get("clusters", ())),
        "the site's error",
    )
    ended = [await run.ended("Failed") for run in (at_once, at_the_sites)]
    described = [await run.kubectl("describe", "federatedlearning", run.name) for run in (at_once, at_the_sites)]

    # Either the hub or a site imports the workspace first; all import the same one.
    assert condition(ended[0], "Failed")["reason"] in {"WorkspaceFailed", "SitesFailed"}
    assert condition(ended[1], "Failed")["reason"] == "SitesFailed"
    for text, line in zip(described, (first_line, later_line), strict=True):
        assert "No module named 'no_such_package'" in text
        assert f"src/taskrunner.py:{line}" in text
    for run in (at_once, at_the_sites):
        await run.delete()


async def test_a_cluster_that_is_disabled_loses_its_stream_and_may_come_back(sites: Sites) -> None:
    clusters = sites.clusters
    run, leaves = FleetRun(clusters, "digits-leaves"), sites.names[1]
    await run.submit(sites.image.reference, rounds=10_000, minClientsPerRound=1, roundTimeoutSeconds=30)
    await run.in_round(2)
    await install.disable(clusters, leaves)

    try:
        await until(lambda: run.has_cut(leaves), "the removed cluster's stream is cut")
        at_the_cut = (await run.status())["round"]
        without = await run.in_round(at_the_cut + 3)
    finally:
        await install.enable(clusters, leaves)
    await run.until(lambda status: cluster_of(status, leaves).get("round", 0) > at_the_cut + 3, "it takes part again")

    assert cluster_of(without, leaves)["state"] == "Lost"
    assert condition(without, "Progressing")["status"] == "True"
    await run.delete()
