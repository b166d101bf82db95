"""Owns the list of proposals and the list of changes: one design for both, a row for each file.

Only the rows on the screen are drawn, so thousands of entries cost nothing. The cursor stays on its entry when others
come and go.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pairside.tui.shades import shade

NAME_CELLS = 14
COUNT_CELLS = 12
AGE_CELLS = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A row. A heading has no key and cannot be gone to."""

    key: Hashable | None
    text: str
    """The name of the file for a person, or the words of a heading."""
    agent: str = ""
    added: int | None = None
    removed: int | None = None
    at: float | None = None
    """Since when it stands, in seconds since the epoch."""
    mark: str = ""
    """What is special about it, in a word or two."""
    facts: Any = None
    """What it was made from."""


def age(seconds: float) -> str:
    """A span of time in at most four characters."""
    seconds = max(0, int(seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{min(seconds // length, 999)}{unit}"
    return f"{seconds}s"


class EntryList(ScrollView, can_focus=True):
    """The rows, and the one that is gone to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "cursor(1)", "Next file", show=False),
        Binding("up,k", "cursor(-1)", "File before", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("home,g", "edge(-1)", "First file", show=False),
        Binding("end,G", "edge(1)", "Last file", show=False),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "entries--cursor", "entries--heading", "entries--added", "entries--removed", "entries--muted", "entries--mark",
    }  # fmt: skip

    DEFAULT_CSS = """
    EntryList {
        background: $surface;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        overflow-x: hidden;
        & .entries--cursor { background: $block-cursor-blurred-background; text-style: bold; }
        &:focus .entries--cursor { background: $primary-darken-2; color: $text; }
        & .entries--heading { color: $text-muted; text-style: bold; }
        & .entries--added { color: $text-success; }
        & .entries--removed { color: $text-error; }
        & .entries--muted { color: $text-muted; }
        & .entries--mark { color: $text-warning; }
    }
    """

    class Gone(Message):
        """The cursor is on another entry, or on none."""

        def __init__(self, list: EntryList, entry: Entry | None) -> None:
            super().__init__()
            self.list = list
            self.entry = entry

        @property
        def control(self) -> EntryList:
            """The list."""
            return self.list

    def __init__(self, empty: str, *, id: str | None = None) -> None:
        """`empty` is said where there is nothing."""
        super().__init__(id=id)
        self._empty = empty
        self._entries: Sequence[Entry] = ()
        self._cursor: int | None = None
        self._ages: list[str] = []
        """What was told last of how old the entries on the screen are."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The rows."""
        return self._entries

    @property
    def entry(self) -> Entry | None:
        """The row with the cursor."""
        return None if self._cursor is None else self._entries[self._cursor]

    def show(self, entries: Sequence[Entry], *, empty: str | None = None) -> None:
        """Show these rows. Where the entry with the cursor is no more, the cursor goes to the one that follows it."""
        before = self.entry
        keys = {entry.key: index for index, entry in enumerate(entries) if entry.key is not None}
        cursor: int | None = None
        if before is not None:
            after = (one.key for one in self._entries[self._cursor or 0 :] if one.key is not None)
            cursor = next((keys[key] for key in after if key in keys), None)
            if cursor is None:
                ahead = (one.key for one in reversed(self._entries[: self._cursor]) if one.key is not None)
                cursor = next((keys[key] for key in ahead if key in keys), None)
        if cursor is None:
            cursor = next(iter(keys.values()), None)
        if empty is not None:
            self._empty = empty
        self._entries, self._cursor = entries, cursor
        self.virtual_size = Size(0, len(entries))
        self.refresh(layout=True)
        self._see()
        now = self.entry
        if (before.key if before else None) != (now.key if now else None) or before != now:
            self.post_message(self.Gone(self, now))

    def go(self, key: Hashable) -> bool:
        """Put the cursor on an entry; returns whether it is there."""
        for index, entry in enumerate(self._entries):
            if entry.key == key and key is not None:
                self._go(index)
                return True
        return False

    def _go(self, index: int) -> None:
        if index == self._cursor:
            return
        self._cursor = index
        self._see()
        self.refresh()
        self.post_message(self.Gone(self, self.entry))

    def _see(self) -> None:
        """Scroll to the cursor; the heading above it is shown too where there is one."""
        if self._cursor is None:
            return
        height = max(1, self.scrollable_content_region.height)
        top = round(self.scroll_y)
        first = self._cursor
        while first and self._entries[first - 1].key is None and self._cursor - first < height - 1:
            first -= 1
        if first < top:
            self.scroll_to(y=first, animate=False, immediate=True, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, immediate=True, force=True)

    def action_cursor(self, step: int) -> None:
        """To the next entry, or the one before."""
        if self._cursor is None:
            return
        index = self._cursor + step
        while 0 <= index < len(self._entries):
            if self._entries[index].key is not None:
                self._go(index)
                return
            index += step

    def action_page(self, direction: int) -> None:
        """A screen further or back."""
        if self._cursor is None:
            return
        goal = self._cursor + direction * max(1, self.size.height - 1)
        self._nearest(min(max(goal, 0), len(self._entries) - 1), -direction)

    def action_edge(self, direction: int) -> None:
        """To the first entry or the last."""
        if self._cursor is not None:
            self._nearest(0 if direction < 0 else len(self._entries) - 1, -direction)

    def _nearest(self, index: int, step: int) -> None:
        while 0 <= index < len(self._entries):
            if self._entries[index].key is not None:
                self._go(index)
                return
            index += step

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there."""
        offset = event.get_content_offset(self)
        index = round(self.scroll_y) + offset.y if offset is not None else -1
        if 0 <= index < len(self._entries) and self._entries[index].key is not None:
            self._go(index)

    def tick(self) -> None:
        """Ages are a little higher."""
        top, now = round(self.scroll_y), time.time()
        ages = [age(now - one.at) for one in self._entries[top : top + self.size.height] if one.at is not None]
        if ages != self._ages:
            self._ages = ages
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of the screen."""
        base = self.rich_style
        width = self.size.width
        index = round(self.scroll_y) + y
        if not self._entries:
            words = self._empty.split("\n")
            text = "  " + words[y] if y < len(words) else ""
            return self._row([(text, self._style("muted"))], base, width)
        if index >= len(self._entries):
            return Strip.blank(width, base)
        entry = self._entries[index]
        if entry.key is None:
            return self._row([(" " + entry.text, self._style("heading"))], base, width)
        cursor = index == self._cursor
        plain = Style()
        # On the cursor's row one style stands for all: other colours may not be readable on it.
        muted, mark, added, removed = (
            (plain,) * 4 if cursor else tuple(map(self._style, ("muted", "mark", "added", "removed")))
        )
        since = age(time.time() - entry.at) if entry.at is not None else ""
        counts = [] if entry.added is None else [(f"+{entry.added}", added), (f" -{entry.removed}", removed)]
        room = max(8, width - 3 - NAME_CELLS - COUNT_CELLS - AGE_CELLS - 3)
        wide = width >= 60
        told = f" ({entry.mark})" if entry.mark else ""
        name = shortened(entry.text, max(8, room - cell_len(told)))
        size = sum(cell_len(text) for text, _ in counts)
        parts: list[tuple[str, Style]] = [("▶ " if cursor else "  ", plain)]
        if wide:
            parts.append((set_cell_size(shortened(entry.agent, NAME_CELLS), NAME_CELLS) + " ", muted))
        else:
            room = max(8, width - 3 - COUNT_CELLS - AGE_CELLS - 2)
            name = shortened(entry.text, max(8, room - cell_len(told)))
        parts += [(name, plain), (told, mark)]
        parts.append((" " * max(0, room - cell_len(name) - cell_len(told)), plain))
        parts += [(" " * max(1, COUNT_CELLS - size), plain), *counts, (f" {since:>{AGE_CELLS}}", muted)]
        return self._row(parts, base + self._style("cursor") if cursor else base, width)

    def _style(self, name: str) -> Style:
        return shade(self, f"entries--{name}")

    @staticmethod
    def _row(parts: Sequence[tuple[str, Style]], base: Style, width: int) -> Strip:
        return Strip([Segment(text, base + style) for text, style in parts]).crop_extend(0, width, base)


def shortened(text: str, cells: int) -> str:
    """A name in so many cells: of a long one the end is kept, which says more."""
    if cell_len(text) <= cells:
        return text
    text = text[-cells:]
    while text and cell_len(text) > cells - 1:
        text = text[1:]
    return "…" + text
