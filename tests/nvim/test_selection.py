"""What pairside is told of the selection is what is selected, in every mode, and not oftener than needed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim
from tests.nvim.facts import Facts

Start = Callable[..., Neovim]

TEXT = "hello world\n\n\tab\tc\n日本語x\ne\u0301a\U0001f600z\nthe last and longest line of them\nend\n"
REGION = """
local kind = vim.fn.mode():sub(1, 1)
kind = ({ s = "v", S = "V", ["\\19"] = "\\22" })[kind] or kind
return table.concat(vim.fn.getregion(vim.fn.getpos("v"), vim.fn.getpos("."), { type = kind }), "\\n")
"""


def units(text: str, column: int) -> int:
    """The index in characters of a column in UTF-16 units."""
    return len(text.encode("utf-16-le")[: column * 2].decode("utf-16-le"))


def between(text: str, start: list[int], end: list[int]) -> str:
    """What lies between two positions of a text."""
    lines = text.split("\n")
    if start[0] == end[0]:
        return lines[start[0]][units(lines[start[0]], start[1]) : units(lines[end[0]], end[1])]
    first, last = lines[start[0]], lines[end[0]]
    return "\n".join([first[units(first, start[1]) :], *lines[start[0] + 1 : end[0]], last[: units(last, end[1])]])


@pytest.fixture
def opened(running: Start, home: Home) -> Callable[..., Facts]:
    """Starts a Neovim with a file in front; what it tells from then on."""

    def started(text: str | bytes = TEXT, name: str = "a.txt", **options: Any) -> Facts:
        if isinstance(text, str):
            text = text.encode()
        (home.project / name).write_bytes(text)
        return Facts(running(name, **options))

    return started


def select(facts: Facts, keys: str, text: str) -> dict[str, Any]:
    """Type keys that select something, until that text is told; what is told of it."""
    facts.neovim.keys("<Esc>gg0")
    settled(facts)
    facts.forget()
    facts.neovim.keys(keys)
    return facts.wait("selection", text=text)


def settled(facts: Facts) -> None:
    """Wait until everything that happened so far would have been reported."""
    facts.neovim.lua("_G.later = false vim.defer_fn(function() _G.later = true end, 120)")
    facts.neovim.wait_lua("_G.later")


STRETCHES = {
    "v": "hello world"[:1],
    "vee": "hello world",
    "v$": "hello world",
    "v$j": "hello world\n",
    "wvj": "world\n",
    "jvj": "\n\t",
    "jv": "",
    "2jvl": "\ta",
    "3jv": "日",
    "3jlvlohl": "本語",
    "3jvl": "日本",
    "4jv": "e\u0301",
    "4jvll": "e\u0301a\U0001f600",
    "4jlvl": "a\U0001f600",
    "4j$v": "z",
    "4j$vkk": "\n日本語x\ne\u0301a\U0001f600z",
    "wvb": "hello w",
    "4jvggl": "ello world\n\n\tab\tc\n日本語x\ne\u0301",
    "v3l": "hell",
    "v2j": "hello world\n\n\t",
    "V": "hello world",
    "Vj": "hello world\n",
    "jV": "",
    "3jVk": "\tab\tc\n日本語x",
    "V3j": "hello world\n\n\tab\tc\n日本語x",
    "V$": "hello world",
    "VG": TEXT[:-1],
    "gh": "h",
    "gh<Right><Right>": "hel",
    "gH": "hello world",
    "vl<C-g>": "he",
}
"""Keys, and what they select: characters or lines."""


def test_every_selection_of_characters_and_lines_is_told_exactly(opened: Callable[..., Facts]) -> None:
    """Forwards and backwards, counted, over empty lines, tabs, wide and composed characters: text, range and
    getregion() agree."""
    facts = opened()
    for keys, expected in STRETCHES.items():
        told = select(facts, keys, expected)
        assert between(TEXT, told["start"], told["end"]) == expected, (keys, told)
        assert facts.neovim.lua(REGION) == expected


BLOCKS = {
    "<C-v>lj": ("h\n", [0, 0], [1, 0]),
    "l<C-v>3jl": ("ell\n   \n   \n 本", [0, 1], [3, 2]),
    "5jl<C-v>jl": ("he\nnd", [5, 1], [6, 3]),
    "5jll<C-v>jh": ("he\nnd", [5, 1], [6, 3]),
    "6jll<C-v>khh": ("the\nend", [5, 0], [6, 3]),
    "4j<C-v>jl": ("e\u0301a\nth", [4, 0], [5, 2]),
}
"""Keys, and what they select in a block: its text, the first corner and the last."""


def test_a_block_is_the_text_of_its_cells_from_corner_to_corner(opened: Callable[..., Facts]) -> None:
    """In block mode the text is that of the block, and the range goes from its first to its last corner."""
    facts = opened()
    for keys, (text, start, end) in BLOCKS.items():
        told = select(facts, keys, text)
        assert (told["start"], told["end"]) == (start, end), keys
        assert facts.neovim.lua(REGION) == text


@pytest.mark.parametrize(
    ("keys", "end"), [("l<C-v>$5j", [5, 33]), ("l<C-v>5j$", [5, 33]), ("5jl<C-v>$5k", [5, 33]), ("2jl<C-v>$j", [3, 4])]
)
def test_a_block_to_the_line_ends_is_what_would_be_yanked(
    opened: Callable[..., Facts], keys: str, end: list[int]
) -> None:
    """With `$` a block goes to the end of each line, as the screen shows it; getregion() alone would cut it."""
    facts = opened()
    facts.neovim.keys(keys)
    facts.neovim.wait_mode("\x16")
    told = facts.wait("selection", end=end)
    facts.neovim.keys("zy")  # as y, but lines that are too short are not filled up with blanks
    facts.neovim.wait_mode("n")
    assert told["text"] == facts.neovim.lua("return vim.fn.getreg('\"')")


def test_exclusive_selections_leave_out_the_character_under_the_cursor(opened: Callable[..., Facts]) -> None:
    """With 'selection' set to exclusive, the character at the cursor is not told, nor is the line after."""
    facts = opened(before="vim.o.selection = 'exclusive'")
    for keys, expected in {
        "vl": "h",
        "v": "h",
        "vee": "hello world",
        "veeh": "hello worl",
        "vjj": "hello world\n",
        "3jlvhl": "本",
        "3jlvh": "日",
        "4jvl": "e\u0301",
        "Vj": "hello world\n",
    }.items():
        told = select(facts, keys, expected)
        assert between(TEXT, told["start"], told["end"]) == expected, (keys, told)
        assert facts.neovim.lua(REGION) == expected


def test_places_without_text_are_told_as_blanks_within_the_line(opened: Callable[..., Facts]) -> None:
    """With 'virtualedit' the blanks behind a line belong to the text; positions stay in the line."""
    facts = opened(before="vim.o.virtualedit = 'all'")
    told = select(facts, "6jv5l", "end   ")
    assert (told["start"], told["end"]) == ([6, 0], [6, 3])


def test_bytes_that_are_no_utf8_are_replaced(opened: Callable[..., Facts]) -> None:
    """A file that is no UTF-8 is told in characters that JSON can hold, and columns count them."""
    facts = opened(b"a\xffb\xed\xa0\x80c\n\xc3\n", before="vim.o.fileencodings = 'utf-8,latin1'")
    facts.neovim.command("edit ++enc=utf-8 ++bad=keep")
    facts.forget()
    facts.neovim.keys("v$")
    told = facts.wait("selection", start=[0, 0], end=[0, 7])
    assert told["text"] == "a\ufffdb\ufffd\ufffd\ufffdc"
    facts.neovim.keys("<Esc>jv")
    assert facts.wait("selection", start=[1, 0])["text"] == "\ufffd"


def test_a_nul_in_the_file_is_a_nul_in_the_text(opened: Callable[..., Facts]) -> None:
    """What Vim script would show as a line feed is told as it stands in the file."""
    facts = opened(b"a\0b\nc\n")
    facts.neovim.keys("vj")
    assert facts.wait("selection", end=[1, 1])["text"] == "a\0b\nc"


@pytest.mark.parametrize(("keys", "kind"), [("VG", "V"), ("vG$", "v"), ("GkVgg", "V")])
def test_of_a_huge_selection_only_the_beginning_is_read(opened: Callable[..., Facts], keys: str, kind: str) -> None:
    """The range of a long selection is the true one; its text is cut where pairside would cut it, and later."""
    line = "0123456789äöü" * 8
    facts = opened((line + "\n") * 20_000)
    facts.neovim.keys(keys)
    facts.neovim.wait_mode(kind)
    last = 19_998 if keys.startswith("G") else 19_999
    told = facts.wait("selection", start=[0, 0], end=[last, len(line)])
    assert 100_000 < len(told["text"].encode()) <= 128 * 1024
    assert ((line + "\n") * 2000).startswith(told["text"])


def test_of_a_huge_line_only_the_beginning_is_read(opened: Callable[..., Facts]) -> None:
    """A single line of megabytes is cut like many lines."""
    facts = opened("x" + "é" * 500_000 + "\nend\n")
    facts.neovim.keys("lvj0")
    told = facts.wait("selection", start=[0, 1], end=[1, 1])
    assert set(told["text"]) == {"é"}
    assert 100_000 < len(told["text"].encode()) <= 128 * 1024


def test_of_a_huge_block_only_the_beginning_is_read(opened: Callable[..., Facts]) -> None:
    """A block over a long file has its true corners, and the text of its first lines."""
    facts = opened("0123456789abcdef\n" * 20_000)
    facts.neovim.keys("2l<C-v>2lG")
    told = facts.wait("selection", start=[0, 2], end=[19_999, 5])
    lines = told["text"].split("\n")
    assert set(lines) == {"234"}
    assert 1000 < len(lines) < 20_000


def test_a_fast_selection_is_told_once(opened: Callable[..., Facts]) -> None:
    """`Vj<Esc>` in one go gives exactly one report that is not empty, then the cursor where it was left."""
    facts = opened()
    facts.neovim.keys("j")
    facts.wait("selection", text="", start=[1, 0])
    for _ in range(10):
        facts.neovim.keys("gg0")
        settled(facts)
        facts.forget()
        facts.neovim.keys("Vj<Esc>")
        left = facts.wait("selection", text="", start=[1, 0])
        told = facts.told("selection")
        assert [one["text"] for one in told] == ["hello world\n", ""], told
        assert told[0]["cursor"] == left["start"]


@pytest.mark.parametrize("keys", ["vjy", "Vy", "v$y", "v$<Esc>", "3jv$<Esc>", "vj:<Esc>", "5jl<C-v>$j<Esc>", "4jvoy"])
def test_a_selection_is_told_with_the_place_where_the_cursor_was_left(opened: Callable[..., Facts], keys: str) -> None:
    """Where visual mode leaves the cursor is no move of the person, so the selection stays."""
    facts = opened()
    facts.neovim.keys("0")
    facts.forget()
    facts.neovim.keys(keys)
    left = facts.wait("selection", text="")
    (selected,) = [one for one in facts.told("selection") if one["text"]]
    assert selected["cursor"] == left["start"]
    row, column = facts.neovim.lua("local at = vim.fn.getcursorcharpos() return {at[2] - 1, at[3] - 1}")
    assert left["start"][0] == row
    assert units(TEXT.split("\n")[row], left["start"][1]) == column or row == 4


def test_what_an_operator_consumed_is_not_told(opened: Callable[..., Facts]) -> None:
    """After a fast deletion nothing is selected: no report has a text."""
    facts = opened()
    facts.neovim.keys("Vjd")
    facts.neovim.wait_lua("vim.fn.getline(1) == '\\tab\\tc'")
    facts.neovim.keys("j0")
    facts.wait("selection", text="", start=[1, 0])
    assert [one for one in facts.told("selection") if one["text"]] == []


def test_a_selection_left_by_going_to_another_window_is_told(opened: Callable[..., Facts]) -> None:
    """Who selects and goes to a terminal at once has selected that; from then on nothing is told."""
    facts = opened()
    facts.neovim.command("botright split | terminal")
    facts.neovim.command("wincmd p")
    facts.neovim.keys("vee<C-w>j")
    facts.neovim.wait_lua("vim.bo.buftype == 'terminal'")
    facts.wait("selection", text="hello world")
    facts.neovim.keys("i")
    facts.neovim.wait_mode("t")
    facts.neovim.keys("<C-\\><C-n>gg")
    facts.neovim.wait_mode("nt")
    settled(facts)
    assert facts.told("selection")[-1]["text"] == "hello world"


def test_a_held_key_is_told_every_50_ms_and_its_end_always(opened: Callable[..., Facts]) -> None:
    """While the cursor moves all the time, reports come at most every 50 ms, and the last one is where it stands."""
    facts = opened("x\n" * 3000)
    facts.neovim.lua(
        """_G.moves, _G.timer = 0, vim.uv.new_timer()
        _G.timer:start(0, 4, vim.schedule_wrap(function()
          if _G.moves < 200 then
            _G.moves = _G.moves + 1
            vim.api.nvim_input("j")
          end
        end))"""
    )
    facts.neovim.wait_lua("_G.moves == 200 and vim.api.nvim_win_get_cursor(0)[1] == 201")
    facts.wait("selection", start=[200, 0])
    settled(facts)
    times = facts.times("selection")
    assert len(times) >= 8
    assert min(after - before for before, after in pairwise(times)) >= 48
    assert facts.told("selection")[-1]["start"] == [200, 0]


def test_the_same_state_is_not_told_again(opened: Callable[..., Facts]) -> None:
    """Moving there and back between two reports is nothing new."""
    facts = opened()
    facts.neovim.keys("j")
    facts.wait("selection", start=[1, 0])
    facts.forget()
    facts.neovim.keys("kj")
    settled(facts)
    assert facts.told("selection") == []


def test_typing_moves_the_cursor(opened: Callable[..., Facts]) -> None:
    """In insert mode the place where the person types is told."""
    facts = opened("\n")
    facts.neovim.keys("iaé\U0001f600")
    assert facts.wait("selection", start=[0, 4])["text"] == ""


@pytest.mark.parametrize(
    "command",
    [
        "enew",
        "help help",
        "terminal",
        "copen",
        "enew | file scheme://somewhere/b.txt",
        "edit .",
        "call nvim_open_win(nvim_create_buf(v:false, v:true), v:true, #{relative: 'editor', row: 1, col: 1, width: 9, "
        "height: 3})",
        "enew | setlocal buftype=prompt",
        "enew | file proposal.txt | setlocal buftype=acwrite",
        "edit b.txt | let b:pairside_review = 1",
    ],
)
def test_only_files_are_told(opened: Callable[..., Facts], command: str) -> None:
    """In a terminal, help, a tree, a prompt and the like nothing is told, not even that nothing is selected."""
    facts = opened()
    facts.neovim.keys("2l")
    facts.wait("selection", start=[0, 2])
    facts.forget()
    facts.neovim.command(f"split | {command}")
    if command != "terminal":
        facts.neovim.lua("vim.bo.modifiable = true vim.api.nvim_buf_set_lines(0, 0, -1, false, {'one', 'two'})")
    facts.neovim.keys("jVk<Esc>j")
    settled(facts)
    assert facts.told("selection") == []


def test_when_the_reported_file_is_gone_and_none_is_in_front_nothing_is_selected(opened: Callable[..., Facts]) -> None:
    """Who deletes the buffer in front and is left without a file has selected nothing, and that is told."""
    facts = opened()
    facts.neovim.keys("vee<Esc>")
    facts.wait("selection", text="")
    facts.forget()
    facts.neovim.command("bdelete")
    facts.neovim.wait_lua("vim.api.nvim_buf_get_name(0) == ''")
    settled(facts)
    assert facts.told("selection") == [{}]


def test_when_the_reported_file_is_deleted_from_elsewhere_nothing_is_selected(opened: Callable[..., Facts]) -> None:
    """A file that is deleted while the person is in a terminal is not said to be selected any more."""
    facts = opened()
    facts.neovim.keys("j")
    facts.wait("selection", start=[1, 0])
    facts.neovim.command("terminal")
    settled(facts)
    facts.forget()
    facts.neovim.command("bdelete a.txt")
    settled(facts)
    assert facts.told("selection") == [{}]


def test_nothing_is_told_where_tracking_is_off(opened: Callable[..., Facts], home: Home) -> None:
    """With track_selection = false no selection is reported, nor where the cursor is."""
    facts = opened(options={"track_selection": False})
    facts.neovim.keys("Vj<Esc>j")
    facts.neovim.wait_lua("vim.fn.line('.') == 3")
    settled(facts)
    assert facts.told("selection") == []
    assert facts.neovim.lua("return vim.fn.exists('#pairside_selection')") == 0


COST = """
pcall(vim.api.nvim_del_augroup_by_name, "matchparen")  -- it would cost many times what is to be measured
local function microseconds()
  local start = vim.uv.hrtime()
  for _ = 1, 2000 do
    vim.api.nvim_exec_autocmds("CursorMoved", { modeline = false })
  end
  return (vim.uv.hrtime() - start) / 2000 / 1000
end
local ours, floor = math.huge, math.huge
for _ = 1, 10 do
  ours = math.min(ours, microseconds())
  require("pairside.selection").disable()
  local empty = vim.api.nvim_create_autocmd("CursorMoved", { callback = function() end })
  floor = math.min(floor, microseconds())
  vim.api.nvim_del_autocmd(empty)
  require("pairside.selection").enable()
end
return { ours, floor }
"""


def test_a_move_of_the_cursor_costs_next_to_nothing(opened: Callable[..., Facts]) -> None:
    """While a report is due anyway, a move of the cursor costs at most 6 µs more than an empty autocommand."""
    ours, floor = opened().neovim.lua(COST)
    assert ours - floor <= 6, (ours, floor)


# What agents are told of it


def told_selection(told: dict[str, Any]) -> tuple[str, list[list[int]]]:
    """Text and range of what an agent is told."""
    range = told["selection"]
    return told["text"], [[range[end]["line"], range[end]["character"]] for end in ("start", "end")]


def current(connected: Connected) -> dict[str, Any]:
    """What getCurrentSelection answers."""
    (text,) = connected.agent.call("getCurrentSelection")
    answer: dict[str, Any] = json.loads(text)
    return answer


def wait_current(connected: Connected, expected: str) -> dict[str, Any]:
    """Wait until getCurrentSelection answers with a text; the answer."""
    last: dict[str, Any] = {}

    def look() -> bool:
        nonlocal last
        last = current(connected)
        return last.get("text") == expected

    until(look, timeout=SECONDS, what=lambda: f"{expected!r}: {last}")
    return last


@pytest.fixture
def editing(running: Start, agent: Callable[..., Robot], home: Home) -> Connected:
    """A Neovim with a file in front, and an agent."""
    home.write("a.txt", TEXT)
    editor = running("a.txt")
    return Connected(home, editor, agent(editor))


def test_an_agent_is_told_what_is_selected(editing: Connected) -> None:
    """selection_changed and getCurrentSelection tell text, file and range in UTF-16 columns."""
    editing.neovim.keys("4jlvl")
    wait_current(editing, "a\U0001f600")
    until(
        lambda: editing.agent.wait_told("selection_changed")["text"] == "a\U0001f600",
        timeout=SECONDS,
        what="selection_changed",
    )
    told = editing.agent.wait_told("selection_changed")
    assert told_selection(told) == ("a\U0001f600", [[4, 2], [4, 5]])
    assert told["filePath"] == str(editing.home.project / "a.txt")


def test_a_selection_stands_until_the_cursor_moves_away(editing: Connected) -> None:
    """What was selected stays after Escape; a move of the cursor ends it."""
    editing.neovim.keys("Vj<Esc>")
    wait_current(editing, "hello world\n")
    facts = Facts(editing.neovim)
    settled(facts)
    settled(facts)
    assert current(editing)["text"] == "hello world\n"
    editing.neovim.keys("j")
    assert told_selection(wait_current(editing, "")) == ("", [[2, 0], [2, 0]])


@pytest.mark.parametrize("keys", ["Vj<Esc><C-w>ji", "Vj<C-w>ji"])
def test_the_way_to_the_terminal_keeps_the_selection(editing: Connected, keys: str) -> None:
    """Who goes to the agent's terminal, there and back, has still selected what they had."""
    editing.neovim.command("botright split | terminal")
    editing.neovim.command("wincmd p")
    editing.neovim.keys(f"gg0{keys}")
    editing.neovim.wait_mode("t")
    wait_current(editing, "hello world\n")
    editing.neovim.keys("echo<C-\\><C-n>ggG<C-w>k")
    editing.neovim.wait_lua("vim.bo.buftype == ''")
    settled(Facts(editing.neovim))
    assert current(editing)["text"] == "hello world\n"


def test_a_process_started_again_knows_the_selection(editing: Connected) -> None:
    """When pairside ends while the person is in a terminal, the next one is told what they had selected."""
    editing.neovim.command("botright split | terminal")
    editing.neovim.command("wincmd p")
    editing.neovim.keys("gg0Vj<C-w>j")
    editing.neovim.wait_lua("vim.bo.buftype == 'terminal'")
    wait_current(editing, "hello world\n")
    process = editing.neovim.wait_running()["pid"]
    os.kill(process, signal.SIGKILL)
    editing.neovim.wait_lua(
        """local process = require("pairside.process")
        return process.hello and process.hello.pid ~= ...""",
        process,
    )
    with Robot(editing.neovim.lock) as agent:
        wait_current(Connected(editing.home, editing.neovim, agent), "hello world\n")
