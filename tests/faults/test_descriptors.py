"""A server without free file descriptors serves those it has, waits without haste, and takes newcomers afterwards."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.served import Served

FREE = 4
SECONDS = 2.5


@pytest.fixture
def served(home: Home) -> Iterator[Served]:
    """The project folder, served."""
    with Served(home) as served:
        served.start()
        yield served


def exhaust(pid: int, port: int) -> list[socket.socket]:
    """Leave a process hardly any descriptors, and take those."""
    limit = len(os.listdir(f"/proc/{pid}/fd")) + FREE
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(10 * FREE)]


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_free_descriptors_those_who_are_there_are_served_and_newcomers_wait(home: Home, served: Served) -> None:
    """It does not spin, says so in one line, and takes the newcomers as soon as there is room."""
    (lock,) = home.lock_files
    with Robot(lock) as robot:
        strangers = exhaust(served.pid, int(lock.stem))
        used, began = processor_seconds(served.pid), time.monotonic()
        while time.monotonic() - began < SECONDS:
            assert "rootPath" in robot.call("getWorkspaceFolders")[0]
            time.sleep(0.05)  # an agent at its usual pace: how much is used meanwhile is what counts
        assert processor_seconds(served.pid) - used < 0.4 * SECONDS
        assert "does not answer" in served.run("status").stderr
        assert lock.exists()
        for stranger in strangers:
            stranger.close()
        with Robot(lock, pid=os.getpid()) as late:
            assert "rootPath" in late.call("getWorkspaceFolders")[0]
    assert served.stop() == 0
    assert "Traceback" not in served.errors
    assert served.errors.count("new connections have to wait: Too many open files") == 1


def test_without_free_descriptors_it_stops_as_clean_as_ever(home: Home, served: Served) -> None:
    """Its own lock file is known without being opened."""
    (lock,) = home.lock_files
    strangers = exhaust(served.pid, int(lock.stem))
    assert served.stop() == 0
    assert home.lock_files == []
    assert os.listdir(home.home / ".local/state/pairside/run") == ["start.lock"]
    assert "Traceback" not in served.errors
    for stranger in strangers:
        stranger.close()
