"""The windows of reviews: which ones are used, that the person is not disturbed, and that all is as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim
from tests.nvim.test_review import BUFFER, LAYOUTS, NEW, OLD, Start, gone, opened, propose, ready, rest, same_counts

QUIETLY = {"terminal": {"show_native_term_exit_tip": False}}
LAYOUT = """return {
  vim.fn.winlayout(), vim.api.nvim_get_current_win(),
  #vim.fn.getwininfo() > 1 and vim.fn.winnr("#") ~= vim.fn.winnr() and vim.fn.winnr("#"),
  vim.tbl_map(function(window)
    return {
      window, vim.api.nvim_win_get_buf(window), vim.api.nvim_win_get_width(window),
      vim.api.nvim_win_get_height(window), vim.api.nvim_win_get_cursor(window),
      vim.wo[window].diff, vim.wo[window].winbar, vim.wo[window].winfixbuf, vim.wo[window].scrollbind,
      vim.wo[window].cursorbind, vim.wo[window].wrap, vim.wo[window].foldmethod, vim.wo[window].foldcolumn,
      vim.wo[window].foldlevel,
      vim.api.nvim_win_call(window, function() return vim.fn.winsaveview() end),
      vim.api.nvim_win_call(window, function()
        return vim.tbl_map(function(line) return vim.fn.foldclosed(line) end, vim.fn.range(1, vim.fn.line("$")))
      end),
    }
  end, vim.api.nvim_list_wins()),
  vim.o.scrollopt, vim.o.equalalways, vim.o.eventignore, vim.o.viewoptions,
}"""


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """Each layout in its turn."""
    name: str = request.param
    return name


def layout_of(editor: Neovim) -> Any:
    """Everything about the windows that a review must not change."""
    return editor.lua(LAYOUT)


def types_on_screen(editor: Neovim) -> list[str]:
    """The types of the buffers in the windows of the current tab, from left to right and top to bottom."""
    types: list[str] = editor.lua(
        "return vim.tbl_map(function(window) return vim.bo[vim.api.nvim_win_get_buf(window)].buftype end,"
        " vim.api.nvim_tabpage_list_wins(0))"
    )
    return types


SURROUNDINGS = {
    "uneven windows": "vsplit b.py | vertical resize 20 | split | resize 5 | wincmd t",
    "the file elsewhere": "split b.py | resize 6",
    "splitright and splitbelow": "set splitright splitbelow | vsplit b.py | vertical resize 30",
    "nohidden and autowrite": "set nohidden autowrite autowriteall noequalalways | split b.py",
    "winfixbuf": "set winfixbuf | split b.py | wincmd j | vsplit | set winfixbuf",
    "winbar": "set winbar=mine | split b.py | set winbar=",
    "quickfix": "call setqflist([{'filename': 'b.py', 'lnum': 1}]) | copen 5",
    "a terminal": "botright 30vsplit | terminal cat",
    "only a terminal": "terminal cat",
    "help": "help | only",
    "a preview": "pedit b.py",
    "a scratch buffer": "topleft 20vsplit | enew | setlocal buftype=nofile winfixwidth",
    "another file": "edit b.py",
    "an empty buffer": "enew",
    "a fixed size": "set winfixwidth winfixheight | vsplit b.py",
    "folds by hand": "setlocal foldmethod=manual | 2,3fold | normal! zE | 1,2fold | normal! G",
    "options": "setlocal nowrap foldcolumn=2 scrollbind cursorbind | normal! G",
    "a float": "lua vim.api.nvim_open_win(vim.api.nvim_create_buf(false, true), false, "
    "{relative='editor', row=1, col=50, width=10, height=3})",
}


@pytest.mark.parametrize("kind", SURROUNDINGS)
def test_all_windows_are_as_they_were(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str, kind: str
) -> None:
    """Whatever windows there were: their buffers, sizes, cursors, views, folds and options come back, and the focus."""
    home.write("b.py", "b\n" * 50)
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    editor.command(SURROUNDINGS[kind])
    rest(editor)  # what these windows do by themselves is done
    before, was = editor.counts(), layout_of(editor)
    types = set(types_on_screen(editor))
    for key, outcome in ((":w<CR>", "FILE_SAVED"), (":q<CR>", "DIFF_REJECTED")):
        verdict = propose(editor, robot, path)
        assert types <= set(types_on_screen(editor)) or kind == "an empty buffer", "a window was taken over"
        editor.wait_screen("four")
        editor.keys(key)
        assert verdict.result(SECONDS)[0] == outcome
        gone(editor)
        same_counts(editor, before)
        assert layout_of(editor) == was, key


def test_another_file_with_changes_is_not_written(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """With 'autowrite' and without 'hidden' an unsaved file in the only window stays unsaved and in its window."""
    other = home.write("b.py", "b\n")
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    editor.command("set nohidden autowrite autowriteall | edit b.py")
    editor.keys("ccmine<Esc>")
    verdict = propose(editor, robot, path)
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS)[0] == "FILE_SAVED"
    gone(editor)
    assert other.read_text() == "b\n"
    assert editor.lines() == ["mine"]
    assert editor.lua("return vim.bo.modified") is True


def test_a_diff_of_somebody_else_is_not_joined(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """Where a diff is on screen already the review has a tab of its own, and the diff is as it was."""
    home.write("b.py", "b\n")
    home.write("c.py", "c\n")
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    editor.command("edit b.py | diffthis | vsplit c.py | diffthis")
    before, was, screen = editor.counts(), layout_of(editor), editor.redrawn()
    verdict = propose(editor, robot, path)
    assert editor.counts()["tabs"] == (1 if layout == "unified" else 2)
    editor.keys(":q<CR>")
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    gone(editor)
    same_counts(editor, before)
    assert layout_of(editor) == was
    assert editor.redrawn()[:-1] == screen[:-1]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("key", [":w<CR>", ":q<CR>", ":tabclose<CR>"])
def test_a_tab_of_its_own_goes_again(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str, key: str, terminal: bool
) -> None:
    """With `open_in_new_tab` every way to decide leaves as many tabs as there were."""
    editor, path = opened(running, home, layout, open_in_new_tab=True)
    robot = agent(editor)
    if terminal:
        editor.command("botright 30vsplit | terminal cat")
        editor.command("wincmd t")
    before, was = editor.counts(), layout_of(editor)
    for _ in range(2):
        verdict = propose(editor, robot, path)
        assert editor.counts()["tabs"] == 2
        editor.keys(key)
        assert verdict.result(SECONDS)[0] == ("FILE_SAVED" if key == ":w<CR>" else "DIFF_REJECTED")
        gone(editor)
        same_counts(editor, before)
        assert layout_of(editor) == was


def test_the_focus_stays_where_the_person_went(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """Who left the proposal for another window is there when it has been decided from elsewhere."""
    home.write("b.py", "b\n" * 50)
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    editor.command("vsplit b.py | wincmd l")
    propose(editor, robot, path)
    editor.command("wincmd t | normal! 20G")
    window = editor.lua("return vim.api.nvim_get_current_win()")
    robot.leave()
    gone(editor)
    assert editor.lua("return {vim.api.nvim_get_current_win(), vim.fn.line('.')}") == [window, 20]


def test_only_in_another_window_decides_nothing(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """`:only` elsewhere puts the proposal aside; it can be shown again, with what was edited."""
    home.write("b.py", "b\n")
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    editor.command("split b.py | wincmd j")
    verdict = propose(editor, robot, path)
    editor.keys("ggImine <Esc>")
    editor.wait_screen("mine one")
    editor.keys("<C-w>t:only<CR>")
    editor.wait_said("still pending")
    editor.wait_not_on_screen("mine one")
    assert not verdict.done()
    editor.lua('require("pairside.review").show()')
    editor.wait_screen("mine one")
    editor.lua('require("pairside.review").accept()')
    assert verdict.result(SECONDS) == ["FILE_SAVED", "mine " + NEW]
    gone(editor)


def test_closing_the_original_decides_nothing(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """The proposal stays, and can be decided."""
    editor, path = opened(running, home)
    verdict = propose(editor, agent(editor), path)
    editor.keys("<C-w>h:q<CR>")
    editor.wait_lua("#vim.api.nvim_list_wins() == 1")
    rest(editor)
    assert not verdict.done()
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS) == ["FILE_SAVED", NEW]
    gone(editor)
    assert editor.lines() == OLD.splitlines()


@pytest.mark.parametrize("key", [":q<CR>", ":w<CR>", "ZZ", ":bd<CR>"])
def test_neovim_lives_on_when_the_proposal_was_its_only_window(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str, key: str
) -> None:
    """The proposal, alone on screen, is decided and the file is there instead of it."""
    editor, path = opened(running, home, layout)
    before = editor.counts()
    verdict = propose(editor, agent(editor), path)
    editor.keys(":only<CR>")
    editor.wait_lua("#vim.api.nvim_list_wins() == 1")
    editor.keys(key)
    assert verdict.result(SECONDS)[0] == ("DIFF_REJECTED" if key in (":q<CR>", ":bd<CR>") else "FILE_SAVED")
    gone(editor)
    assert editor.lines() == OLD.splitlines()
    same_counts(editor, before)


def test_a_split_of_the_proposal_is_the_proposal(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Closing one of two windows with it decides nothing, closing the other rejects."""
    editor, path = opened(running, home)
    before = editor.counts()
    verdict = propose(editor, agent(editor), path)
    editor.keys(":split<CR>:q<CR>")
    rest(editor)
    assert not verdict.done()
    editor.keys(":q<CR>")
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    gone(editor)
    same_counts(editor, before)


MODES = {
    "insert": ("i", "<Esc>"),
    "replace": ("R", "<Esc>"),
    "visual": ("v", "<Esc>"),
    "blockwise": ("<C-v>", "<Esc>"),
    "select": ("gh", "<Esc>"),
    "operator pending": ("d", "<Esc>"),
    "a register": ('"', "<Esc>"),
    "a count": ("2", "<Esc>"),
    "g": ("g", "<Esc>"),
    "a command line": (":", "<Esc>"),
    "a search": ("/", "<Esc>"),
    "the command-line window": ("q:", ":q<CR>"),
    "an insertion of one command": ("i<C-o>", "<Esc><Esc>"),
    "input": (":call input('x')<CR>", "<CR>"),
    "getchar": (":call getchar()<CR>", "x"),
    "hit-enter": (':echo "a\\nb\\nc"<CR>', "<CR>"),
}


@pytest.mark.parametrize("mode", MODES)
def test_nothing_opens_while_something_is_half_typed(
    running: Start, agent: Callable[..., Robot], home: Home, mode: str
) -> None:
    """The proposal waits, and is shown as soon as the person is done; they stay where they are."""
    editor, path = opened(running, home)
    robot = agent(editor)
    before = editor.lua("return vim.api.nvim_get_current_win()")
    begin, end = MODES[mode]
    editor.keys(begin)
    editor.lua("return 1") if mode not in ("a register", "a count", "g", "input", "getchar", "hit-enter") else None
    editor.mode()
    verdict = robot.propose(path, NEW)
    robot.call("checkDocumentDirty", filePath=str(path)) if not editor.mode().blocking else None
    assert "four" not in "\n".join(editor.screen())
    editor.keys(end)
    editor.wait_screen("four")
    assert editor.lua("return vim.api.nvim_get_current_win()") == before
    assert editor.lines(editor.lua("return vim.api.nvim_win_get_buf(...)", before)) == OLD.splitlines()
    assert not verdict.done()


def test_keys_of_a_fast_typist_go_to_their_file(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Who types when a proposal comes is not moved, and their keys change and write their own file."""
    other = home.write("b.py", "b\n")
    editor, path = opened(running, home)
    robot = agent(editor)
    editor.command("edit b.py")
    editor.keys("j")
    verdict = robot.propose(path, NEW)
    editor.keys("x")
    editor.wait_screen("four")
    editor.keys("xAmine<Esc>:w<CR>")
    editor.wait_lua("not vim.bo.modified")
    assert other.read_text() == "mine\n"
    assert not verdict.done()
    assert editor.lines(editor.lua(BUFFER)) == NEW.splitlines()


@pytest.mark.parametrize("keys", ["ddx:w<CR>", "ix<Esc>:update<CR>", "ZZ", ":x<CR>", ":q<CR>", ":bd<CR>", "<C-w>c"])
def test_a_proposal_takes_no_keys_at_first(running: Start, agent: Callable[..., Robot], home: Home, keys: str) -> None:
    """What is typed in the first moment neither edits, nor accepts, nor rejects it."""
    editor, path = opened(running, home)
    robot = agent(editor)
    editor.lua(
        """local keys = ...
        vim.api.nvim_create_autocmd("User", {pattern = "PairsideReviewOpened", once = true, callback = function()
          vim.g.shown = true
          vim.api.nvim_input(keys)
        end})""",
        keys,
    )
    rest(editor)
    verdict = robot.propose(path, NEW)
    editor.wait_lua("vim.g.shown")
    rest(editor)
    buffer = ready(editor)
    editor.wait_screen("four")
    assert editor.lines(buffer) == NEW.splitlines()
    assert not verdict.done()
    editor.lua('require("pairside.review").accept()')
    assert verdict.result(SECONDS) == ["FILE_SAVED", NEW]


def test_a_tab_of_its_own_waits_for_a_pause(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """A new tab would move the person, so it opens only when they have not typed for a while."""
    editor, path = opened(running, home, open_in_new_tab=True)
    robot = agent(editor)
    editor.keys("j")
    robot.propose(path, NEW)
    editor.wait_lua('#require("pairside.review").pending() == 1')
    assert editor.lua('return require("pairside.idle").now(500) or #vim.api.nvim_list_tabpages() == 1')
    editor.wait_lua("#vim.api.nvim_list_tabpages() == 2")
    assert editor.lua('return require("pairside.idle").now(500)')


def terminal(editor: Neovim) -> int:
    """Start an agent's terminal, whose program is `cat`; its window."""
    editor.lua('require("pairside.terminal").open()')
    window: int = editor.wait_lua('require("pairside.terminal").windows()[1]')
    editor.wait_mode("t")
    # Neovim itself leaves an autocommand that fires in another mode.
    editor.keys("<C-Bslash><C-n>")
    editor.wait_mode("nt")
    rest(editor)
    editor.keys("i")
    editor.wait_mode("t")
    rest(editor)
    return window


def test_a_person_in_the_agents_terminal_is_moved_and_moved_back(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """From the terminal to the proposal, and after the verdict to where keys go to the agent again."""
    path = home.write("a.py", OLD)
    editor = running("a.py", options={"terminal_cmd": "cat", **QUIETLY, "diff_opts": {"layout": layout}}, columns=160)
    robot = agent(editor)
    window = terminal(editor)
    width = editor.lua("return vim.api.nvim_win_get_width(...)", window)
    before = editor.counts()
    for _ in range(2):
        verdict = propose(editor, robot, path)
        assert editor.mode().name == "n"
        assert editor.lua("return vim.api.nvim_win_get_width(...)", window) == width
        editor.keys(":w<CR>")
        assert verdict.result(SECONDS)[0] == "FILE_SAVED"
        gone(editor)
        editor.wait_mode("t")
        assert editor.lua("return vim.api.nvim_get_current_win()") == window
        assert editor.lua("return vim.api.nvim_win_get_width(...)", window) == width
        same_counts(editor, before)


def test_the_terminal_can_keep_the_focus(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """With `keep_terminal_focus` the person goes on typing to the agent."""
    path = home.write("a.py", OLD)
    editor = running("a.py", options={"terminal_cmd": "cat", **QUIETLY, "diff_opts": {"keep_terminal_focus": True}})
    robot = agent(editor)
    window = terminal(editor)
    verdict = propose(editor, robot, path)
    assert editor.mode().name == "t"
    assert editor.lua("return vim.api.nvim_get_current_win()") == window
    editor.lua('require("pairside").reject()')
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    gone(editor)
    assert editor.mode().name == "t"


def test_the_terminal_is_narrower_during_a_review(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """`diff_split_width_percentage` is its width meanwhile; afterwards it is as the person had it."""
    path = home.write("a.py", OLD)
    editor = running(
        "a.py",
        options={
            "terminal_cmd": "cat",
            "terminal": {"diff_split_width_percentage": 0.2, "show_native_term_exit_tip": False},
        },
        columns=150,
    )
    robot = agent(editor)
    window = terminal(editor)
    editor.lua("vim.api.nvim_win_set_width(..., 61)", window)
    verdict = propose(editor, robot, path)
    assert editor.lua("return vim.api.nvim_win_get_width(...)", window) == 30
    editor.keys(":q<CR>")
    verdict.result(SECONDS)
    gone(editor)
    assert editor.lua("return vim.api.nvim_win_get_width(...)", window) == 61


def test_the_terminal_comes_along_to_the_tab(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """With `open_in_new_tab` the agent is beside the review, unless it is to be hidden there."""
    path = home.write("a.py", OLD)
    options = {"terminal_cmd": "cat", **QUIETLY, "diff_opts": {"open_in_new_tab": True}}
    editor = running("a.py", options=options, columns=150)
    robot = agent(editor)
    terminal(editor)
    before = editor.counts()
    verdict = propose(editor, robot, path)
    assert "terminal" in types_on_screen(editor)
    assert editor.counts()["tabs"] == 2
    editor.keys(":q<CR>")
    verdict.result(SECONDS)
    gone(editor)
    same_counts(editor, before)
    editor.lua('require("pairside").setup({diff_opts = {open_in_new_tab = true, hide_terminal_in_new_tab = true}})')
    propose(editor, robot, path)
    assert "terminal" not in types_on_screen(editor)


def test_a_reason_is_typed_into_the_agents_terminal(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """`reject` with a text tells the agent, where its terminal is one of ours."""
    path = home.write("a.py", OLD)
    editor = running("a.py", options={"terminal_cmd": "cat", **QUIETLY}, columns=150)
    window = terminal(editor)
    pid = editor.lua(
        "return vim.fn.jobpid(vim.bo[vim.api.nvim_win_get_buf(...)].channel)",
        window,
    )
    robot = agent(editor, pid=pid)
    verdict = propose(editor, robot, path)
    editor.lua('require("pairside").reject("use two spaces")')
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    editor.wait_screen("use two spaces")


def test_a_reason_is_not_lost_silently(connected: Connected) -> None:
    """Where the agent runs elsewhere it is said that nothing was typed."""
    verdict = propose(connected.neovim, connected.agent, connected.home.write("a.py", OLD))
    connected.neovim.lua('require("pairside").reject("use two spaces")')
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    connected.neovim.wait_said("use two spaces.*not typed")


def test_decided_elsewhere_while_typing_in_the_proposal(
    running: Start, agent: Callable[..., Robot], home: Home
) -> None:
    """The keys of somebody who types in the proposal do not fall into another file; it goes when they are done."""
    editor, path = opened(running, home)
    robot = agent(editor)
    propose(editor, robot, path)
    editor.keys("ggImine")
    editor.wait_screen("mineone")
    robot.leave()
    editor.wait_lua('#require("pairside.review").pending() == 0')
    editor.keys(" more")
    editor.wait_screen("mine moreone")
    editor.keys("<Esc>")
    gone(editor)
    assert editor.lines() == OLD.splitlines()
    assert editor.lua("return vim.bo.modified") is False


def test_the_layout_can_be_changed(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """The proposal on screen is shown in another layout, with what was edited in it."""
    editor, path = opened(running, home)
    before = editor.counts()
    verdict = propose(editor, agent(editor), path)
    editor.keys("ggImine <Esc>")
    editor.wait_screen("mine one")
    for name in ("unified", "horizontal", "vertical"):
        rest(editor)
        editor.lua('require("pairside.review").toggle_layout(...)', name)
        editor.wait_screen("mine one")
    ready(editor)
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS) == ["FILE_SAVED", "mine " + NEW]
    gone(editor)
    same_counts(editor, before)
