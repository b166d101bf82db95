"""What a person is told, at the moment it matters, with the real Claude Code CLI: no review, two IDEs, secrets."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

from .claude import READY, Claude, seed
from .conftest import StartClaude
from .home import Home
from .model import Model, text, tool
from .served import Served
from .until import until

pytestmark = pytest.mark.real_cli

DONE = "Finished as scripted."
BEFORE = "one = 1\ntwo = 2\nthree = 3\n"
EXPLAINED = (
    'It is in a mode that does not ask (auto, accept edits), or its diff tool is "terminal" (/config). '
    "See it: pairside changes. Be asked first: pairside run --review claude, or Shift+Tab in it until it shows "
    "manual mode."
)


def script(model: Model, path: Path, new: Path) -> None:
    """Two writes: an edit of one file, and a new one."""
    model.script(
        "write",
        [tool("Read", file_path=str(path))],
        [tool("Edit", file_path=str(path), old_string="two = 2", new_string="two = 22\nmore = 1")],
        [tool("Write", file_path=str(new), content="new\n")],
        [text(DONE)],
    )


def connect(start_claude: StartClaude, served: Served, mode: str | None) -> Claude:
    """Start a CLI in a permission mode, None for its default."""
    claude = start_claude("--ide", *(() if mode is None else ("--permission-mode", mode)))
    claude.wait(READY)
    served.wait_clients()
    return claude


def warned(served: Served) -> list[str]:
    """The warnings on the server's terminal, without the time of day."""
    return [line.partition(" ! ")[2] for line in served.output.splitlines() if " ! " in line]


def changes_told(served: Served) -> list[tuple[str, bool]]:
    """The files of the latest turn's changes, and whether each was reviewed."""
    turns = json.loads(served.do("changes", "--json"))["turns"]
    return [(change["path"], change["reviewed"]) for turn in turns for change in turn["changes"]]


@pytest.mark.parametrize("mode", [None, "auto", "acceptEdits"])
def test_where_the_cli_asks_nobody_each_write_is_told_and_why_once(
    mode: str | None, home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """On the server's terminal, with how much was written; in the default mode too."""
    path, new = home.write("a.py", BEFORE), home.project / "new.txt"
    script(model, path, new)
    claude = connect(start_claude, served, mode)
    claude.prompt("please SCRIPT:write")
    claude.wait(DONE)
    until(lambda: len(warned(served)) == 2, timeout=10, what=lambda: f"two warnings in {served.output}")
    assert warned(served) == [
        f"Claude Code (pid {claude.pid}) changed {path} +2 -1 without a review here. {EXPLAINED}",
        f"Claude Code (pid {claude.pid}) changed {new} +1 -0 without a review here.",
    ]


def test_where_the_diff_tool_is_the_terminal_the_same_is_told(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """The CLI asks in its own terminal then, and pairside sees no review although the mode is manual."""
    seed(home, diffTool="terminal")
    path, new = home.write("a.py", BEFORE), home.project / "new.txt"
    script(model, path, new)
    claude = connect(start_claude, served, "manual")
    claude.prompt("please SCRIPT:write")
    claude.answer("1", question=r"Do you want to make this edit")
    claude.answer("1", question=r"Do you want to create")
    claude.wait(DONE)
    until(lambda: len(warned(served)) == 2, timeout=10, what=lambda: f"two warnings in {served.output}")
    assert EXPLAINED in warned(served)[0]
    assert json.loads(served.do("reviews", "--json")) == []


def accept(served: Served, number: int) -> bool:
    """Accept a proposal; whether it was there."""
    return served.run("accept", str(number)).returncode == 0


def test_in_manual_mode_nothing_is_told_of_that(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Each write was reviewed: there is nothing to warn of, and the list marks them so."""
    path, new = home.write("a.py", BEFORE), home.project / "new.txt"
    script(model, path, new)
    claude = connect(start_claude, served, "manual")
    claude.prompt("please SCRIPT:write")
    for number in (1, 2):
        # By its number: the second proposal may come before anybody has seen that none waits.
        accepted = partial(accept, served, number)
        until(accepted, timeout=20, what=f"proposal {number}")
    claude.wait(DONE)
    claude.prompt("/exit")
    claude.wait_end()
    served.wait(lambda now: now["client_count"] == 0)
    assert (warned(served), changes_told(served)) == ([], [(str(path), True), (str(new), True)])


def test_the_mode_is_called_on_the_screen_what_the_message_calls_it(
    home: Home, served: Served, start_claude: StartClaude
) -> None:
    """Shift+Tab leads to manual mode, and the CLI shows it by that name; the first one is auto."""
    claude = connect(start_claude, served, None)
    footer = r"(auto mode|accept edits|plan mode|manual mode) on"
    seen = [claude.wait(footer)[1]]
    while seen[-1] != "manual mode" and len(seen) < 6:
        claude.key("shift-tab")
        claude.wait_gone(rf"{seen[-1]} on")
        seen.append(claude.wait(footer)[1])
    assert (seen[0], seen[-1]) == ("auto mode", "manual mode")


def test_the_diff_tool_is_where_the_message_says_it_is(home: Home, served: Served, start_claude: StartClaude) -> None:
    """`/config` of the CLI has it by that name."""
    claude = connect(start_claude, served, "manual")
    claude.prompt("/config")
    claude.wait(r"(?i)\bsearch settings|\bconfig")
    claude.send("diff tool")
    claude.wait(r"(?i)diff tool\s+\w+")


# Where proposals are answered.


def test_a_proposal_stays_in_the_terminal_where_the_person_wants_that(
    home: Home, model: Model, start_claude: StartClaude
) -> None:
    """`review.where = terminal`: the CLI's own question is answered, and that is no change without a review."""
    path, new = home.write("a.py", BEFORE), home.project / "new.txt"
    script(model, path, new)
    with Served(home, environment={"PAIRSIDE_REVIEW_WHERE": "terminal"}) as served:
        served.start()
        claude = connect(start_claude, served, "manual")
        claude.prompt("please SCRIPT:write")
        claude.answer("1", question=r"Do you want to make this edit")
        claude.answer("1", question=r"Do you want to create")
        claude.wait(DONE)
        assert path.read_text() != BEFORE
        assert new.read_text() == "new\n"
        assert changes_told(served) == [(str(path), True), (str(new), True)]
        assert (served.status()["unreviewed_changes"], warned(served)) == (0, [])
        assert served.stop() == 0


# Two IDEs.


@pytest.mark.parametrize("other", ["pairside", "foreign"])
def test_with_two_ides_the_cli_connects_to_neither_and_both_places_say_so(
    other: str, home: Home, served: Served, start_claude: StartClaude
) -> None:
    """`claude --ide` is not a client; the server told it when the lock appeared, and status says what to type."""
    port = served.status()["port"]
    with subprocess.Popen(["sleep", "80"]) as ide, Served(home) as second:
        lock = home.claude_config / "ide" / "7.lock"
        if other == "pairside":
            second.start("--new")
        else:
            facts = {"pid": ide.pid, "workspaceFolders": [str(home.project)], "ideName": "Other", "transport": "ws"}
            lock.write_text(json.dumps(facts))
        until(lambda: len(warned(served)) == 1, timeout=10, what=lambda: f"a warning in {served.output}")
        assert warned(served)[0].startswith("Another IDE is open for this folder: ")
        claude = start_claude("--ide")
        claude.wait(READY)
        status = json.loads(served.do("status", "--json", "--port", str(port)))
        assert len(status["notices"]) == 1
        assert f"CLAUDE_CODE_SSE_PORT={port} claude" in status["notices"][0]
        # What is to be typed is right: this one connects, and at that moment the first one has not.
        reached = start_claude(environment={"CLAUDE_CODE_SSE_PORT": str(port)})
        reached.wait(READY)
        status = until(
            lambda: (
                now if (now := json.loads(served.do("status", "--json", "--port", str(port))))["client_count"] else None
            ),
            timeout=20,
            what="a client",
        )
        assert [client["pid"] for client in status["clients"]] in ([reached.pid], [None])
        lock.unlink(missing_ok=True)
        ide.kill()


# What is shared.


def test_a_selection_in_a_secret_file_reaches_no_model(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Neither its text nor its name; the same CLI still gets what may be shared."""
    home.write(".env", "KEY=hunter2\n")
    home.write("a.py", BEFORE)
    model.script("talk", [text(DONE)])
    claude = connect(start_claude, served, "manual")
    served.do("select", "a.py:1", "--keep")
    claude.wait(r"⧉ 1 line selected")
    assert "agents are not told: share.exclude has .env*" in served.do("select", ".env:1", "--keep")
    claude.wait_gone(r"⧉ 1 line selected")
    claude.prompt("first SCRIPT:talk")
    first = model.wait(lambda request: "first" in request.prompt)
    assert "hunter2" not in str(first)
    assert ".env" not in first.news
    claude.wait(DONE)
    served.do("select", "a.py:2", "--keep")
    claude.wait(r"⧉ 1 line selected")
    served.do("share", "off")
    claude.wait_gone(r"⧉ 1 line selected")
    served.do("share", "on")
    claude.wait(r"⧉ 1 line selected")


# Started anew.


def test_the_cli_comes_back_by_itself_to_a_server_that_was_started_anew(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """`pairside restart` costs it nothing: its next edit is reviewed."""
    path, new = home.write("a.py", BEFORE), home.project / "new.txt"
    script(model, path, new)
    claude = connect(start_claude, served, "manual")
    assert "agents come back by themselves" in served.do("restart")
    served.wait_clients(timeout=20)
    claude.prompt("please SCRIPT:write")
    served.wait_review()
    served.do("accept")
    served.wait_review()
    served.do("accept")
    claude.wait(DONE)
    assert new.read_text() == "new\n"
