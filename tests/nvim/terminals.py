"""Owns what tests say of terminals: the program that stands in for an agent, and the log that it writes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.editor import POLL_SECONDS, SECONDS, Neovim

PROGRAM = Path(__file__).parent / "programs" / "agent.py"
COMMAND = f"{sys.executable} -P {PROGRAM}"
TERMINAL = "require('pairside.terminal')"


def options(terminal: Mapping[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Options with the stand-in as agent, in Neovim's own terminal unless said otherwise."""
    return {"terminal_cmd": COMMAND, "terminal": {"provider": "native", **(terminal or {})}, **others}


class Log:
    """What the stand-ins of a home wrote, oldest first."""

    def __init__(self, home: Home) -> None:
        self._path = home.home / "agent.jsonl"

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Everything of a kind."""
        if not self._path.exists():
            return []
        told = [json.loads(line) for line in self._path.read_bytes().splitlines()]
        return [one for one in told if one["kind"] == kind]

    def wait(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The newest of a kind, once there are that many."""
        until(
            lambda: len(self.all(kind)) >= count,
            timeout=SECONDS,
            every=POLL_SECONDS,
            what=lambda: f"{count} {kind}: {self.all(kind)}",
        )
        return self.all(kind)[-1]

    def typed(self, pid: int | None = None) -> str:
        """All that was typed so far, into one of them or into any."""
        return "".join(one["text"] for one in self.all("typed") if pid in (None, one["pid"]))

    def wait_typed(self, text: str, pid: int | None = None) -> None:
        """Wait until exactly that has been typed."""
        until(
            lambda: self.typed(pid) == text,
            timeout=SECONDS,
            every=POLL_SECONDS,
            what=lambda: f"typed {text!r}: {self.typed(pid)!r}",
        )

    def alive(self) -> list[int]:
        """The processes that were started and have not ended."""
        return [one["pid"] for one in self.all("started") if _lives(one["pid"])]

    def wait_alive(self, count: int) -> list[int]:
        """Wait until so many run."""
        until(
            lambda: len(self.alive()) == count,
            timeout=SECONDS,
            every=POLL_SECONDS,
            what=lambda: f"{count} alive: {self.alive()}",
        )
        return self.alive()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def act(editor: Neovim, call: str, *arguments: Any) -> Any:
    """Call a function of the terminals, as in `toggle('')`; `...` stands for the arguments."""
    return editor.lua(f"return {TERMINAL}.{call}", *arguments)


def opened(editor: Neovim, call: str = "open()") -> None:
    """Open a terminal and wait until the agent in it can be typed to."""
    act(editor, call)
    editor.wait_screen("agent ready")


def ready(editor: Neovim, count: int = 1) -> None:
    """Wait until so many agents are connected that have been able to listen to mentions for a while."""
    editor.wait_lua(
        """local wanted = ...
        require('pairside.process').request('status', nil, function(status)
          _G.seen_status, _G.seen_at = status, vim.uv.gettimeofday()
        end)
        local listening = vim.tbl_filter(function(client)
          return type(client.pid) == 'number' and _G.seen_at - client.connected_at > 0.8
        end, (_G.seen_status or {}).clients or {})
        return #listening >= wanted""",
        count,
    )


def widths(editor: Neovim) -> list[list[int]]:
    """Columns and lines of each window of the tab page."""
    sizes: list[list[int]] = editor.lua(
        """return vim.tbl_map(function(window)
          return { vim.api.nvim_win_get_width(window), vim.api.nvim_win_get_height(window) }
        end, vim.api.nvim_tabpage_list_wins(0))"""
    )
    return sizes
