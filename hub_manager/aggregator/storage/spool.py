"""Updates on the run's volume: taken in as they arrive, kept until their round is folded.

`ROUND/PEER.DIGEST.part` grows with the stream, and its length is the offset at which an upload goes on, after a broken
stream as after a killed process. The digest in the name ties it to one update: another one starts from nothing. A whole
update that passed its inspection is synchronised and renamed to `.whole`; only then may it count.

What is on disk is never trusted: a part that goes on, and a whole one that is sent again, is inspected from its first
byte. A loss of power may leave a part with bytes that were never written; its digest tells.
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
"""Bytes at a time, of what is on disk already."""
_DIGEST_DIGITS: Final = 32
_PEER: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,198}[a-z0-9])?")
"""A managed cluster's name: with the rest of the file's name within 255 bytes."""


class Spool:
    """The updates of a run, below one folder."""

    def __init__(self, folder: Path) -> None:
        """Use the folder, which is made when the first update comes."""
        self._folder = folder

    def offset(self, peer: str, announced: Announcement) -> int:
        """Bytes held of exactly this update."""
        return next((path.stat().st_size for path in self._paths(peer, announced) if path.exists()), 0)

    def receive(self, peer: str, announced: Announcement, manifest: ModelManifest) -> "SpoolUpload":
        """Take in an update, from `SpoolUpload.offset` on; any other update of the peer in this round is dropped.

        Inspects what is held already, which takes its time for a large model: not for the event loop.

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
        # The file that is read is the one that is written to, whatever its name stands for meanwhile.
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
        """The whole update of a peer, to be closed by the caller.

        Raises:
            OSError: It is not there.
        """
        return FileSource(self._path(peer, round_number, digest, "whole"))

    def discard(self, peer: str, announced: Announcement) -> None:
        """Drop what is held of an update."""
        for path in self._paths(peer, announced):
            path.unlink(missing_ok=True)

    def drop_through(self, round_number: int) -> None:
        """Drop every update of this round and of those before it."""
        for folder in self._folder.glob("[0-9]*"):
            if int(folder.name) <= round_number:
                remove_folder(folder)

    def _paths(self, peer: str, announced: Announcement) -> tuple[Path, Path]:
        part, whole = (self._path(peer, announced.round, announced.digest, end) for end in ("part", "whole"))
        return part, whole

    def _path(self, peer: str, round_number: int, digest: str, ending: str) -> Path:
        digits = digest.removeprefix(DIGEST_PREFIX)[:_DIGEST_DIGITS]
        if not digits.isalnum():
            raise ValueError(f"not a digest: {digest!r}")
        return self._folder / f"{round_number:06}" / f"{_checked(peer)}.{digits}.{ending}"


class SpoolUpload:
    """One update as it comes in; used by one stream at a time."""

    def __init__(self, file: int, part: Path, whole: Path, inspection: Inspection) -> None:
        """Go on at the end of an open part of which `inspection` has seen every byte; `close` closes it."""
        self._file = file
        self._part = part
        self._whole = whole
        self._inspection = inspection

    @property
    def offset(self) -> int:
        """Bytes held, and so where the next chunk belongs."""
        return self._inspection.received

    def write(self, offset: int, chunk: Bytes) -> UpdateRefusal | None:
        """Take the next chunk, or say why the update can't count.

        OutOfPlace: the chunk belongs elsewhere. Else what `Inspection.feed` refuses; the part is dropped then, because
        no byte that may follow makes it good.

        Args:
            offset: Where the sender says the chunk belongs.
            chunk: Of any length.

        Raises:
            OSError: The volume is full, or failed. The upload has to be closed then, and can be received anew.
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
        """Make the update durable, after which it may count; or say why it may not.

        A part that is too short stays, and the upload can go on. Synchronises: not for the event loop.

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
        """Let go of the file; what is held stays."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(peer: str) -> str:
    if not _PEER.fullmatch(peer):
        raise ValueError(f"not a cluster's name: {peer!r}")
    return peer


def _inspected(file: int, inspection: Inspection) -> Inspection | None:
    """The inspection of what is on disk, or None when that can't become the update and has to go."""
    while chunk := os.read(file, _REREAD):
        if inspection.feed(chunk) is not None:
            return None
    return inspection
