"""The site's scores at the hub's API server: when the agent writes them, and what it waits for."""

import pytest
from prometheus_client import CollectorRegistry

from federation.api.ocm.claims import SCORE_OBJECT
from federation.kube.errors import Denied, Unavailable
from federation.kube.kinds import ADD_ON_PLACEMENT_SCORE
from federation.kube.resource import Json, ObjectKey
from spoke_agent.claims.reconciler import SITE
from spoke_agent.claims.score_writer import ScoreWriter
from spoke_agent.metrics import AgentMetrics
from tests.support.builders.site_objects import node, pod
from tests.support.fakes.clock import Clock
from tests.support.fakes.fake_api import FakeApi


class Hub:
    """The hub as a site's agent sees it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = FakeApi(now=self.clock)
        self.nodes = [node(cpu="4", memory="8Gi")]
        self.pods = [pod(cpu="1")]
        self.writer = ScoreWriter(
            self.api,
            "c1",
            nodes=lambda: self.nodes,
            pods=lambda: self.pods,
            now=self.clock,
            metrics=AgentMetrics(CollectorRegistry()),
        )

        self.make_object()

    def make_object(self) -> None:
        self.api.seed(ADD_ON_PLACEMENT_SCORE, {"metadata": {"name": SCORE_OBJECT, "namespace": "c1"}})

    async def look(self) -> float | None:
        return await self.writer.reconcile(SITE)

    def status(self) -> Json:
        (raw,) = self.api.objects(ADD_ON_PLACEMENT_SCORE)
        assert (raw["metadata"]["namespace"], raw["metadata"]["name"]) == ("c1", SCORE_OBJECT)
        return raw["status"]  # type: ignore[no-any-return]

    def score(self, name: str) -> int:
        (value,) = [each["value"] for each in self.status()["scores"] if each["name"] == name]
        assert isinstance(value, int)
        return value


async def test_the_first_scores_are_on_the_hub_at_once_with_their_end() -> None:
    hub = Hub()

    due = await hub.look()

    assert hub.status()["validUntil"] == "2030-06-01T00:05:00Z"
    assert len(hub.status()["scores"]) == 6
    assert due == 150


async def test_scores_are_renewed_before_they_expire_though_nothing_changed() -> None:
    hub = Hub()
    hub.clock.pass_(await hub.look() or 0)

    await hub.look()

    assert hub.status()["validUntil"] == "2030-06-01T00:07:30Z"


async def test_a_notable_change_is_written_within_seconds_and_a_burst_of_events_once() -> None:
    hub = Hub()
    await hub.look()
    busy = hub.score("freeCPU")
    hub.pods = []

    waits = [await hub.look() for _ in range(20)]
    hub.clock.pass_(5)
    await hub.look()

    assert waits == [5.0] * 20
    assert hub.score("freeCPU") > busy
    assert len(hub.api.calls) == 2


async def test_scores_wait_for_the_hub_manager_to_make_their_object() -> None:
    hub = Hub()
    await hub.api.delete(ADD_ON_PLACEMENT_SCORE, ObjectKey("c1", SCORE_OBJECT))

    due = await hub.look()
    hub.make_object()
    await hub.look()

    assert due == 15.0
    assert hub.status()["scores"]
    assert {call.verb for call in hub.api.calls} == {"delete", "apply"}


async def test_scores_that_the_hub_did_not_take_are_tried_again_at_once() -> None:
    hub = Hub()
    hub.api.fail_next(Unavailable("503"))

    with pytest.raises(Unavailable):
        await hub.look()
    await hub.look()

    assert hub.status()["scores"]


async def test_rights_that_are_missing_on_the_hub_are_waited_for() -> None:
    hub = Hub()
    hub.api.fail_next(Denied("403"))

    due = await hub.look()
    await hub.look()

    assert due == 15.0
    assert hub.status()["scores"]
