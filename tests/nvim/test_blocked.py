"""While Neovim is busy, or waits for a key, agents are served all the same, and nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import COMMAND, POLL_SECONDS, SECONDS, Neovim

Connect = Callable[..., Robot]

SOON = 1.0
"""Within this many seconds everything is answered; it takes milliseconds where nothing else keeps the machine busy."""
BUSY = {
    "Lua": "local start = vim.uv.hrtime() while not vim.uv.fs_stat(...) and vim.uv.hrtime() < start + 2e10 do end",
    "system": "vim.fn.system({'timeout', '20', 'sh', '-c', 'until [ -e \"$0\" ]; do sleep 0.02; done', (...)})",
    "sleep": "for _ = 1, 1000 do vim.cmd('sleep 20m') if vim.uv.fs_stat(...) then break end end",
}
"""Lua that keeps Neovim busy until a file is there, for at most 20 s."""
ASKING = {
    "hit-enter": (':echo "one\\ntwo\\nthree"<CR>', r"Press ENTER", "<CR>"),
    "input": (":call input('your name: ')<CR>", r"^your name:", "<CR>"),
    "getchar": (":let got = ''<Bar>let got = getchar()<CR>", r"", "x"),
    "operator": ("d", r"", "<Esc>"),
}
"""Keys after which Neovim waits for another one, what is on screen then, and the key that it waits for."""


@contextmanager
def blocked(neovim: Neovim, how: str, mode: str = "n") -> Iterator[None]:
    """Neovim does something else for as long as the block runs, surely still did at its end, and is then in `mode`."""
    if how == "stopped":
        neovim.kill(signal.SIGSTOP)
        yield
        assert neovim.process.poll() is None
        neovim.kill(signal.SIGCONT)
    elif how in BUSY:
        flag = neovim.home.root / f"flag-{time.monotonic_ns()}"
        work = neovim.begin(f"vim.rpcnotify(1, 'busy') {BUSY[how]}", str(flag))
        neovim.wait_told("busy")
        yield
        assert not work.done(), "it was not busy for so long"
        flag.touch()
        work.result(SECONDS)
    else:
        keys, seen, key = ASKING[how]
        neovim.keys(keys)
        neovim.wait_screen(seen)
        until(lambda: waits(neovim, how), timeout=SECONDS, every=POLL_SECONDS, what=f"{how}: {neovim.mode()}")
        yield
        assert waits(neovim, how), neovim.mode()
        neovim.keys(key)
    neovim.wait_mode(mode)


def waits(neovim: Neovim, how: str) -> bool:
    """Whether Neovim waits for a key in that way."""
    if how == "getchar":  # it answers meanwhile, and says that its mode is normal
        return bool(neovim.lua("return vim.g.got == ''"))
    mode = neovim.mode()
    return mode.name == "no" if how == "operator" else mode.blocking or mode.name == "c"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long something took, in seconds, and what it gave."""
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result


every_block = pytest.mark.parametrize("how", [*BUSY, *ASKING, "stopped"])


@every_block
def test_agents_are_answered_meanwhile(connected: Connected, agent: Connect, how: str) -> None:
    """A new agent is let in and told the tools, and one that is connected gets its pong, before Neovim is back."""
    neovim = connected.neovim
    lock = neovim.lock
    path = connected.home.write("a.txt", "text\n")
    with blocked(neovim, how):
        took, answer = timed(lambda: connected.agent.ask("ping"))
        assert answer == {}
        assert took < SOON
        start = time.monotonic()
        with Robot(lock) as another:
            assert any(tool["name"] == "openDiff" for tool in another.ask("tools/list")["tools"])
            assert time.monotonic() - start < SOON
            took, (baseline,) = timed(lambda: another.call("getDiagnostics", uri=path.as_uri()))
            assert json.loads(baseline) == [{"uri": path.as_uri(), "diagnostics": []}]
            assert took < SOON
    assert connected.agent.ask("ping") == {}


@every_block
def test_what_needs_the_editor_is_answered_when_it_is_back(connected: Connected, how: str) -> None:
    """A question to Neovim itself is answered once it is back, and right."""
    neovim = connected.neovim
    path = connected.home.write("open.txt", "one\ntwo\n")
    neovim.command(f"edit {path}")
    with blocked(neovim, how):
        answer = connected.agent.begin_call("getOpenEditors")
        assert connected.agent.ask("ping") == {}
    (text,) = answer.result(SECONDS)
    (tab,) = [tab for tab in json.loads(text)["tabs"] if tab["fileName"] == str(path)]
    assert tab["isActive"] is True
    assert tab["lineCount"] == 2


@every_block
def test_nothing_is_done_twice_or_not_at_all(connected: Connected, how: str) -> None:
    """Of ten files that an agent asks for while Neovim is away, each is opened once."""
    neovim = connected.neovim
    paths = [connected.home.write(f"file {number}.txt", f"{number}\n") for number in range(10)]
    neovim.lua(
        """vim.api.nvim_create_autocmd("BufReadPost", {callback = function(event)
          vim.rpcnotify(1, "read", vim.fs.basename(event.match))
        end})"""
    )
    with blocked(neovim, how):
        answers = [connected.agent.begin_call("openFile", filePath=str(path)) for path in paths]
        assert connected.agent.ask("ping") == {}
    for answer in answers:
        answer.result(SECONDS)
    neovim.wait_told("read", len(paths))
    neovim.lua("return 1")
    assert sorted(told.arguments[0] for told in neovim.told if told.name == "read") == [path.name for path in paths]


@every_block
def test_a_proposal_is_shown_when_it_is_back(connected: Connected, how: str) -> None:
    """A proposal that comes meanwhile disturbs nothing, is shown once afterwards, and can be accepted."""
    neovim = connected.neovim
    path = connected.home.write("a.txt", "old words\n")
    neovim.command(f"edit {path}")
    with blocked(neovim, how):
        verdict = connected.agent.propose(path, "new words\n")
        assert connected.agent.ask("ping") == {}
    neovim.wait_screen("new words")
    assert sum("new words" in row for row in neovim.redrawn()) == 1
    assert neovim.lines(neovim.request("nvim_call_function", "bufnr", [str(path)])) == ["old words"]
    decide(neovim, "accept", verdict)
    assert verdict.result(SECONDS) == ["FILE_SAVED", "new words\n"]


@every_block
def test_a_proposal_of_an_agent_that_died_meanwhile_does_not_stay(
    connected: Connected, agent: Connect, how: str
) -> None:
    """Of two proposals that came meanwhile, the one whose agent is gone closes by itself, and only that one."""
    neovim = connected.neovim
    doomed = agent(neovim)
    before = neovim.counts()
    with blocked(neovim, how):
        doomed.propose(connected.home.write("a.txt", "a\n"), "from the dead\n")
        verdict = connected.agent.propose(connected.home.write("b.txt", "b\n"), "from the living\n")
        assert connected.agent.ask("ping") == {}
        doomed.vanish()
        wait_clients(connected, 1)
    neovim.wait_screen("from the living")
    assert not any("from the dead" in row for row in neovim.redrawn())
    assert not verdict.done()
    decide(neovim, "reject", verdict)
    assert verdict.result(SECONDS)[0] == "DIFF_REJECTED"
    until(
        lambda: (neovim.counts()["windows"], neovim.counts()["tabs"]) == (before["windows"], before["tabs"]),
        timeout=SECONDS,
        what=lambda: f"the windows as before{neovim.described()}",
    )


@pytest.mark.parametrize("version", ["0.11.4"])
def test_an_editor_that_stays_away_is_named(connected: Connected) -> None:
    """After five seconds the agent is told that Neovim is busy, and afterwards all is well."""
    neovim = connected.neovim
    path = connected.home.write("late.txt", "late\n")
    with blocked(neovim, "Lua"):
        took, error = timed(lambda: connected.agent.begin_call("openFile", filePath=str(path)).exception(SECONDS))
        assert isinstance(error, RuntimeError)
        assert "Neovim is busy" in str(error)
        assert 4.5 < took < 7
    # What the agent was told has failed is not done later after all.
    tabs = json.loads(connected.agent.call("getOpenEditors")[0])["tabs"]
    assert "late.txt" not in [tab["label"] for tab in tabs]
    connected.agent.call("openFile", filePath=str(path))
    neovim.wait_screen("^late")


def test_keys_typed_meanwhile_are_one_selection(connected: Connected) -> None:
    """What was selected by keys typed ahead is told as it is, and nothing that it was on the way comes later."""
    neovim = connected.neovim
    path = connected.home.write("a.txt", "one\ntwo\nthree\n")
    neovim.command(f"edit {path}")
    with blocked(neovim, "Lua", "V"):
        neovim.keys("Vj")
    until(
        lambda: (
            connected.agent.wait_told("selection_changed")["text"] == "one\ntwo\n"
            or connected.agent.wait_told("selection_changed")["text"] == "one\ntwo"
        ),
        timeout=SECONDS,
        every=POLL_SECONDS,
        what=lambda: f"such a selection; it is {connected.agent.wait_told('selection_changed')}",
    )


NASTY: dict[str, tuple[str, dict[str, Any]]] = {
    "no such file": ("openFile", {"filePath": "/nowhere/at all.txt"}),
    "a name of many lines": ("openFile", {"filePath": "/nowhere/" + "line\n" * 50}),
    "a very long name": ("openFile", {"filePath": "/nowhere/" + "x" * 5000}),
    "a folder": ("openFile", {"filePath": "/"}),
    "a name of commands": ("openFile", {"filePath": "/nowhere/+qa!|echo 'a'\r\x1b:q<CR>`sleep 1`%#"}),
    "lines that are not there": ("openFile", {"startLine": 10**9, "endLine": -5, "filePath": "a.txt"}),
    "text that is not there": ("openFile", {"startText": "(" * 3000, "endText": "\n\0", "filePath": "a.txt"}),
    "a document that is not open": ("saveDocument", {"filePath": "/nowhere/" + "y\n" * 100}),
    "a tab that is not there": ("close_tab", {"tab_name": "z\n" * 1000}),
    "diagnostics of nothing": ("getDiagnostics", {"uri": "file:///" + "%0A" * 1000}),
    "a proposal without a folder": (
        "openDiff",
        {"tab_name": "t\n" * 300, "new_file_contents": "\0\x1b[2J\r\n\u2028\ufeff", "path": "new/" + "n" * 100},
    ),
    "a proposal for a name of many lines": (
        "openDiff",
        {"tab_name": "✻ " + "\x07" * 300, "new_file_contents": "x\n" * 5, "path": "a\nb\nc.txt"},
    ),
}


@pytest.mark.parametrize("name", NASTY)
def test_nothing_that_an_agent_sends_brings_up_a_prompt(connected: Connected, name: str) -> None:
    """Whatever an agent asks for, Neovim does not ask the person to press Enter, and takes keys as before."""
    neovim = connected.neovim
    connected.home.write("a.txt", "text\n")
    tool, arguments = NASTY[name]
    arguments = dict(arguments)
    if "path" in arguments:
        path = str(connected.home.project / str(arguments.pop("path")))
        arguments |= {"old_file_path": path, "new_file_path": path}
    elif not os.path.isabs(str(arguments.get("filePath", "/"))):
        arguments["filePath"] = str(connected.home.project / str(arguments["filePath"]))
    answer = connected.agent.begin_call(tool, **arguments)
    assert connected.agent.ask("ping") == {}
    if tool == "openDiff":
        wait_reviews(connected, 1)
    else:
        answer.exception(SECONDS)
    assert not neovim.mode().blocking, neovim.screen()
    neovim.lua("return vim.wait(50, function() return false end)")  # what was scheduled has been done
    assert not any("Press ENTER" in row or "-- More --" in row for row in neovim.redrawn())
    if tool != "openDiff":
        neovim.command("enew!")
        neovim.keys("istill here<Esc>")
        neovim.wait_screen("still here")


# What these tests ask of Neovim and pairside


def decide(neovim: Neovim, word: str, verdict: Future[list[str]]) -> None:
    """Decide the proposal on screen; one that has just been shown takes no verdict yet."""

    def decided() -> bool:
        if not verdict.done():
            neovim.lua(f'require("pairside").{word}()')
        return verdict.done()

    until(decided, timeout=SECONDS, what=lambda: f"verdict{neovim.described()}")


def status(connected: Connected) -> dict[str, Any]:
    """What `pairside status --json` says, which Neovim is not asked for."""
    done = subprocess.run(
        [*COMMAND[:-1], "status", "--json"],
        cwd=connected.home.project,
        env=connected.home.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=15,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def wait_clients(connected: Connected, count: int) -> None:
    """Wait until so many agents are connected."""
    until(lambda: status(connected)["client_count"] == count, timeout=SECONDS, what=f"{count} clients")


def wait_reviews(connected: Connected, count: int) -> None:
    """Wait until so many reviews are pending."""
    until(lambda: status(connected)["pending_reviews"] == count, timeout=SECONDS, what=f"{count} reviews")
