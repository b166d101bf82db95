"""Owns the start of a server that ends with us.

It is a process of its own that ends when a pipe from this one closes. So it is gone when this one is, however this one
ends; and it has a session of its own, so that what keys of the terminal send to all that stand in the foreground, as
Ctrl-C and Ctrl-Z do, does not reach it.
"""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO

from pairside.cli.exits import Exit, Failure

START_SECONDS = 20.0
STOP_SECONDS = 5.0


@contextlib.contextmanager
def companion(folders: list[str], *, errors: IO[bytes] | None = None) -> Iterator[int]:
    """A server of `folders` that lives as long as the block runs; gives its port.

    What it says on standard error goes to `errors`, else to our own standard error.

    Raises:
        Failure: It does not start. The status is its own; what it said about that stands on its standard error.
    """
    # -P: a file of the served folder must not be taken for a module.
    command = [sys.executable, "-P", "-m", "pairside", "serve", "--companion"]
    for folder in folders:
        command += ["--workspace", folder]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
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
        yield int(line)
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
        process.stdout.close()
