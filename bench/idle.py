"""Owns the benchmark of doing nothing: what a server occupies and uses while its clients are silent."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing

from bench.contenders import PATIENT, Contender, Run, nobody
from bench.figures import Beside, Figure, Target
from bench.processes import Process, observe
from bench.rounds import OURS
from bench.wire import Client, message

MB = 1_000_000
CLIENTS = 10
LIMITS = {**PATIENT, "PAIRSIDE_LIMITS_CLIENTS": "1000"}
FURTHER = 240
NOTED = 1200
"""Calls after which pairside's log is full. What it keeps is bounded and no client's own."""


def idle(run: Run) -> list[Figure]:
    """Memory with one client and for each further one, and processor time with ten, while something is selected.

    Everybody is idle in the same minute, so their figures stand side by side without rounds.
    """
    further = 60 if run.quick else FURTHER
    with_one: dict[str, float] = {}
    each: dict[str, float] = {}
    shares: dict[str, float] = {}
    with run.running(run.all, "idle", LIMITS) as servers, ExitStack() as stack:
        for one in run.all:
            if (server := servers.get(one.name)) is None:
                continue
            try:
                with_one[one.name], each[one.name] = _memory(one, server, further)
            except OSError as problem:
                if one.name == OURS:
                    raise
                run.note(one.name, "memory of clients", problem)
        for one in run.all:
            if (server := servers.get(one.name)) is not None and one.name in each:
                _listening(one, server, CLIENTS, stack)
        used = {name: servers[name].cpu() for name in each}
        started = time.monotonic()
        time.sleep(2 if run.quick else 32)  # the measurement itself
        for name in each:
            shares[name] = (servers[name].cpu() - used[name]) / (time.monotonic() - started) * 100
    return [
        _side_by_side("idle: resident memory, 1 client", "MB", with_one, MB, Target("at_most", 32, of_value=True)),
        _side_by_side(
            f"idle: each of {further} further clients", "KiB", each, 1024, Target("at_most", 16, of_value=True)
        ),
        _side_by_side(f"idle: processor, {CLIENTS} clients", "%", shares, 1, Target("below", 0.1, of_value=True)),
    ]


def _memory(one: Contender, server: Process, further: int) -> tuple[float, float]:
    """The bytes that a server occupies with one client, and what each further one adds."""
    with ExitStack() as stack:
        (first,) = _listening(one, server, 1, stack)
        with_one = server.resident()
        if one.script:
            again = message("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}, id=1)
            for _ in range(NOTED):
                first.call(again)
        before = server.resident()
        _listening(one, server, further, stack)
        after = server.resident()
        if one.script and observe(server, "status")["client_count"] != 1 + further:
            raise ConnectionError("not all clients stayed")
    return with_one, (after - before) / further


def _listening(one: Contender, server: Process, count: int, stack: ExitStack) -> list[Client]:
    """Clients that are silent from now on; those of pairside have been told the selection."""
    if one.script:
        (server.home.workspace / "module.py").write_text("value = 1\n" * 20)
        observe(server, "select", {"path": str(server.home.workspace / "module.py"), "keep": True})
    clients = [stack.enter_context(closing(Client.connect(server.port, server.token))) for _ in range(count)]
    for number, client in enumerate(clients):
        if one.serves:
            client.initialize(pid=nobody(number))
        else:
            client.ask(message("ping", id=1))
    for client in clients:
        if one.script:
            client.receive_with(b"selection_changed")
    return clients


def _side_by_side(what: str, unit: str, values: dict[str, float], size: float, target: Target) -> Figure:
    mine = values[OURS]
    beside = tuple(
        Beside(name, value / size, mine / value if value else None) for name, value in values.items() if name != OURS
    )
    return Figure(what, mine / size, unit, beside, target=target)
