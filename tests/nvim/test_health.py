"""`:checkhealth pairside`: it names what is well, and what is not with what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pairside import __version__
from tests.e2e.home import Home
from tests.nvim.conftest import Connected
from tests.nvim.editor import Neovim
from tests.nvim.terminals import options

Start = Callable[..., Neovim]


def checked(editor: Neovim, name: str = "pairside") -> str:
    """What the page says."""
    editor.command(f"checkhealth {name}", seconds=20)
    editor.wait_lua("vim.bo.filetype == 'checkhealth' and vim.api.nvim_buf_line_count(0) > 5")
    return "\n".join(editor.lines())


def test_everything_that_is_well_is_named(connected: Connected) -> None:
    """Program, process, versions, lock file, the agent and doctor's two questions are on the page."""
    editor = connected.neovim
    editor.wait_lua("(require('pairside').status().clients or {})[1]")
    hello = editor.wait_running()
    page = checked(editor)
    assert f"pairside runs on port {hello['port']} (pid {hello['pid']})" in page
    assert f"OK Plugin and pairside are both {__version__}" in page
    assert f"OK Lock file: {hello['lock_file']}" in page
    assert "OK Every option fits" in page
    assert "OK Claude Code 2.1.330 (pid" in page
    assert "Will it connect? Yes" in page
    assert "Will I be asked? " in page
    assert "ERROR" not in page


def test_the_page_of_claudecode_is_the_same(neovim: Start) -> None:
    """`:checkhealth claudecode` goes on working."""
    assert "pairside does not run (stopped)" in checked(neovim(options={"auto_start": False}), "claudecode")


def test_what_is_wrong_comes_with_what_to_do(neovim: Start, home: Home) -> None:
    """A program that is missing, a wrong option and an agent that cannot be run are told as such."""
    editor = neovim(options={"cmd": None, "nonsense": 1, "terminal_cmd": "no-such-agent"}, root=bare(home))
    editor.wait_lua("require('pairside.process').state == 'failed'")
    page = checked(editor)
    assert "ERROR type :Pairside install, its program is missing" in page
    assert ":Pairside install" in page
    assert "there is no option nonsense" in page
    assert "no-such-agent cannot be run" in page


def test_two_versions_are_told(neovim: Start, home: Home) -> None:
    """A pairside of another version than the plugin is an error with what to do, said at the start as well."""
    other = home.root / "other.py"
    other.write_text(
        "import pairside, sys\n"
        "pairside.__version__ = '9.9.9'\n"
        "from pairside.__main__ import main\n"
        "sys.argv[0] = 'pairside'\n"
        "main()\n"
    )
    editor = neovim(options={"cmd": [sys.executable, "-P", str(other), "frontend"]})
    editor.wait_said(f"^the plugin is version {__version__} and pairside is 9.9.9: update both")
    assert f"ERROR The plugin is {__version__}, and pairside is 9.9.9" in checked(editor)


def test_an_agent_that_can_be_run_is_named(neovim: Start) -> None:
    """The program of `terminal_cmd` is looked for."""
    editor = neovim(options=options(auto_start=False))
    editor.wait_lua("require('pairside.options').is_set_up")
    page = checked(editor)
    assert "OK The agent: " in page


def bare(home: Home) -> object:
    """The plugin alone, as in a clone without `.venv`."""
    from tests.nvim.test_install import plugin_copy

    return plugin_copy(home)
