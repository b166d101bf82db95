"""Owns the benchmarks of proposals: what it takes to take in a small, a large and a very large one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from bench.calls import Talk, talks
from bench.contenders import Run, not_an_agent_shell
from bench.figures import Figure, Unavailable
from bench.processes import Telling, client_pinned
from bench.rounds import OURS, Rounds
from bench.wire import numbered_tool, tool

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "8 MB": 8_000_000}
LINES = 200
"""Of a longer diff `pairside serve` tells no more."""
CHANGED = 3
ALONE_SECONDS = 0.03
"""A proposal of an agent comes alone. Observers are told together what comes right behind one another."""


def proposals(run: Run) -> list[Figure]:
    """From sending openDiff until it is answered, or until somebody can see what it changes.

    Accepted: an observer accepts as soon as it is told, and the text comes back, as an echo sends it back. Seen: an
    observer has asked for its hunks, beside a `git diff` of both texts. Taken back: the agent closes it at once; that
    every IDE server can do, whatever it shows meanwhile.
    """
    not_an_agent_shell()
    figures = []
    with ExitStack() as stack:
        there = stack.enter_context(talks(run, run.all, "proposals"))
        observers = {
            talk.contender.name: stack.enter_context(closing(_Observer(talk.server.socket_path)))
            for talk in there
            if talk.contender.script
        }
        for name, size in list(SIZES.items())[: 2 if run.quick else None]:
            rounds = Rounds(run.notes)
            for talk in there:
                _add(rounds, talk, observers.get(talk.contender.name), size)
            with client_pinned():
                rounds.go(run.rounds(9 if size > 5_000_000 else 15))
            figures += [
                rounds.figure("accepted", "ms", f"openDiff {name}, accepted by an observer: until answered"),
                rounds.figure("taken back", "ms", f"openDiff {name}, taken back at once: until answered"),
                rounds.figure("seen", "ms", f"openDiff {name}: until an observer has its hunks"),
            ]
    return figures


def _add(rounds: Rounds, talk: Talk, observer: _Observer | None, size: int) -> None:
    path = talk.server.home.workspace / "proposed.txt"
    old = _text(size)
    path.write_text(old)
    new = path.with_name("new.txt")
    new.write_text(_changed(old))
    name = talk.contender.name
    numbers = iter(range(10**6))

    def prepared() -> tuple[str, bytes]:
        """The path for which something is proposed, never the same; and the proposal, named after it."""
        time.sleep(ALONE_SECONDS)
        proposed = f"{path}.{next(numbers)}"
        paths = {"old_file_path": str(path), "new_file_path": proposed}
        return proposed, tool("openDiff", **paths, tab_name=proposed, new_file_contents=new.read_text())

    if not talk.contender.serves:
        rounds.add("accepted", name, partial(_echoed, talk, prepared()[1]))
        return
    rounds.add("taken back", name, lambda: _taken_back(talk, *prepared()))
    if observer is not None:
        rounds.add("accepted", name, lambda: _accepted(talk, observer, *prepared()))
        rounds.add("seen", name, lambda: _seen(talk, observer, *prepared()))
    if name == OURS and shutil.which("git") is not None:
        rounds.add("seen", "git diff", partial(_git_diff, path, new))


class _Observer:
    """Somebody who follows what happens, and asks and decides."""

    def __init__(self, path: str) -> None:
        self._following, self._asking = Telling(path), Telling(path)
        self._following.send(b'{"jsonrpc":"2.0","id":1,"method":"follow"}\n')

    def review(self, path: str) -> int:
        """The id of the next review of a file that is opened."""
        while True:
            event = json.loads(self._following.answer()).get("params", {})
            if event.get("kind") == "review" and event["path"] == path:
                return int(event["review"])

    def ask(self, method: str, **params: object) -> bytes:
        """What is answered; raises Unavailable if that is an error."""
        self._asking.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        answer = self._asking.answer()
        if b'"error"' in answer[:100]:
            raise Unavailable(f"{method}: {answer[:200]!r}")
        return answer

    def close(self) -> None:
        """Leave."""
        self._following.close()
        self._asking.close()


def _echoed(talk: Talk, prepared: bytes) -> Mapping[str, float]:
    started = time.perf_counter()
    talk.ask(prepared)
    return {"accepted": (time.perf_counter() - started) * 1e3}


def _accepted(talk: Talk, observer: _Observer, path: str, prepared: bytes) -> Mapping[str, float]:
    started = time.perf_counter()
    talk.client.socket.sendall(prepared)
    observer.ask("review/accept", id=observer.review(path))
    answer = talk.client.answer()
    spent = time.perf_counter() - started
    if b"FILE_SAVED" not in answer[:200]:
        raise Unavailable(f"it was not accepted: {answer[:200]!r}")
    return {"accepted": spent * 1e3}


def _seen(talk: Talk, observer: _Observer, path: str, prepared: bytes) -> Mapping[str, float]:
    started = time.perf_counter()
    talk.client.socket.sendall(prepared)
    id = observer.review(path)
    answer = observer.ask("review/show", id=id, lines=LINES)
    spent = time.perf_counter() - started
    if json.loads(answer)["result"]["hunk_count"] != CHANGED:
        raise Unavailable(f"not {CHANGED} hunks: {answer[:200]!r}")
    observer.ask("review/reject", id=id)
    talk.client.answer()
    return {"seen": spent * 1e3}


def _taken_back(talk: Talk, name: str, prepared: bytes) -> Mapping[str, float]:
    started = time.perf_counter()
    talk.client.socket.sendall(prepared)
    talk.client.socket.sendall(numbered_tool(2, "close_tab", tab_name=name))
    answers = [json.loads(talk.client.answer()) for _ in range(2)]
    spent = time.perf_counter() - started
    for answer in answers:
        if "result" not in answer or answer["result"].get("isError"):
            raise Unavailable(f"answered with an error: {json.dumps(answer)[:200]}")
    return {"taken back": spent * 1e3}


def _git_diff(old: Path, new: Path) -> Mapping[str, float]:
    command = ["git", "diff", "--no-index", "--no-color", str(old), str(new)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(old.parent)}
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)  # it ends with 1: they differ
    return {"seen": (time.perf_counter() - started) * 1e3}


def _text(size: int) -> str:
    line = "some words that stand in a line of a file, as lines of files are"
    return "".join(f"{number:07} {line}\n" for number in range(size // (len(line) + 9)))


def _changed(old: str) -> str:
    """The text with three lines changed."""
    lines = old.splitlines(keepends=True)
    for number in (1, len(lines) // 2, len(lines) - 2):
        lines[number] = "changed\n"
    return "".join(lines)
