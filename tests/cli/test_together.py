"""Plain `pairside`: a server and what it has for the person in one terminal, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from pairside.runtime import is_alive
from tests.cli.command import pairside
from tests.cli.robot import PID, Robot
from tests.cli.terminal import Terminal
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

SECONDS = 10.0
QUESTION = r"Accept\? \[[a-z,?]+\] $"
SERVES = r"pairside 0\.1\.0 serves \S+ on port \d+ for Claude Code: run \"claude --ide\" there, in another terminal\n"

OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def lines(terminal: OpenTerminal) -> OpenTerminal:
    """Runs pairside in a terminal for whoever wants to be told line by line."""

    def opened(*command: str, **options: str) -> Terminal:
        return terminal(*command, **{"PAIRSIDE_UI_OPEN": "false", **options})

    return opened


def server_pid(home: Home) -> int:
    """The process of the server of the project folder."""
    match = re.search(rb"\(pid (\d+)", pairside(home, "status").stdout)
    assert match is not None
    return int(match[1])


def gone(home: Home, pid: int) -> None:
    """Wait until a server and all that it made are gone."""
    until(lambda: not is_alive(pid) and not home.lock_files, timeout=10, what="the server is gone")
    assert pairside(home, "status").returncode == 4


def test_on_a_terminal_it_serves_and_reviews(home: Home, lines: OpenTerminal) -> None:
    """Who comes and goes is told between the reviews, and leaving stops the server."""
    screen = lines()
    screen.wait(SERVES)
    screen.wait(r"Waiting for a proposal\. q and Enter, or Ctrl-C, to stop the server\.\n")
    pid = server_pid(home)
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        screen.wait(rf"Claude Code 2\.1\.330 \(pid {PID}\) connected\n")
        verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
        screen.wait(QUESTION)
        screen.press("y\n")
        assert verdict.result(SECONDS) == ["FILE_SAVED", "two\n"]
        screen.wait("Accepted a.py")
        robot.vanish()
        screen.wait(r"left: lost 1006")
    screen.press("q\n")
    assert screen.wait_end() == 0
    assert screen.text.endswith("pairside has stopped.\n")
    gone(home, pid)


@pytest.mark.parametrize("way", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_leaving_with_a_review_pending_says_where_it_is_answered(home: Home, lines: OpenTerminal, way: str) -> None:
    """Nothing is decided by leaving."""
    screen = lines()
    screen.wait("Waiting for a proposal")
    pid = server_pid(home)
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        robot.propose(home.project / "a.txt", "a\n")
        screen.wait(QUESTION)
        screen.press(way)
        assert screen.wait_end() == 0
        assert "1 review pending: to be answered in the agent's terminal." in screen.text
    gone(home, pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_server_is_gone_however_the_review_ends(home: Home, lines: OpenTerminal, number: signal.Signals) -> None:
    """Even kill -9 of what stands in the terminal leaves no server behind."""
    screen = lines()
    screen.wait("Waiting for a proposal")
    pid = server_pid(home)
    assert pid != screen.process.pid
    os.kill(screen.process.pid, number)
    screen.wait_end()
    gone(home, pid)


def test_a_server_that_is_stopped_from_elsewhere_ends_it(home: Home, lines: OpenTerminal) -> None:
    """`pairside stop` is told, and no process hangs."""
    screen = lines()
    screen.wait("Waiting for a proposal")
    pid = server_pid(home)
    assert pairside(home, "stop").returncode == 0
    assert screen.wait_end() == 4
    assert "has stopped" in screen.text
    gone(home, pid)


def test_a_server_of_the_folder_is_joined_and_left_running(
    home: Home, served: Served, robot: Robot, lines: OpenTerminal
) -> None:
    """No rival is started; its reviews are asked for here."""
    robot.propose(home.project / "a.txt", "a\n")
    served.wait_review()
    screen = lines()
    screen.wait(r"already \(pid \d+, port \d+\): joined it\.\n")
    screen.wait(QUESTION)
    screen.press("q\n")
    assert screen.wait_end() == 0
    assert served.status()["pending_reviews"] == 1
    assert len(home.lock_files) == 1


def test_a_folder_may_be_named(home: Home, lines: OpenTerminal) -> None:
    """`pairside --workspace DIR` serves that one; before another command the option is a mistake."""
    other = home.root / "other"
    other.mkdir()
    screen = lines("--workspace", str(other))
    assert f"serves {other} on port" in screen.wait(SERVES)
    assert pairside(home, "--workspace", str(other), "status").returncode == 2


def test_what_keeps_the_server_from_starting_is_told(home: Home, lines: OpenTerminal) -> None:
    """Once, with the status of serve."""
    screen = lines(PAIRSIDE_LIMITS_CLIENTS="0")
    assert screen.wait_end() == 2
    assert screen.text.count("limits.clients takes a whole number") == 1
    assert "Traceback" not in screen.text


def test_a_module_in_the_served_folder_is_not_taken_for_one_of_ours(home: Home, lines: OpenTerminal) -> None:
    """A project is what agents write: nothing in it may run because it is served."""
    for name in ("pairside", "asyncio", "json"):
        home.write(f"{name}.py", "raise SystemExit('taken')\n")
    program = os.path.join(os.path.dirname(sys.executable), "pairside")
    process = subprocess.run(
        [program, "status"], cwd=home.project, env=home.environment(), capture_output=True, timeout=15, check=False
    )
    assert process.returncode == 4
    screen = lines(program=program)
    screen.wait(SERVES)


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": ""}], ids=["dumb", "unknown"])
def test_a_terminal_that_cannot_show_the_ui_gets_lines(
    home: Home, terminal: OpenTerminal, variables: dict[str, str]
) -> None:
    """So that plain pairside works everywhere."""
    screen = terminal(**variables)
    screen.wait("Waiting for a proposal")


def test_the_ui_opens_and_the_server_ends_with_it(home: Home, terminal: OpenTerminal) -> None:
    """Where nobody else uses the server nothing is left behind."""
    screen = terminal()
    screen.wait("No proposal waits")
    pid = server_pid(home)
    screen.press("q")
    assert screen.wait_end() == 0
    assert screen.text.rstrip().endswith("pairside has stopped.")
    gone(home, pid)


@pytest.mark.parametrize("number", [None, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_others_use_outlives_the_ui(
    home: Home, terminal: OpenTerminal, number: signal.Signals | None
) -> None:
    """However the UI ends: its agent stays connected, another UI finds it, and it ends when the agent has left."""
    screen = terminal()
    screen.wait("No proposal waits")
    pid = server_pid(home)
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
        screen.wait("Review 1: Claude Code")
        if number is None:
            screen.press("q")
            assert screen.wait_end() == 0
            assert "1 review pending" in screen.text
            assert f"goes on until they have left (pid {pid}, port {lock.stem})" in screen.text
        else:
            os.kill(screen.process.pid, number)
            screen.wait_end()
        again = terminal()
        again.wait("Review 1: Claude Code")
        assert server_pid(home) == pid
        assert pairside(home, "accept").returncode == 0
        assert verdict.result(SECONDS) == ["FILE_SAVED", "two\n"]
        again.wait("No proposal waits")
        again.press("q")
        assert again.wait_end() == 0
        assert "pending" not in again.text[-200:]
    gone(home, pid)


def test_an_agent_that_lost_its_connection_may_come_back_to_a_server_that_was_left(
    home: Home, terminal: OpenTerminal
) -> None:
    """Its process lives, so it is waited for."""
    screen = terminal()
    screen.wait("No proposal waits")
    pid = server_pid(home)
    (lock,) = home.lock_files
    with Robot(lock, pid=os.getpid()) as robot:
        screen.press("q")
        assert screen.wait_end() == 0
        robot.vanish()
    with Robot(lock, pid=os.getpid()):
        assert server_pid(home) == pid
    assert pairside(home, "stop").returncode == 0
    gone(home, pid)


def test_a_server_that_was_restarted_outlives_the_ui_as_well(home: Home, terminal: OpenTerminal) -> None:
    """It is the same process, told of the same end; its agents are not cut off."""
    screen = terminal()
    screen.wait("No proposal waits")
    pid = server_pid(home)
    assert pairside(home, "restart").returncode == 0
    screen.wait("is there again")
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        robot.propose(home.project / "a.txt", "a\n")
        screen.wait("Review 1: Claude Code")
        screen.press("q")
        assert screen.wait_end() == 0
        assert f"goes on until they have left (pid {pid}, port {lock.stem})" in screen.text
        assert server_pid(home) == pid
    gone(home, pid)


def test_an_editor_that_fails_gives_the_screen_back(home: Home, terminal: OpenTerminal) -> None:
    """The UI says which one it was, and its keys work."""
    screen = terminal(VISUAL="false")
    screen.wait("No proposal waits")
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        robot.propose(home.project / "a.txt", "a\n")
        screen.wait("Review 1: Claude Code")
        pressed_until(screen, "e", r"\(false\) ended with status 1: nothing was decided")
        screen.press("q")
        assert screen.wait_end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_gives_the_terminal_back(home: Home, terminal: OpenTerminal, number: signal.Signals) -> None:
    """As by q: no other screen, no mouse, a cursor; and it says what becomes of the server."""
    screen = terminal()
    screen.wait("No proposal waits")
    os.kill(screen.process.pid, number)
    assert screen.wait_end() == 0
    assert screen.text.rstrip().endswith("pairside has stopped.")
    for mode in (b"1049l", b"1003l", b"25h"):
        assert screen.raw.rfind(b"\x1b[?" + mode) > screen.raw.rfind(b"No proposal waits")


def test_it_is_stopped_by_ctrl_z_and_goes_on_in_the_foreground(home: Home, terminal: OpenTerminal) -> None:
    """The shell has its terminal meanwhile, and the whole screen is there again afterwards."""
    shell = terminal("-i", program="/bin/sh")
    shell.press(f"{sys.executable} -m pairside\n")
    shell.wait("No proposal waits")
    shell.press("\x1a")
    shell.wait("Stopped")
    shell.press("echo in the $((1 + 1))nd shell; fg\n")
    shell.wait("in the 2nd shell")
    shell.wait("No proposal waits")
    shell.press("q")
    shell.wait("pairside has stopped")
    shell.press("exit\n")
    assert shell.wait_end() == 0


def test_where_no_shell_could_let_it_go_on_ctrl_z_stops_nothing(terminal: OpenTerminal) -> None:
    """As in a pane of tmux that runs nothing else."""
    screen = terminal()
    screen.wait("No proposal waits")
    screen.press("\x1a")
    screen.wait("There is no shell here to go back to")
    screen.press("q")
    assert screen.wait_end() == 0


def test_the_window_is_closed_while_an_editor_is_open(home: Home, terminal: OpenTerminal) -> None:
    """The UI does not wait for an editor that cannot know it: it ends, and so does that."""
    editor = home.root / "editor"
    editor.write_text("#!/bin/sh\necho it is open with process $$.\nexec sleep 60\n")
    editor.chmod(0o755)
    screen = terminal(VISUAL=str(editor))
    screen.wait("No proposal waits")
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        robot.propose(home.project / "a.txt", "a\n")
        screen.wait("Review 1: Claude Code")
        opened = pressed_until(screen, "e", r"it is open with process \d+\.")
        screen.hang_up()
        screen.process.wait(SECONDS)
    pid = int(opened.rpartition(" ")[2].rstrip("."))
    until(lambda: not is_alive(pid), timeout=10, what="the editor has ended")


def test_what_is_typed_while_an_editor_is_open_decides_nothing(home: Home, terminal: OpenTerminal) -> None:
    """Some have a window of their own and leave the terminal's keys alone."""
    editor, goes_on = home.root / "editor", home.root / "goes on"
    editor.write_text(f"#!/bin/sh\necho it is open\nread line < '{goes_on}'\necho mine >> \"$1\"\n")
    editor.chmod(0o755)
    os.mkfifo(goes_on)
    screen = terminal(VISUAL=str(editor))
    screen.wait("No proposal waits")
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        verdict = robot.propose(home.project / "a.txt", "a\n")
        screen.wait("Review 1: Claude Code")
        pressed_until(screen, "e", "it is open")
        screen.press("aaa")
        goes_on.write_text("now\n")
        screen.wait("accept the edited text")
        screen.press("\x1b")
        screen.wait("Nothing was decided")
        assert not verdict.done()


def pressed_until(screen: Terminal, key: str, effect: str) -> str:
    """Press a key until its effect is seen: what has just come is not decided by it. What came up to that."""
    for _ in range(8):
        screen.press(key)
        with suppress(AssertionError):
            return screen.wait(effect, seconds=1.5)
    return screen.wait(effect)


def test_what_the_server_says_does_not_reach_the_screen_of_the_ui(home: Home, terminal: OpenTerminal) -> None:
    """It is told when the screen is free."""
    (home.project / ".git").write_text("gitdir: /nowhere\n")
    screen = terminal(PAIRSIDE_SERVE_LOG="debug")
    screen.wait("No proposal waits")
    drawn = len(screen.text)
    assert "DEBUG" not in screen.text
    screen.press("q")
    assert screen.wait_end() == 0
    assert "DEBUG" in screen.text[drawn:]


def test_a_theme_that_does_not_exist_is_told(home: Home, terminal: OpenTerminal) -> None:
    """With those that there are; no server is left."""
    screen = terminal(PAIRSIDE_UI_THEME="nothing")
    assert screen.wait_end() == 2
    assert "ui.theme: there is no theme nothing; themes: " in screen.text
    assert not home.lock_files


def test_without_a_terminal_it_serves(home: Home) -> None:
    """In a pipe, a service or a container there is nobody to ask."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pairside"],
        cwd=home.project, env=home.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        assert "serves" in process.stdout.readline()
        process.terminate()
        assert process.wait(SECONDS) == 0
