"""A conversation in memory, for tests of what only needs a client and no wire."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pairside.clients import Client
from pairside.jsonrpc import Raw, RpcError
from pairside.peer import Disconnect, Gone, Peer, Reason


class MemoryChannel:
    """A `Channel` on which nothing ever comes; what was sent is kept."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.ending: Disconnect | None = None
        self.last_received = time.monotonic()
        self._over = asyncio.Event()

    async def receive(self) -> str | bytes:
        await self._over.wait()
        raise Gone(self.ending or Disconnect(Reason.LOST))

    async def send(self, text: str) -> None:
        if self.ending is not None:
            raise Gone(self.ending)
        self.sent.append(text)

    def end(self, why: Disconnect) -> None:
        self.ending = self.ending or why
        self._over.set()


class Mute:
    """A `Dispatcher` that knows no method."""

    async def requested(self, method: str, params: Raw) -> Any:
        raise RpcError(-32601, "Method not found")

    def notified(self, method: str, params: Raw) -> None:
        pass


def client(id: int, agent: str = "Claude Code") -> Client:
    """A client whose conversation is in memory."""
    return Client(id, Peer(MemoryChannel(), Mute()), agent=agent)
