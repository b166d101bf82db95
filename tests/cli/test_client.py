"""How a command finds its server, and what it costs to start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.cli.command import pairside
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

HEAVY = ("asyncio", "websockets", "msgspec", "dataclasses", "tomllib")


def answering(done: subprocess.CompletedProcess[bytes]) -> int:
    """The port of the server that answered `status --json`."""
    assert done.returncode == 0, done
    port: int = json.loads(done.stdout)["port"]
    return port


def test_without_a_server_status_says_so_with_status_4(home: Home) -> None:
    """Scripts get a value and a status, people a sentence with what to do."""
    done = pairside(home, "status", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (4, {"running": False})
    done = pairside(home, "status")
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"pairside serve" in done.stderr


@pytest.mark.parametrize(
    "command", [["reviews"], ["accept"], ["select", "--clear"], ["changes"], ["log"], ["stop"], ["review"]]
)
def test_without_a_server_every_command_has_status_4(home: Home, command: list[str]) -> None:
    """One meaning for every command."""
    assert pairside(home, *command).returncode == 4


def test_the_server_of_a_folder_above_is_found(home: Home, served: Served) -> None:
    """A command works anywhere below the served folder, by the real path."""
    below = home.project / "a" / "b"
    below.mkdir(parents=True)
    link = home.root / "link"
    link.symlink_to(below)
    port = served.status()["port"]
    assert answering(pairside(home, "status", "--json", cwd=below)) == port
    assert answering(pairside(home, "status", "--json", cwd=link)) == port


def test_a_folder_beside_with_the_same_beginning_is_not_served(home: Home, served: Served) -> None:
    """Folders are compared component by component."""
    beside = home.root / "project-two"
    beside.mkdir()
    assert pairside(home, "status", cwd=beside).returncode == 4


def test_the_nearest_of_several_servers_answers(home: Home, served: Served) -> None:
    """A server inside the served folder takes what lies below it, and no more."""
    inner = home.project / "inner"
    inner.mkdir()
    with Served(home) as second:
        second.start("--workspace", str(inner), "--new")
        inner_port = answering(pairside(home, "status", "--json", "--workspace", str(inner)))
        assert answering(pairside(home, "status", "--json", cwd=inner)) == inner_port


def test_two_servers_of_one_folder_are_a_choice_for_the_person(home: Home, served: Served) -> None:
    """The status is 2, both are named, and --port decides."""
    first = served.status()["port"]
    with Served(home) as second:
        second.start("--new")
        done = pairside(home, "status")
        assert done.returncode == 2
        ports = [int(line.split()[1]) for line in done.stderr.decode().splitlines() if "--port" in line]
        assert len(ports) == 2
        assert first in ports
        for port in ports:
            assert answering(pairside(home, "status", "--json", "--port", str(port))) == port


def test_the_workspace_option_chooses_a_server_from_elsewhere(home: Home, served: Served) -> None:
    """A key binding need not know where it runs."""
    assert (
        answering(pairside(home, "status", "--json", "--workspace", str(home.project), cwd=home.root))
        == served.status()["port"]
    )


def test_a_port_where_no_server_is_has_status_4(home: Home, served: Served) -> None:
    """--port names one server, and that one is not there."""
    assert pairside(home, "status", "--port", "1").returncode == 4


def test_the_socket_of_a_dead_server_is_removed(home: Home, served: Served) -> None:
    """After kill -9 the first command cleans up and finds nobody."""
    served.kill9()
    run = home.home / ".local" / "state" / "pairside" / "run"
    assert list(run.glob("*.sock"))
    assert pairside(home, "status").returncode == 4
    assert not list(run.glob("*.sock"))


def test_a_server_that_does_not_answer_is_told_within_seconds(home: Home, served: Served) -> None:
    """A stopped process is not taken for no server, and no command hangs on it."""
    os.kill(served.pid, signal.SIGSTOP)
    try:
        done = pairside(home, "status")
        assert done.returncode == 1
        assert b"does not answer" in done.stderr
    finally:
        os.kill(served.pid, signal.SIGCONT)


def test_a_server_elsewhere_that_does_not_answer_stands_in_nobodys_way(home: Home, served: Served) -> None:
    """Only the server of this folder counts."""
    other = home.root / "other"
    other.mkdir()
    with Served(home) as second:
        second.start("--workspace", str(other), "--new")
        os.kill(served.pid, signal.SIGSTOP)
        try:
            assert pairside(home, "status", cwd=other).returncode == 0
        finally:
            os.kill(served.pid, signal.SIGCONT)


def test_a_nearer_server_that_does_not_answer_is_not_passed_over(home: Home, served: Served) -> None:
    """A decision must not go to the reviews of another folder because the right server is busy."""
    inner = home.project / "inner"
    inner.mkdir()
    with Served(home) as second:
        second.start("--workspace", str(inner), "--new")
        os.kill(second.pid, signal.SIGSTOP)
        try:
            done = pairside(home, "status", cwd=inner)
            assert done.returncode == 1
            assert f"(pid {second.pid}) does not answer" in done.stderr.decode()
        finally:
            os.kill(second.pid, signal.SIGCONT)


def test_a_socket_whose_owner_speaks_nonsense_is_passed_over(home: Home, served: Served) -> None:
    """What answers hello with anything else is no server."""
    path = home.home / ".local" / "state" / "pairside" / "run" / "9.sock"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "pairside", "status", "--json"],
            cwd=home.project,
            env=home.environment(),
            stdout=subprocess.PIPE,
        )
        with stranger.accept()[0] as connection:
            connection.sendall(b"[1]\n")
            output, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert json.loads(output)["port"] == served.status()["port"]


@pytest.mark.parametrize("command", [["status", "--json"], ["accept"], ["mention", "a.py"]])
def test_a_command_bound_to_a_key_imports_nothing_heavy(home: Home, served: Served, command: list[str]) -> None:
    """No event loop, no WebSocket, no schema library: only click and little of the standard library."""
    home.write("a.py", "a\n")
    program = (
        "import sys\n"
        "from pairside.__main__ import main\n"
        f"sys.argv = ['pairside', *{command!r}]\n"
        "try:\n    main()\n"
        f"finally:\n    print('LOADED', sorted(set(sys.modules) & set({HEAVY!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=home.project,
        env=home.environment(),
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert done.returncode == (3 if command == ["accept"] else 0), done.stderr
    assert "LOADED []" in done.stdout


def test_the_module_and_the_program_are_the_same(home: Home) -> None:
    """`python -m pairside` and the installed script say the same version."""
    program = os.path.join(os.path.dirname(sys.executable), "pairside")
    done = subprocess.run([program, "--version"], env=home.environment(), capture_output=True, timeout=15, check=True)
    assert done.stdout == pairside(home, "--version").stdout
    assert done.stdout.startswith(b"pairside, version ")


def test_stop_ends_the_server_and_says_when_it_is_gone(home: Home, served: Served) -> None:
    """When the command returns, the socket is gone and the next status is 4."""
    assert "has stopped" in served.do("stop")
    assert pairside(home, "status").returncode == 4
    until(lambda: not home.lock_files, timeout=5, what="the lock file is gone")
