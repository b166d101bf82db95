"""Owns the benchmark of a selection: how long until all clients have read it, in three ways to select something."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import NamedTuple

from bench.contenders import Contender, Run, nobody, not_an_agent_shell, script
from bench.figures import Figure, Target
from bench.processes import Process, Telling, client_pinned
from bench.rounds import OURS, Rounds
from bench.wire import Client, tool

CLIENTS = 10
SELECTED = {True: 16, False: 60}
"""How often in a round, if it is to be quick or not. Even, or a round would begin with what is selected already."""
LINES = 5
FIRST = (10, 30)
"""The lines from which something is selected, in turn."""


class _Audience(NamedTuple):
    """A server and the clients that listen to it."""

    server: Process
    clients: Sequence[Client]


class _Way(NamedTuple):
    """How something is selected."""

    select: Sequence[Callable[[], object]]
    """Selects the one, and the other."""
    wanted: Sequence[bytes]
    """What is in the message that tells the one, and the other."""
    after: Callable[[], object] = lambda: None
    """What is left to do when all have read it."""


def selection(run: Run) -> list[Figure]:
    """From what selects something until ten clients have read it.

    A line on a Unix socket: the yardsticks read it and broadcast it, `fanout` reads it and selects it, and all clients
    are sent the same bytes. What `pairside select` asks of a server is more, because a file is read and the caller is
    looked at; and what an agent selects by `openFile` goes through all of a server. Both stand beside it.
    """
    not_an_agent_shell()
    figures: list[Figure] = []
    echoes = [one for one in run.all if not one.serves]
    pairsides = [one for one in run.servers if one.script]
    for what, contenders, ways, target in (
        (f"selection to {CLIENTS} clients", [script(OURS, "fanout"), *echoes], _by_line, Target("at_most", 1.5)),
        ("the same by pairside's observer socket, file and all", pairsides, _by_observer, None),
        (f"openFile to selection_changed of {CLIENTS} clients", run.servers, _by_call, None),
    ):
        rounds = Rounds(run.notes)
        with ExitStack() as stack:
            audiences = stack.enter_context(_audiences(run, contenders, what))
            for name, way in ways(audiences, stack).items():
                try:
                    if ways is not _by_line:
                        _try(audiences[name], way)
                except OSError as problem:
                    if name == OURS:
                        raise
                    run.note(name, what, problem)
                    continue
                rounds.add(what, name, partial(_told, audiences[name], way, SELECTED[run.quick]))
            with client_pinned():
                rounds.go(run.rounds(21))
        figures += [rounds.figure("p50", "µs", f"{what}: p50", target), rounds.figure("CPU", "µs", f"{what}: CPU")]
    return figures


@contextmanager
def _audiences(run: Run, contenders: Sequence[Contender], what: str) -> Iterator[dict[str, _Audience]]:
    with run.running(contenders, what) as servers, ExitStack() as stack:
        found = {}
        for one in contenders:
            if one.name not in servers:
                continue
            server = servers[one.name]
            (server.home.workspace / "module.py").write_text("".join(f"{_line(number)}\n" for number in range(100)))
            try:
                clients = []
                for number in range(CLIENTS):
                    clients.append(stack.enter_context(closing(Client.connect(server.port, server.token))))
                    if one.serves or one.name == OURS:
                        clients[-1].initialize(pid=nobody(number))
            except OSError as problem:
                if one.name == OURS:
                    raise
                run.note(one.name, what, problem)
                continue
            found[one.name] = _Audience(server, clients)
        yield found


def _by_line(audiences: dict[str, _Audience], stack: ExitStack) -> dict[str, _Way]:
    """A line says what is selected; to the yardsticks it says what pairside tells then."""
    wanted = [_line(first).encode() for first in FIRST]
    tellings = {name: stack.enter_context(closing(Telling(one.server.socket_path))) for name, one in audiences.items()}
    texts = [" ".join(_line(first + number) for number in range(LINES)).encode() for first in FIRST]
    told = []
    for text, mark in zip(texts, wanted, strict=True):
        tellings[OURS].send(text + b"\n")
        tellings[OURS].answer()
        for client in audiences[OURS].clients:
            message = client.receive_with(mark)
        told.append(message)
    return {
        name: _Way(
            [partial(telling.send, line + b"\n") for line in (texts if name == OURS else told)], wanted, telling.answer
        )
        for name, telling in tellings.items()
    }


def _by_observer(audiences: dict[str, _Audience], stack: ExitStack) -> dict[str, _Way]:
    ways = {}
    for name, audience in audiences.items():
        telling = stack.enter_context(closing(Telling(audience.server.socket_path)))
        lines = []
        for first in FIRST:
            file = str(audience.server.home.workspace / "module.py")
            params = {"path": file, "start": [first, 0], "end": [first + LINES, 0], "keep": True}
            request = {"jsonrpc": "2.0", "id": 1, "method": "select", "params": params}
            lines.append(json.dumps(request).encode() + b"\n")
        ways[name] = _Way([partial(telling.send, line) for line in lines], _broken_lines(), telling.answer)
    return ways


def _by_call(audiences: dict[str, _Audience], stack: ExitStack) -> dict[str, _Way]:
    """One of the clients selects by a tool, as an agent may, and is told like the others."""
    ways = {}
    for name, audience in audiences.items():
        speaker = audience.clients[-1].socket
        requests = []
        for first in FIRST:
            file = str(audience.server.home.workspace / "module.py")
            requests.append(tool("openFile", filePath=file, startText=_line(first), endText=_line(first + LINES)))
        ways[name] = _Way([partial(speaker.sendall, request) for request in requests], _broken_lines())
    return ways


def _try(audience: _Audience, way: _Way) -> None:
    for select, mark in zip(way.select, way.wanted, strict=True):
        select()
        for client in audience.clients:
            client.receive_with(mark)
        way.after()


def _told(audience: _Audience, way: _Way, count: int) -> Mapping[str, float]:
    spent = []
    before = audience.server.cpu()
    for number in range(count):
        select, mark = way.select[number % 2], way.wanted[number % 2]
        started = time.perf_counter()
        select()
        for client in audience.clients:
            client.receive_with(mark)
        spent.append(time.perf_counter() - started)
        way.after()
    used = (audience.server.cpu() - before) / count
    return {"p50": statistics.median(spent) * 1e6, "CPU": used * 1e6}


def _line(number: int) -> str:
    return f"line {number:03} = {'x' * 60}"


def _broken_lines() -> list[bytes]:
    """The first line of a selection, as only the message holds it that tells more than that line."""
    return [f"{_line(first)}\\n".encode() for first in FIRST]
