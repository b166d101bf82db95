"""`pairside changes`, `pairside undo` and `pairside review --changes`: with servers, and with what they have kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import pairside
from tests.cli.robot import PID, Robot, write_unreviewed
from tests.cli.terminal import Terminal
from tests.cli.test_client import HEAVY
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

OpenTerminal = Callable[..., Terminal]
ESCAPES = "\x1b]0;title\x07\x9b31m\u202eevil\u2066"
LINES = [f"line {number}\n" for number in range(1, 41)]
TIME = re.compile(r"\d\d:\d\d:\d\d")
KEPT = "No server runs here: these are the changes that were kept.\n"
UNSAVED = """
import os, sys
from pairside.__main__ import main
from pairside.editor import Document
from pairside.editors.embedded import EmbeddedEditor

async def documents(self):
    return (Document(os.path.join(os.getcwd(), "a.txt"), "plaintext", 1, dirty=True),)

EmbeddedEditor.name = "Neovim"
EmbeddedEditor.documents = documents
sys.argv = ["pairside", "serve"]
main()
"""
"""A server whose editor has unsaved changes in a.txt."""


def text(*numbers: int, word: str = "changed") -> str:
    """The forty lines with some of them changed."""
    return "".join(f"{word} {n}\n" if n in numbers else line for n, line in enumerate(LINES, 1))


def lines_of(output: str) -> list[str]:
    """The lines of an output without the times of day."""
    return TIME.sub("TIME", output).splitlines()


def prompt(robot: Robot) -> None:
    """The agent gets a new prompt, and asks as Claude Code does then."""
    robot.call("getDiagnostics")
    robot.call("closeAllDiffTabs")


def by_command(robot: Robot, home: Home, name: str, content: str) -> None:
    """Let an agent's shell write a file, and let it finish that."""
    home.write(name, content)
    robot.call("getDiagnostics")


def fingerprint(folder: Path) -> dict[str, object]:
    """What stands in a work tree: where links lead, the bytes and permissions of files."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file() and not name.startswith(".git/"):
            found[name] = (path.read_bytes(), path.stat().st_mode)
    return found


def apply_reverse(home: Home, folder: Path, patch: bytes) -> None:
    """Take a patch back with git."""
    subprocess.run(["git", "apply", "-R", "-"], input=patch, cwd=folder, env=home.environment(), timeout=10, check=True)


def answer(served: Served, *arguments: str) -> Any:
    """What a command prints with --json."""
    return json.loads(served.do(*arguments, "--json"))


@pytest.fixture
def work_tree(home: Home) -> Path:
    """The project folder as a git work tree."""
    subprocess.run(["git", "init", "-q", str(home.project)], env=home.environment(), timeout=10, check=True)
    return home.project


@pytest.fixture
def two_hunks(home: Home, served: Served, robot: Robot) -> Path:
    """A file in which an agent has changed lines 5 and 35, as change 1 of turn 1."""
    path = home.write("a.txt", text())
    prompt(robot)
    write_unreviewed(robot, home, "a.txt", text(5, 35))
    return path


# The list.


def test_where_nothing_was_changed_that_is_said(home: Home, served: Served, robot: Robot) -> None:
    """For people and for programs, with what is not seen there; a turn that changed nothing is told as that."""
    prompt(robot)
    unseen = f"What shell commands change is not seen, as it is no git work tree: {home.project}\n"
    assert served.do("changes") == "No agent has changed anything here.\n" + unseen
    assert served.do("changes", "--stat") == "Nothing is changed.\n"
    assert served.do("changes", "--patch") == ""
    assert answer(served, "changes")["turns"] == []
    assert served.do("changes", "--turn", "1") == "Turn 1 has changed nothing.\n" + unseen


def test_a_turn_is_listed_file_by_file_with_what_undo_takes(
    work_tree: Path, home: Home, served: Served, robot: Robot
) -> None:
    """Several edits of a file are one, and stand singly below it; what was done by other means is explained once."""
    home.write("src/a.py", text())
    home.write("gone.txt", "x\ny\n")
    served.do("changes")  # a first look at the work tree
    prompt(robot)
    write_unreviewed(robot, home, "src/a.py", text(5))
    write_unreviewed(robot, home, "new.txt", "new\n")
    write_unreviewed(robot, home, "src/a.py", text(5, 6, 20))
    served.do("changes")  # no look is going on that could see the first of these alone
    (home.project / "gone.txt").unlink()
    (home.project / "data").write_bytes(b"\0\1")
    robot.call("getDiagnostics")
    assert lines_of(served.do("changes")) == [
        f"Turn 1  Claude Code (pid {PID}), TIME: 4 files +4 -5",
        "  2    new.txt  new +1 -0",
        "  1,3  src/a.py  modified +3 -3",
        "    1  TIME  modified +1 -1",
        "    3  TIME  modified +2 -2",
        "  4    data  new [binary], by other means",
        "  5    gone.txt  deleted +0 -2, by other means",
        "",
        "By other means: by a command that the agent ran in its shell, or by anybody else while it was at work.",
        "Take back: pairside undo 2, pairside undo --turn 1, pairside review --changes",
        "The differences: pairside changes 2, pairside changes --patch",
    ]


def test_earlier_turns_are_counted_and_shown_when_asked_for(home: Home, served: Served, robot: Robot) -> None:
    """The latest turn alone, one by its number, or all; a number that is none is told with those that are."""
    for number in (1, 2, 3):
        prompt(robot)
        write_unreviewed(robot, home, f"{number}.txt", "x\n")
    latest = served.do("changes")
    assert "Turn 3 " in latest
    assert "Turn 2 " not in latest
    assert "Earlier turns: 2 (pairside changes --all)\n" in latest
    assert [line.split("  ")[0] for line in served.do("changes", "--all").splitlines() if line.startswith("Turn")] == [
        "Turn 1", "Turn 2", "Turn 3",
    ]  # fmt: skip
    second = served.do("changes", "--turn", "2")
    assert "2.txt  new" in second
    assert "1.txt" not in second
    assert "3.txt" not in second
    done = served.run("changes", "--turn", "9")
    assert (done.returncode, done.stderr) == (1, "There is no turn 9; those with changes: 1, 2, 3.\n")


def test_the_latest_turn_of_each_agent_that_is_here_is_listed(
    home: Home, served: Served, connect: Callable[..., Robot]
) -> None:
    """Two agents at work are two turns."""
    first, second = connect(pid=PID), connect(pid=PID + 1)
    write_unreviewed(first, home, "a.txt", "x\n")
    write_unreviewed(second, home, "b.txt", "x\n")
    heads = [line for line in lines_of(served.do("changes")) if line.startswith("Turn")]
    assert heads == [f"Turn {number}  Claude Code (pid {PID + number - 1}), TIME: 1 file +1 -0" for number in (1, 2)]


def test_a_reviewed_write_is_marked(home: Home, served: Served, robot: Robot) -> None:
    """It is listed and can be taken back as well, and nobody is warned of it."""
    verdict = robot.propose(home.write("a.txt", "0\n"), "1\n")
    served.wait_review()
    served.do("accept")
    verdict.result(10)
    write_unreviewed(robot, home, "a.txt", "1\n")
    assert "  1  a.txt  modified +1 -1, reviewed\n" in served.do("changes")
    assert "without a review" not in served.output
    assert served.status()["unreviewed_changes"] == 0


def test_what_came_after_the_last_sign_of_work_is_marked_and_left(
    work_tree: Path, home: Home, served: Served, robot: Robot
) -> None:
    """The undo of a turn leaves it and says how to take it back too; by its number that is done."""
    prompt(robot)
    write_unreviewed(robot, home, "a.txt", "agent\n")
    assert "a.txt" in served.do("changes")
    path = home.write("notes.txt", "mine\n")
    listed = served.do("changes")
    assert "  2  notes.txt  new +1 -0, by other means, after its last sign of work\n" in listed
    assert "After its last sign of work: hardly the agent's." in listed
    said = served.do("undo", "--turn", "1")
    assert "Undone: a.txt" in said
    assert (
        "Left: notes.txt +1 -0: changed after the agent's last sign of work, so hardly by it. "
        "Take it back too: pairside undo 2\n"
    ) in said
    assert path.read_text() == "mine\n"
    again = served.run("undo", "--turn", "1")
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "There is nothing to take back.")
    assert "pairside undo --turn" not in served.do("changes").replace("review", "")
    served.do("undo", "2")
    assert not path.exists()


def test_of_a_file_only_the_late_part_is_left(work_tree: Path, home: Home, served: Served, robot: Robot) -> None:
    """What the agent wrote of it is taken back, and the number that is told takes the rest."""
    path = home.write("a.txt", text())
    served.do("changes")  # a first look at the work tree
    prompt(robot)
    write_unreviewed(robot, home, "a.txt", text(5))
    assert "1 file" in served.do("changes")
    path.write_text(text(5).replace("line 20", "mine"))
    listed = served.do("changes")
    assert "  1  a.txt  modified +1 -1\n" in listed
    assert "  2  a.txt  modified +1 -1, by other means, after its last sign of work\n" in listed
    said = served.do("undo", "a.txt")
    assert "Undone: a.txt +1 -1 (change 3)\n" in said
    assert "Left: a.txt +1 -1: " in said
    assert "Take it back too: pairside undo 2\n" in said
    assert path.read_text() == text().replace("line 20", "mine")
    served.do("undo", "2")
    assert path.read_text() == text()


def test_what_was_undone_is_listed_as_that(served: Served, home: Home, robot: Robot, two_hunks: Path) -> None:
    """In part, in full, and back again; an undo itself stands under --all and can be asked for by its number."""
    served.do("undo", "1", "--hunks", "2")
    assert lines_of(served.do("changes"))[:4] == [
        f"Turn 1  Claude Code (pid {PID}), TIME: 1 file +1 -1",
        "  1,2  a.txt  modified +1 -1, partly undone",
        "    1  TIME  modified +2 -2, partly undone",
        "    2  an undo",
    ]
    served.do("undo", "1,2")
    assert lines_of(served.do("changes"))[:2] == [
        f"Turn 1  Claude Code (pid {PID}), TIME: nothing of it is left",
        "  1  a.txt  modified +2 -2, undone",
    ]
    assert lines_of(served.do("changes", "--turn", "3"))[:2] == [
        "Turn 3  undo by the command line, TIME: 1 file +1 -1",
        "  3  a.txt  modified +1 -1, takes back 1",
    ]
    everything = served.do("changes", "--all")
    assert "Turn 2  undo by the command line" in everything
    assert "  2  a.txt  modified +1 -1, takes back 1\n" in everything
    served.do("undo", "--turn", "3")
    assert two_hunks.read_text() == text(5)
    assert "a.txt  modified +1 -1, partly undone" in served.do("changes")


def test_what_went_back_by_itself_is_listed_as_that(home: Home, served: Served, robot: Robot) -> None:
    """Two edits that cancel each other out leave no difference, and nothing to take back."""
    home.write("a.txt", "0\n")
    write_unreviewed(robot, home, "a.txt", "1\n")
    write_unreviewed(robot, home, "a.txt", "0\n")
    assert lines_of(served.do("changes")) == [
        f"Turn 1  Claude Code (pid {PID}), TIME: nothing of it is left",
        "  1  a.txt  modified +1 -1, and back again since",
        "  2  a.txt  modified +1 -1, and back again since",
    ]


def test_permissions_and_empty_files_are_told_in_words(
    work_tree: Path, home: Home, served: Served, robot: Robot
) -> None:
    """They have no lines to show."""
    path = home.write("run.sh", "x\n")
    served.do("changes")
    prompt(robot)
    path.chmod(0o755)
    write_unreviewed(robot, home, "empty", "")
    listed = served.do("changes")
    assert "  1  empty  new +0 -0\n" in listed
    assert "  2  run.sh  permissions, by other means\n" in listed
    assert "It is an empty file.\n" in served.do("changes", "1")
    assert "Only its permissions were changed.\n" in served.do("changes", "2")
    assert "Undone: run.sh, its permissions (change 3)\n" in served.do("undo", "2")
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_repository_inside_is_named_as_not_looked_into(
    work_tree: Path, home: Home, served: Served, robot: Robot
) -> None:
    """Nobody is to believe that what a command did there would be listed."""
    inner = home.project / "inner"
    subprocess.run(["git", "init", "-q", str(inner)], env=home.environment(), timeout=10, check=True)
    home.write("inner/a.txt", "0\n")
    prompt(robot)
    assert "Not looked into, as it is a repository of its own: inner\n" in served.do("changes")


def test_a_work_tree_that_is_not_looked_at_is_noted(work_tree: Path, home: Home) -> None:
    """With why, where the list might seem complete."""
    for number in range(1001):
        home.write(f"{number}", "")
    with Served(home, environment={"PAIRSIDE_LIMITS_SNAPSHOT_FILES": "1000"}) as served:
        served.start()
        with Robot(home.lock_files[0]):
            assert re.search(rf"^Note: {home.project}: .*files", served.do("changes"), re.MULTILINE)


def test_changes_are_told_to_programs_as_the_server_answers(served: Served, two_hunks: Path) -> None:
    """--json is the answer of the method, for a list, for one change and for patches."""
    told = answer(served, "changes")
    assert list(told) == ["turns", "earlier", "complete", "uncovered", "unwatched", "notices"]
    (turn,) = told["turns"]
    assert (turn["turn"], turn["files"][0]["ids"], turn["changes"][0]["means"]) == (1, [1], "edit")
    assert answer(served, "changes", "1")["hunk_count"] == 2
    assert answer(served, "changes", "a.txt")["hunk_count"] == 2
    assert answer(served, "changes", "--patch")[0]["path"] == str(two_hunks)
    assert answer(served, "changes", "--stat") == told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("changes", "--stat", "--patch"), "Say either --stat or --patch.\n"),
        (("changes", "--all", "--turn", "1"), "--all is about every turn: leave out what else is named.\n"),
        (("changes", "--all", "a.txt"), "--all is about every turn: leave out what else is named.\n"),
        (
            ("changes", "1", "--turn", "1"),
            "Changes are numbered through all turns: leave --turn out, or the numbers.\n",
        ),
        (("changes", "."), ". is a folder: name files, or say --turn.\n"),
        (("changes", ""), "WHAT is empty.\n"),
        (("changes", "--yes"), "--yes is for forget.\n"),
        (("changes", "forget", "--patch"), "forget shows nothing: leave --stat and --patch out.\n"),
        (("changes", "forget"), "It forgets all changes for good: say pairside changes forget --yes\n"),
        (("undo", "--hunks", "1"), "Say which change the hunks are of: pairside undo 5 --hunks 1,3\n"),
        (
            ("undo",),
            "Say what to take back: a change by its number (pairside undo 5), a file (pairside undo FILE) or a turn "
            "(pairside undo --turn N). What there is: pairside changes\n",
        ),
        (("review", "--turn", "1"), "--turn is for --changes.\n"),
        (
            ("review", "--changes", "--once"),
            "--changes is about changes, not about proposals: leave ID and --once out.\n",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_usage_error(served: Served, arguments: tuple[str, ...], said: str) -> None:
    """Status 2, and what to say instead."""
    done = served.run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("changes", "9"), "There is no change 9: pairside changes --all lists them.\n"),
        (("undo", "9"), "There is no change 9: pairside changes --all lists them.\n"),
        (("undo", "--turn", "9"), "There is no turn 9; those with changes: 1.\n"),
        (("changes", "none.txt"), "No change of {project}/none.txt is left to show or to take back.\n"),
        (("undo", "none.txt", "a.txt"), "No change of none.txt is left.\n"),
        (("undo", "1", "--hunks", "3"), "There is no hunk 3: hunks are 1 to 2.\n"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(
    home: Home, served: Served, two_hunks: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Status 1, and nothing is done."""
    done = served.run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said.format(project=home.project))
    assert two_hunks.read_text() == text(5, 35)


# Statistics.


def test_statistics_are_like_those_of_git(work_tree: Path, home: Home, served: Served, robot: Robot) -> None:
    """Path, number, bar, total; what has no lines says why."""
    home.write("a.txt", text())
    served.do("changes")  # a first look at the work tree
    prompt(robot)
    write_unreviewed(robot, home, "a.txt", text(5) + "more\n")
    write_unreviewed(robot, home, "empty", "")
    (home.project / "data").write_bytes(b"\0")
    robot.call("getDiagnostics")
    assert served.do("changes", "--stat") == (
        " a.txt | 3 ++-\n empty | 0\n data  | binary\n 3 files changed, 2 insertions(+), 1 deletion(-)\n"
    )
    assert served.do("changes", "--stat", "a.txt").endswith(" 1 file changed, 2 insertions(+), 1 deletion(-)\n")


@pytest.mark.parametrize("columns", [40, 80])
def test_statistics_fit_the_terminal(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal, columns: int
) -> None:
    """Bars are in proportion, of a long name the end is shown, and wide characters count twice."""
    name = f"{'folder/' * 8}文件名文件名.txt"
    home.write(name, "")
    write_unreviewed(robot, home, name, text() * 5)
    write_unreviewed(robot, home, "short", "x\n")
    screen = terminal("changes", "--stat", columns=columns)
    assert screen.wait_end() == 0
    long, short, total = screen.text.splitlines()
    assert re.fullmatch(r" \.\.\..*文件名\.txt \| 200 \++", long)
    assert len(long) + 6 <= columns
    assert re.fullmatch(r" short +\| +1 \+", short)
    assert total == " 2 files changed, 201 insertions(+), 0 deletions(-)"


def test_statistics_of_several_turns_stand_apart(home: Home, served: Served, robot: Robot) -> None:
    """What one turn added and the next took away is not added up."""
    for content in ("1\n", "1\n2\n"):
        prompt(robot)
        write_unreviewed(robot, home, "a.txt", content)
    lines = lines_of(served.do("changes", "--stat", "--all"))
    assert [line for line in lines if line.startswith("Turn")] == [
        f"Turn {number}  Claude Code (pid {PID}), TIME: 1 file +1 -0" for number in (1, 2)
    ]
    assert lines.count(" 1 file changed, 1 insertion(+), 0 deletions(-)") == 2


# Patches.


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_the_patch_of_the_changes_takes_them_back(home: Home, served: Served, robot: Robot, end: str) -> None:
    """To a pipe it is exact, whatever is in it: git apply -R restores the files byte for byte."""
    before = f"one{end}{ESCAPES}{end}".encode()
    path = home.project / "old.txt"
    path.write_bytes(before)
    write_unreviewed(robot, home, "old.txt", f"{ESCAPES}{end}three")
    write_unreviewed(robot, home, "new.txt", "new\n")
    patch = pairside(home, "changes", "--patch").stdout
    apply_reverse(home, home.project, patch)
    assert path.read_bytes() == before
    assert not (home.project / "new.txt").exists()


def test_the_patch_of_a_file_written_twice_takes_both_writes_back(home: Home, served: Served, robot: Robot) -> None:
    """A file that was new and then changed has one patch, and so has one that was changed twice."""
    path = home.write("old.txt", "0\n")
    for text in ("1\n", "2\n"):
        write_unreviewed(robot, home, "old.txt", text)
        write_unreviewed(robot, home, "new.txt", text)
    patch = pairside(home, "changes", "--patch").stdout
    assert patch.count(b"diff --git") == 2
    apply_reverse(home, home.project, patch)
    assert path.read_bytes() == b"0\n"
    assert not (home.project / "new.txt").exists()


def test_what_the_person_changed_in_between_is_no_part_of_the_patch(home: Home, served: Served, robot: Robot) -> None:
    """The writes before and after it are taken back one by one."""
    lines = [f"{number}\n" for number in range(20)]
    path = home.write("a.txt", "".join(lines))
    lines[0] = "the agent\n"
    write_unreviewed(robot, home, "a.txt", "".join(lines))
    lines[10] = "the person\n"
    path.write_text("".join(lines))
    lines[0] = "the agent again\n"
    write_unreviewed(robot, home, "a.txt", "".join(lines))
    apply_reverse(home, home.project, pairside(home, "changes", "--patch").stdout)
    lines[0] = "0\n"
    assert path.read_text() == "".join(lines)


def test_the_names_in_a_patch_are_those_that_git_takes_there(home: Home, served: Served, robot: Robot) -> None:
    """Relative to the top of the work tree, also from below; what git would leave out there is told."""
    top = home.project.parent
    (top / ".git").mkdir()
    home.write("sub/b.txt", "0\n")
    home.write("a.txt", "0\n")
    write_unreviewed(robot, home, "sub/b.txt", "1\n")
    done = pairside(home, "changes", "--patch", cwd=home.project / "sub")
    assert f"+++ b/{home.project.name}/sub/b.txt".encode() in done.stdout
    assert done.stderr == b""
    write_unreviewed(robot, home, "a.txt", "1\n")
    done = pairside(home, "changes", "--patch", cwd=home.project / "sub")
    assert f"Apply it in {top}".encode() in done.stderr
    subprocess.run(["git", "init", "-q", str(top)], env=home.environment(), timeout=10, check=True)
    apply_reverse(home, top, done.stdout)
    assert (home.project / "a.txt").read_text() == (home.project / "sub" / "b.txt").read_text() == "0\n"


def test_the_patch_takes_back_whatever_git_can(work_tree: Path, home: Home, served: Served, robot: Robot) -> None:
    """Files that became links or folders, the other way round, empty ones, any name; permissions that git does not know
    are told."""
    script = (
        "rm file gone empty folder/x; rmdir folder; ln -s other file; ln -s other folder; mkdir gone; echo x > gone/x\n"
        "rm link; echo now > link; chmod 600 secret; chmod +x run\n"
        ": > fresh; echo 2 > $'n\\xff\\\\\"\\n'; mv old renamed"
    )
    for name in ("file", "gone", "folder/x", "secret", "run", "old"):
        home.write(name, f"{name}\n")
    home.write("empty", "")
    (home.project / "link").symlink_to("nowhere")
    before = fingerprint(home.project)
    served.do("changes")
    prompt(robot)
    subprocess.run(["bash", "-ec", script], cwd=home.project, timeout=10, check=True)
    robot.call("getDiagnostics")
    done = pairside(home, "changes", "--patch")
    assert done.stderr == b"No patch for secret: git does not tell these permissions apart.\n"
    apply_reverse(home, home.project, done.stdout)
    (home.project / "secret").chmod(0o644)
    assert fingerprint(home.project) == before


def test_what_lies_outside_is_left_out_of_the_patch(home: Home, served: Served, robot: Robot) -> None:
    """git applies nothing beyond the folder it runs in, and whoever reads the patch is told."""
    outside = home.project.parent / "outside.txt"
    outside.write_text("0\n")
    write_unreviewed(robot, home, str(outside), "1\n")
    done = pairside(home, "changes", "--patch")
    assert (done.returncode, done.stdout) == (0, b"")
    assert f"No patch for {outside}: it lies outside {home.project}.".encode() in done.stderr
    (told,) = json.loads(served.do("changes", "--patch", "--json"))
    assert (told["path"], told["patch"]) == (str(outside), None)


def test_the_patch_of_a_turn_or_a_change_is_that_alone(home: Home, served: Served, robot: Robot) -> None:
    """Others stay when it is taken back."""
    for name in ("a.txt", "b.txt", "c.txt"):
        prompt(robot)
        write_unreviewed(robot, home, name, "x\n")
    for arguments in (("--turn", "1"), ("2",), ()):
        apply_reverse(home, home.project, pairside(home, "changes", *arguments, "--patch").stdout)
    assert not [name for name in ("a.txt", "b.txt", "c.txt") if (home.project / name).exists()]
    assert pairside(home, "changes", "c.txt", "--patch").stdout.count(b"diff --git") == 1


def test_a_patch_on_a_terminal_shows_what_a_terminal_would_obey(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """Escapes are visible there."""
    write_unreviewed(robot, home, "a.txt", f"{ESCAPES}\n")
    screen = terminal("changes", "--patch")
    assert screen.wait_end() == 0
    assert "+\\x1b]0;title\\x07" in screen.text


# One change.


def test_a_change_is_shown_with_the_hunks_that_undo_takes(served: Served, two_hunks: Path) -> None:
    """By its number or by its file; with what to type."""
    shown = (
        "Change 1: a.txt  modified +2 -2\n"
        "@@ -2,7 +2,7 @@ hunk 1 of 2\n line 2\n line 3\n line 4\n-line 5\n+changed 5\n line 6\n line 7\n line 8\n"
        "@@ -32,7 +32,7 @@ hunk 2 of 2\n line 32\n line 33\n line 34\n-line 35\n+changed 35\n line 36\n line 37\n"
        " line 38\n"
        "Take it back: pairside undo 1, or some of it: pairside undo 1 --hunks 1\n"
    )
    assert served.do("changes", "1") == shown
    assert served.do("changes", "a.txt") == shown
    assert served.do("changes", "./a.txt", "--turn", "1") == shown


def test_files_and_changes_are_shown_one_after_the_other(home: Home, served: Served, robot: Robot) -> None:
    """Each as if it was named alone; numbers that are named together are one."""
    for name, content in (("a.txt", "1\n"), ("b.txt", "2\n"), ("a.txt", "1\n3\n"), ("c.txt", "4\n")):
        write_unreviewed(robot, home, name, content)
    one, other, both = (served.do("changes", *what) for what in (["b.txt"], ["c.txt"], ["1,3"]))
    assert served.do("changes", "b.txt", "c.txt", "b.txt") == f"{one}\n{other}"
    assert served.do("changes", "c.txt", "1", "3") == f"{both}\n{other}"
    assert served.run("changes", "b.txt", "nothing.txt").returncode == 1


def test_changes_of_a_file_with_others_in_between_are_shown_one_by_one(
    home: Home, served: Served, robot: Robot
) -> None:
    """Each with the numbers that take it back alone."""
    home.write("a.txt", text())
    write_unreviewed(robot, home, "a.txt", text(5))
    (home.project / "a.txt").write_text(text(5).replace("line 20", "mine"))
    write_unreviewed(robot, home, "a.txt", text(5, 35).replace("line 20", "mine"))
    said = served.do("changes", "a.txt")
    assert "Change 1: a.txt  modified +1 -1\n" in said
    assert "Change 2: a.txt  modified +1 -1\n" in said
    done = served.run("changes", "a.txt", "--json")
    path = home.project / "a.txt"
    assert (done.returncode, done.stderr) == (
        1, f"That is more than one change; say which: 1 ({path}); 2 ({path})\n",
    )  # fmt: skip
    served.do("undo", "a.txt")
    assert path.read_text() == text().replace("line 20", "mine")


def test_a_change_that_is_no_text_says_so(home: Home, served: Served, robot: Robot) -> None:
    """It can be taken back all the same."""
    path = home.project / "data"
    path.write_bytes(b"\0before")
    robot.call("getDiagnostics", uri=f"file://{path}")
    path.write_bytes(b"\0after")
    robot.call("getDiagnostics")
    assert served.do("changes", "data") == (
        "Change 1: data  modified [binary]\nIts lines cannot be shown: binary.\nTake it back: pairside undo 1\n"
    )
    done = served.run("undo", "1", "--hunks", "1")
    assert (done.returncode, done.stderr) == (1, "It has no hunks, since it is no text: undo all of it.\n")
    assert served.do("undo", "data").startswith("Undone: data (change 2)\n")
    assert path.read_bytes() == b"\0before"


def test_a_link_that_was_changed_itself_is_found_by_its_name(
    work_tree: Path, home: Home, served: Served, robot: Robot
) -> None:
    """And what it leads to by its own; a link on the way is followed."""
    link = home.project / "link"
    link.symlink_to("old")
    served.do("changes")
    prompt(robot)
    link.unlink()
    link.symlink_to("target.txt")
    write_unreviewed(robot, home, "target.txt", "x\n")
    # Which is found first depends on when the work tree is looked at.
    assert re.match(r"Change [12]: link  modified", served.do("changes", "link"))
    assert re.match(r"Change [12]: target\.txt  new", served.do("changes", "target.txt"))
    served.do("undo", "link")
    assert link.readlink() == Path("old")
    assert (home.project / "target.txt").exists()


def test_names_with_odd_characters_are_printed_safely_and_taken_as_they_are(
    home: Home, served: Served, robot: Robot
) -> None:
    """A name that looks like a number needs ./ before it."""
    names = [f"other{ESCAPES}", " ", "it's", "5", "forget", "-x", "ü\udce4.txt"]
    for name in names:
        write_unreviewed(robot, home, f"./{name}", "x\n")
    for arguments in ((), ("--all",), ("--stat",), ("1",)):
        done = pairside(home, "changes", *arguments)
        assert done.returncode == 0, done.stderr
        assert all(one == "\n" or one.isprintable() for one in done.stdout.decode()), done.stdout
    for name in names:
        done = pairside(home, "undo", f"./{name}")
        assert done.returncode == 0, (name, done.stderr)
        assert all(one == "\n" or one.isprintable() for one in done.stdout.decode())
        assert not (home.project / name).exists()


# Forgetting.


def test_what_is_forgotten_is_gone_for_good(home: Home, served: Served, robot: Robot) -> None:
    """One turn without a question, everything with --yes; how many changes that were."""
    for number in (1, 2, 3):
        prompt(robot)
        write_unreviewed(robot, home, f"{number}.txt", "x\n")
    assert served.do("changes", "forget", "--turn", "2") == "Forgot 1 change.\n"
    assert "2.txt" not in served.do("changes", "--all")
    assert answer(served, "changes", "forget", "--yes") == {"forgotten": 2}
    assert served.do("changes", "forget", "--yes") == "There was nothing to forget.\n"
    assert served.do("changes", "--all").startswith("No agent has changed anything here.\n")
    served.stop()
    assert pairside(home, "changes").returncode == 4


def test_the_texts_of_what_is_forgotten_are_gone_at_once(home: Home, served: Served, robot: Robot) -> None:
    """Nobody finds them in the state directory; those of another turn stay."""
    for content in ("unmistakable\n", "another\n"):
        prompt(robot)
        write_unreviewed(robot, home, "a.txt", content)

    def found(content: bytes) -> bool:
        state = home.home / ".local" / "state"
        return any(path.is_file() and content in path.read_bytes() for path in state.rglob("*"))

    assert found(b"unmistakable")
    served.do("changes", "forget", "--turn", "2")
    assert (found(b"unmistakable"), found(b"another")) == (True, False)
    served.do("changes", "forget", "--turn", "1")
    assert not found(b"unmistakable")


def test_at_a_terminal_it_is_asked_before_everything_is_forgotten(
    served: Served, two_hunks: Path, terminal: OpenTerminal
) -> None:
    """Anything but yes, Ctrl-C and Ctrl-D too, keeps it."""
    for keys in ("\n", "n\n", "\x03", "\x04"):
        screen = terminal("changes", "forget")
        screen.wait(r"Then none of them can be taken back\. \[y/N\] ")
        screen.press(keys)
        assert screen.wait_end() == 0
        assert "Nothing was forgotten.\n" in screen.text
    screen = terminal("changes", "forget")
    screen.wait(r"\[y/N\] ")
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert "Forgot 1 change.\n" in screen.text


# Undo.


@pytest.mark.parametrize("what", [("1",), ("a.txt",), ("--turn", "1"), ("a.txt", "--turn", "1"), ("1-1",)])
def test_an_undo_brings_the_file_back_and_can_be_taken_back(
    served: Served, two_hunks: Path, what: tuple[str, ...]
) -> None:
    """Whatever it was named by; the last line says how."""
    assert served.do("undo", *what) == ("Undone: a.txt +2 -2 (change 2)\nTo take this back: pairside undo --turn 2\n")
    assert two_hunks.read_text() == text()
    served.do("undo", "--turn", "2")
    assert two_hunks.read_text() == text(5, 35)


@pytest.mark.parametrize(("hunks", "left"), [("1", (35,)), ("2", (5,)), ("1-2", ()), ("2,1", ())])
def test_hunks_are_taken_back_alone(served: Served, two_hunks: Path, hunks: str, left: tuple[int, ...]) -> None:
    """The others stay."""
    served.do("undo", "a.txt", "--hunks", hunks)
    assert two_hunks.read_text() == text(*left)


def test_what_the_person_changed_since_stays(served: Served, two_hunks: Path) -> None:
    """Lines between the hunks are theirs."""
    two_hunks.write_text(text(5, 35).replace("line 20", "mine"))
    served.do("undo", "1")
    assert two_hunks.read_text() == text().replace("line 20", "mine")


def test_several_changes_and_files_are_taken_back_in_one_undo(home: Home, served: Served, robot: Robot) -> None:
    """Files, numbers and both at once; each is told, in the order of their names."""
    home.write("b.txt", "b\n")
    for name, content in (("a.txt", "a\n"), ("b.txt", "1\n2\n"), ("c.txt", "c\n"), ("d.txt", "d\n")):
        write_unreviewed(robot, home, name, content)
    assert served.do("undo", "c.txt", "b.txt", "1").splitlines() == [
        "Undone: a.txt +0 -1, it is gone (change 6)",
        "Undone: b.txt +1 -2 (change 7)",
        "Undone: c.txt +0 -1, it is gone (change 5)",
        "To take this back: pairside undo --turn 2",
    ]
    assert sorted(path.name for path in home.project.iterdir()) == ["b.txt", "d.txt"]
    assert (home.project / "b.txt").read_text() == "b\n"


def test_a_deleted_file_comes_back(work_tree: Path, home: Home, served: Served, robot: Robot) -> None:
    """Also where a command deleted it."""
    path = home.write("a.txt", "1\n2\n")
    served.do("changes")
    prompt(robot)
    path.unlink()
    robot.call("getDiagnostics")
    assert "Would be undone: a.txt +2 -0, it comes back\n" in served.do("undo", "a.txt", "--dry-run")
    assert not path.exists()
    assert "Undone: a.txt +2 -0, it is back (change 2)\n" in served.do("undo", "a.txt")
    assert path.read_text() == "1\n2\n"


def test_a_file_that_became_a_folder_is_known_by_its_name(
    work_tree: Path, home: Home, served: Served, robot: Robot
) -> None:
    """The name stands for the file that was there, in changes and in undo; any other folder is none."""
    path = home.write("a.txt", "was\n")
    served.do("changes")
    prompt(robot)
    path.unlink()
    path.mkdir()
    by_command(robot, home, "a.txt/inner", "x\n")
    assert "-was\n" in served.do("changes", "a.txt")
    done = served.run("undo", "a.txt")
    assert (done.returncode, done.stdout) == (
        1,
        f"Not undone: a.txt: a folder stands there now, and in it {path}/inner.\n",
    )
    assert served.run("undo", "src").returncode != 0
    served.do("undo", "a.txt/inner")
    served.do("undo", "a.txt")
    assert path.read_text() == "was\n"


def test_a_dry_run_only_tells(served: Served, two_hunks: Path) -> None:
    """Nothing is written, and no turn comes of it; without anything it is about the latest turn."""
    for what in (("1",), ()):
        assert served.do("undo", *what, "--dry-run") == "Would be undone: a.txt +2 -2\n"
    told = answer(served, "undo", "1", "--dry-run")
    assert (told["turn"], told["files"][0]["outcome"], told["files"][0]["change"]) == (None, "undone", None)
    assert two_hunks.read_text() == text(5, 35)
    assert len(answer(served, "changes", "--all")["turns"]) == 1


def test_programs_are_told_as_the_server_answers(served: Served, two_hunks: Path) -> None:
    """With the same exit status as people get."""
    told = answer(served, "undo", "1")
    assert (told["turn"], told["complete"], told["left"]) == (2, True, [])
    assert [(file["path"], file["outcome"], file["change"]) for file in told["files"]] == [
        (str(two_hunks), "undone", 2)
    ]


def test_what_is_as_before_already_is_no_failure(served: Served, two_hunks: Path) -> None:
    """The person has put it right by hand."""
    two_hunks.write_text(text())
    done = served.run("undo", "1")
    assert (done.returncode, done.stdout) == (0, "Nothing to do: a.txt: it is as it was before already.\n")


def test_a_conflict_is_shown_with_both_sides_and_nothing_is_written(
    home: Home, served: Served, robot: Robot, two_hunks: Path
) -> None:
    """Status 1; the hunk as it was, what stands there now, and how to have the others."""
    write_unreviewed(robot, home, "b.txt", "b\n")
    now = "mine\n" + text(5, 35).replace("changed 5", "mine 5")
    two_hunks.write_text(now)
    done = served.run("undo", "--turn", "1")
    assert (done.returncode, done.stdout.splitlines()) == (
        1,
        [
            "Not undone: a.txt: the same lines were changed since: see what stands there now.",
            "@@ -2,7 +2,7 @@ hunk 1 of 2",
            *(" line 2", " line 3", " line 4", "-line 5", "+changed 5", " line 6", " line 7", " line 8"),
            "Now there stands in its place, line 6:",
            " mine 5",
            "Take the others back: pairside undo 1 --hunks 2",
            "Where both are wanted, or neither, edit these lines yourself.",
            "Undone: b.txt +0 -1, it is gone (change 3)",
            "To take this back: pairside undo --turn 2",
        ],
    )
    assert two_hunks.read_text() == now
    served.do("undo", "1", "--hunks", "2")
    assert two_hunks.read_text() == "mine\n" + text(5).replace("changed 5", "mine 5")


def test_a_conflict_with_lines_that_are_gone_is_told(served: Served, two_hunks: Path) -> None:
    """There is a place, and nothing in it."""
    two_hunks.write_text(text(5, 35).replace("line 4\nchanged 5\nline 6\n", ""))
    done = served.run("undo", "1")
    assert done.returncode == 1
    assert "Now there is nothing in its place, at line 4.\n" in done.stdout


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (lambda path: path.unlink(), "it was deleted since."),
        (lambda path: path.write_bytes(b"\0"), "it was changed since, and is no text that could be merged."),
    ],
)  # fmt: skip
def test_a_conflict_without_lines_says_why(
    served: Served, two_hunks: Path, meanwhile: Callable[[Path], None], why: str
) -> None:
    """There is nothing to show beside."""
    meanwhile(two_hunks)
    done = served.run("undo", "1")
    assert (done.returncode, done.stdout) == (1, f"Not undone: a.txt: {why}\n")


def test_what_was_not_kept_cannot_be_taken_back(home: Home) -> None:
    """A file over the limit is only noted, and the reason is told."""
    home.write("large.txt", "x" * 5000)
    with Served(home, environment={"PAIRSIDE_LIMITS_BEFORE_IMAGE_BYTES": "4096"}) as served:
        served.start()
        with Robot(home.lock_files[0]) as robot:
            write_unreviewed(robot, home, "large.txt", "y" * 5000)
            assert "  1  large.txt  modified [larger than 4096 bytes]\n" in served.do("changes")
            done = served.run("undo", "1")
    assert done.returncode == 1
    assert done.stdout == "Not undone: large.txt: what it was before is not kept: larger than 4096 bytes.\n"


def test_a_file_with_unsaved_changes_in_the_editor_is_left_alone(home: Home) -> None:
    """What the person types there must not be lost; status 1."""
    path = home.write("a.txt", "0\n")
    with subprocess.Popen(
        [sys.executable, "-c", UNSAVED], cwd=home.project, env=home.environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            with Robot(home.lock_files[0]) as robot:
                write_unreviewed(robot, home, "a.txt", "1\n")
                done = pairside(home, "undo", "a.txt")
        finally:
            process.terminate()
            process.wait(10)
    assert done.returncode == 1
    assert done.stdout == (
        b"Not undone: a.txt: Neovim has unsaved changes in it: save them, or take them back, first.\n"
    )
    assert path.read_text() == "1\n"


def test_at_a_terminal_the_undo_of_the_latest_turn_is_shown_and_asked_for(
    served: Served, two_hunks: Path, terminal: OpenTerminal
) -> None:
    """Anything but yes leaves all as it is."""
    for keys in ("\n", "n\n", "\x03", "\x04"):
        screen = terminal("undo")
        assert "Turn 1:\nWould be undone: a.txt +2 -2\n" in screen.wait(r"Take that back\? \[y/N\] ")
        screen.press(keys)
        assert screen.wait_end() == 0
        assert "Nothing was taken back.\n" in screen.text
        assert two_hunks.read_text() == text(5, 35)
    screen = terminal("undo")
    screen.wait(r"\[y/N\] ")
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert "Undone: a.txt +2 -2 (change 2)\nTo take this back: pairside undo --turn 2\n" in screen.text
    assert two_hunks.read_text() == text()
    screen = terminal("undo")
    assert screen.wait_end() == 0
    assert screen.text == "There is nothing to take back.\n"


def test_what_was_written_while_the_question_stood_is_not_taken_back(
    home: Home, served: Served, robot: Robot, two_hunks: Path, terminal: OpenTerminal
) -> None:
    """The person said yes to what was shown."""
    screen = terminal("undo")
    screen.wait(r"\[y/N\] ")
    write_unreviewed(robot, home, "b.txt", "b\n")
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert two_hunks.read_text() == text()
    assert (home.project / "b.txt").exists()


def test_with_several_agents_it_is_asked_whose_turn_is_meant(
    home: Home, served: Served, connect: Callable[..., Robot], terminal: OpenTerminal
) -> None:
    """None of them is taken back by guessing."""
    for number, name in ((1, "a.txt"), (2, "b.txt")):
        write_unreviewed(connect(pid=PID + number), home, name, "x\n")
    screen = terminal("undo")
    assert screen.wait_end() == 2
    assert screen.text == (
        "Several agents have changed something. Say whose turn to take back:\n"
        f"  pairside undo --turn 1  Claude Code (pid {PID + 1}), 1 file\n"
        f"  pairside undo --turn 2  Claude Code (pid {PID + 2}), 1 file\n"
    )


@pytest.mark.parametrize(
    "command", [("undo", "1"), ("changes", "forget", "--yes"), ("changes", "forget", "--turn", "1")]
)
def test_an_agent_may_look_but_neither_undo_nor_forget(
    home: Home, served: Served, two_hunks: Path, command: tuple[str, ...]
) -> None:
    """With a server and without one: status 6, and all is as it was."""
    own_shell = {"CLAUDECODE": "1"}
    said = "This is an agent's own shell (CLAUDECODE is set): only the person may do that, in another terminal.\n"
    done = served.run(*command, environment=own_shell)
    assert (done.returncode, done.stderr) == (6, said)
    assert served.run("changes", environment=own_shell).returncode == 0
    served.stop()
    done = served.run(*command, environment=own_shell)
    assert (done.returncode, done.stderr) == (6, KEPT + said)
    assert served.run("changes", environment=own_shell).returncode == 0
    assert two_hunks.read_text() == text(5, 35)
    assert "  1  a.txt  modified +2 -2\n" in served.do("changes")


# Without a server.


def test_what_a_server_has_kept_is_shown_and_taken_back_without_one(
    home: Home, served: Served, two_hunks: Path
) -> None:
    """One line on standard error says so; the next server knows of the undo."""
    before = served.do("changes")
    served.stop()
    done = served.run("changes")
    assert (done.returncode, done.stdout, done.stderr) == (0, before, KEPT)
    assert "hunk 2 of 2" in served.do("changes", "a.txt")
    apply = served.run("changes", "--patch")
    assert apply.stdout.startswith("diff --git a/a.txt b/a.txt\n")
    assert "Undone: a.txt +1 -1 (change 2)\n" in served.do("undo", "1", "--hunks", "1")
    assert two_hunks.read_text() == text(35)
    served.start()
    assert "a.txt  modified +1 -1, partly undone" in served.do("changes")
    served.do("undo", "--turn", "2")
    assert two_hunks.read_text() == text(5, 35)


def test_a_server_that_was_killed_has_kept_its_changes_as_well(served: Served, two_hunks: Path) -> None:
    """They are kept as they come."""
    served.kill9()
    served.do("undo", "1")
    assert two_hunks.read_text() == text()


def test_right_after_a_server_ends_its_changes_are_there(served: Served, two_hunks: Path) -> None:
    """It may hold them for a moment still."""
    for _ in range(3):
        served.do("stop")
        assert "  1  a.txt  modified +2 -2\n" in served.do("changes")
        served.wait_end()
        served.start()


def test_where_nothing_was_kept_there_is_no_server(home: Home) -> None:
    """Status 4 with the usual words: in a folder that never had one, with a port, and where nothing is to be kept."""
    for command in (("changes",), ("undo", "1"), ("changes", "forget", "--yes"), ("review", "--changes")):
        done = pairside(home, *command)
        assert (done.returncode, done.stdout) == (4, b"")
        assert done.stderr.startswith(b"No pairside serves ")
        assert done.stderr.endswith(b"\nNo changes of an earlier one are kept.\n")
        assert pairside(home, *command, "--port", "9").returncode == 4


def test_what_is_not_to_be_kept_is_gone_with_its_server(home: Home) -> None:
    """changes.keep is false: nothing of a file is left in the state directory."""
    off = {"PAIRSIDE_CHANGES_KEEP": "false"}
    with Served(home, environment=off) as served:
        served.start()
        with Robot(home.lock_files[0]) as robot:
            write_unreviewed(robot, home, "a.txt", "unmistakable\n")
            assert "a.txt" in served.do("changes")
        served.stop()
    assert pairside(home, "changes", environment=off).returncode == 4
    assert pairside(home, "changes").returncode == 4
    state = home.home / ".local" / "state"
    assert not [path for path in state.rglob("*") if path.is_file() and b"unmistakable" in path.read_bytes()]


def test_a_setting_that_is_wrong_is_told_without_a_server_too(served: Served, two_hunks: Path) -> None:
    """It could decide what is kept."""
    served.stop()
    done = served.run("changes", environment={"PAIRSIDE_CHANGES_KEEP": "perhaps"})
    assert done.returncode == 2
    assert "PAIRSIDE_CHANGES_KEEP" in done.stderr


def test_what_was_kept_is_found_from_below_and_from_elsewhere(home: Home, served: Served, two_hunks: Path) -> None:
    """As a server would be."""
    served.stop()
    (home.project / "sub").mkdir()
    done = pairside(home, "changes", cwd=home.project / "sub")
    assert (done.returncode, f"  1  {two_hunks}  modified +2 -2\n" in done.stdout.decode()) == (0, True)
    assert pairside(home, "changes", "--workspace", str(home.project), cwd=home.home).returncode == 0
    assert pairside(home, "changes", cwd=home.home).returncode == 4


def test_of_two_servers_the_one_that_has_kept_something_last_is_meant(home: Home, served: Served) -> None:
    """Two editors in one folder are two servers; neither's changes are lost."""
    (lock,) = home.lock_files
    with Served(home) as second:
        second.start("--new")
        with Robot(lock) as robot:
            write_unreviewed(robot, home, "first.txt", "x\n")
        (other,) = set(home.lock_files) - {lock}
        with Robot(other) as robot:
            write_unreviewed(robot, home, "second.txt", "x\n")
        served.stop()
    assert b"  1  second.txt  new" in pairside(home, "changes").stdout
    assert pairside(home, "undo", "1").returncode == 0
    assert sorted(path.name for path in home.project.iterdir()) == ["first.txt"]


def test_a_server_may_start_while_the_person_looks_at_what_was_kept(
    home: Home, served: Served, two_hunks: Path, terminal: OpenTerminal
) -> None:
    """It has all that was kept; who looked before it came is told, and nothing is done twice."""
    served.stop()
    screen = terminal("review", "--changes")
    screen.wait(r"Undo hunk 1/2\?.*\] $")
    served.start()
    assert "  1  a.txt  modified +2 -2\n" in served.do("changes")
    screen.press("a\n")
    assert screen.wait_end() == 1
    assert "The changes that were kept cannot be read: another pairside has them" in screen.text
    assert two_hunks.read_text() == text(5, 35)


# The walk.


QUESTION = r"Undo hunk \d/3\? \[y,n,a,d,q,p,\?\] $"


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ("yyy", ()),
        ("yny", (20,)),
        ("nnn", (5, 20, 35)),
        ("na", (5,)),
        ("a", ()),
        ("yd", (20, 35)),
        ("d", (5, 20, 35)),
        ("yq", (20, 35)),
        ("q", (5, 20, 35)),
        ("y?pxnn", (20, 35)),
        ("y\x03", (5, 20, 35)),
        ("y\x04", (5, 20, 35)),
    ],
)  # fmt: skip
def test_each_hunk_is_asked_for_and_those_chosen_are_undone(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal, answers: str, left: tuple[int, ...]
) -> None:
    """y and n per hunk, a and d for all that follow; q takes back what was chosen, Ctrl-C and Ctrl-D nothing."""
    path = home.write("a.txt", text())
    write_unreviewed(robot, home, "a.txt", text(5, 20, 35))
    screen = terminal("review", "--changes")
    for letter in answers:
        screen.wait(QUESTION)
        screen.press(letter if letter < " " else letter + "\n")
    assert screen.wait_end() == 0
    assert path.read_text() == text(*left)
    assert screen.text.startswith("1 change.\n\nChange 1: a.txt  modified +3 -3\n@@ -2,7 +2,7 @@ hunk 1 of 3\n")
    assert ("Undone: a.txt" in screen.text) is (left != (5, 20, 35))
    assert ("y  undo this hunk\n" in screen.text) is ("?" in answers)


def test_the_walk_goes_from_file_to_file(home: Home, served: Served, robot: Robot, terminal: OpenTerminal) -> None:
    """A change of one hunk is one question; what was taken back is not asked for again."""
    for name in ("a.txt", "b.txt", "c.txt"):
        write_unreviewed(robot, home, name, "x\n")
    screen = terminal("review", "--changes")
    for name, letter in (("a.txt", "n"), ("b.txt", "y"), ("c.txt", "q")):
        screen.wait(rf"Change \d: {name}  new \+1 -0\n")
        screen.wait(r"Undo it\? \[y,n,q,p,\?\] $")
        screen.press(letter + "\n")
    assert screen.wait_end() == 0
    assert sorted(path.name for path in home.project.iterdir()) == ["a.txt", "c.txt"]
    assert "2 changes.\n" in pairside(home, "review", "--changes").stdout.decode()
    assert pairside(home, "review", "--changes", "--turn", "2", given=b"q\n").stdout.startswith(b"1 change.\n")


def test_answers_may_come_from_a_pipe_and_programs_get_json(served: Served, two_hunks: Path) -> None:
    """Each undo is a line on standard output, and the dialogue goes to standard error."""
    done = served.run("review", "--changes", "--json", standard_input="n\ny\n")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["files"][0]["outcome"] == "undone"
    assert "Undo hunk 2/2?" in done.stderr
    assert two_hunks.read_text() == text(5)


def test_a_conflict_in_the_walk_is_shown_and_the_walk_goes_on(
    home: Home, served: Served, robot: Robot, two_hunks: Path
) -> None:
    """The status tells at the end."""
    write_unreviewed(robot, home, "b.txt", "b\n")
    two_hunks.write_text(text(5, 35).replace("changed 5", "mine"))
    done = served.run("review", "--changes", standard_input="a\ny\n")
    assert done.returncode == 1
    assert "Now there stands in its place, line 5:\n mine\n" in done.stdout
    assert "Undone: b.txt" in done.stdout


def test_the_walk_needs_no_server(served: Served, two_hunks: Path) -> None:
    """It is about what was kept then."""
    served.stop()
    done = served.run("review", "--changes", standard_input="y\nn\n")
    assert (done.returncode, done.stderr) == (0, KEPT)
    assert two_hunks.read_text() == text(35)


def test_an_agent_cannot_walk_either(served: Served, two_hunks: Path) -> None:
    """It ends at the first undo."""
    done = served.run("review", "--changes", standard_input="a\n", environment={"CLAUDECODE": "1"})
    assert done.returncode == 6
    assert two_hunks.read_text() == text(5, 35)


def test_where_nothing_is_left_to_walk_through_that_is_said(served: Served, two_hunks: Path) -> None:
    """And it is no failure."""
    served.do("undo", "1")
    assert served.do("review", "--changes") == "No change is left.\n"


# What is told meanwhile.


def printed(served: Served, words: str) -> None:
    """Wait until a server has printed something."""
    until(lambda: words in served.output, timeout=10, what=lambda: f"{words!r} in {served.output!r}")


def test_a_server_tells_what_a_turn_amounted_to_and_each_undo(
    work_tree: Path, home: Home, served: Served, robot: Robot
) -> None:
    """One line each with what to type; what was done by other means, and undos file by file, are not told singly."""
    served.do("changes")  # a first look at the work tree
    prompt(robot)
    write_unreviewed(robot, home, "a.txt", "x\n")
    by_command(robot, home, "b.txt", "1\n2\n")
    served.do("changes")
    prompt(robot)
    printed(
        served,
        f"Turn 1 of Claude Code (pid {PID}) is over: 2 files +3 -0, 1 write without a review, 1 by other means. "
        "See it: pairside changes --turn 1. Take it back: pairside undo --turn 1\n",
    )
    served.do("undo", "--turn", "1")
    printed(served, "Taken back by the command line: ")
    printed(served, "Have it again: pairside undo --turn 3\n")
    assert served.output.count("b.txt") == 1
    log = served.do("log")
    assert "b.txt +2 -0 was changed by other means (turn 1)\n" in log
    assert "the command line took back b.txt +0 -2 (turn 3)\n" in log
    assert f"Turn 2 of Claude Code (pid {PID}) begins\n" in log


def test_the_numbers_of_changes_are_completed(home: Home, served: Served, two_hunks: Path) -> None:
    """Those of the latest turn; files are left to the shell."""

    def completed(words: str, index: int) -> list[str]:
        asked = {"_PAIRSIDE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
        return pairside(home, environment=asked).stdout.decode().splitlines()

    assert completed("pairside undo ", 2) == ["plain,1", "file,"]
    assert completed("pairside changes a", 2) == ["file,a"]
    served.stop()
    assert completed("pairside undo ", 2) == ["plain,1", "file,"]


@pytest.mark.parametrize("command", [["changes"], ["undo", "1", "--dry-run"]])
def test_with_a_server_nothing_heavy_is_imported(
    home: Home, served: Served, two_hunks: Path, command: list[str]
) -> None:
    """Keys are bound to these as well."""
    program = (
        "import sys\n"
        "from pairside.__main__ import main\n"
        f"sys.argv = ['pairside', *{command!r}]\n"
        "try:\n    main()\n"
        f"finally:\n    print('LOADED', sorted(set(sys.modules) & set({HEAVY!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=home.project, env=home.environment(), capture_output=True,
        text=True, timeout=15, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"
