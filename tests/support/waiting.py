"""Waiting for what tasks of the same event loop bring about."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any


async def until(condition: Callable[[], bool], *, within: float = 60.0) -> None:
    """Gives the other tasks their turns until the condition holds. Raises TimeoutError when it does not."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for is any state at all, not one event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(*parts: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.TaskGroup]:
    """Runs the parts beside the body, and ends them with it; an error of theirs ends the body."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        try:
            yield group
        finally:
            for task in tasks:
                task.cancel()
