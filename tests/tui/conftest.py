"""Owns how tests see and operate the terminal UI: a real server, scripted agents, and the UI without a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from textual.pilot import Pilot

from pairside import testing
from pairside.serve import Serving
from pairside.tui import entries
from pairside.tui.app import PairsideApp
from pairside.tui.reading import SETTLE_SECONDS, Reading
from tests.conftest import Serve, address_of, agent
from tests.tui.screens import seen, text_of
from tests.until import until

SECONDS = 10.0


@dataclass
class Scene:
    """A server, agents, and the UI."""

    server: Serving
    app: PairsideApp
    pilot: Pilot[Any]
    workspace: Path
    stack: contextlib.AsyncExitStack
    serving: Serve
    server_stack: contextlib.AsyncExitStack
    port: int | None
    """Where the server is found; None while there is none."""
    proposals: list[asyncio.Task[list[str]]] = field(default_factory=list)

    async def stop(self) -> None:
        """Stop the server, with all that is connected to it."""
        self.port = None
        await self.server_stack.aclose()

    async def start(self) -> None:
        """Serve, as the only server of the folder."""
        self.server = await self.server_stack.enter_async_context(self.serving())
        self.port = self.server.port

    async def agent(self, **options: Any) -> testing.Agent:
        """An agent that connects and stays."""
        return await self.stack.enter_async_context(agent(address_of(self.server), **options))

    def propose(self, one: testing.Agent, name: str, text: str) -> asyncio.Task[list[str]]:
        """A proposal for a file of the workspace; its verdict comes later."""
        task = asyncio.create_task(one.propose(str(self.workspace / name), text))
        self.proposals.append(task)
        return task

    @property
    def screen(self) -> str:
        """What is on the screen."""
        return text_of(self.app)

    async def see(self, *words: str, seconds: float = SECONDS) -> None:
        """Wait until all the words are on the screen."""
        await seen(self.app, lambda screen: all(one in screen for one in words), f"{words} on the screen", seconds)

    async def miss(self, *words: str) -> None:
        """Wait until none of the words is on the screen any more."""
        await seen(self.app, lambda screen: not any(one in screen for one in words), f"{words} gone", SECONDS)

    async def settle(self, view: Reading | None = None) -> None:
        """Wait until what is shown can be decided about."""
        view = view or self.app.reviews

        def settled() -> bool:
            entry = view.list.entry
            drawn = view.drawn_at
            shown = entry is not None and view.shown_key == entry.key
            return shown and drawn is not None and time.monotonic() > drawn + SETTLE_SECONDS

        await until(settled, "what is shown can be decided about", SECONDS)
        await self.rest()

    async def rest(self) -> None:
        """Let the person's hands rest until what they type next is something new."""
        await until(lambda: time.monotonic() > self.app.typed_at + SETTLE_SECONDS, "a pause in typing", SECONDS)

    async def press(self, *keys: str) -> None:
        """Press keys, and let them work."""
        await self.pilot.press(*keys)
        await self.pilot.pause()


OpenScene: TypeAlias = Callable[..., contextlib.AbstractAsyncContextManager[Scene]]


@pytest.fixture(autouse=True)
def throwaway(environment: dict[str, str], workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The UI runs in this process: it must see the throwaway home, and stand in the workspace as the real one does."""
    for name in set(os.environ) - {"PATH", "APPROVE", "PYTEST_CURRENT_TEST", "LANG"}:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(workspace)


@pytest.fixture
def scene(serving: Serve, workspace: Path) -> OpenScene:
    """Opens the UI of a server, for as long as an `async with` block runs."""

    @contextlib.asynccontextmanager
    async def opened(*, size: tuple[int, int] = (80, 24), mark: str = "") -> AsyncIterator[Scene]:
        async with contextlib.AsyncExitStack() as stack:
            server_stack = await stack.enter_async_context(contextlib.AsyncExitStack())
            server = await server_stack.enter_async_context(serving())
            app = PairsideApp(server.port, find=lambda: at.port, gone=lambda: "pairside is gone.", mark=mark)
            pilot = await stack.enter_async_context(app.run_test(size=size))
            at = Scene(server, app, pilot, workspace, stack, serving, server_stack, server.port)
            try:
                await until(lambda: bool(app.session.facts), "it is connected", SECONDS)
                yield at
            finally:
                for task in at.proposals:
                    task.cancel()
                await asyncio.gather(*at.proposals, return_exceptions=True)

    return opened


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happened just now, for screens that are compared."""
    monkeypatch.setattr(entries, "time", SimpleNamespace(time=lambda: 0.0))
