"""A malicious agent that is connected: what it asks for is bounded, and it decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from pairside import bridge, reviews, testing
from pairside.limits import Limits
from pairside.serve import serving as serve
from tests.conftest import Serve, address_of, agent
from tests.until import until

SECRET = "root:x:0:0:the secret\n" * 3


@pytest.fixture(autouse=True)
def throwaway(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process serves: its home is a throwaway one."""
    monkeypatch.setenv("HOME", environment["HOME"])


@pytest.mark.parametrize(
    "asked",
    [
        {"startLine": 1, "endLine": 3},
        {"startText": "root", "endText": "secret"},
        {"startText": "root:x"},
        {"startLine": 1, "makeFrontmost": False},
    ],
)
@pytest.mark.parametrize("name", ["plain", "link", "dots"])
async def test_no_text_of_a_file_outside_of_the_workspace_comes_back_through_the_editor(
    serving: Serve, workspace: Path, tmp_path: Path, asked: dict[str, object], name: str
) -> None:
    """An agent in a sandbox that may not read it cannot have it opened, selected and told."""
    outside = tmp_path / "outside"
    outside.write_text(SECRET)
    path = {"plain": str(outside), "link": str(workspace / "link"), "dots": str(workspace / ".." / "outside")}[name]
    if name == "link":
        (workspace / "link").symlink_to(outside)
    async with serving() as server, agent(address_of(server), introduce=1) as one:
        told = await one.call("openFile", filePath=path, **asked)
        for tool in ("getCurrentSelection", "getLatestSelection", "getOpenEditors"):
            told += await one.call(tool)
        if "makeFrontmost" not in asked:
            told.append(json.dumps(await one.wait_told("selection_changed")))
        assert "secret" not in "".join(told)
        # Whether a text is in it is not told either.
        with_text = await one.call("openFile", filePath=path, startText="root:x:0")
        without = await one.call("openFile", filePath=path, startText="something else")
        assert with_text == without


async def test_many_small_proposals_for_a_large_file_do_not_fill_the_memory(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond the bound is for the agent's own terminal; when something was decided there is room again."""
    monkeypatch.setattr(reviews, "WAITING_CHARACTERS", 10_000)
    large = workspace / "large"
    large.write_text("x" * 4000)
    async with testing.server(folders=[str(workspace)]) as running:
        async with testing.Agent.connect(running, introduce=1) as one, testing.Agent.connect(running) as two:
            proposals = [asyncio.create_task(one.propose(str(large), f"{number}\n")) for number in range(20)]
            await until(lambda: len(running.bridge.reviews) == 2, "two of them wait")
            await until(lambda: sum(proposal.done() for proposal in proposals) == 18, "the others are answered")
            for proposal in proposals:
                if proposal.done():
                    with pytest.raises(RuntimeError, match="own terminal"):
                        await proposal
            with pytest.raises(RuntimeError, match="own terminal"):
                await two.propose(str(large), "x\n")
            for review in list(running.bridge.reviews):
                running.bridge.reviews.reject(review.id, by="a test")
            await asyncio.gather(*proposals, return_exceptions=True)
            huge = asyncio.create_task(two.propose(str(workspace / "new"), "x" * 50_000))
            await until(lambda: len(running.bridge.reviews) == 1, "alone even a larger one is shown")
            running.bridge.reviews.reject(next(iter(running.bridge.reviews)).id, by="a test")
            assert (await huge)[0] == "DIFF_REJECTED"


async def test_a_proposal_with_too_many_lines_is_for_the_agents_own_terminal(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line takes far more than its characters once texts are compared, and anybody who looks has them compared."""
    monkeypatch.setattr(reviews, "LINES", 1000)
    monkeypatch.setattr(reviews, "WAITING_CHARACTERS", 100_000)
    long = workspace / "long"
    long.write_text("\n" * 1001)
    async with testing.server(folders=[str(workspace)]) as running:
        async with testing.Agent.connect(running, introduce=1) as one, testing.Agent.connect(running) as two:
            with pytest.raises(RuntimeError, match="more than 1,000 lines"):
                await one.propose(str(workspace / "new"), "\n" * 1001)
            with pytest.raises(RuntimeError, match="more than 1,000 lines"):
                await one.propose(str(long), "x\n")
            first = asyncio.create_task(one.propose(str(workspace / "new"), "\n" * 1000))
            await until(lambda: len(running.bridge.reviews) == 1, "it is no more than may be")
            with pytest.raises(RuntimeError, match="so much waits"):
                await two.propose(str(workspace / "other"), "\n" * 1000)
            running.bridge.reviews.reject(next(iter(running.bridge.reviews)).id, by="a test")
            assert (await first)[0] == "DIFF_REJECTED"


async def test_an_agent_cannot_decide_by_any_method_of_observers_or_editors(workspace: Path) -> None:
    """What decides is not to be had over the agents' connection, whatever it is called."""
    async with testing.server(folders=[str(workspace)]) as running:
        async with testing.Agent.connect(running, introduce=1) as one:
            proposal = asyncio.create_task(one.propose(str(workspace / "a"), "x\n"))
            shown = await running.editor.shown()
            for method in (
                "review/accept",
                "review/decided",
                "undo",
                "share",
                "stop",
                "restart",
                "hello",
                "changes/forget",
            ):
                with pytest.raises(testing.AgentError) as refused:
                    await one.request(method, {"id": shown.id, "outcome": "accepted"})
                assert refused.value.code == -32601
            for tool in ("review/accept", "accept", "undo", "executeCode", "saveDocument ", ""):
                with pytest.raises(testing.AgentError) as refused:
                    await one.request("tools/call", {"name": tool, "arguments": {"id": shown.id}})
                assert refused.value.code == -32602
            # Taking it back is the most that it can do, and that is no acceptance.
            await one.call("close_tab", tab_name=shown.name)
            assert (await proposal)[0] == "DIFF_REJECTED"


async def test_saving_writes_nothing_where_the_editor_has_no_unsaved_changes(serving: Serve, workspace: Path) -> None:
    """Of files that are not open, of links, of devices: not a byte changes, and nothing is made."""
    (workspace / "a").write_text("1\n")
    before = (workspace / "a").stat().st_mtime_ns
    async with serving() as server, agent(address_of(server)) as one:
        for path in (
            str(workspace / "a"),
            str(workspace / "none"),
            "/etc/passwd",
            "/dev/null",
            "-x",
            "a\nb",
            "~root/x",
        ):
            (told,) = await one.call("saveDocument", filePath=path)
            assert json.loads(told)["success"] is False, told
    assert (workspace / "a").stat().st_mtime_ns == before
    assert [path.name for path in workspace.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "path",
    [f"/{'x' * 100_000}", "/d" * 500_000, "/." * 500_000, "/../" * 250_000, "/é" * 2000],
    ids=lambda path: path[:4],
)
async def test_a_path_that_no_system_could_open_is_refused_at_once(workspace: Path, path: str) -> None:
    """A message of a megabyte, of which each folder would be looked at in turn: nobody else waits for that."""
    async with testing.server(folders=[str(workspace)]) as running:
        async with testing.Agent.connect(running) as one, testing.Agent.connect(running) as two:
            began = asyncio.get_running_loop().time()
            for tool, arguments in (
                ("openFile", {"filePath": path}),
                ("openFile", {"filePath": path[1:]}),
                ("checkDocumentDirty", {"filePath": path}),
                ("saveDocument", {"filePath": path}),
                ("openDiff", {"old_file_path": path, "new_file_path": path, "new_file_contents": "", "tab_name": "x"}),
                ("getDiagnostics", {"uri": f"file://{path}"}),
                ("getDiagnostics", {"uri": path}),
            ):
                with contextlib.suppress(RuntimeError):
                    await one.call(tool, **arguments)
            assert await two.request("ping") == {}
            assert asyncio.get_running_loop().time() - began < 5
            assert len(running.bridge.reviews) == 0


async def test_a_tab_name_of_a_megabyte_is_only_a_name(workspace: Path) -> None:
    """It is as good as any other to take the proposal away by."""
    async with testing.server(folders=[str(workspace)]) as running:
        async with testing.Agent.connect(running) as one:
            name = "x" * 2**20
            proposal = asyncio.create_task(one.propose(str(workspace / "a"), "x\n", name=name))
            await running.editor.shown()
            await one.call("close_tab", tab_name=name)
            assert (await proposal) == ["DIFF_REJECTED", name]


async def test_questions_about_files_make_us_keep_a_bounded_amount(
    workspace: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a write the file is kept; who asks about every file there is, and writes none, fills no disk."""
    monkeypatch.setattr(bridge, "ROOM_BYTES", 0)
    folders = (str(workspace),)
    for number in range(60):
        (workspace / str(number)).write_bytes(f"{number:04}".encode() * 1000)
    async with serve(folders, limits=Limits(changes_bytes=20_000), environment=environment) as server:
        async with agent(address_of(server)) as one:
            for _ in range(2):
                for number in range(60):
                    await one.call("getDiagnostics", uri=f"file://{workspace}/{number}")
            kept = sum(
                path.stat().st_size for path in Path(environment["XDG_STATE_HOME"]).rglob("objects/*") if path.is_file()
            )
            assert kept <= 40_000
            for number in range(1500):
                await one.call("getDiagnostics", uri=f"file://{workspace}/none/{number}")
            (client,) = server.bridge.clients
            assert len(server.bridge.changes.pending(client.id)) <= 1000
            assert await one.request("ping") == {}
