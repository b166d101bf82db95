"""The functions of `require("pairside")`: what a configuration and a status line ask for, without waiting."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.robot import Robot, write_unreviewed
from tests.nvim.conftest import Connected
from tests.nvim.editor import ROOT, Neovim
from tests.nvim.terminals import ready
from tests.nvim.test_review import propose

Start = Callable[..., Neovim]
Connect = Callable[..., Robot]
LINE = "require('pairside').statusline()"


def test_the_status_is_a_table_of_what_was_told_last(connected: Connected) -> None:
    """`status()` is what `pairside status --json` prints, and a copy: who changes it changes nothing."""
    editor = connected.neovim
    editor.wait_lua("require('pairside').status().client_count == 1")
    status = editor.lua(
        """local pairside = require('pairside')
        pairside.status().client_count = 7
        return pairside.status()"""
    )
    hello = editor.wait_running()
    assert (status["running"], status["client_count"], status["pending_reviews"]) == (True, 1, 0)
    assert (status["port"], status["pid"], status["lock_file"]) == (hello["port"], hello["pid"], hello["lock_file"])


def test_the_status_of_what_does_not_run(running: Start) -> None:
    """While nothing runs `status()` says that alone, and the status line is empty."""
    editor = running()
    editor.lua("require('pairside').stop()")
    editor.wait_lua("require('pairside.process').state == 'stopped'")
    assert editor.lua("return require('pairside').status()") == {"running": False}
    assert editor.lua(f"return {LINE}") == ""
    assert editor.lua("return require('pairside').is_running()") is False
    editor.lua("require('pairside').start()")
    editor.wait_running()


def test_the_status_line_follows_what_happens(running: Start, agent: Connect) -> None:
    """Agents, proposals, changes and a stop of sharing stand in the status line as soon as they are there."""
    editor = running(before="vim.o.statusline = \"%{v:lua.require'pairside'.statusline()}\"")
    editor.wait_screen("○")
    robot = agent(editor)
    editor.wait_screen("● 1")
    path = editor.home.write("a.txt", "old\n")
    propose(editor, robot, path, "new\n")
    editor.wait_screen("● 1 ± 1")
    editor.lua("require('pairside').accept()")
    editor.wait_not_on_screen("±")
    write_unreviewed(robot, editor.home, "b.txt", "new\n")
    editor.wait_screen("● 1 ! 1")
    editor.command("Pairside share off")
    editor.wait_screen("● 1 ! 1 ⊘")
    robot.leave()
    editor.wait_screen("○ ! 1 ⊘")


def test_the_signs_are_an_option(running: Start, agent: Connect) -> None:
    """The status line shows the signs that the person chose."""
    editor = running(options={"statusline": {"agent": "AI", "idle": "none"}})
    editor.wait_lua(f"{LINE} == 'none'")
    agent(editor)
    editor.wait_lua(f"{LINE} == 'AI 1'")


def test_a_mention_counts_lines_from_one_and_tells_how_it_went(connected: Connected) -> None:
    """`mention()` puts lines into the prompt; its callback is told the agent, or why there is nothing."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "one\ntwo\nthree\n")
    ready(editor)
    call = """_G.told = nil
    require('pairside').mention(..., 2, 3, function(result, failure) _G.told = { result or false, failure } end)"""
    editor.lua(call, "a.txt")
    assert connected.agent.wait_told("at_mentioned") == {"filePath": str(path), "lineStart": 1, "lineEnd": 2}
    assert editor.wait_lua("_G.told")[0]["agent"] == "Claude Code"
    editor.lua(call, "none.txt")
    result, failure = editor.wait_lua("_G.told")
    assert result is False
    assert "none.txt" in failure


def test_a_proposal_is_rejected_by_a_function(connected: Connected) -> None:
    """`reject()` does what the command does."""
    path = connected.home.write("a.txt", "old\n")
    verdict = propose(connected.neovim, connected.agent, path, "new\n")
    connected.neovim.lua("require('pairside').reject()")
    assert verdict.result(10)[0] == "DIFF_REJECTED"


def test_a_start_behind_everything_else_defines_the_commands(neovim: Start) -> None:
    """A plugin manager may put the plugin into 'runtimepath' late: `setup` is enough then."""
    editor = neovim(plugin=False)
    editor.lua(
        """vim.opt.runtimepath:prepend(...)
        require("pairside").setup({ auto_start = false })""",
        str(ROOT),
    )
    assert editor.lua("return vim.fn.exists(':Pairside')") == 2
