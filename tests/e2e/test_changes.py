"""What the real Claude Code CLI changes, by its tools and in its shell, is seen and taken back to the last byte."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .claude import READY, Claude, seed
from .conftest import Exhibits, StartClaude
from .home import Home
from .model import Block, Model, ModelRequest, Step, ToolResult, text, tool
from .served import Served
from .test_run import Shell, ask, connected, leave, shell
from .until import TimedOut, until

__all__ = ["ask", "shell"]
"""The fixtures of another module that are used here."""

pytestmark = pytest.mark.real_cli

MODES = ["auto", "acceptEdits", "manual"]
TURN_SECONDS = 60.0
REFUSED = 6
"""The exit status of what only the person may do."""

PAIRSIDE = f"{shlex.quote(sys.executable)} -m pairside"

SHELL_COMMANDS = [
    "sed -i 's/line 25/shell 25/' mixed.txt",
    "echo more >> grown.txt",
    "rm -r folder private.txt",
    "mv old.txt renamed.txt",
    "chmod 755 run.sh",
    "ln -s one.txt link",
    "ln -sfn two.txt other-link",
    r"printf '\000\001' >> data.bin",
    "mkdir -p made/deep",
    "echo made > made/deep/file.txt",
]
BY_SHELL = {
    "mixed.txt": "modified",
    "grown.txt": "modified",
    "folder/only.txt": "deleted",
    "private.txt": "deleted",
    "old.txt": "deleted",
    "renamed.txt": "new",
    "run.sh": "mode",
    "link": "new",
    "other-link": "modified",
    "data.bin": "modified",
    "made/deep/file.txt": "new",
}
BY_TOOLS = ["one.txt", "two.txt", "two.txt", "mixed.txt", "wide.txt", "new/folder/written.txt"]
NO_TEXT = {"data.bin"}

Tree = dict[str, tuple[str, int, bytes]]
"""What stands at each path of a folder: its kind, its permission bits, and its bytes or where it leads."""


def tree(folder: Path) -> Tree:
    """Every file, link and folder below a folder, byte for byte, but not what is git's."""
    found: Tree = {}
    for root, folders, files in os.walk(folder):
        if Path(root) == folder and ".git" in folders:
            folders.remove(".git")
        for name in folders + files:
            path = Path(root, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                entry = ("link", 0, os.fsencode(os.readlink(path)))
            elif stat.S_ISDIR(status.st_mode):
                entry = ("folder", stat.S_IMODE(status.st_mode), b"")
            else:
                entry = ("file", stat.S_IMODE(status.st_mode), path.read_bytes())
            found[str(path.relative_to(folder))] = entry
    return found


def texts(found: Tree) -> dict[str, tuple[str, bool, bytes]]:
    """What a patch can tell of a tree: files and links, and of permissions only whether a file is a program."""
    return {
        name: (kind, bool(mode & 0o100), content)
        for name, (kind, mode, content) in found.items()
        if kind != "folder" and name not in NO_TEXT
    }


def git_folder(project: Path) -> tuple[Tree, dict[str, int]]:
    """What is git's in a project: all of it byte for byte, and when each of it was last written, in nanoseconds.

    Not the times of single objects: in auto mode the CLI has git make snapshots of its own, and that touches them.
    """
    top = project / ".git"
    names = {str(path.relative_to(top)): path for path in (top, *top.rglob("*"))}
    objects = re.compile(r"objects/[0-9a-f]{2}/")
    return tree(top), {name: path.lstat().st_mtime_ns for name, path in names.items() if not objects.match(name)}


def numbered(**other: str) -> str:
    """Thirty lines, some of them replaced: `_3="x"` makes the third line x."""
    return "".join(other.get(f"_{number}", f"line {number}") + "\n" for number in range(1, 31))


def edit(path: Path, old: str, new: str) -> Block:
    """A call of the agent's Edit."""
    return tool("Edit", file_path=str(path), old_string=old, new_string=new)


def read(*paths: Path) -> list[Block]:
    """Calls of the agent's Read."""
    return [tool("Read", file_path=str(path)) for path in paths]


def bash(command: str) -> Block:
    """A call of the agent's shell."""
    return tool("Bash", command=command, description="as scripted")


def repository(home: Home, **files: str) -> None:
    """Make the project a git repository in which all its files are committed, and these too."""
    for name, content in files.items():
        home.write(name, content)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=Person", "-c", "user.email=person@localhost", "commit", "-q", "-m", "Begin"],
    ):
        subprocess.run(["git", *command], cwd=home.project, env=home.environment(), check=True, timeout=10)


def world(home: Home) -> None:
    """Files of every sort that the scripted turn changes, in a git repository; one of them untracked and private."""
    home.write("one.txt", "one\ntwo\n").chmod(0o640)
    home.write("two.txt", numbered())
    home.write("mixed.txt", numbered())
    home.write("wide.txt", "\ufeffone\r\nzwei é\r\n")
    home.write("grown.txt", "some\n")
    home.write("folder/only.txt", "only\n")
    home.write("old.txt", "the same\n")
    home.write("run.sh", "echo run\n").chmod(0o644)
    home.write("data.bin", "\0\1\2")
    (home.project / "other-link").symlink_to("one.txt")
    repository(home)
    home.write("private.txt", "private\n").chmod(0o600)


def scripted_turn(project: Path) -> list[Step]:
    """A turn that changes the files of `world` in every way: an Edit, two Edits of one file, a Write, the shell."""
    one, two, mixed, wide = (project / name for name in ("one.txt", "two.txt", "mixed.txt", "wide.txt"))
    return [
        read(one, two, mixed, wide),
        [
            edit(one, "two", "zwei"),
            edit(two, "line 3\n", "three\n"),
            edit(two, "line 25", "twenty-five"),
            edit(mixed, "line 3\n", "three\n"),
        ],
        [
            edit(wide, "one", "eins"),
            tool("Write", file_path=str(project / "new/folder/written.txt"), content="written\n"),
        ],
        [bash(" && ".join(SHELL_COMMANDS))],
        [text("finished: work")],
    ]


def carry_out(claude: Claude, served: Served, script: str) -> None:
    """Prompt for a script and answer as the person does who wants all of it, until its last words are on screen."""
    asked = r"Do you want to proceed\?"
    unchecked = r"Enter to stay in auto mode"
    preset = r"❯ No\b"

    def press(key: str, question: str) -> None:
        """Press a key once. Pressed again too soon it would answer the next question, or go back to "No"."""
        claude.key(key)
        with suppress(TimedOut):
            claude.wait_gone(question, timeout=5)

    def finished() -> bool:
        screen = claude.screen
        if re.search(f"finished: {script}", screen):
            return True
        if re.search(unchecked, screen):
            press("enter", unchecked)
        elif re.search(asked, screen):
            if re.search(preset, screen):  # auto mode
                press("down", preset)
            elif re.search(r"❯ (1\. )?Yes", screen):
                press("enter", asked)
        if re.search(r"Do you want to (make this edit|create)", screen):
            served.run("accept")  # too late for one that is decided already, and too early for one that is to come
        return False

    claude.prompt(f"please SCRIPT:{script}")
    until(finished, timeout=TURN_SECONDS, what=lambda: f"the end of {script}\n{claude.screen}")


def connect(claude: Claude, served: Served, count: int = 1) -> None:
    """Wait until a CLI is one of `count` clients, and the work tree was looked at, so that what it does is found."""
    claude.wait(READY)
    connected_again(served, count)


def connected_again(served: Served, count: int = 1) -> None:
    """Wait until that many CLIs are clients, and the work tree was looked at."""
    served.wait_clients(count)
    assert json.loads(served.do("changes", "--json"))["complete"]


def changes(served: Served, *which: str) -> list[dict[str, Any]]:
    """The turns that `pairside changes --json` tells of."""
    told = json.loads(served.do("changes", "--json", *which))
    assert told["complete"]
    turns: list[dict[str, Any]] = told["turns"]
    return turns


def changes_of(served: Served, *which: str) -> list[dict[str, Any]]:
    """The changes of all turns that are meant, one by one."""
    return [change for turn in changes(served, *which) for change in turn["changes"]]


class Undone(NamedTuple):
    """An undo in which all went well."""

    turn: int
    """The number of the turn that it is."""
    ids: list[int]
    """The changes that it made."""
    left: dict[str, list[int]]
    """What was left, as it was hardly the agent's: by file the changes."""


def undo(served: Served, *what: object) -> Undone:
    """Run `pairside undo`, which has to take all back that is meant."""
    answer = json.loads(served.do("undo", "--json", *map(str, what)))
    assert {file["outcome"] for file in answer["files"]} == {"undone"}, answer
    assert answer["complete"]
    left: dict[str, list[int]] = {}
    for entry in answer["left"]:
        left.setdefault(entry["path"], []).extend(entry["ids"])
    return Undone(answer["turn"], [file["change"] for file in answer["files"]], left)


def events(served: Served, kind: str) -> list[dict[str, Any]]:
    """What the server's log has of one kind, oldest first."""
    return [event for event in json.loads(served.do("log", "--json"))["events"] if event["kind"] == kind]


@dataclass
class Session:
    """A CLI that is connected, in a project that one turn of it has changed in every way."""

    home: Home
    model: Model
    served: Served
    claude: Claude
    before: Tree
    """The project before the turn."""
    after: Tree
    """The project as the turn left it."""
    git: tuple[Tree, dict[str, int]]
    """What was git's before the turn."""
    turn: int
    """The number of the turn."""

    @property
    def project(self) -> Path:
        """The folder that is served."""
        return self.home.project

    @property
    def now(self) -> Tree:
        """The project as it is now."""
        return tree(self.project)

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The changes of the turn, one by one."""
        return changes_of(self.served, "--turn", str(self.turn))

    def ids(self, name: str, means: str = "edit") -> str:
        """The changes of a file in the turn, as `pairside undo` takes them."""
        path = str(self.project / name)
        return ",".join(str(one["id"]) for one in self.changes if (one["path"], one["means"]) == (path, means))

    def show(self, request: pytest.FixtureRequest) -> None:
        """Have a failure of a test show what the processes of this session showed."""
        shown = Exhibits.of(request.node)
        shown.texts["pairside serve"] = self.served.described
        shown.clis.append(self.claude)


@contextmanager
def session(mode: str) -> Iterator[Session]:
    """A CLI in a permission mode, and its turn. In manual mode a turn that the person rejected comes before it."""
    with Home() as home, Model() as model, Served(home) as served:
        seed(home)
        world(home)
        model.script("work", *scripted_turn(home.project))
        one = home.project / "one.txt"
        model.script("refused", read(one), [edit(one, "two", "refused")], [text("finished: refused")])
        served.start()
        before, git = tree(home.project), git_folder(home.project)
        with Claude(home, model.url, "--ide", "--permission-mode", mode) as claude:
            connect(claude, served)
            if mode == "manual":
                claude.prompt("please SCRIPT:refused")
                served.wait_review()
                served.do("reject")
                claude.wait("Rejected update to one.txt")
            carry_out(claude, served, "work")
            (turn,) = changes(served)
            yield Session(home, model, served, claude, before, tree(home.project), git, turn["turn"])
        assert served.stop() == 0
        assert served.errors == ""


class Place:
    """Where tests of one mode share a session, as long as each leaves the project as the turn of the agent left it."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._stack = ExitStack()
        self._session: Session | None = None

    def session(self) -> Session:
        """The session, or another one if a test that failed has left something else."""
        if self._session is not None and self._session.now != self._session.after:
            self.close()
        if self._session is None:
            self._session = self._stack.enter_context(session(self.mode))
        return self._session

    def close(self) -> None:
        """End the session."""
        self._session = None
        self._stack.close()


@pytest.fixture(scope="module", params=MODES)
def mode(driveable: None, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Where a CLI has worked in one of its permission modes."""
    place = Place(request.param)
    yield place
    place.close()


@pytest.fixture
def worked(mode: Place, request: pytest.FixtureRequest) -> Session:
    """A CLI in one of its permission modes after its turn. A test leaves what that has left."""
    current = mode.session()
    current.show(request)
    return current


# In each permission mode: what the turn changed is told, and taken back in each way.


def test_each_change_of_the_turn_is_told(mode: Place, worked: Session) -> None:
    """What the agent's tools wrote one by one, reviewed only where it asks; what its shell did as by other means."""
    told = worked.changes
    names = {one["id"]: str(Path(one["path"]).relative_to(worked.project)) for one in told}
    by_tools = [one for one in told if one["means"] == "edit"]
    assert sorted(names[one["id"]] for one in by_tools) == sorted(BY_TOOLS)
    assert {one["reviewed"] for one in by_tools} == {mode.mode == "manual"}
    assert {names[one["id"]]: one["kind"] for one in told if one["means"] == "other"} == BY_SHELL
    assert {(one["late"], one["state"]) for one in told} == {(False, "written")}


def test_an_undo_of_the_turn_gives_the_tree_back_and_an_undo_of_that_the_agents(worked: Session) -> None:
    """Contents, permissions, links and folders are as they were, and then as the agent left them."""
    back = undo(worked.served, "--turn", worked.turn)
    assert worked.now == worked.before
    assert {one["state"] for one in worked.changes} == {"undone"}
    undo(worked.served, "--turn", back.turn)
    assert worked.now == worked.after
    assert {one["state"] for one in worked.changes} == {"written"}


def test_an_undo_of_each_file_gives_the_tree_back(worked: Session) -> None:
    """Each by its name as the person types it, links and files that are gone too."""
    names = {os.path.relpath(one["path"], worked.project) for one in worked.changes}
    back = [undo(worked.served, name) for name in sorted(names)]
    assert worked.now == worked.before
    undo(worked.served, *(id for one in back for id in one.ids))
    assert worked.now == worked.after


def test_an_undo_of_each_change_gives_the_tree_back(worked: Session) -> None:
    """One by one, the newest first."""
    back = [undo(worked.served, one["id"]) for one in reversed(worked.changes)]
    assert worked.now == worked.before
    undo(worked.served, *(id for one in back for id in one.ids))
    assert worked.now == worked.after


def test_an_undo_hunk_by_hunk_gives_the_file_back(worked: Session) -> None:
    """A hunk is taken back alone, whether a tool made it or the shell; the others stay until it is their turn."""
    for name, last in (("two.txt", "twenty-five"), ("mixed.txt", "shell 25")):
        path = worked.project / name
        assert path.read_text() == numbered(_3="three", _25=last)
        first = undo(worked.served, name, "--hunks", 1)
        assert path.read_text() == numbered(_25=last)
        second = undo(worked.served, name, "--hunks", 1)
        assert path.read_text() == numbered()
        undo(worked.served, *second.ids)
        undo(worked.served, *first.ids)
    assert worked.now == worked.after


def test_the_patch_takes_back_what_is_text(worked: Session, tmp_path: Path) -> None:
    """`pairside changes --patch | git apply -R` gives the files of before; it names what it leaves out."""
    copy = tmp_path / "copy"
    shutil.copytree(worked.project, copy, symlinks=True)
    command = f"{PAIRSIDE} changes --patch | (cd {shlex.quote(str(copy))} && git apply -R --whitespace=nowarn)"
    told = subprocess.run(
        command, shell=True, cwd=worked.project, env=worked.home.environment(), check=True, timeout=15,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert told.stderr == "No patch for data.bin: binary.\n"
    assert texts(tree(copy)) == texts(worked.before)


def test_nothing_of_git_has_changed(worked: Session) -> None:
    """After the turn and all that was taken back the person's `.git` is the same: names, contents, times."""
    undo(worked.served, "--turn", undo(worked.served, "--turn", worked.turn).turn)
    assert git_folder(worked.project) == worked.git


def test_what_the_person_rejected_is_no_change(mode: Place, worked: Session) -> None:
    """In manual mode the turn before was rejected: nothing is told of it, and no turn of it is kept."""
    if mode.mode != "manual":
        assert worked.turn == 1
        return
    assert worked.turn == 2
    assert {turn["turn"] for turn in changes(worked.served, "--all") if not turn["is_undo"]} == {2}
    assert "no turn 1" in worked.served.run("undo", "--turn", "1").stderr


# The person writes too.


@pytest.fixture(scope="module")
def desk(driveable: None) -> Iterator[Place]:
    """Where a CLI has worked in a mode that does not ask, and the person goes on in the same files."""
    place = Place("acceptEdits")
    yield place
    place.close()


@pytest.fixture
def shared(desk: Place, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A CLI after its turn; what a test does as the person is gone after it."""
    current = desk.session()
    current.show(request)
    yield current
    present = current.now
    for name in {name for name in (*present, *current.after) if present.get(name) != current.after.get(name)}:
        path = current.project / name
        if name not in current.after and path.is_file():
            path.unlink()
        elif name in present and path.is_file():
            path.write_bytes(current.after[name][2])
        # Anything else a test that failed has left; the next one gets another session.


def by_person(path: Path, old: str, new: str) -> None:
    """Change a file as an editor does that pairside knows nothing of."""
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def test_other_lines_of_the_person_stay_when_a_hunk_is_taken_back(shared: Session) -> None:
    """So does the other hunk of the agent; and an undo of that gives back just the hunk."""
    path = shared.project / "two.txt"
    by_person(path, "line 12\n", "mine\n")
    back = undo(shared.served, shared.ids("two.txt"), "--hunks", 1)
    assert path.read_text() == numbered(_12="mine", _25="twenty-five")
    by_person(path, "line 28\n", "mine too\n")
    undo(shared.served, "--turn", back.turn)
    assert path.read_text() == numbered(_3="three", _12="mine", _25="twenty-five", _28="mine too")


def test_what_the_person_wrote_after_the_turn_is_left_by_an_undo_of_it(shared: Session) -> None:
    """It is told as late, named by the undo, and taken back only by its own number."""
    two, notes = shared.project / "two.txt", shared.project / "notes.txt"
    by_person(two, "line 12\n", "mine\n")
    notes.write_text("mine\n")
    late = {one["path"]: one["id"] for one in shared.changes if one["late"] and one["kind"] == "new"}
    assert list(late) == [str(notes)]
    back = undo(shared.served, "--turn", shared.turn)
    assert set(back.left) == {str(notes), str(two)}
    assert two.read_text() == numbered(_12="mine")
    assert {name: entry for name, entry in shared.now.items() if name not in ("two.txt", "notes.txt")} == {
        name: entry for name, entry in shared.before.items() if name != "two.txt"
    }
    undo(shared.served, late[str(notes)])
    assert not notes.exists()
    undo(shared.served, "--turn", back.turn)
    assert two.read_text() == numbered(_3="three", _12="mine", _25="twenty-five")


def test_where_the_person_changed_the_same_line_nothing_is_written_and_both_are_shown(shared: Session) -> None:
    """The exit status is 1; the other hunk can be taken back as the message says."""
    path = shared.project / "two.txt"
    by_person(path, "three\n", "mine\n")
    ids = shared.ids("two.txt")
    refused = shared.served.run("undo", ids)
    assert refused.returncode == 1
    assert path.read_text() == numbered(_3="mine", _25="twenty-five")
    for shown in ("-line 3", "+three", "line 3:", "mine", f"Take the others back: pairside undo {ids} --hunks 2"):
        assert shown in refused.stdout
    undo(shared.served, ids, "--hunks", 2)
    assert path.read_text() == numbered(_3="mine")


def test_a_new_file_that_the_person_wrote_into_stays(shared: Session) -> None:
    """To take it back would remove the person's lines; the exit status is 1."""
    path = shared.project / "new/folder/written.txt"
    by_person(path, "written\n", "written\nmine\n")
    refused = shared.served.run("undo", shared.ids("new/folder/written.txt"))
    assert refused.returncode == 1
    assert "remove it yourself" in refused.stdout
    assert path.read_text() == "written\nmine\n"


def test_a_dry_run_writes_nothing_and_tells_what_would_be(shared: Session) -> None:
    """Each file of the turn is named once."""
    told = shared.served.do("undo", "--turn", str(shared.turn), "--dry-run")
    assert shared.now == shared.after
    assert told.count("Would be undone: ") == len({one["path"] for one in shared.changes if not one["late"]})


# The agent goes on.


@dataclass
class Story:
    """What was seen of a CLI that went on after its turns were taken back, and that tried to take them back itself."""

    pid: int
    before: Tree
    git: tuple[Tree, dict[str, int]]
    trees: dict[str, Tree] = field(default_factory=dict)
    """The project after each moment of the story."""
    results: dict[str, ToolResult] = field(default_factory=dict)
    """What the agent told the model about its last tool call in a turn."""
    turns: dict[str, int] = field(default_factory=dict)
    """The numbers of the turns by their scripts."""
    ended: list[dict[str, Any]] = field(default_factory=list)
    """The events that tell what a turn amounted to."""
    said: str = ""
    """What `pairside undo` said in the agent's own shell."""
    described: str = ""
    """What the server said."""


@pytest.fixture(scope="module")
def told_story(driveable: None) -> Iterator[Story]:
    """Four turns of one CLI in acceptEdits mode, the first two of which the person takes back at once."""
    with Home() as home, Model() as model, Served(home) as served:
        seed(home)
        path = home.project / "a.txt"
        repository(home, **{"a.txt": numbered(), "b.txt": "b\n"})
        attempts = " ; ".join(
            f"{disguise} {PAIRSIDE} undo --turn 1 ; echo status $?" for disguise in ("", "env -u CLAUDECODE")
        )
        done = {name: [text(f"finished: {name}")] for name in ("first", "second", "blind", "shell")}
        model.script(
            "first", read(path), [edit(path, "line 3\n", "three\n")], [bash("echo shell >> b.txt")], done["first"]
        )
        model.script("second", read(path), [edit(path, "line 3\n", "drei\n")], done["second"])
        model.script("blind", [edit(path, "line 25", "blind")], done["blind"])
        model.script(
            "shell",
            [bash(attempts)],
            [tool("Write", file_path=str(home.project / "last.txt"), content="1\n2\n")],
            done["shell"],
        )
        served.start()
        with Claude(home, model.url, "--ide", "--permission-mode", "acceptEdits", "--allowedTools", "Bash") as claude:
            connect(claude, served)
            story = Story(claude.pid, tree(home.project), git_folder(home.project))
            for name in done:
                carry_out(claude, served, name)
                story.trees[name] = tree(home.project)
                results = model.requests[-1].tool_results
                story.results[name] = results[-2 if name == "shell" else -1]
                story.turns[name] = max((turn["turn"] for turn in changes(served, "--all")), default=0)
                if name in ("first", "second"):
                    undo(served, "--turn", story.turns[name])
                    story.trees[f"{name} undone"] = tree(home.project)
            story.said = story.results["shell"].text
            claude.prompt("/exit")
            claude.wait_end()
        served.wait(lambda now: now["client_count"] == 0)
        last = story.turns["shell"]
        until(lambda: [one for one in events(served, "turn-ended") if one["turn"] == last], timeout=10, what="its end")
        story.ended = events(served, "turn-ended")
        story.trees["end"] = tree(home.project)
        story.described = served.described()
        undo(served, "--turn", last)
        story.trees["all undone"] = tree(home.project)
        yield story
        assert git_folder(home.project) == story.git
        assert served.stop() == 0
        assert served.errors == ""


@pytest.fixture
def story(told_story: Story, request: pytest.FixtureRequest) -> Story:
    """The story, for a test that looks at one side of it."""
    Exhibits.of(request.node).texts["pairside serve"] = lambda: told_story.described
    return told_story


def content(found: Tree, name: str) -> str:
    """A text file of a tree."""
    return found[name][2].decode()


def test_the_agent_reads_and_edits_a_file_that_was_taken_back(story: Story) -> None:
    """It finds the lines of before, edits them again, and that is taken back again."""
    assert story.trees["first undone"] == story.before
    assert not story.results["second"].is_error
    assert content(story.trees["second"], "a.txt") == numbered(_3="drei")
    assert story.trees["second undone"] == story.before


def test_an_edit_without_reading_again_brings_nothing_back(story: Story) -> None:
    """Whether the CLI wants the file read first or edits it at once: what was taken back stays away."""
    edited = numbered() if story.results["blind"].is_error else numbered(_25="blind")
    assert content(story.trees["blind"], "a.txt") == edited


def test_the_agents_own_shell_takes_nothing_back(story: Story) -> None:
    """`pairside undo` by its Bash tool is refused, by its mark and by its descent."""
    assert story.said.count(f"status {REFUSED}") == 2
    assert story.said.count("only the person may do that") == 2
    assert {**story.trees["shell"], "last.txt": ()} == {**story.trees["blind"], "last.txt": ()}


def test_the_end_of_a_turn_tells_what_it_amounted_to(story: Story) -> None:
    """At the next prompt, and for the last turn when the CLI exits; without what was taken back by then."""
    told = {one["turn"]: one for one in story.ended}
    facts = ("pid", "agent", "files", "added", "removed", "unreviewed", "by_other_means")
    taken_back = [story.pid, "Claude Code", 0, 0, 0, 0, 0]
    assert [told[story.turns["first"]][fact] for fact in facts] == taken_back
    assert [told[story.turns["shell"]][fact] for fact in facts] == [story.pid, "Claude Code", 1, 2, 0, 1, 0]
    assert [one["turn"] for one in story.ended] == sorted(set(story.turns.values()))


def test_what_a_cli_that_left_has_changed_is_taken_back(story: Story) -> None:
    """The last turn is undone after the exit."""
    assert "last.txt" in story.trees["end"]
    assert "last.txt" not in story.trees["all undone"]


# Several agents, and the deaths of servers.


def test_two_clis_in_one_file_are_told_apart(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """An undo of the turn of one leaves the lines of the other, in both orders."""
    path = home.project / "a.txt"
    repository(home, **{"a.txt": numbered()})
    model.script("one", read(path), [edit(path, "line 3\n", "three\n")], [text("finished: one")])
    model.script("two", read(path), [edit(path, "line 25", "twenty-five")], [text("finished: two")])
    clis = []
    for count in (1, 2):
        clis.append(start_claude("--ide", "--permission-mode", "acceptEdits"))
        connect(clis[-1], served, count)
    for claude, name in zip(clis, ("one", "two"), strict=True):
        carry_out(claude, served, name)
    assert path.read_text() == numbered(_3="three", _25="twenty-five")
    one, two = changes(served)
    assert [turn["pid"] for turn in (one, two)] == [claude.pid for claude in clis]
    assert [(len(turn["changes"]), turn["files"][0]["means"]) for turn in (one, two)] == [(1, ["edit"]), (1, ["edit"])]
    back = undo(served, "--turn", one["turn"])
    assert path.read_text() == numbered(_25="twenty-five")
    undo(served, "--turn", back.turn)
    undo(served, "--turn", two["turn"])
    assert path.read_text() == numbered(_3="three")


def test_what_was_known_outlives_a_server_that_was_killed_in_the_middle_of_a_turn(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """It is taken back with its turn. What the CLI did after the restart, in which it gives no signs, is told too."""
    path = home.project / "a.txt"
    repository(home, **{"a.txt": numbered(), "b.txt": "b\n"})
    before = tree(home.project)
    known: list[dict[str, Any]] = []

    def kill(request: ModelRequest) -> list[Block]:
        if not known:  # the CLI may ask again
            known.extend(changes_of(served))
            served.restart()
            connected_again(served)
        return [edit(path, "line 25", "twenty-five")]

    model.script(
        "work",
        read(path),
        [edit(path, "line 3\n", "three\n")],
        [bash("echo shell >> b.txt")],
        kill,
        [text("finished: work")],
    )
    claude = start_claude("--ide", "--permission-mode", "acceptEdits", "--allowedTools", "Bash")
    connect(claude, served)
    carry_out(claude, served, "work")
    assert path.read_text() == numbered(_3="three", _25="twenty-five")
    (turn,) = changes(served, "--all")
    assert [(Path(one["path"]).name, one["means"]) for one in known] == [("a.txt", "edit"), ("b.txt", "other")]
    assert turn["changes"][:2] == known
    assert [one["path"] for one in turn["changes"][2:]] == [str(path)]
    back = undo(served, "--turn", turn["turn"])
    assert "line 3\n" in path.read_text()
    assert (home.project / "b.txt").read_text() == "b\n"
    for ids in back.left.values():
        undo(served, *ids)
    assert tree(home.project) == before


def test_after_pairside_run_ended_its_changes_are_seen_and_taken_back(
    home: Home, model: Model, shell: Shell, ask: Callable[..., Any]
) -> None:
    """The server ended with the agent: the commands work from what it has kept."""
    path = home.project / "a.txt"
    repository(home, **{"a.txt": numbered(), "b.txt": "b\n"})
    before = tree(home.project)
    model.script(
        "work",
        read(path),
        [edit(path, "line 3\n", "three\n")],
        [bash("echo shell >> b.txt")],
        [text("finished: work")],
    )
    shell.run("pairside run claude --permission-mode acceptEdits --allowedTools Bash")
    shell.wait(READY)
    connected(ask)
    assert ask("changes")["complete"]
    shell.prompt("please SCRIPT:work")
    shell.wait("finished: work")
    after = tree(home.project)
    leave(shell)
    until(lambda: not home.lock_files, timeout=10, what="the server is gone")
    (turn,) = ask("changes")["turns"]
    assert [one["means"] for one in turn["changes"]] == ["edit", "other"]
    told = shell.told(r"To take this back: .*\n", shell.run(f"pairside undo --turn {turn['turn']}"))
    assert "No server runs here: these are the changes that were kept." in told
    assert tree(home.project) == before
    number = int(re.search(r"pairside undo --turn (\d+)\n", told.partition("To take this back")[2])[1])  # type: ignore[index]
    shell.told(r"To take this back: .*\n", shell.run(f"pairside undo --turn {number}"))
    assert tree(home.project) == after
