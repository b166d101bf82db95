"""Random edits by agents, shell commands and the person, and random undos: nothing moves but what is taken back."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pairside.changes import Change, Means, Net, State
from pairside.images import Image
from pairside.undo import FileUndo, Outcome

from .project import Project, project

EXAMPLES = int(os.environ.get("PAIRSIDE_TEST_EXAMPLES", "10"))
AGENTS = 2
FILES = ("a", "b", "d/c")
WHO = ("agent", "shell", "saved", "late")
HOW = ("insert", "delete", "replace", "new", "remove")
WHAT = ("turn", "change", "changes", "file", "hunk")

_number = st.integers(0, 10_000)
edits = st.tuples(st.just("edit"), st.sampled_from(WHO), st.sampled_from(HOW), _number, _number, _number)
undos = st.tuples(st.just("undo"), st.sampled_from(WHAT), st.just(""), _number, _number, _number)
prompts = st.tuples(st.just("prompt"), st.just(""), st.just(""), _number, _number, _number)
steps = st.lists(st.one_of(edits, edits, edits, undos, undos, prompts), min_size=10, max_size=24)


@dataclass
class World:
    """The work tree, and what it must be. Every line that is ever written is another."""

    work: Project
    names: Iterator[int] = field(default_factory=itertools.count)
    undone: int = 0
    """So many files were taken back, as a test of the test."""

    def lines(self, count: int) -> list[str]:
        return [f"line {next(self.names)}\n" for _ in range(count)]

    def read(self) -> dict[str, list[str] | None]:
        """The lines of each file as they stand there now; None if it is not there."""
        found: dict[str, list[str] | None] = {}
        for name in FILES:
            path = self.work.root / name
            found[name] = path.read_text().splitlines(keepends=True) if path.exists() else None
        return found

    def text(self, image: Image) -> list[str] | None:
        """The lines of an image."""
        if image.digest is None:
            return None
        data = self.work.changes.store.get(image.digest)
        assert data is not None
        return data.decode().splitlines(keepends=True)

    async def step(self, kind: str, what: str, how: str, first: int, second: int, third: int) -> None:
        """One step of anybody, and whether it did what it should and nothing else."""
        if kind == "prompt":
            await self.work.prompt(first % AGENTS)
        elif kind == "edit":
            await self.edit(what, how, FILES[first % len(FILES)], second, third)
        else:
            await self.undo(what, first, second, third)

    async def edit(self, who: str, how: str, name: str, second: int, third: int) -> None:
        before = self.read()[name]
        after = self.edited(before, how, second, third)
        if after == before:
            return
        text = None if after is None else "".join(after)
        agent = third % AGENTS
        known = list(self.work.changes)
        if who == "agent":
            await self.work.edit(name, text, agent=agent)
        elif who == "saved" and text is not None:
            await self.work.save(name, text)
        elif who == "shell":
            await self.work.look()
            self.work.write(name, text)
            await self.work.agents[agent].call("getDiagnostics")
        else:
            await self.work.mine(name, text)
            who = "late"
        await self.work.look()
        found = [change for change in self.work.changes if change not in known]
        told = [
            (os.path.relpath(one.path, self.work.root), self.text(one.before), self.text(one.after)) for one in found
        ]
        if who == "saved":
            assert told == []
            return
        if who == "late" and not any(self.work.changes.open_turn(one + 1) for one in range(AGENTS)):
            assert told == []
            return
        if who == "shell" and not self.work.changes.open_turn(agent + 1):
            return  # it may be another agent's turn, or nobody's
        assert told == [(name, before, after)]
        (change,) = found
        self.check_means(change, who, agent)

    def check_means(self, change: Change, who: str, agent: int) -> None:
        assert change.means is (Means.EDIT if who == "agent" else Means.OTHER)
        if who != "late":
            assert change.turn.client_id == agent + 1
        if who != "late" or change.turn.seen_at is None:
            assert not change.is_late
        else:
            assert change.is_late

    def edited(self, lines: list[str] | None, how: str, second: int, third: int) -> list[str] | None:
        """The lines after an edit."""
        if lines is None:
            return self.lines(1 + third % 6)
        if how == "remove" and second % 3 == 0:
            return None
        start = second % (len(lines) + 1)
        end = min(len(lines), start + 1 + third % 3)
        if how == "delete":
            return lines[:start] + lines[end:]
        return lines[:start] + self.lines(1 + third % 3) + lines[start if how == "insert" else end :]

    async def undo(self, what: str, first: int, second: int, third: int) -> None:
        changes = list(self.work.changes)
        if not changes:
            return
        chosen: tuple[int, ...] | None = None
        if what == "turn":
            turns = self.work.changes.turns
            nets = self.work.changes.net([turns[first % len(turns)]], late=False)
        elif what == "file":
            nets = [net for net in self.work.nets() if net.path == changes[first % len(changes)].path]
        else:
            ids = {
                changes[first % len(changes)].id,
                changes[(second if what == "changes" else first) % len(changes)].id,
            }
            nets = self.work.changes.net_of(ids)
        if what == "hunk" and len(nets) == 1:
            compared = await self.work.changes.compare(nets[0].before, nets[0].after)
            assert compared is not None
            if compared.found:
                chosen = (1 + third % len(compared.found),)
        before = self.read()
        known = len(self.work.changes)
        over = {id for id, state in self.work.changes.states().items() if state is State.UNDONE}
        done = await self.work.undo(ids=[id for net in nets for id in net.ids], chosen=chosen) if nets else None
        after = self.read()
        if done is None:
            return
        files = {os.path.relpath(one.path, self.work.root): one for one in done.files}
        for name in FILES:
            if name in files:
                await self.check(files[name], before[name], after[name], chosen, over)
            else:
                assert after[name] == before[name]
        written = [one for one in done.files if one.outcome is Outcome.UNDONE]
        self.undone += len(written)
        await self.work.look()
        assert len(self.work.changes) == known + len(written), "an undo is nobody else's change"
        assert not list(self.work.root.rglob(".pairside-*"))

    async def check(
        self,
        one: FileUndo,
        before: list[str] | None,
        after: list[str] | None,
        chosen: Sequence[int] | None,
        over: set[int],
    ) -> None:
        """What became of a file: all that was taken back is as before, all else is where it was.

        Those `over` were taken back before: what was changed since is not touched for their sake.
        """
        nets = [net for net in one.nets if not over.issuperset(net.ids)]
        if one.outcome is not Outcome.UNDONE:
            assert after == before
            if one.outcome is Outcome.NOTHING:
                return
            assert one.outcome is Outcome.CONFLICT
            found = before
            changed_since = False
            for net in nets:  # the latest first: what each finds is what the one before left
                changed_since = changed_since or self.text(net.after) != found
                found = self.text(net.before)
            assert changed_since, "nobody changed it since"
            return
        expected = set(before or ())
        for net in nets:
            removed, added = await self.moved(net, chosen)
            expected = (expected - added) | removed
        assert set(after or ()) == expected
        assert len(after or ()) == len(expected), "no line is there twice"
        for other in (before, *(self.text(net.before) for net in nets)):
            common = set(other or ()) & expected
            assert [line for line in after or () if line in common] == [line for line in other or () if line in common]

    async def moved(self, net: Net, chosen: Sequence[int] | None) -> tuple[set[str], set[str]]:
        """The lines that a change took away and those that it brought; of some hunks only if they are chosen."""
        compared = await self.work.changes.compare(net.before, net.after)
        assert compared is not None
        hunks = [hunk for hunk in compared.found if chosen is None or hunk.number in chosen]
        return {line for hunk in hunks for line in hunk.old}, {line for hunk in hunks for line in hunk.new}


async def live(todo: list[tuple[str, str, str, int, int, int]], root: Path) -> int:
    """Do all of it in a new work tree. Returns how many files were taken back."""
    start: dict[str, str | bytes] = {"a": "".join(f"a {n}\n" for n in range(8)), "b": "b\n"}
    async with project(root, start, agents=AGENTS) as work:
        for agent in range(AGENTS):
            await work.prompt(agent)
        world = World(work)
        for one in todo:
            await world.step(*one)
        return world.undone


@pytest.mark.parametrize("part", range(2))
def test_nothing_moves_but_what_is_taken_back(part: int) -> None:
    """Whoever edited, in whatever order, whatever is undone: by hunk, change, changes, file, turn; undos too."""
    undone = 0

    # Each example is a server and dozens of calls of git: a shorter one is not worth minutes.
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=(Phase.generate,),
    )
    @given(todo=steps)
    def every(todo: list[tuple[str, str, str, int, int, int]]) -> None:
        nonlocal undone
        with tempfile.TemporaryDirectory(prefix="pairside-test-") as folder:
            undone += asyncio.run(live(todo, Path(os.path.realpath(folder)) / "work"))

    every()
    assert undone > 10, "the test hardly takes anything back"
