"""Runs other programs to completion, with a deadline, and reports their own error output."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet.waiting import PROGRAM_TIMEOUT


class CommandFailed(Exception):
    """A program failed or timed out; the message contains the end of its output."""

    def __init__(self, argv: Sequence[str], code: int | None, output: str) -> None:
        excerpt = output.strip()[-2000:] or "(no output)"
        end = f"exited with {code}" if code is not None else "timed out"
        super().__init__(f"{' '.join(argv[:12])} {end}: {excerpt}")
        self.code = code
        self.output = output


async def run(
    *argv: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    deadline: float = PROGRAM_TIMEOUT,
) -> str:
    """Run the program and return its standard output.

    Args:
        argv: the program and its arguments; no shell is involved.
        stdin: text for its standard input; /dev/null if None.
        env: variables added to this process's environment.
        cwd: the working directory.
        deadline: seconds after which the program is killed.

    Raises:
        CommandFailed: the program exited with a code other than 0, or was killed at the deadline.
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
    """Run the program and return whether it exits with 0."""
    try:
        await run(*argv, deadline=deadline)
    except CommandFailed:
        return False
    return True
