"""The options: validated one by one, deprecated ones mapped, and told to pairside where it has the same setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.home import Home
from tests.nvim.editor import COMMAND, Neovim

Start = Callable[..., Neovim]


def taken(editor: Neovim, given: Any) -> tuple[dict[str, Any], list[str]]:
    """The values that count after `setup` was given something, and what is wrong with it."""
    values, complaints = editor.lua(
        """vim.g.pairside = nil
        local options = require("pairside.options")
        local _, complaints = options.setup(...)
        local values = vim.deepcopy(options.values)
        return { values, complaints }""",
        given,
    )
    return values, complaints


@pytest.fixture
def idle(neovim: Start) -> Neovim:
    """A Neovim in which pairside does not run."""
    editor = neovim(options={"auto_start": False})
    editor.wait_lua("require('pairside.options').is_set_up")
    return editor


DEFAULTS = {
    "auto_start": True,
    "log_level": "info",
    "track_selection": True,
    "focus_after_send": False,
    "visual_demotion_delay_ms": 50,
    "connection_wait_delay": 600,
    "connection_timeout": 10000,
    "review_where": "here",
    "diff_opts.layout": "vertical",
    "diff_opts.open_in_new_tab": False,
    "diff_opts.keep_terminal_focus": False,
    "diff_opts.hide_terminal_in_new_tab": False,
    "diff_opts.on_new_file_reject": "keep_empty",
    "diff_opts.auto_resize_terminal": True,
    "diff_opts.hints": True,
    "terminal.split_side": "right",
    "terminal.split_width_percentage": 0.30,
    "terminal.provider": "auto",
    "terminal.show_native_term_exit_tip": True,
    "terminal.auto_close": True,
    "terminal.auto_insert": True,
    "terminal.fix_streamed_paste": "auto",
    "terminal.git_repo_cwd": False,
}


def test_the_defaults_are_those_of_claudecode(idle: Neovim) -> None:
    """Who sets nothing has what claudecode.nvim had."""
    values, complaints = taken(idle, {})
    assert complaints == []
    for name, default in DEFAULTS.items():
        found: Any = values
        for part in name.split("."):
            found = found[part]
        assert found == default, name


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"auto_strat": False}, "there is no option auto_strat, did you mean auto_start?"),
        ({"layout": "unified"}, "there is no option layout, did you mean diff_opts.layout?"),
        (
            {"terminal": {"split_sid": "left"}},
            "there is no option terminal.split_sid, did you mean terminal.split_side?",
        ),
        ({"nonsense": 1}, "there is no option nonsense"),
        ({"auto_start": "yes"}, 'auto_start is "yes", it takes true or false'),
        ({"terminal": {"split_width_percentage": 1.5}}, "split_width_percentage is 1.5, it takes a number between"),
        ({"terminal": {"split_side": "middle"}}, 'terminal.split_side is "middle", it takes "left", "right"'),
        ({"terminal": "right"}, 'terminal is "right", it takes a table'),
        ({"port_range": {"min": 5, "max": 3}}, "port_range.min (5) is above port_range.max (3)"),
        ({"port_range": {"min": 0}}, "port_range.min is 0, it takes a whole number from 1 to 65535"),
        ({"models": []}, "models is {}, it takes a list"),
        ({"models": [{"name": "Opus"}]}, "it takes a list of { name ="),
        ({"env": {"A": 1}}, "it takes a table of texts by names"),
        ({"log_level": "loud"}, 'log_level is "loud"'),
        ({"queue_timeout": 0}, "queue_timeout is 0, it takes a number of milliseconds"),
        ({"diff_opts": {"layout": "diagonal"}}, 'it takes "vertical", "horizontal", "unified"'),
        ({"terminal": {"provider": "tmux"}}, 'terminal.provider is "tmux"'),
        ({"terminal": {"provider": {"open": 1}}}, "or a table with the functions setup, open"),
        ({"terminal": {"provider_opts": {"external_terminal_cmd": "xterm"}}}, "a text with %s once"),
        ({"terminal": {"provider": "external"}}, "does not say how to open one"),
    ],
)
def test_what_does_not_fit_is_named_and_the_default_kept(idle: Neovim, given: dict[str, Any], complaint: str) -> None:
    """A mistake is told by its name with what the option takes, and every default stands."""
    defaults, _ = taken(idle, {})
    values, complaints = taken(idle, given)
    assert any(complaint in one for one in complaints), complaints
    if given != {"terminal": {"provider": "external"}}:
        assert values == defaults


def test_the_rest_of_the_options_counts_beside_a_mistake(idle: Neovim) -> None:
    """One wrong value takes nothing else with it."""
    values, complaints = taken(idle, {"auto_start": 1, "diff_opts": {"layout": "unified"}, "terminal_cmd": "agent -x"})
    assert len(complaints) == 1
    assert values["diff_opts"]["layout"] == "unified"
    assert values["terminal_cmd"] == "agent -x"


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"diff_opts": {"vertical_split": False}}, "layout", "horizontal"),
        ({"diff_opts": {"vertical_split": True, "layout": "horizontal"}}, "layout", "vertical"),
        ({"diff_opts": {"open_in_current_tab": False}}, "open_in_new_tab", True),
        ({"diff_opts": {"open_in_current_tab": True, "open_in_new_tab": True}}, "open_in_new_tab", False),
        ({"diff_opts": {"layout": "inline"}}, "layout", "unified"),
        ({"diff_opts": {"show_diff_stats": True}}, "layout", "vertical"),
        ({"diff_opts": {"auto_close_on_accept": True}}, "layout", "vertical"),
    ],
)
def test_deprecated_options_are_taken_and_told(idle: Neovim, given: dict[str, Any], name: str, value: Any) -> None:
    """An option with an old name counts under its new one, and the person hears of it."""
    values, complaints = taken(idle, given)
    assert values["diff_opts"][name] == value
    assert len(complaints) == 1


def test_folders_may_stand_at_the_top(idle: Neovim) -> None:
    """`cwd`, `git_repo_cwd` and `cwd_provider` belong to the terminal, wherever they stand."""
    values, complaints = taken(idle, {"git_repo_cwd": True, "cwd": "/tmp"})
    assert complaints == []
    assert values["terminal"]["git_repo_cwd"] is True
    assert values["terminal"]["cwd"] == "/tmp"


def test_the_person_reads_what_is_wrong(neovim: Start) -> None:
    """A mistake in the configuration is said once at the start, and pairside runs all the same."""
    editor = neovim(options={"auto_strat": True, "log_level": "loud"})
    editor.wait_running()
    said = editor.wait_said("auto_strat")
    assert "log_level" in said
    assert len(editor.said()) == 1
    assert not editor.mode().blocking


def test_setup_goes_on_top_of_the_variable(neovim: Start) -> None:
    """`vim.g.pairside` is read first, and `setup` adds to it."""
    editor = neovim(options={"auto_start": False, "log_level": "debug", "diff_opts": {"layout": "unified"}})
    editor.lua("require('pairside').setup({ log_level = 'warn' })")
    values = editor.lua("return require('pairside.options').values")
    assert (values["log_level"], values["diff_opts"]["layout"]) == ("warn", "unified")


def test_the_options_reach_the_settings_of_pairside(neovim: Start) -> None:
    """Ports and where to review are told to pairside, and only what somebody chose."""
    editor = neovim(options={"port_range": {"min": 20000, "max": 20400}, "review_where": "terminal"})
    assert 20000 <= editor.wait_running()["port"] <= 20400
    editor.wait_lua("require('pairside').status().review_where == 'terminal'")
    assert editor.lua("return require('pairside.options').settings()") == {
        "serve.ports": "20000-20400",
        "review.where": "terminal",
    }


def test_new_options_are_said_to_count_from_the_next_start(neovim: Start) -> None:
    """An option that the running process was started with is not changed in silence."""
    editor = neovim()
    editor.wait_running()
    editor.lua("require('pairside').setup({ port_range = { min = 20000, max = 20400 } })")
    editor.wait_said(":Pairside restart")
    editor.command("Pairside restart")
    editor.wait_lua("(require('pairside.process').hello or {}).port")


def test_the_program_that_the_option_names_is_taken(neovim: Start, home: Home) -> None:
    """`cmd` may be a program alone: `frontend` is added."""
    program = home.root / "our pairside"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND[:-1])} "$@"\n')
    program.chmod(0o755)
    editor = neovim(options={"cmd": str(program)})
    assert editor.wait_running()["version"]
    assert editor.lua("return require('pairside.options').find()") == [str(program), "frontend"]


def test_a_program_that_cannot_be_run_is_named(neovim: Start) -> None:
    """A wrong `cmd` is told as such."""
    editor = neovim(options={"cmd": ["/no/such/pairside", "frontend"]})
    editor.wait_said("^/no/such/pairside cannot be run; the option cmd names it$")
    assert editor.state == "failed"


def test_the_start_of_neovim_reads_no_option(home: Home, neovim: Start) -> None:
    """Nothing but the commands is loaded before the first screen is drawn."""
    editor = neovim(
        before="vim.api.nvim_create_autocmd('VimEnter', {callback = function() "
        "_G.loaded = vim.tbl_filter(function(name) return vim.startswith(name, 'pairside') end, "
        "vim.tbl_keys(package.loaded)) end})"
    )
    assert editor.wait_lua("_G.loaded and { _G.loaded }") == [[]]
