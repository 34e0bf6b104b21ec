"""What the exchange's service asks of the round engine: values in, values out, no gRPC and no message.

Peers are named by their certificate before any of this is called. Bytes reach a `UploadSession` in order and without a
gap; it alone knows files. A refusal is returned, never raised; an exception means that the engine can't go on, and
ends the call with NotReady.
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
"""What is pushed to a peer; each replaces the one before."""


@dataclass(frozen=True, slots=True)
class JoinResult:
    """What a peer that joins is told of the run."""

    rounds: int
    manifest: ModelManifest | None
    """None as long as the run has no model."""


@dataclass(frozen=True, slots=True)
class SpooledUpload:
    """What the spool has of an announced upload."""

    offset: int
    """Bytes."""
    accepted: bool
    """Whole, checked and counted."""


class ReadableModel(Protocol):
    """A model in the store."""

    @property
    def nbytes(self) -> int:
        """Of its tensors' values."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """The values from the offset on, `size` bytes or up to the end; may block on the disk, raises OSError."""
        ...


class UploadSession(Protocol):
    """One upload on its way into the spool."""

    @property
    def offset(self) -> int:
        """Where the next byte belongs."""
        ...

    async def write(self, data: memoryview) -> UpdateRefusal | None:
        """Takes the next bytes; None when they are taken."""
        ...

    async def finish(self) -> UpdateRefusal | None:
        """No more bytes come; None when the upload is whole, durable, sound and counted."""
        ...

    async def close(self) -> None:
        """The stream is over, whatever came of it; what arrived stays for the next one."""
        ...


class Engine(Protocol):
    """The round engine, as the service sees it."""

    def member(self, peer: str) -> bool:
        """Whether the cluster takes part in the run now."""
        ...

    def join(self, peer: str, tensors: Sequence[AnnouncedTensor] | None) -> JoinResult | UpdateRefusal:
        """A peer with such a model; None where it takes whatever the run's is. Called in a thread, one at a time."""
        ...

    def orders(self, peer: str) -> AsyncGenerator[Order, None]:
        """Yield the orders for a joined peer; end after `SendRunEnded`. The caller closes it when the peer leaves."""
        ...

    async def held(self, peer: str, announcement: Announcement) -> SpooledUpload | UpdateRefusal:
        """How the announced upload stands."""
        ...

    async def receive(
        self, peer: str, announcement: Announcement, offset: int
    ) -> UploadSession | SpooledUpload | UpdateRefusal:
        """Lets an upload in at that offset; `SpooledUpload` where it counts already."""
        ...

    def model(self, digest: str) -> ReadableModel | None:
        """The model of that digest, if it is one to hand out: a global model of this run."""
        ...

    async def report(self, reported: MetricsReported) -> UpdateRefusal | None:
        """Metrics of a task; None when they are taken."""
        ...
