"""The agent writes its own claims only: all that are needed, and none twice."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from federation.api.dataset import Dataset, DatasetStatus
from federation.api.ocm.claims import CPU_CLAIM, DATASET_CLAIMS, GPU_CLAIM, MEMORY_CLAIM, ClusterClaim, datasets_in
from federation.kube.actions import Apply, Create, Delete, Patch
from federation.kube.kinds import CLUSTER_CLAIM
from federation.kube.resource import Json, ObjectKey
from spoke_agent.claims.planning.claims import claim_body, is_ours, plan_claims
from spoke_agent.claims.planning.debounce import SETTLING
from spoke_agent.claims.planning.plan import ObservedSite, SiteAction, SitePlan, plan_site
from tests.support.builders.site_objects import claim, dataset, node, policy

NOW = datetime(2030, 6, 1, tzinfo=UTC)
claim_names = st.sampled_from([*DATASET_CLAIMS[:3], CPU_CLAIM, "location.example", "mnist.client-data"])
values = st.sampled_from(["1", "2", '{"mnist":{}}', "junk"])
present_claims = st.dictionaries(claim_names, st.tuples(values, st.booleans())).map(
    lambda named: [claim(name, value, ours=ours) for name, (value, ours) in named.items()]
)


def observed(*, datasets: Iterable[Dataset] = (), claims: Iterable[ClusterClaim] = (), cpu: str = "2") -> ObservedSite:
    return ObservedSite(tuple(datasets), tuple(claims), (node(cpu=cpu, memory="4Gi"),), waiting={})


OWNER: Json = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "agent", "uid": "role-uid"}


def creation(name: str, value: str, owner: Json | None = None) -> Create:
    return Create(CLUSTER_CLAIM, ObjectKey("", name), claim_body(name, value, owner))


def claim_writes(plan: SitePlan) -> tuple[SiteAction, ...]:
    return tuple(action for action in plan.reconcile.actions if not isinstance(action, Apply))


def written_names(plan: SitePlan) -> list[str]:
    return [action.key.name for action in claim_writes(plan)]


def statuses(plan: SitePlan) -> dict[str, DatasetStatus]:
    return {
        action.key.name: msgspec.convert(action.body["status"], DatasetStatus)
        for action in plan.reconcile.actions
        if isinstance(action, Apply)
    }


def after(claims: Iterable[ClusterClaim], writes: Iterable[SiteAction]) -> tuple[ClusterClaim, ...]:
    """Return the cluster's claims once the writes have taken effect."""
    world = {each.metadata.name: each for each in claims}
    for write in writes:
        name = write.key.name
        match write:
            case Create(body=body):
                assert name not in world
                world[name] = claim(name, body["spec"]["value"])
            case Patch(patch=patch):
                world[name] = claim(name, patch["spec"]["value"])
            case Delete():
                del world[name]
    return tuple(world.values())


def carried_out(before: ObservedSite, plan: SitePlan) -> ObservedSite:
    written = statuses(plan)
    return replace(
        before,
        claims=after(before.claims, claim_writes(plan)),
        datasets=tuple(
            msgspec.structs.replace(each, status=written.get(each.metadata.name, each.status))
            for each in before.datasets
        ),
        waiting=plan.waiting,
    )


def test_creates_what_is_missing_changes_what_differs_and_removes_what_nobody_wants() -> None:
    present = [
        claim("same", "1"),
        claim("other", "1", resourceVersion="7"),
        claim("stale", uid="u"),
    ]

    plan = plan_claims({"same": "1", "other": "2", "new": "3"}, present, None)

    assert plan.writes == (
        creation("new", "3"),
        Patch(CLUSTER_CLAIM, ObjectKey("", "other"), {"metadata": {"resourceVersion": "7"}, "spec": {"value": "2"}}),
        Delete(CLUSTER_CLAIM, ObjectKey("", "stale"), "u"),
    )
    assert plan.foreign == ()


def test_a_claim_of_our_name_that_another_made_is_reported_and_left_alone() -> None:
    plan = plan_claims({CPU_CLAIM: "2"}, [claim(CPU_CLAIM, "64", ours=False)], None)

    assert (plan.writes, plan.foreign) == ((), (CPU_CLAIM,))


def test_a_label_of_the_same_key_with_another_value_does_not_make_a_claim_ours() -> None:
    label = {"federation-ai.open-cluster-management.io/managed-by": "someone-else"}

    assert not is_ours(claim("a", labels=label))


def test_a_claim_that_is_going_already_is_not_written_again() -> None:
    going = claim("a", "1", deletionTimestamp="2030-01-01T00:00:00Z")

    assert plan_claims({}, [going], None).writes == plan_claims({"a": "2"}, [going], None).writes == ()


@given(st.dictionaries(claim_names, values), present_claims)
def test_only_ours_are_touched_and_once_written_nothing_is_left_to_write(
    desired: dict[str, str], present: list[ClusterClaim]
) -> None:
    plan = plan_claims(desired, present, None)

    theirs = [each for each in present if not is_ours(each)]
    world = after(present, plan.writes)
    assert all(each in world for each in theirs)
    assert {each.metadata.name: each.spec.value for each in world if is_ours(each)} == {
        name: value for name, value in desired.items() if name not in {each.metadata.name for each in theirs}
    }
    assert plan_claims(desired, world, None).writes == ()


def test_new_claims_have_the_observed_owner() -> None:
    plan = plan_site(replace(observed(), owner=OWNER), NOW)

    assert plan.needs_owner
    assert claim_writes(plan)[0] == creation(CPU_CLAIM, "2", OWNER)


def test_a_new_site_publishes_everything_at_once() -> None:
    plan = plan_site(observed(datasets=[dataset("mnist")]), NOW)

    assert claim_writes(plan) == (
        creation(CPU_CLAIM, "2"),
        creation(DATASET_CLAIMS[0], '{"mnist":{"rows":60000}}'),
        creation(GPU_CLAIM, "0"),
        creation(MEMORY_CLAIM, "4"),
    )
    assert plan.published == 1
    assert {name: status.conditions[0].status for name, status in statuses(plan).items()} == {"mnist": "True"}


def test_a_deleted_dataset_is_unpublished_at_once_while_capacity_waits() -> None:
    told = carried_out(before := observed(datasets=[dataset("mnist")]), plan_site(before, NOW))

    plan = plan_site(replace(told, datasets=(), nodes=(node(cpu="1", memory="4Gi"),)), NOW)

    assert written_names(plan) == [DATASET_CLAIMS[0]]
    assert plan.reconcile.requeue_after == SETTLING.total_seconds()


def test_a_lasting_change_of_capacity_is_published() -> None:
    told = carried_out(before := observed(), plan_site(before, NOW))
    shrunk = replace(told, nodes=(node(cpu="1", memory="4Gi"),))

    waiting = carried_out(shrunk, plan_site(shrunk, NOW))
    plan = plan_site(waiting, NOW + SETTLING)

    assert [(w.key.name, w.patch["spec"]["value"]) for w in claim_writes(plan) if isinstance(w, Patch)] == [
        (CPU_CLAIM, "1")
    ]


def test_a_dataset_expires_by_time_alone() -> None:
    end = NOW + timedelta(hours=1)
    offered = observed(datasets=[dataset("mnist", spec={"policy": policy(expiresAt=end.isoformat())})])
    first = plan_site(offered, NOW)
    told = carried_out(offered, first)

    plan = plan_site(told, end)

    assert first.reconcile.requeue_after == 3600
    assert written_names(plan) == [DATASET_CLAIMS[0]]
    status = statuses(plan)["mnist"]
    assert (status.conditions[0].status, status.conditions[0].reason) == ("False", "Expired")
    assert status.conditions[0].last_transition_time == "2030-06-01T01:00:00Z"


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    offered = observed(datasets=[dataset("mnist", spec={"volume": {}}, generation=1)])
    told = carried_out(offered, plan_site(offered, NOW))
    edited = dataset("mnist", spec={"policy": policy(images=[])}, generation=2)
    edited = msgspec.structs.replace(edited, status=told.datasets[0].status)

    status = statuses(plan_site(replace(told, datasets=(edited,)), NOW + timedelta(hours=1)))["mnist"]

    assert status.conditions[0].last_transition_time == "2030-06-01T00:00:00Z"
    assert status.conditions[0].observed_generation == status.observed_generation == 2


def test_conditions_that_others_wrote_on_a_dataset_cause_no_write() -> None:
    offered = observed(datasets=[dataset("mnist")])
    told = carried_out(offered, plan_site(offered, NOW))
    other = {"type": "Approved", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "t"}
    mine = msgspec.to_builtins(told.datasets[0])
    mine["status"]["conditions"] = [other, *mine["status"]["conditions"]]

    assert statuses(plan_site(replace(told, datasets=(msgspec.convert(mine, Dataset),)), NOW)) == {}


def test_anothers_claim_in_the_place_of_ours_is_named_and_the_datasets_go_elsewhere() -> None:
    plan = plan_site(observed(datasets=[dataset()], claims=[claim(DATASET_CLAIMS[0], "x", ours=False)]), NOW)

    assert plan.foreign == (DATASET_CLAIMS[0],)
    assert DATASET_CLAIMS[1] in written_names(plan)


specs = st.sampled_from(
    [None, {"volume": {}}, {"policy": policy(expiresAt="2030-01-01T00:00:00Z")}, {"attributes": {"rows": 5}}]
)
site_datasets = st.dictionaries(st.from_regex(r"[a-z]{1,20}|[a-z]\.[a-z]", fullmatch=True), specs, max_size=6).map(
    lambda named: [dataset(name, spec=spec) for name, spec in named.items()]
)


@given(site_datasets, present_claims)
def test_a_plan_carried_out_leaves_nothing_to_do_but_what_waits(
    datasets: list[Dataset], claims: list[ClusterClaim]
) -> None:
    before = observed(datasets=datasets, claims=claims)

    told = carried_out(before, plan_site(before, NOW))
    later = carried_out(told, plan_site(told, NOW + SETTLING))
    last = plan_site(later, NOW + SETTLING)

    assert (last.reconcile.actions, last.waiting) == ((), {})


@given(site_datasets, present_claims, st.data())
def test_a_crash_after_any_write_converges_to_the_same_claims(
    datasets: list[Dataset], claims: list[ClusterClaim], data: Any
) -> None:
    before = observed(datasets=datasets, claims=claims)
    plan = plan_site(before, NOW)
    writes = claim_writes(plan)
    done = data.draw(st.integers(0, len(writes)))

    cut = replace(before, claims=after(before.claims, writes[:done]))
    recovered = carried_out(cut, plan_site(cut, NOW))

    undisturbed = carried_out(before, plan)
    assert {(c.metadata.name, c.spec.value) for c in recovered.claims} == {
        (c.metadata.name, c.spec.value) for c in undisturbed.claims
    }


@given(site_datasets, present_claims)
def test_a_dataset_reads_as_published_exactly_when_a_claim_carries_it(
    datasets: list[Dataset], claims: list[ClusterClaim]
) -> None:
    before = observed(datasets=datasets, claims=claims)

    told = carried_out(before, plan_site(before, NOW))

    ours = {each.metadata.name: each.spec.value for each in told.claims if is_ours(each)}
    reads = {each.metadata.name for each in told.datasets if each.status.conditions[0].status == "True"}
    assert reads == set(datasets_in(ours))
