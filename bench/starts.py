"""Owns the benchmarks of starting: the server, and a command that somebody bound to a key."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.calls import nobody
from bench.figures import Figure, Target, Unavailable, compared
from bench.processes import ending, pairside, pairside_command, shuffled, spawn, throwaway_home, wait_for_lock
from bench.wire import SECONDS, Client

SERVE_IMPORTS = "import asyncio, websockets.server, msgspec, click"
STATUS_IMPORTS = "import click"


def serve(*, quick: bool) -> list[Figure]:
    """From spawning `pairside serve` to its lock file and an accepted handshake."""
    ours: list[float] = []
    theirs: list[float] = []
    for round in range(1 + (4 if quick else 20)):
        shuffled([lambda: ours.append(_serve()), lambda: theirs.append(_run([sys.executable, "-c", SERVE_IMPORTS]))])
        if round == 0:  # compiles what is not compiled yet
            ours.clear()
            theirs.clear()
    return [compared("serve: spawn to lock file and 101", "ms", ours, "python -c imports", theirs, _at_most(1.5))]


def _serve() -> float:
    with throwaway_home() as home:
        started = time.perf_counter()
        process = spawn(home, pairside_command("serve", "--workspace", str(home.workspace)))
        with ending(process):
            port, token = wait_for_lock(home, process)
            client = Client.connect(port, token)
            seconds = time.perf_counter() - started
            client.close()
        return seconds * 1e3


def status(*, quick: bool) -> list[Figure]:
    """`pairside status` beside a running server with one client, from spawn to exit."""
    ours: list[float] = []
    theirs: list[float] = []
    with throwaway_home() as home, pairside(home) as server:
        client = Client.connect(server.port, server.token)
        client.initialize(pid=nobody(0))
        command = pairside_command("status")
        environment = home.environment()
        said = subprocess.run(command, env=environment, cwd=home.workspace, capture_output=True, timeout=SECONDS)
        if said.returncode != 0 or f"port {server.port}".encode() not in said.stdout:
            raise Unavailable(f"pairside status ended with {said.returncode}: {said.stderr.decode()[-500:]}")
        folder = str(home.workspace)
        for _ in range(8 if quick else 40):
            shuffled(
                [
                    lambda: ours.append(_run(command, environment, folder)),
                    lambda: theirs.append(_run([sys.executable, "-c", STATUS_IMPORTS], environment, folder)),
                ]
            )
        client.close()
    return [compared("status: spawn to exit", "ms", ours, "python -c import click", theirs, _at_most(1.6))]


def _run(command: list[str], environment: dict[str, str] | None = None, folder: str | None = None) -> float:
    """How long a command takes from spawn to exit, in milliseconds."""
    if environment is None:
        with throwaway_home() as home:
            return _run(command, home.environment(), str(home.workspace))
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )  # fmt: skip
    try:
        # Without a timeout: with one it looks now and then, at moments 50 ms apart. The alarm of the run bounds it.
        status = process.wait()
        seconds = time.perf_counter() - started
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status != 0:
        raise Unavailable(f"{command[0]} ended with {status}")
    return seconds * 1e3


def _at_most(bound: float) -> Target:
    return Target("at_most", bound)
