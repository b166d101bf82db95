"""What an agent is told right after its write is what a real language server finds in the new text."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim

Start = Callable[..., Neovim]

RUFF = Path(sys.executable).parent / "ruff"
SERVER = """
vim.api.nvim_create_autocmd("FileType", {pattern = "python", callback = function(event)
  local function ask_not(params)
    params.capabilities.textDocument.diagnostic = nil
  end
  local function push(client)
    client.server_capabilities.diagnosticProvider = nil
  end
  vim.lsp.start({
    name = "ruff", cmd = {"%(ruff)s", "server"}, root_dir = vim.fn.getcwd(),
    before_init = %(pushes)s and ask_not or nil, on_init = %(pushes)s and push or nil,
  }, {bufnr = event.buf})
end})
"""
UNUSED = 'text = "\U0001f600", name\n'
"""`name` is not defined: columns 10 to 11 in UTF-16 units, 9 in characters, 12 in bytes."""
FIXED = 'name = 1\ntext = "\U0001f600", name\n'
HELD_SECONDS = 1.8
"""So long an answer is held at most."""


def found(texts: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The diagnostics that getDiagnostics answers, by URI."""
    (text,) = texts
    return {file["uri"]: file["diagnostics"] for file in json.loads(text)}


def codes(texts: list[str]) -> list[str]:
    """The codes of everything that getDiagnostics answers."""
    return [one.get("code", "") for diagnostics in found(texts).values() for one in diagnostics]


@pytest.fixture(params=["asked", "pushes"])
def served(
    request: pytest.FixtureRequest, running: Start, agent: Callable[..., Robot], home: Home
) -> Callable[..., Connected]:
    """Starts a Neovim with a language server that Neovim asks, or that tells by itself, and an agent."""

    def started(*arguments: str, **options: Any) -> Connected:
        before = SERVER % {"pushes": str(request.param == "pushes").lower(), "ruff": RUFF}
        neovim = running(*arguments, before=options.pop("before", "") + before, **options)
        return Connected(home, neovim, agent(neovim))

    return started


def wait_codes(connected: Connected, path: Path, *expected: str) -> list[dict[str, Any]]:
    """Wait until getDiagnostics of a file tells these codes; its diagnostics."""
    last: list[dict[str, Any]] = []

    def look() -> bool:
        nonlocal last
        last = found(connected.agent.call("getDiagnostics", uri=path.as_uri()))[path.as_uri()]
        return [one.get("code") for one in last] == list(expected)

    until(look, timeout=SECONDS, what=lambda: f"{expected}: {last}{connected.neovim.described()}")
    return last


# With a language server


def test_after_a_write_the_answer_is_about_the_new_text(served: Callable[..., Connected], home: Home) -> None:
    """What is asked for right after a write is never what was found in the old text, be it nothing or not."""
    path = home.write("a.py", UNUSED)
    connected = served("a.py")
    wait_codes(connected, path, "F821")
    for text, expected in [(FIXED, []), (UNUSED, ["F821"]), (FIXED + "import os\n", ["F401"]), (FIXED, [])] * 2:
        connected.agent.call("getDiagnostics", uri=path.as_uri())
        path.write_text(text)
        asked = time.monotonic()
        assert codes(connected.agent.call("getDiagnostics")) == expected, text
        assert time.monotonic() - asked < HELD_SECONDS
        assert connected.neovim.lines() == text.splitlines()


def test_after_a_write_that_changes_nothing_that_is_found_the_answer_comes(
    served: Callable[..., Connected], home: Home
) -> None:
    """Where the server finds the same again, or still nothing, the answer does not wait until the time is over."""
    path = home.write("a.py", UNUSED)
    connected = served("a.py")
    wait_codes(connected, path, "F821")
    for text, expected in [(UNUSED + "# more\n", ["F821"]), (FIXED, []), (FIXED + "# more\n", [])]:
        connected.agent.call("getDiagnostics", uri=path.as_uri())
        path.write_text(text)
        asked = time.monotonic()
        assert codes(connected.agent.call("getDiagnostics")) == expected, text
        assert time.monotonic() - asked < HELD_SECONDS - 0.2


def test_after_an_accepted_proposal_the_answer_is_about_it(served: Callable[..., Connected], home: Home) -> None:
    """Propose, accept with :w, write, ask: the agent is told what is found in what it wrote."""
    path = home.write("a.py", UNUSED)
    connected = served("a.py")
    wait_codes(connected, path, "F821")
    connected.agent.call("getDiagnostics", uri=path.as_uri())
    verdict = connected.agent.propose(path, FIXED)
    connected.neovim.wait_screen("name = 1")
    connected.neovim.lua("vim.defer_fn(function() require('pairside').accept() end, 400)")
    outcome, text = verdict.result(SECONDS)
    assert outcome == "FILE_SAVED"
    path.write_text(text)
    assert codes(connected.agent.call("getDiagnostics")) == []
    assert connected.neovim.lua("return vim.fn.getbufline('a.py', 1)") == ["name = 1"]


def test_a_file_that_is_not_open_is_not_waited_for(served: Callable[..., Connected], home: Home) -> None:
    """Nothing looks at a file that nobody has opened, so its write is no reason to wait."""
    home.write("a.py", FIXED)
    path = home.write("b.py", UNUSED)
    connected = served("a.py")
    connected.neovim.wait_lua("#vim.lsp.get_clients({bufnr = 0}) == 1")
    connected.agent.call("getDiagnostics", uri=path.as_uri())
    path.write_text(FIXED)
    asked = time.monotonic()
    assert codes(connected.agent.call("getDiagnostics")) == []
    assert time.monotonic() - asked < 1


def test_a_file_in_which_the_person_types_is_not_waited_for(served: Callable[..., Connected], home: Home) -> None:
    """While something is half typed the new text is not read, so nothing new will be found in it now."""
    path = home.write("a.py", UNUSED)
    connected = served("a.py")
    wait_codes(connected, path, "F821")
    connected.neovim.keys("v")
    connected.neovim.wait_mode("v")
    connected.agent.call("getDiagnostics", uri=path.as_uri())
    path.write_text(FIXED)
    asked = time.monotonic()
    connected.agent.call("getDiagnostics")
    assert time.monotonic() - asked < 1
    assert connected.neovim.lines() == UNUSED.splitlines()
    connected.neovim.keys("<Esc>")
    wait_codes(connected, path)
    assert connected.neovim.lines() == FIXED.splitlines()


def test_unsaved_changes_are_found_as_they_are(served: Callable[..., Connected], home: Home) -> None:
    """What the person has typed and not saved is what the server looks at, and what is told."""
    path = home.write("a.py", FIXED)
    connected = served("a.py")
    connected.neovim.wait_lua("#vim.lsp.get_clients({bufnr = 0}) == 1")
    connected.neovim.keys("Goimport os<Esc>")
    (told,) = wait_codes(connected, path, "F401")
    assert told["range"]["start"] == {"line": 2, "character": 7}


# Without one


def test_a_server_that_finds_nothing_ever_is_not_waited_for(connected: Connected) -> None:
    """A language server that only completes or formats does not hold an answer."""
    path = connected.home.write("a.txt", "x\n")
    connected.agent.call("openFile", filePath=str(path))
    connected.neovim.wait_screen(r"^x$")
    connected.neovim.lua(
        """local function server()
          return {
            request = function(method, _, done)
              vim.schedule(function() done(nil, method == "initialize" and {capabilities = {}} or vim.NIL) end)
              return true, 1
            end,
            notify = function() return true end,
            is_closing = function() return false end,
            terminate = function() end,
          }
        end
        vim.lsp.start({name = "formats", cmd = server, root_dir = vim.fn.getcwd()})"""
    )
    connected.neovim.wait_lua("#vim.lsp.get_clients({bufnr = 0}) == 1")
    connected.agent.call("getDiagnostics", uri=path.as_uri())
    path.write_text("y\n")
    asked = time.monotonic()
    connected.agent.call("getDiagnostics")
    assert time.monotonic() - asked < 1


SET = """
local namespace = vim.api.nvim_create_namespace("linter")
local buffer, rows = ...
vim.diagnostic.set(namespace, buffer, rows)
"""


def test_only_files_have_diagnostics(connected: Connected) -> None:
    """What is found in a buffer without a file is told to nobody."""
    connected.neovim.lua(SET, 0, [{"lnum": 0, "col": 0, "message": "here"}])
    assert found(connected.agent.call("getDiagnostics")) == {}


def test_asking_never_loads_what_was_not_used(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """In a Neovim without diagnostics and servers, questions of agents do not load those modules."""
    path = home.write("a.txt", "x\n")
    neovim = running("a.txt", before="package.loaded['vim.diagnostic'] = nil")
    robot = agent(neovim)
    robot.call("getDiagnostics", uri=str(path))
    path.write_text("y\n")
    robot.call("getDiagnostics")
    neovim.wait_lua("vim.fn.getline(1) == 'y'")
    assert neovim.lua("return package.loaded['vim.diagnostic'] == nil") is True


def test_nothing_of_it_is_left_when_pairside_ends(running: Start, home: Home) -> None:
    """When pairside is stopped nothing looks at diagnostics any more, and a report that was due is not made."""
    home.write("a.txt", "x\n")
    neovim = running("a.txt")
    neovim.lua("vim.diagnostic.set(vim.api.nvim_create_namespace('linter'), 0, {{lnum = 0, col = 0, message = 'x'}})")
    neovim.lua("require('pairside').stop()")
    neovim.wait_lua("require('pairside.process').state == 'stopped'")
    assert neovim.lua("return vim.fn.exists('#pairside_diagnostics')") == 0
