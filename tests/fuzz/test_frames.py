"""Hostile frames after a good handshake: whoever sends them ends with a reason that fits, and nobody else does."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from pairside.peer import Reason
from tests.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame
from tests.until import until

from .strategies import cut, mutated
from .target import Target, tries

MESSAGE = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
SIZES = (0, 1, 125, 126, 127, 65535, 65536, 2**31, 2**63 - 1, 2**63, 2**64 - 1)
PAYLOADS = (
    st.just(MESSAGE)
    | st.binary(max_size=130)
    | st.sampled_from([b"", b"\xff", b"\xed\xa0\x80", b"\x03\xe8", b"x" * 530_000])
)

frames = st.builds(
    frame,
    st.sampled_from([CONT, TEXT, BINARY, CLOSE, PING, PONG, 3, 7, 11, 15]) | st.sampled_from([CONT, TEXT]),
    PAYLOADS,
    fin=st.booleans(),
    masked=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0, 1, 4]),
)
lies = st.builds(
    lambda first, size: struct.pack("!BBQ", first, 0x80 | 127, size % 2**64) + b"maskdata",
    st.integers(0, 255),
    st.sampled_from(SIZES),
)
"""Frames that announce another size than they have."""


async def send(target: Target, pieces: list[bytes]) -> None:
    """A client sends this after its handshake, and then ends its half of the connection."""
    clients = target.bridge.clients
    told = clients.departures_told
    client = await target.connect()
    try:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await client.send(piece)
            client.fin()
        code = await client.closed_with()
    finally:
        client.close()
    await until(lambda: clients.departures_told == told + 1, "its departure is told")
    why = clients.departures[-1].why
    if why.reason is Reason.VIOLATION:
        assert why.code in (1002, 1007, 1009), why
        assert code in (why.code, None)
    elif why.reason is Reason.CLOSED:
        assert code in (why.code, None)
    else:
        assert (why.reason, why.code) == (Reason.LOST, 1006)
    assert why.reason is not Reason.LOST or code is None, "who was told a code did something to be told it"


def test_arbitrary_bytes_after_the_handshake(target: Target) -> None:
    """Noise is a violation, or the stream ends in the middle of a frame."""

    @tries(60)
    @given(cut(st.binary(max_size=200)))
    def every(pieces: list[bytes]) -> None:
        target.do(send(target, pieces))

    every()


def test_sequences_of_frames(target: Target) -> None:
    """Fragments, control frames, reserved bits, opcodes and lengths in any order."""

    @tries(120)
    @given(cut(st.lists(frames | lies, max_size=8).map(b"".join)))
    def every(pieces: list[bytes]) -> None:
        target.do(send(target, pieces))

    every()


def test_good_frames_that_were_spoilt(target: Target) -> None:
    """A few wrong bytes in what would be a good conversation."""
    good = frame(TEXT, MESSAGE[:9], fin=False) + frame(PING, b"p") + frame(CONT, MESSAGE[9:]) + frame(TEXT, MESSAGE) * 3

    @tries(80)
    @given(cut(mutated(st.just(good))))
    def every(pieces: list[bytes]) -> None:
        target.do(send(target, pieces))

    every()


def test_many_small_fragments(target: Target) -> None:
    """The number of fragments is bounded, and so is their sum."""

    @tries(15)
    @given(st.integers(1, 80), st.sampled_from([0, 1, 1000, 12_000]), st.booleans())
    def every(count: int, size: int, finishes: bool) -> None:
        data = frame(BINARY, b" " * size, fin=False) + frame(CONT, b" " * size, fin=False) * count
        target.do(send(target, [data, frame(CONT, b"", fin=finishes)]))

    every()
