"""Owns a conversation: one end of JSON-RPC over any channel, and how a conversation ends.

The same class serves agents, editors and observers. Three rules keep every ending exact:

* Only the reader ends a conversation. `Channel.receive` raises `Gone`; whoever else meets `Gone` keeps quiet.
* A call lives in the conversation's task group. When the conversation ends its calls are cancelled and joined,
  and only then does `Peer.run` return.
* The reader never waits for a call, so a cancellation, an answer or the end is seen while calls run.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from pairside import jsonrpc
from pairside.jsonrpc import Id, Raw, RpcError

log = logging.getLogger(__name__)

MESSAGES_PER_TURN = 32
"""Messages that one conversation may take before the others have their turn of the event loop."""


class Reason(StrEnum):
    """Why a conversation ended."""

    CLOSED = "closed"
    """The peer said goodbye."""
    LOST = "lost"
    """The connection broke without a goodbye."""
    VIOLATION = "violation"
    """The peer broke the rules of its protocol."""
    UNRESPONSIVE = "unresponsive"
    """The peer gave no sign of life, or takes nothing of what is sent to it."""
    SHUTDOWN = "shutdown"
    """This side stopped."""
    CRASHED = "crashed"
    """A defect of this side; the log has the traceback."""


class Disconnect(msgspec.Struct, frozen=True):
    """How a conversation ended, made once where the ending was first seen and never changed.

    `code` is the WebSocket close code (RFC 6455 §7.4) or None where the channel has none.
    """

    reason: Reason
    code: int | None = None
    detail: str = ""


class Gone(Exception):
    """The conversation is over."""

    def __init__(self, why: Disconnect) -> None:
        super().__init__(f"{why.reason} {why.code or ''} {why.detail}".strip())
        self.why = why


class Channel(Protocol):
    """All that a transport provides."""

    @property
    def last_received(self) -> float:
        """When the last byte came, on the monotonic clock."""

    @property
    def ending(self) -> Disconnect | None:
        """How the conversation ended; None while it goes on."""

    async def receive(self) -> str | bytes:
        """The next message. Raises `Gone`, now and at every later call, once the conversation has ended."""

    async def send(self, text: str) -> None:
        """Hand over one message; waiting for the peer to take it is not implied. Raises `Gone`."""

    def end(self, why: Disconnect) -> None:
        """End the conversation from this side. Does nothing when it has ended already."""


class Dispatcher(Protocol):
    """What a conversation is about: the methods of one side."""

    def requested(self, method: str, params: Raw) -> Any:
        """The result of a request, or a coroutine that returns it where that takes waiting.

        Raises `RpcError` to answer with an error; anything else is a defect.
        """

    def notified(self, method: str, params: Raw) -> None:
        """Take a notification. Whatever it raises is logged and answered with nothing."""


class _Batch:
    """Collects the answers to a batch, which travel together (JSON-RPC 2.0 §6)."""

    __slots__ = ("answers", "owed")

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.owed = 0


class Peer:
    """One end of a JSON-RPC conversation."""

    def __init__(
        self,
        channel: Channel,
        dispatcher: Dispatcher,
        *,
        calls: int = 64,
        batches: Callable[[], bool] = lambda: False,
        trace: Callable[[str, str | bytes], None] | None = None,
    ) -> None:
        """`batches` tells whether a batch is welcome now; `trace` sees every text, with "<" (in) or ">" (out)."""
        self.channel = channel
        self._dispatcher = dispatcher
        self._limit = calls
        self._batches = batches
        self._trace = trace
        self._calls: dict[Id, asyncio.Task[None]] = {}
        self._asked: dict[Id, asyncio.Future[Raw]] = {}
        self._companions: list[asyncio.Task[None]] = []
        self._next_id = 0
        self._group: asyncio.TaskGroup | None = None
        self._is_over = False

    @property
    def calls_in_flight(self) -> int:
        """Requests of the other side that have not been answered yet."""
        return len(self._calls)

    async def run(self) -> Disconnect:
        """Hold the conversation until it ends; returns how it ended.

        When it returns, every call and companion has been cancelled and joined.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                why = await self._read()
                self._is_over = True
                for asked in self._asked.values():
                    asked.cancel()
                for task in (*self._companions, *self._calls.values()):
                    task.cancel()
        finally:
            self._group = None
        return why

    def accompany(self, companion: Coroutine[Any, Any, None]) -> None:
        """Let a coroutine run beside the conversation, until that ends; not at all if it has ended since it began."""
        if self._is_over:  # nobody would end what begins now, and the conversation would wait for it
            companion.close()
            return
        assert self._group is not None
        self._companions.append(self._group.create_task(companion))

    async def _read(self) -> Disconnect:
        taken = 0
        while True:
            try:
                text = await self.channel.receive()
            except Gone as gone:
                return gone.why
            await self._take(text)
            taken += 1
            if taken % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _take(self, text: str | bytes) -> None:
        if self._trace is not None:
            self._trace("<", text)
        try:
            message = jsonrpc.parse(text)
        except RpcError as error:
            await self._answer(jsonrpc.failure(error.id, error), None)
            return
        if not isinstance(message, jsonrpc.Batch):
            await self._handle(message, None)
        elif self._batches():
            batch = _Batch()
            batch.owed = 1
            for element in message.messages:
                if isinstance(element, RpcError):
                    batch.owed += 1
                    await self._answer(jsonrpc.failure(element.id, element), batch)
                else:
                    await self._handle(element, batch)
            await self._answer(None, batch)
        else:
            refusal = RpcError(jsonrpc.INVALID_REQUEST, "Invalid Request: this protocol version has no batches")
            await self._answer(jsonrpc.failure(None, refusal), None)

    async def _handle(self, message: jsonrpc.Message, batch: _Batch | None) -> None:
        if isinstance(message, jsonrpc.Request):
            if batch is not None:
                batch.owed += 1
            await self._begin(message, batch)
        elif isinstance(message, jsonrpc.Notification):
            try:
                self._dispatcher.notified(message.method, message.params)
            except RpcError as error:
                log.debug("bad notification %s: %s", message.method, error)
            except Exception:
                log.exception("notification %s failed", message.method)
        else:
            self._settle(message)

    async def _begin(self, request: jsonrpc.Request, batch: _Batch | None) -> None:
        if request.id in self._calls:
            error = RpcError(jsonrpc.INVALID_REQUEST, "Invalid Request: this id is already in flight")
        elif len(self._calls) >= self._limit:
            error = RpcError(jsonrpc.OVERLOADED, f"too many calls in flight (limit {self._limit})")
        else:
            assert self._group is not None
            answer: dict[str, Any] | None
            try:
                value = self._dispatcher.requested(request.method, request.params)
                if inspect.iscoroutine(value):
                    call = self._group.create_task(self._call(request.id, value, batch))
                    self._calls[request.id] = call
                    call.add_done_callback(lambda call: self._count_out(call, value, batch))
                    await asyncio.sleep(0)  # it begins before the next message is read, which may be about it
                    return
                answer = jsonrpc.result(request.id, value)  # what needs no waiting needs no task
            except Exception as problem:
                answer = self._failure(request.id, problem)
            await self._answer(answer, batch)
            return
        await self._answer(jsonrpc.failure(request.id, error), batch)

    async def _call(self, id: Id, working: Coroutine[Any, Any, Any], batch: _Batch | None) -> None:
        """Work on one request that takes waiting."""
        answer: dict[str, Any] | None
        try:
            answer = jsonrpc.result(id, await working)
        except Gone:
            return
        except Exception as problem:
            answer = self._failure(id, problem)
        finally:
            if self._calls.get(id) is asyncio.current_task():
                del self._calls[id]
        await self._answer(answer, batch)

    @staticmethod
    def _failure(id: Id, problem: Exception) -> dict[str, Any]:
        """The answer that an exception becomes: the single place for that. What was no `RpcError` stays in the log."""
        if isinstance(problem, RpcError):
            return jsonrpc.failure(id, problem)
        log.error("a request failed", exc_info=problem)
        return jsonrpc.failure(id, RpcError(jsonrpc.INTERNAL_ERROR, "Internal error"))

    def _count_out(self, call: asyncio.Task[None], working: Coroutine[Any, Any, Any], batch: _Batch | None) -> None:
        """A cancelled call owes its batch nothing any more; it may have been cancelled before it began."""
        working.close()
        if batch is not None and call.cancelled() and self._group is not None and self.channel.ending is None:
            self._group.create_task(self._answer(None, batch))

    async def _answer(self, answer: dict[str, Any] | None, batch: _Batch | None) -> None:
        """Send an answer, or keep it until its batch is complete."""
        try:
            if batch is None:
                await self._send(self._encoded(answer))
                return
            batch.owed -= 1
            if answer is not None:
                batch.answers.append(answer)
            if batch.owed == 0 and batch.answers:
                await self._send("[" + ",".join(map(self._encoded, batch.answers)) + "]")
        except Gone:
            pass

    @staticmethod
    def _encoded(answer: dict[str, Any] | None) -> str:
        assert answer is not None
        try:
            return jsonrpc.encode(answer)
        except (TypeError, ValueError):
            log.exception("an answer cannot be encoded")
            error = RpcError(jsonrpc.INTERNAL_ERROR, "Internal error")
            return jsonrpc.encode(jsonrpc.failure(answer["id"], error))

    def cancel(self, id: Id) -> bool:
        """Cancel a call of the other side; it gets no answer then. Returns whether there was one.

        The id is free again at once: the caller may use it for its next request.
        """
        call = self._calls.pop(id, None)
        if call is None:
            return False
        call.cancel()
        return True

    async def notify(self, method: str, params: Any) -> None:
        """Tell the other side something. Raises `Gone`."""
        await self._send(jsonrpc.notification(method, params))

    async def tell(self, text: str) -> None:
        """Send a notification that was encoded before, for several peers. Raises `Gone`."""
        await self._send(text)

    async def request(
        self,
        method: str,
        params: Any,
        *,
        seconds: float | None,
        late: Callable[[int], None] = lambda id: None,
    ) -> Raw:
        """Ask the other side and wait for its answer. `late` is told the id of a request that is given up.

        Raises:
            Gone: The conversation ended before the answer came.
            RpcError: The answer was an error.
            TimeoutError: There was none within `seconds`; None waits as long as it takes.
        """
        self._next_id += 1
        id = self._next_id
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._asked[id] = answer
        try:
            await self._send(jsonrpc.request(id, method, params))
            async with asyncio.timeout(seconds):
                try:
                    return await answer
                except asyncio.CancelledError:
                    if answer.cancelled() and self.channel.ending is not None:
                        raise Gone(self.channel.ending) from None
                    raise
        except TimeoutError:
            late(id)
            raise
        finally:
            del self._asked[id]

    def _settle(self, response: jsonrpc.Response) -> None:
        answer = self._asked.get(response.id) if response.id is not None else None
        if answer is None or answer.done():
            log.debug("an answer to nothing we asked: id %r", response.id)
        elif response.error is not None:
            answer.set_exception(response.error)
        else:
            answer.set_result(response.result or Raw(None))

    async def _send(self, text: str) -> None:
        if self._trace is not None:
            self._trace(">", text)
        await self.channel.send(text)


def wall_clock(moment: float) -> float:
    """Seconds since the epoch of a moment given on the monotonic clock."""
    return time.time() - (time.monotonic() - moment)
