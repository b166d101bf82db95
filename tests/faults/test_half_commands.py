"""Observers that say half of something, nothing, or far too much: their cost is bounded, and nobody waits for them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pairside.jsonlines import LINE_BYTES
from pairside.observers import OBSERVERS
from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

SECONDS = 20.0
HALF = b'{"jsonrpc": "2.0", "id": 1, "method": "stat'


@pytest.fixture
def served(home: Home) -> Iterator[Served]:
    """The project folder, served."""
    with Served(home) as served:
        served.start()
        yield served


def path_of(home: Home) -> str:
    return str(home.home / ".local/state/pairside/run" / f"{home.lock_files[0].stem}.sock")


def connected(home: Home) -> socket.socket:
    """An observer that has said nothing yet."""
    observer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        observer.settimeout(SECONDS)
        observer.connect(path_of(home))
    except BaseException:
        observer.close()
        raise
    return observer


def descriptors(served: Served) -> int:
    return len(os.listdir(f"/proc/{served.pid}/fd"))


def resident(served: Served) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{served.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_half_a_command_and_then_nothing_leaves_nothing(home: Home, served: Served) -> None:
    """Two hundred observers that vanish in the middle of a line; nothing is logged and nothing stays open."""
    served.status()
    before = descriptors(served)
    for number in range(200):
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # they come faster than they are let go
            with connected(home) as observer:
                observer.sendall(HALF[: number % len(HALF)])
    until(lambda: descriptors(served) <= before, timeout=SECONDS, what="everything is closed")
    assert served.status()["running"]
    assert served.errors == ""


def test_a_line_that_never_ends_holds_up_nobody_and_not_the_end(home: Home, served: Served) -> None:
    """Commands and agents are answered meanwhile, and the server stops at once when it is told to."""
    observer = connected(home)
    observer.sendall(HALF)
    with Robot(home.lock_files[0]) as robot:
        assert "rootPath" in robot.call("getWorkspaceFolders")[0]
    assert served.status()["disconnects"] == 1
    began = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - began < 5
    assert observer.recv(1) == b""
    observer.close()


def test_a_line_that_is_too_long_ends_its_conversation_and_is_forgotten(home: Home, served: Served) -> None:
    """What is kept of it is bounded by the length of a line, and others are answered while it comes."""
    before = resident(served)
    observer = connected(home)
    piece, sent, highest = b"x" * 2**20, 0, 0
    with Robot(home.lock_files[0]) as robot:
        try:
            while sent < 4 * LINE_BYTES:
                observer.sendall(piece)
                sent += len(piece)
                if sent % (16 * 2**20) == 0:
                    assert "rootPath" in robot.call("getWorkspaceFolders")[0]
                    highest = max(highest, resident(served))
        except OSError:
            pass
        assert sent < 4 * LINE_BYTES, "it was taken as if there were no limit"
        assert highest - before < 3 * LINE_BYTES
        assert "rootPath" in robot.call("getWorkspaceFolders")[0]
    observer.close()
    until(lambda: resident(served) - before < LINE_BYTES, timeout=SECONDS, what="it is forgotten")
    assert served.status()["running"]


def test_observers_beyond_the_limit_are_sent_away_until_one_leaves(home: Home, served: Served) -> None:
    """Agents do not notice; a command says that the server does not answer."""
    silent = [connected(home) for _ in range(OBSERVERS - 1)]  # `pairside serve` is one itself
    for observer in silent:
        observer.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {}}\n')
        assert json.loads(observer.recv(65536))["result"]["port"] == int(home.lock_files[0].stem)
    with Robot(home.lock_files[0]) as robot:
        assert "rootPath" in robot.call("getWorkspaceFolders")[0]
    done = served.run("status")
    assert (done.returncode, "does not answer" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    for observer in silent:
        observer.close()
    served.wait(lambda now: now["running"])
