"""Owns the benchmark of coming and going: thousands of connections that end in every way there is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from bench.figures import Figure, Target, Unavailable, compared
from bench.processes import Process, client_pinned, observe, pairside, script, shuffled, throwaway_home
from bench.wire import CLOSE, SECONDS, TEXT, Client, frame, handshake, message

MB = 1_000_000
PORTION = 250
"""Connections to one server before the other has its turn."""
STANDS_STILL_SECONDS = 1.5
"""Longer than a socket may linger after the conversation on it has ended."""

_NORMAL = frame(CLOSE, b"\x03\xe8")
_REQUEST = message("ping", id=1)
_UNMASKED = frame(TEXT, b"{}", masked=False)
_NOT_UTF8 = frame(TEXT, b"\xff\xfe")
_RESERVED_OPCODE = frame(0x3, b"")


def _refused(request: Callable[[str], bytes]) -> Callable[[Client, str], None]:
    def fate(client: Client, token: str) -> None:
        client.socket.sendall(request(token))
        client.read_to_end()
        client.close()

    return fate


def _accepted(last: bytes, *, ask: bool = False) -> Callable[[Client, str], None]:
    """Shake hands, send something after which the server closes, wait for that."""

    def fate(client: Client, token: str) -> None:
        client.shake_hands(handshake(token))
        if ask:
            client.ask(_REQUEST)
        client.socket.sendall(last)
        client.read_to_end()
        client.close()

    return fate


def _fin(client: Client, token: str) -> None:
    client.shake_hands(handshake(token))
    client.close()


def _rst(client: Client, token: str) -> None:
    client.shake_hands(handshake(token))
    client.reset()


def _half_a_header(client: Client, token: str) -> None:
    client.socket.sendall(handshake(token)[:60])
    client.close()


def _nothing(client: Client, token: str) -> None:
    client.reset()


ADMITTED: tuple[Callable[[Client, str], None], ...] = (
    _accepted(_NORMAL),
    _accepted(_NORMAL, ask=True),
    _fin,
    _rst,
    _accepted(_UNMASKED),
    _accepted(_NOT_UTF8),
    _accepted(_RESERVED_OPCODE),
)
"""Each of these is a client for a moment."""

TURNED_AWAY: tuple[Callable[[Client, str], None], ...] = (
    _refused(lambda token: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    _refused(lambda token: handshake("0" * 32)),
    _refused(lambda token: handshake(token, Origin="http://127.0.0.1")),
    _half_a_header,
    _nothing,
)
"""None of these ever is one."""


def connections(*, quick: bool) -> list[Figure]:
    """Connections of mixed fates, one after the other, against the same ones to the high-level server."""
    warm_up, portions = (1000, 4) if quick else (2000, 40)
    counted = portions * PORTION
    admitted = 0
    seconds: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}

    def portion(server: Process, count: int) -> int:
        """Let so many connections meet their fates; how many of them were clients."""
        fates = random.choices(ADMITTED + TURNED_AWAY, k=count)
        for fate in fates:
            fate(Client(server.port), server.token)
        ADMITTED[1](Client(server.port), server.token)  # when this one has its answer all before it have been read
        return 1 + sum(fate in ADMITTED for fate in fates)

    def measure(name: str, server: Process) -> Callable[[], None]:
        def work() -> None:
            nonlocal admitted
            before, started = server.cpu(), time.perf_counter()
            clients = portion(server, PORTION - 1)
            seconds.setdefault(name, []).append(time.perf_counter() - started)
            used.setdefault(name, []).append((server.cpu() - before) / PORTION * 1e6)
            if name == "ours":
                admitted += clients

        return work

    with throwaway_home() as home, pairside(home) as ours, script(home, "yardstick") as theirs, client_pinned():
        admitted += portion(ours, 0)  # the first connection opens what the server keeps open
        empty = _stable(ours)
        admitted += portion(ours, warm_up - 2)
        portion(theirs, warm_up - 1)
        _stable(ours)
        resident = ours.resident()
        works = [measure("ours", ours), measure("theirs", theirs)]
        for _ in range(portions):
            shuffled(works)
        descriptors = _stable(ours)
        growth = (ours.resident() - resident) / MB
        facts = observe(ours, "status")
        for name in ("connects", "disconnects"):
            if facts[name] != admitted:
                raise Unavailable(f"{name} is {facts[name]}, but there were {admitted} clients")
    rates = {name: [PORTION / one for one in spent] for name, spent in seconds.items()}
    of = f"{counted} connections"
    by = "the same, websockets"
    return [
        Figure(f"{of}: clients left", facts["client_count"], "", target=Target("at_most", 0)),
        Figure(f"{of}: descriptors gained", descriptors - empty, "", target=Target("at_most", 0)),
        Figure(f"{of}: memory gained after {warm_up}", growth, "MB", target=Target("at_most", 2)),
        compared(f"{of}: rate", "/s", rates["ours"], by, rates["theirs"], Target("at_least", 1)),
        compared(f"{of}: CPU of server, each", "µs", used["ours"], by, used["theirs"]),
    ]


def _stable(server: Process) -> int:
    """The descriptors of a server that nobody talks to, once their number has stood still."""
    deadline = time.monotonic() + SECONDS
    seen, since = server.descriptors(), time.monotonic()
    while time.monotonic() < deadline:
        if time.monotonic() - since > STANDS_STILL_SECONDS:
            return seen
        time.sleep(0.05)
        now = server.descriptors()
        if now != seen:
            seen, since = now, time.monotonic()
    raise Unavailable("the descriptors of a server that nobody talks to never stand still")
