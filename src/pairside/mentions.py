"""Owns the mentions that wait for an agent: files and lines that the person wants in the prompt.

They are delivered in order as soon as an agent listens, and each expires on its own, every time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from typing import Any

import msgspec


class Mention(msgspec.Struct, frozen=True):
    """A file or a folder, or lines of a file: 0-based, the last one included. The path is absolute and real."""

    path: str
    first: int | None = None
    last: int | None = None
    forced: bool = False
    """The person wants it told also where the file is not shared."""


def params(mention: Mention, cwd: str | None) -> dict[str, Any]:
    """What the agent is told: the path from its working directory where it lies inside, else as it is.

    Keys without a value are left out; Claude Code ignores the whole mention when one is null.
    """
    path = mention.path
    if cwd is not None and path != cwd and os.path.commonpath([cwd, path]) == os.path.normpath(cwd):
        path = os.path.relpath(path, cwd)
    told: dict[str, Any] = {"filePath": path}
    if mention.first is not None:
        told["lineStart"] = mention.first
        told["lineEnd"] = mention.first if mention.last is None else mention.last
    return told


class Mentions:
    """The queue of mentions for which nobody was there yet."""

    def __init__(self, seconds: float, expired: Callable[[Mention], None]) -> None:
        """`seconds` is how long one waits; `expired` is told each that waited in vain."""
        self._seconds = seconds
        self._expired = expired
        self._ids = itertools.count()
        self._waiting: dict[int, tuple[Mention, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, mention: Mention) -> None:
        """Keep a mention until somebody takes it or it expires."""
        id = next(self._ids)
        timer = asyncio.get_running_loop().call_later(self._seconds, self._expire, id)
        self._waiting[id] = (mention, timer)

    def take(self) -> list[Mention]:
        """All that wait, oldest first; they wait no longer."""
        taken = list(self._waiting.values())
        self._waiting.clear()
        for _, timer in taken:
            timer.cancel()
        return [mention for mention, _ in taken]

    def _expire(self, id: int) -> None:
        mention, _ = self._waiting.pop(id)
        self._expired(mention)
