"""Waiting for what another program does: every wait has a name and a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

TIMEOUT: Final = 240.0
"""Seconds that a step may take on a machine that does much else; what takes longer has hung."""
TIMEOUT_FLAG: Final = f"--timeout={TIMEOUT:.0f}s"
"""The same patience, as kubectl is told of it."""
PROGRAM_TIMEOUT: Final = TIMEOUT + 10
"""Seconds for a program that has to be as patient: it says itself what did not come."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, deadline: float = TIMEOUT) -> None:
    """Returns once `holds` says so; asks ever more seldom, twice a second at the least.

    Raises:
        TimeoutError: it did not hold within `deadline` seconds; the message says `what` was waited for.
    """
    pause = _FIRST_PAUSE
    try:
        async with asyncio.timeout(deadline):
            while not await holds():
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {deadline:.0f} s") from None
