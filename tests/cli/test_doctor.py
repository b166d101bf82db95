"""The doctor: each check in each of its states, in throwaway homes, with real servers and real lock files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

import pairside as package
from pairside import runtime
from pairside.agents.claude import settings
from pairside.agents.claude.websocket import TOKEN_HEADER
from pairside.cli import COMMANDS, doctor
from tests.cli.command import pairside
from tests.cli.robot import PID, Robot
from tests.cli.test_look import ESCAPES, printed_safely
from tests.e2e.home import Home
from tests.e2e.served import Served

WORST_SECONDS = 6.0
"""What a run may take where everything is stuck: 5 s, and the start of Python."""
SECRET = "sk-hush-hush"
TOKEN = "0123456789abcdef" * 2


@dataclass(frozen=True, slots=True)
class Said:
    """What the doctor said."""

    status: int
    checks: dict[str, list[dict[str, Any]]]

    def states(self) -> dict[str, str]:
        """The state of each check that is not ok."""
        return {name: one["state"] for name, ones in self.checks.items() for one in ones if one["state"] != "ok"}

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The one check of that name."""
        (one,) = self.checks[name]
        return one


def programs(home: Home) -> Path:
    """The one folder of the PATH: Claude Code is in it, which would leave a trace if it were run."""
    folder = home.root / "bin"
    if not folder.exists():
        program = home.root / "share" / "claude" / "versions" / settings.TESTED
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho ran >'{home.root}/ran'\n")
        program.chmod(0o755)
        folder.mkdir()
        (folder / "claude").symlink_to(program)
    return folder


def examine(home: Home, *arguments: str, cwd: Path | str | None = None, **environment: str) -> Said:
    """Run the doctor and read its JSON; what stands in it is always of the same kind."""
    environment = {"PATH": str(programs(home)), **environment}
    done = pairside(home, "doctor", "--json", *arguments, cwd=Path(cwd) if cwd else None, environment=environment)
    assert done.stderr == b""
    told = json.loads(done.stdout)
    assert list(told) == ["ok", "connect", "asked"]
    checks: dict[str, list[dict[str, Any]]] = {}
    for one in told["connect"] + told["asked"]:
        assert list(one) == ["check", "state", "found", "fix"]
        assert one["state"] in ("ok", "warn", "fail")
        assert one["found"]
        assert bool(one["fix"]) == (one["state"] != "ok"), one
        assert set(re.findall(r"\bpairside ([a-z]+)", one["fix"] or "")) <= COMMANDS.keys(), one
        checks.setdefault(one["check"], []).append(one)
    assert (
        told["ok"]
        == (done.returncode == 0)
        == (not any(one["state"] == "fail" for ones in checks.values() for one in ones))
    )
    assert not (home.root / "ran").exists(), "it ran claude"
    return Said(done.returncode, checks)


def ask_first(home: Home) -> None:
    """Set the mode in which Claude Code asks."""
    (home.claude_config / "settings.json").write_text('{"permissions": {"defaultMode": "default"}}')


def lock_file(home: Home, port: int, pid: int, *, folder: Path | str | None = None, name: str = "Other") -> Path:
    """Leave the lock file of another IDE."""
    path = home.claude_config / "ide" / f"{port}.lock"
    path.parent.mkdir(exist_ok=True, mode=0o700)
    facts = {"pid": pid, "workspaceFolders": [str(folder or home.project)], "ideName": name, "transport": "ws"}
    path.write_text(json.dumps({**facts, "authToken": SECRET}))
    path.chmod(0o600)
    return path


def dead_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(10)
    return process.pid


@contextmanager
def listening() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def closed_port() -> int:
    """A port on which nobody listens."""
    with listening() as port:
        return port


class Played:
    """A server of the project folder that says what a test wants, on the observers' socket and on its port."""

    def __init__(
        self,
        home: Home,
        *,
        says: Mapping[str, Any] | None = None,
        answers: Callable[[str | None], bytes | None] | None = None,
        silent_on: str = "",
        listens: bool = True,
    ) -> None:
        """`says` adds to its facts; `answers` gives the status line for a token, None for silence."""
        self._answers = answers
        self._silent_on = silent_on
        self._stack = ExitStack()
        self._closing = threading.Event()
        self._listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = self._listener.getsockname()[1]
        if not listens:
            self._listener.close()
        environment = home.environment()
        state = runtime.directory(environment)
        lock = lock_file(home, self.port, os.getpid(), name="played")
        lock.write_text(lock.read_text().replace(SECRET, TOKEN))
        self.facts = {
            "version": package.__version__, "pid": os.getpid(), "port": self.port, "editor": "pairside",
            "folders": [str(home.project)], "lock_file": str(lock), "clients": [], "notices": [], **(says or {}),
        }  # fmt: skip
        runtime.write_record(state, self.port, TOKEN, (str(home.project),))
        self._observed = socket.socket(socket.AF_UNIX)
        self._stack.enter_context(self._observed)
        self._observed.bind(runtime.socket_path(state, self.port))
        self._observed.listen()
        self._threads = [threading.Thread(target=self._observe, daemon=True)]
        if listens:
            self._threads.append(threading.Thread(target=self._listen, daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for one in (self._observed, self._listener):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._stack.close()

    def _accepted(self, listener: socket.socket) -> Iterator[socket.socket]:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._stack.enter_context(connection)
            connection.settimeout(10)
            yield connection

    def _observe(self) -> None:
        for connection in self._accepted(self._observed):
            with connection.makefile("rb") as lines:
                for line in lines:
                    asked = json.loads(line)
                    if asked["method"] == self._silent_on:
                        continue
                    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": self.facts}
                    connection.sendall(json.dumps(answer).encode() + b"\n")

    def _listen(self) -> None:
        for connection in self._accepted(self._listener):
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(4096)
            token = re.search(rf"(?m)^{TOKEN_HEADER}: (\S+)", data.decode())
            answer = self._answers(token[1] if token else None) if self._answers else None
            if answer is not None:
                connection.sendall(answer + b"\r\n\r\n")
                connection.close()


def as_pairside(token: str | None) -> bytes:
    """What a real server answers."""
    return b"HTTP/1.1 426 Upgrade Required" if token == TOKEN else b"HTTP/1.1 401 Unauthorized"


# What is printed.


def test_where_all_is_well_it_says_yes_twice_and_ends_with_0(home: Home, served: Served) -> None:
    """Every line is marked ok, the two questions stand above them, and no fix is told."""
    ask_first(home)
    done = pairside(home, "doctor", environment={"PATH": str(programs(home))})
    text = done.stdout.decode()
    assert done.returncode == 0
    first, second = text.split("\n\n")
    assert first.splitlines()[0] == "Will it connect? Yes."
    assert second.splitlines()[0] == "Will I be asked? Yes."
    lines = [line for part in (first, second) for line in part.splitlines()[1:]]
    assert lines
    assert all(line.startswith("  ok    ") for line in lines)
    assert f"serves {home.project} on port" in text
    assert f"{settings.TESTED} {home.root}/bin/claude" in text
    assert lines[-3].endswith(("Linux", "Darwin"))


def test_a_line_that_is_not_ok_is_followed_by_its_fix(home: Home) -> None:
    """The marks are words, so that they are read without colour and aloud."""
    done = pairside(home, "doctor", environment={"PATH": str(programs(home))})
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert lines[0] == "Will it connect? No."
    marked = [number for number, line in enumerate(lines) if line.startswith(("  warn  ", "  fail  "))]
    assert len(marked) == 2
    for number in marked:
        assert lines[number + 1].startswith("        Fix: pairside run ")
    assert b"\x1b" not in done.stdout


def test_nothing_that_a_stranger_wrote_reaches_the_terminal_as_it_is(home: Home, served: Served) -> None:
    """Names of IDEs, folders and variables come from anywhere."""
    with listening() as port:
        lock_file(home, port, os.getpid(), name=ESCAPES * 1000)
        link = home.root / f"link{ESCAPES}".replace("/", "")
        link.symlink_to(home.project)
        done = pairside(
            home, "doctor", environment={"PWD": str(link), "CLAUDE_CODE_IDE_HOST_OVERRIDE": ESCAPES}
        )  # fmt: skip
    assert printed_safely(done.stdout)
    assert b"evil" in done.stdout
    assert len(done.stdout) < 10_000


def test_it_loads_no_more_than_it_needs(home: Home) -> None:
    """No WebSocket library, no codec, no TLS: a look must not cost more than what it looks at."""
    program = (
        "import sys\nfrom pairside.__main__ import main\nsys.argv = ['pairside', 'doctor']\n"
        "try:\n    main()\n"
        "finally:\n    print('LOADED', sorted(set(sys.modules) & {'websockets', 'msgspec', 'tomllib'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=home.project,
        env=home.environment(),
        capture_output=True,
        timeout=15,
        check=False,
    )
    assert b"LOADED []" in done.stdout


# The server.


def test_looking_never_makes_a_client(home: Home, served: Served) -> None:
    """The handshake is tried, and neither the count of agents nor the log shows a trace."""
    said = examine(home)
    assert said["handshake"]["state"] == "ok"
    status = served.status()
    assert (status["connects"], status["disconnects"], status["departures"]) == (0, 0, [])
    assert json.loads(served.do("log", "--json"))["events"] == []
    assert served.errors == ""


def test_the_header_of_the_token_is_the_one_that_the_server_reads() -> None:
    """It is written twice, because the server's module takes long to import."""
    assert doctor.TOKEN_HEADER == TOKEN_HEADER


def test_without_a_server_everything_else_is_still_looked_at(home: Home) -> None:
    """It fails, says what to type, and the settings of the agent are judged all the same."""
    said = examine(home)
    assert said.status == 1
    assert said["server"]["state"] == "fail"
    assert said["server"]["fix"] == "pairside run claude, or in another terminal: pairside serve"
    assert {"state directory", "other IDEs", "start", "claude", "this program", "permission mode", "diff tool"} == (
        said.checks.keys() - {"server", "surroundings"}
    )


def test_a_server_of_another_folder_is_named(home: Home, served: Served) -> None:
    """Whoever asks in the wrong folder learns which is the right one."""
    said = examine(home, cwd=home.home)
    assert f"One serves {home.project}, on port {served.status()['port']}." in said["server"]["found"]


def test_a_port_where_none_serves_fails(home: Home) -> None:
    """The port that was meant is named."""
    port = closed_port()
    assert f"no pairside serves on port {port}" in examine(home, "--port", str(port))["server"]["found"]


def test_two_servers_of_one_folder_are_told_and_the_others_are_still_checked(home: Home, served: Served) -> None:
    """One of them is looked at, with --port the other."""
    first = served.status()["port"]
    with Served(home) as second:
        second.start("--new")
        said = examine(home)
        assert (said.status, said["server"]["state"]) == (0, "warn")
        (other,) = {int(path.stem) for path in home.lock_files} - {first}
        assert f"port {first} (pid {served.pid})" in said["server"]["found"]
        assert f"port {other} (pid {second.pid})" in said["server"]["found"]
        assert said["handshake"]["state"] == "ok"
        assert re.fullmatch(r"pairside stop --port \d+", said["server"]["fix"])
        assert re.match(r"pairside run --port \d+ claude", said["start"]["found"])
        for port, rival in ((first, other), (other, first)):
            said = examine(home, "--port", str(port))
            assert (said["server"]["state"], said["handshake"]["state"]) == ("ok", "ok")
            assert said["other IDEs"]["fix"].endswith(f"or pairside stop --port {rival}")


def test_of_a_server_of_an_editor_and_one_of_pairside_the_editor_s_is_taken(home: Home, served: Served) -> None:
    """As `pairside run` does."""
    with Played(home, says={"editor": "Neovim"}, answers=as_pairside) as played:
        said = examine(home)
        assert said["handshake"]["found"].startswith(f"127.0.0.1:{played.port} answers")
        assert "editor Neovim" in said["server"]["found"]
        assert said["start"]["found"].startswith("pairside run claude")


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
def test_a_server_that_is_stopped_is_told_in_time(home: Home, served: Served, arguments: list[str]) -> None:
    """A process under Ctrl-Z holds nobody up, and the fix wakes it."""
    os.kill(served.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        done = pairside(home, "doctor", *arguments)
        assert time.monotonic() - started < WORST_SECONDS
    finally:
        os.kill(served.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert b"does not answer" in done.stdout
    if sys.platform == "linux":
        assert f"kill -CONT {served.pid}".encode() in done.stdout


def test_a_server_that_says_hello_and_nothing_more_is_told_in_time(home: Home) -> None:
    """It listens and greets, and is stuck all the same."""
    with Played(home, silent_on="status") as played:
        started = time.monotonic()
        said = examine(home)
        assert time.monotonic() - started < WORST_SECONDS
        assert said["server"]["state"] == "fail"
        assert "said hello and then nothing more" in said["server"]["found"]
        assert said["server"]["fix"].startswith(f"kill -KILL {played.facts['pid']}")
        assert said["lock file"]["state"] == "ok"


def test_a_server_of_another_version_is_to_be_started_anew(home: Home) -> None:
    """After an upgrade the old one runs on."""
    with Played(home, says={"version": "0.0.1"}, answers=as_pairside) as played:
        said = examine(home)
        assert said["version"]["state"] == "warn"
        assert said["version"]["found"] == f"the server is pairside 0.0.1, this command is {package.__version__}"
        assert said["version"]["fix"] == f"pairside restart --port {played.port}"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (lambda token: b"HTTP/1.1 401 Unauthorized", "refuses the token of the lock file"),
        (lambda token: b"HTTP/1.1 426 Upgrade Required", "is answered by something else than pairside"),
        (lambda token: b"HTTP/1.1 200 OK", "is answered by something else than pairside"),
        (lambda token: b"SSH-2.0-x", "is answered by something else than pairside"),
        (lambda token: b"", "is answered by something else than pairside"),
        (lambda token: b"HTTP/1.1 403 Forbidden", "refuses this user"),
        (lambda token: b"HTTP/1.1 503 Busy", "has too many connections that wait"),
        (None, "does not answer"),
    ],
    ids=["token", "any-token", "http", "no-http", "nothing", "user", "busy", "silence"],
)
def test_a_port_that_does_not_answer_as_a_server_does_fails(
    home: Home, answers: Callable[[str | None], bytes | None] | None, found: str
) -> None:
    """What was seen there is told, and the token goes to nobody that takes a wrong one."""
    tokens = []

    def answered(token: str | None) -> bytes | None:
        tokens.append(token)
        return answers(token) if answers else None

    with Played(home, answers=answered):
        started = time.monotonic()
        said = examine(home)
        assert time.monotonic() - started < WORST_SECONDS
    assert (said.status, said["handshake"]["state"]) == (1, "fail")
    assert found in said["handshake"]["found"]
    assert (TOKEN in tokens) == (found == "refuses the token of the lock file")
    assert TOKEN not in repr(said)


def test_a_port_on_which_nobody_listens_fails(home: Home) -> None:
    """The server may believe what it wants."""
    with Played(home, listens=False):
        said = examine(home)
    assert "cannot be reached: Connection refused" in said["handshake"]["found"]


def test_an_agent_that_is_connected_is_named_and_its_mode_is_not_guessed(
    home: Home, served: Served, robot: Robot
) -> None:
    """It does not tell."""
    served.wait_clients()
    said = examine(home)
    assert said["connected"]["state"] == "ok"
    assert said["connected"]["found"].startswith(f"Claude Code (pid {PID}) is connected and does not tell its mode")


# The folder.


def test_a_folder_reached_through_a_link_is_named_by_its_real_path(home: Home, served: Served) -> None:
    """By the current folder as the shell knows it, and by --workspace."""
    link = home.root / "link"
    link.symlink_to(home.project)
    found = f"{home.project} ({link} is a link to it) is served"
    assert examine(home, cwd=link, PWD=str(link))["folder"]["found"] == found
    assert examine(home, "--workspace", str(link), cwd=home.root)["folder"]["found"] == found
    assert examine(home, PWD=str(home.root))["folder"]["found"] == f"{home.project} is served"


def test_a_folder_below_the_served_one_is_well(home: Home, served: Served) -> None:
    """Agents find the server there too."""
    below = home.project / "below"
    below.mkdir()
    said = examine(home, cwd=below)
    assert (said.status, said["folder"]["found"]) == (0, f"{below} lies in the served folder")


def test_a_folder_outside_of_what_the_chosen_server_serves_is_told(home: Home, served: Served) -> None:
    """With --port any server can be asked about, and an agent here would not find it by itself."""
    port = served.status()["port"]
    said = examine(home, "--port", str(port), cwd=home.home)
    assert (said.status, said["folder"]["state"]) == (0, "warn")
    assert said["folder"]["fix"] == f"pairside run --port {port} claude; or first: cd {home.project}"
    assert said["lock file"]["state"] == "ok"


# The lock file.


def test_a_lock_file_that_is_gone_fails(home: Home) -> None:
    """No agent finds the server by itself."""
    with Played(home, answers=as_pairside) as played:
        path = Path(played.facts["lock_file"])
        path.unlink()
        said = examine(home)
        assert said.states()["lock file"] == "fail"
        assert f"{path} is not there" in said["lock file"]["found"]
        assert said["handshake"]["state"] == "ok"  # by the token of the record
        path.write_text("{")
        assert "cannot be read as one" in examine(home)["lock file"]["found"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"authToken": "another"}, "is not the one of this server, but of played"),
        ({"pid": 1}, "is not the one of this server"),
        ({"transport": "sse"}, "names another transport than ws"),
        ({"workspaceFolders": ["/elsewhere"]}, "does not name the real path of this folder"),
    ],
)
def test_a_lock_file_that_leads_elsewhere_fails(home: Home, change: dict[str, Any], found: str) -> None:
    """What the client reads there must be the truth about this server."""
    with Played(home, answers=as_pairside) as played:
        path = Path(played.facts["lock_file"])
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        said = examine(home)
        assert (said.status, said["lock file"]["state"]) == (1, "fail")
        assert found in said["lock file"]["found"]
        assert said["lock file"]["fix"] == f"pairside restart --port {played.port}"


def test_a_lock_file_that_others_may_read_is_told(home: Home, served: Served) -> None:
    """The token is as good as a password: the file and its folder are for one user."""
    (path,) = home.lock_files
    assert "lock permissions" not in examine(home).checks
    path.chmod(0o644)
    assert examine(home)["lock permissions"]["fix"] == f"chmod 600 {path}"
    path.chmod(0o600)
    path.parent.chmod(0o755)
    said = examine(home)
    assert (said.status, said["lock permissions"]["state"]) == (0, "warn")
    assert said["lock permissions"]["fix"] == f"chmod 700 {path.parent}"
    assert "(mode 0755)" in said["lock permissions"]["found"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_lock_file_of_another_user_is_told(home: Home, served: Served) -> None:
    """That user may read and change it."""
    (path,) = home.lock_files
    os.chown(path, 12345, -1)
    assert "belongs to another user (uid 12345)" in examine(home)["lock permissions"]["found"]


def test_a_shell_with_another_configuration_folder_is_told(home: Home, served: Served) -> None:
    """Agents from here look elsewhere; below the home they look as well."""
    other = home.root / "other"
    said = examine(home, CLAUDE_CONFIG_DIR=str(other))
    assert said["lock file"]["state"] == "ok"  # ~/.claude/ide is looked at too
    with Served(home, environment={"CLAUDE_CONFIG_DIR": str(home.root / "theirs")}) as moved:
        served.stop()
        moved.start()
        said = examine(home, CLAUDE_CONFIG_DIR=str(other))
        assert (said.status, said["lock file"]["state"]) == (0, "warn")
        assert f"CLAUDE_CONFIG_DIR is {other}" in said["lock file"]["found"]
        assert said["lock file"]["fix"] == (
            f"pairside run claude, or: CLAUDE_CONFIG_DIR={home.root / 'theirs'} claude --ide"
        )
        assert said["handshake"]["state"] == "ok"


# Other IDEs.


def test_another_ide_is_named_with_what_follows_and_what_to_type(home: Home, served: Served) -> None:
    """With two, claude --ide connects to neither."""
    with listening() as port:
        lock_file(home, port, os.getpid(), name="VS Code")
        said = examine(home)
        ours = served.status()["port"]
        assert (said.status, said["other IDEs"]["state"]) == (0, "warn")
        assert f"VS Code (pid {os.getpid()}, port {port}) is open for this folder too" in said["other IDEs"]["found"]
        assert "claude --ide connects to neither" in said["other IDEs"]["found"]
        assert said["other IDEs"]["fix"] == f"pairside run claude, or: CLAUDE_CODE_SSE_PORT={ours} claude; or close it"
        assert said["start"]["found"].startswith("pairside run claude; plain")
        assert examine(home, CLAUDE_CODE_SSE_PORT=str(ours))["other IDEs"]["state"] == "ok"


def test_another_ide_where_none_of_ours_serves_is_told_too(home: Home) -> None:
    """claude --ide would connect to that one."""
    with listening() as port:
        lock_file(home, port, os.getpid(), name="VS Code")
        assert examine(home)["other IDEs"]["state"] == "warn"


def test_a_lock_file_whose_process_lives_but_does_not_listen_counts(home: Home, served: Served) -> None:
    """It stands in the way like any other, and can be removed."""
    path = lock_file(home, closed_port(), os.getpid())
    said = examine(home)
    assert "does not listen any more; it counts all the same" in said["other IDEs"]["found"]
    assert said["other IDEs"]["fix"].endswith(f"or rm {path}")


def test_an_ide_of_another_folder_does_not_matter_unless_the_client_is_told_not_to_look(
    home: Home, served: Served
) -> None:
    """CLAUDE_CODE_IDE_SKIP_VALID_CHECK makes every folder do."""
    with listening() as port:
        lock_file(home, port, os.getpid(), folder=home.root / "elsewhere")
        assert examine(home)["other IDEs"]["state"] == "ok"
        assert examine(home, CLAUDE_CODE_IDE_SKIP_VALID_CHECK="true")["other IDEs"]["state"] == "warn"


def test_lock_files_of_processes_that_ended_are_listed_as_harmless(home: Home, served: Served) -> None:
    """Claude Code removes them; what is no lock file is not counted."""
    assert "stale lock files" not in examine(home).checks
    lock_file(home, 1, dead_pid())
    lock_file(home, 2, dead_pid())
    (home.claude_config / "ide" / "3.lock").write_text("{")
    (home.claude_config / "ide" / "x.lock").write_text("{}")
    said = examine(home)
    assert (said["stale lock files"]["state"], said["other IDEs"]["state"]) == ("ok", "ok")
    assert said["stale lock files"]["found"].startswith(f"2 lock files in {home.claude_config / 'ide'} name processes")


# Variables.


def test_an_inherited_port_is_told_with_the_ide_that_it_leads_to(home: Home, served: Served) -> None:
    """As in the terminal of VS Code; ours and one where nobody is are well."""
    ours = served.status()["port"]
    assert "CLAUDE_CODE_SSE_PORT" not in examine(home).checks
    with listening() as port:
        lock_file(home, port, os.getpid(), folder=home.root / "elsewhere", name="VS Code")
        said = examine(home, CLAUDE_CODE_SSE_PORT=str(port))["CLAUDE_CODE_SSE_PORT"]
        assert said["state"] == "warn"
        assert said["found"] == f"it is {port}: claude connects to VS Code (pid {os.getpid()}, port {port})"
        assert said["fix"] == f"pairside run claude, or: CLAUDE_CODE_SSE_PORT={ours} claude"
    for value in (str(ours), str(closed_port()), "nonsense"):
        assert examine(home, CLAUDE_CODE_SSE_PORT=value)["CLAUDE_CODE_SSE_PORT"]["state"] == "ok"
    assert "CLAUDE_CODE_SSE_PORT is set" in examine(home, CLAUDE_CODE_SSE_PORT=str(ours))["start"]["found"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLAUDE_CODE_AUTO_CONNECT_IDE", "false"),
        ("CLAUDE_CODE_AUTO_CONNECT_IDE", "0"),
        ("CLAUDE_CODE_AUTO_CONNECT_IDE", "No"),
        ("CLAUDE_CODE_IDE_HOST_OVERRIDE", "10.0.0.1"),
    ],
)
def test_a_variable_that_keeps_the_client_away_is_told_and_to_be_unset(
    home: Home, served: Served, name: str, value: str
) -> None:
    """`pairside run` does without it, too."""
    said = examine(home, **{name: value})
    assert (said.status, said[name]["state"]) == (0, "warn")
    assert value in said[name]["found"]
    assert said[name]["fix"] == f"pairside run claude, or: unset {name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLAUDE_CODE_AUTO_CONNECT_IDE", "true"),
        ("CLAUDE_CODE_AUTO_CONNECT_IDE", ""),
        ("CLAUDE_CODE_IDE_HOST_OVERRIDE", "localhost"),
    ],
)
def test_a_variable_that_does_no_harm_is_not_told(home: Home, served: Served, name: str, value: str) -> None:
    """Only what leads elsewhere is worth a line."""
    assert name not in examine(home, **{name: value}).checks


def test_an_empty_configuration_folder_is_told(home: Home, served: Served) -> None:
    """The client takes it for a folder, so the person's settings do not count."""
    assert examine(home, CLAUDE_CONFIG_DIR="")["CLAUDE_CONFIG_DIR"]["fix"] == "unset CLAUDE_CONFIG_DIR"


def test_a_proxy_is_named_without_its_address(home: Home, served: Served) -> None:
    """It does not matter to the client, and may hold a password."""
    said = examine(home, HTTPS_PROXY=f"http://me:{SECRET}@proxy", all_proxy="http://x", http_proxy="")
    assert said["proxy"]["state"] == "ok"
    assert said["proxy"]["found"].startswith("HTTPS_PROXY, all_proxy set")
    assert SECRET not in repr(said)
    assert "proxy" not in examine(home).checks


def test_what_makes_plain_claude_connect_is_told(home: Home, served: Served) -> None:
    """By default nothing does, and the commands that do stand there."""
    said = examine(home)["start"]["found"]
    assert said.startswith("pairside run claude, or claude --ide; plain claude looks for no IDE")
    for name, value in (("TERM_PROGRAM", "vscode"), ("FORCE_CODE_TERMINAL", "true")):
        assert name in examine(home, **{name: value})["start"]["found"]
    (home.claude_config / ".claude.json").write_text('{"autoConnectIde": true}')
    assert "autoConnectIde in" in examine(home)["start"]["found"]


# Programs and places.


def test_claude_that_is_missing_or_of_another_version_is_told(home: Home, served: Served) -> None:
    """It is not run: what cannot be read of its version stays unknown."""
    folder = programs(home)
    assert examine(home)["claude"]["found"] == f"{settings.TESTED} {folder}/claude"
    (folder / "claude").unlink()
    (folder / "claude").write_text(f"#!/bin/sh\necho ran >'{home.root}/ran'\n")
    (folder / "claude").chmod(0o755)
    assert "version not known" in examine(home)["claude"]["found"]
    (folder / "claude").unlink()
    said = examine(home)
    assert (said.status, said["claude"]["state"]) == (0, "warn")


def test_other_agents_are_found_and_not_promised(home: Home, served: Served) -> None:
    """They are not served yet."""
    assert "other agents" not in examine(home).checks
    for name in ("codex", "opencode"):
        (programs(home) / name).write_text("#!/bin/sh\n")
        (programs(home) / name).chmod(0o755)
    assert examine(home)["other agents"]["found"] == "opencode, codex found, not served yet"


def test_a_state_directory_that_cannot_be_trusted_fails_and_the_rest_is_looked_at(home: Home) -> None:
    """Without it no server can be found."""
    state = home.root / "state"
    (state / "pairside").mkdir(parents=True)
    (state / "pairside" / "run").symlink_to(home.root)
    said = examine(home, XDG_STATE_HOME=str(state))
    assert (said.status, said["state directory"]["state"]) == (1, "fail")
    assert "server" not in said.checks
    assert "permission mode" in said.checks


def test_a_state_directory_that_was_open_to_others_is_closed(home: Home, served: Served) -> None:
    """As any command does, and it is told."""
    path = Path(runtime.location(home.environment()))
    path.chmod(0o755)
    assert "mode 0755: closed now" in examine(home)["state directory"]["found"]
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_wrong_setting_of_ours_fails_where_a_server_is_still_to_start(home: Home) -> None:
    """It would not; a server that runs is not harmed before it is started anew."""
    file = home.home / ".config" / "pairside" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[limits]\nclients = 'x'\n")
    said = examine(home)
    assert (said["settings"]["state"], said["settings"]["fix"]) == ("fail", "Correct it, and then: pairside config")
    assert "limits.clients" in said["settings"]["found"]
    with Played(home, answers=as_pairside):
        assert examine(home)["settings"]["state"] == "warn"


# Will I be asked?


@pytest.mark.parametrize("mode", ["default", "manual", "plan"])
def test_a_mode_that_asks_is_well(home: Home, mode: str) -> None:
    """The file that sets it is named."""
    path = home.project / ".claude" / "settings.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"permissions": {"defaultMode": mode}}))
    said = examine(home)["permission mode"]
    assert said["state"] == "ok"
    assert said["found"].startswith(f"{path} sets {'plan' if mode == 'plan' else 'manual'} mode: ")


@pytest.mark.parametrize("mode", ["acceptEdits", "auto", "dontAsk", "bypassPermissions"])
def test_a_mode_that_does_not_ask_is_a_warning_with_the_way_out(home: Home, mode: str) -> None:
    """One start with reviews, or the file to change."""
    path = home.claude_config / "settings.json"
    path.write_text(json.dumps({"permissions": {"defaultMode": mode}}))
    said = examine(home)["permission mode"]
    assert said["state"] == "warn"
    assert said["found"].startswith(f"{path} sets ")
    assert "nothing comes to a review" in said["found"]
    assert said["fix"] == (
        f'pairside run --review claude; for good: "permissions": {{"defaultMode": "default"}} in {path}'
    )


def test_no_mode_at_all_is_a_warning(home: Home) -> None:
    """The default of the client asks for nothing."""
    said = examine(home)["permission mode"]
    assert said["state"] == "warn"
    assert f"no settings file sets one, and the default of Claude Code {settings.TESTED} is auto mode" in said["found"]
    assert str(home.claude_config / "settings.json") in said["fix"]


def test_why_a_mode_is_another_than_the_file_says_is_told(home: Home) -> None:
    """A project that would bypass permissions, and auto mode that is disabled."""
    (home.project / ".claude").mkdir()
    project = home.project / ".claude" / "settings.json"
    project.write_text('{"permissions": {"defaultMode": "bypassPermissions"}}')
    said = examine(home)["permission mode"]
    assert said["state"] == "ok"
    assert "bypassPermissions, which a file of a project cannot set. That leaves manual mode" in said["found"]
    project.write_text('{"disableAutoMode": "disable"}')
    said = examine(home)["permission mode"]
    assert said["state"] == "ok"
    assert f"no settings file sets one, and {project} disables auto mode. That leaves manual mode" in said["found"]
    (home.claude_config / "settings.json").write_text('{"permissions": {"defaultMode": "auto"}}')
    assert "settings.json sets auto, and " in examine(home)["permission mode"]["found"]


def test_rules_that_ask_are_told_in_modes_that_do_not(home: Home) -> None:
    """Rules for both tools without a limit make every edit a question; others some."""
    path = home.claude_config / "settings.json"
    path.write_text('{"permissions": {"defaultMode": "auto", "ask": ["Edit", "Write"]}}')
    said = examine(home)["permission mode"]
    assert said["state"] == "ok"
    assert "permissions.ask names Edit and Write, so it asks before each of them" in said["found"]
    path.write_text('{"permissions": {"defaultMode": "auto", "ask": ["Edit"]}}')
    said = examine(home)["permission mode"]
    assert said["state"] == "warn"
    assert "except for what 1 rule for Edit or Write in permissions.ask match" in said["found"]
    path.write_text('{"permissions": {"defaultMode": "dontAsk", "ask": ["Edit", "Write"]}}')
    assert examine(home)["permission mode"]["state"] == "warn"


def test_rules_that_allow_are_counted_where_they_matter(home: Home) -> None:
    """They skip the question in a mode that asks; their text is not told."""
    path = home.claude_config / "settings.json"
    rules = {"defaultMode": "default", "allow": [f"Edit({SECRET})", "Write", "Bash(ls)"]}
    path.write_text(json.dumps({"permissions": rules}))
    said = examine(home)
    assert said["allow rules"]["state"] == "warn"
    assert said["allow rules"]["found"].startswith(f"2 rules for Edit or Write in permissions.allow of {path}")
    assert SECRET not in repr(said)
    for other in ({"defaultMode": "auto"}, {"ask": ["Edit", "Write"]}):
        path.write_text(json.dumps({"permissions": {**rules, **other}}))
        assert "allow rules" not in examine(home).checks


def test_a_diff_tool_that_is_the_terminal_is_a_warning(home: Home) -> None:
    """No proposal comes here then, whatever the mode."""
    ask_first(home)
    assert examine(home)["diff tool"]["state"] == "ok"
    (home.claude_config / ".claude.json").write_text('{"diffTool": "terminal"}')
    said = examine(home)["diff tool"]
    assert (said["state"], said["fix"]) == ("warn", "/config in Claude Code, Diff tool: auto")
    assert "Will I be asked? No." in pairside(home, "doctor").stdout.decode()


def test_files_that_are_no_json_are_told_by_name_and_line(home: Home) -> None:
    """And nothing of what is in them; the others still count."""
    ask_first(home)
    (home.project / ".claude").mkdir()
    path = home.project / ".claude" / "settings.json"
    path.write_text(f'{{\n"a": "{SECRET}",\n}}')
    state = home.claude_config / ".claude.json"
    state.write_text(f"{SECRET}")
    said = examine(home)
    assert [one["state"] for one in said.checks["settings file"]] == ["warn", "warn"]
    assert {one["fix"] for one in said.checks["settings file"]} == {
        f"Correct {path}, line 3.",
        f"Correct {state}, line 1.",
    }
    assert said["permission mode"]["state"] == "ok"
    assert SECRET not in repr(said)
    assert "Will I be asked? Yes, but see the warnings." in pairside(home, "doctor").stdout.decode()


def test_reviews_that_are_left_to_the_terminal_are_told(home: Home) -> None:
    """By the server that runs, or by the settings of one that would."""
    ask_first(home)
    assert "review.where" not in examine(home).checks
    assert examine(home, PAIRSIDE_REVIEW_WHERE="terminal")["review.where"]["state"] == "warn"
    with Served(home, environment={"PAIRSIDE_REVIEW_WHERE": "terminal"}) as served:
        served.start()
        assert examine(home)["review.where"]["fix"].endswith("pairside restart")
        assert "Will I be asked? No." in pairside(home, "doctor").stdout.decode()


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
def test_no_secret_of_any_settings_file_is_told(home: Home, served: Served, arguments: list[str]) -> None:
    """Whatever stands in the other keys, in rules, in wrong values, in the token of any lock file or in a variable."""
    hidden = {
        "env": {"ANTHROPIC_API_KEY": SECRET, SECRET: "1"},
        "apiKeyHelper": f"echo {SECRET}",
        "awsAuthRefresh": SECRET,
        "hooks": {"PreToolUse": [{"matcher": SECRET, "hooks": [{"type": "command", "command": SECRET}]}]},
        "permissions": {"allow": [f"Edit({SECRET})", SECRET], "ask": [f"Write({SECRET})"], "deny": [f"Read({SECRET})"]},
        "model": SECRET,
        SECRET: SECRET,
    }
    (home.project / ".claude").mkdir()
    (home.claude_config / "settings.json").write_text(json.dumps(hidden))
    (home.project / ".claude" / "settings.json").write_text(
        json.dumps({**hidden, "permissions": {"defaultMode": SECRET}})
    )
    (home.project / ".claude" / "settings.local.json").write_text(json.dumps(hidden)[:-1])
    state = {
        "primaryApiKey": SECRET,
        "oauthAccount": {"accessToken": SECRET},
        "diffTool": SECRET,
        "autoConnectIde": SECRET,
    }
    (home.claude_config / ".claude.json").write_text(json.dumps(state))
    token = json.loads(home.lock_files[0].read_text())["authToken"]
    with listening() as port:
        lock_file(home, port, os.getpid())
        variables = {"ANTHROPIC_API_KEY": SECRET, "HTTPS_PROXY": f"http://x:{SECRET}@y", "PATH": str(programs(home))}
        done = pairside(home, "doctor", *arguments, environment=variables)
    for found in (b"settings file", b"permission mode", b"diff tool", b"other IDEs", b"proxy"):
        assert found in done.stdout
    assert SECRET.encode() not in done.stdout + done.stderr
    assert token.encode() not in done.stdout + done.stderr
