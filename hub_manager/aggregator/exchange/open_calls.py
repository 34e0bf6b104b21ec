"""The open calls by peer, with their limits, deadlines and cancellation.

To cut a call, `OpenCall.cut` records a refusal and cancels the call's task. The task then stops waiting (for the peer,
the disk or the engine), cleans up, and sends the refusal to the peer.
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
"""Kinds of which a newer call replaces the older one: a peer may reconnect before its lost stream is noticed."""


class OpenCall:
    """One open call, owned by the task that serves it."""

    def __init__(self, kind: CallKind, task: "asyncio.Task[object]") -> None:
        """Create the call that `task` serves."""
        self.kind: Final = kind
        self.ended: Final = asyncio.Event()
        self.cut_by: Refused | None = None
        self._task = task
        self._deadline: asyncio.TimerHandle | None = None

    def cut(self, reason: Refused) -> None:
        """End the call with this reason; does nothing if the call was already cut or has ended."""
        if self.cut_by is None and not self.ended.is_set():
            self.cut_by = reason
            self._task.cancel()

    def set_deadline(self, seconds: float | None) -> None:
        """Replace the call's deadline by one that many seconds from now; None removes it."""
        if self._deadline is not None:
            self._deadline.cancel()
        if seconds is None:
            self._deadline = None
            return
        late = refused(CallReason.DEADLINE, f"the call exceeded its deadline of {seconds:.0f} s")
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.cut, late)


class OpenCalls:
    """All open calls of the process."""

    def __init__(self, limits: ExchangeLimits, *, clock: Callable[[], datetime]) -> None:
        """Create the empty set; `clock` returns the time in UTC."""
        self._limits = limits
        self._clock = clock
        self._open: defaultdict[str, list[OpenCall]] = defaultdict(list)

    def count(self, peer: str) -> int:
        """Return the number of open calls of the peer."""
        return len(self._open[peer]) if peer in self._open else 0

    def cut(self, cluster: str, reason: Refused, kind: CallKind | None = None) -> int:
        """End all calls of the cluster, or those of one kind, with this reason; return their number."""
        calls = [call for call in self._open.get(cluster, ()) if kind in {None, call.kind}]
        for call in calls:
            call.cut(reason)
        return len(calls)

    async def wait_until_closed(self, kind: CallKind) -> None:
        """Wait until no call of the kind is open."""
        while calls := [call for peer_calls in self._open.values() for call in peer_calls if call.kind is kind]:
            for call in calls:
                await call.ended.wait()

    def peers(self) -> frozenset[str]:
        """Return the clusters that have an open call."""
        return frozenset(self._open)

    @asynccontextmanager
    async def hold(self, peer: Peer, kind: CallKind, *, seconds: float) -> AsyncIterator[OpenCall]:
        """Keep a call of the current task open, at most until the peer's certificate expires.

        Args:
            peer: The caller.
            kind: Of the call. A new `WORK` or `UPLOAD` call first ends the older one and waits for its end.
            seconds: The call's deadline, which `OpenCall.set_deadline` may change.

        Raises:
            Refused: The peer has too many open calls, or this call was cut.
        """
        left = (peer.not_after - self._clock()).total_seconds()
        expired = refused(CallReason.CERTIFICATE_EXPIRED, f"client certificate {peer.serial:x} has expired")
        if left <= 0:
            raise expired
        task = asyncio.current_task()
        assert task is not None, "a call runs in a task"  # noqa: S101 - asyncio's promise, for the type checker
        peer_calls = self._open[peer.cluster]
        older = self._older_calls(kind, peer_calls)
        call = OpenCall(kind, task)
        peer_calls.append(call)
        call.set_deadline(seconds)
        expiry = asyncio.get_running_loop().call_later(left, call.cut, expired)
        try:
            if kind in _NEWEST_WINS:
                await _replace(older)
            yield call
        except asyncio.CancelledError:
            if call.cut_by is None:
                raise
            task.uncancel()
            raise call.cut_by from None
        finally:
            expiry.cancel()
            call.set_deadline(None)
            call.ended.set()
            peer_calls.remove(call)
            if not peer_calls:
                self._open.pop(peer.cluster, None)

    def _older_calls(self, kind: CallKind, peer_calls: Sequence[OpenCall]) -> list[OpenCall]:
        """Return the peer's open calls of the kind, after checking that one more is allowed.

        Raises:
            Refused: The peer has too many open calls of the kind.
        """
        older = [call for call in peer_calls if call.kind is kind]
        if kind not in _NEWEST_WINS and len(older) >= self._limits.open_calls:
            message = f"{len(older)} calls of this kind are open; the limit is {self._limits.open_calls}"
            raise refused(CallReason.TOO_MANY_STREAMS, message)
        return older


async def _replace(older: list[OpenCall]) -> None:
    newer = refused(CallReason.SUPERSEDED, "a newer stream of the same cluster replaced this one")
    for call in older:
        call.cut(newer)
    for call in older:
        await call.ended.wait()
