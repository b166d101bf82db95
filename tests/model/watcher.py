"""Owns an observer's end of a conversation: one request at a time, and the events that are told besides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from pairside.jsonlines import LINE_BYTES


class Watcher:
    """A connected observer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._last_id = 0

    @classmethod
    async def connect(cls, path: str) -> Watcher:
        """Connect to the observers' socket of a server."""
        return cls(*await asyncio.open_unix_connection(path, limit=LINE_BYTES))

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """The whole answer, a result or an error; whatever else is told before it is passed over."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self._writer.write(json.dumps(message).encode() + b"\n")
        while True:
            line = await self._reader.readline()
            assert line, f"the server ended the conversation at {method}"
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == self._last_id:
                return answer

    async def close(self) -> None:
        """Leave."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
