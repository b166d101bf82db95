"""`pairside serve`: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from tests.cli.command import pairside
from tests.cli.robot import PID, Robot, write_unreviewed
from tests.cli.terminal import Terminal
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until


def printed(served: Served, text: str) -> None:
    """Wait until the server has printed something."""
    until(lambda: text in served.output, timeout=10, what=lambda: f"{text!r} in {served.output!r}")


def test_the_first_line_says_where_and_how_to_connect(home: Home, served: Served) -> None:
    """When it can be read, agents can connect."""
    (lock,) = home.lock_files
    assert served.output.splitlines()[0] == (
        f'pairside 0.1.0 serves {home.project} on port {lock.stem} for Claude Code: run "claude --ide" there'
    )


def test_who_comes_and_goes_is_told_in_one_line_each(served: Served, robot: Robot) -> None:
    """Agent, version and process when it comes; reason and code when it goes."""
    printed(served, f" Claude Code 2.1.330 (pid {PID}) connected\n")
    robot.vanish()
    printed(served, f" Claude Code (pid {PID}) left: lost 1006 (the connection broke without a goodbye")
    assert served.output.count(" connected\n") == 1
    assert served.output.count(" left: ") == 1


def test_an_agent_that_never_tells_its_process_is_told_too(served: Served, connect: Callable[..., Robot]) -> None:
    """It is waited for a moment only."""
    connect(pid=None, name="other", version="1")
    printed(served, " other 1 connected\n")


def test_a_proposal_is_told_with_its_diff_and_the_commands_that_decide_it(
    home: Home, served: Served, robot: Robot
) -> None:
    """And so is the decision, by whom."""
    robot.propose(home.write("a.py", "one\n"), "two\n")
    printed(served, "To decide: pairside accept 1, pairside reject 1 or pairside review 1\n")
    assert "Review 1: Claude Code proposes " in served.output
    assert "@@ -1,1 +1,1 @@ hunk 1 of 1\n-one\n+two\n" in served.output
    served.do("accept")
    printed(served, "a.py): accepted by the command line\n")


def test_a_long_diff_is_cut_with_the_command_that_shows_the_rest(home: Home, served: Served, robot: Robot) -> None:
    """A terminal is not flooded."""
    robot.propose(home.project / "new.txt", "line\n" * 5000)
    printed(served, "There is more: pairside show 1\n")
    assert served.output.count("+line") < 300


def test_other_events_are_told(home: Home, served: Served, robot: Robot) -> None:
    """Writes without a review, and what the agent was shown."""
    write_unreviewed(robot, home, "new.txt", "x\n")
    printed(served, "new.txt +1 -0 without a review here. It is in a mode that does not ask (auto, accept edits)")
    served.do("mention", "new.txt")
    printed(served, "Mentioned ")
    assert "called getDiagnostics" not in served.output


def test_a_mention_that_nobody_takes_expires_with_a_line(home: Home) -> None:
    """After the configured time."""
    home.write("a.py", "x\n")
    with Served(home) as served:
        (home.home / ".config" / "pairside").mkdir(parents=True)
        (home.home / ".config" / "pairside" / "config.toml").write_text("[limits]\nmention_seconds = 0.3\n")
        served.start()
        assert "waits 0.3 s" in served.do("mention", "a.py")
        printed(served, "expired: no agent came within 0.3 s\n")


def test_calls_are_told_when_more_is_asked_for(home: Home) -> None:
    """-v tells each call and its time; without it nothing goes to standard error."""
    with Served(home) as served:
        served.start("-v")
        (lock,) = home.lock_files
        with Robot(lock) as robot:
            robot.call("getOpenEditors")
            printed(served, "called getOpenEditors (")


def test_events_are_told_to_programs_as_lines_of_json(home: Home) -> None:
    """The first says that agents can connect, the last that the server has stopped."""
    with Served(home) as served:
        served.start("--json")
        (lock,) = home.lock_files
        with Robot(lock) as robot:
            robot.propose(home.write("a.py", "one\n"), "two\n")
            printed(served, '"review"')
        printed(served, '"disconnected"')
        assert served.stop() == 0
        events = [json.loads(line) for line in served.output.splitlines()]
    assert (events[0]["kind"], events[0]["port"]) == ("serving", int(lock.stem))
    kinds = [event["kind"] for event in events]
    assert kinds[-1] == "stopped"
    assert [kind for kind in kinds if kind in ("review", "decided", "disconnected")] == [
        "review", "decided", "disconnected",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_status_0_after_clean_up(
    home: Home, served: Served, robot: Robot, number: signal.Signals
) -> None:
    """Lock file, socket and record are gone, even with a review pending."""
    robot.propose(home.write("a.py", "one\n"), "two\n")
    served.wait_review()
    os.kill(served.pid, number)
    assert served.stop() == 0
    assert home.lock_files == []
    run = home.home / ".local" / "state" / "pairside" / "run"
    assert [path.name for path in run.iterdir()] == ["start.lock"]
    assert served.errors == ""
    assert served.output.endswith("pairside has stopped.\n")


def test_signals_that_keep_coming_do_not_spoil_its_end(home: Home) -> None:
    """A closing terminal, a supervisor and a person may all send one: the status is 0 all the same."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pairside", "serve"],
        cwd=home.project, env=home.environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()

        def ended() -> bool:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 20:
                process.send_signal(number)
            return process.poll() is not None

        until(ended, timeout=10, what="it ended")
    assert process.returncode == 0
    assert home.lock_files == []


def test_under_nohup_a_hangup_does_not_end_it(home: Home) -> None:
    """SIGHUP stays ignored where it was ignored at the start; SIGTERM still ends it."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-m", "pairside", "serve"],
        cwd=home.project, env=home.environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert pairside(home, "status").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_second_server_for_the_folder_says_so_with_status_7(home: Home, served: Served) -> None:
    """Agents would connect to neither; --new insists. A folder below is served already, too."""
    below = home.project / "below"
    below.mkdir()
    for folder in (home.project, below):
        done = pairside(home, "serve", "--workspace", str(folder))
        assert (done.returncode, done.stdout) == (7, b"")
        assert b"already" in done.stderr
        assert b"pairside serve --new" in done.stderr
    assert len(home.lock_files) == 1


def test_of_servers_started_at_once_for_one_folder_one_serves(home: Home) -> None:
    """The look for another one and the start are one step: however close, there are never two."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pairside", "serve"],
            cwd=home.project, env=home.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(5)
    ]  # fmt: skip
    try:
        until(lambda: sum(process.poll() == 7 for process in processes) == 4, timeout=30, what="four gave up")
        assert len(home.lock_files) == 1
        assert pairside(home, "status").returncode == 0
    finally:
        for process in processes:
            process.terminate()
            process.communicate(timeout=10)
    assert sorted(process.returncode for process in processes) == [0, 7, 7, 7, 7]


def test_several_folders_are_served_together(home: Home) -> None:
    """The first is the root, and a command finds the server from each."""
    other = home.root / "other"
    other.mkdir()
    with Served(home) as served:
        served.start("--workspace", str(other))
        assert served.status()["workspace_folders"] == [str(home.project), str(other)]
        assert pairside(home, "status", cwd=other).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--port-range", "5"], {}, "--port-range: serve.ports takes MIN-MAX"),
        ([], {"PAIRSIDE_LIMITS_CLIENTS": "0"}, "PAIRSIDE_LIMITS_CLIENTS: limits.clients takes a whole number"),
        (["--workspace", "/missing"], {}, "/missing"),
    ],
)
def test_a_wrong_setting_keeps_it_from_starting(
    home: Home, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    """The status is 2 and the setting is named."""
    done = pairside(home, "serve", *arguments, environment=environment)
    assert done.returncode == 2
    assert said in done.stderr.decode()


def test_the_port_range_is_kept_to(home: Home, served: Served) -> None:
    """With a range of one port that port it is, and a taken one is told with what to do."""
    port = served.status()["port"]
    served.stop()
    with Served(home) as again:
        again.start("--port-range", f"{port}-{port}")
        assert again.status()["port"] == port
        done = pairside(home, "serve", "--new", "--port-range", f"{port}-{port}")
        assert done.returncode == 1
        assert b"--port-range" in done.stderr


def test_a_restart_after_kill_9_takes_over_and_says_so(home: Home, served: Served) -> None:
    """The same port, so that agents come back by themselves."""
    port = served.status()["port"]
    served.restart()
    assert served.status()["port"] == port
    printed(served, "Port and token are those of the server before")


def test_a_terminal_that_takes_no_output_holds_up_no_agent(home: Home) -> None:
    """Ctrl-S on the server's terminal: agents are served, commands are answered, and SIGTERM still ends it."""
    side, child_side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pairside", "serve"],
        cwd=home.project, env=home.environment(), stdin=child_side, stdout=child_side, stderr=child_side,
    )  # fmt: skip
    try:
        until(lambda: home.lock_files, timeout=10, what="a lock file")
        termios.tcflow(child_side, termios.TCOOFF)
        (lock,) = home.lock_files
        with Robot(lock) as robot:
            for number in range(20):
                robot.propose(home.project / f"{number}.txt", "line\n" * 1000)
            until(
                lambda: json.loads(pairside(home, "status", "--json").stdout)["pending_reviews"] == 20,
                timeout=10,
                what="twenty reviews",
            )
            assert robot.call("getOpenEditors")
        process.terminate()
        assert process.wait(10) == 0
        assert home.lock_files == []
    finally:
        process.kill()
        process.wait(10)
        os.close(side)
        os.close(child_side)


def test_output_that_nobody_reads_any_more_does_not_end_it(home: Home) -> None:
    """`pairside serve | head -1` goes on serving."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pairside", "serve"],
        cwd=home.project, env=home.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        robot.propose(home.project / "a.txt", "line\n")
        assert robot.call("getOpenEditors")
    assert pairside(home, "status").returncode == 0
    process.terminate()
    assert process.wait(10) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_the_diff_is_coloured_on_a_terminal_unless_asked_otherwise(
    home: Home, terminal: Callable[..., Terminal], environment: dict[str, str], coloured: bool
) -> None:
    """NO_COLOR and a dumb terminal get plain text."""
    screen = terminal("serve", **environment)
    screen.wait("serves .* on port")
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        robot.propose(home.write("a.py", "one\n"), "two\n")
        screen.wait("To decide")
    assert (b"\x1b[32m+two" in screen.raw) is coloured
    assert (b"\x1b[" in screen.raw) is coloured


def test_nothing_from_an_agent_reaches_the_terminal_of_the_server(home: Home, served: Served, robot: Robot) -> None:
    """Not through names, not through texts, not through the log."""
    robot.introduce_again("\x1b]0;x\x07", "\x9b31m")
    robot.propose(home.project / "a\x1b[31m\u202e.py", "\x1b[31m\x9b\n")
    printed(served, "To decide")
    assert all(character in "\n\t" or character.isprintable() for character in served.output + served.errors)


# What a person has to know.


def test_why_there_was_no_review_is_told_once_for_each_agent(
    home: Home, served: Served, connect: Callable[..., Robot]
) -> None:
    """The first write says what to do, the next ones only what was written; another agent's first says it again."""
    first, second = connect(pid=PID), connect(pid=PID + 1)
    for robot, name in ((first, "one.txt"), (first, "two.txt"), (second, "three.txt")):
        write_unreviewed(robot, home, name, "x\ny\n")
    printed(served, "three.txt +2 -0 without a review here.")
    prefix = f"{home.project}/"
    lines = [line.partition(" ! ")[2].replace(prefix, "") for line in served.output.splitlines() if " ! " in line]
    explained = (
        'It is in a mode that does not ask (auto, accept edits), or its diff tool is "terminal" (/config). '
        "See it: pairside changes. Be asked first: pairside run --review claude, or Shift+Tab in it until it shows "
        "manual mode."
    )
    assert lines == [
        f"Claude Code (pid {PID}) changed one.txt +2 -0 without a review here. {explained}",
        f"Claude Code (pid {PID}) changed two.txt +2 -0 without a review here.",
        f"Claude Code (pid {PID + 1}) changed three.txt +2 -0 without a review here. {explained}",
    ]


def test_another_ide_is_told_when_it_appears_and_when_it_is_gone(home: Home, served: Served) -> None:
    """A foreign lock file for the same folder, written while the server runs; one for another folder is none of it."""
    folder = home.claude_config / "ide"
    with subprocess.Popen(["sleep", "60"]) as ide:
        facts = {"pid": ide.pid, "ideName": "Other\x1bIDE", "transport": "ws", "authToken": "x"}
        (folder / "5.lock").write_text(json.dumps({**facts, "workspaceFolders": [str(home.home)]}))
        (folder / "6.lock").write_text(json.dumps({**facts, "workspaceFolders": [str(home.project)]}))
        printed(served, "! Another IDE is open for this folder: Other\\x1bIDE (pid ")
        port = served.status()["port"]
        printed(served, f"To reach this one: pairside run --port {port} claude, or CLAUDE_CODE_SSE_PORT={port} claude")
        (folder / "6.lock").unlink()
        printed(served, "The other IDE on port 6 (Other\\x1bIDE) is gone\n")
        ide.kill()
    assert served.output.count("Another IDE is open") == 1
    (folder / "5.lock").unlink()


def test_where_proposals_are_answered_in_the_terminal_that_is_said_at_the_start(home: Home) -> None:
    """Or the person waits here in vain."""
    with Served(home, environment={"PAIRSIDE_REVIEW_WHERE": "terminal"}) as served:
        served.start()
        printed(served, "review.where is terminal: proposals are answered in the agent's own terminal, not here\n")
        (lock,) = home.lock_files
        with Robot(lock) as robot, pytest.raises(RuntimeError, match=r"review\.where is terminal"):
            robot.propose(home.project / "a.txt", "a\n").result(10)


def test_a_hook_that_fails_is_told_and_one_that_works_knows_what_it_is_about(home: Home) -> None:
    """Both from the person's own settings."""
    path = home.home / ".config" / "pairside" / "config.toml"
    path.parent.mkdir(parents=True)
    out = home.root / "out"
    path.write_text(
        "[hooks]\n"
        f'on_review = ["sh", "-c", "echo $PAIRSIDE_REVIEW $PAIRSIDE_FILE $PAIRSIDE_PORT > $0", "{out}"]\n'
        'on_changes = ["no-such-program"]\n'
    )
    with Served(home) as served:
        served.start()
        (lock,) = home.lock_files
        with Robot(lock) as robot:
            robot.propose(home.project / "a.txt", "a\n")
            until(lambda: out.exists() and out.read_text(), timeout=10, what="the hook ran")
            assert out.read_text() == f"1 {home.project}/a.txt {lock.stem}\n"
            write_unreviewed(robot, home, "b.txt", "b\n")
            printed(served, "! hooks.on_changes: no-such-program cannot be started: No such file or directory\n")
