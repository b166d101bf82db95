"""The terminal UI beside the real Claude Code CLI, in two panes of tmux, operated by the keys that a person presses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pairside.runtime import is_alive

from .claude import READY, find_claude, variables
from .conftest import Exhibits
from .home import Home
from .model import Model, text, tool
from .test_changes import numbered, repository
from .test_claude import DONE, editing, on_disk
from .tmux import TMUX, Pane, Tmux
from .until import TimedOut, until

pytestmark = pytest.mark.real_cli

HUNKS = 3
READING_SECONDS = 1.0
REVIEWS = 20
PAIRSIDE = (sys.executable, "-m", "pairside")
OLD = numbered()
NEW = numbered(_3="three", _15="fifteen", _27="twenty-seven")
EMPTY = "No proposal waits"
MANUAL, ACCEPTS = ("--permission-mode", "manual"), ("--permission-mode", "acceptEdits")


@pytest.fixture
def tmux(home: Home, model: Model, request: pytest.FixtureRequest) -> Iterator[Tmux]:
    """Panes in the project folder, with an editor that a person could have."""
    if TMUX is None:
        if os.environ.get("CI"):
            pytest.fail("tmux must be there in CI", pytrace=False)
        pytest.skip("there is no tmux here")
    editor = home.home / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/three or/THREE or/' \"$1\"\n")
    editor.chmod(0o755)
    environment = home.environment(VISUAL=str(editor), **variables(model.url))
    with Tmux(home.root, environment, home.project) as tmux:
        Exhibits.of(request.node).texts["tmux"] = tmux.described
        yield tmux


def ui_of(tmux: Tmux) -> Pane:
    """Plain pairside in a pane."""
    ui = tmux.open("ui", *PAIRSIDE)
    ui.wait(EMPTY)
    return ui


def agent_of(tmux: Tmux, *arguments: str) -> Pane:
    """The CLI in a pane, connected."""
    agent = tmux.open("agent", str(find_claude()), "--ide", *arguments)
    agent.wait(READY)
    return agent


def counted(ui: Pane, agents: int) -> None:
    """Wait until the UI counts so many agents, and all have said that they listen: before that they ask nothing."""
    ui.wait(rf"3 Agents {agents}\b")
    ui.press("3")
    ui.wait(rf"(?s){agents} agents? connected.*(pid \d+.*){{{agents}}}" if agents else "No agent is connected")
    ui.press("1")


def decide(ui: Pane, key: str, effect: str, *, about: str) -> None:
    """Press a key about what has stood there for as long as it takes to read it; again only if nothing comes of it."""
    since: list[float] = []

    def read() -> bool:
        if not re.search(about, ui.screen):
            since.clear()
        elif not since:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] > READING_SECONDS

    until(read, timeout=20, what=lambda: f"{about!r} stands there: {ui.screen}")
    for _ in range(3):
        ui.press(key)
        with suppress(TimedOut):
            ui.wait(effect, timeout=4.0)
            return
    ui.wait(effect, timeout=4.0)


def numbered_edits(path: Path) -> list[tuple[str, str]]:
    """One Edit for each line that becomes another."""
    return [(old, new) for old, new in zip(OLD.splitlines(), NEW.splitlines(), strict=True) if old != new]


def test_proposals_are_accepted_by_hunk_edited_and_rejected(home: Home, model: Model, tmux: Tmux) -> None:
    """What the person decides with keys in one pane is what the CLI in the other one writes."""
    path = home.write("a.txt", OLD)
    write = tool("Write", file_path=str(path), content=NEW)
    model.script("hunks", [tool("Read", file_path=str(path))], [write], [text(DONE)])
    again = tool("Edit", file_path=str(path), old_string="line 4\n", new_string="three or four\n")
    model.script("edit", [tool("Read", file_path=str(path))], [again], [text(DONE)])
    model.script("reject", *editing(path, ("line 5\n", "five\n")))
    ui = ui_of(tmux)
    agent = agent_of(tmux, *MANUAL)
    counted(ui, 1)

    agent.type("SCRIPT:hunks")
    ui.wait(r"\[x\] hunk 1 of 3")
    ui.press("n", "Space")
    ui.wait(r"\[ \] hunk 2 of 3.*left out")
    decide(ui, "s", r"Accepted hunks 1, 3 of a\.txt", about="left out")
    on_disk(path, numbered(_3="three", _27="twenty-seven"))
    agent.wait(DONE)

    agent.type("SCRIPT:edit")
    ui.wait("Review 2: ")
    decide(ui, "e", r"\+THREE or four", about="Review 2: ")
    decide(ui, "a", r"Accepted .*a\.txt", about="accept the edited text")
    on_disk(path, numbered(_3="three", _4="THREE or four", _27="twenty-seven"))

    agent.wait(rf"(?s){DONE}.*{DONE}")
    agent.type("SCRIPT:reject")
    ui.wait("Review 3: ")
    decide(ui, "r", "Rejected", about="Review 3: ")
    agent.wait("Rejected")
    assert "five" not in path.read_text()

    ui.press("q")
    ui.wait("it goes on until they have left")
    agent.press("C-c")
    agent.wait("Press Ctrl-C again")
    agent.press("C-c")
    until(lambda: not home.lock_files, timeout=10, what="the server has ended after its agent")


def test_what_was_written_without_a_review_is_seen_and_undone_by_hunk(home: Home, model: Model, tmux: Tmux) -> None:
    """Follow mode shows it as it lands; one hunk is taken back, and had again."""
    path = home.write("a.txt", OLD)
    repository(home)
    edits = [tool("Edit", file_path=str(path), old_string=f"{old}\n", new_string=f"{new}\n") for old, new in
             numbered_edits(path)]  # fmt: skip
    model.script("go", [tool("Read", file_path=str(path))], edits, [text(DONE)])
    ui = ui_of(tmux)
    agent = agent_of(tmux, *ACCEPTS)
    counted(ui, 1)
    ui.press("f")
    ui.wait("Follows")
    agent.type("SCRIPT:go")
    agent.wait(DONE)
    on_disk(path, NEW)
    at = ui.wait(r", hunk ([23]) of 3")  # nobody pressed a key for that; it is the first of those that came together
    if at[1] == "3":
        ui.press("p")
    decide(ui, "u", "Turn 2  undo by", about=", hunk 2 of 3")
    on_disk(path, numbered(_3="three", _27="twenty-seven"))
    tmux.resize(80, 24)
    ui.press("Home")  # who follows is not taken to an undo
    decide(ui, "U", "Turn 3  undo by", about=r"(?m)^▶ undo ")
    on_disk(path, NEW)


def test_an_agent_that_dies_a_server_that_restarts_and_twenty_reviews(home: Home, model: Model, tmux: Tmux) -> None:
    """The UI says what happened, goes on with the next server, and keeps up."""
    path = home.write("a.txt", OLD)
    model.script("one", *editing(path, ("line 1\n", "one\n")))
    ui = ui_of(tmux)
    dying = tmux.open("dying", str(find_claude()), "--ide", *MANUAL)
    dying.wait(READY)
    counted(ui, 1)
    dying.type("SCRIPT:one")
    ui.wait("Review 1: ")
    os.kill(dying.pid, signal.SIGKILL)
    ui.wait("withdrawn")
    ui.wait(EMPTY)
    counted(ui, 0)

    agent = agent_of(tmux, *MANUAL)
    counted(ui, 1)
    subprocess.run(
        [*PAIRSIDE, "restart"], cwd=home.project, env=home.environment(), timeout=20, check=True, capture_output=True
    )
    ui.wait("is there again")
    counted(ui, 1)

    edits = [tool("Edit", file_path=str(path), old_string=f"line {number}\n", new_string=f"new {number}\n")
             for number in range(1, REVIEWS + 1)]  # fmt: skip
    model.script("many", [tool("Read", file_path=str(path))], edits, [text(DONE)])
    agent.type("SCRIPT:many")
    for number in range(1, REVIEWS + 1):
        ui.wait(rf"Review {number}: ")
        ui.wait(rf"\+ new {number}\b")
        decide(ui, "a", rf"Review {number + 1}: |{EMPTY}", about=rf"Review {number}: ")
    agent.wait(DONE, timeout=30)
    on_disk(path, numbered(**{f"_{number}": f"new {number}" for number in range(1, REVIEWS + 1)}))
    server = home.lock_files
    assert len(server) == 1
    ui.press("q")
    assert is_alive(agent.pid)
