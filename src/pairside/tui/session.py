"""Owns the conversation of the terminal UI with a server: requests, events, and a server that goes and comes back.

It is an observer like any other. What there is to see comes as whole snapshots, asked for again after events that touch
them; an event is only ever a reason to look.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pairside import runtime
from pairside.jsonlines import LINE_BYTES, Lines
from pairside.jsonrpc import Raw, RpcError
from pairside.peer import Disconnect, Gone, Peer, Reason
from pairside.text import printable

HELLO_SECONDS = 5.0
RETRY_SECONDS = 0.2
SLOW_RETRY_SECONDS = 2.0
RETRIES = 100
"""So many quick looks for a server that may be about to come back, then slow ones."""
TOGETHER_SECONDS = 0.05
"""Snapshots are asked for at most this often."""

STATUS, REVIEWS, CHANGES = "status", "reviews", "changes"

TOUCHES: Mapping[str, tuple[str, ...]] = {
    "connected": (STATUS,),
    "introduced": (STATUS, REVIEWS),
    "disconnected": (STATUS, REVIEWS, CHANGES),
    "review": (STATUS, REVIEWS),
    "decided": (STATUS, REVIEWS),
    "change": (STATUS, CHANGES),
    "turn": (CHANGES,),
    "turn-ended": (STATUS, CHANGES),
    "undone": (STATUS, CHANGES),
    "forgotten": (STATUS, CHANGES),
    "rival": (STATUS,),
    "rival-gone": (STATUS,),
    "sharing": (STATUS,),
    "review-where": (STATUS,),
}
"""Which snapshots an event makes old. Calls of tools make none old: there are many of them."""


class Refused(Exception):
    """The server answered with an error; the message says why."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.message = printable(message)
        self.data = data


class Lost(Exception):
    """There is no server to ask at the moment."""


@dataclass
class Watching:
    """What whoever shows it is told."""

    snapshot: Callable[[str, Any], None]
    """A snapshot, by its name."""
    events: Callable[[list[dict[str, Any]]], None]
    """What happened, in the order in which it did."""
    here: Callable[[Mapping[str, Any], bool], None]
    """A server is there, with what it says of itself; whether it is there again."""
    gone: Callable[[bool], None]
    """It is gone; whether it said that it starts anew."""


@dataclass
class Session:
    """One server at a time, found by its socket."""

    port: int
    watching: Watching
    find: Callable[[], int | None]
    """Looks for the server that serves our folder, in a thread; gives its port."""
    mark: str = ""
    """What an agent has set in our environment: a server lets such an observer look, but not decide."""
    name: str = "the terminal UI"
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the server said of itself."""

    def __post_init__(self) -> None:
        self._peer: Peer | None = None
        self._wanted: dict[str, Mapping[str, Any]] = {}
        self._asking = {name: asyncio.Event() for name in (STATUS, REVIEWS, CHANGES)}
        self._events: list[dict[str, Any]] = []
        self._restarting = False
        self.all_turns = False
        """Whether changes are asked for of all turns, and not of the latest only."""

    async def run(self) -> None:
        """Hold the conversation, with one server after the other, until cancelled."""
        again = False
        while True:
            connection = await self._connected()
            greeted = connection is not None and await self._converse(*connection, again=again)
            again = again or greeted
            self.watching.gone(self._restarting)
            await self._look_for_it(at_once=greeted)

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """What the server answers.

        Raises:
            Refused: It says no.
            Lost: There is none, or it gave no answer.
        """
        if self._peer is None:
            raise Lost
        try:
            seconds = runtime.LONG_SECONDS.get(method, runtime.ANSWER_SECONDS)
            return (await self._peer.request(method, params or {}, seconds=seconds)).to(Any)
        except RpcError as error:
            raise Refused(error.code, error.message, error.data or {}) from None
        except (Gone, TimeoutError):
            raise Lost from None

    def want(self, *names: str, **params: Any) -> None:
        """Ask for snapshots again. `params` go with the question."""
        for name in names:
            self._wanted[name] = {**self._wanted.get(name, {}), **params}
            self._asking[name].set()

    # One conversation.

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        path = runtime.socket_path(runtime.directory(os.environ), self.port)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                return await asyncio.open_unix_connection(path, limit=LINE_BYTES)
        except (OSError, TimeoutError):
            return None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, again: bool) -> bool:
        """Hold one conversation to its end; whether it was a server that greeted us."""
        channel = Lines(reader, writer)
        peer = Peer(channel, self)
        talking = asyncio.create_task(peer.run())
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = await peer.request("hello", {"mark": self.mark, "name": self.name}, seconds=HELLO_SECONDS)
            self.facts = hello.to(dict[str, Any])
            self._peer = peer
            self._restarting = False
            following = asyncio.create_task(peer.request("follow", {"calls": True}, seconds=None))
            self.watching.here(self.facts, again)
            self.want(STATUS, REVIEWS, CHANGES)
            beside = {following, *(asyncio.create_task(self._refresh(name)) for name in self._asking)}
            try:
                await talking
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.wait(beside)
        except (Gone, RpcError, TimeoutError):
            pass
        finally:
            greeted, self._peer = self._peer is not None, None
            channel.end(Disconnect(Reason.SHUTDOWN))
            writer.transport.abort()
            talking.cancel()
            await asyncio.wait({talking})
        return greeted

    def requested(self, method: str, params: Raw) -> Any:
        """A server asks nothing of an observer."""
        raise RpcError(-32601, f"Method not found: {method[:100]}")

    def notified(self, method: str, params: Raw) -> None:
        """Take what the server tells: events."""
        if method != "event":
            return
        event = params.to(dict[str, Any])
        if event.get("kind") == "restarting":
            self._restarting = True
        self._events.append(event)
        self.want(*TOUCHES.get(event.get("kind", ""), ()))
        if len(self._events) == 1:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        events, self._events = self._events, []
        self.watching.events(events)

    async def _refresh(self, name: str) -> None:
        """Ask for a snapshot whenever it is wanted, as long as the conversation lasts."""
        while True:
            await self._asking[name].wait()
            self._asking[name].clear()
            params = self._params(name, self._wanted.pop(name, {}))
            with contextlib.suppress(Refused, Lost):
                self.watching.snapshot(name, await self.request(name, params))
            await asyncio.sleep(TOGETHER_SECONDS)

    def _params(self, name: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if name != CHANGES:
            return params
        # After an event the server has looked at the work trees already, where it was of use.
        return {"fresh": False, "undos": True, "all": self.all_turns, **params}

    async def _look_for_it(self, *, at_once: bool) -> None:
        """Wait until a server serves our folder; a moment before the first look, unless `at_once`."""
        for seconds in self._pauses():
            if at_once:
                seconds, at_once = 0.0, False
            if seconds == SLOW_RETRY_SECONDS and self._restarting:
                self._restarting = False  # it did not come
                self.watching.gone(False)
            await asyncio.sleep(seconds)
            port = await asyncio.to_thread(self.find)
            if port is not None:
                self.port = port
                return

    @staticmethod
    def _pauses() -> Iterable[float]:
        for _ in range(RETRIES):
            yield RETRY_SECONDS
        while True:
            yield SLOW_RETRY_SECONDS
