"""A web page on the same machine: whatever a browser can be made to send gets nothing, and nothing that it may read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.home import Home
from tests.e2e.served import Served

SECONDS = 5.0
PAGE = "https://evil.example"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mcp\r\n"
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[tuple[int, str]]:
    """Port and token of a server."""
    with Home() as home, Served(home) as served:
        served.start()
        (lock,) = home.lock_files
        yield int(lock.stem), json.loads(lock.read_text())["authToken"]
        assert "Traceback" not in served.errors
        assert served.status()["connects"] == 0


def answer(port: int, request: str, *, more: bytes = b"") -> str:
    """All that comes back to a request, as a page's script could see it at best."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(request.encode() + more)
        received = b""
        try:
            while b"\r\n\r\n" not in received and (data := connection.recv(65536)):
                received += data
        except ConnectionResetError:
            pass
        return received.decode("latin-1")


def request(method: str, port: int, *headers: str, path: str = "/", host: str | None = None, end: str = "") -> str:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}", *headers]
    return "\r\n".join(lines) + "\r\n" + end + "\r\n"


def test_a_websocket_of_a_page_is_refused_even_with_the_token(endpoint: tuple[int, str]) -> None:
    """Browsers send Origin with each, and a page cannot leave it away; `null` is one as well."""
    port, token = endpoint
    for origin in (PAGE, "null", f"http://127.0.0.1:{port}", "file://", ""):
        header = f"X-Claude-Code-Ide-Authorization: {token}"
        told = answer(port, request("GET", port, f"Origin: {origin}", header, end=UPGRADE))
        assert told.startswith("HTTP/1.1 403 "), origin


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "0.0.0.0"])
def test_a_name_that_was_bound_to_this_machine_is_refused(endpoint: tuple[int, str], host: str) -> None:
    """DNS rebinding: the page's own name leads here, and so it is of the same origin; the Host tells."""
    port, token = endpoint
    header = f"X-Claude-Code-Ide-Authorization: {token}"
    told = answer(port, request("GET", port, header, host=host.format(port=port), end=UPGRADE))
    assert told.startswith("HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("GET", (), b""),  # an image, a script, a link
        ("GET", (f"Origin: {PAGE}", "Sec-Fetch-Mode: cors"), b""),
        ("GET", (f"Origin: {PAGE}",), b""),  # an event stream
        ("HEAD", (), b""),
        (
            "POST",
            (f"Origin: {PAGE}", "Content-Type: text/plain", "Content-Length: 40"),
            b'{"method":"openDiff","id":1}',
        ),
        ("POST", ("Content-Type: application/x-www-form-urlencoded", "Content-Length: 3"), b"a=b"),
        ("OPTIONS", (f"Origin: {PAGE}", "Access-Control-Request-Method: POST"), b""),
        ("OPTIONS", (f"Origin: {PAGE}", "Access-Control-Request-Private-Network: true"), b""),
    ],
)
@pytest.mark.parametrize("path", ["/", "/sse", "/mcp"])
def test_plain_requests_get_an_error_that_no_page_may_read(
    endpoint: tuple[int, str], method: str, headers: tuple[str, ...], body: bytes, path: str
) -> None:
    """Forms, images, fetch and its preflights: never a success, never a header that shares the answer with the page."""
    port, token = endpoint
    told = answer(port, request(method, port, *headers, path=path), more=body)
    status = int(told.split(" ")[1])
    assert 400 <= status < 500, told
    assert "access-control" not in told.lower()
    assert "set-cookie" not in told.lower()
    assert token not in told


def test_what_follows_a_refused_request_is_not_taken_for_another(endpoint: tuple[int, str]) -> None:
    """A form whose body is a handshake (cross-protocol request smuggling): one answer, and the connection ends."""
    port, token = endpoint
    header = f"X-Claude-Code-Ide-Authorization: {token}"
    inner = request("GET", port, header, end=UPGRADE).encode()
    outer = request("POST", port, f"Origin: {PAGE}", f"Content-Length: {len(inner)}")
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(outer.encode() + inner)
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            pass
    assert received.count(b"HTTP/1.1 ") == 1
    assert b" 101 " not in received
