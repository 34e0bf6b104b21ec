"""Define time limits, message sizes and keepalive for the exchange.

Durations are in seconds, sizes in bytes.
"""

from dataclasses import dataclass
from typing import Final

from federation.backoff import Backoff

ChannelOptions = tuple[tuple[str, int | str], ...]

CHUNK_BYTES: Final = 1 << 20
"""Model data in one message. The cost of receiving a byte is the same from 64 KiB to 4 MiB; with 1 MiB, a stream needs
little memory, and a lost connection loses little data."""

MESSAGE_BYTES: Final = 8 << 20
"""The largest message: a manifest of 65,536 tensors with names of a hundred characters. gRPC's own default is 4 MiB."""

REQUEST_BYTES: Final = 64 << 10
"""The largest message that is neither a join nor an upload's data: a report with 64 metrics has an eighth of that.
gRPC has one limit for all methods, so the server rejects longer messages itself, before it decodes them."""

UNARY_SECONDS: Final = 20.0
"""Limit for a method that replies at once; a manifest of `MESSAGE_BYTES` takes 10 s at 1 MB/s."""

WINDOW_BYTES: Final = 4 << 20
"""Data that a peer may send in a stream before the server reads it. gRPC's own window grows with the bandwidth: sixteen
concurrent sites then used about 30 MB each. With this limit, a site uses the memory of a few messages, and a
connection with a round trip of 100 ms still transfers 40 MB/s per stream."""

IDLE_SECONDS: Final = 30.0
"""Limit for the next message of a data stream, in either direction; longer than the detection of a lost connection."""

FLOOR_BYTES_PER_SECOND: Final = 64 * 1024
"""Minimum rate of a stream; a slower stream is cancelled even if it is never idle."""

SETTLE_SECONDS: Final = 300.0
"""Limit for the aggregator to store and check a whole upload, or to read a partial one again, on a slow volume."""

KEEPALIVE_SECONDS: Final = 10
"""Interval of pings, also on a connection without calls: a Work stream is silent while other sites train."""

PING_TIMEOUT_SECONDS: Final = 5
"""Limit for the reply to a ping. `keepalive_timeout` alone took 60 s to detect a frozen server, this one 5 to 10 s
(measured with grpcio 1.65)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Retry policy of a client after transient errors."""

    backoff: Backoff
    budget: float
    """Seconds without success after which the client stops retrying."""


PATIENCE: Final = Patience(Backoff(first=0.2, cap=15.0), budget=900.0)
"""The budget covers an aggregator's pod that moves to another node with its volume, which takes minutes."""


def transfer_seconds(size: int) -> float:
    """Return the time limit of a whole transfer of this size."""
    return IDLE_SECONDS + size / FLOOR_BYTES_PER_SECOND


def server_options() -> ChannelOptions:
    """Return the channel options of the aggregator."""
    return (
        *_common(),
        # Accept the pings of our clients, also without a call; gRPC otherwise disconnects them (`too_many_pings`).
        ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 1000 // 2),
        ("grpc.http2.max_ping_strikes", 0),
        # `limits` counts a peer's calls by certificate; this limits one connection before that.
        ("grpc.max_concurrent_streams", 32),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.max_metadata_size", 8192),
    )


def client_options(server_name: str) -> ChannelOptions:
    """Return the channel options of a collaborator.

    Args:
        server_name: The DNS name that the aggregator's certificate must have, for every address.
    """
    return (
        *_common(),
        ("grpc.ssl_target_name_override", server_name),
        # `Connection` reconnects itself, with its own back-off and the current certificate.
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_metadata_size", 16384),
    )


def _common() -> ChannelOptions:
    return (
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_SECONDS * 1000),
        ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
    )
