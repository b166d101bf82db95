"""What people who come from claudecode.nvim rely on: layouts, options, events and functions as they knew them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim
from tests.nvim.terminals import TERMINAL, Log, act, options, ready
from tests.nvim.test_review import NEW, OLD, answer, gone, opened, propose, rest, same_counts
from tests.nvim.test_review_windows import QUIETLY, terminal

Start = Callable[..., Neovim]
Connect = Callable[..., Robot]

PLACES = """
local original, proposed = ...
local function of(window)
  local at = vim.api.nvim_win_get_position(window)
  return {
    row = at[1], column = at[2], width = vim.api.nvim_win_get_width(window),
    height = vim.api.nvim_win_get_height(window), diff = vim.wo[window].diff,
    cursor = vim.api.nvim_win_get_cursor(window)[1],
  }
end
return { of(original), of(proposed) }
"""


def shown(editor: Neovim, event: str = "ClaudeCodeDiffOpened") -> dict[str, Any]:
    """What was told of the proposal that was shown last."""
    told: dict[str, Any] = editor.wait_told(event)[0]
    return told


# Proposals


@pytest.mark.parametrize("placed", ["splitright splitbelow", "nosplitright nosplitbelow"])
@pytest.mark.parametrize("layout", ["vertical", "horizontal"])
def test_the_proposal_is_right_of_the_original_or_below(
    running: Start, agent: Connect, home: Home, layout: str, placed: str
) -> None:
    """Whatever 'splitright' and 'splitbelow' say; both are compared, equally large, and the cursor is at a change."""
    editor, path = opened(running, home, layout)
    editor.command(f"set {placed}")
    editor.watch("ClaudeCode*")
    propose(editor, agent(editor), path)
    windows = shown(editor)
    original, proposed = editor.lua(PLACES, windows["target_window"], windows["diff_window"])
    if layout == "vertical":
        assert original["row"] == proposed["row"]
        assert proposed["column"] == original["column"] + original["width"] + 1
        assert abs(original["width"] - proposed["width"]) <= 1
    else:
        assert original["column"] == proposed["column"]
        assert proposed["row"] > original["row"]
        assert abs(original["height"] - proposed["height"]) <= 1
    assert original["diff"]
    assert proposed["diff"]
    assert editor.lua("return vim.api.nvim_get_current_win()") == windows["diff_window"]
    assert proposed["cursor"] == 2


def test_the_buffer_of_a_proposal_is_what_autosave_was_told_to_leave_out(
    running: Start, agent: Connect, home: Home
) -> None:
    """Its name ends as it did, it is of the type and has the variable that people look for, and it is not listed."""
    editor, path = opened(running, home)
    robot = agent(editor)
    facts = """return { vim.bo.buftype, vim.bo.buflisted, vim.bo.filetype, vim.bo.swapfile,
      vim.b.claudecode_diff_tab_name ~= nil, (vim.api.nvim_buf_get_name(0):match("%(.*%)$")) }"""
    propose(editor, robot, path)
    assert editor.lua(facts) == ["acwrite", False, "python", False, True, "(proposed)"]
    editor.keys(":q<CR>")
    gone(editor)
    propose(editor, robot, home.project / "b.py", "import os\n")
    assert editor.lua(facts) == ["acwrite", False, "python", False, True, "(NEW FILE - proposed)"]


@pytest.mark.parametrize("rejected", ["keep_empty", "close_window"])
@pytest.mark.parametrize("command", ["enew", "edit a.py"])
def test_after_a_new_file_was_rejected_all_is_as_it_was(
    running: Start, agent: Connect, home: Home, rejected: str, command: str
) -> None:
    """With either value of `on_new_file_reject` a window that was there stays, with its buffer, and no other does."""
    editor, _ = opened(running, home, on_new_file_reject=rejected)
    editor.command(command)
    robot = agent(editor)
    before, buffer, screen = editor.counts(), editor.lua("return vim.api.nvim_get_current_buf()"), editor.redrawn()
    verdict = propose(editor, robot, home.project / "new.py", "import os\n")
    editor.keys(":q<CR>")
    assert answer(editor, verdict)[0] == "DIFF_REJECTED"
    gone(editor)
    same_counts(editor, before)
    assert editor.lua("return vim.api.nvim_get_current_buf()") == buffer
    assert editor.redrawn()[:-1] == screen[:-1]
    assert not (home.project / "new.py").exists()


def test_proposals_of_one_name_are_each_decided(connected: Connected) -> None:
    """An agent that proposes for a file again gets an answer to both, and closing by that name closes both."""
    editor, robot = connected.neovim, connected.agent
    path = connected.home.write("a.py", OLD)
    arguments = {"old_file_path": str(path), "new_file_path": str(path), "tab_name": "mine"}
    before = editor.counts()
    rest(editor)
    first = robot.begin_call("openDiff", new_file_contents="first\n", **arguments)
    editor.wait_screen(r"\bfirst\b")
    second = robot.begin_call("openDiff", new_file_contents="second\n", **arguments)
    editor.wait_screen("1 more")
    editor.command("Pairside accept")
    assert first.result(SECONDS) == ["FILE_SAVED", "first\n"]
    editor.wait_screen(r"\bsecond\b")
    third = robot.begin_call("openDiff", new_file_contents="third\n", **arguments)
    editor.wait_screen("1 more")
    robot.call("close_tab", tab_name="mine")
    assert [second.result(SECONDS), third.result(SECONDS)] == [["DIFF_REJECTED", "mine"]] * 2
    gone(editor)
    same_counts(editor, before)


def test_a_proposal_that_cannot_be_shown_is_refused_and_leaves_nothing(
    running: Start, agent: Connect, home: Home
) -> None:
    """The agent is told why, its next proposal is shown, and windows, tabs and buffers are as before."""
    editor, path = opened(running, home)
    robot = agent(editor)
    before, screen = editor.counts(), editor.redrawn()
    editor.lua(
        """_G.diffthis = vim.cmd.diffthis
        vim.cmd.diffthis = function() error("no room for it", 0) end"""
    )
    rest(editor)
    with pytest.raises(Exception, match=r"the proposal cannot be shown: .*no room for it"):
        robot.propose(path, NEW).result(SECONDS)
    same_counts(editor, before)
    assert editor.redrawn()[:-1] == screen[:-1]
    editor.lua("vim.cmd.diffthis = _G.diffthis")
    verdict = propose(editor, robot, path)
    editor.keys(":w<CR>")
    assert answer(editor, verdict) == ["FILE_SAVED", NEW]


def test_who_types_beside_a_diff_of_their_own_is_not_moved(running: Start, agent: Connect, home: Home) -> None:
    """There the review needs a tab of its own, which opens only when they have not typed for a while."""
    home.write("b.py", "b\n")
    editor, path = opened(running, home)
    robot = agent(editor)
    editor.command("diffthis | vsplit b.py | diffthis")
    editor.keys("j")
    robot.propose(path, NEW)
    editor.wait_lua('#require("pairside.review").pending() == 1')
    assert editor.lua('return require("pairside.idle").now(500) or #vim.api.nvim_list_tabpages() == 1')
    editor.wait_lua("#vim.api.nvim_list_tabpages() == 2")
    assert editor.lua('return require("pairside.idle").now(500)')


def test_a_proposal_that_cannot_be_shown_now_says_why_each_time(connected: Connected) -> None:
    """Who asks for the proposal of a file with unsaved changes is told so, and what is on screen stays there."""
    editor = connected.neovim
    path = connected.home.write("a.py", OLD)
    editor.command("edit a.py")
    propose(editor, connected.agent, connected.home.write("b.py", OLD), "first\n")
    connected.agent.propose(path, "second\n")
    editor.wait_screen("1 more")
    editor.lua("vim.api.nvim_buf_set_lines(vim.fn.bufnr('a.py'), 0, 0, false, {'mine'})")
    for count in (1, 2):
        editor.keys(":Pairside review 2<CR>")
        editor.wait_lua(
            """vim.iter(require('pairside.message').history):fold(0, function(count, one)
              return count + (vim.inspect(one):find('unsaved changes', 1, true) and 1 or 0)
            end) >= ...""",
            count,
        )
        assert any("first" in line for line in editor.redrawn())
    editor.command("undo | stopinsert")


def test_colours_made_for_the_unified_layout_are_used(running: Start, agent: Connect, home: Home) -> None:
    """Who gave the highlight groups of claudecode.nvim a look sees it, and after another colour scheme too."""
    colours = """vim.api.nvim_create_autocmd("ColorScheme", { callback = function()
      vim.api.nvim_set_hl(0, "ClaudeCodeInlineDiffAdd", { bg = "#2a4a2a" })
    end })
    vim.api.nvim_set_hl(0, "ClaudeCodeInlineDiffAdd", { bg = "#1a1a1a" })"""
    home.write("a.py", OLD)
    editor = running("a.py", options={"diff_opts": {"layout": "unified"}}, before=colours)

    def look(name: str) -> Any:
        return editor.lua("return vim.api.nvim_get_hl(0, { name = ... }).link", name)

    assert look("PairsideAdd") == "ClaudeCodeInlineDiffAdd"
    assert look("PairsideDelete") == "DiffDelete"
    editor.command("colorscheme habamax")
    assert look("PairsideAdd") == "ClaudeCodeInlineDiffAdd"
    propose(editor, agent(editor), home.project / "a.py")
    editor.wait_screen("four")
    assert "ClaudeCodeInlineDiffAdd" in editor.groups("four") or "PairsideAdd" in editor.groups("four")


# The terminal during a review


@pytest.mark.parametrize(
    ("layout", "resized", "width"), [("vertical", False, 61), ("unified", False, 61), ("unified", True, 30)]
)
def test_the_terminal_keeps_its_width_where_the_option_says_so(
    running: Start, agent: Connect, home: Home, layout: str, resized: bool, width: int
) -> None:
    """With `auto_resize_terminal = false` a review does not touch it, in any layout."""
    path = home.write("a.py", OLD)
    editor = running(
        "a.py",
        options={
            "terminal_cmd": "cat",
            "terminal": {"diff_split_width_percentage": 0.2, "show_native_term_exit_tip": False},
            "diff_opts": {"auto_resize_terminal": resized, "layout": layout},
        },
        columns=150,
    )
    robot = agent(editor)
    window = terminal(editor)
    editor.lua("vim.api.nvim_win_set_width(..., 61)", window)
    propose(editor, robot, path)
    assert editor.lua("return vim.api.nvim_win_get_width(...)", window) == width


def test_the_terminal_that_keeps_the_focus_has_it_in_the_new_tab(running: Start, agent: Connect, home: Home) -> None:
    """With `keep_terminal_focus` and `open_in_new_tab` the person goes on typing to the agent, beside the review."""
    path = home.write("a.py", OLD)
    wanted = {"keep_terminal_focus": True, "open_in_new_tab": True}
    editor = running("a.py", options={"terminal_cmd": "cat", **QUIETLY, "diff_opts": wanted}, columns=150)
    robot = agent(editor)
    window = terminal(editor)
    editor.watch("ClaudeCode*")
    before = editor.counts()
    for count in (1, 2):
        verdict = propose(editor, robot, path)
        editor.wait_mode("t")
        focused = editor.lua("return vim.api.nvim_get_current_win()")
        assert editor.wait_told("ClaudeCodeDiffOpened", count)[-1]["terminal_window"] == focused != window
        editor.command("Pairside reject")
        assert answer(editor, verdict)[0] == "DIFF_REJECTED"
        gone(editor)
        editor.wait_mode("t")
        assert editor.lua("return vim.api.nvim_get_current_win()") == window
        same_counts(editor, before)


@pytest.mark.parametrize("name", ["", "b"])
def test_the_terminal_that_comes_along_is_that_of_the_agent_that_proposes(
    running: Start, agent: Connect, home: Home, name: str
) -> None:
    """With several agents in terminals a review in a new tab has beside it the one whose proposal it is."""
    path = home.write("a.py", OLD)
    editor = running("a.py", options=options(diff_opts={"open_in_new_tab": True}), columns=200)
    log = Log(home)
    act(editor, "ensure_visible()")
    log.wait("started")
    act(editor, "ensure_visible('b')")
    pids = {one["name"]: one["pid"] for one in editor.wait_lua(f"#{TERMINAL}.status() == 2 and {TERMINAL}.status()")}
    log.wait("started", 2)
    robot = agent(editor, pid=pids[name])
    editor.watch("ClaudeCode*")
    propose(editor, robot, path)
    window = shown(editor)["terminal_window"]
    assert editor.lua("return vim.api.nvim_win_get_buf(...)", window) == act(editor, "buffer(...)", name)


def test_a_terminal_of_the_persons_own_is_left_alone(running: Start, home: Home) -> None:
    """One that they started themselves is not taken for the agent's, whatever runs in it."""
    editor, log = running(options=options()), Log(home)
    editor.command("vsplit | terminal cat claude.txt -")
    buffer = editor.lua("return vim.api.nvim_get_current_buf()")
    before = editor.lua("return vim.fn.tabpagebuflist()")
    editor.command("ClaudeCode")
    editor.wait_screen("agent ready")
    assert log.wait("started")["pid"] == act(editor, "status()")[0]["pid"]
    assert act(editor, "buffer()") != buffer
    editor.command("ClaudeCodeClose")
    log.wait_alive(0)
    editor.wait_lua("vim.deep_equal(vim.fn.tabpagebuflist(), ...)", before)
    editor.command(f"bwipeout! {buffer}")


# Events


@pytest.mark.parametrize(
    ("end", "ours", "theirs"),
    [("stop", "pairside has ended", "shutdown"), ("leave", "decided elsewhere", "decided elsewhere")],
)
def test_a_review_that_nobody_decided_here_is_told_with_its_reason(
    connected: Connected, end: str, ours: str, theirs: str
) -> None:
    """Listeners hear that it ended with pairside, or by the agent itself, once."""
    editor = connected.neovim
    editor.watch("PairsideReviewClosed", "ClaudeCodeDiffClosed")
    propose(editor, connected.agent, connected.home.write("a.py", OLD))
    if end == "stop":
        editor.command("Pairside stop")
    else:
        connected.agent.leave()
    assert [told["reason"] for told in editor.wait_told("PairsideReviewClosed")] == [ours]
    assert [told["reason"] for told in editor.wait_told("ClaudeCodeDiffClosed")] == [theirs]


# Selection


def test_a_selection_stands_as_long_as_the_option_says(running: Start, agent: Connect, home: Home) -> None:
    """`visual_demotion_delay_ms` reaches pairside: with a long one a selection outlives moves of the cursor."""
    home.write("a.txt", "one\ntwo\nthree\n")
    editor = running("a.txt", options={"visual_demotion_delay_ms": 60000})
    robot = agent(editor)

    def selected() -> str:
        text: str = json.loads(robot.call("getCurrentSelection")[0])["text"]
        return text

    editor.keys("Vj<Esc>")
    until(lambda: selected() == "one\ntwo", timeout=SECONDS, what=lambda: f"one, two: {selected()!r}")
    editor.keys("j")
    editor.wait_lua("require('pairside.selection').last().start[1] == 2")
    assert selected() == "one\ntwo"


def test_the_selection_is_switched_off_and_on_by_its_functions(connected: Connected) -> None:
    """After `disable` nothing is reported, after `enable` it is, and `send_current_selection` reports at once."""
    editor = connected.neovim
    connected.home.write("a.txt", "one\ntwo\nthree\n")
    editor.command("edit a.txt")
    latest = "(require('claudecode.selection').get_latest_selection() or { selection = {} }).selection"
    editor.keys("j")
    editor.wait_lua(f"({latest}.start or {{}}).line == 1")
    editor.lua("require('claudecode.selection').disable()")
    assert editor.lua("return vim.fn.exists('#pairside_selection')") == 0
    editor.lua("require('claudecode.selection').enable()")
    editor.keys("j")
    editor.wait_lua(f"({latest}.start or {{}}).line == 2")
    editor.lua("require('claudecode.selection').disable()")
    editor.keys("gg")
    editor.lua("require('claudecode.selection').send_current_selection()")
    editor.lua(
        """_G.now = nil
        require('pairside.process').request('share', nil, function(result) _G.now = result.now end)"""
    )
    assert editor.wait_lua("_G.now and _G.now.selection")["start"] == [0, 0]


def test_lines_of_the_buffer_are_mentioned_by_the_function_for_selections(connected: Connected) -> None:
    """`send_at_mention_for_visual_selection` takes lines from 1, else those that are selected."""
    editor = connected.neovim
    connected.home.write("a.txt", "one\ntwo\nthree\n")
    ready(editor)
    editor.command("edit a.txt")
    editor.lua("require('claudecode.selection').send_at_mention_for_visual_selection(2, 3)")
    told = connected.agent.wait_told("at_mentioned")
    assert (told["lineStart"], told["lineEnd"]) == (1, 2)
    editor.keys("ggVj")
    editor.wait_mode("V")
    editor.lua("require('claudecode.selection').send_at_mention_for_visual_selection()")
    told = connected.agent.wait_told("at_mentioned", 2)
    assert (told["lineStart"], told["lineEnd"]) == (0, 1)


# Mentions, commands, options


def test_a_folder_is_mentioned_without_lines(connected: Connected) -> None:
    """`send_at_mention` drops the lines of what has none."""
    connected.home.write("dir/a.txt", "one\n")
    ready(connected.neovim)
    connected.neovim.lua("require('claudecode').send_at_mention('dir', 0, 1)")
    told = connected.agent.wait_told("at_mentioned")
    assert told["filePath"].rstrip("/").endswith("dir")
    assert "lineStart" not in told
    assert "lineEnd" not in told


@pytest.mark.parametrize(
    ("keys", "lines"), [(":2,3ClaudeCodeSend<CR>", (1, 2)), ("Vj<F5>", (0, 1)), ("3G:ClaudeCodeSend<CR>", (2, 2))]
)
def test_lines_are_sent_where_tracking_is_off(
    running: Start, agent: Connect, home: Home, keys: str, lines: tuple[int, int]
) -> None:
    """With `track_selection = false` a range, what is selected in Visual mode, and the current line can be sent."""
    home.write("a.txt", "one\ntwo\nthree\n")
    editor = running("a.txt", options={"track_selection": False})
    robot = agent(editor)
    ready(editor)
    editor.lua("vim.keymap.set('x', '<F5>', '<Cmd>ClaudeCodeSend<CR>')")
    editor.keys(keys)
    told = robot.wait_told("at_mentioned")
    assert (told["lineStart"], told["lineEnd"]) == lines


def test_an_agent_that_left_is_not_connected(connected: Connected) -> None:
    """`is_claude_connected` and the number of clients follow each agent that comes and goes."""
    editor = connected.neovim
    facts = (
        "{ require('claudecode').is_claude_connected(), require('claudecode.server.init').get_status().client_count }"
    )
    editor.wait_lua(f"vim.deep_equal({facts}, {{ true, 1 }})")
    connected.agent.vanish()
    editor.wait_lua(f"vim.deep_equal({facts}, {{ false, 0 }})")


COMMANDS = {
    "ClaudeCode": "*",
    "ClaudeCodeFocus": "*",
    "ClaudeCodeOpen": "*",
    "ClaudeCodeClose": "0",
    "ClaudeCodeSendText": "+ !",
    "ClaudeCodeSelectModel": "*",
    "ClaudeCodeAdd": "+",
    "ClaudeCodeSend": "0 range",
    "ClaudeCodeTreeAdd": "0 range",
    "ClaudeCodeDiffAccept": "0",
    "ClaudeCodeDiffDeny": "0",
    "ClaudeCodeCloseAllDiffs": "0",
    "ClaudeCodeStart": "0",
    "ClaudeCodeStop": "0",
    "ClaudeCodeStatus": "0",
}
"""Arguments, bang and range of each command."""


def test_the_commands_take_the_same_arguments_ranges_and_bangs(neovim: Start) -> None:
    """Whatever was typed or mapped is taken; the one for trees takes a range, too."""
    found = neovim(options={"auto_start": False}).lua("return vim.api.nvim_get_commands({})")
    assert {
        name: one["nargs"] + (" !" if one["bang"] else "") + (" range" if one.get("range") else "")
        for name, one in found.items()
        if name.startswith("ClaudeCode")
    } == COMMANDS


def test_start_stop_and_status_go_by_their_other_names(neovim: Start) -> None:
    """`:ClaudeCodeStart` serves, `:ClaudeCodeStatus` shows who is connected, `:ClaudeCodeStop` ends it."""
    editor = neovim(options={"auto_start": False})
    editor.keys(":ClaudeCodeStart<CR>")
    port = editor.wait_running()["port"]
    editor.wait_said(f"^pairside serves agents on port {port}$")
    editor.keys(":ClaudeCodeStatus<CR>")
    editor.wait_screen("pairside status")
    editor.keys("q:ClaudeCodeStop<CR>")
    editor.wait_said("^pairside has stopped$")


def test_a_model_is_chosen_by_the_other_names(running: Start, home: Home) -> None:
    """`:ClaudeCodeSelectModel` and `open_with_model` start the agent with what was chosen and with the arguments."""
    editor, log = running(options=options()), Log(home)
    editor.lua("vim.ui.select = function(items, how, chosen) _G.asked = how.prompt; chosen(items[2]) end")
    editor.keys(":ClaudeCodeSelectModel --verbose<CR>")
    assert log.wait("started")["argv"][1:] == ["--model", "opus[1m]", "--verbose"]
    assert editor.lua("return _G.asked") == "Select Claude model:"
    editor.wait_screen("agent ready")
    act(editor, "close()")
    log.wait_alive(0)
    editor.lua("require('claudecode').open_with_model('--continue')")
    assert log.wait("started", 2)["argv"][1:] == ["--model", "opus[1m]", "--continue"]


@pytest.mark.parametrize(
    ("given", "setting", "value"),
    [
        ({"log_level": "trace"}, "serve.log", "debug"),
        ({"log_level": "error"}, "serve.log", "warning"),
        ({"queue_timeout": 5000}, "limits.mention_seconds", "5"),
        ({"port_range": {"min": 12000}}, "serve.ports", "12000-32767"),
    ],
)
def test_options_become_the_settings_that_they_mean(
    neovim: Start, given: dict[str, Any], setting: str, value: str
) -> None:
    """What the process has to know of them is told to it, in its own words and units."""
    editor = neovim(options={"auto_start": False, **given})
    editor.wait_lua("require('pairside.options').is_set_up")
    assert editor.lua("return require('pairside.options').settings()") == {setting: value}


def test_the_top_of_a_repository_is_found(neovim: Start, home: Home) -> None:
    """`cwd.git_root` tells the folder that holds `.git`, and nothing where there is none."""
    (home.project / "repo" / ".git").mkdir(parents=True)
    (home.project / "repo" / "deep").mkdir()
    editor = neovim(options={"auto_start": False})
    root = "return require('claudecode.cwd').git_root(...)"
    assert editor.lua(root, str(home.project / "repo" / "deep")) == str(home.project / "repo")
    assert editor.lua(root, str(home.root)) is None
