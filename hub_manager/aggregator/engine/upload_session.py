"""The engine's files behind the ports of the service: an update on its way into the spool, and a model to hand out.

All of it touches the disk, so it runs in threads; a caller that is cut leaves the thread's work to end, and `close`
waits for it before it lets go of the file. A call ends after its `close`, and a newer one of the peer begins after that
(`open_calls.OpenCalls`): of one peer, one thread at most is at work on its file, however often it comes and goes.
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
"""Puts an event into the engine's queue; the future has what came of it."""


class SpoolUploadSession:
    """One upload of a peer (`ports.UploadSession`)."""

    def __init__(self, peer: str, announcement: Announcement, submit: Submit) -> None:
        """Nothing is opened before `open`."""
        self._peer = peer
        self._announcement = announcement
        self._submit = submit
        self._upload: SpoolUpload | None = None
        self._busy: asyncio.Future[Any] | None = None
        self._complete = False

    @property
    def offset(self) -> int:
        """Where the next byte belongs."""
        return self._opened.offset

    async def open(self, spool: Spool, manifest: ModelManifest) -> None:
        """Opens what the spool has of the update, and reads all of it; raises OSError."""

        def opened() -> None:
            self._upload = spool.receive(self._peer, self._announcement, manifest)

        await self._in_thread(opened)

    async def write(self, data: memoryview) -> UpdateRefusal | None:
        """Takes the next bytes; raises OSError."""
        upload = self._opened
        return await self._in_thread(lambda: upload.write(upload.offset, data))

    async def finish(self) -> UpdateRefusal | None:
        """Makes the update durable and has it counted; raises OSError."""
        refusal = await self._in_thread(self._opened.finish)
        if refusal is not None:
            return refusal
        self._complete = True
        result = await asyncio.shield(self._submit(UpdateComplete(self._peer, self._announcement)))
        refusal = result.refusals.get(self._peer)
        return None if refusal is None or refusal.reason.counted else refusal

    async def close(self) -> None:
        """Lets go of the file, and tells the engine of an upload that came to nothing; also when it is cancelled."""
        cancelled = await _done(self._busy)
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
        # Without the task and the copied context of `asyncio.to_thread`: it is done for each message.
        running = asyncio.get_running_loop().run_in_executor(None, work)
        self._busy = running
        return await asyncio.shield(running)


async def _done(work: asyncio.Future[Any] | None) -> asyncio.CancelledError | None:
    """Waits for a thread's work whatever comes; the last cancellation that came meanwhile.

    Nothing stops a thread, and whoever is let in next works on the same file. One call is cancelled more than once: by
    gRPC when the peer goes, and by the newer stream that the peer comes back with (`open_calls.OpenCalls`).
    """
    cancelled = None
    while work is not None and not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


class StoredModelValues:
    """A model's values in the store (`ports.ReadableModel`)."""

    def __init__(self, digest: str, source: FileSource, nbytes: int) -> None:
        """The source is this one's to close, which it does with its last reader."""
        self.digest = digest
        self._source = source
        self._nbytes = nbytes

    def __del__(self) -> None:
        """Downloads may still read a model that is the global one no longer."""
        self._source.close()

    @property
    def nbytes(self) -> int:
        """Of its tensors' values."""
        return self._nbytes

    def read(self, offset: int, size: int) -> bytes:
        """The values from the offset on, `size` bytes or up to the end; raises OSError."""
        return self._source.read(offset, max(0, min(size, self._nbytes - offset)))
