"""Owns what proposals and changes have in common on the screen: the list, the diff of what is under the cursor, search.

A key decides about what the person sees, so it counts only if it was typed after that was drawn, and a moment later: a
hand that was typing does not decide about what has just come.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import Worker, WorkerCancelled

from pairside.tui.diff import Arrangement, DiffView, Wording
from pairside.tui.entries import Entry, EntryList
from pairside.tui.rows import NOTHING, Comparison
from pairside.tui.session import Lost, Refused
from pairside.tui.typed import Typed

SETTLE_SECONDS = 0.4
"""So long after it was drawn nothing is decided: what was typed by then was meant for something else.

Nor is anything by the keys that follow one after the other from before then, until there is a pause as long.
"""
WIDE_COLUMNS = 160
"""From this width on the list stands beside the diff."""

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class Said(Message):
    """Something that the person should know."""

    def __init__(self, text: str, *, warning: bool = False) -> None:
        super().__init__()
        self.text = text
        self.warning = warning


class Copy(Message):
    """Something that the person wants in their clipboard."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class SearchBar(Horizontal):
    """The words that are looked for in a diff."""

    DEFAULT_CSS = """
    SearchBar {
        height: 1;
        display: none;
        background: $panel;
        & > Static { width: auto; color: $text-muted; padding: 0 1; }
        & > Input { width: 1fr; }
    }
    SearchBar.-open { display: block; }
    """

    def compose(self) -> ComposeResult:
        """The input, and how many places there are."""
        yield Static("Search:", markup=False)
        yield Typed(compact=True, id="words")
        yield Static("Enter next, Up before, Esc ends", id="places", markup=False)


class Reading(Widget):
    """A list of files, and the diff of the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "n,right_square_bracket",
            "diff('next_hunk')",
            "Hunk",
            tooltip="Next hunk, or a page further after the last one",
        ),
        Binding("p,left_square_bracket", "diff('previous_hunk')", "Hunk before", show=False, tooltip="The hunk before"),
        Binding("space", "diff('toggle_hunk')", "Choose", tooltip="Choose this hunk, or leave it out"),
        Binding("w", "diff('whole')", "Whole file", show=False, tooltip="Show all unchanged lines too, or not"),
        Binding("v", "diff('arrangement')", "Sides", show=False, tooltip="Side by side, one under the other, by width"),
        Binding("slash", "search", "Search", show=False, key_display="/", tooltip="Search in the diff"),
        Binding("y", "copy_path", "Copy path", show=False, tooltip="Copy the path of the file"),
        Binding("J", "file(1)", "Next file", show=False, tooltip="Next file, also while the diff is gone through"),
        Binding("K", "file(-1)", "File before", show=False, tooltip="The file before"),
        Binding("enter", "read", "Read", show=False, tooltip="From the list into the diff"),
        Binding("escape", "back", "List", show=False, tooltip="From the diff to the list"),
        Binding("pagedown", "diff('page_down')", "Page down", show=False, tooltip="A page further in the diff"),
        Binding("pageup", "diff('page_up')", "Page up", show=False, tooltip="A page back in the diff"),
        Binding("right,l", "diff('right')", "To the right", show=False, tooltip="What is further right in the diff"),
        Binding("left,h", "diff('left')", "To the left", show=False, tooltip="What is further left in the diff"),
    ]

    DEFAULT_CSS = """
    Reading {
        height: 1fr;
        & > .reading { height: 1fr; layout: vertical; }
        & EntryList { height: auto; max-height: 30%; min-height: 1; }
        &.-empty EntryList { height: 1fr; max-height: 100%; }
        &.-empty .read { display: none; }
        & .title { height: auto; max-height: 4; background: $panel; padding: 0 1; }
        & DiffView { height: 1fr; }
        &.-wide > .reading { layout: horizontal; }
        &.-wide EntryList { width: 64; height: 1fr; max-height: 100%; border-right: solid $panel; }
        &.-wide .read { width: 1fr; height: 1fr; }
        & .read { height: 1fr; }
    }
    """

    def __init__(self, ask: Ask, wording: Wording, *, empty: str, chosen: bool, id: str) -> None:
        """`ask` asks the server; `empty` is said where the list is empty; `chosen`: are hunks chosen at first?"""
        super().__init__(id=id)
        self._ask = ask
        self._list = EntryList(empty)
        self._diff = DiffView(wording)
        self._title = Static("", classes="title", markup=False)
        self._search = SearchBar()
        self._searching: Worker[None] | None = None
        self._chosen = chosen
        self._loading: asyncio.Task[None] | None = None
        self._shown: Mapping[str, Any] | None = None
        self.shown_key: object = None
        """The key of the entry that the diff shows."""
        self.drawn_at: float | None = None
        """When that stood on the screen first, on the monotonic clock."""
        self._follows: object = None
        """The key of the entry that is to be shown at what has just come."""

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self.add_class("-empty")

    def compose(self) -> ComposeResult:
        """The list, then what is under the cursor."""
        with Vertical(classes="reading"):
            yield self._list
            with Vertical(classes="read"):
                yield self._title
                yield self._diff
                yield self._search

    # What differs between proposals and changes.

    async def fetch(self, entry: Entry) -> tuple[Mapping[str, Any], Comparison]:
        """What the server says of an entry, and the two texts."""
        raise NotImplementedError

    def title_of(self, facts: Mapping[str, Any]) -> list[str]:
        """What stands above the diff, in lines."""
        raise NotImplementedError

    # What is shown.

    @property
    def shown(self) -> Mapping[str, Any] | None:
        """What the diff shows."""
        return self._shown

    @property
    def list(self) -> EntryList:
        """The list."""
        return self._list

    @property
    def diff(self) -> DiffView:
        """The diff."""
        return self._diff

    def list_entries(self, entries: Sequence[Entry], *, empty: str | None = None) -> None:
        """Show these files."""
        if not entries and self.screen.focused in (self._diff, self._search.query_one(Input)):
            self._search.remove_class("-open")
            self._list.focus()  # what is not shown any more takes no keys, and the next ones are for what comes
        self.set_class(not entries, "-empty")
        self._list.show(entries, empty=empty)

    def on_entry_list_gone(self, message: EntryList.Gone) -> None:
        """The cursor is on another entry, or it became another."""
        self.load(message.entry)

    def load(self, entry: Entry | None) -> None:
        """Show the diff of an entry, as soon as the server has told it."""
        if self._loading is not None:
            self._loading.cancel()
        if entry is None:
            self._shown, self.shown_key, self.drawn_at = None, None, None
            self._diff.clear()
            self._retitle()
            return
        self._loading = asyncio.create_task(self._load(entry))

    async def _load(self, entry: Entry) -> None:
        try:
            facts, comparison = await self.fetch(entry)
        except Refused as refused:
            if self.shown_key != entry.key:
                self._shown, self.shown_key, self.drawn_at = None, None, None
                self._diff.clear()
                self._title.update(Content(refused.message))
            return
        except Lost:
            return
        if entry.key != self.shown_key or comparison != self._diff.comparison:
            self.drawn_at = None
        self._shown, self.shown_key = facts, entry.key
        newest = entry.key == self._follows
        self._follows = None
        self._diff.show(entry.key, comparison, facts["path"], chosen=self._chosen, newest=newest)
        self._retitle()

    def on_diff_view_drawn(self, message: DiffView.Drawn) -> None:
        """It stands on the screen: from a moment later on keys are about it."""
        if message.key == self.shown_key and self.drawn_at is None:
            self.drawn_at = time.monotonic()

    def on_diff_view_moved(self, message: DiffView.Moved) -> None:
        """Another hunk, or another choice."""
        self._retitle()

    def _retitle(self) -> None:
        lines = [] if self._shown is None else self.title_of(self._shown)
        self._title.display = bool(lines)
        self._title.update(Content("\n".join(lines)))

    def state(self) -> str:
        """How the diff is shown, in a few words."""
        diff = self._diff
        hunks = diff.comparison.hunks
        parts = []
        if hunks and diff.comparison.divisible:
            parts.append(f"hunk {diff.current + 1} of {len(hunks)}")
        if diff.is_whole:
            parts.append("whole file")
        if diff.arrangement is not Arrangement.AUTO:
            parts.append(diff.arrangement.value)
        if diff.comparison.crlf:
            parts.append("CRLF")
        if diff.comparison is not NOTHING and diff.comparison.new_unended:
            parts.append("no newline at the end")
        elif diff.comparison.old_unended and diff.comparison.new:
            parts.append("adds the newline at the end")
        return ", ".join(parts)

    def settled(self) -> Mapping[str, Any] | None:
        """What a key may decide about: what is shown, if it was there before that key was typed; else says why not."""
        entry = self._list.entry
        if entry is None or self._shown is None or entry.key != self.shown_key or self.drawn_at is None:
            if self._list.entries:
                self.post_message(Said("It is not shown yet: nothing was done."))
            return None
        typing_since = getattr(self.app, "typing_since", 0.0)
        if typing_since < self.drawn_at + SETTLE_SECONDS:
            self.post_message(Said("This has just come: nothing was done. Press it again in a moment."))
            return None
        return self._shown

    def tick(self) -> None:
        """Ages are a little higher."""
        self._list.tick()

    def on_resize(self) -> None:
        """Beside each other where there is room."""
        self.set_class(self.size.width >= WIDE_COLUMNS, "-wide")

    # Keys.

    def action_diff(self, name: str) -> None:
        """A key of the diff, wherever the focus is."""
        getattr(self._diff, f"action_{name}")()

    def action_file(self, step: int) -> None:
        """To the next file, or the one before."""
        self._list.action_cursor(step)

    def action_read(self) -> None:
        """Into the diff."""
        self._diff.focus()

    def action_back(self) -> None:
        """To the list."""
        self._list.focus()

    def action_copy_path(self) -> None:
        """Copy the path of the file."""
        if self._shown is not None:
            self.post_message(Copy(self._shown["path"]))

    def action_search(self) -> None:
        """Look for words in the diff."""
        if self._shown is None:
            return
        self._search.add_class("-open")
        self.screen.set_focus(self._search.query_one(Input))  # at once: the next key is for it

    def on_input_changed(self, message: Input.Changed) -> None:
        """Search while it is typed; in a long text what is typed next need not wait for that."""
        message.stop()
        self._searching = self.run_worker(functools.partial(self._find, 0), exclusive=True, group="search")

    async def on_input_submitted(self, message: Input.Submitted) -> None:
        """To the next place."""
        message.stop()
        await self._step(1)

    async def on_key(self, event: Any) -> None:
        """Keys of the search."""
        try:
            searching = self._search.query_one(Input).has_focus
        except NoMatches:
            return
        if not searching:
            return
        if event.key == "escape":
            self._search.remove_class("-open")
            self._diff.end_search()
            self._diff.focus()
        elif event.key in ("up", "shift+enter"):
            await self._step(-1)
        elif event.key == "down":
            await self._step(1)
        else:
            return
        event.stop()
        event.prevent_default()

    async def _step(self, direction: int) -> None:
        if self._searching is not None:
            with contextlib.suppress(WorkerCancelled):  # by what was typed since, which is searched for now
                await self._searching.wait()
        await self._find(direction)

    async def _find(self, direction: int) -> None:
        words = self._search.query_one(Input).value
        place, total = await self._diff.search(words, direction)
        missed = "not found" if self._diff.is_whole else "not shown (w: all lines)"
        told = f"{place} of {total}" if total else missed if words else ""
        self._search.query_one("#places", Static).update(Content(f"{told}  Enter next, Up before, Esc ends".strip()))

    def focus_first(self) -> None:
        """Focus what the person will want first."""
        self._list.focus()
