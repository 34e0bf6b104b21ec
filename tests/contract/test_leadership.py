"""Of two replicas exactly one acts, whatever befalls the other and the server."""

import asyncio

import pytest

from federation.kube.kinds import CONFIG_MAP, LEASE
from federation.kube.lease import Leadership, LeadershipLost, LeaseDurations
from federation.kube.resource import ObjectKey
from tests.support.api_server.served import Served
from tests.support.waiting import until

DURATIONS = LeaseDurations(duration=2.0, renew_deadline=1.2, retry_period=0.1)


class Replica:
    """A process that acts while it leads."""

    def __init__(self, served: Served, name: str, acting: list[str], *, beside: bool = False) -> None:
        self.name = name
        self.acting = acting
        self.served = served
        self.beside = beside
        self.leadership: Leadership | None = None
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        api = await self.served.write_api() if self.beside else self.served.api
        self.leadership = Leadership(api, ObjectKey(self.served.namespace, "leader"), self.name, durations=DURATIONS)
        self.task = asyncio.create_task(self.leadership.run(self.act))

    async def act(self) -> None:
        assert not self.acting, f"{self.acting} and {self.name} act at once"
        self.acting.append(self.name)
        try:
            await asyncio.Event().wait()
        finally:
            self.acting.remove(self.name)

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])


async def test_one_acts_and_the_other_follows_at_once_when_it_stops_cleanly(served: Served) -> None:
    acting: list[str] = []
    first, second = Replica(served, "first", acting), Replica(served, "second", acting)
    await first.start()
    await until(lambda: acting == ["first"])
    await second.start()
    clock = asyncio.get_running_loop().time
    await first.stop()
    stopped = clock()
    await until(lambda: acting == ["second"])
    assert clock() - stopped < DURATIONS.duration, "a released lease is not waited for"
    lease = await served.api.read(LEASE, ObjectKey(served.namespace, "leader"))
    assert (lease.spec.holder_identity, lease.spec.lease_transitions) == ("second", 1)
    await second.stop()
    assert acting == []


async def test_a_leader_that_cannot_renew_stops_acting_before_the_other_begins(served: Served) -> None:
    acting: list[str] = []
    cut_off, other = Replica(served, "cut-off", acting), Replica(served, "other", acting, beside=True)
    await cut_off.start()
    await until(lambda: acting == ["cut-off"])
    await other.start()
    await served.close_line()
    await until(lambda: acting == ["other"])  # Replica.act asserts that the first had ended
    assert cut_off.task is not None
    with pytest.raises(LeadershipLost):
        await cut_off.task
    await served.open_line()
    await other.stop()


async def test_a_leader_whose_lease_was_taken_stops(served: Served) -> None:
    acting: list[str] = []
    replica = Replica(served, "replica", acting)
    await replica.start()
    await until(lambda: acting == ["replica"])
    usurped = {"spec": {"holderIdentity": "usurper"}}
    await served.api.merge_patch(LEASE, ObjectKey(served.namespace, "leader"), usurped)
    assert replica.task is not None
    with pytest.raises(LeadershipLost):
        await replica.task
    assert acting == []
    lease = await served.api.read(LEASE, ObjectKey(served.namespace, "leader"))
    assert lease.spec.holder_identity == "usurper", "what is another's is not released"


async def test_a_leader_survives_a_server_that_is_away_for_less_than_its_deadline(served: Served) -> None:
    acting: list[str] = []
    replica = Replica(served, "replica", acting)
    await replica.start()
    await until(lambda: acting == ["replica"])
    for _ in range(3):
        await served.refuse_next(2, retry_after=0)
        before = await (await served.write_api()).read(LEASE, ObjectKey(served.namespace, "leader"))
        await _renewed_since(served, before.spec.renew_time)
    assert acting == ["replica"]
    await replica.stop()


async def _renewed_since(served: Served, renewed: str) -> None:
    api = await served.write_api()
    async with asyncio.timeout(60):
        renewed_again = renewed
        while renewed_again == renewed:
            lease = await api.read(LEASE, ObjectKey(served.namespace, "leader"))
            renewed_again = lease.spec.renew_time


async def test_the_leaders_action_can_end_and_its_error_is_raised(served: Served) -> None:
    key = ObjectKey(served.namespace, "leader")

    async def act() -> None:
        await served.api.create(CONFIG_MAP, {"metadata": {"name": "done", "namespace": served.namespace}})

    await Leadership(served.api, key, "one", durations=DURATIONS).run(act)
    assert (await served.api.read(LEASE, key)).spec.holder_identity == ""
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await Leadership(served.api, key, "two", durations=DURATIONS).run(act)
    assert (await served.api.read(LEASE, key)).spec.holder_identity == ""
