"""The exchange service: authenticates each call, decodes its message, and passes it to the round engine.

The service checks the peer's certificate, its membership, its call rate and its open calls, in this order, before it
reads the first byte. Therefore each method is registered as a stream, even if it is unary in the .proto: gRPC calls
the handler of a unary method only after the whole request has arrived, without a time limit. On the wire both are the
same (gRPC over HTTP/2, "Request").

The service buffers one message for each stream. It writes the data of a message to the engine's spool before it reads
the next one, so a slow disk slows the peer down through HTTP/2 flow control.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar

import grpc
import structlog

from federation.rpc import policy
from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.peer import NoPeer, Peer, peer_of
from federation.rpc.refusal import LONGEST_MESSAGE, CallReason, Refused, refused, to_metadata
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.exchange import messages
from hub_manager.aggregator.exchange.join_worker import JoinWorker
from hub_manager.aggregator.exchange.open_calls import OpenCalls
from hub_manager.aggregator.exchange.prescan import report_refusal
from hub_manager.aggregator.exchange.quotas import CallKind, PeerQuotas
from hub_manager.aggregator.exchange.status_codes import answer
from hub_manager.aggregator.exchange.stream import CallStream, CallTimeouts, Context
from hub_manager.aggregator.ports import Engine, ReadableModel, SpooledUpload, UploadSession
from hub_manager.aggregator.reporting.telemetry import AggregatorTelemetry
from hub_manager.aggregator.validation.refusal import UpdateRefusal, short

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Exchange"].full_name

_log = structlog.stdlib.get_logger(__name__)

Method = Callable[[CallStream], Awaitable[None]]
ResultT = TypeVar("ResultT")


class Exchange:
    """The exchange service of one run."""

    def __init__(
        self,
        run: str,
        engine: Engine,
        calls: OpenCalls,
        quotas: PeerQuotas,
        telemetry: AggregatorTelemetry,
        timing: CallTimeouts | None = None,
    ) -> None:
        """Create the service of the run with this unique ID; `handler` registers it with a server."""
        self._run = run
        self._engine = engine
        self._calls = calls
        self._quotas = quotas
        self._telemetry = telemetry
        self._timing = timing or CallTimeouts()
        self._join_worker = JoinWorker(engine, self._check_caller)
        self._joined: set[str] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler to register with a gRPC server."""
        methods: dict[str, tuple[CallKind, Method]] = {
            "Join": (CallKind.QUESTION, self._join),
            "Work": (CallKind.WORK, self._work),
            "Download": (CallKind.DOWNLOAD, self._download),
            "QueryOffset": (CallKind.QUESTION, self._query_offset),
            "Upload": (CallKind.UPLOAD, self._upload),
            "ReportMetrics": (CallKind.QUESTION, self._report_metrics),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.stream_stream_rpc_method_handler(self._served(name, kind, method))
                for name, (kind, method) in methods.items()
            },
        )

    def _served(self, name: str, kind: CallKind, method: Method) -> Callable[[object, Context], Awaitable[None]]:
        async def serve(_requests: object, context: Context) -> None:
            peer: Peer | None = None
            try:
                peer = self._authenticate(context)
                async with self._calls.hold(peer, kind, seconds=self._timing.unary) as call:
                    await method(CallStream(peer, call, context, self._timing.idle))
            except Refused as refusal:
                await self._refuse(context, name, peer, refusal)
            except messages.Malformed as error:
                await self._refuse(context, name, peer, refused(CallReason.MALFORMED, str(error)))
            except OSError as error:
                _log.error("call_failed", method=name, cluster=peer and peer.cluster, error=str(error))
                await self._refuse(context, name, peer, refused(CallReason.NOT_READY, "the aggregator's volume failed"))
            except Exception:  # noqa: BLE001 - ask the peer to retry, without any detail of the error
                _log.exception("call_failed", method=name, cluster=peer and peer.cluster)
                await self._refuse(
                    context, name, peer, refused(CallReason.NOT_READY, "the aggregator is temporarily unavailable")
                )

        return serve

    def _authenticate(self, context: Context) -> Peer:
        """Authenticate the caller before reading its message: NotACollaborator, NotInCohort or TooManyCalls."""
        try:
            peer = peer_of(context.auth_context())
        except NoPeer as error:
            raise refused(CallReason.NOT_A_COLLABORATOR, str(error)) from error
        if not self._engine.is_member(peer.cluster):
            raise refused(CallReason.NOT_IN_COHORT, f"cluster {peer.cluster} is not in the cohort of this run")
        if not self._quotas.of(peer.cluster, time.monotonic()).calls.take(time.monotonic()):
            raise refused(CallReason.TOO_MANY_CALLS, "call less often")
        return peer

    def _check_caller(self, peer: Peer, caller: pb.Caller) -> None:
        """Check the sender that the message names against the certificate and the run: NameDiffers or OtherRun."""
        if caller.cluster != peer.cluster:
            message = f"the certificate is for cluster {peer.cluster}, the message is from {short(caller.cluster)}"
            raise refused(CallReason.NAME_DIFFERS, message)
        if caller.run != self._run:
            raise refused(
                CallReason.OTHER_RUN, f"the aggregator serves run {self._run}, the message is for {short(caller.run)}"
            )

    async def _refuse(self, context: Context, method: str, peer: Peer | None, refusal: Refused) -> None:
        cluster = peer.cluster if peer is not None else _certificate_name(context)
        member = cluster is not None and self._engine.is_member(cluster)
        reported = self._telemetry.refused(
            refusal, cluster=cluster, member=member, method=method, address=context.peer()
        )
        try:
            await context.abort(refusal.status, refusal.message[:LONGEST_MESSAGE], to_metadata(refusal))
        except grpc.aio.InternalError as error:
            # The peer reads nothing: its last message is still being sent, and blocks the status.
            if reported:
                _log.warning("call_not_ended", method=method, cluster=cluster, error=str(error))

    async def _join(self, stream: CallStream) -> None:
        runtime, reply = await self._join_worker.join(stream.peer, await stream.read_single(policy.MESSAGE_BYTES))
        self._joined.add(stream.peer.cluster)
        _log.info("collaborator_joined", cluster=stream.peer.cluster, runtime=runtime)
        await stream.write(reply)

    async def _work(self, stream: CallStream) -> None:
        request = messages.parse(pb.WorkRequest, await stream.read_single())
        self._check_caller(stream.peer, request.caller)
        cluster = stream.peer.cluster
        if cluster not in self._joined:
            raise refused(CallReason.NOT_JOINED, "join first")
        stream.call.set_deadline(None)
        self._telemetry.work_stream_opened(cluster)
        try:
            async with aclosing(self._engine.orders(cluster)) as orders:
                async for order in orders:
                    await stream.write(messages.order_message(order, now=time.time(), size_of=self._size_of))
        finally:
            self._telemetry.work_stream_closed(cluster)

    def _size_of(self, digest: str) -> int:
        model = self._engine.model(digest)
        if model is None:
            raise refused(CallReason.NOT_READY, "the model of the round is not stored yet")
        return model.nbytes

    async def _download(self, stream: CallStream) -> None:
        request = messages.parse(pb.DownloadRequest, await stream.read_single())
        self._check_caller(stream.peer, request.caller)
        model = self._engine.model(request.digest)
        if model is None or request.offset > model.nbytes:
            raise refused(
                CallReason.UNKNOWN_MODEL,
                f"the run has no current model {short(request.digest)} with byte {request.offset}",
            )
        stream.call.set_deadline(self._timing.transfer(model.nbytes - request.offset))
        await self._send(stream, model, request.offset)

    async def _send(self, stream: CallStream, model: ReadableModel, offset: int) -> None:
        while offset < model.nbytes:
            data = await asyncio.to_thread(model.read, offset, policy.CHUNK_BYTES)
            await stream.write(messages.data_reply(data))
            self._telemetry.sent(stream.peer.cluster, len(data))
            offset += len(data)

    async def _query_offset(self, stream: CallStream) -> None:
        request = messages.parse(pb.QueryOffsetRequest, await stream.read_single())
        self._check_caller(stream.peer, request.caller)
        stored = _raise_refusal(await self._engine.query_offset(stream.peer.cluster, messages.announcement_of(request)))
        await stream.write(pb.QueryOffsetReply(offset=stored.offset, accepted=stored.accepted))

    async def _upload(self, stream: CallStream) -> None:
        header = messages.header_of(await stream.read_single())
        self._check_caller(stream.peer, header.caller)
        announcement = messages.announcement_of(header)
        # The engine reads all stored bytes of the update again, which takes time for a large model.
        stream.call.set_deadline(self._timing.settle)
        upload = await self._engine.receive(stream.peer.cluster, announcement, header.offset)
        if isinstance(upload, UpdateRefusal):
            raise answer(upload)
        if not isinstance(upload, SpooledUpload):
            # The engine has validated the announced size, so the deadline may depend on it.
            stream.call.set_deadline(self._timing.transfer(announcement.size - header.offset))
            await self._receive(stream, announcement, upload)
        await stream.write(pb.UploadReply(bytes=announcement.size))

    async def _receive(self, stream: CallStream, announcement: Announcement, session: UploadSession) -> None:
        budget = self._quotas.of(stream.peer.cluster, time.monotonic()).upload_budget
        left = budget.grant(announcement.round, announcement.size, self._quotas.limits.max_resends)
        try:
            while (message := await stream.read()) is not None:
                data = messages.data_of(message)
                budget.count(len(data))
                left -= len(data)
                if left < 0:
                    raise refused(CallReason.TOO_MANY_BYTES, "the update of this round was sent too often")
                self._telemetry.received(stream.peer.cluster, len(data))
                _raise_refusal(await session.write(data))
            stream.call.set_deadline(self._timing.settle)
            _raise_refusal(await session.finish())
        finally:
            await session.close()

    async def _report_metrics(self, stream: CallStream) -> None:
        raw = await stream.read_single(policy.MESSAGE_BYTES)
        _raise_refusal(report_refusal(raw))
        request = messages.parse(pb.ReportMetricsRequest, raw)
        self._check_caller(stream.peer, request.caller)
        _raise_refusal(await self._engine.report(messages.metrics_of(request, stream.peer.cluster)))
        await stream.write(pb.ReportMetricsReply())


def _raise_refusal(result: ResultT | UpdateRefusal) -> ResultT:
    if isinstance(result, UpdateRefusal):
        raise answer(result)
    return result


def _certificate_name(context: Context) -> str | None:
    try:
        return peer_of(context.auth_context()).cluster
    except NoPeer:
        return None
