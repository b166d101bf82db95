"""Hostile files where servers look for others: a server starts and serves all the same, and touches none of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pairside import runtime
from pairside.agents.claude import discovery
from pairside.serve import serving
from tests.conftest import address_of, agent

from .strategies import ANY_TEXT, ODD_JSON, VALUES, objects
from .target import LIMITS, SECONDS, tries, watched

NO_PROCESS = 2**22 + 100
PIDS = st.sampled_from([os.getpid(), 0, 1, -1, NO_PROCESS, 2**31, 2**63, 2**200, 1.5, True, None, "1"])
PORTS = st.sampled_from([1, 80, 12345, 65535, 65536, 0, -1, 2**70, "12345", None, 12345.0, True])
TOKENS = st.sampled_from(["0" * 32, "", "short", "é" * 32, "\ud800" * 32, 5, None])
NAMES = st.sampled_from(
    ["12345.lock", "1.lock", "0.lock", "65535.lock", "65536.lock", "99999999999999999999.lock", "٣.lock", "-1.lock",
     ".lock", "x.lock", "12345.lock.tmp", "12345", "12345.json", "80.json", "65536.json", "1.json", ".json", "x.json",
     "12345.sock", "x.sock", "start.lock.x"]
)  # fmt: skip
KINDS = st.sampled_from(["file", "file", "file", "file", "folder", "pipe", "link", "dangling", "loop", "secret"])


def contents(workspace: str) -> st.SearchStrategy[bytes]:
    """What stands in them: records and locks that are nearly good, and anything else."""
    folders = st.sampled_from([[workspace], [], ["/"], workspace, [workspace, 5], None, ["\ud800"], {workspace: 1}])
    nearly = objects(
        {
            "port": PORTS,
            "token": TOKENS,
            "pid": PIDS,
            "folders": folders | VALUES,
            "shares": st.booleans() | VALUES,
            "workspaceFolders": folders | VALUES,
            "ideName": ANY_TEXT | VALUES,
            "transport": ANY_TEXT | VALUES,
            "authToken": TOKENS | VALUES,
        }
    )
    whole = st.builds(
        lambda port, token, pid, folders: json.dumps(
            {"port": port, "token": token, "pid": pid, "folders": folders, "workspaceFolders": folders}
        ).encode(),
        PORTS, TOKENS, PIDS, folders,
    )  # fmt: skip
    return whole | nearly | nearly | ODD_JSON | st.binary(max_size=50)


def put(folder: str, name: str, kind: str, data: bytes, age: float) -> None:
    """Make something of that name in a folder, unless there is one."""
    path = os.path.join(folder, name)
    if os.path.lexists(path):
        return
    if kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "loop":
        os.symlink(path, path)
    elif kind == "dangling":
        os.symlink("/nonexistent", path)
    elif kind == "link":
        Path(folder, "other").write_bytes(data)
        os.symlink(os.path.join(folder, "other"), path)
    else:
        Path(path).write_bytes(data)
        os.chmod(path, 0o644 if kind == "secret" else 0o600)
        os.utime(path, (time.time() - age, time.time() - age))


def seen(folder: str) -> dict[str, Any]:
    """What stands in a folder."""
    found: dict[str, Any] = {}
    for entry in os.scandir(folder):
        if entry.is_symlink():
            found[entry.name] = os.readlink(entry.path)
        elif entry.is_file():
            found[entry.name] = Path(entry.path).read_bytes()
        else:
            found[entry.name] = entry.stat().st_mode
    return found


async def serve(workspace: str, environment: dict[str, str]) -> None:
    """Start a server, have an agent and its status, and end it."""
    async with asyncio.timeout(SECONDS):
        async with serving((workspace,), limits=LIMITS, environment=environment) as server:
            address = address_of(server)
            assert os.stat(server.lock_file).st_mode & 0o777 == 0o600
            path = runtime.socket_path(os.path.dirname(server.record), address.port)
            reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
            writer.write(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n')
            assert json.loads(await reader.readline())["result"]["port"] == address.port
            writer.close()
            await writer.wait_closed()
            async with agent(address) as good:
                assert await good.request("ping") == {}


def test_lock_files_and_records_of_every_kind(workspace: Path, environment: dict[str, str]) -> None:
    """Whatever lies there, the server starts, is found, and leaves everything that is not a dead server's of ours."""
    locks, run = discovery.directory(environment), runtime.directory(environment)

    @tries(60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([locks, run]), NAMES, KINDS, contents(str(workspace)), st.sampled_from([0, 20, 100])
            ),
            min_size=1,
            max_size=5,
        )
    )
    def every(files: list[tuple[str, str, str, bytes, float]]) -> None:
        for folder in (locks, run):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder, mode=0o700)
        for folder, name, kind, data, age in files:
            put(folder, name, kind, data, age)
        swept = {
            f"{record.port}"
            for record in runtime.records(run)
            if not runtime.is_alive(record.pid) and time.time() - record.touched_at > 15
        }
        before = {folder: seen(folder) for folder in (locks, run)}
        asyncio.run(serve(str(workspace), environment))
        defects.check()
        for folder, found in before.items():
            after = seen(folder)
            for name, value in found.items():
                if folder == run and name.endswith(".sock"):
                    continue  # in our own directory nobody else has sockets: one that does not answer is swept
                if name.partition(".")[0] not in swept:
                    assert after.get(name) == value, f"{folder}/{name} is not ours"
            added = set(after) - set(found)
            assert added <= {"start.lock"}, f"{added} is left"

    with watched() as defects:
        every()


def test_what_stands_in_a_folder_of_locks_is_read_as_a_lock_or_not_at_all(workspace: Path) -> None:
    """Reading one never fails, whatever it is."""
    count = 0

    @tries(150)
    @given(NAMES, KINDS, contents("/w"))
    def every(name: str, kind: str, data: bytes) -> None:
        nonlocal count
        count += 1
        folder = workspace / str(count)
        folder.mkdir()
        put(str(folder), name, kind, data, 0)
        lock = discovery.read(str(folder / name))
        assert lock is None or (isinstance(lock.alive, bool) and isinstance(lock.valid_for("/w/x"), bool))
        record = runtime.read_record(str(folder / name))
        assert record is None or (isinstance(record.port, int) and isinstance(runtime.is_alive(record.pid), bool))

    every()
