"""The composition: what stands on disk while a server runs agrees with the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pairside import archive, runtime
from pairside.archive import Recording
from pairside.changes import Net
from pairside.jsonrpc import Raw, RpcError
from pairside.limits import Limits
from pairside.observers import Answers, Server
from pairside.serve import Serving, StartError, remembered
from pairside.serve import serving as serve
from pairside.undo import undo

from .conftest import Serve, address_of, agent
from .held import never_held
from .project import project
from .until import until

HELD_SECONDS = 0.25


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


async def test_changes_are_still_known_after_a_restart_and_without_a_server(
    serving: Serve, workspace: Path, environment: dict[str, str]
) -> None:
    """What the agent wrote, what its shell did, what was taken back; it can be taken back then too."""
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    for name in ("a", "b"):
        (workspace / name).write_text("old\n")
    async with serving() as server, agent(address_of(server)) as connected:
        await server.bridge.look(20)
        await connected.call("closeAllDiffTabs")
        await connected.call("getDiagnostics", uri=f"file://{workspace}/a")
        (workspace / "a").write_text("agent\n")
        (workspace / "b").unlink()
    assert [change.means for change in server.bridge.changes] == ["edit", "other"]
    with pytest.raises(RpcError, match="no turn 7"):
        await kept(environment, workspace, "undo", turn=7)
    told = await kept(environment, workspace, "changes")
    assert [(turn["turn"], len(turn["changes"]), turn["ended_at"] is None) for turn in told["turns"]] == [(1, 2, False)]
    done = await kept(environment, workspace, "undo", ids=[2])
    assert [one["outcome"] for one in done["files"]] == ["undone"]
    assert (workspace / "b").read_text() == "old\n"
    async with serving() as server:
        assert [change.means for change in server.bridge.changes] == ["edit", "other", "undo"]
        states = list(server.bridge.changes.states().values())
        assert sorted(states) == ["undone", "written", "written"]
        with pytest.raises(StartError, match="another"):
            await kept(environment, workspace, "changes")
        await undo(server.bridge, server.bridge.changes.net(), by="a test")
    assert (workspace / "a").read_text() == "old\n"


async def test_a_patch_of_a_million_lines_does_not_hold_up_the_event_loop(
    serving: Serve, workspace: Path, environment: dict[str, str]
) -> None:
    """Agents and observers are answered while it is made."""
    async with serving() as server, agent(address_of(server)) as connected:
        await connected.call("getDiagnostics", uri=f"file://{workspace}/a")
        (workspace / "a").write_text("x\n" * 1_000_000)
        await connected.call("getDiagnostics")
    async with never_held(HELD_SECONDS, time.thread_time):
        (told,) = await kept(environment, workspace, "changes/patches", root=str(workspace))
    assert told["patch"].endswith("+x\n" * 1_000_000)


async def kept(environment: dict[str, str], workspace: Path, method: str, **params: Any) -> Any:
    """The answer to an observer's request where no server runs."""
    async with remembered(environment, (str(workspace),), limits=Limits(), recording=Recording()) as answer:
        return await answer(method, Raw(msgspec.Raw(json.dumps(params).encode())))


async def test_where_the_person_does_not_want_it_nothing_is_kept(workspace: Path, environment: dict[str, str]) -> None:
    """Neither on disk nor after the end."""
    (workspace / "a").write_text("old\n")
    recording = Recording(keep=False)
    async with (
        serve((str(workspace),), limits=Limits(), environment=environment, recording=recording) as server,
        agent(address_of(server)) as connected,
    ):
        await connected.call("getDiagnostics", uri=f"file://{workspace}/a")
        (workspace / "a").write_text("agent\n")
        await connected.call("getDiagnostics")
        assert len(server.bridge.changes) == 1
    assert not os.path.exists(archive.location(environment))


async def test_where_nothing_can_be_kept_agents_are_served_all_the_same(serving: Serve, workspace: Path) -> None:
    """Here something else stands where the changes would be kept; the notices say so."""
    async with serving() as server:
        environment = dict(server.environment)
    place = archive.location(environment)
    shutil.rmtree(place)
    Path(place).write_text("in the way")
    (workspace / "a").write_text("old\n")
    async with serving() as server, agent(address_of(server)) as connected:
        assert any("changes are not kept" in notice and place in notice for notice in server.notices())
        await connected.call("getDiagnostics", uri=f"file://{workspace}/a")
        (workspace / "a").write_text("agent\n")
        await connected.call("getDiagnostics")
        await undo(server.bridge, server.bridge.changes.net(), by="a test")
    assert (workspace / "a").read_text() == "old\n"


async def test_what_pairside_writes_itself_is_no_change_of_anybody(
    serving: Serve, environment: dict[str, str], workspace: Path
) -> None:
    """Where the state directory lies in the folder that is served."""
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    environment["XDG_STATE_HOME"] = str(workspace / "state")
    async with serving() as server, agent(address_of(server)) as connected:
        await server.bridge.look(20)
        await connected.call("closeAllDiffTabs")
        await connected.call("getDiagnostics", uri=f"file://{workspace}/a")
        (workspace / "a").write_text("agent\n")
        await connected.call("getDiagnostics")
        await server.bridge.look(20)
        assert [os.path.basename(change.path) for change in server.bridge.changes] == ["a"]
        assert not server.bridge.watch.notices


async def test_a_server_that_starts_while_the_last_one_ends_has_its_changes(
    serving: Serve, workspace: Path, environment: dict[str, str]
) -> None:
    """It waits until the other has let them go; one that goes on keeps its own."""
    (workspace / "a").write_text("old\n")
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with serving() as server, agent(address_of(server)) as connected:
            await connected.call("getDiagnostics", uri=f"file://{workspace}/a")
            (workspace / "a").write_text("agent\n")
            await connected.call("getDiagnostics")
            server.bridge.spawn(slow())
            begun.set()
            await may_end.wait()

    async def slow() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.5)

    running = asyncio.create_task(first())
    await begun.wait()
    async with serving() as other:
        assert len(other.bridge.changes) == 0
    may_end.set()
    await until(lambda: archive.is_about_to_end(environment, [str(workspace)]), "the first one ends")
    async with serving() as last:
        assert len(last.bridge.changes) == 1
    await running


async def test_nothing_is_left_on_disk_of_what_was_forgotten(
    serving: Serve, workspace: Path, environment: dict[str, str]
) -> None:
    """Neither the texts that changes had, nor the objects of our own repository, with a server or without one."""
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    secret = workspace / "secret"
    secret.write_text("it was this\n")

    def kept_objects() -> list[str]:
        """The texts of all objects of our own repositories."""
        texts = []
        for folder in Path(archive.location(environment)).glob("*/git-*"):
            git = ["git", f"--git-dir={folder}", "cat-file", "--batch-all-objects", "--batch"]
            texts.append(subprocess.run(git, capture_output=True, text=True, check=True).stdout)
        return texts

    async def change(server: Serving, text: str) -> None:
        async with agent(address_of(server)) as connected:
            await server.bridge.look(20)
            await connected.call("closeAllDiffTabs")
            secret.write_text(text)
            await server.bridge.look(20)

    async with serving() as server:
        await change(server, "it is that\n")
        assert any("it was this" in text for text in kept_objects())
        answers = Answers(Server(server.bridge, path="", port=0, lock_file="", stop=lambda by: None), by="a test")
        assert await answers.requested("changes/forget", Raw(msgspec.Raw(b"{}"))) == {"forgotten": 1}
        assert not any("it was this" in text for text in kept_objects())
        assert any("it is that" in text for text in kept_objects())
        await change(server, "and now this\n")
        assert len(server.bridge.changes) == 1
    assert await kept(environment, workspace, "changes/forget") == {"forgotten": 1}
    assert kept_objects() == []


async def test_changes_that_come_while_others_are_told_are_told_too(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comparing takes time, and agents do not wait: what was made meanwhile is listed or not, but is no error."""
    async with project(workspace, {"a": "1\n", "b": "1\n"}, agents=2, git=False) as at:
        await at.agents[0].call("closeAllDiffTabs")
        await at.agents[1].call("closeAllDiffTabs")
        await at.edit("a", "2\n", agent=0)
        await at.edit("b", "2\n", agent=1)
        measure = at.changes.measure_net
        written = False

        async def measure_while_it_goes_on(net: Net) -> tuple[int, int] | None:
            nonlocal written
            if not written:
                written = True
                await at.edit("b", "3\n", agent=1)
            return await measure(net)

        monkeypatch.setattr(at.changes, "measure_net", measure_while_it_goes_on)
        server = Server(at.running.bridge, path="", port=0, lock_file="", stop=lambda by: None)
        answers = Answers(server, by="a test")
        told = await answers.requested("changes", Raw(None, {"all": True, "fresh": False}))
        assert [len(turn["changes"]) for turn in told["turns"]] == [1, 2]


def test_the_start_does_not_wait_for_dataclasses_to_be_made() -> None:
    """Each takes as long as fifty structs. Only one has to compare as no struct can: by some of what it holds."""
    program = (
        "import dataclasses\nmade = []\nmake = dataclasses._process_class\n"
        "dataclasses._process_class = lambda cls, *how: made.append(cls) or make(cls, *how)\n"
        "import pairside.__main__, pairside.cli.serve, pairside.serve\n"
        "print([cls.__name__ for cls in made if cls.__module__.startswith('pairside')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "['Image']"
