"""A front-end that answers late, twice, or dies in the middle of an answer: agents are served as they should be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from pairside import testing
from pairside.editors import frontend as editors
from tests.conftest import Address, agent
from tests.front_end import FrontEnd, front_end

SECONDS = 5.0


@pytest.fixture(autouse=True)
def throwaway(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process serves: all that it knows is a throwaway home."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("CLAUDE_CONFIG_DIR", "CLAUDECODE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


@contextlib.asynccontextmanager
async def scene(workspace: Path) -> AsyncIterator[tuple[FrontEnd, testing.Agent, asyncio.Task[int]]]:
    """A front-end, and an agent that is served for it."""
    async with front_end() as (editor, serving):
        hello = {"protocol": 1, "folders": [str(workspace)], "editor": {"name": "Ned"}}
        welcome = await editor.request("hello", hello)
        token = json.loads(Path(welcome["lock_file"]).read_text())["authToken"]
        async with agent(Address(welcome["port"], token)) as one:
            yield editor, one, serving


def documents(path: Path) -> dict[str, Any]:
    return {"documents": [{"path": str(path), "lines": 1, "language": "x", "active": True}]}


async def changed(editor: FrontEnd, verb: Callable[[Any], Any]) -> None:
    """Other files are open, and this answers which."""
    editor.verbs["documents/list"] = verb
    await editor.notify("documents/changed")
    await editor.settle()


async def names(one: testing.Agent) -> list[str]:
    """The open files as the agent is told them."""
    return [tab["label"] for tab in json.loads((await one.call("getOpenEditors"))[0])["tabs"]]


async def test_an_answer_that_comes_too_late_is_nobodys(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent was told that the editor is busy; the late answer is not taken for that of the next question."""
    monkeypatch.setattr(editors, "ANSWER_SECONDS", 0.3)
    come = asyncio.Event()

    async def late() -> dict[str, Any]:
        await come.wait()
        return documents(workspace / "late")

    async with scene(workspace) as (editor, one, _):
        await changed(editor, lambda params: late())
        with pytest.raises(RuntimeError, match="busy"):
            await one.call("getOpenEditors")
        assert any(method == "$/cancelRequest" for method, _ in editor.told) or await editor.wait_told(
            "$/cancelRequest"
        )
        come.set()
        await changed(editor, lambda params: documents(workspace / "new"))
        assert await names(one) == ["new"]
        assert await names(one) == ["new"]


async def test_of_two_answers_to_one_question_the_first_counts(workspace: Path) -> None:
    """The second is an answer to nothing, and the conversation goes on."""
    async with scene(workspace) as (editor, one, _):

        def twice(params: Any) -> dict[str, Any]:
            # The ids of pairside count up: this is the answer to what it asked last, before our own.
            for id in range(1, 50):
                editor.channel.post(json.dumps({"jsonrpc": "2.0", "id": id, "result": documents(workspace / "first")}))
            return documents(workspace / "second")

        await changed(editor, twice)
        assert await names(one) == ["first"]
        await changed(editor, lambda params: documents(workspace / "third"))
        assert await names(one) == ["third"]


async def test_a_front_end_that_dies_in_the_middle_of_an_answer_ends_the_server(workspace: Path) -> None:
    """Without an answer to the agent: its question stays in its terminal; the lock file is gone."""
    async with scene(workspace) as (editor, one, serving):
        asked = asyncio.Event()

        async def never() -> dict[str, Any]:
            asked.set()
            await asyncio.Event().wait()
            return {}

        editor.verbs["review/show"] = lambda params: never()
        proposal = asyncio.create_task(one.propose(str(workspace / "a"), "x\n"))
        await asyncio.wait_for(asked.wait(), SECONDS)
        editor.channel._transport.write(b'Content-Length: 5000\r\n\r\n{"jsonrpc": "2.0", "id": 1, "resu')
        editor.channel._transport.close()
        assert await asyncio.wait_for(serving, SECONDS) == 0
        await asyncio.wait_for(one.socket.wait_closed(), SECONDS)
        assert one.socket.close_code == 1001
        with pytest.raises(ConnectionClosed):
            await proposal
    assert not list(Path.home().rglob("[0-9]*.lock"))
