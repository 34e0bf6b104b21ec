"""Test how a run reports problems: the source of the message, and the remedy."""

from datetime import datetime

import pytest

from federation.kube.conditions import rfc3339
from federation.kube.kinds import CONFIG_MAP, FEDERATED_LEARNING, JOB
from hub_manager.federated_learning.planning.attempt import SpecHash
from hub_manager.federated_learning.planning.writes import RENEW_ANNOTATION
from tests.support.builders.run_objects import SERVER
from tests.support.fakes.run_world import KEY, RunWorld, clusters, present, started


async def test_a_failed_job_fails_the_run_with_the_aggregators_own_reason() -> None:
    """Regression: the server Job's Failed condition left the phase Running forever."""
    world = await started()
    failure = {"reason": "ModelsDiffer", "message": "fc.weight has two shapes", "cluster": "c2"}
    await world.set_aggregator_status(failure=failure)
    world.set_job("Failed", failed=1)
    await world.settle()

    assert world.run().status.phase == "Failed"
    assert world.condition("Failed") == ("True", "ModelsDiffer")
    assert world.run().status.message == "c2: fc.weight has two shapes"
    assert ("Warning", "ModelsDiffer") in world.said()


async def test_a_failed_job_without_a_reason_names_the_remedy() -> None:
    world = await started()
    world.set_job("Failed", message="Job has reached the specified backoff limit")
    await world.settle()

    assert world.condition("Failed") == ("True", "AggregatorFailed")
    assert "backoff limit" in world.run().status.message
    assert "remove spec.server.image" in world.run().status.message


async def test_permanent_failures_of_clusters_end_the_run_with_file_and_line() -> None:
    """Regression: the client Jobs' status was never read."""
    world = await started()
    words = "ModuleNotFoundError: No module named 'torc' (src/taskrunner.py:7)"
    failed = {"state": "Failed", "reason": "WorkspaceFailed", "message": words}
    world.sites = {"c1": failed, "c2": failed}
    await world.settle()

    assert world.run().status.phase == "Failed"
    assert world.condition("Failed") == ("True", "SitesFailed")
    assert "src/taskrunner.py:7" in world.run().status.message
    assert world.run().status.clusters[0].last_error == words
    assert world.one(JOB, SERVER)["spec"]["suspend"] is True


async def test_an_object_of_another_owner_is_left_alone_and_reported() -> None:
    world = clusters(RunWorld(), "c1", "c2")
    foreign = {"metadata": {"name": "mnist-server", "namespace": "default"}, "data": {"theirs": "1"}}
    world.api.seed(CONFIG_MAP, foreign)
    await world.submit()
    await world.settle()

    assert world.one(CONFIG_MAP, SERVER)["data"] == {"theirs": "1"}
    assert world.condition("ServerReady") == ("False", "RefusedByServer")
    assert "default/mnist-server" in world.run().status.message
    world.api.remove(CONFIG_MAP, SERVER)
    await world.settle()
    assert world.condition("ServerReady")[1] == "AggregatorStarting"


async def test_without_an_authority_the_run_waits_for_one() -> None:
    world = clusters(RunWorld(), "c1", "c2")
    kept, world.authority = world.authority, None
    await world.submit()
    await world.settle()
    assert world.condition("ServerReady") == ("False", "NoAuthority")
    assert present(world)["Job"] == []

    world.authority = kept
    await world.settle()
    assert present(world)["Job"] == ["mnist-server"]


async def test_a_renewal_that_is_due_without_an_authority_waits_for_one() -> None:
    world = await started()
    kept, world.authority = world.authority, None
    before = _renewed_at(world)
    world.later(hours=20)
    await world.settle()
    again = await world.reconcile()
    assert world.condition("ServerReady") == ("False", "NoAuthority")
    assert again is None, "whoever has the authority wakes the runs"

    world.authority = kept
    await world.settle()
    assert world.condition("ServerReady")[0] == "True"
    assert _renewed_at(world) > before


async def test_a_certificate_is_renewed_once() -> None:
    world = await started()
    world.later(hours=20)
    before = len(world.api.calls)

    again = await world.reconcile()

    assert [call.verb for call in world.api.calls[before:] if call.plural == "secrets"] == [
        "create",
        "delete",
        "create",
    ]
    assert again is None, "the change of the ConfigMap calls for the next pass"
    assert await world.writes_of() == 0


@pytest.mark.parametrize("text", ["", "soon", "2031-01-01", "0001-01-01T00:00:00"])
async def test_an_invalid_renewal_time_renews_the_certificate_at_once(text: str) -> None:
    world = await started()
    body = world.one(CONFIG_MAP, SERVER)
    body["metadata"]["annotations"][RENEW_ANNOTATION] = text
    world.api.seed(CONFIG_MAP, body)
    await world.settle()

    assert datetime.fromisoformat(_renewed_at(world)) > world.now


def _renewed_at(world: RunWorld) -> str:
    return str(world.one(CONFIG_MAP, SERVER)["metadata"]["annotations"][RENEW_ANNOTATION])


async def test_an_invalid_workspace_is_reported_with_its_setting() -> None:
    world = await started()
    said = '{"reason": "PlanRefused", "message": "aggregator.settings.secure_aggregation: remove it"}'
    world.set_pod(init={"terminated": {"exitCode": 3, "reason": "Error", "message": said}})
    world.set_job("Failed", message="Container workspace failed with exit code 3")
    await world.settle()

    assert world.condition("Failed") == ("True", "PlanRefused")
    assert world.run().status.message == "aggregator.settings.secure_aggregation: remove it"


async def test_an_image_without_the_runtime_contract_is_reported_with_its_log() -> None:
    world = await started()
    said = "export: not found\x1b[0m"
    world.set_pod(init={"terminated": {"exitCode": 127, "reason": "StartError", "message": said}})
    world.set_job("Failed")
    await world.settle()

    assert world.condition("Failed") == ("True", "AggregatorFailed")
    assert "container workspace ended (StartError, exit code 127): export: not found" in world.run().status.message
    assert "\x1b" not in world.run().status.message


async def test_a_forged_status_does_not_mount_a_host_path() -> None:
    """The user's image may hold the aggregator's token, and write another attempt of another spec into the status."""
    world = await started()
    await world.change(server={"storage": {"type": "HostPath", "path": "/etc", "name": ""}})
    forged = {"cohort": ["c1", "c2"], "attempt": 2, "recipe": str(SpecHash.of(world.run().spec))}
    await world.api.merge_patch(FEDERATED_LEARNING, KEY, {"status": forged}, subresource="status")
    await world.settle()

    assert present(world)["Job"] == []
    assert world.condition("ServerReady") == ("False", "HostPathNotAllowed")
    assert "spec.server.storage.path" in world.run().status.message


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"init": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}}, "ImagePullBackOff: no such"),
        ({"scheduled": "0/3 nodes are available"}, "Unschedulable: 0/3 nodes are available"),
    ],
    ids=["image", "node"],
)
async def test_a_pod_that_does_not_start_is_reported_with_the_cause(state: dict[str, object], expected: str) -> None:
    world = await started()
    world.set_job(active=1)
    world.set_pod(**state)  # type: ignore[arg-type]
    await world.settle()

    assert world.condition("ServerReady") == ("False", "AggregatorStarting")
    assert world.condition("Progressing") == ("True", "AggregatorStarting")
    assert expected in world.run().status.message


async def test_a_job_without_a_pod_is_reported_with_the_command_to_run() -> None:
    """A quota, Pod Security or a security context constraint is reported by an Event of the Job only."""
    world = clusters(RunWorld(), "c1", "c2")
    await world.submit()
    await world.settle()
    assert world.run().status.message == "The aggregator's pod is not ready"
    assert 0 < (await world.reconcile() or 0) <= 30

    world.later(seconds=31)
    await world.settle()
    assert world.condition("ServerReady") == ("False", "AggregatorStarting")
    assert "kubectl describe job mnist-server --namespace default" in world.run().status.message
    assert "runs.fsGroup" in world.run().status.message
    assert await world.writes_of() == 0

    world.set_pod()
    await world.settle()
    assert world.run().status.message == "The aggregator's pod is not ready"


@pytest.mark.parametrize("active", [1, 0], ids=["not seen yet", "drained a moment ago"])
async def test_a_pod_that_is_being_created_is_waited_for(active: int) -> None:
    world = await started()
    world.later(hours=1)
    world.set_job(active=active)
    await world.settle()

    assert world.run().status.message == "The aggregator's pod is not ready"


async def test_a_missing_pod_is_not_reported_for_suspended_or_just_resumed_runs() -> None:
    world = await started()
    await world.change(suspend=True)
    world.set_job()
    world.later(hours=1)
    await world.settle()
    assert "has no pod" not in str(world.run().status.conditions)

    await world.change(suspend=False)
    job = world.one(JOB, SERVER)
    world.api.seed(JOB, job | {"spec": job["spec"] | {"suspend": False}, "status": {"startTime": rfc3339(world.now)}})
    await world.settle()
    assert "has no pod" not in str(world.run().status.conditions)
