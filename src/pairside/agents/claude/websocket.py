"""Owns the WebSocket transport: TCP, the handshake, frames, keepalive and how a connection ends.

The parser is the Sans-I/O protocol of `websockets`; everything that decides when a connection ends is here.

How an ending is decided. `Connection.ending` is set once, at the first of: a Close frame parsed, a violation,
end of file, a reset, or our own Close. `receive` raises from then on; nothing that happens later changes it.
The TCP connection then lingers for a moment so that the Close frames can cross; that is the transport's private
matter, bounded by `Limits.linger_seconds`.

How bytes are bounded. Nothing is read while more than the high-water mark waits to be sent, or while more
messages than one reader's turn wait to be taken. A client that leaves more than `Limits.unsent_bytes` unread is
dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import secrets
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from pairside.agents.claude.socket_owner import SocketOwners
from pairside.limits import Limits
from pairside.peer import Disconnect, Gone, Reason
from pairside.text import cut

log = logging.getLogger(__name__)

# The library logs headers, the token among them, at DEBUG; this logger never lets it.
_library_log = logging.getLogger(f"{__name__}.parser")

TOKEN_HEADER = "X-Claude-Code-Ide-Authorization"
SUBPROTOCOL = "mcp"

NO_STATUS = 1005
ABNORMAL = 1006
GOING_AWAY = 1001
INVALID_DATA = 1007
TOO_BIG = 1009
INTERNAL_ERROR = 1011

CONTROL_FRAME_BYTES = 125
CLOSE_REASON_BYTES = 123
READ_BYTES = 256 * 1024
SMALL_READ_BYTES = 8 * 1024
"""What is read at once while frames are small: parsing it must not hold up the others (1,150 frames take 10 ms)."""
HIGH_WATER = 1024 * 1024
INBOX_MESSAGES = 256
SOCKETS_ABOVE_LIMITS = 256
BACKLOG = 128
TOGETHER_BYTES = 64 * 1024
"""Answers to messages that came together leave together, up to so many bytes."""

_LOOPBACK_HOST = re.compile(r"(?:localhost|[a-z0-9.-]+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?", re.IGNORECASE)


def new_token() -> str:
    """128 fresh random bits, as 32 hexadecimal digits."""
    return secrets.token_hex(16)


class _Protocol(ServerProtocol):
    def select_subprotocol(self, subprotocols: object) -> Subprotocol | None:
        """Echo `mcp` where it is offered (the CLI drops us otherwise), never require it (others offer none)."""
        return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in (subprotocols or ()) else None  # type: ignore[operator]


class Connection(asyncio.BufferedProtocol):
    """One TCP connection, and once its handshake is accepted a `Channel` of text messages."""

    __slots__ = (
        "_collected",
        "_drained",
        "_drained_at",
        "_early",
        "_fragments",
        "_fragments_left",
        "_header",
        "_inbox",
        "_paused",
        "_pinged",
        "_response",
        "_server",
        "_socket_gone",
        "_text",
        "_timer",
        "_transport",
        "_waiter",
        "_written",
        "_ws",
        "accepted",
        "ending",
        "last_received",
        "user_agent",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ws = _Protocol(max_size=server.limits.message_bytes + CONTROL_FRAME_BYTES, logger=_library_log)
        self._transport: asyncio.Transport | None = None
        self._header: bytearray | None = bytearray()
        self._response: Response | None = None
        self._early = b""
        self._inbox: deque[str | bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._fragments: bytearray | None = None
        self._fragments_left = 0
        self._text = False
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._pinged = 0.0
        self._collected = 0
        """Bytes of messages that wait for those behind them to be taken."""
        self._written = 0
        self._drained = 0
        self._drained_at = 0.0
        self._socket_gone = False
        self.accepted = False
        """Whether the handshake was answered with 101."""
        self.ending: Disconnect | None = None
        """How the conversation ended; None while it goes on."""
        self.last_received = 0.0
        """When the last byte came, on the monotonic clock."""
        self.user_agent = ""
        """The User-Agent of the handshake, as the client sent it."""

    # The channel.

    async def receive(self) -> str | bytes:
        """The next message: str for a text message, bytes for a binary one. Raises `Gone` after the last."""
        while not self._inbox:
            if self._collected:
                self._flush()
            if self.ending is not None:
                raise Gone(self.ending)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._inbox.popleft()
        if self._paused and len(self._inbox) == 0:
            self._flow()
        return message

    async def send(self, text: str) -> None:
        """Queue one text message for the client. Raises `Gone`, also when the client leaves too much unread."""
        if self.ending is not None:
            raise Gone(self.ending)
        data = text.encode()
        self._ws.send_text(data)
        self._collected += len(data)
        # While more has come the reader will be back, without waiting for anybody: one segment for many small answers.
        if not self._inbox or self._collected > TOGETHER_BYTES:
            self._flush()
        if self.ending is not None:  # _flush may have found that the client takes nothing
            raise Gone(self.ending)

    def end(self, why: Disconnect) -> None:
        """Send a Close frame with the code of `why` and end; what was not yet taken from the inbox is dropped."""
        if self.ending is not None:
            return
        self._inbox.clear()
        self._finish(why)
        if self._ws.state is State.OPEN:
            self._ws.send_close(why.code or INTERNAL_ERROR, cut(why.detail, CLOSE_REASON_BYTES))
            self._flush()
        elif not self.accepted:
            self._abort()

    # The handshake.

    def accept(self) -> None:
        """Answer the handshake with 101. Call it only inside the registry's admission."""
        assert self._response is not None
        if self.ending is not None:
            return
        self._cancel_timer()
        self._ws.send_response(self._response)
        self._response = None
        self.accepted = True
        self._flush()
        if self._early:
            early, self._early = self._early, b""
            self._feed(early)

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer the handshake with an HTTP error and close."""
        if self.ending is not None:
            return
        response = self._ws.reject(status, text + "\n")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = "GET"
        if status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = TOKEN_HEADER
        self._finish(Disconnect(Reason.VIOLATION, None, f"handshake refused: {status.value} {text}"))
        if self._ws.eof_sent:  # the parser gave up on what is no HTTP, without a word to the client
            self._write(response.serialize())
        else:
            self._ws.send_response(response)
        self._flush()
        self._end_of_writing()
        log.info("refused a connection: %d %s", status.value, text)

    def _take_header(self, data: bytes) -> None:
        """Collect the handshake's header; the parser gets it whole, so that no frame is read before the 101."""
        header = self._header
        assert header is not None
        searched = max(0, len(header) - 3)
        header += data
        end = header.find(b"\r\n\r\n", searched) + 4
        if (end if end > 3 else len(header)) > self._server.limits.handshake_bytes:
            self._header = None
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the header is too large")
            return
        if end <= 3:
            return
        self._header = None
        self._early = bytes(header[end:])
        self._ws.receive_data(bytes(header[:end]))
        events = self._ws.events_received()
        if not events:
            if self._ws.writes[:1] not in ([], [b""]):  # the library answered: 414 or 431
                self._finish(Disconnect(Reason.VIOLATION, None, "handshake refused: the header is too large"))
                self._flush()
            else:
                self.refuse(HTTPStatus.BAD_REQUEST, "this is not a WebSocket handshake")
            return
        request = events[0]
        assert isinstance(request, Request)
        refusal = self._server.judge(request)
        if refusal is not None:
            self.refuse(*refusal)
            return
        response = self._ws.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            text = response.body.decode(errors="replace").partition("\n")[0]
            self._finish(Disconnect(Reason.VIOLATION, None, f"handshake refused: {response.status_code} {text}"))
            self._ws.send_response(response)
            self._flush()
            log.info("refused a connection: %d %s", response.status_code, text)
            return
        self._response = response
        self.user_agent = request.headers.get_all("User-Agent")[0] if "User-Agent" in request.headers else ""
        request.headers.clear()  # the parser holds on to the request for as long as the connection lives
        self._server.start_session(self)

    def _handshake_timeout(self) -> None:
        self._timer = None
        self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the handshake took too long")

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.last_received = self._drained_at = time.monotonic()
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._timer = asyncio.get_running_loop().call_later(
            self._server.limits.handshake_seconds, self._handshake_timeout
        )
        self._server.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        # One buffer serves all connections: it is filled and emptied within one step of the event loop.
        amid_large_frame = len(self._ws.reader.buffer) >= SMALL_READ_BYTES
        return self._server.large_buffer if amid_large_frame else self._server.small_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.last_received = time.monotonic()
        data = bytes(self._server.large_buffer[:nbytes])
        if self.accepted:
            self._feed(data)
        elif self.ending is not None:
            pass  # a refused handshake: what still comes is thrown away
        elif self._header is not None:
            self._take_header(data)
        else:
            self._early += data  # between the header and our 101
            if len(self._early) > self._server.limits.handshake_bytes:
                self.end(Disconnect(Reason.VIOLATION, None, "data before the handshake was answered"))

    def eof_received(self) -> bool:
        if self.accepted and not self._ws.reader.eof:
            self._ws.receive_eof()
        self._finish(Disconnect(Reason.LOST, ABNORMAL, "the connection ended without a Close frame"))
        self._flush()
        return False  # the transport closes, sending first what is queued; the timer of _finish bounds that

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket_gone = True
        detail = "the connection was reset" if exc is not None else "the connection ended without a Close frame"
        self._finish(Disconnect(Reason.LOST, ABNORMAL, detail))
        self._cancel_timer()
        self._server.closed(self)

    def pause_writing(self) -> None:
        self._flow()

    def resume_writing(self) -> None:
        self._flow()

    # Frames.

    def _feed(self, data: bytes) -> None:
        if self._ws.reader.eof:
            return
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if self.ending is not None:
                break
            assert isinstance(event, Frame)
            self._take_frame(event)
        if self.ending is None:
            self._see_ending()
        self._flush()
        if self._waiter is None and len(self._inbox) > INBOX_MESSAGES:
            self._flow()

    def _take_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            if frame.fin:
                self._deliver(frame.data, opcode is Opcode.TEXT)
            else:
                self._fragments = bytearray(frame.data)
                self._fragments_left = self._server.limits.fragments - 1
                self._text = opcode is Opcode.TEXT
        elif opcode is Opcode.CONT:
            assert self._fragments is not None  # the parser refuses a continuation of nothing
            self._fragments_left -= 1
            self._fragments += frame.data
            if self._fragments_left < 0:
                self._violate(TOO_BIG, "too many fragments")
            elif len(self._fragments) > self._server.limits.message_bytes:
                self._violate(TOO_BIG, "the message is too big")
            elif frame.fin:
                message, self._fragments = self._fragments, None
                self._deliver(message, self._text)
        elif opcode is Opcode.CLOSE:
            self._see_ending()

    def _deliver(self, data: bytes | bytearray | memoryview, text: bool) -> None:
        if len(data) > self._server.limits.message_bytes:
            self._violate(TOO_BIG, "the message is too big")
            return
        if text:
            try:
                self._inbox.append(str(data, "utf-8"))
            except UnicodeDecodeError:
                self._violate(INVALID_DATA, "a text message is not UTF-8")
                return
        else:
            self._inbox.append(bytes(data))
        self._wake()

    def _violate(self, code: int, detail: str) -> None:
        self._finish(Disconnect(Reason.VIOLATION, code, detail))
        if self._ws.close_sent is None:
            self._ws.fail(code, detail)
        else:
            # The parser was ahead of us, and wants to answer something that came later with a Close of its own.
            close = Frame(Opcode.CLOSE, Close(code, detail).serialize())
            self._ws.writes[:] = [close.serialize(mask=False), b""]

    def _see_ending(self) -> None:
        """Fix the ending that the parser has seen, if it has. A Close inside a fragmented message is a violation."""
        ws = self._ws
        if ws.parser_exc is not None and not isinstance(ws.parser_exc, EOFError):
            code = ws.close_sent.code if ws.close_sent is not None else ABNORMAL
            reason = Reason.CRASHED if code == INTERNAL_ERROR else Reason.VIOLATION
            self._finish(Disconnect(reason, int(code), str(ws.parser_exc)))
        elif ws.close_rcvd is not None:
            self._finish(Disconnect(Reason.CLOSED, int(ws.close_rcvd.code), ws.close_rcvd.reason))

    # Ending.

    def _finish(self, why: Disconnect) -> None:
        """Fix the ending if there is none yet, wake the reader, and bound how long the socket may stay."""
        if self.ending is not None:
            return
        self.ending = why
        self._fragments = None
        self._wake()
        self._cancel_timer()
        if not self._socket_gone:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._server.limits.linger_seconds, self._abort)
            self._flow()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Writing.

    def _flush(self) -> None:
        self._collected = 0
        parts = self._ws.data_to_send()
        if not parts:
            return
        self._write(parts[0] if len(parts) == 1 else b"".join(parts))
        if not parts[-1]:  # the library's mark for the end of writing; nothing stands behind it
            self._end_of_writing()

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if not data or transport is None or transport.is_closing():
            return
        waiting = transport.get_write_buffer_size()
        if waiting > self._server.limits.unsent_bytes:
            self._inbox.clear()
            self._finish(
                Disconnect(Reason.UNRESPONSIVE, INTERNAL_ERROR, f"takes nothing: {waiting} bytes wait to be sent")
            )
            transport.abort()
            return
        transport.write(data)
        self._written += len(data)

    def _end_of_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # it was reset before we had read anything: the transport tells
                self._transport.write_eof()

    def _flow(self) -> None:
        """Read exactly while neither the way out nor the inbox is congested. After the end always read: and discard."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        congested = self.ending is None and (
            transport.get_write_buffer_size() > HIGH_WATER // 4 or len(self._inbox) > INBOX_MESSAGES
        )
        if congested and not self._paused:
            self._paused = True
            transport.pause_reading()
        elif not congested and self._paused:
            self._paused = False
            transport.resume_reading()

    # Keepalive, driven by the server's ticker.

    def excuse(self, now: float) -> None:
        """Start the grace anew: it was us who slept."""
        self.last_received = self._drained_at = now
        self._pinged = 0.0

    def check(self, now: float) -> None:
        """Ping a silent client, end one that was silent for too long or takes nothing."""
        if self.ending is not None or self._transport is None:
            return
        limits = self._server.limits
        waiting = self._transport.get_write_buffer_size()
        drained = self._written - waiting
        if drained != self._drained or waiting == 0:
            self._drained = drained
            self._drained_at = now
        alive = max(self.last_received, self._drained_at) if waiting else self.last_received
        silent = now - alive
        if silent > limits.silence_seconds:
            detail = "no sign of life" if not waiting else f"takes nothing: {waiting} bytes wait to be sent"
            self.end(
                Disconnect(Reason.UNRESPONSIVE, INTERNAL_ERROR, f"{detail} for {limits.silence_seconds:g} seconds")
            )
        elif silent > limits.ping_seconds and self._pinged < alive:
            self._pinged = now
            self._ws.send_ping(b"")
            self._flush()


class Server:
    """Listens on 127.0.0.1 and gives each accepted connection to `session`, in a task of its own."""

    def __init__(self, *, token: str, limits: Limits, session: Callable[[Connection], Awaitable[None]]) -> None:
        """`session` holds the conversation; it must call `Connection.accept` or `Connection.refuse`."""
        self._token = token.encode()
        self.limits = limits
        self.port = 0
        """The port, once `listen` returned."""
        self.large_buffer = memoryview(bytearray(READ_BYTES))
        """Where the event loop puts what it read, for whichever connection it is reading."""
        self.small_buffer = self.large_buffer[:SMALL_READ_BYTES]
        self._session = session
        self._owners = SocketOwners()
        self._sockets: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._all_closed: asyncio.Event | None = None
        _library_log.setLevel(logging.WARNING)

    async def listen(self, port: int | None = None) -> int:
        """Bind and listen; returns the port.

        Without `port` a random one of the range is taken, and the next one when that is in use: by the time a
        free port has been found by looking, somebody else may have it.

        Raises:
            OSError: `port` is in use, or every port of the range is.
        """
        loop = asyncio.get_running_loop()
        last: OSError | None = None
        for candidate in [port] if port else _ports(self.limits.port_min, self.limits.port_max):
            # Named: asyncio sets TCP_NODELAY on no other, and then the second of two answers waits 40 ms for an ACK.
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("127.0.0.1", candidate))
                sock.listen(BACKLOG)
            except OSError as error:
                sock.close()
                last = error
                continue
            self._listener = await loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG)
            self.port = candidate
            self._owners.owner(("127.0.0.1", candidate), ("0.0.0.0", 0))  # so that the kernel is known to answer
            self._ticker = loop.create_task(self._tick(), name="keepalive")
            return candidate
        where = f"port {port}" if port else f"any port of {self.limits.port_min}-{self.limits.port_max}"
        raise OSError(last.errno if last else 0, f"cannot listen on {where}: {last.strerror if last else ''}")

    async def close(self) -> None:
        """Stop listening, end every conversation with SHUTDOWN 1001 and wait until all sockets are closed.

        Takes no longer than twice `Limits.linger_seconds`, whatever the clients do.
        """
        if self._ticker is not None:
            self._ticker.cancel()
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._sockets):
            connection.end(Disconnect(Reason.SHUTDOWN, GOING_AWAY, "pairside stops"))
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self.limits.linger_seconds / 2)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self.limits.linger_seconds / 4)
        if self._sockets:
            self._all_closed = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), self.limits.linger_seconds * 1.25)
        self._owners.close()
        if self._ticker is not None:
            await asyncio.gather(self._ticker, return_exceptions=True)

    # Connections call these.

    def opened(self, connection: Connection) -> None:
        """A TCP connection came."""
        self._sockets.add(connection)
        assert connection._transport is not None
        if not self._owners.is_ours(connection._transport):
            connection.refuse(HTTPStatus.FORBIDDEN, "this server belongs to another user")
        elif len(self._sockets) > self.limits.handshakes + self.limits.clients + SOCKETS_ABOVE_LIMITS:
            connection._abort()
        elif sum(1 for other in self._sockets if not other.accepted and other.ending is None) > self.limits.handshakes:
            connection.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are waiting for their handshake")

    def closed(self, connection: Connection) -> None:
        """A TCP connection is gone."""
        self._sockets.discard(connection)
        if self._all_closed is not None and not self._sockets:
            self._all_closed.set()

    def judge(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """Why a handshake is refused before its WebSocket headers are looked at; None if it is not."""
        headers = request.headers
        if "Origin" in headers:
            return HTTPStatus.FORBIDDEN, "web pages may not connect"
        hosts = headers.get_all("Host")
        if len(hosts) != 1:
            return HTTPStatus.BAD_REQUEST, "exactly one Host header is needed"
        if not _LOOPBACK_HOST.fullmatch(hosts[0].strip()):
            return HTTPStatus.FORBIDDEN, "the Host header does not name this machine"
        if request.method != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, "only GET is allowed"
        if request.path.partition("?")[0] != "/":
            return HTTPStatus.NOT_FOUND, "there is nothing here but /"
        tokens = headers.get_all(TOKEN_HEADER)
        # Encoded first: compare_digest refuses non-ASCII str.
        if len(tokens) != 1 or not secrets.compare_digest(tokens[0].encode(errors="replace"), self._token):
            return HTTPStatus.UNAUTHORIZED, f"the header {TOKEN_HEADER} is missing or wrong"
        return None

    def start_session(self, connection: Connection) -> None:
        """A handshake is good: hold the conversation."""
        task = asyncio.get_running_loop().create_task(self._run(connection), name="session")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: Connection) -> None:
        try:
            if connection.ending is None:
                await self._session(connection)
        except Exception:
            log.exception("a session failed")
        finally:
            connection.end(Disconnect(Reason.CRASHED, INTERNAL_ERROR, "internal error"))

    async def _tick(self) -> None:
        """Look at every connection now and then. A tick that came late means that we slept: nobody is blamed."""
        interval = max(0.01, min(self.limits.ping_seconds, self.limits.silence_seconds - self.limits.ping_seconds) / 4)
        last = time.monotonic()
        while True:
            await asyncio.sleep(interval)
            now = time.monotonic()
            late = now - last > interval * 1.5
            last = now
            self._look(now, late)

    def _look(self, now: float, late: bool) -> None:
        # A function of its own, or the ticker's frame would keep the last connection alive until its next turn.
        for connection in tuple(self._sockets):
            if not connection.accepted:
                continue
            if late:
                connection.excuse(now)
            else:
                connection.check(now)


def _ports(low: int, high: int) -> Iterator[int]:
    """Every port of the range once, from a random one on."""
    count = high - low + 1
    start = random.SystemRandom().randrange(count)
    return (low + (start + step) % count for step in range(count))
