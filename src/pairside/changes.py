"""Owns what agents wrote without a review here.

Claude Code asks for the diagnostics of a file just before it writes it, in every permission mode, and waits for
the answer. So the text before the write is read before that question is answered, and the text after it at the
next question: a change is known exactly, not guessed from the file system.
"""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pairside import hunks
from pairside.clients import Client
from pairside.text import decode_exactly

CHANGES_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Image:
    """The bytes of a file at one moment."""

    exists: bool
    data: bytes | None
    """None if there is no file, or one that is too large or cannot be read."""
    note: str = ""
    """Why the bytes of an existing file are missing."""
    stamp: tuple[int, int, int] | None = None
    """Inode, size and time of the last write of a file whose bytes are missing: enough to see that it changed."""

    @classmethod
    def read(cls, path: str, limit: int) -> Image:
        """Read at most `limit` bytes; a larger file is only noted."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return cls(False, None)
        except OSError as error:
            return cls(True, None, error.strerror or "unreadable")
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if not stat.S_ISREG(status.st_mode):
            return cls(True, None, "not a regular file", stamp)
        if status.st_size > limit:
            return cls(True, None, f"larger than {limit} bytes", stamp)
        try:
            with open(path, "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return cls(False, None)
        except OSError as error:
            return cls(True, None, error.strerror or "unreadable", stamp)
        return cls(True, data) if len(data) <= limit else cls(True, None, f"larger than {limit} bytes", stamp)

    @property
    def size(self) -> int:
        """The memory that the bytes take."""
        return len(self.data) if self.data is not None else 0


@dataclass(eq=False, slots=True)
class Change:
    """One write of one file by an agent."""

    id: int
    client_id: int
    agent: str
    pid: int | None
    """The process of the agent, where it is known."""
    path: str
    before: Image
    after: Image | None = None
    """None while the write may still be going on."""
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    size: tuple[int, int] | None = None
    """How many lines came and went; None where the texts do not tell, or before they were compared."""
    is_compared: bool = False

    async def measure(self) -> tuple[int, int] | None:
        """The size, compared once: a comparison may be the work of another program."""
        if not self.is_compared:
            compared = await compare(self)
            self.size = hunks.count(compared.found) if compared else None
            self.is_compared = True
        return self.size


class Compared(NamedTuple):
    """Both texts of a change, and how they differ."""

    before: str
    after: str
    found: Sequence[hunks.Hunk]


async def compare(change: Change) -> Compared | None:
    """How the texts of a change differ; None if one of them is no text or not known."""
    assert change.after is not None
    if change.before.note or change.after.note:
        return None
    before, after = _text(change.before), _text(change.after)
    if before is None or after is None:
        return None
    return Compared(before, after, await hunks.compare(before, after))


def _text(image: Image) -> str | None:
    if image.data is None:
        return None if image.exists else ""
    text = decode_exactly(image.data)
    return None if text is None or text.encode() != image.data else text  # a patch of UTF-16 would not apply


class Changes:
    """The writes without a review, oldest first, bounded in memory."""

    def __init__(
        self, *, image_bytes: int, total_bytes: int, noticed: Callable[[Change], None] = lambda change: None
    ) -> None:
        """`noticed` is told each change once both of its texts are known and differ."""
        self._image_bytes = image_bytes
        self._total_bytes = total_bytes
        self._noticed = noticed
        self._ids = itertools.count(1)
        self._changes: list[Change] = []
        self._reviewed: set[tuple[int, str]] = set()
        self._writers: set[int] = set()
        """The clients here now that wrote without a review."""

    def __iter__(self) -> Iterator[Change]:
        return (change for change in tuple(self._changes) if change.after is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def image_bytes(self) -> int:
        """The size above which a file is only noted."""
        return self._image_bytes

    def net(self) -> list[Change]:
        """What the writes amount to, oldest first: those of a file that follow one another are one.

        Between two writes somebody else may have changed the file. Then they stay two, so that taking them back one
        by one never touches what is not the agent's.
        """
        chains: list[Change] = []
        last: dict[str, Change] = {}
        for change in self:
            before = last.get(change.path)
            known = change.before.data is not None or not change.before.exists
            if before is not None and known and before.after == change.before:
                chains.remove(before)
                change = replace(change, before=before.before)
            chains.append(change)
            last[change.path] = change
        return [change for change in chains if change.before != change.after]

    def reviewed(self, client: Client, path: str, *, writes: bool = True) -> None:
        """The client's proposal for `path` was answered or closed: its next write of that file is not news.

        Without `writes` it was rejected.
        """
        if writes:
            self._reviewed.add((client.id, path))

    def begin(self, client: Client, path: str, before: Image) -> None:
        """The client is about to write `path`, which is `before` now."""
        # Two writes in a row: what the second finds is what the first has left.
        for change in self._open(client.id):
            if change.path == path:
                self._complete(change, before)
        if (client.id, path) in self._reviewed:
            self._reviewed.discard((client.id, path))
            return
        self._changes.append(Change(next(self._ids), client.id, client.agent, client.pid, path, before))
        del self._changes[:-CHANGES_KEPT]
        self._bound()

    def is_first(self, change: Change) -> bool:
        """Whether it is the first of its client, which was not asked about before."""
        if change.client_id in self._writers:
            return False
        self._writers.add(change.client_id)
        return True

    def pending(self, client_id: int) -> tuple[str, ...]:
        """The files that a client may have written since it was last asked; `end` wants them read."""
        return tuple(dict.fromkeys(change.path for change in self._open(client_id)))

    def end(self, client_id: int, path: str, after: Image) -> None:
        """A client's write of `path` is over; it has left `after`."""
        for change in self._open(client_id):
            if change.path == path:
                self._complete(change, after)

    def prompted(self, client: Client) -> None:
        """The client has a new prompt: what was reviewed before it says nothing about what comes."""
        self._forget_reviewed(client.id)

    def departed(self, client_id: int) -> None:
        """A client is gone, and what it may have been writing was read."""
        self._forget_reviewed(client_id)
        self._writers.discard(client_id)

    def _forget_reviewed(self, client_id: int) -> None:
        if self._reviewed:
            self._reviewed = {(id, path) for id, path in self._reviewed if id != client_id}

    def _open(self, client_id: int) -> list[Change]:
        return [change for change in self._changes if change.after is None and change.client_id == client_id]

    def _complete(self, change: Change, after: Image) -> None:
        if after == change.before:
            self._changes.remove(change)  # asked, but not written: the person said no in the terminal
            return
        change.after = after
        self._bound()
        self._noticed(change)

    def _bound(self) -> None:
        total = 0
        forgotten = "forgotten: the texts of later changes needed the memory"
        for change in reversed(self._changes):
            total += change.before.size + (change.after.size if change.after else 0)
            if total > self._total_bytes and change is not self._changes[-1]:
                change.before = Image(change.before.exists, None, forgotten)
                if change.after is not None:
                    change.after = Image(change.after.exists, None, forgotten)
