"""Test how a changed cohort is published: to the aggregator by generation, to the clusters by ManifestWork."""

from typing import Any

import msgspec
import pytest

from federation.api.aggregator_run import COHORT_FILE, Cohort
from federation.kube.errors import Conflict
from federation.kube.kinds import CONFIG_MAP, FEDERATED_LEARNING
from federation.kube.resource import ObjectKey
from tests.support.builders.run_objects import run_json
from tests.support.fakes.run_world import KEY, RunWorld, clusters, started

SERVER = ObjectKey("default", "mnist-server")
ALL = ("c1", "c2", "c3")


def cohort(world: RunWorld) -> Cohort:
    return msgspec.json.decode(world.one(CONFIG_MAP, SERVER)["data"][COHORT_FILE], type=Cohort)


def dialling(world: RunWorld) -> list[str]:
    """Return the clusters that have the aggregator's address."""
    return [name for name, spec in world.collaborators().items() if spec.get("aggregator")]


async def open_run(**fields: Any) -> RunWorld:
    return await started(run_json(server={"joinPolicy": "NextRound"}), *ALL, selected={"default/mnist": ALL}, **fields)


async def test_a_deselected_member_returns_when_it_is_selected_again() -> None:
    world = await open_run()
    before = cohort(world)

    world.selected["default/mnist"] = ("c1", "c2")
    await world.settle()
    without = cohort(world)
    assert (without.members, without.revoked) == (("c1", "c2"), ())
    assert dialling(world) == ["c1", "c2"]

    world.selected["default/mnist"] = ALL
    await world.settle()
    again = cohort(world)
    assert (again.members, again.revoked) == (ALL, ())
    assert dialling(world) == list(ALL)
    assert before.generation < without.generation < again.generation


async def test_a_member_that_is_accepted_again_is_asked_again_and_no_longer_revoked() -> None:
    world = await started(None, *ALL, selected={"default/mnist": ALL})
    before = cohort(world)

    world.add_cluster("c2", accepted=False)
    await world.settle()
    revoked = cohort(world)
    assert (revoked.members, revoked.revoked) == (ALL, ("c2",))
    assert dialling(world) == ["c1", "c3"]

    world.add_cluster("c2")
    await world.settle()
    again = cohort(world)
    assert (again.members, again.revoked) == (ALL, ())
    assert dialling(world) == list(ALL)
    assert before.generation < revoked.generation < again.generation


@pytest.mark.parametrize("policy", ["Frozen", "NextRound"])
async def test_a_cluster_forged_into_the_cohort_gets_nothing(policy: str) -> None:
    """The user's image may hold the aggregator's token; no binding and no Placement selected the cluster."""
    world = await started(run_json(server={"joinPolicy": policy}))
    world.add_cluster("secret")

    written = {"status": {"cohort": ["c1", "c2", "secret"]}}
    await world.api.merge_patch(FEDERATED_LEARNING, KEY, written, subresource="status")
    world.restart()
    await world.settle()

    assert [cluster for cluster, _ in world.works()] == ["c1", "c2"]
    assert set(cohort(world).members) - set(cohort(world).revoked) == {"c1", "c2"}
    assert world.condition("CohortReady") == ("True", "CohortFixed")
    shown = {c.name: (c.state, c.reason) for c in world.run().status.clusters}
    assert shown.get("secret", ("Lost", "ClusterNotChosen")) == ("Lost", "ClusterNotChosen")
    assert ("secret" in shown) == (policy == "Frozen")


async def test_a_forged_cohort_of_a_waiting_run_reaches_only_chosen_clusters() -> None:
    world = clusters(RunWorld(silent={"c1", "c2"}), "c1", "c2", "secret")
    await world.submit()
    await world.settle()

    for attempt in (1, 7):
        forged = {"status": {"cohort": ["c1", "c2", "secret"], "attempt": attempt}}
        await world.api.merge_patch(FEDERATED_LEARNING, KEY, forged, subresource="status")
        await world.settle()
        assert "secret" not in dict(world.works())


async def test_deselected_members_stay_members_after_a_restart_of_the_manager() -> None:
    world = await started()
    before = world.works(), cohort(world)

    world.selected["default/mnist"] = ()
    world.restart()
    await world.settle()

    assert (world.works(), cohort(world)) == before
    assert [c.state for c in world.run().status.clusters] == ["Running", "Running"]
    assert await world.writes_of() == 0


async def test_a_member_without_a_work_returns_once_it_is_selected() -> None:
    """Its add-on was disabled and its ManifestWork removed, so it looks like a name forged into the cohort."""
    world = await started(None, *ALL, selected={"default/mnist": ALL})
    world.add_cluster("c2", accepted=False)
    world.selected["default/mnist"] = ("c1", "c3")
    await world.settle()
    assert (cohort(world).members, cohort(world).revoked) == (ALL, ("c2",))

    world.add_cluster("c2")
    await world.settle()
    assert world.run().status.clusters[1].reason == "ClusterNotChosen"
    assert "placement does not select" in world.run().status.clusters[1].last_error
    assert dialling(world) == ["c1", "c3"]
    assert (cohort(world).members, cohort(world).revoked, world.run().status.cohort) == (ALL, ("c2",), ALL)

    world.selected["default/mnist"] = ALL
    await world.settle()
    assert (cohort(world).members, cohort(world).revoked) == (ALL, ())
    assert dialling(world) == list(ALL)
    assert world.run().status.clusters[1].state == "Running"


async def test_a_later_cluster_gets_the_address_only_once_the_aggregator_admits_it() -> None:
    world = await started(run_json(server={"joinPolicy": "NextRound"}), *ALL, silent={"c3"})

    world.selected["default/mnist"] = ALL
    await world.settle()
    assert [cluster for cluster, _ in world.works()] == list(ALL)
    assert dialling(world) == ["c1", "c2"]

    world.silent.clear()
    await world.settle()
    assert cohort(world).members == ALL
    assert dialling(world) == list(ALL)


async def test_an_unchanged_cohort_keeps_its_generation() -> None:
    world = await started()
    before = cohort(world)

    world.later(hours=1)
    await world.settle()

    assert cohort(world) == before


async def test_a_cohort_created_again_has_a_higher_generation() -> None:
    world = await started()
    before = cohort(world)
    world.api.remove(CONFIG_MAP, SERVER)

    world.later(seconds=10)
    await world.settle()

    assert cohort(world).generation > before.generation
    assert cohort(world).members == before.members


async def test_two_cohorts_never_share_a_generation() -> None:
    """A manager with an outdated view would number from a ConfigMap that no longer exists."""
    world = await started()
    world.add_cluster("c2", accepted=False)
    world.refresh_stores()
    await world.api.merge_patch(CONFIG_MAP, SERVER, {"metadata": {"annotations": {"moved": "on"}}})

    with pytest.raises(Conflict):
        await world.reconciler.reconcile(KEY)
