"""What agents ask about open files is answered as it is at that moment, and who types is not disturbed by it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Mode, Neovim
from tests.nvim.facts import Facts

Start = Callable[..., Neovim]
Tabs = list[dict[str, Any]]


def answer(texts: list[str]) -> dict[str, Any]:
    """What a tool that answers with one JSON object says."""
    (text,) = texts
    found: dict[str, Any] = json.loads(text)
    return found


def wait_front(neovim: Neovim, path: Path) -> None:
    """Wait until that file is in front of the person."""
    neovim.wait_lua("vim.api.nvim_buf_get_name(0) == ...", str(path))


NAMES = ["a b.txt", "[x].txt", "a*b?.txt", "$HOME.txt", "{a,b}.txt", "100%.txt", "#1.txt", "`id`.txt", "a'b\"c.txt"]
NAMES += ["a|b.txt", "a\\b.txt", "~x.txt", "+1.txt", "-d.txt", "ünï\U0001f600.txt", "sub dir/$p.$id.tsx", "neo-tree/f"]
"""Names that mean something to shells, to Vim, or to a URI."""


def test_files_of_any_name_are_opened_changed_saved_and_read_again(connected: Connected) -> None:
    """Whatever characters a name has, every tool means that file, and the agent's own write is on screen."""
    neovim, agent = connected.neovim, connected.agent
    for name in NAMES:
        path = connected.home.write(name, "one\ntwo\n")
        assert agent.call("openFile", filePath=str(path)) == [f"Opened file: {path}"]
        wait_front(neovim, path)
        neovim.lua("vim.api.nvim_buf_set_lines(0, 0, 1, false, {'changed'})")
        assert answer(agent.call("checkDocumentDirty", filePath=str(path)))["isDirty"] is True
        (listed,) = [one for one in answer(agent.call("getOpenEditors"))["tabs"] if one["fileName"] == str(path)]
        assert (listed["isActive"], listed["isDirty"], listed["label"]) == (True, True, path.name)
        assert answer(agent.call("saveDocument", filePath=str(path)))["success"] is True
        assert path.read_text() == "changed\ntwo\n"
        assert answer(agent.call("checkDocumentDirty", filePath=str(path)))["isDirty"] is False
        agent.call("getDiagnostics", uri=str(path))
        path.write_text("written by the agent\n")
        agent.call("getDiagnostics")
        neovim.wait_lua("vim.fn.getline(1) == 'written by the agent'")


def labels(tabs: Tabs) -> list[str]:
    """The names of the listed files."""
    return [one["label"] for one in tabs]


def is_so(tabs: Tabs, label: str, key: str, value: Any) -> bool:
    """Whether a listed file has that."""
    return any(one["label"] == label and one[key] == value for one in tabs)


CHANGES: dict[str, Callable[[Tabs], bool]] = {
    "call setbufline('a.txt', 1, 'y')": lambda tabs: is_so(tabs, "a.txt", "isDirty", True),
    "call appendbufline('a.txt', 1, 'y')": lambda tabs: is_so(tabs, "a.txt", "lineCount", 2),
    "buffer a.txt": lambda tabs: is_so(tabs, "a.txt", "isActive", True),
    "edit c.txt": lambda tabs: "c.txt" in labels(tabs),
    "bdelete a.txt": lambda tabs: labels(tabs) == ["b.txt"],
    "bwipeout a.txt": lambda tabs: labels(tabs) == ["b.txt"],
    "set nobuflisted": lambda tabs: labels(tabs) == ["a.txt"],
    "file d.txt": lambda tabs: "d.txt" in labels(tabs),
    "setfiletype lua": lambda tabs: is_so(tabs, "b.txt", "languageId", "lua"),
    "set buftype=nofile": lambda tabs: labels(tabs) == ["a.txt"],
}
"""What is done, and what holds of the list then."""


def test_the_list_of_open_files_is_never_old(running: Start, agent: Callable[..., Robot], home: Home) -> None:
    """Whatever changes about the open files, an agent that asks afterwards is told so."""
    for name in ("a.txt", "b.txt", "c.txt"):
        home.write(name, "x\n")
    neovim = running("a.txt", "b.txt", before="vim.o.hidden = true")
    robot = agent(neovim)
    for command, holds in CHANGES.items():
        neovim.command("silent %bwipeout! | edit b.txt | edit a.txt | edit b.txt | set filetype=")
        assert sorted(labels(answer(robot.call("getOpenEditors"))["tabs"])) == ["a.txt", "b.txt"]
        neovim.command(command)
        tabs = answer(robot.call("getOpenEditors"))["tabs"]
        assert holds(tabs), (command, tabs)


@pytest.mark.parametrize(("keys", "mode"), [(":s/mine/other/", "c"), ("A", "i"), ("v", "v"), ("d", "no"), ("", "n")])
def test_a_save_that_fails_does_not_disturb_who_types(
    running: Start, agent: Callable[..., Robot], home: Home, keys: str, mode: str
) -> None:
    """Neovim's question about a file that another has written reaches nobody: what is half typed stays so, and nothing
    wants Enter."""
    path = home.write("a.txt", "old\n")
    neovim = running("a.txt")
    robot = agent(neovim)
    neovim.keys("ccmine<Esc>")
    neovim.wait_lua("vim.bo.modified and vim.fn.mode() == 'n'")
    path.write_text("another's\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    neovim.keys(keys)
    neovim.wait_mode(mode)
    told = answer(robot.call("saveDocument", filePath=str(path)))
    assert told["success"] is False
    assert "changed on disk" in told["message"]
    assert neovim.mode() == Mode(mode, blocking=False)
    neovim.keys("<CR>" if mode == "c" else "<Esc>")
    neovim.wait_mode("n")
    assert neovim.lines() == ["other" if mode == "c" else "mine"]
    assert path.read_text() == "another's\n"
    neovim.wait_not_on_screen("Press ENTER|really want")


@pytest.mark.parametrize(("first", "rest", "expected"), [('"', "_x", "ere"), ("3", "x", "e"), ("r", "x", "xere")])
def test_half_a_command_is_finished_in_its_file(
    running: Start, agent: Callable[..., Robot], home: Home, first: str, rest: str, expected: str
) -> None:
    """While Neovim waits for the rest of a command it answers nobody; the rest of it goes to the file, and then the
    other one is shown."""
    home.write("a.txt", "here\n")
    b = home.write("b.txt", "wanted\n")
    neovim = running("a.txt")
    robot = agent(neovim)
    neovim.keys(first)
    until(lambda: neovim.mode().blocking, timeout=SECONDS, what="Neovim waiting for a key")
    opened = robot.begin_call("openFile", filePath=str(b))
    robot.call("getCurrentSelection")
    neovim.keys(rest)
    assert opened.result(SECONDS) == [f"Opened file: {b}"]
    wait_front(neovim, b)
    assert neovim.lines() == ["wanted"]
    assert neovim.lua("return vim.api.nvim_buf_get_lines(vim.fn.bufnr('a.txt'), 0, -1, false)") == [expected]


def test_the_persons_own_autocommands_stay_and_have_no_say(running: Start, home: Home) -> None:
    """A FileChangedShell of the person's that would ask neither asks nor is lost; others of reading run."""
    path = home.write("a.txt", "old\n")
    neovim = running(
        "a.txt",
        before="""vim.api.nvim_create_autocmd("FileChangedShell", {callback = function() vim.v.fcs_choice = "ask" end})
        vim.api.nvim_create_autocmd("FileChangedShellPost", {callback = function() _G.post = true end})
        vim.api.nvim_create_autocmd("BufReadPost", {callback = function() _G.reads = (_G.reads or 0) + 1 end})""",
    )
    facts = Facts(neovim)
    counts = neovim.counts()
    reads = neovim.lua("return _G.reads")
    path.write_text("new text\n")
    facts.verb("files/changed", {"paths": [str(path)]})
    neovim.wait_lua("vim.fn.getline(1) == 'new text'")
    assert neovim.mode() == Mode("n", blocking=False)
    assert neovim.lua("return {_G.post, _G.reads}") == [True, reads + 1]
    assert neovim.counts() == counts
