"""What agents have changed, on the screen: turn by turn, and taken back by hunks, files and turns."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from textual.widgets import Button

from pairside import testing
from pairside.serve import Serving
from pairside.tui.changes import ChangesView
from tests.conftest import Serve, address_of, agent
from tests.tui.conftest import OpenScene, Scene
from tests.tui.mounted import Stage, ask, mounted
from tests.until import until

OLD = "".join(f"line {number}\n" for number in range(1, 41))
NEW = OLD.replace("line 4\n", "line four\n").replace("line 20\n", "line 20\nnew\n").replace("line 35\n", "")
ONE = OLD.replace("line 4\n", "line four\n")


@dataclass
class Work:
    """A view of changes, what a real server tells it, and an agent that changes files."""

    server: Serving
    agent: testing.Agent
    at: Stage[ChangesView]
    workspace: Path

    async def edit(self, name: str, text: str | bytes | None) -> None:
        """The agent writes a file by its own tool, or deletes it."""
        await edit(self.agent, self.workspace / name, text)

    async def show(self, **params: Any) -> Any:
        """Have the view show what the server tells now."""
        told = await ask(self.server, "changes", {"fresh": False, "undos": True, **params})
        self.at.view.show(told)
        await self.at.settle()
        return told

    def text(self, name: str = "a.py") -> str:
        """What a file says."""
        return (self.workspace / name).read_text()


async def edit(one: testing.Agent, path: Path, text: str | bytes | None) -> None:
    """An agent writes a file by its own tool, or deletes it."""
    await one.call("getDiagnostics", uri=f"file://{path}")
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    await one.call("getDiagnostics")


OpenWork: TypeAlias = Callable[..., contextlib.AbstractAsyncContextManager[Work]]


@pytest.fixture
def work(serving: Serve, workspace: Path) -> OpenWork:
    """Opens the view, with a turn of an agent that has just begun; files are there before."""

    @contextlib.asynccontextmanager
    async def opened(
        *, size: tuple[int, int] = (100, 30), git: bool = False, **files: str | bytes
    ) -> AsyncIterator[Work]:
        for name, text in files.items():
            (workspace / name.replace("_", ".")).write_bytes(text.encode() if isinstance(text, str) else text)
        if git:
            subprocess.run(["git", "init", "-q", str(workspace)], check=True)
        async with serving() as server, agent(address_of(server)) as one:
            await one.call("closeAllDiffTabs")
            async with mounted(ChangesView(functools.partial(ask, server)), size=size) as at:
                yield Work(server, one, at, workspace)

    return opened


# What is shown.


async def test_where_nothing_was_changed_it_says_so(work: OpenWork) -> None:
    """And no key does anything."""
    async with work() as it:
        await it.show()
        await it.at.press("u", "U", "T", "space", "n", "y", "enter", "escape")
        assert "No agent has changed anything here." in it.at.screen
        assert it.at.said == []


async def test_a_turn_is_listed_with_what_became_of_each_file(work: OpenWork) -> None:
    """The turn is a heading; a file says by whom, how, and how much; the latest turn stands first."""
    async with work(a_py=OLD, gone="gone\n") as it:
        await it.edit("a.py", ONE)
        await it.agent.call("closeAllDiffTabs")
        await it.edit("new.py", "new\n")
        await it.edit("gone", None)
        await it.edit("a.py", NEW)
        await it.show()
        assert it.at.line("Turn 2").startswith(" Turn 2  Claude Code, ")
        assert it.at.line("Turn 2").endswith(": 3 files +2 -2, goes on")
        assert "new.py (new, unreviewed)" in it.at.line("new.py (")
        assert "gone (deleted, unreviewed)" in it.at.line("gone (")
        assert "+1 -1" in it.at.line("  a.py (unreviewed)")
        assert "1 earlier turn: H shows all" in it.at.screen
        await it.show(all=True)
        order = [line.split()[1] for line in it.at.screen.split("\n") if line.startswith(" Turn ")]
        assert order == ["2", "1"]


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (170, 45)])
async def test_each_kind_of_change_is_shown_for_what_it_is(work: OpenWork, size: tuple[int, int]) -> None:
    """A new file, one that was deleted, one that is no text, an empty one, only other permissions."""
    async with work(size=size, bin=b"\xff\x00", gone="gone\n", run="#!/bin/sh\n") as it:
        await it.edit("bin", b"\xff\x01")
        await it.show()
        await it.at.see("Its lines cannot be")
        await it.at.press("space", "n", "w", "v")
        await it.edit("empty", "")
        await it.show()
        await it.at.press("end")
        await it.at.see("It is an empty file")
        await it.edit("gone", None)
        await it.show()
        await it.at.press("end", "K", "J")
        await it.at.see("- gone")
        await it.agent.call("getDiagnostics", uri=f"file://{it.workspace / 'run'}")
        (it.workspace / "run").chmod(0o755)
        await it.agent.call("getDiagnostics")
        await it.show()
        await it.at.press("end")
        await it.at.see("Only its permissions", "(permissions")
        await it.at.press("U")
        await it.at.hear("Undone: run, its permissions")
        assert (it.workspace / "run").stat().st_mode & 0o777 == 0o644


async def test_what_came_by_other_means_or_late_is_marked(work: OpenWork) -> None:
    """A command in the agent's shell, and a write after its last sign of work, which the undo of the turn leaves."""
    async with work(git=True, a_py=OLD, b_py="b\n") as it:
        await it.show(fresh=True)
        await it.agent.call("closeAllDiffTabs")
        await it.show(fresh=True)
        await it.edit("a.py", ONE)
        (it.workspace / "b.py").write_text("shell\n")
        (it.workspace / "a.py").write_text(NEW)
        await it.agent.call("getDiagnostics")
        await it.show(fresh=True)
        await it.at.see("a.py (in part other means)", "b.py (other means)")
        (it.workspace / "c.py").write_text("late\n")
        await it.show(fresh=True)
        await it.at.see("c.py (new, other means, late)")
        await it.at.press("T")
        await it.at.see("Undo turn", "Would be undone: a.py", "Would be undone: b.py")
        assert "Would be undone: c.py" not in it.at.screen
        await it.at.press("y")
        await it.at.hear("Undone: ")
        assert (it.text("a.py"), it.text("b.py"), it.text("c.py")) == (OLD, "b\n", "late\n")


async def test_a_file_that_was_renamed_went_and_came(work: OpenWork) -> None:
    """By a command: both are listed, and one key after a question has the old name back."""
    async with work(git=True, a_py=OLD) as it:
        await it.show(fresh=True)
        await it.agent.call("closeAllDiffTabs")
        await it.show(fresh=True)
        (it.workspace / "a.py").rename(it.workspace / "b.py")
        await it.agent.call("getDiagnostics")
        await it.show(fresh=True)
        await it.at.see("a.py (deleted, other means)", "b.py (new, other means)")
        await it.at.press("T")
        await it.at.see("Would be undone: a.py +40 -0, it comes back", "Would be undone: b.py +0 -40, it goes")
        await it.at.press("y")
        await it.at.hear("(and 1 more file)")
        assert it.text() == OLD
        assert not (it.workspace / "b.py").exists()


async def test_what_could_not_be_looked_at_is_said(work: OpenWork) -> None:
    """Notices, repositories within the repository, and a look that took too long."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", NEW)
        told = await it.show()
        told |= {"complete": False, "uncovered": [str(it.workspace / "sub\x1b[31m")], "notices": ["/w: too\nmany"]}
        it.at.view.show(told)
        await it.at.see(
            "! The work tree could not be looked at in time", "as it is a repository of its own: sub\\x1b[31m",
            "Note: /w: too\\nmany",
        )  # fmt: skip


async def test_a_change_of_line_ends_alone_can_be_seen(work: OpenWork) -> None:
    """Where not all lines end alike the carriage returns are shown; where all do it is a word in the title."""
    async with work(a_txt="one\ntwo\n", b_txt="one\r\ntwo\r\n") as it:
        await it.edit("a.txt", "one\r\ntwo\n")
        await it.show()
        await it.at.see("+ one\\r")
        await it.edit("b.txt", "one\r\n2\r\n")
        await it.show()
        await it.at.press("end")
        await it.at.see("CRLF", "+ 2")
        assert "\\r" not in it.at.screen


# Taking back.


async def test_u_takes_back_the_present_hunk(work: OpenWork) -> None:
    """Only that one; the others stay, and stay to be taken back."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", NEW)
        await it.show()
        await it.at.see("hunk 1 of 3")
        await it.at.press("n", "u")
        await it.at.hear("Undone: a.py +0 -1")
        assert it.text() == NEW.replace("new\n", "")
        await it.show()
        await it.at.see("hunk 2 of 2", "- line 35")
        await it.at.press("u")
        await it.show()
        await it.at.see("hunk 1 of 1")
        await it.at.press("u")
        await until(lambda: it.text() == OLD, "all of it is taken back")
        await it.show()
        await it.at.see("nothing of it is left")


async def test_u_takes_back_the_hunks_that_are_chosen(work: OpenWork) -> None:
    """They are marked, counted, and taken back together, wherever one is now."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", NEW)
        await it.show()
        await it.at.see("[ ] hunk 1 of 3")
        await it.at.press("space", "n", "n", "space")
        await it.at.see("2 hunks chosen: u undoes them.", "[x] hunk 3 of 3", "to be undone")
        await it.at.press("p", "u")
        await it.at.hear("Undone: a.py")
        assert it.text() == OLD.replace("line 20\n", "line 20\nnew\n")


async def test_the_same_key_again_does_not_take_back_the_undo(work: OpenWork) -> None:
    """When nothing is left of a file the cursor goes to another one, not to the undo that stands beside it."""
    async with work(a_py=OLD, b_py=OLD) as it:
        await it.edit("a.py", ONE)
        await it.edit("b.py", ONE)
        await it.show()
        await it.at.press("home")
        await it.at.see("a.py  modified +1 -1, hunk 1 of 1")
        await it.at.press("u")
        await it.at.hear("Undone: a.py")
        await it.show()
        await it.at.see("b.py  modified +1 -1, hunk 1 of 1", "undo by")
        await it.at.press("u")
        await it.at.hear("Undone: b.py")
        assert (it.text(), it.text("b.py")) == (OLD, OLD)


async def test_a_file_is_taken_back_and_had_again(work: OpenWork) -> None:
    """The undo stands in the list as a turn of the person; taken back itself, all is as the agent had it."""
    async with work(a_py=OLD, b_py=OLD) as it:
        await it.edit("a.py", NEW)
        await it.edit("b.py", ONE)
        await it.show()
        await it.at.press("home")
        await it.at.see("hunk 1 of 3")
        await it.at.press("U")
        await it.at.hear("To have it again: U on the undo in the list.")
        assert (it.text(), it.text("b.py")) == (OLD, ONE)
        await it.show()
        await it.at.see("Turn 2  undo by the command line")
        await it.at.press("home")
        await it.at.see("Change 3: a.py  modified +2 -2, an undo, hunk 1 of 3")
        await it.at.press("U")
        await until(lambda: it.text() == NEW, "it is there again")
        await it.show()
        assert it.at.line("Turn 2").endswith("nothing of it is left")
        assert it.at.line("Turn 3").endswith("1 file +2 -2")


async def test_a_turn_is_taken_back_after_a_question(work: OpenWork) -> None:
    """It says what would become of each file; nothing is done before the answer, and nothing by Escape."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", NEW)
        await it.edit("new.py", "new\n")
        await it.show()
        await it.at.see("hunk 1 of")
        await it.at.press("T")
        await it.at.see("Undo turn 1?", "Would be undone: a.py +2 -2", "Would be undone: new.py +0 -1, it goes")
        await it.at.press("x", "u", "escape")
        assert "Undo turn 1?" not in it.at.screen
        assert it.text() == NEW
        await it.at.press("T")
        await it.at.see("Undo turn 1?")
        await it.edit("late.py", "the agent goes on\n")  # it was not in the question
        await it.at.pilot.click(Button)
        await it.at.hear("Undone: a.py")
        assert it.text() == OLD
        assert not (it.workspace / "new.py").exists()
        assert (it.workspace / "late.py").exists()


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_the_answers_are_on_the_screen_however_many_files_there_are(
    work: OpenWork, size: tuple[int, int]
) -> None:
    """What a turn amounts to is scrolled through; the answers stay."""
    async with work(size=size) as it:
        for number in range(30):
            await it.edit(f"{number}.py", "x\n")
        await it.show()
        await it.at.see("hunk 1 of")
        await it.at.press("T")
        await it.at.see("Undo turn 1?", "y  Undo it", "Esc  Leave it", "Would be undone: 0.py")
        await it.at.press("end")
        await it.at.see("y  Undo it", "Would be undone: 9.py")
        await it.at.press("escape")
        assert (it.workspace / "29.py").exists()


async def test_what_was_changed_since_is_not_overwritten(work: OpenWork) -> None:
    """It says that nothing was done, and why; the question about a turn too."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", ONE)
        await it.show()
        await it.at.see("hunk 1 of 1")
        mine = ONE.replace("line four\n", "line 4, mine\n")
        (it.workspace / "a.py").write_text(mine)
        await it.at.press("u")
        await it.at.hear("Not undone: a.py: ")
        await it.at.press("T")
        await until(lambda: len(it.at.said) == 2, "it says so again")
        assert it.at.said[1].startswith("Not undone: a.py: ")
        assert it.text() == mine


async def test_what_somebody_else_took_back_first_is_not_taken_back_twice(work: OpenWork) -> None:
    """It says so, with who it was, and what stands there stays."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", NEW)
        told = await it.show()
        await it.at.see("hunk 1 of 3")
        done = await ask(it.server, "undo", {"ids": told["turns"][0]["files"][0]["ids"]})
        it.at.view.happened(
            [{"kind": "undone", "turn": done["turn"], "by": "somebody", "paths": [done["files"][0]["path"]]}]
        )
        await it.at.hear("Taken back by somebody: a.py.")
        await it.at.press("U")
        await it.at.hear("Nothing to do: a.py: ")
        assert it.text() == OLD


async def test_keys_that_come_twice_take_back_once(work: OpenWork) -> None:
    """While an undo is on its way no other begins."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", NEW)
        await it.show()
        await it.at.see("hunk 1 of 3")
        await asyncio.gather(it.at.view.action_undo(), it.at.view.action_undo(), it.at.view.action_undo_file())
        assert it.text() == NEW.replace("line four\n", "line 4\n")


async def test_a_refusal_is_said(work: OpenWork) -> None:
    """What the server does not do it explains."""
    async with work(a_py=OLD) as it:
        await it.edit("a.py", NEW)
        await it.show()
        await it.at.see("hunk 1 of 3")
        await ask(it.server, "changes/forget")
        await it.at.press("u")
        await it.at.hear("There is no change 1: ")
        await it.at.press("T")
        await it.at.hear("Nothing of turn 1 is left")


async def test_h_and_f5_ask_again(work: OpenWork) -> None:
    """For all turns or the latest; for a look at the work trees."""
    async with work() as it:
        await it.at.press("H", "f5", "ctrl+r", "H")
        asked = [(one.fresh, one.all) for one in it.at.posted if isinstance(one, ChangesView.Wanted)]
        assert asked == [(False, True), (True, True), (True, True), (False, False)]
        assert it.at.said == ["All turns.", "The latest turns."]


# In the whole UI.


async def changed(at: Scene, name: str, text: str) -> None:
    """An agent of its own writes a file."""
    one = await at.agent()
    await one.call("closeAllDiffTabs")
    await edit(one, at.workspace / name, text)


async def test_changes_come_by_themselves_and_are_followed(scene: OpenScene) -> None:
    """Each edit is shown as it lands, at its last hunk, whatever was on the screen."""
    async with scene() as at:
        one = await at.agent()
        await one.call("closeAllDiffTabs")
        (at.workspace / "a.py").write_text(OLD)
        await at.press("4", "f")
        await edit(one, at.workspace / "a.py", NEW)
        await at.see("Turn 1", "▌ [ ] hunk 3 of 3", "Changes 1")
        await edit(one, at.workspace / "a.py", NEW.replace("line 15\n", "line fifteen\n"))
        await at.see("▌ [ ] hunk 2 of 4")
        await edit(one, at.workspace / "b.py", "b\n")
        await at.see("b.py  new +1 -0", "+ b")
        await at.press("3", "f")
        await edit(one, at.workspace / "c.py", "c\n")
        # It is said, but the view stays: nobody follows any more.
        await at.see("Changes 3", "changed c.py +1 -0 without a review here", "Here: 2", "[3 Agents 1]")


async def test_the_last_one_of_a_burst_is_followed_too(scene: OpenScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come while the list is on its way that is shown because of the one before."""
    async with scene() as at:
        one = await at.agent()
        await one.call("closeAllDiffTabs")
        await at.press("4", "f")
        request, on_its_way, goes_on = at.app.session.request, asyncio.Event(), asyncio.Event()

        async def slow(method: str, params: Mapping[str, Any] | None = None) -> Any:
            answer = await request(method, params)
            if method == "changes" and answer["turns"]:
                on_its_way.set()
                await goes_on.wait()
            return answer

        monkeypatch.setattr(at.app.session, "request", slow)
        await edit(one, at.workspace / "a.py", "a\n")
        await on_its_way.wait()
        await edit(one, at.workspace / "b.py", "b\n")
        await at.see("b.py")  # in the log
        goes_on.set()
        await at.see("b.py  new +1 -0", "+ b")


async def test_many_edits_of_one_file_leave_room_for_it(work: OpenWork) -> None:
    """Its name and how it is shown matter more than each number."""
    async with work(size=(80, 24), a_py=OLD) as it:
        for number in range(12):
            await it.edit("a.py", NEW + "x\n" * number)
            await it.edit(f"{number}.py", "x\n")
        await it.show()
        await it.at.press("end", "up")
        await it.at.see("Changes 1 to 23 (12 of them): a.py  modified +13 -2, hunk 1 of 4")


async def test_all_turns_stay_on_the_screen_when_others_come(scene: OpenScene) -> None:
    """H holds until it is pressed again; what is told later does not take them away."""
    async with scene() as at:
        one = await at.agent()
        for number in (1, 2):
            await one.call("closeAllDiffTabs")
            await edit(one, at.workspace / f"{number}.py", "x\n")
        await at.press("2")
        await at.see("Turn 2", "1 earlier turn")
        await at.press("H")
        await at.see("Turn 1", "Turn 2")
        await edit(one, at.workspace / "3.py", "x\n")
        await at.see("3.py (new", "Turn 1")
        await at.press("f5")
        await at.see("Turn 1")
        await at.press("H")
        await at.miss("Turn 1 ")


async def test_an_undo_of_somebody_else_is_said_and_ours_is_not_said_twice(scene: OpenScene) -> None:
    """Who it was, and how to have it again."""
    async with scene(size=(120, 24)) as at:
        await changed(at, "a.py", "a\n")
        await at.press("2")
        await at.see("hunk 1 of 1")
        await at.settle(at.app.changes)
        await at.press("u")
        await at.see("Undone: a.py", "have it again", "undo by the terminal UI")
        assert "Taken back by" not in at.screen
        await ask(at.server, "undo", {"turn": 2})
        await at.see("Taken back by the command line: a.py. Have it again: pairside undo --turn 3")


async def test_a_key_typed_before_a_new_edit_was_drawn_takes_nothing_back(scene: OpenScene) -> None:
    """What has just become another change was not seen yet."""
    async with scene() as at:
        one = await at.agent()
        await one.call("closeAllDiffTabs")
        await edit(one, at.workspace / "a.py", "a\n")
        await at.press("2")
        await at.see("hunk 1 of 1")
        await at.settle(at.app.changes)
        await edit(one, at.workspace / "a.py", "a\nb\n")
        await at.see("+ b")
        await at.press("U")
        await at.see("This has just come: nothing was done. Press it again")
        assert (at.workspace / "a.py").read_text() == "a\nb\n"
        await at.settle(at.app.changes)
        await at.press("U")
        await at.see("Undone: a.py")
        assert not (at.workspace / "a.py").exists()
