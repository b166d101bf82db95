"""Proposals on the screen: read, chosen hunk by hunk, decided, and nothing decided by accident."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key

from pairside import testing
from pairside.tui import app
from pairside.tui.app import PairsideApp
from pairside.tui.reading import SETTLE_SECONDS
from pairside.tui.session import Refused
from tests.tui.conftest import SECONDS, OpenScene, Scene
from tests.tui.mounted import ask
from tests.tui.screens import approve
from tests.until import until

OLD = "".join(f"line {number}\n" for number in range(1, 61))
NEW = (
    OLD.replace("line 4\n", "line four\n")
    .replace("line 31\n", "line 31\n\tnew one  \nanother 日本\n")
    .replace("line 51\n", "")
)
"""Three hunks, far apart."""


async def proposed(at: Scene, name: str = "a.py", old: str | None = OLD, new: str = NEW) -> testing.Agent:
    """A proposal that is on the screen and can be decided; the agent that made it."""
    one = await at.agent()
    if old is not None:
        (at.workspace / name).write_text(old)
    at.propose(one, name, new)
    await at.see("[x] hunk 1 of")
    await at.settle()
    return one


async def verdict(at: Scene, number: int = 0) -> list[str]:
    """What the agent was answered."""
    await until(at.proposals[number].done, "the agent is answered")
    return at.proposals[number].result()


async def test_a_proposal_is_accepted_whole(scene: OpenScene, moment: None) -> None:
    """The agent is answered with all of it, and the list is empty."""
    async with scene() as at:
        await proposed(at)
        await approve(at.app, "a_proposal")
        await at.press("a")
        assert await verdict(at) == ["FILE_SAVED", NEW]
        await at.see("Accepted a.py: Claude Code writes it now.", "No proposal waits.")


async def test_two_of_three_hunks_are_accepted(scene: OpenScene, moment: None) -> None:
    """What was left out stays as it was."""
    async with scene() as at:
        await proposed(at)
        await at.press("n", "space")
        await at.see("[ ] hunk 2 of 3", "left out", "hunk 2 of 3, 2 chosen")
        await approve(at.app, "a_hunk_left_out")
        await at.press("s")
        answer = await verdict(at)
        assert answer == ["FILE_SAVED", OLD.replace("line 4\n", "line four\n").replace("line 51\n", "")]
        await at.see("Accepted hunks 1, 3 of a.py")


async def test_all_is_not_accepted_by_accident_where_hunks_were_left_out(scene: OpenScene) -> None:
    """The key for all of it says so, and another one means it."""
    async with scene() as at:
        await proposed(at)
        await at.press("space", "a")
        await at.see("1 hunk is left out: s accepts the others, A accepts all.")
        assert not at.proposals[0].done()
        await at.press("A")
        assert await verdict(at) == ["FILE_SAVED", NEW]


async def test_no_hunk_chosen_is_no_rejection_by_accident(scene: OpenScene) -> None:
    """It says which key rejects."""
    async with scene() as at:
        await proposed(at)
        await at.press("space", "n", "space", "n", "space", "s")
        await at.see("No hunk is chosen: r rejects the proposal.")
        assert not at.proposals[0].done()
        await at.press("r")
        assert (await verdict(at))[0] == "DIFF_REJECTED"
        await at.see("Rejected. Claude Code waits")


async def test_a_key_typed_before_the_proposal_was_drawn_decides_nothing(scene: OpenScene) -> None:
    """Nor does one that was typed in the moment in which it came."""
    async with scene() as at:
        one = await at.agent()
        task = at.propose(one, "new.py", "x = 1\n")
        while "[x] hunk 1 of 1" not in at.screen:
            await at.press("a")
        await at.press("a")
        await at.see("This has just come: nothing was done. Press it again")
        assert not task.done()
        await at.settle()
        await at.press("a")
        assert await verdict(at) == ["FILE_SAVED", "x = 1\n"]


async def test_after_a_decision_the_next_proposal_is_not_decided_by_the_same_stroke(scene: OpenScene) -> None:
    """A key that repeats itself decides once."""
    async with scene() as at:
        one = await at.agent()
        for name in ("a.py", "b.py"):
            at.propose(one, name, f"{name}\n")
            await at.see(f"{name} (new)")
        await at.settle()
        await at.press("a", "a", "a")
        await verdict(at)
        await at.see("Review 2: Claude Code proposes a new file b.py")
        assert not at.proposals[1].done()


async def test_somebody_else_decides_first(scene: OpenScene) -> None:
    """The view says who, and moves on to the next one."""
    async with scene() as at:
        one = await at.agent()
        at.propose(one, "a.py", "a\n")
        await at.see("Review 1: Claude Code proposes a new file a.py")
        at.propose(one, "b.py", "b\n")
        await at.see("b.py (new)")
        await ask(at.server, "review/reject", {"id": 1})
        await at.see(
            "! Review 1 (a.py): rejected by the command line", "Review 2: Claude Code proposes a new file b.py"
        )


async def test_others_are_told_that_it_was_decided_here(scene: OpenScene) -> None:
    """Whoever comes later, and the log, read who was first."""
    async with scene() as at:
        await proposed(at)
        await at.press("r")
        await verdict(at)
        with pytest.raises(Refused, match="rejected by the terminal UI"):
            await ask(at.server, "review/accept", {"id": 1})
        await at.press("4")
        await at.see("Review 1 (a.py): rejected by the terminal UI")


async def test_a_key_that_comes_second_says_who_was_first(scene: OpenScene) -> None:
    """Where somebody else decides in the same moment nothing of theirs is changed."""
    async with scene() as at:
        await proposed(at)
        ask_before = at.app.reviews._ask

        async def slow(method: str, params: Mapping[str, Any]) -> Any:
            if method == "review/accept":
                await ask(at.server, "review/reject", {"id": 1})
            return await ask_before(method, params)

        at.app.reviews._ask = slow
        await at.press("a")
        assert (await verdict(at))[0] == "DIFF_REJECTED"
        await at.see("! Review 1 was rejected by the command line.")


async def test_the_agent_dies_while_its_proposal_is_shown(scene: OpenScene) -> None:
    """It is gone from the list, and the view says why."""
    async with scene() as at:
        one = await at.agent()
        at.propose(one, "a.py", "a\n")
        await at.see("Review 1: Claude Code proposes a new file a.py")
        one.socket.transport.abort()
        await at.see("No proposal waits.", "left: lost 1006")
        await at.press("a", "r", "s", "e", "A", "space", "n", "y")
        await at.press("4")
        await at.see("Review 1 (a.py): withdrawn")


# Twenty at once.


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (170, 45)])
async def test_twenty_proposals_are_gone_through_and_decided(scene: OpenScene, size: tuple[int, int]) -> None:
    """The list scrolls, the cursor stays on its proposal while others come and go, and each is what its agent gets."""
    async with scene(size=size) as at:
        one, two = await at.agent(), await at.agent()
        for first, who in ((0, one), (10, two)):
            for number in range(first, first + 10):
                at.propose(who, f"file{number:02}.py", f"{number}\n")
            await until(
                lambda: len(at.app.reviews.list.entries) % 10 == 0 and bool(at.app.reviews.list.entries), "there"
            )
        await at.see("Reviews 20", "file00.py", "Review 1: ")
        await at.press("end")
        await at.see("Review 20: ", "file19.py")
        await at.press("K", "k", "up", "pageup", "home", "j", "J", "down")
        await at.see("Review 4: ")
        await ask(at.server, "review/reject", {"id": 2})
        await ask(at.server, "review/reject", {"id": 20})
        await until(lambda: len(at.app.reviews.list.entries) == 18, "two are decided")
        await at.see("Review 4: ")
        await at.settle()
        await at.press("a")
        assert await verdict(at, 3) == ["FILE_SAVED", "3\n"]
        await at.see("Review 5: ")
        await at.settle()
        await at.press("r")
        assert (await verdict(at, 4))[0] == "DIFF_REJECTED"
        await until(lambda: len(at.app.reviews.list.entries) == 16, "two more are decided")
        await one.socket.close()
        left = list(range(11, 20))
        await until(lambda: [one.key for one in at.app.reviews.list.entries] == left, "the others stay")
        await at.see("Review 11: ")


# What texts can be.


async def test_an_original_that_is_no_text_is_decided_as_a_whole(scene: OpenScene) -> None:
    """It says so, and no key chooses a part of it."""
    async with scene() as at:
        (at.workspace / "a.bin").write_bytes(b"\xff\x00\xfe" * 10)
        at.propose(await at.agent(), "a.bin", "text\n")
        await at.see("All of it, as it cannot be divided", "cannot be shown as text", "+ text")
        await at.settle()
        await at.press("space", "n", "p", "s")
        assert await verdict(at) == ["FILE_SAVED", "text\n"]


async def test_everything_in_a_line_can_be_seen(scene: OpenScene) -> None:
    """Tabs, blanks at the far edge, control characters and wide ones; a long line is moved to the side."""
    line = "a\tb" + "x" * 200 + "the far edge  "
    async with scene() as at:
        at.propose(await at.agent(), "a.txt", f"\tone  \n日本語\n\x1b[31mred\n{line}\nlast")
        await at.see("→   one··", "日本語", "\\x1b[31mred", "a→  b", "newline at the end")
        assert "the far edge" not in at.screen
        await at.press("enter", *["right"] * 20)
        await at.see("the far edge··")
        await at.press(*["left"] * 20, "l", "l", "h", "h")
        await at.see("a→  b")


async def test_a_line_end_that_is_added_is_said(scene: OpenScene) -> None:
    """Nothing else tells the two lines apart."""
    async with scene(size=(120, 24)) as at:
        (at.workspace / "a.txt").write_text("one\ntwo")
        at.propose(await at.agent(), "a.txt", "one\ntwo\n")
        await at.see("- two", "+ two", "adds the newline at the end")


async def test_letters_of_a_search_decide_nothing(scene: OpenScene) -> None:
    """Also where they are there before the line for them is, as all come in one go over a slow line."""
    async with scene() as at:
        await proposed(at)
        for key in ("/", *"area"):
            at.app.post_message(Key("slash" if key == "/" else key, key))
        await at.see("Search: area")
        assert not at.proposals[0].done()
        assert len(at.app.screen_stack) == 1


async def test_where_nothing_waits_there_is_nothing_to_search(scene: OpenScene) -> None:
    """What comes next is not shown with a search that nobody sees begin."""
    async with scene() as at:
        await at.press("/")
        await proposed(at)
        assert "Search:" not in at.screen


async def test_line_ends_of_the_other_kind_are_no_difference(scene: OpenScene) -> None:
    """Agents speak LF and restore CRLF themselves; one that proposes it is seen to do so."""
    async with scene() as at:
        (at.workspace / "a.txt").write_bytes(b"one\r\ntwo\r\n")
        at.propose(await at.agent(), "a.txt", "one\n2\n")
        await at.see("[x] hunk 1 of 1, line 2", "- two", "+ 2")
        assert "\\r" not in at.screen
        at.propose(await at.agent(), "b.txt", "one\r\n2\n")
        await at.see("b.txt (new)")
        await at.press("J")
        await at.see("+ one\\r")


async def test_the_file_changes_on_disk_while_its_proposal_is_shown(scene: OpenScene) -> None:
    """It is said before and after the decision, since the agent will not write it then."""
    async with scene() as at:
        await proposed(at)
        (at.workspace / "a.py").write_text("something else\n")
        at.propose(await at.agent(), "b.py", "b\n")  # any event is a reason to look
        await at.see("(changed on disk)", "the file changed on disk after this was proposed")
        await at.press("a")
        await at.see("but the file changed after it was proposed")


async def test_two_proposals_for_one_file_know_of_each_other(scene: OpenScene) -> None:
    """Each says which the other is."""
    async with scene() as at:
        one, two = await at.agent(), await at.agent()
        at.propose(one, "a.py", "a\n")
        at.propose(two, "a.py", "b\n")
        await at.see("Warning: review 2 is for the same file.")
        await at.press("J")
        await at.see("Warning: review 1 is for the same file.")


# The person's editor.


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's editor: a script, to be filled by the test. There is no terminal that it could be given."""
    path = tmp_path / "editor"
    monkeypatch.setenv("VISUAL", str(path))
    monkeypatch.setattr(PairsideApp, "suspend", lambda self: contextlib.nullcontext())
    return path


def script(path: Path, text: str) -> None:
    """Make a program of a text."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


async def test_keys_that_follow_each_other_from_before_decide_nothing(
    scene: OpenScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who types on while a proposal comes has not seen it, however long they type; after a pause the key counts."""
    async with scene() as at:
        one = await at.agent()
        with monkeypatch.context() as patched:
            patched.setattr(app, "SETTLE_SECONDS", SECONDS)  # no pause of ours between two keys is one
            await at.press("a")
            task = at.propose(one, "a.py", "a\n")
            await at.see("[x] hunk 1 of 1")
            drawn_at = time.monotonic()
            told = "nothing was done. Press it again in a moment."
            while time.monotonic() < drawn_at + 2 * SETTLE_SECONDS or told not in at.screen:
                await at.press("a")
            assert not task.done()
        await at.rest()
        await at.press("a")
        assert await verdict(at) == ["FILE_SAVED", "a\n"]


async def test_after_the_last_decision_in_the_diff_the_keys_are_for_the_next_proposal(scene: OpenScene) -> None:
    """The diff is gone from the screen, and with it what took the keys."""
    async with scene() as at:
        one = await proposed(at, new=OLD + "more\n")
        await at.press("enter", "a")
        await verdict(at)
        await at.see("No proposal waits.")
        at.propose(one, "b.py", "b\n")
        await at.see("Review 2: Claude Code proposes a new file b.py")
        await at.settle()
        await at.press("r")
        assert (await verdict(at, 1))[0] == "DIFF_REJECTED"


async def test_where_nothing_waits_it_is_said_who_is_connected(scene: OpenScene) -> None:
    """Whoever is connected needs no advice how to connect."""
    async with scene() as at:
        await at.see("No proposal waits.", "Start an agent in another terminal:")
        await at.agent()
        await at.see("No proposal waits. Connected: Claude Code", "What it writes without asking")
        await at.miss("Start an agent")


async def test_a_proposal_is_edited_and_then_accepted(scene: OpenScene, editor: Path) -> None:
    """The agent gets the text as it was saved, after a question."""
    script(editor, "sed -i s/four/FOUR/ $1")
    async with scene() as at:
        await proposed(at)
        await at.press("e")
        await at.see("a.py: accept the edited text?", "a  Accept", "e  Edit again", "Leave it pending")
        assert not at.proposals[0].done()
        await at.press("a")
        assert await verdict(at) == ["FILE_SAVED", NEW.replace("four", "FOUR")]
        await at.see("Accepted a.py", "No proposal waits.")


async def test_only_the_hunks_that_are_chosen_are_edited(scene: OpenScene, editor: Path) -> None:
    """What was left out is not in the draft."""
    async with scene() as at:
        script(editor, f"cp $1 {editor}.seen")
        await proposed(at)
        await at.press("n", "space", "e")
        await at.see("accept the edited text?")
        assert Path(f"{editor}.seen").read_text() == OLD.replace("line 4\n", "line four\n").replace("line 51\n", "")
        await at.press("e")  # once more
        await at.see("accept the edited text?")
        await at.press("escape")
        await at.see("Nothing was decided.")
        assert not at.proposals[0].done()


async def test_an_edited_text_that_is_not_accepted_is_kept(scene: OpenScene, editor: Path) -> None:
    """Nothing that the person wrote is lost, also where somebody else decided meanwhile."""
    script(editor, "echo mine >> $1")
    async with scene(size=(160, 24)) as at:
        await proposed(at)
        await at.press("e")
        await at.see("accept the edited text?")
        await ask(at.server, "review/reject", {"id": 1})
        await at.press("a")
        await at.see("Review 1 was rejected by the command line. The edited text is kept in ")
        kept = at.screen.split("is kept in ")[1].split()[0]
        assert Path(kept).read_text() == NEW + "mine\n"
        assert os.stat(kept).st_mode & 0o777 == 0o600


async def test_an_editor_that_fails_decides_nothing(scene: OpenScene, editor: Path) -> None:
    """It is said which one it was and how to set another."""
    script(editor, "exit 3")
    async with scene() as at:
        await proposed(at)
        await at.press("e")
        await at.see("ended with status 3: nothing was decided.")
        assert not at.proposals[0].done()


async def test_what_was_saved_before_the_editor_failed_is_kept(scene: OpenScene, editor: Path) -> None:
    """Also what was saved in an earlier round; where nothing was saved there is nothing to keep."""
    async with scene(size=(160, 24)) as at:
        script(editor, "exit 1")
        await proposed(at)
        await at.press("e")
        await at.see("ended with status 1: nothing was decided.")
        assert "is kept" not in at.screen
        script(editor, "echo mine >> $1")
        await at.press("e")
        await at.see("accept the edited text?")
        script(editor, "exit 2")
        await at.press("e")
        await at.see("ended with status 2: nothing was decided.", "What was saved is kept: ")
        kept = " ".join(at.screen.split()).split("is kept: ")[1].split()[0]
        assert Path(kept).read_text() == NEW + "mine\n"


async def test_a_draft_that_is_gone_decides_nothing(scene: OpenScene, editor: Path) -> None:
    """An editor, or whoever cleans up, deleted it."""
    script(editor, "rm $1")
    async with scene(size=(160, 24)) as at:
        await proposed(at)
        await at.press("e")
        await at.see("No such file or directory. Nothing was decided.")
        assert not at.proposals[0].done()


async def test_where_no_editor_can_be_opened_it_says_what_to_type(scene: OpenScene) -> None:
    """A screen that cannot be left for a while, as this one without a terminal."""
    async with scene() as at:
        await proposed(at)
        await at.press("e")
        await at.see("! No editor can be opened from here: pairside edit 1")


# Others.


async def test_following_shows_each_proposal_as_it_comes(scene: OpenScene) -> None:
    """Also over another view, and under a page that lies on it; f ends it."""
    async with scene() as at:
        await at.press("4", "f")
        await at.see("follows ")
        one = await at.agent()
        at.propose(one, "a.py", "a\n")
        await at.see("Review 1: ")
        await at.press("3", "question_mark")
        at.propose(one, "b.py", "b\n")
        await until(lambda: len(at.app.reviews.list.entries) == 2, "it is in the list")
        await at.press("escape")
        await at.see("b.py (new)")
        await at.press("f", "3")
        await at.see("Follows no more.")
        at.propose(one, "c.py", "c\n")
        await at.see("Reviews 3")
        assert "c.py" not in at.screen


async def test_the_path_is_copied(scene: OpenScene) -> None:
    """The real one, whole."""
    async with scene() as at:
        await proposed(at)
        await at.press("y")
        assert at.app.clipboard == str(at.workspace / "a.py")
        await at.see("Copied:")
