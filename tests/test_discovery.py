"""The lock files by which Claude Code finds an IDE."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from pairside import runtime, serve
from pairside.agents.claude import discovery
from pairside.agents.claude.discovery import DiscoveryError, Lock, LockFile
from pairside.serve import StartError

from .conftest import Serve
from .until import until

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def folder(environment: dict[str, str]) -> str:
    """Where lock files are written; it need not exist yet."""
    return discovery.directory(environment)


def lock_file(environment: dict[str, str], *, port: int = 12345, token: str = TOKEN) -> LockFile:
    return LockFile(environment, port=port, token=token, ide="pairside")


def write(folder: str, name: str, facts: Any) -> str:
    """Write a file as some other IDE would."""
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/{name}"
    Path(path).write_bytes(facts if isinstance(facts, bytes) else json.dumps(facts).encode())
    return path


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


# Where.


@pytest.mark.parametrize(
    ("variables", "directories"),
    [
        ({"HOME": "/h"}, ("/h/.claude/ide",)),
        ({"HOME": "/h", "CLAUDE_CONFIG_DIR": ""}, ("/h/.claude/ide",)),
        ({"HOME": "/h", "CLAUDE_CONFIG_DIR": "/h/.claude"}, ("/h/.claude/ide",)),
        ({"HOME": "/h", "CLAUDE_CONFIG_DIR": "/c"}, ("/c/ide", "/h/.claude/ide")),
    ],
)
def test_lock_files_are_written_to_the_configuration_and_looked_for_in_the_home_as_well(
    variables: dict[str, str], directories: tuple[str, ...]
) -> None:
    """As the client does."""
    assert discovery.directory(variables) == directories[0]
    assert discovery.directories(variables) == directories


# Our own file.


def test_a_lock_file_says_what_the_client_wants_to_know(environment: dict[str, str], folder: str) -> None:
    """The keys and values of the client's own format; folders whose names are not UTF-8 survive."""
    folders = ("/w", "/é 😀", os.fsdecode(b"/\xff"))
    own = lock_file(environment)
    own.write(folders)
    assert own.path == f"{folder}/12345.lock"
    assert json.loads(os.fsdecode(Path(own.path).read_bytes())) == {
        "pid": os.getpid(),
        "workspaceFolders": list(folders),
        "ideName": "pairside",
        "transport": "ws",
        "authToken": TOKEN,
    }
    own.write(("/w",))
    assert list(discovery.locks(environment)) == [Lock(own.path, 12345, os.getpid(), ("/w",), "pairside", "ws", TOKEN)]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_whatever_the_umask_only_we_can_read_it(environment: dict[str, str], folder: str, mask: int) -> None:
    """The directory is 0700 and the file 0600, also the second time."""
    os.makedirs(os.path.dirname(folder))
    own = lock_file(environment)
    before = os.umask(mask)
    try:
        for _ in range(2):
            own.write(("/w",))
    finally:
        os.umask(before)
    assert (mode(folder), mode(own.path)) == (0o700, 0o600)
    assert os.listdir(folder) == ["12345.lock"]


def test_a_directory_that_others_can_enter_is_closed_to_them(environment: dict[str, str], folder: str) -> None:
    """Another IDE may have made it so."""
    os.makedirs(folder)
    os.chmod(folder, 0o755)
    lock_file(environment).write(("/w",))
    assert mode(folder) == 0o700


def test_whoever_reads_while_it_is_written_finds_a_whole_file(environment: dict[str, str]) -> None:
    """There is no moment without it, and none in which it is half written."""
    own = lock_file(environment)
    own.write(("/0",))
    failures: list[object] = []
    reads = 0
    done = threading.Event()

    def read() -> None:
        nonlocal reads
        while not done.is_set():
            try:
                facts = json.loads(Path(own.path).read_bytes())
                assert len(facts["workspaceFolders"]) == 1000
            except Exception as failure:
                failures.append(failure)
            reads += 1

    own.write(("/0",) * 1000)
    reader = threading.Thread(target=read)
    reader.start()
    number = 0
    while reads < 200:
        number += 1
        own.write((f"/{number}",) * 1000)
    done.set()
    reader.join(5)
    assert failures == []


@pytest.mark.parametrize("obstacle", ["file", "no directory"])
async def test_a_directory_that_cannot_be_used_is_said_with_what_to_do(
    environment: dict[str, str], folder: str, obstacle: str, serving: Serve
) -> None:
    """And a server that cannot be found does not start; nothing of it stays behind."""
    path = Path(folder if obstacle == "file" else os.path.dirname(folder))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(DiscoveryError, match=r"cannot write the lock file .*CLAUDE_CONFIG_DIR"):
        lock_file(environment).write(("/w",))
    with pytest.raises(StartError, match="CLAUDE_CONFIG_DIR"):
        async with serving():
            pass
    assert os.listdir(runtime.directory(environment)) == ["start.lock"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(environment: dict[str, str], folder: str) -> None:
    """Its owner could read the token."""
    os.makedirs(folder)
    os.chown(folder, 12345, 12345)
    with pytest.raises(DiscoveryError, match="cannot write"):
        lock_file(environment).write(("/w",))
    assert os.listdir(folder) == []


def test_a_failed_write_leaves_neither_a_temporary_file_nor_harm(environment: dict[str, str], folder: str) -> None:
    """A directory that stands where the lock should go cannot be replaced."""
    own = lock_file(environment)
    os.makedirs(own.path)
    with pytest.raises(DiscoveryError):
        own.write(("/w",))
    assert os.listdir(folder) == ["12345.lock"]


@pytest.mark.parametrize(
    "change",
    [{"authToken": "f" * 32}, {"pid": os.getpid() + 1}, {"authToken": ""}, None, b"{"],
    ids=["token", "pid", "no token", "gone", "broken"],
)
def test_only_the_file_that_we_wrote_is_ours(
    environment: dict[str, str], change: dict[str, Any] | bytes | None
) -> None:
    """Ours is removed; what somebody else put there is not."""
    own = lock_file(environment)
    own.write(("/w",))
    assert own.ours
    if change is None:
        os.unlink(own.path)
    elif isinstance(change, bytes):
        Path(own.path).write_bytes(change)
    else:
        facts = json.loads(Path(own.path).read_bytes())
        Path(own.path).write_text(json.dumps({**facts, **change}))
    before = Path(own.path).read_bytes() if change is not None else None
    assert not own.ours
    own.remove()
    assert (Path(own.path).read_bytes() if os.path.exists(own.path) else None) == before
    assert own.restore()
    assert own.ours
    assert not own.restore()
    own.remove()
    assert not os.path.exists(own.path)


def test_changed_folders_are_written_with_the_same_token(environment: dict[str, str]) -> None:
    """A client that is connected can come back."""
    own = lock_file(environment)
    own.write(("/a",))
    own.write(("/a", "/b"))
    lock = discovery.read(own.path)
    assert lock is not None
    assert (lock.folders, lock.token) == (("/a", "/b"), TOKEN)
    os.unlink(own.path)
    own.restore()
    lock = discovery.read(own.path)
    assert lock is not None
    assert lock.folders == ("/a", "/b")


# A server's lock file.


async def test_the_lock_file_appears_when_the_server_accepts_and_goes_with_it(
    serving: Serve, environment: dict[str, str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written after the socket listens, removed before it closes, whatever the way out."""
    connected: list[bool] = []

    def connects(port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    for name in ("write", "remove"):
        original = getattr(LockFile, name)

        def watched(self: LockFile, *arguments: Any, original: Any = original) -> None:
            connected.append(connects(int(os.path.basename(self.path)[:-5])))
            original(self, *arguments)

        monkeypatch.setattr(LockFile, name, watched)
    with contextlib.suppress(ZeroDivisionError):
        async with serving() as server:
            (lock,) = discovery.locks(environment)
            assert (lock.path, lock.port, lock.pid) == (server.lock_file, server.port, os.getpid())
            assert lock.folders == (str(workspace),)
            assert lock.valid_for(str(workspace))
            raise ZeroDivisionError
    assert connected == [True, True]
    assert list(discovery.locks(environment)) == []


async def test_a_lock_file_that_somebody_removed_or_replaced_is_written_again(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 30 seconds, with the same token; only the process that listens writes the lock of its port."""
    assert runtime.TOUCH_SECONDS + serve.LOCK_CHECK_SECONDS <= 30
    monkeypatch.setattr(runtime, "TOUCH_SECONDS", 0.01)
    monkeypatch.setattr(serve, "LOCK_CHECK_SECONDS", 0.01)
    async with serving() as server:
        written = Path(server.lock_file).read_bytes()
        os.unlink(server.lock_file)
        await until(lambda: os.path.exists(server.lock_file), "the lock file is back")
        Path(server.lock_file).write_text("{}")
        await until(lambda: Path(server.lock_file).read_bytes() == written, "the lock file is ours again")
        os.rename(os.path.dirname(server.lock_file), os.path.dirname(server.lock_file) + ".old")
        await until(lambda: os.path.exists(server.lock_file), "the directory is back")


async def test_a_lock_file_that_cannot_be_written_again_is_tried_again(
    serving: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server goes on meanwhile, and says so."""
    monkeypatch.setattr(runtime, "TOUCH_SECONDS", 0.01)
    monkeypatch.setattr(serve, "LOCK_CHECK_SECONDS", 0.01)
    async with serving() as server:
        folder = Path(server.lock_file).parent
        folder.rename(f"{folder}.old")
        folder.touch()
        await until(lambda: "cannot write the lock file" in caplog.text, "the warning")
        folder.unlink()
        await until(lambda: os.path.exists(server.lock_file), "the lock file is back")


async def test_another_live_ide_for_the_folder_is_said_with_the_command_that_reaches_us(
    serving: Serve, workspace: Path, folder: str
) -> None:
    """With two of them `claude --ide` connects to neither."""
    async with serving() as server:
        assert server.notices() == []
        facts = {"pid": os.getpid(), "workspaceFolders": [str(workspace)], "ideName": "Other", "transport": "ws"}
        rival = write(folder, "4711.lock", facts)
        (notice,) = server.notices()
        for part in ("Other", "4711", f"CLAUDE_CODE_SSE_PORT={server.port}", "/ide"):
            assert part in notice
        os.unlink(rival)
        assert server.notices() == []


# What others wrote.


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("x.lock", {}),
        ("12.json", {}),
        ("-1.lock", {}),
        (".lock", {}),
        ("12.lock.tmp", {}),
        ("12.lock", b""),
        ("12.lock", b"{"),
        ("12.lock", b"[]"),
        ("12.lock", b"null"),
        ("12.lock", b"\xff"),
        ("12.lock", b"[" * 60_000),
        ("12.lock", b" " * 100_000 + b"{}"),
    ],
)
def test_what_is_no_lock_file_is_ignored_and_left_alone(
    environment: dict[str, str], folder: str, name: str, facts: Any
) -> None:
    """As the client does."""
    path = write(folder, name, facts)
    assert discovery.read(path) is None
    assert list(discovery.locks(environment)) == []
    assert os.path.exists(path)


def test_odd_things_in_the_directory_cost_nothing(environment: dict[str, str], folder: str) -> None:
    """A folder, a pipe or a dangling link named like a lock file: no error, no wait, no descriptor."""
    os.makedirs(f"{folder}/1.lock")
    os.mkfifo(f"{folder}/2.lock")
    os.symlink("nowhere", f"{folder}/3.lock")
    before = len(os.listdir("/dev/fd"))
    assert list(discovery.locks(environment)) == []
    assert len(os.listdir("/dev/fd")) == before


def test_keys_that_are_missing_or_odd_count_as_empty(folder: str) -> None:
    """The client connects to a lock without name or pid, so it is one."""
    path = write(folder, "12.lock", {"pid": True, "workspaceFolders": ["/a", 5], "other": 1})
    assert discovery.read(path) == Lock(path, 12, None, ("/a",), "", "", "")
    path = write(folder, "13.lock", {"pid": "7", "workspaceFolders": "/a"})
    assert discovery.read(path) == Lock(path, 13, None, (), "", "", "")


@pytest.mark.parametrize(
    ("folders", "cwd", "valid"),
    [
        (["/x/proj"], "/x/proj", True),
        (["/x/proj"], "/x/proj/sub", True),
        (["/x/proj/"], "/x/proj", True),
        (["/x/proj/sub"], "/x/proj", False),
        (["/x/pro"], "/x/proj", False),
        (["file:///x/proj"], "/x/proj", False),
        (["/other", "/x"], "/x/proj", True),
        (["/"], "/x", True),
        ([], "/x", False),
    ],
)
def test_a_lock_is_valid_where_the_client_takes_it(folder: str, folders: list[str], cwd: str, valid: bool) -> None:
    """In one of its folders or below, by components; and only while its process lives."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait(5)
    for pid, alive in ((os.getpid(), True), (None, True), (gone.pid, False)):
        lock = discovery.read(write(folder, "12.lock", {"pid": pid, "workspaceFolders": folders}))
        assert lock is not None
        assert lock.alive == alive
        assert lock.valid_for(cwd) == (valid and alive)


def test_rivals_are_the_other_live_locks_for_our_folders(environment: dict[str, str], folder: str) -> None:
    """In either directory, for the same folder or one above or below; our own port, dead ones and others are none."""
    environment["CLAUDE_CONFIG_DIR"] = environment["HOME"] + "/config"
    home = folder
    here = discovery.directory(environment)
    assert here != home
    with subprocess.Popen(["true"]) as gone:
        gone.wait(5)
    for where, port, pid, inside in (
        (here, 1, os.getpid(), "/w"),
        (here, 2, os.getpid(), "/w"),
        (home, 3, os.getpid(), "/"),
        (home, 4, gone.pid, "/w"),
        (home, 5, os.getpid(), "/w/sub"),
        (home, 6, os.getpid(), "/wide"),
        (home, 7, gone.pid, "/w/sub"),
    ):
        write(where, f"{port}.lock", {"pid": pid, "workspaceFolders": [inside]})
    assert [lock.port for lock in discovery.rivals(environment, ("/w",), 1)] == [2, 3, 5]
    with contextlib.suppress(FileNotFoundError):
        os.rename(home, home + ".gone")
    assert [lock.port for lock in discovery.rivals(environment, ("/w", "/v"), 1)] == [2]
