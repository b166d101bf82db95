"""Owns the soak: a real server, ten agents and a person who do everything at random for a long time, and die.

`python -m bench.soak --minutes 60 --seed 1 --json FILE`. What the server occupies is read from /proc and from its own
status, every ten seconds; at the end comes whether any of it grows. The random choices are those of the seed, their
moments are not: the machine has its say in them. The exit status is 1 if something grows or went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench import machine
from bench.contenders import ours
from bench.processes import Home, Process, throwaway_home
from bench.trend import Trend, table, trend
from pairside import testing

CLIENTS = 10
FILES = 40
LINES = 60
THINK_SECONDS = 2.0
"""What an agent, and the person, let pass on average before they do the next thing."""
LIFE_ACTIONS = 15
"""So many things does an agent do on average before it dies."""
PROBE_SECONDS = 0.05
SAMPLE_SECONDS = 10.0
WAIT_SECONDS = 30.0
"""Every wait for the server ends after so long, and is a failure then."""
MOST_MINUTES = 24 * 60
KEPT_BYTES = 1_000_000
"""`limits.changes_bytes` of the server, so that what is kept of changes is full within minutes, and not after hours."""
MB = 1_000_000
INTERNAL_ERROR = -32603
_DAMAGE = b"\x81\x01a"  # a text frame that is not masked


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen in ten seconds."""

    at: float
    """Seconds since the start."""
    resident: int
    descriptors: int
    threads: int
    children: int
    cpu: float
    """Seconds of processor time so far."""
    kept: int
    """Bytes in the state directory."""
    clients: int
    calls: int
    """Requests of all clients that are being worked on."""
    reviews: int
    changes: int
    p50: float
    """Of the probe's calls since the sample before, in milliseconds; and so `p99`."""
    p99: float
    calls_measured: int
    load: float


@dataclass
class Soak:
    """One run: the server, what was done to it, and what was seen."""

    home: Home
    server: Process
    seed: int
    seconds: float
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.began + self.seconds - time.monotonic()

    def path(self, chance: random.Random) -> Path:
        """Some file of the workspace."""
        return self.home.workspace / f"part{chance.randrange(4)}" / f"file{chance.randrange(FILES // 4)}.py"

    def failed(self, what: str, error: BaseException | str) -> None:
        """Note what should not have happened."""
        kind = f"{type(error).__name__} " if isinstance(error, BaseException) else ""
        failure = f"{what}: {kind}{error}"[:200]
        if failure not in self.failures:
            print(f"{(time.monotonic() - self.began) / 60:.1f} min: FAILED: {failure}", file=sys.stderr, flush=True)
        self.failures[failure] += 1

    # The agents.

    async def agent(self, number: int) -> None:
        """One life after the other until the time is up."""
        chance = random.Random(f"{self.seed} agent {number}")
        while self.left > 0:
            try:
                async with testing.Agent.connect(
                    cast(testing.Running, self.server), introduce=2 * 10**9 + number
                ) as one:
                    await self._live(one, chance)
            except ConnectionClosed:
                pass  # it was damaged or aborted by itself
            except (OSError, InvalidStatus, testing.AgentError, TimeoutError) as error:
                self.failed("an agent", error)
            self.done["death"] += 1
            await asyncio.sleep(min(chance.expovariate(1.0), 5.0))

    async def _live(self, agent: testing.Agent, chance: random.Random) -> None:
        deeds: list[tuple[int, Callable[[testing.Agent, random.Random], Awaitable[None]]]] = [
            (4, self._asks), (2, self._prompt), (4, self._writes), (2, self._shell), (4, self._proposes),
        ]  # fmt: skip
        weights = [weight for weight, _ in deeds]
        for _ in range(1 + int(chance.expovariate(1 / LIFE_ACTIONS))):
            await asyncio.sleep(min(chance.expovariate(1 / THINK_SECONDS), 5 * THINK_SECONDS))
            if self.left < 0:
                return
            (deed,) = chance.choices([deed for _, deed in deeds], weights)
            agent.told.clear()
            async with asyncio.timeout(WAIT_SECONDS):
                await deed(agent, chance)
            self.done[deed.__name__.strip("_")] += 1
        match chance.choice(("closes", "aborts", "damages", "proposes and aborts")):
            case "aborts":
                agent.socket.transport.abort()
            case "damages":
                agent.socket.transport.write(_DAMAGE)
            case "proposes and aborts":
                path = self.path(chance)
                proposal = asyncio.create_task(agent.propose(str(path), _text(chance)))
                await asyncio.sleep(0.1)
                agent.socket.transport.abort()
                await asyncio.gather(proposal, return_exceptions=True)

    async def _asks(self, agent: testing.Agent, chance: random.Random) -> None:
        tool = chance.choice(("getOpenEditors", "getWorkspaceFolders", "getCurrentSelection", "getDiagnostics"))
        await agent.call(tool)

    async def _prompt(self, agent: testing.Agent, chance: random.Random) -> None:
        await agent.call("closeAllDiffTabs")

    async def _writes(self, agent: testing.Agent, chance: random.Random) -> None:
        path = self.path(chance)
        await agent.call("getDiagnostics", uri=f"file://{path}")
        _rewrite(path, chance)
        await agent.call("getDiagnostics")

    async def _shell(self, agent: testing.Agent, chance: random.Random) -> None:
        for _ in range(chance.randrange(1, 4)):
            _rewrite(self.path(chance), chance)
        await agent.call("getDiagnostics")

    async def _proposes(self, agent: testing.Agent, chance: random.Random) -> None:
        path = self.path(chance)
        name = f"tab {chance.randrange(10**6)}"
        proposal = asyncio.create_task(agent.propose(str(path), _text(chance), name=name))
        try:
            finished, _ = await asyncio.wait({proposal}, timeout=chance.uniform(0.1, 4.0))
            if not finished:  # answered in the agent's own terminal
                await agent.call("close_tab", tab_name=name)
        except BaseException:
            proposal.cancel()
            await asyncio.gather(proposal, return_exceptions=True)
            raise
        answer = await proposal
        if answer[0] == "FILE_SAVED":
            await agent.call("getDiagnostics", uri=f"file://{path}")
            path.write_text(answer[1])
            await agent.call("getDiagnostics")

    # The person.

    async def person(self) -> None:
        """Look, select, decide and take back, by a conversation of its own each time, as commands do."""
        chance = random.Random(f"{self.seed} person")
        deeds = [
            (6, self._decides), (4, self._selects), (1, self._clears), (2, self._mentions), (1, self._shares),
            (2, self._looks), (2, self._undoes), (1, self._half_a_line), (1, self._follows),
        ]  # fmt: skip
        while self.left > 0:
            await asyncio.sleep(min(chance.expovariate(2 / THINK_SECONDS), THINK_SECONDS))
            (deed,) = chance.choices([deed for _, deed in deeds], [weight for weight, _ in deeds])
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await deed(chance)
                self.done[deed.__name__.strip("_")] += 1
            except (OSError, TimeoutError, EOFError) as error:
                self.failed(deed.__name__.strip("_"), error)

    async def ask(self, method: str, **params: Any) -> Any:
        """What the server answers; None if it refuses. An internal error is a failure."""
        reader, writer = await asyncio.open_unix_connection(self.server.socket_path, limit=64 * 2**20)
        try:
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
            if not line:
                raise EOFError(f"no answer to {method}")
            answer = json.loads(line)
        finally:
            writer.close()
        if "error" in answer:
            if answer["error"]["code"] == INTERNAL_ERROR:
                self.failed(method, answer["error"]["message"])
            self.done[f"refused: {method}"] += 1
            return None
        return answer["result"]

    async def _decides(self, chance: random.Random) -> None:
        pending = await self.ask("reviews") or []
        if not pending:
            return
        id = chance.choice(pending)["id"]
        shown = await self.ask("review/show", id=id)
        if shown is None:
            return
        match chance.choice(("all", "some", "none", "edited")):
            case "all":
                await self.ask("review/accept", id=id)
            case "some" if shown["hunk_count"]:
                numbers = range(1, shown["hunk_count"] + 1)
                await self.ask("review/accept", id=id, hunks=chance.sample(numbers, chance.randint(1, len(numbers))))
            case "edited":
                await self.ask("review/accept", id=id, text=_text(chance))
            case _:
                await self.ask("review/reject", id=id)

    async def _selects(self, chance: random.Random) -> None:
        first = chance.randrange(LINES // 2)
        keep = chance.random() < 0.5
        await self.ask("select", path=str(self.path(chance)), start=[first, 0], end=[first + 5, 0], keep=keep)

    async def _clears(self, chance: random.Random) -> None:
        await self.ask("select/clear")

    async def _mentions(self, chance: random.Random) -> None:
        await self.ask("mention", path=str(self.path(chance)), first=1, last=3)

    async def _shares(self, chance: random.Random) -> None:
        await self.ask("share", on=False)
        await self.ask("share", on=True)

    async def _looks(self, chance: random.Random) -> None:
        await self.ask(chance.choice(("changes", "log", "status")))

    async def _undoes(self, chance: random.Random) -> None:
        told = await self.ask("changes", fresh=False)
        ids = [change["id"] for turn in (told or {}).get("turns", ()) for change in turn["changes"]]
        if ids:
            await self.ask("undo", ids=[chance.choice(ids)])

    async def _half_a_line(self, chance: random.Random) -> None:
        _, writer = await asyncio.open_unix_connection(self.server.socket_path)
        writer.write(b'{"jsonrpc": "2.0", "id": 1, "meth')
        writer.close()

    async def _follows(self, chance: random.Random) -> None:
        _, writer = await asyncio.open_unix_connection(self.server.socket_path)
        writer.write(b'{"jsonrpc": "2.0", "id": 1, "method": "follow", "params": {"calls": true}}\n')
        await asyncio.sleep(chance.uniform(0.1, 1.0))
        writer.transport.abort()

    # What is seen.

    async def probe(self) -> None:
        """An agent that never dies, and measures how long an answer takes."""
        async with testing.Agent.connect(cast(testing.Running, self.server), introduce=2 * 10**9 + CLIENTS) as agent:
            while self.left > 0:
                await asyncio.sleep(PROBE_SECONDS)
                agent.told.clear()
                started = time.perf_counter()
                async with asyncio.timeout(WAIT_SECONDS):
                    await agent.call("getWorkspaceFolders")
                self.waits.append((time.perf_counter() - started) * 1000)

    async def watch(self) -> None:
        """Take samples until the time is up."""
        while self.left > SAMPLE_SECONDS / 2:
            await asyncio.sleep(min(SAMPLE_SECONDS, self.left))
            waits, self.waits = sorted(self.waits), []
            status = await self.ask("status")
            if status is None or len(waits) < 2:
                self.failed("sample", "no status, or no call was answered")
                continue
            pid = self.server.pid
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            sample = Sample(
                round(time.monotonic() - self.began, 1),
                self.server.resident(alone=True),
                self.server.descriptors(),
                len(tasks),
                sum(len((task / "children").read_text().split()) for task in tasks if task.exists()),
                round(self.server.cpu(), 2),
                _bytes_below(self.home.path / "state"),
                status["client_count"],
                sum(client["calls_in_flight"] for client in status["clients"]),
                status["pending_reviews"],
                status["unreviewed_changes"],
                round(statistics.median(waits), 3),
                round(waits[int(len(waits) * 0.99)], 3),
                len(waits),
                round(os.getloadavg()[0], 2),
            )
            self.samples.append(sample)
            if len(self.samples) % 30 == 0:
                print(
                    f"{sample.at / 60:.0f} min: {sample.resident / MB:.1f} MB, {sample.descriptors} descriptors, "
                    f"p50 {sample.p50} ms, p99 {sample.p99} ms, {sum(self.failures.values())} failures",
                    file=sys.stderr,
                    flush=True,
                )

    async def run(self) -> None:
        """Everything at once, until the time is up; whatever ends too early is a failure."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watch())
            group.create_task(self.probe())
            group.create_task(self.person())
            for number in range(CLIENTS):
                group.create_task(self.agent(number))
        status = await self.ask("status")
        if status is None or status["client_count"] or status["pending_reviews"]:
            self.failed("the end", f"clients or reviews are left: {status}")

    def trends(self) -> list[Trend]:
        """What grows, and what does not."""
        hours = [sample.at / 3600 for sample in self.samples]

        def of(what: str, unit: str, tolerance: float, value: Callable[[Sample], float]) -> Trend:
            return trend(what, unit, hours, [value(one) for one in self.samples], tolerance=tolerance, seed=self.seed)

        return [
            of("resident memory", "MB", 0.5, lambda one: one.resident / MB),
            of("descriptors", "", 0.5, lambda one: one.descriptors),
            of("threads", "", 0.5, lambda one: one.threads),
            of("child processes", "", 0.5, lambda one: one.children),
            of("calls being worked on", "", 0.5, lambda one: one.calls),
            of("pending reviews", "", 0.5, lambda one: one.reviews),
            of("latency, p50", "ms", 0.2, lambda one: one.p50),
            of("latency, p99", "ms", 2.0, lambda one: one.p99),
        ]


def _text(chance: random.Random) -> str:
    """Some file of `LINES` lines."""
    return "".join(f"value_{line} = {chance.randrange(1000)}\n" for line in range(LINES))


def _rewrite(path: Path, chance: random.Random) -> None:
    """Change a few lines of a file."""
    lines = path.read_text().splitlines(keepends=True) or ["\n"]
    for _ in range(3):
        lines[chance.randrange(len(lines))] = f"changed = {chance.randrange(10**6)}\n"
    path.write_text("".join(lines))


def _bytes_below(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(base, name)).st_size
    return total


def _furnish(home: Home, chance: random.Random) -> None:
    """A git work tree with files."""
    subprocess.run(["git", "init", "-q", str(home.workspace)], env=home.environment(), check=True)
    for number in range(FILES):
        path = home.workspace / f"part{number % 4}" / f"file{number // 4}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(_text(chance))


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Serve agents at random for a long time.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="of the random choices (default: a new one)")
    parser.add_argument("--json", metavar="FILE", help="write every sample and the trends there as well")
    asked = parser.parse_args()
    if not 0 < asked.minutes <= MOST_MINUTES:
        parser.error(f"--minutes is more than 0 and at most {MOST_MINUTES}")
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    print(f"seed {seed}, {asked.minutes:g} minutes, {CLIENTS} agents", file=sys.stderr, flush=True)
    with throwaway_home() as home:
        _furnish(home, random.Random(seed))
        with ours().running(home, {"PAIRSIDE_LIMITS_CHANGES_BYTES": str(KEPT_BYTES)}) as server:
            soak = Soak(home, server, seed, asked.minutes * 60)
            asyncio.run(soak.run())
            used = server.cpu()
        complaints = (home.path / "stderr").read_text(errors="replace").strip()
    for line in complaints.splitlines():
        _, _, said = line.partition(" ")  # behind the time of day
        if said.startswith("ERROR"):
            soak.failed("the server's log", said)
    trends = soak.trends()
    facts = machine.facts() | {
        "seed": seed,
        "minutes": asked.minutes,
        "agents": CLIENTS,
        "processor": f"{used / soak.seconds * 100:.1f} %",
        "limits.changes_bytes": KEPT_BYTES,
    }
    print(table(trends))
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()))
    print("done: " + ", ".join(f"{count} {what}" for what, count in soak.done.most_common()))
    for what, count in soak.failures.most_common():
        print(f"FAILED {count} times: {what}", file=sys.stderr)
    if complaints:
        print(f"the server said:\n{complaints[-4000:]}", file=sys.stderr)
    if asked.json:
        result = {
            "machine": facts,
            "trends": [one.facts() for one in trends],
            "done": dict(soak.done),
            "failures": dict(soak.failures),
            "samples": [asdict(one) for one in soak.samples],
        }
        Path(asked.json).parent.mkdir(parents=True, exist_ok=True)
        Path(asked.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 1 if soak.failures or any(one.verdict == "grows" for one in trends) else 0


if __name__ == "__main__":
    sys.exit(main())
