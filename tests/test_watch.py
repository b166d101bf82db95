"""When the git work trees of the workspace are looked at."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from pairside import testing
from pairside import watch as module
from pairside.cell import Cell
from pairside.changes import Change, Changes, Means
from pairside.images import Image, Kind, Store
from pairside.snapshots import Difference, Snapshot, SnapshotError
from pairside.watch import Watch

from .memory import client
from .project import project
from .until import until


class Tree:
    """A work tree in whose place the test says what a look finds, and how long it takes."""

    def __init__(self) -> None:
        self.looks = 0
        self.about: list[Collection[str]] = []
        self.finds: tuple[Difference, ...] = ()
        self.failure: str | None = None
        self.may_end = threading.Event()
        self.may_end.set()
        self.closed = False

    def snapshot(self, about: Collection[str] = ()) -> Snapshot:
        self.looks += 1
        self.about.append(about)
        assert self.may_end.wait(20)
        if self.failure is not None:
            raise SnapshotError(self.failure)
        found, self.finds = self.finds, ()
        return Snapshot(time.time(), found, (), {})

    def close(self) -> None:
        self.closed = True
        self.may_end.set()


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    """The only work tree that there is; it is where the folder /w is."""
    tree = Tree()
    monkeypatch.setattr(module, "work_trees", lambda folders: {one: [one] for one in folders})
    monkeypatch.setattr(module, "WorkTree", lambda *arguments, **named: tree)
    return tree


@pytest.fixture
def changes() -> Changes:
    """No changes yet."""
    return Changes(store=Store(), image_bytes=100, total_bytes=1000)


@contextlib.asynccontextmanager
async def watching(tree: Tree, changes: Changes) -> AsyncIterator[Watch]:
    """A watch of the folder /w."""
    watch = Watch(changes, Cell(("/w",)), archive=None, files=10, excluded=lambda path: False)
    try:
        yield watch
    finally:
        await watch.close()
    assert tree.closed


async def test_what_asks_while_a_look_goes_on_is_answered_by_one_more(tree: Tree, changes: Changes) -> None:
    """However many ask; and who waits is not answered by a look that had begun before."""
    async with watching(tree, changes) as watch:
        tree.may_end.clear()
        first = asyncio.create_task(watch.now(20))
        await until(lambda: tree.looks == 1, "the first look")
        others = [asyncio.create_task(watch.now(20)) for _ in range(50)]
        await asyncio.sleep(0)
        tree.may_end.set()
        assert await asyncio.gather(first, *others) == [True] * 51
        assert tree.looks == 2


async def test_after_a_look_it_rests_unless_somebody_waits(
    tree: Tree, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking takes a share of the machine and no more, however much an agent does."""
    async with watching(tree, changes) as watch:
        monkeypatch.setattr(module, "SHARE", 10**6)
        assert await watch.now(20)
        for _ in range(20):
            watch.soon(hint=1)
            await asyncio.sleep(0)
        assert tree.looks == 1
        assert await watch.now(20)
        assert tree.looks == 2


async def test_waiting_ends_when_the_time_is_over(tree: Tree, changes: Changes) -> None:
    """The answer says that it was not looked at; the look goes on."""
    async with watching(tree, changes) as watch:
        tree.may_end.clear()
        assert not await watch.now(0.01)
        tree.may_end.set()
        assert await watch.now(20)


async def test_what_a_look_finds_is_accounted_for(tree: Tree, changes: Changes) -> None:
    """With the client that gave a sign of work as a hint, and about the files that were written meanwhile."""
    async with watching(tree, changes) as watch:
        told: list[list[Change]] = []
        watch._found = told.append
        assert await watch.now(20)
        turns = [changes.prompted(client(number)) for number in (1, 2)]
        changes.begin(client(1), "/w/a", Image())
        changes.end(1, "/w/a", Image(Kind.LINK, "x", 1))
        new = Image(Kind.LINK, "x", 1)
        tree.finds = tuple(Difference(path, Image(), new, None) for path in ("/w/a", "/w/b"))
        watch.soon(hint=2)
        assert await watch.now(20)
        assert tree.about[-1] == {"/w/a"}
        ((found,),) = told
        assert (found.path, found.means, found.turn) == ("/w/b", Means.OTHER, turns[1])


async def test_a_tree_that_cannot_be_looked_at_is_named_and_left_alone_for_a_while(
    tree: Tree, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it in vain, and later it is tried again."""
    async with watching(tree, changes) as watch:
        tree.failure = "no git"
        assert not await watch.now(20)
        assert watch.notices == {"/w": "no git"}
        assert not await watch.now(20)
        assert tree.looks == 1
        tree.failure = None
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
        assert await watch.now(20)
        assert (tree.looks, watch.notices) == (2, {})


async def test_a_look_that_goes_on_does_not_hold_up_the_end(tree: Tree, changes: Changes) -> None:
    """It is ended, and who waits for it gets no answer."""
    async with watching(tree, changes) as watch:
        tree.may_end.clear()
        waiting = asyncio.create_task(watch.now(20))
        await until(lambda: tree.looks == 1, "it looks")
        async with asyncio.timeout(5):
            await watch.close()
        assert tree.closed
        waiting.cancel()


async def test_folders_that_are_opened_later_are_looked_at_too(workspace: Path, tmp_path: Path) -> None:
    """And those that are closed no more."""
    other = tmp_path.resolve() / "other"
    for folder in (other,):
        folder.mkdir()
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    async with project(workspace, {"a": "a\n"}) as work:
        work.running.bridge.folders.set((str(workspace), str(other)))
        await work.prompt()
        (other / "new").write_text("new\n")
        await work.shell("echo shell > a")
        assert [Path(change.path).name for change in work.changes] == ["new", "a"]


async def test_a_folder_that_becomes_a_work_tree_is_looked_at_from_then_on(workspace: Path) -> None:
    """Somebody runs git init in it."""
    async with project(workspace, {"a": "a\n"}, git=False) as work:
        subprocess.run(["git", "init", "-q", str(workspace)], check=True)
        await work.prompt()
        await work.shell("echo shell > a")
        assert work.told() == [("a", "other", False)]


@pytest.mark.parametrize("is_within_another", [False, True])
async def test_a_work_tree_that_loses_its_repository_is_looked_at_further(
    workspace: Path, is_within_another: bool
) -> None:
    """Who removes .git may remove more. What was ignored or tracked is so still, until there is another repository."""
    if is_within_another:
        subprocess.run(["git", "init", "-q", str(workspace.parent)], check=True)
    workspace.mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    (workspace / ".git/info/exclude").write_text("/private\n")
    start: dict[str, str | bytes] = dict.fromkeys(("a", "b", "private", "kept.log"), "1\n")
    async with project(workspace, start | {".gitignore": "*.log\n"}, git=False) as work:
        subprocess.run(["git", "add", "-f", "kept.log"], cwd=workspace, check=True)
        await work.look()  # in nobody's turn
        await work.prompt()
        await work.shell("rm -rf .git b; echo 2 > a; echo 2 > private; echo 2 > kept.log")
        gone = work.told()
        assert gone == [("a", "other", False), ("b", "other", False), ("kept.log", "other", False)]
        await work.shell("echo 3 > c")
        await work.shell("git init -q; echo 4 > d")
        assert {("c", "other", False), ("d", "other", False)} <= set(work.told())
        await work.undo(ids=[change.id for change in work.changes])
        assert {name: (workspace / name).read_text() for name in os.listdir(workspace) if name[0] != "."} == {
            "a": "1\n", "b": "1\n", "private": "2\n", "kept.log": "1\n",
        }  # fmt: skip


async def test_a_folder_that_is_removed_comes_back_whole(workspace: Path) -> None:
    """The served folder itself, with its repository. While it is not there that is told."""
    async with project(workspace, {"a": "a\n", "b/c": "c\n"}) as work:
        await work.prompt()
        await work.look()
        shutil.rmtree(workspace)
        assert not await work.running.bridge.look(10.0)
        assert work.running.bridge.watch.notices == {str(workspace): "it is gone"}
        workspace.mkdir()
        await work.look()
        assert work.running.bridge.watch.notices == {}
        await work.undo(ids=[change.id for change in work.changes])
        assert ((workspace / "a").read_text(), (workspace / "b/c").read_text()) == ("a\n", "c\n")


async def test_no_answer_to_an_agent_waits_for_a_look(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the prompt nor a question about diagnostics: the look is still going on when they are answered."""
    tree = Tree()
    monkeypatch.setattr(module, "work_trees", lambda folders: {str(workspace): [str(workspace)]})
    monkeypatch.setattr(module, "WorkTree", lambda *arguments, **named: tree)
    (workspace / "a").write_text("a")
    tree.may_end.clear()
    async with testing.server(folders=[str(workspace)]) as running, testing.Agent.connect(running) as agent:
        await until(lambda: tree.looks == 1, "it looks")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("closeAllDiffTabs", {}),
            ("getDiagnostics", {"uri": f"file://{workspace}/a"}),
            ("getDiagnostics", {}),
        ]
        async with asyncio.timeout(5):
            for tool, arguments in calls:
                await agent.call(tool, **arguments)
        assert tree.looks == 1
        tree.may_end.set()


async def test_where_nobody_is_there_to_be_watched_nothing_is_looked_at(workspace: Path) -> None:
    """A server without agents costs nothing; nor one whose person does not want it."""
    async with testing.server(folders=[str(workspace)]) as running:
        assert await running.bridge.look(1)
        assert running.bridge.watch._task is None
