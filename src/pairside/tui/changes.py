"""Owns the view of what agents have changed, reviewed or not, turn by turn, and taking it back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from pairside import phrases
from pairside.text import printable
from pairside.tui.confirm import Confirm
from pairside.tui.diff import Wording
from pairside.tui.entries import Entry
from pairside.tui.reading import Ask, Reading, Said
from pairside.tui.rows import Comparison
from pairside.tui.session import Lost, Refused

EMPTY = """\
No agent has changed anything here.

What one writes is listed here, turn by turn, reviewed or not. In a git work
tree that is also what its shell commands do. u takes back a hunk, U a file."""
WORDING = Wording(chosen="to be undone", left_out="")
DETAILS = 200
"""So many files of an undo are named before it is done."""


class ChangesView(Reading):
    """The files of the latest turns, and what can be taken back of the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "undo", "Undo", tooltip="Undo the chosen hunks; if none is, the present one"),
        Binding("U", "undo_file", "Undo file", tooltip="Undo all that the turn changed in this file"),
        Binding("T", "undo_turn", "Undo turn", tooltip="Undo all of the turn, after a look at what that means"),
        Binding("H", "all_turns", "All turns", show=False, tooltip="Show all turns, or only the latest"),
        Binding("f5,ctrl+r", "look", "Look again", show=False, tooltip="Look at the work trees now"),
    ]

    class Wanted(Message):
        """The changes are to be asked for again."""

        def __init__(self, *, fresh: bool, all: bool) -> None:
            super().__init__()
            self.fresh = fresh
            self.all = all

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask, WORDING, empty=EMPTY, chosen=False, id="changes")
        self.all_turns = False
        """Whether all turns are shown, and not only the latest."""
        self._undoing = False
        self._own_turn: int | None = None
        """The turn that our last undo was."""
        self._held: list[Mapping[str, Any]] = []
        """What was taken back while we were at it: by us, or by somebody else."""

    def happened(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Somebody else has taken something back: say who."""
        self._held += [event for event in events if event["kind"] == "undone"]
        if not self._undoing:
            self._tell_others()

    def _tell_others(self) -> None:
        held, self._held = self._held, []
        for event in held:
            if event["turn"] != self._own_turn:
                self.post_message(Said(phrases.line_of(dict(event)), warning=True))

    def show(self, answer: Mapping[str, Any]) -> None:
        """Show the turns of an answer, the latest first."""
        entries: list[Entry] = []
        for turn in reversed(answer["turns"]):
            goes_on = ", goes on" if turn["ended_at"] is None and not turn["is_undo"] else ""
            entries.append(Entry(None, phrases.turn_line(turn) + goes_on))
            at = {change["id"]: change["at"] for change in turn["changes"]}
            entries += [_entry(turn, file, at) for file in turn["files"]]
        if answer["earlier"]:
            entries.append(Entry(None, f"{phrases.count(answer['earlier'], 'earlier turn')}: H shows all"))
        notes = [f"Note: {printable(notice)}" for notice in answer["notices"]]
        if not answer["complete"]:
            notes.append("! The work tree could not be looked at in time: changes by other means may be missing.")
        if answer["uncovered"]:
            names = ", ".join(phrases.shown(path) for path in answer["uncovered"])
            notes.append(f"Not looked into, as it is a repository of its own: {names}")
        entries += [Entry(None, note) for note in notes]
        before = self.list.entry
        self.list_entries(entries)
        after = self.list.entry
        if before is not None and after is not None and after.key != before.key and after.facts["is_undo"]:
            # The next u is not to take back the undo that has just been made.
            other = next((one for one in entries if one.key is not None and not one.facts["is_undo"]), None)
            if other is not None:
                self.list.go(other.key)

    def newest(self) -> Entry | None:
        """The file that an agent changed last: nobody is taken to an undo, where the same key has it again."""
        changed = (one for one in self.list.entries if one.key is not None and not one.facts["is_undo"])
        return max(changed, key=lambda one: one.at or 0.0, default=None)

    def follow(self) -> None:
        """Go to the file that was changed last, and there to what has just come."""
        newest = self.newest()
        if newest is None:
            return
        self._follows = newest.key
        if self.list.entry == newest:
            self.load(newest)
        else:
            self.list.go(newest.key)

    async def fetch(self, entry: Entry) -> tuple[Mapping[str, Any], Comparison]:
        """The change as the server tells it."""
        facts = await self._ask("changes/show", {"ids": entry.facts["ids"], "positions": True})
        if not facts["divisible"]:
            return facts, Comparison((), (), (), False)
        comparison = await asyncio.to_thread(
            Comparison.of, facts["before"], facts["after"], facts["hunks"], divisible=True
        )
        return facts, comparison

    def title_of(self, facts: Mapping[str, Any]) -> list[str]:
        """What was changed by whom, and why there is nothing to see where that is so."""
        line = ", ".join(part for part in (phrases.change_line(facts, brief=True), self.state()) if part)
        lines = [line]
        if not facts["divisible"]:
            lines.append(f"Its lines cannot be shown: {printable(facts['note'] or 'binary')}.")
        elif not self.diff.comparison.hunks:
            lines.append("Only its permissions were changed." if facts["kind"] == "mode" else "It is an empty file.")
        if self.diff.chosen:
            lines.append(f"{phrases.count(len(self.diff.chosen), 'hunk')} chosen: u undoes them.")
        return lines

    # Taking back.

    async def action_undo(self) -> None:
        """Undo the hunks that are chosen, or the present one."""
        facts = self.settled()
        if facts is None:
            return
        hunks = self.diff.comparison.hunks
        params: dict[str, Any] = {"ids": facts["ids"]}
        if facts["divisible"] and len(hunks) > 1:
            params["hunks"] = sorted(self.diff.chosen) or [hunks[self.diff.current].number]
        await self._undo(params)

    async def action_undo_file(self) -> None:
        """Undo all that the turn changed in the file."""
        facts = self.settled()
        if facts is not None:
            await self._undo({"ids": facts["ids"]})

    async def action_undo_turn(self) -> None:
        """Undo all of the turn, after a question that says what would become of it."""
        entry = self.list.entry
        if self.settled() is None or entry is None:
            return
        turn = entry.facts["turn"]
        answer = await self._asked({"turn": turn, "dry_run": True})
        if answer is None:
            return
        lines = [phrases.undo_line(file, dry_run=True) for file in answer["files"][:DETAILS]]
        if len(answer["files"]) > DETAILS:
            lines.append(f"and {len(answer['files']) - DETAILS} more")
        ids = sorted(id for file in answer["files"] if file["outcome"] == "undone" for id in file["ids"])
        if not ids:
            self.post_message(Said(lines[0] if lines else "There is nothing to take back.", warning=True))
            return
        question = Confirm(f"Undo turn {turn}?", [("y", "Undo it"), ("escape", "Leave it")], details=lines)

        async def answered(key: str | None) -> None:
            if key == "y":
                # By their numbers: what the agent has written meanwhile was not shown.
                await self._undo({"ids": ids})

        self.app.push_screen(question, answered)

    async def _undo(self, params: Mapping[str, Any]) -> None:
        answer = await self._asked(params)
        if answer is None:
            return
        lines = [phrases.undo_line(file) for file in answer["files"]] or ["There is nothing to take back."]
        worst = [file for file in answer["files"] if file["outcome"] not in ("undone", "nothing")]
        more = f" (and {phrases.count(len(lines) - 1, 'more file')})" if len(lines) > 1 else ""
        again = ". To have it again: U on the undo in the list." if answer["turn"] is not None and not worst else ""
        said = phrases.undo_line(worst[0]) if worst else lines[0]
        if worst and worst[0]["outcome"] == "conflict":
            more += f" What is in the way: pairside undo {phrases.shown(worst[0]['path'])}"
        told = said + more
        self.post_message(Said(told + again if again else phrases.sentence(told), warning=bool(worst)))

    async def _asked(self, params: Mapping[str, Any]) -> Any:
        """What the server answers to an undo; None if it says no, which is told."""
        if self._undoing:
            return None
        self._undoing = True
        try:
            answer = await self._ask("undo", params)
            self._own_turn = answer["turn"] or self._own_turn
            return answer
        except Refused as refused:
            self.post_message(Said(phrases.sentence(refused.message), warning=True))
        except Lost:
            self.post_message(Said("pairside is not there: nothing was undone.", warning=True))
        finally:
            self._undoing = False
            self._tell_others()
        return None

    def action_all_turns(self) -> None:
        """Show all turns, or only the latest."""
        self.all_turns = not self.all_turns
        self.post_message(self.Wanted(fresh=False, all=self.all_turns))
        self.post_message(Said("All turns." if self.all_turns else "The latest turns."))

    def action_look(self) -> None:
        """Look at the work trees now."""
        self.post_message(self.Wanted(fresh=True, all=self.all_turns))


def _entry(turn: Mapping[str, Any], file: Mapping[str, Any], at: Mapping[int, float]) -> Entry:
    marks = []
    if file["kind"] != "modified":
        marks.append({"mode": "permissions"}.get(file["kind"], file["kind"]))
    means = phrases.means_of(file)
    if "other" in means:
        marks.append("other means" if "edit" not in means else "in part other means")
    elif "edit" in means and not file["reviewed"]:
        marks.append("unreviewed")
    if file["late"]:
        marks.append("late")
    agent = "undo" if turn["is_undo"] else phrases.agent_of(dict(turn))  # whose undo it is the heading says
    return Entry(
        (turn["turn"], file["path"], file["late"]),
        phrases.shown(file["path"]),
        agent,
        file["added"],
        file["removed"],
        max((at[id] for id in file["ids"] if id in at), default=turn["began_at"]),
        ", ".join(marks),
        {**file, "turn": turn["turn"], "is_undo": turn["is_undo"]},
    )
