"""Badly behaved clients, each in a process of its own: `python -m tests.flood KIND PORT TOKEN SECONDS`.

Prints "begun" once it misbehaves, and ends after SECONDS whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable

from .raw import CONT, PING, TEXT, frame, request


def connected(port: int, token: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(request(token))
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(4096)
    assert b" 101 " in answer
    return sock


def call(id: int, method: str) -> bytes:
    return frame(TEXT, json.dumps({"jsonrpc": "2.0", "id": id, "method": method}).encode())


def never_reads(sock: socket.socket) -> bytes:
    """Asks for the longest answer again and again, and takes none."""
    return b"".join(call(id, "tools/list") for id in range(64))


def floods_pings(sock: socket.socket) -> bytes:
    """Pings as fast as it can, and takes no pong."""
    return frame(PING, b"x" * 125) * 500


def floods_requests(sock: socket.socket) -> bytes:
    """Asks as fast as it can."""
    return b"".join(call(id, "ping") for id in range(1000))


def sends_fragments(sock: socket.socket) -> bytes:
    """Messages of 10,000 fragments each."""
    return frame(TEXT, b" ", fin=False) + frame(CONT, b" ", fin=False) * 9_998 + frame(CONT, b"1")


def sends_too_much(sock: socket.socket) -> bytes:
    """Messages over the limit, by their first fragments."""
    return frame(TEXT, b" " * 1_000_000, fin=False) + frame(CONT, b" " * 1_000_000, fin=False) * 40


def a_byte_at_a_time(sock: socket.socket) -> bytes:
    """One byte of a large message at a time."""
    return b""


KINDS: dict[str, Callable[[socket.socket], bytes]] = {
    function.__name__: function
    for function in (
        never_reads,
        floods_pings,
        floods_requests,
        sends_fragments,
        sends_too_much,
        a_byte_at_a_time,
    )
}
READS = {"floods_requests", "sends_fragments"}


def main() -> None:
    kind, port, token, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    deadline = time.monotonic() + seconds
    sock = connected(port, token)
    data = KINDS[kind](sock)
    print("begun", flush=True)
    trickle = frame(TEXT, b" " * 60_000)
    position = 0
    sock.settimeout(0.2)
    while time.monotonic() < deadline:
        try:
            if not data:
                sock.sendall(trickle[position : position + 1])
                position += 1
                time.sleep(0.01)
                continue
            sent = sock.send(data)
            while sent < len(data) and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    sent += sock.send(data[sent:])
                if kind in READS:
                    drain(sock)
            if kind in READS:
                drain(sock)
        except TimeoutError:
            continue
        except OSError:  # dropped, as it deserves: come again
            sock.close()
            time.sleep(0.05)
            sock = connected(port, token)
            sock.settimeout(0.2)


def drain(sock: socket.socket) -> None:
    """Take whatever is there."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while sock.recv(262_144):
            pass
    sock.settimeout(0.2)


if __name__ == "__main__":
    main()
