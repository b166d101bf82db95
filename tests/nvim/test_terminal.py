"""Terminals: how an agent is started in one, how it is shown and hidden, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.editor import POLL_SECONDS, SECONDS, Neovim
from tests.nvim.terminals import COMMAND, PROGRAM, TERMINAL, Log, act, opened, options, widths

Start = Callable[..., Neovim]

PLUGINS = Path(sysconfig.get_path("purelib"), "nvim_zsh_profile", "assets", "nvim-lazy")
SNACKS = f"vim.opt.runtimepath:prepend('{PLUGINS / 'snacks.nvim'}')"


@pytest.fixture
def log(home: Home) -> Log:
    """What the agents that were started wrote."""
    return Log(home)


@pytest.fixture(params=["native", "snacks"])
def embedded(request: pytest.FixtureRequest, running: Start) -> Start:
    """Starts a Neovim with pairside and one of the providers whose terminals are inside of Neovim."""

    def started(
        *arguments: str, terminal: dict[str, object] | None = None, before: str = "", **others: object
    ) -> Neovim:
        provider = {"provider": request.param, **(terminal or {})}
        return running(*arguments, options=options(provider), before=f"{SNACKS}\n{before}", **others)

    return started


# How it is started


def test_the_agent_gets_what_it_needs_to_connect(running: Start, log: Log) -> None:
    """Its environment is what pairside says, with the port and without proxies for it, and its folder is Neovim's."""
    editor = running(options=options())
    opened(editor)
    started = log.wait("started")
    expected = editor.lua("return require('pairside.process').hello.environment.claude.set")
    assert expected["CLAUDE_CODE_SSE_PORT"] == editor.lock.stem
    assert {name: started["environment"].get(name) for name in expected} == expected
    assert started["environment"]["FORCE_CODE_TERMINAL"] == "true"
    assert started["cwd"] == str(editor.home.project)
    assert started["tty"]


def test_variables_that_would_mislead_the_agent_are_taken_away(running: Start, log: Log) -> None:
    """What pairside says to unset is not there, and all the rest is as without that."""
    editor = running(
        options=options(),
        environment={"CLAUDE_CODE_AUTO_CONNECT_IDE": "false", "COLUMNS": "7", "SOMETHING": "a b", "TERM": "dumb"},
    )
    opened(editor)
    found = log.wait("started")["environment"]
    assert "CLAUDE_CODE_AUTO_CONNECT_IDE" not in found
    assert found["SOMETHING"] == "a b"
    assert "COLUMNS" not in found
    assert found["TERM"] == "xterm-256color"
    assert found["NVIM"]
    assert editor.lua("return vim.env.CLAUDE_CODE_AUTO_CONNECT_IDE") == "false"


def test_the_option_env_has_the_last_word(running: Start, log: Log) -> None:
    """Variables of the option are there, and hosts that need no proxy are added to."""
    editor = running(options=options(env={"A": "x y=z", "no_proxy": "corp.example , localhost", "TERM": "screen"}))
    opened(editor)
    found = log.wait("started")["environment"]
    assert found["A"] == "x y=z"
    assert found["TERM"] == "screen"
    hosts = found["no_proxy"].split(",")
    assert {"127.0.0.1", "localhost", "::1", "corp.example"} == set(hosts)
    assert len(hosts) == 4


def test_opencode_is_not_given_claudes_port(running: Start, log: Log, home: Home) -> None:
    """The environment is that for the agent's program, by its name."""
    program = home.root / "opencode"
    program.write_text(f'#!/bin/sh\nexec {COMMAND} "$@"\n')
    program.chmod(0o755)
    settings = {**options(), "terminal_cmd": str(program)}
    editor = running(options=settings, environment={"CLAUDE_CODE_SSE_PORT": "1"})
    opened(editor)
    found = log.wait("started")["environment"]
    assert "CLAUDE_CODE_SSE_PORT" not in found
    assert "FORCE_CODE_TERMINAL" not in found


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("--model 'opus[1m]' \"a \\\" b\" c\\ d ''", ["--model", "opus[1m]", 'a " b', "c d", ""]),
        ("~/x a~b '~' $HOME * `id`; | &", ["{home}/x", "a~b", "~", "$HOME", "*", "`id`;", "|", "&"]),
    ],
)
def test_a_command_line_is_split_without_a_shell(
    running: Start, log: Log, home: Home, command: str, arguments: list[str]
) -> None:
    """Quotes, backslashes and a leading tilde count; nothing is expanded or run."""
    editor = running(options={**options(), "terminal_cmd": f"{COMMAND} {command}"})
    act(editor, "open('', '--resume \"one two\"')")
    expected = [word.replace("{home}", str(home.home)) for word in arguments]
    assert log.wait("started")["argv"][1:] == [*expected, "--resume", "one two"]


def test_arguments_may_be_a_list(running: Start, log: Log) -> None:
    """A list of arguments is passed on as it is."""
    act(running(options=options()), "toggle('', {'--resume', 'a b', \"it's\"})")
    assert log.wait("started")["argv"][1:] == ["--resume", "a b", "it's"]


def test_the_agent_waits_for_pairside(neovim: Start, log: Log) -> None:
    """One that is opened at Neovim's start has the port all the same, and there is only one."""
    editor = neovim(
        "+lua require('pairside.terminal').open()", "+lua require('pairside.terminal').open()", options=options()
    )
    editor.wait_screen("agent ready")
    editor.wait_running()
    assert log.wait("started")["environment"]["CLAUDE_CODE_SSE_PORT"] == editor.lock.stem
    assert len(log.all("started")) == 1


def test_without_pairside_the_agent_starts_and_it_is_said(neovim: Start, log: Log) -> None:
    """Where pairside is not to run, the agent does, not connected."""
    editor = neovim(options=options(auto_start=False))
    opened(editor)
    assert "CLAUDE_CODE_SSE_PORT" not in log.wait("started")["environment"]
    editor.wait_message("pairside does not run")


def test_a_program_that_is_not_there_is_named(running: Start, log: Log) -> None:
    """A message says what cannot be run; no window is left, and the next try is as the first."""
    editor = running(options={**options(), "terminal_cmd": "no-such-agent --x"})
    before = widths(editor)
    for _ in range(2):
        act(editor, "open()")
    editor.wait_message("no-such-agent cannot be run")
    assert widths(editor) == before
    assert act(editor, "status()") == []


def test_an_open_quote_is_an_error(running: Start) -> None:
    """A command line that makes no sense starts nothing."""
    editor = running(options={**options(), "terminal_cmd": "claude 'x"})
    act(editor, "open()")
    editor.wait_message("terminal_cmd: a quote ' is not closed")
    assert act(editor, "status()") == []


# Where it is started


def test_the_folder_of_an_agent(running: Start, log: Log, home: Home) -> None:
    """What the function says counts, then the fixed folder, then the repository of the file, then Neovim's folder."""
    for name in ("fixed dir", "told", "repo/.git", "repo/deep"):
        (home.project / name).mkdir(parents=True)
    home.write("repo/deep/a.txt", "a\n")
    editor = running("repo/deep/a.txt", options=options())
    root = str(home.project)
    expected = []

    def start(setting: str) -> None:
        editor.lua(f"local options = require('pairside.options').values.terminal; {setting}")
        opened(editor)
        act(editor, "close()")
        log.wait_alive(0)
        editor.wait_lua(f"#{TERMINAL}.status() == 0")

    start("options.git_repo_cwd = true")
    expected.append(f"{root}/repo")
    start("options.cwd = 'fixed dir'")
    expected.append(f"{root}/fixed dir")
    start("options.cwd_provider = function(ctx) _G.seen = ctx return ctx.cwd .. '/told' end")
    expected.append(f"{root}/told")
    seen = editor.lua("return _G.seen")
    assert seen == {"file": f"{root}/repo/deep/a.txt", "file_dir": f"{root}/repo/deep", "cwd": root}
    start("options.cwd_provider = function() end")
    expected.append(f"{root}/fixed dir")
    start("options.cwd_provider = function() error('oops') end")
    expected.append(f"{root}/fixed dir")
    start("options.cwd_provider, options.cwd = nil, '/no/such/folder'")
    expected.append(f"{root}/repo")
    start("options.cwd, options.git_repo_cwd = nil, false")
    expected.append(root)
    assert [one["cwd"] for one in log.all("started")] == expected
    editor.wait_message("oops")
    editor.wait_message("no folder /no/such/folder")


# Showing and hiding


def test_toggle_shows_and_hides_one_process(embedded: Start, log: Log) -> None:
    """Hidden it goes on, and shown again it is the same, with the focus and ready to be typed to."""
    editor = embedded()
    opened(editor, "toggle()")
    editor.wait_mode("t")
    [pid] = log.wait_alive(1)
    assert act(editor, "status()")[0] | {"provider": ""} == {
        "name": "",
        "pid": pid,
        "running": True,
        "visible": True,
        "provider": "",
    }
    act(editor, "toggle()")
    editor.wait_not_on_screen("agent ready")
    editor.wait_mode("n")
    assert act(editor, "status()")[0]["visible"] is False
    act(editor, "toggle()")
    editor.wait_screen("agent ready")
    editor.wait_mode("t")
    editor.keys("hello")
    log.wait_typed("hello")
    assert log.wait_alive(1) == [pid]
    assert len(log.all("started")) == 1


def test_focus_toggle_focuses_before_it_hides(embedded: Start, log: Log) -> None:
    """Not focused it gets the focus, focused it is hidden, hidden it is shown."""
    editor = embedded()
    opened(editor)
    editor.command("wincmd p")
    assert editor.lua("return vim.bo.buftype") == ""
    act(editor, "focus_toggle()")
    assert act(editor, "current()") == ""
    act(editor, "focus_toggle()")
    editor.wait_not_on_screen("agent ready")
    assert act(editor, "current()") is None
    act(editor, "focus_toggle()")
    editor.wait_screen("agent ready")
    assert act(editor, "current()") == ""
    assert len(log.all("started")) == 1


def test_open_never_hides_and_ensure_visible_never_focuses(embedded: Start) -> None:
    """What is open stays open, and what is only to be seen leaves the person where they are."""
    editor = embedded()
    here = editor.lua("return vim.api.nvim_get_current_win()")
    opened(editor, "ensure_visible()")
    assert editor.lua("return vim.api.nvim_get_current_win()") == here
    assert editor.mode().name == "n"
    act(editor, "ensure_visible()")
    assert len(widths(editor)) == 2
    act(editor, "open()")
    act(editor, "open()")
    assert act(editor, "current()") == ""
    assert len(widths(editor)) == 2


def test_close_ends_the_process(embedded: Start, log: Log) -> None:
    """Its window goes, its process ends without a complaint, and nothing of it is left."""
    editor = embedded()
    # Snacks has namespaces and autocmds of its own from its first window on.
    opened(editor)
    act(editor, "close()")
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    before, messages = editor.counts(), len(editor.messages())
    opened(editor)
    act(editor, "close()")
    log.wait_alive(0)
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    assert editor.counts() == before
    assert not [line for line in editor.messages()[messages:] if "exited" in line]


def test_there_is_one_process_whatever_is_pressed(embedded: Start, log: Log) -> None:
    """Closing and opening in one go ends the old process before the new one starts."""
    editor = embedded()
    opened(editor)
    [first] = log.wait_alive(1)
    editor.lua(f"local t = {TERMINAL} t.close() t.open() t.toggle() t.focus_toggle() t.open()")
    log.wait("started", 2)
    [second] = log.wait_alive(1)
    assert second != first
    editor.wait_screen("agent ready")
    editor.lua(f"local t = {TERMINAL} for _ = 1, 5 do t.toggle() end")
    editor.lua(f"local t = {TERMINAL} t.close() t.close()")
    log.wait_alive(0)
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    assert len(log.all("started")) == 2


def test_a_process_that_does_not_want_to_end_is_made_to(running: Start, log: Log) -> None:
    """Who is deaf to both requests is killed, within seconds, and Neovim goes on meanwhile."""
    editor = running(options={**options(), "terminal_cmd": f"{COMMAND} --stubborn"})
    opened(editor)
    act(editor, "close()")
    log.wait("deaf")
    editor.keys("ihello<Esc>")
    assert editor.wait_lua("vim.api.nvim_get_current_line() == 'hello'")
    log.wait_alive(0)
    assert [one["signal"] for one in log.all("deaf")] == ["SIGHUP", "SIGTERM"]


def test_several_terminals_by_name(running: Start, log: Log) -> None:
    """Each name has its own window and its own process; what is done to one is not done to the other."""
    editor = running(options=options())
    opened(editor)
    [first] = log.wait_alive(1)
    act(editor, "toggle('work2')")
    log.wait("started", 2)
    editor.wait_lua(f"{TERMINAL}.current() == 'work2'")
    assert [one["name"] for one in act(editor, "status()")] == ["", "work2"]
    assert len(widths(editor)) == 3
    second = next(pid for pid in log.wait_alive(2) if pid != first)
    assert act(editor, "of_pid(...)", first) == ""
    assert act(editor, "of_pid(...)", second) == "work2"
    act(editor, "close('')")
    log.wait_alive(1)
    assert log.alive() == [second]
    assert len(act(editor, "windows()")) == 1
    assert act(editor, "of_pid(...)", first) is None


def test_a_process_below_the_terminals_own_is_in_it(running: Start, log: Log, home: Home) -> None:
    """An agent that a wrapper started belongs to the terminal of the wrapper."""
    wrapper = home.root / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n{COMMAND} "$@"\n')
    wrapper.chmod(0o755)
    editor = running(options={**options(), "terminal_cmd": str(wrapper)})
    opened(editor, "open('w')")
    pid = log.wait("started")["pid"]
    assert act(editor, "status()")[0]["pid"] != pid
    assert act(editor, "of_pid(...)", pid) == "w"
    assert act(editor, "of_pid(...)", os.getpid()) is None


def test_arguments_for_a_running_agent_are_not_swallowed(running: Start, log: Log) -> None:
    """It is said that they are not passed on."""
    editor = running(options=options())
    opened(editor)
    act(editor, "open('', '--resume')")
    editor.wait_message("runs already, so --resume is not")
    assert len(log.all("started")) == 1


def test_an_agent_that_ends_closes_its_window(embedded: Start, log: Log) -> None:
    """The end of the process is the end of the window, and the next one is new."""
    editor = embedded()
    opened(editor)
    editor.wait_mode("t")
    editor.keys("exit 0<CR>")
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    assert len(widths(editor)) == 1
    assert editor.mode().name == "n"
    assert not [line for line in editor.messages() if "exited" in line]
    opened(editor)
    assert len(log.all("started")) == 2


def test_an_agent_that_fails_says_so(running: Start) -> None:
    """The status is told, with the last thing that the agent said."""
    editor = running(options={**options(), "terminal_cmd": f"{COMMAND} --fail 3"}, columns=200)
    act(editor, "open()")
    editor.wait_message("exited with code 3: something is wrong here")
    assert len(widths(editor)) == 1


def test_without_auto_close_the_end_can_be_read(running: Start, log: Log) -> None:
    """The window stays with what was in it; opening again starts anew in its place."""
    editor = running(options=options({"auto_close": False}))
    opened(editor)
    editor.wait_mode("t")
    editor.keys("exit 0<CR>")
    editor.wait_screen("Process exited 0")
    assert len(widths(editor)) == 2
    act(editor, "open()")
    log.wait("started", 2)
    editor.wait_screen("agent ready")
    assert len(widths(editor)) == 2
    assert len(act(editor, "status()")) == 1


def test_a_wiped_buffer_ends_the_process(embedded: Start, log: Log) -> None:
    """Who deletes the buffer ends the agent, and hears no complaint; opening starts a new one."""
    editor = embedded()
    opened(editor)
    editor.command("bwipeout!")
    log.wait_alive(0)
    opened(editor)
    log.wait("started", 2)
    log.wait_alive(1)
    assert not [line for line in editor.messages() if "exited" in line]


def test_neovim_takes_its_agents_with_it(running: Start, log: Log) -> None:
    """When Neovim ends, the agents in its terminals end."""
    editor = running(options=options())
    opened(editor)
    act(editor, "open('b')")
    log.wait("started", 2)
    editor.keys("<C-\\><C-n>:qall!<CR>")
    editor.wait_end()
    log.wait_alive(0)


def test_in_the_command_line_window_nothing_is_opened(running: Start) -> None:
    """Where Neovim allows no other window there is a message instead of an error."""
    editor = running(options=options())
    editor.keys("q:")
    editor.wait_lua("vim.fn.getcmdwintype() == ':'")
    act(editor, "open()")
    editor.keys("<C-c><C-c>")
    editor.wait_message("close the command-line window first")
    assert act(editor, "status()") == []


# Windows


@pytest.mark.parametrize(
    ("side", "row", "column", "size"),
    [
        ("left", 0, 0, [25, 27]),
        ("right", 0, 75, [25, 27]),
        ("top", 0, 0, [100, 11]),
        ("bottom", 17, 0, [100, 11]),
        ("float", 3, 10, [80, 21]),
    ],
)
def test_every_side(running: Start, side: str, row: int, column: int, size: list[int]) -> None:
    """The window is where the option says, as large as it says."""
    sizes = {"split_width_percentage": 0.25, "split_height_percentage": 0.4}
    editor = running(options=options({"split_side": side, **sizes}))
    editor.command("set laststatus=2")
    opened(editor)
    found = editor.lua(
        """local window = vim.api.nvim_get_current_win()
        local height = vim.api.nvim_win_get_height(window)
        return { vim.api.nvim_win_get_width(window), height, unpack(vim.api.nvim_win_get_position(window)) }"""
    )
    assert found[:2] == [size[0], size[1] + (side in ("left", "right"))]
    assert found[2:] == [row, column]


def test_the_windows_of_others_get_back_what_they_had(embedded: Start) -> None:
    """Windows give way in proportion while the terminal is open, and have their sizes again when it is hidden."""
    editor = embedded(terminal={"split_width_percentage": 0.3}, columns=122)
    editor.lua(
        """vim.cmd('vsplit | split | vsplit')
        vim.api.nvim_win_set_width(vim.fn.win_getid(vim.fn.winnr('$')), 40)
        vim.api.nvim_win_set_height(0, 5)"""
    )
    before = widths(editor)
    for _ in range(3):
        act(editor, "toggle()")
        editor.wait_screen("agent ready")
        *others, own = widths(editor)
        assert own[0] == 36
        for now, then in zip(others, before, strict=True):
            assert abs(now[0] - then[0] * 85 / 122) <= 2
            assert now[1] == then[1]
        act(editor, "toggle()")
        assert widths(editor) == before


def test_sizes_that_the_person_chose_are_kept(embedded: Start) -> None:
    """What was resized while the terminal was open stays in proportion, and the terminal comes back as it was made."""
    editor = embedded(columns=121)
    editor.command("vsplit")
    opened(editor)
    editor.lua("vim.api.nvim_win_set_width(0, 50)")
    editor.lua("vim.api.nvim_win_set_width(vim.fn.win_getid(1), 20)")
    act(editor, "toggle()")
    left, right = widths(editor)
    assert left[0] < right[0]
    act(editor, "toggle()")
    assert widths(editor)[2][0] == 50


@pytest.mark.parametrize("side", ["right", "bottom", "float"])
def test_toggling_changes_nothing_for_the_agent(embedded: Start, log: Log, side: str) -> None:
    """The agent sees no other size and draws nothing again, and what it drew is where it was."""
    editor = embedded(terminal={"split_side": side, "split_width_percentage": 0.6, "split_height_percentage": 0.6})
    opened(editor)
    editor.keys("0123456789<CR>")
    editor.wait_screen("9")
    log.wait_typed("0123456789\r")
    editor.wait_screen(r"\\r")
    shown = editor.redrawn()
    resized = len(log.all("resized"))
    lines = f"vim.api.nvim_buf_get_lines({TERMINAL}.buffer(), 0, -1, false)"
    text = editor.lua(f"return {lines}")
    for _ in range(4):
        act(editor, "toggle()")
        editor.redrawn()
        act(editor, "toggle()")
        editor.redrawn()
    assert editor.lua(f"return {lines}") == text
    assert [row for row in editor.redrawn() if "agent ready" in row] == [row for row in shown if "agent ready" in row]
    # What the agent would have heard before this it has heard by now.
    assert act(editor, "type('x', {submit = false})") is True
    log.wait_typed("0123456789\rx")
    assert len(log.all("resized")) == resized


def test_nobodys_window_is_taken(embedded: Start) -> None:
    """Pinned windows, diffs and floats stay as they are, and the terminal inherits nothing of them."""
    editor = embedded()
    editor.command("vnew | windo diffthis | setlocal winfixbuf number winbar=mine")
    buffers = editor.lua("return vim.fn.tabpagebuflist()")
    opened(editor)
    assert editor.lua("return vim.fn.tabpagebuflist()")[:2] == buffers
    look = editor.lua("return { vim.wo.diff, vim.wo.number, vim.wo.winfixbuf, vim.wo.scrollbind }")
    assert look == [False, False, False, False]
    act(editor, "toggle()")
    assert editor.lua("return vim.fn.tabpagebuflist()") == buffers


def test_a_terminal_as_the_only_window_can_be_hidden(embedded: Start, log: Log) -> None:
    """The window then shows another buffer, and toggling shows the terminal again at its side."""
    editor = embedded("a.txt")
    opened(editor)
    editor.command("only")
    assert len(widths(editor)) == 1
    act(editor, "toggle()")
    editor.wait_not_on_screen("agent ready")
    assert editor.lua("return { #vim.api.nvim_list_wins(), vim.fn.bufname(), vim.wo.winfixwidth }") == [
        1,
        "a.txt",
        False,
    ]
    act(editor, "toggle()")
    editor.wait_screen("agent ready")
    assert len(widths(editor)) == 2
    assert len(log.all("started")) == 1


def test_the_focus_goes_back_where_it_came_from(embedded: Start) -> None:
    """When the terminal goes, the person is in the window that they were in before."""
    editor = embedded(columns=120)
    editor.command("vsplit | vsplit | wincmd t")
    here = editor.lua("return vim.api.nvim_get_current_win()")
    opened(editor)
    act(editor, "toggle()")
    assert editor.lua("return vim.api.nvim_get_current_win()") == here
    act(editor, "open()")
    act(editor, "close()")
    assert editor.lua("return vim.api.nvim_get_current_win()") == here


def test_each_tab_page_can_show_it(embedded: Start, log: Log) -> None:
    """In another tab page the same terminal is shown there; hiding it there is not hiding it elsewhere."""
    editor = embedded()
    opened(editor)
    editor.keys("<C-\\><C-n>")
    editor.command("tabnew")
    act(editor, "toggle()")
    assert act(editor, "current()") == ""
    assert len(widths(editor)) == 2
    act(editor, "toggle()")
    assert len(widths(editor)) == 1
    act(editor, "close()")
    log.wait_alive(0)
    editor.wait_lua(f"#{TERMINAL}.windows() == 0")
    assert len(log.all("started")) == 1


def test_the_size_follows_the_screen(running: Start, log: Log) -> None:
    """On a screen of another size the terminal has its share again."""
    editor = running(options=options({"split_width_percentage": 0.5}))
    opened(editor)
    editor.request("nvim_ui_try_resize", 60, 30)
    assert log.wait("resized")["size"][0] == 30
    assert editor.lua("return vim.api.nvim_win_get_width(0)") == 30


# Typing


def test_text_is_typed_as_a_person_would(running: Start, log: Log) -> None:
    """Lines go as one paste with plain line ends, Enter comes behind if wanted, and control characters do not go."""
    editor = running(options=options())
    opened(editor)
    assert act(editor, "type('one')") is True
    log.wait_typed("one\r")
    act(editor, "toggle()")
    assert act(editor, "type('a\\r\\nb\\rc\\n\\27[201~d\\0\\3\\te', {submit = false})") is True
    log.wait_typed("one\r\x1b[200~a\nb\nc\n[201~d\te\x1b[201~")
    assert act(editor, "current()") is None
    assert act(editor, "type('f', {focus = true})") is True
    assert act(editor, "current()") == ""


def test_text_that_cannot_be_typed_is_refused_with_a_reason(running: Start) -> None:
    """Without an agent, or without a text, it says why."""
    editor = running(options=options())
    assert editor.lua(f"return {{ {TERMINAL}.type('x') }}") == [False, "the terminal does not run: :Pairside open"]
    opened(editor)
    assert editor.lua(f"return {{ {TERMINAL}.type('\\27') }}") == [False, "there is no text to type"]
    missing = editor.lua(f"return {{ {TERMINAL}.type('x', {{ name = 'b' }}) }}")
    assert missing == [False, "the terminal b does not run: :Pairside open"]


def test_keys_of_the_terminal(embedded: Start, log: Log) -> None:
    """Shift-Enter is a new line in the prompt, and Ctrl-Z does not suspend an agent that no shell could continue."""
    editor = embedded()
    opened(editor)
    editor.wait_mode("t")
    editor.keys("a<C-z>b<S-CR>c")
    log.wait_typed("ab\\\rc")


def test_ctrl_z_can_be_passed_on(running: Start, log: Log) -> None:
    """With the option the agent gets the key."""
    editor = running(options=options({"ctrl_z": "pass"}))
    opened(editor)
    editor.wait_mode("t")
    editor.keys("a<C-z>b")
    log.wait_typed("a\x1ab")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_suspended_agent_goes_on_when_it_is_shown(running: Start, log: Log) -> None:
    """One that was stopped is continued when the person opens its terminal, and closing ends it."""
    editor = running(options=options())
    opened(editor)
    [pid] = log.wait_alive(1)

    def state() -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    os.kill(pid, signal.SIGSTOP)
    until(lambda: state() == "T", timeout=SECONDS, every=POLL_SECONDS, what=lambda: "it stops")
    act(editor, "open()")
    until(lambda: state() != "T", timeout=SECONDS, every=POLL_SECONDS, what=lambda: "it goes on")
    os.kill(pid, signal.SIGSTOP)
    act(editor, "close()")
    log.wait_alive(0)


def test_without_auto_insert_normal_mode_stays(embedded: Start) -> None:
    """Opening and entering the terminal does not begin to type."""
    editor = embedded(terminal={"auto_insert": False})
    opened(editor)
    assert editor.mode().name == "nt"
    editor.command("wincmd p")
    editor.command("wincmd p")
    assert editor.mode().name == "nt"


def test_leaving_at_once_types_into_nothing_else(embedded: Start) -> None:
    """Who enters and leaves the terminal within one command is in Normal mode in the window where they end."""
    editor = embedded()
    opened(editor, "ensure_visible()")
    editor.command("wincmd w | wincmd w")
    editor.keys("x")
    editor.redrawn()
    assert editor.mode().name == "n"


def test_insert_mode_comes_back_with_the_window(embedded: Start) -> None:
    """Entering the terminal again begins to type again."""
    editor = embedded()
    opened(editor)
    editor.wait_mode("t")
    editor.keys("<C-\\><C-n><C-w>p")
    editor.wait_mode("n")
    editor.keys("<C-w>p")
    editor.wait_mode("t")


def test_it_opens_from_insert_and_visual_mode(running: Start, log: Log) -> None:
    """A mapping in any mode opens the terminal, which then can be typed to."""
    editor = running(options=options())
    editor.lua(f"vim.keymap.set({{'n', 'i', 'x', 't'}}, '<F5>', function() {TERMINAL}.toggle() end)")
    for keys in ("ihello", "<Esc>V", "<Esc>"):
        editor.keys(f"{keys}<F5>")
        editor.wait_screen("agent ready")
        editor.wait_mode("t")
        editor.keys("<F5>")
        editor.wait_not_on_screen("agent ready")
    assert len(log.all("started")) == 1


def test_the_filetype_and_the_tip(running: Start) -> None:
    """The buffer can be known by its filetype, is not listed, and how to leave the mode is said once."""
    editor = running(options=options())
    opened(editor)
    assert editor.lua("return { vim.bo.filetype, vim.bo.buflisted, vim.bo.buftype }") == [
        "pairside_terminal",
        False,
        "terminal",
    ]
    act(editor, "close()")
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    opened(editor)
    tips = [line for line in editor.messages() if "leaves Terminal mode" in line]
    assert len(tips) == 1


def test_the_tip_can_be_switched_off(running: Start) -> None:
    """With the option it is not said."""
    editor = running(options=options({"show_native_term_exit_tip": False}))
    opened(editor)
    editor.redrawn()
    assert not [line for line in editor.messages() if "leaves Terminal mode" in line]


@pytest.mark.parametrize("fix", ["auto", True, False])
def test_a_streamed_paste(running: Start, log: Log, fix: object) -> None:
    """A paste that comes in pieces reaches the agent as one, unless that is switched off."""
    editor = running(options=options({"fix_streamed_paste": fix}))
    original = editor.lua("_G.original = vim.paste return tostring(vim.paste)")
    opened(editor)
    editor.wait_mode("t")
    for text, phase in (("one\ntw", 1), ("o\nthr", 2), ("ee", 3)):
        assert editor.request("nvim_paste", text, True, phase)
    editor.request("nvim_paste", "four", True, -1)
    wrapped = editor.lua("return vim.paste ~= _G.original")
    assert wrapped is bool(fix)
    if wrapped:
        until(lambda: log.typed().endswith("four\x1b[201~"), timeout=SECONDS, every=POLL_SECONDS, what=log.typed)
        assert log.typed().count("\x1b[200~") == 2
        assert "one\ntwo\nthree" in log.typed().replace("\r", "\n")
    act(editor, "close()")
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    assert editor.lua("return tostring(vim.paste)") == original


def test_a_paste_elsewhere_is_left_alone(running: Start) -> None:
    """In a file a paste in pieces is what Neovim makes of it."""
    editor = running(options=options())
    opened(editor, "ensure_visible()")
    editor.keys("i")
    editor.wait_mode("i")
    for text, phase in (("one\ntw", 1), ("o", 3)):
        editor.request("nvim_paste", text, True, phase)
    assert editor.lines() == ["one", "two"]


# Providers


def test_auto_takes_snacks_where_it_is(running: Start) -> None:
    """With snacks.nvim its window and its filetype are used, without it Neovim's own."""
    editor = running(options=options({"provider": "auto"}), before=SNACKS)
    opened(editor)
    assert act(editor, "status()")[0]["provider"] == "snacks"
    assert editor.lua("return vim.bo.filetype") == "snacks_terminal"
    assert editor.lua("return vim.b.snacks_terminal.cmd[3]") == str(PROGRAM)


def test_auto_takes_neovims_own_without_snacks(running: Start) -> None:
    """Nothing is said about it."""
    editor = running(options=options({"provider": "auto"}))
    opened(editor)
    assert act(editor, "status()")[0]["provider"] == "native"
    assert not [line for line in editor.messages() if "snacks" in line]


def test_snacks_that_is_not_there_is_told(running: Start) -> None:
    """Who asked for it gets Neovim's own terminal and one message."""
    editor = running(options=options({"provider": "snacks"}))
    opened(editor)
    editor.wait_message("snacks.nvim is not there")
    assert act(editor, "status()")[0]["provider"] == "native"


def test_snacks_window_options(running: Start) -> None:
    """What snacks.nvim is told of the window reaches it, a float and keys of one's own too."""
    terminal = {
        "provider": "snacks",
        "snacks_win_opts": {"position": "float", "width": 0.5, "height": 0.5, "border": "single"},
    }
    editor = running(options=options(terminal), before=SNACKS)
    opened(editor)
    config = editor.lua("return vim.api.nvim_win_get_config(0)")
    assert config["relative"] == "editor"
    assert config["width"] in (48, 49, 50)
    act(editor, "toggle()")
    assert len(widths(editor)) == 1
    act(editor, "toggle()")
    assert editor.lua("return vim.api.nvim_win_get_config(0).relative") == "editor"


def test_none_starts_nothing(running: Start, log: Log) -> None:
    """Without terminals every action leaves the windows alone; who asks for one is told why."""
    editor = running(options=options({"provider": "none"}))
    act(editor, "ensure_visible()")
    assert not editor.messages()
    for call in ("toggle()", "focus_toggle()", "open()", "close()"):
        act(editor, call)
    editor.wait_message("no terminal is kept here")
    typed = editor.lua(f"return {{ {TERMINAL}.type('x') }}")
    assert typed[0] is False
    assert "start the agent where you like" in typed[1]
    assert len(widths(editor)) == 1
    assert not log.all("started")
    assert act(editor, "status()") == []


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        ("{opener} -e %s", ["-e", "{argv}", "--resume", "a b"]),
        ("{opener} --working-directory=%s -e %s", ["--working-directory={cwd}", "-e", "{argv}", "--resume", "a b"]),
        ("{opener} -c 'cd %s && %s'", ["-c", "cd {cwd} && {joined} --resume 'a b'"]),
    ],
)
def test_an_external_terminal(running: Start, log: Log, home: Home, template: str, arguments: list[str]) -> None:
    """The command is filled in, the environment is there, toggling again ends it, and it is not typed into."""
    opener = home.root / "opener"
    record = home.root / "opened.json"
    opener.write_text(
        "#!/bin/sh\n"
        f'{COMMAND.split()[0]} -c \'import json, sys; json.dump(sys.argv[1:], open("{record}", "w"))\' "$@"\n'
        f"exec {COMMAND}\n"
    )
    opener.chmod(0o755)
    command = template.replace("{opener}", str(opener))
    editor = running(options=options({"provider": "external", "provider_opts": {"external_terminal_cmd": command}}))
    act(editor, "toggle('', {'--resume', 'a b'})")
    started = log.wait("started")
    assert started["environment"]["CLAUDE_CODE_SSE_PORT"] == editor.lock.stem
    expected: list[str] = []
    for word in arguments:
        if word == "{argv}":
            expected += COMMAND.split()
        else:
            expected.append(word.replace("{cwd}", str(home.project)).replace("{joined}", COMMAND))
    assert json.loads(record.read_text()) == expected
    typed = editor.lua(f"return {{ {TERMINAL}.type('x') }}")
    assert typed == [False, "the agent runs in a terminal of its own, outside of Neovim"]
    assert act(editor, "of_pid(...)", started["pid"]) == ""
    act(editor, "open()")
    assert len(log.all("started")) == 1
    act(editor, "toggle()")
    log.wait_alive(0)
    editor.wait_lua(f"#{TERMINAL}.status() == 0")


def test_an_external_terminal_by_a_function(running: Start, log: Log) -> None:
    """A function gets the command and the environment and returns a command line; one that is wrong is told."""
    editor = running(options=options(), columns=200)
    editor.lua(
        f"""local terminal = require('pairside.options').values.terminal
        terminal.provider = 'external'
        terminal.provider_opts.external_terminal_cmd = function(command, env)
          _G.seen = {{ command, env.CLAUDE_CODE_SSE_PORT }}
          return vim.split('{COMMAND}', ' ')
        end"""
    )
    act(editor, "open('', {'a b'})")
    log.wait("started")
    assert editor.lua("return _G.seen") == [f"{COMMAND} 'a b'", editor.lock.stem]
    act(editor, "close()")
    log.wait_alive(0)
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    editor.lua(
        "require('pairside.options').values.terminal.provider_opts.external_terminal_cmd = function() return 5 end"
    )
    act(editor, "open()")
    editor.wait_message("neither a text nor a list")
    assert act(editor, "status()") == []


CUSTOM = """
_G.calls = {}
local function note(name)
  return function(...) table.insert(_G.calls, { name, ... }) end
end
local provider = {}
for _, name in ipairs({ 'setup', 'open', 'close', 'simple_toggle', 'focus_toggle' }) do provider[name] = note(name) end
provider.get_active_bufnr = function() return _G.buffer end
provider.is_available = function() return _G.available ~= false end
require('pairside.options').values.terminal.provider = provider
"""


def test_a_provider_of_ones_own(running: Start, log: Log) -> None:
    """Its functions get the command, the environment and the options, and its terminal can be typed into."""
    editor = running(options=options())
    editor.lua(CUSTOM)
    act(editor, "toggle('', '--resume \"a b\"')")
    act(editor, "focus_toggle()")
    act(editor, "open()")
    act(editor, "ensure_visible()")
    act(editor, "close()")
    calls = editor.lua(
        "return vim.tbl_map(function(call) return { call[1], tostring(call[2]), call[5] } end, _G.calls)"
    )
    assert [call[0] for call in calls] == ["setup", "simple_toggle", "focus_toggle", "open", "open", "close"]
    assert calls[1][1] == f"{COMMAND} --resume 'a b'"
    assert [call[2] for call in calls[3:5]] == [True, False]
    assert editor.lua("return _G.calls[2][3].CLAUDE_CODE_SSE_PORT") == editor.lock.stem
    assert editor.lua("return _G.calls[2][4].split_side") == "right"
    editor.lua(
        f"""_G.buffer = vim.api.nvim_create_buf(false, true)
        vim.api.nvim_buf_call(_G.buffer, function()
          vim.fn.jobstart(vim.split('{COMMAND}', ' '), {{ term = true }})
        end)"""
    )
    pid = log.wait("started")["pid"]
    assert act(editor, "of_pid(...)", pid) == ""
    assert act(editor, "status()") == [
        {"name": "", "pid": pid, "running": True, "visible": False, "provider": "custom"}
    ]
    assert act(editor, "type('hello')") is True
    log.wait_typed("hello\r", pid)
    act(editor, "open('b')")
    editor.wait_message("keeps one terminal")


def test_a_provider_that_cannot_be_used_is_told(running: Start) -> None:
    """One that is not available, or that is no provider, is replaced by Neovim's own terminal, and it is said."""
    editor = running(options=options())
    editor.lua(f"_G.available = false {CUSTOM}")
    opened(editor)
    editor.wait_message("terminal.provider is not available")
    act(editor, "close()")
    editor.wait_lua(f"#{TERMINAL}.status() == 0")
    editor.lua("require('pairside.options').values.terminal.provider = { open = function() end }")
    opened(editor)
    editor.wait_message("terminal.provider has no function setup")


def test_a_model_is_chosen(running: Start, log: Log) -> None:
    """The chosen model goes to the agent with the other arguments; choosing none starts nothing."""
    editor = running(options=options(models=[{"name": "Big", "value": "big[1m]"}, {"name": "Small", "value": "small"}]))
    editor.lua(
        """vim.ui.select = function(items, how, chosen)
          _G.asked = { how.prompt, vim.tbl_map(how.format_item, items) }
          chosen(_G.wanted and items[_G.wanted])
        end"""
    )
    act(editor, "select_model()")
    assert editor.lua("return _G.asked") == ["Select Claude model:", ["Big", "Small"]]
    assert act(editor, "status()") == []
    editor.lua("_G.wanted = 1")
    act(editor, "select_model('', '--resume')")
    assert log.wait("started")["argv"][1:] == ["--model", "big[1m]", "--resume"]


def test_nothing_is_loaded_for_it_at_the_start(running: Start) -> None:
    """A Neovim in which no terminal was asked for has loaded none of this."""
    editor = running(options=options())
    assert editor.lua("return package.loaded['pairside.terminal']") is None


def test_the_stand_in_tells_the_truth(home: Home, log: Log) -> None:
    """The program that these tests run as an agent tells its arguments, its folder and its environment."""
    environment = home.environment(X="y")
    subprocess.run(
        [*COMMAND.split(), "--fail", "4"], cwd=home.project, env=environment, check=False, stdin=subprocess.DEVNULL
    )
    [started] = log.all("started")
    assert started["argv"][1:] == ["--fail", "4"]
    assert (started["cwd"], started["environment"]["X"], started["tty"]) == (str(home.project), "y", False)
