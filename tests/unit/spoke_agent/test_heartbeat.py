"""The add-on's Lease: when the agent renews it, and when it lets it lapse."""

from datetime import timedelta

from prometheus_client import CollectorRegistry

from federation.kube.errors import Unavailable
from federation.kube.kinds import LEASE
from federation.kube.resource import Json
from spoke_agent.health import LEASE_NAME, RENEWAL, RETRY, UNHEALTHY_INTERVAL, HealthInputs, Heartbeat
from spoke_agent.metrics import AgentMetrics
from tests.support.fakes.clock import Clock
from tests.support.fakes.fake_api import FakeApi


class Patient:
    """An agent's heartbeat, with health_inputs that a test sets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = FakeApi(now=self.clock)
        self.health_inputs = HealthInputs(silence={"nodes": 0.0}, claims_applied=True, hub_kubeconfig=True)
        self.role = "first"
        self.heart = Heartbeat(
            self.api,
            "agent",
            "agent-0",
            health_inputs=lambda: self.health_inputs,
            owner=self.owner,
            now=self.clock,
            metrics=AgentMetrics(CollectorRegistry()),
        )

    async def owner(self) -> Json | None:
        return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "role", "uid": self.role}

    def owners(self) -> list[str]:
        return [o["uid"] for raw in self.api.objects(LEASE) for o in raw["metadata"].get("ownerReferences", [])]

    def renewed(self) -> str | None:
        leases = self.api.objects(LEASE)
        assert all((raw["metadata"]["namespace"], raw["metadata"]["name"]) == ("agent", LEASE_NAME) for raw in leases)
        return leases[0]["spec"]["renewTime"] if leases else None


async def test_a_well_agent_makes_its_lease_and_renews_it_each_minute() -> None:
    patient = Patient()

    first = await patient.heart.beat()
    made = patient.renewed()
    patient.clock.pass_(first.total_seconds())
    await patient.heart.beat()

    assert first == RENEWAL == timedelta(seconds=60)
    assert (made, patient.renewed()) == ("2030-06-01T00:00:00.000000Z", "2030-06-01T00:01:00.000000Z")


async def test_the_lease_belongs_to_the_agents_role_and_to_the_one_that_followed_it() -> None:
    patient = Patient()

    await patient.heart.beat()
    first = patient.owners()
    patient.role = "second"
    await patient.heart.beat()

    assert (first, patient.owners()) == (["first"], ["second"])


async def test_an_unhealthy_agent_does_not_renew_its_lease_and_checks_again_soon() -> None:
    patient = Patient()
    await patient.heart.beat()
    patient.health_inputs = HealthInputs(silence={"nodes": None}, claims_applied=True, hub_kubeconfig=True)
    patient.clock.pass_(60)

    wait = await patient.heart.beat()

    assert wait == UNHEALTHY_INTERVAL == timedelta(seconds=1)
    assert patient.renewed() == "2030-06-01T00:00:00.000000Z"


async def test_an_agent_that_was_never_well_makes_no_lease() -> None:
    patient = Patient()
    patient.health_inputs = HealthInputs(silence={}, claims_applied=False, hub_kubeconfig=False)

    await patient.heart.beat()

    assert patient.renewed() is None


async def test_a_renewal_that_fails_is_tried_again_soon() -> None:
    patient = Patient()
    patient.api.fail_next(Unavailable("503"))

    wait = await patient.heart.beat()
    await patient.heart.beat()

    assert wait == RETRY
    assert patient.renewed() is not None
