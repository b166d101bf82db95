"""Owns the real `pairside serve` process of a test, and the pairside commands that are run beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from .home import Home
from .until import TimedOut, until

START_TIMEOUT = 15.0
COMMAND_TIMEOUT = 15.0
STOP_TIMEOUT = 10.0

Status = dict[str, Any]
"""What `pairside status --json` prints."""


class Served:
    """A project folder served by pairside, from `start` to `close`; killed and started again as a test likes.

    Nothing of the package is imported: this is the command line as others script it.
    """

    def __init__(self, home: Home, folder: Path | None = None, *, environment: Mapping[str, str] | None = None) -> None:
        """The folder is that of the project unless another one is given; `environment` adds to that of the home."""
        self._home = home
        self._environment = environment or {}
        self._folder = folder or home.project
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._output: list[str] = []
        self._errors: list[str] = []

    @property
    def pid(self) -> int:
        """The process id of the server, running or reaped."""
        return self._running().pid

    @property
    def output(self) -> str:
        """What every start of the server wrote to its standard output, so far."""
        return "".join(self._output)

    @property
    def errors(self) -> str:
        """What every start of the server wrote to its standard error, so far."""
        return "".join(self._errors)

    def start(self, *arguments: str) -> None:
        """Run `pairside serve` and wait for its first line, which says that it accepts connections.

        Raises:
            TimedOut: it ended or said nothing.
        """
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError("the server runs already")
        lines_before = len(self._output)
        process = subprocess.Popen(
            [sys.executable, "-m", "pairside", "serve", "--workspace", str(self._folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._home.home,
            env=self._home.environment(**self._environment),
            start_new_session=True,
        )
        self._process = process
        self._readers = []
        for stream, lines in ((process.stdout, self._output), (process.stderr, self._errors)):
            assert stream is not None
            reader = threading.Thread(target=_collect, args=(stream, lines), daemon=True)
            reader.start()
            self._readers.append(reader)

        def accepting() -> bool:
            if process.poll() is not None:
                raise TimedOut(f"pairside serve ended (status {process.returncode}){self.described()}")
            return len(self._output) > lines_before

        until(accepting, timeout=START_TIMEOUT, what=lambda: f"first line of pairside serve{self.described()}")

    def stop(self) -> int:
        """Ask the server to end with SIGTERM and return its status, which is 0 as it should be.

        Raises:
            TimedOut: it still ran after 10 s.
        """
        self._running().terminate()
        return self._reap()

    def wait_end(self) -> int:
        """Wait for the end that somebody else has asked for; the status.

        Raises:
            TimedOut: it still ran after 10 s.
        """
        return self._reap()

    def kill9(self) -> None:
        """Kill the server on the spot and reap it, so that its pid is dead for everyone."""
        self._running().kill()
        self._reap()

    def restart(self) -> None:
        """Kill the server on the spot and start it again at once."""
        self.kill9()
        self.start()

    def run(
        self, *arguments: str, standard_input: str | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one pairside command in the project folder, for at most 15 s, and return how it ended."""
        return subprocess.run(
            [sys.executable, "-m", "pairside", *arguments],
            input=standard_input,
            stdin=subprocess.DEVNULL if standard_input is None else None,
            capture_output=True,
            text=True,
            cwd=self._home.project,
            env=self._home.environment(**(environment or {})),
            timeout=COMMAND_TIMEOUT,
            check=False,
        )

    def do(self, *arguments: str, standard_input: str | None = None) -> str:
        """Run one pairside command that must succeed, and return what it printed."""
        done = self.run(*arguments, standard_input=standard_input)
        if done.returncode != 0:
            said = f"{done.stdout}{done.stderr}{self.described()}"
            raise AssertionError(f"pairside {' '.join(arguments)}: status {done.returncode}\n{said}")
        return done.stdout

    def status(self) -> Status:
        """What `pairside status --json` says now."""
        status: Status = json.loads(self.do("status", "--json"))
        return status

    def wait(self, condition: Callable[[Status], object], *, timeout: float = 20.0) -> Status:
        """Return the first status that fulfils `condition`.

        Raises:
            TimedOut: none did within `timeout` seconds; the message shows the last one.
        """
        last: Status = {}

        def look() -> Status | None:
            nonlocal last
            last = self.status()
            return last if condition(last) else None

        def missed() -> str:
            return f"such a status; it is {json.dumps(last, indent=1)}{self.described()}"

        return until(look, timeout=timeout, what=missed)

    def wait_clients(self, count: int = 1, *, timeout: float = 20.0) -> Status:
        """Wait until that many clients are connected and have said all that they say at first.

        Their pid is known, and between two looks nothing more was received. A prompt entered in the very
        moment of `ide_connected` is to the CLI a turn without an IDE, with no calls but openDiff.
        """
        heard: list[float] = []

        def settled(now: Status) -> bool:
            before, heard[:] = list(heard), [client["last_received_at"] for client in now["clients"]]
            return now["client_count"] == count and all(client["pid"] for client in now["clients"]) and heard == before

        return self.wait(settled, timeout=timeout)

    def wait_review(self, count: int = 1, *, timeout: float = 20.0) -> list[dict[str, Any]]:
        """Wait until that many reviews are pending; return what `pairside reviews --json` says of them."""
        self.wait(lambda now: now["pending_reviews"] == count, timeout=timeout)
        reviews: list[dict[str, Any]] = json.loads(self.do("reviews", "--json"))
        return reviews

    def described(self) -> str:
        """The server's output, for the message of a failure."""
        return f"\n--- pairside serve ---\n{self.output}--- its standard error ---\n{self.errors}--- end ---"

    def close(self) -> None:
        """End the server and all that it started, whatever state it is in."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._reap()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the server was never started")
        return self._process

    def _reap(self) -> int:
        process = self._running()
        try:
            status = process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"pairside serve ended within {STOP_TIMEOUT:g} s{self.described()}") from None
        for reader in self._readers:
            reader.join(5.0)
        return status


def _collect(stream: IO[str], lines: list[str]) -> None:
    with stream:
        lines.extend(iter(stream.readline, ""))
