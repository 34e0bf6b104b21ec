"""Joins, beside the event loop: a model of 65,536 tensors is seconds of work, in which everybody else would wait.

They take turns in one thread, so that they never keep the others' (the engine's journal, the spool) waiting, and one
peer waits for its own join before it gets another turn. A join whose call has ended loses its turn.
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
    """Reads and answers the joins of one run."""

    def __init__(self, engine: Engine, check_caller: Callable[[Peer, pb.Caller], None]) -> None:
        """Joins to that engine, of callers that `check_caller` doesn't raise `Refused` for."""
        self._engine = engine
        self._check_caller = check_caller
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="join")
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def join(self, peer: Peer, raw: bytes) -> tuple[str, bytes]:
        """Has the peer take part.

        Args:
            peer: A member of the cohort.
            raw: Its JoinRequest, as it came.

        Returns:
            Which program it is, fit for a log, and the encoded JoinReply.

        Raises:
            Refused: The caller is another one, or its model is not to be had.
            Malformed: The bytes are no JoinRequest.
        """
        async with self._turns[peer.cluster]:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._joined, peer, raw)

    def _joined(self, peer: Peer, raw: bytes) -> tuple[str, bytes]:
        _raise(join_refusal(raw))
        request = messages.parse(pb.JoinRequest, raw)
        self._check_caller(peer, request.caller)
        _raise(manifest_refusal(request.manifest))
        parameters = self._engine.join(peer.cluster, messages.tensors_of(request))
        if isinstance(parameters, UpdateRefusal):
            raise answer(parameters)
        runtime = short(f"{request.runtime.framework} {request.runtime.version}")
        return runtime, messages.join_reply(parameters).SerializeToString()


def _raise(refusal: UpdateRefusal | None) -> None:
    if refusal is not None:
        raise answer(refusal)
