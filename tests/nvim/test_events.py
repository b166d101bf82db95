"""The `User` events: those of pairside, and those of claudecode.nvim for the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.robot import Robot, write_unreviewed
from tests.nvim.conftest import Connected
from tests.nvim.editor import ROOT, Neovim
from tests.nvim.terminals import ready
from tests.nvim.test_review import propose

Start = Callable[..., Neovim]
Connect = Callable[..., Robot]


def test_a_start_and_an_end_are_told(neovim: Start) -> None:
    """Listeners hear when agents are served, on which port, and when no longer."""
    editor = neovim(options={"auto_start": False})
    editor.watch("Pairside*")
    editor.command("Pairside start")
    (started,) = editor.wait_told("PairsideStarted")
    hello = editor.wait_running()
    assert started == {"port": hello["port"], "version": hello["version"], "pid": hello["pid"]}
    editor.command("Pairside stop")
    assert editor.wait_told("PairsideStopped") == [{}]


def test_an_agent_that_comes_and_goes_is_told_once(running: Start, agent: Connect) -> None:
    """Its arrival is told with its name and process together, and its departure with the reason."""
    editor = running()
    editor.watch("Pairside*")
    robot = agent(editor)
    (connected,) = editor.wait_told("PairsideConnected")
    assert connected["agent"] == "Claude Code"
    assert connected["version"] == "2.1.330"
    assert connected["pid"] > 0
    robot.leave()
    (left,) = editor.wait_told("PairsideDisconnected")
    assert (left["client_id"], left["reason"]) == (connected["client_id"], "closed")
    assert len([told for told in editor.told if told.name == "PairsideConnected"]) == 1


def test_an_agent_that_vanishes_is_told_with_the_reason(connected: Connected) -> None:
    """A broken connection is another reason than a goodbye."""
    connected.neovim.watch("Pairside*")
    connected.agent.vanish()
    assert connected.neovim.wait_told("PairsideDisconnected")[0]["reason"] == "lost"


@pytest.mark.parametrize(
    ("command", "ours", "theirs"),
    [
        ("Pairside accept", "accepted", "diff tab closed after save"),
        ("Pairside reject", "rejected", "diff tab closed after reject"),
    ],
)
def test_a_review_is_told_when_it_opens_and_closes(connected: Connected, command: str, ours: str, theirs: str) -> None:
    """Both families of events have the windows, the file and how it ended, once each."""
    editor = connected.neovim
    editor.watch("Pairside*", "ClaudeCode*")
    path = connected.home.write("a.txt", "old\n")
    editor.command("edit a.txt")
    file_window = editor.lua("return vim.api.nvim_get_current_win()")
    propose(editor, connected.agent, path, "new\n")
    (opened,) = editor.wait_told("PairsideReviewOpened")
    (diff,) = editor.wait_told("ClaudeCodeDiffOpened")
    windows = editor.lua("return vim.api.nvim_list_wins()")
    assert (opened["path"], opened["new"], opened["agent"]) == (str(path), False, "Claude Code")
    assert opened["original_window"] == file_window
    assert opened["window"] in windows
    assert opened["window"] != file_window
    assert diff == {
        "tab_name": opened["name"],
        "file_path": str(path),
        "new_file_path": str(path),
        "is_new_file": False,
        "diff_window": opened["window"],
        "target_window": file_window,
    }
    editor.command("Pairside layout unified")
    editor.command("Pairside layout vertical")
    editor.command(command)
    (closed,) = editor.wait_told("PairsideReviewClosed")
    (gone,) = editor.wait_told("ClaudeCodeDiffClosed")
    assert (closed["id"], closed["path"], closed["reason"]) == (opened["id"], str(path), ours)
    assert gone == {"tab_name": opened["name"], "file_path": str(path), "reason": theirs}
    assert len([told for told in editor.told if told.name == "PairsideReviewOpened"]) == 1


def test_a_review_in_its_own_tab_names_the_tab(running: Start, agent: Connect) -> None:
    """The tab page is told by its handle where the review made one."""
    editor = running(options={"diff_opts": {"open_in_new_tab": True}})
    editor.watch("ClaudeCode*")
    path = editor.home.write("new.txt", "old\n")
    propose(editor, agent(editor), path, "new\n")
    (diff,) = editor.wait_told("ClaudeCodeDiffOpened")
    assert diff["tab_number"] == editor.lua("return vim.api.nvim_get_current_tabpage()")


def test_a_mention_is_told_when_it_is_sent(connected: Connected) -> None:
    """Both families name the file, the lines from 0 and the command."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "one\ntwo\n")
    editor.watch("Pairside*", "ClaudeCode*")
    ready(editor)
    editor.command("Pairside add a.txt 1 2")
    (sent,) = editor.wait_told("PairsideSendComplete")
    assert sent == {"path": str(path), "first": 0, "last": 1, "context": "Add"}
    (complete,) = editor.wait_told("ClaudeCodeSendComplete")
    assert complete == {"file_path": str(path), "start_line": 0, "end_line": 1, "context": "Add"}
    (mentioned,) = editor.wait_told("PairsideMentioned")
    assert mentioned["path"] == str(path)


def test_a_mention_that_nobody_took_is_told(running: Start) -> None:
    """A mention that waited in vain is told with the time that it had."""
    editor = running(options={"queue_timeout": 100, "terminal": {"provider": "none"}})
    path = editor.home.write("a.txt", "one\n")
    editor.watch("Pairside*")
    editor.command("Pairside add a.txt")
    assert editor.wait_told("PairsideMentionExpired") == [{"path": str(path), "seconds": 0.1}]


def test_a_change_without_a_review_is_told(connected: Connected) -> None:
    """A write that nobody was asked about is told with the file and how much it was."""
    editor = connected.neovim
    editor.watch("Pairside*")
    path = connected.home.write("a.txt", "old\n")
    write_unreviewed(connected.agent, connected.home, "a.txt", "new\nmore\n")
    (change,) = editor.wait_told("PairsideUnreviewedChange")
    assert (change["path"], change["added"], change["removed"]) == (str(path), 2, 1)
    assert change["agent"] == "Claude Code"


def test_sharing_is_told_when_it_changes(running: Start) -> None:
    """Who shows a sign for it hears of the switch, wherever it was turned."""
    editor = running()
    editor.watch("Pairside*")
    editor.command("Pairside share off")
    assert editor.wait_told("PairsideSharing") == [{"on": False}]


def test_a_listener_that_fails_stops_nothing(connected: Connected) -> None:
    """What a listener does wrong is said in a line, the other listeners are called, and the review goes on."""
    editor = connected.neovim
    editor.lua(
        """vim.api.nvim_create_autocmd("User", {pattern = "PairsideReviewOpened",
          callback = function() error("a listener's own fault") end})
        vim.api.nvim_create_autocmd("User", {pattern = "PairsideReviewOpened",
          callback = function() vim.notify("told by the second", vim.log.levels.WARN) end})"""
    )
    path = connected.home.write("a.txt", "old\n")
    verdict = propose(editor, connected.agent, path, "new\n")
    editor.wait_said("^a listener of PairsideReviewOpened: .*a listener's own fault$")
    editor.wait_message("told by the second")
    assert not editor.mode().blocking
    editor.command("Pairside accept")
    assert verdict.result(10)[0] == "FILE_SAVED"


def test_every_event_that_is_fired_is_in_the_help() -> None:
    """The help names each `User` event that the source fires."""
    text = Path(ROOT, "doc", "pairside.txt").read_text()
    fired = set()
    for source in Path(ROOT, "lua", "pairside").rglob("*.lua"):
        for line in source.read_text().splitlines():
            for call in ('fire("', 'M.fire("'):
                if call in line:
                    fired.add(line.split(call, 1)[1].split('"', 1)[0])
    assert {"Started", "Connected", "ReviewOpened", "SendComplete", "UnreviewedChange"} <= fired
    missing = {name for name in fired if f"*Pairside{name}*" not in text}
    assert missing == set()
