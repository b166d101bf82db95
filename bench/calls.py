"""Owns the benchmarks of asking: one client's calls, one by one and many at once."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.contenders import Contender, Run, connected
from bench.figures import Figure, Target, Unavailable
from bench.processes import Process, client_pinned
from bench.rounds import OURS, Rounds
from bench.wire import Client, message, numbered_tool, tool

DOCUMENTS = 50
AT_ONCE = 60
"""Calls that are sent together; pairside takes 64 at a time of one client."""
BASELINE = "getDiagnostics of a file"
"""What Claude Code asks before each write, and waits for: the file is read and kept meanwhile."""
WITH_DOCUMENTS = ("getOpenEditors", "getDiagnostics", BASELINE)

P50 = Target("at_most", 1.15)
CPU = Target("at_most", 1.25)
BOUNDED = ("tools/list", "getWorkspaceFolders")
"""What pairside answers from what it knows. The others ask the editor or read a file, which no echo does."""


class Talk(NamedTuple):
    """A client that has been let in, and who is at the other end."""

    contender: Contender
    server: Process
    client: Client

    def ask(self, prepared: bytes) -> bytes:
        """The answer to a request; of an echo whatever comes."""
        return self.client.call(prepared) if self.contender.serves else self.client.ask(prepared)


@contextmanager
def talks(run: Run, contenders: Collection[Contender], what: str) -> Iterator[list[Talk]]:
    """Let contenders run, each with one client. Who does not let it in is not there."""
    with run.running(tuple(contenders), what) as servers, ExitStack() as stack:
        there = []
        for one in contenders:
            if one.name not in servers:
                continue
            server = servers[one.name]
            (server.home.workspace / "module.py").write_text("value = 1\n" * 100)
            try:
                client = stack.enter_context(closing(connected(server, serves=one.serves)))
            except OSError as problem:
                if one.name == OURS:
                    raise
                run.note(one.name, what, problem)
                continue
            there.append(Talk(one, server, client))
        yield there


def can(run: Run, talk: Talk, what: str, prepared: bytes) -> bool:
    """Whether somebody answers a request, and with no error. Pairside has to."""
    if not talk.contender.serves:
        return True
    try:
        answer = json.loads(talk.ask(prepared))
        if "result" not in answer or answer["result"].get("isError"):
            raise Unavailable(f"answered with an error: {json.dumps(answer)[:200]}")
    except (Unavailable, OSError) as problem:
        if talk.contender.name == OURS:
            raise
        run.note(talk.contender.name, what, problem)
        return False
    return True


def calls(run: Run) -> list[Figure]:
    """Questions of one client, asked one by one, against echoes of the same bytes."""
    with talks(run, run.all, "calls") as there:
        few = _asked(run, there, _questions(Path("/")))
        for talk in there:
            for number in range(DOCUMENTS if talk.contender.serves else 0):
                path = talk.server.home.workspace / f"document{number}.py"
                path.write_text("value = 1\n" * 100)
                if not can(
                    run, talk, f"{DOCUMENTS} documents", tool("openFile", filePath=str(path), makeFrontmost=False)
                ):
                    break
        many = _asked(run, there, WITH_DOCUMENTS)
    figures = []
    for what in _questions(Path("/")):
        p50, cpu = (P50, CPU) if what in BOUNDED else (None, None)
        figures += [few.figure(f"{what}: p50", "µs", target=p50), few.figure(f"{what}: CPU", "µs", target=cpu)]
    for what in WITH_DOCUMENTS:
        for measure in ("p50", "CPU"):
            label = f"{what}, {DOCUMENTS} documents open: {measure}"
            figures.append(many.figure(f"{what}: {measure}", "µs", label))
    return figures


def _questions(workspace: Path) -> dict[str, bytes]:
    return {
        "tools/list": message("tools/list", id=1),
        "getWorkspaceFolders": tool("getWorkspaceFolders"),
        "getOpenEditors": tool("getOpenEditors"),
        "getDiagnostics": tool("getDiagnostics"),
        BASELINE: tool("getDiagnostics", uri=f"file://{workspace}/module.py"),
    }


def _asked(run: Run, there: list[Talk], which: Collection[str]) -> Rounds:
    rounds = Rounds(run.notes)
    for talk in there:
        for what, prepared in _questions(talk.server.home.workspace).items():
            if what in which and can(run, talk, what, prepared):
                rounds.add(what, talk.contender.name, partial(_ask, what, talk, prepared, 20 if run.quick else 200))
    with client_pinned():
        rounds.go(run.rounds(21))
    return rounds


def _ask(what: str, talk: Talk, prepared: bytes, count: int) -> Mapping[str, float]:
    ask = talk.client.call if talk.contender.serves else talk.client.ask
    spent = []
    before = talk.server.cpu()
    for _ in range(count):
        started = time.perf_counter()
        ask(prepared)
        spent.append(time.perf_counter() - started)
    used = (talk.server.cpu() - before) / count
    return {f"{what}: p50": statistics.median(spent) * 1e6, f"{what}: CPU": used * 1e6}


def pipelined(run: Run) -> list[Figure]:
    """Calls that are sent all at once, until the last of them is answered."""
    prepared = [numbered_tool(1 + number, "getWorkspaceFolders") for number in range(AT_ONCE)]
    rounds = Rounds(run.notes)
    times = 2 if run.quick else 20

    def burst(talk: Talk) -> Mapping[str, float]:
        take = talk.client.answer if talk.contender.serves else talk.client.receive
        before, started = talk.server.cpu(), time.perf_counter()
        for _ in range(times):
            talk.client.socket.sendall(b"".join(prepared))
            for _ in prepared:
                take()
        spent, used = time.perf_counter() - started, talk.server.cpu() - before
        return {"each": spent / times / AT_ONCE * 1e6, "CPU": used / times / AT_ONCE * 1e6}

    with talks(run, run.all, "pipelined") as there:
        for talk in there:
            if can(run, talk, "pipelined", prepared[0]):
                rounds.add("pipelined", talk.contender.name, partial(burst, talk))
        with client_pinned():
            rounds.go(run.rounds(21))
    what = f"{AT_ONCE} calls at once, each"
    return [rounds.figure("each", "µs", f"{what}: time", P50), rounds.figure("CPU", "µs", f"{what}: CPU", CPU)]
