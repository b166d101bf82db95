"""Owns the server that pairside is compared with: an echo on the high-level server of `websockets`, as it comes.

Only the largest message that it takes is raised, to that of pairside and more.

Run as a script with a token and the path of a Unix socket; prints its port. It demands the token as pairside does.
Whatever line comes in through the Unix socket is broadcast to all clients.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

TOKEN_HEADER = "X-Claude-Code-Ide-Authorization"


async def echo(connection: ServerConnection) -> None:
    """Send back every message."""
    async for message in connection:
        await connection.send(message)


def mcp(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose the subprotocol of pairside."""
    return Subprotocol("mcp") if "mcp" in offered else None


async def run(token: str, path: str) -> None:
    """Serve until standard input ends."""

    def judge(connection: ServerConnection, request: Request) -> Response | None:
        if "Origin" in request.headers:
            return connection.respond(HTTPStatus.FORBIDDEN, "web pages may not connect\n")
        if request.headers.get(TOKEN_HEADER) != token:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong token\n")
        return None

    # By default it writes a traceback for each handshake that fails: no reason to be compared with that.
    logger = logging.getLogger("yardstick")
    logger.setLevel(logging.CRITICAL + 1)
    options: dict[str, Any] = {"process_request": judge, "select_subprotocol": mcp, "logger": logger, "max_size": None}
    async with serve(echo, "127.0.0.1", 0, **options) as server:

        async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                broadcast(server.connections, line.decode())
                writer.write(b"told\n")
            writer.close()

        listener = await asyncio.start_unix_server(told, path)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        listener.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
