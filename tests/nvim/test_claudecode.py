"""Who comes from claudecode.nvim: its configuration, functions and commands go on working, and the plugin itself may be
there too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.nvim.conftest import Connected
from tests.nvim.editor import Neovim
from tests.nvim.terminals import Log, options, ready
from tests.nvim.test_review import propose

Start = Callable[..., Neovim]
Connect = Callable[..., Robot]

OTHER = Path(__file__).parent / "stand_ins" / "claudecode"
"""Stands in for claudecode.nvim: its module and one of its commands."""
COMMANDS = {
    "ClaudeCode", "ClaudeCodeFocus", "ClaudeCodeOpen", "ClaudeCodeClose", "ClaudeCodeSendText", "ClaudeCodeSelectModel",
    "ClaudeCodeAdd", "ClaudeCodeSend", "ClaudeCodeTreeAdd", "ClaudeCodeDiffAccept", "ClaudeCodeDiffDeny",
    "ClaudeCodeCloseAllDiffs", "ClaudeCodeStart", "ClaudeCodeStop", "ClaudeCodeStatus",
}  # fmt: skip
FUNCTIONS = {
    "claudecode": "setup start stop is_claude_connected send_at_mention process_mention_queue open_with_model "
    "get_version",
    "claudecode.terminal": "setup open close simple_toggle focus_toggle toggle toggle_open_no_focus ensure_visible "
    "get_active_terminal_bufnr send_to_terminal",
    "claudecode.diff": "accept_current_diff deny_current_diff close_all_diffs close_pending_diffs "
    "close_diffs_for_client close_diff_by_tab_name open_diff_blocking",
    "claudecode.selection": "enable disable get_latest_selection send_current_selection get_range_selection "
    "send_at_mention_for_visual_selection",
    "claudecode.server.init": "start stop send send_response broadcast get_status",
    "claudecode.lockfile": "create remove update get_auth_token generate_auth_token get_workspace_folders",
    "claudecode.cwd": "git_root",
}
CONFIGURATION = """{
  port_range = { min = 10000, max = 65535 }, auto_start = true, terminal_cmd = "claude --verbose", env = { A = "b" },
  log_level = "warn", track_selection = true, focus_after_send = false, visual_demotion_delay_ms = 50,
  connection_wait_delay = 600, connection_timeout = 10000, queue_timeout = 5000,
  models = { { name = "Opus", value = "opus" } },
  diff_opts = { layout = "horizontal", open_in_new_tab = true, keep_terminal_focus = true,
    hide_terminal_in_new_tab = true, on_new_file_reject = "close_window", auto_resize_terminal = false },
  terminal = { split_side = "left", split_width_percentage = 0.4, diff_split_width_percentage = 0.2,
    provider = "native", show_native_term_exit_tip = false, auto_close = false, auto_insert = false,
    snacks_win_opts = { border = "single" }, fix_streamed_paste = true, git_repo_cwd = true,
    provider_opts = { external_terminal_cmd = "xterm -e %s" } },
  disable_broadcast_debouncing = true, enable_broadcast_debouncing_in_tests = false,
}"""


@pytest.fixture
def other(home: Home) -> Path:
    """The folder of a plugin that stands in for claudecode.nvim, outside of ours."""
    return Path(shutil.copytree(OTHER, home.root / "other plugin"))


def commands(editor: Neovim) -> dict[str, Any]:
    """The commands with this prefix, and what they say of themselves."""
    found: dict[str, Any] = editor.lua(
        """local found = {}
        for name, command in pairs(vim.api.nvim_get_commands({})) do
          if vim.startswith(name, "ClaudeCode") then found[name] = command.definition end
        end
        return found"""
    )
    return found


# Configuration and functions


def test_a_configuration_is_taken_unchanged(neovim: Start) -> None:
    """Every option of claudecode.nvim at once brings no complaint, and counts."""
    editor = neovim(options={"auto_start": False})
    editor.lua(f"vim.g.pairside = nil; require('claudecode').setup({CONFIGURATION})")
    assert editor.lua("return require('pairside.options').complaints") == []
    assert editor.said() == []
    values = editor.lua("return require('pairside.options').values")
    assert values["port_range"] == {"min": 10000, "max": 65535}
    assert values["diff_opts"]["layout"] == "horizontal"
    assert values["terminal"]["split_width_percentage"] == 0.4
    assert values["terminal_cmd"] == "claude --verbose"


def test_a_configuration_in_the_variable_is_taken(neovim: Start) -> None:
    """`vim.g.claudecode_auto_setup` counts where nobody called `setup`."""
    before = "vim.g.claudecode_auto_setup = { log_level = 'error', auto_start = false }"
    editor = neovim(before=before)
    editor.wait_lua("require('pairside.options').values.log_level == 'error'")
    assert editor.state == "stopped"


def test_every_function_is_there(neovim: Start) -> None:
    """The public functions of claudecode.nvim exist under their names."""
    editor = neovim(options={"auto_start": False})
    for module, names in FUNCTIONS.items():
        missing = editor.lua(
            """local module, names = ...
            return vim.tbl_filter(function(name) return not vim.is_callable(require(module)[name]) end, names)""",
            module,
            names.split(),
        )
        assert missing == [], module


def test_the_functions_tell_what_is_so(connected: Connected) -> None:
    """Whether an agent is connected, the version, and the state of the server."""
    editor = connected.neovim
    hello = editor.wait_running()
    editor.wait_lua("require('claudecode').is_claude_connected()")
    version = editor.lua("return require('claudecode').get_version()")
    assert version["version"] == hello["version"]
    assert f"{version['major']}.{version['minor']}.{version['patch']}" == hello["version"].split("-")[0]
    status = editor.lua("return require('claudecode.server.init').get_status()")
    assert (status["running"], status["port"], status["client_count"]) == (True, hello["port"], 1)
    assert editor.lua("return require('claudecode').state.port") == hello["port"]
    assert editor.lua("return { require('claudecode').start() }") == [False, "Already running"]


def test_the_token_and_the_folders_are_those_of_the_lock_file(running: Start) -> None:
    """`lockfile` reads what pairside wrote, and writes nothing itself."""
    editor = running()
    lock = json.loads(editor.lock.read_bytes())
    found = editor.lua(
        """local lockfile = require('claudecode.lockfile')
        return { { lockfile.get_auth_token(...) }, lockfile.lock_dir, lockfile.get_workspace_folders(),
          (lockfile.create(1, "token")) }""",
        editor.wait_running()["port"],
    )
    assert found == [[True, lock["authToken"]], str(editor.lock.parent), lock["workspaceFolders"], False]
    editor.wait_said("^lockfile.create has no effect: pairside writes and removes the lock file$")


def test_a_mention_is_sent_by_its_function(connected: Connected) -> None:
    """`send_at_mention` takes lines from 0, and says at once what cannot be sent."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "one\ntwo\nthree\n")
    ready(editor)
    assert editor.lua("return { require('claudecode').send_at_mention('a.txt', 0, 1, 'mine') }") == [True]
    assert connected.agent.wait_told("at_mentioned") == {"filePath": str(path), "lineStart": 0, "lineEnd": 1}
    assert editor.lua("return { require('claudecode').send_at_mention('none.txt') }") == [
        False,
        "path does not exist: none.txt",
    ]


def test_a_mention_is_refused_while_nothing_runs(neovim: Start) -> None:
    """Without a server `send_at_mention` says so."""
    editor = neovim(options={"auto_start": False})
    assert editor.lua("return { require('claudecode').send_at_mention('a.txt') }") == [
        False,
        "Claude Code integration is not running",
    ]


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ("accept_current_diff()", "FILE_SAVED"),
        ("deny_current_diff()", "DIFF_REJECTED"),
        ("close_all_diffs()", "DIFF_REJECTED"),
        ("close_diff_by_tab_name(require('pairside.review').pending()[1].name)", "DIFF_REJECTED"),
    ],
)
def test_proposals_are_decided_by_its_functions(connected: Connected, call: str, outcome: str) -> None:
    """The functions for diffs accept and reject."""
    path = connected.home.write("a.txt", "old\n")
    verdict = propose(connected.neovim, connected.agent, path, "new\n")
    connected.neovim.lua(f"require('claudecode.diff').{call}")
    assert verdict.result(10)[0] == outcome


def test_a_selection_has_the_form_that_it_had(connected: Connected) -> None:
    """`get_latest_selection` and `get_range_selection` give text, file, URL and positions."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "one\nt😀wo\nthree\n")
    editor.command("edit a.txt")
    found = editor.lua("return require('claudecode.selection').get_range_selection(1, 2)")
    assert found == {
        "text": "one\nt😀wo",
        "filePath": str(path),
        "fileUrl": path.as_uri(),
        "selection": {"start": {"line": 0, "character": 0}, "end": {"line": 1, "character": 5}, "isEmpty": False},
    }
    editor.keys("ggVj")
    latest = editor.wait_lua(
        """local latest = require('claudecode.selection').get_latest_selection()
        return latest and latest.text ~= '' and latest"""
    )
    assert latest["filePath"] == str(path)
    assert latest["selection"]["isEmpty"] is False


def test_the_terminal_is_opened_typed_into_and_closed(running: Start, home: Home) -> None:
    """The functions for the terminal do what their names say."""
    editor, log = running(options=options()), Log(home)
    editor.lua("require('claudecode.terminal').open({}, '--continue')")
    assert log.wait("started")["argv"][1:] == ["--continue"]
    editor.wait_screen("agent ready")
    buffer = editor.lua("return require('claudecode.terminal').get_active_terminal_bufnr()")
    assert editor.lua("return vim.bo[...].buftype", buffer) == "terminal"
    assert editor.lua("return require('claudecode.terminal').send_to_terminal('hi', { submit = false })") is True
    log.wait_typed("hi")
    editor.lua("require('claudecode.terminal').simple_toggle()")
    editor.wait_not_on_screen("agent ready")
    editor.lua("require('claudecode.terminal').toggle_open_no_focus()")
    editor.wait_screen("agent ready")
    editor.lua("require('claudecode.terminal').close()")
    log.wait_alive(0)


def test_what_has_no_meaning_says_so_once(running: Start) -> None:
    """A function without a counterpart tells the person why nothing happens, and only once."""
    editor = running()
    for _ in range(2):
        assert editor.lua("return require('claudecode.server.init').broadcast('x', {})") is False
    editor.wait_said("^server.broadcast has no effect")
    assert len([said for said in editor.said() if "broadcast" in said]) == 1
    done, problem = editor.lua("return { pcall(require('claudecode.diff').open_diff_blocking) }")
    assert done is False
    assert "only what an agent proposes is reviewed" in problem


# Commands


def test_all_fifteen_commands_are_there(neovim: Start) -> None:
    """The commands of claudecode.nvim exist, and no more of that name."""
    assert set(commands(neovim(options={"auto_start": False}))) == COMMANDS


# The plugin itself beside ours


@pytest.mark.parametrize("first", ["before", "behind"])
def test_the_other_plugin_keeps_what_is_its_own(neovim: Start, other: Path, first: str) -> None:
    """Whichever is loaded first, its command and its module are its own, and one message names the conflict."""
    sign = "^=" if first == "before" else "+="
    editor = neovim(
        "--cmd", f"set runtimepath{sign}{str(other).replace(' ', chr(92) + ' ')}", options={"auto_start": False}
    )
    editor.wait_said(r"claudecode\.nvim is loaded too")
    assert len(editor.said()) == 1
    assert editor.lua("return require('claudecode').mine") == "the other plugin"
    assert commands(editor)["ClaudeCode"] == "Toggle Claude Code"
    editor.command("ClaudeCode")
    assert editor.lua("return vim.g.other_plugin_ran") is True
    editor.command("Pairside health", seconds=20)
    editor.wait_lua("vim.api.nvim_buf_line_count(0) > 5")
    assert any("claudecode.nvim is loaded too" in line for line in editor.lines())


def test_the_other_plugin_may_come_later(neovim: Start, other: Path) -> None:
    """A plugin that is loaded behind the start defines its commands over ours."""
    editor = neovim(options={"auto_start": False})
    editor.lua("vim.opt.runtimepath:append(...); vim.cmd.runtime('plugin/claudecode.lua')", str(other))
    assert commands(editor)["ClaudeCode"] == "Toggle Claude Code"
    assert editor.lua("return require('claudecode').mine") == "the other plugin"
