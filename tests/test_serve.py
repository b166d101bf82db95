"""The composition: what stands on disk while a server runs agrees with the server."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from pairside import runtime

from .conftest import Serve, address_of, agent
from .until import until


async def test_when_the_folders_change_the_lock_is_rewritten_with_the_same_token(
    serving: Serve, tmp_path: Path
) -> None:
    """Clients compare the lock with their working directory at every start; connected ones keep their token."""
    async with serving() as server:
        before = json.loads(Path(server.lock_file).read_text())
        other = os.path.realpath(tmp_path)
        async with agent(address_of(server)) as connected:
            server.bridge.folders.set((other, *server.bridge.folders.value))
            await until(
                lambda: json.loads(Path(server.lock_file).read_text())["workspaceFolders"][0] == other, "rewritten"
            )
            after = json.loads(Path(server.lock_file).read_text())
            assert after == {**before, "workspaceFolders": [other, *before["workspaceFolders"]]}
            assert json.loads((await connected.call("getWorkspaceFolders"))[0])["rootPath"] == other
        state = runtime.directory(server.environment)
        record = runtime.read_record(runtime.record_path(state, server.port))
        assert record is not None
        assert record.folders == server.bridge.folders.value
    assert not os.path.exists(server.lock_file)
    assert not os.path.exists(runtime.record_path(state, server.port))
    assert not os.path.exists(runtime.socket_path(state, server.port))


async def test_observers_are_told_all_events_up_to_the_end(serving: Serve) -> None:
    """What comes in a rush is told together, in order; the last event says why the server ends, and is not lost."""
    async with serving() as server:
        path = runtime.socket_path(runtime.directory(server.environment), server.port)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"jsonrpc":"2.0","id":1,"method":"follow","params":{}}\n')
        assert json.loads(await reader.readline())["method"] == "following"
        server.bridge.journal.note("first")
        assert json.loads(await reader.readline())["params"]["kind"] == "first"
        for number in range(500):
            server.bridge.journal.note("rush", count=number)
        await asyncio.sleep(0)  # they wait for their turn now
        server.bridge.journal.note("last")
    told = [json.loads(line)["params"] for line in (await reader.read()).splitlines()]
    writer.close()
    assert [one["count"] for one in told[:-1]] == list(range(500))
    assert [one["kind"] for one in told] == ["rush"] * 500 + ["last"]
