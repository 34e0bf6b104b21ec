"""The checks of a run, on objects that the hub manager creates."""

from datetime import timedelta
from pathlib import Path

from federation.kube.kinds import PERSISTENT_VOLUME_CLAIM
from federation.kube.resource import Json, ObjectKey
from kubectl_fl.doctor.cluster_checks import cluster_findings
from kubectl_fl.doctor.findings import Finding, Verdict
from kubectl_fl.doctor.run_checks import clusters_to_check, run_findings
from kubectl_fl.views.doctor_report import render_findings
from tests.support.builders.csr import NOW
from tests.support.builders.run_objects import run_json
from tests.support.doctor import applied, of_cluster, of_run, seen, waiting
from tests.support.fakes.run_world import started


async def test_a_healthy_run_has_no_problem(tmp_path: Path) -> None:
    world = await waiting()
    world.set_job(ready=1, active=1)
    await world.settle()
    claim = world.one(PERSISTENT_VOLUME_CLAIM, ObjectKey("default", "model"))
    world.api.seed(PERSISTENT_VOLUME_CLAIM, claim | {"status": {"phase": "Bound"}})
    last = (world.now - timedelta(seconds=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await world.set_aggregator_status(clusters=[{"name": name, "lastSeen": last} for name in ("c1", "c2")])

    await applied(world)

    what = seen(world, tmp_path)
    every = [*run_findings(what), *cluster_findings(what, "c1", world.now)]

    assert [finding for finding in every if finding.verdict is not Verdict.OK] == []
    assert {"collaborator", "connection", "dataset", "listener", "volume"} <= {finding.check for finding in every}
    assert clusters_to_check(what) == ("c1", "c2")


async def test_too_few_selected_clusters_are_a_placement_problem(tmp_path: Path) -> None:
    world = await waiting(selected={"default/mnist": ("c1",)})

    problem = of_run(seen(world, tmp_path), "placement")

    assert problem.verdict is Verdict.PROBLEM
    assert problem.detail.startswith("1 clusters selected, 2 required")


async def test_an_invalid_or_suspended_spec_is_a_problem(tmp_path: Path) -> None:
    cases: tuple[tuple[Json, str], ...] = (
        ({"framework": "flower"}, "FrameworkNotServed: spec.framework"),
        ({"suspend": True}, "spec.suspend is true"),
    )
    for spec, words in cases:
        what = seen(await waiting(run_json(**spec)), tmp_path)
        assert of_run(what, "spec").verdict is Verdict.PROBLEM
        assert words in of_run(what, "spec").detail


async def test_an_unschedulable_aggregator_is_reported_with_kubernetes_message(tmp_path: Path) -> None:
    world = await started()
    world.set_job(active=1)
    world.set_pod(scheduled="0/1 nodes are available")
    await world.settle()

    problem = of_run(seen(world, tmp_path), "aggregator")

    assert (problem.verdict, problem.detail) == (Verdict.PROBLEM, "Unschedulable: 0/1 nodes are available")


async def test_a_failed_init_container_is_reported(tmp_path: Path) -> None:
    world = await started()
    world.set_job(active=1)
    world.set_pod(init={"terminated": {"exitCode": 3, "reason": "Error", "message": "no plan"}})
    await world.settle()

    problem = of_run(seen(world, tmp_path), "aggregator")

    assert problem.detail == "container workspace ended (Error, exit code 3): no plan"
    assert problem.remedy == "kubectl fl logs mnist"


async def test_a_succeeded_aggregator_is_not_a_problem(tmp_path: Path) -> None:
    world = await started()
    world.set_job()
    world.set_pod(phase="Succeeded")
    await world.settle()

    aggregator = of_run(seen(world, tmp_path), "aggregator")

    assert aggregator.verdict is Verdict.OK
    assert aggregator.detail.startswith("AggregatorFinished: ")


async def test_a_failed_run_is_reported_first_without_work_checks(tmp_path: Path) -> None:
    world = await started()
    world.set_job("Failed", message="BackoffLimitExceeded")
    await world.settle()
    what = seen(world, tmp_path)

    assert run_findings(what)[0].check == "end"
    assert run_findings(what)[0].verdict is Verdict.PROBLEM
    assert "work" not in {finding.check for finding in cluster_findings(what, "c1", NOW)}


async def test_forbidden_objects_are_unknown_and_do_not_affect_other_checks(tmp_path: Path) -> None:
    world = await waiting(selected={"default/mnist": ("c1",)})
    what = seen(world, tmp_path, "managedclusters", "manifestworks", "placements", "persistentvolumeclaims", "pods")

    unread = of_cluster(what, "c1", "membership")
    assert (unread.verdict, "managedclusters is forbidden" in unread.detail) == (Verdict.UNKNOWN, True)
    assert of_cluster(what, "c1", "work").verdict is Verdict.UNKNOWN
    assert of_run(what, "placement").verdict is Verdict.UNKNOWN
    assert of_cluster(what, "c1", "add-on").verdict is Verdict.OK


def test_the_report_groups_counts_and_sanitizes_findings() -> None:
    bad = Finding("answer", Verdict.PROBLEM, "\x1b[2Jgone\nline", "do \x9bthis")

    lines = render_findings("default/mnist", (Finding("spec", Verdict.OK, "taken"),), {"c1": (bad,)})

    assert lines == [
        "run default/mnist",
        "  ok       spec           taken",
        "",
        "cluster c1",
        "  problem  answer         gone line",
        "                          -> do \ufffdthis",
        "",
        "1 problem, 0 unknown",
    ]
