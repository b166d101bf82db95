"""Owns the dialogue with a person at a terminal: questions, line by line, while a server may have news.

Nothing here moves the cursor, so a screen reader, a dumb terminal and a pipe get the same plain lines.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
from collections.abc import Callable, Sequence

import click

from pairside.cli.client import Server

CHUNK = 4096


class Left(Exception):
    """The person ended the input (Ctrl-D)."""


class Dialogue:
    """Lines out, lines in. Everything is printed to standard output, or to standard error if that is for programs."""

    def __init__(self, *, error: bool = False) -> None:
        self._error = error
        self._input = 0
        self._received = b""
        self._ended = False
        self.last = ""
        """The line that was printed last."""
        self.interactive = os.isatty(self._input)
        """Whether a person types the answers."""

    def say(self, line: str = "", *, end: str = "\n") -> None:
        """Print a line."""
        click.echo(line, nl=False, err=self._error)
        click.echo(end, nl=False, err=self._error)
        self.last = line

    def page(self, lines: Sequence[str]) -> None:
        """Print lines; through the pager if a person would have to scroll back for the first of them."""
        if self.interactive and not self._error and sys.stdout.isatty():
            columns, rows = shutil.get_terminal_size()
            height = sum(1 + (max(len(click.unstyle(line)), 1) - 1) // columns for line in lines)
            if height > rows - 3 and os.environ.get("TERM") != "dumb":
                click.echo_via_pager("\n".join(lines) + "\n")
                return
        for line in lines:
            self.say(line)

    def discard(self) -> None:
        """Forget what a person has typed so far: it was not meant for a question that comes only now."""
        if self.interactive:
            import termios

            termios.tcflush(self._input, termios.TCIFLUSH)
            self._received = b""

    def ask(self, question: str, server: Server | None = None, news: Callable[[], bool] = lambda: True) -> str | None:
        """The answer to a question, without blanks around it, in lower case; None if news took the question away.

        `news` is called when the server has something to say; it returns whether the question is still worth an answer.
        Without a server there is no news.

        Raises:
            Left: There is no more input.
        """
        self.say(question, end="")
        line = self.line(server, news)
        if line is None:
            return None
        if not self.interactive:
            self.say(line)
        return line.strip().lower()

    def line(self, server: Server | None, news: Callable[[], bool], *, seconds: float | None = None) -> str | None:
        """The next line of input; None if news said that it is not wanted any more, or the time is up.

        Raises:
            Left: There is no more input.
        """
        while b"\n" not in self._received:
            if self._ended:
                if self._received:  # the last line of a pipe may lack its end
                    line, self._received = self._received, b""
                    return line.decode("utf-8", "replace")
                raise Left
            # What the server has sent may be in our own buffer already, where select does not see it.
            if not news():
                return None
            sources: list[int | Server] = [self._input] if server is None else [self._input, server]
            ready = select.select(sources, [], [], seconds)[0]
            if not ready:
                return None
            if self._input in ready:
                chunk = os.read(self._input, CHUNK)
                self._received += chunk
                if not chunk:
                    # A terminal goes on after Ctrl-D, a pipe does not.
                    self._ended = not self.interactive
                    if self.interactive:
                        raise Left
        line, _, self._received = self._received.partition(b"\n")
        return line.decode("utf-8", "replace")

    def wait(self, server: Server, news: Callable[[], bool], *, seconds: float | None = None) -> None:
        """Wait for news alone, leaving the input for the questions to come."""
        if news():
            select.select([server], [], [], seconds)
