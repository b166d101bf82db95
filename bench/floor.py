"""Owns the floor under every figure: an echo on plain `asyncio`, with no more of WebSocket than these clients need.

Run as a script with a token and the path of a Unix socket; prints its port. It demands the token as pairside does.
Whatever line comes in through the Unix socket is sent to all clients. It checks next to nothing: nobody can be faster
who keeps to the protocol.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys

TOKEN_HEADER = b"x-claude-code-ide-authorization: "
KEY_HEADER = b"sec-websocket-key: "
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE = 0x8


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self, token: bytes, everybody: set[Echo]) -> None:
        self._token = token
        self._everybody = everybody
        self._received = bytearray()
        self._accepted = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._everybody.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._accepted:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._answer(bytes(self._received[:end]))
            del self._received[: end + 4]
        self._frames()

    def _answer(self, header: bytes) -> None:
        fields = {}
        for line in header.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            fields[name.lower() + b": "] = value
        if fields.get(TOKEN_HEADER) != self._token:
            self._transport.write(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n")
            self._transport.close()
            return
        accept = base64.b64encode(hashlib.sha1(fields[KEY_HEADER] + GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._accepted = True
        self._everybody.add(self)

    def _frames(self) -> None:
        received = self._received
        while len(received) >= 6:
            length, start = received[1] & 0x7F, 2
            if length == 126:
                length, start = int.from_bytes(received[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(received[2:10], "big"), 10
            end = start + 4 + length
            if len(received) < end:
                return
            opcode = received[0] & 0x0F
            mask = bytes(received[start : start + 4]) * (length // 4 + 1)
            payload = bytes(received[start + 4 : end])
            del received[:end]
            clear = int.from_bytes(payload, "little") ^ int.from_bytes(mask[:length], "little")
            self.send(opcode, clear.to_bytes(length, "little"))
            if opcode == CLOSE:
                self._transport.close()
                return

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one whole frame."""
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | opcode, length))
        elif length < 65536:
            head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
        self._transport.write(head + payload)


async def run(token: str, path: str) -> None:
    """Serve until standard input ends."""
    everybody: set[Echo] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(token.encode(), everybody), "127.0.0.1", 0)

    async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            for one in everybody:
                one.send(1, line)
            writer.write(b"told\n")
        writer.close()

    listener = await asyncio.start_unix_server(told, path)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    listener.close()
    server.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
