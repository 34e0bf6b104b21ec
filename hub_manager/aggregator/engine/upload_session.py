"""File access for the exchange service: uploads into the spool, and downloads of the global model.

All disk access runs in threads. If the caller is cancelled, the thread keeps running, and `close` waits for it before
closing the file. A call ends after its `close`, and a newer call of the same peer starts only then
(`open_calls.OpenCalls`), so at most one thread works on a peer's file.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from federation.model import ModelManifest
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.rounds.inputs import Event, UpdateBroken, UpdateComplete
from hub_manager.aggregator.rounds.machine import StepResult
from hub_manager.aggregator.storage.spool import Spool, SpoolUpload
from hub_manager.aggregator.storage.volume import FileSource
from hub_manager.aggregator.validation.refusal import UpdateRefusal

T = TypeVar("T")

Submit = Callable[[Event], "asyncio.Future[StepResult]"]
"""Queues an event for the engine; the future has the step's result."""


class SpoolUploadSession:
    """One upload of a peer (`ports.UploadSession`)."""

    def __init__(self, peer: str, announcement: Announcement, submit: Submit) -> None:
        """Store the announcement; `open` opens the file."""
        self._peer = peer
        self._announcement = announcement
        self._submit = submit
        self._upload: SpoolUpload | None = None
        self._busy: asyncio.Future[Any] | None = None
        self._complete = False

    @property
    def offset(self) -> int:
        """Offset of the next byte."""
        return self._opened.offset

    async def open(self, spool: Spool, manifest: ModelManifest) -> None:
        """Open the update in the spool and read all its stored bytes; raises OSError."""

        def opened() -> None:
            self._upload = spool.receive(self._peer, self._announcement, manifest)

        await self._in_thread(opened)

    async def write(self, data: memoryview) -> UpdateRefusal | None:
        """Write the next bytes; raises OSError."""
        upload = self._opened
        return await self._in_thread(lambda: upload.write(upload.offset, data))

    async def finish(self) -> UpdateRefusal | None:
        """Make the update durable and submit it to be counted; raises OSError."""
        refusal = await self._in_thread(self._opened.finish)
        if refusal is not None:
            return refusal
        self._complete = True
        result = await asyncio.shield(self._submit(UpdateComplete(self._peer, self._announcement)))
        refusal = result.refusals.get(self._peer)
        return None if refusal is None or refusal.reason.counted else refusal

    async def close(self) -> None:
        """Close the file and report an incomplete upload to the engine; a cancellation is raised afterwards."""
        cancelled = await _wait_for_thread(self._busy)
        if self._upload is not None:
            self._upload.close()
            self._upload = None
        if not self._complete:
            self._complete = True
            self._submit(UpdateBroken(self._peer, self._announcement))
        if cancelled is not None:
            raise cancelled

    @property
    def _opened(self) -> SpoolUpload:
        if self._upload is None:
            raise OSError("the upload is closed")
        return self._upload

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # This runs for each message, so it avoids the task and the copied context of `asyncio.to_thread`.
        running = asyncio.get_running_loop().run_in_executor(None, work)
        self._busy = running
        return await asyncio.shield(running)


async def _wait_for_thread(work: asyncio.Future[Any] | None) -> asyncio.CancelledError | None:
    """Wait until the thread is done, and return the last cancellation during the wait.

    A thread can't be stopped, and the next upload of the peer uses the same file. A call may be cancelled more than
    once: by gRPC when the peer disconnects, and by the peer's newer stream (`open_calls.OpenCalls`).
    """
    cancelled = None
    while work is not None and not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


class StoredModelValues:
    """Values of a stored model (`ports.ReadableModel`)."""

    def __init__(self, digest: str, source: FileSource, nbytes: int) -> None:
        """Take over the source, which is closed once the last reader has released this object."""
        self.digest = digest
        self._source = source
        self._nbytes = nbytes

    def __del__(self) -> None:
        """Close the source; before that, downloads may still read a replaced model."""
        self._source.close()

    @property
    def nbytes(self) -> int:
        """Size of the tensors' values."""
        return self._nbytes

    def read(self, offset: int, size: int) -> bytes:
        """Return the values from the offset on, `size` bytes or up to the end; raises OSError."""
        return self._source.read(offset, max(0, min(size, self._nbytes - offset)))
