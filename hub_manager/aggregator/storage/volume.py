"""Files on the run's volume: read at an offset, and made durable in the order that a loss of power respects.

Data is durable once its file is synchronised, a name once its folder is (fsync(2)). A failed synchronisation is never
tried again: the kernel may have dropped what it could not write (https://lwn.net/Articles/752063/), so the error ends
the process and the next one starts from what is on disk.
"""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PRIVATE: Final = 0o600


class FileSource:
    """A stretch of an open file, read at offsets of its own; closed by whoever opened it."""

    def __init__(self, path: Path, base: int = 0) -> None:
        """Open the file.

        Args:
            path: To read from.
            base: The byte of the file that is byte 0 of the stretch.

        Raises:
            OSError: The file can't be opened.
        """
        self._path = path
        self._base = base
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """Bytes of the stretch, to the end of the file."""
        return os.fstat(self._file).st_size - self._base

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer from the byte at `offset` of the stretch on.

        Raises:
            OSError: The file can't be read, or ends before the buffer is full.
        """
        done = 0
        while done < len(into):
            count = os.preadv(self._file, [into[done:]], self._base + offset + done)
            if count == 0:
                raise OSError(f"{self._path} ends before byte {offset + len(into)}")
            done += count

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` of the stretch on, without a copy where the file gives them at once.

        Raises:
            OSError: The file can't be read, or ends before that many.
        """
        found = os.pread(self._file, size, self._base + offset)
        if len(found) == size:
            return found
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_whole(file: int, data: bytes | memoryview) -> None:
    """Write all of the data at the file's position.

    Raises:
        OSError: The volume is full, or failed.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: The volume failed.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def make_folder(folder: Path) -> None:
    """Make a folder, durably, that only this process's user may enter.

    Raises:
        OSError: The volume is full, or failed.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder and what is in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
