"""The real Claude Code CLI under `pairside run`: from a real shell, as a person starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pairside.runtime import is_alive

from .claude import READY, Claude, find_claude
from .conftest import Exhibits
from .home import Home
from .model import Model, text, tool
from .served import Served
from .test_claude import BEFORE, DONE, QUESTION, editing
from .until import until

pytestmark = pytest.mark.real_cli

BASH = shutil.which("bash")
SEQUENCE = re.compile(r"\x1b\[[0-9;?<>=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[78]|\x1b\][^\x07]*\x07")
INHERITED = "4"
"""A port on which no IDE listens."""


class Shell(Claude):
    """A shell in a terminal, with job control, in which the CLI is started."""

    def text(self, start: int = 0) -> str:
        """What was written to the terminal from byte `start` on, without what moves the cursor."""
        return SEQUENCE.sub("", self.raw[start:].decode("utf-8", "replace")).replace("\r\n", "\n")

    def run(self, command: str) -> int:
        """Type a command and press Enter; how many bytes had been written to the terminal before."""
        start = len(self.raw)
        self.send(command + "\r")
        return start

    def told(self, pattern: str, start: int, *, timeout: float = 20.0) -> str:
        """Wait until a pattern matches what was written from byte `start` on, and return that.

        For what a full-screen program leaves behind: the screen cannot be looked at then.
        """

        def look() -> str | None:
            text = self.text(start)
            return text if re.search(pattern, text) else None

        return until(look, timeout=timeout, what=lambda: f"{pattern!r} in {self.text(start)[-2000:]!r}")


@pytest.fixture
def shell(home: Home, model: Model, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """A shell in the project folder that knows `claude` and `pairside`, in a terminal that belonged to another IDE."""
    cli = find_claude()
    assert cli is not None
    if BASH is None:
        pytest.skip("there is no bash here")
    path = f"{cli.parent}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    with Shell(
        home,
        model.url,
        *("--norc", "--noprofile", "--noediting", "-i"),
        executable=Path(BASH),
        environment={"PS1": "SH> ", "PATH": path, "CLAUDE_CODE_SSE_PORT": INHERITED},
    ) as shell:
        Exhibits.of(request.node).clis.append(shell)
        shell.wait("SH>")
        yield shell


@pytest.fixture
def ask(home: Home) -> Callable[..., Any]:
    """Asks the server of the project folder with a command, and gives what it prints as JSON."""

    def asked(*command: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "pairside", *command, "--json"],
            cwd=home.project, env=home.environment(), capture_output=True, text=True, timeout=15, check=False,
        )  # fmt: skip
        return json.loads(done.stdout)

    return asked


def connected(ask: Callable[..., Any]) -> Any:
    """Wait until one agent is connected and has said who it is; the status then."""
    heard: list[float] = []

    def settled() -> Any:
        now = ask("status")
        if not now["running"] or now["client_count"] != 1 or not now["clients"][0]["pid"]:
            return None
        before, heard[:] = list(heard), [now["clients"][0]["last_received_at"]]
        return now if heard == before else None

    return until(settled, timeout=20, what="one agent is connected")


def leave(shell: Shell) -> str:
    """Leave the CLI with Ctrl-C twice; what the terminal shows from then on, with the exit status."""
    start = len(shell.raw)
    shell.key("ctrl-c")
    shell.wait("Press Ctrl-C again to exit")
    shell.key("ctrl-c")
    shell.told(r"SH> $", start)
    shell.run('echo "status=$?"')
    return shell.told(r"status=\d+\n", start)


def test_one_command_serves_connects_and_leaves_nothing(home: Home, shell: Shell, ask: Callable[..., Any]) -> None:
    """The CLI finds the server although its terminal names another IDE, and both end together."""
    shell.run("pairside run claude")
    shell.wait(READY)
    now = connected(ask)
    assert now["clients"][0]["agent"] == "Claude Code"
    assert f"CLAUDE_CODE_SSE_PORT was {INHERITED}, another IDE's port. It is {now['port']} now." in shell.text()
    said = leave(shell)
    assert "status=0\n" in said
    assert "review" not in said
    until(lambda: not is_alive(now["pid"]) and not home.lock_files, timeout=10, what="the server is gone")


def test_it_connects_where_two_ides_are_open(home: Home, served: Served, shell: Shell, ask: Callable[..., Any]) -> None:
    """`claude --ide` would connect to neither."""
    foreign = home.claude_config / "ide" / "9.lock"
    foreign.write_text(
        json.dumps({
            "pid": os.getpid(), "workspaceFolders": [str(home.project)], "ideName": "Other", "transport": "ws",
            "authToken": "0" * 32,
        })
    )  # fmt: skip
    try:
        shell.run("pairside run claude")
        shell.wait(READY)
        now = connected(ask)
        assert now["port"] == served.status()["port"]
        assert f"Joined pairside, which serves {home.project} (pid {served.pid}, port {now['port']})." in shell.text()
        assert "status=0" in leave(shell)
        served.wait_clients(0)
    finally:
        foreign.unlink()


def test_with_review_an_edit_waits_for_a_verdict(
    home: Home, model: Model, shell: Shell, ask: Callable[..., Any]
) -> None:
    """The mode is manual, the proposal comes to the review, and nothing is said at the end."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    shell.run("pairside run --review claude")
    shell.wait("manual mode on")
    connected(ask)
    shell.prompt("please SCRIPT:edit")
    shell.wait(QUESTION)
    (review,) = until(lambda: ask("reviews"), timeout=10, what="a review is pending")
    assert (review["path"], path.read_text()) == (str(path), BEFORE)
    ask("accept", str(review["id"]))
    shell.wait(DONE)
    assert "two = 22" in path.read_text()
    assert "without a review" not in leave(shell)


@pytest.mark.parametrize("options", ["", " --permission-mode acceptEdits", " --permission-mode auto"])
def test_what_was_written_without_a_review_is_listed_at_the_end(
    options: str, home: Home, model: Model, shell: Shell, ask: Callable[..., Any]
) -> None:
    """In the default mode and in those that do not ask; with a line for each file, and how to be asked."""
    path = home.write("a.py", BEFORE)
    new = home.project / "new.txt"
    model.script(
        "edit",
        *editing(path, ("one = 1", "one = 11"), ("two = 2", "two = 22\nmore = 0"))[:-1],
        [tool("Write", file_path=str(new), content="x\n")],
        [text(DONE)],
    )
    shell.run("pairside run claude" + options)
    shell.wait(READY)
    connected(ask)
    shell.prompt("please SCRIPT:edit")
    shell.wait(DONE)
    said = leave(shell)
    assert "Claude Code changed 2 files without a review. Be asked first: pairside run --review claude\n" in said
    assert "! a.py +3 -2 was changed without a review in 2 writes\n" in said
    assert "! new.txt +1 -0 was made without a review\n" in said


def test_a_killed_cli_leaves_a_usable_terminal_and_the_list(
    home: Home, model: Model, shell: Shell, ask: Callable[..., Any]
) -> None:
    """It has no time to clean up after itself. The status is that of the signal, as in a shell."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    shell.run("pairside run claude")
    shell.wait(READY)
    now = connected(ask)
    shell.prompt("please SCRIPT:edit")
    shell.wait(DONE)
    start = len(shell.raw)
    os.kill(now["clients"][0]["pid"], 9)
    shell.told(r"! a\.py \+1 -1 was changed without a review\n", start)
    shell.run('echo "status=$?"; stty -a')
    settings = shell.told("echoke", start)
    assert "status=137\n" in settings
    assert re.search(r"(?<!-)\bicanon\b", settings)
    until(lambda: not is_alive(now["pid"]) and not home.lock_files, timeout=10, what="the server is gone")


def test_ctrl_c_ctrl_z_and_fg_are_for_the_cli_alone(
    home: Home, model: Model, shell: Shell, ask: Callable[..., Any]
) -> None:
    """The server goes on meanwhile, the client stays the same one, and what comes after fg works as before."""
    path = home.write("a.py", BEFORE)
    model.script("edit", *editing(path, ("two = 2", "two = 22")))
    shell.run("pairside run --review claude")
    shell.wait("manual mode on")
    before = connected(ask)
    for _ in range(2):
        start = len(shell.raw)
        shell.send("\x1a")
        shell.told(r"Claude Code is suspended(.|\n)*Stopped +pairside run --review claude\n(.|\n)*SH> $", start)
        now = ask("status")
        assert (now["pid"], now["client_count"], now["connects"], now["disconnects"]) == (before["pid"], 1, 1, 0)
        shell.told("manual mode on", shell.run("fg"))
    shell.key("ctrl-c")
    shell.wait("Press Ctrl-C again to exit")
    shell.wait_gone("Press Ctrl-C again to exit")
    shell.prompt("please SCRIPT:edit")
    (review,) = until(lambda: ask("reviews"), timeout=10, what="a review is pending")
    ask("accept", str(review["id"]))
    shell.wait(DONE)
    assert "two = 22" in path.read_text()
    now = ask("status")
    assert (now["pid"], now["client_count"], now["connects"]) == (before["pid"], 1, 1)
    assert [client["pid"] for client in now["clients"]] == [client["pid"] for client in before["clients"]]
    assert "status=0\n" in leave(shell)


def test_a_cli_that_a_shell_starts_connects_too(home: Home, shell: Shell, ask: Callable[..., Any]) -> None:
    """By `pairside run sh` and by what `pairside env` prints."""
    shell.run("pairside run sh -c 'claude; exit 3'")
    shell.wait(READY)
    connected(ask)
    assert "status=3\n" in leave(shell)
    until(lambda: not home.lock_files, timeout=10, what="the server is gone")
    with Served(home) as served:
        served.start()
        shell.told(r"shift\+tab to cycle", shell.run('eval "$(pairside env)"; claude'))
        served.wait_clients(1)
        leave(shell)


def test_print_mode_is_said_to_connect_to_no_ide(home: Home, model: Model, shell: Shell) -> None:
    """It answers, and the server that nobody came to ends with it."""
    model.script("talk", [text(DONE)])
    said = shell.told(rf"{DONE}\n(.|\n)*SH> $", shell.run("pairside run claude -p SCRIPT:talk"))
    assert "claude --print connects to no IDE" in said
    assert "did not connect" not in said
    assert home.lock_files == []
