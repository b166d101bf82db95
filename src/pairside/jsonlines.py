"""Owns JSON texts one a line over a stream socket, as a server and its observers speak them."""

from __future__ import annotations

import asyncio
import time

from pairside.peer import Disconnect, Gone, Reason

LINE_BYTES = 64 * 1024 * 1024
UNSENT_BYTES = 64 * 1024 * 1024


class Lines:
    """A `Channel` of JSON texts, one a line, over a stream socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.ending: Disconnect | None = None
        self.last_received = time.monotonic()

    async def receive(self) -> bytes:
        """The next line. Raises `Gone` at the end, and when a line is too long."""
        if self.ending is not None:
            raise Gone(self.ending)
        try:
            line = await self._reader.readline()
        except ValueError:
            self.ending = self.ending or Disconnect(Reason.VIOLATION, None, "a line is too long")
        except OSError:
            self.ending = self.ending or Disconnect(Reason.LOST)
        else:
            if line.endswith(b"\n") and self.ending is None:
                self.last_received = time.monotonic()
                return line
            self.ending = self.ending or Disconnect(Reason.CLOSED if not line else Reason.LOST)
        raise Gone(self.ending)

    async def send(self, text: str) -> None:
        """Queue one line. Raises `Gone`, also when the observer leaves too much unread."""
        if self.ending is not None:
            raise Gone(self.ending)
        waiting = self._writer.transport.get_write_buffer_size()
        if waiting > UNSENT_BYTES:
            self.end(Disconnect(Reason.UNRESPONSIVE, None, "takes nothing"))
            raise Gone(Disconnect(Reason.UNRESPONSIVE, None, "takes nothing"))
        self._writer.write(text.encode() + b"\n")

    def end(self, why: Disconnect) -> None:
        """Close."""
        if self.ending is None:
            self.ending = why
            self._reader.feed_eof()
