"""Owns the start of a server that ends with us, or, where others use it by then, as soon as they have left too.

It is a process of its own that notices when a pipe from this one closes, however this one ends. And it has a session of
its own, so that what keys of the terminal send to all that stand in the foreground, as Ctrl-C and Ctrl-Z do, does not
reach it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

from pairside.cli.exits import Exit, Failure
from pairside.text import printable

BOUND, USED, EXPECTED = WAYS = ("bound", "used", "expected")
"""When a server ends whose starter has gone: at once; as soon as nobody else uses it; or as soon as, besides, no agent
is expected back."""
GOES_ON = "goes on"
"""What a server says where it is left and does not end."""

ERROR_LINES = 20
"""So many lines of what a server had to say are told at its end."""
START_SECONDS = 20.0
STOP_SECONDS = 5.0


@contextlib.contextmanager
def aside() -> Iterator[IO[bytes]]:
    """A place for what a server says while the screen belongs to somebody else.

    Raises:
        Failure: There is none.
    """
    import tempfile

    try:
        errors = tempfile.TemporaryFile()  # noqa: SIM115, closed below
    except OSError as error:
        raise Failure(f"A temporary file cannot be made: {error.strerror}. Set TMPDIR to another folder.") from None
    with errors:
        yield errors


def said(errors: IO[bytes]) -> list[str]:
    """The last lines of what a server has said there."""
    try:
        errors.seek(0)
        return [printable(line) for line in errors.read().decode("utf-8", "replace").splitlines()[-ERROR_LINES:]]
    except OSError:
        return []


class Companion:
    """A server of our own."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self.goes_on = False
        """Whether it went on when we left it."""


def _goes_on(told: IO[bytes]) -> bool:
    """Whether a server that was just left says that it goes on. One that was started anew has told its port again."""
    deadline = time.monotonic() + STOP_SECONDS
    said = b""
    while select.select([told], [], [], max(0.0, deadline - time.monotonic()))[0]:
        data = os.read(told.fileno(), 1024)
        said += data
        if GOES_ON.encode() in said.split(b"\n")[:-1]:
            return True
        if not data:
            break
    return False


@contextlib.contextmanager
def companion(folders: list[str], *, errors: IO[bytes] | None = None, until: str = BOUND) -> Iterator[Companion]:
    """A server of `folders` that lives as long as the block runs, and then as `until` says, one of `WAYS`.

    What it says on standard error goes to `errors`, else to our own standard error.

    Raises:
        Failure: It does not start. The status is its own; what it said about that stands on its standard error.
    """
    # -P: a file of the served folder must not be taken for a module.
    command = [sys.executable, "-P", "-m", "pairside", "serve", "--companion", until]
    for folder in folders:
        command += ["--workspace", folder]
    process = subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    found: Companion | None = None
    try:
        ready = select.select([process.stdout], [], [], START_SECONDS)[0]
        line = process.stdout.readline() if ready else b""
        if not line:
            if ready:
                raise Failure("", process.wait(STOP_SECONDS) or Exit.FAILED)
            raise Failure(f"pairside did not start within {START_SECONDS:g} s.")
        # Killed and not waited for, it would be taken for alive, and nobody could take over from it.
        # No signal is for that thread: the terminal's may be blocked in the main one, and must stay so.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        threading.Thread(target=process.wait, name="companion", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        found = Companion(int(line), process.pid)
        yield found
    finally:
        process.stdin.close()
        if found is not None and until != BOUND:
            found.goes_on = _goes_on(process.stdout)
        if found is None or not found.goes_on:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)
        process.stdout.close()
