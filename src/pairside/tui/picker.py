"""Owns the page on which a person picks a file, or lines of it, for agents to see.

The letters that are typed find the file, wherever in its name they stand; the file under the cursor is shown beside.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Input, Static

from pairside.text import is_absolute, utf16_length
from pairside.tui.cells import Span, strip_of, width_of
from pairside.tui.entries import Entry, EntryList
from pairside.tui.files import FOUND, Candidate, Match, Query, candidate, listed, matches
from pairside.tui.preview import Preview
from pairside.tui.typed import Typed

BESIDE_COLUMNS = 110
"""From this width on the file is shown beside the list, below it where there is less."""


@dataclass(frozen=True, slots=True)
class Picked:
    """What was picked."""

    path: str
    """Absolute and real."""
    said: str
    """The absolute path by which it was picked."""
    mention: bool
    """Whether it goes into an agent's prompt, and is not what is selected."""
    first: int | None = None
    """The first line, from 0; None for the whole file."""
    last: int | None = None
    """The last line, included."""
    end: int = 0
    """Where the last line ends, in UTF-16 units."""


class FileList(EntryList, can_focus=False):
    """The files that fit; the typed letters in their names stand out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"entries--found"}

    DEFAULT_CSS = """
    FileList {
        & .entries--found { text-style: bold underline; }
        & .entries--cursor { background: $primary-darken-2; color: $text; text-style: none; }
    }
    """

    def render_line(self, y: int) -> Strip:
        """One row of the screen: a name; of a long one the end, which says more."""
        index = round(self.scroll_y) + y
        if index >= len(self._entries):
            return super().render_line(y)
        entry, base, width = self._entries[index], self.rich_style, self.size.width
        cursor = index == self._cursor
        if cursor:
            base += self._style("cursor")
        found = self._style("found")
        match: Match = entry.facts
        spans = [Span(place, place + 1, found) for place in match.places]
        room = max(1, width - 3)
        beyond = max(0, width_of(entry.text) - room)
        name = strip_of(entry.text, spans, base, base, left=beyond + 1 if beyond else 0, width=room)
        head = Segment(("▶ " if cursor else "  ") + ("…" if beyond else ""), base)
        return Strip([head, *name]).crop_extend(0, width, base)


class Picker(ModalScreen[Picked | None]):
    """Find a file, and take it or lines of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", show=False, tooltip="From the lines to the names; from there, pick nothing"),
        Binding("tab", "change_place", "Lines", show=False, priority=True, tooltip="Choose lines, or another file"),
        Binding("shift+tab", "change_place", "Names", show=False, priority=True, tooltip="The same, back"),
    ]

    DEFAULT_CSS: ClassVar[str] = """
    Picker {
        align: center middle;
        & > Vertical { width: 140; max-width: 100%; height: 96%; background: $surface; border: round $primary; }
        & Typed { padding: 0 1; background: $panel; }
        & FileList { height: 2fr; min-height: 1; }
        & Preview { height: 3fr; min-height: 1; }
        & .title { height: 1; background: $panel; padding: 0 1; color: $text-muted; }
        & .keys { height: auto; max-height: 2; padding: 0 1; background: $panel; color: $text-muted; }
        & .both { height: 1fr; layout: vertical; }
        & .shown { height: 3fr; }
        & .shown Preview { height: 1fr; }
        &.-beside .both { layout: horizontal; }
        &.-beside FileList { width: 2fr; height: 1fr; }
        &.-beside .shown { width: 3fr; height: 1fr; }
    }
    """

    def __init__(self, folders: Sequence[str], *, mention: bool, recent: Sequence[str] = ()) -> None:
        """`folders` hold the files, `recent` are the paths that were picked lately, the last one first."""
        super().__init__()
        self._folders = folders
        self._mention = mention
        self._recent = recent
        self._candidates: list[Candidate] | None = None
        self._wants: asyncio.Task[None] | None = None
        self._hurried = False
        """Whether Enter was pressed before the files were known."""
        self._typed = Typed(
            placeholder="Letters of its name, and lines if you want: shop:3-8", compact=True, id="typed"
        )
        self._list = FileList("Looking for files …")
        self._title = Static("", classes="title", markup=False)
        self._preview = Preview()
        self._keys = Static("", classes="keys", markup=False)

    def compose(self) -> ComposeResult:
        """What is typed, the files that fit, the one under the cursor, the keys."""
        with Vertical() as box:
            what = "Put into the agent's prompt" if self._mention else "Select: agents see it with the next prompt"
            box.border_title = Content(what)
            yield self._typed
            with Vertical(classes="both"):
                yield self._list
                with Vertical(classes="shown"):
                    yield self._title
                    yield self._preview
            yield self._keys

    def on_mount(self) -> None:
        """Look for the files."""
        self._typed.focus()
        self._tell()
        self.run_worker(self._fill(), name="files", exit_on_error=True)

    def on_unmount(self) -> None:
        """Nobody waits for what is still looked for."""
        if self._wants is not None:
            self._wants.cancel()
        self._preview.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Beside each other where there is room."""
        self.set_class(event.size.width >= BESIDE_COLUMNS, "-beside")

    async def _fill(self) -> None:
        self._candidates = await asyncio.to_thread(listed, self._folders, with_folders=self._mention)
        self._look()
        if self._hurried:
            await self._take()

    # What fits.

    def on_input_changed(self, message: Input.Changed) -> None:
        """Show what fits, at once."""
        message.stop()
        self._hurried = False
        self._look()

    def _look(self) -> None:
        if self._candidates is None:
            return
        if self._wants is not None:
            self._wants.cancel()
        self._wants = asyncio.create_task(self._found(self._candidates, Query.of(self._typed.value)))

    async def _found(self, candidates: Sequence[Candidate], query: Query) -> None:
        over = threading.Event()
        try:
            found = await asyncio.to_thread(matches, query.words, candidates, first=self._recent, given_up=over.is_set)
            named = await asyncio.to_thread(_named, query.words, mention=self._mention)
        finally:
            over.set()
        if named is not None:
            found = [Match(named, ()), *(one for one in found if one.candidate.path != named.path)]
        empty = "No file fits." if candidates else "There are no files here."
        self._list.show([Entry(one.candidate.path, one.candidate.name, facts=one) for one in found], empty=empty)
        first = next(iter(self._list.entries), None)
        if first is not None and query.words:
            self._list.go(first.key)  # the likeliest one, not the one that the cursor was on
        self._show()

    def on_entry_list_gone(self, message: EntryList.Gone) -> None:
        """Another file is under the cursor."""
        message.stop()
        self._show()

    def _show(self) -> None:
        entry = self._list.entry
        query = Query.of(self._typed.value)
        wanted = None if query.first is None or query.last is None else (query.first, query.last)
        self._preview.show(None if entry is None else str(entry.key), wanted)
        self._tell()

    def on_preview_moved(self) -> None:
        """Other lines are chosen."""
        self._tell()

    def _tell(self) -> None:
        """What would be taken, and the keys."""
        entry, chosen = self._list.entry, self._preview.chosen
        name = "" if entry is None else entry.text
        if chosen is not None:
            first, last = chosen[0] + 1, chosen[1] + 1
            name += f", line {first}" if first == last else f", lines {first} to {last}"
        many = f"{FOUND}+" if len(self._list.entries) >= FOUND else str(len(self._list.entries))
        self._title.update(Content(f"{name}  ({many})" if name else ""))
        verb = "mentions" if self._mention else "selects"
        if self._preview.has_focus:
            keys = f"Enter {verb} these lines, Space or Shift+↓ chooses, Esc: another file"
        elif chosen is not None:
            keys = f"Enter {verb} these lines, Tab: other lines, ↑ ↓: another file, Esc: nothing"
        else:
            keys = f"Enter {verb} the whole file, Tab: lines, ↑ ↓: another, Esc: nothing"
        self._keys.update(Content(keys))

    # Keys.

    def on_key(self, event: events.Key) -> None:
        """Where names are typed the keys that move go to the list; so do letters from before it had the focus."""
        if self.focused is None:
            self._typed.post_message(event)
            event.stop()
            return
        if not self._typed.has_focus:
            return
        moves = {"down": 1, "ctrl+n": 1, "up": -1, "ctrl+p": -1}
        if event.key in moves:
            self._list.action_cursor(moves[event.key])
        elif event.key in ("pagedown", "pageup"):
            self._list.action_page(1 if event.key == "pagedown" else -1)
        else:
            return
        event.stop()
        event.prevent_default()

    def action_change_place(self) -> None:
        """From the names to the lines, or back."""
        if self._preview.has_focus or not self._preview.lines:
            self.set_focus(self._typed)
        else:
            self.set_focus(self._preview)  # at once: the next key is for it

    def action_back(self) -> None:
        """From the lines to the names; from there nothing is picked."""
        if self._preview.has_focus:
            self.set_focus(self._typed)
        else:
            self.dismiss(None)

    def on_descendant_focus(self) -> None:
        """The keys do other things there."""
        self._tell()

    async def on_click(self, event: events.Click) -> None:
        """A second click on a file takes it."""
        if event.chain == 2 and event.widget is self._list:
            await self._take()

    async def on_input_submitted(self, message: Input.Submitted) -> None:
        """Take the file, or the lines that were typed."""
        message.stop()
        await self._take()

    async def on_preview_taken(self) -> None:
        """Take the lines that are chosen."""
        await self._take()

    async def _take(self) -> None:
        """Take what was typed, also where it was typed too quickly to be on the screen yet."""
        if self._wants is None:  # the files are not known yet
            self._hurried = True
            return
        await asyncio.wait([self._wants])
        await self._preview.settled()
        entry = self._list.entry
        if entry is None or not self.is_current:
            return
        said = str(entry.key)
        path = os.path.realpath(said)
        first, last = self._preview.chosen or (None, None)
        end = 0 if last is None else utf16_length(self._preview.lines[last])
        self.dismiss(Picked(path, said, self._mention, first, last, end))


def _named(words: str, *, mention: bool) -> Candidate | None:
    """The file that was named by a path of its own, also outside of the folders: /…, ~/…, ./… or ../…"""
    if not words.startswith(("/", "~", "./", "../")):
        return None
    path = os.path.abspath(os.path.expanduser(words))
    if not is_absolute(path) or not os.path.exists(path):
        return None
    folder = os.path.isdir(path)
    return candidate(path, folder=folder) if mention or not folder else None
