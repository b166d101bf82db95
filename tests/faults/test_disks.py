"""Disks that are full or read-only: what cannot start says why, and what runs goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.robot import Robot, write_unreviewed
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

SECONDS = 20.0
FULL = 'mount -t tmpfs -o size=65536 none "$0"; mkdir "$0/ide"; dd if=/dev/zero of="$0/fill" bs=4096 2>/dev/null || :; '
READ_ONLY = 'mount -t tmpfs -o ro none "$0"; '


def mounted(script: str, folder: Path, home: Home, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command while a small file system is mounted at a folder, which nobody else sees.

    It prints what is left in the folder but what filled it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "sh", "-ec", script, str(folder)], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    script += 'status=0; "$@" || status=$?; find "$0" -mindepth 1 ! -name fill; exit $status'
    return subprocess.run(
        [unshare, "-rm", "sh", "-ec", script, str(folder), sys.executable, "-m", "pairside", *command],
        cwd=home.project,
        env=home.environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("what", "script", "said"),
    [
        ("state", FULL, "No space left on device. Make room there, or set XDG_STATE_HOME"),
        ("state", READ_ONLY, "Read-only file system. Set XDG_STATE_HOME to a directory that is yours."),
        ("locks", FULL, "No space left on device. Agents find pairside by it: make"),
        ("locks", READ_ONLY, "Read-only file system. Agents find pairside by it: make"),
    ],
)
def test_a_server_that_cannot_be_found_does_not_start_and_says_which_folder_it_is(
    home: Home, what: str, script: str, said: str
) -> None:
    """The status is 1, there is no traceback, and nothing is left that looks like a server."""
    folder = home.claude_config if what == "locks" else home.home / ".local" / "state"
    done = mounted(script, folder, home, "serve")
    assert done.returncode == 1
    assert done.stderr.startswith("pairside cannot start: ")
    assert said in done.stderr
    assert str(folder) in done.stderr
    left = [os.path.basename(name) for name in done.stdout.split()]
    assert not [name for name in left if name.endswith((".lock", ".sock", ".json", ".new")) and name != "start.lock"]
    assert not list(home.root.rglob("[0-9]*.lock"))
    assert not list(home.root.rglob("[0-9]*.sock"))
    assert not list(home.root.rglob("[0-9]*.json*"))


@pytest.fixture
def served(home: Home) -> Iterator[Served]:
    """The project folder, a git work tree, served."""
    subprocess.run(["git", "init", "-q", str(home.project)], env=home.environment(), check=True)
    with Served(home) as served:
        served.start()
        yield served


def limit_files(pid: int, size: int) -> None:
    """From now on no file of a process grows beyond that: what is written fails as on a full disk."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_disk_that_is_full_costs_what_would_be_kept_and_nothing_else(home: Home, served: Served) -> None:
    """Agents are served, the person is told; an undo fails whole; when there is room all goes on."""
    home.write("a.txt", "one\n")
    home.write("b.txt", "one\n")
    with Robot(home.lock_files[0]) as robot:
        robot.call("closeAllDiffTabs")
        write_unreviewed(robot, home, "a.txt", "two\n")
        served.wait(lambda now: now["unreviewed_changes"] == 1)
        limit_files(served.pid, 0)
        write_unreviewed(robot, home, "b.txt", "two\n")
        served.wait(lambda now: any("changes are not kept" in notice for notice in now["notices"]))
        assert "rootPath" in robot.call("getWorkspaceFolders")[0]
        robot.propose(home.project / "a.txt", "two\nthree\n")
        served.wait_review()
        assert "+three" in served.do("show")  # compared without a temporary file
        served.do("reject")
        done = served.run("undo", "a.txt")
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        assert (home.project / "a.txt").read_text() == "two\n"
        assert sorted(path.name for path in home.project.iterdir()) == [".git", "a.txt", "b.txt"]
        limit_files(served.pid, resource.RLIM_INFINITY)
        robot.call("closeAllDiffTabs")
        write_unreviewed(robot, home, "c.txt", "new\n")
        served.wait(lambda now: now["unreviewed_changes"] == 3)
        assert not any("not kept" in notice for notice in served.status()["notices"])
        served.do("undo", "a.txt")
        assert (home.project / "a.txt").read_text() == "one\n"
    assert served.stop() == 0
    assert home.lock_files == []
    assert "Traceback" not in served.errors


def test_a_text_that_cannot_be_given_to_the_editor_stays_pending(home: Home, served: Served) -> None:
    """The person is told where there is no room."""
    with Robot(home.lock_files[0]) as robot:
        robot.propose(home.project / "new.txt", "line\n")
        served.wait_review()
        done = subprocess.run(
            ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-m", "pairside", "edit"],
            cwd=home.project, env=home.environment(EDITOR="true"), capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "Cannot write the text to" in done.stdout + done.stderr
        assert "Nothing was decided." in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert served.status()["pending_reviews"] == 1
        assert [path.name for path in Path(home.environment()["TMPDIR"]).iterdir()] == []


def test_where_nothing_can_be_written_that_is_printed_it_serves_all_the_same(home: Home) -> None:
    """Standard output and the log go to a full disk; the end is clean."""
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "pairside", "serve", "-vv"],
            cwd=home.project, env=home.environment(), stdin=subprocess.DEVNULL, stdout=full, stderr=full,
        )  # fmt: skip
    try:
        until(lambda: home.lock_files, timeout=SECONDS, what="a lock file")
        with Robot(home.lock_files[0]) as robot:
            robot.propose(home.project / "new.txt", "line\n")
            until(lambda: pending(home), timeout=SECONDS, what="a proposal")
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait(SECONDS)
    assert home.lock_files == []


def pending(home: Home) -> int:
    """How many proposals wait."""
    done = subprocess.run(
        [sys.executable, "-m", "pairside", "status", "--json"],
        cwd=home.project, env=home.environment(), capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return int(json.loads(done.stdout)["pending_reviews"]) if done.returncode == 0 else 0


def test_the_log_of_a_front_end_may_be_lost_and_the_editor_is_served(home: Home) -> None:
    """What is wrong with a fact is logged, which fails; the next request is answered."""

    def framed(text: str) -> bytes:
        return b"Content-Length: %d\r\n\r\n%s" % (len(text.encode()), text.encode())

    def answer() -> dict[str, object]:
        """The next response, whatever the editor is told besides."""
        assert process.stdout is not None
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            length = int(process.stdout.readline().split(b":")[1])
            process.stdout.readline()
            message: dict[str, object] = json.loads(process.stdout.read(length))
            if "method" not in message:
                return message
        raise AssertionError("no answer")

    process = subprocess.Popen(
        [sys.executable, "-m", "pairside", "frontend"],
        cwd=home.project, env=home.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        hello = {"protocol": 1, "folders": [str(home.project)], "editor": {"name": "Ned"}}
        process.stdin.write(framed(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": hello})))
        process.stdin.flush()
        assert "result" in answer()
        limit_files(process.pid, 0)
        process.stdin.write(framed(json.dumps({"jsonrpc": "2.0", "method": "folders", "params": {"folders": ["/no"]}})))
        process.stdin.write(framed(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "review/where", "params": {}})))
        process.stdin.flush()
        assert answer()["result"] == {"where": "here"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.communicate()
    assert home.lock_files == []
