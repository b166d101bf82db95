"""Owns the benchmarks of talking: calls of one client, and a selection told to ten."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable

from bench.figures import Figure, Target, Unavailable, compared
from bench.processes import Process, Telling, client_pinned, pairside, shuffled, throwaway_home, yardstick
from bench.wire import Client, message

CLIENTS = 10
MARKS = ("CLAUDECODE", "GEMINI_CLI", "OPENCODE")
ECHO = "echo, websockets"


def calls(*, quick: bool) -> list[Figure]:
    """tools/list and getWorkspaceFolders, against an echo of the same request."""
    requests = {
        "tools/list": message("tools/list", id=1),
        "getWorkspaceFolders": message("tools/call", {"name": "getWorkspaceFolders", "arguments": {}}, id=1),
    }
    rounds, count = (5, 150) if quick else (21, 400)
    times: dict[tuple[str, str], list[float]] = {}
    used: dict[tuple[str, str], list[float]] = {}

    def measure(name: str, what: str, server: Process, client: Client, prepared: bytes) -> Callable[[], None]:
        def work() -> None:
            spent = []
            before = server.cpu()
            for _ in range(count):
                started = time.perf_counter()
                client.ask(prepared)
                spent.append(time.perf_counter() - started)
            used.setdefault((name, what), []).append((server.cpu() - before) / count * 1e6)
            times.setdefault((name, what), []).append(statistics.median(spent) * 1e6)

        return work

    with throwaway_home() as home, pairside(home) as ours, yardstick(home) as theirs:
        client, other = Client.connect(ours.port, ours.token), Client.connect(theirs.port, theirs.token)
        client.initialize(pid=nobody(0))
        works = []
        for what, prepared in requests.items():
            if "result" not in json.loads(client.ask(prepared)):
                raise Unavailable(f"{what} was answered with an error")
            works.append(measure("ours", what, ours, client, prepared))
            works.append(measure("theirs", what, theirs, other, prepared))
        with client_pinned():
            for _ in range(1 + rounds):
                shuffled(works)
        client.close()
        other.close()
    figures = []
    for what in requests:
        # The first round warms up.
        ours_at, theirs_at = times["ours", what][1:], times["theirs", what][1:]
        figures.append(compared(f"{what}: p50", "µs", ours_at, ECHO, theirs_at, Target("at_most", 1.3)))
        ours_at, theirs_at = used["ours", what][1:], used["theirs", what][1:]
        figures.append(compared(f"{what}: CPU of server", "µs", ours_at, ECHO, theirs_at, Target("at_most", 1.5)))
    return figures


def selection(*, quick: bool) -> list[Figure]:
    """From a selection said through the observer socket until ten clients have read it, against a broadcast."""
    marked = next((name for name in MARKS if os.environ.get(name)), None)
    if marked is not None:
        raise Unavailable(f"an agent's own shell may not select: env -u {marked} python -m bench selection")
    rounds, count = (5, 30) if quick else (21, 60)
    times: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    with throwaway_home() as home, pairside(home) as ours, yardstick(home) as theirs:
        file = home.workspace / "module.py"
        file.write_text("".join(f"line {number:03} = {'x' * 60}\n" for number in range(100)))
        clients = [Client.connect(ours.port, ours.token) for _ in range(CLIENTS)]
        others = [Client.connect(theirs.port, theirs.token) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.initialize(pid=nobody(number))
        telling, broadcasting = Telling(ours.socket_path), Telling(theirs.socket_path)

        def select(first: int) -> tuple[bytes, bytes]:
            params = {"path": str(file), "start": [first, 0], "end": [first + 5, 0], "keep": True}
            request = {"jsonrpc": "2.0", "id": 1, "method": "select", "params": params}
            return json.dumps(request).encode() + b"\n", f"line {first:03}".encode()

        lines = [select(10), select(30)]
        telling.send(lines[1][0])
        if "error" in json.loads(telling.answer()):
            raise Unavailable("the selection was refused")
        for client in clients:
            told = client.receive()  # each gets it once it is ready
        # The same bytes, and something in them to know it by.
        broadcasts = [(told.replace(b"line 030", wanted).replace(b"\n", b" ") + b"\n", wanted) for _, wanted in lines]

        def measure(
            name: str, server: Process, how: Telling, what: list[tuple[bytes, bytes]], readers: list[Client]
        ) -> Callable[[], None]:
            def work() -> None:
                spent = []
                before = server.cpu()
                for number in range(count):
                    line, wanted = what[number % 2]
                    started = time.perf_counter()
                    how.send(line)
                    for reader in readers:
                        reader.receive_with(wanted)
                    spent.append(time.perf_counter() - started)
                    how.answer()
                used.setdefault(name, []).append((server.cpu() - before) / count * 1e6)
                times.setdefault(name, []).append(statistics.median(spent) * 1e6)

            return work

        works = [
            measure("ours", ours, telling, lines, clients),
            measure("theirs", theirs, broadcasting, broadcasts, others),
        ]
        with client_pinned():
            for _ in range(1 + rounds):
                shuffled(works)
        for client in (*clients, *others):
            client.close()
        telling.close()
        broadcasting.close()
    to = f"selection to {CLIENTS} clients"
    by = "broadcast, websockets"
    return [
        compared(f"{to}: p50", "µs", times["ours"][1:], by, times["theirs"][1:], Target("at_most", 1.5)),
        compared(f"{to}: CPU of server", "µs", used["ours"][1:], by, used["theirs"][1:]),
    ]


def nobody(number: int) -> int:
    """The id of a process that cannot exist: it is beyond what Linux gives out."""
    return 2**22 + 1 + number
