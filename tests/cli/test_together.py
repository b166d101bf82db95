"""Plain `pairside`: a server and the review in one terminal, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable

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


def server_pid(home: Home) -> int:
    """The process of the server of the project folder."""
    match = re.search(rb"\(pid (\d+)", pairside(home, "status").stdout)
    assert match is not None
    return int(match[1])


def gone(home: Home, pid: int) -> None:
    """Wait until a server and all that it made are gone."""
    until(lambda: not is_alive(pid) and not home.lock_files, timeout=10, what="the server is gone")
    assert pairside(home, "status").returncode == 4


def test_on_a_terminal_it_serves_and_reviews(home: Home, terminal: OpenTerminal) -> None:
    """Who comes and goes is told between the reviews, and leaving stops the server."""
    screen = terminal()
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
def test_leaving_with_a_review_pending_says_where_it_is_answered(home: Home, terminal: OpenTerminal, way: str) -> None:
    """Nothing is decided by leaving."""
    screen = terminal()
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
def test_the_server_is_gone_however_the_review_ends(home: Home, terminal: OpenTerminal, number: signal.Signals) -> None:
    """Even kill -9 of what stands in the terminal leaves no server behind."""
    screen = terminal()
    screen.wait("Waiting for a proposal")
    pid = server_pid(home)
    assert pid != screen.process.pid
    os.kill(screen.process.pid, number)
    screen.wait_end()
    gone(home, pid)


def test_a_server_that_is_stopped_from_elsewhere_ends_it(home: Home, terminal: OpenTerminal) -> None:
    """`pairside stop` is told, and no process hangs."""
    screen = terminal()
    screen.wait("Waiting for a proposal")
    pid = server_pid(home)
    assert pairside(home, "stop").returncode == 0
    assert screen.wait_end() == 4
    assert "has stopped" in screen.text
    gone(home, pid)


def test_a_server_of_the_folder_is_joined_and_left_running(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """No rival is started; its reviews are asked for here."""
    robot.propose(home.project / "a.txt", "a\n")
    served.wait_review()
    screen = terminal()
    screen.wait(r"already \(pid \d+, port \d+\): joined it\.\n")
    screen.wait(QUESTION)
    screen.press("q\n")
    assert screen.wait_end() == 0
    assert served.status()["pending_reviews"] == 1
    assert len(home.lock_files) == 1


def test_a_folder_may_be_named(home: Home, terminal: OpenTerminal) -> None:
    """`pairside --workspace DIR` serves that one; before another command the option is a mistake."""
    other = home.root / "other"
    other.mkdir()
    screen = terminal("--workspace", str(other))
    assert f"serves {other} on port" in screen.wait(SERVES)
    assert pairside(home, "--workspace", str(other), "status").returncode == 2


def test_what_keeps_the_server_from_starting_is_told(home: Home, terminal: OpenTerminal) -> None:
    """Once, with the status of serve."""
    screen = terminal(PAIRSIDE_LIMITS_CLIENTS="0")
    assert screen.wait_end() == 2
    assert screen.text.count("limits.clients takes a whole number") == 1
    assert "Traceback" not in screen.text


def test_a_module_in_the_served_folder_is_not_taken_for_one_of_ours(home: Home, terminal: OpenTerminal) -> None:
    """A project is what agents write: nothing in it may run because it is served."""
    for name in ("pairside", "asyncio", "json"):
        home.write(f"{name}.py", "raise SystemExit('taken')\n")
    program = os.path.join(os.path.dirname(sys.executable), "pairside")
    process = subprocess.run(
        [program, "status"], cwd=home.project, env=home.environment(), capture_output=True, timeout=15, check=False
    )
    assert process.returncode == 4
    screen = terminal(program=program)
    screen.wait(SERVES)


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
