"""Owns the processes that are measured: throwaway homes, how a server starts and ends, and what it has used."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Unavailable
from bench.wire import SECONDS

START_SECONDS = 20.0
POLL_SECONDS = 0.0005
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that stands for a person's home, with a workspace in it."""

    path: Path

    @property
    def workspace(self) -> Path:
        """The folder that is served."""
        return self.path / "work"

    @property
    def locks(self) -> Path:
        """Where servers leave their lock files."""
        return self.path / "claude" / "ide"

    def environment(self, **more: str) -> dict[str, str]:
        """All that a process gets to see: nothing of the real home, and no mark of an agent's shell."""
        inside = {name: str(self.path / place) for name, place in _PLACES.items()}
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(self.path), **inside, **more}


_PLACES = {
    "XDG_CONFIG_HOME": "config",
    "XDG_STATE_HOME": "state",
    "XDG_DATA_HOME": "data",
    "XDG_CACHE_HOME": "cache",
    "XDG_RUNTIME_DIR": "run",
    "CLAUDE_CONFIG_DIR": "claude",
    "TMPDIR": "tmp",
}


@contextlib.contextmanager
def throwaway_home() -> Iterator[Home]:
    """A home for as long as the block runs. It lies in /tmp, where paths are short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        home = Home(Path(folder).resolve())
        for place in (*_PLACES.values(), "work"):
            (home.path / place).mkdir(mode=0o700)
        yield home


def pairside_command(*arguments: str) -> list[str]:
    """The installed command of the interpreter that runs this."""
    script = Path(sys.executable).with_name("pairside")
    if not script.exists():
        raise Unavailable(f"{script.name} is not installed beside {Path(sys.executable).name}: make bench installs it")
    return [str(script), *arguments]


@dataclass(frozen=True, slots=True)
class Process:
    """A server that accepts connections. What it uses counts together with the processes that it has started."""

    pid: int
    port: int
    token: str
    socket_path: str
    """The Unix socket through which it is told what to send to all clients; it need not be there."""
    home: Home

    def cpu(self) -> float:
        """The processor time that it has used so far, in seconds. That of its children is gone when they have ended."""
        return self._sum(_cpu, _tree(self.pid))

    def resident(self, *, alone: bool = False) -> int:
        """The bytes of memory that it occupies now. What several processes share counts once for each.

        `alone`, without what it has started: that comes and goes.
        """
        pids = [self.pid] if alone else _tree(self.pid)
        return int(self._sum(_resident, pids))

    def _sum(self, measured: Callable[[int], float], pids: Sequence[int]) -> float:
        total = 0.0
        for pid in pids:
            try:
                total += measured(pid)
            except Unavailable:
                if pid == self.pid:  # of its descendants one may just have ended
                    raise
        return total

    def descriptors(self) -> int:
        """How many files it has open."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError as error:
            raise Unavailable(f"/proc is needed: {error.strerror}") from None


def _cpu(pid: int) -> float:
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    try:
        if error:
            raise OSError(error, os.strerror(error))
        return time.clock_gettime(clock.value)
    except OSError as failure:
        raise Unavailable(f"no processor clock of another process: {failure.strerror}") from None


def _resident(pid: int) -> int:
    return int(_proc(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):  # it has just ended, or the kernel does not tell of children
            for thread in os.listdir(f"/proc/{one}/task"):
                found += map(int, Path(f"/proc/{one}/task/{thread}/children").read_text().split())
    return found


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError as error:
        raise Unavailable(f"/proc is needed: {error.strerror}") from None


def spawn(home: Home, command: Sequence[str], **more: str) -> subprocess.Popen[bytes]:
    """Start a process in a home; what it says is thrown away, except for what goes to standard error.

    It leads a process group of its own.
    """
    with open(home.path / "stderr", "ab") as errors:
        return subprocess.Popen(
            command,
            env=home.environment(**more),
            cwd=home.workspace,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def wait_for_lock(home: Home, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait until a process has written its lock file; port and token."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(home.locks):
                if name.endswith(".lock"):  # it came by a rename, so it is whole
                    return int(name[:-5]), json.loads((home.locks / name).read_bytes())["authToken"]
        if process.poll() is not None:
            break
        time.sleep(POLL_SECONDS)
    said = (home.path / "stderr").read_text(errors="replace")[-2000:]
    raise Unavailable(f"it wrote no lock file: {said or 'no word'}")


@contextlib.contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process that leads a group with the block, and then whatever else is left of the group."""
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def pinned(pid: int, place: int) -> None:
    """Give a process a processor of its own, so that client and server disturb each other equally in every round."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) > 1:
            os.sched_setaffinity(pid, {allowed[place]})


@contextlib.contextmanager
def client_pinned() -> Iterator[None]:
    """Keep this process on another processor than the servers. Start them before: they would inherit it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    pinned(0, 1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Telling:
    """A conversation in lines of text over a Unix socket, blocking."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(SECONDS)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")

    def send(self, line: bytes) -> None:
        """Send a line."""
        self._socket.sendall(line)

    def answer(self) -> bytes:
        """The next line."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        return line

    def close(self) -> None:
        """End the conversation."""
        self._file.close()
        self._socket.close()


def observe(server: Process, method: str, params: Any = None) -> Any:
    """Ask pairside's observer socket one question."""
    telling = Telling(server.socket_path)
    try:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        telling.send(json.dumps(request).encode() + b"\n")
        answer = json.loads(telling.answer())
    finally:
        telling.close()
    if "error" in answer:
        raise Unavailable(f"{method}: {answer['error']['message']}")
    return answer["result"]
