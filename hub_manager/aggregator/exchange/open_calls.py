"""The calls that are open, by peer: how many one may have, when each ends at the latest, and how each is cut.

A call is cut by cancelling its task with a refusal noted beforehand, so that whatever it waits for (the peer, the disk,
the engine) ends at once, its clean-up runs, and the peer still gets the reason.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from federation.rpc.peer import Peer
from federation.rpc.refusal import CallReason, Refused, refused
from hub_manager.aggregator.exchange.quotas import CallKind, ExchangeLimits

_NEWEST_WINS: Final = frozenset({CallKind.WORK, CallKind.UPLOAD})
"""A peer that was cut off comes back before we notice that it went: its older stream must not keep it out."""


class OpenCall:
    """One open call; belongs to the task that made it."""

    def __init__(self, kind: CallKind, task: "asyncio.Task[object]") -> None:
        """A call that runs in `task`."""
        self.kind: Final = kind
        self.ended: Final = asyncio.Event()
        self.cut_by: Refused | None = None
        self._task = task
        self._deadline: asyncio.TimerHandle | None = None

    def cut(self, reason: Refused) -> None:
        """Ends the call with that reason; a call that is cut or over stays as it is."""
        if self.cut_by is None and not self.ended.is_set():
            self.cut_by = reason
            self._task.cancel()

    def allow(self, seconds: float | None) -> None:
        """Sets the call's deadline that many seconds from now, in place of any before; None takes it away."""
        if self._deadline is not None:
            self._deadline.cancel()
        if seconds is None:
            self._deadline = None
            return
        late = refused(CallReason.DEADLINE, f"the call exceeded its deadline of {seconds:.0f} s")
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.cut, late)


class OpenCalls:
    """All calls that are open."""

    def __init__(self, limits: ExchangeLimits, *, clock: Callable[[], datetime]) -> None:
        """No call is open yet; `clock` is UTC's."""
        self._limits = limits
        self._clock = clock
        self._open: defaultdict[str, list[OpenCall]] = defaultdict(list)

    def count(self, peer: str) -> int:
        """How many calls the peer has open."""
        return len(self._open[peer]) if peer in self._open else 0

    def cut(self, cluster: str, reason: Refused, kind: CallKind | None = None) -> int:
        """Ends every call of the cluster, or those of one kind, with that reason; how many there were."""
        calls = [call for call in self._open.get(cluster, ()) if kind in {None, call.kind}]
        for call in calls:
            call.cut(reason)
        return len(calls)

    async def wait_for_the_last(self, kind: CallKind) -> None:
        """Returns once no call of the kind is open."""
        while calls := [call for mine in self._open.values() for call in mine if call.kind is kind]:
            for call in calls:
                await call.ended.wait()

    def peers(self) -> frozenset[str]:
        """The clusters that have a call open."""
        return frozenset(self._open)

    @asynccontextmanager
    async def hold(self, peer: Peer, kind: CallKind, *, seconds: float) -> AsyncIterator[OpenCall]:
        """Holds a call of the running task open, at most until the peer's certificate ends.

        Args:
            peer: Who calls.
            kind: What it holds on to; of `WORK` and `UPLOAD` the older one is ended first, and awaited.
            seconds: The call's deadline, which `OpenCall.allow` may change.

        Raises:
            Refused: The peer has too many calls open, or this one is cut.
        """
        left = (peer.not_after - self._clock()).total_seconds()
        expired = refused(CallReason.CERTIFICATE_EXPIRED, f"client certificate {peer.serial:x} has expired")
        if left <= 0:
            raise expired
        task = asyncio.current_task()
        assert task is not None, "a call runs in a task"  # noqa: S101 - asyncio's promise, for the type checker
        mine = self._open[peer.cluster]
        older = self._let_in(kind, mine)
        call = OpenCall(kind, task)
        mine.append(call)
        call.allow(seconds)
        expiry = asyncio.get_running_loop().call_later(left, call.cut, expired)
        try:
            if kind in _NEWEST_WINS:
                await _give_way(older)
            yield call
        except asyncio.CancelledError:
            if call.cut_by is None:
                raise
            task.uncancel()
            raise call.cut_by from None
        finally:
            expiry.cancel()
            call.allow(None)
            call.ended.set()
            mine.remove(call)
            if not mine:
                self._open.pop(peer.cluster, None)

    def _let_in(self, kind: CallKind, mine: Sequence[OpenCall]) -> list[OpenCall]:
        """The peer's calls of the kind beside which, or in whose place, one more may be open.

        Raises:
            Refused: There are too many.
        """
        older = [call for call in mine if call.kind is kind]
        if kind not in _NEWEST_WINS and len(older) >= self._limits.open_calls:
            message = f"{len(older)} calls of this kind are open; the limit is {self._limits.open_calls}"
            raise refused(CallReason.TOO_MANY_STREAMS, message)
        return older


async def _give_way(older: list[OpenCall]) -> None:
    newer = refused(CallReason.SUPERSEDED, "a newer stream of the same cluster replaced this one")
    for call in older:
        call.cut(newer)
    for call in older:
        await call.ended.wait()
