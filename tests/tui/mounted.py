"""Owns how a single view is tested: mounted in an app of its own, fed with what a real server answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Footer, Static

from pairside import runtime
from pairside.serve import Serving
from pairside.tui.agents import AgentsView
from pairside.tui.changes import ChangesView
from pairside.tui.log import LogView
from pairside.tui.reading import Copy, Said
from pairside.tui.session import Refused
from tests.tui.screens import seen, text_of
from tests.until import until

V = TypeVar("V", bound=Widget)
SECONDS = 10.0


class Mounted(App[None]):
    """One view, with a neighbour to switch to, and the keys below; what the view posts is kept."""

    typing_since = math.inf
    """Every key comes long after what it is about was drawn."""

    def __init__(self, view: Widget, *, focus: bool) -> None:
        super().__init__()
        self.view = view
        self._focuses = focus
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        with ContentSwitcher(initial=self.view.id):
            yield self.view
            yield Static("the neighbour", id="neighbour")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        if self._focuses:
            self.focus_view()

    def focus_view(self) -> None:
        """Go to the first widget of the view that takes keys."""
        next(one for one in self.view.query("*") if one.focusable).focus()

    def on_copy(self, message: Copy) -> None:
        self.posted.append(message)

    def on_said(self, message: Said) -> None:
        self.posted.append(message)

    def on_changes_view_wanted(self, message: ChangesView.Wanted) -> None:
        self.posted.append(message)

    def on_agents_view_share(self, message: AgentsView.Share) -> None:
        self.posted.append(message)

    def on_agents_view_clear_selection(self, message: AgentsView.ClearSelection) -> None:
        self.posted.append(message)

    def on_log_view_wire(self, message: LogView.Wire) -> None:
        self.posted.append(message)


@dataclass
class Stage(Generic[V]):
    """A mounted view, and who presses the keys."""

    app: Mounted
    view: V
    pilot: Pilot[None]

    @property
    def screen(self) -> str:
        """What is on the screen."""
        return text_of(self.app)

    @property
    def posted(self) -> list[Message]:
        """What the view posted, oldest first."""
        return self.app.posted

    def line(self, words: str) -> str:
        """The one line of the screen that holds some words."""
        (found,) = [line for line in self.screen.split("\n") if words in line]
        return found

    async def press(self, *keys: str) -> None:
        """Press keys, and let them work."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def settle(self) -> None:
        """Let everything be drawn."""
        await self.pilot.pause()

    def copied(self) -> str:
        """What was copied last."""
        return [message.text for message in self.posted if isinstance(message, Copy)][-1]

    @property
    def said(self) -> list[str]:
        """What the view had to say, oldest first."""
        return [message.text for message in self.posted if isinstance(message, Said)]

    async def see(self, *words: str) -> None:
        """Wait until all the words are on the screen."""
        await seen(self.app, lambda screen: all(one in screen for one in words), f"{words} on the screen", SECONDS)

    async def miss(self, *words: str) -> None:
        """Wait until none of the words is on the screen any more."""
        await seen(self.app, lambda screen: not any(one in screen for one in words), f"{words} gone", SECONDS)

    async def hear(self, words: str) -> None:
        """Wait until the view said something with these words."""
        try:
            await until(lambda: any(words in one for one in self.said), f"{words} said", SECONDS)
        except AssertionError:
            raise AssertionError(f"{words} was not said, but {self.said}:\n{self.screen}") from None


@contextlib.asynccontextmanager
async def mounted(view: V, *, size: tuple[int, int] = (80, 24), focus: bool = True) -> AsyncIterator[Stage[V]]:
    """A view on a screen, for as long as an `async with` block runs; with `focus` its first widget has the keys."""
    app = Mounted(view, focus=focus)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Stage(app, view, pilot)


async def ask(server: Serving, method: str, params: Mapping[str, Any] | None = None) -> Any:
    """What a server answers to an observer. Raises `Refused`."""
    path = runtime.socket_path(runtime.directory(os.environ), server.port)
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
        try:
            question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
            writer.write(json.dumps(question).encode() + b"\n")
            answer = json.loads(await reader.readline())
        finally:
            writer.close()
            await writer.wait_closed()
    if "error" in answer:
        raise Refused(answer["error"]["code"], answer["error"]["message"], answer["error"].get("data") or {})
    return answer["result"]
