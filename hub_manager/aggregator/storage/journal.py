"""The journal of a run: an append-only file with the durable records, one line for each step.

A line consists of the first 16 digits of the BLAKE3 digest of its text, a space, and the text. The text is JSON with
the line's number and the step's records. As each step is one line, it is stored completely or not at all. A line is
durable before `append` returns.

A process that crashes while it writes leaves at most a torn last line. No effect of that step was performed yet, so
`open_journal` cuts the line off. A damaged line anywhere else can't be repaired, and is an error.

To compact the journal, `compact` writes a snapshot to a new file, which replaces the old one once it is durable. At any
time one complete journal exists.
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
    """The journal is damaged or belongs to another run, so the run can't continue from it."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    records: tuple[DurableRecord, ...] = msgspec.field(name="facts", default=())
    run: str | None = None
    """Set in the first line only, as is the format."""
    format: int | None = None


class Journal:
    """The journal of a run, open for appending."""

    def __init__(self, path: Path, run: str, file: int, lines: int) -> None:
        """Take over an open file; use `open_journal` to create an instance."""
        self._path = path
        self._run = run
        self._file = file
        self._lines = lines
        self._failed = False

    def append(self, records: Sequence[DurableRecord]) -> None:
        """Write the records of one step durably; does nothing without records.

        Raises:
            OSError: The volume failed. The journal then rejects all further writes, because only a new process, which
                reads the file, can determine its content.
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

    def compact(self, snapshot: Snapshot) -> None:
        """Replace all records by a snapshot, durably.

        Raises:
            OSError: The volume failed; see `append`.
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
    """Open the run's journal, or create it, and reduce its records to one value.

    Args:
        path: The journal's file.
        run: The run's unique ID.
        start: The value before the first record.
        take: Returns the value after one more record.

    Returns:
        The journal, and the value after its last record.

    Raises:
        JournalDamaged: The file belongs to another run, has another format, or is damaged before its last line.
        OSError: The volume failed.
    """
    make_folder(path.parent)
    file = os.open(path, _FLAGS, PRIVATE)
    try:
        value, lines, intact_bytes = _read(path, run, start, take)
        if intact_bytes < os.fstat(file).st_size:
            os.ftruncate(file, intact_bytes)
            os.fsync(file)
        if not lines:
            write_whole(file, _first_line(run))
            os.fsync(file)
            sync_folder(path.parent)
    except BaseException:
        os.close(file)
        raise
    return Journal(path, run, file, max(lines, 1)), value


def _check_header(first: _Line, run: str) -> None:
    if first.format != FORMAT:
        raise JournalDamaged(f"the journal has format {first.format}; the supported format is {FORMAT}")
    if first.run != run:
        raise JournalDamaged(
            f"the journal belongs to run {first.run}, not to {run}: use a separate folder for each run"
        )


def _read(path: Path, run: str, start: T, take: Callable[[T, DurableRecord], T]) -> tuple[T, int, int]:
    """Return the reduced value, the number of intact lines, and the offset after the last one."""
    value, lines, intact_bytes = start, 0, 0
    with path.open("rb") as file:
        for raw in file:
            line = _decoded(raw, lines)
            if line is None:
                if file.read(1) or (not lines and len(raw) > len(_first_line(run))):
                    raise JournalDamaged(f"line {lines + 1} of the journal is damaged")
                break
            if not lines:
                _check_header(line, run)
            for record in line.records:
                value = take(value, record)
            lines += 1
            intact_bytes += len(raw)
    return value, lines, intact_bytes


def _first_line(run: str) -> bytes:
    """Return the first line of a new journal."""
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
