"""File trees: which files are meant in them, by the cursor, by marks and by lines.

netrw, neo-tree and snacks.nvim are the real ones; nvim-tree, oil and mini.files stand-ins with their public functions.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.home import Home
from tests.nvim.conftest import Connected
from tests.nvim.editor import Neovim
from tests.nvim.terminals import ready

Start = Callable[..., Neovim]

PLUGINS = Path(sysconfig.get_path("purelib"), "nvim_zsh_profile", "assets", "nvim-lazy")
STAND_INS = Path(__file__).parent / "stand_ins"
NETRW = "vim.g.netrw_banner = 1"


def beside(*folders: Path) -> str:
    """Lua that puts plugins beside ours."""
    return "\n".join(f"vim.opt.runtimepath:append('{folder}')" for folder in folders)


@pytest.fixture
def files(home: Home) -> Home:
    """A project with files and folders, one of them with blanks in its name."""
    for name in ("a.txt", "b c.txt", "dir/deep.txt", "dir/other.txt", "z.txt"):
        home.write(name, "text\n")
    return home


def start(neovim: Start, before: str = "", **options: Any) -> Neovim:
    """A Neovim without pairside's process: trees need none."""
    return neovim(options={"auto_start": False}, before=before, **options)


def meant(editor: Neovim, first: int | None = None, last: int | None = None) -> list[str] | str:
    """The files that are meant, from the project folder; or the message if there are none."""
    found, problem = editor.lua(
        """local first, last = ...
        local found, problem = require('pairside.trees').files(first and { first, last } or nil)
        return { found or false, problem or false }""",
        *([] if first is None else [first, last]),
    )
    if not found:
        assert isinstance(problem, str)
        return problem
    return [path.removeprefix(f"{editor.home.project}/") for path in found]


def line_of(editor: Neovim, text: str) -> int:
    """The number of the line in which a text stands."""
    return next(number for number, line in enumerate(editor.lines(), 1) if text in line)


# netrw


@pytest.mark.parametrize("style", [0, 1, 2, 3])
def test_netrw_under_the_cursor(neovim: Start, files: Home, style: int) -> None:
    """In each of its styles the name under the cursor is meant, a folder too, and the cursor stays."""
    editor = start(neovim, f"vim.g.netrw_liststyle = {style}")
    editor.command("Explore .")
    editor.wait_screen("z\\.txt")
    for name in ("a.txt", "b c.txt", "dir/"):
        editor.lua("vim.fn.search('\\\\V' .. ..., 'w')", name)
        cursor = editor.lua("return vim.fn.getcurpos()")
        assert meant(editor) == [name.rstrip("/")]
        assert editor.lua("return vim.fn.getcurpos()") == cursor


@pytest.mark.parametrize("style", [0, 1, 2, 3])
def test_netrw_lines(neovim: Start, files: Home, style: int) -> None:
    """All names in the lines of a range are meant, without those above the list, and nothing else happens to it."""
    editor = start(neovim, f"vim.g.netrw_liststyle = {style}")
    editor.command("Explore .")
    editor.wait_screen("z\\.txt")
    editor.lua("vim.fn.search('a.txt', 'w')")
    cursor, before = editor.lua("return vim.fn.getcurpos()"), editor.lines()
    found = meant(editor, 1, len(before))
    assert isinstance(found, list)
    assert sorted(name for name in found if not name.startswith("/")) == ["a.txt", "b c.txt", "dir", "z.txt"]
    assert editor.lua("return vim.fn.getcurpos()") == cursor
    assert editor.lines() == before
    assert meant(editor, 1, 3) == "No files selected"


def test_netrw_in_an_open_folder_of_its_tree(neovim: Start, files: Home) -> None:
    """In the tree style a file below an opened folder is that file."""
    editor = start(neovim, "vim.g.netrw_liststyle = 3")
    editor.command("Explore .")
    editor.wait_screen("z\\.txt")
    editor.lua("vim.fn.search('dir/', 'w')")
    editor.keys("<CR>")
    editor.wait_screen("deep\\.txt")
    editor.lua("vim.fn.search('deep.txt', 'w')")
    assert meant(editor) == ["dir/deep.txt"]
    number = line_of(editor, "deep.txt")
    assert meant(editor, number - 1, number + 1) == ["dir", "dir/deep.txt", "dir/other.txt"]


def test_netrw_marks(neovim: Start, files: Home) -> None:
    """Marked files are meant instead of the one under the cursor."""
    editor = start(neovim)
    editor.command("Explore .")
    editor.wait_screen("z\\.txt")
    for name in ("a.txt", "b c.txt"):
        editor.lua("vim.fn.search('\\\\V' .. ..., 'w')", name)
        editor.keys("mf")
        editor.redrawn()
    editor.lua("vim.fn.search('z.txt', 'w')")
    assert meant(editor) == ["a.txt", "b c.txt"]


# neo-tree


@pytest.fixture
def neo_tree(neovim: Start, files: Home) -> Neovim:
    """A Neovim with the real neo-tree, open and focused."""
    plugins = [PLUGINS / name for name in ("neo-tree.nvim", "nui.nvim", "plenary.nvim")]
    editor = start(neovim, beside(*plugins))
    editor.lua("vim.fn.mkdir(vim.fn.stdpath('data'), 'p')")  # it writes a log there
    editor.lua("require('neo-tree').setup({ enable_git_status = false, enable_diagnostics = false })")
    editor.command("Neotree focus")
    editor.wait_screen("z\\.txt")
    assert editor.lua("return vim.bo.filetype") == "neo-tree"
    return editor


def test_neo_tree_under_the_cursor(neo_tree: Neovim) -> None:
    """The node of the cursor is meant, a file or a folder, also below an opened one."""
    for name in ("a.txt", "b c.txt", "dir"):
        neo_tree.lua("vim.api.nvim_win_set_cursor(0, { ..., 0 })", line_of(neo_tree, name))
        assert meant(neo_tree) == [name]
    neo_tree.keys("<CR>")
    neo_tree.wait_screen("deep\\.txt")
    neo_tree.lua("vim.api.nvim_win_set_cursor(0, { ..., 0 })", line_of(neo_tree, "deep.txt"))
    assert meant(neo_tree) == ["dir/deep.txt"]


def test_neo_tree_lines(neo_tree: Neovim) -> None:
    """The nodes of a range are meant, but not the folder of the whole tree."""
    neo_tree.lua("vim.api.nvim_win_set_cursor(0, { 2, 0 })")
    assert meant(neo_tree, 1, len(neo_tree.lines())) == ["dir", "a.txt", "b c.txt", "z.txt"]
    assert neo_tree.lua("return vim.fn.line('.')") == 2


# snacks.nvim


@pytest.fixture
def snacks(neovim: Start, files: Home) -> Neovim:
    """A Neovim with the real snacks.nvim and its explorer, open and focused."""
    editor = start(neovim, beside(PLUGINS / "snacks.nvim"), columns=140)
    editor.lua("require('snacks').setup({ picker = { enabled = true }, explorer = { enabled = true } })")
    editor.lua("Snacks.explorer({ git_status = false, diagnostics = false, watch = false })")
    editor.wait_lua("vim.bo.filetype == 'snacks_picker_list'")
    editor.wait_lua("#Snacks.picker.get()[1].list.items == 5")
    editor.wait_screen("z\\.txt")
    return editor


def to_line(editor: Neovim, text: str) -> None:
    """Move in snacks.nvim's list to a line, as by keys."""
    editor.wait_lua(
        """local text, list = ..., Snacks.picker.get()[1].list
        for index, item in ipairs(list.items) do
          if vim.endswith(item.file, text) then
            list:view(index)
            return list:current() == item
          end
        end
        return false""",
        text,
    )


def test_snacks_under_the_cursor(snacks: Neovim) -> None:
    """The item of the cursor is meant, a file or a folder."""
    for name in ("a.txt", "b c.txt", "dir"):
        to_line(snacks, name)
        assert meant(snacks) == [name]


def test_snacks_selected(snacks: Neovim) -> None:
    """Items that are selected in the list are meant instead."""
    for name in ("a.txt", "b c.txt"):
        to_line(snacks, name)
        snacks.lua("local list = Snacks.picker.get()[1].list list:select(list:current())")
    to_line(snacks, "z.txt")
    assert meant(snacks) == ["a.txt", "b c.txt"]


def test_snacks_lines(snacks: Neovim) -> None:
    """The items of a range are meant, but not the folder of the whole tree."""
    assert meant(snacks, 1, 99) == ["dir", "a.txt", "b c.txt", "z.txt"]


# Stand-ins


@pytest.fixture
def stand_in(neovim: Start, files: Home) -> Callable[..., Neovim]:
    """Starts a Neovim with a tree of a filetype that shows these lines."""

    def started(filetype: str, lines: list[str], name: str = "") -> Neovim:
        editor = start(neovim, beside(STAND_INS))
        editor.lua(
            """local filetype, lines, name = ...
            vim.cmd.enew()
            if name ~= '' then vim.api.nvim_buf_set_name(0, name) end
            vim.api.nvim_buf_set_lines(0, 0, -1, false, lines)
            vim.bo.filetype = filetype""",
            filetype,
            lines,
            name,
        )
        return editor

    return started


def test_nvim_tree(stand_in: Callable[..., Neovim], files: Home) -> None:
    """Marks, else the node of the cursor; the nodes of a range without the root; the cursor comes back."""
    root = str(files.project)
    editor = stand_in("NvimTree", [root, f"{root}/dir", f"{root}/a.txt", f"{root}/a.txt", "", "/no/such"])
    editor.lua("vim.api.nvim_win_set_cursor(0, { 3, 2 })")
    assert meant(editor) == ["a.txt"]
    assert meant(editor, 1, 6) == ["dir", "a.txt"]
    assert editor.lua("return vim.api.nvim_win_get_cursor(0)") == [3, 2]
    editor.lua("require('nvim-tree.api').marked = { ... }", f"{root}/z.txt", f"{root}/b c.txt")
    assert meant(editor) == ["z.txt", "b c.txt"]


def test_oil(stand_in: Callable[..., Neovim], files: Home) -> None:
    """The entry of a line in its folder, without the one above."""
    editor = stand_in("oil", ["../", "a.txt", "dir/", "not yet written"], f"oil://{files.project}/")
    assert meant(editor) == "No files selected"
    editor.lua("vim.api.nvim_win_set_cursor(0, { 2, 0 })")
    assert meant(editor) == ["a.txt"]
    assert meant(editor, 1, 4) == ["a.txt", "dir"]


def test_mini_files(stand_in: Callable[..., Neovim], files: Home) -> None:
    """The entry of a line, if it is on disk."""
    root = files.project
    editor = stand_in("minifiles", [f"{root}/a.txt", f"{root}/dir", f"{root}/new"], f"minifiles://7/{root}")
    assert meant(editor) == ["a.txt"]
    assert meant(editor, 1, 3) == ["a.txt", "dir"]


@pytest.mark.parametrize("filetype", ["NvimTree", "neo-tree", "oil", "minifiles", "snacks_picker_list"])
def test_a_plugin_that_is_not_there_is_named(neovim: Start, filetype: str) -> None:
    """A buffer that only says that it is a tree is told what is missing."""
    editor = start(neovim)
    editor.lua("vim.bo.filetype = ...", filetype)
    found = meant(editor)
    assert isinstance(found, str)
    assert found.endswith(" not available")


def test_only_the_filetype_makes_a_tree(neovim: Start, home: Home) -> None:
    """A file whose path has the name of a tree in it is a file, and said to be no tree."""
    home.write("neo-tree/NvimTree/x.txt", "text\n")
    editor = start(neovim)
    editor.command("edit neo-tree/NvimTree/x.txt")
    assert meant(editor) == "Not in a supported tree buffer (current filetype: text)"


# Sending


def test_what_is_meant_in_a_tree_is_sent(connected: Connected) -> None:
    """From Visual mode every file of its lines is told to the agent, in order, and the person hears how many."""
    editor = connected.neovim
    ready(editor)
    for name in ("a.txt", "b.txt", "c.txt"):
        connected.home.write(name, "text\n")
    editor.lua("vim.keymap.set('x', '<F5>', function() require('pairside.send').tree() end)")
    editor.command("Explore .")
    editor.wait_screen("c\\.txt")
    editor.lua("vim.fn.search('a.txt', 'w')")
    editor.keys("Vj<F5>")
    assert connected.agent.wait_told("at_mentioned", 2)["filePath"].endswith("b.txt")
    editor.wait_message("2 files: sent to ")
    editor.wait_mode("n")
    editor.watch("PairsideSendComplete")
    editor.lua("require('pairside.send').selection({ ..., ... })", line_of(editor, "c.txt"), line_of(editor, "c.txt"))
    assert connected.agent.wait_told("at_mentioned", 3)["filePath"].endswith("c.txt")
    assert editor.wait_told("PairsideSendComplete")[0]["context"] == "TreeAdd"


def test_some_that_cannot_be_sent_are_told(connected: Connected) -> None:
    """The others are sent, and it is said how many of how many."""
    editor = connected.neovim
    ready(editor)
    for name in ("a.txt", "b.pem"):
        connected.home.write(name, "text\n")
    editor.command("Explore .")
    editor.wait_screen("b\\.pem")
    first = line_of(editor, "a.txt")
    editor.lua("require('pairside.send').tree({ ..., ... + 1 })", first)
    assert connected.agent.wait_told("at_mentioned")["filePath"].endswith("a.txt")
    editor.wait_message("Added 1/2 files")
