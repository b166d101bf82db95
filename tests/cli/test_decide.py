"""accept and reject as scripts use them: what arrives at the agent, what is said, and the exit statuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from tests.cli.command import pairside
from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.served import Served

SECONDS = 10.0
LINES = [f"line {number}\n" for number in range(1, 41)]


def changed(*numbers: int) -> str:
    """The forty lines with some of them changed."""
    return "".join(f"changed {n}\n" if n in numbers else line for n, line in enumerate(LINES, 1))


def test_accepting_the_only_review_needs_no_id(home: Home, served: Served, robot: Robot) -> None:
    """The agent gets the proposal as it was, and the person is told who writes it."""
    path = home.write("src/app.py", "a = 1\n")
    verdict = robot.propose(path, "a = 2\n")
    served.wait_review()
    assert served.do("accept") == "Accepted src/app.py: Claude Code writes it now.\n"
    assert verdict.result(SECONDS) == ["FILE_SAVED", "a = 2\n"]


def test_rejecting_says_that_the_agent_waits(home: Home, served: Served, robot: Robot) -> None:
    """The agent is told no, and the person what to do next."""
    verdict = robot.propose(home.write("a.py", "a = 1\n"), "a = 2\n")
    served.wait_review()
    assert served.do("reject") == "Rejected. Claude Code waits: tell it in its terminal what to do instead.\n"
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"


def test_chosen_hunks_alone_are_accepted(home: Home, served: Served, robot: Robot) -> None:
    """Hunks are named by the numbers that show gives them, and the answer says which they were."""
    verdict = robot.propose(home.write("a.txt", changed()), changed(5, 20, 35))
    served.wait_review()
    assert served.do("accept", "--hunks", "1,3") == "Accepted hunks 1, 3 of a.txt: Claude Code writes it now.\n"
    assert verdict.result(SECONDS) == ["FILE_SAVED", changed(5, 35)]


def test_a_range_of_hunks_can_be_named(home: Home, served: Served, robot: Robot) -> None:
    """2-3 means both."""
    verdict = robot.propose(home.write("a.txt", changed()), changed(5, 20, 35))
    served.wait_review()
    served.do("accept", "--hunks", "2-3")
    assert verdict.result(SECONDS) == ["FILE_SAVED", changed(20, 35)]


@pytest.mark.parametrize("numbers", ["", "0", "1,,2", "a", "3-1", "1-999999999"])
def test_a_malformed_list_of_hunks_is_a_usage_error(served: Served, numbers: str) -> None:
    """Nothing is guessed: the status is 2."""
    assert served.run("accept", "--hunks", numbers).returncode == 2


def test_a_hunk_that_does_not_exist_is_an_error_and_decides_nothing(home: Home, served: Served, robot: Robot) -> None:
    """The message says how many there are, and the review stays pending."""
    robot.propose(home.write("a.txt", changed()), changed(5, 20))
    served.wait_review()
    done = served.run("accept", "--hunks", "2,7")
    assert done.returncode == 1
    assert "hunks 1 to 2, not 7" in done.stderr
    assert served.status()["pending_reviews"] == 1


@pytest.mark.parametrize(
    "text",
    ["", "no final newline", "\ufeffwith a mark\n", "astral 𝟚 and ü\n", "a\rb\r\nc\n", "trailing  \n\n\n", "\0\n"],
    ids=["empty", "no final newline", "byte order mark", "astral", "mixed line ends", "blanks", "nul"],
)
@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_text_given_in_place_of_the_proposal_arrives_byte_for_byte(
    home: Home, served: Served, robot: Robot, text: str, way: str
) -> None:
    """Whatever is valid UTF-8 reaches the agent as it was given."""
    verdict = robot.propose(home.write("a.txt", "before\n"), "proposed\n")
    served.wait_review()
    own = home.root / "own.txt"
    own.write_bytes(text.encode())
    name, given = (str(own), b"") if way == "file" else ("-", text.encode())
    done = pairside(home, "accept", "--text-file", name, given=given)
    assert (done.returncode, done.stderr) == (0, b"")
    assert verdict.result(SECONDS) == ["FILE_SAVED", text]


def test_a_text_with_crlf_throughout_is_given_with_lf_and_said(home: Home, served: Served, robot: Robot) -> None:
    """Agents speak LF and restore CRLF by themselves, so CRLF at every line is how that file is written."""
    verdict = robot.propose(home.write("a.txt", "before\n"), "proposed\n")
    served.wait_review()
    done = pairside(home, "accept", "--text-file", "-", given=b"one\r\ntwo\r\n")
    assert b"CRLF" in done.stderr
    assert verdict.result(SECONDS) == ["FILE_SAVED", "one\ntwo\n"]


def test_a_text_that_is_not_utf8_is_an_error_and_decides_nothing(home: Home, served: Served, robot: Robot) -> None:
    """The message says where the bad byte is."""
    robot.propose(home.write("a.txt", "before\n"), "proposed\n")
    served.wait_review()
    done = pairside(home, "accept", "--text-file", "-", given=b"one\ntw\xff\n")
    assert done.returncode == 1
    assert b"not UTF-8: byte 7, in line 2" in done.stderr
    assert served.status()["pending_reviews"] == 1


def test_ten_megabytes_are_accepted_whole_and_as_other_text(home: Home, served: Served, robot: Robot) -> None:
    """Size is no reason to lose a byte."""
    large = "".join(f"{number:>9} ü\n" for number in range(800_000))
    path = home.write("large.txt", "small\n")
    verdict = robot.propose(path, large)
    served.wait_review()
    served.do("accept")
    assert verdict.result(SECONDS) == ["FILE_SAVED", large]
    verdict = robot.propose(path, "small\n")
    served.wait_review()
    pairside(home, "accept", "--text-file", "-", given=large.encode())
    assert verdict.result(SECONDS) == ["FILE_SAVED", large]


def test_a_text_equal_to_the_file_is_told_as_the_rejection_that_it_is(home: Home, served: Served, robot: Robot) -> None:
    """The agent takes the original for a no, so the person is told no as well."""
    verdict = robot.propose(home.write("a.txt", "before\n"), "proposed\n")
    served.wait_review()
    done = pairside(home, "accept", "--text-file", "-", given=b"before\n")
    assert done.stdout.startswith(b"Rejected.")
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"


def test_hunks_and_a_text_at_once_are_a_usage_error(home: Home, served: Served) -> None:
    """They contradict each other."""
    own = home.write("own.txt", "x")
    assert served.run("accept", "--hunks", "1", "--text-file", str(own)).returncode == 2


@pytest.mark.parametrize("command", ["accept", "reject", "show", "edit"])
def test_without_a_pending_review_the_status_is_3(served: Served, command: str) -> None:
    """There is nothing to be meant."""
    done = served.run(command)
    assert (done.returncode, done.stdout) == (3, "")
    assert "No review is pending" in done.stderr


@pytest.mark.parametrize("command", ["accept", "reject", "show", "edit", "review"])
def test_an_id_that_never_was_has_status_3(served: Served, command: str) -> None:
    """Nobody decided it, so it is not status 5."""
    done = served.run(command, "77")
    assert done.returncode == 3
    assert "no review 77" in done.stderr


@pytest.mark.parametrize("command", ["accept", "reject", "show", "edit"])
def test_with_several_reviews_and_no_id_they_are_listed_with_status_2(
    home: Home, served: Served, robot: Robot, command: str
) -> None:
    """Nothing is decided by chance."""
    robot.propose(home.write("a.py", "a\n"), "b\n")
    robot.propose(home.write("b.py", "a\n"), "b\n")
    served.wait_review(2)
    done = served.run(command)
    assert done.returncode == 2
    assert "Review 1: Claude Code proposes a.py" in done.stderr
    assert "Review 2: Claude Code proposes b.py" in done.stderr
    assert served.status()["pending_reviews"] == 2


@pytest.mark.parametrize("command", ["accept", "reject", "show", "edit", "review"])
def test_a_review_that_was_decided_has_status_5_and_the_name_of_who_did(
    home: Home, served: Served, robot: Robot, command: str
) -> None:
    """The first decision stands."""
    verdict = robot.propose(home.write("a.py", "a\n"), "b\n")
    served.wait_review()
    served.do("reject", "1")
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    done = served.run(command, "1")
    assert done.returncode == 5
    assert "Review 1 was rejected by the command line" in done.stderr


def test_a_review_that_the_agent_took_back_has_status_5(home: Home, served: Served, robot: Robot) -> None:
    """An answer in the agent's terminal closes the review, and whoever comes later is told."""
    path = home.write("a.py", "a\n")
    robot.propose(path, "b\n")
    served.wait_review()
    robot.call("close_tab", tab_name="✻ [Claude Code] a.py (c0ffee) ⧉")
    done = served.run("accept", "1")
    assert done.returncode == 5
    assert "withdrawn by Claude Code" in done.stderr


def test_a_decision_is_printed_as_json(home: Home, served: Served, robot: Robot) -> None:
    """Programs get the id, the file, the agent and the outcome."""
    path = home.write("a.py", "a\n")
    robot.propose(path, "b\n")
    served.wait_review()
    told = json.loads(served.do("accept", "--json"))
    assert told == {"id": 1, "path": str(path), "agent": "Claude Code", "outcome": "accepted"}


def test_a_file_that_changed_meanwhile_is_told_at_the_decision(home: Home, served: Served, robot: Robot) -> None:
    """The agent will not write over what it has not seen, and nobody should wonder why."""
    path = home.write("a.py", "a\n")
    robot.propose(path, "b\n")
    served.wait_review()
    home.write("a.py", "something else\n")
    assert "changed on disk" in served.do("show")
    assert "will refuse to write it" in served.do("accept")


@pytest.mark.parametrize("mark", ["CLAUDECODE", "GEMINI_CLI", "OPENCODE"])
def test_a_shell_with_an_agents_mark_may_look_but_not_decide(
    home: Home, served: Served, robot: Robot, mark: str
) -> None:
    """An agent must not accept its own proposal: status 6, and the review stays pending."""
    robot.propose(home.write("a.py", "a\n"), "b\n")
    served.wait_review()
    for command in (("accept",), ("reject",), ("select", "a.py"), ("mention", "a.py"), ("open", "a.py"), ("stop",)):
        done = served.run(*command, environment={mark: "1"})
        assert done.returncode == 6, command
        assert mark in done.stderr
    for command in (("status",), ("show",), ("reviews",), ("changes",), ("log", "--wire")):
        assert served.run(*command, environment={mark: "1"}).returncode == 0, command
    assert served.run("log", "--wire", "--contents", environment={mark: "1"}).returncode == 6
    assert served.status()["pending_reviews"] == 1


def test_a_process_below_the_agent_may_not_decide(home: Home, served: Served, connect: Callable[..., Robot]) -> None:
    """Without a mark the descent tells: this test runs the command, and says that it is the agent."""
    connect(pid=os.getpid()).propose(home.write("a.py", "a\n"), "b\n")
    served.wait_review()
    done = served.run("accept")
    assert done.returncode == 6
    assert "inside Claude Code" in done.stderr
    assert served.status()["pending_reviews"] == 1
