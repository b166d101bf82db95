"""Owns the client side: a blocking WebSocket client of a plain socket, with frames that are built beforehand."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from typing import Any

SECONDS = 10.0
"""Every wait for a server ends after so long, with a `TimeoutError`."""

TOKEN_HEADER = "X-Claude-Code-Ide-Authorization"
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_MASK = b"\x5a\xc3\x3c\xa5"
_NO_LINGER = struct.pack("ii", 1, 0)


def frame(opcode: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """The bytes of one whole frame (RFC 6455 §5.2)."""
    mark = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack("!BB", 0x80 | opcode, mark | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, mark | 126, len(payload))
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, mark | 127, len(payload))
    if not masked:
        return head + payload
    mask = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return head + _MASK + mixed.to_bytes(len(payload), "little")


def message(method: str, params: Any = None, id: int | None = None) -> bytes:
    """The frame of a JSON-RPC request, or of a notification where there is no id."""
    body: dict[str, Any] = {"jsonrpc": "2.0"}
    if id is not None:
        body["id"] = id
    body["method"] = method
    if params is not None:
        body["params"] = params
    return frame(TEXT, json.dumps(body).encode())


def tool(name: str, **arguments: Any) -> bytes:
    """The frame of a call of a tool, with the id 1."""
    return numbered_tool(1, name, **arguments)


def numbered_tool(id: int, name: str, **arguments: Any) -> bytes:
    """The frame of a call of a tool."""
    return message("tools/call", {"name": name, "arguments": arguments}, id=id)


def handshake(token: str, **headers: str) -> bytes:
    """The bytes of an opening handshake as Claude Code sends it; `headers` are added."""
    fields = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": "mcp",
        "User-Agent": "claude-code/2.1.330 (cli)",
        TOKEN_HEADER: token,
        **headers,
    }
    lines = ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Client:
    """One connection over loopback."""

    def __init__(self, port: int) -> None:
        """Connect, no more."""
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()

    @classmethod
    def connect(cls, port: int, token: str) -> Client:
        """Connect and shake hands."""
        client = cls(port)
        client.shake_hands(handshake(token))
        return client

    def shake_hands(self, request: bytes) -> None:
        """Send a handshake and wait until it is accepted."""
        self.socket.sendall(request)
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._more()
        if not self._received.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"refused: {bytes(self._received[:80])!r}")
        del self._received[: end + 4]

    def initialize(self, pid: int) -> None:
        """Introduce itself as Claude Code does."""
        client = {"name": "claude-code", "version": "2.1.330"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        answer = json.loads(self.call(message("initialize", params, id=0)))
        if "result" not in answer:
            raise ConnectionError(f"refused: {answer}")
        self.socket.sendall(message("notifications/initialized"))
        self.socket.sendall(message("ide_connected", {"pid": pid}))

    def ask(self, prepared: bytes) -> bytes:
        """Send a frame; the next message."""
        self.socket.sendall(prepared)
        return self.receive()

    def call(self, prepared: bytes) -> bytes:
        """Send the frame of a request to a server that answers; the answer. What it tells by itself is passed over."""
        self.socket.sendall(prepared)
        return self.answer()

    def answer(self) -> bytes:
        """The next message that is an answer."""
        while True:
            message = self.receive()
            if b'"result"' in message or b'"error"' in message:
                return message

    def receive(self) -> bytes:
        """The next message; pings are answered on the way. Messages in fragments are none of these servers'."""
        while True:
            opcode, payload = self._frame()
            if opcode == PING:
                self.socket.sendall(frame(PONG, payload))
            elif opcode == CLOSE:
                raise ConnectionError("the server closed the connection")
            elif opcode != PONG:
                return payload

    def receive_with(self, wanted: bytes) -> bytes:
        """The next message that contains something."""
        while wanted not in (message := self.receive()):
            pass
        return message

    def read_to_end(self) -> None:
        """Read and discard until the server has closed its side."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def reset(self) -> None:
        """Close the socket in the way that the other side sees as a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.socket.close()

    def close(self) -> None:
        """Close the socket without a goodbye."""
        self.socket.close()

    def _frame(self) -> tuple[int, bytes]:
        received = self._received
        while True:
            if len(received) >= 2:
                length, start = received[1], 2
                if length == 126 and len(received) >= 4:
                    length, start = int.from_bytes(received[2:4], "big"), 4
                elif length == 127 and len(received) >= 10:
                    length, start = int.from_bytes(received[2:10], "big"), 10
                elif length >= 126:
                    length = 1 << 62
                if len(received) >= start + length:
                    payload = bytes(received[start : start + length])
                    opcode = received[0] & 0x0F
                    del received[: start + length]
                    return opcode, payload
            self._more()

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._received += data
