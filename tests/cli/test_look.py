"""The commands that look: what they print for people and for programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pairside import __version__
from pairside.cli import COMMANDS
from tests.cli.command import pairside
from tests.cli.robot import PID, Robot, write_unreviewed
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

KEYS = [
    "running", "pid", "port", "version", "editor", "workspace_folders", "lock_file", "connects", "disconnects",
    "client_count", "clients", "pending_reviews", "unreviewed_changes", "departures",
]  # fmt: skip
ESCAPES = "\x1b]0;title\x07\x9b31m\u202eevil\u2066"


def printed_safely(data: bytes) -> bool:
    """Whether nothing but text, tabs and line ends is in an output."""
    return all(character in "\n\t" or character.isprintable() for character in data.decode())


def test_status_prints_its_keys_in_the_documented_order(served: Served, robot: Robot) -> None:
    """Others script it: the keys come first and in this order, notices after them."""
    status = served.wait(lambda now: now["clients"] and now["clients"][0]["pid"])
    assert list(status) == [*KEYS, "notices", "review_where", "sharing"]
    assert list(status["clients"][0]) == [
        "id", "agent", "version", "pid", "connected_at", "last_received_at", "calls_in_flight", "open_reviews",
    ]  # fmt: skip
    robot.vanish()
    status = served.wait(lambda now: now["departures"])
    assert list(status["departures"][0]) == ["client_id", "agent", "reason", "code", "detail", "at"]
    assert (status["connects"], status["disconnects"], status["client_count"]) == (1, 1, 0)
    assert status["departures"][0]["reason"] == "lost"


def test_status_tells_a_person_who_is_here_and_what_waits(home: Home, served: Served, robot: Robot) -> None:
    """Agent, version, process, pending reviews and unreviewed changes, each with the command that helps."""
    write_unreviewed(robot, home, "new.txt", "new\n")
    robot.propose(home.write("a.py", "a\n"), "b\n")
    served.wait_review()
    text = served.do("status")
    assert f"serves {home.project} on port" in text
    assert f"Claude Code 2.1.330 (pid {PID})" in text
    assert "1 review pending: pairside review" in text
    assert "1 change without a review: pairside changes" in text
    robot.vanish()
    served.wait(lambda now: now["departures"])
    assert "lost 1006" in served.do("status")


def test_a_rival_is_told_by_status_and_by_serve(home: Home, served: Served) -> None:
    """Two live lock files for one folder: claude --ide connects to neither, and the person must know why."""
    port = str(served.status()["port"])
    with Served(home) as second:
        second.start("--new")
        until(lambda: "Note: another IDE is open" in second.output, timeout=5, what="a note after the first line")
        assert b"Note: another IDE is open for this folder" in pairside(home, "status", "--port", port).stdout
        status = json.loads(pairside(home, "status", "--json", "--port", port).stdout)
        assert "notices" in status
        assert len(status["notices"]) == 1
        both = pairside(home, "status")
        assert (both.returncode, both.stdout.count(b"Note: another IDE")) == (2, 2)
        assert b"Several servers serve" in both.stderr
        listed = json.loads(pairside(home, "status", "--json").stdout)
        assert {one["pid"] for one in listed} == {served.pid, second.pid}
    assert "another IDE" not in served.do("status")


def test_a_server_of_a_folder_below_is_told_with_its_folder(home: Home, served: Served) -> None:
    """There two are valid for the agent, and here one is."""
    below = home.project / "sub"
    below.mkdir()
    with Served(home, below) as second:
        second.start("--new")
        told = served.status()["notices"]
        assert [f"another IDE is open for {below}: " in notice for notice in told] == [True]


def test_where_none_serves_the_others_are_named(home: Home, served: Served) -> None:
    """Whoever asks in the wrong folder learns which is the right one."""
    done = pairside(home, "reviews", cwd=home.home)
    assert done.returncode == 4
    assert f"One serves {home.project}, on port {served.status()['port']}.".encode() in done.stderr


def test_a_full_disk_is_told_without_a_traceback(home: Home, served: Served) -> None:
    """Whoever redirects the output learns that it was not written, and the status says so."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pairside", "status"],
            stdout=full, stderr=subprocess.PIPE, cwd=home.project, env=home.environment(), timeout=15, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, b"Cannot write the output: No space left on device.\n")


def test_reviews_are_listed_with_what_to_know_about_them(home: Home, served: Served, robot: Robot) -> None:
    """New files, files outside, changed files, and two proposals for one file are told."""
    path = home.write("a.py", "a\n")
    robot.propose(path, "b\n")
    robot.propose(path, "c\n")
    robot.propose(home.root / "outside.txt", "x\n")
    served.wait_review(3)
    home.write("a.py", "other\n")
    lines = served.do("reviews").splitlines()
    assert lines[0].startswith("Review 1: Claude Code proposes a.py (+1 -1), since ")
    assert "changed on disk" in lines[1]
    assert lines[2] == "  Warning: review 2 is for the same file."
    assert lines[6].startswith(f"Review 3: Claude Code proposes a new file {home.root}/outside.txt (+1 -0)")
    assert lines[7] == "  Warning: this file lies outside the workspace."
    listed = json.loads(served.do("reviews", "--json"))
    assert [review["id"] for review in listed] == [1, 2, 3]


def test_show_prints_numbered_hunks_of_a_unified_diff(home: Home, served: Served, robot: Robot) -> None:
    """Every header is true, no line is shown twice, and a missing final newline is told."""
    before = [f"{n}\n" for n in range(1, 21)]
    after = before.copy()
    after[3], after[5], after[19] = "four\n", "six\n", "twenty"
    robot.propose(home.write("a.txt", "".join(before)), "".join(after))
    served.wait_review()
    assert served.do("show") == (
        "Review 1: Claude Code proposes a.txt (+3 -3)\n"
        "@@ -1,5 +1,5 @@ hunk 1 of 3\n 1\n 2\n 3\n-4\n+four\n 5\n"
        "@@ -6,4 +6,4 @@ hunk 2 of 3\n-6\n+six\n 7\n 8\n 9\n"
        "@@ -17,4 +17,4 @@ hunk 3 of 3\n 17\n 18\n 19\n-20\n+twenty\n\\ No newline at end of file\n"
    )


def test_the_diff_that_show_prints_can_be_applied(home: Home, served: Served, robot: Robot) -> None:
    """Its line numbers and counts are right: patch(1) makes the proposal of it."""
    before = "".join(f"{n}\n" for n in range(1, 60))
    after = before.replace("5\n", "five\nand more\n").replace("17\n", "").replace("30\n31\n", "")
    path = home.write("a.txt", before)
    robot.propose(path, after)
    served.wait_review()
    diff = "--- a.txt\n+++ a.txt\n" + served.do("show").split("\n", 1)[1]
    subprocess.run(
        ["git", "apply", "--unidiff-zero", "-p0", "-"],
        input=diff.encode(), cwd=home.project, env=home.environment(), timeout=10, check=True,
    )  # fmt: skip
    assert path.read_text() == after


def test_a_file_that_is_no_text_is_reviewed_whole(home: Home, served: Served, robot: Robot) -> None:
    """There is nothing to compare with, so the proposal is shown as it is."""
    path = home.project / "image"
    path.write_bytes(b"\0\1\2")
    robot.propose(path, "text\n")
    served.wait_review()
    text = served.do("show")
    assert "accept or reject the whole proposal" in text
    assert text.endswith("+text\n")


@pytest.mark.parametrize("command", ["show", "reviews", "status", "log", "changes"])
def test_nothing_from_an_agent_reaches_the_terminal_as_it_is(
    home: Home, served: Served, robot: Robot, command: str
) -> None:
    """Names, paths and texts with control characters come out as visible escapes."""
    robot.introduce_again(f"agent{ESCAPES}", ESCAPES)
    robot.propose(home.project / f"name{ESCAPES}.py", f"text{ESCAPES}\n")
    write_unreviewed(robot, home, f"other{ESCAPES}", "x\n")
    served.wait_review()
    done = pairside(home, command)
    assert done.returncode == 0
    assert printed_safely(done.stdout), done.stdout
    assert b"\\x1b]0;title" in done.stdout or b"\\u202e" in done.stdout
    done = pairside(home, command, "--json")
    assert done.stdout.isascii()
    assert printed_safely(done.stdout)
    assert printed_safely(pairside(home, "accept", "1").stdout)


def test_the_log_tells_what_happened_in_order(home: Home, served: Served, robot: Robot) -> None:
    """Arrivals, proposals, decisions; with --wire the messages by length; their contents only when asked for."""
    robot.propose(home.write("a.py", "a\n"), "secret_token = 'abcdefghijkl'\n")
    served.wait_review()
    served.do("reject")
    text = served.do("log")
    assert text.index("Client 1 arrived") < text.index("proposes a.py") < text.index("rejected by the command line")
    wire = served.do("log", "--wire")
    assert "Client 1 < " in wire
    assert "openDiff" not in wire.replace("called openDiff", "")
    contents = served.do("log", "--wire", "--contents")
    assert "new_file_contents" in contents
    assert "abcdefghijkl" not in contents
    found = json.loads(served.do("log", "--wire", "--json"))
    assert {frame["direction"] for frame in found["frames"]} == {"<", ">"}
    assert served.run("log", "--contents").returncode == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(home: Home, shell: str) -> None:
    """Each shell gets its own; an unknown shell is told which there are."""
    assert b"_PAIRSIDE_COMPLETE" in pairside(home, "completion", shell).stdout
    assert (
        pairside(home, "completion", environment={"SHELL": f"/bin/{shell}"}).stdout
        == pairside(home, "completion", shell).stdout
    )
    done = pairside(home, "completion", environment={"SHELL": "/bin/dash"})
    assert (done.returncode, done.stdout) == (2, b"")


def test_the_ids_of_pending_reviews_are_completed(home: Home, served: Served, robot: Robot) -> None:
    """A shell offers what is pending, and nothing when no server is there."""
    robot.propose(home.write("a.py", "a\n"), "b\n")
    served.wait_review()
    asked = {"_PAIRSIDE_COMPLETE": "bash_complete", "COMP_WORDS": "pairside accept ", "COMP_CWORD": "2"}
    assert pairside(home, environment=asked).stdout == b"plain,1\n"
    served.stop()
    done = pairside(home, environment=asked)
    assert (done.stdout.strip(), done.stderr) == (b"", b"")


def test_every_command_has_help(home: Home) -> None:
    """The help of the program names every command with a sentence."""
    text = pairside(home, "--help").stdout.decode()
    for name in COMMANDS:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
        assert len(line.split()) > 2, line
        assert not line.endswith("..."), f"the first sentence is too long: {line}"
        assert pairside(home, name, "--help").returncode == 0


def test_a_status_bar_gets_a_few_words_or_nothing(home: Home, served: Served, connect: Callable[..., Robot]) -> None:
    """Agents, reviews, changes; empty and status 0 where nothing serves, so that the bar shows no error."""
    assert served.do("status", "--line") == "0 agents\n"
    first = connect()
    connect()
    first.propose(home.write("a.py", "a\n"), "b\n")
    served.wait_review()
    assert served.do("status", "--line") == "2 agents, 1 review\n"
    write_unreviewed(first, home, "b.py", "x\n")
    assert served.do("status", "--line") == "2 agents, 1 review, 1 change\n"
    assert served.stop() == 0
    done = pairside(home, "status", "--line")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = pairside(home, "status", "--line", cwd=home.home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_status_bar_is_not_held_up_by_a_server_that_does_not_answer(home: Home, served: Served) -> None:
    """It is empty then."""
    os.kill(served.pid, signal.SIGSTOP)
    try:
        done = pairside(home, "status", "--line")
    finally:
        os.kill(served.pid, signal.SIGCONT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_server_of_another_version_is_told(home: Home, tmp_path: Path) -> None:
    """After an upgrade the running one is still the old one, until it is started anew."""
    script = tmp_path / "old.py"
    script.write_text(
        "import sys, pairside\npairside.__version__ = '0.0.1'\nfrom pairside.__main__ import main\nmain()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), "serve"], cwd=home.project, env=home.environment(), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        text = pairside(home, "status").stdout.decode()
        assert text.startswith("pairside 0.0.1 serves ")
        assert f"Note: this command is pairside {__version__}. To have the server so: pairside restart" in text
    finally:
        process.terminate()
        process.communicate(timeout=10)
