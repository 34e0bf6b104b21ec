"""The work of a process ends by itself, by its own error, or by a signal."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from federation.process import STOP_SIGNALS, Stopped, run_until_stopped


@pytest.fixture(autouse=True)
async def _remove_signal_handlers() -> AsyncIterator[None]:
    """Restore the handlers of the process: the tests share its event loop, which keeps those of the last test."""
    yield
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_returns_the_result_of_the_work() -> None:
    async def work() -> int:
        return 3

    assert await run_until_stopped(work()) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_cancels_the_work_and_waits_for_its_cleanup(number: signal.Signals) -> None:
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    with pytest.raises(Stopped):
        async with asyncio.timeout(60):
            await run_until_stopped(work())

    assert ended == ["work"]


async def test_raises_the_error_of_the_work() -> None:
    async def work() -> None:
        raise RuntimeError("the port is taken")

    with pytest.raises(RuntimeError, match="the port is taken"):
        await run_until_stopped(work())


async def test_a_second_signal_does_not_interrupt_the_cleanup() -> None:
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(10):  # the event loop handles the signal meanwhile
                await asyncio.sleep(0)
            ended.append("work")

    with pytest.raises(Stopped):
        await run_until_stopped(work())

    assert ended == ["work"]


async def test_a_cancellation_without_a_signal_stays_one() -> None:
    running = asyncio.create_task(run_until_stopped(asyncio.sleep(60)))
    await asyncio.sleep(0)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
