"""Waits for the effects of other programs; every wait has a description and a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

TIMEOUT: Final = 240.0
"""Seconds that a step may take on a busy machine."""
TIMEOUT_FLAG: Final = f"--timeout={TIMEOUT:.0f}s"
"""The same timeout, as a flag of kubectl."""
PROGRAM_TIMEOUT: Final = TIMEOUT + 10
"""Seconds for a program that applies TIMEOUT itself, so that it can report its own error."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, deadline: float = TIMEOUT) -> None:
    """Poll until `holds` returns True, at first every 0.05 s and later every 0.5 s.

    Raises:
        TimeoutError: `holds` did not return True within `deadline` seconds; the message contains `what`.
    """
    pause = _FIRST_PAUSE
    try:
        async with asyncio.timeout(deadline):
            while not await holds():
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
    except TimeoutError:
        raise TimeoutError(f"timed out after {deadline:.0f} s waiting for: {what}") from None
