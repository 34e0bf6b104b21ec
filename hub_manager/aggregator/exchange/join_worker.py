"""Worker that processes joins outside the event loop, which a model of 65,536 tensors would block for seconds.

All joins share one thread, so they never delay the threads of the engine's journal and spool. Each peer has at most one
join in the thread's queue. A join whose call has ended is skipped.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.peer import Peer
from hub_manager.aggregator.exchange import messages
from hub_manager.aggregator.exchange.prescan import join_refusal, manifest_refusal
from hub_manager.aggregator.exchange.status_codes import answer
from hub_manager.aggregator.ports import Engine
from hub_manager.aggregator.validation.refusal import UpdateRefusal, short


class JoinWorker:
    """Worker for the joins of one run."""

    def __init__(self, engine: Engine, check_caller: Callable[[Peer, pb.Caller], None]) -> None:
        """Create the worker; `check_caller` raises `Refused` for an invalid caller."""
        self._engine = engine
        self._check_caller = check_caller
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="join")
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def join(self, peer: Peer, raw: bytes) -> tuple[str, bytes]:
        """Let the peer join the run.

        Args:
            peer: A member of the cohort.
            raw: The received bytes of its JoinRequest.

        Returns:
            The peer's framework and version, shortened for logs, and the encoded JoinReply.

        Raises:
            Refused: The caller differs from the certificate, or its model is rejected.
            Malformed: The bytes are not a valid JoinRequest.
        """
        async with self._turns[peer.cluster]:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._join, peer, raw)

    def _join(self, peer: Peer, raw: bytes) -> tuple[str, bytes]:
        _raise(join_refusal(raw))
        request = messages.parse(pb.JoinRequest, raw)
        self._check_caller(peer, request.caller)
        _raise(manifest_refusal(request.manifest))
        result = self._engine.join(peer.cluster, messages.tensors_of(request))
        if isinstance(result, UpdateRefusal):
            raise answer(result)
        runtime = short(f"{request.runtime.framework} {request.runtime.version}")
        return runtime, messages.join_reply(result).SerializeToString()


def _raise(refusal: UpdateRefusal | None) -> None:
    if refusal is not None:
        raise answer(refusal)
