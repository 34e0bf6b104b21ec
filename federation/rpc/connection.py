"""A collaborator's connection to the aggregator: made anew with the certificate as it is then, and tried with patience.

One call at a time is tried here until it succeeds, is refused for good, or the budget of time without success is spent.
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
"""How often in a row one call is repeated because of what it carried; more would be a fault of ours, not the link's."""

_HOPELESS: Final = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT})
"""Statuses of the transport itself that another try can't change: whoever answers speaks another protocol."""

_log = structlog.stdlib.get_logger(__name__)


class GaveUp(Exception):
    """The aggregator was not reached within the budget; the cause is the last error."""


class StreamEnded(Exception):
    """The aggregator ended a stream in good order, though more was to come: it stops, and will be started again."""


class Closed(Exception):
    """The client was closed while it waited."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom a collaborator talks to, and as whom."""

    addresses: tuple[str, ...]
    """`host:port` each, as the site may reach it; dialled in turn until one answers."""
    server_name: str
    """The DNS name in the aggregator's certificate (`federation.pki.names.aggregator_dns`)."""
    run: str
    """The run's unique id."""
    cluster: str
    files: Files


class Connection:
    """The channel to the aggregator; every method may be called from any thread."""

    def __init__(self, endpoint: Endpoint, patience: Patience = PATIENCE) -> None:
        """Nothing is dialled yet."""
        self._endpoint = endpoint
        self._patience = patience
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None
        self._generation = 0

    def close(self) -> None:
        """Ends every call, and every wait between two tries."""
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
        """Tries until the attempt succeeds.

        Args:
            what: The wait's name, for logs and errors.
            attempt: Made with a stub of a live channel; raises what gRPC raises.
            progress: A number that grows when something was achieved although the attempt failed: the budget and the
                back-off begin anew.

        Raises:
            Refused: The aggregator refused it for good, or until its next order.
            GaveUp: The budget is spent.
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
        said = error.details() if isinstance(error, grpc.Call) else str(error)
        if time.monotonic() - since + delay > self._patience.budget:
            raise GaveUp(f"{what}: no success for {self._patience.budget:.0f} s, the last time: {said}") from error
        _log.info("exchange_retried", what=what, failures=failures, seconds=round(delay, 3), error=said)
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
        """Drops the channel that an attempt of this generation failed on; of several that failed, the first does.

        The next one is dialled at the next address: a hub's node may be gone while the others stand.
        """
        with self._lock:
            if generation != self._generation or self._channel is None:
                return
            self._channel.close()
            self._channel = None
            self._generation += 1


def refusal_in(error: grpc.RpcError) -> Refused | None:
    """The aggregator's refusal, None for an error of the transport."""
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
    """The refusal to try again after, None after an error of the transport; raises what no other try can change."""
    if isinstance(error, MaterialRefused | StreamEnded):
        return None
    if isinstance(error, ValueError):
        # gRPC's only words for a channel that another thread has closed in order to renew it: "on closed channel!"
        # before the call is made, ": Channel closed!" while it is (grpcio `_cython/_cygrpc/channel.pyx.pxi`).
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
