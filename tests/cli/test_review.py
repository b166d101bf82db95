"""The review at the terminal: every answer, every way out, every size of terminal; and `edit`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyte
import pytest

from tests.cli.command import pairside
from tests.cli.robot import PID, Robot, write_unreviewed
from tests.cli.terminal import Terminal
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

SECONDS = 10.0
LINES = [f"line {number}\n" for number in range(1, 41)]
QUESTION = r"Accept\? \[[a-z,?]+\] $"

OpenTerminal = Callable[..., Terminal]


def changed(*numbers: int) -> str:
    """The forty lines with some of them changed."""
    return "".join(f"changed {n}\n" if n in numbers else line for n, line in enumerate(LINES, 1))


def hunk(number: int, total: int) -> str:
    """The question about a hunk."""
    return rf"Accept hunk {number}/{total}\? \[[a-z,?]+\] $"


def editor(home: Home, script: str) -> dict[str, str]:
    """An environment whose editor is a shell script; `$1` is the file."""
    path = home.root / "my editor.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return {"EDITOR": f"'{path}'"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("yyy", changed(5, 20, 35)),
        ("yny", changed(5, 35)),
        ("nny", changed(35)),
        ("ya", changed(5, 20, 35)),
        ("na", changed(20, 35)),
        ("yd", changed(5)),
        ("?ynn", changed(5)),
        ("pyxnn", changed(5)),
        ("nnn", None),
        ("d", None),
    ],
)
def test_each_hunk_is_asked_for_and_the_agent_gets_those_accepted(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal, answers: str, expected: str | None
) -> None:
    """y and n per hunk, a and d for all that follow; no hunk at all is a rejection."""
    verdict = robot.propose(home.write("a.txt", changed()), changed(5, 20, 35))
    served.wait_review()
    screen = terminal("review", "1")
    for letter in answers:
        screen.wait(r"Accept hunk \d/3\? \[[a-z,?]+\] $")
        screen.press(letter + "\n")
    assert screen.wait_end() == 0
    answer = verdict.result(SECONDS)
    if expected is None:
        assert answer[0] == "DIFF_REJECTED"
        assert "Rejected. Claude Code waits" in screen.text
    else:
        assert answer == ["FILE_SAVED", expected]
        assert "Accepted" in screen.text


def test_a_proposal_of_one_hunk_is_one_question(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """It shows what is proposed, asks once, and says what happened."""
    verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
    served.wait_review()
    screen = terminal("review", "--once")
    text = screen.wait(QUESTION)
    assert "Review 1: Claude Code proposes a.py (+1 -1)\n@@ -1,1 +1,1 @@ hunk 1 of 1\n-one\n+two\n" in text
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert "Accepted a.py: Claude Code writes it now." in screen.text
    assert verdict.result(SECONDS) == ["FILE_SAVED", "two\n"]


def test_the_next_proposal_is_waited_for(home: Home, served: Served, robot: Robot, terminal: OpenTerminal) -> None:
    """The loop goes on until the person leaves, and leaving is no error."""
    screen = terminal("review")
    screen.wait("Waiting for a proposal")
    for number in (1, 2):
        verdict = robot.propose(home.project / f"{number}.txt", "text\n")
        screen.wait(rf"Review {number}: Claude Code proposes a new file {number}.txt \(\+1 -0\)")
        screen.wait(QUESTION)
        screen.press("y\n")
        assert verdict.result(SECONDS)[0] == "FILE_SAVED"
        screen.wait("Waiting for a proposal")
    screen.press("q\n")
    assert screen.wait_end() == 0


def test_a_skipped_review_stays_pending_and_can_be_gone_back_to(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """s leaves it; the next one comes; Enter, when nothing else waits, brings it back."""
    robot.propose(home.project / "a.txt", "a\n")
    verdict = robot.propose(home.project / "b.txt", "b\n")
    served.wait_review(2)
    screen = terminal("review")
    text = screen.wait(QUESTION)
    assert "(1 more review after this one)" in text
    screen.press("s\n")
    screen.wait("Review 1 stays pending")
    screen.wait(QUESTION)
    screen.press("n\n")
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    screen.wait("1 review skipped: Enter to go back")
    screen.press("\n")
    assert "Review 1:" in screen.wait(QUESTION)
    screen.press("q\n")
    assert screen.wait_end() == 0
    assert served.status()["pending_reviews"] == 1


@pytest.mark.parametrize("way", ["\x03", "\x04", "q\n"], ids=["ctrl-c", "ctrl-d", "q"])
@pytest.mark.parametrize("moment", ["waiting", "asking"])
def test_every_way_out_is_clean_and_leaves_the_review_pending(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal, way: str, moment: str
) -> None:
    """Status 0, no traceback, nothing decided."""
    if moment == "asking":
        robot.propose(home.project / "a.txt", "a\n")
        served.wait_review()
    screen = terminal("review")
    screen.wait("Waiting for a proposal" if moment == "waiting" else QUESTION)
    screen.press(way)
    assert screen.wait_end() == 0
    assert "Traceback" not in screen.text
    assert "Aborted" not in screen.text
    assert served.status()["pending_reviews"] == (1 if moment == "asking" else 0)


def test_a_decision_made_elsewhere_is_told_and_the_loop_goes_on(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """The question goes away by itself, and the next review is asked for."""
    robot.propose(home.write("a.txt", changed()), changed(5, 20))
    robot.propose(home.project / "b.txt", "b\n")
    served.wait_review(2)
    screen = terminal("review")
    screen.wait(hunk(1, 2))
    screen.press("y\n")
    screen.wait(hunk(2, 2))
    served.do("reject", "1")
    screen.wait(r"Review 1 \(a.txt\) was rejected by the command line\.")
    assert "Review 2:" in screen.wait(QUESTION)
    robot.call("close_tab", tab_name="✻ [Claude Code] b.txt (c0ffee) ⧉")
    screen.wait(r"Review 2 \(b.txt\) was withdrawn by Claude Code")
    screen.wait("Waiting for a proposal")


def test_the_one_review_that_was_asked_for_may_be_decided_elsewhere(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """With an id the status is 5 then, as it is for accept."""
    robot.propose(home.project / "a.txt", "a\n")
    served.wait_review()
    screen = terminal("review", "1")
    screen.wait(QUESTION)
    served.do("accept", "1")
    assert screen.wait_end() == 5


@pytest.mark.parametrize("moment", ["waiting", "asking"])
@pytest.mark.parametrize("death", ["stopped", "killed"])
def test_a_server_that_goes_away_ends_it_with_a_clear_line(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal, moment: str, death: str
) -> None:
    """Status 4, and the person knows where the question is answered now, and what helps against a kill."""
    if moment == "asking":
        robot.propose(home.project / "a.txt", "a\n")
        served.wait_review()
    screen = terminal("review")
    screen.wait("Waiting for a proposal" if moment == "waiting" else QUESTION)
    if death == "killed":
        served.kill9()
    else:
        served.stop()
    assert screen.wait_end() == 4
    assert "What was pending can be answered in the agent's terminal." in screen.text
    assert f"has {death}" in screen.text or f"was {death}" in screen.text
    assert ("Started again at once it finds its agents again: pairside serve --workspace" in screen.text) == (
        death == "killed"
    )


def test_once_reviews_what_is_pending_and_leaves(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """What comes meanwhile is not waited for; with nothing pending the status is 3."""
    assert pairside(home, "review", "--once").returncode == 3
    robot.propose(home.project / "a.txt", "a\n")
    served.wait_review()
    screen = terminal("review", "--once")
    screen.wait(QUESTION)
    robot.propose(home.project / "b.txt", "b\n")
    served.wait_review(2)
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert served.status()["pending_reviews"] == 1


def test_what_was_typed_before_a_proposal_came_is_no_answer(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """A stray y must not accept what nobody has seen."""
    robot.propose(home.project / "a.txt", "a\n")
    robot.propose(home.project / "b.txt", "b\n")
    served.wait_review(2)
    screen = terminal("review")
    screen.wait(QUESTION)
    screen.press("y\ny\ny\n")
    screen.wait("Accepted a.txt")
    screen.wait(QUESTION)
    assert served.wait(lambda now: now["pending_reviews"] == 1)
    screen.press("q\n")
    assert screen.wait_end() == 0
    assert served.status()["pending_reviews"] == 1


def test_answers_may_come_from_a_pipe(home: Home, served: Served, robot: Robot) -> None:
    """Without a terminal the questions and answers are in the output, and the end of the input leaves."""
    verdict = robot.propose(home.write("a.txt", changed()), changed(5, 20))
    robot.propose(home.project / "b.txt", "b\n")
    served.wait_review(2)
    done = pairside(home, "review", given=b"y\nn")
    assert done.returncode == 0
    assert b"Accept hunk 2/2? [y,n,a,d,e,s,q,p,?] n\n" in done.stdout
    assert b"\x1b" not in done.stdout
    assert verdict.result(SECONDS) == ["FILE_SAVED", changed(5)]
    assert served.status()["pending_reviews"] == 1


def test_answers_in_a_pipe_wait_for_the_proposal(home: Home, served: Served, robot: Robot) -> None:
    """They are not used up while nothing is pending."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pairside", "review"],
        cwd=home.project, env=home.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(b"y\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"Waiting for a proposal")
        verdict = robot.propose(home.project / "a.txt", "a\n")
        assert verdict.result(SECONDS) == ["FILE_SAVED", "a\n"]
        said = b""
        while b"Accepted a.txt" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.stdin.close()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.wait(SECONDS) == 0


def test_decisions_are_printed_as_json_and_the_dialogue_beside_them(home: Home, served: Served, robot: Robot) -> None:
    """Programs read standard output, people standard error."""
    robot.propose(home.project / "a.txt", "a\n")
    served.wait_review()
    done = pairside(home, "review", "--json", "--once", given=b"n\n")
    assert json.loads(done.stdout)["outcome"] == "rejected"
    assert b"Accept? " in done.stderr


def test_a_long_hunk_goes_through_the_pager(home: Home, served: Served, robot: Robot, terminal: OpenTerminal) -> None:
    """$PAGER on a terminal that it would not fit on, and p prints it again."""
    robot.propose(home.project / "a.txt", "line\n" * 100)
    served.wait_review()
    screen = terminal("review", rows=20, PAGER="sed s/line/PAGED/")
    assert "PAGED" in screen.wait(QUESTION)
    screen.press("p\n")
    assert "PAGED" in screen.wait(QUESTION)


@pytest.mark.parametrize("fits", ["dumb", "tall"])
def test_no_pager_is_started_where_it_would_be_in_the_way(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal, fits: str
) -> None:
    """Not on a dumb terminal, and not for what fits."""
    robot.propose(home.project / "a.txt", "line\n" * 30)
    served.wait_review()
    environment = {"PAGER": "sed s/line/PAGED/", **({"TERM": "dumb"} if fits == "dumb" else {})}
    screen = terminal("review", rows=20 if fits == "dumb" else 60, **environment)
    text = screen.wait(QUESTION)
    assert "PAGED" not in text
    assert text.count("+line") == 30
    if fits == "dumb":
        assert b"\x1b" not in screen.raw


def test_forty_columns_are_enough(home: Home, served: Served, robot: Robot, terminal: OpenTerminal) -> None:
    """No line of ours is wrapped: the help and the questions fit."""
    robot.propose(home.write("a.txt", changed()), changed(5, 20))
    served.wait_review()
    screen = terminal("review", columns=40)
    screen.wait(hunk(1, 2))
    screen.press("?\n")
    help = screen.wait(hunk(1, 2))
    assert max(map(len, help.splitlines())) <= 40
    emulator = pyte.Screen(40, 100)
    pyte.ByteStream(emulator).feed(screen.raw)
    shown = [line.rstrip() for line in emulator.display]
    assert "Accept hunk 1/2? [y,n,a,d,e,s,q,p,?]" in shown
    assert "y  accept this hunk" in shown


def test_nothing_in_a_proposal_reaches_the_terminal_as_it_is(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """A proposal can contain anything; tabs stay tabs."""
    robot.propose(home.project / "a\x1b[31m\u202e.txt", "\tx\x1b]0;title\x07\x9b\u2066\r\n")
    served.wait_review()
    screen = terminal("review", TERM="dumb")
    screen.wait(QUESTION)
    text = screen.raw.decode()
    assert all(character in "\n\r\t" or character.isprintable() for character in text)
    assert "+\tx\\x1b]0;title\\x07\\x9b\\u2066\\r" in text.replace("\r", "")


@pytest.mark.parametrize(
    "text", ["", "no newline", "\ufeffmark\n", "𝟚\n"], ids=["empty", "no newline", "mark", "astral"]
)
def test_what_the_editor_saves_reaches_the_agent_byte_for_byte(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal, text: str
) -> None:
    """`edit` gives the proposal to $EDITOR and asks what to do with the result."""
    own = home.root / "own"
    own.write_bytes(text.encode())
    verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
    served.wait_review()
    screen = terminal("edit", **editor(home, f'cp "$1" {home.root}/seen; echo "$1" >{home.root}/name; cp {own} "$1"'))
    screen.wait(r"Accept the edited text\? \[y,n,e,s,q,\?\] $")
    name = Path((home.root / "name").read_text().strip())
    assert name.suffix == ".py"
    assert name.stat().st_mode & 0o777 == 0o600
    assert name.parent.stat().st_mode & 0o777 == 0o700
    assert (home.root / "seen").read_text() == "two\n"
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert verdict.result(SECONDS) == ["FILE_SAVED", text]
    assert not name.parent.exists()


def test_the_edited_text_can_be_rejected_edited_again_or_left(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """What was edited and not sent is kept, and said where."""
    verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
    served.wait_review()
    environment = editor(home, 'echo more >>"$1"')
    screen = terminal("edit", **environment)
    screen.wait(r"Accept the edited text\? \[y,n,e,s,q,\?\] $")
    screen.press("e\n")
    screen.wait(r"Accept the edited text\? \[y,n,e,s,q,\?\] $")
    screen.press("s\n")
    assert screen.wait_end() == 0
    kept = screen.text.split("The edited text is kept in ")[1].split()[0]
    assert Path(kept).read_text() == "two\nmore\nmore\n"
    assert "Review 1 stays pending." in screen.text
    screen = terminal("edit", **environment)
    screen.wait(r"Accept the edited text\? \[y,n,e,s,q,\?\] $")
    screen.press("n\n")
    assert screen.wait_end() == 0
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"


def test_a_decision_made_while_the_editor_is_open_is_told_and_the_text_is_kept(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """The status is 5, and the work is not lost."""
    robot.propose(home.write("a.py", "one\n"), "two\n")
    served.wait_review()
    script = f'echo mine >"$1"; touch {home.root}/editing; while [ ! -e {home.root}/go ]; do sleep 0.05; done'
    screen = terminal("edit", **editor(home, script))
    until(lambda: (home.root / "editing").exists(), timeout=10, what="the editor runs")
    served.do("reject")
    (home.root / "go").touch()
    assert screen.wait_end() == 5
    assert "was rejected by the command line" in screen.text
    assert Path(screen.text.split("The edited text is kept in ")[1].split()[0]).read_text() == "mine\n"


def test_an_editor_that_fails_decides_nothing(home: Home, served: Served, robot: Robot, terminal: OpenTerminal) -> None:
    """The status is 1, the review stays pending, and no file stays behind."""
    robot.propose(home.write("a.py", "one\n"), "two\n")
    served.wait_review()
    screen = terminal("edit", **editor(home, "exit 3"))
    assert screen.wait_end() == 1
    assert "ended with status 3: nothing was decided" in screen.text
    assert served.status()["pending_reviews"] == 1
    assert not list((home.root / "tmp").glob("pairside-*"))


def test_ctrl_c_in_the_editor_is_the_editors_own(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """Many editors use it; pairside must be there when the editor ends."""
    verdict = robot.propose(home.write("a.py", "one\n"), "two\n")
    served.wait_review()
    script = f"trap 'touch {home.root}/interrupted' INT; touch {home.root}/editing\n"
    script += f'while [ ! -e {home.root}/interrupted ]; do sleep 0.05; done; echo three >"$1"'
    screen = terminal("edit", **editor(home, script))
    until(lambda: (home.root / "editing").exists(), timeout=10, what="the editor runs")
    screen.press("\x03")
    screen.wait(r"Accept the edited text\?")
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert verdict.result(SECONDS) == ["FILE_SAVED", "three\n"]


def test_editing_after_some_hunks_were_left_out_starts_without_them(
    home: Home, served: Served, robot: Robot, terminal: OpenTerminal
) -> None:
    """What the person has already said no to is not in the text that they edit."""
    verdict = robot.propose(home.write("a.txt", changed()), changed(5, 20, 35))
    served.wait_review()
    screen = terminal("review", "1", **editor(home, 'echo end >>"$1"'))
    screen.wait(hunk(1, 3))
    screen.press("n\n")
    screen.wait(hunk(2, 3))
    screen.press("e\n")
    screen.wait(r"Accept the edited text\?")
    screen.press("y\n")
    assert screen.wait_end() == 0
    assert verdict.result(SECONDS) == ["FILE_SAVED", changed(20, 35) + "end\n"]


def test_an_editor_that_saves_crlf_is_understood(home: Home, served: Served, robot: Robot) -> None:
    """The agent gets LF, and the person is told; answers may come from a pipe here too."""
    verdict = robot.propose(home.write("a.txt", "one\n"), "two\n")
    served.wait_review()
    environment = editor(home, "printf 'three\\r\\nfour\\r\\n' >\"$1\"")
    done = pairside(home, "edit", "--json", given=b"y\n", environment=environment)
    assert json.loads(done.stdout)["outcome"] == "accepted"
    assert b"CRLF" in done.stderr
    assert verdict.result(SECONDS) == ["FILE_SAVED", "three\nfour\n"]


def test_waiting_costs_nothing(home: Home, served: Served, robot: Robot) -> None:
    """A loop left open all day must not turn: it uses next to no processor time while it waits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pairside", "review"],
        cwd=home.project, env=home.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdout.readline()

        def used() -> float:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        before, started = used(), time.monotonic()
        until(lambda: time.monotonic() - started > 1.0, timeout=5, what="a second has passed")
        assert used() - before < 0.1
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def test_who_reviews_is_told_what_came_without_a_review_and_nothing_else(
    home: Home, served: Served, robot: Robot, connect: Callable[..., Robot], terminal: OpenTerminal
) -> None:
    """What was written before they came, in one line; then each write when it happens, between two reviews."""
    write_unreviewed(robot, home, "before.txt", "x\n")
    screen = terminal("review", columns=400)
    screen.wait(
        r"! 1 change so far without a review here\. It is in a mode that does not ask.* "
        r"Go through what was changed: pairside review --changes\n"
    )
    screen.wait("Waiting for a proposal")
    second = connect(pid=PID + 1)
    write_unreviewed(second, home, "now.txt", "x\n")
    screen.wait(rf"! Claude Code \(pid {PID + 1}\) changed now\.txt \+1 -0 without a review here\. It is in a mode")
    second.propose(home.project / "a.txt", "a\n")
    screen.wait(QUESTION)
    write_unreviewed(robot, home, "meanwhile.txt", "x\n")
    served.wait(lambda now: now["unreviewed_changes"] == 3)
    screen.press("n\n")
    screen.wait(r"Rejected\.")
    screen.wait(r"! Claude Code \(pid \d+\) changed meanwhile\.txt \+1 -0 without a review here\.\n")
    screen.press("q\n")
    assert screen.wait_end() == 0
    assert "connected" not in screen.text
