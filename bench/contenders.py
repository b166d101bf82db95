"""Owns who is compared: pairside, the two yardsticks, another IDE server, another revision of pairside.

Each runs in a throwaway home of its own, and is found there by what it tells: a yardstick by the port that it prints,
an IDE server by the lock file that it writes for Claude Code.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from bench.figures import Unavailable
from bench.processes import Home, Process, ending, pinned, spawn, throwaway_home, wait_for_lock
from bench.rounds import OURS
from bench.wire import Client

MARKS = ("CLAUDECODE", "GEMINI_CLI", "OPENCODE")
"""Agents set one of these in the shells that they start."""
ECHO, RAW, PEER = "echo", "asyncio", "peer"
PATIENT: Mapping[str, str] = MappingProxyType({"PAIRSIDE_LIMITS_SILENCE_SECONDS": "86400"})
"""Clients that take nothing while others are measured are not dropped."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who can be started and talked to."""

    name: str
    start: Callable[[Home, Mapping[str, str]], subprocess.Popen[bytes]]
    """Starts the process in a home with some more environment; it leads a process group."""
    find: Callable[[Home, subprocess.Popen[bytes]], tuple[int, str, str]]
    """Waits until it listens; port, token, and the path of its Unix socket."""
    serves: bool = True
    """It is an IDE server, and no echo."""
    script: str = ""
    """The installed command of a pairside."""

    @contextlib.contextmanager
    def running(self, home: Home, more: Mapping[str, str] = PATIENT) -> Iterator[Process]:
        """Let it run in a home for as long as the block does."""
        process = self.start(home, more)
        with ending(process):
            pinned(process.pid, 0)
            port, token, path = self.find(home, process)
            yield Process(process.pid, port, token, path, home)


@dataclass(slots=True)
class Run:
    """One run of the benchmarks: how thorough it is, who takes part, and what is to be said about it."""

    quick: bool = False
    peers: tuple[Contender, ...] = ()
    """Who takes part beside pairside and the yardsticks."""
    peer_stall: str = ""
    """A command that keeps the peer's editor busy."""
    notes: list[str] = field(default_factory=list)
    """Why somebody has no figure somewhere."""

    def rounds(self, many: int) -> int:
        """How many rounds to do where `many` are thorough."""
        return 2 if self.quick else many

    @property
    def servers(self) -> tuple[Contender, ...]:
        """The IDE servers."""
        return (ours(), *self.peers)

    @property
    def all(self) -> tuple[Contender, ...]:
        """Everybody, in the order of the columns."""
        return (ours(), yardstick(ECHO), yardstick(RAW), *self.peers)

    def note(self, contender: str, what: str, problem: Exception) -> None:
        """Somebody cannot do something."""
        self.notes.append(f"{contender}, {what}: {type(problem).__name__}: {problem}")

    @contextlib.contextmanager
    def running(
        self, contenders: Sequence[Contender], what: str, more: Mapping[str, str] = PATIENT
    ) -> Iterator[dict[str, Process]]:
        """Let some run side by side, each in a home of its own. Who does not start is not there."""
        with contextlib.ExitStack() as stack:
            there = {}
            for one in contenders:
                home = stack.enter_context(throwaway_home())
                try:
                    there[one.name] = stack.enter_context(one.running(home, more))
                except (Unavailable, OSError) as problem:
                    if one.name == OURS:
                        raise
                    self.note(one.name, what, problem)
            yield there


def pairside_command(*arguments: str) -> list[str]:
    """The installed command of the interpreter that runs this."""
    script = Path(sys.executable).with_name("pairside")
    if not script.exists():
        raise Unavailable(f"{script.name} is not installed beside {Path(sys.executable).name}: make bench installs it")
    return [str(script), *arguments]


def ours() -> Contender:
    """The pairside of the interpreter that runs this."""
    return a_pairside(OURS, pairside_command()[0])


def a_pairside(name: str, script: str) -> Contender:
    """`pairside serve` of an installation."""

    def start(home: Home, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return spawn(home, [script, "serve", "--workspace", str(home.workspace)], **more)

    return Contender(name, start, by_lock_file, script=script)


def peer(command: str) -> Contender:
    """The IDE server that a command starts; `{workspace}` in it is the folder that it is to serve."""
    words = shlex.split(command)

    def start(home: Home, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return spawn(home, [word.replace("{workspace}", str(home.workspace)) for word in words], **more)

    return Contender(PEER, start, by_lock_file)


def by_lock_file(home: Home, process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Find an IDE server by the lock file that it writes for Claude Code."""
    port, token = wait_for_lock(home, process)
    return port, token, str(home.path / "state" / "pairside" / "run" / f"{port}.sock")


def yardstick(name: str) -> Contender:
    """`echo` on the high-level server of websockets, or the same on plain `asyncio`."""
    return script(name, {ECHO: "yardstick", RAW: "floor"}[name])


def script(name: str, module: str) -> Contender:
    """A server of this folder that is told its token and the path of its Unix socket, and prints its port."""
    token = secrets.token_hex(16)

    def start(home: Home, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(f"{module}.py")), token, str(home.path / "told.sock")],
            env=home.environment(**more),
            cwd=home.workspace,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def find(home: Home, process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
        assert process.stdout is not None
        line = process.stdout.readline()  # it ends if the process does
        if not line:
            raise Unavailable(f"the server of bench/{module}.py did not start")
        return int(line), token, str(home.path / "told.sock")

    return Contender(name, start, find, serves=False)


def connected(server: Process, *, serves: bool = True) -> Client:
    """A client whose handshake is accepted, and that has introduced itself to a server that serves."""
    client = Client.connect(server.port, server.token)
    if serves:
        client.initialize(pid=nobody(0))
    return client


def nobody(number: int) -> int:
    """The id of a process that cannot exist: it is beyond what Linux gives out."""
    return 2**22 + 1 + number


def not_an_agent_shell() -> None:
    """Make sure that pairside lets us select and decide. Raises Unavailable."""
    marked = next((name for name in MARKS if os.environ.get(name)), None)
    if marked is not None:
        raise Unavailable(f"an agent's own shell may neither select nor decide: env -u {marked} python -m bench")
