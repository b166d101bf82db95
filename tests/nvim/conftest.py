"""Owns the fixtures of the tests with a real Neovim.

Every test that uses `neovim`, `running` or `connected` runs with each Neovim: all its cases with 0.11.4, the first one
with 0.12, or all with `--all-neovims`. `-k 0.11.4` or `-k 0.12` picks one.
Tests are synchronous. Nothing sleeps: wait for what should be there.

    def test_a_proposal_is_shown(connected: Connected) -> None:
        \"\"\"What an agent proposes is on screen.\"\"\"
        path = connected.home.write("a.txt", "old\\n")                  # below the project folder, Neovim's cwd
        verdict = connected.agent.propose(path, "new\\n")               # a future: nothing waits here
        connected.neovim.wait_screen(r"\\bnew\\b")                       # what the person sees (regex over all rows)
        connected.neovim.keys(":w<CR>")                                # as typed; also while Neovim waits for a key
        assert verdict.result(10)[0] == "FILE_SAVED"

- `home`: a throwaway home with `home.project`; nothing may be left running in it when the test ends.
- `neovim(*arguments, options={…}, before="lua", plugin=True, columns=100, rows=30)`: starts a Neovim with the plugin,
  does not wait for pairside. `options` is `vim.g.pairside`; `before` is Lua as from the person's configuration.
- `running(…)`: the same, and waits until pairside answered hello. `neovim.wait_running()` does it later.
- `agent(neovim)`: connects a scripted agent through that Neovim's lock file: `call(tool, …)`, `begin_call(tool, …)` (a
  future), `propose(path, text)` (a future), `wait_told(method, count)`, `leave()`, `vanish()`. See tests/cli/robot.py.
- `connected`: a Neovim in which pairside runs, and one agent: `connected.neovim`, `.agent`, `.home`.

Of a `Neovim` see tests/nvim/editor.py. What it does: `lua(code, *args)`, `begin(code)` (not waiting), `command(text)`
(what it says is on screen), `output(text)` (returned instead), `keys(text)`, `send(method, *args)` and `request(…)` for
any API function, `kill(signal)`. What is seen: `screen()`, `redrawn()` (to assert absence), `wait_screen(regex)`,
`wait_not_on_screen(regex)`, `cursor()`, `groups(text)` (highlight groups there), `messages()`, `wait_message(regex)`,
`said()` and `wait_said(regex)` (what the plugin said, in full: messages are cut to the screen). What is so:
`wait_lua(expression, *args)`, `mode()`, `wait_mode("n")`, `lines(buffer)`, `counts()` (windows, tabs, buffers,
autocmds, namespaces), `state`, `lock`, `watch("Pairside*")` with `wait_told("PairsideConnected")` for User events,
`wait_end()`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.editor import PACKAGES, POLL_SECONDS, SECONDS, Neovim


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every case runs with the released Neovim; with the next one each test runs once, unless all are asked for."""
    if config.getoption("--all-neovims"):
        return
    seen, kept, left_out = set(), [], []
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        test = item.nodeid.partition("[")[0]
        if params.get("version") != "0.12" or test not in seen:
            kept.append(item)
        else:
            left_out.append(item)
        if params.get("version") == "0.12":
            seen.add(test)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@dataclass(frozen=True, slots=True)
class Connected:
    """A Neovim in which pairside runs, and one agent that is connected."""

    home: Home
    neovim: Neovim
    agent: Robot


@pytest.fixture(params=PACKAGES)
def version(request: pytest.FixtureRequest) -> str:
    """The version of Neovim; a test that needs one runs with each."""
    version: str = request.param
    return version


@pytest.fixture
def home() -> Iterator[Home]:
    """A home and a project folder of their own, in which nothing runs any more at the end."""
    with Home() as home:
        yield home
        until(lambda: not left(home), timeout=SECONDS, every=POLL_SECONDS, what=lambda: f"nothing left: {left(home)}")


@pytest.fixture
def neovim(home: Home, version: str) -> Iterator[Callable[..., Neovim]]:
    """Starts a Neovim with the plugin."""
    with ExitStack() as stack:

        def started(*arguments: str, **options: Any) -> Neovim:
            return stack.enter_context(Neovim(home, *arguments, version=version, **options))

        yield started


@pytest.fixture
def running(neovim: Callable[..., Neovim]) -> Callable[..., Neovim]:
    """Starts a Neovim with the plugin and waits until pairside runs."""

    def started(*arguments: str, **options: Any) -> Neovim:
        editor = neovim(*arguments, **options)
        editor.wait_running()
        return editor

    return started


@pytest.fixture
def agent() -> Iterator[Callable[..., Robot]]:
    """Connects agents to the pairside of a Neovim; they leave at the end of the test."""
    with ExitStack() as stack:

        def connected(editor: Neovim, **arguments: Any) -> Robot:
            return stack.enter_context(Robot(editor.lock, **arguments))

        yield connected


@pytest.fixture
def connected(home: Home, running: Callable[..., Neovim], agent: Callable[..., Robot]) -> Connected:
    """A Neovim in which pairside runs, and one agent that is connected."""
    editor = running()
    return Connected(home, editor, agent(editor))


def left(home: Home) -> list[str]:
    """The processes that live in a home: their ids and commands. Empty where there is no /proc."""
    mark = f"HOME={home.home}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command:  # else it has ended, and waits for its parent to look
                    found.append(f"{process.name} {command}")
        except OSError:  # another user's, or gone meanwhile
            continue
    return [line for line in found if int(line.split()[0]) != os.getpid()]
