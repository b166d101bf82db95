"""Processes that are stopped for a while (Ctrl-Z, a laptop that sleeps): nobody else waits, and nobody is blamed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.served import Served

SECONDS = 20.0
STOPPED_SECONDS = 3.0
QUICK = {"PAIRSIDE_LIMITS_PING_SECONDS": "0.3", "PAIRSIDE_LIMITS_SILENCE_SECONDS": "1"}
FOLLOWS = """
import socket, sys
observer = socket.socket(socket.AF_UNIX)
observer.connect(sys.argv[1])
observer.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "follow", "params": {"calls": true}}\\n')
for line in observer.makefile("rb"):
    print(line.decode().strip(), flush=True)
"""


def said(output: IO[str], what: str) -> bool:
    """Whether a process says something before its output ends, or the test's time is up."""
    return any(what in line for line in output)


@pytest.fixture
def served(home: Home) -> Iterator[Served]:
    """The project folder, served with short limits."""
    with Served(home, environment=QUICK) as served:
        served.start()
        yield served


def test_a_server_that_was_stopped_for_three_times_its_limit_drops_nobody(home: Home, served: Served) -> None:
    """What was asked meanwhile is answered when it goes on, and a command gives up in time."""
    with Robot(home.lock_files[0]) as one, Robot(home.lock_files[0], pid=os.getpid()) as two:
        os.kill(served.pid, signal.SIGSTOP)
        answer = one.begin_call("getWorkspaceFolders")
        began = time.monotonic()
        done = served.run("status")  # it waits for two seconds
        assert (done.returncode, "does not answer" in done.stderr) == (1, True)
        time.sleep(max(0.0, began + STOPPED_SECONDS - time.monotonic()))  # the fault itself
        os.kill(served.pid, signal.SIGCONT)
        assert "rootPath" in answer.result(SECONDS)[0]
        time.sleep(1.5)  # longer than the limit: whoever was wrongly blamed would be gone by now
        assert "rootPath" in two.call("getWorkspaceFolders")[0]
        status = served.status()
        assert (status["client_count"], status["departures"]) == (2, [])


def test_an_observer_that_is_stopped_holds_up_nobody_and_is_told_the_rest_when_it_goes_on(
    home: Home, served: Served
) -> None:
    """Of more events than are kept for it, it misses the oldest."""
    path = home.home / ".local/state/pairside/run" / f"{home.lock_files[0].stem}.sock"
    observer = subprocess.Popen([sys.executable, "-c", FOLLOWS, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert observer.stdout is not None
        assert json.loads(observer.stdout.readline())["method"] == "following"
        with Robot(home.lock_files[0]) as robot:
            robot.call("getWorkspaceFolders")
            observer.send_signal(signal.SIGSTOP)
            for _ in range(2000):
                robot.call("getWorkspaceFolders")
            assert served.status()["client_count"] == 1
            observer.send_signal(signal.SIGCONT)
            robot.introduce_again("the-last", "1")
            assert said(observer.stdout, "the-last")
    finally:
        observer.kill()
        observer.communicate()
    assert served.stop() == 0
    assert "Traceback" not in served.errors


def test_a_review_at_a_terminal_that_is_stopped_keeps_no_agent_waiting(home: Home, served: Served) -> None:
    """Its proposal can be decided elsewhere, and it is told so when it goes on."""
    with Robot(home.lock_files[0]) as robot:
        proposal = robot.propose(home.project / "a.txt", "x\n")
        served.wait_review()
        review = subprocess.Popen(
            [sys.executable, "-m", "pairside", "review"], cwd=home.project, env=home.environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert review.stdout is not None
            assert said(review.stdout, "a.txt")
            review.send_signal(signal.SIGSTOP)
            served.do("accept")
            assert proposal.result(SECONDS) == ["FILE_SAVED", "x\n"]
            review.send_signal(signal.SIGCONT)
            assert said(review.stdout, "accepted")
        finally:
            review.kill()
            review.communicate()
