"""Hostile front-ends: the process ends with its own exit status, or serves on; agents are answered all the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairside.agents.claude import discovery
from pairside.cli import frontend
from pairside.jsonrpc import RpcError
from pairside.testing import Agent
from tests.conftest import Address, agent
from tests.front_end import FrontEnd, _Quiet, front_end
from tests.until import until

from .strategies import ANY_TEXT, ODD_JSON, VALUES, cut, mutated
from .target import CODES, SECONDS, Defects, is_answer, tries, turning, watched
from .test_observers import FOUND, METHODS, SPOTS
from .test_tools import paths

ASKED = sorted(set(METHODS) - {"stop", "restart"})
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": 1, "folders": ["/nonexistent"]}}


def framed(body: bytes) -> bytes:
    """A message behind its header."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


HEADERS = st.sampled_from(
    [
        *(b"Content-Length: %b\r\n\r\n" % value for value in (b"5", b"-1", b"1e3", b"9" * 14, b"\xb2", b"1" * 5000)),
        "Content-Length: ٣\r\n\r\n".encode(),
        b"content-length:2\r\n\r\n",
        b"\r\n\r\n",
        b"X: 1\r\n\r\n",
        b"x" * 300_000,
        b"Content-Length: 3\n\n{}",
        b"Content-Type: x\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ]
)


@pytest.fixture
def defects() -> Iterator[Defects]:
    """What is logged as a defect of ours; that the front-end broke the protocol is none."""
    with watched() as noted:
        noted.addFilter(lambda record: "the front-end broke the protocol" not in record.getMessage())
        yield noted


async def feed(pieces: list[bytes]) -> tuple[int, bytes]:
    """Start the process's own conversation, say this and nothing after it; its exit status, and what it said."""
    (there, back), (here, forth) = os.pipe(), os.pipe()
    serving = asyncio.create_task(
        frontend._serve(os.fdopen(there, "rb", 0), os.fdopen(forth, "wb", 0), _Quiet())  # type: ignore[arg-type]
    )
    loop = asyncio.get_running_loop()
    answers = asyncio.StreamReader()
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(here, "rb", 0))
    writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(back, "wb", 0))
    try:
        for piece in pieces:
            writing.write(piece)
            await asyncio.sleep(0)
        writing.close()
        async with asyncio.timeout(SECONDS):
            return await serving, await answers.read()
    finally:
        reading.close()
        if writing.get_write_buffer_size():  # nobody will ever take it
            writing.abort()


def test_bytes_of_every_kind_on_standard_input(defects: Defects) -> None:
    """Broken headers and bodies end the process with 0 or 1, at once; what it says is answers and nothing else."""

    @tries(80)
    @given(
        cut(
            st.lists(
                HEADERS
                | st.binary(max_size=40)
                | ODD_JSON.map(framed)
                | mutated(st.just(framed(json.dumps(HELLO).encode()))),
                max_size=4,
            ).map(b"".join)
        )
    )
    def every(pieces: list[bytes]) -> None:
        status, said = asyncio.run(feed(pieces))
        assert status in (0, 1)
        while said:
            head, _, said = said.partition(b"\r\n\r\n")
            length = int(head.partition(b":")[2])
            message, said = json.loads(said[:length]), said[length:]
            assert is_answer(message)
        defects.check()

    every()


HELLOS = st.fixed_dictionaries(
    {},
    optional={
        "protocol": st.sampled_from([1, 1, 1, 0, 2, "1", None, 1.0]),
        "folders": st.sampled_from([["/nonexistent"], [], ["\0"], ["relative"], ["\ud800"], None, [5]]) | VALUES,
        "editor": st.fixed_dictionaries({}, optional={"name": ANY_TEXT | VALUES}) | VALUES,
        "settings": st.dictionaries(ANY_TEXT | st.sampled_from(["serve.ports", "limits.calls"]), ANY_TEXT, max_size=2)
        | VALUES,
        "demotion_seconds": st.floats() | VALUES,
    },
)


_AFTERWARDS: list[dict[str, Any]] = [
    {"method": "exit"},
    {"method": "exit", "params": {"restart": True}},
    {"method": "selection", "params": {}},
    {"method": "hello", "id": 2, "params": HELLO["params"]},
    {"method": "status", "id": 3},
    {"method": "stop", "id": 4},
    {"id": 1, "result": {}},
]
AFTERWARDS = st.sampled_from(_AFTERWARDS).map(lambda one: framed(json.dumps({"jsonrpc": "2.0", **one}).encode()))


def test_introductions_of_every_kind(workspace: Path, environment: dict[str, str], defects: Defects) -> None:
    """A hello that does not fit is answered with an error; whatever follows, the process ends with its input."""

    @tries(40)
    @given(HELLOS | VALUES, st.booleans(), st.lists(AFTERWARDS | HEADERS, max_size=3))
    def every(params: Any, real: bool, afterwards: list[bytes]) -> None:
        if real and isinstance(params, dict):
            params = {"protocol": 1, **params, "folders": [str(workspace)]}
        text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": params}).encode()
        status, said = asyncio.run(feed([framed(text), *afterwards]))
        assert status in (0, 1)
        while said:
            head, _, said = said.partition(b"\r\n\r\n")
            length = int(head.partition(b":")[2])
            message, said = json.loads(said[:length]), said[length:]
            assert "method" in message or is_answer(message)
        assert not list(discovery.locks(environment)), "no lock file is left"
        defects.check()

    every()


class Scene:
    """A front-end that said hello, and an agent of its server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, editor: FrontEnd, good: Agent, defects: Defects) -> None:
        self.editor = editor
        self.good = good
        self._loop = loop
        self._defects = defects

    def do(self, work: Any) -> Any:
        """Do something in bounded time; the agent is served on."""

        async def whole() -> Any:
            async with asyncio.timeout(SECONDS):
                value = await work
                await self.editor.request("review/where")
                assert await self.good.request("ping") == {}
                return value

        try:
            return self._loop.run_until_complete(whole())
        finally:
            self._defects.check()


@pytest.fixture
def scene(workspace: Path, defects: Defects) -> Iterator[Scene]:
    """A server behind a front-end, for as long as a test runs."""
    (workspace / "file.txt").write_text("one\ntwo\n")
    with turning(defects) as (loop, stack):

        async def start() -> Scene:
            editor, _ = await stack.enter_async_context(front_end())
            welcome = await editor.request("hello", {"protocol": 1, "folders": [str(workspace)]})
            lock = discovery.read(welcome["lock_file"])
            assert lock is not None
            good = await stack.enter_async_context(agent(Address(lock.port, lock.token), introduce=100_000_000))
            return Scene(loop, editor, good, defects)

        yield loop.run_until_complete(start())


def facts(folder: str) -> st.SearchStrategy[tuple[str, Any]]:
    """Facts with such params as they have, and with any others."""
    path = paths(folder)
    position = {"start": SPOTS, "end": SPOTS | VALUES, "cursor": SPOTS | st.none()}
    names = st.lists(st.sampled_from([folder, "/nonexistent", "\0", "x", "\ud800"]))
    file = st.fixed_dictionaries({"path": path, "diagnostics": st.lists(FOUND | VALUES, max_size=2)})
    shapes: dict[str, st.SearchStrategy[Any]] = {
        "selection": st.fixed_dictionaries({}, optional={"path": path | VALUES, "text": ANY_TEXT, **position}),
        "folders": st.fixed_dictionaries({"folders": names | VALUES}),
        "document/saved": st.fixed_dictionaries({"path": path | VALUES}),
        "documents/changed": VALUES,
        "diagnostics/changed": st.fixed_dictionaries({"files": st.lists(file, max_size=2)}),
        "no/such": VALUES,
    }
    return st.one_of(*(st.tuples(st.just(name), one | VALUES) for name, one in shapes.items()))


def test_facts_of_every_kind(scene: Scene, workspace: Path) -> None:
    """What does not fit is passed over; the last good folders stay."""

    @tries(120)
    @given(st.lists(facts(str(workspace)), min_size=1, max_size=4))
    def every(told: list[tuple[str, Any]]) -> None:
        async def tell() -> None:
            for method, params in told:
                await scene.editor.channel.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

        scene.do(tell())

    every()


def test_requests_of_every_kind(scene: Scene, workspace: Path) -> None:
    """Each method, with params of any shape: an answer or an error for the person."""
    folder = str(workspace)
    params = st.fixed_dictionaries(
        {},
        optional={
            "id": st.integers(-1, 2) | VALUES,
            "outcome": st.sampled_from(["accepted", "rejected", "x", None]),
            "text": ANY_TEXT | st.none(),
            "hunks": st.lists(st.integers(-1, 2), max_size=2) | st.none(),
            "path": paths(folder),
        },
    )

    methods = st.sampled_from(["review/decided", "review/original", "hello", "no/such", *ASKED])

    @tries(80)
    @given(methods, params | VALUES)
    def every(method: str, params: Any) -> None:
        assert scene.do(code(scene, method, params)) in (None, *CODES)

    every()


async def code(scene: Scene, method: str, params: Any) -> int | None:
    """The code of the error that a request is answered with; None if it has a result."""
    try:
        await scene.editor.peer.request(method, params, seconds=SECONDS)
    except RpcError as error:
        return error.code
    return None


VERBS = ("documents/list", "diagnostics/get", "files/changed", "file/open", "document/save", "review/show")


def answers(folder: str) -> st.SearchStrategy[Any]:
    """Answers that fit some verb, and others."""
    path = paths(folder)
    more = {"lines": st.integers(-1, 2**40), "active": st.booleans(), "language": ANY_TEXT, "dirty": st.booleans()}
    document = st.fixed_dictionaries({"path": path}, optional=more)
    file = st.fixed_dictionaries({"path": path, "diagnostics": st.lists(FOUND, max_size=2)})
    return st.one_of(
        st.fixed_dictionaries({"failure": ANY_TEXT}),
        st.fixed_dictionaries({"documents": st.lists(document, max_size=3)}),
        st.fixed_dictionaries({"files": st.lists(file, max_size=2)}),
        st.fixed_dictionaries({"awaits": st.lists(path, max_size=2)}),
        VALUES,
    )


def test_answers_of_every_shape(scene: Scene, workspace: Path) -> None:
    """An agent's call ends with a result or with the tool's own failure, whatever the editor answers."""
    folder = str(workspace)
    path = f"{folder}/file.txt"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("getOpenEditors", {}),
        ("getDiagnostics", {}),
        ("getDiagnostics", {"uri": path}),
        ("openFile", {"filePath": path}),
        ("saveDocument", {"filePath": path}),
        ("checkDocumentDirty", {"filePath": path}),
        ("getCurrentSelection", {}),
    ]

    @tries(100)
    @given(st.sampled_from(calls), answers(folder))
    def every(call: tuple[str, dict[str, Any]], answer: Any) -> None:
        async def ask() -> None:
            for verb in VERBS:
                scene.editor.verbs[verb] = lambda params: answer
            await scene.editor.notify("documents/changed")
            result = await scene.good.request("tools/call", {"name": call[0], "arguments": call[1]})
            assert result["content"]

        scene.do(ask())

    every()


def test_answers_to_a_proposal_of_every_shape(scene: Scene, workspace: Path) -> None:
    """A proposal that the editor cannot show is over, and the agent asks in its own terminal."""
    count = 0

    @tries(40)
    @given(answers(str(workspace)))
    def every(answer: Any) -> None:
        async def propose() -> None:
            nonlocal count
            count += 1
            name = f"tab {count}"
            scene.editor.verbs["review/show"] = lambda params: answer
            asked = len(scene.editor.asked)
            proposal = asyncio.create_task(scene.good.propose(f"{workspace}/file.txt", "new\n", name=name))
            await until(lambda: any(verb == "review/show" for verb, _ in scene.editor.asked[asked:]), "it is asked")
            await scene.good.call("close_tab", tab_name=name)
            with contextlib.suppress(RuntimeError):
                assert await proposal == ["DIFF_REJECTED", name]

        scene.do(propose())

    every()
