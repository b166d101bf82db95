"""`pairside run` and `pairside env`: in a real shell in a real terminal, with a program that stands for an agent."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pairside import runtime
from pairside.cli.run import _agent, _prints, _should_have_connected
from pairside.runtime import is_alive
from tests.cli.agent import install
from tests.cli.command import pairside
from tests.cli.robot import Robot
from tests.cli.terminal import Terminal
from tests.cli.test_client import HEAVY
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

SECONDS = 10.0
BASH = shutil.which("bash")
NEOVIM = """
import sys
from pairside.__main__ import main
from pairside.editors.embedded import EmbeddedEditor
EmbeddedEditor.name = "Neovim"
sys.argv = ["pairside", "serve", "--new"]
main()
"""

OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def programs(home: Home) -> Path:
    """A folder for commands, first on the PATH of the shell; the agent is there already."""
    folder = home.root / "bin"
    install(folder)
    return folder


@pytest.fixture
def path(programs: Path) -> str:
    """The PATH."""
    return f"{programs}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"


@pytest.fixture
def open_shell(terminal: OpenTerminal, path: str) -> OpenTerminal:
    """Starts a shell with job control."""
    if BASH is None:
        pytest.skip("there is no bash here")

    def opened(**environment: str) -> Terminal:
        shell = terminal(
            "--norc", "--noprofile", "--noediting", "-i", program=BASH, PS1="SH> ", PATH=path, **environment
        )
        shell.wait("SH> ")
        return shell

    return opened


@pytest.fixture
def shell(open_shell: OpenTerminal) -> Terminal:
    """A shell with job control in the project folder."""
    return open_shell()


@pytest.fixture
def serve_as_neovim(home: Home) -> Iterator[Callable[[], int]]:
    """Starts servers that call themselves Neovim; gives the process."""
    with ExitStack() as stack:

        def start() -> int:
            process = subprocess.Popen(
                [sys.executable, "-c", NEOVIM], cwd=home.project, env=home.environment(),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            stack.callback(process.wait, SECONDS)
            stack.callback(process.terminate)
            assert process.stdout is not None
            stack.enter_context(process.stdout)
            assert "serves" in process.stdout.readline()
            return process.pid

        yield start


def told(
    home: Home,
    *arguments: str,
    cwd: Path | None = None,
    given: Mapping[str, str] | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a pairside command without a terminal, with the agent on the PATH; `given` are more variables."""
    path = f"{home.root / 'bin'}:{os.environ['PATH']}"
    done = pairside(home, *arguments, cwd=cwd, environment={"PATH": path, **variables, **(given or {})})
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def clients(home: Home) -> list[dict[str, Any]]:
    """Who is connected to the server of the project folder."""
    found: list[dict[str, Any]] = json.loads(pairside(home, "status", "--json").stdout)["clients"]
    return found


def start(home: Home, shell: Terminal, command: str = "pairside run") -> tuple[int, int]:
    """Have a shell start an agent and wait until it is connected; the processes of `run` and of the agent."""
    shell.press(f"{command}\n")
    shell.wait(r"CONNECTED \d+\n")
    agent: int = until(lambda: clients(home)[0]["pid"], timeout=5, what="the agent says which process it is")
    return runtime.ancestors(agent)[1], agent


def exit_status(shell: Terminal) -> int:
    """Wait for the prompt of a shell; the exit status of what it ran."""
    shell.press('echo "status=$?"\n')
    match = re.search(r"status=(\d+)\n$", shell.wait(r"status=\d+\n"))
    assert match is not None
    return int(match[1])


def server_pid(home: Home) -> int:
    """The process of the server of the project folder."""
    pid: int = json.loads(pairside(home, "status", "--json").stdout)["pid"]
    return pid


def gone(home: Home, *pids: int) -> None:
    """Wait until processes are gone, and all that servers leave as well."""
    until(lambda: not any(map(is_alive, pids)), timeout=10, what="they are gone")
    until(lambda: not home.lock_files, timeout=10, what="no lock file is left")
    assert pairside(home, "status").returncode == 4


# The server.


def test_a_server_is_started_and_ends_with_the_agent(home: Home, shell: Terminal) -> None:
    """One command does the whole job, and the exit status is the agent's."""
    _, agent = start(home, shell)
    assert f"serves {home.project} on port" in shell.text
    assert "until claude ends." in shell.text
    server = server_pid(home)
    assert os.getsid(server) == server
    shell.press("exit 3\n")
    assert exit_status(shell) == 3
    gone(home, server, agent)


def test_a_server_of_the_folder_is_joined_and_left_running(home: Home, programs: Path, served: Served) -> None:
    """No rival is started, and it is said which one was joined."""
    below = home.project / "below"
    below.mkdir()
    done = told(home, "run", "printenv", "CLAUDE_CODE_SSE_PORT", cwd=below)
    port = served.status()["port"]
    assert (done.returncode, done.stdout) == (0, f"{port}\n")
    assert done.stderr == f"Joined pairside, which serves {home.project} (pid {served.pid}, port {port}).\n"


def test_an_editor_is_joined_before_a_server_without_one(
    home: Home, served: Served, serve_as_neovim: Callable[[], int]
) -> None:
    """With two servers for a folder claude --ide connects to neither; here the editor's is taken, or a choice asked."""
    neovim = serve_as_neovim()
    done = told(home, "run", "printenv", "CLAUDE_CODE_SSE_PORT")
    assert done.returncode == 0
    assert done.stderr == f"Joined Neovim, which serves {home.project} (pid {neovim}, port {done.stdout.strip()}).\n"
    assert f"export CLAUDE_CODE_SSE_PORT={done.stdout}" in told(home, "env").stdout
    second = serve_as_neovim()
    for command in (["run", "printenv", "CLAUDE_CODE_SSE_PORT"], ["env"]):
        done = told(home, *command)
        assert (done.returncode, done.stdout) == (2, "")
        assert all(f"Neovim (pid {pid})" in done.stderr for pid in (neovim, second))
        assert "--port" in done.stderr
    own = next(lock.stem for lock in home.lock_files if json.loads(lock.read_bytes())["pid"] == served.pid)
    assert told(home, "run", "--port", own, "printenv", "CLAUDE_CODE_SSE_PORT").stdout == f"{own}\n"


def test_two_that_start_at_once_share_a_server(home: Home, programs: Path) -> None:
    """Whoever comes second finds the folder served when its own server is to start, and joins."""
    state = runtime.directory(home.environment())
    lock = runtime.try_start_lock(state)
    assert lock is not None
    with ExitStack() as stack:
        runs = []
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, "-m", "pairside", "run", "cat"], cwd=home.project, env=home.environment(),
                stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.callback(process.wait, SECONDS)
            assert process.stdin is not None
            assert process.stderr is not None
            stack.enter_context(process.stderr)
            stack.enter_context(process.stdin)
            runs.append(process)
        until(lambda: all(_children(run.pid) for run in runs), timeout=10, what="both start a server")
        os.close(lock)
        said = sorted(run.stderr.readline() for run in runs if run.stderr is not None)
        assert said[0].startswith("Joined pairside, which serves")
        assert "until cat ends." in said[1]
        assert len(home.lock_files) == 1
    assert [run.returncode for run in runs] == [0, 0]
    gone(home)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_folder_may_be_named_and_the_agent_stays_where_it_is(home: Home, programs: Path) -> None:
    """It is said when the agent works outside of what is served."""
    other = home.root / "other"
    other.mkdir()
    done = told(home, "run", "--workspace", str(other), "pwd")
    assert (done.returncode, done.stdout) == (0, f"{home.project}\n")
    assert f"serves {other} on port" in done.stderr
    assert f"Note: the current folder {home.project} is not in {other}." in done.stderr
    assert "Note:" not in told(home, "run", "--workspace", ".", "true").stderr


def test_a_port_must_be_served(home: Home, programs: Path) -> None:
    """Nothing is started where a certain server is meant."""
    done = told(home, "run", "--port", "4", "true")
    assert done.returncode == 4
    assert "No pairside serves on port 4" in done.stderr


def test_what_keeps_the_server_from_starting_is_told(home: Home, programs: Path) -> None:
    """Once, with the status of serve, and the agent is not run."""
    done = told(home, "run", "echo", "hello", PAIRSIDE_LIMITS_CLIENTS="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("limits.clients takes a whole number") == 1


def test_what_the_server_says_waits_until_the_agent_has_ended(home: Home, programs: Path) -> None:
    """Its log must not run into the screen of the agent."""
    done = told(home, "run", "sh", "-c", "echo END >&2", PAIRSIDE_SERVE_LOG="debug")
    before, end, after = done.stderr.partition("END\n")
    assert before.count("\n") == 1
    assert end
    assert "DEBUG" in after


def test_it_runs_in_the_shell_of_an_agent_too(home: Home, served: Served, programs: Path) -> None:
    """To join is to look; nothing is decided by it."""
    assert told(home, "run", "true", CLAUDECODE="1").returncode == 0


# The command.


def test_arguments_are_passed_on_untouched(home: Home, programs: Path) -> None:
    """Options after the command are the command's, whatever they are called; -- before it may be left out."""
    arguments = ["--offline", "--port", "5", "--review", "-h", "--", "--json", "a b", "*"]
    for words in (["claude"], ["--", "claude"]):
        done = told(home, "run", *words, *arguments)
        assert done.returncode == 0
        assert done.stdout.splitlines()[0] == f"ARGUMENTS {arguments}"


def test_without_a_command_claude_is_run(home: Home, programs: Path) -> None:
    """That is what most people want."""
    (programs / "claude").write_text("echo this is claude\n")  # no first line: run as shells run it
    assert told(home, "run").stdout == "this is claude\n"


def test_an_option_of_the_agent_in_front_of_it_is_explained(home: Home) -> None:
    """A mistake that is easily made."""
    done = told(home, "run", "--resume")
    assert done.returncode == 2
    assert "pairside run claude --resume" in done.stderr
    assert "--review" in told(home, "run", "--reviw").stderr


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("no-such-program", 127, "no-such-program is not found"),
        ("./no-such-program", 127, "There is no ./no-such-program"),
        ("./plain", 126, "is not executable"),
        ("plain", 126, "is not executable"),
        (".", 126, "is a folder"),
        ("", 2, "COMMAND is empty"),
    ],
)
def test_what_cannot_be_run_is_told_before_a_server_is_started(
    home: Home, command: str, status: int, words: str
) -> None:
    """With the status that a shell has for it."""
    home.write("plain", "#!/bin/sh\n")
    done = told(home, "run", command, PATH=f"{home.project}:{os.environ['PATH']}")
    assert done.returncode == status
    assert words in done.stderr
    assert "serves" not in done.stderr


def test_a_script_whose_program_is_missing_is_told(home: Home) -> None:
    """The file is there and executable; only its start shows it."""
    script = home.write("script", "#!/no/such/program\n")
    script.chmod(0o755)
    done = told(home, "run", "./script")
    assert done.returncode == 127
    assert "its first line" in done.stderr
    gone(home)


def test_descriptors_of_the_shell_are_passed_on_and_ours_are_not(home: Home) -> None:
    """As if the agent had been started by the shell itself."""
    home.write("three", "third\n")
    script = "cat <&3; ls /proc/self/fd"
    command = f"exec {sys.executable} -m pairside run sh -c {shlex.quote(script)} 3<three"
    done = subprocess.run(
        ["sh", "-c", command], cwd=home.project, env=home.environment(), capture_output=True, text=True, timeout=15,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["third", "0", "1", "2", "3", "4"]  # 4 is that of ls for the folder


def test_a_broken_pipe_ends_the_agent_as_it_would_without_us(home: Home) -> None:
    """Python ignores that signal, and what it ignores would be inherited."""
    done = told(home, "run", "sh", "-c", "kill -PIPE $$; echo alive")
    assert (done.returncode, done.stdout) == (141, "")


# Reviews.


def test_review_starts_claude_in_manual_mode(home: Home, programs: Path) -> None:
    """In front of the other arguments, and only then."""
    (programs / "cc").symlink_to(programs / "claude")
    for name in ("claude", "cc"):
        done = told(home, "run", "--review", name, "--offline", "fix it")
        assert f"ARGUMENTS {['--permission-mode', 'manual', '--offline', 'fix it']}" in done.stdout
        assert "in another terminal: pairside" in done.stderr
    assert f"ARGUMENTS {['--offline']}" in told(home, "run", "claude", "--offline").stdout


@pytest.mark.parametrize(
    "arguments", [["--permission-mode", "plan"], ["--permission-mode=auto"], ["-c", "--dangerously-skip-permissions"]]
)
def test_review_and_a_mode_are_a_contradiction(home: Home, programs: Path, arguments: list[str]) -> None:
    """The person has to say what they mean."""
    done = told(home, "run", "--review", "claude", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert arguments[-1].partition("=")[0] in done.stderr or arguments[0] in done.stderr
    assert "serves" not in done.stderr
    assert told(home, "run", "--review", "claude", "--offline", "--", *arguments).returncode == 0


def test_review_is_for_claude_only(home: Home) -> None:
    """No other agent's mode is known."""
    done = told(home, "run", "--review", "sh")
    assert done.returncode == 2
    assert "--review is for claude only" in done.stderr


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("here", "Its proposals wait for you in another terminal: pairside\n"),
        ("terminal", "Its proposals are answered in its own terminal: review.where is terminal.\n"),
    ],
)
def test_where_its_proposals_wait_is_said(home: Home, where: str, said: str) -> None:
    """The person must not wait in the wrong terminal."""
    done = told(home, "run", "--review", "claude", "--offline", PAIRSIDE_REVIEW_WHERE=where)
    assert done.returncode == 0
    assert said in done.stderr
    assert done.stderr.count("Its proposals") == 1


def test_print_mode_is_said_to_connect_to_no_ide(home: Home, programs: Path) -> None:
    """It works all the same."""
    for option in ("-p", "--print"):
        done = told(home, "run", "claude", option, "--offline")
        assert done.returncode == 0
        assert "claude --print connects to no IDE" in done.stderr
    assert "connects to no IDE" not in told(home, "run", "claude", "--offline").stderr


@pytest.mark.parametrize(
    ("arguments", "prints"),
    [
        (["-p"], True),
        (["-cp", "x"], True),
        (["--print"], True),
        (["--", "-p"], False),
        (["--port"], False),
        ([], False),
    ],
)
def test_print_mode_is_known_by_its_option(arguments: list[str], prints: bool) -> None:
    """Also together with --continue in one word; not in a prompt."""
    assert _prints(arguments) is prints


# The agent in the terminal.


def test_a_server_of_a_run_that_was_killed_can_be_started_again(home: Home, shell: Terminal) -> None:
    """It is waited for at once: what is dead must not pass for alive, or the next one finds a rival and a new port."""
    shell.press("pairside run sh -c 'echo READY; exec sleep 60'\n")
    shell.wait("READY\n")
    (lock,) = home.lock_files
    pid = json.loads(lock.read_bytes())["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}"), timeout=10, what="the dead server is waited for")
    with Served(home) as again:
        again.start()
        assert "Port and token are those of the server before" in again.output
        assert "another IDE" not in again.output
        assert [one.name for one in home.lock_files] == [lock.name]
        shell.press("\x03")
        shell.wait("SH> ")


def test_ctrl_c_is_for_the_agent_alone(home: Home, shell: Terminal) -> None:
    """The server does not get it, and `run` does what the agent makes of it."""
    run, agent = start(home, shell)
    server = server_pid(home)
    for _ in range(2):
        shell.press("\x03")
        shell.wait("INTERRUPTED\n")
    assert [client["pid"] for client in clients(home)] == [agent]
    assert all(map(is_alive, (run, server)))
    shell.press("exit 0\n")
    assert exit_status(shell) == 0
    gone(home, run, server)


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("\x1c", 131)], ids=["ctrl-c", "ctrl-backslash"])
def test_an_agent_that_dies_of_a_key_has_the_status_of_its_signal(
    home: Home, shell: Terminal, key: str, status: int
) -> None:
    """As in a shell: 128 and the number."""
    shell.press("ulimit -c 0; pairside run sh -c 'echo READY; exec sleep 60'\n")
    shell.wait("READY\n")
    shell.press(key)
    shell.wait("SH> ")
    assert exit_status(shell) == status
    gone(home)


@pytest.mark.parametrize("way", ["by the key", "by itself"])
def test_a_stopped_agent_gives_the_terminal_back_and_goes_on_with_fg(home: Home, shell: Terminal, way: str) -> None:
    """The server is not stopped with it, and the client stays the same one."""
    run, agent = start(home, shell)
    for _ in range(2):
        shell.press("\x1a" if way == "by the key" else "stop\n")
        shell.wait("Stopped .*pairside run\n")
        shell.wait("SH> ")
        assert [client["pid"] for client in clients(home)] == [agent]
        shell.press("fg\n")
        shell.wait("CONTINUED\n")
    shell.press("write a.txt text\n")
    shell.wait(r"DONE \['write'")
    shell.press("exit 5\n")
    assert exit_status(shell) == 5
    assert shell.text.count("CONTINUED") == 2
    gone(home, run)


def test_only_run_may_be_told_to_go_on(home: Home, shell: Terminal) -> None:
    """The agent goes on with it."""
    run, agent = start(home, shell)
    shell.press("stop\n")
    shell.wait("Stopped .*pairside run\n")
    os.kill(run, signal.SIGCONT)
    shell.wait("CONTINUED\n")
    # Now it reads from a terminal that is not its own, and is stopped for that.
    until(lambda: _state(run) == "T", timeout=10, what="both are stopped again")
    shell.press("fg\n")
    shell.wait("CONTINUED\n")
    shell.press("exit 6\n")
    assert exit_status(shell) == 6
    gone(home, agent)


def test_without_a_shell_a_stopped_agent_goes_on_at_once(home: Home, terminal: OpenTerminal, path: str) -> None:
    """Nobody else could let it go on: `run` is what the terminal was opened for."""
    screen = terminal("run", PATH=path)
    screen.wait(r"CONNECTED \d+\n")
    screen.press("stop\n")
    screen.wait("CONTINUED\n")
    screen.press("exit 7\n")
    assert screen.wait_end() == 7
    gone(home)


def test_in_the_background_the_agent_waits_for_the_terminal(home: Home, shell: Terminal) -> None:
    """It is stopped when it wants to read, as any job, and works with fg."""
    shell.press("pairside run &\n")
    shell.wait(r"CONNECTED \d+\n")
    shell.press("\n")
    agent = clients(home)[0]["pid"]
    until(lambda: _state(runtime.ancestors(agent)[1]) == "T", timeout=10, what="it is stopped, and run with it")
    shell.press("jobs\n")
    shell.wait("Stopped .*pairside run")
    shell.press("fg\n")
    shell.wait("CONTINUED\n")
    shell.press("exit 0\n")
    assert exit_status(shell) == 0
    gone(home)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_after_kill_9_of_run_the_server_ends_with_the_agent(home: Home, shell: Terminal) -> None:
    """Its agent is served until it leaves; then the lock file is gone too."""
    run, agent = start(home, shell)
    server = server_pid(home)
    os.kill(run, signal.SIGKILL)
    shell.wait("Killed")
    assert server_pid(home) == server
    os.kill(agent, signal.SIGKILL)
    gone(home, run, server)


def test_kill_9_of_the_agent_leaves_a_usable_terminal(home: Home, shell: Terminal) -> None:
    """It could not clean up after itself: the terminal is as it was before."""
    run, agent = start(home, shell)
    shell.press("raw\n")
    shell.wait(r"DONE \['raw'\]")
    os.kill(agent, signal.SIGKILL)
    shell.wait("SH> ")
    shell.press('echo "status=$?"; stty -a\n')
    settings = shell.wait(r"echoke")
    assert "status=137" in settings
    assert re.search(r"(?<!-)\bicanon\b", settings)
    assert re.search(r"(?<!-)\bisig\b", settings)
    gone(home, run)


def test_sigterm_is_passed_on(home: Home, shell: Terminal) -> None:
    """The agent ends as it likes, and `run` after it."""
    run, agent = start(home, shell)
    os.kill(run, signal.SIGTERM)
    shell.wait("SH> ")
    assert exit_status(shell) == 143
    gone(home, run, agent)


def test_all_are_gone_when_the_terminal_is_closed(home: Home, shell: Terminal) -> None:
    """The shell, `run`, the agent and the server."""
    run, agent = start(home, shell)
    server = server_pid(home)
    shell.hang_up()
    gone(home, run, agent, server)


# What is said at the end.


def test_what_the_agent_changed_without_a_review_is_listed(home: Home, shell: Terminal) -> None:
    """A line for each file, and how to be asked first; all of it can be seen and taken back when the server is gone."""
    home.write("a.txt", "one\ntwo\n")
    start(home, shell)
    for line in ("write a.txt three", "write b.txt one", "write b.txt two"):
        shell.press(f"{line}\n")
        shell.wait(r"DONE \['write'")
    shell.press("exit 0\n")
    said = shell.wait("SH> ")
    assert "Claude Code changed 2 files without a review. Be asked first: pairside run --review claude\n" in said
    assert "! a.txt +1 -2 was changed without a review\n" in said
    assert "! b.txt +2 -1 was made without a review in 2 writes\n" in said
    assert "See it: pairside changes --turn 1. Take it back: pairside undo --turn 1\n" in said
    assert home.lock_files == []
    done = told(home, "changes", "--turn", "1")
    assert (done.returncode, "  1    a.txt  modified +1 -2\n" in done.stdout) == (0, True)
    assert told(home, "undo", "--turn", "1").returncode == 0
    assert (home.project / "a.txt").read_text() == "one\ntwo\n"
    assert not (home.project / "b.txt").exists()


def test_what_was_changed_by_other_means_is_counted(home: Home, shell: Terminal) -> None:
    """And several turns are told as that."""
    subprocess.run(["git", "init", "-q", str(home.project)], env=home.environment(), timeout=10, check=True)
    start(home, shell)
    told(home, "changes")  # a first look at the work tree
    for line in ("prompt", "command a.txt text", "prompt", "write b.txt text"):
        shell.press(f"{line}\n")
        shell.wait(rf"DONE \['{line.split()[0]}'")
        told(home, "changes")
    shell.press("exit 0\n")
    said = shell.wait("SH> ")
    assert "! b.txt +1 -0 was made without a review\n" in said
    assert "1 file was also changed by other means, as by its shell commands.\n" in said
    assert "See it: pairside changes --all. Take it back, turn by turn: pairside undo --turn N\n" in said


def test_what_was_taken_back_is_not_listed(home: Home, shell: Terminal) -> None:
    """Nothing of it is news to the person."""
    start(home, shell)
    shell.press("write a.txt text\n")
    shell.wait(r"DONE \['write'")
    assert told(home, "undo", "a.txt").returncode == 0
    shell.press("exit 0\n")
    said = shell.wait("SH> ")
    assert "! a.txt" not in said
    assert "pairside changes" not in said


def test_a_write_that_was_under_way_when_the_agent_died_is_listed(home: Home, shell: Terminal) -> None:
    """What it has left is read before the list is made."""
    start(home, shell)
    shell.press("begin a.txt one\n")
    shell.wait(r"DONE \['begin'")
    shell.press("kill 9\n")
    assert "! a.txt +1 -0 was made without a review\n" in shell.wait("SH> ")


def test_only_what_this_agent_changed_is_listed(home: Home, served: Served, shell: Terminal) -> None:
    """What others changed at the same time is theirs; the server that goes on knows all of it."""
    run, _ = start(home, shell)
    (lock,) = home.lock_files
    with Robot(lock, pid=os.getpid()) as other:
        other.call("getDiagnostics", uri=f"file://{home.project / 'other.txt'}")
        home.write("other.txt", "text\n")
        other.call("getDiagnostics")
    shell.press("write a.txt text\n")
    shell.wait(r"DONE \['write'")
    shell.press("exit 0\n")
    said = shell.wait("SH> ")
    assert "Claude Code changed 1 file without a review." in said
    assert "! a.txt" in said
    assert "other.txt" not in said
    assert "See it: pairside changes --turn 2. Take it back: pairside undo --turn 2\n" in said
    assert served.status()["unreviewed_changes"] == 2
    assert not is_alive(run)


def test_an_agent_that_a_shell_starts_belongs_to_the_run(home: Home, shell: Terminal) -> None:
    """The whole environment is there, and what the agent changed is listed when the shell has ended."""
    start(home, shell, "pairside run sh -c 'claude; exit 4'")
    shell.press("write a.txt text\n")
    shell.wait(r"DONE \['write'")
    shell.press("exit 0\n")
    assert "! a.txt +1 -0 was made without a review\n" in shell.wait("SH> ")
    assert exit_status(shell) == 4


def test_with_review_it_is_said_why_there_was_none(home: Home, shell: Terminal) -> None:
    """The same advice would help nobody."""
    start(home, shell, "pairside run --review")
    shell.press("write a.txt text\n")
    shell.wait(r"DONE \['write'")
    shell.press("exit 0\n")
    said = shell.wait("SH> ")
    assert 'It left its manual mode, or its diff tool is "terminal" (/config).\n' in said


def test_nothing_is_said_where_nothing_was_changed(home: Home, shell: Terminal) -> None:
    """The last line is the agent's own."""
    start(home, shell)
    shell.press("exit 0\n")
    assert "review" not in shell.wait("SH> ")


def test_a_server_that_stopped_meanwhile_is_told(home: Home, shell: Terminal) -> None:
    """What was changed until then is kept, and that is no reason to fail."""
    start(home, shell)
    assert pairside(home, "stop").returncode == 0
    shell.press("exit 8\n")
    said = shell.wait("SH> ")
    assert "has stopped meanwhile. What was changed until then: pairside changes\n" in said
    assert "Traceback" not in said
    assert exit_status(shell) == 8


def test_where_nothing_is_kept_a_server_that_stopped_leaves_nothing(home: Home, open_shell: OpenTerminal) -> None:
    """What was changed is not known then."""
    shell = open_shell(PAIRSIDE_CHANGES_KEEP="false")
    start(home, shell)
    assert pairside(home, "stop").returncode == 0
    shell.press("exit 0\n")
    assert "has stopped meanwhile: what was changed is not known.\n" in shell.wait("SH> ")


def test_a_server_that_came_back_is_asked(home: Home, served: Served, shell: Terminal, programs: Path) -> None:
    """The agents of before and after are both known, by whatever ids it gives them."""
    start(home, shell, "pairside run sh -c 'claude; claude'")
    shell.press("write before.txt text\n")
    shell.wait(r"DONE \['write'")
    run = runtime.ancestors(clients(home)[0]["pid"])[2]
    served.kill9()
    until(lambda: not _sockets(run), timeout=10, what="it sees that the server is gone")
    served.start()
    until(lambda: _sockets(run), timeout=10, what="it sees that the server is back")
    shell.press("exit 0\n")
    shell.wait(r"CONNECTED \d+\n")
    shell.press("write a.txt text\n")
    shell.wait(r"DONE \['write'")
    shell.press("exit 0\n")
    said = shell.wait("SH> ")
    assert "meanwhile" not in said
    assert "! before.txt +1 -0 was made without a review\n" in said
    assert "! a.txt +1 -0 was made without a review\n" in said


def test_a_server_that_is_restarted_still_ends_with_the_agent(home: Home, shell: Terminal) -> None:
    """After an upgrade it is the same process with the same port, and still ours."""
    run, _ = start(home, shell)
    server = server_pid(home)
    assert pairside(home, "restart").returncode == 0
    assert server_pid(home) == server
    shell.press("exit 0\n")
    shell.wait("SH> ")
    gone(home, run, server)


def _sockets(pid: int) -> int:
    return sum(os.readlink(link).startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir())


def test_an_agent_that_never_connected_is_told(home: Home, programs: Path) -> None:
    """It ran long enough; the reason is to be found."""
    (programs / "claude").write_text("#!/bin/sh\nsleep 5.1\n")
    assert "Claude Code did not connect. To see why: pairside doctor\n" in told(home, "run").stderr


@pytest.mark.parametrize(
    ("words", "ran", "status", "should"),
    [
        (["claude"], 6.0, 0, True),
        (["claude", "--resume"], 6.0, 1, True),
        (["claude", "fix the bug"], 6.0, 0, True),
        (["claude", "update"], 60.0, 0, False),
        (["claude"], 4.0, 0, False),
        (["claude"], 6.0, 137, False),
    ],
)
def test_not_every_run_should_have_connected(words: list[str], ran: float, status: int, should: bool) -> None:
    """Not one that was over at once or was killed, and no command of its own as claude update."""
    assert _should_have_connected(words, ran, status) is should


# The environment.


def test_the_environment_is_that_of_the_server(home: Home, served: Served, programs: Path) -> None:
    """An inherited port is replaced, a no to connecting is taken back, and both are told."""
    given = {"CLAUDE_CODE_SSE_PORT": "4", "CLAUDE_CODE_AUTO_CONNECT_IDE": "false", "CLAUDE_CONFIG_DIR": "/nowhere"}
    assert served.status()["lock_file"].startswith(str(home.home / ".claude"))
    done = told(home, "run", "env", given=given, HOME=str(home.root))
    there = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert there["CLAUDE_CODE_SSE_PORT"] == str(served.status()["port"])
    assert there["CLAUDE_CONFIG_DIR"] == str(home.claude_config)
    assert there["no_proxy"] == there["NO_PROXY"] == "127.0.0.1,localhost,::1"
    assert "CLAUDE_CODE_AUTO_CONNECT_IDE" not in there
    assert all(f"Note: {name} was {value}." in done.stderr.replace(",", ".") for name, value in given.items())


def test_opencode_never_gets_the_port(home: Home, served: Served, programs: Path) -> None:
    """Whatever it is called by, as long as it is a link to it."""
    (programs / "opencode").write_text("#!/bin/sh\nenv\n")
    (programs / "opencode").chmod(0o755)
    (programs / "oc").symlink_to("opencode")
    for name in ("opencode", "oc", str(programs / "oc")):
        done = told(home, "run", name, CLAUDE_CODE_SSE_PORT="4")
        assert done.returncode == 0
        assert "CLAUDE_CODE_SSE_PORT" not in done.stdout
        assert "NO_PROXY=127.0.0.1" in done.stdout
    assert "unset CLAUDE_CODE_SSE_PORT\n" in told(home, "env", "opencode").stdout


def test_an_agent_is_known_by_its_links(tmp_path: Path) -> None:
    """By its own name, by that of a file that it leads to, and by none else; a circle ends."""
    (tmp_path / "claude").touch()
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(tmp_path / "claude")
    (tmp_path / "circle").symlink_to("circle")
    assert _agent(str(tmp_path / "claude")) == _agent(str(tmp_path / "one")) == "claude"
    assert _agent("/opt/claude-code/bin/claude.exe") == "claude"
    assert _agent("/usr/bin/opencode") == "opencode"
    assert _agent("/usr/bin/claude-wrapper") == _agent(str(tmp_path / "circle")) == ""


def test_env_prints_what_run_sets(home: Home, served: Served, programs: Path) -> None:
    """A shell that evaluates it has the very same environment, whatever stands in the values."""
    strange = home.root / 'it\'s $HOME `x`\n"y"'
    given = {"no_proxy": "a'b $(c)", "CLAUDE_CODE_AUTO_CONNECT_IDE": "no", "HOME": str(strange)}
    script = f'eval "$({sys.executable} -m pairside env)" && env -0'
    done = subprocess.run(
        ["sh", "-c", script], cwd=home.project, env=home.environment(**given), capture_output=True, timeout=15,
        check=True,
    )  # fmt: skip
    expected = told(home, "run", "env", "-0", given=given)

    def entries(output: bytes) -> set[bytes]:
        return {
            one for one in output.split(b"\0") if not one.startswith((b"PATH=", b"_=", b"PWD=", b"OLDPWD=", b"SHLVL="))
        }

    assert entries(done.stdout) == entries(expected.stdout.encode())
    assert b"no_proxy=a'b $(c),127.0.0.1,localhost,::1" in entries(done.stdout)


def test_env_for_programs_and_for_fish(home: Home, served: Served) -> None:
    """The same facts in other words."""
    given = {"CLAUDE_CODE_AUTO_CONNECT_IDE": "false", "no_proxy": r"it's a\b"}
    port = served.status()["port"]
    loopback = "127.0.0.1,localhost,::1"
    facts = json.loads(told(home, "env", "--json", given=given).stdout)
    assert facts["port"] == port
    assert facts["set"]["CLAUDE_CODE_SSE_PORT"] == str(port)
    assert facts["set"]["no_proxy"] == rf"it's a\b,{loopback}"
    assert facts["unset"] == ["CLAUDE_CODE_AUTO_CONNECT_IDE"]
    lines = told(home, "env", "--shell", "fish", given=given).stdout.splitlines()
    assert f"set --global --export CLAUDE_CODE_SSE_PORT '{port}'" in lines
    assert "set --erase CLAUDE_CODE_AUTO_CONNECT_IDE" in lines
    assert rf"set --global --export no_proxy 'it\'s a\\b,{loopback}'" in lines


def test_env_without_a_server_prints_nothing(home: Home) -> None:
    """What evaluates it stays as it is."""
    for options in ([], ["--json"]):
        done = told(home, "env", *options)
        assert (done.returncode, done.stdout) == (4, "")
        assert "pairside serve" in done.stderr


def test_env_imports_nothing_heavy(home: Home, served: Served) -> None:
    """It runs with each new shell."""
    program = (
        "import sys\n"
        "from pairside.__main__ import main\n"
        "sys.argv = ['pairside', 'env']\n"
        "try:\n    main()\n"
        f"finally:\n    print('LOADED', sorted(set(sys.modules) & set({(*HEAVY, 'subprocess')!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=home.project, env=home.environment(), capture_output=True,
        text=True, timeout=15, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"
