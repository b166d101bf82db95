"""Owns the recent past: what happened, for whoever looks at the log. Bounded, in memory only."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

EVENTS_KEPT = 1000
FRAMES_KEPT = 500
CONTENTS_KEPT = 1024

_SECRETS = r"""(?isx)
    (?<![a-z0-9]) (?: sk | pk | ghp | gho | ghs | github_pat | glpat | xox[abprs] ) [-_] [a-z0-9_-]{12,}
    | AKIA[0-9A-Z]{16}
    | eyJ[a-z0-9_-]{10,} \. [a-z0-9_-]{10,} \. [a-z0-9_-]+
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY----- (?: .*? -----END[ ][A-Z ]*PRIVATE[ ]KEY----- | .* )
    | (?: password | passwd | secret | token | api[_-]?key | authorization ) (?: \\*["'])? \s* [:=] \s* (?: \\*["'])?
      (?: bearer \s+ )? [^\s"',;\\]{6,}
    """
"""What looks like a secret. It is compiled when somebody looks at messages first: that takes 1.4 ms."""


class Event(NamedTuple):
    """Something that happened: a kind, who it concerns, and facts that can be shown as JSON."""

    number: int
    at: float
    """Seconds since the epoch."""
    kind: str
    client_id: int | None
    facts: dict[str, Any]

    def told(self) -> dict[str, Any]:
        """As whoever follows is told."""
        return {"number": self.number, "at": self.at, "kind": self.kind, "client_id": self.client_id, **self.facts}


def is_unasked(facts: Mapping[str, Any]) -> bool:
    """Whether an event of the kind `change` is about a write by an agent's own tool that nobody was asked about."""
    return facts["means"] == "edit" and not facts["reviewed"]


class Frame(NamedTuple):
    """One message on the wire of an agent, with the beginning of its contents."""

    at: float
    """Seconds since the epoch."""
    client_id: int
    direction: str
    """`<` from the agent, `>` to it."""
    length: int
    """In bytes, or in characters where the message came as text."""
    contents: str


def masked(text: str) -> str:
    """`text` with whatever looks like a secret replaced."""
    return re.sub(_SECRETS, "[masked]", text)


class Journal:
    """The latest events and messages; the oldest are forgotten first."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.frames: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        self._last = 0
        self._listeners: list[Callable[[Event], None]] = []

    def note(self, kind: str, client_id: int | None = None, **facts: Any) -> None:
        """Something happened; tell whoever follows."""
        self._last += 1
        event = Event(self._last, time.time(), kind, client_id, facts)
        self.events.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def wire(self, client_id: int, direction: str, text: str | bytes) -> None:
        """A message went over the wire."""
        start = text[:CONTENTS_KEPT]
        contents = start if isinstance(start, str) else start.decode("utf-8", "replace")
        self.frames.append(Frame(time.time(), client_id, direction, len(text), contents))

    @contextmanager
    def follow(self, listener: Callable[[Event], None]) -> Iterator[None]:
        """Tell `listener` every event while the block runs. It must neither raise nor wait."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
