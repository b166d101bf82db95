"""Owns the benchmarks of changes: what looking at a large work tree costs, and whom it keeps waiting."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from bench.contenders import PATIENT, Run, connected, ours
from bench.figures import Figure, Target, Unavailable, compared
from bench.processes import Home, Telling, throwaway_home
from bench.wire import Client, message

FOLDERS = 500
CHANGED = 10
LARGE_BYTES = 10 * 1024 * 1024
LIMITS = {**PATIENT, "PAIRSIDE_LIMITS_BEFORE_IMAGE_BYTES": str(2 * LARGE_BYTES)}
ASKED = 60
"""Questions while a snapshot is made."""


def changes(run: Run) -> list[Figure]:
    """A look at 50,000 files against `git status`, and the answers to an agent meanwhile."""
    if shutil.which("git") is None:
        raise Unavailable("git is needed")
    files, rounds = (1_000, 3) if run.quick else (50_000, 15)
    with throwaway_home() as home:
        _fill(home, files)
        with ours().running(home, LIMITS) as server:
            client = connected(server)
            observer = Telling(server.socket_path)
            _look(observer)  # the first one reads everything
            figures = [*_looks(home, observer, rounds, files), *_answers(home, client, observer, rounds, files)]
            client.close()
    return figures


def _fill(home: Home, files: int) -> None:
    for number in range(files):
        path = home.workspace / f"folder{number % FOLDERS}" / f"file{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"number = {number}\n" * 20)
    git = ["git", "-C", str(home.workspace), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], env=home.environment(), check=True)


def _change(home: Home, mark: object) -> None:
    for number in range(CHANGED):
        (home.workspace / f"folder{number}" / f"file{number}.py").write_text(f"{mark}\n" * 20)


def _look(observer: Telling) -> float:
    """Seconds until the answer about changes, for which the work tree is looked at."""
    started = time.perf_counter()
    observer.send(b'{"jsonrpc":"2.0","id":1,"method":"changes","params":{}}\n')
    answer = json.loads(observer.answer())
    if not answer["result"]["complete"]:
        raise Unavailable(f"the work tree could not be looked at: {answer['result']['notices']}")
    return time.perf_counter() - started


def _looks(home: Home, observer: Telling, rounds: int, files: int) -> list[Figure]:
    figures = []
    for what, changed in (("nothing changed", False), (f"{CHANGED} files changed", True)):
        ours, theirs = [], []
        for number in range(1 + rounds):
            if changed:
                _change(home, number)
            ours.append(_look(observer) * 1e3)
            started = time.perf_counter()
            subprocess.run(
                ["git", "-C", str(home.workspace), "status", "--porcelain"],
                env=home.environment(),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            theirs.append((time.perf_counter() - started) * 1e3)
        # The first round warms up.
        figures.append(compared(f"look at {files} files, {what}", "ms", ours[1:], "git status", theirs[1:]))
    return figures


def _answers(home: Home, client: Client, observer: Telling, rounds: int, files: int) -> list[Figure]:
    """Answers while nothing goes on, while a large work tree is looked at, and while a large file is kept."""
    prompt = message("tools/call", {"name": "closeAllDiffTabs", "arguments": {}}, id=1)
    ask = message("tools/call", {"name": "getWorkspaceFolders", "arguments": {}}, id=2)
    uri = f"file://{home.workspace}/folder0/file0.py"
    baseline = message("tools/call", {"name": "getDiagnostics", "arguments": {"uri": uri}}, id=3)
    large = home.workspace / "large.bin"
    idle, busy, kept = [], [], []
    for number in range(rounds):
        idle += _asked(client, ask)
        _change(home, f"busy {number}")
        client.ask(prompt)  # a snapshot begins
        busy += _asked(client, ask)
        _look(observer)
        _write(large)
        client.ask(prompt)
        kept += _asked(client, baseline)
        _look(observer)
    delay = Target("at_most", 20)
    return [
        Figure("answer while nothing goes on: p99", _p99(idle), "ms"),
        Figure(f"delay of an answer by a look at {files} files: p99", _p99(busy) - _p99(idle), "ms", target=delay),
        Figure(f"delay of an answer by a look at {files} files: longest", max(busy) - min(idle), "ms", target=delay),
        Figure("baseline while a 10 MB file is kept: p99", _p99(kept), "ms", target=Target("at_most", 50)),
    ]


def _asked(client: Client, prepared: bytes) -> list[float]:
    """Milliseconds until each of the answers."""
    spent = []
    for _ in range(ASKED):
        started = time.perf_counter()
        client.ask(prepared)
        spent.append((time.perf_counter() - started) * 1e3)
    return spent


def _write(path: Path) -> None:
    path.write_bytes(os.urandom(LARGE_BYTES))


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
