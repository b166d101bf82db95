"""Owns the benchmark of an editor that stands still: what agents wait for meanwhile."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Mapping
from functools import partial

from bench.calls import Talk, can, talks
from bench.contenders import PEER, Contender, Run, by_lock_file, pairside_command
from bench.figures import Figure, Target
from bench.processes import Home
from bench.rounds import OURS, Rounds
from bench.wire import message, tool

PAUSE_SECONDS = 0.005
DELAY = Target("at_most", 20, of_value=True)


def stall(run: Run) -> list[Figure]:
    """Questions while the editor takes nothing and answers nothing for five seconds."""
    seconds = 0.2 if run.quick else 5.0
    questions = {"tools/list": message("tools/list", id=1), "getWorkspaceFolders": tool("getWorkspaceFolders")}
    rounds = Rounds(run.notes)
    contenders = [Contender(OURS, _frontend, by_lock_file)]
    if run.peer_stall:
        contenders += [one for one in run.peers if one.name == PEER]
    with talks(run, contenders, "stall") as there:
        for talk in there:
            if all(can(run, talk, "stall", prepared) for prepared in questions.values()):
                command = [] if talk.contender.name == OURS else shlex.split(run.peer_stall)
                work = partial(_asked, talk, questions, seconds, command)
                rounds.add("stall", talk.contender.name, work)
        rounds.go(run.rounds(2))
    what = f"while the editor stands still for {seconds:g} s: longest"
    return [rounds.figure(name, "ms", f"{name} {what}", DELAY) for name in questions]


def _asked(talk: Talk, questions: Mapping[str, bytes], seconds: float, command: list[str]) -> Mapping[str, float]:
    """The longest that each answer took, in milliseconds; `command` stalls an editor that does not do so anyway."""
    home = talk.server.home
    stalling = None
    if command:
        words = [word.replace("{workspace}", str(home.workspace)) for word in command]
        stalling = subprocess.Popen(words, env=home.environment(), cwd=home.workspace, stdin=subprocess.DEVNULL)
    longest = dict.fromkeys(questions, 0.0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, prepared in questions.items():
            started = time.perf_counter()
            talk.ask(prepared)
            longest[name] = max(longest[name], (time.perf_counter() - started) * 1e3)
        time.sleep(PAUSE_SECONDS)
    if stalling is not None:
        stalling.wait(seconds)
    return longest


def _frontend(home: Home, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """`pairside frontend`, and an editor that says who it is and nothing more."""
    process = subprocess.Popen(
        pairside_command("frontend"),
        env=home.environment(**more),
        cwd=home.workspace,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    params = {"protocol": 1, "folders": [str(home.workspace)], "editor": {"name": "still"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": params}).encode()
    process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    process.stdin.flush()
    return process
