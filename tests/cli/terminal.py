"""Owns a pseudo-terminal in which a test runs pairside as a person does."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.claude import on_terminal

SECONDS = 10.0
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command in a pseudo-terminal of its own, from the start of the block to its end."""

    def __init__(
        self,
        *command: str,
        cwd: Path,
        environment: Mapping[str, str],
        rows: int = 50,
        columns: int = 100,
        program: str | None = None,
    ) -> None:
        """`program` is the installed script, where not the module is to be run."""
        run = [program] if program is not None else [sys.executable, "-m", "pairside"]
        self.raw = b""
        self._seen = 0
        self.process, self._fd = on_terminal(
            [*run, *command], rows=rows, columns=columns, directory=cwd, environment=environment
        )

    @property
    def text(self) -> str:
        """Everything on the terminal so far, without colours."""
        return _SEQUENCE.sub("", self.raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    def wait(self, pattern: str, seconds: float = SECONDS) -> str:
        """Wait until what came since the last match matches a pattern; returns that up to the match's end."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.text[self._seen :]
            match = re.search(pattern, text)
            if match:
                self._seen += match.end()
                return text[: match.end()]
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"no {pattern!r} in {text!r}")

    def press(self, text: str) -> None:
        """Press the keys for a text."""
        os.write(self._fd, text.encode())

    def hang_up(self) -> None:
        """Close the terminal, as its window does; nothing comes from it any more."""
        os.close(self._fd)
        self._fd = os.open(os.devnull, os.O_RDWR)

    def wait_end(self, seconds: float = SECONDS) -> int:
        """Wait until the command has ended; its exit status."""
        deadline = time.monotonic() + seconds
        while self._read(min(0.05, deadline - time.monotonic())) or self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"did not end: {self.text!r}")
        return self.process.wait(SECONDS)

    def _read(self, seconds: float) -> bool:
        """Take in what comes within that time; returns whether something did."""
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        self.raw += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)
        os.close(self._fd)
