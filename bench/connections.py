"""Owns the benchmarks of coming and going: handshakes, and thousands of connections that end in every way there is."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

from bench.contenders import ECHO, Run, ours, yardstick
from bench.figures import Figure, Target, Unavailable
from bench.processes import Process, client_pinned, observe
from bench.rounds import OURS, Rounds
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


def handshake_and_churn(run: Run) -> list[Figure]:
    """One connection after the other: up to the 101, and with one question and a goodbye."""
    count = 20 if run.quick else 100
    rounds = Rounds(run.notes)

    def shake(server: Process) -> Mapping[str, float]:
        prepared = handshake(server.token)
        spent, before = [], server.cpu()
        for _ in range(count):
            started = time.perf_counter()
            client = Client(server.port)
            client.shake_hands(prepared)
            spent.append(time.perf_counter() - started)
            client.reset()
        return {
            "handshake": statistics.median(spent) * 1e6,
            "handshake CPU": (server.cpu() - before) / count * 1e6,
        }

    def churn(server: Process) -> Mapping[str, float]:
        before, started = server.cpu(), time.perf_counter()
        for _ in range(count):
            ADMITTED[1](Client(server.port), server.token)
        spent = time.perf_counter() - started
        return {"churn": spent / count * 1e6, "churn CPU": (server.cpu() - before) / count * 1e6}

    with run.running(run.all, "handshake") as servers:
        for name, server in servers.items():
            rounds.add("handshake", name, partial(shake, server))
            rounds.add("churn", name, partial(churn, server))
        with client_pinned():
            rounds.go(run.rounds(21))
    return [
        rounds.figure("handshake", "µs", "handshake: TCP to 101, p50"),
        rounds.figure("handshake CPU", "µs", "handshake: CPU"),
        rounds.figure("churn", "µs", "come, ask once, say goodbye: each"),
        rounds.figure("churn CPU", "µs", "come, ask once, say goodbye: CPU"),
    ]


def connections(run: Run) -> list[Figure]:
    """Connections of mixed fates, one after the other, against the same ones to the high-level server."""
    warm_up, portions = (300, 2) if run.quick else (2000, 40)
    counted = portions * PORTION
    admitted = 0
    rounds = Rounds(run.notes)

    def portion(server: Process, count: int) -> int:
        """Let so many connections meet their fates; how many of them were clients."""
        fates = random.choices(ADMITTED + TURNED_AWAY, k=count)
        for fate in fates:
            fate(Client(server.port), server.token)
        ADMITTED[1](Client(server.port), server.token)  # when this one has its answer all before it have been read
        return 1 + sum(fate in ADMITTED for fate in fates)

    def measure(name: str, server: Process) -> Mapping[str, float]:
        nonlocal admitted
        before, started = server.cpu(), time.perf_counter()
        clients = portion(server, PORTION - 1)
        spent, used = time.perf_counter() - started, server.cpu() - before
        if name == OURS:
            admitted += clients
        return {"rate": PORTION / spent, "CPU": used / PORTION * 1e6}

    # What some peer makes of a broken frame is its own business: only servers that are known to end it take part.
    contenders = [ours(), yardstick(ECHO), *(one for one in run.peers if one.script)]
    with run.running(contenders, "connections") as servers, client_pinned():
        mine = servers[OURS]
        admitted += portion(mine, 0)  # the first connection opens what the server keeps open
        empty = _stable(mine)
        admitted += portion(mine, warm_up - 2)
        for name, server in servers.items():
            if name != OURS:
                portion(server, warm_up - 1)
            rounds.add("connections", name, partial(measure, name, server))
        _stable(mine)
        resident = mine.resident()
        rounds.go(portions - 1)
        descriptors = _stable(mine)
        growth = (mine.resident() - resident) / MB
        facts = observe(mine, "status")
        for name in ("connects", "disconnects"):
            if facts[name] != admitted:
                raise Unavailable(f"{name} is {facts[name]}, but there were {admitted} clients")
    of = f"{counted} connections of all fates"
    return [
        Figure(f"{of}: clients left", facts["client_count"], "", target=Target("at_most", 0)),
        Figure(f"{of}: descriptors gained", descriptors - empty, "", target=Target("at_most", 0)),
        Figure(f"{of}: memory gained after {warm_up}", growth, "MB", target=Target("at_most", 2)),
        rounds.figure("rate", "/s", f"{of}: rate", Target("at_least", 1)),
        rounds.figure("CPU", "µs", f"{of}: CPU, each"),
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
