"""Owns the signals that ask a server to stop."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

from pairside.cli.exits import Exit


class Signals:
    """SIGTERM, SIGINT and SIGHUP: each asks the server to stop, from the first moment to the last.

    They are not left to the event loop, which takes its handlers away before the process has ended: a second signal
    would kill it then, and the status would not be 0.
    """

    def __init__(self) -> None:
        self._asked: Callable[[], None] = lambda: sys.exit(Exit.OK)
        # Under nohup SIGHUP is ignored, and stays so.
        self._numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._numbers.append(signal.SIGHUP)
        self._came = False
        for number in self._numbers:
            signal.signal(number, lambda number, frame: self._asked())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)  # kept back while this program was started anew

    @contextlib.contextmanager
    def call(self, asked: Callable[[], None]) -> Iterator[None]:
        """Call something instead of ending the process, while the block runs; after it only take note."""
        self._asked = asked
        try:
            yield
        finally:
            self._asked = self._take

    def _take(self) -> None:
        self._came = True

    def hold(self) -> bool:
        """Keep the signals back until this process is another program; returns whether one has come before."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        return self._came or bool(signal.sigpending() & set(self._numbers))

    def ignore(self) -> None:
        """The process ends by itself now. (Python takes its own handlers away a moment before its end.)"""
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)
