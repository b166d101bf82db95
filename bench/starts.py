"""Owns the benchmarks of starting: the server, and a command that somebody bound to a key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial

from bench.contenders import Contender, Run, connected
from bench.figures import Figure, Target, Unavailable
from bench.processes import Home, Process, ending, throwaway_home
from bench.rounds import OURS, Rounds
from bench.wire import SECONDS, Client

SERVE_IMPORTS = "import asyncio, websockets.server, msgspec, click"
STATUS_IMPORTS = "import click"
IMPORTS = "python -c imports"


def serve(run: Run) -> list[Figure]:
    """From spawning a server to an accepted handshake; pairside can be found then by its lock file."""
    rounds = Rounds(run.notes)
    for one in run.servers[:1]:
        rounds.add("start", one.name, partial(_started, one))
    rounds.add("start", IMPORTS, partial(imported, "start", SERVE_IMPORTS))
    for one in run.all[1:]:
        rounds.add("start", one.name, partial(_started, one))
    rounds.go(run.rounds(20))
    return [
        rounds.figure("start", "ms", "start: spawn to lock file and 101", Target("at_most", 1.25)),
        rounds.figure("start CPU", "ms", "start: CPU until then"),
    ]


def _started(one: Contender) -> Mapping[str, float]:
    with throwaway_home() as home:
        started = time.perf_counter()
        process = one.start(home, {})
        with ending(process):
            port, token, _ = one.find(home, process)
            client = Client.connect(port, token)
            seconds = time.perf_counter() - started
            used = Process(process.pid, port, token, "", home).cpu()
            client.close()
    return {"start": seconds * 1e3, "start CPU": used * 1e3}


def status(run: Run) -> list[Figure]:
    """`pairside status` beside a running server with one client, from spawn to exit."""
    rounds = Rounds(run.notes)
    pairsides = [one for one in run.servers if one.script]
    with run.running(pairsides, "status") as servers, ExitStack() as stack:
        for one in pairsides:
            if (server := servers.get(one.name)) is None:
                continue
            stack.enter_context(closing(connected(server)))
            command = [one.script, "status"]
            said = subprocess.run(
                command, env=server.home.environment(), cwd=server.home.workspace, capture_output=True, timeout=SECONDS
            )
            if said.returncode != 0 or f"port {server.port}".encode() not in said.stdout:
                raise Unavailable(f"{one.name} status ended with {said.returncode}: {said.stderr.decode()[-500:]}")
            rounds.add("status", one.name, partial(_run, "status", command, server.home))
            if one.name == OURS:
                rounds.add("status", "import click", partial(imported, "status", STATUS_IMPORTS))
        rounds.go(run.rounds(40))
    return [rounds.figure("status", "ms", "pairside status: spawn to exit", Target("at_most", 1.6))]


def imported(what: str, imports: str) -> Mapping[str, float]:
    """The same for a Python that imports something and ends."""
    with throwaway_home() as home:
        return _run(what, [sys.executable, "-c", imports], home)


def _run(what: str, command: Sequence[str], home: Home) -> Mapping[str, float]:
    """How long a command takes from spawn to exit, and how much of the processor, in milliseconds."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=home.environment(),
        cwd=home.workspace,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        # Without a timeout: with one it looks now and then, at moments 50 ms apart. The alarm of the run bounds it.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise Unavailable(f"{command[0]} ended with {process.returncode}")
    return {what: seconds * 1e3, f"{what} CPU": (usage.ru_utime + usage.ru_stime) * 1e3}
