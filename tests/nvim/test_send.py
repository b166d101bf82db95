"""Sending: which file and which lines an agent is told of, what is typed behind it, and what the person hears."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.nvim.conftest import Connected
from tests.nvim.editor import Neovim
from tests.nvim.terminals import TERMINAL, Log, act, opened, options, ready, widths

Start = Callable[..., Neovim]
SEND = "require('pairside.send')"
TEN = "".join(f"line {number}\n" for number in range(1, 11))


@pytest.fixture
def log(home: Home) -> Log:
    """What the agents in terminals wrote."""
    return Log(home)


@pytest.fixture
def join() -> Iterator[Callable[..., Robot]]:
    """Connects agents, with the process ids that a test gives them, and waits until they listen."""
    with ExitStack() as stack:

        def joined(editor: Neovim, pid: int) -> Robot:
            robot = stack.enter_context(Robot(editor.lock, pid=pid))
            ready(editor)
            return robot

        yield joined


@pytest.fixture
def connected(connected: Connected) -> Connected:
    """A Neovim in which pairside runs, and one agent that listens to mentions."""
    ready(connected.neovim)
    return connected


def send(editor: Neovim, call: str, *arguments: Any) -> None:
    """Call a function of sending, as in `add('a.txt')`; `...` stands for the arguments."""
    editor.lua(f"{SEND}.{call}", *arguments)


def mentioned(agent: Robot, count: int = 1) -> dict[str, Any]:
    """The newest mention, once there are so many."""
    told: dict[str, Any] = agent.wait_told("at_mentioned", count)
    return told


# A file by its name


@pytest.mark.parametrize(
    ("arguments", "name", "lines"),
    [
        ("a.txt", "a.txt", None),
        ("a.txt 3", "a.txt", (2, 2)),
        ("a.txt 3 5", "a.txt", (2, 4)),
        ("'a b.txt' 3 5", "a b.txt", (2, 4)),
        (r"a\ b.txt", "a b.txt", None),
        ("a b.txt", "a b.txt", None),
        ("a b.txt 2", "a b.txt", (1, 1)),
        ('"x [y] $z % #.txt" 1 2', "x [y] $z % #.txt", (0, 1)),
        ("%", "a.txt", None),
        ("dir 3 5", "dir", None),
        ("./dir/", "dir", None),
        ("7", "7", None),
    ],
)
def test_a_file_is_added(connected: Connected, arguments: str, name: str, lines: tuple[int, int] | None) -> None:
    """Names with blanks are taken quoted and plain, lines count from 1, and folders have none."""
    for file in ("a.txt", "a b.txt", "x [y] $z % #.txt", "7"):
        connected.home.write(file, TEN)
    connected.home.write("dir/b.txt", TEN)
    connected.neovim.command("edit a.txt")
    send(connected.neovim, "add(...)", arguments)
    told = mentioned(connected.agent)
    assert told["filePath"].rstrip("/").rpartition(f"{connected.home.project}/")[2] == name
    assert (told.get("lineStart"), told.get("lineEnd")) == (lines or (None, None))


def test_a_file_beside_the_folder_is_not_cut(connected: Connected) -> None:
    """A folder whose name begins as the workspace's does is another folder."""
    beside = connected.home.root / "project2"
    beside.mkdir()
    (beside / "f.txt").write_text(TEN)
    send(connected.neovim, "add(...)", str(beside / "f.txt"))
    assert mentioned(connected.agent)["filePath"] in (str(beside / "f.txt"), "../project2/f.txt")


def test_a_link_is_told_by_the_file(connected: Connected) -> None:
    """An agent is told of the real file; listeners hear the name that the person used."""
    path = connected.home.write("real.txt", TEN)
    (connected.home.project / "link.txt").symlink_to(path)
    connected.neovim.watch("PairsideSendComplete", "ClaudeCodeSendComplete")
    send(connected.neovim, "add('link.txt 2 3')")
    assert mentioned(connected.agent)["filePath"].endswith("real.txt")
    link = str(connected.home.project / "link.txt")
    assert connected.neovim.wait_told("PairsideSendComplete") == [
        {"path": link, "first": 1, "last": 2, "context": "Add"}
    ]
    assert connected.neovim.wait_told("ClaudeCodeSendComplete") == [
        {"file_path": link, "start_line": 1, "end_line": 2, "context": "Add"}
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "No file path provided"),
        ("a.txt 1 2 3", "Too many arguments. Usage: Pairside add <file-path> [start-line] [end-line]"),
        ("a.txt x", "Invalid start line number: x"),
        ("a.txt 1.5", "Invalid start line number: 1.5"),
        ("a.txt 1 y", "Invalid end line number: y"),
        ("a.txt 0", "Start line must be positive: 0"),
        ("a.txt 2 -1", "End line must be positive: -1"),
        ("a.txt 5 2", "Start line (5) must be <= end line (2)"),
        ("no-such 1", "File or directory does not exist: no-such"),
        ("'a.txt", "a quote ' is not closed"),
    ],
)
def test_what_cannot_be_added_is_said(running: Start, home: Home, arguments: str, problem: str) -> None:
    """Each mistake has its own message, and no terminal opens."""
    home.write("a.txt", TEN)
    editor = running(options=options(), columns=200)
    send(editor, "add(...)", arguments)
    assert editor.wait_message(".").endswith(problem)
    assert act(editor, "status()") == []


def test_a_file_that_is_not_shared_is_not_sent(connected: Connected) -> None:
    """It is said what excludes it, and how to send it all the same, which then works."""
    connected.home.write(".env", "SECRET=1\n")
    connected.neovim.request("nvim_ui_try_resize", 250, 30)
    send(connected.neovim, "add('.env')")
    assert "add!" in connected.neovim.wait_message("share.exclude")
    send(connected.neovim, "add('.env', { force = true })")
    assert mentioned(connected.agent)["filePath"].endswith(".env")


# Lines of the buffer


def test_a_range_is_sent(connected: Connected) -> None:
    """The lines of a range count from 0 for the agent, and end with the buffer."""
    connected.home.write("a.txt", TEN)
    connected.neovim.command("edit a.txt")
    send(connected.neovim, "selection({3, 5})")
    told = mentioned(connected.agent)
    assert (told["filePath"].endswith("a.txt"), told["lineStart"], told["lineEnd"]) == (True, 2, 4)
    send(connected.neovim, "selection({9, 99})")
    assert mentioned(connected.agent, 2)["lineEnd"] == 9
    connected.neovim.wait_message(r"a\.txt:3-5: sent to ")


def test_the_current_line_is_sent_where_nothing_is_selected(connected: Connected) -> None:
    """Without a range and a selection it is the line of the cursor."""
    connected.home.write("a.txt", TEN)
    connected.neovim.command("edit a.txt | 4")
    send(connected.neovim, "selection()")
    told = mentioned(connected.agent)
    assert (told["lineStart"], told["lineEnd"]) == (3, 3)


@pytest.mark.parametrize("keys", ["Vjj", "vjj", "<C-v>jj", "3GVkk"])
def test_what_is_selected_is_sent(connected: Connected, keys: str) -> None:
    """From a mapping in Visual mode its lines are sent, in either direction, and the mode is left."""
    connected.home.write("a.txt", TEN)
    editor = connected.neovim
    editor.command("edit a.txt")
    editor.lua(f"vim.keymap.set('x', '<F5>', function() {SEND}.selection() end)")
    editor.keys(f"{keys}<F5>")
    told = mentioned(connected.agent)
    assert (told["lineStart"], told["lineEnd"]) == (0, 2)
    editor.wait_mode("n")


def test_a_selection_that_was_just_left_is_sent(connected: Connected) -> None:
    """After Escape it still stands, until the cursor moves away."""
    connected.home.write("a.txt", TEN)
    editor = connected.neovim
    editor.command("edit a.txt | 2")
    editor.lua(f"vim.keymap.set('n', '<F5>', function() {SEND}.selection() end)")
    editor.keys("Vjj<Esc><F5>")
    told = mentioned(connected.agent)
    assert (told["lineStart"], told["lineEnd"]) == (1, 3)
    editor.keys("7G<F5>")
    told = mentioned(connected.agent, 2)
    assert (told["lineStart"], told["lineEnd"]) == (6, 6)


def test_what_has_no_file_is_not_sent(running: Start, home: Home) -> None:
    """Buffers without a file, and files that were never written, are refused."""
    editor = running(options=options(), columns=200)
    send(editor, "selection()")
    editor.wait_message("this buffer has no file")
    editor.command("edit new.txt")
    send(editor, "selection()")
    editor.wait_message(r"File or directory does not exist: .*/new\.txt \(write it first\)")


# Terminals and texts


def test_a_mention_that_waits_starts_the_agent(
    running: Start, home: Home, log: Log, join: Callable[..., Robot]
) -> None:
    """Without an agent one is started beside the file, it is said that it is awaited, and it gets the mention."""
    home.write("a.txt", TEN)
    editor = running("a.txt", options=options())
    editor.watch("PairsideSendComplete")
    send(editor, "selection({2, 3})")
    editor.wait_message(r"a\.txt:2-3: waits up to 60 s for an agent")
    editor.wait_screen("agent ready")
    assert act(editor, "current()") is None
    assert not editor.told
    agent = join(editor, log.wait("started")["pid"])
    assert mentioned(agent)["lineStart"] == 1


def test_with_focus_after_send_the_terminal_has_the_focus(running: Start, home: Home) -> None:
    """The option moves the person into the terminal."""
    home.write("a.txt", TEN)
    editor = running("a.txt", options=options(focus_after_send=True))
    send(editor, "add('a.txt')")
    editor.wait_screen("agent ready")
    editor.wait_mode("t")


@pytest.mark.parametrize("provider", ["none", "external"])
def test_focus_after_send_without_a_terminal_of_ours_is_explained(
    running: Start, home: Home, agent: Callable[..., Robot], provider: str
) -> None:
    """Where there is nothing to focus it says once what to listen to."""
    home.write("a.txt", TEN)
    provided = {"provider": provider, "provider_opts": {"external_terminal_cmd": "true %s"}}
    editor = running("a.txt", options=options(provided, focus_after_send=True), columns=200)
    told = agent(editor)
    ready(editor)
    for count in (1, 2):
        send(editor, "add('a.txt')")
        mentioned(told, count)
        editor.wait_lua("#require('pairside.message').history >= ...", 1 + count)
    found = [one for one in editor.messages() if "listen to User PairsideSendComplete" in one]
    assert len(found) == 1


def test_an_agent_elsewhere_starts_no_second_one(connected: Connected) -> None:
    """If the agent that is told runs outside of this Neovim, no terminal opens for it."""
    connected.home.write("a.txt", TEN)
    connected.neovim.lua("require('pairside.options').values.terminal.provider = 'native'")
    send(connected.neovim, "add('a.txt')")
    mentioned(connected.agent)
    connected.neovim.wait_message(r"a\.txt: sent to ")
    assert act(connected.neovim, "status()") == []
    assert len(widths(connected.neovim)) == 1


def test_the_terminal_of_the_agent_that_was_told_is_shown(
    running: Start, home: Home, log: Log, join: Callable[..., Robot]
) -> None:
    """Of several terminals the one is shown whose agent got the mention."""
    home.write("a.txt", TEN)
    editor = running("a.txt", options=options())
    opened(editor)
    act(editor, "open('b')")
    second = log.wait("started", 2)["pid"]
    for name in ("", "b"):
        act(editor, f"open('{name}')")
        act(editor, f"toggle('{name}')")
    agent = join(editor, second)
    send(editor, "add('a.txt')")
    mentioned(agent)
    editor.wait_lua(f"#{TERMINAL}.windows() == 1")
    visible = {one["name"]: one["visible"] for one in act(editor, "status()")}
    assert visible == {"": False, "b": True}


def test_a_prompt_goes_with_the_selection(running: Start, home: Home, log: Log, join: Callable[..., Robot]) -> None:
    """The text is typed behind the mention into the terminal of the agent that got it, and not sent off."""
    home.write("a.txt", TEN)
    editor = running("a.txt", options=options())
    opened(editor, "ensure_visible()")
    agent = join(editor, log.wait("started")["pid"])
    send(editor, "selection({1, 2}, 'why this?')")
    mentioned(agent)
    log.wait_typed("why this?")
    send(editor, "selection({1, 2}, ' Say.', true)")
    mentioned(agent, 2)
    log.wait_typed("why this? Say.\r")


def test_a_prompt_waits_for_the_agent(running: Start, home: Home, log: Log, join: Callable[..., Robot]) -> None:
    """Typed before the agent is there it reaches the one that comes, once."""
    home.write("a.txt", TEN)
    editor = running("a.txt", options=options())
    send(editor, "selection({1, 2}, 'why?')")
    editor.wait_screen("agent ready")
    started = log.wait("started")
    assert log.typed() == ""
    agent = join(editor, started["pid"])
    mentioned(agent)
    log.wait_typed("why?")
    assert editor.lua("return pcall(vim.api.nvim_get_autocmds, { group = 'pairside_send' })") is False


def test_a_mention_that_nobody_came_for_is_told(running: Start, home: Home, log: Log) -> None:
    """Each that expires is told, the second as the first, and its text is not typed."""
    home.write("a.txt", TEN)
    editor = running("a.txt", options=options({"provider": "none"}, queue_timeout=1000), columns=200)
    for line in (1, 2):
        send(editor, "selection({...})", line, line)
        editor.wait_message(rf"a\.txt:{line} was not sent: no agent came within 1 s")
    assert editor.lua("return pcall(vim.api.nvim_get_autocmds, { group = 'pairside_send' })") is False


def test_an_agent_that_just_came_is_not_doubled(running: Start, home: Home, join: Callable[..., Robot]) -> None:
    """While the one that is connected does not listen yet, no other is started, and it gets the mention."""
    home.write("a.txt", TEN)
    editor = running("a.txt", options=options())
    editor.watch("PairsideSendComplete")
    with Robot(editor.lock, pid=os.getpid()) as agent:
        send(editor, "add('a.txt')")
        mentioned(agent)
        editor.wait_told("PairsideSendComplete")
        assert act(editor, "status()") == []


def test_a_prompt_that_cannot_be_typed_is_told(connected: Connected) -> None:
    """An agent outside of this Neovim gets the mention, and the person hears that the text was not typed."""
    connected.home.write("a.txt", TEN)
    connected.neovim.command("edit a.txt")
    send(connected.neovim, "selection({1, 1}, 'why?')")
    mentioned(connected.agent)
    connected.neovim.wait_message("the text was not typed: .* does not run in a terminal of")


def test_a_text_alone_is_typed(running: Start, log: Log) -> None:
    """It goes to the terminal with Enter or without; without a terminal it says so."""
    editor = running(options=options())
    send(editor, "text('x')")
    editor.wait_message("the terminal does not run")
    opened(editor)
    send(editor, "text('one', false)")
    send(editor, "text(' two')")
    log.wait_typed("one two\r")


# Several agents


def test_a_mention_goes_to_the_agent_that_is_chosen(connected: Connected, agent: Callable[..., Robot]) -> None:
    """All that are connected can be chosen from, and the others hear nothing."""
    connected.home.write("a.txt", TEN)
    editor = connected.neovim
    editor.command("edit a.txt")
    other = agent(editor, pid=os.getpid(), name="other")
    ready(editor, 2)
    editor.lua(
        """vim.ui.select = function(items, how, chosen)
          _G.shown = vim.tbl_map(how.format_item, items)
          chosen(items[_G.wanted])
        end"""
    )
    for number, wanted in enumerate((2, 1, 2), 1):
        editor.lua("_G.wanted = ...", wanted)
        send(editor, "choose({...})", number, number)
        receiver = other if wanted == 2 else connected.agent
        assert mentioned(receiver, {1: 1, 2: 1, 3: 2}[number])["lineStart"] == number - 1
    shown = editor.lua("return _G.shown")
    assert len(shown) == 2
    assert shown[1].endswith(f"(pid {os.getpid()})")


def test_without_agents_there_is_nothing_to_choose(running: Start) -> None:
    """It says that none is connected."""
    editor = running(options=options())
    send(editor, "choose({1, 1})")
    editor.wait_message("no agent is connected")


def test_without_pairside_it_is_said(neovim: Start, home: Home) -> None:
    """Sending where pairside does not run names the command that starts it."""
    home.write("a.txt", TEN)
    editor = neovim("a.txt", options=options(auto_start=False))
    send(editor, "selection({1, 1})")
    editor.wait_message("pairside does not run")
    assert act(editor, "status()") == []
