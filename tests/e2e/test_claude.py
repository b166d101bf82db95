"""The real Claude Code CLI beside a real `pairside serve`: what a person sees, and what lands on disk."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .claude import READY, Claude
from .conftest import StartClaude
from .home import Home
from .install_cli import VERSION
from .model import Model, Step, text, tool
from .served import Served
from .until import until

pytestmark = pytest.mark.real_cli

DONE = "Finished as scripted."
"""The last answer of every script: seen on the screen, it says that the turn is over."""

REFUSED, NONE_PENDING, DECIDED = 6, 3, 5
"""Exit statuses of pairside's commands."""

QUESTION = r"Do you want to (make this edit|create)"
"""The terminal's own question beside an open review."""

BEFORE = "one = 1\ntwo = 2\nthree = 3\n"
AFTER = "one = 1\ntwo = 22\nthree = 3\n"


def connect(start_claude: StartClaude, served: Served, *arguments: str, mode: str = "manual", count: int = 1) -> Claude:
    """Start a CLI that looks for an IDE, and wait until it is one of `count` clients of pairside."""
    claude = start_claude("--ide", "--permission-mode", mode, *arguments)
    claude.wait(READY)
    served.wait_clients(count)
    return claude


def editing(path: Path, *replacements: tuple[str, str]) -> tuple[Step, ...]:
    """A script that reads a file and then edits it, one Edit for each replacement, all in one answer."""
    edits = [tool("Edit", file_path=str(path), old_string=old, new_string=new) for old, new in replacements]
    return [tool("Read", file_path=str(path))], edits, [text(DONE)]


def writing(path: Path, content: str) -> tuple[Step, ...]:
    """A script that writes a whole file, read before when it exists."""
    write = [tool("Write", file_path=str(path), content=content)]
    read = [[tool("Read", file_path=str(path))]] if path.exists() else []
    return *read, write, [text(DONE)]


def edited_lines(patch: str) -> list[str]:
    """The lines that a unified diff takes away and adds, in order, without its headers."""
    return [line for line in patch.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def changes_told(served: Served) -> list[dict[str, Any]]:
    """The changes of the latest turns, one by one, as `pairside changes --json` tells them."""
    return [change for turn in json.loads(served.do("changes", "--json"))["turns"] for change in turn["changes"]]


def on_disk(path: Path, content: str) -> None:
    """Wait until the CLI has written a file."""
    until(
        lambda: path.exists() and path.read_bytes() == content.encode(),
        timeout=10,
        what=lambda: (
            f"{path.name} with {content!r}; it has {path.read_bytes()!r}" if path.exists() else f"{path.name} written"
        ),
    )


def test_the_cli_connects_and_is_listed_with_its_version_and_process(served: Served, start_claude: StartClaude) -> None:
    """A CLI started with --ide in the folder is the one client, known by the pid and the version it told."""
    claude = connect(start_claude, served)
    status = served.status()
    (client,) = status["clients"]
    assert client["pid"] == claude.pid
    assert (client["agent"], client["version"]) == ("Claude Code", VERSION)
    assert (status["client_count"], status["connects"], status["disconnects"]) == (1, 1, 0)


def test_a_selection_reaches_the_model_with_the_next_prompt(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Lines selected with `pairside select` show as a chip and stand, with numbers, in the model request."""
    path = home.write("a.py", BEFORE)
    model.script("talk", [text(DONE)])
    claude = connect(start_claude, served)
    served.do("select", "a.py:2-3")
    claude.wait(r"\[⧉ 2 lines selected\]")
    claude.prompt("what is this SCRIPT:talk")
    claude.wait(DONE)
    (request,) = model.requests
    assert f"The user selected the lines 2 to 3 from {path}:\ntwo = 2\nthree = 3\n" in request.news


def test_a_selection_holds_for_one_prompt_only(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Without --keep the second prompt carries the selection no more, and the chip is gone."""
    home.write("a.py", BEFORE)
    model.script("talk", [text(DONE)])
    claude = connect(start_claude, served)
    served.do("select", "a.py:2")
    claude.wait(r"⧉ 1 line selected")
    claude.prompt("first SCRIPT:talk")
    first = model.wait(lambda request: "first" in request.prompt)
    claude.wait_gone(r"⧉ 1 line selected")
    claude.prompt("second SCRIPT:talk")
    second = model.wait(lambda request: "second" in request.prompt)
    assert "The user selected" in first.news
    assert "The user selected" not in second.news


def test_a_selection_that_was_cleared_reaches_no_model(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """With `pairside select --clear` the chip is gone at once, and the next prompt carries nothing."""
    home.write("a.py", BEFORE)
    model.script("talk", [text(DONE)])
    claude = connect(start_claude, served)
    served.do("select", "a.py:2", "--keep")
    claude.wait(r"⧉ 1 line selected")
    served.do("select", "--clear")
    claude.wait_gone(r"⧉ 1 line selected")
    claude.prompt("first SCRIPT:talk")
    first = model.wait(lambda request: "first" in request.prompt)
    assert "The user selected" not in first.news
    assert "two = 2" not in first.news


def test_a_mention_appears_in_the_prompt(home: Home, served: Served, start_claude: StartClaude) -> None:
    """`pairside mention` with human line numbers puts the agent's own notation into the prompt."""
    home.write("a.py", BEFORE)
    claude = connect(start_claude, served)
    served.do("mention", "a.py:2-3")
    claude.wait(r"(?m)❯\s@a\.py#L2-3$")


def test_a_mention_made_before_the_cli_starts_waits_for_it(
    home: Home, served: Served, start_claude: StartClaude
) -> None:
    """A mention without a client is kept and delivered to the first one that connects."""
    home.write("a.py", BEFORE)
    served.do("mention", "a.py:1")
    claude = connect(start_claude, served)
    claude.wait(r"(?m)❯\s@a\.py#L1$")


def test_an_accepted_edit_is_written_by_the_cli(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Nothing is written while the review is pending; accepted, the CLI writes it, and it is no unseen change."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    (review,) = served.wait_review()
    assert path.read_text() == BEFORE
    served.do("accept", str(review["id"]))
    claude.wait(DONE)
    assert path.read_text() == AFTER
    status = served.status()
    assert (status["pending_reviews"], status["unreviewed_changes"]) == (0, 0)
    assert "has been updated" in model.requests[-1].tool_results[-1].text
    assert "modified your proposed changes" not in model.requests[-1].tool_results[-1].text


def test_an_edit_accepted_with_other_text_is_written_as_the_person_wrote_it(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Text given with --text-file lands byte for byte, no final newline added, and the model is told so."""
    path = home.write("a.py", BEFORE)
    own = home.root / "own.txt"
    own.write_text("one = 1\ntwo = 'zwei — 𝟚'\nthree = 3", encoding="utf-8")
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    served.do("accept", "--text-file", str(own))
    claude.wait(DONE)
    assert path.read_bytes() == own.read_bytes()
    assert "modified your proposed changes" in model.requests[-1].tool_results[-1].text


def test_accepting_some_hunks_writes_those_and_leaves_the_rest(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Of three separate changes, `accept --hunks 1,3` writes the first and the third."""
    lines = [f"line {number}\n" for number in range(1, 41)]
    changed = {5: "fifth\n", 20: "twentieth\n", 35: "thirty-fifth\n"}

    def having(*numbers: int) -> str:
        return "".join(changed[n] if n in numbers else line for n, line in enumerate(lines, 1))

    path = home.write("lines.txt", having())
    model.script("edit", *writing(path, having(5, 20, 35)))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    served.do("accept", "--hunks", "1,3")
    claude.wait(DONE)
    assert path.read_text() == having(5, 35)


def test_a_rejected_edit_is_not_written_and_the_cli_waits_for_the_person(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """`pairside reject` ends the turn with no further model request; the next prompt tells the model."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    model.script("talk", [text(DONE)])
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    assert "Rejected. Claude Code waits" in served.do("reject")
    claude.wait("Rejected update to a.py")
    claude.prompt("instead SCRIPT:talk")
    claude.wait(DONE)
    requests = model.requests
    assert path.read_text() == BEFORE
    assert [request.script({"edit", "talk"}) for request in requests] == [
        ("edit", 0),
        ("edit", 1),
        ("talk", 0),
    ]
    refused = requests[-1].tool_results[-1]
    assert refused.is_error
    assert "doesn't want to proceed" in refused.text


@pytest.mark.parametrize(("key", "content"), [("1", AFTER), ("escape", BEFORE)], ids=["yes", "no"])
def test_a_decision_in_the_terminal_closes_the_review(
    key: str, content: str, home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Answering the CLI's own question leaves no pending review behind, and the terminal's answer counts."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    (review,) = served.wait_review()
    claude.answer(key, question=QUESTION)
    served.wait(lambda now: now["pending_reviews"] == 0)
    claude.wait(DONE if key == "1" else "Rejected update to a.py")
    assert path.read_text() == content
    assert served.status()["unreviewed_changes"] == 0
    assert served.run("accept").returncode == NONE_PENDING
    assert served.run("accept", str(review["id"])).returncode == DECIDED


def test_an_accepted_edit_keeps_byte_order_mark_and_line_endings(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """The proposal is reviewed as LF text; on disk the file stays what it was, whatever its name is made of."""
    path = home.write("sp ace é.py", "\ufeffone = 1\r\ntwo = '𝟚'\r\n")
    model.script("edit", *editing(path, ("one = 1", "one = 11")))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    (review,) = served.wait_review()
    assert review["path"] == str(path)
    served.do("accept")
    claude.wait(DONE)
    assert path.read_bytes().decode() == "\ufeffone = 11\r\ntwo = '𝟚'\r\n"


def test_switching_to_accept_edits_in_the_terminal_lists_what_follows(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """After "Yes, and switch to accept edits" the next edit of the turn is not reviewed, and listed as that."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22"), ("three = 3", "three = 33")))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    claude.answer("2", question=QUESTION)
    claude.wait(DONE)
    assert path.read_text() == "one = 1\ntwo = 22\nthree = 33\n"
    changes = changes_told(served)
    assert [change["reviewed"] for change in changes] == [True, False]
    hunks = json.loads(served.do("changes", "--json", str(changes[1]["id"])))["hunks"]
    assert [(hunk["old"], hunk["new"]) for hunk in hunks] == [(["three = 3\n"], ["three = 33\n"])]
    assert served.status()["unreviewed_changes"] == 1


def test_a_new_file_is_created_with_its_folders(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """A proposal for a file that does not exist is reviewed like any other and written once accepted."""
    path = home.project / "new" / "folder" / "c.py"
    model.script("write", *writing(path, "c = 3"))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:write")
    served.wait_review()
    assert not path.exists()
    served.do("accept")
    claude.wait(DONE)
    assert path.read_bytes() == b"c = 3"


def test_two_edits_of_one_turn_are_two_reviews_one_after_the_other(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """The second proposal comes after the first verdict, on top of what was written."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22"), ("three = 3", "three = 33")))
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    (first,) = served.wait_review()
    served.do("accept", str(first["id"]))
    on_disk(path, AFTER)
    (second,) = served.wait_review()
    assert second["id"] != first["id"]
    served.do("accept", str(second["id"]))
    claude.wait(DONE)
    assert path.read_text() == "one = 1\ntwo = 22\nthree = 33\n"


def test_diagnostics_that_come_after_a_write_reach_the_model(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """What a linter says of the edited file, imported after the write, stands in the next model request."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = tvo")))
    model.script("talk", [text(DONE)])
    claude = connect(start_claude, served)
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    served.do("accept")
    claude.wait(DONE)
    published = {
        "uri": path.as_uri(),
        "diagnostics": [
            {
                "range": {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 9}},
                "severity": 1,
                "code": "F821",
                "source": "pyflakes",
                "message": "undefined name tvo",
            }
        ],
    }
    served.do("diagnostics", "import", "-", standard_input=json.dumps(published))
    claude.prompt("and now SCRIPT:talk")
    request = model.wait(lambda request: "and now" in request.prompt)
    assert "<new-diagnostics>" in request.news
    assert "undefined name tvo" in request.news
    assert "[Line 2:7]" in request.news


@pytest.mark.parametrize("mode", ["acceptEdits", "auto"])
def test_writes_without_a_review_are_listed_exactly(
    mode: str, home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Where the CLI asks nobody, `pairside changes` knows every write, and its patch takes all of them back."""
    path = home.write("a.py", BEFORE)
    new = home.project / "new.txt"
    model.script(
        "edit",
        [tool("Read", file_path=str(path))],
        [
            tool("Edit", file_path=str(path), old_string="two = 2", new_string="two = 22"),
            tool("Edit", file_path=str(path), old_string="three = 3", new_string="three = 33"),
            tool("Write", file_path=str(new), content="new\n"),
        ],
        [text(DONE)],
    )
    claude = connect(start_claude, served, mode=mode)
    claude.prompt("please SCRIPT:edit")
    claude.wait(DONE)
    assert served.status()["pending_reviews"] == 0
    changes = changes_told(served)
    assert not any(change["reviewed"] for change in changes)
    assert [(change["path"], change["kind"], change["added"], change["removed"]) for change in changes] == [
        (str(path), "modified", 1, 1),
        (str(path), "modified", 1, 1),
        (str(new), "new", 1, 0),
    ]
    patches = json.loads(served.do("changes", "--json", "--patch"))
    assert [(change["path"], edited_lines(change["patch"])) for change in patches] == [
        (str(path), ["-two = 2", "-three = 3", "+two = 22", "+three = 33"]),
        (str(new), ["+new"]),
    ]
    assert served.status()["unreviewed_changes"] == len(changes)
    patch = home.root / "changes.patch"
    patch.write_text(served.do("changes", "--patch"))
    subprocess.run(["git", "apply", "-R", str(patch)], cwd=home.project, env=home.environment(), check=True, timeout=10)
    assert path.read_text() == BEFORE
    assert not new.exists()


@pytest.mark.parametrize("disguise", ["", "env -u CLAUDECODE "], ids=["marked", "unmarked"])
def test_the_agents_own_shell_cannot_accept_its_proposal(
    disguise: str, home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """`pairside accept` by the CLI's Bash tool is refused, by its mark or its descent; the person decides."""
    path = home.write("a.py", BEFORE)
    pairside = f"{shlex.quote(sys.executable)} -m pairside"
    home.write(
        "accept.sh",
        f"for attempt in $(seq 100); do {pairside} show >shown.txt 2>&1 && break; done\n"
        f"{disguise}{pairside} accept >said.txt 2>&1\n"
        f"echo $? >status.txt\n",
    )
    model.script(
        "edit",
        [tool("Read", file_path=str(path))],
        [
            tool("Bash", command="sh accept.sh", description="accept it", run_in_background=True),
            tool("Edit", file_path=str(path), old_string="two = 2", new_string="two = 22"),
        ],
        [text(DONE)],
    )
    claude = connect(start_claude, served, "--allowedTools", "Bash")
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    status = home.project / "status.txt"
    until(lambda: status.exists() and status.read_text(), timeout=20, what="the shell tried to accept")
    assert "two = 22" in (home.project / "shown.txt").read_text()
    assert "only the person may do that" in (home.project / "said.txt").read_text()
    assert status.read_text() == f"{REFUSED}\n"
    assert served.status()["pending_reviews"] == 1
    assert path.read_text() == BEFORE
    served.do("accept")
    claude.wait(DONE)
    assert path.read_text() == AFTER


def test_a_killed_cli_is_told_lost_once_and_its_review_closes(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """After kill -9 there is one departure, LOST 1006, no client and no pending review."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    claude = connect(start_claude, served)
    (client,) = served.status()["clients"]
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    claude.kill9()
    status = served.wait(lambda now: now["client_count"] == 0)
    (departure,) = status["departures"]
    assert (departure["client_id"], departure["reason"], departure["code"]) == (client["id"], "lost", 1006)
    assert (status["connects"], status["disconnects"], status["pending_reviews"]) == (1, 1, 0)
    assert path.read_text() == BEFORE


def test_the_cli_comes_back_by_itself_to_a_server_killed_and_restarted(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """A restart adopts port and token, so the same CLI is a client again and its edits are reviewed again."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    claude = connect(start_claude, served)
    port = served.status()["port"]
    served.restart()
    status = served.wait_clients(timeout=20)
    assert status["port"] == port
    assert status["clients"][0]["pid"] == claude.pid
    claude.prompt("please SCRIPT:edit")
    served.wait_review()
    served.do("accept")
    claude.wait(DONE)
    assert path.read_text() == AFTER


def test_a_cli_that_exits_is_told_closed(served: Served, start_claude: StartClaude) -> None:
    """`/exit` closes with an empty Close frame: one departure, CLOSED 1005."""
    claude = connect(start_claude, served)
    claude.prompt("/exit")
    assert claude.wait_end() == 0
    status = served.wait(lambda now: now["client_count"] == 0)
    (departure,) = status["departures"]
    assert (departure["reason"], departure["code"]) == ("closed", 1005)


def test_the_death_of_one_cli_leaves_the_other_and_its_review_alone(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Of two CLIs with a pending review each, one is killed: only its own review closes."""
    path, other = home.write("a.py", BEFORE), home.write("b.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    model.script("other", *editing(other, ("two = 2", "two = 22")))
    killed = connect(start_claude, served)
    survivor = connect(start_claude, served, count=2)
    killed.prompt("please SCRIPT:edit")
    survivor.prompt("please SCRIPT:other")
    served.wait_review(2)
    killed.kill9()
    status = served.wait(lambda now: now["client_count"] == 1)
    assert [client["pid"] for client in status["clients"]] == [survivor.pid]
    assert [departure["reason"] for departure in status["departures"]] == ["lost"]
    assert status["pending_reviews"] == 1
    served.do("accept")
    survivor.wait(DONE)
    assert (path.read_text(), other.read_text()) == (BEFORE, AFTER)
