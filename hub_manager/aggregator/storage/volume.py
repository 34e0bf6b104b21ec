"""Files on the run's volume: reads at an offset, and writes that survive a power loss.

Data is durable once its file is synchronised, and a name once its folder is synchronised (fsync(2)). A failed
synchronisation is never retried, because the kernel may have dropped the data (https://lwn.net/Articles/752063/).
Instead, the error ends the process, and the next process continues from the data on disk.
"""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PRIVATE: Final = 0o600


class FileSource:
    """Open file whose offsets are relative to a base offset; the caller closes it."""

    def __init__(self, path: Path, base: int = 0) -> None:
        """Open the file.

        Args:
            path: To read from.
            base: Offset in the file that is offset 0 of this source.

        Raises:
            OSError: The file can't be opened.
        """
        self._path = path
        self._base = base
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """Bytes from the base offset to the end of the file."""
        return os.fstat(self._file).st_size - self._base

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill the buffer with the bytes from `offset` on.

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
        """Return `size` bytes from `offset` on, without a copy if one read call returns them all.

        Raises:
            OSError: The file can't be read, or is too short.
        """
        data = os.pread(self._file, size, self._base + offset)
        if len(data) == size:
            return data
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def close(self) -> None:
        """Close the file."""
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
    """Create a folder durably, with access for the user of this process only.

    Raises:
        OSError: The volume is full, or failed.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder and its content, if it exists."""
    shutil.rmtree(folder, ignore_errors=True)
