"""A WebSocket client made of a plain socket: it can break every rule, and end in every way."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from typing import Any

from pairside.agents.claude.websocket import TOKEN_HEADER

SECONDS = 5.0

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """The bytes of one frame (RFC 6455 §5.2)."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mark = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, mark | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, mark | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, mark | 127, len(payload))
    if not masked:
        return head + payload
    key = b"\x5a\xc3\x3c\xa5"
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + key + mixed.to_bytes(len(payload), "big")


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """A Close frame; without a code it has no payload."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def request(token: str | None, *, line: str = "GET / HTTP/1.1", drop: tuple[str, ...] = (), **headers: str) -> bytes:
    """The bytes of a handshake. `headers` replace or add (`_` stands for `-`); `drop` leaves some out."""
    fields = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": "mcp",
        "User-Agent": "claude-code/2.1.330 (cli)",
    }
    if token is not None:
        fields[TOKEN_HEADER] = token
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if name not in drop)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class RawClient:
    """One connection. Every wait is bounded."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    @classmethod
    async def tcp(cls, port: int, *, receive_buffer: int | None = None) -> RawClient:
        """Only connect."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        # Or a small frame waits for the acknowledgement of the one before, and a reset drops it unsent.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port)), SECONDS)
        return cls(sock)

    @classmethod
    async def open(cls, port: int, token: str, *, receive_buffer: int | None = None) -> RawClient:
        """Connect and shake hands."""
        client = await cls.tcp(port, receive_buffer=receive_buffer)
        await client.send(request(token))
        status = await client.response()
        assert status == 101, status
        return client

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self.sock, data), SECONDS)

    async def say(self, message: Any) -> None:
        """Send a value as JSON in one text frame."""
        await self.send(frame(TEXT, json.dumps(message).encode()))

    async def call(self, id: Any, tool: str, **arguments: Any) -> None:
        """Ask for a tool; the answer is to be read."""
        params = {"name": tool, "arguments": arguments}
        await self.say({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})

    async def _more(self) -> bool:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 262144), SECONDS)
        self._buffer += data
        return bool(data)

    async def response(self) -> int:
        """Read the header of an HTTP response; its status, 0 if the connection ends first."""
        return (await self.whole_response())[0]

    async def whole_response(self) -> tuple[int, str]:
        """Read the header of an HTTP response; its status and its text, 0 if the connection ends first."""
        while b"\r\n\r\n" not in self._buffer:
            try:
                if not await self._more():
                    return 0, ""
            except ConnectionError:
                return 0, ""
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        return int(head.split(b" ")[1]), head.decode()

    async def read(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. Raises EOFError at the end."""
        while True:
            parsed = self._parse()
            if parsed is not None:
                return parsed
            if not await self._more():
                raise EOFError

    def _parse(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        assert not buffer[1] & 0x80, "a server never masks"
        length, start = buffer[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(buffer[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + length:
            return None
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        return opcode, payload

    async def answer(self, id: Any = None) -> Any:
        """The next message, pings answered and skipped; with `id` the next with that id."""
        while True:
            opcode, payload = await self.read()
            if opcode == PING:
                await self.send(frame(PONG, payload))
            elif opcode == TEXT:
                message = json.loads(payload)
                if id is None or (isinstance(message, dict) and message.get("id") == id):
                    return message
            else:
                raise AssertionError(f"opcode {opcode}: {payload!r}")

    async def closed_with(self) -> int | None:
        """Read until the connection ends; the code of the Close frame, 1005 for an empty one, None for no frame."""
        code = None
        try:
            while True:
                opcode, payload = await self.read()
                if opcode == CLOSE and code is None:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
        except (EOFError, ConnectionError):
            return code

    def fin(self) -> None:
        """End our half of the connection."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """End the connection."""
        self.sock.close()
