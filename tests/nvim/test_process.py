"""The process of pairside beside Neovim: it starts after the first redraw and ends with Neovim, however that ends."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pairside import __version__
from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected, left
from tests.nvim.editor import COMMAND, POLL_SECONDS, ROOT, SECONDS, Neovim

Start = Callable[..., Neovim]
Connect = Callable[..., Robot]


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def wait_gone(pid: int) -> None:
    """Wait until a process has ended."""
    until(lambda: not alive(pid), timeout=SECONDS, every=POLL_SECONDS, what=f"end of process {pid}")


def token(lock: Path) -> str:
    """The token that a lock file names."""
    found: str = json.loads(lock.read_bytes())["authToken"]
    return found


def wait_another(neovim: Neovim, pid: int) -> dict[str, Any]:
    """Wait until a process other than that of `pid` runs; what it answered to hello."""
    hello: dict[str, Any] = neovim.wait_lua(
        """local process = require("pairside.process")
        return process.state == "running" and process.hello.pid ~= ... and process.hello""",
        pid,
    )
    return hello


def processes(home: Home) -> list[str]:
    """The processes in a home beside Neovim."""
    return [line for line in left(home) if "--embed" not in line]


def script(home: Home, text: str) -> list[str]:
    """A program in Python, as the option `cmd` takes it."""
    path = home.root / "program.py"
    path.write_text(text)
    return [sys.executable, "-P", str(path)]


def run(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of pairside in the project folder, as a person does beside Neovim."""
    return subprocess.run(
        [*COMMAND[:-1], *arguments],
        cwd=home.project,
        env=home.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )


# Start


def test_agents_find_a_neovim_that_runs(running: Start, home: Home) -> None:
    """While Neovim runs a lock file names it, its folder, and the process of pairside."""
    editor = running()
    lock = json.loads(editor.lock.read_bytes())
    assert home.lock_files == [editor.lock]
    assert lock["ideName"] == "Neovim"
    assert lock["workspaceFolders"] == [str(home.project)]
    assert lock["pid"] == editor.wait_running()["pid"]
    assert alive(lock["pid"])


def test_an_agent_connects(connected: Connected) -> None:
    """An agent that connects through the lock file is answered out of Neovim."""
    (folders,) = connected.agent.call("getWorkspaceFolders")
    assert json.loads(folders)["rootPath"] == str(connected.home.project)


def test_nothing_is_spawned_before_the_first_redraw(neovim: Start, home: Home) -> None:
    """The person sees their file before anything else happens; then pairside is started once."""
    home.write("first.txt", "the first line\n")
    editor = neovim(
        "first.txt",
        before="""local spawn = vim.uv.spawn
        vim.uv.spawn = function(...)
          vim.rpcnotify(1, "spawned", (...))
          return spawn(...)
        end""",
    )
    editor.wait_running()
    (spawned,) = [told for told in editor.told if told.name == "spawned"]
    assert "the first line" in spawned.screen


@pytest.mark.parametrize("name", ["COMMIT_EDITMSG", "git-rebase-todo"])
def test_what_git_opens_is_no_second_ide(neovim: Start, home: Home, name: str) -> None:
    """With two IDEs for a folder agents find neither; by hand it can be started all the same."""
    (home.project / ".git").mkdir()
    home.write(f".git/{name}", "# a comment\n")
    editor = neovim(f".git/{name}")
    editor.wait_lua('package.loaded["pairside.install"] ~= nil')
    assert editor.lua('return package.loaded["pairside.process"] == nil')
    assert home.lock_files == []
    editor.command("Pairside start")
    editor.wait_running()


def test_each_of_two_neovims_in_a_folder_is_told_of_the_other(running: Start) -> None:
    """The first one too, when the second appears."""
    first = running()
    second = running()
    second.wait_said("another IDE is open for this folder: Neovim")
    first.wait_said("another IDE is open for this folder: Neovim")


def test_nothing_but_the_commands_is_loaded_at_start(neovim: Start) -> None:
    """With `auto_start` off nothing is spawned, and `:Pairside start` starts it later."""
    editor = neovim(options={"auto_start": False})
    editor.redrawn()
    assert editor.state == "stopped"
    assert editor.said() == []
    editor.command("Pairside start")
    editor.wait_running()


def test_nothing_is_said_at_a_start_that_went_well(running: Start) -> None:
    """A start without a problem needs no word, and no key."""
    editor = running()
    assert editor.said() == []
    assert editor.messages() == []
    assert not editor.mode().blocking


def test_what_the_process_prints_reaches_a_log_and_not_neovim(running: Start, home: Home) -> None:
    """The log is in pairside's state directory, for the person alone."""
    running()
    log = Path(home.environment()["XDG_STATE_HOME"], "pairside", "run", "frontend.log")
    assert log.stat().st_mode & 0o777 == 0o600


# End


@pytest.mark.parametrize(
    "end",
    ["<Cmd>qa!<CR>", "<Cmd>cq<CR>", signal.SIGTERM, signal.SIGHUP, signal.SIGKILL],
    ids=["qa", "cq", "SIGTERM", "SIGHUP", "SIGKILL"],
)
def test_the_process_ends_with_neovim(running: Start, home: Home, end: str | int) -> None:
    """However Neovim ends, the process ends too, and its lock file and record are gone."""
    editor = running()
    lock, pid = editor.lock, editor.wait_running()["pid"]
    if isinstance(end, str):
        editor.keys(end)
    else:
        editor.kill(end)
    editor.wait_end()
    wait_gone(pid)
    assert not lock.exists()
    left = [path.name for path in Path(home.environment()["XDG_STATE_HOME"], "pairside", "run").iterdir()]
    assert sorted(left) == ["frontend.log", "start.lock"]


@pytest.mark.parametrize("end", ["<Cmd>qa!<CR>", signal.SIGKILL], ids=["qa", "SIGKILL"])
def test_the_process_ends_with_neovim_while_an_agent_waits(connected: Connected, end: str | int) -> None:
    """An agent that waits for a verdict does not keep the process, and gets no verdict."""
    path = connected.home.write("a.txt", "old\n")
    verdict = connected.agent.propose(path, "new\n")
    connected.neovim.wait_screen(r"\bnew\b")
    pid = connected.neovim.wait_running()["pid"]
    if isinstance(end, str):
        connected.neovim.keys(end)
    else:
        connected.neovim.kill(end)
    connected.neovim.wait_end()
    wait_gone(pid)
    assert "ConnectionClosed" in type(verdict.exception(SECONDS)).__name__
    assert path.read_text() == "old\n"


def test_the_process_ends_with_a_neovim_that_dies_before_hello_is_answered(neovim: Start, home: Home) -> None:
    """A Neovim that is killed while pairside starts leaves no process and no lock file."""
    editor = neovim()
    editor.wait_lua('(package.loaded["pairside.process"] or {}).state == "starting"')
    editor.kill(signal.SIGKILL)
    editor.wait_end()
    until(
        lambda: not processes(home),
        timeout=SECONDS,
        every=POLL_SECONDS,
        what=lambda: f"nothing left: {processes(home)}",
    )
    assert home.lock_files == []


# Its death


def test_a_process_that_is_killed_is_replaced(running: Start, agent: Connect) -> None:
    """After kill -9 there is another process with the same port and token, and an agent that was connected is back."""
    editor = running()
    agent(editor)
    hello, key = editor.wait_running(), token(editor.lock)
    os.kill(hello["pid"], signal.SIGKILL)
    after = wait_another(editor, hello["pid"])
    assert (after["port"], after["lock_file"], after["adopted"]) == (hello["port"], hello["lock_file"], True)
    assert token(editor.lock) == key
    returned = agent(editor)
    assert json.loads(returned.call("getWorkspaceFolders")[0])["success"] is True


def test_a_death_is_told_once(running: Start) -> None:
    """The person is told that the process ended, by one message without a prompt, also if it happens again."""
    editor = running()
    for _ in range(2):
        pid = editor.wait_running()["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_another(editor, pid)
    assert [text for text in editor.said() if "ended" in text] == ["pairside ended (signal 9) and is started again"]
    assert len(editor.said()) == 1
    editor.wait_screen("is started again")
    assert not editor.mode().blocking


def test_each_neovim_gets_its_own_port_back(running: Start, home: Home) -> None:
    """Of two Neovims in one folder the one whose process died gets its own port back, and the other keeps its."""
    one, other = running(), running()
    before = one.wait_running()
    os.kill(before["pid"], signal.SIGKILL)
    assert wait_another(one, before["pid"])["port"] == before["port"]
    assert other.wait_running()["port"] != before["port"]
    assert sorted(home.lock_files) == sorted([one.lock, other.lock])


@pytest.mark.parametrize("version", ["0.11.4"])
def test_a_process_that_dies_at_each_start_is_given_up(neovim: Start, home: Home) -> None:
    """After five more tries it is left alone; the person is told at the first and at the last."""
    count = home.root / "starts"
    editor = neovim(options={"cmd": script(home, f"open({str(count)!r}, 'a').write('x'); raise SystemExit(3)")})
    editor.wait_lua('require("pairside.process").state == "failed"', seconds=30)
    assert count.read_text() == "x" * 6
    assert len(editor.said()) == 2
    assert ":Pairside start" in editor.said()[-1]
    assert not editor.mode().blocking


def bound(taken: socket.socket) -> int:
    """Bind a socket to a free port below those that the system gives to whoever connects somewhere."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def test_a_process_that_cannot_start_says_why_once(neovim: Start, home: Home) -> None:
    """What keeps pairside from starting is one message, and it is not tried again by itself but by :Pairside start."""
    with socket.socket() as taken:
        port = bound(taken)
        taken.listen()
        editor = neovim(options={"port_range": {"min": port, "max": port}})
        editor.wait_lua('(package.loaded["pairside.process"] or {}).state == "failed"')
        (said,) = editor.said()
        assert said.startswith("pairside cannot start:")
        until(lambda: not processes(home), timeout=SECONDS, every=POLL_SECONDS, what="end of the process")
        assert editor.state == "failed"
        assert len(editor.said()) == 1
    editor.command("Pairside start")
    editor.wait_running()


@pytest.mark.parametrize("version", ["0.11.4"])
def test_a_process_that_says_nothing_is_given_up(neovim: Start, home: Home) -> None:
    """A program that never answers is named, ended, and does not keep Neovim from working."""
    editor = neovim(options={"cmd": script(home, "import sys; sys.stdin.buffer.read()")})
    editor.wait_lua('(package.loaded["pairside.process"] or {}).state == "starting"')
    editor.wait_said("does not answer", seconds=25)
    assert editor.state == "failed"
    assert len(editor.said()) == 1
    until(lambda: not processes(home), timeout=SECONDS, every=POLL_SECONDS, what="end of the program")


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param("Content-Length: many\r\n\r\n", id="length"),
        pytest.param("\r\n\r\n", id="header"),
        pytest.param("Content-Length: 7\r\n\r\nhello, ", id="body"),
        pytest.param('Content-Length: 16\r\n\r\n{"method": null}', id="message"),
    ],
)
def test_a_process_that_says_nonsense_brings_up_no_prompt(neovim: Start, home: Home, nonsense: str) -> None:
    """What cannot be read is one error message; Neovim neither asks for a key nor stops working."""
    program = f"import sys; sys.stdout.write({nonsense!r}); sys.stdout.flush(); sys.stdin.buffer.read()"
    editor = neovim(options={"cmd": script(home, program)})
    editor.wait_said(".")
    editor.keys("ifine<Esc>")
    editor.wait_screen("^fine")
    assert len(editor.said()) == 1
    assert not editor.mode().blocking


# Not there at all


def test_a_program_that_is_missing_is_one_message(neovim: Start) -> None:
    """A `cmd` that cannot be run is named once, and Neovim works."""
    editor = neovim(options={"cmd": ["/nowhere/pairside", "frontend"]})
    editor.wait_screen("/nowhere/pairside")
    assert len(editor.said()) == 1
    assert editor.state == "failed"
    assert not editor.mode().blocking


def test_without_pairside_it_is_said_how_to_install_it(neovim: Start, home: Home) -> None:
    """Where there is no pairside, one message names the three ways to get it."""
    root = home.root / "plugin"
    root.mkdir()
    for name in ("lua", "plugin"):
        (root / name).symlink_to(ROOT / name)
    editor = neovim(options={"cmd": None}, root=root, environment={"PATH": os.defpath})
    said = editor.wait_said("program is missing")
    for way in ("uv tool install", "pipx install", ":Pairside install"):
        assert way in said
    assert len(editor.said()) == 1
    assert not editor.mode().blocking


def test_another_version_is_one_clear_message(neovim: Start, home: Home) -> None:
    """A pairside of another version works, and both versions are named once."""
    other = script(
        home,
        "import sys, pairside; pairside.__version__ = '0.0.7'\n"
        "import pairside.__main__; sys.argv = ['pairside', 'frontend']; pairside.__main__.main()",
    )
    editor = neovim(options={"cmd": other})
    assert editor.wait_running()["version"] == "0.0.7"
    (said,) = editor.said()
    assert "0.0.7" in said
    assert __version__ in said


# By command


def test_stop_ends_the_process_until_start(running: Start, home: Home) -> None:
    """:Pairside stop ends the process, its lock is gone and nothing starts it again but :Pairside start."""
    editor = running()
    pid = editor.wait_running()["pid"]
    editor.command("Pairside stop")
    editor.wait_lua('require("pairside.process").state == "stopped"')
    wait_gone(pid)
    assert home.lock_files == []
    editor.command("Pairside start")
    assert wait_another(editor, pid)["pid"] != pid
    assert len(home.lock_files) == 1


def test_restart_keeps_port_and_token(running: Start, home: Home) -> None:
    """:Pairside restart gives another process on the same port with the same token, and is no death."""
    editor = running()
    before, key = editor.wait_running(), token(editor.lock)
    editor.command("Pairside restart")
    after = wait_another(editor, before["pid"])
    assert after["port"] == before["port"]
    assert token(editor.lock) == key
    assert not [text for text in editor.said() if "ended" in text]
    assert home.lock_files == [editor.lock]


def test_a_stop_from_a_shell_is_told_and_holds(running: Start, home: Home) -> None:
    """`pairside stop` ends it; Neovim says so and does not start it again."""
    editor = running()
    pid = editor.wait_running()["pid"]
    done = run(home, "stop")
    assert done.returncode == 0, done.stderr
    editor.wait_said("stopped from outside")
    editor.wait_lua('require("pairside.process").state == "stopped"')
    wait_gone(pid)
    assert home.lock_files == []
    editor.command("Pairside start")
    wait_another(editor, pid)


def test_a_restart_from_a_shell_is_done_by_neovim(running: Start, home: Home) -> None:
    """`pairside restart` has Neovim start it again, on the same port, and is no death."""
    editor = running()
    before = editor.wait_running()
    run(home, "restart")
    assert wait_another(editor, before["pid"])["port"] == before["port"]
    assert not [text for text in editor.said() if "ended" in text]


def test_a_restart_from_a_shell_sees_the_next_process(running: Start, home: Home) -> None:
    """`pairside restart` waits until the process that Neovim starts is there, and says so."""
    running()
    done = run(home, "restart")
    assert done.returncode == 0, done.stderr


def test_the_events_of_start_and_stop_are_fired(neovim: Start) -> None:
    """Who listens is told of the start with its port, and of the stop."""
    editor = neovim(options={"auto_start": False})
    editor.watch("Pairside*")
    editor.command("Pairside start")
    (data,) = editor.wait_told("PairsideStarted")
    assert data["port"] == editor.wait_running()["port"]
    editor.command("Pairside stop")
    editor.wait_told("PairsideStopped")


def test_after_a_stop_nothing_of_the_plugin_is_left_working(neovim: Start) -> None:
    """Windows, buffers, autocmds and namespaces are the same after each stop."""
    editor = neovim(options={"auto_start": False})
    editor.command("Pairside start")
    editor.wait_running()
    editor.command("Pairside stop")
    editor.wait_lua('require("pairside.process").state == "stopped"')
    before = editor.counts()
    for _ in range(3):
        editor.command("Pairside start")
        editor.wait_running()
        editor.command("Pairside stop")
        editor.wait_lua('require("pairside.process").state == "stopped"')
    assert editor.counts() == before
