"""Owns who is connected. This is the only registry of clients, and `Clients.admit` its only door.

A client is here exactly while the coroutine that is its session is inside `admit`. Nothing else inserts,
removes, counts or lists clients; whoever wants to know asks, and every view is made from the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import msgspec

from pairside.cell import Listeners
from pairside.mentions import Mention
from pairside.peer import Disconnect, Peer, Reason

DEPARTURES_KEPT = 100

GOING_AWAY = 1001
INTERNAL_ERROR = 1011


class NotThere(Exception):
    """There is no such client; the message says which."""


class Full(Exception):
    """No further client is admitted; the message says how many there are."""


class Baseline(msgspec.Struct, frozen=True):
    """What a client asked about a file before writing it."""

    uri: str
    """As the client spelt it: it takes no other spelling for an answer."""
    stamp: tuple[int, int, int] | None
    """Inode, size and time of the last write at that moment; None if there was no file."""


class Client(msgspec.Struct, eq=False):
    """One session of an agent, from an accepted handshake to its end. Not a TCP connection.

    `agent` and `version` are what the client calls itself, `pid` is the process that it says it is.
    """

    id: int
    """Counts up and is never used again."""
    peer: Peer
    agent: str = ""
    version: str = ""
    pid: int | None = None
    connected_at: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""
    asked_at: float = msgspec.field(default_factory=time.monotonic)
    """When it last asked something, on the monotonic clock: who was last active gets a mention."""
    ready: bool = False
    """It said that it listens, and the moment in which it would miss what is sent has passed."""
    mention: Callable[[Mention], Awaitable[None]] | None = None
    """Puts a mention into its prompt; raises `Gone`. None if its protocol has no such thing."""
    baselines: dict[str, Baseline] = msgspec.field(default_factory=dict)
    """The files whose diagnostics it asked for before a write, by path."""

    @property
    def ending(self) -> Disconnect | None:
        """How its conversation ended; None while it goes on. The channel knows, and nobody else."""
        return self.peer.channel.ending


class Departure(msgspec.Struct, frozen=True):
    """A client that was here and left: its facts, not the client itself, whose buffers need not be kept."""

    client_id: int
    agent: str
    version: str
    pid: int | None
    why: Disconnect
    at: float
    """Seconds since the epoch."""


class Listener(Protocol):
    """Is told who comes and goes."""

    def arrived(self, client: Client) -> None:
        """`client` has been admitted."""

    def introduced(self, client: Client) -> None:
        """`client` said who it is, or something more about itself."""

    def departed(self, departure: Departure) -> None:
        """A client has been removed. Told exactly once for each that arrived, after it was removed."""


class Clients:
    """The clients that are connected now, in the order of their arrival."""

    def __init__(self, limit: int = 32) -> None:
        self.limit = limit
        self.arrivals = 0
        """How many were ever admitted."""
        self.departures_told = 0
        """How many departures were ever told."""
        self.departures: deque[Departure] = deque(maxlen=DEPARTURES_KEPT)
        """The latest departures, oldest first."""
        self._present: dict[int, Client] = {}
        self._listeners: Listeners[Listener] = Listeners()
        self._last_id = 0

    def __iter__(self) -> Iterator[Client]:
        return iter(tuple(self._present.values()))

    def __len__(self) -> int:
        return len(self._present)

    def new_id(self) -> int:
        """An id that no client had before."""
        self._last_id += 1
        return self._last_id

    def listen(self, listener: Listener) -> AbstractContextManager[None]:
        """Tell `listener` while the block runs. One that raises is logged; all others are told."""
        return self._listeners.listen(listener)

    @contextmanager
    def admit(self, client: Client) -> Iterator[None]:
        """Let `client` in for as long as the block runs: the only way in, and the only way out.

        How it left is read from its channel, which fixed it at the first sign. Only where the channel knows
        of no ending does the way out of the block decide: cancellation is SHUTDOWN, anything else CRASHED.

        Raises:
            Full: There are `limit` clients already; nothing was told and nothing counted.
        """
        if len(self._present) >= self.limit:
            raise Full(f"{self.limit} clients are connected already")
        self._present[client.id] = client
        self.arrivals += 1
        why = Disconnect(Reason.CRASHED, INTERNAL_ERROR, "internal error")
        try:
            self._listeners.tell("arrived", client)
            yield
        except asyncio.CancelledError:
            why = Disconnect(Reason.SHUTDOWN, GOING_AWAY, "cancelled")
            raise
        finally:
            why = client.ending or why
            del self._present[client.id]
            departure = Departure(client.id, client.agent, client.version, client.pid, why, time.time())
            self.departures.append(departure)
            self.departures_told += 1
            self._listeners.tell("departed", departure)

    def introduce(self, client: Client) -> None:
        """Tell the listeners that a client said more about itself."""
        if client.id in self._present:
            self._listeners.tell("introduced", client)
