"""Connect a collaborator to the aggregator; retry calls and reconnect with the current certificate.

A call is retried until it succeeds, is rejected permanently, or the time budget without success is spent.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
import structlog

from federation.rpc.gen.exchange_pb2_grpc import ExchangeStub
from federation.rpc.policy import PATIENCE, Patience, client_options
from federation.rpc.refusal import REFUSAL_METADATA, Refused, Remedy, from_metadata
from federation.rpc.tls import Files, MaterialRefused, client_credentials

T = TypeVar("T")

MOST_RESENDS: Final = 3
"""Maximum consecutive resends of one call; more indicate a defect of the client, not of the network."""

_HOPELESS: Final = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT})
"""Statuses of the transport that a retry can't change: the server uses another protocol."""

_log = structlog.stdlib.get_logger(__name__)


class GaveUp(Exception):
    """The aggregator was unreachable for the whole time budget; the cause is the last error."""


class StreamEnded(Exception):
    """The aggregator closed a stream early and without an error: it is shutting down and will restart."""


class Closed(Exception):
    """The client was closed during a call or a wait."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Addresses of the aggregator, and the identity of the collaborator."""

    addresses: tuple[str, ...]
    """`host:port` each; tried in turn until one answers."""
    server_name: str
    """The DNS name in the aggregator's certificate (`federation.pki.names.aggregator_dns`)."""
    run: str
    """The run's unique id."""
    cluster: str
    files: Files


class Connection:
    """Channel to the aggregator; thread-safe."""

    def __init__(self, endpoint: Endpoint, patience: Patience = PATIENCE) -> None:
        """Create the connection without dialing."""
        self._endpoint = endpoint
        self._patience = patience
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None
        self._generation = 0

    def close(self) -> None:
        """Cancel all calls and all waits between retries."""
        self._closed.set()
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def patiently(self, what: str, attempt: Callable[[ExchangeStub], T], progress: Callable[[], int] = int) -> T:
        """Retry the attempt until it succeeds.

        Args:
            what: Name of the call, for logs and errors.
            attempt: Called with a stub of an open channel; raises gRPC's exceptions.
            progress: Returns a number that grows when a failed attempt made progress, which resets budget and back-off.

        Raises:
            Refused: The aggregator rejected the call permanently, or until its next order.
            GaveUp: The time budget is spent.
            Closed: `close` was called.
        """
        failing_since: float | None = None
        failures, resends, achieved = 0, 0, progress()
        while True:
            generation = self._generation
            try:
                return attempt(self._stub())
            except (grpc.RpcError, MaterialRefused, StreamEnded, ValueError) as error:
                if self._closed.is_set():
                    raise Closed(what) from error
                refusal = _retryable_refusal(error)
                resends = resends + 1 if refusal is not None and refusal.remedy is Remedy.RESEND else 0
                if refusal is not None and resends > MOST_RESENDS:
                    raise refusal from error
                if refusal is None or refusal.status is grpc.StatusCode.UNAUTHENTICATED:
                    self._renew(generation)
                if failing_since is None or progress() > achieved:
                    failing_since, failures, achieved = time.monotonic(), 0, progress()
                failures += 1
                self._wait(what, failures, failing_since, refusal or error)

    def _wait(self, what: str, failures: int, since: float, error: Exception) -> None:
        delay = self._patience.backoff.delay(failures)
        reason = error.details() if isinstance(error, grpc.Call) else str(error)
        if time.monotonic() - since + delay > self._patience.budget:
            raise GaveUp(f"{what}: no success for {self._patience.budget:.0f} s, the last time: {reason}") from error
        _log.info("exchange_retried", what=what, failures=failures, seconds=round(delay, 3), error=reason)
        if self._closed.wait(delay):
            raise Closed(what)

    def _stub(self) -> ExchangeStub:
        with self._lock:
            if self._closed.is_set():
                raise Closed("the connection")
            if self._channel is None:
                credentials = client_credentials(self._endpoint.files)
                options = client_options(self._endpoint.server_name)
                addresses = self._endpoint.addresses
                address = addresses[self._generation % len(addresses)]
                self._channel = grpc.secure_channel(address, credentials, options)
            return ExchangeStub(self._channel)

    def _renew(self, generation: int) -> None:
        """Close the channel of this generation; only the first failed attempt of a generation does so.

        The next channel uses the next address, because one of the hub's nodes may be down.
        """
        with self._lock:
            if generation != self._generation or self._channel is None:
                return
            self._channel.close()
            self._channel = None
            self._generation += 1


def refusal_in(error: grpc.RpcError) -> Refused | None:
    """Return the aggregator's refusal, None for an error of the transport."""
    if not isinstance(error, grpc.Call):
        return None
    values = [value for key, value in error.trailing_metadata() or () if key == REFUSAL_METADATA]
    value = values[0] if values else None
    if not isinstance(value, bytes):
        return None
    try:
        return from_metadata(error.code(), value)
    except ValueError:
        return None


def _retryable_refusal(error: Exception) -> Refused | None:
    """Return a refusal that allows a retry, None for a transport error; raise an error that a retry can't change."""
    if isinstance(error, MaterialRefused | StreamEnded):
        return None
    if isinstance(error, ValueError):
        # gRPC's only error for a channel that another thread has closed to renew it: "on closed channel!" before the
        # call starts, ": Channel closed!" during it (grpcio `_cython/_cygrpc/channel.pyx.pxi`).
        if not str(error).startswith("Cannot invoke RPC"):
            raise error
        return None
    if not isinstance(error, grpc.RpcError):
        raise error
    refusal = refusal_in(error)
    if refusal is None:
        if isinstance(error, grpc.Call) and error.code() in _HOPELESS:
            message = f"the address answers, but not as an aggregator: {error.details()}"
            raise Refused("NotAnAggregator", Remedy.STOP, message, error.code()) from error
        return None
    if refusal.remedy in {Remedy.STOP, Remedy.NEXT_ORDER}:
        raise refusal from error
    return refusal
