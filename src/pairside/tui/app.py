"""Owns the terminal UI as a whole: its views, the keys of all of them, and what passes between them and a server.

Views show whole snapshots and post what the person wants; they never talk to the server by themselves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Footer, Static
from textual.worker import WorkType

from pairside import config, phrases
from pairside.journal import is_unasked
from pairside.text import printable
from pairside.tui.agents import AgentsView
from pairside.tui.changes import ChangesView
from pairside.tui.entries import shortened
from pairside.tui.help import Help
from pairside.tui.log import LogView
from pairside.tui.picker import Picked, Picker
from pairside.tui.reading import SETTLE_SECONDS, Copy, Reading, Said
from pairside.tui.reviews import ReviewsView
from pairside.tui.session import CHANGES, REVIEWS, STATUS, Lost, Refused, Session, Watching
from pairside.tui.typed import Typed

TICK_SECONDS = 1.0
SAID_SECONDS = 30.0
SAID_LINES = 3
SAME_MOMENT_SECONDS = 2.0
RECENT = 20
OPENS = ("mention", "select", "search", "filter")
"""The actions that open something into which letters are typed."""
EDITOR_CHARACTERS = 20
"""Of the name of an editor so much is shown."""


@dataclass
class Ending:
    """How the UI was left, and what stood then."""

    pending: int = 0
    agents: list[str] = field(default_factory=list)
    lost: bool = False
    """Whether no server was there any more."""


class Tab(Static):
    """The name of a view, and how much there is in it; that of the present one stands in brackets."""

    DEFAULT_CSS = """
    Tab { width: auto; color: $text-muted; }
    Tab.-current { color: $text; text-style: bold reverse; }
    Tab:hover { color: $text; }
    """

    class Chosen(Message):
        """The person wants that view."""

        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    def __init__(self, view: str, key: str, name: str) -> None:
        super().__init__(markup=False, id=f"tab-{view}")
        self._view = view
        self._words = f"{key} {name}"
        self._number = ""
        self._current = False
        self._say()

    def counted(self, number: str) -> None:
        """Show how much there is."""
        self._number = number
        self._say()

    def choose(self, current: bool) -> None:
        """Show whether it is the present one."""
        self._current = current
        self.set_class(current, "-current")
        self._say()

    def _say(self) -> None:
        words = f"{self._words} {self._number}".strip()
        self.update(Content(f"[{words}]" if self._current else f" {words} "))

    def on_click(self) -> None:
        """A click goes there."""
        self.post_message(self.Chosen(self._view))


class Where(Static):
    """Which server it is; of a long one the end, which says more."""

    DEFAULT_CSS = "Where { width: 1fr; text-align: right; color: $text-muted; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._head = self._words = ""

    def show(self, head: str, words: str) -> None:
        """Show these words; the head is never cut."""
        self._head, self._words = head, words
        self.refresh()

    def render(self) -> Content:
        """What fits of them."""
        return Content(self._head + shortened(self._words, max(1, self.content_size.width - len(self._head))))


class Bar(Horizontal):
    """The first line: the views, and which server."""

    DEFAULT_CSS = "Bar { height: 1; background: $panel; }"


class SaidLine(Static):
    """The last thing that the person should know."""

    DEFAULT_CSS = """
    SaidLine { height: auto; min-height: 1; max-height: 3; padding: 0 1; background: $panel; color: $text; }
    SaidLine.-warning { color: $text-warning; }
    """


class PairsideApp(App[Ending]):
    """The terminal UI."""

    TITLE = "pairside"
    ENABLE_COMMAND_PALETTE = True
    CSS = """
    Screen { layout: vertical; }
    ContentSwitcher { height: 1fr; }
    ContentSwitcher > * { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "view('reviews')", "Reviews", show=False, tooltip="The proposals that wait"),
        Binding("2", "view('changes')", "Changes", show=False, tooltip="What agents have changed"),
        Binding("3", "view('agents')", "Agents", show=False, tooltip="Who is connected, who has left, what is shared"),
        Binding("4", "view('log')", "Log", show=False, tooltip="What has happened, and what goes over the wire"),
        Binding("f", "follow", "Follow", show=False, tooltip="Show each proposal and each change as it comes"),
        Binding("m", "mention", "Mention", show=False, tooltip="Put a file or lines of it into an agent's prompt"),
        Binding("o", "select", "Select", show=False, tooltip="Select a file or lines of it: agents see it"),
        Binding("question_mark", "help", "Help", key_display="?", tooltip="All keys"),
        Binding("ctrl+p", "command_palette", "Commands", show=False, tooltip="All commands by their names, and themes"),
        Binding(
            "ctrl+z",
            "suspend",
            "Suspend",
            show=False,
            priority=True,
            tooltip="Back to the shell; fg there comes back",
        ),
        Binding("q,ctrl+c", "leave", "Quit", key_display="q", tooltip="Leave; what is pending stays so"),
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True, tooltip="Leave, from anywhere"),
    ]

    def __init__(self, port: int, *, find: Callable[[], int | None], gone: Callable[[], str], mark: str = "") -> None:
        """`find` looks for the server of the folder again, and `gone` gives the words for one that is not there.

        `mark` is what an agent has set in our environment.
        """
        super().__init__()
        self.typing_since = 0.0
        """When the first of the keys and clicks came that followed each other without a pause until now, on the
        monotonic clock."""
        self.typed_at = 0.0
        """When the last of them came."""
        self.session = Session(
            port,
            Watching(self._take, self._happened, self._here, self._lost),
            find,
            mark=mark,
        )
        self._gone = gone
        self._status: Mapping[str, Any] = {}
        self._there = False
        self._following = False
        self._landed: set[int] = set()
        """The changes that are to be shown as soon as they are in the list."""
        self._said_at: float | None = None
        self._said: list[str] = []
        self._recent: list[str] = []
        self._frames_wanted = False
        self.reviews = ReviewsView(self.session.request)
        self.changes = ChangesView(self.session.request)
        self.agents = AgentsView(id="agents")
        self.log_view = LogView(id="log")
        self._views: dict[str, Widget] = {
            "reviews": self.reviews, "changes": self.changes, "agents": self.agents, "log": self.log_view,
        }  # fmt: skip
        self._switcher = ContentSwitcher(*self._views.values(), initial="reviews")
        self._where_line = Where()
        self._said_line = SaidLine("", markup=False)
        self._tabs = {
            "reviews": Tab("reviews", "1", "Reviews"),
            "changes": Tab("changes", "2", "Changes"),
            "agents": Tab("agents", "3", "Agents"),
            "log": Tab("log", "4", "Log"),
        }

    def compose(self) -> ComposeResult:
        """The bar, the views, what was said last, the keys."""
        with Bar():
            yield from self._tabs.values()
            yield self._where_line
        yield self._switcher
        yield self._said_line
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin to watch."""
        self._show_view("reviews")
        self._begin(self.session.run, "session")
        self.set_interval(TICK_SECONDS, self._tick)
        self.theme_changed_signal.subscribe(self, self._tell_theme)
        if not self.is_headless:
            self.app_suspend_signal.subscribe(self, lambda _app: self._end_in_order(False), immediate=True)
            self.app_resume_signal.subscribe(self, self._resumed, immediate=True)
            self._end_in_order(True)

    def _resumed(self, _: App[Any]) -> None:
        """The screen is ours again, and empty."""
        self._end_in_order(True)
        self.refresh(layout=True)

    def _end_in_order(self, on: bool) -> None:
        """Leave the terminal as it was also when told to end; what is ignored, as under nohup, stays so.

        Not while an editor has the terminal: it is in order then, and the editor learns by our end that it is gone.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if not on:
                loop.remove_signal_handler(number)
            elif signal.getsignal(number) is signal.SIG_DFL:
                loop.add_signal_handler(number, self.action_leave)

    async def on_event(self, event: events.Event) -> None:
        """Remember when the person did something last: keys that came before what they are about do not count."""
        if isinstance(event, (events.Key, events.MouseDown, events.Click)):
            if event.time - self.typed_at > SETTLE_SECONDS:
                self.typing_since = event.time
            self.typed_at = event.time
        if isinstance(event, events.Key) and not event.is_forwarded and await self._opens_line(event.key):
            return
        await super().on_event(event)

    async def _opens_line(self, key: str) -> bool:
        """Open what letters are typed into at once, and not when the key has bubbled up: the next ones are for that.

        They may be there already, over a slow line, and must not decide about what stands below.
        """
        if len(self.screen_stack) > 1 or isinstance(self.focused, Typed):
            return False
        active = self.screen.active_bindings.get(key)
        return (
            active is not None
            and active.binding.action in OPENS
            and await self.run_action(active.binding.action, active.node)
        )

    def _begin(self, work: WorkType[None], group: str) -> None:
        """Do something beside all else, once at a time; work that is only now called is not left behind at the end."""
        self.run_worker(work, group=group, exclusive=True)

    # The server.

    def _here(self, facts: Mapping[str, Any], again: bool) -> None:
        self._there = True
        self._where()
        if again:
            self.say(f"pairside {printable(str(facts['version']))} is there again, on port {facts['port']}.")
        self._begin(self._fill_log, "log")

    def _lost(self, restarting: bool) -> None:
        if self._there or not restarting:
            self.say("pairside is started anew …" if restarting else self._gone(), warning=not restarting)
        self._there = False
        self._where()
        # What was told of proposals and agents is true no more; changes are kept by whoever serves next.
        self._status = {}
        self.reviews.tell_of(None, restarting=restarting)
        self.reviews.forget()
        self._landed.clear()
        self.agents.show({})
        for view in ("reviews", "agents"):
            self._tabs[view].counted("")

    def _where(self) -> None:
        facts = self.session.facts
        head = "follows " if self._following else ""
        where = "not connected"
        if self._there:
            where = " ".join(printable(_short(folder)) for folder in facts["folders"])
            if facts["editor"] != "pairside":
                head += f"{printable(facts['editor'])[:EDITOR_CHARACTERS]}: "
        self._where_line.show(head, where)

    def _take(self, name: str, snapshot: Any) -> None:
        if name == STATUS:
            self._status = snapshot
            self.agents.show(snapshot)
            self._tabs["agents"].counted(str(snapshot["client_count"]))
            self.reviews.tell_of([phrases.who(client) for client in snapshot["clients"]])
        elif name == REVIEWS:
            self.reviews.show(snapshot)
            self._tabs["reviews"].counted(str(len(snapshot)) if snapshot else "")
        elif name == CHANGES:
            self.changes.show(snapshot)
            files = sum(len(turn["files"]) for turn in snapshot["turns"] if not turn["is_undo"])
            self._tabs["changes"].counted(str(files) if files else "")
            self._follow_to(max((one["id"] for turn in snapshot["turns"] for one in turn["changes"]), default=0))

    def _follow_to(self, newest: int) -> None:
        """Show what landed, once it is in the list; what came after the list was made waits for the next one."""
        shown = {id for id in self._landed if id <= newest}
        self._landed -= shown
        if shown:
            self._show_view("changes")
            self.changes.follow()

    def _happened(self, told: list[dict[str, Any]]) -> None:
        self.reviews.happened(told)
        self.changes.happened(told)
        self.log_view.append(told)
        for event in told:
            kind = event["kind"]
            if kind == "rival" or kind == "hook-failed":
                self.say(phrases.line_of(event), warning=True)
            elif kind == "disconnected" or (kind == "mention-expired"):
                self.say(phrases.line_of(event), too=True)  # why a review has gone was said just before
            elif kind == "change" and is_unasked(event) and not self._following and self._view() != "changes":
                self.say(f"{phrases.line_of(event)} Here: 2", warning=True)
            elif kind == "review" and self._following and self._view() != "reviews":
                self._show_view("reviews")
            elif kind == "change" and self._following and event.get("reviewed") is not True:
                self._landed.add(event["change"])

    async def _fill_log(self) -> None:
        try:
            told = await self.session.request("log")
        except (Refused, Lost):
            return
        self.log_view.fill(told["events"])

    def _tick(self) -> None:
        """What changes by itself with time."""
        view = self._view()
        tick = getattr(self._views[view], "tick", None)
        if tick is not None:
            tick()
        if view == "agents":
            self.session.want(STATUS)  # when a client was heard of last, and what it asks now
        elif view == "log" and self._frames_wanted:
            self._begin(self._fetch_frames, "frames")
        if self._said_at is not None and time.monotonic() - self._said_at > SAID_SECONDS:
            self._said_at = None
            self._said_line.update("")

    # Messages of the views.

    def say(self, text: str, *, warning: bool = False, too: bool = False) -> None:
        """Tell the person something; it stays for a while. Told `too`, it does not replace what was just said."""
        said = ("! " if warning and not text.startswith("!") else "") + text
        now = time.monotonic()
        keeps = too and self._said_at is not None and now - self._said_at < SAME_MOMENT_SECONDS
        self._said = [*self._said, said][-SAID_LINES:] if keeps else [said]
        self._said_line.set_class(warning or (keeps and self._said_line.has_class("-warning")), "-warning")
        self._said_line.update(Content("\n".join(self._said)))
        self._said_at = now

    def _tell_theme(self, theme: Theme) -> None:
        """Say how a theme is kept: settings are the person's, and are never written here."""
        where = phrases.shown(config.path(os.environ))
        self.say(f'Theme {theme.name}. To keep it: theme = "{theme.name}" below [ui] in {where}')

    def on_said(self, message: Said) -> None:
        """A view has something to say."""
        self.say(message.text, warning=message.warning)

    def on_copy(self, message: Copy) -> None:
        """Into the clipboard of the terminal."""
        self.copy_to_clipboard(message.text)
        self.say(f"Copied: {printable(message.text)[:200]}")

    def on_tab_chosen(self, message: Tab.Chosen) -> None:
        """A click on the name of a view."""
        self._show_view(message.view)

    def on_changes_view_wanted(self, message: ChangesView.Wanted) -> None:
        """Changes are to be asked for again."""
        self.session.all_turns = message.all
        self.session.want(CHANGES, fresh=message.fresh)

    async def on_agents_view_share(self, message: AgentsView.Share) -> None:
        """Share with agents, or nothing at all."""
        if await self._do("share", {"on": message.on}) is not None:
            self.session.want(STATUS)
            self.say("Agents are told what is shared again." if message.on else "Agents are told nothing any more.")

    async def on_agents_view_clear_selection(self, message: AgentsView.ClearSelection) -> None:
        """Nothing is selected any more."""
        if await self._do("select/clear", {}) is not None:
            self.session.want(STATUS)
            self.say("Nothing is selected any more.")

    async def on_log_view_wire(self, message: LogView.Wire) -> None:
        """The wire is to be shown, or no more."""
        self._frames_wanted = message.on
        if message.on:
            self._begin(self._fetch_frames, "frames")

    async def _fetch_frames(self) -> None:
        try:
            told = await self.session.request("log", {"wire": True, "contents": True})
        except Refused as refused:
            self.say(phrases.sentence(refused.message), warning=True)
            return
        except Lost:
            return
        self.log_view.show_frames(told["frames"])

    async def _do(self, method: str, params: Mapping[str, Any]) -> Any:
        """What the server answers; None if it says no, which is told."""
        try:
            return await self.session.request(method, params)
        except Refused as refused:
            self.say(phrases.sentence(refused.message), warning=True)
        except Lost:
            self.say("pairside is not there: nothing was done.", warning=True)
        return None

    # Keys.

    def _view(self) -> str:
        return self._switcher.current or "reviews"

    def _show_view(self, view: str) -> None:
        self._switcher.current = view
        for name, tab in self._tabs.items():
            tab.choose(name == view)
        widget = self._views[view]
        if isinstance(widget, Reading):
            widget.focus_first()
        else:
            self.screen.set_focus(None)
            first = next((child for child in widget.query("*") if child.focusable), widget)
            first.focus()

    def action_view(self, view: str) -> None:
        """Show a view."""
        self._show_view(view)
        if view == "changes":
            self.session.want(CHANGES, fresh=True)
        elif view == "agents":
            self.session.want(STATUS)

    def action_follow(self) -> None:
        """Show each proposal and each change as it comes, or not."""
        self._following = not self._following
        self._landed.clear()
        self._where()
        if self._following:
            self.say("Follows: each proposal and each change is shown as it comes. f ends it.")
        else:
            self.say("Follows no more.")

    def action_mention(self) -> None:
        """Choose what to put into an agent's prompt."""
        self._pick(mention=True)

    def action_select(self) -> None:
        """Choose what agents see as selected."""
        self._pick(mention=False)

    def _pick(self, *, mention: bool) -> None:
        if not self._there:
            self.say("pairside is not there.", warning=True)
            return
        picker = Picker(self.session.facts["folders"], mention=mention, recent=self._recent)
        self.push_screen(picker, self._picked)

    async def _picked(self, picked: Picked | None) -> None:
        if picked is None:
            return
        self._recent = [picked.path, *(one for one in self._recent if one != picked.path)][:RECENT]
        place = phrases.place(picked.path, picked.first, picked.last)
        params: dict[str, Any] = {"path": picked.path, "said": picked.said}
        if picked.mention:
            if picked.first is not None:
                params |= {"first": picked.first, "last": picked.last}
            answer = await self._do("mention", params)
            if answer is not None:
                to = f" to {phrases.who(answer)}" if answer["delivered"] else ": it waits for an agent"
                self.say(f"Mentioned {place}{to}.")
            return
        if picked.first is not None and picked.last is not None:
            params |= {"start": [picked.first, 0], "end": [picked.last, picked.end]}
        answer = await self._do("select", params)
        if answer is not None:
            why = answer["withheld"]
            self.say(
                f"Selected {place}." + (f" Agents are not told: {printable(why)}." if why else ""),
                warning=bool(why),
            )
            self.session.want(STATUS)

    def action_help(self) -> None:
        """All keys."""
        self.push_screen(Help())

    def action_leave(self) -> None:
        """Leave."""
        status = self._status
        agents = [phrases.who(client) for client in status.get("clients", ())]
        self.exit(Ending(len(self.reviews.list.entries), agents, not self._there))

    def action_suspend(self) -> None:
        """Stop until the shell that started us lets us go on; not where nobody could."""
        parent = os.getppid()
        try:
            has_shell = os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
        except OSError:  # it is of another user, or has ended
            has_shell = False
        if has_shell:
            self.action_suspend_process()
        else:
            self.say("There is no shell here to go back to.", warning=True)

    async def action_quit(self) -> None:
        """Leave, however it was asked for."""
        self.action_leave()

    def get_system_commands(self, screen: Screen[Any]) -> Iterator[SystemCommand]:
        """What the command palette offers: themes, and all that has a key here and says what it is for."""
        yield SystemCommand("Theme", "Other colours", self.action_change_theme)
        known = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.tooltip and binding.action != "command_palette" and binding.description not in known:
                known.add(binding.description)

                def run(action: str = binding.action, node: Any = active.node) -> None:
                    self.call_later(self.run_action, action, node)

                yield SystemCommand(binding.description, binding.tooltip, run)


def _short(folder: str) -> str:
    """A folder for a person; the home is `~`."""
    home = os.path.expanduser("~")
    return "~" + folder[len(home) :] if folder == home or folder.startswith(home + "/") else folder
