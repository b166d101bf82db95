"""Owns the look into a file that is about to be picked, and the choice of lines in it."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pairside import phrases
from pairside.text import decode_file, read_file
from pairside.tui import syntax
from pairside.tui.cells import Span, strip_of, widest
from pairside.tui.shades import shade

READ_BYTES = 32 * 1024 * 1024
"""A larger file is not shown; agents are not told of its lines either."""
STEP = 8
"""So many columns at once to the side."""


class Preview(ScrollView, can_focus=True):
    """The lines of a file, with a cursor and the lines that are chosen. Lines count from 0."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "cursor(1)", "Line down", show=False, tooltip="A line further"),
        Binding("up,k", "cursor(-1)", "Line up", show=False, tooltip="A line back"),
        Binding("shift+down,J", "extend(1)", "Extend down", show=False, tooltip="Choose a line more"),
        Binding("shift+up,K", "extend(-1)", "Extend up", show=False, tooltip="Choose a line more, above"),
        Binding("space,v", "anchor", "Choose", show=False, tooltip="Choose lines from here on; again: none"),
        Binding("pagedown", "page(1)", "Page down", show=False, tooltip="A page further"),
        Binding("pageup", "page(-1)", "Page up", show=False, tooltip="A page back"),
        Binding("home,g", "edge(-1)", "Start", show=False, tooltip="The first line"),
        Binding("end,G", "edge(1)", "End", show=False, tooltip="The last line"),
        Binding("right,l", "move(1)", "To the right", show=False, tooltip="What is further right"),
        Binding("left,h", "move(-1)", "To the left", show=False, tooltip="What is further left"),
        Binding("enter", "take", "Take", show=False, tooltip="Take the chosen lines, or the one of the cursor"),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "preview--number", "preview--cursor", "preview--chosen", "preview--special", "preview--words",
        *(f"preview--{kind}" for kind in syntax.KINDS),
    }  # fmt: skip

    DEFAULT_CSS = """
    Preview {
        background: $background;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        & .preview--number { color: $text-muted; }
        & .preview--words { color: $text-muted; }
        & .preview--special { color: $text-disabled; }
        & .preview--chosen { background: $primary 35%; }
        & .preview--cursor { text-style: bold; }
        &:focus .preview--cursor { background: $primary-darken-2; color: $text; }
        & .preview--comment { color: $text-muted; text-style: italic; }
        & .preview--keyword { color: $text-accent; }
        & .preview--string { color: $text-success; }
        & .preview--function { color: $text-primary; }
        & .preview--type { color: $text-primary; }
        & .preview--tag { color: $text-primary; }
        & .preview--punctuation { color: $foreground 80%; }
    }
    """

    class Moved(Message):
        """Other lines are chosen, or there are others to choose from."""

    class Taken(Message):
        """The person takes the lines that are chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._path = ""
        self._lines: Sequence[str] = ()
        self._words = ""
        self._kinds: Sequence[syntax.Kinds] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._highlighting: asyncio.Task[None] | None = None
        self._wanted: tuple[int, int] | None = None
        self._cursor = 0
        self._anchor: int | None = None

    # What is shown.

    @property
    def lines(self) -> Sequence[str]:
        """The lines that there are to choose from; none where the file cannot be shown."""
        return self._lines

    @property
    def chosen(self) -> tuple[int, int] | None:
        """The first line and the last that are chosen; None where none are."""
        if self._anchor is None or not self._lines:
            return None
        first, last = sorted((self._anchor, self._cursor))
        return first, last

    @property
    def cursor(self) -> int:
        """The line of the cursor."""
        return self._cursor

    def show(self, path: str | None, wanted: tuple[int, int] | None = None) -> None:
        """Show a file, as soon as it was read; with these lines chosen where there are any."""
        if path == self._path and path is not None:
            self._wanted = wanted
            if self._loading is None or self._loading.done():
                self._choose(wanted)
            return
        self.stop()
        self._path = path or ""
        self._wanted = wanted
        if path is None:
            self._put((), "")
        else:
            self._loading = asyncio.create_task(self._load(path))

    async def _load(self, path: str) -> None:
        lines, words = await asyncio.to_thread(_read, path)
        self._put(lines, words, await asyncio.to_thread(widest, lines))
        self._choose(self._wanted)
        if lines:
            self._highlighting = asyncio.create_task(self._highlight(lines, path))

    async def _highlight(self, lines: Sequence[str], path: str) -> None:
        kinds = await syntax.highlight("\n".join(lines), path)
        if self._lines is lines:
            self._kinds = kinds
            self.refresh()

    def stop(self) -> None:
        """Nobody waits for what is still read."""
        for task in (self._loading, self._highlighting):
            if task is not None:
                task.cancel()

    async def settled(self) -> None:
        """Wait until the file that was asked for last is shown."""
        if self._loading is not None:
            await asyncio.wait([self._loading])

    def _put(self, lines: Sequence[str], words: str, width: int = 0) -> None:
        self._lines, self._words, self._kinds = lines, words, None
        self._cursor, self._anchor = 0, None
        self.virtual_size = Size(width + self._digits() + 4, max(1, len(lines)))
        self.scroll_to(0, 0, animate=False, immediate=True, force=True)
        self.post_message(self.Moved())
        self.refresh()

    def _choose(self, wanted: tuple[int, int] | None) -> None:
        if not self._lines:
            return
        if wanted is None:
            self._anchor = None
        else:
            end = len(self._lines) - 1
            self._anchor, self._cursor = min(wanted[0], end), min(wanted[1], end)
        self._see(self._cursor)
        if self._anchor is not None:
            self._see(self._anchor)  # where both do not fit the beginning says more
        self.post_message(self.Moved())
        self.refresh()

    # Keys.

    def _go(self, line: int) -> None:
        if self._lines:
            self._cursor = min(max(line, 0), len(self._lines) - 1)
            self._see(self._cursor)
            self.post_message(self.Moved())
            self.refresh()

    def _see(self, line: int) -> None:
        height = max(1, self.scrollable_content_region.height)
        top = round(self.scroll_y)
        if line < top:
            self.scroll_to(y=line, animate=False, immediate=True, force=True)
        elif line >= top + height:
            self.scroll_to(y=line - height + 1, animate=False, immediate=True, force=True)

    def action_cursor(self, step: int) -> None:
        """To another line; what is chosen grows or shrinks with it."""
        self._go(self._cursor + step)

    def action_extend(self, step: int) -> None:
        """To another line, with all in between chosen."""
        if self._anchor is None:
            self._anchor = self._cursor
        self._go(self._cursor + step)

    def action_anchor(self) -> None:
        """Choose from here on; choose nothing if something was chosen."""
        self._anchor = self._cursor if self._anchor is None else None
        self._go(self._cursor)

    def action_page(self, direction: int) -> None:
        """A page further or back."""
        self._go(self._cursor + direction * max(1, self.scrollable_content_region.height - 1))

    def action_edge(self, direction: int) -> None:
        """To the first line or the last."""
        self._go(0 if direction < 0 else len(self._lines) - 1)

    def action_move(self, direction: int) -> None:
        """Move to the side."""
        self.scroll_relative(x=direction * STEP, animate=False)

    def action_take(self) -> None:
        """Take the lines that are chosen, or the one of the cursor."""
        if not self._lines:
            return
        if self._anchor is None:
            self._anchor = self._cursor
        self.post_message(self.Taken())

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A press puts the cursor on a line; with Shift what lies between is chosen."""
        line = self._line_at(event)
        if line is None:
            return
        if event.shift:
            self._anchor = self._cursor if self._anchor is None else self._anchor
        else:
            self._anchor = None
        self._go(line)
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Dragging chooses lines."""
        line = self._line_at(event)
        if line is None or self.app.mouse_captured is not self or line == self._cursor:
            return
        if self._anchor is None:
            self._anchor = self._cursor
        self._go(line)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """The choice is made; it is not taken yet."""
        self.release_mouse()

    def _line_at(self, event: events.MouseEvent) -> int | None:
        if not self._lines:
            return None
        return min(max(round(self.scroll_y) + event.y, 0), len(self._lines) - 1)

    # Drawing.

    def _digits(self) -> int:
        return max(3, len(str(len(self._lines))))

    def _style(self, name: str) -> Style:
        return shade(self, f"preview--{name}")

    def render_line(self, y: int) -> Strip:
        """One row of the screen."""
        base, width = self.rich_style, self.size.width
        number = round(self.scroll_y) + y
        if not self._lines:
            return Strip([Segment("  " + self._words if not y else "", base + self._style("words"))]).crop_extend(
                0, width, base
            )
        if number >= len(self._lines):
            return Strip.blank(width, base)
        digits = self._digits()
        first, last = self.chosen or (0, -1)
        chosen = first <= number <= last
        cursor = number == self._cursor
        sign = ("▶" if cursor and self.has_focus else " ") + ("█" if chosen else " ")
        if chosen:
            base += self._style("chosen")
        spans: list[Span] = []
        if self._kinds is not None and number < len(self._kinds) and not (cursor and self.has_focus):
            parts = syntax.joined(self._kinds[number])
            # The number of a line has a style of its own; a number in a line needs none.
            spans = [Span(start, end, self._style(kind)) for start, end, kind in parts if kind != "number"]
        if cursor:
            base += self._style("cursor")
        room = max(1, width - digits - 3)
        text = strip_of(self._lines[number], spans, base, self._style("special"), left=round(self.scroll_x), width=room)
        head = [Segment(sign, base), Segment(f"{number + 1:>{digits}} ", base + self._style("number"))]
        return Strip([*head, *text]).crop_extend(0, width, base)


def _read(path: str) -> tuple[Sequence[str], str]:
    """The lines of a file, or in a few words why there are none."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return (), f"A folder with {phrases.count(len(os.listdir(path)), 'entry', 'entries')}."
        data = read_file(path, READ_BYTES)
    except OSError as error:
        return (), f"It cannot be read: {error.strerror}."
    if len(data) > READ_BYTES:
        return (), f"It is larger than {READ_BYTES // 2**20} MiB."
    text = decode_file(data)
    if text is None:
        return (), "It is no text (neither UTF-8 nor UTF-16)."
    if not text:
        return (), "It is empty."
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines, ""
