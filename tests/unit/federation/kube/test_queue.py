"""The keyed queue hands out each key once, in time, and never twice at once."""

import asyncio

import pytest

from federation.backoff import Backoff
from federation.kube.queue import KeyedQueue, Schedule


def test_a_key_marked_twice_is_handed_out_once_at_the_earlier_deadline() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 10)
    schedule.add("a", 5)
    schedule.add("a", 7)
    assert schedule.take(4.9) is None
    assert schedule.take(5) == "a"
    schedule.done("a")
    assert schedule.take(100) is None


def test_a_key_marked_during_its_run_comes_again_after_it() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0)
    assert schedule.take(0) == "a"
    schedule.add("a", 0)
    assert schedule.take(0) is None
    assert schedule.next_due() is None
    schedule.done("a")
    assert schedule.take(0) == "a"


def test_keys_come_in_the_order_of_their_deadlines_and_then_of_arrival() -> None:
    schedule: Schedule[str] = Schedule()
    for key, due in (("late", 2), ("first", 1), ("second", 1)):
        schedule.add(key, due)
    assert [schedule.take(3) for _ in range(4)] == ["first", "second", "late", None]


def test_backs_off_longer_at_each_failure_and_not_after_a_success() -> None:
    queue: KeyedQueue[str] = KeyedQueue(backoff=Backoff(first=1, cap=5, jitter=0), clock=lambda: 0.0)
    assert [queue.failed("a") for _ in range(4)] == [1, 2, 4, 5]
    queue.succeeded("a")
    assert queue.failed("a") == 1
    assert queue.failed("other") == 1


def test_waits_as_long_as_the_server_asked() -> None:
    queue: KeyedQueue[str] = KeyedQueue(backoff=Backoff(first=1, jitter=0), clock=lambda: 0.0)
    assert queue.failed("a", retry_after=20) == 20


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999], ids=str)
def test_jitter_only_shortens_the_wait(draw: float) -> None:
    backoff = Backoff(first=1, cap=8, jitter=0.5, draw=lambda: draw)
    assert all(0.5 * min(2 ** (n - 1), 8) <= backoff.delay(n) <= min(2 ** (n - 1), 8) for n in range(1, 2000))


async def test_a_waiting_worker_takes_a_key_that_is_due_earlier() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("tomorrow", delay=86400)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(queue.take())
        await asyncio.sleep(0)
        queue.add("now")
    assert waiting.result() == "now"


async def test_a_waiting_worker_takes_a_key_added_during_its_run() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("a")
    await queue.take()
    queue.add("a")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(queue.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.succeeded("a")
    assert waiting.result() == "a"
