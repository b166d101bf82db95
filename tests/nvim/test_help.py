"""The help: it can be found, and has every subcommand, option with its default, function and highlight group."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.e2e.home import Home
from tests.nvim.editor import ROOT, Neovim
from tests.nvim.test_install import plugin_copy

Start = Callable[..., Neovim]
INTERNAL = {"entered", "refresh", "learn"}


@pytest.fixture
def text() -> str:
    """The help."""
    return (ROOT / "doc" / "pairside.txt").read_text()


def test_the_help_is_found(neovim: Start, home: Home) -> None:
    """`:helptags` goes without an error, `:help pairside` opens it, and every link in it leads somewhere."""
    folder = plugin_copy(home)
    editor = neovim(options={"auto_start": False}, root=folder)
    assert editor.output(f"helptags {str(folder / 'doc').replace(' ', chr(92) + ' ')}") == ""
    editor.command("help pairside")
    assert "*pairside*" in editor.lua("return vim.api.nvim_get_current_line()")
    links = set(re.findall(r"\|([^|\s]+)\|", "\n".join(editor.lines())))
    dead = [link for link in sorted(links) if editor.lua("return #vim.fn.getcompletion(..., 'help')", link) == 0]
    assert len(links) > 10
    assert dead == []


def test_no_line_is_too_wide_and_no_example_is_wrong(neovim: Start, text: str) -> None:
    """Lines fit into 80 columns, and the examples in Lua can be parsed."""
    wide = [line for line in text.splitlines() if len(line.expandtabs(8)) > 80]
    assert wide == []
    editor = neovim(options={"auto_start": False})
    examples = re.findall(r">lua\n(.*?)\n<", text, re.DOTALL)
    assert len(examples) >= 5
    for example in examples:
        code = example.strip()
        code = f"return {code}" if code.startswith("{") else code
        assert editor.lua("return select(2, loadstring(...))", code) is None, example


def test_every_subcommand_is_in_the_help(neovim: Start, text: str) -> None:
    """Each subcommand has an entry."""
    editor = neovim(options={"auto_start": False})
    names = editor.lua("return vim.tbl_map(function(one) return one.name end, require('pairside.command').all())")
    assert [name for name in names if f"*:Pairside-{name}*" not in text] == []


def test_every_command_of_claudecode_is_in_the_help(neovim: Start, text: str) -> None:
    """Each of the other names has an entry."""
    editor = neovim(options={"auto_start": False})
    names = editor.lua("return vim.tbl_keys(vim.api.nvim_get_commands({}))")
    ours = [name for name in names if name.startswith("ClaudeCode")]
    assert len(ours) == 15
    assert [name for name in ours if f"*:{name}*" not in text] == []


def test_every_option_is_in_the_help_with_its_default(neovim: Start, text: str) -> None:
    """Each option has an entry, and the default there is the one that counts."""
    editor = neovim(options={"auto_start": False})
    options = editor.lua(
        """return vim.tbl_map(function(one)
          return { one.name, one.default == nil and "none" or vim.inspect(one.default) }
        end, require("pairside.options").all())"""
    )
    assert len(options) > 40
    for name, default in options:
        assert f"*pairside-option-{name}*" in text, name
        told = re.search(rf"^{re.escape(name)}\s+Default: (.*)$", text, re.MULTILINE)
        assert told is not None, name
        if name != "models":
            assert told[1] == default, name


def test_every_function_is_in_the_help(neovim: Start, text: str) -> None:
    """Each public function has an entry."""
    editor = neovim(options={"auto_start": False})
    names = set(editor.lua("return vim.tbl_keys(require('pairside'))")) - INTERNAL
    assert {"setup", "start", "stop", "status", "accept", "reject", "mention", "statusline"} <= names
    assert [name for name in names if f"*pairside.{name}()*" not in text] == []


def test_every_highlight_group_is_in_the_help(text: str) -> None:
    """Each highlight group has an entry, with what it is linked to."""
    groups: dict[str, str] = {}
    for source in (ROOT / "lua" / "pairside").rglob("*.lua"):
        groups.update(re.findall(r"^\s+(Pairside\w+) = \"(\w+)\",$", source.read_text(), re.MULTILINE))
    assert len(groups) >= 9
    for name, link in groups.items():
        assert re.search(rf"\*hl-{name}\*\s+{link}\s", text), name
