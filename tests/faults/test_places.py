"""The folders that pairside needs, lost, replaced or full while it runs: it says so, and mends what it can."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from pairside import runtime, serve
from pairside.agents.claude import discovery
from tests.conftest import Serve
from tests.until import until

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at every few seconds is looked at at once."""
    monkeypatch.setattr(runtime, "TOUCH_SECONDS", 0.02)
    monkeypatch.setattr(serve, "LOCK_CHECK_SECONDS", 0.04)


async def answers(path: str) -> bool:
    """Whether an observer is greeted there."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {}}\n')
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    return b'"result"' in line


async def test_a_run_directory_that_is_removed_comes_back_with_record_and_socket(
    serving: Serve, environment: dict[str, str]
) -> None:
    """Commands find the server again, and the next one can take it over; a conversation that goes on is not harmed."""
    state = runtime.directory(environment)
    async with serving() as server:
        path = runtime.socket_path(state, server.port)
        reader, writer = await asyncio.open_unix_connection(path)
        before = runtime.read_record(server.record)
        assert before is not None
        shutil.rmtree(state)
        await until(lambda: os.path.exists(path) and os.path.exists(server.record), "they are there again")
        after = runtime.read_record(server.record)
        assert after is not None
        assert (after.token, after.port, after.folders) == (before.token, before.port, before.folders)
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(state).st_mode & 0o777 == 0o700
        assert await answers(path)
        writer.write(b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {}}\n')
        assert b'"result"' in await asyncio.wait_for(reader.readline(), 5)
        writer.close()
    assert os.listdir(state) == []


async def test_folders_that_changed_while_the_lock_directory_was_unusable_are_told_when_it_is_back(
    serving: Serve, environment: dict[str, str], workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, and tried again; the record for the next server is not held up by it."""
    other = workspace / "other"
    other.mkdir()
    folder = Path(discovery.directory(environment))
    async with serving() as server:
        folder.rename(folder.with_name("away"))
        folder.write_text("in the way")
        server.bridge.folders.set((str(other),))
        await until(lambda: "cannot be told yet" in caplog.text, "it is said")
        record = runtime.read_record(server.record)
        assert record is not None
        assert record.folders == (str(other),)
        await asyncio.sleep(0.3)  # several rounds: what is said again and again would be seen
        assert caplog.text.count("cannot write the lock file") <= 2
        folder.unlink()
        folder.with_name("away").rename(folder)

        def told() -> bool:
            lock = discovery.read(server.lock_file)
            return lock is not None and lock.folders == (str(other),)

        await until(told, "agents are told")
    assert os.listdir(folder) == []


async def test_a_lock_directory_that_is_a_link_to_one_of_ours_is_used_and_closed_to_others(
    serving: Serve, environment: dict[str, str], tmp_path: Path
) -> None:
    """Who keeps their settings elsewhere links to them."""
    target = tmp_path / "dotfiles"
    target.mkdir(mode=0o755)
    folder = Path(discovery.directory(environment))
    folder.parent.mkdir()
    folder.symlink_to(target)
    async with serving() as server:
        assert (target / f"{server.port}.lock").exists()
        assert target.stat().st_mode & 0o777 == 0o700


@root_only
@pytest.mark.parametrize("what", ["locks", "run"])
async def test_a_link_to_a_directory_of_another_user_keeps_the_server_from_starting(
    serving: Serve, environment: dict[str, str], tmp_path: Path, what: str
) -> None:
    """Nothing is written there, and its mode stays."""
    target = tmp_path / "theirs"
    target.mkdir(mode=0o777)
    os.chmod(target, 0o777)
    os.chown(target, 12345, 12345)
    folder = Path(discovery.directory(environment) if what == "locks" else runtime.location(environment))
    folder.parent.mkdir(parents=True)
    folder.symlink_to(target)
    with pytest.raises(serve.StartError):
        async with serving():
            pass
    assert os.listdir(target) == []
    assert target.stat().st_mode & 0o777 == 0o777


@pytest.mark.parametrize("name", ["start.lock", "socket"])
async def test_a_link_where_a_file_of_the_run_directory_should_be_is_not_followed(
    serving: Serve, environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    """Neither opened nor replaced through it: what it leads to stays as it is."""
    target = tmp_path / "precious"
    target.write_text("as it was\n")
    state = runtime.directory(environment)
    if name == "start.lock":
        os.symlink(target, os.path.join(state, name))
        with pytest.raises((serve.StartError, OSError)):
            async with serving():
                pass
    else:
        async with serving() as server:
            path = runtime.socket_path(state, server.port)
            os.unlink(path)
            os.symlink(target, path)
            await asyncio.sleep(0.2)  # several rounds of looking after it
    assert target.read_text() == "as it was\n"
