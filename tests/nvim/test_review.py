"""Reviews in Neovim: shown, decided in every way that a person has, and nothing of them left."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim

Start = Callable[..., Neovim]
Verdict = Future[list[str]]

LAYOUTS = ["vertical", "horizontal", "unified"]
OLD = "one\ntwo\nthree\n"
NEW = "one\n2\nthree\nfour\n"
BUFFER = """
for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
  if vim.api.nvim_buf_is_loaded(buffer) and vim.b[buffer].pairside_review then return buffer end
end"""


def rest(editor: Neovim) -> None:
    """Wait until the person may be moved: no key came for half a second."""
    editor.wait_lua('require("pairside.idle").now(500)')


def ready(editor: Neovim) -> int:
    """Wait until a proposal is on screen and takes keys; its buffer."""
    buffer: int = editor.wait_lua(
        f"""local buffer = (function() {BUFFER} end)()
        return buffer and vim.bo[buffer].modifiable and #vim.fn.win_findbuf(buffer) > 0 and buffer"""
    )
    return buffer


def propose(editor: Neovim, agent: Robot, path: Path, text: str = NEW) -> Verdict:
    """Propose a text while the person rests, and wait until the proposal takes keys."""
    rest(editor)
    verdict = agent.propose(path, text)
    ready(editor)
    return verdict


def answer(editor: Neovim, verdict: Verdict) -> list[str]:
    """What the agent is answered."""
    try:
        return verdict.result(SECONDS)
    except TimeoutError:
        raise AssertionError(f"no verdict; said {editor.said()}{editor.described()}") from None


def gone(editor: Neovim) -> None:
    """Wait until no proposal is there any more."""
    editor.wait_lua(
        f"""local buffer = (function() {BUFFER} end)()
        return #require("pairside.review").pending() == 0 and buffer == nil"""
    )


def same_counts(editor: Neovim, before: dict[str, int]) -> None:
    """Wait until there are as many windows, tabs, buffers, autocmds and namespaces as before."""
    until(
        lambda: editor.counts() == before,
        timeout=SECONDS,
        what=lambda: f"counts {editor.counts()} to be {before}{editor.described()}",
    )


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """Each layout in its turn."""
    name: str = request.param
    return name


def opened(running: Start, home: Home, layout: str = "vertical", **more: Any) -> tuple[Neovim, Path]:
    """A Neovim with a file in front of the person, and that file."""
    path = home.write("a.py", OLD)
    options = {"diff_opts": {"layout": layout, **more}}
    return running("a.py", options=options), path


ACCEPTING = [":w<CR>", ":wq<CR>", ":x<CR>", ":update<CR>", "ZZ", ":silent w!<CR>"]
REJECTING = [":q<CR>", ":close<CR>", "<C-w>c", ":bd<CR>", ":bw<CR>", "ZQ", "<C-w>q", ":tabclose<CR>"]


def test_what_writes_the_proposal_accepts_it(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """Whatever a person uses to write a file accepts the proposal as it came, and the screen is as it was."""
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    before, screen = editor.counts(), editor.redrawn()
    for keys in ACCEPTING:
        verdict = propose(editor, robot, path)
        editor.keys(keys)
        assert answer(editor, verdict) == ["FILE_SAVED", NEW], keys
        gone(editor)
        same_counts(editor, before)
        assert editor.redrawn()[:-1] == screen[:-1], keys
    assert path.read_text() == OLD


def test_what_closes_the_proposal_rejects_it(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """Whatever a person uses to close a window, buffer or tab rejects the proposal, and the screen is as it was."""
    editor, path = opened(running, home, layout)
    editor.command("tabnew | tabprevious")
    robot = agent(editor)
    before, screen = editor.counts(), editor.redrawn()
    for keys in REJECTING:
        if keys == ":tabclose<CR>":
            editor.command("tab split")
        verdict = propose(editor, robot, path)
        editor.keys(keys)
        assert answer(editor, verdict)[0] == "DIFF_REJECTED", keys
        gone(editor)
        if keys == ":tabclose<CR>":
            editor.command("tabfirst")
        same_counts(editor, before)
        assert editor.redrawn()[:-1] == screen[:-1], keys


@pytest.mark.parametrize("mapping", ["<cmd>w<cr>", ":w<cr>", "<cmd>update<cr>", "<cmd>x<cr>", "lua"])
def test_a_key_that_is_mapped_to_writing_accepts(
    running: Start, agent: Callable[..., Robot], home: Home, mapping: str
) -> None:
    """A mapping of the person that writes the file accepts, also one to a Lua function."""
    editor, path = opened(running, home)
    robot = agent(editor)
    target = 'function() vim.cmd("silent write") end' if mapping == "lua" else f'"{mapping}"'
    editor.lua(f'vim.keymap.set("n", "<Space>w", {target})')
    verdict = propose(editor, robot, path)
    editor.keys("<Space>w")
    assert answer(editor, verdict) == ["FILE_SAVED", NEW]


AUTOSAVES = {
    "an autocommand": """vim.api.nvim_create_autocmd("InsertLeave", {nested = true, callback = function()
      vim.g.tried = true vim.cmd("silent! write") end})""",
    "a timer": """vim.api.nvim_create_autocmd({"InsertLeave", "TextChanged"}, {callback = function()
      vim.defer_fn(function() vim.g.tried = true vim.cmd("silent! write") end, 20) end})""",
    "every buffer": """vim.api.nvim_create_autocmd({"InsertLeave"}, {nested = true, callback = function()
      for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
        vim.api.nvim_buf_call(buffer, function() vim.cmd("silent! write") end)
      end vim.g.tried = true end})""",
    "updates": """vim.api.nvim_create_autocmd({"InsertLeave"}, {nested = true, callback = function()
      vim.cmd("silent! update") vim.cmd("silent! wall") vim.g.tried = true end})""",
    "when idle": """vim.api.nvim_create_autocmd({"InsertLeave"}, {callback = function()
      vim.schedule(function() vim.g.tried = true vim.cmd("silent! write") end) end})""",
}


@pytest.mark.parametrize("kind", AUTOSAVES)
def test_a_plugin_that_saves_by_itself_does_not_accept(
    running: Start, agent: Callable[..., Robot], home: Home, kind: str
) -> None:
    """Saving by autocommand or timer is no verdict; the edit stays in the proposal and is what is accepted."""
    editor, path = opened(running, home)
    robot = agent(editor)
    editor.lua(AUTOSAVES[kind])
    verdict = propose(editor, robot, path)
    editor.keys("ggIx<Esc>")
    editor.wait_lua("vim.g.tried")
    rest(editor)
    assert not verdict.done()
    editor.keys(":w<CR>")
    assert answer(editor, verdict) == ["FILE_SAVED", "x" + NEW]


def test_a_key_mapped_to_lua_does_not_let_autosave_accept(
    running: Start, agent: Callable[..., Robot], home: Home
) -> None:
    """What a mapped function sets off later, or in an autocommand, is not what the person gave."""
    editor, path = opened(running, home)
    robot = agent(editor)
    editor.lua(
        """vim.api.nvim_create_autocmd("WinLeave", {nested = true, callback = function() vim.cmd("silent! write") end})
        vim.keymap.set("n", "<Space>l", function()
          vim.defer_fn(function() vim.cmd("silent! write") vim.g.tried = true end, 30)
          vim.cmd.wincmd("h")
          vim.cmd.wincmd("l")
        end)"""
    )
    verdict = propose(editor, robot, path)
    editor.keys("<Space>l")
    editor.wait_lua("vim.g.tried")
    rest(editor)
    assert not verdict.done()


@pytest.mark.parametrize("command", ["wa", "wall", "windo silent! w", "bufdo silent! w", "tabdo silent! update"])
def test_writing_all_files_does_not_accept(
    running: Start, agent: Callable[..., Robot], home: Home, command: str
) -> None:
    """A command for all files is no verdict on this one."""
    editor, path = opened(running, home)
    robot = agent(editor)
    verdict = propose(editor, robot, path)
    editor.keys("ggIx<Esc>")
    editor.keys(f":{command}<CR>")
    rest(editor)
    assert not verdict.done()


def test_writing_to_another_file_is_no_verdict(connected: Connected) -> None:
    """`:w other` writes what is on screen there."""
    path = connected.home.write("a.py", OLD)
    verdict = propose(connected.neovim, connected.agent, path)
    other = connected.home.project / "other.txt"
    connected.neovim.keys(f":w {other}<CR>")
    connected.neovim.wait_lua("vim.uv.fs_stat(...) ~= nil", str(other))
    assert other.read_text() == NEW
    assert not verdict.done()


@pytest.mark.parametrize("command", ["qa", "wqa", "xa", "qa!"])
def test_neovim_can_be_left_while_a_proposal_is_pending(
    running: Start, agent: Callable[..., Robot], home: Home, command: str, layout: str
) -> None:
    """Leaving is neither prevented nor a verdict, even when the proposal was edited."""
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    verdict = propose(editor, robot, path)
    editor.keys("ggIx<Esc>")
    editor.keys(f":{command}<CR>")
    assert editor.wait_end() == 0
    assert not verdict.done() or verdict.exception() is not None
    assert path.read_text() == OLD


TEXTS = {
    "empty": "",
    "a newline": "\n",
    "no final newline": "one\n2",
    "carriage returns": "one\r\ntwo\rthree\r\n",
    "byte order mark": "\ufeffone\n",
    "only a mark": "\ufeff",
    "zero bytes": "a\0b\n\0\n",
    "blank lines": "\n\n\na\n\n\n",
    "a long line": "x" * 300_000 + "\ny",
    "wide": "日本 é e\u0301 👩‍👩‍👧\n",
    "controls": "\x01\x1b[31m\x7f\t\x0b\x0c\u2028\n",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_comes_back_exactly(running: Start, agent: Callable[..., Robot], home: Home, kind: str) -> None:
    """What is accepted untouched is what was proposed; edited and edited back it is the same."""
    editor, path = opened(running, home)
    robot = agent(editor)
    text = TEXTS[kind]
    verdict = propose(editor, robot, path, text)
    editor.keys(":w<CR>")
    assert answer(editor, verdict) == ["FILE_SAVED", text]
    gone(editor)
    verdict = propose(editor, robot, path, text)
    editor.keys(":$<CR>onew line<Esc>dd")
    editor.keys(":w<CR>")
    accepted = answer(editor, verdict)
    if kind in ("empty", "only a mark"):  # `o` makes a second line, so an empty first one stays
        assert accepted == ["FILE_SAVED", text + "\n"]
    else:
        assert accepted == ["FILE_SAVED", text]


def test_the_person_can_edit_first(connected: Connected) -> None:
    """What was edited is accepted as it is on screen, without a newline that was not there."""
    path = connected.home.write("a.py", OLD)
    verdict = propose(connected.neovim, connected.agent, path, "one\n2")
    connected.neovim.keys("Gocafé<Esc>:w<CR>")
    assert answer(connected.neovim, verdict) == ["FILE_SAVED", "one\n2\ncafé"]


def test_everything_can_be_deleted(connected: Connected) -> None:
    """An emptied proposal is an empty file, not one with an empty line."""
    path = connected.home.write("a.py", OLD)
    verdict = propose(connected.neovim, connected.agent, path)
    connected.neovim.keys(":%d<CR>:w<CR>")
    assert answer(connected.neovim, verdict) == ["FILE_SAVED", ""]


def test_the_proposal_can_be_had_back(connected: Connected) -> None:
    """`:e!` brings back the proposal as it came."""
    path = connected.home.write("a.py", OLD)
    verdict = propose(connected.neovim, connected.agent, path)
    connected.neovim.keys(":%d<CR>:e!<CR>")
    connected.neovim.wait_lua("vim.api.nvim_buf_line_count(0) == 4")
    connected.neovim.keys(":w<CR>")
    assert answer(connected.neovim, verdict) == ["FILE_SAVED", NEW]


def test_hunks_are_left_out_by_the_diff_keys(connected: Connected) -> None:
    """`do` takes the original's lines, and the rest is accepted."""
    connected.neovim.command("edit a.py")
    path = connected.home.write("a.py", OLD)
    connected.neovim.command("edit!")
    verdict = propose(connected.neovim, connected.agent, path)
    connected.neovim.keys("do:w<CR>")
    assert answer(connected.neovim, verdict) == ["FILE_SAVED", "one\ntwo\nthree\nfour\n"]


def test_a_new_file_is_shown_beside_nothing(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """A file in a folder that is not there yet has an empty other side, and the right filetype."""
    editor = running()
    robot = agent(editor)
    before = editor.counts()
    verdict = propose(editor, robot, home.project / "deep" / "er" / "b.py", "import os\n")
    editor.wait_screen("nothing yet")
    assert editor.lua("return vim.bo.filetype") == "python"
    editor.keys(":w<CR>")
    assert answer(editor, verdict) == ["FILE_SAVED", "import os\n"]
    gone(editor)
    same_counts(editor, before)
    assert editor.lua("return vim.api.nvim_buf_get_name(0)") == ""


@pytest.mark.parametrize(
    "name", ["a b.py", "[x]*?.py", "$HOME.py", "%#<cword>.py", "日本.py", "-x.py", "~.py", "a'b\"c.py", "{a,b}.py"]
)
def test_odd_names_are_shown_and_decided(running: Start, agent: Callable[..., Robot], home: Home, name: str) -> None:
    """Whatever characters a name has, the file beside the proposal is that one, and its real buffer."""
    path = home.write(name, OLD)
    home.write("a.py", "another\n")
    editor = running("a.py")
    robot = agent(editor)
    before = editor.counts()
    verdict = propose(editor, robot, path)
    shown = editor.lua(
        """return vim.tbl_map(function(window)
          return vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(window))
        end, vim.api.nvim_list_wins())"""
    )
    assert str(path) in shown
    editor.keys(":w<CR>")
    assert answer(editor, verdict) == ["FILE_SAVED", NEW]
    gone(editor)
    same_counts(editor, before)


def test_the_hint_says_the_keys(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """The keys of a review stand above it, unless the option says no."""
    editor, path = opened(running, home)
    propose(editor, agent(editor), path)
    editor.wait_screen(r":w accept · :q reject · do/dp hunks")


def test_hints_can_be_switched_off(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """With `hints = false` nothing stands above the windows."""
    editor, path = opened(running, home, hints=False)
    propose(editor, agent(editor), path)
    assert not any(":w accept" in line for line in editor.redrawn())


def test_keymaps_of_the_options_decide(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """`diff_opts.keymaps` are keys of the proposal alone."""
    editor, path = opened(running, home, keymaps={"accept": "<Space>a", "reject": "<Space>d"})
    robot = agent(editor)
    verdict = propose(editor, robot, path)
    editor.keys("<Space>d")
    assert answer(editor, verdict)[0] == "DIFF_REJECTED"
    gone(editor)
    verdict = propose(editor, robot, path)
    editor.keys("<Space>a")
    assert answer(editor, verdict) == ["FILE_SAVED", NEW]


def test_a_proposal_is_accepted_from_any_window(connected: Connected) -> None:
    """`accept` means the one on screen, wherever the cursor is; without any it says so."""
    editor = connected.neovim
    path = connected.home.write("a.py", OLD)
    verdict = propose(editor, connected.agent, path)
    editor.command("wincmd t")
    editor.lua('require("pairside").accept()')
    assert answer(editor, verdict) == ["FILE_SAVED", NEW]
    gone(editor)
    editor.lua('require("pairside").accept()')
    editor.wait_said("no proposal is pending")


def test_all_proposals_can_be_rejected_at_once(connected: Connected) -> None:
    """The waiting ones too, and it is said how many."""
    editor = connected.neovim
    rest(editor)
    verdicts = [connected.agent.propose(connected.home.write(f"{n}.py", OLD), NEW) for n in range(3)]
    editor.wait_lua('#require("pairside.review").pending() == 3')
    assert editor.lua('return require("pairside.review").close_all()') == 3
    assert [answer(editor, verdict)[0] for verdict in verdicts] == ["DIFF_REJECTED"] * 3
    editor.wait_said("3 proposals rejected")
    gone(editor)


def test_reviews_of_several_agents_come_one_after_the_other(
    running: Start, agent: Callable[..., Robot], home: Home, layout: str
) -> None:
    """The next is shown when the one on screen is over; how many wait stands above it."""
    editor, path = opened(running, home, layout)
    before, screen = editor.counts(), editor.redrawn()
    first, second = agent(editor), agent(editor)
    one = propose(editor, first, path, "first\n")
    two = second.propose(home.write("b.py", OLD), "second\n")
    editor.wait_screen("1 more")
    editor.keys(":w<CR>")
    assert answer(editor, one) == ["FILE_SAVED", "first\n"]
    editor.wait_screen(r"\bsecond\b")
    assert not any("first" in line for line in editor.redrawn())
    editor.lua('require("pairside.review").reject()')
    assert answer(editor, two)[0] == "DIFF_REJECTED"
    gone(editor)
    same_counts(editor, before)
    assert editor.redrawn()[:-1] == screen[:-1]


def test_only_the_review_of_the_agent_that_died_closes(connected: Connected, agent: Callable[..., Robot]) -> None:
    """Two agents ask; the one whose proposal is shown vanishes; the other's is shown then."""
    editor = connected.neovim
    other = agent(editor)
    propose(editor, connected.agent, connected.home.write("a.py", OLD), "dead\n")
    verdict = other.propose(connected.home.write("b.py", OLD), "alive\n")
    editor.wait_screen("1 more")
    connected.agent.vanish()
    editor.wait_screen(r"\balive\b")
    editor.wait_not_on_screen(r"\bdead\b")
    editor.lua('require("pairside.review").accept()')
    assert answer(editor, verdict) == ["FILE_SAVED", "alive\n"]


def test_an_original_with_unsaved_changes_is_refused(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Neither is anything shown nor anything lost; both are told what to do."""
    editor, path = opened(running, home)
    robot = agent(editor)
    editor.keys("Ox<Esc>")
    rest(editor)
    before = editor.counts()
    with pytest.raises(Exception, match=r"unsaved changes.*:w.*:e!"):
        robot.propose(path, NEW).result(SECONDS)
    editor.wait_said("unsaved changes")
    same_counts(editor, before)
    assert editor.lines() == ["x", "one", "two", "three"]
    assert editor.lua("return vim.bo.modified") is True


def test_a_review_waits_for_an_original_that_got_changes_meanwhile(
    running: Start, agent: Callable[..., Robot], home: Home
) -> None:
    """A proposal in the queue is shown when the file has been written."""
    editor, path = opened(running, home)
    robot = agent(editor)
    other = home.write("b.py", OLD)
    first = propose(editor, robot, other, "first\n")
    second = robot.propose(path, "second\n")
    editor.wait_screen("1 more")
    editor.command("wincmd t")
    editor.lua("vim.api.nvim_buf_set_lines(vim.fn.bufnr('a.py'), 0, 0, false, {'mine'})")
    editor.lua('require("pairside.review").accept()')
    assert answer(editor, first)[0] == "FILE_SAVED"
    editor.wait_said("unsaved changes")
    assert not any("second" in line for line in editor.redrawn())
    editor.lua("vim.api.nvim_buf_call(vim.fn.bufnr('a.py'), vim.cmd.write)")
    editor.wait_screen(r"\bsecond\b")
    assert not second.done()


def test_the_events_are_fired(running: Start, agent: Callable[..., Robot], home: Home, layout: str) -> None:
    """ReviewOpened and ReviewClosed, and those of claudecode.nvim beside them, with the data that those have."""
    editor, path = opened(running, home, layout)
    robot = agent(editor)
    editor.watch("PairsideReview*", "ClaudeCodeDiff*")
    verdict = propose(editor, robot, path)
    (data,) = editor.wait_told("ClaudeCodeDiffOpened")
    assert data["file_path"] == data["new_file_path"] == str(path)
    assert data["is_new_file"] is False
    assert data["diff_window"] == editor.lua("return vim.api.nvim_get_current_win()")
    assert editor.wait_told("PairsideReviewOpened")[0]["id"] == 1
    editor.keys(":q<CR>")
    answer(editor, verdict)
    (data,) = editor.wait_told("ClaudeCodeDiffClosed")
    assert data["file_path"] == str(path)
    assert data["reason"] == "diff tab closed after reject"
    assert editor.wait_told("PairsideReviewClosed")[0]["reason"] == "rejected"


def test_after_the_process_has_gone_nothing_is_left(connected: Connected) -> None:
    """The end of pairside takes the review from the screen."""
    editor = connected.neovim
    before = editor.counts()
    propose(editor, connected.agent, connected.home.write("a.py", OLD))
    editor.lua('require("pairside").stop()')
    editor.wait_lua('require("pairside.process").state == "stopped"')
    gone(editor)
    after = editor.counts()
    assert {name: after[name] for name in ("windows", "tabs", "buffers", "namespaces")} == {
        name: before[name] for name in ("windows", "tabs", "buffers", "namespaces")
    }
    assert after["autocmds"] < before["autocmds"]
