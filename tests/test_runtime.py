"""Our own directory: who may use it, and what a restarted server takes over from it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pairside import runtime, serve
from pairside.agents.claude import discovery
from pairside.limits import Limits
from pairside.serve import StartError

from .conftest import Address, Serve, agent
from .starters import Starters
from .until import until

TOKEN = "0123456789abcdef" * 2
root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")


@pytest.fixture
def state(environment: dict[str, str]) -> str:
    """The directory."""
    return runtime.directory(environment)


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait(5)
    return process.pid


@pytest.fixture
def free_port() -> int:
    """A port in our range that nobody has."""
    return free_range(1)[0]


def free_range(length: int) -> tuple[int, int]:
    """The first and the last of so many ports that nobody has, somewhere in our range."""
    while True:
        low = random.randrange(10_000, 32_767 - length)
        with contextlib.ExitStack() as held:
            if all(held.enter_context(runtime.holding_port(low + step)) for step in range(length)):
                return low, low + length - 1


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


# The directory.


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({"HOME": "/h"}, "/h/.local/state/pairside/run"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/pairside/run"),
        ({"HOME": "/h", "XDG_STATE_HOME": "s"}, "/h/.local/state/pairside/run"),
        ({"HOME": "/h", "XDG_STATE_HOME": ""}, "/h/.local/state/pairside/run"),
        ({"HOME": "/h", "XDG_RUNTIME_DIR": "/r", "TMPDIR": "/t"}, "/h/.local/state/pairside/run"),
        ({"HOME": "/" + "é" * 31}, "/" + "é" * 31 + "/.local/state/pairside/run"),
        ({"HOME": "/x" + "é" * 31}, f"/tmp/pairside-{os.getuid()}"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/" + "s" * 75}, "/" + "s" * 75 + "/pairside/run"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/" + "s" * 76}, f"/tmp/pairside-{os.getuid()}"),
    ],
)
def test_the_directory_is_in_the_state_home_unless_a_socket_there_would_have_too_long_a_path(
    variables: dict[str, str], path: str
) -> None:
    """Neither at logout nor between shells does it change; a path of more than 100 bytes falls back to /tmp."""
    assert runtime.location(variables) == path
    assert len(os.fsencode(runtime.socket_path(path, 65535))) <= 100


def test_with_a_long_home_the_directory_in_tmp_is_used(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with a long home has sockets that can be bound; the same checks apply there."""
    short = environment["HOME"] + "/short"
    monkeypatch.setattr(runtime, "FALLBACK", short)
    assert runtime.directory({"HOME": environment["HOME"] + "/long" * 20}) == short
    assert mode(short) == 0o700
    os.rmdir(short)
    os.symlink(environment["HOME"], short)
    with pytest.raises(runtime.RuntimeDirectoryError, match="not a directory of yours"):
        runtime.directory({"HOME": environment["HOME"] + "/long" * 20})


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_whatever_the_umask_nobody_else_can_look(environment: dict[str, str], mask: int) -> None:
    """The directory is 0700 and what lies in it 0600."""
    with umask(mask):
        folder = runtime.directory(environment)
        runtime.write_record(folder, 12345, TOKEN, ("/w",))
        descriptor = runtime.try_start_lock(folder)
    assert descriptor is not None
    os.close(descriptor)
    assert mode(folder) == 0o700
    assert {name: mode(f"{folder}/{name}") for name in os.listdir(folder)} == {
        "12345.json": 0o600,
        "start.lock": 0o600,
    }


def test_a_umask_that_takes_the_owners_rights_does_not(state: str) -> None:
    """The next server can replace the record."""
    with umask(0o277):
        for _ in range(2):
            runtime.write_record(state, 12345, TOKEN, ("/w",))
    assert mode(runtime.record_path(state, 12345)) == 0o600


def test_a_directory_that_others_can_enter_is_closed_to_them(environment: dict[str, str], state: str) -> None:
    """It may have been made by hand."""
    os.chmod(state, 0o755)
    assert runtime.directory(environment) == state
    assert mode(state) == 0o700


def test_a_directory_that_is_not_ours_is_refused(environment: dict[str, str], state: str) -> None:
    """A symbolic link, a file, or a path that cannot be made; the message says what to do."""
    os.rmdir(state)
    os.symlink(environment["HOME"], state)
    with pytest.raises(runtime.RuntimeDirectoryError, match="not a directory of yours"):
        runtime.directory(environment)
    os.unlink(state)
    Path(state).touch()
    with pytest.raises(runtime.RuntimeDirectoryError, match="XDG_STATE_HOME"):
        runtime.directory(environment)


@root_only
def test_a_directory_of_another_user_is_refused(environment: dict[str, str], state: str) -> None:
    """Whoever owns it could read the token."""
    os.chown(state, 12345, 12345)
    with pytest.raises(runtime.RuntimeDirectoryError, match="not a directory of yours"):
        runtime.directory(environment)


async def test_a_directory_that_cannot_be_used_is_said_at_the_start(serving: Serve, state: str) -> None:
    """Not with a traceback."""
    os.rmdir(state)
    Path(state).touch()
    with pytest.raises(StartError, match="XDG_STATE_HOME"):
        async with serving():
            pass


def test_it_is_cheap_to_import() -> None:
    """Commands bound to a key use it, and how lock files are read."""
    program = (
        "import sys, pairside.runtime, pairside.agents.claude.discovery\n"
        "print([name for name in ('asyncio', 'websockets', 'msgspec', 'click', 'subprocess') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout.strip() == "[]"


# Records.


def leave(
    state: str,
    port: int,
    *,
    token: Any = TOKEN,
    folders: Any = (),
    pid: Any = 0,
    age: float = 1.0,
    name: str | None = None,
) -> str:
    """Leave a record as a server would, and return its path."""
    path = f"{state}/{name or port}.json"
    facts = {"port": port, "token": token, "folders": list(folders), "pid": pid}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump(facts, file)
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def test_a_record_is_read_as_it_was_written(state: str) -> None:
    """Folders whose names are not UTF-8 included; writing it again leaves nothing else behind."""
    folders = ("/w", "/é😀", os.fsdecode(b"/\xff"))
    for _ in range(2):
        runtime.write_record(state, 12345, TOKEN, folders)
    (record,) = runtime.records(state)
    assert (record.port, record.token, record.folders, record.pid) == (12345, TOKEN, folders, os.getpid())
    assert os.listdir(state) == ["12345.json"]


def test_touching_a_record_makes_it_fresh_and_never_makes_one(state: str) -> None:
    """The record of a server that lives is never older than a few seconds."""
    path = leave(state, 12345, age=1000)
    runtime.touch_record(state, 12345)
    record = runtime.read_record(path)
    assert record is not None
    assert abs(time.time() - record.touched_at) < 5
    runtime.touch_record(state, 12346)
    assert os.listdir(state) == ["12345.json"]


@pytest.mark.parametrize(
    "facts",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 50_000,
        b'{"port":12345,"token":"%s","pid":1}' % TOKEN.encode(),
        b'{"port":"12345","token":"%s","pid":1,"folders":[]}' % TOKEN.encode(),
        b'{"port":12346,"token":"%s","pid":1,"folders":[]}' % TOKEN.encode(),
        b'{"port":12345,"token":"%s","pid":true,"folders":[]}' % TOKEN.encode(),
        b'{"port":12345,"token":"%s","pid":1,"folders":[[1]]}' % TOKEN.encode(),
        b'{"port":12345,"token":"%s","pid":1,"folders":5}' % TOKEN.encode(),
        b'{"port":12345,"token":"short","pid":1,"folders":[]}',
        b'{"port":12345,"token":null,"pid":1,"folders":[]}',
    ],
)
def test_a_record_that_makes_no_sense_is_none(state: str, facts: bytes) -> None:
    """No server fails to start because of what somebody wrote there."""
    path = Path(state, "12345.json")
    path.write_bytes(facts)
    path.chmod(0o600)
    assert runtime.read_record(str(path)) is None
    assert runtime.adoptable(state, ()) == []


def test_only_regular_files_are_records(state: str) -> None:
    """Folders, pipes and links of that name cost nothing, no descriptor either."""
    target = leave(state, 12345, name="target")
    os.symlink(target, f"{state}/12345.json")
    os.mkdir(f"{state}/12346.json")
    os.mkfifo(f"{state}/12347.json", 0o600)
    before = len(os.listdir("/dev/fd"))
    assert list(runtime.records(state)) == []
    assert len(os.listdir("/dev/fd")) == before


# Taking over.


async def test_port_and_token_of_a_server_that_just_died_are_taken_over(
    serving: Serve, state: str, workspace: Path, dead_pid: int, free_port: int
) -> None:
    """So its clients reconnect by themselves. The order of the folders does not matter."""
    second = workspace / "second"
    second.mkdir()
    leave(state, free_port, folders=(str(second), str(workspace)), pid=dead_pid)
    async with serving(workspace, second) as server:
        assert (server.adopted, server.port) == (True, free_port)
        lock = discovery.read(server.lock_file)
        assert lock is not None
        assert lock.token == TOKEN
        record = runtime.read_record(runtime.record_path(state, free_port))
        assert record is not None
        assert (record.pid, record.token) == (os.getpid(), TOKEN)


async def test_of_several_the_latest_is_taken_over(serving: Serve, state: str, workspace: Path, dead_pid: int) -> None:
    """Its clients are the most likely to be waiting."""
    low, high = free_range(3)
    ports = range(low, high + 1)
    for port, age in zip(ports, (9, 1, 5), strict=True):
        leave(state, port, folders=(str(workspace),), pid=dead_pid, age=age)
    async with serving() as server:
        assert (server.adopted, server.port) == (True, ports[1])


def _free(port: int) -> bool:
    with runtime.holding_port(port) as free:
        return free


Spoil = Callable[[dict[str, Any]], None]


def _alive(facts: dict[str, Any]) -> None:
    facts["pid"] = os.getpid()


def _other_folders(facts: dict[str, Any]) -> None:
    facts["folders"] = (*facts["folders"], "/other")


def _old(facts: dict[str, Any]) -> None:
    facts["age"] = 30.5


def _from_the_future(facts: dict[str, Any]) -> None:
    facts["age"] = -60.0


def _short_token(facts: dict[str, Any]) -> None:
    facts["token"] = TOKEN[:31]


@pytest.mark.parametrize("spoil", [_alive, _other_folders, _old, _from_the_future, _short_token])
async def test_nothing_is_taken_over_from_a_server_that(
    spoil: Spoil, serving: Serve, state: str, workspace: Path, dead_pid: int, free_port: int
) -> None:
    """... lives, served other folders, died long ago or in the future, or had a token that can be guessed."""
    facts: dict[str, Any] = {"folders": (str(workspace),), "pid": dead_pid}
    spoil(facts)
    leave(state, free_port, **facts)
    async with serving() as server:
        _check_new(server, free_port)


def _readable(path: str) -> None:
    os.chmod(path, 0o640)


def _writable(path: str) -> None:
    os.chmod(path, 0o602)


def _linked(path: str) -> None:
    os.rename(path, path + ".real")
    os.symlink(path + ".real", path)


def _given_away(path: str) -> None:
    os.chown(path, 12345, -1)


@pytest.mark.parametrize("spoil", [_readable, _writable, _linked, pytest.param(_given_away, marks=root_only)])
async def test_nothing_is_taken_over_from_a_record_that_somebody_else_may_have_written_or_read(
    spoil: Callable[[str], None], serving: Serve, state: str, workspace: Path, dead_pid: int, free_port: int
) -> None:
    """Readable by the group, writable by all, a link, another user's: whoever it is would know our token."""
    path = leave(state, free_port, folders=(str(workspace),), pid=dead_pid)
    spoil(path)
    async with serving() as server:
        _check_new(server, free_port)


def _check_new(server: serve.Serving, port: int) -> None:
    lock = discovery.read(server.lock_file)
    assert lock is not None
    assert not server.adopted
    assert lock.token != TOKEN
    assert len(lock.token) == 32
    assert server.port == lock.port != port


async def test_a_token_never_moves_to_another_port(
    serving: Serve, state: str, workspace: Path, dead_pid: int, free_port: int
) -> None:
    """Whoever has taken the port meanwhile would be given it by a client that reconnects."""
    leave(state, free_port, folders=(str(workspace),), pid=dead_pid)
    with socket.create_server(("127.0.0.1", free_port)):
        async with serving() as server:
            _check_new(server, free_port)


async def test_without_the_start_lock_nothing_is_taken_over(
    serving: Serve, state: str, workspace: Path, dead_pid: int, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that hangs does not keep others from starting; they take a new port and a new token."""
    monkeypatch.setattr(serve, "START_LOCK_SECONDS", 0.1)
    leave(state, free_port, folders=(str(workspace),), pid=dead_pid)
    descriptor = runtime.try_start_lock(state)
    assert descriptor is not None
    async with serving() as server:
        _check_new(server, free_port)
    os.close(descriptor)
    async with serving() as server:
        assert server.adopted


def test_the_start_lock_is_held_by_one_and_released_by_death(state: str) -> None:
    """The system releases it when its holder is killed."""
    program = "import sys, pairside.runtime as r; print(r.try_start_lock(sys.argv[1]), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip().isdigit()
        assert runtime.try_start_lock(state) is None
        holder.kill()
        holder.wait(5)
        descriptor = runtime.try_start_lock(state)
        assert descriptor is not None
        with pytest.raises(BlockingIOError):
            with open(f"{state}/start.lock") as other:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


# A server's life.


async def test_what_a_server_leaves_is_there_while_it_runs_and_gone_after(serving: Serve, state: str) -> None:
    """Record and socket, for our user alone; also when it ends with an error."""
    with contextlib.suppress(ZeroDivisionError):
        async with serving() as server:
            names = set(os.listdir(state))
            assert names == {"start.lock", f"{server.port}.json", f"{server.port}.sock"}
            assert {mode(f"{state}/{name}") for name in names} == {0o600}
            raise ZeroDivisionError
    assert os.listdir(state) == ["start.lock"]


async def test_the_record_of_a_running_server_stays_fresh(
    serving: Serve, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is touched again and again, often enough for one that has to follow."""
    assert runtime.TOUCH_SECONDS * 2 < runtime.FRESH_SECONDS
    monkeypatch.setattr(runtime, "TOUCH_SECONDS", 0.01)
    async with serving() as server:
        path = runtime.record_path(state, server.port)
        for _ in range(2):
            os.utime(path, (0, 0))
            await until(lambda: os.stat(path).st_mtime > 1e9, "a touch")


async def test_every_port_taken_is_said_at_the_start(serving: Serve, free_port: int) -> None:
    """With the range, and what to do; nothing is left behind."""
    with socket.create_server(("127.0.0.1", free_port)):
        with pytest.raises(StartError, match=f"{free_port}-{free_port}.*--port"):
            async with serving(limits=Limits(port_min=free_port, port_max=free_port)):
                pass


async def test_a_server_that_is_killed_and_started_again_is_found_under_the_old_address(
    environment: dict[str, str], workspace: Path, state: str
) -> None:
    """kill -9 leaves record and lock; the next server has the same port and token, and a client gets in with them."""
    with Starters(environment) as starters:
        (first,) = starters.start([str(workspace)])
        old = discovery.read(first.lock_file)
        assert old is not None
        starters.stop(first, kill=True)
        assert not old.alive
        (second,) = starters.start([str(workspace)])
        lock = discovery.read(second.lock_file)
        assert lock is not None
        assert (second.adopted, second.port, lock.token, lock.pid) == (True, first.port, old.token, second.pid)
        async with agent(Address(first.port, old.token)) as returning:
            (text,) = await returning.call("getWorkspaceFolders")
            assert json.loads(text)["rootPath"] == str(workspace)
        starters.stop(second)
    assert not os.path.exists(second.lock_file)
    assert os.listdir(state) == ["start.lock"]


def test_twenty_servers_started_at_once_all_get_a_port(environment: dict[str, str], tmp_path: Path) -> None:
    """Of a range that has hardly more: whoever finds one in use takes the next."""
    folders = [str(tmp_path / str(number)) for number in range(20)]
    for folder in folders:
        os.mkdir(folder)
    low, high = free_range(25)
    with Starters(environment, ports=(low, high)) as starters:
        started = starters.start(folders)
        assert len({one.port for one in started}) == 20
        assert all(low <= one.port <= high for one in started)
        for one in started:
            lock = discovery.read(one.lock_file)
            assert lock is not None
            assert lock.pid == one.pid
        assert len({lock.token for lock in discovery.locks(environment)}) == 20
        starters.stop(*started)
    assert list(discovery.locks(environment)) == []


def test_forty_pairs_of_racing_starters_lose_no_live_lock(
    environment: dict[str, str], workspace: Path, state: str
) -> None:
    """Two servers start at once where one was just killed: one takes over, and neither ever harms the other."""
    folder = str(workspace)
    with Starters(environment) as starters:
        for number in range(40):
            (victim,) = starters.start([folder])
            old = discovery.read(victim.lock_file)
            assert old is not None
            starters.stop(victim, kill=True)

            pair = starters.start([folder, folder])
            assert sorted(one.adopted for one in pair) == [False, True]
            for one in pair:
                lock = discovery.read(one.lock_file)
                assert lock is not None, "a live lock is lost"
                assert (lock.pid, lock.port) == (one.pid, one.port)
                assert one.adopted == (one.port == victim.port) == (lock.token == old.token)

            leaver, stayer = pair if number % 2 else reversed(pair)
            starters.stop(leaver, kill=number % 4 >= 2)
            lock = discovery.read(stayer.lock_file)
            assert lock is not None, "a live lock is lost"
            assert lock.pid == stayer.pid
            assert runtime.read_record(runtime.record_path(state, stayer.port)) is not None
            assert os.path.exists(runtime.socket_path(state, stayer.port))
            starters.stop(stayer)
            assert not os.path.exists(stayer.lock_file)
            for path in discovery.directories(environment):
                for name in os.listdir(path):
                    os.unlink(f"{path}/{name}")  # of the one that was killed
            for record in runtime.records(state):
                os.unlink(record.path)


def test_a_server_that_stops_while_another_starts_takes_nothing_with_it(
    environment: dict[str, str], workspace: Path, state: str
) -> None:
    """What the one cleans up is its own, also when the other was given its port a moment later."""
    with Starters(environment, ports=free_range(2)) as starters:
        (running,) = starters.start([str(workspace)])
        for _ in range(20):
            starters.signal(running)
            (following,) = starters.start([str(workspace)])
            starters.wait(running)
            lock = discovery.read(following.lock_file)
            assert lock is not None, "a live lock is lost"
            assert lock.pid == following.pid
            assert runtime.read_record(runtime.record_path(state, following.port)) is not None
            assert os.path.exists(runtime.socket_path(state, following.port))
            running = following
        starters.stop(running)
    assert list(discovery.locks(environment)) == []


# Sweeping.


@pytest.fixture
def remains(state: str, dead_pid: int, free_port: int, environment: dict[str, str]) -> tuple[str, str, str]:
    """The record, the socket and the lock file of a server that died a minute ago."""
    record = leave(state, free_port, folders=("/elsewhere",), pid=dead_pid, age=60)
    sock = runtime.socket_path(state, free_port)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(sock)
    folder = discovery.directory(environment)
    os.makedirs(folder)
    return record, sock, write_lock(folder, free_port, pid=dead_pid)


def write_lock(folder: str, port: int, *, pid: int, token: str = TOKEN) -> str:
    path = f"{folder}/{port}.lock"
    Path(path).write_text(json.dumps({"pid": pid, "workspaceFolders": [], "authToken": token, "transport": "ws"}))
    return path


def there(paths: tuple[str, ...]) -> list[bool]:
    return [os.path.lexists(path) for path in paths]


async def test_what_a_dead_server_left_is_swept_by_the_next_to_start(
    serving: Serve, remains: tuple[str, str, str]
) -> None:
    """Record, socket and lock file, once nobody may take it over any more."""
    async with serving():
        assert there(remains) == [False] * 3


async def test_the_lock_file_under_the_home_is_swept_too(
    environment: dict[str, str], serving: Serve, remains: tuple[str, str, str]
) -> None:
    """Clients look there wherever CLAUDE_CONFIG_DIR points."""
    environment["CLAUDE_CONFIG_DIR"] = environment["HOME"] + "/elsewhere"
    async with serving() as server:
        assert server.lock_file.startswith(environment["CLAUDE_CONFIG_DIR"])
        assert there(remains) == [False] * 3


async def test_what_a_server_that_just_died_left_is_not_swept(serving: Serve, remains: tuple[str, str, str]) -> None:
    """Its folder's next server may still take it over."""
    moment = time.time() - 20
    os.utime(remains[0], (moment, moment))
    async with serving():
        assert there(remains) == [True] * 3


async def test_what_belongs_to_a_live_process_is_not_swept(
    serving: Serve, remains: tuple[str, str, str], state: str, free_port: int
) -> None:
    """However old its record is: the machine may have slept."""
    leave(state, free_port, folders=("/elsewhere",), pid=os.getpid(), age=3600)
    async with serving():
        assert there(remains) == [True] * 3


async def test_while_somebody_listens_on_its_port_nothing_is_swept(
    serving: Serve, remains: tuple[str, str, str], free_port: int
) -> None:
    """Whoever it is may have written a lock file of that name."""
    with socket.create_server(("127.0.0.1", free_port)):
        async with serving():
            assert there(remains) == [True] * 3


@pytest.mark.parametrize(("token", "alive"), [("f" * 32, False), (TOKEN, True)])
async def test_lock_files_of_others_and_live_ones_are_left_alone(
    serving: Serve,
    remains: tuple[str, str, str],
    environment: dict[str, str],
    free_port: int,
    dead_pid: int,
    token: str,
    alive: bool,
) -> None:
    """Another token means another writer; a live pid means that the lock is in use."""
    folder = discovery.directory(environment)
    write_lock(folder, free_port, pid=os.getpid() if alive else dead_pid, token=token)
    stray = write_lock(folder, 4711, pid=dead_pid)  # of a port that no record of ours names
    async with serving():
        assert there((*remains, stray)) == [False, False, True, True]


# Sockets and processes.


def test_a_port_that_is_held_can_be_taken_by_nobody_else(free_port: int) -> None:
    """Also with SO_REUSEADDR, which servers set."""
    with runtime.holding_port(free_port) as free:
        assert free
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", free_port))  # it sets SO_REUSEADDR
        with runtime.holding_port(free_port) as again:
            assert not again
    assert _free(free_port)
    for impossible in (-1, 65536):
        assert not _free(impossible)


def test_a_dead_socket_is_removed_and_a_live_one_connected(state: str) -> None:
    """A socket that is gone already is dead too."""
    path = runtime.socket_path(state, 12345)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert runtime.sockets(state) == [path]
        connection = runtime.connect(path, 5)
        assert connection is not None
        connection.close()
    assert runtime.connect(path, 5) is None
    assert runtime.sockets(state) == []
    assert runtime.connect(path, 5) is None


def test_the_socket_of_a_server_that_is_just_starting_is_not_removed(state: str) -> None:
    """Between binding and listening it refuses connections, and its starter holds the start lock."""
    path = runtime.socket_path(state, 12345)
    starting = runtime.try_start_lock(state)
    assert starting is not None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert runtime.connect(path, 5) is None
        assert os.path.exists(path)
        server.listen()
        os.close(starting)
        connection = runtime.connect(path, 5)
        assert connection is not None
        connection.close()


def test_a_process_is_alive_whoever_owns_it(dead_pid: int) -> None:
    """And numbers that no process can have are not."""
    assert runtime.is_alive(os.getpid())
    assert runtime.is_alive(1)
    assert not runtime.is_alive(dead_pid)
    assert not runtime.is_alive(2**31 - 1)
    assert not runtime.is_alive(2**80)
