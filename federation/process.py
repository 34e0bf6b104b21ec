"""The start and the end of every long-running process: run the work until it ends or a signal stops the process."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""The kubelet sends SIGTERM; a terminal sends SIGINT."""


class Stopped(Exception):
    """A signal stopped the process, and its work has been cancelled and has ended."""


async def run_until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Run the work and return its result; a stop signal cancels it.

    The signal handlers stay until the event loop is closed, so that a second signal does not interrupt the cleanup.

    Raises:
        Stopped: SIGTERM or SIGINT was received and the work has ended.
        CancelledError: The caller was cancelled, without a signal.
        Exception: The error of the work.
    """
    running = asyncio.create_task(work)
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if not is_stopping:
            is_stopping = True
            running.cancel()

    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        return await running
    except asyncio.CancelledError as error:
        if is_stopping:
            raise Stopped from error
        raise
