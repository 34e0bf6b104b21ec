"""Running other programs to their end, with a deadline, and saying what went wrong in their own words."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet.waiting import PROGRAM_TIMEOUT


class CommandFailed(Exception):
    """A program ended with an error or not at all; the message holds the end of what it printed."""

    def __init__(self, argv: Sequence[str], code: int | None, output: str) -> None:
        output = output.strip()[-2000:] or "(it printed nothing)"
        end = f"ended with {code}" if code is not None else "did not end in time"
        super().__init__(f"{' '.join(argv[:12])} {end}: {output}")
        self.code = code
        self.output = output


async def run(
    *argv: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    deadline: float = PROGRAM_TIMEOUT,
) -> str:
    """What the program prints on its standard output.

    Args:
        argv: the program and its arguments; no shell reads them.
        stdin: text for its standard input; none is attached when absent.
        env: variables added to this process's own.
        cwd: the folder it runs in.
        deadline: seconds after which it is killed.

    Raises:
        CommandFailed: it ended with a code other than 0, or was killed at the deadline.
    """
    words = [str(word) for word in argv]
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(deadline):
            out, err = await process.communicate(stdin.encode() if stdin is not None else None)
    except TimeoutError:
        raise CommandFailed(words, None, "") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise CommandFailed(words, process.returncode, (err or out).decode(errors="replace"))
    return out.decode(errors="replace")


async def succeeds(*argv: str | Path, deadline: float = PROGRAM_TIMEOUT) -> bool:
    """Whether the program ends with 0."""
    try:
        await run(*argv, deadline=deadline)
    except CommandFailed:
        return False
    return True
