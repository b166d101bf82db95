"""Hostile arguments for every tool: answered once, as its result, its own failure, or -32602."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairside.tools import Tool
from pairside.tools.all import toolbox
from tests.raw import TEXT, frame

from .strategies import ANY_TEXT, ODD_JSON, VALUES
from .target import INTERNALS, Target, answers_until, is_answer, tries

TOOLS = {tool.name: tool for tool in toolbox()}


def paths(folder: str) -> st.SearchStrategy[str]:
    """Names of files, of what is no file, and of what no file can have for a name."""
    ends = [
        "file.txt",
        "bytes",
        "folder",
        "link",
        "link/x",
        "file.txt/x",
        "none",
        "",
        ".",
        "..",
        "%00",
        "%66ile.txt",
        "a b",
    ]
    known = [f"{folder}/{end}" for end in ends] + [
        "/",
        "~",
        "~root",
        "/dev/null",
        "/dev/zero",
        "/proc/self/mem",
        "/" + "x" * 5000,
    ]
    return st.one_of(
        st.sampled_from(known),
        st.sampled_from(known).map(lambda path: "file://" + path),
        ANY_TEXT.map(lambda text: f"{folder}/{text}"),
        ANY_TEXT.map(lambda text: "file://" + text),
        ANY_TEXT,
    )


def arguments(tool: Tool, folder: str) -> st.SearchStrategy[dict[str, Any]]:
    """Such as the schema wants, with some that it does not."""
    members: dict[str, st.SearchStrategy[Any]] = {}
    for name, schema in tool.schema["properties"].items():
        kind = schema.get("type")
        if kind == "string":
            fitting: st.SearchStrategy[Any] = paths(folder) | ANY_TEXT
        elif kind == "integer":
            fitting = st.integers(1, 5) | st.integers(-(2**70), 2**70)
        else:
            fitting = st.booleans()
        members[name] = st.one_of(fitting, fitting, fitting, VALUES)
    required = set(tool.schema.get("required", ()))
    good = st.fixed_dictionaries(
        {name: one for name, one in members.items() if name in required},
        optional={name: one for name, one in members.items() if name not in required},
    )
    odd = st.fixed_dictionaries({}, optional={**members, "more": VALUES})
    return st.one_of(good, good, odd)


async def call(target: Target, name: str, text: bytes) -> None:
    """Call a tool with this as its arguments, and take back what it asked."""
    client = await target.connect()
    try:
        body = b'{"jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": {"name": %s, "arguments": %s}}'
        await client.send(frame(TEXT, body % (json.dumps(name).encode(), text)))
        if name == "openDiff":
            await client.call("back", "closeAllDiffTabs")
        while True:
            answer = await client.answer()
            if answer.get("id") in ("call", None):
                break
        assert is_answer(answer)
        if "result" in answer:
            told = " ".join(item["text"] for item in answer["result"]["content"])
            assert not any(one in told for one in INTERNALS if one != "object at")
        rest = await answers_until(client, "the end of it")
        assert not [one for one in rest if one.get("id") == "call"], "it is answered once"
    finally:
        client.close()


@pytest.mark.parametrize("name", TOOLS)
def test_arguments_of_every_kind(name: str, target: Target) -> None:
    """Such as the schema has them, such as it has not, and any JSON in their place."""
    folder = target.bridge.folders.value[0]
    fitting = arguments(TOOLS[name], folder).map(lambda value: json.dumps(value).encode())

    @tries(40)
    @given(st.one_of(fitting, fitting, fitting, VALUES.map(lambda value: json.dumps(value).encode())))
    def every(text: bytes) -> None:
        target.do(call(target, name, text))

    every()


def test_calls_of_every_kind(target: Target) -> None:
    """Names that are no tool's, params that are none, and arguments that no parser takes."""

    @tries(40)
    @given(st.sampled_from(sorted(TOOLS)) | ANY_TEXT, ODD_JSON)
    def every(name: str, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            return  # not in a text frame
        target.do(call(target, name, text))

    every()
