"""The journal of a run: the durable facts, one step a line, only ever added to, or begun anew as a whole.

A line is the BLAKE3 digest of its text, cut to 16 digits, a space, and the text: JSON with the line's number and the
step's facts. A step is one line, so it is there whole or not at all. A line is durable before `append` returns.

A process that dies while it writes leaves at most a torn last line: nothing of its step was done yet, so it is cut off.
A line that is broken anywhere else is damage that nobody can mend by guessing, and is an error.

A journal begins anew in a file of its own, which takes the other's name once it is durable: at any moment one of the
two is there, whole. Its first line holds a snapshot, and is never torn.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from federation.model import DIGEST_PREFIX, digest_of
from hub_manager.aggregator.rounds.records import DurableRecord, Snapshot
from hub_manager.aggregator.storage.volume import PRIVATE, make_folder, sync_folder, write_whole

FORMAT: Final = 1
_CHECK_DIGITS: Final = 16
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC

T = TypeVar("T")


class JournalDamaged(Exception):
    """The journal is not what was written, or is another run's; the run can't go on from it."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    records: tuple[DurableRecord, ...] = msgspec.field(name="facts", default=())
    run: str | None = None
    """In the first line alone, with the format."""
    format: int | None = None


class Journal:
    """A run's journal, open for adding."""

    def __init__(self, path: Path, run: str, file: int, lines: int) -> None:
        """Take over an open file; `open_journal` is the way to one."""
        self._path = path
        self._run = run
        self._file = file
        self._lines = lines
        self._failed = False

    def append(self, records: Sequence[DurableRecord]) -> None:
        """Write the facts of one step; durable on return. None is written for no facts.

        Raises:
            OSError: The volume failed. The journal takes nothing more: what is on disk is known again only to the
                process that reads it from there.
        """
        if not records:
            return
        if self._failed:
            raise OSError("the journal failed before")
        self._failed = True
        write_whole(self._file, _encoded(_Line(self._lines, tuple(records))))
        os.fdatasync(self._file)
        self._lines += 1
        self._failed = False

    def begin_anew(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of everything that was appended; durable on return.

        Raises:
            OSError: As above.
        """
        if self._failed:
            raise OSError("the journal failed before")
        self._failed = True
        partial = self._path.with_name(f"{self._path.name}.partial")
        file = os.open(partial, _FLAGS | os.O_TRUNC, PRIVATE)
        try:
            write_whole(file, _encoded(_Line(0, (snapshot,), self._run, FORMAT)))
            os.fsync(file)
            partial.replace(self._path)
            sync_folder(self._path.parent)
        except BaseException:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._lines, self._failed = file, 1, False

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def open_journal(path: Path, run: str, start: T, take: Callable[[T, DurableRecord], T]) -> tuple[Journal, T]:
    """The run's journal, and what its facts come to; a new one where there is none.

    Args:
        path: The journal's file.
        run: The run's unique id.
        start: What no facts come to.
        take: What one more fact makes of what those before it came to; the facts themselves are not kept.

    Raises:
        JournalDamaged: The file is another run's, of another format, or broken before its end.
        OSError: The volume failed.
    """
    make_folder(path.parent)
    file = os.open(path, _FLAGS, PRIVATE)
    try:
        found, lines, good = _read(path, run, start, take)
        if good < os.fstat(file).st_size:
            os.ftruncate(file, good)
            os.fsync(file)
        if not lines:
            write_whole(file, _first(run))
            os.fsync(file)
            sync_folder(path.parent)
    except BaseException:
        os.close(file)
        raise
    return Journal(path, run, file, max(lines, 1)), found


def _recognise(first: _Line, run: str) -> None:
    if first.format != FORMAT:
        raise JournalDamaged(f"the journal has format {first.format}; the supported format is {FORMAT}")
    if first.run != run:
        raise JournalDamaged(
            f"the journal belongs to run {first.run}, not to {run}: use a separate folder for each run"
        )


def _read(path: Path, run: str, start: T, take: Callable[[T, DurableRecord], T]) -> tuple[T, int, int]:
    """What the facts come to, the number of good lines, and the byte after the last of them."""
    found, lines, good = start, 0, 0
    with path.open("rb") as file:
        for raw in file:
            line = _decoded(raw, lines)
            if line is None:
                if file.read(1) or (not lines and len(raw) > len(_first(run))):
                    raise JournalDamaged(f"line {lines + 1} of the journal is broken")
                break
            if not lines:
                _recognise(line, run)
            for record in line.records:
                found = take(found, record)
            lines += 1
            good += len(raw)
    return found, lines, good


def _first(run: str) -> bytes:
    """The line that a new journal begins with."""
    return _encoded(_Line(0, run=run, format=FORMAT))


def _encoded(line: _Line) -> bytes:
    text = msgspec.json.encode(line)
    return _check(text) + b" " + text + b"\n"


def _decoded(raw: bytes, number: int) -> _Line | None:
    check, _, text = raw[:-1].partition(b" ")
    if not raw.endswith(b"\n") or check != _check(text):
        return None
    try:
        line = msgspec.json.decode(text, type=_Line)
    except msgspec.DecodeError as error:
        raise JournalDamaged(f"line {number + 1} of the journal is invalid: {error}") from error
    return line if line.number == number else None


def _check(text: bytes) -> bytes:
    return digest_of(text).removeprefix(DIGEST_PREFIX)[:_CHECK_DIGITS].encode()
