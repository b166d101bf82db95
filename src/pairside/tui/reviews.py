"""Owns the view of proposals that await a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType

from pairside import hunks, phrases
from pairside.draft import Draft, DraftError
from pairside.text import printable, printable_line
from pairside.tui.confirm import Confirm
from pairside.tui.diff import Wording
from pairside.tui.entries import Entry
from pairside.tui.reading import Ask, Reading, Said
from pairside.tui.rows import Comparison
from pairside.tui.session import Lost, Refused

EMPTY = """\
No proposal waits.

Start an agent in another terminal:
  pairside run --review claude    each edit waits here for your verdict
  pairside run claude             it just writes: 2 shows what, u undoes it
In an agent that runs already, /ide connects it.

m puts a file or lines of it into its prompt, o shows it one, ? has all keys."""
CONNECTED = """\
What an agent proposes is shown here. What it writes without asking stands
in 2, where u undoes it. To be asked first: pairside run --review claude, or
Shift+Tab in Claude Code until it shows manual mode.

m puts a file or lines of it into its prompt, o shows it one, ? has all keys."""
SOON = "pairside is started anew …"
GONE = """\
pairside is not there: nothing can be shown or decided.

Start it again in another terminal: pairside serve
Its agents come back by themselves if that is soon."""
DIFFERENCE_LINES = 500
"""So many lines of an edited text's difference are shown before it is accepted."""
WORDING = Wording(chosen="accept", left_out="left out")


class ReviewsView(Reading):
    """The proposals, and what can be decided about the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "accept", "Accept", tooltip="Accept the whole proposal"),
        Binding("s", "accept_selected", "Selected", tooltip="Accept the hunks that are chosen, leave the others out"),
        Binding("r", "reject", "Reject", tooltip="Reject the proposal; the agent waits for what you say"),
        Binding("e", "edit", "Edit", tooltip="Edit the proposal in $VISUAL or $EDITOR, then decide"),
        Binding("A", "accept_all", "Accept all hunks", show=False, tooltip="Accept all of it, also hunks left out"),
    ]

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask, WORDING, empty=EMPTY, chosen=True, id="reviews")
        self._pending: Sequence[Mapping[str, Any]] = ()
        self._empty = EMPTY
        self._by_us: set[int] = set()

    def show(self, pending: Sequence[Mapping[str, Any]]) -> None:
        """Show the proposals that wait."""
        self._pending = pending
        self.list_entries([_entry(one) for one in pending], empty=self._empty)

    def tell_of(self, agents: Sequence[str] | None, *, restarting: bool = False) -> None:
        """Know who is connected, for what is said where nothing waits; None: no server is there.

        One that is `restarting` is there again soon.
        """
        if agents is None:
            self._empty = SOON if restarting else GONE
        elif agents:
            self._empty = f"No proposal waits. Connected: {', '.join(agents)}\n\n{CONNECTED}"
        else:
            self._empty = EMPTY
        if not self._pending:
            self.list_entries((), empty=self._empty)

    def forget(self) -> None:
        """There is no server any more, and another one counts proposals anew."""
        self._by_us.clear()
        self.show(())

    def happened(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Somebody else decided about what is shown here: say who."""
        for event in events:
            if event["kind"] != "decided" or event["review"] in self._by_us:
                continue
            if self.shown is not None and event["review"] == self.shown["id"]:
                self.post_message(Said(phrases.line_of(dict(event)), warning=True))

    async def fetch(self, entry: Entry) -> tuple[Mapping[str, Any], Comparison]:
        """The proposal as the server tells it."""
        facts = await self._ask("review/show", {"id": entry.key, "positions": True})
        comparison = await asyncio.to_thread(
            Comparison.of,
            facts["original"],
            facts["proposed"],
            facts["hunks"],
            divisible=facts["divisible"],
        )
        return facts, comparison

    def title_of(self, facts: Mapping[str, Any]) -> list[str]:
        """What is proposed, how much of it is chosen, and what to beware of."""
        total = len(self.diff.comparison.hunks)
        chosen = ""
        if facts["divisible"] and total > 1:
            number = len(self.diff.chosen)
            chosen = f"{number if number < total else 'all'} chosen"
        line = ", ".join(part for part in (phrases.headline(dict(facts)), self.state(), chosen) if part)
        return [line, *phrases.warnings(dict(facts), [dict(one) for one in self._pending])]

    # Decisions.

    def _left_out(self) -> int:
        return len(self.diff.comparison.hunks) - len(self.diff.chosen) if self.diff.comparison.divisible else 0

    async def action_accept(self) -> None:
        """Accept the whole proposal; not where hunks were left out, which would be forgotten by that."""
        facts = self.settled()
        if facts is None:
            return
        if left_out := self._left_out():
            others = phrases.count(left_out, "hunk is", "hunks are")
            self.post_message(Said(f"{others} left out: s accepts the others, A accepts all.", warning=True))
            return
        await self._decide(facts, "review/accept", {})

    async def action_accept_all(self) -> None:
        """Accept the whole proposal, whatever was chosen."""
        facts = self.settled()
        if facts is not None:
            await self._decide(facts, "review/accept", {})

    async def action_accept_selected(self) -> None:
        """Accept the hunks that are chosen."""
        facts = self.settled()
        if facts is None:
            return
        if not self._left_out():
            await self._decide(facts, "review/accept", {})
        elif self.diff.chosen:
            await self._decide(facts, "review/accept", {"hunks": sorted(self.diff.chosen)})
        else:
            self.post_message(Said("No hunk is chosen: r rejects the proposal.", warning=True))

    async def action_reject(self) -> None:
        """Reject the proposal."""
        facts = self.settled()
        if facts is not None:
            await self._decide(facts, "review/reject", {})

    async def _decide(self, facts: Mapping[str, Any], method: str, params: Mapping[str, Any]) -> None:
        """Decide, and say what became of it."""
        if why := await self._decided(facts, method, params):
            self.post_message(Said(why, warning=True))

    async def _decided(self, facts: Mapping[str, Any], method: str, params: Mapping[str, Any]) -> str:
        """Decide; in a sentence why the server did not take it, "" if it did, which is told."""
        id = facts["id"]
        if id in self._by_us:
            return ""  # it is on its way
        self._by_us.add(id)
        try:
            answer = await self._ask(method, {"id": id, **params})
        except Refused as refused:
            self._by_us.discard(id)
            return phrases.sentence(refused.message)
        except Lost:
            self._by_us.discard(id)
            return "pairside is not there: nothing was decided."
        self.post_message(Said(phrases.verdict(answer, params.get("hunks"), stale=facts["changed_on_disk"])))
        return ""

    async def action_edit(self) -> None:
        """Let the person edit the proposal, without the hunks that they left out, and decide then."""
        facts = self.settled()
        if facts is None:
            return
        self.run_worker(self._edit(facts), exclusive=True, group="edit", exit_on_error=True)

    async def _edit(self, facts: Mapping[str, Any]) -> None:
        text = self._chosen_text(facts)
        with Draft(text, facts["path"]) as draft:
            why = "Nothing was decided."
            try:
                while True:
                    failed: DraftError | None = None
                    edited = text
                    with self.app.suspend():
                        try:
                            edited = draft.edit()
                        except DraftError as error:  # let through here, it would leave the screen suspended
                            failed = error
                    if failed is not None:
                        raise failed
                    self.app.refresh()
                    note = f" {draft.note}" if draft.note else ""
                    same = " It is as it was proposed." if edited == facts["proposed"] else ""
                    answer = await self.app.push_screen_wait(
                        Confirm(
                            f"{phrases.shown(facts['path'])}: accept the edited text?{same}{note}",
                            [("a", "Accept"), ("e", "Edit again"), ("escape", "Leave it pending")],
                            details=await _difference(facts["original"] or "", edited),
                        )
                    )
                    if answer == "a":
                        why = await self._decided(facts, "review/accept", {"text": edited})
                    if answer != "e":
                        break
            except DraftError as error:
                self.post_message(Said(str(error), warning=True))
                return
            except SuspendNotSupported:
                self.post_message(Said(f"No editor can be opened from here: pairside edit {facts['id']}", warning=True))
                return
            if why and edited != text:
                draft.keep()
                why += f" The edited text is kept in {printable(draft.path)}"
            if why:
                self.post_message(Said(why, warning=answer == "a"))

    def _chosen_text(self, facts: Mapping[str, Any]) -> str:
        proposed: str = facts["proposed"]
        if not self._left_out() or not self.diff.chosen:
            return proposed
        lines = phrases.split(facts["original"] or "")
        new = phrases.split(proposed)
        for hunk in reversed(self.diff.comparison.hunks):
            if hunk.number in self.diff.chosen:
                lines[hunk.old_start : hunk.old_start + hunk.old_count] = new[
                    hunk.new_start : hunk.new_start + hunk.new_count
                ]
        return "".join(lines)


async def _difference(original: str, edited: str) -> list[str]:
    """What the edited text would change, in lines that can be shown."""
    found = await hunks.compare(original, edited)
    lines = [printable_line(line.rstrip("\n")) for line in hunks.unified(original, found)]
    more = [f"… {len(lines) - DIFFERENCE_LINES:,} more lines"] if len(lines) > DIFFERENCE_LINES else []
    return [*lines[:DIFFERENCE_LINES], *more] or ["It changes nothing: accepted, it is a rejection."]


def _entry(review: Mapping[str, Any]) -> Entry:
    marks = []
    if review["new_file"]:
        marks.append("new")
    if review["outside_workspace"]:
        marks.append("outside")
    if review["changed_on_disk"]:
        marks.append("changed on disk")
    return Entry(
        review["id"],
        phrases.shown(review["path"]),
        phrases.agent_of(dict(review)),
        review["added"],
        review["removed"],
        review["opened_at"],
        ", ".join(marks),
        review,
    )
