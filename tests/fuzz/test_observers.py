"""Hostile observers: each request is answered once, and neither agents nor other observers notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairside import observers
from pairside.jsonlines import Lines
from pairside.observers import Observer

from .strategies import ANY_TEXT, ODD_JSON, VALUES, mutated
from .target import Target, is_answer, tries
from .test_messages import ENVELOPES
from .test_tools import paths

LAST = "the end of it"
SPOTS = st.tuples(st.integers(-1, 5), st.integers(-1, 30)).map(list)
FOUND = st.fixed_dictionaries(
    {"message": ANY_TEXT, "severity": st.integers(0, 5), "start": SPOTS, "end": SPOTS}, optional={"source": ANY_TEXT}
)
KNOWN = {
    "id": st.integers(-1, 3),
    "lines": st.none() | st.integers(-2, 5),
    "hunks": st.none() | st.lists(st.integers(-1, 3), max_size=3),
    "text": ANY_TEXT,
    "start": SPOTS,
    "end": SPOTS,
    "keep": st.booleans(),
    "on": st.none() | st.booleans(),
    "force": st.booleans(),
    "first": st.integers(-1, 2**31),
    "last": st.integers(-1, 2**31),
    "line": st.integers(-1, 2**31),
    "client_id": st.none() | st.integers(-1, 9),
    "source": ANY_TEXT,
    "files": st.dictionaries(ANY_TEXT | st.just("/a"), st.lists(FOUND, max_size=2), max_size=2),
    "turn": st.none() | st.integers(-1, 3),
    "all": st.booleans(),
    "ids": st.none() | st.lists(st.integers(-1, 2**70), max_size=3),
    "fresh": st.just(False),
    "dry_run": st.booleans(),
    "wire": st.booleans(),
    "contents": st.booleans(),
    "where": st.sampled_from(["here", "terminal", "", None]),
    "calls": st.booleans(),
    "mark": ANY_TEXT,
}
"""What the methods take, near enough."""


async def methods(target: Target) -> list[str]:
    """The names of all methods that are answered at some time."""
    nobody = observers.Server(target.bridge, path="", port=0, lock_file="", stop=lambda by: None)
    channel = Lines(asyncio.StreamReader(), None)  # type: ignore[arg-type]  # nothing is ever said on it
    return sorted(set(Observer(nobody, channel, None)._methods) - {"follow"})


async def tell(target: Target, data: bytes, *, waits_for: Collection[str] = ()) -> list[Any]:
    """An observer says this; everything that it is answered until those ids and a last request are."""
    reader, writer = await target.observe()
    last = b'{"jsonrpc": "2.0", "id": "%s", "method": "review/where"}\n' % LAST.encode()
    came: list[Any] = []
    missing = {LAST, *waits_for}
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data + b"\n" + last)
            await writer.drain()
            while line := await reader.readline():
                message = json.loads(line)
                if "method" not in message:
                    assert is_answer(message)
                    came.append(message)
                    missing.discard(message["id"] if isinstance(message["id"], str) else "")
                if not missing:
                    break
            assert not missing, "the server hung up"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return [one for one in came if one["id"] != LAST]


def test_lines_of_every_kind(target: Target) -> None:
    """Bytes, broken JSON and odd envelopes are answered with an error or not at all."""

    @tries(100)
    @given(st.lists(ODD_JSON | st.binary(max_size=60) | ENVELOPES, min_size=1, max_size=3).map(b"\n".join))
    def every(data: bytes) -> None:
        came = target.do(tell(target, data))
        assert len(came) <= data.count(b"\n") + 1

    every()


def test_a_line_that_never_ends(target: Target) -> None:
    """An observer that is cut off in the middle leaves nothing."""

    @tries(15)
    @given(mutated(st.just(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}')))
    def every(data: bytes) -> None:
        async def leave() -> None:
            _, writer = await target.observe()
            writer.write(data.replace(b"\n", b""))
            writer.close()
            await writer.wait_closed()

        target.do(leave())

    every()


METHODS = (
    "changes", "changes/forget", "changes/marks", "changes/patches", "changes/show", "diagnostics/import", "hello",
    "log", "mention", "open", "restart", "review/accept", "review/reject", "review/show", "review/where", "reviews",
    "select", "select/clear", "share", "status", "stop", "undo",
)  # fmt: skip


def test_every_method_is_tried(target: Target) -> None:
    """The list here is that of the server."""
    assert sorted(METHODS) == target.do(methods(target))


@pytest.mark.parametrize("method", METHODS)
def test_params_of_every_kind(method: str, target: Target) -> None:
    """Each method, with such params as it takes and such as it does not: one answer, which is no defect."""
    folder = target.bridge.folders.value[0]
    members = {**KNOWN, "path": paths(folder), "said": st.none() | paths(folder), "root": paths(folder)}
    fitting = st.fixed_dictionaries(
        {}, optional={name: st.one_of(one, one, one, VALUES) for name, one in members.items()}
    )

    @tries(25)
    @given(st.one_of(fitting, fitting, fitting, VALUES))
    def every(params: Any) -> None:
        data = json.dumps({"jsonrpc": "2.0", "id": "call", "method": method, "params": params}).encode()
        came = target.do(tell(target, data, waits_for=["call"]))
        assert [one["id"] for one in came] == ["call"]

    every()
