"""One call of a peer that is known, message by message, none of which is waited for without an end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import grpc
from google.protobuf.message import Message

from federation.rpc import policy
from federation.rpc.peer import Peer
from federation.rpc.refusal import CallReason, refused
from hub_manager.aggregator.exchange.open_calls import OpenCall

ON_ITS_WAY_SECONDS: Final = 1.0
"""For a message that a peer which still reads has been sent."""

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """How long a peer may take; seconds."""

    unary: float = policy.UNARY_SECONDS
    idle: float = policy.IDLE_SECONDS
    settle: float = policy.SETTLE_SECONDS
    transfer: Callable[[int], float] = policy.transfer_seconds


@dataclass(frozen=True, slots=True)
class CallStream:
    """One call of an authenticated peer, message by message."""

    peer: Peer
    call: OpenCall
    context: Context
    idle: float

    async def read(self) -> bytes | None:
        """The next message, None at the stream's end; raises Refused when none comes in time."""
        try:
            async with asyncio.timeout(self.idle):
                message = await self.context.read()
        except TimeoutError:
            raise refused(CallReason.STALLED, f"the peer sent nothing for {self.idle:.0f} s") from None
        return message if isinstance(message, bytes) else None

    async def write(self, message: Message | bytes) -> None:
        """Sends the message, which may be encoded already; raises Refused when the peer takes nothing in time.

        A call that is cut meanwhile waits a moment for the message to be gone: gRPC's core takes no status while one is
        on its way, and without a status the peer would wait for its own deadline.
        """
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        writing = asyncio.ensure_future(self.context.write(raw))
        try:
            async with asyncio.timeout(self.idle):
                await asyncio.shield(writing)
        except TimeoutError:
            raise refused(CallReason.STALLED, f"the peer read nothing for {self.idle:.0f} s") from None
        except asyncio.CancelledError:
            await asyncio.wait({writing}, timeout=ON_ITS_WAY_SECONDS)
            raise

    async def only(self, most: int = policy.REQUEST_BYTES) -> bytes:
        """The one message of a unary request, or the first of an upload; raises Refused, also over `most` bytes."""
        message = await self.read()
        if message is None:
            raise refused(CallReason.MALFORMED, "the request has no message")
        if len(message) > most:
            raise refused(CallReason.MALFORMED, f"the message has {len(message)} bytes; the limit is {most}")
        return message
