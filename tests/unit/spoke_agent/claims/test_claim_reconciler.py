"""Claims and Datasets' statuses at the site's API server: what the agent leaves there, survives, and does not touch."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from federation.api.ocm.claims import CPU_CLAIM, DATASET_CLAIMS, GPU_CLAIM, MEMORY_CLAIM
from federation.kube.errors import Conflict, Denied, Unavailable
from federation.kube.kinds import CLUSTER_CLAIM, DATASET
from federation.kube.resource import Json, Kind, ObjectKey
from spoke_agent.claims.ownership import CLUSTER_ROLE, cluster_role_owner
from spoke_agent.claims.planning.debounce import SETTLING
from spoke_agent.claims.reconciler import SITE, ClaimReconciler, SiteView
from spoke_agent.metrics import AgentMetrics
from tests.support.builders.site_objects import OURS, dataset_json, node, policy
from tests.support.fakes.clock import Clock
from tests.support.fakes.fake_api import Crash, FakeApi


class Site:
    """A spoke with an agent whose reflectors are always up to date, unless they are frozen."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = FakeApi(now=self.clock)
        self.registry = CollectorRegistry()
        self.nodes = [node(cpu="2", memory="4Gi")]
        self.frozen: dict[str, list[Any]] = {}
        self.api.seed(CLUSTER_ROLE, {"metadata": {"name": "agent", "uid": "role-uid"}})
        self.restart()

    def restart(self) -> None:
        """A new process of the agent, which remembers nothing."""
        self.registry = CollectorRegistry()
        self.reconciler = ClaimReconciler(
            self.api,
            SiteView(datasets=self.seen(DATASET), claims=self.seen(CLUSTER_CLAIM), nodes=lambda: self.nodes),
            owner=cluster_role_owner(self.api, "agent"),
            now=self.clock,
            metrics=AgentMetrics(self.registry),
        )

    def seen(self, kind: Kind[Any]) -> Callable[[], Iterable[Any]]:
        def values() -> Iterable[Any]:
            if kind.plural in self.frozen:
                return self.frozen[kind.plural]
            return [msgspec.convert(raw, kind.struct) for raw in self.api.objects(kind)]

        return values

    def freeze(self, kind: Kind[Any]) -> None:
        """From now on the agent sees this kind as it is now."""
        self.frozen[kind.plural] = list(self.seen(kind)())

    def offer(self, name: str, **variation: Any) -> None:
        self.api.seed(DATASET, dataset_json(name, **variation))

    def claims(self) -> dict[str, str]:
        return {raw["metadata"]["name"]: raw["spec"]["value"] for raw in self.api.objects(CLUSTER_CLAIM)}

    def published(self, name: str) -> Json:
        (raw,) = [raw for raw in self.api.objects(DATASET) if raw["metadata"]["name"] == name]
        (condition,) = raw["status"]["conditions"]
        return condition  # type: ignore[no-any-return]

    async def look(self) -> float | None:
        return await self.reconciler.reconcile(SITE)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


CAPACITY = {CPU_CLAIM: "2", MEMORY_CLAIM: "4", GPU_CLAIM: "0"}


async def test_a_dataset_becomes_a_claim_and_its_status_reports_it() -> None:
    site = Site()
    site.offer("mnist")

    await site.look()

    assert site.claims() == {**CAPACITY, DATASET_CLAIMS[0]: '{"mnist":{"rows":60000}}'}
    assert (site.published("mnist")["status"], site.published("mnist")["reason"]) == ("True", "Claimed")
    assert site.reconciler.applied
    assert site.sample("federated_learning_agent_datasets", published="true") == 1


async def test_a_second_look_writes_nothing() -> None:
    site = Site()
    site.offer("mnist")
    await site.look()
    written = len(site.api.calls)

    due = await site.look()

    assert len(site.api.calls) == written
    assert due is None


async def test_a_deleted_dataset_takes_its_claim_with_it() -> None:
    site = Site()
    site.offer("mnist")
    await site.look()
    await site.api.delete(DATASET, ObjectKey("agent", "mnist"))

    await site.look()

    assert site.claims() == CAPACITY


async def test_our_claims_carry_our_label_and_go_with_the_agents_role() -> None:
    site = Site()

    await site.look()

    metadata = [raw["metadata"] for raw in site.api.objects(CLUSTER_CLAIM)]
    assert {each["labels"]["federation-ai.open-cluster-management.io/managed-by"] for each in metadata} == {
        "federated-learning-agent"
    }
    assert [each["ownerReferences"][0]["uid"] for each in metadata] == ["role-uid"] * 3
    await site.api.delete(CLUSTER_ROLE, ObjectKey("", "agent"))
    site.api.collect_garbage()
    assert site.claims() == {}


async def test_anothers_claims_stay_as_they_are() -> None:
    site = Site()
    theirs = {CPU_CLAIM: "64", "mnist.client-data": "/data", DATASET_CLAIMS[0]: "x"}
    for name, value in theirs.items():
        site.api.seed(CLUSTER_CLAIM, {"metadata": {"name": name}, "spec": {"value": value}})
    site.offer("mnist")

    await site.look()

    assert {name: site.claims()[name] for name in theirs} == theirs
    assert site.claims()[DATASET_CLAIMS[1]] == '{"mnist":{"rows":60000}}'
    assert site.sample("federated_learning_agent_foreign_claims") == 2


async def test_a_change_of_capacity_is_published_only_after_it_has_lasted() -> None:
    site = Site()
    await site.look()
    site.nodes = []

    due = await site.look()
    before = site.claims()
    site.clock.pass_(SETTLING.total_seconds())
    await site.look()

    assert due == SETTLING.total_seconds()
    assert before == CAPACITY
    assert site.claims() == {CPU_CLAIM: "0", MEMORY_CLAIM: "0", GPU_CLAIM: "0"}


async def test_an_expiry_is_when_the_agent_looks_again_and_withdraws() -> None:
    site = Site()
    site.offer("mnist")
    site.offer("brief", spec={"policy": policy(expiresAt="2030-06-01T01:00:00Z")})

    due = await site.look()
    site.clock.pass_(3600)
    await site.look()

    assert due == 3600
    assert site.claims()[DATASET_CLAIMS[0]] == '{"mnist":{"rows":60000}}'
    assert site.published("brief")["reason"] == "Expired"


async def test_a_claim_made_by_another_in_the_meantime_is_not_taken_over() -> None:
    site = Site()
    site.freeze(CLUSTER_CLAIM)
    site.api.seed(CLUSTER_CLAIM, {"metadata": {"name": CPU_CLAIM}, "spec": {"value": "64"}})

    due = await site.look()

    assert site.claims()[CPU_CLAIM] == "64"
    assert due == 2.0
    assert not site.reconciler.applied


async def test_a_claim_changed_in_the_meantime_is_looked_at_again_before_it_is_written() -> None:
    site = Site()
    site.offer("mnist")
    await site.look()
    site.freeze(CLUSTER_CLAIM)
    disowned = {"metadata": {"labels": {"federation-ai.open-cluster-management.io/managed-by": None}}}
    await site.api.merge_patch(CLUSTER_CLAIM, ObjectKey("", DATASET_CLAIMS[0]), disowned)
    site.offer("other")

    with pytest.raises(Conflict):
        await site.look()

    assert "other" not in site.claims()[DATASET_CLAIMS[0]]
    assert not site.reconciler.applied


async def test_a_failed_write_makes_the_agent_unhealthy_until_one_succeeds() -> None:
    site = Site()
    await site.look()
    site.offer("mnist")
    site.api.fail_next(Unavailable("503"))

    with pytest.raises(Unavailable):
        await site.look()
    after_failure = site.reconciler.applied
    await site.look()

    assert not after_failure
    assert site.reconciler.applied


async def test_rights_that_are_missing_are_waited_for() -> None:
    site = Site()
    site.api.fail_next(Denied("403"))

    due = await site.look()
    unwell = not site.reconciler.applied
    await site.look()

    assert due == 15.0
    assert unwell
    assert site.claims() == CAPACITY


@pytest.mark.parametrize("n_writes", range(1, 8))
async def test_the_next_agent_recovers_from_a_crash_after_any_write(n_writes: int) -> None:
    undisturbed, killed = Site(), Site()
    for site in (undisturbed, killed):
        site.offer("mnist")
        site.offer("bad", spec={"volume": {}})
        site.api.seed(CLUSTER_CLAIM, {"metadata": {"name": "stale.example", "labels": OURS}, "spec": {"value": "1"}})
    await undisturbed.look()

    killed.api.crash_after(n_writes)
    for seconds in (0.0, 0.0, SETTLING.total_seconds(), SETTLING.total_seconds()):
        killed.clock.pass_(seconds)
        try:
            await killed.look()
        except Crash:
            killed.restart()

    undisturbed.clock.pass_(SETTLING.total_seconds())
    await undisturbed.look()
    assert killed.claims() == undisturbed.claims() == {**CAPACITY, DATASET_CLAIMS[0]: '{"mnist":{"rows":60000}}'}
    assert killed.published("mnist") == undisturbed.published("mnist")
    assert killed.published("bad") == undisturbed.published("bad")
