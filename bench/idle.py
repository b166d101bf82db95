"""Owns the benchmark of doing nothing: what a server occupies and uses while its clients are silent."""

from __future__ import annotations

import time

from bench.calls import CLIENTS, nobody
from bench.figures import Figure, Target
from bench.processes import Process, observe, pairside, throwaway_home
from bench.wire import Client, message

MB = 1_000_000


def idle(*, quick: bool) -> list[Figure]:
    """Memory with one client and for each further one, and processor time with ten, while something is selected."""
    further = 60 if quick else 240
    with throwaway_home() as home:
        file = home.workspace / "module.py"
        file.write_text("value = 1\n" * 20)
        selected = {"path": str(file), "keep": True}
        with pairside(home, PAIRSIDE_LIMITS_CLIENTS="1000") as server:
            observe(server, "select", selected)
            clients = _listening(server, 1)
            with_one = server.resident()
            # What the log keeps is bounded and no client's own: fill it first.
            again = message("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}, id=1)
            for _ in range(1200):
                clients[0].ask(again)
            before = server.resident()
            clients += _listening(server, further)
            each = (server.resident() - before) / further
            if observe(server, "status")["client_count"] != 1 + further:
                raise ConnectionError("not all clients stayed")
            for client in clients:
                client.close()
        with pairside(home) as server:
            observe(server, "select", selected)
            clients = _listening(server, CLIENTS)
            used, started = server.cpu(), time.monotonic()
            time.sleep(6 if quick else 32)  # the measurement itself
            share = (server.cpu() - used) / (time.monotonic() - started) * 100
            for client in clients:
                client.close()
    return [
        Figure("idle: resident memory, 1 client", with_one / MB, "MB", target=Target("at_most", 40)),
        Figure(f"idle: each of {further} further clients", each / 1024, "KiB", target=Target("at_most", 16)),
        Figure(f"idle: processor, {CLIENTS} clients", share, "%", target=Target("below", 0.1)),
    ]


def _listening(server: Process, count: int) -> list[Client]:
    """Clients that have been told the selection, and are silent from then on."""
    clients = [Client.connect(server.port, server.token) for _ in range(count)]
    for number, client in enumerate(clients):
        client.initialize(pid=nobody(number))
    for client in clients:
        client.receive_with(b"selection_changed")
    return clients
