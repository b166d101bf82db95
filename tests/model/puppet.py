"""Owns an agent's end of one connection: what it sent, what it was told, and what it is owed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.raw import CLOSE, PING, PONG, TEXT, RawClient, frame

Fits = Callable[[dict[str, Any]], bool]


def fails(*codes: int) -> Fits:
    """An error with one of these codes."""
    return lambda message: message.get("error", {}).get("code") in codes


def returns(*texts: str) -> Fits:
    """The result of a tool that is these texts."""
    return lambda message: [item["text"] for item in message.get("result", {}).get("content", ())] == list(texts)


def returns_one_of(*texts: str) -> Fits:
    """The result of a tool that is one of these texts."""
    return lambda message: any(returns(text)(message) for text in texts)


def succeeds(message: dict[str, Any]) -> bool:
    """Any result."""
    return isinstance(message.get("result"), dict)


@dataclass(eq=False)
class Owed:
    """An answer that a request is owed; none is due while `fits` is None."""

    id: Any
    fits: Fits | None


@dataclass(eq=False)
class Proposal:
    """An openDiff that waits for its verdict."""

    puppet: Puppet
    name: str
    file: str
    proposed: str
    owed: Owed
    is_open: bool = False
    """It is a review; before that the file is still being read."""


@dataclass(eq=False)
class Puppet:
    """One connection, of which every byte that comes is looked at as soon as it is there."""

    raw: RawClient
    client_id: int | None = None
    """Its client in the registry; None before it is one and after it was."""
    status: int | None = None
    """Of the answer to its handshake; 0 if the connection ended instead."""
    pid: int | None = None
    agent: str = "Claude Code"
    listens: bool = False
    """It counts as listening."""
    listens_at: float | None = None
    due_at: float | None = None
    """When its handshake will have taken too long."""
    rest: bytes = b""
    """What it did not send of its handshake yet."""
    asked: int = 0
    """Its place in the order of who was last active."""
    takes: bool = True
    """Whether it reads what comes."""
    answers_pings: bool = True
    stays: bool = False
    """It never closes its end of the socket."""
    owed: list[Owed] = field(default_factory=list)
    owed_perhaps: list[Owed] = field(default_factory=list)
    """What was asked so shortly before the end that it is answered or not."""
    wrong: list[Any] = field(default_factory=list)
    """What came that was not owed."""
    selections: list[Any] = field(default_factory=list)
    mentions: list[Any] = field(default_factory=list)
    due_mentions: list[Any] = field(default_factory=list)
    close_code: int | None = None
    ended: bool = False
    """The connection has ended."""
    is_open: bool = True
    """Our end of the socket is open."""
    _last_id: int = 0

    def watch(self) -> None:
        """Take everything from now on."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.raw.sock, self._readable)

    def ignore(self) -> None:
        """Take nothing from now on."""
        self.takes = False
        self._loop.remove_reader(self.raw.sock)

    def close(self) -> None:
        """Close our end of the socket."""
        if self.is_open:
            self.ignore()
            self.is_open = False
            self.raw.close()

    def new_id(self) -> int:
        """An id that none of its requests had."""
        self._last_id += 1
        return self._last_id

    @property
    def answered(self) -> bool:
        """Whether everything that is due has come."""
        return not any(one.fits for one in self.owed)

    def _readable(self) -> None:
        try:
            data = self.raw.sock.recv(262144)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self.raw._buffer += data
        if self.status is None:
            self._response(data)
        if self.status == 101:
            for opcode, payload in self._frames():
                self._heard(opcode, payload)
        if not data:
            self.ended = True
            self._loop.remove_reader(self.raw.sock)

    def _response(self, data: bytes) -> None:
        head, end, rest = bytes(self.raw._buffer).partition(b"\r\n\r\n")
        if end:
            self.status = int(head.split(b" ")[1])
            self.raw._buffer = bytearray(rest)
        elif not data:
            self.status = 0

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while (parsed := self.raw._parse()) is not None:
            yield parsed

    def _heard(self, opcode: int, payload: bytes) -> None:
        if self.close_code is not None:
            self.wrong.append(f"opcode {opcode} after the Close")
        elif opcode == PING:
            if self.answers_pings:
                self._say(frame(PONG, payload))
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
            self._say(frame(CLOSE, payload))
        elif opcode == TEXT:
            self._told(json.loads(payload))
        elif opcode != PONG:
            self.wrong.append(f"opcode {opcode}")

    def _say(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the server ended; what it says of that comes next
            self.raw.sock.send(data)

    def _told(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": _, "id": id}:
                answer = {"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}}
                self._say(frame(TEXT, json.dumps(answer).encode()))
            case {"method": "selection_changed", "params": params}:
                self.selections.append(params)
            case {"method": "at_mentioned", "params": params}:
                self.mentions.append(params)
            case {"id": id}:
                for some in (self.owed, self.owed_perhaps):
                    for owed in some:
                        if owed.id == id and owed.fits is not None and owed.fits(message):
                            some.remove(owed)
                            return
                self.wrong.append(message)
            case _:
                self.wrong.append(message)
