"""Owns the editor at the other end of standard input and output: its protocol, and what its facts become.

The protocol is described in docs/front-ends.md, for whoever writes a front-end. A front-end reports and shows; what
follows from that is decided here: how long a selection that was left still stands, what an agent is told while the
editor is busy, and how much may wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import select
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import IO, Annotated, Any, Literal, NamedTuple, NoReturn, TypeVar

import msgspec

from pairside import jsonrpc
from pairside.bridge import Bridge
from pairside.editor import Diagnostic, Document, EditorError, Position, Range, Selection, Spot, language_of
from pairside.journal import Event, Journal
from pairside.jsonrpc import Raw, RpcError
from pairside.peer import Disconnect, Gone, Peer, Reason
from pairside.reviews import NotPending, Undecidable
from pairside.text import clean_unicode, is_absolute, printable
from pairside.told import Count, Found, Place

log = logging.getLogger(__name__)

PROTOCOL = 1
READ_BYTES = 256 * 1024
MESSAGE_BYTES = 256 * 1024 * 1024
UNSENT_BYTES = 16 * 1024 * 1024
"""What may wait for an editor that takes nothing; a request that would come behind more fails."""
ANSWER_SECONDS = 5.0
DEMOTION_SECONDS = 0.05
"""How long a selection stands after the cursor has moved away from where it was left."""
EVENTS_WAITING = 1000
EVENTS_SECONDS = 0.02
STATUS_SECONDS = 0.1
"""The editor is told a new status at most this often."""
SELECTION_STATUS_SECONDS = 1.0
"""And at most this often because the selection is another."""
NAME_LENGTH = 100

T = TypeVar("T", bound="_Answer")


class _Flow(asyncio.BaseProtocol):
    """Knows whether something waits to be written."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    def pause_writing(self) -> None:
        """Something waits."""
        self.free.clear()

    def resume_writing(self) -> None:
        """Everything was written."""
        self.free.set()


class _Arrivals(asyncio.StreamReaderProtocol):
    """Counts what has come from the editor."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.bytes = 0

    def data_received(self, data: bytes) -> None:
        """Some came."""
        self.bytes += len(data)
        super().data_received(data)


class Framed:
    """A `Channel` of messages behind `Content-Length` headers (LSP 3.17, base protocol) over a pair of pipes."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        arrivals: _Arrivals,
        reading: asyncio.ReadTransport,
        writing: asyncio.WriteTransport,
        flow: _Flow,
    ) -> None:
        self._reader = reader
        self._arrivals = arrivals
        self._taken_bytes = 0
        self._reading = reading
        self._transport = writing
        self._flow = flow
        self.ending: Disconnect | None = None
        self.last_received = time.monotonic()

    @classmethod
    async def over(cls, input: IO[bytes], output: IO[bytes]) -> Framed:
        """A channel that reads from one pipe and writes to another; it takes over both."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(READ_BYTES)
        reading, arrivals = await loop.connect_read_pipe(lambda: _Arrivals(reader), input)
        writing, flow = await loop.connect_write_pipe(_Flow, output)
        writing.set_write_buffer_limits(0)
        return cls(reader, arrivals, reading, writing, flow)

    async def receive(self) -> bytes:
        """The next message. Raises `Gone` at the end of the input, and when a header breaks the rules."""
        if self.ending is None:
            try:
                header = await self._reader.readuntil(b"\r\n\r\n")
                body = await self._reader.readexactly(_length(header))
            except asyncio.IncompleteReadError as error:
                self.end(Disconnect(Reason.LOST if error.partial else Reason.CLOSED))
            except (asyncio.LimitOverrunError, ValueError) as error:
                self.end(Disconnect(Reason.VIOLATION, None, str(error)))
            except OSError:
                self.end(Disconnect(Reason.LOST))
            else:
                if self.ending is None:
                    self.last_received = time.monotonic()
                    self._taken_bytes += len(header) + len(body)
                    return _sound(body)
        assert self.ending is not None
        raise Gone(self.ending)

    @property
    def unread(self) -> bool:
        """Whether the editor has said something that was not received yet."""
        if self.ending is not None:
            return False
        if self._arrivals.bytes != self._taken_bytes or self._reading.is_closing():
            return True
        waiting = select.poll()
        waiting.register(self._reading.get_extra_info("pipe"), select.POLLIN)
        return bool(waiting.poll(0))

    @property
    def unsent(self) -> int:
        """How many bytes the editor has not taken yet."""
        return self._transport.get_write_buffer_size()

    async def taken(self) -> None:
        """Wait until the editor has taken everything."""
        await self._flow.free.wait()

    def post(self, text: str) -> None:
        """Queue one message, without waiting, however many wait. Raises `Gone`."""
        if self.ending is not None:
            raise Gone(self.ending)
        body = text.encode("utf-8", "replace")
        self._transport.write(b"Content-Length: %d\r\n\r\n" % len(body))
        self._transport.write(body)

    async def send(self, text: str) -> None:
        """Queue one message.

        Raises:
            Gone: The conversation is over.
            EditorError: The editor takes nothing, and much waits for it already.
        """
        if self.unsent > UNSENT_BYTES:
            raise EditorError("the editor is busy: it takes nothing that is sent to it")
        self.post(text)

    def end(self, why: Disconnect) -> None:
        """End the conversation from this side."""
        if self.ending is None:
            self.ending = why
            self._reading.close()  # what comes now is not taken any more
            self._reader.feed_eof()

    def close(self) -> None:
        """End, and close both pipes at once."""
        self.end(Disconnect(Reason.SHUTDOWN))
        if not self._transport.is_closing():
            self._transport.abort()


def _length(header: bytes) -> int:
    """The length that a header gives.

    Raises:
        ValueError: It gives none, or one that is too large.
    """
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            if not value.strip().isdigit() or int(value) > MESSAGE_BYTES:
                raise ValueError("a Content-Length that is no number, or too large")
            return int(value)
    raise ValueError("a header without Content-Length")


def _sound(body: bytes) -> bytes:
    """A message as valid UTF-8: an editor has texts that are not."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace").encode()
    return body


class _EditorInfo(msgspec.Struct):
    name: str = ""


class Hello(msgspec.Struct):
    """How a front-end introduces itself."""

    protocol: int
    folders: list[str]
    """Once it is told on: the real paths of those that exist."""
    editor: _EditorInfo = msgspec.field(default_factory=_EditorInfo)
    settings: dict[str, str] = {}
    demotion_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = DEMOTION_SECONDS


class _Selected(msgspec.Struct):
    path: str | None = None
    text: str = ""
    start: Place = (0, 0)
    end: Place = (0, 0)
    cursor: Place | None = None
    """Of a text that is selected: where in it the cursor stands."""


class _Saved(msgspec.Struct):
    path: str


class _Folders(msgspec.Struct):
    folders: list[str]


class _Decided(msgspec.Struct):
    id: int
    outcome: Literal["accepted", "rejected"]
    text: str | msgspec.UnsetType = msgspec.UNSET
    hunks: list[int] | msgspec.UnsetType = msgspec.UNSET


class _Id(msgspec.Struct):
    id: int


class _Exit(msgspec.Struct):
    restart: bool = False


class _File(msgspec.Struct):
    path: str
    diagnostics: list[Found] = []


class _Answer(msgspec.Struct):
    failure: str | None = None


class _Files(_Answer):
    files: list[_File] = []


class _Listed(msgspec.Struct):
    path: str
    lines: Count = 0
    language: str | None = None
    active: bool = False
    dirty: bool = False
    untitled: bool = False


class _Documents(_Answer):
    documents: list[_Listed] = []


class _Awaits(_Answer):
    awaits: list[str] = []


class _Shown(_Answer):
    state: str = "shown"


class _Left(NamedTuple):
    """A selection that stands, and where the cursor was when the person left it; None while that is unknown."""

    path: str
    cursor: Position | None


class FrontendEditor:
    """An editor behind the front-end protocol. It satisfies `pairside.editor.Editor`.

    Until `attach` there is no bridge, and the front-end has nothing to say but `hello`.
    """

    def __init__(self, channel: Framed) -> None:
        self.name = "editor"
        self.channel = channel
        self.hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        """What the front-end says of itself."""
        self.welcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        """What it is answered: to be set by whoever starts the server; a failure as an `RpcError`."""
        self.asked_to_exit: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Set when the front-end wants the server to end; whether another one follows."""
        self._welcomed = asyncio.Event()
        self._peer = Peer(channel, self)
        self._bridge: Bridge | None = None
        self._other: Callable[[str, Raw], Awaitable[Any]] | None = None
        self._documents: tuple[Document, ...] | None = None
        self._documents_changed = 0
        self._left: _Left | None = None
        self._cursor: Selection | None = None
        self._demoting: asyncio.TimerHandle | None = None
        self._demotion_seconds = DEMOTION_SECONDS

    async def run(self) -> Disconnect:
        """Hold the conversation until the editor leaves; returns how it ended."""
        return await self._peer.run()

    def attach(
        self,
        bridge: Bridge,
        *,
        answer: Callable[[str, Raw], Awaitable[Any]],
        status: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        """From now on facts go to `bridge`, and the front-end is told what happens there.

        `answer` answers every method that is not one of this protocol; `status` is what the front-end is told of the
        whole.
        """
        self._bridge = bridge
        self._other = answer
        self._peer.accompany(self._tell_events(bridge.journal))
        self._peer.accompany(self._tell_status(bridge, status))

    def tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Tell the front-end something. Never waits, and does nothing if it is gone."""
        try:
            self.channel.post(jsonrpc.notification(method, _without_null(params)))
        except Gone:
            log.debug("%s cannot be told any more", method)

    # What the editor asks and tells.

    def requested(self, method: str, params: Raw) -> Any:
        """The result of a request, or a coroutine that returns it."""
        if method == "hello":
            return self._hello(params)
        if self._bridge is None or self._other is None:
            raise RpcError(jsonrpc.INVALID_REQUEST, "say hello first")
        match method:
            case "review/decided":
                return self._decided(self._bridge, params.to(_Decided))
            case "review/original":
                return self._original(self._bridge, params.to(_Id).id)
        return self._answered(self._other(method, params))

    def notified(self, method: str, params: Raw) -> None:
        """Take a fact; one that is unknown is none of our business."""
        if method == "exit":
            if not self.asked_to_exit.done():
                self.asked_to_exit.set_result(params.to(_Exit).restart)
            return
        if self._bridge is None:
            log.warning("%s before hello", printable(method)[:NAME_LENGTH])
            return
        match method:
            case "selection":
                self._selected(self._bridge, params.to(_Selected))
            case "folders":
                folders = existing_folders(params.to(_Folders).folders)
                if folders:
                    self._bridge.folders.set(folders)
                else:
                    log.warning("folders: none of them exists, so they stay as they are")
            case "document/saved":
                path = params.to(_Saved).path
                if is_absolute(path):
                    self._bridge.spawn(self._bridge.saved(os.path.realpath(path)))
            case "documents/changed":
                self._documents = None
                self._documents_changed += 1
            case "diagnostics/changed":
                for path, found in self._found(params.to(_Files).files).items():
                    self._bridge.diagnostics_changed(path, found)

    async def _hello(self, params: Raw) -> dict[str, Any]:
        if self.hello.done():
            raise RpcError(jsonrpc.INVALID_REQUEST, "hello was said already")
        hello = params.to(Hello)
        if hello.protocol != PROTOCOL:
            why = (
                f"this pairside speaks version {PROTOCOL} of the front-end protocol, and the front-end version "
                f"{hello.protocol}: update the older of the two"
            )
            self._end_after_this(why)
            raise RpcError(jsonrpc.INVALID_PARAMS, why)
        folders = existing_folders(hello.folders)
        if not folders:
            why = "none of the folders exists" if hello.folders else "hello names no folder"
            self._end_after_this(why)
            raise RpcError(jsonrpc.INVALID_PARAMS, why)
        self.name = printable(hello.editor.name)[:NAME_LENGTH] or self.name
        self._demotion_seconds = hello.demotion_seconds
        self.hello.set_result(msgspec.structs.replace(hello, folders=list(folders)))
        welcome = await asyncio.shield(self.welcome)
        # What is told besides comes behind the answer, which is sent before the event loop has its next turn.
        asyncio.get_running_loop().call_soon(self._welcomed.set)
        return _without_null(welcome)

    def _end_after_this(self, why: str) -> None:
        """End the conversation when the answer that is given now has been sent."""
        asyncio.get_running_loop().call_soon(self.channel.end, Disconnect(Reason.VIOLATION, None, why))

    async def _decided(self, bridge: Bridge, told: _Decided) -> dict[str, Any]:
        try:
            text = None if isinstance(told.text, msgspec.UnsetType) else clean_unicode(told.text)
            numbers = None if isinstance(told.hunks, msgspec.UnsetType) else told.hunks
            if told.outcome == "rejected":
                if text is not None or numbers is not None:
                    raise RpcError(
                        jsonrpc.INVALID_PARAMS, "Invalid params: what is rejected has neither text nor hunks"
                    )
                bridge.reviews.reject(told.id, by=self.name)
                return {"outcome": "rejected", "by": self.name}
            if text is not None and numbers is not None:
                raise RpcError(jsonrpc.INVALID_PARAMS, "Invalid params: text or hunks, not both")
            verdict = await bridge.reviews.accept(told.id, by=self.name, numbers=numbers, text=text)
        except (NotPending, Undecidable) as error:
            raise RpcError(jsonrpc.INVALID_REQUEST, str(error)) from None
        return {"outcome": str(verdict.outcome), "by": verdict.by}

    async def _original(self, bridge: Bridge, id: int) -> dict[str, Any]:
        try:
            review = bridge.reviews.get(id)
        except NotPending as error:
            raise RpcError(jsonrpc.INVALID_REQUEST, str(error)) from None
        found = await review.hunks() if review.divisible else ()
        return _without_null(
            {
                "text": review.original.text,
                "hunks": [[hunk.old_start, len(hunk.old), hunk.new_start, len(hunk.new)] for hunk in found],
            }
        )

    async def _answered(self, answer: Awaitable[Any]) -> Any:
        return _present(await answer)

    def _selected(self, bridge: Bridge, told: _Selected) -> None:
        """The person selected something, or moved the cursor.

        A text that was selected stands until the cursor has moved from where the person left it: they may be on
        their way to the agent's terminal.
        """
        if told.path is None:
            self._show(bridge, None)
            return
        path = self._real(told.path)
        start, end = sorted((Position(*told.start), Position(*told.end)))
        selection = Selection(path, told.text, Range(start, end))
        if told.text:
            self._show(bridge, selection)
            self._left = _Left(path, None if told.cursor is None else Position(*told.cursor))
            return
        if self._left is None or self._left.path != path:
            self._show(bridge, selection)
            return
        if self._left.cursor is None:
            self._left = _Left(path, start)
        if self._left.cursor == start and self._demoting is None:
            return
        self._cursor = selection
        if self._demoting is None:
            self._demoting = asyncio.get_running_loop().call_later(
                self._demotion_seconds, lambda: self._show(bridge, self._cursor)
            )

    def _show(self, bridge: Bridge, selection: Selection | None) -> None:
        """From now on this is what is selected."""
        if self._demoting is not None:
            self._demoting.cancel()
        self._left = self._cursor = self._demoting = None
        bridge.select(selection)

    def _real(self, path: str) -> str:
        """The real path of a file that the front-end calls by some name.

        Raises:
            RpcError: It is not absolute.
        """
        if not is_absolute(path):
            raise RpcError(jsonrpc.INVALID_PARAMS, f"Invalid params: not an absolute path: {path[:NAME_LENGTH]!r}")
        path = clean_unicode(path)
        real = _realpath(path, int(time.monotonic()))
        assert self._bridge is not None
        self._bridge.sharing.named(os.path.normpath(path), real)
        return real

    def _found(self, files: list[_File]) -> dict[str, tuple[Diagnostic, ...]]:
        return {self._real(file.path): tuple(one.diagnostic() for one in file.diagnostics) for file in files}

    # What agents and tools ask.

    async def open(self, spot: Spot) -> None:
        """Show a file."""
        params: dict[str, Any] = {"path": spot.path, "focus": spot.focus, "preview": spot.preview}
        if spot.range is not None:
            params["start"] = [spot.range.start.line, spot.range.start.character]
            params["end"] = [spot.range.end.line, spot.range.end.character]
        await self._ask("file/open", params, _Answer)

    async def documents(self) -> tuple[Document, ...]:
        """The files that are open: as the editor told them last, if nothing has changed since.

        That something changed may wait unread: agents are on other sockets, and which is read first is chance.
        """
        if self._documents is not None and not self.channel.unread:
            return self._documents
        known = self._documents_changed
        listed = (await self._ask("documents/list", {}, _Documents)).documents
        with self._understood("documents/list"):
            documents = tuple(
                Document(
                    path := self._real(one.path),
                    one.language or language_of(path),
                    one.lines,
                    active=one.active,
                    dirty=one.dirty,
                    untitled=one.untitled,
                )
                for one in listed
            )
        if known == self._documents_changed:
            self._documents = documents
        return documents

    async def save(self, path: str) -> None:
        """Write an open file with unsaved changes to disk."""
        await self._ask("document/save", {"path": path}, _Answer)

    async def diagnostics(self, path: str | None) -> Mapping[str, tuple[Diagnostic, ...]]:
        """The diagnostics by path, of one file or of all that have any."""
        params = {} if path is None else {"path": path}
        files = (await self._ask("diagnostics/get", params, _Files)).files
        with self._understood("diagnostics/get"):
            found = self._found(files)
        return found if path is None else {path: found.get(path, ())}

    async def show_review(self, id: int, path: str, name: str, text: str) -> None:
        """Show a proposal, however long it takes until the editor can."""
        assert self._bridge is not None
        review = self._bridge.reviews.get(id)
        params = {
            "id": id,
            "path": path,
            "name": name,
            "text": text,
            "new": not review.original.exists,
            "agent": review.client.agent,
            "pid": review.client.pid,
        }
        await self._ask("review/show", params, _Shown, hurry=False)

    def hide_review(self, id: int) -> None:
        """The review is over, however it ended."""
        self.tell("review/hide", {"id": id})

    async def files_changed(self, paths: Collection[str]) -> Collection[str]:
        """Files changed on disk: reload them. Those at which something in the editor will look again."""
        answer = await self._ask("files/changed", {"paths": list(paths)}, _Awaits)
        with self._understood("files/changed"):
            return {self._real(path) for path in answer.awaits}

    def prompted(self) -> None:
        """What is selected stands in front of the person, and stays."""

    async def _ask(self, method: str, params: Mapping[str, Any], type: type[T], *, hurry: bool = True) -> T:
        """The editor's answer, within `ANSWER_SECONDS`; without `hurry` as long as it takes.

        Raises:
            EditorError: It has none, or said why it cannot.
        """
        wait = ANSWER_SECONDS if hurry else None
        await self._welcomed.wait()
        try:
            with self._understood(method):
                answer = (
                    await self._peer.request(method, _without_null(params), seconds=wait, late=self._withdraw)
                ).to(type)
        except Gone:
            # The server ends, and the agent's question stays as it is: an answer would only be about us.
            await _for_ever()
        except TimeoutError:
            raise EditorError(f"{self.name} is busy: no answer within {wait:g} seconds") from None
        if answer.failure is not None:
            raise EditorError(printable(answer.failure))
        return answer

    def _withdraw(self, id: int) -> None:
        """What was not answered in time is not to be done any more: the agent has been told that it was not."""
        self.tell("$/cancelRequest", {"id": id})

    @contextlib.contextmanager
    def _understood(self, method: str) -> Iterator[None]:
        """Make an `EditorError` of an answer that is an error or does not fit."""
        try:
            yield
        except RpcError as error:
            raise EditorError(f"{self.name} gave no good answer to {method}: {printable(error.message)}") from None

    # What the editor is told.

    async def _tell_events(self, journal: Journal) -> None:
        """Tell what happens, a few events at a time, as fast as the editor takes them."""
        await self._welcomed.wait()
        waiting: deque[Event] = deque(maxlen=EVENTS_WAITING)
        came = asyncio.Event()

        def take(event: Event) -> None:
            if event.kind != "call":
                waiting.append(event)
                came.set()

        for event in journal.events:  # an agent that comes back may have been faster than this
            take(event)
        with journal.follow(take):
            while True:
                await came.wait()
                came.clear()
                await self.channel.taken()
                events = [event.told() for event in waiting]
                waiting.clear()
                self.tell("events", {"events": events})
                await asyncio.sleep(EVENTS_SECONDS)

    async def _tell_status(self, bridge: Bridge, status: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """Tell the whole whenever something happened; what the editor did not take in time is left out."""
        await self._welcomed.wait()
        changed = asyncio.Event()
        changed.set()
        watching = asyncio.create_task(_touch(bridge, changed))
        try:
            with bridge.journal.follow(lambda event: None if event.kind == "call" else changed.set()):
                while True:
                    await changed.wait()
                    changed.clear()
                    await self.channel.taken()
                    self.tell("status", await status())
                    await asyncio.sleep(STATUS_SECONDS)
        finally:
            watching.cancel()


async def _touch(bridge: Bridge, changed: asyncio.Event) -> None:
    """Note that the selection or the folders have changed, not too often."""
    version = bridge.selection.version
    while True:
        version = await bridge.selection.changed(version)
        changed.set()
        await asyncio.sleep(SELECTION_STATUS_SECONDS)


async def _for_ever() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody sets this")


@functools.lru_cache(maxsize=1000)
def _realpath(path: str, second: int) -> str:
    """The real path, looked up once a second at most: a cursor that moves asks for it all the time."""
    return os.path.realpath(path)


def existing_folders(folders: list[str]) -> tuple[str, ...]:
    """The real paths of those folders that exist, each once, in their order."""
    real = [os.path.realpath(folder) for folder in folders if is_absolute(folder)]
    return tuple(dict.fromkeys(folder for folder in real if os.path.isdir(folder)))


def _without_null(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object for the wire in which keys without a value are absent."""
    return {key: _present(one) for key, one in value.items() if one is not None}


def _present(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_null(value)
    if isinstance(value, (list, tuple)):
        return [_present(one) for one in value]
    return value
