"""A conversation over an in-memory channel: what is answered, what is cancelled, and that its end is its end."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from pairside.jsonrpc import Raw, RpcError
from pairside.peer import Disconnect, Gone, Peer, Reason, wall_clock

from .until import until

BYE = Disconnect(Reason.CLOSED, 1000, "bye")


class Line:
    """A channel in memory: `put` what the peer is to receive, read what it sent."""

    def __init__(self) -> None:
        self.ending: Disconnect | None = None
        self.last_received = 0.0
        self.sent: list[Any] = []
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()

    def put(self, message: Any) -> None:
        self._inbox.put_nowait(message if isinstance(message, str) else json.dumps(message))

    def ask(self, id: Any, method: str) -> None:
        self.put({"jsonrpc": "2.0", "id": id, "method": method})

    async def receive(self) -> str:
        text = await self._inbox.get() if self.ending is None else None
        if text is None:
            assert self.ending is not None
            raise Gone(self.ending)
        return text

    async def send(self, text: str) -> None:
        if self.ending is not None:
            raise Gone(self.ending)
        self.sent.append(json.loads(text))

    def end(self, why: Disconnect) -> None:
        if self.ending is None:
            self.ending = why
            self._inbox.put_nowait(None)


class Slow:
    """Calls that wait, calls that fail, and a count of those that were cancelled."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.go_on = asyncio.Event()
        self.told: list[str] = []

    async def requested(self, method: str, params: Raw) -> Any:
        self.begun += 1
        match method:
            case "wait":
                try:
                    await self.go_on.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
                return "waited"
            case "bug":
                raise KeyError("a secret of ours")
            case "odd":
                return object()
        raise RpcError(-32601, "Method not found")

    def notified(self, method: str, params: Raw) -> None:
        self.told.append(method)
        if method == "bug":
            raise KeyError("a secret of ours")


async def test_the_end_of_the_channel_cancels_and_joins_every_call_and_companion() -> None:
    """When `run` has returned nothing of the conversation is left, and it returned what the channel said."""
    line, methods = Line(), Slow()
    peer = Peer(line, methods)
    companion_ended = asyncio.Event()

    async def companion() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            companion_ended.set()

    tasks = len(asyncio.all_tasks())
    running = asyncio.create_task(peer.run())
    for id in range(3):
        line.ask(id, "wait")
    await until(lambda: peer.calls_in_flight == 3 == methods.begun, "three calls run")
    peer.accompany(companion())
    await asyncio.sleep(0)  # begun, or it could not say that it ended
    line.end(BYE)
    assert await running == BYE
    assert (methods.cancelled, peer.calls_in_flight, line.sent) == (3, 0, [])
    assert companion_ended.is_set()
    assert len(asyncio.all_tasks()) == tasks


async def test_a_companion_that_comes_when_the_conversation_has_just_ended_does_not_run() -> None:
    """Its calls are being cancelled then: whoever they woke must not keep the conversation from its end."""
    line = Line()
    begun = False

    class Late(Slow):
        async def requested(self, method: str, params: Raw) -> Any:
            try:
                return await super().requested(method, params)
            finally:
                peer.accompany(companion())

    async def companion() -> None:
        nonlocal begun
        begun = True
        await asyncio.Event().wait()

    methods = Late()
    peer = Peer(line, methods)
    running = asyncio.create_task(peer.run())
    line.ask(1, "wait")
    await until(lambda: methods.begun == 1, "the call runs")
    line.end(BYE)
    assert await asyncio.wait_for(running, 5) == BYE
    peer.accompany(companion())
    assert not begun


async def test_a_defect_is_answered_without_what_it_was_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The one place where an exception becomes an answer lets nothing internal out; a value that is none likewise."""
    line, methods = Line(), Slow()
    running = asyncio.create_task(Peer(line, methods).run())
    line.put({"jsonrpc": "2.0", "method": "bug"})
    for id, method in enumerate(("bug", "odd", "nothing")):
        line.ask(id, method)
    await until(lambda: len(line.sent) == 3, "three answers")
    assert sorted((answer["id"], answer["error"]["code"], answer["error"]["message"]) for answer in line.sent) == [
        (0, -32603, "Internal error"),
        (1, -32603, "Internal error"),
        (2, -32601, "Method not found"),
    ]
    assert "secret" not in json.dumps(line.sent)
    assert "a secret of ours" in caplog.text
    line.end(BYE)
    await running


async def test_a_cancelled_call_frees_its_id_and_is_not_answered() -> None:
    """Its id may be used again at once, and the new call alone is answered."""
    line, methods = Line(), Slow()
    peer = Peer(line, methods)
    running = asyncio.create_task(peer.run())
    line.ask(1, "wait")
    await until(lambda: methods.begun == 1, "it runs")
    assert peer.cancel(1)
    assert not peer.cancel(1)
    line.ask(1, "wait")
    await until(lambda: methods.begun == 2, "the second runs")
    methods.go_on.set()
    await until(lambda: bool(line.sent), "an answer")
    line.end(BYE)
    await running
    assert line.sent == [{"jsonrpc": "2.0", "id": 1, "result": "waited"}]
    assert methods.cancelled == 1


async def test_a_question_of_ours_ends_with_its_answer_an_error_a_deadline_or_the_conversation() -> None:
    """Whoever asks is told in every case, and nothing is kept of a question that is over."""
    line = Line()
    peer = Peer(line, Slow())
    running = asyncio.create_task(peer.run())
    asking = [asyncio.create_task(peer.request("q", {}, seconds=5)) for _ in range(3)]
    await until(lambda: len(line.sent) == 3, "three questions")
    ids = [question["id"] for question in line.sent]
    line.put({"jsonrpc": "2.0", "id": ids[0], "result": 5})
    line.put({"jsonrpc": "2.0", "id": ids[1], "error": {"code": 7, "message": "no"}})
    line.put({"jsonrpc": "2.0", "id": 999, "result": "to nothing we asked"})
    assert (await asking[0]).to(int) == 5
    with pytest.raises(RpcError, match="no") as caught:
        await asking[1]
    assert caught.value.code == 7
    with pytest.raises(TimeoutError):
        await peer.request("q", {}, seconds=0.01)
    line.end(BYE)
    with pytest.raises(Gone) as gone:
        await asking[2]
    assert gone.value.why == BYE
    assert await running == BYE
    assert peer._asked == {}
    with pytest.raises(Gone):
        await peer.request("q", {}, seconds=1)


async def test_a_conversation_with_many_messages_lets_the_others_have_their_turn() -> None:
    """However much is there to read, the event loop turns in between."""
    line = Line()
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for _ in range(1000):
        line.put({"jsonrpc": "2.0", "method": "note"})

    other = asyncio.create_task(another())
    methods = Slow()
    running = asyncio.create_task(Peer(line, methods).run())
    await until(lambda: len(methods.told) == 1000, "all is read")
    line.end(BYE)
    await running
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert turns > 20


def test_a_moment_on_the_monotonic_clock_has_a_wall_clock_time() -> None:
    """A minute ago is a minute ago."""
    assert abs(wall_clock(time.monotonic() - 60) - (time.time() - 60)) < 1
