"""One call of an authenticated peer, with a time limit for each message."""

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

LAST_WRITE_SECONDS: Final = 1.0
"""Limit for the last message of a cut call to reach a peer that still reads."""

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """Time limits of calls, in seconds."""

    unary: float = policy.UNARY_SECONDS
    idle: float = policy.IDLE_SECONDS
    settle: float = policy.SETTLE_SECONDS
    transfer: Callable[[int], float] = policy.transfer_seconds


@dataclass(frozen=True, slots=True)
class CallStream:
    """Reads and writes the messages of one call."""

    peer: Peer
    call: OpenCall
    context: Context
    idle: float

    async def read(self) -> bytes | None:
        """Read the next message, or None at the end of the stream; raises Refused if the peer is idle for too long."""
        try:
            async with asyncio.timeout(self.idle):
                message = await self.context.read()
        except TimeoutError:
            raise refused(CallReason.STALLED, f"the peer sent nothing for {self.idle:.0f} s") from None
        return message if isinstance(message, bytes) else None

    async def write(self, message: Message | bytes) -> None:
        """Send a message, which may already be encoded; raises Refused if the peer doesn't read it in time.

        If the call is cut during the write, this waits briefly for the write to end: gRPC sends no status during a
        write, and without a status the peer would wait for its own deadline.
        """
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        writing = asyncio.ensure_future(self.context.write(raw))
        try:
            async with asyncio.timeout(self.idle):
                await asyncio.shield(writing)
        except TimeoutError:
            raise refused(CallReason.STALLED, f"the peer read nothing for {self.idle:.0f} s") from None
        except asyncio.CancelledError:
            await asyncio.wait({writing}, timeout=LAST_WRITE_SECONDS)
            raise

    async def read_single(self, max_bytes: int = policy.REQUEST_BYTES) -> bytes:
        """Read the message of a unary request, or the first of an upload; raises Refused if too long or missing."""
        message = await self.read()
        if message is None:
            raise refused(CallReason.MALFORMED, "the request has no message")
        if len(message) > max_bytes:
            raise refused(CallReason.MALFORMED, f"the message has {len(message)} bytes; the limit is {max_bytes}")
        return message
