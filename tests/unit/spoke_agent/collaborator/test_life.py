"""A site's part in a run from the hub's request to its end, as the agent's work on it leaves it at an API server."""

from datetime import timedelta
from typing import Any

from federation.api.collaborator import APPROVAL_PREFIX, APPROVED, CollaboratorExit
from federation.kube.kinds import COLLABORATOR, COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY, COLLABORATOR_POD, DATASET
from federation.kube.resource import ObjectKey
from tests.support.builders.collaborator_objects import RUN, told
from tests.support.fakes.collaborator_world import KEY, World, a_pod_without_its_job


async def test_without_an_aggregator_nothing_starts_and_the_status_is_accepted() -> None:
    world = World()
    world.ask(aggregator=None)

    await world.settle()

    assert world.status.state == "Accepted"
    assert world.raw(COLLABORATOR_JOB) is None
    assert world.raw(COLLABORATOR_NETWORK_POLICY) is None


async def test_it_starts_confined_once_the_aggregator_is_named() -> None:
    world = World()
    world.ask()

    await world.settle()

    writes = [(call.verb, call.plural) for call in world.api.calls if not call.subresource]
    assert writes == [("apply", "networkpolicies"), ("create", "jobs")]
    assert world.status.state == "Starting"


async def test_a_rejected_request_starts_nothing_and_reports_the_reason() -> None:
    world = World(images=["registry.example/other/"])
    world.ask()

    await world.settle()

    assert (world.status.state, world.status.reason) == ("Refused", "ImageNotAllowed")
    assert world.raw(COLLABORATOR_JOB) is None


async def test_someone_at_the_site_approves_and_withdraws() -> None:
    world = World(approval="Manual")
    world.ask()
    await world.settle()
    assert world.status.state == "Pending"

    annotations = {APPROVAL_PREFIX + world.status.approval: APPROVED}
    await world.api.merge_patch(DATASET, ObjectKey("agent", "mnist"), {"metadata": {"annotations": annotations}})
    await world.settle()
    assert world.status.state == "Starting"
    assert world.status.approval == ""

    await world.api.merge_patch(DATASET, ObjectKey("agent", "mnist"), {"metadata": {"annotations": None}})
    await world.settle()
    job = world.raw(COLLABORATOR_JOB)
    assert job is not None
    assert "deletionTimestamp" in job["metadata"]
    assert world.raw(COLLABORATOR_NETWORK_POLICY) is not None

    world.job_goes()
    await world.settle()
    assert world.status.state == "Pending"
    assert world.raw(COLLABORATOR_NETWORK_POLICY) is None


async def test_it_ends_when_the_dataset_expires() -> None:
    world = World(expiresAt="2030-06-01T00:01:00Z")
    world.ask()

    assert await world.settle() == 60.0
    job = world.raw(COLLABORATOR_JOB)
    assert job is not None
    assert job["spec"]["activeDeadlineSeconds"] == 60
    world.time += timedelta(seconds=60)
    await world.settle()

    assert (world.status.state, world.status.reason) == ("Refused", "DatasetExpired")
    job = world.raw(COLLABORATOR_JOB)
    assert job is not None
    assert "deletionTimestamp" in job["metadata"]


def expiring(at: str) -> dict[str, Any]:
    return {"spec": {"policy": {"expiresAt": at}}}


async def test_a_dataset_that_expires_later_lets_its_job_run_on() -> None:
    world = World(expiresAt="2030-06-01T00:01:00Z")
    world.ask()
    await world.settle()
    world.time += timedelta(seconds=30)

    await world.api.merge_patch(DATASET, ObjectKey("agent", "mnist"), expiring("2030-06-01T00:02:00Z"))
    await world.settle()
    world.job_goes()

    assert await world.settle() == 90.0
    job = world.raw(COLLABORATOR_JOB)
    assert job is not None
    assert job["spec"]["activeDeadlineSeconds"] == 90
    assert world.status.state == "Starting"


async def test_neither_time_nor_a_later_expiry_replaces_an_ended_job() -> None:
    world = World(expiresAt="2030-06-01T00:01:00Z")
    world.ask()
    await world.settle()
    made = world.raw(COLLABORATOR_JOB)

    world.time += timedelta(seconds=30)
    await world.settle()
    assert world.raw(COLLABORATOR_JOB) == made
    world.job_ends("Complete")
    ended = world.raw(COLLABORATOR_JOB)
    await world.api.merge_patch(DATASET, ObjectKey("agent", "mnist"), expiring("2030-06-01T00:02:00Z"))
    await world.settle()

    assert world.raw(COLLABORATOR_JOB) == ended
    assert world.status.state == "Succeeded"


async def test_a_pod_that_outlives_its_job_is_waited_for() -> None:
    """After `kubectl delete job`, which doesn't wait for the pod."""
    world = await a_pod_without_its_job()

    await world.settle()
    assert world.raw(COLLABORATOR_JOB) is None
    assert (world.status.state, world.status.reason) == ("Starting", "JobPending")
    assert "a pod of an earlier Job" in world.status.message

    world.pod_goes()
    await world.settle()
    assert world.raw(COLLABORATOR_JOB) is not None
    assert world.status.reason == "PodPending"


async def test_a_pod_of_an_earlier_collaborator_of_the_name_is_waited_for() -> None:
    world = await a_pod_without_its_job()
    (pod,) = world.api.objects(COLLABORATOR_POD)
    world.api.remove(COLLABORATOR, KEY)
    world.api.collect_garbage()
    world.api.seed(COLLABORATOR_POD, pod)
    world.ask()

    await world.settle()
    assert world.raw(COLLABORATOR_JOB) is None
    world.api.seed(COLLABORATOR_POD, {**pod, "status": {"phase": "Succeeded"}})
    await world.settle()

    assert world.raw(COLLABORATOR_JOB) is not None


async def test_another_address_replaces_the_job_after_the_old_pod_is_gone() -> None:
    world = World()
    world.ask()
    await world.settle()
    world.ask(aggregator={"addresses": ["198.51.100.8:30051"]})

    await world.settle()
    assert [raw["metadata"].get("deletionTimestamp") is not None for raw in world.api.objects(COLLABORATOR_JOB)] == [
        True
    ]
    world.job_goes()
    await world.settle()

    job, confined = world.raw(COLLABORATOR_JOB), world.raw(COLLABORATOR_NETWORK_POLICY)
    assert job is not None
    assert confined is not None
    assert {"name": "FL_AGGREGATORS", "value": "198.51.100.8:30051"} in job["spec"]["template"]["spec"]["containers"][
        0
    ]["env"]
    assert confined["spec"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "198.51.100.8/32"}}]


async def test_a_failure_reaches_the_status_with_file_and_line_and_is_not_tried_again() -> None:
    world = World()
    world.ask()
    await world.settle()

    world.job_ends("Failed", "PodFailurePolicy", message=told())
    await world.settle()
    world.ask(args=["changed"])
    await world.settle()

    assert (world.status.state, world.status.reason) == ("Failed", "WorkspaceFailed")
    assert "src/taskrunner.py:7" in world.status.message
    assert len(world.api.objects(COLLABORATOR_JOB)) == 1
    assert sum(call.verb == "delete" for call in world.api.calls) == 0


async def test_another_attempt_replaces_an_ended_job() -> None:
    world = World()
    world.ask()
    await world.settle()
    world.job_ends("Failed", "PodFailurePolicy", message=told())
    await world.settle()

    world.ask(run={**RUN, "id": "run-uid-2"})
    await world.settle()
    world.job_goes()
    await world.settle()

    job = world.raw(COLLABORATOR_JOB)
    assert job is not None
    assert job["metadata"]["annotations"]["federation-ai.open-cluster-management.io/run-id"] == "run-uid-2"
    assert (world.status.state, world.status.exit) == ("Starting", CollaboratorExit())


async def test_taking_the_address_away_stops_it() -> None:
    world = World()
    world.ask()
    await world.settle()

    world.ask(aggregator=None)
    await world.settle()
    world.job_goes()
    await world.settle()

    assert world.status.state == "Accepted"
    assert world.raw(COLLABORATOR_NETWORK_POLICY) is None


async def test_owned_objects_are_deleted_with_the_collaborator() -> None:
    world = World()
    world.ask()
    await world.settle()

    world.api.remove(COLLABORATOR, KEY)
    world.api.collect_garbage()

    assert world.api.objects(COLLABORATOR_JOB) == []
    assert world.api.objects(COLLABORATOR_NETWORK_POLICY) == []
