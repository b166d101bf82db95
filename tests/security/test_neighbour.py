"""Another user of the same machine: what they reach, with the modes as they are and with loosened ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pairside import runtime
from pairside.agents.claude import discovery
from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.served import Served

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="acting as another user takes root")

SECONDS = 15.0
ENOUGH = 50
"""So often is something written while another user swaps the directory."""
NEIGHBOUR = 12345
BECOMES_THE_NEIGHBOUR = f"""
import encodings.idna, json, os, socket, sys, time
os.setgroups([])
os.setgid({NEIGHBOUR})
os.setuid({NEIGHBOUR})
"""
TRIES_THE_TOKEN = """
port, token = int(sys.argv[1]), sys.argv[2]
connection = socket.create_connection(("127.0.0.1", port), 5)
connection.sendall((
    f"GET / HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
    "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
    f"X-Claude-Code-Ide-Authorization: {token}\\r\\n\\r\\n"
).encode())
connection.settimeout(5)
print(connection.recv(4096).decode().split("\\r\\n")[0])
"""
ASKS_AS_AN_OBSERVER = """
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(5)
try:
    connection.connect(sys.argv[1])
    connection.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "review/accept", "params": {"id": 1}}\\n')
    print(connection.recv(4096).decode() or "nothing")
except OSError as error:
    print(type(error).__name__)
"""
READS = """
for path in sys.argv[1:]:
    try:
        print(open(path, "rb").read(100))
    except OSError as error:
        print(type(error).__name__)
"""
ANSWERS_COMMANDS = """
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listener.listen()
print("listening", flush=True)
connection, _ = listener.accept()
heard = connection.recv(65536)
facts = {"version": "1", "pid": 1, "port": int(sys.argv[2]), "editor": "pairside", "folders": [sys.argv[3]]}
connection.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "result": facts}).encode() + b"\\n")
print(heard + connection.recv(65536), flush=True)
"""


def as_neighbour(program: str, *arguments: str) -> str:
    """What a program says that another user runs."""
    done = subprocess.run(
        [sys.executable, "-c", BECOMES_THE_NEIGHBOUR + program, *arguments], cwd="/", env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loosen(home: Home) -> None:
    """Let everybody do everything with all that is in a home."""
    for path in [home.root, *home.root.rglob("*")]:
        if not path.is_symlink():
            os.chmod(path, 0o777)


def token_of(home: Home) -> str:
    token: str = json.loads(home.lock_files[0].read_text())["authToken"]
    return token


def test_the_right_token_is_of_no_use_to_another_user(home: Home, served: Served) -> None:
    """However they came by it: the kernel says whose a connection is."""
    (lock,) = home.lock_files
    assert as_neighbour(TRIES_THE_TOKEN, lock.stem, token_of(home)) == "HTTP/1.1 403 Forbidden"
    assert served.status()["connects"] == 0


@pytest.mark.parametrize("loose", [False, True])
def test_another_user_cannot_decide_at_the_observers_socket(
    home: Home, served: Served, robot: Robot, loose: bool
) -> None:
    """Its mode keeps them out; were that loosened, they are let go without a word."""
    robot.propose(home.project / "a.txt", "x\n")
    served.wait_review()
    path = home.home / ".local/state/pairside/run" / f"{home.lock_files[0].stem}.sock"
    os.chmod(home.root, 0o755)
    if loose:
        loosen(home)
    told = as_neighbour(ASKS_AS_AN_OBSERVER, str(path))
    assert told in ({"nothing", "ConnectionResetError", "BrokenPipeError"} if loose else {"PermissionError"})
    assert served.status()["pending_reviews"] == 1


def test_another_user_reads_nothing_of_ours(home: Home, served: Served, robot: Robot) -> None:
    """Lock, record, what is kept of changes, and what the process has in its environment."""
    home.write("b.txt", "before\n")
    robot.call("getDiagnostics", uri=f"file://{home.project}/b.txt")
    home.write("b.txt", "secret\n")
    robot.call("getDiagnostics")
    served.wait(lambda now: now["unreviewed_changes"] == 1)
    os.chmod(home.root, 0o755)
    os.chmod(home.home, 0o755)
    state = home.home / ".local" / "state" / "pairside"
    paths = [str(path) for path in [*home.lock_files, *state.rglob("*")] if path.is_file()]
    assert len(paths) > 4
    told = as_neighbour(READS, *paths, f"/proc/{served.pid}/environ", f"/proc/{served.pid}/mem").splitlines()
    assert set(told) == {"PermissionError"}


def test_a_socket_of_another_user_is_not_talked_to(home: Home) -> None:
    """Where somebody let them into the directory of the sockets, what stands there is not taken for a server."""
    state = home.home / ".local/state/pairside/run"
    state.mkdir(parents=True)
    loosen(home)
    with subprocess.Popen(
        [sys.executable, "-c", BECOMES_THE_NEIGHBOUR + ANSWERS_COMMANDS, str(state / "12345.sock"), "12345",
         str(home.project)],
        cwd="/", stdout=subprocess.PIPE, text=True,
    ) as liar:  # fmt: skip
        try:
            assert liar.stdout is not None
            assert liar.stdout.readline() == "listening\n"
            home.write("a.txt", "one\n")
            served = Served(home)
            done = served.run("select", "a.txt:1")
            assert (done.returncode, done.stdout) == (4, "")
            assert "No pairside serves" in done.stderr
            done = served.run("accept", "--port", "12345")
            assert done.returncode != 0
        finally:
            liar.kill()
            said, _ = liar.communicate()
            assert "select" not in said


@pytest.mark.parametrize("name", ["pairside", "run", "changes"])
def test_a_directory_of_another_user_where_ours_should_be_is_refused(home: Home, name: str) -> None:
    """In a place that everybody may write to, somebody was there first: it is said, and nothing is written into it."""
    place = home.home / ".local" / "state" / "pairside"
    place = place if name == "pairside" else place / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(exist_ok=True)
    os.chmod(place, 0o777)
    os.chown(place, NEIGHBOUR, NEIGHBOUR)
    served = Served(home)
    done = served.run("serve", "--port-range", "10000-10001") if name == "run" else None
    if done is not None:
        assert done.returncode == 1
        assert "not a directory of yours" in done.stderr
        assert list(place.iterdir()) == []
        return
    with served:
        served.start()
        if name == "changes":
            assert any("changes are not kept" in notice for notice in served.status()["notices"])
            assert list(place.iterdir()) == []
        assert token_of(home)
        readable = as_neighbour(READS, *map(str, [path for path in place.rglob("*") if path.is_file()])).splitlines()
        assert set(readable) <= {"PermissionError"}


SWAPS = """
folder, away, theirs = sys.argv[1:]
deadline = time.monotonic() + 20
print("swapping", flush=True)
while time.monotonic() < deadline and not os.path.exists(theirs + ".stop"):
    for one, other in ((folder, away), (theirs, folder), (folder, theirs), (away, folder)):
        try:
            os.rename(one, other)
        except OSError:
            pass
"""


def swapping(folder: Path, theirs: Path) -> subprocess.Popen[str]:
    """Another user who may write in the parent puts their own directory in place of ours, again and again."""
    return subprocess.Popen(
        [sys.executable, "-c", BECOMES_THE_NEIGHBOUR + SWAPS, str(folder), f"{folder}.away", str(theirs)],
        cwd="/", stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("what", ["lock", "record"])
def test_who_swaps_the_directory_in_the_middle_gets_nothing_that_they_can_read(
    home: Home, what: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A lock file or a record that lands in their directory is for our user alone all the same."""
    os.chmod(home.root, 0o777)
    parent = home.root / "shared"
    parent.mkdir()
    os.chmod(parent, 0o777)
    folder, theirs = parent / "ide", parent / "theirs"
    folder.mkdir(mode=0o700)
    theirs.mkdir()
    os.chmod(theirs, 0o777)
    os.chown(theirs, NEIGHBOUR, NEIGHBOUR)
    token = "f" * 32
    work: Callable[[], None]
    if what == "lock":
        lock = discovery.LockFile({"CLAUDE_CONFIG_DIR": str(parent), "HOME": "/"}, port=12_345, token=token, ide="x")
        work = lambda: lock.write(("/w",))  # noqa: E731
    else:
        work = lambda: runtime.write_record(str(folder), 12_345, token, ("/w",))  # noqa: E731
    written = 0
    with swapping(folder, theirs) as swapper:
        try:
            assert swapper.stdout is not None
            swapper.stdout.readline()
            deadline = time.monotonic() + SECONDS
            while written < ENOUGH and time.monotonic() < deadline:
                try:
                    work()
                    written += 1
                except (discovery.DiscoveryError, OSError):
                    continue
        finally:
            Path(f"{theirs}.stop").touch()
            swapper.wait(SECONDS)
    assert written
    found = [path for path in parent.rglob("*") if path.is_file() and token in path.read_text()]
    for path in found:
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.stat().st_uid == 0, path
    if found:
        assert set(as_neighbour(READS, *map(str, found)).splitlines()) == {"PermissionError"}
    if what == "lock":  # what was looked at is what is written to
        assert [path for path in found if path.parent.stat().st_uid == NEIGHBOUR] == []
