"""The round engine in a process of many peers: one event after the other, each with its effects, in one task.

Whoever has an event puts it into a queue and waits for what came of it. One task takes them out, steps the engine in a
thread (the journal is synchronised there) and performs the effects in order. A caller that is cut while it waits takes
nothing back: its event happens all the same. Folding runs beside, in one thread at a time, and comes back as an event.

Assumption: an error of the volume below the journal, or a contradiction, ends the process (`run` raises), and its
successor goes on from the disk. An error in one upload is that upload's own.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

import structlog

from federation.model import ModelManifest
from hub_manager.aggregator.domain import Announcement, MetricsReported
from hub_manager.aggregator.engine.engine import RoundEngine
from hub_manager.aggregator.engine.upload_session import SpoolReception, StoredValues
from hub_manager.aggregator.ports import Held, Order, ReadableModel, Terms
from hub_manager.aggregator.rounds import effects as do
from hub_manager.aggregator.rounds import inputs
from hub_manager.aggregator.rounds.decisions import update_refusal
from hub_manager.aggregator.rounds.effects import Effect
from hub_manager.aggregator.rounds.inputs import Event
from hub_manager.aggregator.rounds.state import State
from hub_manager.aggregator.validation.manifest import AnnouncedTensor, ModelLimits, read_manifest
from hub_manager.aggregator.validation.refusal import Reason, Refusal
from hub_manager.aggregator.validation.update import layout_refusal

_log = structlog.stdlib.get_logger(__name__)

Effects = tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Doors:
    """What the driver asks of the service and of whoever reports."""

    cut_peer: Callable[[str, Refusal], None]
    """Ends every call of the peer."""
    cut_upload: Callable[[str, Refusal], None]
    """Ends the peer's upload."""
    report: Callable[[State], None]
    """The state has changed in a way that a reader would notice; returns at once."""
    folded: Callable[[float], None]
    """A model was folded, or a first one stored, in so many seconds."""


class Driver:
    """The engine as the service sees it (`ports.Engine`)."""

    def __init__(self, engine: RoundEngine, first: Effects, limits: ModelLimits) -> None:
        """An engine as `open_engine` gives it, with the effects that it begins with; nothing runs before `run`."""
        self._engine = engine
        self._limits = limits
        self._queue: asyncio.Queue[tuple[Event, asyncio.Future[Effects]]] = asyncio.Queue()
        self._first = first
        self._manifests: dict[str, ModelManifest] = {}
        self._due: dict[str, Order] = {}
        self._news = asyncio.Condition()
        self._uploads: dict[str, Announcement] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._values: StoredValues | None = None
        self._folding = asyncio.Lock()
        self._busy_since: float | None = None

    @property
    def state(self) -> State:
        """The run as it is."""
        return self._engine.state

    async def run(self, doors: Doors) -> None:
        """Takes events until cancelled.

        Raises:
            BaseExceptionGroup: The volume failed, or the engine contradicts itself: the process has to end.
        """
        async with asyncio.TaskGroup() as tasks:
            await self._perform(self._first, None, doors, tasks)
            while True:
                event, answered = await self._queue.get()
                self._busy_since = time.monotonic()
                try:
                    following = await asyncio.to_thread(self._engine.step, event, time.time())
                    await self._perform(following, event, doors, tasks)
                except BaseException as error:
                    if not answered.done():
                        answered.set_exception(OSError(f"the round engine has stopped: {type(error).__name__}"))
                    raise
                self._busy_since = None
                if not answered.done():
                    answered.set_result(following)

    def stuck_for(self) -> float:
        """Seconds that the event in work has taken so far; folding, which is no event, is not counted."""
        return 0.0 if self._busy_since is None else time.monotonic() - self._busy_since

    def close(self) -> None:
        """Lets go of the journal, after `run` has ended."""
        self._engine.close()

    def tell(self, event: Event) -> "asyncio.Future[Effects]":
        """Puts the event in; the future has the step's effects once they are performed."""
        answered: asyncio.Future[Effects] = asyncio.get_running_loop().create_future()
        # Some events have no one who waits for what comes of them.
        answered.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._queue.put_nowait((event, answered))
        return answered

    def member(self, peer: str) -> bool:
        """See `ports.Engine`."""
        return peer in self.state.cohort and peer not in self.state.removed

    def join(self, peer: str, tensors: Sequence[AnnouncedTensor] | None) -> Terms | Refusal:
        """See `ports.Engine`. What the peer's model is, is told to the engine with its stream of work."""
        known = self.state.manifest
        if tensors is None:
            if known is None:
                return Refusal(Reason.NO_TENSORS, "the run has no model yet: say which tensors this one has")
            self._manifests[peer] = known
            return Terms(self.state.terms.rounds, known)
        read = read_manifest(tensors, self._limits)
        if isinstance(read, Refusal):
            return read
        refusal = layout_refusal(tensors, known) if known is not None else None
        if refusal is not None:
            return refusal
        self._manifests[peer] = read
        return Terms(self.state.terms.rounds, known)

    async def orders(self, peer: str) -> AsyncGenerator[Order, None]:
        """See `ports.Engine`."""
        told: Order | None = None
        self._due.pop(peer, None)
        try:
            await asyncio.shield(self.tell(inputs.Joined(peer, self._manifests[peer])))
            while not isinstance(told, do.TellEnded):
                async with self._news:
                    await self._news.wait_for(lambda: self._due.get(peer) not in {None, told})  # noqa: B023
                    told = self._due[peer]
                yield told
        finally:
            self.tell(inputs.Left(peer))

    async def held(self, peer: str, announcement: Announcement) -> Held | Refusal:
        """See `ports.Engine`."""
        refusal = update_refusal(self.state, peer, announcement)
        if refusal is None:
            offset = await asyncio.to_thread(self._engine.spool.offset, peer, announcement)
            return Held(offset, accepted=False)
        return _counted(refusal, announcement)

    async def receive(self, peer: str, announcement: Announcement, offset: int) -> SpoolReception | Held | Refusal:
        """See `ports.Engine`."""
        begun = self.tell(inputs.UpdateBegun(peer, announcement))
        try:
            refusal = _refusal_of(peer, await asyncio.shield(begun))
        except asyncio.CancelledError:
            self.tell(inputs.UpdateBroken(peer, announcement))  # perhaps let in by now, and nobody comes with it
            raise
        if refusal is not None:
            return _counted(refusal, announcement)
        manifest = self.state.manifest or self.state.declared[peer]
        self._uploads[peer] = announcement
        reception = SpoolReception(peer, announcement, self.tell)
        try:
            await reception.open(self._engine.spool, manifest)
            held = reception.offset
            if held == offset:
                return reception
        except BaseException:
            await reception.close()
            raise
        await reception.close()
        return Refusal(Reason.OUT_OF_PLACE, f"byte {offset} is sent, byte {held} follows")

    def model(self, digest: str) -> ReadableModel | None:
        """See `ports.Engine`: the global model alone."""
        state = self.state
        if state.model != digest or state.manifest is None:
            return None
        if self._values is None or self._values.digest != digest:
            source = self._engine.checkpoints.source(state.model_round)
            # The one before is closed with its last reader, by Python.
            self._values = StoredValues(digest, source, state.manifest.nbytes)
        return self._values

    async def report(self, reported: MetricsReported) -> Refusal | None:
        """See `ports.Engine`."""
        return _refusal_of(reported.peer, await asyncio.shield(self.tell(reported)))

    async def _perform(  # noqa: C901, PLR0912 - one case for each effect
        self, following: Effects, event: Event | None, doors: Doors, tasks: asyncio.TaskGroup
    ) -> None:
        for effect in following:
            match effect:
                case do.HandOutWork() | do.AskForModel() | do.TellToWait() | do.TellEnded():
                    async with self._news:
                        self._due[effect.peer] = effect
                        self._news.notify_all()
                case do.Refuse():
                    # Whoever waits for an answer reads it there; of a stream of work, this is its end.
                    if isinstance(event, inputs.Joined):
                        doors.cut_peer(effect.peer, effect.refusal)
                case do.Disconnect():
                    gone = Refusal(Reason.REMOVED, f"cluster {effect.peer} takes part in this run no longer")
                    doors.cut_peer(effect.peer, gone)
                case do.CutUpload():
                    doors.cut_upload(effect.peer, effect.refusal)
                    announced = self._uploads.pop(effect.peer, None)
                    if announced is not None:
                        await asyncio.to_thread(self._engine.spool.discard, effect.peer, announced)
                case do.DropSpool():
                    await asyncio.to_thread(self._engine.spool.drop_through, effect.round)
                case do.StoreSeed() | do.FoldUpdates():
                    tasks.create_task(self._fold(effect, doors))
                case do.SetTimer():
                    self._set_timer(effect.at)
                case do.Report():
                    doors.report(self.state)
                case do.ReceiveUpdate() | do.Acknowledge():
                    pass  # for whoever waits for this step
                case _:
                    assert_never(effect)

    async def _fold(self, effect: do.StoreSeed | do.FoldUpdates, doors: Doors) -> None:
        async with self._folding:
            began = time.monotonic()
            found = await asyncio.to_thread(self._engine.perform, effect)
            seconds = time.monotonic() - began
            _log.info("model_stored", outcome=type(found).__name__, seconds=round(seconds, 3))
            doors.folded(seconds)
        self.tell(found)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, at - time.time())
        self._timer = asyncio.get_running_loop().call_later(delay, lambda: self.tell(inputs.Timer()))


def _refusal_of(peer: str, following: Effects) -> Refusal | None:
    return next((e.refusal for e in following if isinstance(e, do.Refuse) and e.peer == peer), None)


def _counted(refusal: Refusal, announcement: Announcement) -> Held | Refusal:
    return Held(announcement.size, accepted=True) if refusal.reason.counted else refusal
