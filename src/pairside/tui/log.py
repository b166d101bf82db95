"""Owns the view of the recent past: what happened, and the messages on the wire.

Each of them is a page of rows, bounded, the newest at the bottom. A page follows its end as long as the cursor is on
its last row. Only the rows on the screen are drawn.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import json
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from pairside import phrases
from pairside.text import printable
from pairside.tui.facts import Facts
from pairside.tui.reading import Copy
from pairside.tui.shades import shade
from pairside.tui.typed import Typed

EVENTS = 5000
FRAMES = 2000
"""So many rows are kept of each; the oldest go."""
LINE_CHARACTERS = 4000
"""Of a longer line only the beginning is a row; its facts have all of it."""
LISTED = 500
"""Of a longer list so many entries are among the facts."""
NARROW = 60
"""Below so many columns a row does not say how long it took."""
WIDE = 100
"""From so many columns on a row says whose it is, where its text does not."""
LOW = 4
"""Below so many lines the rows have all of them."""

EMPTY_EVENTS = "Nothing happened yet."
EMPTY_FRAMES = "No message was seen yet. They come within a second; secrets in them are masked."
HINT = "words, kind:call, agent:claude, -not"
FINE = ("closed", "shutdown")
"""With these reasons an agent leaves as it should."""


@dataclass(slots=True, eq=False)
class Row:
    """An event or a message as a line."""

    key: Hashable
    at: float | None
    kind: str
    mark: str
    """What it is at a glance: `✗` failed, `!` is a warning."""
    text: str
    facts: Mapping[str, Any]
    agent: str = ""
    lasted: str = ""
    """How long it took."""
    clock: str = ""
    serial: int = 0
    """Counts on from row to row."""

    def __post_init__(self) -> None:
        self.clock = _clock(self.at)

    @property
    def line(self) -> str:
        """All that is to be seen of it."""
        return " ".join(part for part in (self.clock, self.mark, self.text, self.whose, self.lasted) if part)

    @property
    def whose(self) -> str:
        """The agent, where the text does not name it."""
        return "" if self.agent in self.text else self.agent


class Filter:
    """Which rows are shown: those with all the words, of a kind, of an agent, and without others."""

    def __init__(self, text: str = "") -> None:
        """`text` are words; `kind:` and `agent:` stand before what the kind or the agent holds, `-` before a no."""
        self.text = text.strip()
        self._conditions: list[tuple[bool, str, str]] = []
        for word in text.casefold().split():
            wanted = not word.startswith("-")
            word = word if wanted else word[1:]
            where, colon, value = word.partition(":")
            if not colon or where not in ("kind", "agent"):
                where, value = "", word
            if value:
                self._conditions.append((wanted, where, value))

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self._conditions)

    def passes(self, row: Row) -> bool:
        """Whether a row is shown."""
        if not self._conditions:
            return True
        line = row.line.casefold()
        for wanted, where, value in self._conditions:
            text = {"kind": row.kind, "agent": row.agent.casefold()}.get(where, line)
            if (value in text) is not wanted:
                return False
        return True


@dataclass
class Page:
    """Rows, those of them that are shown, and where the person is."""

    kept: int
    empty: str
    rows: list[Row] = field(default_factory=list)
    shown: list[Row] = field(default_factory=list)
    cursor: int = 0
    top: int = 0
    """The first row on the screen."""
    seen: int = 0
    """The serial of the last row that the person saw."""
    filter: Filter = field(default_factory=Filter)
    serial: int = 0

    @property
    def follows(self) -> bool:
        """Whether the end is followed."""
        return self.cursor >= len(self.shown) - 1

    @property
    def row(self) -> Row | None:
        """The row with the cursor."""
        return self.shown[self.cursor] if self.cursor < len(self.shown) else None

    @property
    def fresh(self) -> int:
        """How many rows came below what the person saw."""
        return len(self.shown) - bisect.bisect_right(self.shown, self.seen, key=lambda row: row.serial)

    def add(self, rows: Sequence[Row]) -> None:
        """New rows at the end; the oldest go. What is on the screen stays there."""
        follows = self.follows
        for row in rows:
            self.serial += 1
            row.serial = self.serial
        self.rows += rows
        self.shown += [row for row in rows if self.filter.passes(row)]
        over = len(self.rows) - self.kept
        if over > 0:
            del self.rows[:over]
            gone = bisect.bisect_left(self.shown, self.rows[0].serial, key=lambda row: row.serial)
            del self.shown[:gone]
            self.cursor = max(0, self.cursor - gone)
            self.top = max(0, self.top - gone)
        if follows:
            self.to_end()

    def replace(self, rows: list[Row]) -> None:
        """Other rows; the cursor stays on its row where that is still there."""
        follows = self.follows
        row = self.row
        seen = next((one.key for one in reversed(self.rows) if one.serial <= self.seen), None)
        self.rows = rows[-self.kept :]
        serials: dict[Hashable, int] = {}
        for number, one in enumerate(self.rows, 1):
            one.serial = serials[one.key] = number
        self.serial = len(self.rows)
        self.seen = serials.get(seen, 0)
        self._refilter(follows, serials.get(row.key, 0) if row is not None else 0)

    def show_only(self, filter: Filter) -> None:
        """Another filter; the cursor stays on its row, or goes to the one before it."""
        follows, row = self.follows, self.row
        self.filter = filter
        self._refilter(follows, row.serial if row is not None else 0)

    def _refilter(self, follows: bool, serial: int) -> None:
        self.shown = [row for row in self.rows if self.filter.passes(row)]
        self.cursor = max(0, bisect.bisect_right(self.shown, serial, key=lambda row: row.serial) - 1)
        if follows:
            self.to_end()

    def to_end(self) -> None:
        """Go to the last row, and have seen everything."""
        self.cursor = max(0, len(self.shown) - 1)
        self.seen = self.serial

    def saw(self, last: int) -> None:
        """The row with that index is on the screen."""
        if self.follows:
            self.seen = self.serial
        elif 0 <= last < len(self.shown):
            self.seen = max(self.seen, self.shown[last].serial)


class Rows(ScrollView, can_focus=True, inherit_bindings=False):
    """The rows of a page. Its keys are those of the view."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor", "rows--muted", "rows--mark"}

    DEFAULT_CSS = """
    Rows {
        height: 1fr;
        min-height: 1;
        background: $surface;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        overflow-x: hidden;
        & .rows--cursor { background: $block-cursor-blurred-background; text-style: bold; }
        &:focus .rows--cursor { background: $primary-darken-2; color: $text; }
        & .rows--muted { color: $text-muted; }
        & .rows--mark { color: $text-error; text-style: bold; }
    }
    """

    class Moved(Message):
        """The person is at another place."""

    class Opened(Message):
        """All facts of the row with the cursor are wanted."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page
        self._ours = False
        """Whether it is us who scroll, and not the person."""

    @property
    def height(self) -> int:
        """How many rows the screen has room for."""
        return max(1, self.size.height)

    def show(self, page: Page) -> None:
        """Show a page as it is now."""
        self._page = page
        self._ours = True
        try:
            if self.virtual_size.height != len(page.shown):
                self.virtual_size = Size(0, len(page.shown))
            self._place()
        finally:
            self._ours = False
        self.refresh()

    def _place(self) -> None:
        """Scroll so that the cursor is seen, and otherwise to where the person was."""
        page = self._page
        top = page.top
        if page.follows:
            top = len(page.shown) - self.height
        else:
            top = max(min(top, page.cursor), page.cursor - self.height + 1)
        page.top = max(0, min(top, len(page.shown) - self.height))
        # By force: whether there is a scroll bar is known only after the layout.
        self.scroll_to(y=page.top, animate=False, immediate=True, force=True)
        page.saw(page.top + self.height - 1)

    def go(self, index: int) -> None:
        """Put the cursor on a row; the last one is followed."""
        if self._page.shown:
            self._page.cursor = max(0, min(index, len(self._page.shown) - 1))
            self.show(self._page)
            self.post_message(self.Moved())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The person scrolled: the cursor stays on the screen, and the end is followed once it is reached."""
        super().watch_scroll_y(old_value, new_value)
        page = self._page
        if self._ours or not page.shown or not self.size.height:
            return
        page.top = round(new_value)
        if new_value > old_value and new_value >= self.max_scroll_y - 0.5:
            page.to_end()
        else:
            page.cursor = max(page.top, min(page.cursor, page.top + self.height - 1))
            page.saw(page.top + self.height - 1)
        self.refresh()
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        """Other rows fit on the screen."""
        self.show(self._page)

    def on_show(self) -> None:
        """Rows came while nothing was shown."""
        self.show(self._page)

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there; a second one shows its facts."""
        offset = event.get_content_offset(self)
        index = round(self.scroll_y) + offset.y if offset is not None else -1
        if 0 <= index < len(self._page.shown):
            self.go(index)
            if event.chain == 2:
                self.post_message(self.Opened())

    def render_line(self, y: int) -> Strip:
        """One row of the screen."""
        base, width, page = self.rich_style, self.scrollable_content_region.width, self._page
        muted = self._style("muted")
        if not page.shown:
            words = f"Nothing matches: {printable(page.filter.text)}" if page.rows and page.filter else page.empty
            return Strip([Segment(f"  {words}" if y == 0 else "", base + muted)]).crop_extend(0, width, base)
        index = round(self.scroll_y) + y
        if index >= len(page.shown):
            return Strip.blank(width, base)
        row = page.shown[index]
        if index == page.cursor:
            # One style stands for all: other colours may not be readable on it.
            base += self._style("cursor")
            muted = mark = Style()
        else:
            mark = self._style("mark")
        aside = row.lasted if width >= NARROW else ""
        if width >= WIDE and row.whose:
            aside = f"{_shortened(row.whose, width // 4)}  {aside}".rstrip()
        aside = f"  {aside}" if aside else ""
        clock = _clock(row.at)
        room = max(8, width - 2 - len(clock) - 3 - cell_len(aside))
        parts = [("▶ " if index == page.cursor else "  ", Style()), (clock, muted), (f" {row.mark or ' '} ", mark)]
        parts += [(set_cell_size(_shortened(row.text, room), room), Style()), (aside, muted)]
        return Strip([Segment(part, base + style) for part, style in parts]).crop_extend(0, width, base)

    def _style(self, name: str) -> Style:
        return shade(self, f"rows--{name}")


class Word(Static):
    """A word that can be clicked."""

    def __init__(self, clicked: Callable[[], None], *, classes: str) -> None:
        super().__init__("", markup=False, classes=classes)
        self._clicked = clicked

    def on_click(self, event: events.Click) -> None:
        """It is as good as a key."""
        event.stop()
        self._clicked()


class LogView(Widget):
    """What happened, and the messages on the wire."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "details", "Details", tooltip="All that is known of it"),
        Binding("slash", "filter", "Filter", key_display="/", tooltip=f"Show only some: {HINT}"),
        Binding("escape", "clear_filter", "No filter", show=False, tooltip="Show all of it again"),
        Binding("w", "wire", "Wire", tooltip="The messages on the wire, or what happened"),
        Binding("y", "copy", "Copy", show=False, tooltip="Copy the line"),
        Binding("down,j", "cursor(1)", "Next", show=False, tooltip="Next line"),
        Binding("up,k", "cursor(-1)", "Before", show=False, tooltip="The line before: the end is followed no more"),
        Binding("pagedown", "page(1)", "Page down", show=False, tooltip="A page further"),
        Binding("pageup", "page(-1)", "Page up", show=False, tooltip="A page back"),
        Binding("home,g", "edge(-1)", "First", show=False, tooltip="The oldest line"),
        Binding("end,G", "edge(1)", "Last", show=False, tooltip="The newest line; the end is followed"),
    ]

    DEFAULT_CSS = """
    LogView {
        height: 1fr;
        layout: vertical;
        & > .head { height: 1; background: $panel; }
        & > .head > Static { width: auto; padding: 0 1; }
        & > .head > .count { width: 1fr; color: $text-muted; }
        & > .head > .fresh { text-style: bold; color: $text-accent; }
        & > .head > .-current { text-style: bold reverse; }
        & > .filter { height: 1; background: $panel; display: none; }
        & > .filter > Static { width: auto; padding: 0 1; color: $text-muted; }
        & > .filter > Input { width: 1fr; }
        & > .filter.-open { display: block; }
        &.-low > .head { display: none; }
        &.-narrow > .filter > .hint { display: none; }
    }
    """

    class Wire(Message):
        """The messages on the wire are to be told, or no more."""

        def __init__(self, on: bool) -> None:
            super().__init__()
            self.on = on

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._events = Page(EVENTS, EMPTY_EVENTS)
        self._frames = Page(FRAMES, EMPTY_FRAMES)
        self._page = self._events
        self._agents: dict[Any, str] = {}
        """What the clients are called."""
        self._rows = Rows(self._events)
        self._input = Typed(compact=True, placeholder=HINT)
        self._tabs = tuple(Word(functools.partial(self.action_wire, on), classes="tab") for on in (False, True))
        self._count = Static("", markup=False, classes="count")
        self._fresh = Word(functools.partial(self.action_edge, 1), classes="fresh")

    def compose(self) -> ComposeResult:
        """Which page it is and how much there is, the rows, the filter."""
        with Horizontal(classes="head"):
            yield from self._tabs
            yield self._count
            yield self._fresh
        yield self._rows
        with Horizontal(classes="filter"):
            yield Static("Filter:", markup=False)
            yield self._input
            yield Static("Enter keeps it, Esc ends it", markup=False, classes="hint")

    def on_mount(self) -> None:
        """Say what there is."""
        self._tell()

    # What comes.

    def fill(self, events: Sequence[Mapping[str, Any]]) -> None:
        """The recent past, oldest first, as `log` told it; what came meanwhile stays, and what is told twice is one."""
        told = {_key(event) for event in events}
        others = [row.facts for row in self._events.rows if row.key not in told]
        began = events[0].get("at") or 0.0 if events else 0.0
        # Another server, which was here before, has numbers of its own.
        before = [one for one in others if (one.get("at") or 0.0) < began]
        after = [one for one in others if (one.get("at") or 0.0) >= began]
        self._agents = {}
        self._events.replace(self._made([*before, *events, *after]))
        self._changed(self._events)

    def append(self, events: Sequence[Mapping[str, Any]]) -> None:
        """What happened now, as `follow` tells it."""
        self._events.add(self._made(events))
        self._changed(self._events)

    def show_frames(self, frames: Sequence[Mapping[str, Any]]) -> None:
        """The latest messages on the wire, oldest first; those that are known already are not told twice."""
        last = self._frames.rows[-1].key if self._frames.rows else None
        new = len(frames)
        while new and _frame_key(frames[new - 1]) != last:
            new -= 1
        rows = [_frame_row(frame, self._agents.get(frame.get("client_id"), "")) for frame in frames[new:]]
        if rows:
            self._frames.add(rows)
            self._changed(self._frames)

    def _made(self, events: Iterable[Mapping[str, Any]]) -> list[Row]:
        rows: list[Row] = []
        for event in events:
            kind, client = event.get("kind"), event.get("client_id")
            if kind == "connected":
                self._agents.pop(client, None)
            elif kind == "introduced":
                self._agents[client] = phrases.agent_of(dict(event))
                for row in itertools.chain(reversed(rows), reversed(self._events.rows)):  # before it said its name
                    if row.facts.get("client_id") == client:
                        row.agent = row.agent or self._agents[client]
                        if row.kind == "connected":
                            break
            name = printable(str(event["agent"])) if event.get("agent") else self._agents.get(client, "")
            rows.append(_event_row(event, name))
        return rows

    def _changed(self, page: Page) -> None:
        if page is self._page and self.is_attached:
            if all(node.display for node in self.ancestors_with_self if isinstance(node, Widget)):
                self._rows.show(page)
            self._tell()

    def _tell(self) -> None:
        """Say which page it is, how much there is in it and what is new."""
        page = self._page
        for tab, one, name in zip(self._tabs, (self._events, self._frames), ("Events", "Wire"), strict=True):
            # The brackets say it where reverse and bold are not to be seen.
            tab.update(Content(f"[{name}]" if one is page else f" {name} "))
            tab.set_class(one is page, "-current")
        number = f"{len(page.shown):,} of {len(page.rows):,}" if page.filter else f"{len(page.rows):,}"
        self._count.update(Content(number + ("" if page.follows else ", not following")))
        fresh = page.fresh
        self._fresh.update(Content(f"▼ {fresh:,} new" if fresh else ""))
        self._fresh.display = bool(fresh)

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Whether the end is followed may be another matter now."""
        message.stop()
        self._tell()

    def on_resize(self, event: events.Resize) -> None:
        """Where there is little room the rows have it."""
        self.set_class(event.size.height < LOW, "-low")
        self.set_class(event.size.width < NARROW, "-narrow")

    def on_rows_opened(self, message: Rows.Opened) -> None:
        """A second click is as good as a key."""
        message.stop()
        self.action_details()

    # Keys.

    def action_cursor(self, step: int) -> None:
        """To the next line, or the one before."""
        self._rows.go(self._page.cursor + step)

    def action_page(self, direction: int) -> None:
        """A page further or back."""
        self._rows.go(self._page.cursor + direction * max(1, self._rows.height - 1))

    def action_edge(self, direction: int) -> None:
        """To the oldest line or the newest."""
        self._rows.go(0 if direction < 0 else len(self._page.shown))

    def action_details(self) -> None:
        """Show all facts of the line."""
        row = self._page.row
        if row is not None:
            self.app.push_screen(Facts(row.kind, _facts(row)))

    def action_copy(self) -> None:
        """Copy the line."""
        row = self._page.row
        if row is not None:
            self.post_message(Copy(row.line))

    def action_wire(self, on: bool | None = None) -> None:
        """The messages on the wire, or what happened."""
        on = self._page is self._events if on is None else on
        page = self._frames if on else self._events
        if page is self._page:
            return
        page.show_only(self._page.filter)
        self._page = page
        self._rows.show(page)
        self._tell()
        self.post_message(self.Wire(on))

    def action_filter(self) -> None:
        """Type what is to be shown."""
        self.query_one(".filter").add_class("-open")
        self.screen.set_focus(self._input)  # at once: the next key is for it

    def action_clear_filter(self) -> None:
        """Show all of it again."""
        self._input.value = ""
        self._close_filter()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Show what matches, at once."""
        message.stop()
        filter = Filter(message.value)
        if filter.text != self._page.filter.text:
            self._page.show_only(filter)
            self._rows.show(self._page)
            self._tell()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Back to the rows; the filter stays."""
        message.stop()
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one(".filter").set_class(bool(self._input.value.strip()), "-open")
        self._rows.focus()


# Rows.


def _shortened(text: str, cells: int) -> str:
    """The beginning of a text, in so many cells at most."""
    # What is far beyond is not even measured; it may be that no character of it takes a cell.
    beginning = text[: 4 * cells]
    fits = cell_len(beginning) <= cells and len(beginning) == len(text)
    return text if fits else set_cell_size(beginning, min(cells - 1, cell_len(beginning))) + "…"


def _key(event: Mapping[str, Any]) -> Hashable:
    return (event.get("number"), event.get("at"))


def _event_row(event: Mapping[str, Any], agent: str) -> Row:
    kind = str(event.get("kind"))
    text, mark, lasted = printable(_line(event)[:LINE_CHARACTERS]), "", ""
    if text.startswith("! "):
        text, mark = text[2:], "!"
    if kind == "call":
        mark = "" if event.get("outcome") in ("ok", "cancelled") else "✗"
        lasted = _milliseconds(event.get("seconds"))
    elif kind == "disconnected":
        mark = "" if event.get("reason") in FINE else "✗"
    elif kind == "mention-expired":
        mark = "!"
    return Row(_key(event), _number(event.get("at")), kind, mark, text, event, agent, lasted)


def _line(event: Mapping[str, Any]) -> str:
    """An event in a line; with its bare facts where they are not those that are expected."""
    told = dict(event)
    try:
        return phrases.call(told, timed=False) if told["kind"] == "call" else phrases.line_of(told)
    except (KeyError, TypeError, ValueError, AttributeError):  # a server of another version
        facts = {key: value for key, value in told.items() if key not in ("number", "at", "kind")}
        return printable(f"{told.get('kind')} {facts}")


def _frame_key(frame: Mapping[str, Any]) -> Hashable:
    return (frame.get("at"), frame.get("client_id"), frame.get("direction"), frame.get("length"))


def _frame_row(frame: Mapping[str, Any], agent: str) -> Row:
    direction = str(frame.get("direction"))
    kind = {"<": "received", ">": "sent"}.get(direction, direction)
    contents = printable(str(frame.get("contents") or "")[:LINE_CHARACTERS])
    text = f"Client {frame.get('client_id')} {printable(direction)} {frame.get('length') or 0:>6,}  {contents}"
    return Row(_frame_key(frame), _number(frame.get("at")), kind, "", text, frame, agent)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _clock(at: float | None) -> str:
    try:
        return "--:--:--" if at is None else phrases.clock(at)
    except (ValueError, OverflowError, OSError):
        return "--:--:--"


def _milliseconds(seconds: Any) -> str:
    """A duration; below ten milliseconds with a decimal."""
    number = _number(seconds)
    if number is None:
        return ""
    return f"{number * 1000:.1f} ms" if number < 0.01 else f"{number * 1000:,.0f} ms"


# All facts.


def _facts(row: Row) -> list[tuple[str, str]]:
    """What is known of a row, by names for a person."""
    facts: list[tuple[str, str]] = []
    if row.kind not in ("received", "sent"):
        facts.append(("what", row.text))
    facts.append(("at", "not known" if row.at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.at))))
    if row.agent and not row.facts.get("agent"):
        facts.append(("agent", row.agent))
    for name, value in row.facts.items():
        if name in ("at", "kind"):
            continue
        if name == "seconds" and row.lasted:
            facts.append(("duration", row.lasted))
        elif name == "direction":
            facts.append((name, {"<": "from the agent", ">": "to the agent"}.get(value, _fact(value))))
        elif name == "contents":
            facts.append((name, _contents(str(value))))
        else:
            facts.append((printable(str(name)).replace("_", " "), _fact(value)))
    return facts


def _fact(value: Any) -> str:
    """A value for a person."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        lines = [_fact(one) for one in value[:LISTED]]
        more = [f"and {len(value) - LISTED:,} more"] if len(value) > LISTED else []
        return "\n".join(lines + more) or "none"
    return printable(str(value))


def _contents(text: str) -> str:
    """The beginning of a message; laid out where it is all of it."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return printable(text)
