"""Owns a tmux of the test's own, in which programs stand side by side as a person has them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from .until import until

TMUX = shutil.which("tmux")
COLUMNS, ROWS = 120, 40
COMMAND_SECONDS = 10.0


class Pane:
    """One program in tmux, and the keys for it."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux = tmux
        self._name = name

    @property
    def screen(self) -> str:
        """What stands in it now, without trailing blanks."""
        told = self._tmux.run("capture-pane", "-p", "-t", self._name)
        return "\n".join(line.rstrip() for line in told.splitlines()).rstrip("\n")

    @property
    def pid(self) -> int:
        """The process that was started in it."""
        return int(self._tmux.run("display-message", "-p", "-t", self._name, "#{pane_pid}"))

    def wait(self, pattern: str, *, timeout: float = 20.0) -> re.Match[str]:
        """Wait until a pattern is found in it.

        Raises:
            TimedOut: It was not; the message shows all panes.
        """
        return until(
            lambda: re.search(pattern, self.screen),
            timeout=timeout,
            what=lambda: f"{pattern!r} in {self._name}\n{self._tmux.described()}",
        )

    def wait_gone(self, pattern: str, *, timeout: float = 20.0) -> None:
        """Wait until a pattern is no longer found in it.

        Raises:
            TimedOut: It still was; the message shows all panes.
        """
        until(
            lambda: not re.search(pattern, self.screen),
            timeout=timeout,
            what=lambda: f"{pattern!r} gone from {self._name}\n{self._tmux.described()}",
        )

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names or as characters, one after the other."""
        self._tmux.run("send-keys", "-t", self._name, *keys)

    def type(self, line: str) -> None:
        """Type a line, wait until it stands there, and press Enter."""
        self._tmux.run("send-keys", "-t", self._name, "-l", line)
        self.wait(re.escape(line[-20:]))
        self.press("Enter")


class Tmux:
    """A tmux server that nobody else knows, from its making until `close`."""

    def __init__(self, folder: Path, environment: Mapping[str, str], directory: Path) -> None:
        """`folder` holds its socket; programs get this environment and start in this directory."""
        self._socket = folder / "tmux"
        self._environment = dict(environment)
        self._directory = directory
        self._panes: list[str] = []

    def run(self, *arguments: str) -> str:
        """Run one command of tmux; what it printed."""
        assert TMUX is not None
        done = subprocess.run(
            [TMUX, "-S", str(self._socket), "-f", "/dev/null", *arguments],
            env=self._environment,
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=True,
        )
        return done.stdout

    def open(self, name: str, *command: str, **environment: str) -> Pane:
        """Start a program in a pane of its own; what it leaves on the screen stays there."""
        given = [f"{key}={value}" for key, value in environment.items()]
        words = shlex.join(["exec", "env", *given, *command])
        made = (
            ("new-window", "-d")
            if self._panes
            else ("new-session", "-d", "-s", "s", "-x", f"{COLUMNS}", "-y", f"{ROWS}")
        )
        self.run(*made, "-n", name, words, ";", "set-option", "-w", "-t", name, "remain-on-exit", "on")
        self._panes.append(name)
        return Pane(self, name)

    def resize(self, columns: int, rows: int) -> None:
        """Give every pane another size."""
        for name in self._panes:
            self.run("resize-window", "-t", name, "-x", str(columns), "-y", str(rows))

    def described(self) -> str:
        """Every screen, for the report of a failure."""
        return "\n".join(f"--- {name} ---\n{Pane(self, name).screen}" for name in self._panes)

    def close(self) -> None:
        """End it with all that runs in it."""
        if self._panes:
            subprocess.run(
                [str(TMUX), "-S", str(self._socket), "kill-server"],
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
