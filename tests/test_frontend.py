"""The editor at the other end of two pipes: a scripted front-end, real agents."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed

from pairside import jsonrpc, runtime, testing
from pairside.agents.claude import discovery
from pairside.bridge import Bridge
from pairside.editors import frontend as module
from pairside.jsonrpc import RpcError
from pairside.peer import Reason

from .conftest import Address, agent
from .front_end import FrontEnd, front_end
from .until import until


class Scene(NamedTuple):
    """A front-end that was welcomed, and how an agent reaches its server."""

    editor: FrontEnd
    welcome: dict[str, Any]
    serving: asyncio.Task[int]
    address: Address

    def agent(self, **options: Any) -> contextlib.AbstractAsyncContextManager[testing.Agent]:
        """An agent that connects."""
        return agent(self.address, **options)


def hello(*folders: Path, **more: Any) -> dict[str, Any]:
    """How a front-end introduces itself."""
    return {
        "protocol": 1,
        "editor": {"name": "Ned", "version": "0.1"},
        "version": "1.2.3",
        "folders": list(map(str, folders)),
        **more,
    }


@contextlib.asynccontextmanager
async def scene(*folders: Path, **more: Any) -> AsyncIterator[Scene]:
    """A front-end that has said hello."""
    async with front_end() as (editor, serving):
        welcome = await editor.request("hello", hello(*folders, **more))
        lock = discovery.read(welcome["lock_file"])
        assert lock is not None
        yield Scene(editor, welcome, serving, Address(welcome["port"], lock.token))


async def shown(scene: Scene) -> Any:
    """What the editor was asked to show last."""
    await until(lambda: any(method == "review/show" for method, _ in scene.editor.asked), "a review is shown")
    return [params for method, params in scene.editor.asked if method == "review/show"][-1]


# The start and the end.


async def test_hello_is_answered_when_agents_can_connect_and_says_what_a_terminal_needs(workspace: Path) -> None:
    """The lock file carries the editor's name and folders; each agent's environment has what that agent takes."""
    async with scene(workspace) as at:
        lock = discovery.read(at.welcome["lock_file"])
        assert lock is not None
        assert (lock.ide, lock.folders, lock.port, lock.pid) == (
            "Ned",
            (str(workspace),),
            at.welcome["port"],
            os.getpid(),
        )
        environment = at.welcome["environment"]
        assert environment["claude"]["set"]["CLAUDE_CODE_SSE_PORT"] == str(lock.port)
        assert environment["opencode"]["unset"] == ["CLAUDE_CODE_SSE_PORT"]
        async with at.agent() as one:
            folders = json.loads((await one.call("getWorkspaceFolders"))[0])
            assert folders["rootPath"] == str(workspace)


async def test_nothing_is_said_to_a_front_end_before_hello_is_answered(workspace: Path) -> None:
    """The first message of all is the answer: the front-end has nothing to show anything with before."""
    async with front_end() as (editor, _):
        before: list[int] = []
        asking = asyncio.create_task(editor.request("hello", hello(workspace)))
        asking.add_done_callback(lambda _: before.append(len(editor.told) + len(editor.asked)))
        await asking
        await editor.wait_told("status")
        assert before == [0]


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"protocol": 2}, "version 1 of the front-end protocol, and the front-end version 2"),
        ({"folders": []}, "names no folder"),
        ({"folders": ["relative", "/no/such/folder"]}, "none of the folders exists"),
        ({"settings": {"serve.ports": "high"}}, "MIN-MAX"),
        ({"settings": {"serve.prots": "1-2"}}, "serve.prots"),
    ],
)
async def test_a_hello_that_cannot_be_met_is_answered_with_the_reason(
    workspace: Path, params: dict[str, Any], complaint: str
) -> None:
    """For the person, and without a word of ours that they cannot act upon."""
    async with front_end() as (editor, serving):
        with pytest.raises(RpcError) as refused:
            await editor.request("hello", {**hello(workspace), **params})
        assert complaint in refused.value.message
        assert "Traceback" not in refused.value.message
        assert await asyncio.wait_for(serving, 5) == 1


@pytest.mark.parametrize("way", ["end of input", "exit", "half a message", "no header"])
async def test_when_the_editor_leaves_the_server_ends_and_its_lock_file_goes(workspace: Path, way: str) -> None:
    """However it leaves; the agents are told, each once."""
    async with scene(workspace) as at, at.agent() as one:
        if way == "exit":
            await at.editor.notify("exit")
        elif way == "end of input":
            at.editor.channel.close()
        else:
            at.editor.channel._transport.write(
                b"Content-Length: 100\r\n\r\n{" if way == "half a message" else b"\r\n\r\n"
            )
            if way == "half a message":
                at.editor.channel._transport.close()
        assert await asyncio.wait_for(at.serving, 5) == (1 if way == "no header" else 0)
        await asyncio.wait_for(one.socket.wait_closed(), 5)
        assert one.socket.close_code == 1001
        assert not os.path.exists(at.welcome["lock_file"])


async def test_an_editor_that_leaves_before_it_is_welcomed_leaves_no_server(
    workspace: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be quit as soon as it is started: the process ends, and its lock file is not left to mislead agents."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with front_end() as (editor, serving):
        await editor.channel.send(jsonrpc.request(1, "hello", hello(workspace)))
        editor.channel._transport.close()
        assert await asyncio.wait_for(serving, 5) == 0
    assert not list(discovery.locks(environment))


async def test_a_front_end_that_restarts_pairside_finds_port_and_token_again(workspace: Path) -> None:
    """The process is another then; here the record says that this one is alive, so only that it is left is seen."""
    async with scene(workspace) as at:
        record = Path(runtime.record_path(runtime.location(os.environ), at.welcome["port"]))
        assert record.exists()
        await at.editor.notify("exit", {"restart": True})
        await asyncio.wait_for(at.serving, 5)
        assert record.exists()
        assert not os.path.exists(at.welcome["lock_file"])


async def test_a_front_end_that_breaks_the_protocol_has_to_notice_it(workspace: Path) -> None:
    """The status is 1 then, and the log says what was wrong."""
    for garbage in (b"\r\n\r\n", b"Content-Length: -5\r\n\r\n", b"Content-Length: 999999999999\r\n\r\n"):
        async with scene(workspace) as at:
            at.editor.channel._transport.write(garbage)
            assert await asyncio.wait_for(at.serving, 5) == 1


async def test_who_asks_to_exit_before_hello_is_let_go(workspace: Path) -> None:
    """Nothing was started, and nothing is left."""
    async with front_end() as (editor, serving):
        await editor.notify("exit")
        assert await asyncio.wait_for(serving, 5) == 0


# Facts.


async def selection_of(one: testing.Agent) -> tuple[str, list[int]]:
    """The text that is selected, and where: line and column of start and end."""
    told = json.loads((await one.call("getCurrentSelection"))[0])
    places = told["selection"]
    return told["text"], [places[end][key] for end in ("start", "end") for key in ("line", "character")]


def fact(path: Path, text: str, *places: int, **more: Any) -> dict[str, Any]:
    """A selection as the front-end reports it."""
    return {"path": str(path), "text": text, "start": places[:2], "end": places[2:], **more}


async def test_a_selection_that_was_left_stands_until_the_cursor_moves_away(workspace: Path) -> None:
    """The person is on the way to the agent's terminal; the moment they move in the file, it is gone."""
    file = workspace / "a.py"
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.notify("selection", fact(file, "two\n", 1, 0, 2, 0))
        await at.editor.notify("selection", fact(file, "", 1, 3, 1, 3))
        await at.editor.settle()
        assert await selection_of(one) == ("two\n", [1, 0, 2, 0])
        await at.editor.notify("selection", fact(file, "", 1, 3, 1, 3))
        await asyncio.sleep(2 * module.DEMOTION_SECONDS)
        assert await selection_of(one) == ("two\n", [1, 0, 2, 0])
        await at.editor.notify("selection", fact(file, "", 5, 1, 5, 1))
        await at.editor.notify("selection", fact(file, "", 6, 1, 6, 1))
        await asyncio.sleep(2 * module.DEMOTION_SECONDS)
        assert await selection_of(one) == ("", [6, 1, 6, 1])


async def test_where_a_selection_was_left_is_known_from_its_own_cursor(workspace: Path) -> None:
    """So a cursor that has moved before its first report lets go of it."""
    file = workspace / "a.py"
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.notify("selection", fact(file, "two\n", 1, 0, 2, 0, cursor=[1, 3]))
        await at.editor.notify("selection", fact(file, "", 4, 0, 4, 0))
        await at.editor.settle()
        await asyncio.sleep(2 * module.DEMOTION_SECONDS)
        assert await selection_of(one) == ("", [4, 0, 4, 0])


async def test_a_new_selection_or_another_file_counts_at_once(workspace: Path) -> None:
    """Nothing lingers: not when the person selects again while the old one is being let go of."""
    file, other = workspace / "a.py", workspace / "b.py"
    async with scene(workspace, demotion_seconds=0.2) as at, at.agent() as one:
        await at.editor.notify("selection", fact(file, "two\n", 1, 0, 2, 0))
        await at.editor.notify("selection", fact(file, "", 1, 0, 1, 0))
        await at.editor.notify("selection", fact(file, "", 2, 0, 2, 0))
        await at.editor.notify("selection", fact(file, "three", 2, 0, 2, 5))
        await at.editor.settle()
        assert await selection_of(one) == ("three", [2, 0, 2, 5])
        await asyncio.sleep(0.3)
        assert await selection_of(one) == ("three", [2, 0, 2, 5])
        await at.editor.notify("selection", fact(other, "", 7, 0, 7, 0))
        await at.editor.settle()
        assert await selection_of(one) == ("", [7, 0, 7, 0])


async def test_a_file_that_is_called_by_a_link_is_known_by_its_real_path_and_excluded_by_either_name(
    workspace: Path,
) -> None:
    """A pattern on the name that the person uses keeps the file from agents."""
    real = workspace / "plain.txt"
    real.write_text("x")
    (workspace / "link.txt").symlink_to(real)
    (workspace / ".env").symlink_to(real)
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.notify("selection", fact(workspace / "link.txt", "x", 0, 0, 0, 1))
        await at.editor.settle()
        assert json.loads((await one.call("getCurrentSelection"))[0])["filePath"] == str(real)
        await at.editor.notify("selection", fact(workspace / ".env", "x", 0, 0, 0, 1))
        await at.editor.settle()
        assert json.loads((await one.call("getCurrentSelection"))[0])["success"] is False


async def test_other_folders_reach_lock_file_and_agents_together(workspace: Path, tmp_path: Path) -> None:
    """With the same token, and only folders that exist."""
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.notify(
            "folders", {"folders": [str(tmp_path), str(workspace), str(tmp_path / "gone"), "relative"]}
        )
        await at.editor.settle()
        folders = (str(tmp_path.resolve()), str(workspace))
        told = json.loads((await one.call("getWorkspaceFolders"))[0])
        assert tuple(folder["path"] for folder in told["folders"]) == folders

        def written() -> bool:
            lock = discovery.read(at.welcome["lock_file"])
            return lock is not None and lock.folders == folders and lock.token == at.address.token

        await until(written, "the lock file has the folders")


async def test_documents_are_asked_for_once_until_they_change(workspace: Path) -> None:
    """An agent that asks again is answered without the editor."""
    file = str(workspace / "a.py")
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.wait_told("status")

        def asked() -> int:
            return sum(method == "documents/list" for method, _ in at.editor.asked)

        at.editor.verbs["documents/list"] = lambda params: {
            "documents": [{"path": file, "lines": 3, "active": True, "dirty": True}]
        }
        await at.editor.notify("documents/changed")
        await at.editor.settle()
        count = asked()
        for _ in range(3):
            (tab,) = json.loads((await one.call("getOpenEditors"))[0])["tabs"]
            assert (tab["fileName"], tab["languageId"], tab["lineCount"], tab["isDirty"]) == (file, "python", 3, True)
        assert asked() == count + 1
        at.editor.verbs["documents/list"] = lambda params: {"documents": []}
        await at.editor.notify("documents/changed")
        await at.editor.settle()
        assert json.loads((await one.call("getOpenEditors"))[0])["tabs"] == []


async def test_a_list_that_changes_while_it_is_answered_is_asked_for_again(workspace: Path) -> None:
    """The change may be one that the answer does not have yet."""
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.wait_told("status")
        count = 0

        async def listed(params: Any) -> Any:
            nonlocal count
            count += 1
            await at.editor.notify("documents/changed")
            return {"documents": []}

        at.editor.verbs["documents/list"] = listed
        await at.editor.notify("documents/changed")
        await at.editor.settle()
        await one.call("getOpenEditors")
        await one.call("getOpenEditors")
        assert count == 2


@pytest.mark.parametrize("read", [0, 30, 70], ids=["nothing of it", "a piece of the header", "a piece of the body"])
async def test_what_the_editor_has_said_but_nobody_has_read_yet_counts(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    """The list is asked for again while a message of the editor waits, whatever it says: it may be that the list is
    another now, and the agent's question comes on another socket, which may be read first."""
    editors: list[module.FrontendEditor] = []
    attach = module.FrontendEditor.attach

    def attached(self: module.FrontendEditor, bridge: Bridge, **rest: Any) -> None:
        editors.append(self)
        attach(self, bridge, **rest)

    monkeypatch.setattr(module.FrontendEditor, "attach", attached)
    async with scene(workspace) as at:
        (editor,) = editors
        await at.editor.wait_told("status")
        assert await editor.documents() == () == await editor.documents()
        assert not editor.channel.unread
        at.editor.verbs["documents/list"] = lambda params: {
            "documents": [{"path": str(workspace / "a.py"), "lines": 3, "active": True}]
        }
        body = jsonrpc.notification("documents/changed", {}).encode()
        message = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        pipe = at.editor.channel._transport.get_extra_info("pipe").fileno()
        if read:
            os.write(pipe, message[:read])
            await until(lambda: editor.channel._arrivals.bytes - editor.channel._taken_bytes == read, "it is read")
        asked = asyncio.create_task(editor.documents()) if read else editor.documents()
        if read:
            await asyncio.sleep(0)  # it has seen that something came
        os.write(pipe, message[read:])
        assert [one.path for one in await asked] == [str(workspace / "a.py")]
        assert not editor.channel.unread


async def test_a_fact_that_is_rubbish_changes_nothing_and_the_next_one_counts(workspace: Path) -> None:
    """A front-end under construction is told nothing, and the log says what was wrong."""
    file = workspace / "a.py"
    async with scene(workspace) as at, at.agent() as one:
        rubbish: list[Any] = [{"path": 5}, {"path": "relative", "text": "x"}, {"path": str(file), "start": [-1, 0]}, []]
        for params in rubbish:
            await at.editor.peer.notify("selection", params)
        await at.editor.notify("no/such/fact", {})
        at.editor.channel.post('{"jsonrpc": "2.0", "method": "selection", "params": {"path": ')
        await at.editor.notify("selection", fact(file, "ok", 0, 0, 0, 2))
        await at.editor.settle()
        assert (await selection_of(one))[0] == "ok"


async def test_a_text_that_is_not_unicode_is_told_with_replacement_characters(workspace: Path) -> None:
    """Neovim has such texts; the agent's connection must survive them."""
    file = workspace / "a.py"
    async with scene(workspace) as at, at.agent() as one:
        body = jsonrpc.notification("selection", fact(file, "a?b", 0, 0, 0, 3)).encode().replace(b"a?b", b"a\xffb")
        at.editor.channel._transport.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await at.editor.settle()
        assert (await selection_of(one))[0] == "a\ufffdb"


# Reviews.


async def test_a_proposal_is_shown_and_accepted_as_it_is_without_its_text_coming_back(workspace: Path) -> None:
    """So nothing that an editor does to a text can change it."""
    file = workspace / "a.py"
    file.write_text("old\n")
    async with scene(workspace) as at, at.agent(introduce=os.getpid()) as one:
        answer = asyncio.create_task(one.propose(str(file), "new, no newline"))
        asked = await shown(at)
        assert (asked["path"], asked["text"], asked["new"], asked["agent"]) == (
            str(file), "new, no newline", False, "Claude Code",
        )  # fmt: skip
        decided = await at.editor.request("review/decided", {"id": asked["id"], "outcome": "accepted"})
        assert decided == {"outcome": "accepted", "by": "Ned"}
        assert await answer == ["FILE_SAVED", "new, no newline"]
        assert (await at.editor.wait_told("review/hide"))["id"] == asked["id"]
        assert (await at.editor.wait_event("decided"))["by"] == "Ned"


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        ({"outcome": "accepted", "text": "mine\n"}, ["FILE_SAVED", "mine\n"]),
        ({"outcome": "accepted", "text": ""}, ["FILE_SAVED", ""]),
        ({"outcome": "accepted", "hunks": [2]}, ["FILE_SAVED", "1\n2\n3\n4\n5\n6\nseven\n"]),
        ({"outcome": "accepted", "hunks": []}, ["DIFF_REJECTED"]),
        ({"outcome": "rejected"}, ["DIFF_REJECTED"]),
    ],
)
async def test_what_the_person_makes_of_a_proposal_is_what_the_agent_gets(
    workspace: Path, verdict: dict[str, Any], answer: list[str]
) -> None:
    """Their own text, some of the hunks, or nothing."""
    file = workspace / "a.py"
    file.write_text("1\n2\n3\n4\n5\n6\n7\n")
    async with scene(workspace) as at, at.agent() as one:
        waiting = asyncio.create_task(one.propose(str(file), "one\n2\n3\n4\n5\n6\nseven\n"))
        id = (await shown(at))["id"]
        original = await at.editor.request("review/original", {"id": id})
        assert original == {"text": file.read_text(), "hunks": [[0, 1, 0, 1], [6, 1, 6, 1]]}
        await at.editor.request("review/decided", {"id": id, **verdict})
        assert (await waiting)[: len(answer)] == answer


@pytest.mark.parametrize(
    "verdict",
    [
        {"outcome": "accepted", "text": "x", "hunks": [1]},
        {"outcome": "accepted", "hunks": None},
        {"outcome": "accepted", "text": None},
        {"outcome": "rejected", "text": "x"},
        {"outcome": "maybe"},
        {"outcome": "accepted", "hunks": [7]},
    ],
)
async def test_a_verdict_that_does_not_fit_decides_nothing(workspace: Path, verdict: dict[str, Any]) -> None:
    """A null is not the same as nothing said: it must not accept what the person left out."""
    async with scene(workspace) as at, at.agent() as one:
        waiting = asyncio.create_task(one.propose(str(workspace / "a.py"), "x"))
        id = (await shown(at))["id"]
        with pytest.raises(RpcError):
            await at.editor.request("review/decided", {"id": id, **verdict})
        assert not waiting.done()
        await at.editor.request("review/decided", {"id": id, "outcome": "rejected"})
        assert (await waiting)[0] == "DIFF_REJECTED"


async def test_whoever_decides_second_is_told_who_was_first(workspace: Path) -> None:
    """And its windows go by the same notification as always."""
    async with scene(workspace) as at, at.agent() as one:
        waiting = asyncio.create_task(one.propose(str(workspace / "a.py"), "x", name="tab"))
        id = (await shown(at))["id"]
        await one.call("close_tab", tab_name="tab")
        await at.editor.wait_told("review/hide", lambda told: told["id"] == id)
        with pytest.raises(RpcError, match="withdrawn by Claude Code itself"):
            await at.editor.request("review/decided", {"id": id, "outcome": "accepted"})
        assert (await waiting)[0] == "DIFF_REJECTED"


async def test_an_editor_that_refuses_a_proposal_says_why_to_the_agent(workspace: Path) -> None:
    """A file with unsaved changes: the question stays in the agent's terminal."""
    async with scene(workspace) as at, at.agent() as one:
        at.editor.verbs["review/show"] = lambda params: {"failure": "a.py has unsaved changes: :w or :e!"}
        with pytest.raises(RuntimeError, match="unsaved changes: :w or :e!"):
            await one.propose(str(workspace / "a.py"), "x")
        assert (await at.editor.wait_told("review/hide"))["id"] == 1


async def test_a_proposal_waits_for_a_busy_editor_and_can_be_decided_elsewhere_meanwhile(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than any other question: an editor at a prompt may be there for an hour."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    async with scene(workspace) as at, at.agent() as one:
        never = asyncio.get_running_loop().create_future()
        at.editor.verbs["review/show"] = lambda params: asyncio.wait_for(never, 5)
        waiting = asyncio.create_task(one.propose(str(workspace / "a.py"), "x"))
        id = (await shown(at))["id"]
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await at.editor.request("review/accept", {"id": id})
        assert await waiting == ["FILE_SAVED", "x"]


async def test_when_the_editor_leaves_a_pending_proposal_is_not_answered(workspace: Path) -> None:
    """The agent's question stays usable in its own terminal."""
    async with scene(workspace) as at, at.agent() as one:
        waiting = asyncio.create_task(one.propose(str(workspace / "a.py"), "x"))
        await shown(at)
        at.editor.channel.close()
        with pytest.raises(ConnectionClosed):
            await waiting
        assert one.socket.close_code == 1001


async def test_while_reviews_are_answered_in_the_terminal_the_editor_is_shown_none(workspace: Path) -> None:
    """A switch of the person's, at any time, and an event for whoever watches."""
    async with scene(workspace) as at, at.agent() as one:
        assert await at.editor.request("review/where", {"where": "terminal"}) == {"where": "terminal"}
        with pytest.raises(RuntimeError, match=r"review\.where is terminal"):
            await one.propose(str(workspace / "a.py"), "x")
        assert (await at.editor.wait_event("review-where"))["here"] is False
        assert await at.editor.request("review/where", {"where": "here"}) == {"where": "here"}
        waiting = asyncio.create_task(one.propose(str(workspace / "a.py"), "x"))
        await at.editor.request("review/decided", {"id": (await shown(at))["id"], "outcome": "rejected"})
        assert (await waiting)[0] == "DIFF_REJECTED"


# A busy editor.


async def test_an_editor_that_does_not_answer_in_time_fails_the_tool_and_nothing_else(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late answer goes nowhere; the agent and the editor work on."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    (workspace / "a.py").write_text("x\n")
    async with scene(workspace) as at, at.agent() as one:
        answered = asyncio.Event()

        async def late(params: Any) -> Any:
            await asyncio.wait_for(answered.wait(), 5)
            return {}

        at.editor.verbs["file/open"] = late
        with pytest.raises(RuntimeError, match=r"Ned is busy: no answer within 0\.05 seconds"):
            await one.call("openFile", filePath=str(workspace / "a.py"))
        assert (await one.request("ping")) == {}
        answered.set()
        at.editor.verbs["file/open"] = lambda params: {}
        assert (await one.call("openFile", filePath=str(workspace / "a.py")))[0].startswith("Opened file")


@pytest.mark.parametrize("answer", [None, {"documents": 5}, {"documents": [{"path": "relative"}]}, [], "x"])
async def test_rubbish_from_the_editor_becomes_an_error_that_names_the_verb(workspace: Path, answer: Any) -> None:
    """And not a stack trace, neither to the agent nor as the end of anything."""
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.wait_told("status")
        await at.editor.notify("documents/changed")
        at.editor.verbs["documents/list"] = lambda params: answer
        with pytest.raises(RuntimeError, match="Ned gave no good answer to documents/list"):
            await one.call("getOpenEditors")
        assert (await one.request("ping")) == {}


async def test_an_editor_that_takes_nothing_costs_a_bounded_amount_and_is_told_everything_later(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions fail at once behind too much; what must not be lost, that a review is over, is not."""
    monkeypatch.setattr(module, "UNSENT_BYTES", 1024 * 1024)
    async with scene(workspace) as at, at.agent() as one:
        await at.editor.wait_told("status")
        at.editor.channel._reading.pause_reading()
        pending = [
            asyncio.create_task(one.propose(str(workspace / f"{number}.py"), "x" * 400_000, name=str(number)))
            for number in range(8)
        ]
        done, _ = await asyncio.wait(pending, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert done, "no proposal failed although nothing was taken"
        for failed in done:
            assert "takes nothing" in str(failed.exception())
        (await one.request("ping"))
        await one.call("closeAllDiffTabs")
        at.editor.channel._reading.resume_reading()
        ends = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 5)
        assert all(
            end[0] == "DIFF_REJECTED" if isinstance(end, list) else isinstance(end, RuntimeError) for end in ends
        )

        def over() -> bool:
            asked = {params["id"] for method, params in at.editor.asked if method == "review/show"}
            hidden = {params["id"] for method, params in at.editor.told if method == "review/hide"}
            return bool(asked) and asked <= hidden

        await until(over, "every review that was shown is hidden again")


# What the editor is told.


async def test_the_editor_is_told_who_comes_and_goes_and_the_whole_status_besides(workspace: Path) -> None:
    """Without a null anywhere: a Lua table cannot tell it from something."""
    async with scene(workspace) as at:
        async with at.agent(introduce=os.getpid()):
            await at.editor.wait_told("status", lambda told: told["client_count"] == 1)
        gone = await at.editor.wait_event("disconnected")
        assert gone["reason"] == Reason.CLOSED
        await at.editor.wait_told("status", lambda told: told["client_count"] == 0 and told["disconnects"] == 1)
        assert "null" not in json.dumps(at.editor.told)


async def test_a_front_end_can_do_what_the_command_line_can(workspace: Path) -> None:
    """Mention, share, look at the log: by the methods of observers, in its own name."""
    file = workspace / "a.py"
    file.write_text("x\n")
    async with scene(workspace) as at, at.agent(introduce=os.getpid()) as one:
        await at.editor.wait_event("introduced")
        told = await at.editor.request("mention", {"path": str(file), "first": 0, "last": 0})
        if not told["delivered"]:
            assert told["waits_seconds"] > 0
        assert (await one.wait_told("at_mentioned"))["lineStart"] == 0
        clients = (await at.editor.request("status"))["clients"]
        assert (await at.editor.request("mention", {"path": str(file), "client_id": clients[0]["id"]}))["delivered"]
        with pytest.raises(RpcError, match="there is no client 99"):
            await at.editor.request("mention", {"path": str(file), "client_id": 99})
        assert (await at.editor.request("share", {"on": False}))["on"] is False
        with pytest.raises(RpcError, match="select is done in Ned itself"):
            await at.editor.request("select", {"path": str(file)})


async def test_whoever_stops_or_restarts_the_server_is_named_to_the_editor_first(workspace: Path) -> None:
    """So that it is not taken for a crash."""
    async with scene(workspace) as at:
        await at.editor.request("stop")
        assert await at.editor.wait_told("stopping") == {"by": "Ned"}
        assert await asyncio.wait_for(at.serving, 5) == 0


# The process.


async def test_the_process_speaks_nothing_but_the_protocol_and_ends_with_its_input(
    workspace: Path, environment: dict[str, str]
) -> None:
    """A real child: its output holds framed messages only, its status is 0, its lock file is gone."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pairside", "frontend", cwd=workspace, env=environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    body = jsonrpc.request(1, "hello", hello(workspace)).encode()
    process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    header = await asyncio.wait_for(process.stdout.readuntil(b"\r\n\r\n"), 10)
    answer = json.loads(await process.stdout.readexactly(int(header.split(b":")[1])))
    lock = answer["result"]["lock_file"]
    assert os.path.exists(lock)
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not os.path.exists(lock)
    assert await process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_ends_the_process_as_the_end_of_its_input_does(
    workspace: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    """Before hello too: nothing is left behind."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        "sys.argv[1:] = ['frontend']; from pairside.__main__ import main; main()",
        cwd=workspace, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    body = jsonrpc.request(1, "hello", hello(workspace)).encode()
    process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await asyncio.wait_for(process.stdout.readuntil(b"\r\n\r\n"), 10)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not list(Path(environment["HOME"]).rglob("*.lock"))
