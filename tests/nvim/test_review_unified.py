"""The layout "unified" and single hunks: what is drawn, and that it stays true while the person edits."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.nvim.editor import SECONDS, Neovim
from tests.nvim.test_review import Start, gone, opened, propose, rest

DRAWN = """
local found = {}
local namespace = vim.api.nvim_get_namespaces().pairside_hunks
for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, {details = true})) do
  local details = mark[4]
  if details.hl_group then
    found[#found + 1] = {"+", mark[2], math.min(details.end_row, vim.api.nvim_buf_line_count(0))}
  end
  for _, line in ipairs(details.virt_lines or {}) do
    found[#found + 1] = {"-", mark[2] + (details.virt_lines_above and 0 or 1), vim.trim(line[1][1])}
  end
end
table.sort(found, function(a, b) return vim.inspect(a) < vim.inspect(b) end)
return found"""
FRESH = """
local review = require("pairside.review")
local hunks = require("pairside.review.hunks")
return vim.tbl_map(function(hunk) return {hunk.a, hunk.ac, hunk.b, hunk.bc} end, hunks.new(0, ...).list)"""


def drawn(editor: Neovim, marks: list[list[object]]) -> None:
    """Wait until exactly this is drawn: `["+", from, to]` added lines, `["-", above, text]` a deleted one."""
    editor.wait_lua(
        f"""local wanted = ...
        table.sort(wanted, function(a, b) return vim.inspect(a) < vim.inspect(b) end)
        return vim.deep_equal((function() {DRAWN} end)(), wanted)""",
        marks,
    )


def test_what_is_deleted_and_added_is_on_screen(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Deleted lines stand above where they were, added ones are highlighted; in the groups of a diff."""
    editor, path = opened(running, home, "unified")
    editor.command("edit another.txt")
    propose(editor, agent(editor), path, "one\n2\nthree\nfour\n")
    editor.wait_screen(r"one *\n.*two *\n.*2 *\n.*three *\n.*four")
    assert "DiffDelete" in editor.groups("two")
    assert "DiffAdd" in editor.groups("four")
    assert "DiffAdd" not in editor.groups("three")


@pytest.mark.parametrize(
    ("new", "seen"),
    [
        ("three\n", r"one *\n.*two *\n.*three"),
        ("zero\ntwo\nthree\n", r"one *\n.*zero *\n.*two"),
        ("one\n", r"one *\n.*two *\n.*three"),
        ("", r"one *\n.*two *\n.*three"),
        ("new\none\ntwo\nthree\n", r"new *\n.*one *\n.*two"),
    ],
)
def test_changes_at_the_edges_are_on_screen(
    running: Start, agent: Callable[..., Robot], home: Home, new: str, seen: str
) -> None:
    """What is deleted above the first line, below the last one, or altogether can be seen."""
    editor, path = opened(running, home, "unified")
    editor.command("set laststatus=2")
    verdict = propose(editor, agent(editor), path, new)
    editor.command("wincmd t | only! | lua vim.defer_fn(function() require('pairside.review').show() end, 20)")
    editor.wait_said("still pending")
    editor.command("edit other.txt")
    editor.wait_screen(seen)
    editor.lua('require("pairside.review").accept()')
    assert verdict.result(SECONDS) == ["FILE_SAVED", new]
    gone(editor)


def test_a_new_file_is_all_added(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Of a file that is not there yet every line is new."""
    editor, _ = opened(running, home, "unified")
    propose(editor, agent(editor), home.project / "b.py", "x = 1\ny = 2\n")
    drawn(editor, [["+", 0, 2]])


def test_what_is_drawn_follows_edits(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Lines that the person adds, deletes and undoes are drawn as they are."""
    editor, path = opened(running, home, "unified")
    propose(editor, agent(editor), path, "one\n2\nthree\nfour\n")
    drawn(editor, [["-", 1, "two"], ["+", 1, 2], ["+", 3, 4]])
    editor.keys("Go5<Esc>")
    drawn(editor, [["-", 1, "two"], ["+", 1, 2], ["+", 3, 5]])
    editor.keys("ggdd")
    drawn(editor, [["-", 0, "one"], ["-", 0, "two"], ["+", 0, 1], ["+", 2, 4]])
    editor.keys("u")
    drawn(editor, [["-", 1, "two"], ["+", 1, 2], ["+", 3, 5]])
    editor.keys(":%d<CR>")
    drawn(editor, [["-", 0, "one"], ["-", 0, "two"], ["-", 0, "three"]])


def test_after_any_edits_the_hunks_are_those_of_the_whole(
    running: Start, agent: Callable[..., Robot], home: Home
) -> None:
    """Looking only around the edits leads to a difference that turns the original into what is there."""
    numbers = random.Random(4)
    old = [f"line {numbers.randrange(30)}" for _ in range(80)]
    path = home.write("a.txt", "\n".join(old) + "\n")
    editor = running("a.txt", options={"diff_opts": {"layout": "unified"}})
    new = list(old)
    for _ in range(12):
        at = numbers.randrange(len(new))
        new[at : at + numbers.randrange(3)] = [f"new {numbers.randrange(9)}"] * numbers.randrange(3)
    propose(editor, agent(editor), path, "\n".join(new) + "\n")
    editor.wait_lua('require("pairside.review").pending()[1] ~= nil')
    editor.lua(
        """local hunks = require("pairside.review.hunks")
        local refresh = hunks.refresh
        hunks.refresh = function(of, ...) OF = of return refresh(of, ...) end"""
    )
    for _ in range(40):
        size = len(editor.lines())
        for _ in range(numbers.randrange(1, 4)):
            size = len(editor.lines())
            first = numbers.randrange(size + 1)
            last = min(size, first + numbers.randrange(6))
            lines = [f"line {numbers.randrange(30)}" for _ in range(numbers.randrange(5))]
            editor.lua("vim.api.nvim_buf_set_lines(0, ...)", first, last, False, lines)
        editor.wait_lua("OF and not OF.dirty")
        found = editor.lua("return vim.tbl_map(function(h) return {h.a, h.ac, h.b, h.bc} end, OF.list)")
        now = editor.lines()
        made, a = [], 0
        for start, count, b, added in found:
            assert start >= a
            made += old[a:start]
            assert len(made) == b
            made += now[b : b + added]
            a = start + count
        assert made + old[a:] == now


def test_hunks_are_left_out_and_taken_in(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """`do` leaves the hunk at the cursor out, `dp` takes it in again; the accepted text is what is on screen."""
    editor, path = opened(running, home, "unified")
    robot = agent(editor)
    new = "one\n2\nthree\nfour\n"
    verdict = propose(editor, robot, path, new)
    drawn(editor, [["-", 1, "two"], ["+", 1, 2], ["+", 3, 4]])
    editor.keys("2Gdo")
    editor.wait_screen("left out")
    drawn(editor, [["+", 3, 4]])
    editor.keys("Gdo")
    drawn(editor, [])
    editor.keys("dp")
    drawn(editor, [["+", 3, 4]])
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS) == ["FILE_SAVED", "one\ntwo\nthree\nfour\n"]
    gone(editor)
    verdict = propose(editor, robot, path, new)
    drawn(editor, [["-", 1, "two"], ["+", 1, 2], ["+", 3, 4]])
    editor.keys("2GdoGdo2Gdpdo2GdpGdp")
    drawn(editor, [["-", 1, "two"], ["+", 1, 2], ["+", 3, 4]])
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS) == ["FILE_SAVED", new]


def test_leaving_every_hunk_out_is_a_rejection(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Nothing of the proposal is left, so the agent is told no, and the person is told so."""
    editor, path = opened(running, home, "unified")
    verdict = propose(editor, agent(editor), path, "zero\none\ntwo\nthree\n")
    drawn(editor, [["+", 0, 1]])
    editor.keys("ggdo")
    drawn(editor, [])
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    editor.wait_said("nothing of the proposal")


def test_the_last_newline_belongs_to_its_hunk(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Leaving out a hunk that only takes the last newline away leaves it there."""
    editor, path = opened(running, home, "unified")
    verdict = propose(editor, agent(editor), path, "1\ntwo\nthree")
    drawn(editor, [["-", 0, "one"], ["+", 0, 1], ["-", 2, "three"], ["+", 2, 3]])
    editor.keys("Gdo")
    drawn(editor, [["-", 0, "one"], ["+", 0, 1]])
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS) == ["FILE_SAVED", "1\ntwo\nthree\n"]


def test_one_function_leaves_out_and_takes_in_every_layout(
    running: Start, agent: Callable[..., Robot], home: Home
) -> None:
    """`toggle_hunk()` does both where two windows are compared, too."""
    editor, path = opened(running, home, "vertical")
    robot = agent(editor)
    verdict = propose(editor, robot, path, "one\n2\nthree\nfour\n")
    editor.command("2")
    toggle = 'require("pairside.review").toggle_hunk()'
    editor.lua(toggle)
    editor.wait_lua("vim.fn.getline(2) == 'two'")
    editor.lua(toggle)
    editor.wait_lua("vim.fn.getline(2) == '2'")
    editor.lua(toggle)
    editor.wait_lua("vim.fn.getline(2) == 'two'")
    editor.keys(":w<CR>")
    assert verdict.result(SECONDS) == ["FILE_SAVED", "one\ntwo\nthree\nfour\n"]


def test_odd_lines_are_drawn_safely(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Tabs are as wide as they are, control characters are shown, and a huge line is cut."""
    path = home.write("a.txt", "\tx\ty\n\x1b[31mred\n" + "z" * 200_000 + "\n")
    editor = running("a.txt", options={"diff_opts": {"layout": "unified"}})
    propose(editor, agent(editor), path, "new\n")
    editor.wait_screen(r" {8}x {7}y")
    editor.wait_screen(r"\^\[\[31mred")
    rest(editor)
