"""Owns the drawing of a comparison: hunks as units that are gone to and chosen, side by side or one under the other.

Only the rows on the screen are drawn, so the size of the texts does not matter. Nothing is told by colour alone: each
changed line has its sign, a hunk that is left out says so in its head, the present hunk has a bar.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pairside.tui import syntax
from pairside.tui.cells import LINE_CHARACTERS, Span, strip_of, width_of
from pairside.tui.rows import NOTHING, Comparison, Hunk, Kind, Layout, Row, found_rows, summary
from pairside.tui.shades import shade

SIDE_BY_SIDE_COLUMNS = 120
"""From this width on two texts fit side by side."""
STEP = 8
"""So many columns at once to the side."""
EMPHASIS_CHARACTERS = 2000
"""What differs within a line is shown for lines up to this length."""


class Arrangement(Enum):
    """How two texts are shown."""

    AUTO = "by width"
    UNIFIED = "one under the other"
    SIDE_BY_SIDE = "side by side"


@dataclass(frozen=True, slots=True)
class Wording:
    """What the heads of hunks say, which depends on what choosing them is for."""

    chosen: str
    left_out: str


class DiffView(ScrollView, can_focus=True):
    """Two texts and the hunks between them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False),
        Binding("home,g", "scroll_home", "Start", show=False),
        Binding("end,G", "scroll_end", "End", show=False),
        Binding("right,l", "move(1)", "To the right", show=False),
        Binding("left,h", "move(-1)", "To the left", show=False),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "diff--added", "diff--removed", "diff--added-words", "diff--removed-words", "diff--head", "diff--left-out",
        "diff--current", "diff--gap", "diff--number", "diff--special", "diff--found", "diff--none",
        *(f"diff--{kind}" for kind in syntax.KINDS),
    }  # fmt: skip

    DEFAULT_CSS = """
    DiffView {
        background: $background;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 1;
        & .diff--added { background: $success 20%; }
        & .diff--removed { background: $error 20%; }
        & .diff--added-words { background: $success 45%; }
        & .diff--removed-words { background: $error 45%; }
        & .diff--head { color: $text-accent; background: $panel; }
        & .diff--left-out { color: $text-muted; }
        & .diff--current { color: $text-accent; text-style: bold; }
        & .diff--gap { color: $text-muted; }
        & .diff--number { color: $text-muted; }
        & .diff--special { color: $text-disabled; }
        & .diff--found { text-style: reverse; }
        & .diff--none { background: $surface; }
        & .diff--comment { color: $text-muted; text-style: italic; }
        & .diff--keyword { color: $text-accent; }
        & .diff--string { color: $text-success; }
        & .diff--number { color: $text-muted; }
        & .diff--function { color: $text-primary; }
        & .diff--type { color: $text-primary; }
        & .diff--tag { color: $text-primary; }
        & .diff--punctuation { color: $foreground 80%; }
    }
    """

    class Moved(Message):
        """Another hunk is the present one, or another choice was made."""

    class Drawn(Message):
        """A comparison stands on the screen; `key` says which."""

        def __init__(self, key: object) -> None:
            super().__init__()
            self.key = key

    def __init__(self, wording: Wording, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._wording = wording
        self._comparison = NOTHING
        self._layout = Layout(NOTHING, side_by_side=False, whole=False)
        self._kinds: tuple[Sequence[syntax.Kinds] | None, Sequence[syntax.Kinds] | None] = (None, None)
        self._highlighting: asyncio.Task[None] | None = None
        self._arrangement = Arrangement.AUTO
        self._whole = False
        self._key: object = None
        self._found = ""
        self._found_at: list[int] | None = None
        self._at: int | None = None
        self._unseen = False
        """Whether the present hunk is still to be gone to."""
        self.current = 0
        """The index of the present hunk."""
        self.chosen: frozenset[int] = frozenset()
        """The numbers of the hunks that are chosen."""

    # What is shown.

    @property
    def comparison(self) -> Comparison:
        """What is shown."""
        return self._comparison

    def show(self, key: object, comparison: Comparison, path: str, *, chosen: bool, newest: bool = False) -> None:
        """Show a comparison of a file of that name; `key` tells it from others.

        The same key again is a newer state of the same thing: the place and, where the hunks are the same, the choice
        stay. `chosen` says whether the hunks are chosen at first; with `newest` the hunk is gone to that has come
        since, the last one where nothing was shown before.
        """
        same = key == self._key and key is not None
        hunks = comparison.hunks
        if not same or hunks != self._comparison.hunks:
            self.chosen = frozenset(one.number for one in hunks) if chosen else frozenset()
        goal = len(hunks) - 1 if newest and hunks else 0
        if same:
            come = _come(self._comparison, comparison) if newest else None
            goal = min(self.current, max(0, len(hunks) - 1)) if come is None else come
        top = self._place() if same else None
        self._key, self._comparison = key, comparison
        self._kinds = (None, None)
        self._found_at = None
        self.current = goal
        self._arrange(top)
        if top is None:
            self.scroll_to(0, 0, animate=False, immediate=True, force=True)
        if hunks and (top is None or newest):
            self._unseen = True
            self.call_after_refresh(self._see_present)
        if self._highlighting is not None:
            self._highlighting.cancel()
        if comparison is not NOTHING:
            self._highlighting = asyncio.create_task(self._highlight(comparison, path))
        self.post_message(self.Moved())
        self.refresh()
        self.call_after_refresh(self._tell_drawn, comparison)

    def clear(self) -> None:
        """Show nothing."""
        self.show(None, NOTHING, "", chosen=False)

    def _tell_drawn(self, comparison: Comparison) -> None:
        if comparison is self._comparison:
            self.post_message(self.Drawn(self._key))

    async def _highlight(self, comparison: Comparison, path: str) -> None:
        old = await syntax.highlight("\n".join(comparison.old), path)
        new = await syntax.highlight("\n".join(comparison.new), path)
        if comparison is self._comparison:
            self._kinds = (old, new)
            self.refresh()

    # The layout.

    @property
    def arrangement(self) -> Arrangement:
        """How two texts are shown."""
        return self._arrangement

    @property
    def is_side_by_side(self) -> bool:
        """Whether they stand side by side now."""
        return self._layout.side_by_side

    @property
    def is_whole(self) -> bool:
        """Whether all unchanged lines are shown."""
        return self._whole

    def _place(self) -> Row | None:
        """What the first row on the screen that has a line shows."""
        first = round(self.scroll_y)
        for number in range(first, min(first + 5, self._layout.rows)):
            row = self._layout.row(number)
            if row is not None and (row.old is not None or row.new is not None):
                return row._replace(hidden=number - first)
        return None

    def _arrange(self, top: Row | None) -> None:
        """Lay the comparison out for the present width, with what `top` shows on top."""
        wide = self.size.width >= SIDE_BY_SIDE_COLUMNS
        both = bool(self._comparison.old) and bool(self._comparison.new)
        side_by_side = self._arrangement is Arrangement.SIDE_BY_SIDE or (
            self._arrangement is Arrangement.AUTO and wide and both
        )
        self._layout = Layout(self._comparison, side_by_side=side_by_side, whole=self._whole)
        self._found_at = None
        beyond = max(0, self._comparison.width - self._text_width() + 1)
        self.virtual_size = Size(self.size.width + beyond if beyond else 0, self._layout.rows)
        if top is not None:
            row = self._layout.row_of(top.old, top.new) - top.hidden
            self.scroll_to(y=max(0, row), animate=False, immediate=True, force=True)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Another width may fit two texts side by side, or no more."""
        self._arrange(None if self._unseen else self._place())
        self._see_present()

    def _see_present(self) -> None:
        """Go to the present hunk, once: as soon as there is room that it can be seen in."""
        if self._unseen and self._comparison.hunks and self.scrollable_content_region.height > 0:
            self._unseen = False
            self._go(self.current)

    def _digits(self) -> int:
        return max(3, len(str(max(len(self._comparison.old), len(self._comparison.new)))))

    def _text_width(self) -> int:
        """How many columns one text has."""
        digits = self._digits()
        width = self.size.width
        if self._layout.side_by_side:
            return max(1, (width - 1) // 2 - digits - 4)
        return max(1, width - 2 * digits - 5)

    # Moving.

    def _go(self, hunk: int, *, animate: bool = False) -> None:
        """Make a hunk the present one, and show it as far as it fits, with a little of what is around it."""
        self.current = hunk
        head, end = self._layout.head(hunk), self._layout.end(hunk)
        height = max(1, self.scrollable_content_region.height)
        top = round(self.scroll_y)
        if head < top or end > top + height:
            above = 1 if end - head + 1 <= height else 0
            fits = end - head + 4 <= height
            self.scroll_to(y=max(0, head - (3 if fits else above)), animate=animate, immediate=True, force=True)
        self.post_message(self.Moved())
        self.refresh()

    def action_next_hunk(self) -> None:
        """Go to the next hunk."""
        if self.current + 1 < len(self._comparison.hunks):
            self._go(self.current + 1)
        else:
            self.scroll_page_down(animate=False)

    def action_previous_hunk(self) -> None:
        """Go to the hunk before."""
        if self._comparison.hunks and self.current > 0:
            self._go(self.current - 1)
        else:
            self.scroll_page_up(animate=False)

    def action_toggle_hunk(self) -> None:
        """Choose the present hunk, or leave it out."""
        hunks = self._comparison.hunks
        if not hunks:
            return
        if not self._comparison.divisible:
            self.app.bell()
            return
        self.chosen = self.chosen ^ {hunks[self.current].number}
        self._go(self.current)

    def action_whole(self) -> None:
        """Show all unchanged lines, or only those around hunks."""
        top = self._place()
        self._whole = not self._whole
        self._arrange(top)
        self.post_message(self.Moved())

    def action_arrangement(self) -> None:
        """Show the texts side by side, one under the other, or as it fits."""
        order = list(Arrangement)
        top = self._place()
        self._arrangement = order[(order.index(self._arrangement) + 1) % len(order)]
        self._arrange(top)
        self.post_message(self.Moved())

    def action_move(self, direction: int) -> None:
        """Move to the side."""
        self.scroll_relative(x=direction * STEP, animate=False)

    def action_right(self) -> None:
        """What is further right."""
        self.action_move(1)

    def action_left(self) -> None:
        """What is further left."""
        self.action_move(-1)

    def action_scroll_down(self) -> None:
        """One row down."""
        self.scroll_relative(y=1, animate=False)

    def action_scroll_up(self) -> None:
        """One row up."""
        self.scroll_relative(y=-1, animate=False)

    def action_page_down(self) -> None:
        """One page down."""
        self.scroll_page_down(animate=False)

    def action_page_up(self) -> None:
        """One page up."""
        self.scroll_page_up(animate=False)

    def action_scroll_home(self) -> None:
        """To the start."""
        self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
        """To the end."""
        self.scroll_to(y=self._layout.rows, animate=False)

    def on_click(self, event: events.Click) -> None:
        """A click makes a hunk the present one; on the box in its head it chooses it or leaves it out."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        row = self._layout.row(round(self.scroll_y) + offset.y)
        if row is None or row.hunk is None:
            return
        self._go(row.hunk)
        if row.kind is Kind.HEAD and offset.x < len("▌ [x] "):
            self.action_toggle_hunk()

    # Search.

    async def search(self, words: str, direction: int = 0) -> tuple[int, int]:
        """Find words, go to the next place (1), the one before (-1) or the first from here on (0).

        Gives which place it is, from 1, and how many there are; both 0 if there is none.
        Cancelled, the thread that looks soon ends as well.
        """
        if words != self._found or self._found_at is None:
            comparison, layout = self._comparison, self._layout
            given_up = threading.Event()
            try:
                found = await asyncio.to_thread(found_rows, comparison, layout, words, given_up) if words else []
            finally:
                given_up.set()
            if layout is not self._layout:
                return 0, 0
            self._found, self._found_at = words, found
            self._at = None
        found = self._found_at or []
        self.refresh()
        if not found:
            self._at = None
            return 0, 0
        start = self._at if self._at is not None else round(self.scroll_y)
        if direction > 0:
            place = next((index for index, row in enumerate(found) if row > start), 0)
        elif direction < 0:
            place = next((index for index in reversed(range(len(found))) if found[index] < start), len(found) - 1)
        else:
            place = next((index for index, row in enumerate(found) if row >= start), 0)
        self._at = found[place]
        height = self.scrollable_content_region.height
        if not round(self.scroll_y) <= self._at < round(self.scroll_y) + height:
            self.scroll_to(y=max(0, self._at - height // 3), animate=False, immediate=True, force=True)
        row = self._layout.row(self._at)
        if row is not None and row.hunk is not None and row.hunk != self.current:
            self.current = row.hunk
            self.post_message(self.Moved())
        return place + 1, len(found)

    def end_search(self) -> None:
        """Show no found words any more."""
        self._found, self._found_at, self._at = "", None, None
        self.refresh()

    # Drawing.

    def render_line(self, y: int) -> Strip:
        """One row of the screen."""
        left, top = round(self.scroll_x), round(self.scroll_y)
        width = self.size.width
        number = top + y
        row = self._layout.row(number)
        base = self.rich_style
        if row is None:
            return Strip.blank(width, base)
        if row.kind is Kind.HEAD:
            strip = self._head(row, width, base)
        elif row.kind is Kind.GAP:
            words = f"  ⋯ {row.hidden:,} unchanged line{'s' if row.hidden != 1 else ''}"
            strip = self._words(words, base + self._style("gap"), width)
        elif self._layout.side_by_side:
            strip = self._pair(row, left, base)
        else:
            strip = self._single(row, left, base)
        return strip.crop_extend(0, width, base)

    def _style(self, name: str) -> Style:
        return shade(self, f"diff--{name}")

    @staticmethod
    def _words(words: str, style: Style, width: int) -> Strip:
        return Strip([Segment(words, style)]).crop_extend(0, width, style)

    def _head(self, row: Row, width: int, base: Style) -> Strip:
        assert row.hunk is not None
        hunk = self._comparison.hunks[row.hunk]
        total = len(self._comparison.hunks)
        style = base + self._style("head")
        current = row.hunk == self.current
        if not self._comparison.divisible:
            return self._words(f"{'▌' if current else ' '} All of it, as it cannot be divided", style, width)
        chosen = hunk.number in self.chosen
        said = self._wording.chosen if chosen else self._wording.left_out
        words = f" [{'x' if chosen else ' '}] hunk {hunk.number} of {total}, {summary(hunk)}"
        words += f", +{hunk.new_count} -{hunk.old_count}" + (f", {said}" if said else "")
        if current:
            style = style + self._style("current")
        return self._words(("▌" if current else " ") + words, style, width)

    def _bar(self, row: Row, base: Style) -> Segment:
        current = row.hunk is not None and row.hunk == self.current
        return Segment("▌" if current else " ", base + self._style("current") if current else base)

    def _number(self, line: int | None, base: Style) -> Segment:
        digits = self._digits()
        return Segment(
            f"{line + 1:>{digits}} " if line is not None else " " * (digits + 1), base + self._style("number")
        )

    def _line(self, row: Row, *, new: bool, left: int, width: int, base: Style) -> list[Segment]:
        """The sign and the text of one side of a row."""
        index = row.new if new else row.old
        lines = self._comparison.new if new else self._comparison.old
        if index is None or index >= len(lines):
            return [Segment("  " + " " * width, base + self._style("none"))]
        line = lines[index]
        changed = row.kind is Kind.CHANGED
        name = "added" if new else "removed"
        style = base + self._style(name) if changed else base
        left_out = changed and self._is_left_out(row)
        spans: list[Span] = []
        kinds = self._kinds[new]
        if kinds is not None and index < len(kinds) and not left_out:
            spans += [Span(start, end, self._style(kind)) for start, end, kind in syntax.joined(kinds[index])]
        if left_out:
            style = base + self._style("left-out")
        elif changed:
            spans += self._emphasis(row, line, new)
        spans += self._found_in(line)
        sign = ("+" if new else "-") if changed else " "
        strip = strip_of(line, spans, style, self._style("special"), left=left, width=width)
        if width > 1 and width_of(line) > left + width:
            strip = Strip([*strip.crop(0, width - 1), Segment("›", style + self._style("special"))], width)
        return [Segment(sign + " ", style), *strip]

    def _is_left_out(self, row: Row) -> bool:
        return (
            bool(self._wording.left_out)
            and row.hunk is not None
            and self._comparison.divisible
            and self._comparison.hunks[row.hunk].number not in self.chosen
        )

    def _emphasis(self, row: Row, line: str, new: bool) -> list[Span]:
        """What differs from the line that stands on the other side."""
        assert row.hunk is not None
        hunk = self._comparison.hunks[row.hunk]
        if hunk.old_count != hunk.new_count:
            return []  # which line became which is not known
        if new:
            assert row.new is not None
            other = self._comparison.old[hunk.old_start + row.new - hunk.new_start]
        else:
            assert row.old is not None
            other = self._comparison.new[hunk.new_start + row.old - hunk.old_start]
        if max(len(line), len(other)) > EMPHASIS_CHARACTERS:
            return []
        shorter = min(len(line), len(other))
        start = next((place for place in range(shorter) if line[place] != other[place]), shorter)
        end = next(
            (place for place in range(shorter - start) if line[-1 - place] != other[-1 - place]), shorter - start
        )
        if start + end < 2 or start == len(line) - end:
            return []
        return [Span(start, len(line) - end, self._style("added-words" if new else "removed-words"))]

    def _found_in(self, line: str) -> list[Span]:
        words = self._found
        if not words or len(line) > LINE_CHARACTERS * 10:
            return []
        text = line if words != words.casefold() else line.casefold()
        if len(text) != len(line):
            return []  # a character that becomes two: no place would be right
        style = self._style("found")
        spans = []
        place = text.find(words)
        while place >= 0:
            spans.append(Span(place, place + len(words), style))
            place = text.find(words, place + len(words))
        return spans

    def _single(self, row: Row, left: int, base: Style) -> Strip:
        new = row.new is not None
        return Strip(
            [
                self._bar(row, base),
                self._number(row.old, base),
                self._number(row.new, base),
                *self._line(row, new=new, left=left, width=self._text_width(), base=base),
            ]
        )

    def _pair(self, row: Row, left: int, base: Style) -> Strip:
        width = self._text_width()
        return Strip(
            [
                self._bar(row, base),
                self._number(row.old, base),
                *self._line(row, new=False, left=left, width=width, base=base),
                Segment("│", base + self._style("gap")),
                self._number(row.new, base),
                *self._line(row, new=True, left=left, width=width, base=base),
            ]
        )


def _come(before: Comparison, after: Comparison) -> int | None:
    """The index of the first hunk that was not there before; None where all were."""

    def told(comparison: Comparison, hunk: Hunk) -> tuple[object, ...]:
        new = comparison.new[hunk.new_start : hunk.new_start + hunk.new_count]
        return hunk.old_start, hunk.old_count, tuple(new)

    known = {told(before, hunk) for hunk in before.hunks}
    return next((index for index, hunk in enumerate(after.hunks) if told(after, hunk) not in known), None)
