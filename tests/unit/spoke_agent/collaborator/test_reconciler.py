"""The reconciler of Collaborators survives faults and leaves other objects alone, at an API server."""

from typing import Any

import msgspec
import pytest

from federation.api.collaborator import COLLABORATOR_LABEL
from federation.kube.errors import Denied, Invalid, Unavailable
from federation.kube.kinds import COLLABORATOR, COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY, COLLABORATOR_POD
from federation.kube.resource import Kind
from spoke_agent.collaborator.planning.plan import REFUSAL_RETRY
from spoke_agent.collaborator.reconciler import STALE_RETRY
from tests.support.builders.collaborator_objects import AGGREGATOR, collaborator_json, reference
from tests.support.fakes.collaborator_world import KEY, World
from tests.support.fakes.fake_api import Crash


@pytest.mark.parametrize("kind", [COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY], ids=["job", "network policy"])
@pytest.mark.parametrize("aggregator", [AGGREGATOR, None], ids=["to run", "not to run"])
@pytest.mark.parametrize("owners", [[], [reference("Collaborator", "earlier")]], ids=["unowned", "an earlier one's"])
async def test_objects_of_other_owners_are_left_alone(kind: Kind[Any], aggregator: Any, owners: list[Any]) -> None:
    world = World()
    metadata = {"name": KEY.name, "namespace": "agent", "ownerReferences": owners}
    theirs = world.api.seed(kind, {"metadata": metadata, "spec": {"a": 1}})
    world.ask(aggregator=aggregator)

    await world.settle()

    assert world.find(kind, KEY) == theirs
    assert world.status.reason == ("WaitingForAggregator" if aggregator is None else "NameTaken")
    assert {call.plural for call in world.api.calls} == {"collaborators"}


async def test_a_pod_with_the_label_alone_does_not_affect_the_status() -> None:
    world = World()
    world.ask()
    await world.settle()
    world.api.seed(
        COLLABORATOR_POD,
        {
            "metadata": {"name": "liar", "namespace": "agent", "labels": {COLLABORATOR_LABEL: KEY.name}},
            "status": {"containerStatuses": [{"name": "collaborator", "state": {"running": {}}}]},
        },
    )

    await world.settle()

    assert world.status.state == "Starting"


@pytest.mark.parametrize("error", [Denied("403 Forbidden: exceeded quota"), Invalid("422 Invalid: spec.template")])
async def test_a_job_that_the_api_server_rejects_is_reported_and_retried(error: Exception) -> None:
    world = World()
    world.ask()
    await world.settle()
    world.api.remove(COLLABORATOR_JOB, KEY)
    world.api.fail_next(error)  # type: ignore[arg-type]

    again = await world.reconciler.reconcile(KEY)

    assert (again, world.status.reason) == (REFUSAL_RETRY, "JobRefused")
    assert str(error) in world.status.message
    await world.settle()
    assert world.status.reason == "PodPending"
    assert world.raw(COLLABORATOR_JOB) is not None


async def test_a_settled_collaborator_causes_no_calls() -> None:
    world = World()
    world.ask()
    await world.settle()
    world.api.calls.clear()

    await world.reconciler.reconcile(KEY)

    assert world.api.calls == []


@pytest.mark.parametrize("spec", [{"args": ["changed"]}, {"aggregator": None}, {}], ids=["changed", "stopped", "same"])
async def test_a_job_that_is_being_deleted_is_waited_for(spec: dict[str, Any]) -> None:
    world = World()
    world.ask()
    await world.settle()
    await world.api.delete(COLLABORATOR_JOB, KEY, propagation="Foreground")
    world.ask(**spec)
    world.api.calls.clear()

    await world.settle()

    assert {call.plural for call in world.api.calls} <= {"collaborators"}


async def test_an_outdated_store_creates_nothing_twice() -> None:
    world = World()
    world.ask()
    await world.settle()
    world.frozen["jobs"] = None

    assert await world.reconciler.reconcile(KEY) == STALE_RETRY
    assert len(world.api.objects(COLLABORATOR_JOB)) == 1


async def test_a_transient_error_is_left_to_the_controller() -> None:
    world = World()
    world.ask()
    world.api.fail_next(Unavailable("503"))

    with pytest.raises(Unavailable):
        await world.reconciler.reconcile(KEY)
    await world.settle()

    assert world.raw(COLLABORATOR_JOB) is not None


async def test_a_missing_or_deleting_collaborator_causes_no_calls() -> None:
    world = World()

    assert await world.reconciler.reconcile(KEY) is None
    world.api.seed(
        COLLABORATOR, collaborator_json(metadata={"deletionTimestamp": "2030-01-01T00:00:00Z", "finalizers": ["x"]})
    )
    assert await world.reconciler.reconcile(KEY) is None

    assert world.api.calls == []


@pytest.mark.parametrize("writes", [1, 2, 3, 4, 5, 6, 7])
async def test_a_crash_after_any_write_converges_to_the_same_end(writes: int) -> None:
    async def life(world: World) -> tuple[Any, ...]:
        for spec in ({}, {"aggregator": {"addresses": ["198.51.100.8:30051"]}}):
            world.ask(**spec)
            for _ in range(8):
                try:
                    await world.settle()
                except Crash:
                    world.restart()
                job = world.raw(COLLABORATOR_JOB)
                if job is not None and "deletionTimestamp" in job["metadata"]:
                    world.job_goes()
        job, confined = world.raw(COLLABORATOR_JOB), world.raw(COLLABORATOR_NETWORK_POLICY)
        assert job is not None
        assert confined is not None
        return job["spec"], confined["spec"], msgspec.to_builtins(world.status)

    undisturbed = World()
    expected = await life(undisturbed)
    assert len(undisturbed.api.calls) >= 7
    disturbed = World()
    disturbed.api.crash_after(writes)

    assert await life(disturbed) == expected
