"""Hostile handshakes: nobody is admitted but by a good one, everybody is answered or hung up on."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from tests.raw import RawClient, request

from .strategies import cut, mutated
from .target import INTERNALS, Target, tries

NAMES = st.sampled_from(
    ["Host", "Origin", "Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol",
     "Sec-WebSocket-Extensions", "X-Claude-Code-Ide-Authorization", "User-Agent", "Content-Length", "Cookie", "X"]
)  # fmt: skip
TEXTS = st.text(st.characters(max_codepoint=255), max_size=30)


async def shake(target: Target, pieces: list[bytes]) -> None:
    """Send this in place of a handshake and nothing after it."""
    arrivals = target.bridge.clients.arrivals
    client = await RawClient.tcp(target.address.port)
    try:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await client.send(piece)
            client.fin()
        status, head = await client.whole_response()
        assert status in (0, 101, 400, 401, 403, 404, 405, 408, 411, 413, 414, 426, 431, 501, 503, 505), head
        assert not any(one in head for one in INTERNALS)
        assert target.address.token not in head
        if status != 101:
            with contextlib.suppress(EOFError, ConnectionError):
                while await client._more():
                    pass
            assert not any(one.encode() in client._buffer for one in INTERNALS)
            if status:
                assert target.bridge.clients.arrivals == arrivals, "nobody is admitted who is refused"
    finally:
        client.close()


def test_arbitrary_bytes_in_place_of_a_handshake(target: Target) -> None:
    """Whatever comes, it is refused or hung up on, and nobody is admitted."""
    arrivals = target.bridge.clients.arrivals

    @tries(60)
    @given(cut(st.binary(max_size=300) | st.binary(max_size=100).map(lambda data: b"GET / HTTP/1.1\r\n" + data)))
    def every(pieces: list[bytes]) -> None:
        target.do(shake(target, [*pieces, b"\r\n\r\n"]))

    every()
    assert target.bridge.clients.arrivals == arrivals


def test_a_good_handshake_that_was_spoilt(target: Target) -> None:
    """It may still be a good one; if not, it is refused with an HTTP status."""

    @tries(100)
    @given(cut(mutated(st.just(request(target.address.token)))))
    def every(pieces: list[bytes]) -> None:
        target.do(shake(target, pieces))

    every()


def test_headers_of_every_kind(target: Target) -> None:
    """Headers that are missing, double, empty, endless or of odd characters."""

    @tries(100)
    @given(
        st.dictionaries(NAMES, TEXTS | st.just("x" * 9000), max_size=4),
        st.lists(NAMES, max_size=2),
        st.sampled_from(["GET / HTTP/1.1", "GET /?a=b HTTP/1.1", "get / HTTP/1.1", "GET http://h/ HTTP/1.1", "GET /"])
        | TEXTS,
    )
    def every(headers: dict[str, str], dropped: list[str], line: str) -> None:
        named = {name.replace("-", "_"): value for name, value in headers.items()}
        try:
            data = request(target.address.token, line=line, drop=tuple(dropped), **named)
        except UnicodeEncodeError:
            return
        target.do(shake(target, [data]))

    every()
