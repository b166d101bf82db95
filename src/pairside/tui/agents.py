"""Owns the view of who is here: the server, its clients, those that left and why, and what is shared with them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from pairside import phrases
from pairside.text import printable
from pairside.tui.entries import Entry, EntryList
from pairside.tui.facts import Facts, text_of
from pairside.tui.reading import Copy

NARROW = 60
"""Below so many columns what a client is doing stands in its second row."""
LOW = 10
"""Below so many lines the list has all of them."""
NOBODY = ('No agent is connected. Run "claude --ide" in this folder, in another terminal,', "or: pairside run claude")


class Present(EntryList, inherit_bindings=False):
    """The server, the clients, and those that left. An entry may go on in a second row, which has no key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "cursor(1)", "Next", show=False),
        Binding("up,k", "cursor(-1)", "Before", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
    ]

    class Opened(Message):
        """All facts of the entry with the cursor are wanted."""

    def _see(self) -> None:
        """Scroll to the cursor; the second row of its entry is shown too where there is room for it."""
        super()._see()
        if self._cursor is None or self.size.height < 2:
            return
        below, height = self._cursor + 1, self.size.height
        goes_on = below < len(self._entries) and _goes_on(self._entries[below])
        if goes_on and below >= round(self.scroll_y) + height:
            self.scroll_to(y=below - height + 1, animate=False, immediate=True)

    def show(self, entries: Sequence[Entry], *, empty: str | None = None) -> None:
        """Show these rows; the cursor is seen also where there is a scroll bar only now."""
        super().show(entries, empty=empty)
        self.call_after_refresh(self._see)

    def on_resize(self) -> None:
        """The cursor stays on the screen."""
        self._see()

    def on_click(self, event: events.Click) -> None:
        """A click on either row of an entry puts the cursor there; a second one shows its facts."""
        offset = event.get_content_offset(self)
        index = round(self.scroll_y) + offset.y if offset is not None else -1
        if 0 < index < len(self._entries) and _goes_on(self._entries[index]):
            index -= 1
        if 0 <= index < len(self._entries) and self._entries[index].key is not None:
            self._go(index)
            if event.chain == 2:
                self.post_message(self.Opened())

    def render_line(self, y: int) -> Strip:
        """One row of the screen."""
        index = round(self.scroll_y) + y
        if index >= len(self._entries):
            return super().render_line(y)
        entry, base, width = self._entries[index], self.rich_style, self.scrollable_content_region.width
        if entry.key is None:
            style = self._style("muted" if _goes_on(entry) or not entry.text else "heading")
            aside = f"{_doing(entry.facts)}, " if _goes_on(entry) and width < NARROW and _doing(entry.facts) else ""
            margin = "    " if _goes_on(entry) else " "
            return self._row([(margin + _shortened(aside + entry.text, width - len(margin)), style)], base, width)
        cursor = index == self._cursor
        if cursor:
            base += self._style("cursor")
        aside = _aside(entry, wide=width >= NARROW)
        room = max(8, width - 2 - (cell_len(aside) + 2 if aside else 0))
        row = [("▶ " if cursor else "  ", base), (set_cell_size(_shortened(entry.text, room), room), base)]
        if aside:
            row.append((f"  {aside}", base if cursor else base + self._style("muted")))
        return self._row(row, base, width)


class Switch(Static):
    """The switch of sharing, in words."""

    class Turned(Message):
        """It was clicked."""

    def on_click(self) -> None:
        """A click turns it."""
        self.post_message(self.Turned())


class AgentsView(Widget):
    """Who is connected, who has left, and what is shared."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "details", "Details", tooltip="All that is known of it"),
        Binding("s", "share", "Sharing on/off", tooltip="Share with agents, or tell them nothing at all"),
        Binding("c", "clear_selection", "Clear selection", tooltip="Nothing is selected any more, for agents too"),
        Binding("y", "copy", "Copy", tooltip="Copy the pid, or the details of one that has left"),
    ]

    DEFAULT_CSS = """
    AgentsView {
        height: 1fr;
        layout: vertical;
        & > .notices { height: auto; max-height: 5; padding: 0 1; color: $text-warning; display: none; }
        & > .notices.-some { display: block; }
        & > Present { height: 1fr; min-height: 1; }
        & > .shared { height: auto; max-height: 7; background: $panel; display: none; }
        & > .shared.-some { display: block; }
        & > .shared > Static { height: auto; padding: 0 1; }
        & > .shared > Switch { text-style: bold; }
        & > .shared > Switch.-off { color: $text-warning; }
        &.-low > .shared, &.-low > .notices { display: none; }
    }
    """

    class Share(Message):
        """The person wants agents to be told what is shared, or nothing at all."""

        def __init__(self, on: bool) -> None:
            super().__init__()
            self.on = on

    class ClearSelection(Message):
        """The person wants nothing to be selected any more."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._status: Mapping[str, Any] = {}
        self._notices = Static("", classes="notices", markup=False)
        self._list = Present("Nothing is known yet.")
        self._switch = Switch("", markup=False)
        self._now = Static("", markup=False)
        self._shared = Vertical(self._switch, self._now, classes="shared")

    def compose(self) -> ComposeResult:
        """Notices, the list, what is shared."""
        yield self._notices
        yield self._list
        yield self._shared

    def show(self, status: Mapping[str, Any]) -> None:
        """Show what `status` answered; an empty one where no server is there."""
        self._status = status
        notices = [f"! {printable(str(notice))}" for notice in status.get("notices") or ()]
        self._notices.update(Content("\n".join(notices)))
        self._notices.set_class(bool(notices), "-some")
        self._list.show(list(_entries(status)) if status else [])
        sharing = status.get("sharing")
        self._shared.set_class(sharing is not None, "-some")
        if sharing is None:
            return
        on = bool(sharing["on"])
        self._switch.set_class(not on, "-off")
        self._switch.update(Content("Sharing is on (s turns it off)" if on else "! Sharing is OFF (s turns it on)"))
        lines = [*phrases.sharing(dict(sharing)), *phrases.never_shared(dict(sharing))]
        self._now.update(Content("\n".join(lines)))

    def tick(self) -> None:
        """It is longer ago that agents were heard of."""
        if self._status.get("clients"):
            self._list.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Where there are few lines the list has them."""
        self.set_class(event.size.height < LOW, "-low")

    def on_entry_list_gone(self, message: EntryList.Gone) -> None:
        """Nothing else depends on the cursor."""
        message.stop()

    def on_switch_turned(self, message: Switch.Turned) -> None:
        """A click is as good as a key."""
        message.stop()
        self.action_share()

    def on_present_opened(self, message: Present.Opened) -> None:
        """A second click is as good as a key."""
        message.stop()
        self.action_details()

    # Keys.

    def action_share(self) -> None:
        """Turn sharing on or off."""
        if self._status.get("sharing") is not None:
            self.post_message(self.Share(not self._status["sharing"]["on"]))

    def action_clear_selection(self) -> None:
        """Nothing is to be selected any more."""
        self.post_message(self.ClearSelection())

    def action_details(self) -> None:
        """Show all facts of what the cursor is on."""
        entry = self._list.entry
        if entry is not None:
            self.app.push_screen(Facts(entry.text, self._facts(entry)))

    def action_copy(self) -> None:
        """Copy the pid of what the cursor is on; its facts where it has none."""
        entry = self._list.entry
        if entry is None:
            return
        pid = entry.facts.get("pid")
        self.post_message(Copy(str(pid) if pid is not None else text_of(self._facts(entry))))

    def _facts(self, entry: Entry) -> list[tuple[str, str]]:
        """What is known of an entry, by names for a person."""
        kind = entry.mark
        return list({"server": _server_facts, "client": _client_facts}.get(kind, _departure_facts)(entry.facts))


def _entries(status: Mapping[str, Any]) -> Iterator[Entry]:
    """The rows: the server, its clients, those that left, newest first."""
    clients, departures = status.get("clients") or (), status.get("departures") or ()
    process = f" (pid {status.get('pid')})" if status.get("pid") is not None else ""
    version = printable(str(status.get("version") or ""))
    yield Entry("server", f"pairside {version} on port {status.get('port')}{process}", mark="server", facts=status)
    yield _second(", ".join(_folder(str(one)) for one in status.get("workspace_folders") or ()), None)
    yield Entry(None, "")
    if clients:
        yield Entry(None, f"{phrases.count(len(clients), 'agent')} connected")
    else:
        for words in NOBODY:
            yield Entry(None, words)
    for client in clients:
        key = ("client", client.get("id"))
        yield Entry(key, phrases.who(dict(client), version=True), mark="client", facts=client)
        folder = folder_of(client.get("pid"))
        parts = [_folder(folder)] if folder is not None else []
        if client.get("connected_at") is not None:
            parts.append(f"since {phrases.clock(client['connected_at'])}")
        yield _second(", ".join(parts), client)
    if departures:
        yield Entry(None, "")
        left = status.get("disconnects") or len(departures)
        last = "" if left == len(departures) else f", the last {len(departures)}"
        yield Entry(None, f"{phrases.count(left, 'agent')} left{last}")
    for one in reversed(departures):
        at = f"{phrases.clock(one['at'])}  " if one.get("at") is not None else ""
        text = printable(f"{at}{phrases.agent_of(dict(one))}: {phrases.departure(dict(one))}")
        yield Entry(("departure", one.get("client_id"), one.get("at")), text, mark="departure", facts=one)


def _second(text: str, facts: Any) -> Entry:
    """The second row of an entry."""
    return Entry(None, text, mark="more", facts=facts)


def _shortened(text: str, cells: int) -> str:
    """The beginning of a text, in so many cells at most."""
    return text if cell_len(text) <= cells else set_cell_size(text, max(0, cells - 1)) + "…"


def _goes_on(entry: Entry) -> bool:
    """Whether a row is the second one of the entry above."""
    return entry.mark == "more"


def _aside(entry: Entry, *, wide: bool) -> str:
    """What stands at the right of a row."""
    if entry.mark == "server":
        editor = printable(str(entry.facts.get("editor") or ""))
        return "" if editor in ("", "pairside") or not wide else f"editor {editor}"
    if entry.mark == "client":
        parts = [_doing(entry.facts) if wide else "", _heard(entry.facts)]
        return ", ".join(part for part in parts if part)
    return ""


def _doing(client: Mapping[str, Any] | None) -> str:
    """What a client waits for."""
    parts = []
    if client and client.get("calls_in_flight"):
        parts.append(f"{phrases.count(client['calls_in_flight'], 'call')} in flight")
    if client and client.get("open_reviews"):
        parts.append(phrases.count(client["open_reviews"], "open review"))
    return ", ".join(parts)


def _heard(client: Mapping[str, Any]) -> str:
    at = client.get("last_received_at")
    return "" if at is None else ago(time.time() - at)


def ago(seconds: float) -> str:
    """How long ago something was."""
    seconds = max(0, int(seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def folder_of(pid: Any) -> str | None:
    """The folder in which a process runs; None where the system does not tell."""
    if not isinstance(pid, int) or pid <= 0:
        return None
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def _folder(path: str) -> str:
    """A folder for a person; the home is `~`."""
    home = os.path.expanduser("~")
    if home != "/" and (path == home or path.startswith(home + "/")):
        path = "~" + path[len(home) :]
    return printable(path)


# All facts.


def _server_facts(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "version", _told(status.get("version"))
    yield "pid", _told(status.get("pid"))
    yield "port", _told(status.get("port"))
    yield "editor", "none" if status.get("editor") == "pairside" else _told(status.get("editor"))
    yield "folders", _lines(status.get("workspace_folders") or ())
    yield "lock file", f"{_told(status.get('lock_file'))} (there Claude Code finds it)"
    yield "agents", f"{_told(status.get('connects'))} arrived in all, {_told(status.get('disconnects'))} left"
    yield "reviews pending", _told(status.get("pending_reviews"))
    yield "changes without a review", _told(status.get("unreviewed_changes"))
    terminal = status.get("review_where") == "terminal"
    yield "proposals are answered", "in the agents' own terminals" if terminal else "here"
    if status.get("notices"):
        yield "notices", _lines(status["notices"])


def _client_facts(client: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "agent", _told(client.get("agent"))
    yield "version", _told(client.get("version"))
    yield "client", _told(client.get("id"))
    yield "pid", _told(client.get("pid"))
    yield "folder", _told(folder_of(client.get("pid")))
    yield "connected", _moment(client.get("connected_at"))
    yield "last message", _moment(client.get("last_received_at"))
    yield "calls in flight", _told(client.get("calls_in_flight"))
    yield "open reviews", _told(client.get("open_reviews"))


def _departure_facts(departure: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    reason = _told(departure.get("reason"))
    yield "agent", _told(departure.get("agent"))
    yield "client", _told(departure.get("client_id"))
    yield "left", _moment(departure.get("at"))
    yield "reason", f"{reason}: {phrases.REASONS[reason]}" if reason in phrases.REASONS else reason
    yield "code", _told(departure.get("code"))
    yield "detail", _told(departure.get("detail"))


def _told(value: Any) -> str:
    return "not known" if value in (None, "") else printable(str(value))


def _lines(values: Sequence[Any]) -> str:
    return "\n".join(printable(str(value)) for value in values) or "none"


def _moment(at: float | None) -> str:
    """A moment, and how long ago it was."""
    return "not known" if at is None else f"{phrases.clock(at)}, {ago(time.time() - at)}"
