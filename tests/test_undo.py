"""Taking changes back: hunk by hunk, file by file, turn by turn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pairside import disk
from pairside.archive import Recording
from pairside.changes import Changes, Means, State
from pairside.limits import Limits
from pairside.undo import Outcome, UndoError, undo

from .project import only, outcomes, project

NINE = "".join(f"{number}\n" for number in range(1, 10))


def with_lines(**lines: str) -> str:
    """Nine numbered lines, some of them replaced: `_2="two"`."""
    return "".join(f"{lines.get(f'_{number}', str(number))}\n" for number in range(1, 10))


async def test_a_turn_taken_back_leaves_the_tree_as_it_was_byte_by_byte(workspace: Path) -> None:
    """Edits, new files and folders, what a command edited, deleted, renamed, made executable, linked; modes too."""
    files: dict[str, str | bytes] = {
        "a.py": NINE, "bytes": b"\xff\0\r\n", "gone": "gone\n", "old": "renamed\n", "run": "#!/bin/sh\n",
        "crlf": "1\r\n2\r\n3", "bom": b"\xef\xbb\xbf1\n2\n", "latin": "é\n2\n".encode("latin-1"),
        "wide": "1\n2\n".encode("utf-16"), "folder/x": "x\n",
    }  # fmt: skip
    async with project(workspace, files) as work:
        os.chmod(workspace / "gone", 0o600)
        (workspace / "link").symlink_to("a.py")
        await work.look()
        before = work.tree()
        turn = await work.prompt()
        await work.edit("a.py", with_lines(_2="two"))
        await work.edit("a.py", with_lines(_2="two", _8="eight"))
        await work.edit("new/deep/b.py", "new\n")
        await work.edit("crlf", "1\r\ntwo\r\n3")
        await work.edit("latin", "é\nè\n".encode("latin-1"))
        await work.edit("bytes", b"\0\xfe")
        await work.shell(
            "echo shell >> a.py; rm gone; mv old renamed; chmod +x run; ln -sf run link; mkdir -p d/e; echo q > d/e/q;"
            "printf '1\\n' > bom; : > wide; rm -r folder; echo file > folder"
        )
        after = work.tree()
        done = await work.undo(turn=turn)
        assert set(outcomes(done, workspace).values()) == {Outcome.UNDONE}
        assert work.tree() == before
        states = work.changes.states()
        assert {states[one.id] for one in work.changes.of(turn)} == {State.UNDONE}
        assert done.turn is not None
        again = await work.undo(turn=done.turn)
        assert set(outcomes(again, workspace).values()) == {Outcome.UNDONE}
        assert work.tree() == after
        await work.undo(turn=again.turn)
        assert work.tree() == before


async def test_files_folders_and_links_take_each_others_places(workspace: Path) -> None:
    """What stood there comes back, and goes again when that is taken back, whatever had to give way."""
    async with project(workspace, {"file": "1\n", "also": "2\n", "folder/a/x": "3\n", "tree/b/y": "4\n"}) as work:
        (workspace / "link").symlink_to("folder")
        await work.look()
        before = work.tree()
        turn = await work.prompt()
        await work.shell(
            "rm -r file also link tree folder; mkdir -p file link/l also/deep; echo 5 > file/x; echo 6 > link/l/x;"
            "ln -s ../file also/deep/to; ln -s file folder; echo 7 > tree"
        )
        after = work.tree()
        for expected in (before, after, before):
            done = await work.undo(turn=turn)
            assert set(outcomes(done, workspace).values()) == {Outcome.UNDONE}
            assert work.tree() == expected
            assert done.turn is not None
            turn = done.turn
        await work.look()
        assert {one.means for one in work.changes if one.turn.is_undo} == {Means.UNDO}
        assert work.changes.turns[-1] is turn, "what gave way is nobody's change"


async def test_each_change_by_itself_from_the_last_to_the_first(workspace: Path) -> None:
    """After each of them the tree is as it was before it."""
    async with project(workspace, {"a": NINE, "b": NINE}) as work:
        await work.prompt()
        trees = [work.tree()]
        for name, text in (("a", with_lines(_2="two")), ("b", None), ("a", with_lines(_2="two", _8="8!")), ("c", "c")):
            await work.edit(name, text)
            trees.append(work.tree())
        for change in reversed(list(work.changes)):
            assert work.tree() == trees[change.id]
            assert only(await work.undo(ids=[change.id])).outcome is Outcome.UNDONE
            assert work.tree() == trees[change.id - 1]


async def test_an_earlier_edit_is_taken_back_and_the_later_one_stays(workspace: Path) -> None:
    """They changed different lines; where they changed the same, it is a conflict."""
    async with project(workspace, {"a": NINE}) as work:
        await work.prompt()
        await work.edit("a", with_lines(_2="two"))
        await work.edit("a", with_lines(_2="two", _8="eight"))
        await work.edit("a", with_lines(_2="two", _8="huit"))
        assert only(await work.undo(ids=[2])).outcome is Outcome.CONFLICT
        assert only(await work.undo(ids=[1])).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == with_lines(_8="huit")
        assert only(await work.undo(name="a")).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == NINE


async def test_hunks_are_taken_back_one_by_one(workspace: Path) -> None:
    """Of the net change of a file; the others stay, and in the end nothing is left of it."""
    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two"))
        await work.edit("a", with_lines(_2="two", _5="five", _8="eight"))
        (net,) = work.nets(turn)
        for number, left, state in (
            (2, with_lines(_2="two", _8="eight"), State.PARTLY),
            (1, with_lines(_8="eight"), State.PARTLY),
            (3, NINE, State.UNDONE),
        ):
            done = only(await work.undo(ids=net.ids, chosen=[number]))
            assert done.outcome is Outcome.UNDONE
            assert (workspace / "a").read_text() == left
            assert {work.changes.states()[id] for id in net.ids} == {state}
        assert only(await work.undo(ids=net.ids, chosen=[1])).outcome is Outcome.NOTHING


async def test_what_is_left_after_some_hunks_is_taken_back_by_the_same_numbers(workspace: Path) -> None:
    """Of one change and of several; what is taken back already is no conflict."""
    async with project(workspace, {"a": NINE}) as work:
        await work.prompt()
        await work.edit("a", with_lines(_2="two"))
        await work.edit("a", with_lines(_2="two", _5="five", _8="eight"))
        for ids, chosen in (((1, 2), 2), ((2,), 1)):
            before = work.tree()
            assert only(await work.undo(ids=ids, chosen=[chosen])).outcome is Outcome.UNDONE
            assert only(await work.undo(ids=ids)).outcome is Outcome.UNDONE
            assert (workspace / "a").read_text() == (NINE if len(ids) == 2 else with_lines(_2="two"))
            for undo_turn in reversed(work.changes.turns[-2:]):
                await work.undo(turn=undo_turn)
            assert work.tree() == before


async def test_having_one_hunk_again_leaves_the_other_taken_back(workspace: Path) -> None:
    """Each was taken back by itself: the second time by the numbers of what was left then."""
    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two", _5="five", _8="eight"))
        first = await work.undo(turn=turn, chosen=[1])
        second = await work.undo(turn=turn, chosen=[1])
        assert (workspace / "a").read_text() == with_lines(_8="eight")
        assert work.changes.states()[1] is State.PARTLY
        assert first.turn is not None
        assert second.turn is not None
        assert only(await work.undo(turn=first.turn)).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == with_lines(_2="two", _8="eight")
        await work.undo(turn=second.turn)
        assert (workspace / "a").read_text() == with_lines(_2="two", _5="five", _8="eight")
        assert work.changes.states()[1] is State.WRITTEN


async def test_what_was_taken_back_is_not_taken_back_a_second_time(workspace: Path) -> None:
    """Neither all of it nor a hunk: lines that came back, and were changed since, would come twice."""
    async with project(workspace, {"a": NINE}) as work:
        await work.prompt()
        await work.edit("a", NINE.replace("2\n3\n", "").replace("7\n8\n", ""))
        await work.undo(ids=[1], chosen=[1])
        mine = NINE.replace("3\n", "mine\n").replace("7\n8\n", "")
        await work.save("a", mine)
        assert only(await work.undo(ids=[1], chosen=[1])).outcome is Outcome.NOTHING
        assert (workspace / "a").read_text() == mine
        assert only(await work.undo(ids=[1])).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == NINE.replace("3\n", "mine\n")
        await work.save("a", NINE.replace("3\n", "mine\n").replace("8\n", "mine too\n"))
        assert only(await work.undo(ids=[1])).outcome is Outcome.NOTHING
        assert (workspace / "a").read_text() == NINE.replace("3\n", "mine\n").replace("8\n", "mine too\n")


async def test_nothing_is_listed_of_what_is_taken_back_beside_the_persons_own_lines(workspace: Path) -> None:
    """Though the person's change stands between the agent's and the undo of it."""
    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two"))
        await work.save("a", with_lines(_2="two", _8="mine"))
        done = await work.undo(turn=turn)
        assert (workspace / "a").read_text() == with_lines(_8="mine")
        assert work.changes.net([turn]) == work.changes.net() == []
        assert done.turn is not None
        assert len(work.changes.net([done.turn])) == 1
        await work.undo(turn=done.turn)
        assert (workspace / "a").read_text() == with_lines(_2="two", _8="mine")


async def test_what_the_person_changed_since_stays(workspace: Path) -> None:
    """Other lines of the file, before and after; its mode too."""
    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two", _5="five", _8="eight"))
        mine = "mine\n" + with_lines(_2="two", _4="4 is mine", _5="five", _8="eight") + "mine too\n"
        await work.mine("a", mine)
        os.chmod(workspace / "a", 0o755)
        assert only(await work.undo(turn=turn, chosen=[2])).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == mine.replace("five", "5")
        assert only(await work.undo(turn=turn)).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == "mine\n" + with_lines(_4="4 is mine") + "mine too\n"
        assert (workspace / "a").stat().st_mode & 0o777 == 0o755


async def test_where_both_changed_the_same_lines_nothing_is_written_and_both_are_told(workspace: Path) -> None:
    """The hunk by its number, and what stands there now; the other files of the turn are taken back."""
    async with project(workspace, {"a": NINE, "b": NINE}) as work:
        turn = await work.prompt()
        for name in "ab":
            await work.edit(name, with_lines(_2="two", _8="eight"))
        await work.mine("a", with_lines(_2="two", _8="mine"))
        before = (workspace / "a").stat()
        untouched = (before.st_ino, before.st_mtime_ns)
        done = await work.undo(turn=turn)
        assert outcomes(done, workspace) == {"a": Outcome.CONFLICT, "b": Outcome.UNDONE}
        after = (workspace / "a").stat()
        assert (after.st_ino, after.st_mtime_ns) == untouched
        (conflict,) = done.files[0].conflicts
        assert (conflict.number, conflict.start, conflict.lines) == (2, 7, ("mine\n",))
        assert only(await work.undo(turn=turn, chosen=[1])).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == with_lines(_8="mine")


@pytest.mark.parametrize(
    ("before", "after", "now", "why"),
    [
        (None, "new\n", "new\nmine\n", "remove it yourself"),
        ("old\n", None, "mine\n", "something else stands there now"),
        ("old\n", "new\n", None, "deleted since"),
        (b"\0", b"\1\0", b"\2\0", "no text that could be merged"),
    ],
)
async def test_what_cannot_be_merged_is_a_conflict(
    before: str | bytes | None, after: str | bytes | None, now: str | bytes | None, why: str, workspace: Path
) -> None:
    """A new file that was changed, a deleted one that is there again, one that is gone, bytes that are no text."""
    async with project(workspace, {} if before is None else {"a": before}) as work:
        await work.prompt()
        await work.edit("a", after)
        await work.mine("a", now)
        tree = work.tree()
        done = only(await work.undo(ids=[1]))
        assert (done.outcome, work.tree()) == (Outcome.CONFLICT, tree)
        assert why in done.why


async def test_a_file_with_unsaved_changes_is_left_and_named(workspace: Path) -> None:
    """Whichever name the editor has for it; the other files are taken back."""
    async with project(workspace, {"a": NINE, "b": NINE}) as work:
        turn = await work.prompt()
        for name in "ab":
            await work.edit(name, "agent\n")
        (workspace.parent / "alias").symlink_to(workspace)
        alias = str(workspace.parent / "alias" / "a")
        work.running.editor.texts[alias] = "unsaved"
        work.running.editor.dirty.add(alias)
        done = await work.undo(turn=turn)
        assert outcomes(done, workspace) == {"a": Outcome.UNSAVED, "b": Outcome.UNDONE}
        assert "unsaved changes" in done.files[0].why
        assert (workspace / "a").read_text() == "agent\n"


async def test_an_editor_that_does_not_answer_could_have_unsaved_changes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written then, and the answer does not wait for it for long."""
    monkeypatch.setattr("pairside.undo.EDITOR_SECONDS", 0.05)
    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", "agent\n")
        with work.running.editor.stalled():
            done = only(await work.undo(turn=turn))
        assert done.outcome is Outcome.UNSAVED
        assert "does not answer" in done.why
        assert only(await work.undo(turn=turn)).outcome is Outcome.UNDONE


async def test_the_editor_is_told_which_files_to_look_at(workspace: Path) -> None:
    """What was taken back, and what a command changed."""
    async with project(workspace, {"a": NINE, "b": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", "agent\n")
        await work.shell("echo shell > b")
        await work.running.bridge.settle()
        assert str(workspace / "b") in work.running.editor.reloaded
        work.running.editor.reloaded.clear()
        await work.undo(turn=turn)
        await work.running.bridge.settle()
        assert sorted(work.running.editor.reloaded) == [str(workspace / "a"), str(workspace / "b")]


async def test_a_dry_run_tells_the_same_and_writes_nothing(workspace: Path) -> None:
    """Neither to the files nor to what is known."""
    async with project(workspace, {"a": NINE, "b": NINE}) as work:
        turn = await work.prompt()
        for name in "ab":
            await work.edit(name, "agent\n")
        await work.mine("b", "mine\n")
        await work.look()
        tree, known = work.tree(), len(work.changes)
        would = await work.undo(turn=turn, dry_run=True)
        assert (work.tree(), len(work.changes), would.turn) == (tree, known, None)
        assert outcomes(would, workspace) == outcomes(await work.undo(turn=turn), workspace)


async def test_folders_that_were_there_stay_and_those_made_for_a_file_go(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder of the person's is none of ours, whether a tool wrote into it or a command."""
    monkeypatch.setattr("pairside.snapshots._CLOCK_SECONDS", 0.0)
    async with project(workspace, {"a": "a"}) as work:
        (workspace / "empty" / "inner").mkdir(parents=True)
        (workspace / "mine").mkdir()
        (workspace / "empty" / "shell").mkdir()
        turn = await work.prompt()
        await work.edit("empty/inner/new", "new\n")
        await work.edit("made/deep/new", "new\n")
        await work.edit("mine/also", "new\n")
        await work.shell("echo q > empty/shell/q; mkdir -p empty/inner/made; echo q > empty/inner/made/q")
        await work.mine("made/other", "mine\n")
        await work.undo(turn=turn)
        assert sorted(name for name, what in work.tree().items() if what == "folder") == [
            "empty", "empty/inner", "empty/shell", "made", "mine",
        ]  # fmt: skip


async def test_a_folder_that_holds_no_file_gives_way_to_the_file_that_was_there(workspace: Path) -> None:
    """To git such a folder is nothing. What the undo itself takes away holds it up no more, and a dry run knows it."""
    async with project(workspace, {"bare": "1\n", "nested": "2\n", "also": "3\n"}) as work:
        turn = await work.prompt()
        await work.shell("rm bare nested also; mkdir bare; mkdir -p nested/a/b nested/c also/d; echo > also/d/x")
        planned = await work.undo(turn=turn, dry_run=True)
        done = await work.undo(turn=turn)
        assert [(one.path, one.outcome) for one in planned.files] == [(one.path, one.outcome) for one in done.files]
        assert {one.outcome for one in done.files} == {Outcome.UNDONE}
        assert {name: (workspace / name).read_text() for name in os.listdir(workspace) if name != ".git"} == {
            "bare": "1\n", "nested": "2\n", "also": "3\n",
        }  # fmt: skip


async def test_a_dry_run_knows_what_lies_in_a_folder_in_the_way(workspace: Path) -> None:
    """What is ignored is in no change, and yet is in the way of the file that was there: both runs say so."""
    async with project(workspace, {"file": "1\n", ".gitignore": "*.log\n"}) as work:
        turn = await work.prompt()
        await work.shell("rm file; mkdir -p file/a; echo > file/x; echo > file/a/y.log")
        planned = await work.undo(turn=turn, dry_run=True)
        done = await work.undo(turn=turn)
        for files in (planned.files, done.files):
            assert {os.path.relpath(one.path, workspace): (one.outcome, one.why) for one in files} == {
                "file": (Outcome.FAILED, f"a folder stands there now, and in it {workspace}/file/a/y.log"),
                "file/x": (Outcome.UNDONE, ""),
            }
        assert (workspace / "file/a/y.log").exists()


@pytest.mark.parametrize("command", ["ln -s away folder", "echo 1 > folder"])
async def test_a_dry_run_knows_what_stays_in_the_place_of_a_folder(workspace: Path, command: str) -> None:
    """What the agent put there was changed since, so it stays, and what was in the folder cannot come back."""
    async with project(workspace, {"folder/x": "1\n"}) as work:
        turn = await work.prompt()
        await work.shell(f"rm -r folder; {command}")
        (workspace / "folder").unlink()
        (workspace / "folder").symlink_to("elsewhere")
        tree = work.tree()
        planned = await work.undo(turn=turn, dry_run=True)
        done = await work.undo(turn=turn)
        assert [(one.outcome, one.why) for one in planned.files] == [(one.outcome, one.why) for one in done.files]
        assert {os.path.relpath(one.path, workspace): one.outcome for one in done.files} == {
            "folder": Outcome.CONFLICT,
            "folder/x": Outcome.FAILED,
        }
        assert work.tree() == tree


async def test_what_stands_in_the_way_is_named(workspace: Path) -> None:
    """A file where a folder was, a folder where a file was: both stay."""
    async with project(workspace, {"folder/x": "1\n", "file": "2\n"}) as work:
        turn = await work.prompt()
        await work.shell("rm -r folder file")
        await work.mine("folder", "mine\n")
        await work.mine("file/y", "mine\n")
        tree = work.tree()
        for dry_run in (True, False):
            done = await work.undo(turn=turn, dry_run=dry_run)
            assert {os.path.relpath(one.path, workspace): one.why for one in done.files} == {
                "folder/x": f"{workspace}/folder is not a folder any more",
                "file": f"a folder stands there now, and in it {workspace}/file/y",
            }
        assert work.tree() == tree


async def test_a_link_that_took_the_place_of_a_folder_is_not_followed(workspace: Path, tmp_path: Path) -> None:
    """What lies outside is neither read nor written."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("agent\n")
    async with project(workspace, {"d/a": "old\n"}) as work:
        turn = await work.prompt()
        await work.edit("d/a", "agent\n")
        await work.look()
        (workspace / "d").rename(workspace / "elsewhere")
        (workspace / "d").symlink_to(outside)
        done = await work.undo(turn=turn)
        assert outcomes(done, workspace) == {"d/a": Outcome.FAILED}
        assert (outside / "a").read_text() == "agent\n"
        assert os.listdir(outside) == ["a"]


async def test_a_file_that_changes_in_the_last_moment_is_merged_anew(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between working it out and writing it the person saved other lines."""
    put, mine = disk.put, with_lines(_2="two", _8="mine")

    def interrupted(path: str, *arguments: object, **named: object) -> None:
        monkeypatch.setattr(disk, "put", put)
        (workspace / "a").write_text(mine)
        put(path, *arguments, **named)  # type: ignore[arg-type]

    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two"))
        monkeypatch.setattr(disk, "put", interrupted)
        assert only(await work.undo(turn=turn)).outcome is Outcome.UNDONE
        assert (workspace / "a").read_text() == with_lines(_8="mine")


async def test_hunks_that_do_not_exist_are_named_with_how_many_there_are(workspace: Path) -> None:
    """And hunks of several changes, or of bytes, make no sense."""
    async with project(workspace, {"a": NINE, "b": b"\0"}) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two", _8="eight"))
        await work.edit("b", b"\0\1")
        tree = work.tree()
        with pytest.raises(UndoError, match=r"no hunk 3: hunks are 1 to 2"):
            await work.undo(ids=[1], chosen=[1, 3])
        with pytest.raises(UndoError, match="within one change"):
            await work.undo(turn=turn, chosen=[1])
        with pytest.raises(UndoError, match="no text"):
            await work.undo(ids=[2], chosen=[1])
        assert work.tree() == tree


async def test_what_was_not_kept_cannot_be_undone_and_says_why(workspace: Path) -> None:
    """Too large, or excluded by the person; the file is left as it is."""
    limits, recording = Limits(before_image_bytes=100), Recording(exclude=("secret*",))
    async with project(workspace, {"large": "x" * 101, "secret.txt": "s"}, limits=limits, recording=recording) as work:
        turn = await work.prompt()
        await work.edit("large", "y" * 102)
        await work.edit("secret.txt", "t")
        await work.shell("echo more >> secret.txt; echo more >> large")
        done = await work.undo(turn=turn)
        assert set(outcomes(done, workspace).values()) == {Outcome.FAILED}
        assert [one.why for one in done.files] == [
            "what it was before is not kept: larger than 100 bytes",
            "what it was before is not kept: excluded by changes.exclude (secret*)",
        ]
        kept = [work.changes.store.get(digest) for digest in work.changes.digests()]
        assert not any(data and b"s" in data for data in kept)


async def test_what_could_not_be_had_again_is_not_taken_away(workspace: Path) -> None:
    """A new file that is too large to be kept stays, and a dry run tells so too."""
    async with project(workspace, {"a": "a"}, limits=Limits(before_image_bytes=100)) as work:
        turn = await work.prompt()
        await work.edit("large", "y" * 101)
        for dry_run in (True, False):
            done = only(await work.undo(turn=turn, dry_run=dry_run))
            assert (done.outcome, done.why) == (
                Outcome.FAILED,
                "what stands there now is not kept, and could not be had again: larger than 100 bytes",
            )
        assert (workspace / "large").exists()


async def test_what_became_of_all_changes_is_worked_out_once_for_an_undo(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for each file: a command may change thousands of them."""
    async with project(workspace, {f"f{number}": "1\n" for number in range(20)}) as work:
        turn = await work.prompt()
        await work.shell("for file in f*; do echo 2 > $file; done")
        asked = 0
        states = Changes.states

        def counted(changes: Changes) -> dict[int, State]:
            nonlocal asked
            asked += 1
            return states(changes)

        monkeypatch.setattr(Changes, "states", counted)
        nets = work.nets(turn)
        asked = 0
        done = await undo(work.running.bridge, nets, by="a test")
        assert set(outcomes(done, workspace).values()) == {Outcome.UNDONE}
        assert len(done.files) == 20
        assert asked == 1


async def test_without_git_the_known_writes_are_taken_back(workspace: Path) -> None:
    """What a command did is not known there."""
    async with project(workspace, {"a": NINE}, git=False) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two"))
        await work.shell("echo shell > b")
        assert work.told() == [("a", "edit", False)]
        await work.undo(turn=turn)
        assert (workspace / "a").read_text() == NINE


async def test_two_agents_in_one_file_are_told_apart(workspace: Path) -> None:
    """Taking the turn of one back leaves the lines of the other."""
    async with project(workspace, {"a": NINE}, agents=2) as work:
        first, second = await work.prompt(0), await work.prompt(1)
        await work.edit("a", with_lines(_2="one"), agent=0)
        await work.edit("a", with_lines(_2="one", _8="other"), agent=1)
        await work.edit("a", with_lines(_2="one", _5="one", _8="other"), agent=0)
        assert [change.turn for change in work.changes] == [first, second, first]
        await work.undo(turn=first)
        assert (workspace / "a").read_text() == with_lines(_8="other")


async def test_what_the_person_saved_in_an_editor_is_not_in_the_turn(workspace: Path) -> None:
    """Before, between and after the agent's own work."""
    async with project(workspace, {"a": NINE, "b": NINE}) as work:
        turn = await work.prompt()
        await work.save("b", "mine\n")
        await work.edit("a", with_lines(_2="two"))
        await work.save("a", with_lines(_2="two", _5="mine"))
        await work.shell("echo shell >> a")
        assert [(name, means) for name, means, _ in work.told()] == [("a", "edit"), ("a", "other")]
        await work.undo(turn=turn)
        assert (workspace / "a").read_text() == with_lines(_5="mine")
        assert (workspace / "b").read_text() == "mine\n"


async def test_what_came_after_the_last_sign_of_work_is_left(workspace: Path) -> None:
    """It is listed as late; by its id it can be taken back all the same."""
    async with project(workspace, {"a": NINE, "b": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", "agent\n")
        await work.mine("b", "mine\n")
        await work.look()
        assert work.told() == [("a", "edit", False), ("b", "other", True)]
        assert outcomes(await work.undo(turn=turn), workspace) == {"a": Outcome.UNDONE}
        assert (workspace / "b").read_text() == "mine\n"
        assert only(await work.undo(ids=[2])).outcome is Outcome.UNDONE


async def test_an_undo_is_nobodys_change_by_other_means(workspace: Path) -> None:
    """The next look at the work tree finds it explained."""
    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", "agent\n")
        await work.undo(turn=turn)
        await work.look()
        assert [change.means for change in work.changes] == [Means.EDIT, Means.UNDO]


async def test_the_agent_goes_on_after_an_undo(workspace: Path) -> None:
    """Its next write of the file is a change of its own, from what stood there then."""
    async with project(workspace, {"a": NINE}) as work:
        turn = await work.prompt()
        await work.edit("a", with_lines(_2="two"))
        await work.undo(turn=turn)
        await work.edit("a", with_lines(_8="eight"))
        (net,) = work.nets(turn)
        assert work.last().means is Means.EDIT
        await work.undo(ids=[work.last().id])
        assert (workspace / "a").read_text() == NINE
        assert net.path == str(workspace / "a")
