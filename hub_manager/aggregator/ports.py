"""Interface between the exchange service and the round engine, in plain values without gRPC and messages.

The service authenticates peers by their certificate before it calls the engine. It passes bytes to an `UploadSession`
in order and without gaps. The engine returns refusals and never raises them. An exception means that the engine can't
continue, and ends the call with NotReady.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from federation.model import ModelManifest
from hub_manager.aggregator.domain import Announcement, MetricsReported
from hub_manager.aggregator.rounds.effects import RequestInitialModel, SendRunEnded, SendWait, SendWork
from hub_manager.aggregator.validation.manifest import AnnouncedTensor
from hub_manager.aggregator.validation.refusal import UpdateRefusal

Order: TypeAlias = SendWork | RequestInitialModel | SendWait | SendRunEnded
"""Work order for a peer; each order replaces the previous one."""


@dataclass(frozen=True, slots=True)
class JoinResult:
    """Information about the run for a peer that has joined."""

    rounds: int
    manifest: ModelManifest | None
    """None while the run has no model."""


@dataclass(frozen=True, slots=True)
class SpooledUpload:
    """Progress of an announced upload in the spool."""

    offset: int
    """In bytes."""
    accepted: bool
    """Whether the update is complete, valid and counted."""


class ReadableModel(Protocol):
    """A model in the store."""

    @property
    def nbytes(self) -> int:
        """Size of the tensors' values."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return the values from the offset on, `size` bytes or up to the end; blocks on the disk, raises OSError."""
        ...


class UploadSession(Protocol):
    """One upload into the spool."""

    @property
    def offset(self) -> int:
        """Offset of the next byte."""
        ...

    async def write(self, data: memoryview) -> UpdateRefusal | None:
        """Write the next bytes; return None if they are accepted."""
        ...

    async def finish(self) -> UpdateRefusal | None:
        """Complete the upload; return None if the update is durable, valid and counted."""
        ...

    async def close(self) -> None:
        """Close the upload after success or failure; the received bytes are kept for the next upload."""
        ...


class Engine(Protocol):
    """The round engine as the exchange service uses it."""

    def is_member(self, peer: str) -> bool:
        """Return whether the cluster takes part in the run."""
        ...

    def join(self, peer: str, tensors: Sequence[AnnouncedTensor] | None) -> JoinResult | UpdateRefusal:
        """Let a peer with this model join the run. The service calls this in a thread, one call at a time.

        Args:
            peer: The cluster.
            tensors: The peer's model; None if the peer accepts any model.
        """
        ...

    def orders(self, peer: str) -> AsyncGenerator[Order, None]:
        """Yield the orders for a joined peer; end after `SendRunEnded`. The caller closes it when the peer leaves."""
        ...

    async def query_offset(self, peer: str, announcement: Announcement) -> SpooledUpload | UpdateRefusal:
        """Return the progress of the announced upload."""
        ...

    async def receive(
        self, peer: str, announcement: Announcement, offset: int
    ) -> UploadSession | SpooledUpload | UpdateRefusal:
        """Accept an upload that starts at the offset; return `SpooledUpload` if the update is already counted."""
        ...

    def model(self, digest: str) -> ReadableModel | None:
        """Return the model with this digest if it is a global model of this run, else None."""
        ...

    async def report(self, reported: MetricsReported) -> UpdateRefusal | None:
        """Record the metrics of a task; return None if they are accepted."""
        ...
