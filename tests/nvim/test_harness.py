"""The harness itself: what it says of a Neovim is so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.home import Home
from tests.e2e.until import TimedOut
from tests.nvim.editor import Neovim, NeovimError

Start = Callable[..., Neovim]


def test_the_version_is_the_one_asked_for(neovim: Start, version: str) -> None:
    """A test for a version of Neovim runs with it."""
    found = neovim(plugin=False).lua("local v = vim.version() return v.major .. '.' .. v.minor .. '.' .. v.patch")
    assert found.startswith(version)


def test_what_is_typed_is_on_screen(neovim: Start) -> None:
    """Keys reach Neovim, and the screen shows what it drew, wide characters too."""
    editor = neovim(plugin=False)
    editor.keys("ihällo 日本x<Esc>")
    editor.wait_screen(r"^hällo 日本x$")
    assert editor.lines() == ["hällo 日本x"]
    assert editor.cursor() == (0, 10)


def test_the_screen_scrolls(neovim: Start, home: Home) -> None:
    """After any scrolling the grid is what the buffer says."""
    home.write("long.txt", "".join(f"line {number}\n" for number in range(200)))
    editor = neovim("long.txt", plugin=False)
    editor.wait_screen(r"^line 0$")
    for keys in (
        "100Gzt",
        "<C-e><C-e>",
        "<C-y>",
        "<C-f>",
        "<C-b>",
        "<Cmd>belowright split<CR>",
        "<C-d>",
        "<C-w>k<C-u>",
    ):
        editor.keys(keys)
        editor.lua("return 1")
        shown = editor.redrawn()
        editor.command("mode")
        assert editor.redrawn() == shown, keys
    assert any(line.startswith("line 1") for line in shown)


def test_highlight_groups_are_told(neovim: Start) -> None:
    """The groups of a place on the screen are those that drew it."""
    editor = neovim(plugin=False)
    editor.command("echohl ErrorMsg | echo 'in red' | echohl None")
    editor.wait_screen("in red")
    assert "ErrorMsg" in editor.groups("in red")
    with pytest.raises(AssertionError, match="not there"):
        editor.groups("not there")


def test_keys_reach_it_while_it_waits_for_one(neovim: Start) -> None:
    """A hit-enter prompt is seen, and can be answered."""
    editor = neovim(plugin=False)
    editor.keys(':echo "one\\ntwo\\nthree"<CR>')
    editor.wait_screen("Press ENTER")
    assert editor.mode().blocking
    editor.keys("<CR>")
    editor.wait_mode("n")
    assert not editor.mode().blocking


def test_a_failure_in_lua_is_told(neovim: Start) -> None:
    """Lua that fails is an exception here, with its message."""
    with pytest.raises(NeovimError, match="went wrong"):
        neovim(plugin=False).lua("error('went wrong')")


def test_a_wait_in_vain_says_what_was_there(neovim: Start) -> None:
    """The message of a wait in vain holds the screen and the messages."""
    editor = neovim(plugin=False)
    editor.command("echomsg 'hello there'")
    with pytest.raises(TimedOut, match="hello there"):
        editor.wait_screen("no such thing", seconds=0.05)
    with pytest.raises(TimedOut, match="hello there"):
        editor.wait_lua("vim.g.never", seconds=0.05)


def test_events_are_told(neovim: Start) -> None:
    """User events that are watched are told with their data."""
    editor = neovim(plugin=False)
    editor.watch("Some*")
    editor.lua("vim.api.nvim_exec_autocmds('User', {pattern = 'SomeThing', data = {a = 1}})")
    assert editor.wait_told("SomeThing") == [{"a": 1}]


def test_the_options_arrive(neovim: Start) -> None:
    """The options of a test are what the plugin reads."""
    editor = neovim(options={"a": {"b": [1, 'x"\\\n ä']}, "c": False})
    options = editor.lua("return vim.g.pairside")
    assert options["a"] == {"b": [1, 'x"\\\n ä']}
    assert options["c"] is False
    assert options["cmd"][-1] == "frontend"


def test_the_end_is_seen(neovim: Start) -> None:
    """A Neovim that ended is reported at once, and its status is told."""
    editor = neovim(plugin=False)
    editor.keys(":cq<CR>")
    assert editor.wait_end() == 1
    with pytest.raises(NeovimError, match="ended"):
        editor.lua("return 1")
