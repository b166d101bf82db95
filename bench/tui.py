"""Owns the benchmark of the terminal UI: how soon it is there, and what it uses while nothing happens."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import pyte

from bench.calls import Talk, talks
from bench.contenders import Run, not_an_agent_shell
from bench.figures import Figure, Target, Unavailable
from bench.processes import Process, ending
from bench.rounds import OURS, Rounds
from bench.starts import imported
from bench.wire import SECONDS, numbered_tool

MB = 1_000_000
ROWS, COLUMNS = 40, 120
REVIEWS = 5
_SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
MARK = "proposed-text"
IMPORT = "import textual"


def tui(run: Run) -> list[Figure]:
    """From spawning `pairside attach` to a screen that shows all proposals and the first one's text; then at rest."""
    not_an_agent_shell()
    rounds = Rounds(run.notes)
    pairsides = [one for one in run.servers if one.script]
    with ExitStack() as stack:
        there = stack.enter_context(talks(run, pairsides, "tui"))
        for talk in there:
            names = _propose(talk)
            rounds.add("paint", talk.contender.name, partial(_painted, talk, names))
            if talk.contender.name == OURS:
                rounds.add("paint", IMPORT, partial(imported, "paint", IMPORT))
                rounds.add("paint", "import its app", partial(imported, "paint", "import pairside.tui.app"))
        rounds.go(run.rounds(15))
        figures = [rounds.figure("paint", "ms", "attach: spawn to the first full screen", Target("at_most", 3.0))]
        (ours,) = (talk for talk in there if talk.contender.name == OURS)
        with _attached(ours) as (process, terminal):
            _screen(terminal, names)
            ui = Process(process.pid, 0, "", "", ours.server.home)
            used, started = ui.cpu(), time.monotonic()
            _read(terminal, 2 if run.quick else 20)  # the measurement itself
            share = (ui.cpu() - used) / (time.monotonic() - started) * 100
            figures += [
                Figure("attach: resident memory", ui.resident() / MB, "MB"),
                Figure("attach: processor, nothing happens", share, "%"),
            ]
    return figures


def _propose(talk: Talk) -> list[str]:
    """Let reviews wait; the words that are on the first full screen: each file's name, and what the first one adds."""
    names = []
    for number in range(REVIEWS):
        path = talk.server.home.workspace / f"waiting{number}.py"
        lines = [f"value_{line} = {line}\n" for line in range(100)]
        path.write_text("".join(lines))
        lines[3] = f'{MARK.replace("-", "_")} = "{MARK}"\n'
        lines[50] = "# a comment\n"
        talk.client.socket.sendall(
            numbered_tool(
                100 + number,
                "openDiff",
                old_file_path=str(path),
                new_file_path=str(path),
                new_file_contents="".join(lines),
                tab_name=path.name,
            )
        )
        names.append(path.name)
    return [*names, MARK]


def _painted(talk: Talk, words: list[str]) -> Mapping[str, float]:
    started = time.perf_counter()
    with _attached(talk) as (_, terminal):
        return {"paint": (_screen(terminal, words) - started) * 1e3}


@contextlib.contextmanager
def _attached(talk: Talk) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`pairside attach` on a terminal of its own; the process, and our side of the terminal."""
    terminal, its_side = pty.openpty()
    try:
        termios.tcsetwinsize(its_side, (ROWS, COLUMNS))
        home = talk.server.home
        try:
            process = subprocess.Popen(
                [talk.contender.script, "attach"],
                stdin=its_side,
                stdout=its_side,
                stderr=its_side,
                cwd=home.workspace,
                env=home.environment(TERM="xterm-256color", COLORTERM="truecolor"),
                start_new_session=True,
            )
        finally:
            os.close(its_side)
        with ending(process):
            yield process, terminal
    finally:
        os.close(terminal)


def _screen(terminal: int, words: list[str]) -> float:
    """Read until all the words are on the screen; the moment at which they were.

    What the screen looks like is only understood afterwards: that takes longer than to paint it.
    """
    came = _read(terminal, SECONDS, words)
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    for moment, data in came:
        stream.feed(data)
        text = "\n".join(screen.display)
        if all(word in text for word in words):
            return moment
    lines = [line.rstrip() for line in screen.display]
    raise Unavailable("the screen never showed all of it: " + "\n".join(filter(None, lines)))


def _read(terminal: int, seconds: float, words: Sequence[str] = ()) -> list[tuple[float, bytes]]:
    """What comes within that time and when it came; no more of it once some words have come."""
    came: list[tuple[float, bytes]] = []
    until = time.perf_counter() + seconds
    while (now := time.perf_counter()) < until:
        if not select.select([terminal], [], [], until - now)[0]:
            break
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            break
        came.append((time.perf_counter(), data))
        if words:
            text = _SEQUENCE.sub(b"", b"".join(data for _, data in came)).decode(errors="replace")
            if all(word in text for word in words):
                break
    return came
