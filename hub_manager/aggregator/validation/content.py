"""Check an update's bytes as they arrive: count them, search them for NaN and infinity, and hash them.

Each chunk is checked while it is in the processor's cache, so an update is read only once. After an interruption the
spool feeds the bytes that are on disk again. The inspection keeps only the bytes of an element that a chunk has split.
"""

from collections.abc import Iterator

from blake3 import blake3

from federation.model import DIGEST_PREFIX, ModelManifest, Section
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.numerics.dtypes import Bytes, all_finite, first_not_finite
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason, short


class Inspection:
    """The check of one update's bytes, fed in order and without gaps."""

    def __init__(self, manifest: ModelManifest, announced: Announcement) -> None:
        self._manifest = manifest
        self._announced = announced
        self._sections = manifest.sections()
        self._hasher = blake3()
        self._cut = b""
        self.received = 0
        """Number of bytes so far."""

    def feed(self, chunk: Bytes) -> UpdateRefusal | None:
        """Check the next bytes; a refusal (TooLong, NotANumber, Infinite) is final for this update.

        Args:
            chunk: The next bytes, of any length.
        """
        start, view = self.received, memoryview(chunk)
        if start + len(view) > self._announced.size:
            return UpdateRefusal(
                UpdateRefusalReason.TOO_LONG, f"the update has more than the announced {self._announced.size} bytes"
            )
        self._hasher.update(chunk)
        self.received += len(view)
        for section, offset, piece in self._elements(start, view):
            if not all_finite(piece, section.dtype):
                return self._not_finite(section, offset, piece)
        return None

    def finish(self) -> UpdateRefusal | None:
        """Check that the bytes are the announced update; refuse them with TooShort or WrongDigest otherwise."""
        if self.received < self._announced.size:
            return UpdateRefusal(
                UpdateRefusalReason.TOO_SHORT, f"{self.received} of {self._announced.size} bytes arrived"
            )
        digest = DIGEST_PREFIX + self._hasher.hexdigest()
        if digest != self._announced.digest:
            return UpdateRefusal(
                UpdateRefusalReason.WRONG_DIGEST,
                f"the digest of the bytes is {digest}, not the announced {self._announced.digest}",
            )
        return None

    def _elements(self, start: int, view: memoryview) -> Iterator[tuple[Section, int, Bytes]]:
        """Yield the runs of whole elements that the chunk completes, each with its section and first byte."""
        end = start + len(view)
        for section in self._sections:
            position = max(start, section.offset)
            if position >= min(end, section.end):
                continue
            if self._cut:
                element_start = position - len(self._cut)
                needed = section.dtype.width - len(self._cut)
                self._cut += view[position - start : position - start + needed]
                position += needed
                if len(self._cut) == section.dtype.width:
                    yield section, element_start, self._cut
                    self._cut = b""
            size = max(min(end, section.end) - position, 0) // section.dtype.width * section.dtype.width
            if size:
                yield section, position, view[position - start : position - start + size]
            if position + size < min(end, section.end):
                self._cut = bytes(view[position + size - start : min(end, section.end) - start])

    def _not_finite(self, section: Section, offset: int, piece: Bytes) -> UpdateRefusal | None:
        non_finite = first_not_finite(piece, section.dtype)
        if non_finite is None:
            return None
        index, is_nan = non_finite
        name = short(self._manifest.tensor_at(offset + index * section.dtype.width).name)
        if is_nan:
            return UpdateRefusal(UpdateRefusalReason.NOT_A_NUMBER, f"tensor {name} has a value that is not a number")
        return UpdateRefusal(UpdateRefusalReason.INFINITE, f"tensor {name} has an infinite value")
