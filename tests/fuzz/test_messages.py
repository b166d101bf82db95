"""Hostile JSON-RPC messages: each request is answered once, with a code that says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.raw import BINARY, TEXT, frame

from .strategies import ANY_TEXT, ODD_JSON, VALUES, mutated, objects
from .target import Target, answers_until, tries

METHODS = st.sampled_from(
    ["ping", "tools/list", "tools/call", "initialize", "notifications/cancelled", "ide_connected", "roots/list", "no"]
)
PARAMS = st.sampled_from(
    [
        {"protocolVersion": "2025-03-26"},
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"roots": {}},
            "clientInfo": {"name": "x\x1b", "version": "\n"},
        },
        {"name": "getWorkspaceFolders", "arguments": {}},
        {"name": "getOpenEditors", "arguments": None},
        {"requestId": 1},
        {"pid": 2**40},
    ]
)
ENVELOPES = objects(
    {
        "jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", "2.0", "1.0", 2.0, None]),
        "id": st.integers(0, 3) | st.sampled_from(["a", "", 10**30, -1, None, 1.5, True, [], {}]) | ANY_TEXT,
        "method": METHODS | METHODS | VALUES,
        "params": PARAMS | VALUES,
        "result": VALUES,
        "error": VALUES | st.just({"code": 1, "message": "m"}),
        "other": VALUES,
    }
)
REQUESTS = st.builds(
    lambda id, method, params: json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode(),
    st.integers() | ANY_TEXT,
    METHODS | ANY_TEXT,
    PARAMS | VALUES,
)


async def say(target: Target, text: bytes, opcode: int = TEXT) -> list[Any]:
    """Say it as a client would; all answers to it."""
    client = await target.connect()
    try:
        await client.send(frame(opcode, text))
        return await answers_until(client, "the end of it")
    finally:
        client.close()


def is_utf8(text: bytes) -> bool:
    """Whether it can be said in a text frame without ending the conversation."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_whatever_is_no_message_is_answered_once_with_an_error(target: Target) -> None:
    """Broken texts, in text frames and in binary ones."""

    @tries(120)
    @given(ODD_JSON | st.binary(max_size=60) | mutated(REQUESTS))
    def every(text: bytes) -> None:
        came = target.do(say(target, text, TEXT if is_utf8(text) else BINARY))
        assert len([one for one in came if "method" not in one]) <= max(1, text.count(b"{"))

    every()


def test_a_request_is_answered_exactly_once_and_under_its_own_id(target: Target) -> None:
    """Whatever its id, method and params are."""

    @tries(120)
    @given(REQUESTS)
    def every(text: bytes) -> None:
        came = target.do(say(target, text))
        id = json.loads(text)["id"]
        assert [one["id"] for one in came if "method" not in one] == [id]

    every()


def test_envelopes_of_every_kind(target: Target) -> None:
    """Members that are missing, double, of wrong types, too deep or too large: at most one answer."""

    @tries(200)
    @given(ENVELOPES)
    def every(text: bytes) -> None:
        if not is_utf8(text):
            return
        came = [one for one in target.do(say(target, text)) if "method" not in one]
        assert len(came) <= 1
        try:
            message = json.loads(text, parse_constant=float.fromhex)
        except (ValueError, RecursionError):
            return
        id = message.get("id")
        is_good = message.get("jsonrpc") == "2.0" and isinstance(message.get("method"), str)
        if is_good and type(id) in (int, str) and not came:
            raise AssertionError("a request without an answer")
        if is_good and "id" not in message:
            assert not came or came[0]["error"]["code"] == -32700, "a notification is not answered"

    every()


def test_batches_of_every_kind(target: Target) -> None:
    """Answered together in the version that has them, refused once in any other."""

    @tries(80)
    @given(st.lists(REQUESTS | ENVELOPES | ODD_JSON, max_size=6), st.booleans())
    def every(texts: list[bytes], spoken: bool) -> None:
        text = b"[" + b",".join(texts) + b"]"
        if is_utf8(text):
            target.do(batch(target, text, spoken))

    every()


async def batch(target: Target, text: bytes, spoken: bool) -> None:
    """Say it in a version of the protocol that has batches, or in one that has none."""
    client = await target.connect()
    try:
        version = "2025-03-26" if spoken else "2025-11-25"
        params = {"protocolVersion": version, "capabilities": {}}
        await client.say({"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": params})
        assert (await client.answer("first"))["result"]["protocolVersion"] == version
        await client.send(frame(TEXT, text))
        came = [one for one in await answers_until(client, "the end of it") if "method" not in one]
        if not spoken:
            assert len(came) == 1
            assert came[0]["error"]["code"] in (-32600, -32700)
    finally:
        client.close()


def test_ids_that_are_used_again_while_they_are_in_flight(target: Target) -> None:
    """The second is refused, the first is answered when its time has come; after a cancellation the id is free."""

    @tries(40)
    @given(st.integers() | ANY_TEXT, st.lists(st.sampled_from(["again", "cancel", "ping"]), max_size=6))
    def every(id: int | str, steps: list[str]) -> None:
        target.do(again(target, id, steps))

    every()


async def again(target: Target, id: int | str, steps: list[str]) -> None:
    """Ask under one id for what takes its time, and for more under the same id."""
    client = await target.connect()
    arguments = {"old_file_path": "/a", "new_file_path": "/a", "new_file_contents": "", "tab_name": "t"}
    try:
        await client.call(id, "openDiff", **arguments)
        flies, expected = True, []
        for step in steps:
            if step == "cancel":
                await client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
                flies = False
            elif step == "again" and not flies:
                await client.call(id, "openDiff", **arguments)
                flies = True
            else:
                await client.say({"jsonrpc": "2.0", "id": id, "method": "ping"})
                expected.append(-32600 if flies else None)
        came = [one for one in await answers_until(client, "the end of it") if one.get("id") == id]
        assert [one.get("error", {}).get("code") for one in came] == expected
    finally:
        client.close()
