"""Owns a program that runs in the foreground of our terminal as if it had been started without us.

It is in our process group, so the terminal's keys reach it as they reach any program that a shell starts. We stop when
it stops, so that the shell takes the terminal back, and it goes on when the shell lets us go on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import termios
from collections.abc import Mapping
from typing import Protocol

_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""What the terminal sends to a whole process group. It is meant for the program: we do what the program makes of it."""
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
"""What others send to us alone."""
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class Listener(Protocol):
    """Whoever wants to be called while a program runs."""

    @property
    def source(self) -> int | None:
        """The descriptor on which something may come, if there is one."""

    @property
    def patience(self) -> float | None:
        """In how many seconds to be called even if nothing came; None if there is no need."""

    def hear(self) -> None:
        """Something may have come. It must neither raise nor wait long."""


class Job:
    """A program from its start to its end."""

    def __init__(self, program: str, words: list[str], environment: Mapping[str, str]) -> None:
        """Start the file `program`; `words` are its name, as it is told to it, and its arguments.

        Until the end of this process the terminal's signals are not for us any more, and SIGTERM and SIGHUP are passed
        on to the program.

        Raises:
            OSError: It cannot be started.
        """
        self._asked: list[int] = []
        self._terminal = _Terminal()
        self._awake, wake = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        # Functions, because a program inherits what is ignored, and not what is handled.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in _FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup it stays so
                signal.signal(number, lambda number, frame: self._asked.append(number))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)

        def start(program: str, words: list[str]) -> int:
            # Not by subprocess, which would close the descriptors that the program is to inherit from the shell.
            return os.posix_spawn(program, words, environment, setsigmask=before, setsigdef=_IGNORED_BY_PYTHON)

        try:
            self.pid = start(program, words)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            self.pid = start("/bin/sh", ["sh", program, *words[1:]])  # a script without a first line, as shells do

    def wait(self, listener: Listener) -> int:
        """Wait for the end; returns the exit status, 128 + N after signal N. If it was killed the terminal is mended.

        `listener` is called meanwhile.
        """
        stopped = followed = False
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0 and stopped:
                # Only a shell can let us go on: where we lead the session there is none, and we never stop.
                if not followed and os.getsid(0) != os.getpid():
                    followed = True
                    os.kill(os.getpid(), signal.SIGSTOP)
                else:  # we go on, and were told so alone: with our whole group it would go on by now
                    stopped = False
                    os.kill(self.pid, signal.SIGCONT)
            elif pid == 0:
                while self._asked:  # here, where it surely is no other process yet
                    os.kill(self.pid, self._asked.pop(0))
                self._sleep(listener)
            elif os.WIFSTOPPED(status):
                stopped, followed = True, False
            elif os.WIFCONTINUED(status):
                stopped = False
            elif os.WIFSIGNALED(status):
                self._terminal.restore()
                return 128 + os.WTERMSIG(status)
            else:
                return os.WEXITSTATUS(status)

    def _sleep(self, listener: Listener) -> None:
        source = listener.source
        ready = select.select([self._awake] if source is None else [self._awake, source], [], [], listener.patience)[0]
        with contextlib.suppress(BlockingIOError):
            while self._awake in ready and os.read(self._awake, 1024):
                pass
        listener.hear()


class _Terminal:
    """Our terminal as it is now, if we have one."""

    def __init__(self) -> None:
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            self._modes = termios.tcgetattr(self._descriptor)

    def restore(self) -> None:
        """Set its modes as they were, if we stand in its foreground."""
        with contextlib.suppress(OSError, termios.error):
            if self._descriptor >= 0 and os.tcgetpgrp(self._descriptor) == os.getpgrp():
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._modes)
