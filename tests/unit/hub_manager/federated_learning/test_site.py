"""Test how a cluster's report is read: bounded, and of the current attempt only."""

import msgspec
import pytest

from federation.api.ocm.work import ManifestWork
from federation.api.run_status import ClusterState
from federation.kube.errors import Conflict, Unavailable
from federation.kube.kinds import JOB
from federation.kube.resource import Json, ObjectKey
from hub_manager.federated_learning.site import MESSAGE_CHARACTERS, SiteReport, report_of
from tests.support.fakes.run_world import RunWorld, clusters, feedback, started

SERVER = ObjectKey("default", "mnist-server")


def _work(said: Json, *, applied: str = "") -> ManifestWork:
    result = {"resourceMeta": {"kind": "Collaborator"}, "statusFeedback": said}
    conditions = [{"type": "Applied", "status": applied, "message": "no such kind"}] if applied else []
    status = {"conditions": conditions, "resourceStatus": {"manifests": [result]}}
    return msgspec.convert({"metadata": {}, "status": status}, ManifestWork)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("Refused", ClusterState.REFUSED),
        ("Starting", ClusterState.ACCEPTED),
        ("Retrying", ClusterState.RUNNING),
        ("Failed", ClusterState.FAILED),
        ("Aggregator", ClusterState.PENDING),
        ("", ClusterState.PENDING),
    ],
)
def test_an_unknown_state_counts_as_pending(state: str, expected: ClusterState) -> None:
    assert report_of(_work(feedback("r-1", state=state)), "r-1").state is expected


def test_a_report_on_an_earlier_attempt_is_ignored() -> None:
    said = feedback("r-1", state="Failed", reason="WorkspaceFailed", message="old")

    assert report_of(_work(said), "r-2") == SiteReport(ClusterState.PENDING)


def test_a_report_is_truncated_and_printable() -> None:
    said = feedback("r", state="Failed", reason="not a reason\n", message="\x1b[2J" + "x" * 5000)
    found = report_of(_work(said), "r")

    assert found.reason == ""
    assert len(found.message) == MESSAGE_CHARACTERS
    assert "\x1b" not in found.message


def test_a_work_that_cannot_be_applied_reports_the_error() -> None:
    assert report_of(_work({}, applied="False"), "r") == SiteReport(ClusterState.PENDING, "NotApplied", "no such kind")


@pytest.mark.parametrize("error", [Conflict("stale"), Unavailable("down")], ids=["conflict", "unavailable"])
async def test_a_temporary_error_never_fails_a_run(error: Conflict | Unavailable) -> None:
    """Regression: a conflict in an update of the finalizer or the Placement made the run Failed forever."""
    world = clusters(RunWorld(), "c1", "c2")
    await world.submit()
    for step in range(3):
        world.api.fail_next(error)
        with pytest.raises(type(error)):
            await world.reconcile()
        await world.reconcile()
        assert world.run().status.phase != "Failed", step
        world.decide()

    await world.settle()
    assert world.run().status.phase == "Running"


async def test_a_deleted_aggregator_is_created_again_for_the_same_attempt() -> None:
    world = await started()
    await world.api.delete(JOB, SERVER)
    await world.settle()

    assert world.one(JOB, SERVER)["metadata"]["labels"]["federation-ai.open-cluster-management.io/attempt"] == "1"
    assert world.run().status.phase == "Running"
