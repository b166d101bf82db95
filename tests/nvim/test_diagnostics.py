"""Agents get the diagnostics that Neovim has, of exactly that file and of the text that is there now."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pairside.text import file_uri
from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim
from tests.nvim.facts import Facts
from tests.nvim.test_documents import tell_changed

Start = Callable[..., Neovim]

HOLD_SECONDS = 1.8
"""How long an agent is kept waiting for what is found in a new text."""
SERVER = """
local command, folder, pulls = ...
vim.lsp.start({
  name = "ruff",
  cmd = command,
  root_dir = folder,
  before_init = function(params)
    if not pulls then
      params.capabilities.textDocument.diagnostic = nil
    end
  end,
  on_init = function(client)
    if not pulls then
      client.server_capabilities.diagnosticProvider = nil
    end
  end,
})
"""
RUFF = [str(Path(sys.executable).with_name("ruff")), "server"]


@pytest.fixture
def editing(running: Start, agent: Callable[..., Robot], home: Home) -> Callable[..., Connected]:
    """Starts a Neovim with a file in front, and an agent."""

    def started(name: str, text: str) -> Connected:
        home.write(name, text)
        editor = running()
        editor.lua(
            "local buffer = vim.fn.bufadd(...) vim.bo[buffer].buflisted = true vim.api.nvim_win_set_buf(0, buffer)",
            str(home.project / name),
        )
        return Connected(home, editor, agent(editor))

    return started


def found(connected: Connected, path: Path | None = None) -> list[dict[str, Any]]:
    """What getDiagnostics answers, of one file or of all."""
    arguments = {} if path is None else {"uri": file_uri(str(path))}
    (text,) = connected.agent.call("getDiagnostics", **arguments)
    files: list[dict[str, Any]] = json.loads(text)
    return files


def codes(files: list[dict[str, Any]]) -> list[list[str]]:
    """The codes of what was found, by file."""
    return [sorted(one["code"] for one in file["diagnostics"]) for file in files if file["diagnostics"]]


def serve(connected: Connected, pulls: bool) -> None:
    """Attach a real language server, until it has looked at the file."""
    connected.neovim.command("set filetype=python")
    connected.neovim.lua(SERVER, RUFF, str(connected.home.project), pulls)
    connected.neovim.wait_lua("#vim.diagnostic.get(0) > 0")


@pytest.mark.parametrize("pulls", [True, False], ids=["asked", "telling"])
def test_what_a_language_server_finds_after_a_write_is_answered(editing: Callable[..., Connected], pulls: bool) -> None:
    """After a write getDiagnostics answers for the new text, whether the server is asked or tells by itself."""
    it = editing("a.py", "import os\n")
    path = it.home.project / "a.py"
    serve(it, pulls)
    assert it.neovim.lua("return vim.lsp.get_clients()[1]:supports_method('textDocument/diagnostic', 0)") == pulls, (
        "the server is of the kind that this is about"
    )
    for text, expected in [
        ("import os\n\nprint(os.name, missing)\n", [["F821"]]),
        ("x = 1\n", []),
        ("import os\nimport sys\n", [["F401", "F401"]]),
        ("import os\n\nprint(os.name)\n", []),
    ]:
        found(it, path)
        path.write_text(text)
        assert codes(found(it)) == expected, text
        assert it.neovim.lines() == text.splitlines()


def test_what_a_language_server_finds_is_answered_for_a_hidden_file(editing: Callable[..., Connected]) -> None:
    """A file that is open but in no window is looked at again as well."""
    it = editing("a.py", "import os\n")
    path = it.home.project / "a.py"
    serve(it, True)
    it.neovim.command("set hidden | enew")
    found(it, path)
    path.write_text("import os\nimport sys\n")
    assert codes(found(it)) == [["F401", "F401"]]


def test_without_a_source_nobody_waits(editing: Callable[..., Connected]) -> None:
    """Where nothing looks at a file the answer after a write comes at once, though the text is loaded."""
    it = editing("a.py", "import os\n")
    path = it.home.project / "a.py"
    found(it, path)
    path.write_text("new\n")
    start = time.monotonic()
    assert found(it) == []
    assert time.monotonic() - start < HOLD_SECONDS / 2
    assert it.neovim.lines() == ["new"]


def test_only_files_with_a_server_that_reports_are_awaited(editing: Callable[..., Connected]) -> None:
    """Of the changed files those are awaited that were read again and that a language server looks at."""
    it = editing("a.py", "import os\n")
    path, other = it.home.project / "a.py", it.home.write("b.txt", "b\n")
    it.agent.call("openFile", filePath=str(other), makeFrontmost=False)
    serve(it, False)
    closed = it.home.write("c.py", "import os\n")
    assert tell_changed(it.neovim, path) == []
    for one in (path, other, closed):
        one.write_text("import os, sys\n")
    assert tell_changed(it.neovim, path, other, closed) == [str(path)]


def test_what_was_found_again_is_told_again(editing: Callable[..., Connected]) -> None:
    """A report that says the same as the last one is a report: somebody may wait for it."""
    it = editing("a.py", "import os\n")
    facts = Facts(it.neovim)
    serve(it, True)
    told = facts.wait("diagnostics/changed")
    facts.forget()
    (it.home.project / "a.py").write_text("import os\n\n")
    assert tell_changed(it.neovim, it.home.project / "a.py") == [str(it.home.project / "a.py")]
    assert facts.wait("diagnostics/changed") == told


def test_positions_are_in_utf16_units_and_texts_in_utf8(editing: Callable[..., Connected]) -> None:
    """Bytes of Neovim's columns become UTF-16 units; what is no UTF-8 is replaced; a code is a text."""
    it = editing("a.txt", "日\U0001f600x\nend\n")
    path = it.home.project / "a.txt"
    it.neovim.lua(
        """local buffer = vim.api.nvim_get_current_buf()
        vim.diagnostic.set(vim.api.nvim_create_namespace("test"), buffer, {
          { lnum = 0, col = 7, end_col = 8, severity = 2, message = "a\\255b", source = "t\\195\\164", code = 7 },
          { lnum = 1, col = 1, end_lnum = 5, end_col = 9, severity = 4, message = "beyond" },
          { lnum = 1, col = 99, message = "bare" },
        })"""
    )
    (file,) = Facts(it.neovim).verb("diagnostics/get", {"path": str(path)})["files"]
    assert file == {
        "path": str(path),
        "diagnostics": [
            {"message": "a\ufffdb", "severity": 2, "start": [0, 3], "end": [0, 4], "source": "tä", "code": "7"},
            {"message": "beyond", "severity": 4, "start": [1, 1], "end": [5, 0]},
            {"message": "bare", "severity": 1, "start": [1, 3], "end": [1, 3]},
        ],
    }
    (answered,) = found(it, path)
    assert [one["message"] for one in answered["diagnostics"]] == ["a\ufffdb", "beyond", "bare"]


@pytest.mark.parametrize("name", ["a b.txt", "[x].txt", "st*r.txt", "$HOME.txt", "%#.txt", "ünï.txt"])
def test_diagnostics_are_those_of_exactly_that_file(editing: Callable[..., Connected], name: str) -> None:
    """No name is a pattern: a file with such a name has its own diagnostics, and one named alike has none."""
    it = editing(name, "one\n")
    it.home.write("x.txt", "x\n")
    it.neovim.lua(
        "vim.diagnostic.set(vim.api.nvim_create_namespace('test'), 0, {{lnum = 0, col = 0, message = 'here'}})"
    )
    path = it.home.project / name
    assert [one["message"] for file in found(it, path) for one in file["diagnostics"]] == ["here"]
    for other in ("x.txt", name[:-1]):
        assert [file["diagnostics"] for file in found(it, it.home.project / other)] == [[]]
    assert len(found(it)) == 1


def test_a_file_that_is_not_loaded_has_what_was_said_of_it(editing: Callable[..., Connected]) -> None:
    """Servers that look at a whole project speak of files that nobody opened; they are not read for that."""
    it = editing("a.txt", "one\n")
    path = it.home.write("b.txt", "é\n")
    it.neovim.lua(
        """vim.diagnostic.set(vim.api.nvim_create_namespace("test"), vim.fn.bufadd(...),
          {{ lnum = 3, col = 2, message = "there" }})""",
        str(path),
    )
    (file,) = found(it, path)
    assert [one["message"] for one in file["diagnostics"]] == ["there"]
    assert it.neovim.lua("return vim.fn.bufloaded(...)", str(path)) == 0


def test_changes_are_told_together_and_completely(editing: Callable[..., Connected]) -> None:
    """Many changes within a moment are one message, with everything that each file has."""
    it = editing("a.txt", "one\n")
    facts = Facts(it.neovim)
    it.neovim.lua(
        """for number = 1, 20 do
          local found = {}
          for index = 1, number do
            found[index] = { lnum = 0, col = 0, message = "m" .. index }
          end
          vim.diagnostic.set(vim.api.nvim_create_namespace("one"), 0, found)
        end
        vim.diagnostic.set(vim.api.nvim_create_namespace("two"), 0, {{ lnum = 0, col = 1, message = "other" }})"""
    )
    (file,) = facts.wait("diagnostics/changed")["files"]
    assert len(file["diagnostics"]) == 21
    assert len(facts.told("diagnostics/changed")) == 1


def test_a_closed_file_has_no_diagnostics_any_more(editing: Callable[..., Connected]) -> None:
    """When a buffer is gone, what was found in it is taken back."""
    it = editing("a.txt", "one\n")
    facts = Facts(it.neovim)
    it.neovim.lua(
        "vim.diagnostic.set(vim.api.nvim_create_namespace('test'), 0, {{lnum = 0, col = 0, message = 'here'}})"
    )
    facts.wait("diagnostics/changed")
    it.neovim.command("bwipeout")
    path = str(it.home.project / "a.txt")
    facts.wait("diagnostics/changed", files=[{"path": path, "diagnostics": []}])


def test_a_busy_neovim_is_answered_for(editing: Callable[..., Connected]) -> None:
    """While Neovim cannot answer, an agent gets the diagnostics that it told last."""
    it = editing("a.txt", "one\n")
    facts = Facts(it.neovim)
    it.neovim.lua(
        "vim.diagnostic.set(vim.api.nvim_create_namespace('test'), 0, {{lnum = 0, col = 0, message = 'here'}})"
    )
    facts.wait("diagnostics/changed")
    path = it.home.project / "a.txt"
    assert found(it, path)[0]["diagnostics"]
    busy = it.neovim.begin("local till = vim.uv.hrtime() + 2e9 while vim.uv.hrtime() < till do end")
    assert [one["message"] for one in found(it, path)[0]["diagnostics"]] == ["here"]
    assert not busy.done()
    busy.result(SECONDS)


SLOW = """
-- A server that tells by itself: it takes back what it found when a document is closed (or does not), and needs 200 ms
-- to find the word "bad" in one that was opened.
local takes_back = ...
local function start(dispatchers)
  local function publish(uri, found)
    dispatchers.notification("textDocument/publishDiagnostics", { uri = uri, diagnostics = found })
  end
  return {
    request = function(method, _, done)
      vim.schedule(function()
        done(nil, method == "initialize" and { capabilities = { textDocumentSync = 1 } } or nil)
      end)
      return true, 1
    end,
    notify = function(method, params)
      if method == "textDocument/didOpen" then
        vim.defer_fn(function()
          local found = {}
          local at = params.textDocument.text:find("bad")
          if at then
            local place = { line = 0, character = at - 1 }
            found[1] = { range = { start = place, ["end"] = place }, message = "bad", code = "bad" }
          end
          publish(params.textDocument.uri, found)
        end, 200)
      elseif method == "textDocument/didClose" and takes_back then
        publish(params.textDocument.uri, {})
      end
      return true
    end,
    is_closing = function() return false end,
    terminate = function() end,
  }
end
vim.lsp.start({ name = "slow", cmd = start, root_dir = vim.fn.getcwd() })
"""


@pytest.mark.parametrize("takes_back", [True, False])
def test_what_a_server_takes_back_is_not_taken_for_the_answer(
    editing: Callable[..., Connected], takes_back: bool
) -> None:
    """A server may say that nothing is left when the old text is closed: the agent gets what it finds in the new one,
    also if that is nothing."""
    it = editing("a.txt", "bad\n")
    path = it.home.project / "a.txt"
    it.neovim.lua(SLOW, takes_back)
    it.neovim.wait_lua("#vim.diagnostic.get(0) > 0")
    for text, expected in [("still bad\n", [["bad"]]), ("good\n", []), ("bad again\n", [["bad"]])]:
        found(it, path)
        path.write_text(text)
        start = time.monotonic()
        assert codes(found(it)) == expected, text
        assert time.monotonic() - start < HOLD_SECONDS - 0.2
