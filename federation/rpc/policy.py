"""How long each method may take, how big a message may be, and how either side finds out that the other is gone.

Durations are seconds, sizes bytes. Each number says what it holds against.
"""

from dataclasses import dataclass
from typing import Final

from federation.backoff import Backoff

ChannelOptions = tuple[tuple[str, int | str], ...]

CHUNK_BYTES: Final = 1 << 20
"""Of model data in one message. Receiving costs the same per byte from 64 KiB to 4 MiB; with 1 MiB, a
stream in progress holds little, and a peer that is cut loses little."""

MESSAGE_BYTES: Final = 8 << 20
"""The largest message: a manifest of 65,536 tensors with names of a hundred characters. gRPC's own default is 4 MiB."""

REQUEST_BYTES: Final = 64 << 10
"""The largest message that is neither a join nor an upload's data: a report with 64 metrics is an eighth of that. gRPC
has one limit for all methods; what is longer is refused before it is decoded."""

UNARY_SECONDS: Final = 20.0
"""For a method that answers at once; a manifest of `MESSAGE_BYTES` takes 10 s at 1 MB/s."""

WINDOW_BYTES: Final = 4 << 20
"""What a peer may send in a stream before we have read it. gRPC would let it grow with what the line carries, which is
most when we are slowest: sixteen sites at once then held some 30 MB each. With this, memory is a few messages for each
site, and a line with a round trip of 100 ms still carries 40 MB/s a stream."""

IDLE_SECONDS: Final = 30.0
"""For the next message of a stream that carries data, in either direction: longer than a lost link's keepalive."""

FLOOR_BYTES_PER_SECOND: Final = 64 * 1024
"""Slower than this, a stream that never falls idle is cut all the same."""

SETTLE_SECONDS: Final = 300.0
"""For an aggregator to make a whole upload durable and check it, or to read again what it has of one, on a slow
volume."""

KEEPALIVE_SECONDS: Final = 10
"""Between pings on a connection with calls, and without: a Work stream is silent while others train."""

PING_TIMEOUT_SECONDS: Final = 5
"""For the answer to a ping. `keepalive_timeout` alone took 60 s to notice a frozen server, the ping timeout 5 to 10 s
(measured with grpcio 1.65)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a client goes on after errors that may pass."""

    backoff: Backoff
    budget: float
    """Seconds without one success after which it gives up."""


PATIENCE: Final = Patience(Backoff(first=0.2, cap=15.0), budget=900.0)
"""An aggregator's pod that moves to another node, with its volume, is back within minutes."""


def transfer_seconds(size: int) -> float:
    """The longest that a transfer of that many bytes may take as a whole."""
    return IDLE_SECONDS + size / FLOOR_BYTES_PER_SECOND


def server_options() -> ChannelOptions:
    """The aggregator's side."""
    return (
        *_common(),
        # A client may ping as often as ours do, also with no call open, or it is cut for it (`too_many_pings`).
        ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 1000 // 2),
        ("grpc.http2.max_ping_strikes", 0),
        # A peer's own calls are counted by certificate (limits.py); this bounds what one connection holds before.
        ("grpc.max_concurrent_streams", 32),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.max_metadata_size", 8192),
    )


def client_options(server_name: str) -> ChannelOptions:
    """The collaborator's side.

    Args:
        server_name: The DNS name that the aggregator's certificate has to carry, whatever address is dialled.
    """
    return (
        *_common(),
        ("grpc.ssl_target_name_override", server_name),
        # Connections are made by us, under our own back-off and with the certificate as it is then.
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
