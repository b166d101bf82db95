"""Owns the real Claude Code CLI in a pseudo-terminal: its start, its keys, its screen, its end."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from .home import Home
from .install_cli import EXECUTABLE, VERSION
from .until import TimedOut, until

API_KEY = "dummy-key-" + "0" * 30
"""Accepted by the scripted endpoint, as any text would be."""

ROWS = 60
COLUMNS = 160

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "tab": "\t",
    "shift-tab": "\x1b[Z",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "backspace": "\x7f",
}

READY = r"(?m)^\s*❯"
"""The prompt, waiting for input."""

MAX_RAW = 4 * 1024 * 1024

# A session leader without a terminal takes one by TIOCSCTTY (tty_ioctl(4)). Done by a program that then
# becomes the CLI, because Python code between fork and exec is not safe in a test run that has threads.
# A test run under nohup, or in the background of a script, has signals ignored that a person's shell has not.
TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

# Private-parameter sequences (xterm's modifyOtherKeys, kitty's keyboard protocol): pyte reads them as
# attributes.
UNREADABLE = re.compile(rb"\x1b\[[<>=?][0-9;:]*[um]")
DEVICE_ATTRIBUTES_QUERY = re.compile(rb"\x1b\[0?c")
DEVICE_ATTRIBUTES = b"\x1b[?62;22c"


def on_terminal(
    command: Sequence[str], *, rows: int, columns: int, directory: Path, environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program that leads a session on a pseudo-terminal of its own; the process, and our side of it."""
    terminal, child_side = pty.openpty()
    termios.tcsetwinsize(child_side, (rows, columns))
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", TAKE_TERMINAL, *command],
            stdin=child_side,
            stdout=child_side,
            stderr=child_side,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
    finally:
        os.close(child_side)
    return process, terminal


def find_claude() -> Path | None:
    """The CLI named by the environment variable CLAUDE_BIN, else the one in the build folder, else None."""
    named = os.environ.get("CLAUDE_BIN")
    path = Path(named) if named else EXECUTABLE
    return path if os.access(path, os.X_OK) else None


def variables(model_url: str) -> dict[str, str]:
    """What the CLI's environment says of its only model, and of everything that it should not ask the network for."""
    return {
        "ANTHROPIC_API_KEY": API_KEY,
        "ANTHROPIC_BASE_URL": model_url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
    }


def seed(home: Home, **settings: object) -> None:
    """Write the CLI's `.claude.json` as it is once every first-run dialog is answered, plus `settings`."""
    known_project = {
        "hasTrustDialogAccepted": True,
        "hasCompletedProjectOnboarding": True,
        "projectOnboardingSeenCount": 4,
        "allowedTools": [],
    }
    state = {
        "hasCompletedOnboarding": True,
        "lastOnboardingVersion": VERSION,
        "lastReleaseNotesSeen": VERSION,
        "numStartups": 9,
        "theme": "dark",
        "autoConnectIde": False,
        "hasIdeOnboardingBeenShown": {},
        "customApiKeyResponses": {"approved": [API_KEY[-20:]], "rejected": []},
        "projects": {str(home.project): known_project},
        **settings,
    }
    (home.claude_config / ".claude.json").write_text(json.dumps(state), encoding="utf-8")


class Claude:
    """One interactive CLI, running from its making until `close`.

    Its environment is that of its home and nothing else; its only model is the endpoint at `model_url`.
    """

    def __init__(
        self,
        home: Home,
        model_url: str,
        *arguments: str,
        executable: Path | None = None,
        environment: dict[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        executable = executable or find_claude()
        if executable is None:
            raise FileNotFoundError("the Claude Code CLI is not installed: run tests/e2e/install_cli.py")
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._raw = bytearray()
        self._process, self._terminal = on_terminal(
            [str(executable), *arguments],
            rows=ROWS,
            columns=COLUMNS,
            directory=directory or home.project,
            environment=home.environment(**variables(model_url), **(environment or {})),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id, the one that the CLI tells in `ide_connected`."""
        return self._process.pid

    @property
    def raw(self) -> bytes:
        """What the CLI wrote to its terminal, the last 4 MiB of it."""
        with self._lock:
            return bytes(self._raw)

    @property
    def screen(self) -> str:
        """The screen as it is now, without trailing blanks and empty lines above and below."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display).strip("\n")

    def wait(self, pattern: str, *, timeout: float = 20.0) -> re.Match[str]:
        """Wait until `pattern` is found on the screen.

        Raises:
            TimedOut: it was not, in `timeout` seconds or before the CLI ended; the message shows the screen.
        """

        def look() -> re.Match[str] | None:
            ended = self._process.poll() is not None
            match = re.search(pattern, self.screen)
            if ended and not match:
                status = self._process.returncode
                raise TimedOut(self._described(f"the CLI ended (status {status}) without {pattern!r}"))
            return match

        return until(look, timeout=timeout, what=lambda: self._described(f"{pattern!r} on the screen"))

    def wait_gone(self, pattern: str, *, timeout: float = 20.0) -> None:
        """Wait until `pattern` is no longer found on the screen.

        Raises:
            TimedOut: it still was after `timeout` seconds; the message shows the screen.
        """
        until(
            lambda: not re.search(pattern, self.screen),
            timeout=timeout,
            what=lambda: self._described(f"{pattern!r} gone from the screen"),
        )

    def wait_end(self, *, timeout: float = 10.0) -> int:
        """Wait until the process has ended and return its status, negative for a signal (as in subprocess).

        Raises:
            TimedOut: it still ran after `timeout` seconds.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimedOut(self._described(f"the CLI ended within {timeout:g} s")) from None

    def send(self, characters: str) -> None:
        """Send characters as if typed, control characters included."""
        with suppress(OSError):
            os.write(self._terminal, characters.encode())

    def key(self, name: str) -> None:
        """Press one key: a name of `KEYS`, or the character itself."""
        self.send(KEYS.get(name, name))

    def prompt(self, line: str) -> None:
        """Type a line, wait until it stands on the screen, and press Enter."""
        self.send(line)
        self.wait(re.escape(line[-30:]))
        self.key("enter")

    def answer(self, key: str, *, question: str) -> None:
        """Press `key` until `question` is gone from the screen.

        More than once where needed: the CLI ignores keys in the first moments of a question.
        """
        self.wait(question)
        for _ in range(5):
            self.key(key)
            with suppress(TimedOut):
                return self.wait_gone(question, timeout=1.0)
        raise TimedOut(self._described(f"{question!r} answered by {key!r}"))

    def kill9(self) -> None:
        """Kill the CLI on the spot and reap it; the shells it started are left to `close`."""
        self._process.kill()
        self._process.wait(5.0)

    def close(self) -> None:
        """End the CLI and all that it started, whatever state it is in."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(3.0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(5.0)
        self._reader.join(5.0)
        if not self._reader.is_alive():
            os.close(self._terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _described(self, what: str) -> str:
        return f"{what}\n--- screen ---\n{self.screen}\n--- end of screen ---"

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                return  # EIO: the last process on the terminal's other side is gone.
            if not data:
                return
            with self._lock:
                self._raw += data
                del self._raw[:-MAX_RAW]
                with suppress(Exception):  # pyte fails on some private sequences; the rest of the screen stays good.
                    self._stream.feed(UNREADABLE.sub(b"", data))
            if DEVICE_ATTRIBUTES_QUERY.search(data):
                with suppress(OSError):
                    os.write(self._terminal, DEVICE_ATTRIBUTES)
