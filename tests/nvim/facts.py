"""Owns what tests see of the facts that Neovim reports: a copy of each notification on its way to pairside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.e2e.until import until
from tests.nvim.editor import POLL_SECONDS, SECONDS, Neovim

RECORD = """
local process = require("pairside.process")
local notify = process.notify
_G.told = {}
process.notify = function(method, params)
  table.insert(_G.told, { method = method, params = vim.deepcopy(params), at = vim.uv.hrtime() / 1e6 })
  return notify(method, params)
end
"""


class Facts:
    """What a Neovim told pairside since this was made."""

    def __init__(self, neovim: Neovim) -> None:
        self.neovim = neovim
        neovim.lua(RECORD)

    def told(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all notifications of that method, oldest first."""
        found = self.neovim.lua(
            """local method, found = ..., {}
            for _, one in ipairs(_G.told) do
              if one.method == method then
                table.insert(found, next(one.params) and one.params or vim.empty_dict())
              end
            end
            return found""",
            method,
        )
        return list(found)

    def times(self, method: str) -> list[float]:
        """When each of them was told, in milliseconds."""
        return [one["at"] for one in self.neovim.lua("return _G.told") if one["method"] == method]

    def forget(self) -> None:
        """Look only at what is told from now on."""
        self.neovim.lua("_G.told = {}")

    def wait(self, method: str, seconds: float = SECONDS, **expected: Any) -> dict[str, Any]:
        """Wait until the newest of that method has these parameters; all of its parameters."""
        last: dict[str, Any] = {}

        def look() -> bool:
            nonlocal last
            told = self.told(method)
            last = told[-1] if told else {}
            return bool(told) and all(last.get(key) == value for key, value in expected.items())

        until(look, timeout=seconds, every=POLL_SECONDS, what=lambda: f"{method} {expected}: {last}")
        return last

    def verb(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the front-end answers to a request of pairside."""
        answer: dict[str, Any] = self.neovim.lua(
            """local method, params = ...
            local done, answer = pcall(require("pairside.process").verbs[method], params)
            answer = done and (answer or {}) or { failure = tostring(answer) }
            return next(answer) and answer or vim.empty_dict()""",
            method,
            dict(params or {}),
        )
        return answer
