"""Every tool: its schema, its inputs and its outputs, called by an agent of a server with the embedded editor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import UNSET, Meta, UnsetType

from pairside import testing
from pairside.bridge import Bridge
from pairside.editor import Diagnostic, Position, Range, Selection, Severity
from pairside.editors.embedded import EmbeddedEditor
from pairside.jsonrpc import Raw, RpcError
from pairside.testing import AgentError
from pairside.tools import Call, Tool, Toolbox
from pairside.tools.all import toolbox
from pairside.tools.diagnostics import toolbox as diagnostics_toolbox

from .conftest import Serve, address_of, agent
from .memory import client
from .until import until

TEXT = "alpha\nbeta gamma\n  delta 😀 beta end\nlast\n"


@dataclass
class Stage:
    """A served folder with a file `a.py` in it, and an agent."""

    bridge: Bridge
    editor: EmbeddedEditor
    agent: testing.Agent
    folder: str
    file: str

    async def json(self, tool: str, **arguments: Any) -> Any:
        """The one text of a tool's result, decoded."""
        (text,) = await self.agent.call(tool, **arguments)
        return json.loads(text)


Open = Callable[[], contextlib.AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage(serving: Serve, workspace: Path) -> Open:
    """Opens a stage."""
    (workspace / "a.py").write_text(TEXT)

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Stage]:
        async with serving() as server, agent(address_of(server)) as caller:
            assert isinstance(server.bridge.editor, EmbeddedEditor)
            yield Stage(server.bridge, server.bridge.editor, caller, str(workspace), str(workspace / "a.py"))

    return opened


def span(*numbers: int) -> dict[str, Any]:
    """A range as agents read it."""
    keys = ("line", "character")
    return {"start": dict(zip(keys, numbers[:2], strict=True)), "end": dict(zip(keys, numbers[2:], strict=True))}


# What a tool is.


def test_name_description_and_schema_derive_from_the_function() -> None:
    """Keyword-only parameters in camelCase, their types, bounds, defaults and descriptions; nothing else is allowed."""
    box = Toolbox()

    @box.tool("doIt")
    async def do_it(
        call: Call,
        *,
        some_path: Annotated[str, Meta(description="where")],
        line_number: Annotated[int, Meta(ge=1, description="which")] | UnsetType = UNSET,
        really: bool = False,
    ) -> str:
        """Does one thing
        and no other.

        This is for those who read the source.
        """
        return some_path

    @box.tool("as_is", camel=False)
    async def as_is(call: Call, *, tab_name: str) -> str:
        return tab_name

    first, second = box
    assert (first.name, first.description) == ("doIt", "Does one thing and no other.")
    assert first.schema == {
        "type": "object",
        "properties": {
            "somePath": {"type": "string", "description": "where"},
            "lineNumber": {"type": "integer", "minimum": 1, "description": "which"},
            "really": {"type": "boolean", "default": False},
        },
        "required": ["somePath"],
        "additionalProperties": False,
    }
    assert list(second.schema["properties"]) == ["tab_name"]


async def test_what_a_tool_returns_becomes_text() -> None:
    """A text as it is, several texts as several items, a value as JSON."""

    async def function(call: Call, *, result: str) -> Any:
        return json.loads(result)

    tool = Tool("t", function, camel=True)
    call = Call(client(1), Bridge(testing.MemoryEditor(), folders=("/w",)))
    for result, texts in (
        ("x", ["x"]),
        (["x", ""], ["x", ""]),
        ({"a": ["é", "\ud800"]}, [json.dumps({"a": ["é", "\ud800"]})]),
    ):
        items = await tool(call, Raw(None, {"result": json.dumps(result)}))
        assert items == [{"type": "text", "text": text} for text in texts]
        assert json.dumps(items)


NAMES = [
    "openFile",
    "getOpenEditors",
    "checkDocumentDirty",
    "saveDocument",
    "openDiff",
    "close_tab",
    "closeAllDiffTabs",
    "getCurrentSelection",
    "getLatestSelection",
    "getWorkspaceFolders",
    "getDiagnostics",
]
REQUIRED = {
    "openFile": {"filePath": "/x"},
    "openDiff": {"old_file_path": "/x", "new_file_path": "/x", "new_file_contents": "", "tab_name": "t"},
    "close_tab": {"tab_name": "t"},
    "checkDocumentDirty": {"filePath": "/x"},
    "saveDocument": {"filePath": "/x"},
}


def test_the_tools_are_these_in_this_order() -> None:
    """Every tool of the protocol is there, described, with its required arguments and an object on top."""
    box = toolbox()
    assert [tool.name for tool in box] == NAMES
    for tool in box:
        assert tool.description.endswith(".")
        assert tool.schema["type"] == "object"
        assert tool.schema["additionalProperties"] is False
        assert set(tool.schema.get("required", ())) == set(REQUIRED.get(tool.name, ()))
        assert all(field["description"] for field in tool.schema["properties"].values())


def test_an_unknown_tool_is_invalid_params() -> None:
    """As MCP has it, and no name is repeated at any length."""
    with pytest.raises(RpcError, match="Unknown tool: x") as caught:
        toolbox()["x" * 10_000]
    assert (caught.value.code, len(caught.value.message)) == (-32602, 114)


@pytest.mark.parametrize("name", NAMES)
async def test_arguments_that_do_not_fit_name_the_argument(stage: Open, name: str) -> None:
    """Missing, of the wrong type, or unknown: -32602, and nothing was done."""
    good = REQUIRED.get(name, {})
    async with stage() as scene:
        cases: list[tuple[dict[str, Any], str]] = [({**good, "unheardOf": 1}, "`unheardOf`")]
        for argument in good:
            cases.append(({key: value for key, value in good.items() if key != argument}, f"`{argument}`"))
            wrong: Any
            for wrong in (None, 5, ["/x"], {}):
                cases.append(({**good, argument: wrong}, f"`$.{argument}`"))
        for arguments, path in cases:
            with pytest.raises(AgentError) as caught:
                await scene.agent.call(name, **arguments)
            assert caught.value.code == -32602
            assert path in str(caught.value)
        assert len(scene.bridge.reviews) == 0


@pytest.mark.parametrize("path", ["", "relative", "file:///x", "/x\0y", "/x/\ud800"])
async def test_what_cannot_be_a_file_is_refused_by_every_tool_that_takes_one(stage: Open, path: str) -> None:
    """As a failure of the tool, never as an internal error."""
    async with stage() as scene:
        with pytest.raises(RuntimeError, match="not an absolute path"):
            await scene.agent.propose(path, "x")
        if not path.startswith("file:"):
            with pytest.raises(RuntimeError, match="must be a file:// URI"):
                await scene.agent.call("getDiagnostics", uri=path)
        with pytest.raises(RuntimeError, match=r"File not found|cannot be the name"):
            await scene.agent.call("openFile", filePath=path)
        for tool in ("checkDocumentDirty", "saveDocument"):
            answer = await scene.agent.request("tools/call", {"name": tool, "arguments": {"filePath": path}})
            (item,) = answer["content"]
            assert answer.get("isError") or json.loads(item["text"])["success"] is False


# openFile.


@pytest.mark.parametrize(
    ("arguments", "message", "selected"),
    [
        ({}, "Opened file: {}", ("", (0, 0, 0, 0))),
        ({"startLine": 2}, "Opened file and selected lines 2 to 2", ("beta gamma", (1, 0, 1, 10))),
        ({"startLine": 2, "endLine": 3}, "Opened file and selected lines 2 to 3", (None, (1, 0, 2, 19))),
        ({"startLine": 3, "endLine": 1}, "Opened file and selected lines 3 to 3", (None, (2, 0, 2, 19))),
        ({"startLine": 99, "endLine": 100}, "Opened file and selected lines 4 to 4", ("last", (3, 0, 3, 4))),
        ({"endLine": 2}, "Opened file: {}", ("", (0, 0, 0, 0))),
        ({"startText": "beta"}, 'Opened file and selected text "beta"', ("beta", (1, 0, 1, 4))),
        (
            {"startText": "gamma", "endText": "beta"},
            'Opened file and selected text from "gamma" to "beta"',
            ("gamma\n  delta 😀 beta", (1, 5, 2, 15)),
        ),
        (
            {"startText": "beta", "endText": "beta"},
            'Opened file and selected text from "beta" to "beta"',
            ("beta gamma\n  delta 😀 beta", (1, 0, 2, 15)),
        ),
        (
            {"startText": "delta", "endText": "😀", "selectToEndOfLine": True},
            'Opened file and selected text from "delta" to "😀"',
            ("delta 😀 beta end", (2, 2, 2, 19)),
        ),
        (
            {"startText": "gamma", "endText": "alpha"},
            'Opened file and positioned at "gamma" (end text "alpha" not found)',
            ("", (1, 5, 1, 5)),
        ),
        ({"startText": "b.ta"}, 'Opened file, but text "b.ta" not found', ("", (0, 0, 0, 0))),
        ({"startText": "", "startLine": 1}, "Opened file and selected lines 1 to 1", ("alpha", (0, 0, 0, 5))),
    ],
)
async def test_open_file_selects_lines_or_a_passage(
    stage: Open, arguments: dict[str, Any], message: str, selected: tuple[str | None, tuple[int, int, int, int]]
) -> None:
    """Lines count from 1 and are clamped; texts are found as they stand, line by line, the end after the start."""
    async with stage() as scene:
        assert await scene.agent.call("openFile", filePath=scene.file, **arguments) == [message.format(scene.file)]
        selection = scene.bridge.selection.value
        assert selection is not None
        text, (first, start, last, end) = selected
        assert selection.path == scene.file
        assert selection.range == Range(Position(first, start), Position(last, end))
        if text is not None:
            assert selection.text == text


async def test_open_file_without_focus_tells_what_it_is(stage: Open) -> None:
    """As JSON; what the person has selected stays."""
    async with stage() as scene:
        told = await scene.json("openFile", filePath=scene.file, makeFrontmost=False)
        assert told == {"success": True, "filePath": scene.file, "languageId": "python", "lineCount": 4}
        assert scene.bridge.selection.value is None


async def test_open_file_takes_paths_as_they_are(stage: Open, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative ones count from the workspace, `~` is the home, a `$` is a `$`, links are followed."""
    monkeypatch.setenv("HOME", str(workspace))
    (workspace / "$id.ts").touch()
    (workspace / "link").symlink_to("a.py")
    async with stage() as scene:
        for name, real in (("a.py", "a.py"), ("~/a.py", "a.py"), ("$id.ts", "$id.ts"), ("link", "a.py")):
            await scene.agent.call("openFile", filePath=name)
            assert scene.bridge.selection.value is not None
            assert scene.bridge.selection.value.path == str(workspace / real)


@pytest.mark.parametrize("name", ["none", "binary", "folder", "pipe", "~nobody-of-this-name/x"])
async def test_open_file_fails_on_what_is_no_text(stage: Open, workspace: Path, name: str) -> None:
    """At once, without opening anything: also on a pipe that nobody writes to."""
    (workspace / "binary").write_bytes(b"\0\xff")
    (workspace / "folder").mkdir()
    os.mkfifo(workspace / "pipe")
    async with stage() as scene:
        with pytest.raises(RuntimeError, match=r"File not found|not text"):
            await asyncio.wait_for(scene.agent.call("openFile", filePath=name), 5)
        assert (await scene.json("getOpenEditors"))["tabs"] == []


@pytest.mark.parametrize("argument", ["startLine", "endLine"])
async def test_open_file_has_no_line_zero(stage: Open, argument: str) -> None:
    """Lines count from 1, and the schema is enforced."""
    async with stage() as scene:
        with pytest.raises(AgentError, match=rf"`\$\.{argument}`"):
            await scene.agent.call("openFile", filePath=scene.file, **{argument: 0})


# The open files.


async def test_open_editors_are_listed_with_what_agents_ask_of_a_tab(stage: Open, workspace: Path) -> None:
    """The selection stands on the active tab, and only if it is of that file."""
    (workspace / "b ü.rs").write_text("x")
    async with stage() as scene:
        assert await scene.json("getOpenEditors") == {"tabs": []}
        await scene.agent.call("openFile", filePath="b ü.rs")
        await scene.agent.call("openFile", filePath=scene.file, startLine=1)
        other, active = (await scene.json("getOpenEditors"))["tabs"]
        assert active == {
            "uri": "file://" + scene.file,
            "isActive": True,
            "isPinned": False,
            "isPreview": False,
            "isDirty": False,
            "label": "a.py",
            "groupIndex": 0,
            "viewColumn": 1,
            "isGroupActive": True,
            "fileName": scene.file,
            "languageId": "python",
            "lineCount": 4,
            "isUntitled": False,
            "selection": {**span(0, 0, 0, 5), "isReversed": False},
        }
        assert (other["isActive"], other["languageId"]) == (False, "rust")
        assert other["uri"] == f"file://{scene.folder}/b%20%C3%BC.rs"
        assert "selection" not in other
        scene.bridge.select(Selection(f"{scene.folder}/b ü.rs", "x", Range(Position(0, 0), Position(0, 1))))
        assert not any("selection" in tab for tab in (await scene.json("getOpenEditors"))["tabs"])


async def test_open_files_are_never_dirty_here_and_found_by_their_exact_name(stage: Open, workspace: Path) -> None:
    """`a.p` is not `a.py`, `[a].py` is no pattern; by another way to the same file it is found."""
    (workspace / "[a].py").touch()
    (workspace / "link.py").symlink_to("a.py")
    async with stage() as scene:
        await scene.agent.call("openFile", filePath=scene.file)
        for path in (scene.file, "a.py", f"{scene.folder}/link.py", f"{scene.folder}/./a.py"):
            dirty = await scene.json("checkDocumentDirty", filePath=path)
            assert dirty == {"success": True, "filePath": path, "isDirty": False, "isUntitled": False}
            assert await scene.json("saveDocument", filePath=path) == {
                "success": True,
                "filePath": path,
                "saved": True,
                "message": "Document saved successfully",
            }
        for path in (f"{scene.folder}/a.p", f"{scene.folder}/[a].py", "/none"):
            for tool in ("checkDocumentDirty", "saveDocument"):
                answer = await scene.json(tool, filePath=path)
                assert answer == {"success": False, "message": f"Document not open: {path}"}


# Selections and folders.


async def test_the_current_selection_is_what_is_selected_now(stage: Open) -> None:
    """Nothing open, a file open, text selected, cleared again."""
    nothing = {"success": False, "message": "No active editor found"}
    async with stage() as scene:
        assert await scene.json("getCurrentSelection") == nothing
        await scene.agent.call("openFile", filePath=scene.file, startText="😀")
        one = {"text": "😀", "filePath": scene.file, "fileUrl": "file://" + scene.file}
        told = {"success": True, **one, "selection": {**span(2, 8, 2, 10), "isEmpty": False}}
        assert await scene.json("getCurrentSelection") == told
        scene.editor.clear()
        told = {**told, "text": "", "selection": {**span(0, 0, 0, 0), "isEmpty": True}}
        assert await scene.json("getCurrentSelection") == told


async def test_the_latest_selection_is_the_last_text_that_was_selected(stage: Open, workspace: Path) -> None:
    """Also after it no longer is; without `success`, unless there was none."""
    (workspace / "b.py").touch()
    async with stage() as scene:
        none = {"success": False, "message": "No selection available"}
        assert await scene.json("getLatestSelection") == none
        await scene.agent.call("openFile", filePath="b.py")
        assert (await scene.json("getLatestSelection"))["filePath"] == f"{scene.folder}/b.py"
        await scene.agent.call("openFile", filePath=scene.file, startLine=1)
        await scene.agent.call("openFile", filePath="b.py")
        scene.editor.clear()
        assert await scene.json("getLatestSelection") == {
            "text": "alpha",
            "filePath": scene.file,
            "fileUrl": "file://" + scene.file,
            "selection": {**span(0, 0, 0, 5), "isEmpty": False},
        }


async def test_the_workspace_folders_are_the_ones_in_the_lock_file(serving: Serve, workspace: Path) -> None:
    """With their names and encoded URIs; the first is the root."""
    second = workspace / "é x"
    second.mkdir()
    async with serving(workspace, second) as server, agent(address_of(server)) as caller:
        (text,) = await caller.call("getWorkspaceFolders")
        assert json.loads(text) == {
            "success": True,
            "folders": [
                {"name": "workspace", "uri": f"file://{workspace}", "path": str(workspace)},
                {"name": "é x", "uri": f"file://{workspace}/%C3%A9%20x", "path": str(second)},
            ],
            "rootPath": str(workspace),
        }
        assert json.loads(Path(server.lock_file).read_text())["workspaceFolders"] == [str(workspace), str(second)]


# Proposals.


Decide = Callable[[Stage, int], Awaitable[object]]


async def _accept(scene: Stage, id: int) -> object:
    return await scene.bridge.reviews.accept(id, by="me")


async def _accept_text(scene: Stage, id: int) -> object:
    return await scene.bridge.reviews.accept(id, by="me", text="mine")


async def _accept_one(scene: Stage, id: int) -> object:
    return await scene.bridge.reviews.accept(id, by="me", numbers=[1])


async def _reject(scene: Stage, id: int) -> object:
    scene.bridge.reviews.reject(id, by="me")
    return None


async def _close_tab(scene: Stage, id: int) -> object:
    assert await scene.agent.call("close_tab", tab_name="tab") == ["TAB_CLOSED"]
    return None


async def _close_all(scene: Stage, id: int) -> object:
    assert await scene.agent.call("closeAllDiffTabs") == ["CLOSED_1_DIFF_TABS"]
    return None


@pytest.mark.parametrize(
    ("decide", "answer"),
    [
        (_accept, ["FILE_SAVED", TEXT.replace("alpha", "ALPHA").replace("last", "LAST")]),
        (_accept_text, ["FILE_SAVED", "mine"]),
        (_accept_one, ["FILE_SAVED", TEXT.replace("alpha", "ALPHA")]),
        (_reject, ["DIFF_REJECTED", "tab"]),
        (_close_tab, ["DIFF_REJECTED", "tab"]),
        (_close_all, ["DIFF_REJECTED", "tab"]),
    ],
)
async def test_open_diff_answers_with_the_verdict_and_never_writes(
    stage: Open, decide: Decide, answer: list[str]
) -> None:
    """Two items when accepted; a proposal that is closed is rejected: TAB_CLOSED would mean that it is accepted."""
    proposed = TEXT.replace("alpha", "ALPHA").replace("last", "LAST")
    async with stage() as scene:
        asking = asyncio.create_task(scene.agent.propose(scene.file, proposed, name="tab"))
        await until(lambda: len(scene.bridge.reviews) == 1, "the review")
        (review,) = scene.bridge.reviews
        assert (review.path, review.proposed, review.original.text) == (scene.file, proposed, TEXT)
        await decide(scene, review.id)
        assert await asyncio.wait_for(asking, 5) == answer
        assert len(scene.bridge.reviews) == 0
        assert Path(scene.file).read_text() == TEXT


async def test_closing_twice_or_what_never_was_is_fine(stage: Open) -> None:
    """The client closes every proposal twice."""
    async with stage() as scene:
        asking = asyncio.create_task(scene.agent.propose(scene.file, "x", name="tab"))
        await until(lambda: len(scene.bridge.reviews) == 1, "the review")
        (review,) = scene.bridge.reviews
        for name in ("✻ [Claude Code] never (c0ffee) ⧉", "ta", ""):
            assert await scene.agent.call("close_tab", tab_name=name) == ["TAB_CLOSED"]
        assert scene.bridge.reviews.get(review.id) is review
        for _ in range(2):
            assert await scene.agent.call("close_tab", tab_name="tab") == ["TAB_CLOSED"]
        assert await scene.agent.call("closeAllDiffTabs") == ["CLOSED_0_DIFF_TABS"]
        assert await asking == ["DIFF_REJECTED", "tab"]


async def test_a_client_closes_its_own_proposals_only(serving: Serve, workspace: Path) -> None:
    """Although another one has a proposal of the same name for the same file."""
    path = str(workspace / "new.py")
    async with serving() as server, agent(address_of(server)) as one, agent(address_of(server)) as other:
        reviews = server.bridge.reviews
        theirs = asyncio.create_task(other.propose(path, "theirs", name="tab"))
        await until(lambda: len(reviews) == 1, "the first review")
        (kept,) = reviews
        ours = asyncio.create_task(one.propose(path, "ours", name="tab"))
        await until(lambda: len(reviews) == 2, "both reviews")
        assert await one.call("close_tab", tab_name="tab") == ["TAB_CLOSED"]
        assert await ours == ["DIFF_REJECTED", "tab"]
        assert await one.call("closeAllDiffTabs") == ["CLOSED_0_DIFF_TABS"]
        assert list(reviews) == [kept]
        await reviews.accept(kept.id, by="me")
        assert await theirs == ["FILE_SAVED", "theirs"]


@pytest.mark.parametrize("way", ["..", "link"])
async def test_a_proposal_is_for_the_real_file(stage: Open, workspace: Path, tmp_path: Path, way: str) -> None:
    """Whoever decides is told that the file lies outside the workspace, whatever way leads there."""
    outside = tmp_path.resolve() / "outside"
    outside.mkdir()
    (workspace / "link").symlink_to(outside)
    path = f"{workspace}/../outside/a.py" if way == ".." else f"{workspace}/link/a.py"
    async with stage() as scene:
        asking = asyncio.create_task(scene.agent.propose(path, "x"))
        await until(lambda: len(scene.bridge.reviews) == 1, "the review")
        (review,) = scene.bridge.reviews
        assert review.path == str(outside / "a.py")
        assert not scene.bridge.inside(review.path)
        scene.bridge.reviews.reject(review.id, by="me")
        assert (await asking)[0] == "DIFF_REJECTED"


async def test_an_editor_that_cannot_show_a_proposal_fails_the_call() -> None:
    """The agent asks in its terminal then; no review stays."""
    async with testing.server() as running:
        running.editor.failure = "no window"
        async with testing.Agent.connect(running) as caller:
            with pytest.raises(RuntimeError, match="no window"):
                await caller.propose("/workspace/a.py", "x")
        assert len(running.bridge.reviews) == 0


async def test_a_decision_counts_while_the_editor_is_still_busy_showing() -> None:
    """It was made elsewhere, and an editor that stalls does not stall the agent."""
    async with testing.server() as running, testing.Agent.connect(running) as caller:
        with running.editor.stalled():
            asking = asyncio.create_task(caller.propose("/workspace/a.py", "x"))
            await until(lambda: len(running.bridge.reviews) == 1, "the review")
            (review,) = running.bridge.reviews
            await running.bridge.reviews.accept(review.id, by="me")
            assert await asyncio.wait_for(asking, 5) == ["FILE_SAVED", "x"]
        assert running.editor.reviews == {}


CONTENTS = {
    "empty": "",
    "no final newline": "a\nb",
    "trailing blanks": "a  \n\n\n \t",
    "BOM": "\ufeffa\n",
    "astral": "𝔸😀\u0301\u2028\x85\n",
    "control": "\x1b[31m\x07\x7f\n",
    "CRLF": "a\r\nb\rc\r\n",
    "NUL": "a\0b\n",
    "lone surrogates": "\ud800 \udc00\ud83d x\n",
    "10 MB": "0123456789abcde\n" * 655_360,
}


@pytest.mark.parametrize("original", [None, b"a\r\nb\r\n", b"\xef\xbb\xbfa", b"\xff\0binary"], ids=repr)
@pytest.mark.parametrize("name", CONTENTS)
async def test_what_is_accepted_arrives_as_it_was_proposed(
    stage: Open, workspace: Path, name: str, original: bytes | None
) -> None:
    """Byte for byte, whatever the file was before, and the file is as it was."""
    file = workspace / "b"
    if original is not None:
        file.write_bytes(original)
    async with stage() as scene:
        asking = asyncio.create_task(scene.agent.propose(str(file), CONTENTS[name]))
        await until(lambda: len(scene.bridge.reviews) == 1, "the review")
        (review,) = scene.bridge.reviews
        assert review.proposed == CONTENTS[name]
        assert (await scene.bridge.reviews.accept(review.id, by="me")).text == CONTENTS[name]
        verdict, text = await asyncio.wait_for(asking, 10)
        assert (verdict, text == CONTENTS[name]) == ("FILE_SAVED", True)
    assert (file.read_bytes() if file.exists() else None) == original


async def test_a_proposal_for_a_crlf_file_is_shown_with_lf(stage: Open, workspace: Path) -> None:
    """The client proposes LF text for such a file, so only what really differs is a hunk."""
    (workspace / "crlf").write_bytes(b"\xef\xbb\xbf1\r\n2\r\n3\r\n")
    async with stage() as scene:
        asking = asyncio.create_task(scene.agent.propose(str(workspace / "crlf"), "\ufeff1\nx\n3\n"))
        await until(lambda: len(scene.bridge.reviews) == 1, "the review")
        (review,) = scene.bridge.reviews
        assert [(hunk.old, hunk.new) for hunk in await review.hunks()] == [(("2\n",), ("x\n",))]
        scene.bridge.reviews.reject(review.id, by="me")
        await asking


# Diagnostics; their timing is tested with the protocol.


def _found(message: str, **more: Any) -> Diagnostic:
    return Diagnostic(message, more.pop("severity", Severity.ERROR), Range(Position(0, 1), Position(2, 3)), **more)


async def test_diagnostics_are_told_as_the_client_reads_them(stage: Open, workspace: Path) -> None:
    """Severities by name, lines from 0, source and code only where there are any, raw URIs."""
    odd = str(workspace / "sp ace é %.py")
    async with stage() as scene:
        assert await scene.json("getDiagnostics") == []
        severities = zip(Severity, ("Error", "Warning", "Info", "Hint"), strict=True)
        scene.editor.import_diagnostics(
            "x",
            {
                odd: tuple(_found(severity.name, severity=severity) for severity in Severity),
                scene.file: (_found("m", source="ruff", code="F821"),),
            },
        )
        place = {"range": span(0, 1, 2, 3)}
        assert await scene.json("getDiagnostics") == [
            {
                "uri": f"file://{odd}",
                "diagnostics": [{"message": s.name, "severity": told, **place} for s, told in severities],
            },
            {
                "uri": f"file://{scene.file}",
                "diagnostics": [{"message": "m", "severity": "Error", **place, "source": "ruff", "code": "F821"}],
            },
        ]


@pytest.mark.parametrize("uri", ["file://{}", "{}", "file://localhost{}", "FILE://{}", "file://{}/./a.py"])
async def test_the_uri_of_a_file_comes_back_as_it_was_asked(stage: Open, uri: str) -> None:
    """The client takes no other spelling, also when it asks for all files later."""
    async with stage() as scene:
        asked = uri.format(scene.file if "/./" not in uri else scene.folder)
        scene.editor.import_diagnostics("x", {scene.file: (_found("m"),)})
        (entry,) = await scene.json("getDiagnostics", uri=asked)
        assert (entry["uri"], len(entry["diagnostics"])) == (asked, 1)
        (entry,) = await scene.json("getDiagnostics")
        assert entry["uri"] == asked


async def test_a_file_without_diagnostics_is_answered_with_none(stage: Open) -> None:
    """One entry with an empty list, whether the file exists or not."""
    async with stage() as scene:
        for uri in ("file://" + scene.file, "file:///none"):
            assert await scene.json("getDiagnostics", uri=uri) == [{"uri": uri, "diagnostics": []}]


async def test_an_editor_that_fails_is_told_of_as_a_failure_of_the_tool() -> None:
    """Each says what the editor said; none answers with an internal error. (Diagnostics were reported before.)"""
    async with testing.server() as running, testing.Agent.connect(running) as caller:
        await caller.call("getWorkspaceFolders")
        running.editor.failure = "the editor is ill"
        for tool, arguments in (
            ("getOpenEditors", {}),
            ("getCurrentSelection", {}),
            ("checkDocumentDirty", {"filePath": "/x"}),
            ("saveDocument", {"filePath": "/x"}),
            ("openFile", {"filePath": __file__}),
        ):
            with pytest.raises(RuntimeError, match="the editor is ill"):
                await caller.call(tool, **arguments)


async def test_what_could_not_be_saved_is_said(workspace: Path) -> None:
    """With the editor's own words."""

    class ReadOnly(testing.MemoryEditor):
        async def save(self, path: str) -> None:
            self.failure = "read-only"
            await self._busy()

    editor = ReadOnly()
    editor.texts[str(workspace / "a")] = "x"
    editor.dirty.add(str(workspace / "a"))
    async with testing.server(editor) as running, testing.Agent.connect(running) as caller:
        path = str(workspace / "a")
        (text,) = await caller.call("checkDocumentDirty", filePath=path)
        assert json.loads(text)["isDirty"] is True
        (text,) = await caller.call("saveDocument", filePath=path)
        answer = {"success": False, "message": "Failed to save file: read-only", "filePath": path}
        assert json.loads(text) == answer


async def test_baselines_of_a_client_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that asks about every file of a large project costs no more than one that asks about some."""
    monkeypatch.setattr("pairside.tools.diagnostics.BASELINES_KEPT", 5)
    bridge = Bridge(testing.MemoryEditor(), folders=("/w",))
    caller = client(1)
    for number in (*range(10), 7):
        await diagnostics_toolbox["getDiagnostics"](Call(caller, bridge), Raw(None, {"uri": f"/none/{number}"}))
    assert list(caller.baselines) == [f"/none/{number}" for number in (5, 6, 8, 9, 7)]


@pytest.mark.parametrize("tool", ["close_tab", "closeAllDiffTabs"])
async def test_a_proposal_that_is_taken_back_before_it_was_shown_never_is(workspace: Path, tool: str) -> None:
    """The person may answer in the agent's terminal while the original is still being read."""
    async with testing.server(folders=[str(workspace)]) as server, testing.Agent.connect(server) as agent:
        for number in range(20):
            proposal = asyncio.create_task(agent.propose(str(workspace / "a.py"), "x", name=f"tab {number}"))
            await asyncio.sleep(0)  # it is sent first
            await agent.call(tool, **({"tab_name": f"tab {number}"} if tool == "close_tab" else {}))
            assert await asyncio.wait_for(proposal, 5) == ["DIFF_REJECTED", f"tab {number}"]
            assert (len(server.bridge.reviews), server.editor.reviews) == (0, {})
