"""The real Claude Code CLI with a real Neovim: in a terminal beside it, and in Neovim's own terminal."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.nvim.editor import PACKAGES, Neovim

from .claude import API_KEY, READY, Claude, find_claude
from .conftest import Exhibits, StartClaude
from .home import Home
from .model import Model, Step, text, tool
from .served import Served
from .until import until

pytestmark = pytest.mark.real_cli

DONE = "Finished as scripted."
QUESTION = r"Do you want to (make this edit|create)"
BEFORE = "one = 1\ntwo = 2\nthree = 3\nfour = 4\nfive = 5\nsix = 6\nseven = 7\n"
AFTER = BEFORE.replace("two = 2", "two = 22")
PROPOSAL = """
for _, window in ipairs(vim.api.nvim_list_wins()) do
  local buffer = vim.api.nvim_win_get_buf(window)
  if vim.b[buffer].pairside_review and vim.bo[buffer].modifiable then return window end
end"""
"""The window of a proposal that takes keys; it takes none in the first moments, lest they were meant for the file."""

Start = Callable[..., Neovim]


@pytest.fixture(params=PACKAGES)
def neovim(request: pytest.FixtureRequest, home: Home, model: Model) -> Iterator[Start]:
    """Starts a Neovim in which pairside runs, and whose terminals have what the CLI needs to talk to the model."""
    environment = {
        "ANTHROPIC_API_KEY": API_KEY,
        "ANTHROPIC_BASE_URL": model.url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
    }
    with ExitStack() as stack:

        def started(*arguments: str, mode: str = "manual", **options: Any) -> Neovim:
            command = f"{shlex.quote(str(find_claude()))} --permission-mode {mode}"
            chosen = {
                "terminal_cmd": command,
                "terminal": {"provider": "native", "split_width_percentage": 0.5},
                **options,
            }
            editor = stack.enter_context(
                Neovim(
                    home,
                    *arguments,
                    version=request.param,
                    options=chosen,
                    columns=160,
                    rows=50,
                    environment=environment,
                )
            )
            Exhibits.of(request.node).texts["Neovim"] = editor.described
            editor.wait_running()
            return editor

        yield started


@pytest.fixture
def shell(home: Home) -> Served:
    """A shell in the project folder, for pairside's commands: Neovim is what serves."""
    return Served(home)


def connect(start_claude: StartClaude, shell: Served, *mode: str) -> Claude:
    """Start a CLI beside Neovim that looks for an IDE, in manual mode if not said, and wait until it is connected."""
    claude = start_claude("--ide", *(mode or ("--permission-mode", "manual")))
    claude.wait(READY)
    shell.wait_clients()
    return claude


def editing(path: Path, *replacements: tuple[str, str]) -> tuple[Step, ...]:
    """A script that reads a file and then edits it."""
    edits = [tool("Edit", file_path=str(path), old_string=old, new_string=new) for old, new in replacements]
    return [tool("Read", file_path=str(path))], edits, [text(DONE)]


def proposed(neovim: Neovim, line: str) -> None:
    """Wait until a proposal with that line is on screen and takes keys, and go there if the person is elsewhere."""
    neovim.wait_screen(rf"\b{re.escape(line)}\b")
    window = neovim.wait_lua(f"(function() {PROPOSAL} end)()")
    neovim.request("nvim_set_current_win", window)


def reviewed(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> tuple[Path, Neovim, Claude]:
    """A file for which a CLI beside Neovim has proposed one changed line, and the proposal is on screen."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    editor = neovim("a.py")
    claude = connect(start_claude, shell)
    claude.prompt("please SCRIPT:edit")
    proposed(editor, "two = 22")
    return path, editor, claude


def left_alone(neovim: Neovim, windows: int = 1) -> None:
    """Wait until no proposal is there, and as many windows as before."""
    neovim.wait_lua(f"(function() {PROPOSAL} end)() == nil and #vim.api.nvim_list_wins() == ...", windows)


def on_disk(path: Path, content: str) -> None:
    """Wait until the CLI has written a file."""
    until(lambda: path.read_text() == content, timeout=10, what=lambda: f"{content!r}; it is {path.read_text()!r}")


def test_a_selection_reaches_the_model(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """Lines selected in Neovim show as a chip in the CLI and stand in the model request."""
    path = home.write("a.py", BEFORE)
    model.script("talk", [text(DONE)])
    editor = neovim("a.py")
    claude = connect(start_claude, shell)
    editor.keys("jVj")
    claude.wait(r"⧉ 2 lines selected")
    claude.prompt("what is this SCRIPT:talk")
    claude.wait(DONE)
    (request,) = model.requests
    assert f"The user selected the lines 2 to 3 from {path}:\ntwo = 2\nthree = 3\n" in request.news


def test_a_mention_appears_in_the_prompt(home: Home, neovim: Start, shell: Served, start_claude: StartClaude) -> None:
    """Lines sent from Neovim are in the CLI's prompt, in its own notation."""
    home.write("a.py", BEFORE)
    editor = neovim("a.py", terminal={"provider": "none"})
    claude = connect(start_claude, shell)
    editor.command("2,3Pairside send")
    claude.wait(r"(?m)❯.* @a\.py#L2-3")


def test_writing_the_proposal_accepts_it(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """After `:w` the CLI writes the file, and the buffer in Neovim has what was written, with a sign."""
    path, editor, claude = reviewed(home, model, neovim, shell, start_claude)
    assert path.read_text() == BEFORE
    editor.keys(":w<CR>")
    claude.wait(DONE)
    assert path.read_text() == AFTER
    left_alone(editor)
    editor.wait_screen("^~ two = 22$")
    assert editor.lines() == AFTER.splitlines()
    assert editor.lua("return vim.bo.modified") is False
    assert "modified your proposed changes" not in model.requests[-1].tool_results[-1].text


def test_closing_the_proposal_rejects_it(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """After `:q` nothing is written, and the CLI waits for the person."""
    path, editor, claude = reviewed(home, model, neovim, shell, start_claude)
    editor.keys(":q<CR>")
    claude.wait("Rejected update to a.py")
    left_alone(editor)
    assert path.read_text() == BEFORE
    assert editor.lines() == BEFORE.splitlines()


def test_a_hunk_that_is_taken_back_is_not_written(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """`do` in the proposal takes the original's lines, and what is then accepted is the rest."""
    path = home.write("a.py", BEFORE)
    changed = BEFORE.replace("one = 1", "one = 11").replace("seven = 7", "seven = 77")
    model.script("edit", *([tool("Read", file_path=str(path))], [tool("Write", file_path=str(path), content=changed)]))
    editor = neovim("a.py")
    claude = connect(start_claude, shell)
    claude.prompt("please SCRIPT:edit")
    proposed(editor, "seven = 77")
    editor.keys("ggdo:w<CR>")
    on_disk(path, BEFORE.replace("seven = 7", "seven = 77"))
    left_alone(editor)


def test_a_hunk_is_left_out_in_one_window(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """In the unified layout too: the deleted lines are on screen, `do` takes them back, `:w` accepts the rest."""
    path = home.write("a.py", BEFORE)
    changed = BEFORE.replace("two = 2", "two = 22").replace("seven = 7", "seven = 77")
    model.script("edit", *([tool("Read", file_path=str(path))], [tool("Write", file_path=str(path), content=changed)]))
    editor = neovim("a.py", diff_opts={"layout": "unified"})
    claude = connect(start_claude, shell)
    claude.prompt("please SCRIPT:edit")
    proposed(editor, "two = 22")
    editor.wait_screen(r"two = 2\s*$")
    editor.keys("/two = 22<CR>do:w<CR>")
    on_disk(path, BEFORE.replace("seven = 7", "seven = 77"))
    left_alone(editor)


def test_an_answer_in_the_terminal_closes_the_proposal(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """Who answers the CLI's own question needs no verdict in Neovim any more."""
    path, editor, claude = reviewed(home, model, neovim, shell, start_claude)
    claude.answer("1", question=QUESTION)
    claude.wait(DONE)
    left_alone(editor)
    assert path.read_text() == AFTER
    editor.wait_screen("^~ two = 22$")


@pytest.mark.parametrize(
    "mode", [("--permission-mode", "auto"), ("--permission-mode", "acceptEdits")], ids=["auto", "acceptEdits"]
)
def test_a_write_that_asks_nobody_is_seen(
    mode: tuple[str, ...], home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """Neovim loads what the CLI wrote, marks the line, and tells of a change without a review."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    editor = neovim("a.py")
    editor.watch("Pairside*")
    claude = connect(start_claude, shell, *mode)
    claude.prompt("please SCRIPT:edit")
    claude.wait(DONE)
    editor.wait_screen("^~ two = 22$")
    (change,) = editor.wait_told("PairsideUnreviewedChange")
    assert change["path"] == str(path)
    assert not any(told.name == "PairsideReviewOpened" for told in editor.told)


def test_what_a_shell_command_did_and_its_undo_are_seen(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """Neovim loads what the CLI's shell did to an open file, with a sign, and then what `pairside undo` gave back."""
    subprocess.run(["git", "init", "-q"], cwd=home.project, env=home.environment(), check=True, timeout=10)
    home.write("a.py", BEFORE)
    command = tool("Bash", command="sed -i 's/two = 2/two = 22/' a.py", description="as scripted")
    model.script("shell", [command], [text(DONE)])
    editor = neovim("a.py")
    claude = connect(start_claude, shell, "--permission-mode", "acceptEdits", "--allowedTools", "Bash")
    assert json.loads(shell.do("changes", "--json"))["complete"]
    claude.prompt("please SCRIPT:shell")
    claude.wait(DONE)
    shell.do("changes")  # looks at the work tree: without an Edit in the turn the CLI gives no sign of work
    editor.wait_screen("^~ two = 22$")
    shell.do("undo", "a.py")
    editor.wait_screen("^two = 2$")
    assert (home.project / "a.py").read_text() == BEFORE


# Deaths


def test_a_cli_that_is_killed_takes_its_proposal_along(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """After kill -9 of the CLI its proposal closes by itself, and nothing was written."""
    path, editor, claude = reviewed(home, model, neovim, shell, start_claude)
    claude.kill9()
    left_alone(editor)
    assert path.read_text() == BEFORE
    assert shell.status()["client_count"] == 0


def test_the_cli_reconnects_to_a_pairside_that_was_killed(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """After kill -9 of pairside Neovim starts it again, the CLI is back by itself, and reviews go on."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    editor = neovim("a.py")
    claude = connect(start_claude, shell)
    pid = editor.wait_running()["pid"]
    os.kill(pid, signal.SIGKILL)
    editor.wait_lua('local p = require("pairside.process") return p.state == "running" and p.hello.pid ~= ...', pid)
    shell.wait_clients()
    claude.prompt("please SCRIPT:edit")
    proposed(editor, "two = 22")
    editor.keys(":w<CR>")
    claude.wait(DONE)
    assert path.read_text() == AFTER


def test_a_question_outlives_the_pairside_that_was_killed(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """After kill -9 of pairside its proposal is gone from Neovim, and the CLI's own question can be answered."""
    path, editor, claude = reviewed(home, model, neovim, shell, start_claude)
    os.kill(editor.wait_running()["pid"], signal.SIGKILL)
    left_alone(editor)
    assert path.read_text() == BEFORE
    claude.answer("1", question=QUESTION)
    claude.wait(DONE)
    assert path.read_text() == AFTER


def test_a_question_outlives_the_neovim_that_was_killed(
    home: Home, model: Model, neovim: Start, shell: Served, start_claude: StartClaude
) -> None:
    """After kill -9 of Neovim no lock file is left, and the CLI's own question can be answered."""
    path, editor, claude = reviewed(home, model, neovim, shell, start_claude)
    editor.kill()
    editor.wait_end()
    until(lambda: not home.lock_files, timeout=5, what="the lock file gone")
    assert path.read_text() == BEFORE
    claude.answer("1", question=QUESTION)
    claude.wait(DONE)
    assert path.read_text() == AFTER


# In Neovim's own terminal


def inside(editor: Neovim, shell: Served) -> None:
    """Open the CLI in Neovim's own terminal and wait until it is connected."""
    editor.command("Pairside open")
    editor.wait_screen(r"❯")
    shell.wait_clients()


def ask(editor: Neovim, prompt: str) -> None:
    """Type a prompt into the terminal, wait until its last word stands there, and press Enter."""
    editor.wait_mode("t")
    editor.keys(prompt)
    editor.wait_screen(re.escape(prompt.split()[-1]))
    editor.keys("<CR>")


def test_a_selection_reaches_the_model_from_neovims_own_terminal(
    home: Home, model: Model, neovim: Start, shell: Served
) -> None:
    """What was selected before the person went to the terminal is what the model gets."""
    path = home.write("a.py", BEFORE)
    model.script("talk", [text(DONE)])
    editor = neovim("a.py")
    inside(editor, shell)
    editor.command("stopinsert")
    editor.command("wincmd p")
    editor.wait_mode("n")
    editor.keys("2GVj")
    editor.wait_screen(r"⧉ 2 lines selected")
    editor.keys("<Esc>")
    editor.command("Pairside focus")
    ask(editor, "what is this SCRIPT:talk")
    editor.wait_screen(DONE)
    (request,) = model.requests
    assert f"The user selected the lines 2 to 3 from {path}:\ntwo = 2\nthree = 3\n" in request.news


@pytest.mark.parametrize(("keys", "content"), [(":w<CR>", AFTER), (":q<CR>", BEFORE)], ids=["w", "q"])
def test_a_proposal_from_neovims_own_terminal_is_decided(
    keys: str, content: str, home: Home, model: Model, neovim: Start, shell: Served
) -> None:
    """The proposal opens beside the terminal; `:w` has it written, `:q` does not, and the windows are as before."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    editor = neovim("a.py")
    inside(editor, shell)
    ask(editor, "please SCRIPT:edit")
    proposed(editor, "two = 22")
    editor.command("stopinsert")
    editor.wait_mode("n")
    editor.keys(keys)
    editor.wait_screen(DONE if content == AFTER else "Rejected update to a.py|User rejected update")
    left_alone(editor, windows=2)
    assert path.read_text() == content
    editor.wait_screen("^~ two = 22" if content == AFTER else "^two = 2")


def test_the_cli_in_neovims_own_terminal_ends_with_neovim(home: Home, neovim: Start, shell: Served) -> None:
    """After kill -9 of Neovim neither the CLI nor pairside nor a lock file is left."""
    home.write("a.py", BEFORE)
    editor = neovim("a.py")
    inside(editor, shell)
    (client,) = shell.status()["clients"]
    pids = [client["pid"], editor.wait_running()["pid"]]
    editor.kill()
    editor.wait_end()
    until(lambda: not any(map(running, pids)), timeout=10, what=lambda: f"end of {[p for p in pids if running(p)]}")
    assert home.lock_files == []


def running(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
