"""`pairside attach`: the terminal UI in a real terminal, of a server that others use."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pairside.runtime import is_alive
from tests.cli.command import pairside
from tests.cli.robot import Robot
from tests.cli.terminal import Terminal
from tests.e2e.home import Home
from tests.e2e.served import Served

OpenTerminal = Callable[..., Terminal]
SECONDS = 20.0
TOO_EARLY = "nothing was done"


def decide(screen: Terminal, key: str, words: str) -> None:
    """Press a key about what is on the screen, as often as it comes too early; wait for these words then."""
    screen.press(key)
    if not screen.wait(f"{words}|{TOO_EARLY}", SECONDS).endswith(TOO_EARLY):
        return
    for _ in range(5):
        screen.press(key)
        try:
            screen.wait(words, 10.0)
            return
        except AssertionError:
            continue  # too early again, which is on the screen already
    raise AssertionError(f"{key} is always too early")


def test_without_a_terminal_it_says_what_to_type(home: Home, served: Served) -> None:
    """In a pipe nothing can be shown."""
    done = pairside(home, "attach")
    assert done.returncode == 2
    assert done.stderr == b"The terminal UI needs a terminal. Line by line: pairside review\n"
    assert done.stdout == b""


def test_a_terminal_that_can_do_nothing_is_not_written_to(terminal: OpenTerminal, served: Served) -> None:
    """As inside of an editor."""
    screen = terminal("attach", TERM="dumb")
    assert screen.wait_end(SECONDS) == 2
    assert (
        screen.text
        == "This terminal (TERM is dumb or not set) cannot show the terminal UI. Line by line: pairside review\n"
    )
    assert b"\x1b" not in screen.raw


def test_where_no_server_is_it_says_how_to_start_one(terminal: OpenTerminal, home: Home) -> None:
    """As every command does."""
    screen = terminal("attach")
    assert screen.wait_end(SECONDS) == 4
    assert screen.text.startswith("No pairside serves")
    assert "\x1b[?1049h" not in screen.raw.decode()


def test_a_theme_that_does_not_exist_is_said_with_those_that_do(
    terminal: OpenTerminal, home: Home, served: Served
) -> None:
    """Before the screen is taken."""
    settings = home.home / ".config/pairside/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[ui]\ntheme = "no\\u001bsuch"\n')
    screen = terminal("attach")
    assert screen.wait_end(SECONDS) == 2
    assert screen.text.startswith("ui.theme: there is no theme no\\x1bsuch; themes: ")
    assert "textual-light" in screen.text
    assert "\x1b[?1049h" not in screen.raw.decode()


def test_a_proposal_is_edited_and_accepted_and_leaving_leaves_the_server(
    terminal: OpenTerminal, home: Home, served: Served, robot: Robot, tmp_path: Path
) -> None:
    """With the person's own editor on the same terminal; the agent and what else is pending stay."""
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho THE EDITOR HAS THE TERMINAL\necho mine >> $1\n")
    editor.chmod(0o755)
    verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
    screen = terminal("attach", rows=24, columns=80, VISUAL=str(editor))
    screen.wait(r"\+ two", SECONDS)
    robot.propose(home.project / "b.py", "b\n")
    screen.wait(r"b\.py \(new\)", SECONDS)
    decide(screen, "e", "THE EDITOR HAS THE TERMINAL")
    screen.wait(r"accept the edited text\?", SECONDS)
    screen.press("a")
    assert verdict.result(SECONDS) == ["FILE_SAVED", "two\nmine\n"]
    screen.wait("Accepted a.py", SECONDS)
    screen.press("q")
    assert screen.wait_end(SECONDS) == 0
    assert screen.text.endswith("1 review pending: pairside, or the agent's terminal, answers.\n")
    assert screen.raw.decode().rindex("\x1b[?1049l") > screen.raw.decode().rindex("\x1b[?1049h")
    assert is_alive(served.pid)
    assert served.status()["client_count"] == 1
    assert "rejected" not in served.output


def test_with_nothing_pending_nothing_is_said(terminal: OpenTerminal, served: Served) -> None:
    """After the screen as it was before."""
    screen = terminal("attach")
    screen.wait("No proposal waits", SECONDS)
    screen.press("q")
    assert screen.wait_end(SECONDS) == 0
    assert "pending" not in re.sub(r"\x1b\[[^m]*m", "", screen.text[screen.text.rindex("No proposal waits") :])


@pytest.mark.parametrize("mark", ["CLAUDECODE"])
def test_in_an_agents_own_shell_nothing_is_decided(
    terminal: OpenTerminal, home: Home, served: Served, robot: Robot, mark: str
) -> None:
    """It may look."""
    verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
    screen = terminal("attach", **{mark: "1"})
    screen.wait(r"\+ two", SECONDS)
    decide(screen, "a", "an agent's own shell")
    assert not verdict.done()
    screen.press("q")
    assert screen.wait_end(SECONDS) == 0


def test_the_window_is_closed(terminal: OpenTerminal, served: Served) -> None:
    """It ends, and the server stays."""
    screen = terminal("attach")
    screen.wait("No proposal waits", SECONDS)
    screen.hang_up()
    screen.process.wait(SECONDS)
    assert is_alive(served.pid)
    assert served.status()["running"]
