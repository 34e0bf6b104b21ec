"""Test a run from its submission to its end, on an API server in memory with clusters that answer."""

import pytest

from federation.api.aggregator_run import RUN_FILE
from federation.kube.kinds import CONFIG_MAP, FEDERATED_LEARNING, JOB
from federation.kube.resource import ObjectKey
from tests.support.builders.run_objects import SERVER, run_json
from tests.support.fakes.run_world import KEY, RunWorld, clusters, present, started


async def test_a_run_goes_from_waiting_to_running_to_completed() -> None:
    world = clusters(RunWorld(), "c1", "c2")
    await world.submit()
    await world.reconcile()
    await world.reconcile()
    assert world.run().status.phase == "Waiting"

    await world.settle()
    assert world.run().status.phase == "Running"
    assert world.run().status.cohort == ("c1", "c2")
    assert world.run().status.summary.clusters == "2/2"

    world.set_job("Complete", succeeded=1)
    await world.settle()
    assert world.run().status.phase == "Completed"
    assert world.works() == []
    assert [c.state for c in world.run().status.clusters] == ["Ended", "Ended"]


async def test_a_settled_run_is_not_written_again() -> None:
    world = await started()

    assert await world.writes_of() == 0


async def test_the_aggregator_starts_only_once_enough_sites_have_accepted() -> None:
    """Regression: the Job was created before minAvailableClients was met, and deleted by the first decision."""
    world = clusters(RunWorld(silent={"c2"}), "c1", "c2")
    await world.submit()
    await world.settle()
    assert present(world)["Job"] == []
    assert world.condition("CohortReady") == ("False", "GatheringSites")

    world.silent.clear()
    await world.settle()
    assert present(world)["Job"] == ["mnist-server"]


async def test_a_completed_run_stays_completed_without_its_job_after_a_restart() -> None:
    """Regression: Completed, with the finished Job gone, became Failed at the next reconcile."""
    world = await started()
    world.set_job("Complete", succeeded=1)
    await world.settle()

    world.api.remove(JOB, SERVER)
    world.restart()
    await world.settle()

    assert world.run().status.phase == "Completed"
    assert await world.writes_of() == 0


async def test_a_changed_spec_starts_a_failed_run_again() -> None:
    """Regression: Failed was terminal."""
    world = await started()
    failure = {"reason": "ModelsDiffer", "message": "x"}
    await world.set_aggregator_status(round=2, failure=failure, clusters=[{"name": "c1", "round": 2}])
    world.set_job("Failed")
    await world.settle()
    first = world.one(JOB, SERVER)["metadata"]["uid"]

    await world.change(server={"rounds": 5})
    await world.settle()

    status = world.run().status
    assert (status.phase, status.attempt, status.round, status.failure) == ("Running", 2, 0, None)
    assert status.clusters[0].round == 0
    assert world.condition("Failed") == ("False", "NotEnded")
    assert world.one(JOB, SERVER)["metadata"]["uid"] != first
    assert '"rounds":5' in world.one(CONFIG_MAP, SERVER)["data"][RUN_FILE]


async def test_a_changed_spec_starts_a_completed_run_again() -> None:
    """Regression: changes after Completed were ignored."""
    world = await started()
    world.set_job("Complete")
    await world.settle()

    await world.change(server={"rounds": 5})
    await world.settle()

    assert (world.run().status.phase, world.run().status.attempt) == ("Running", 2)


async def test_a_changed_spec_waits_for_the_end_of_the_rounds() -> None:
    world = await started()
    before = world.everything()["Job"], world.collaborators(), world.one(CONFIG_MAP, SERVER)["data"]

    await world.change(server={"rounds": 9}, client={"image": "registry.example.org/other:2"})
    await world.settle()

    assert (world.everything()["Job"], world.collaborators(), world.one(CONFIG_MAP, SERVER)["data"]) == before
    assert world.condition("Progressing") == ("True", "SpecChanged")
    world.set_job("Complete")
    await world.settle()
    assert world.run().status.attempt == 2


async def test_runs_of_the_same_name_in_two_namespaces_are_independent() -> None:
    """Regression: two resources with one name in two namespaces overwrote each other's works."""
    other = ObjectKey("team-b", "mnist")
    world = clusters(RunWorld(selected={"default/mnist": ("c1", "c2"), "team-b/mnist": ("c1", "c2")}), "c1", "c2")
    await world.submit()
    await world.submit(run_json(namespace="team-b"))
    await world.settle(KEY, other)

    assert len(set(world.works())) == 4
    assert len({spec["run"]["id"] for spec in world.collaborators().values()}) <= 2
    assert {world.run(key).status.phase for key in (KEY, other)} == {"Running"}

    await world.api.delete(FEDERATED_LEARNING, KEY)
    await world.settle(KEY, other)
    assert len(world.works()) == 2
    assert world.run(other).status.phase == "Running"


async def test_a_suspended_run_stops_and_a_resumed_run_continues() -> None:
    world = await started()
    await world.change(suspend=True)
    await world.settle()
    assert world.one(JOB, SERVER)["spec"]["suspend"] is True
    assert all("aggregator" not in spec for spec in world.collaborators().values())
    assert world.condition("Progressing") == ("False", "Suspended")

    await world.change(suspend=False)
    await world.settle()
    assert world.one(JOB, SERVER)["spec"]["suspend"] is False
    assert world.run().status.attempt == 1
    assert all(spec["aggregator"]["addresses"] for spec in world.collaborators().values())


@pytest.mark.parametrize("ready", [0, 1], ids=["seen by the Job", "not seen by the Job"])
async def test_a_finished_aggregator_is_not_reported_as_a_problem(ready: int) -> None:
    world = await started()
    told = world.said()
    world.set_job(ready=ready, active=ready)
    world.set_pod(init={"terminated": {"exitCode": 0, "reason": "Completed"}}, phase="Succeeded")
    await world.settle()

    assert world.condition("ServerReady") == ("False", "AggregatorFinished")
    assert world.condition("Progressing") == ("True", "RoundsUnderWay")
    assert world.run().status.message == "The aggregator has finished; the run is complete once its Job is"
    assert world.run().status.phase == "Running"
    assert world.said() == told

    world.set_job("Complete", succeeded=1)
    await world.settle()
    assert world.run().status.phase == "Completed"
    assert world.condition("ServerReady") == ("False", "Ended")
