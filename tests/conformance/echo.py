"""Owns the server that the conformance tests judge: pairside's own transport, with an echo as its session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pairside.agents.claude.websocket import TOKEN_HEADER, Connection, Server, new_token
from pairside.limits import Limits
from pairside.peer import Gone


@dataclass(frozen=True, slots=True)
class Echo:
    """Where an echo server is, and the request headers without which it refuses."""

    url: str
    headers: Mapping[str, str]


@asynccontextmanager
async def echo_server() -> AsyncIterator[Echo]:
    """Serve echoes on pairside's transport, within its default limits, while the block runs."""
    token = new_token()
    server = Server(token=token, limits=Limits(), session=_echo)
    port = await server.listen()
    try:
        yield Echo(f"ws://127.0.0.1:{port}/", {TOKEN_HEADER: token})
    finally:
        await server.close()


async def _echo(connection: Connection) -> None:
    """Send every message back as what it came, text or binary, until the conversation ends."""
    connection.accept()
    try:
        while True:
            message = await connection.receive()
            if isinstance(message, str):
                await connection.send(message)
            else:
                _send_binary(connection, message)
    except Gone:
        return


def _send_binary(connection: Connection, data: bytes) -> None:
    # A conversation of pairside's has no binary messages, so that its transport takes them and sends none.
    if connection.ending is not None:
        raise Gone(connection.ending)
    connection._ws.send_binary(data)
    connection._flush()
