"""Owns how a process is killed just before its n-th step: every change that it makes to a file system is one.

Most of them Python tells by itself (PEP 578); the others are watched for here. Only the child that is to die is
touched by this, and nothing of the product knows of it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pairside import disk

EVENTS = frozenset(
    {
        "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
        "os.utime", "socket.bind", "subprocess.Popen",
    }
)  # fmt: skip
PIECE = 500
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Steps:
    """Counts the steps of this process from `arm` on, and ends it before the one of the given number."""

    def __init__(self, last: int, told: int) -> None:
        """What the process was about to do is told to the descriptor `told`."""
        self._last = last
        self._told = told
        self._taken = 0
        self._armed = False
        self._write = os.write
        sys.addaudithook(self._heard)
        os.write = self._before("os.write", os.write)
        os.fsync = self._before("os.fsync", os.fsync)
        disk._rename = self._before("renameat2", disk._rename)
        overwrite = disk._overwrite
        disk._overwrite = lambda file, *rest: overwrite(_Piecemeal(file, self._step), *rest)  # type: ignore[arg-type]

    def arm(self) -> None:
        """Count from now on."""
        self._armed = True

    def disarm(self) -> None:
        """Count no more."""
        self._armed = False

    def _before(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._step(name)
            return function(*arguments)

        return counted

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS or (event == "open" and not isinstance(arguments[0], int) and _writes(arguments[2])):
            self._step(event)

    def _step(self, name: str) -> None:
        if not self._armed:
            return
        self._taken += 1
        if self._taken == self._last:
            self._armed = False
            self._write(self._told, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)


def _writes(flags: int) -> bool:
    """Whether a file is opened to be written; a temporary one without a name is nothing that anybody finds."""
    return bool(flags & WRITES) and flags & os.O_TMPFILE != os.O_TMPFILE


class _Piecemeal:
    """A file that is written where it is, a piece at a time: whoever is killed leaves it half written."""

    def __init__(self, file: io.FileIO, step: Callable[[str], None]) -> None:
        self._file = file
        self._step = step

    def write(self, data: memoryview) -> int:
        """Write the first part."""
        self._step("a piece")
        return self._file.write(data[:PIECE])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def forked(work: Callable[[int], None]) -> tuple[bool, bytes]:
    """Do something in a child; whether it ended by itself, and what it wrote to the descriptor that it was given.

    Raises:
        AssertionError: It failed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            work(writing)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as file:
        told = file.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, status
    return not killed, told
