"""The spool: updates on the run's volume, stored as they arrive and kept until their round is folded.

The file `ROUND/PEER.DIGEST.part` grows with the upload. Its length is the offset at which an interrupted upload
resumes, also after a restart. The digest in the name binds the file to one update, so a different update starts at
byte 0. A complete and valid update is synchronised and renamed to `.whole`; only then may it be counted.

Data on disk is never trusted. When an upload resumes or is repeated, the file is inspected from its first byte. After a
power loss, a part may contain bytes that were never written; its digest reveals them.
"""

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from federation.model import DIGEST_PREFIX, ModelManifest
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.numerics.dtypes import Bytes
from hub_manager.aggregator.storage.volume import (
    PRIVATE,
    FileSource,
    make_folder,
    remove_folder,
    sync_folder,
    write_whole,
)
from hub_manager.aggregator.validation.content import Inspection
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason

_REREAD: Final = 1 << 20
"""Bytes to read at a time from a stored part."""
_DIGEST_DIGITS: Final = 32
_PEER: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,198}[a-z0-9])?")
"""Name of a managed cluster, short enough for file names of at most 255 bytes."""


class Spool:
    """The updates of one run, below one folder."""

    def __init__(self, folder: Path) -> None:
        """Set the folder, which the first update creates."""
        self._folder = folder

    def offset(self, peer: str, announced: Announcement) -> int:
        """Return the number of stored bytes of exactly this update."""
        return next((path.stat().st_size for path in self._paths(peer, announced) if path.exists()), 0)

    def receive(self, peer: str, announced: Announcement, manifest: ModelManifest) -> "SpoolUpload":
        """Open an update to receive it from `SpoolUpload.offset` on; delete other updates of the peer in the round.

        This reads all stored bytes of the update, so it must not run in the event loop.

        Raises:
            OSError: The volume is full, or failed.
        """
        part, whole = self._paths(peer, announced)
        make_folder(part.parent)
        for other in part.parent.glob(f"{_checked(peer)}.*"):
            if other not in {part, whole} and other.name.rpartition(".")[0].rpartition(".")[0] == peer:
                other.unlink()
        if whole.exists():
            whole.replace(part)
        # Read and write through one descriptor: the name may refer to another file in the meantime.
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            inspection = _inspected(file, Inspection(manifest, announced)) or Inspection(manifest, announced)
            os.ftruncate(file, inspection.received)
            os.lseek(file, inspection.received, os.SEEK_SET)
        except BaseException:
            os.close(file)
            raise
        return SpoolUpload(file, part, whole, inspection)

    def source(self, peer: str, round_number: int, digest: str) -> FileSource:
        """Open a peer's complete update; the caller closes it.

        Raises:
            OSError: The update is missing.
        """
        return FileSource(self._path(peer, round_number, digest, "whole"))

    def discard(self, peer: str, announced: Announcement) -> None:
        """Delete all stored bytes of an update."""
        for path in self._paths(peer, announced):
            path.unlink(missing_ok=True)

    def drop_through(self, round_number: int) -> None:
        """Delete the updates of this round and of all earlier ones."""
        for folder in self._folder.glob("[0-9]*"):
            if int(folder.name) <= round_number:
                remove_folder(folder)

    def _paths(self, peer: str, announced: Announcement) -> tuple[Path, Path]:
        part, whole = (self._path(peer, announced.round, announced.digest, end) for end in ("part", "whole"))
        return part, whole

    def _path(self, peer: str, round_number: int, digest: str, ending: str) -> Path:
        digits = digest.removeprefix(DIGEST_PREFIX)[:_DIGEST_DIGITS]
        if not digits.isalnum():
            raise ValueError(f"invalid digest: {digest!r}")
        return self._folder / f"{round_number:06}" / f"{_checked(peer)}.{digits}.{ending}"


class SpoolUpload:
    """One update that is being received; used by one stream at a time."""

    def __init__(self, file: int, part: Path, whole: Path, inspection: Inspection) -> None:
        """Continue at the end of an open part that `inspection` has read completely; `close` closes the file."""
        self._file = file
        self._part = part
        self._whole = whole
        self._inspection = inspection

    @property
    def offset(self) -> int:
        """Number of stored bytes, which is the offset of the next chunk."""
        return self._inspection.received

    def write(self, offset: int, chunk: Bytes) -> UpdateRefusal | None:
        """Write the next chunk, or return a refusal.

        A chunk at another offset is refused with OutOfPlace. If `Inspection.feed` refuses the chunk, the part is
        deleted, because no further bytes can make it valid.

        Args:
            offset: Offset of the chunk according to the sender.
            chunk: Of any length.

        Raises:
            OSError: The volume is full, or failed. The caller must close the upload, and may receive it again.
        """
        if offset != self.offset:
            return UpdateRefusal(
                UpdateRefusalReason.OUT_OF_PLACE, f"the chunk starts at byte {offset}; byte {self.offset} is expected"
            )
        refusal = self._inspection.feed(chunk)
        if refusal is not None:
            self._part.unlink(missing_ok=True)
            return refusal
        write_whole(self._file, memoryview(chunk))
        return None

    def finish(self) -> UpdateRefusal | None:
        """Make the complete update durable, so that it may be counted, or return a refusal.

        A part that is too short is kept, so that the upload can resume. This synchronises the file, so it must not run
        in the event loop.

        Raises:
            OSError: The volume failed.
        """
        refusal = self._inspection.finish()
        if refusal is not None:
            if refusal.reason is not UpdateRefusalReason.TOO_SHORT:
                self._part.unlink(missing_ok=True)
            return refusal
        os.fsync(self._file)
        self._part.replace(self._whole)
        sync_folder(self._whole.parent)
        return None

    def close(self) -> None:
        """Close the file, and keep it for a later upload."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(peer: str) -> str:
    if not _PEER.fullmatch(peer):
        raise ValueError(f"invalid cluster name: {peer!r}")
    return peer


def _inspected(file: int, inspection: Inspection) -> Inspection | None:
    """Inspect the stored bytes; return None if they are invalid and must be deleted."""
    while chunk := os.read(file, _REREAD):
        if inspection.feed(chunk) is not None:
            return None
    return inspection
