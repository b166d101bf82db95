"""The conversation of the terminal UI with a server: what is told, what is asked again, and who goes and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pairside import runtime
from pairside.tui import session as module
from pairside.tui.session import CHANGES, REVIEWS, STATUS, Lost, Refused, Session, Watching
from tests.conftest import Serve, address_of, agent
from tests.tui.mounted import ask
from tests.until import until

SECONDS = 10.0


@dataclass
class Told:
    """A session, and what whoever shows it was told."""

    snapshots: list[tuple[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    here: list[bool] = field(default_factory=list)
    gone: list[bool] = field(default_factory=list)

    def watching(self) -> Watching:
        """Keeps everything."""
        return Watching(
            lambda name, value: self.snapshots.append((name, value)),
            self.events.extend,
            lambda facts, again: self.here.append(again),
            self.gone.append,
        )

    def last(self, name: str) -> Any:
        """The newest snapshot of that name; None before the first."""
        return next((value for one, value in reversed(self.snapshots) if one == name), None)

    async def wait(self, name: str, condition: Callable[[Any], bool]) -> None:
        """Wait until the newest snapshot of that name fulfils a condition."""

        def fulfilled() -> bool:
            value = self.last(name)
            return value is not None and condition(value)

        await until(fulfilled, f"{name} is as it should be", SECONDS)


@contextlib.asynccontextmanager
async def session(
    port: int, find: Callable[[], int | None] = lambda: None, **facts: Any
) -> AsyncIterator[tuple[Session, Told]]:
    """A session that runs."""
    told = Told()
    one = Session(port, told.watching(), find, **facts)
    running = asyncio.create_task(one.run())
    try:
        yield one, told
    finally:
        running.cancel()
        ended, _ = await asyncio.wait({running}, timeout=SECONDS)
        assert ended, "it does not end when it is cancelled"
        assert running.cancelled()


async def test_snapshots_come_first_and_after_each_event_that_makes_them_old(serving: Serve, workspace: Path) -> None:
    """Whole, and only those that are touched."""
    async with serving() as server, session(server.port) as (_, told):
        await told.wait(STATUS, lambda status: status["client_count"] == 0)
        await told.wait(REVIEWS, lambda reviews: reviews == [])
        await told.wait(CHANGES, lambda changes: changes["turns"] == [])
        assert told.here == [False]
        async with agent(address_of(server)) as one:
            await told.wait(STATUS, lambda status: status["client_count"] == 1)
            task = asyncio.create_task(one.propose(str(workspace / "a.py"), "a\n"))
            await told.wait(REVIEWS, lambda reviews: len(reviews) == 1)
            await ask(server, "review/reject", {"id": 1})
            await task
            await told.wait(REVIEWS, lambda reviews: reviews == [])
            await one.call("getDiagnostics", uri=f"file://{workspace / 'a.py'}")
            (workspace / "a.py").write_text("a\n")
            await one.call("getDiagnostics")
            await told.wait(CHANGES, lambda changes: len(changes["turns"]) == 1)
            await ask(server, "undo", {"ids": [1]})
            await told.wait(CHANGES, lambda changes: [turn["is_undo"] for turn in changes["turns"]] == [False, True])
        await told.wait(STATUS, lambda status: status["client_count"] == 0)
        await ask(server, "share", {"on": False})
        await told.wait(STATUS, lambda status: not status["sharing"]["on"])
        kinds = [event["kind"] for event in told.events]
        assert [kind for kind in kinds if kind in ("connected", "review", "decided", "change", "undone")] == [
            "connected", "review", "decided", "change", "undone", "change",
        ]  # fmt: skip


async def test_calls_alone_make_nothing_old(serving: Serve, workspace: Path) -> None:
    """There are very many of them, and each is told as an event."""
    async with serving() as server, agent(address_of(server)) as one, session(server.port) as (_, told):
        await told.wait(STATUS, lambda status: status["client_count"] == 1)
        await told.wait(CHANGES, lambda changes: True)
        await told.wait(REVIEWS, lambda reviews: True)
        before = len(told.snapshots)
        for _ in range(20):
            await one.call("getOpenEditors")
        await until(lambda: sum(event["kind"] == "call" for event in told.events) >= 20, "they are told", SECONDS)
        assert len(told.snapshots) == before


async def test_many_events_are_few_questions(serving: Serve, workspace: Path) -> None:
    """Whoever is slow gets the newest snapshot, not each."""
    async with serving() as server, session(server.port) as (_, told):
        await told.wait(STATUS, lambda status: True)
        for number in range(200):
            server.bridge.journal.note("sharing", on=bool(number % 2))
        await until(lambda: sum(event["kind"] == "sharing" for event in told.events) == 200, "they are told", SECONDS)
        await told.wait(STATUS, lambda status: True)
        assert sum(name == STATUS for name, _ in told.snapshots) < 50


async def test_a_refusal_has_the_words_and_the_code(serving: Serve) -> None:
    """Safe to be shown."""
    async with serving() as server, session(server.port) as (one, told):
        await told.wait(STATUS, lambda status: True)
        with pytest.raises(Refused, match="no review 7") as caught:
            await one.request("review/accept", {"id": 7})
        assert caught.value.code == -32001
        with pytest.raises(Refused, match="Method not found"):
            await one.request("no/such")


async def test_all_turns_are_asked_for_as_long_as_they_are_wanted(serving: Serve, workspace: Path) -> None:
    """After an event too."""
    async with serving() as server, agent(address_of(server)) as one, session(server.port) as (watch, told):
        for number in (1, 2):
            await one.call("closeAllDiffTabs")
            await one.call("getDiagnostics", uri=f"file://{workspace / str(number)}")
            (workspace / str(number)).write_text("x")
            await one.call("getDiagnostics")
        await told.wait(CHANGES, lambda changes: [turn["turn"] for turn in changes["turns"]] == [2])
        watch.all_turns = True
        watch.want(CHANGES)
        await told.wait(CHANGES, lambda changes: len(changes["turns"]) == 2)
        await one.call("getDiagnostics", uri=f"file://{workspace / '3'}")
        (workspace / "3").write_text("x")
        await one.call("getDiagnostics")
        await told.wait(CHANGES, lambda changes: len(changes["turns"]) == 2 and len(changes["turns"][1]["files"]) == 2)


async def test_a_server_that_goes_is_told_and_one_that_comes_is_found(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it said of itself; what is asked in between is lost, and said to be."""
    port: int | None = None
    async with contextlib.AsyncExitStack() as stack:
        async with serving() as server:
            one, told = await stack.enter_async_context(session(server.port, lambda: port))
            await until(lambda: told.here == [False], "it is there", SECONDS)
        await until(lambda: told.gone == [False], "it is gone", SECONDS)
        with pytest.raises(Lost):
            await one.request("status")
        async with serving() as server:
            port = server.port
            await until(lambda: told.here == [False, True], "it is there again", SECONDS)
            assert one.facts["port"] == one.port == server.port
            assert (await one.request("status"))["running"]


async def test_a_restart_is_told_as_such_until_it_did_not_come(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that said so is waited for; after a while it is gone like any other."""
    monkeypatch.setattr(module, "RETRIES", 2)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    async with contextlib.AsyncExitStack() as stack:
        async with serving() as server:
            _, told = await stack.enter_async_context(session(server.port))
            await told.wait(STATUS, lambda status: True)  # events are followed by then
            server.bridge.journal.note("restarting", version="2")
        await until(lambda: told.gone == [True, False], "it did not come", SECONDS)


async def test_an_answer_that_never_comes_is_lost(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies between the question and the answer."""
    async with contextlib.AsyncExitStack() as stack:
        async with serving() as server, agent(address_of(server)):
            one, told = await stack.enter_async_context(session(server.port))
            await told.wait(STATUS, lambda status: True)
            gate = asyncio.Event()
            monkeypatch.setattr(server.bridge, "look", lambda seconds: gate.wait())
            asking = asyncio.create_task(one.request("changes"))
            await asyncio.sleep(0)
        with pytest.raises(Lost):
            await asking


@pytest.mark.parametrize("turns", range(8))
async def test_it_ends_whenever_it_is_cancelled(serving: Serve, turns: int) -> None:
    """Also in the moment in which the server goes."""
    async with serving() as server:
        told = Told()
        running = asyncio.create_task(Session(server.port, told.watching(), lambda: None).run())
        await until(lambda: bool(told.here), "it is there", SECONDS)
        for task in asyncio.all_tasks():
            if "Server._met" in repr(task):
                task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running}, timeout=SECONDS)
        assert running.cancelled()


@pytest.mark.parametrize(
    "told_first", [b"", b"nonsense\n", b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}\n']
)
async def test_whatever_answers_there_is_no_end_of_it(environment: dict[str, str], told_first: bytes) -> None:
    """A socket that closes, talks nonsense or refuses the greeting is a server that is not there."""
    path = runtime.socket_path(runtime.directory(os.environ), 1)

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(told_first)
        await reader.read(1000)
        writer.close()

    listener = await asyncio.start_unix_server(met, path)
    async with listener, session(1) as (one, told):
        await until(lambda: bool(told.gone), "it is not there", SECONDS)
        assert told.here == []
        with pytest.raises(Lost):
            await one.request("status")
