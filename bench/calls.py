"""Owns the benchmarks of talking: calls of one client, and a selection told to ten."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from bench.figures import Figure, Target, Unavailable, compared
from bench.processes import Process, Telling, client_pinned, pairside, script, shuffled, throwaway_home
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

    with throwaway_home() as home, pairside(home) as ours, script(home, "yardstick") as theirs:
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
    """From a line on a Unix socket until ten clients have read what it selects, against a broadcast of the same bytes.

    The yardstick reads the line and broadcasts it. `fanout` reads the line and selects it: that is what is compared.
    What `pairside select` asks of a server is more, because a file is read and the caller is looked at; that stands
    beside it.
    """
    marked = next((name for name in MARKS if os.environ.get(name)), None)
    if marked is not None:
        raise Unavailable(f"an agent's own shell may not select: env -u {marked} python -m bench selection")
    rounds, count = (5, 30) if quick else (21, 60)
    times: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    with ExitStack() as stack:
        home = stack.enter_context(throwaway_home())
        servers = {
            "fanout": stack.enter_context(script(home, "fanout")),
            "command": stack.enter_context(pairside(home)),
            "broadcast": stack.enter_context(script(home, "yardstick")),
        }
        tellings = {name: stack.enter_context(closing(Telling(server.socket_path))) for name, server in servers.items()}
        clients = {
            name: [stack.enter_context(closing(Client.connect(server.port, server.token))) for _ in range(CLIENTS)]
            for name, server in servers.items()
        }
        lines = _lines(home.workspace / "module.py", (10, 30))
        for name in ("fanout", "command"):
            for number, client in enumerate(clients[name]):
                client.initialize(pid=nobody(number))
            line, wanted = lines[name][1]
            tellings[name].send(line)
            if b"error" in (answer := tellings[name].answer()):
                raise Unavailable(f"the selection was refused: {answer!r}")
            for client in clients[name]:
                told = client.receive()  # each gets it once it is ready
            if wanted not in told:
                raise Unavailable(f"another selection was told: {told!r}")
            if name == "fanout":
                other = lines[name][0][1]
                lines["broadcast"] = [(told.replace(wanted, mark) + b"\n", mark) for mark in (other, wanted)]

        def measure(name: str) -> Callable[[], None]:
            server, telling, readers, what = servers[name], tellings[name], clients[name], lines[name]

            def work() -> None:
                spent = []
                before = server.cpu()
                for number in range(count):
                    line, wanted = what[number % 2]
                    started = time.perf_counter()
                    telling.send(line)
                    for reader in readers:
                        reader.receive_with(wanted)
                    spent.append(time.perf_counter() - started)
                    telling.answer()
                used.setdefault(name, []).append((server.cpu() - before) / count * 1e6)
                times.setdefault(name, []).append(statistics.median(spent) * 1e6)

            return work

        works = [measure(name) for name in servers]
        with client_pinned():
            for _ in range(1 + rounds):
                shuffled(works)
    figures = []
    for name, what, target in (
        ("fanout", f"selection to {CLIENTS} clients", Target("at_most", 1.5)),
        ("command", "the same by pairside's observer socket, file and all", None),
    ):
        for unit, measured, bound in (("p50", times, target), ("CPU of server", used, None)):
            # The first round warms up.
            ours, theirs = measured[name][1:], measured["broadcast"][1:]
            figures.append(compared(f"{what}: {unit}", "µs", ours, "broadcast, websockets", theirs, bound))
    return figures


def _lines(file: Path, numbers: tuple[int, int]) -> dict[str, list[tuple[bytes, bytes]]]:
    """What is said to select some lines of a new file, and how to know by what comes that it was told; twice."""
    text = [f"line {number:03} = {'x' * 60}\n" for number in range(100)]
    file.write_text("".join(text))
    said: dict[str, list[tuple[bytes, bytes]]] = {"fanout": [], "command": []}
    for first in numbers:
        wanted = f"line {first:03}".encode()
        params = {"path": str(file), "start": [first, 0], "end": [first + 5, 0], "keep": True}
        request = {"jsonrpc": "2.0", "id": 1, "method": "select", "params": params}
        said["command"].append((json.dumps(request).encode() + b"\n", wanted))
        joined = " ".join(line.rstrip() for line in text[first : first + 5])
        said["fanout"].append((joined.encode() + b"\n", wanted))
    return said


def nobody(number: int) -> int:
    """The id of a process that cannot exist: it is beyond what Linux gives out."""
    return 2**22 + 1 + number
