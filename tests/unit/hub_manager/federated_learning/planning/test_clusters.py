"""Test which clusters are members of a run, and how their status is reported."""

import pytest

from federation.api.aggregator_run import COHORT_FILE
from federation.kube.kinds import CONFIG_MAP, FEDERATED_LEARNING, JOB, MANAGED_CLUSTER, MANIFEST_WORK
from federation.kube.resource import ObjectKey
from tests.support.builders.run_objects import SERVER, run_json
from tests.support.fakes.run_world import KEY, RunWorld, clusters, present, started

CLAIM = "mnist.client-data"


async def by_claims(**values: str) -> RunWorld:
    """Submit a run whose clusters name their datasets by claims."""
    expression = {"key": CLAIM, "operator": "Exists"}
    predicate = {"requiredClusterSelector": {"claimSelector": {"matchExpressions": [expression]}}}
    world = RunWorld(selected={"default/mnist": tuple(values)})
    for name, value in values.items():
        world.add_cluster(name, claims={CLAIM: value})
    await world.submit(run_json(client={"placement": {"predicates": [predicate]}, "dataset": ""}))
    await world.settle()
    return world


async def test_a_changed_placement_restarts_nothing() -> None:
    """Regression: a cluster that joined or left while Running had the Job deleted and recreated."""
    world = await started(None, "c1", "c2", "c3")
    job = world.one(JOB, SERVER)

    for selection in (("c1", "c2", "c3"), ("c1",), ("c2", "c3")):
        world.selected["default/mnist"] = selection
        await world.settle()

    assert world.one(JOB, SERVER)["metadata"]["uid"] == job["metadata"]["uid"]
    assert world.one(JOB, SERVER)["spec"] == job["spec"]
    assert world.run().status.cohort == ("c1", "c2")
    assert [cluster for cluster, _ in world.works()] == ["c1", "c2"]


async def test_with_next_round_a_later_cluster_joins_without_a_restart() -> None:
    world = await started(run_json(server={"joinPolicy": "NextRound"}), "c1", "c2", "c3")
    job = world.one(JOB, SERVER)

    world.selected["default/mnist"] = ("c1", "c2", "c3")
    await world.settle()

    assert world.run().status.cohort == ("c1", "c2", "c3")
    assert '"c3"' in world.one(CONFIG_MAP, SERVER)["data"][COHORT_FILE]
    assert world.one(JOB, SERVER) == job


async def test_deselected_clusters_are_cleaned_up_while_waiting_and_at_deletion() -> None:
    """Regression: a deselected cluster's work stayed, and survived the resource's deletion."""
    world = clusters(RunWorld(silent={"c1", "c2"}), "c1", "c2", "c3")
    await world.submit()
    await world.settle()
    assert [cluster for cluster, _ in world.works()] == ["c1", "c2"]

    world.selected["default/mnist"] = ("c2", "c3")
    await world.settle()
    assert [cluster for cluster, _ in world.works()] == ["c2", "c3"]

    world.selected["default/mnist"] = ()
    await world.api.delete(FEDERATED_LEARNING, KEY)
    await world.settle()
    assert world.works() == []
    assert world.api.objects(FEDERATED_LEARNING) == []


async def test_a_lost_quorum_is_a_temporary_condition() -> None:
    """Regression: below minAvailableClients a running run stayed Running with nothing but another message."""
    world = await started()
    world.add_cluster("c2", accepted=False)
    await world.settle()

    assert world.condition("CohortReady") == ("False", "QuorumLost")
    assert "c2" in world.run().status.message
    assert world.run().status.phase == "Running"
    assert '"revoked":["c2"]' in world.one(CONFIG_MAP, SERVER)["data"][COHORT_FILE]
    assert [cluster for cluster, _ in world.works()] == ["c1"]

    world.add_cluster("c2")
    await world.settle()
    assert world.condition("CohortReady") == ("True", "CohortFixed")


async def test_a_placement_by_labels_alone_starts() -> None:
    """Regression: a placement by labels alone never started, and the status reported 0 matching clusters."""
    predicate = {"requiredClusterSelector": {"labelSelector": {"matchLabels": {"a": "b"}}}}
    world = await started(run_json(client={"placement": {"predicates": [predicate]}}))

    assert world.run().status.phase == "Running"


@pytest.mark.parametrize("value", ["/data/private/c1", "a\nb: c", "1\n---\napiVersion: v1\nkind: Pod", "", "x" * 64])
async def test_an_invalid_claim_excludes_only_its_cluster(value: str) -> None:
    """Regression: one bad claim value blocked the whole federation, or became objects of the spoke's choice."""
    world = await by_claims(c1="digits-1", c2="2", c3=value)

    assert world.run().status.cohort == ("c1", "c2")
    assert {name: spec["dataset"] for name, spec in world.collaborators().items()} == {"c1": "digits-1", "c2": "2"}
    assert [(c.name, c.reason) for c in world.run().status.clusters if c.state == "Refused"] == []
    assert all(len(w["spec"]["workload"]["manifests"]) == 1 for w in world.api.objects(MANIFEST_WORK))


@pytest.mark.parametrize("claims", [{}, {CLAIM: "/data"}, {CLAIM: "others"}], ids=["gone", "unusable", "changed"])
async def test_a_changed_claim_of_a_member_has_no_effect(claims: dict[str, str]) -> None:
    world = await by_claims(c1="digits-1", c2="digits-2")
    before = world.api.objects(MANIFEST_WORK)

    world.add_cluster("c2", claims=claims)
    await world.settle()

    assert world.run().status.phase == "Running"
    assert world.run().status.clusters[1].state == "Running"
    assert world.api.objects(MANIFEST_WORK) == before


async def test_a_returning_member_without_a_claim_is_asked_once_it_has_one() -> None:
    world = await by_claims(c1="digits-1", c2="digits-2")
    world.add_cluster("c2", accepted=False)
    await world.settle()

    world.add_cluster("c2", claims={})
    await world.settle()
    assert world.run().status.phase == "Running"
    assert (world.run().status.clusters[1].state, world.run().status.clusters[1].reason) == (
        "Pending",
        "DataClaimUnusable",
    )

    world.add_cluster("c2", claims={CLAIM: "digits-2"})
    await world.settle()
    assert world.run().status.clusters[1].state == "Running"
    assert world.collaborators()["c2"]["dataset"] == "digits-2"


async def test_a_refusing_cluster_is_reported_with_its_reason() -> None:
    refusal = {"state": "Refused", "reason": "ImageNotAllowed", "message": "ask the site for registry.example.org/"}
    world = clusters(RunWorld(sites={"c2": refusal}), "c1", "c2")
    await world.submit()
    await world.settle()

    assert world.condition("CohortReady") == ("False", "SitesRefused")
    assert "c2 Refused (ImageNotAllowed: ask the site for registry.example.org/)" in world.run().status.message


async def test_a_run_starts_without_a_refusing_cluster_if_enough_others_accept() -> None:
    refusal = {"state": "Refused", "reason": "ImageNotAllowed"}
    world = await started(None, "c1", "c2", "c3", sites={"c2": refusal}, selected={"default/mnist": ("c1", "c2", "c3")})

    assert world.run().status.cohort == ("c1", "c3")


async def test_a_silent_cluster_is_waited_for_only_for_a_limited_time() -> None:
    world = clusters(RunWorld(silent={"c3"}, selected={"default/mnist": ("c1", "c2", "c3")}), "c1", "c2", "c3")
    await world.submit()
    await world.settle()
    assert world.run().status.cohort == ()
    assert 0 < (await world.reconcile() or 0) <= 30

    world.later(seconds=31)
    await world.settle()
    assert world.run().status.cohort == ("c1", "c2")


async def test_a_cluster_that_the_hub_does_not_accept_is_never_asked() -> None:
    world = clusters(RunWorld(), "c1")
    world.add_cluster("c2", accepted=False)
    await world.submit()
    await world.settle()

    assert [cluster for cluster, _ in world.works()] == ["c1"]
    assert world.run().status.clusters[1].reason == "ClusterNotAccepted"


async def test_an_unbound_cluster_set_is_a_condition_and_global_is_bound() -> None:
    world = clusters(RunWorld(), "c1", "c2")
    await world.submit(run_json(client={"placement": {"clusterSets": ["prod"]}}))
    await world.settle()

    assert world.condition("Scheduled") == ("False", "ClusterSetNotBound")
    assert "clusteradm clusterset bind" in world.run().status.message
    assert present(world)["Placement"] == []


async def test_too_few_clusters_say_how_many_and_what_to_do() -> None:
    world = clusters(RunWorld(selected={"default/mnist": ("c1",)}), "c1")
    await world.submit()
    await world.settle()

    assert world.condition("Scheduled") == ("False", "TooFewClusters")
    assert world.run().status.message.startswith("1 of at least 2 clusters are selected")


async def test_a_removed_member_is_lost_and_keeps_its_position() -> None:
    world = await started()
    world.api.remove(MANAGED_CLUSTER, ObjectKey("", "c1"))
    await world.settle()

    assert world.run().status.cohort == ("c1", "c2")
    assert [(c.name, c.state) for c in world.run().status.clusters] == [("c1", "Lost"), ("c2", "Running")]
