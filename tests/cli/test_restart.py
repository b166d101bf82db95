"""A server that is started anew: the same process, port and token, and everybody finds it again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pairside.cli import companion
from tests.cli.command import pairside
from tests.cli.robot import Robot, write_unreviewed
from tests.cli.terminal import Terminal
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

OpenTerminal = Callable[..., Terminal]
SECONDS = 10.0


def identity(home: Home) -> tuple[str, str]:
    """Name and token of the one lock file."""
    (lock,) = home.lock_files
    return lock.name, json.loads(lock.read_bytes())["authToken"]


def test_port_token_and_process_stay(home: Home, served: Served, robot: Robot) -> None:
    """So agents find it by themselves; they are told goodbye, and counted anew."""
    before, pid = identity(home), served.pid
    done = pairside(home, "restart")
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(
        r"pairside \S+ serves on port \d+ again; agents come back by themselves\.\n", done.stdout.decode()
    )
    assert identity(home) == before
    status = served.status()
    assert (status["pid"], status["client_count"], status["connects"]) == (pid, 0, 0)
    with Robot(home.lock_files[0]):
        served.wait_clients(1)
    until(lambda: served.output.count("agents come back by themselves") == 1, timeout=5, what="the second first line")
    assert served.stop() == 0
    assert home.lock_files == []


def test_it_can_be_done_again_and_again_and_by_programs(served: Served) -> None:
    """Each time by the same process; with --json the versions are told."""
    for _ in range(3):
        told = json.loads(served.do("restart", "--json"))
        assert (told["pid"], told["version"]) == (served.pid, told["version_before"])


def test_several_at_once_are_all_told_that_it_serves_again(home: Home, served: Served) -> None:
    """Whoever asks while it is on its way finds it there."""
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "pairside", "restart"], cwd=home.project, env=home.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [command.communicate(timeout=60)[0] for command in commands]
    assert [(command.returncode, "serves on port" in one) for command, one in zip(commands, said, strict=True)] == [
        (0, True)
    ] * 3, said
    assert served.status()["pid"] == served.pid


def test_what_was_switched_off_stays_off(served: Served) -> None:
    """Nothing is shared by itself that the person did not want to share; and the switch works as before."""
    served.do("share", "off")
    served.do("restart")
    assert not served.status()["sharing"]["on"]
    served.do("share", "on")
    served.do("restart")
    assert served.status()["sharing"]["on"]


def test_changes_are_kept(home: Home, served: Served, robot: Robot) -> None:
    """They are there as before, and can be taken back."""
    write_unreviewed(robot, home, "new.txt", "x\n")
    before = served.do("changes")
    served.do("restart")
    assert served.do("changes") == before
    served.do("undo", "1")
    assert not (home.project / "new.txt").exists()


def test_one_of_two_servers_of_a_folder_is_started_anew(home: Home, served: Served) -> None:
    """Although a server would refuse to start where another one serves."""
    with Served(home) as second:
        second.start("--new")
        pids = {}
        for lock in home.lock_files:
            assert pairside(home, "restart", "--port", lock.stem).returncode == 0
            pids[lock.stem] = json.loads(lock.read_bytes())["pid"]
        assert set(pids.values()) == {served.pid, second.pid}


def test_without_a_server_there_is_nothing_to_start_anew(home: Home) -> None:
    """Status 4, as for every command."""
    assert pairside(home, "restart").returncode == 4


def test_an_agent_cannot_start_it_anew(served: Served) -> None:
    """Only the person may do that."""
    done = served.run("restart", environment={"CLAUDECODE": "1"})
    assert done.returncode == 6
    assert served.status()["pid"] == served.pid


def test_an_installation_that_does_not_start_leaves_the_old_one_running(home: Home, tmp_path: Path) -> None:
    """A broken upgrade is told, and nobody loses their IDE."""
    broken = tmp_path / "broken"
    with Served(home, environment={"PYTHONPATH": str(broken)}) as served:
        served.start()
        package = broken / "pairside"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError\n")
        done = served.run("restart")
        assert done.returncode == 1
        assert done.stderr == "Pairside would not start again, so the one that runs goes on: ImportError.\n"
        assert served.status()["pid"] == served.pid


@pytest.mark.parametrize("mistake", ["setting", "folder"])
def test_a_mistake_made_meanwhile_leaves_the_old_one_running(home: Home, mistake: str) -> None:
    """What would keep it from starting is named before anything is stopped; mended, it is started anew."""
    folder, config = home.root / "folder", home.home / ".config" / "pairside" / "config.toml"
    folder.mkdir()
    config.parent.mkdir(parents=True)
    with Served(home, folder) as served:
        served.start()
        port = home.lock_files[0].stem
        if mistake == "setting":
            config.write_text('[review]\nwhere = "heer"\n')
        else:
            folder.rename(home.root / "moved")
        done = served.run("restart", "--port", port)
        assert done.returncode == 1
        assert "so the one that runs goes on: " in done.stderr
        assert (f"{config}:2: review.where takes" if mistake == "setting" else f"{folder}") in done.stderr
        assert json.loads(served.do("status", "--json", "--port", port))["pid"] == served.pid
        config.unlink(missing_ok=True)
        if not folder.exists():
            (home.root / "moved").rename(folder)
        served.do("restart", "--port", port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_in_between_ends_it(home: Home, number: signal.Signals) -> None:
    """Whoever stops a server that is being started anew has stopped it; nothing is left, and the status is 0."""
    for _ in range(3):
        with Served(home) as served:
            served.start()
            (lock,) = home.lock_files
            command = subprocess.Popen(
                [sys.executable, "-m", "pairside", "restart"], cwd=home.project, env=home.environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            until(lambda lock=lock: not lock.exists(), timeout=10, what="the lock file is gone")  # type: ignore[misc]
            os.kill(served.pid, number)
            assert served.wait_end() == 0
            assert home.lock_files == []
            assert command.wait(30) == 1
            assert pairside(home, "status").returncode == 4


def test_a_server_started_anew_still_ends_well_by_every_signal(home: Home) -> None:
    """The handlers are those of a first start."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Served(home) as served:
            served.start()
            served.do("restart")
            os.kill(served.pid, number)
            assert served.wait_end() == 0
            assert home.lock_files == []


@pytest.mark.parametrize("command", [(), ("review",)], ids=["together", "review"])
def test_who_reviews_goes_on_with_the_new_one(home: Home, terminal: OpenTerminal, command: tuple[str, ...]) -> None:
    """The terminal says what happened, and shows the next proposal."""
    with Served(home) as served:
        if command:
            served.start()
        screen = terminal(*command, PAIRSIDE_UI_OPEN="false")
        screen.wait("Waiting for a proposal")
        assert pairside(home, "restart").returncode == 0
        screen.wait(r"pairside \S+ was started anew\.")
        screen.wait("Waiting for a proposal")
        with Robot(home.lock_files[0]) as robot:
            robot.propose(home.project / "a.txt", "a\n")
            screen.wait(r"Accept\?")
            screen.press("y\n")
            screen.wait("Accepted a.txt")
            screen.press("q\n")
            assert screen.wait_end() == 0


@pytest.mark.parametrize("way", companion.WAYS[1:])
def test_a_server_whose_starter_has_left_is_restarted_for_the_others(home: Home, way: str) -> None:
    """Its agents have a while to come back, and it ends when they have left for good."""
    command = [sys.executable, "-m", "pairside", "serve", "--companion", way]
    lives = [sys.executable, "-c", "input()"]  # an agent's process: a server asks whether it is there still
    with (
        subprocess.Popen(lives, stdin=subprocess.PIPE) as process,
        subprocess.Popen(
            command, cwd=home.project, env=home.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline().strip().isdigit()
        with Robot(home.lock_files[0], pid=process.pid):
            server.stdin.close()
            assert server.stdout.readline().decode().strip() == companion.GOES_ON
            done = pairside(home, "restart")
            assert (done.returncode, done.stderr) == (0, b"")
            with Robot(home.lock_files[0], pid=process.pid):
                assert server.poll() is None
            process.kill()
        assert server.wait(SECONDS) == 0
    assert home.lock_files == []
