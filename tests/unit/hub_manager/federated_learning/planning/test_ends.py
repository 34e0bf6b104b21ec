"""Test the end of a run: its deletion, its deadline, and its time to live."""

import pytest

from federation.kube.errors import Denied
from federation.kube.kinds import FEDERATED_LEARNING, MANIFEST_WORK, PERSISTENT_VOLUME_CLAIM, SECRET
from hub_manager.federated_learning.resources.names import RUN_UID_LABEL
from tests.support.builders.run_objects import run_json
from tests.support.fakes.run_world import KEY, RunWorld, clusters, present, started


async def test_an_unreachable_cluster_does_not_delay_the_deletion() -> None:
    world = await started()
    for work in world.api.objects(MANIFEST_WORK):
        work["metadata"]["finalizers"] = ["cluster.open-cluster-management.io/manifest-work-cleanup"]
        world.api.seed(MANIFEST_WORK, work)

    await world.api.delete(FEDERATED_LEARNING, KEY)
    await world.settle()

    assert world.api.objects(FEDERATED_LEARNING) == []
    assert all("deletionTimestamp" in work["metadata"] for work in world.api.objects(MANIFEST_WORK))


async def test_works_that_are_not_observed_yet_are_deleted_with_the_run() -> None:
    world = clusters(RunWorld(unseen={"ManifestWork"}), "c1", "c2")
    await world.submit()
    for _ in range(5):
        await world.reconcile()
        world.decide()
    assert [cluster for cluster, _ in world.works()] == ["c1", "c2"]

    await world.api.delete(FEDERATED_LEARNING, KEY)
    await world.reconcile()

    assert world.works() == []
    assert world.api.objects(FEDERATED_LEARNING) == []


async def test_a_run_is_kept_until_its_works_are_deleted() -> None:
    world = await started()
    await world.api.delete(FEDERATED_LEARNING, KEY)
    world.api.fail_next(Denied("forbidden"))
    await world.reconcile()
    assert len(world.works()) == 2
    assert len(world.api.objects(FEDERATED_LEARNING)) == 1

    await world.settle()
    assert world.works() == []
    assert world.api.objects(FEDERATED_LEARNING) == []


async def test_works_of_a_run_deleted_without_its_finalizer_are_deleted() -> None:
    world = await started()
    world.api.remove(FEDERATED_LEARNING, KEY)
    await world.reconcile()
    assert world.works() == []


async def test_works_of_an_earlier_run_are_deleted_and_those_of_an_unobserved_run_kept() -> None:
    world = await started()
    earlier = world.run().metadata.uid
    world.unseen = {"FederatedLearning"}
    await world.reconcile()
    assert len(world.works()) == 2

    world.unseen = set()
    world.api.remove(FEDERATED_LEARNING, KEY)
    await world.submit()
    await world.reconcile()
    assert not [w for w in world.api.objects(MANIFEST_WORK) if w["metadata"]["labels"][RUN_UID_LABEL] == earlier]


async def test_the_active_deadline_ends_a_run_that_waits() -> None:
    world = clusters(RunWorld(silent={"c1"}), "c1", "c2")
    await world.submit(run_json(activeDeadlineSeconds=60))
    await world.settle()
    assert world.run().status.phase == "Waiting"

    world.later(seconds=61)
    await world.settle()
    assert world.condition("Failed") == ("True", "DeadlineExceeded")
    assert world.works() == []


@pytest.mark.parametrize(("condition", "phase", "reason"), [("Complete", "Completed", "ModelStored"), ("Failed",) * 3])
async def test_the_result_of_an_ended_job_counts_after_the_deadline(condition: str, phase: str, reason: str) -> None:
    world = await started(run_json(activeDeadlineSeconds=3600))
    await world.set_aggregator_status(failure={"reason": "Failed", "message": "x"} if phase == "Failed" else None)
    world.set_job(condition, succeeded=1)

    world.later(hours=2)
    world.restart()
    await world.settle()

    assert world.run().status.phase == phase
    assert world.condition(condition) == ("True", reason)


async def test_only_the_volume_remains_after_the_time_to_live() -> None:
    world = await started(run_json(ttlSecondsAfterFinished=60))
    world.set_job("Complete")
    await world.settle()
    assert present(world)["Job"] == ["mnist-server"]

    world.later(seconds=61)
    await world.settle()

    left = {kind: names for kind, names in present(world).items() if names}
    assert left == {"PersistentVolumeClaim": ["model"]}
    assert world.api.objects(SECRET) == []
    assert world.run().status.phase == "Completed"
    assert await world.writes_of() == 0


async def test_a_duration_above_the_limit_counts_as_the_limit() -> None:
    """The spec was stored before the CRD had a limit."""
    world = await started(run_json(activeDeadlineSeconds=10**12, ttlSecondsAfterFinished=10**12))
    assert world.run().status.phase == "Running"

    world.set_job("Complete", succeeded=1)
    await world.settle()

    assert world.run().status.phase == "Completed"
    assert world.works() == []


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59Z", "9000-01-01T00:00:00", "soon"])
async def test_a_forged_time_in_the_status_never_fails_a_pass(text: str) -> None:
    world = await started(run_json(activeDeadlineSeconds=60, ttlSecondsAfterFinished=60))
    times = {"status": {"startTime": text, "completionTime": text}}
    await world.api.merge_patch(FEDERATED_LEARNING, KEY, times, subresource="status")
    await world.settle()

    world.set_job("Complete", succeeded=1)
    await world.settle()

    assert world.run().status.phase == "Completed"


@pytest.mark.parametrize(("policy", "left"), [("Retain", ["model"]), ("Delete", [])])
async def test_the_volume_is_deleted_with_the_run_only_if_requested(policy: str, left: list[str]) -> None:
    body = run_json()
    body["spec"]["server"]["storage"]["retentionPolicy"] = policy
    world = await started(body)

    await world.api.delete(FEDERATED_LEARNING, KEY)
    await world.settle()

    assert present(world)["PersistentVolumeClaim"] == left


async def test_a_users_own_claim_is_used_and_never_deleted() -> None:
    body = run_json()
    body["spec"]["server"]["storage"]["retentionPolicy"] = "Delete"
    world = clusters(RunWorld(), "c1", "c2")
    own = {"metadata": {"name": "model", "namespace": "default"}, "spec": {"storageClassName": "mine"}}
    world.api.seed(PERSISTENT_VOLUME_CLAIM, own)
    await world.submit(body)
    await world.settle()
    await world.api.delete(FEDERATED_LEARNING, KEY)
    await world.settle()

    (claim,) = world.api.objects(PERSISTENT_VOLUME_CLAIM)
    assert claim["spec"] == {"storageClassName": "mine"}
