"""Capture a site's network traffic: the bytes of each TCP flow, and the TLS records in them.

Run as a program, this module taps a device of its network namespace with a raw socket.
Sources: RFC 791, RFC 9293 (headers), RFC 8446 (records; 4.1.3 and 4.2.1 for the version that was agreed on).
"""

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

IPV4: Final = 0x0800
EVERY_PROTOCOL: Final = 3
"""`ETH_P_ALL`: at the port of a bridge, a tap of one protocol sees nothing (packet(7), linux `br_input.c`)."""
SO_RCVBUFFORCE: Final = 33
"""Linux `asm-generic/socket.h`; Python has no name for it."""
WAITING_BYTES: Final = 64 << 20
"""Receive buffer for frames on a busy machine; frames that do not fit are lost."""
HANDSHAKE, APPLICATION_DATA, CHANGE_CIPHER_SPEC, ALERT = 22, 23, 20, 21
SERVER_HELLO: Final = 2
SUPPORTED_VERSIONS: Final = 43
TLS_1_3: Final = 0x0304

Flow = tuple[str, int, str, int]
"""TensorSource and destination, addresses and ports."""


def tap(device: str, port: int, out: Path) -> None:
    """Write each segment to or from a TCP port as a line, until SIGTERM."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL)) as wire, out.open("w") as lines:
        wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, WAITING_BYTES)
        wire.bind((device, EVERY_PROTOCOL))
        signal.signal(signal.SIGTERM, lambda *_: wire.setblocking(False))
        sys.stdout.write("tapping\n")
        sys.stdout.flush()
        while True:
            try:
                frame = wire.recv(1 << 16)
            except BlockingIOError:
                return
            segment = _segment(frame[14:]) if int.from_bytes(frame[12:14], "big") == IPV4 else None
            if segment is not None and port in {segment[0][1], segment[0][3]} and segment[2]:
                flow, sequence, payload = segment
                lines.write(json.dumps([*flow, sequence, payload.hex()]) + "\n")


def flows(captured: Path) -> dict[Flow, bytes]:
    """Reassemble the bytes of each direction of each connection."""
    pieces: dict[Flow, dict[int, bytes]] = {}
    for line in captured.read_text(encoding="utf-8").splitlines():
        source, from_port, target, to_port, sequence, payload = json.loads(line)
        found = pieces.setdefault((source, from_port, target, to_port), {})
        found[sequence] = max(found.get(sequence, b""), bytes.fromhex(payload), key=len)
    return {flow: _joined(found) for flow, found in pieces.items()}


def records(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each complete TLS record of a stream."""
    at = 0
    while at + 5 <= len(stream):
        size = int.from_bytes(stream[at + 3 : at + 5], "big")
        if at + 5 + size > len(stream):
            return
        yield stream[at], stream[at + 5 : at + 5 + size]
        at += 5 + size


def agreed_version(hello: bytes) -> int:
    """Return the version in the extension of a ServerHello, or 0 without one."""
    at = 4 + 2 + 32
    at += 1 + hello[at] + 2 + 1
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    while at + 4 <= end:
        kind, size = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        if kind == SUPPORTED_VERSIONS:
            return int.from_bytes(hello[at + 4 : at + 6], "big")
        at += 4 + size
    return 0


def _segment(packet: bytes) -> tuple[Flow, int, bytes] | None:
    if len(packet) < 20 or packet[9] != socket.IPPROTO_TCP:
        return None
    header, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    tcp = packet[header:total]
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    ports = int.from_bytes(tcp[0:2], "big"), int.from_bytes(tcp[2:4], "big")
    payload = tcp[(tcp[12] >> 4) * 4 :]
    return (source, ports[0], target, ports[1]), int.from_bytes(tcp[4:8], "big"), payload


def _joined(pieces: dict[int, bytes]) -> bytes:
    """Segments by sequence number, without retransmissions."""
    joined, following = bytearray(), min(pieces)
    for sequence in sorted(pieces):
        if sequence + len(pieces[sequence]) > following:
            joined += pieces[sequence][max(0, following - sequence) :]
            following = sequence + len(pieces[sequence])
    return bytes(joined)


if __name__ == "__main__":
    tap(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
