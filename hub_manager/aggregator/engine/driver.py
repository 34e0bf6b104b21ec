"""The driver of the round engine: it processes the events of all peers one at a time, and performs their effects.

Callers submit an event to a queue and wait for its result. One task reads the queue, steps the engine in a thread
(which synchronises the journal) and performs the effects in order. If a caller is cancelled while it waits, its event
is processed anyway. A fold runs concurrently, in one thread at a time, and submits its result as an event.

Assumption: an error of the volume, or a contradiction in the engine, ends the process (`run` raises), and a new process
continues from the disk. An error in one upload affects only that upload.
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
from hub_manager.aggregator.engine.upload_session import SpoolUploadSession, StoredModelValues
from hub_manager.aggregator.ports import JoinResult, Order, ReadableModel, SpooledUpload
from hub_manager.aggregator.rounds import effects as do
from hub_manager.aggregator.rounds import inputs
from hub_manager.aggregator.rounds.decisions import update_refusal
from hub_manager.aggregator.rounds.effects import Effect
from hub_manager.aggregator.rounds.inputs import Event
from hub_manager.aggregator.rounds.machine import StepResult
from hub_manager.aggregator.rounds.state import State
from hub_manager.aggregator.validation.manifest import AnnouncedTensor, ModelLimits, read_manifest
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason
from hub_manager.aggregator.validation.update import layout_refusal

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DriverCallbacks:
    """Callbacks from the driver to the exchange and the reporting."""

    cut_peer: Callable[[str, UpdateRefusal], None]
    """Cancels every call of the peer."""
    cut_upload: Callable[[str, UpdateRefusal], None]
    """Cancels the peer's upload."""
    report: Callable[[State], None]
    """Reports a visible change of the state; must not block."""
    folded: Callable[[float], None]
    """Receives the seconds that a fold, or storing the initial model, took."""


class Driver:
    """The engine as the exchange service uses it (`ports.Engine`)."""

    def __init__(self, engine: RoundEngine, initial_effects: Sequence[Effect], limits: ModelLimits) -> None:
        """Take over an engine and the initial effects from `open_engine`; `run` starts the processing."""
        self._engine = engine
        self._limits = limits
        self._queue: asyncio.Queue[tuple[Event, asyncio.Future[StepResult]]] = asyncio.Queue()
        self._initial_effects = initial_effects
        self._manifests: dict[str, ModelManifest] = {}
        self._due: dict[str, Order] = {}
        self._news = asyncio.Condition()
        self._uploads: dict[str, Announcement] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._values: StoredModelValues | None = None
        self._folding = asyncio.Lock()
        self._busy_since: float | None = None

    @property
    def state(self) -> State:
        """The current state of the run."""
        return self._engine.state

    async def run(self, callbacks: DriverCallbacks) -> None:
        """Process events until cancelled.

        Raises:
            BaseExceptionGroup: The volume failed, or the engine contradicts itself; the process must end.
        """
        async with asyncio.TaskGroup() as tasks:
            await self._perform(self._initial_effects, callbacks, tasks)
            while True:
                event, decision = await self._queue.get()
                self._busy_since = time.monotonic()
                try:
                    result = await asyncio.to_thread(self._engine.step, event, time.time())
                    if isinstance(event, inputs.Joined):
                        # No caller reads the result of a join, so a refusal ends the peer's calls.
                        for peer, refusal in result.refusals.items():
                            callbacks.cut_peer(peer, refusal)
                    await self._perform(result.effects, callbacks, tasks)
                except BaseException as error:
                    if not decision.done():
                        decision.set_exception(OSError(f"the round engine has stopped: {type(error).__name__}"))
                    raise
                self._busy_since = None
                if not decision.done():
                    decision.set_result(result)

    def stuck_for(self) -> float:
        """Return the seconds since the current event started, 0 without one; a fold is not an event."""
        return 0.0 if self._busy_since is None else time.monotonic() - self._busy_since

    def close(self) -> None:
        """Close the journal, after `run` has ended."""
        self._engine.close()

    def submit(self, event: Event) -> "asyncio.Future[StepResult]":
        """Queue the event; the future has the step's result once its effects are performed."""
        decision: asyncio.Future[StepResult] = asyncio.get_running_loop().create_future()
        # Mark the exception as retrieved: for some events no caller waits.
        decision.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._queue.put_nowait((event, decision))
        return decision

    async def wait_for_members(self) -> None:
        """Return once every member has connected to this process at least once."""
        async with self._news:
            await self._news.wait_for(lambda: set(self.state.members) <= self.state.declared.keys())

    def is_member(self, peer: str) -> bool:
        """See `ports.Engine`."""
        return peer in self.state.cohort and peer not in self.state.removed

    def join(self, peer: str, tensors: Sequence[AnnouncedTensor] | None) -> JoinResult | UpdateRefusal:
        """See `ports.Engine`. The engine receives the peer's model once the peer opens its stream of work."""
        manifest = self.state.manifest
        if tensors is None:
            if manifest is None:
                return UpdateRefusal(
                    UpdateRefusalReason.NO_TENSORS, "the run has no model yet; announce the tensors of this one"
                )
            self._manifests[peer] = manifest
            return JoinResult(self.state.parameters.rounds, manifest)
        announced = read_manifest(tensors, self._limits)
        if isinstance(announced, UpdateRefusal):
            return announced
        refusal = layout_refusal(tensors, manifest) if manifest is not None else None
        if refusal is not None:
            return refusal
        self._manifests[peer] = announced
        return JoinResult(self.state.parameters.rounds, manifest)

    async def orders(self, peer: str) -> AsyncGenerator[Order, None]:
        """See `ports.Engine`."""
        sent: Order | None = None
        self._due.pop(peer, None)
        try:
            await asyncio.shield(self.submit(inputs.Joined(peer, self._manifests[peer])))
            while not isinstance(sent, do.SendRunEnded):
                async with self._news:
                    await self._news.wait_for(lambda: self._due.get(peer) not in {None, sent})  # noqa: B023
                    sent = self._due[peer]
                yield sent
        finally:
            self.submit(inputs.Left(peer))

    async def query_offset(self, peer: str, announcement: Announcement) -> SpooledUpload | UpdateRefusal:
        """See `ports.Engine`."""
        refusal = update_refusal(self.state, peer, announcement)
        if refusal is None:
            offset = await asyncio.to_thread(self._engine.spool.offset, peer, announcement)
            return SpooledUpload(offset, accepted=False)
        return _counted(refusal, announcement)

    async def receive(
        self, peer: str, announcement: Announcement, offset: int
    ) -> SpoolUploadSession | SpooledUpload | UpdateRefusal:
        """See `ports.Engine`."""
        begun = self.submit(inputs.UpdateBegun(peer, announcement))
        try:
            refusal = (await asyncio.shield(begun)).refusals.get(peer)
        except asyncio.CancelledError:
            self.submit(inputs.UpdateBroken(peer, announcement))  # the step may still accept it
            raise
        if refusal is not None:
            return _counted(refusal, announcement)
        manifest = self.state.manifest or self.state.declared[peer]
        self._uploads[peer] = announcement
        session = SpoolUploadSession(peer, announcement, self.submit)
        try:
            await session.open(self._engine.spool, manifest)
            stored = session.offset
            if stored == offset:
                return session
        except BaseException:
            await session.close()
            raise
        await session.close()
        return UpdateRefusal(
            UpdateRefusalReason.OUT_OF_PLACE, f"the upload starts at byte {offset}; resume it at byte {stored}"
        )

    def model(self, digest: str) -> ReadableModel | None:
        """See `ports.Engine`; only the current global model is available."""
        state = self.state
        if state.model != digest or state.manifest is None:
            return None
        if self._values is None or self._values.digest != digest:
            source = self._engine.checkpoints.source(state.model_round)
            # Python closes the previous model once its last reader has released it.
            self._values = StoredModelValues(digest, source, state.manifest.nbytes)
        return self._values

    async def report(self, reported: MetricsReported) -> UpdateRefusal | None:
        """See `ports.Engine`."""
        return (await asyncio.shield(self.submit(reported))).refusals.get(reported.peer)

    async def _perform(self, effects: Sequence[Effect], callbacks: DriverCallbacks, tasks: asyncio.TaskGroup) -> None:
        for effect in effects:
            match effect:
                case do.SendWork() | do.RequestInitialModel() | do.SendWait() | do.SendRunEnded():
                    async with self._news:
                        self._due[effect.peer] = effect
                        self._news.notify_all()
                case do.Disconnect():
                    refusal = UpdateRefusal(UpdateRefusalReason.REMOVED, f"cluster {effect.peer} has left the run")
                    callbacks.cut_peer(effect.peer, refusal)
                case do.CutUpload():
                    callbacks.cut_upload(effect.peer, effect.refusal)
                    announced = self._uploads.pop(effect.peer, None)
                    if announced is not None:
                        await asyncio.to_thread(self._engine.spool.discard, effect.peer, announced)
                case do.DropSpool():
                    await asyncio.to_thread(self._engine.spool.drop_through, effect.round)
                case do.StoreInitialModel() | do.FoldUpdates():
                    tasks.create_task(self._fold(effect, callbacks))
                case do.SetTimer():
                    self._set_timer(effect.at)
                case do.ReportStatus():
                    callbacks.report(self.state)
                case _:
                    assert_never(effect)

    async def _fold(self, effect: do.StoreInitialModel | do.FoldUpdates, callbacks: DriverCallbacks) -> None:
        async with self._folding:
            started = time.monotonic()
            event = await asyncio.to_thread(self._engine.perform, effect)
            seconds = time.monotonic() - started
            _log.info("model_stored", outcome=type(event).__name__, seconds=round(seconds, 3))
            callbacks.folded(seconds)
        self.submit(event)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, at - time.time())
        self._timer = asyncio.get_running_loop().call_later(delay, lambda: self.submit(inputs.Timer()))


def _counted(refusal: UpdateRefusal, announcement: Announcement) -> SpooledUpload | UpdateRefusal:
    return SpooledUpload(announcement.size, accepted=True) if refusal.reason.counted else refusal
