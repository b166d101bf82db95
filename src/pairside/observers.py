"""Owns the Unix socket through which whoever is not an agent watches and decides: the command line, a terminal UI.

JSON-RPC 2.0, one message a line. An observer is never a client: nothing here is counted, and nothing here can be
seen by an agent. An agent's own shell may look, but not decide; see `Guard`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

import pairside
from pairside import hunks, jsonrpc
from pairside.bridge import Bridge
from pairside.changes import Change, compare
from pairside.clients import NotThere
from pairside.editor import Diagnostic, EditorError, Operated, Position, Range, Severity, Spot
from pairside.journal import Event, masked
from pairside.jsonrpc import Raw, RpcError
from pairside.mentions import Mention
from pairside.peer import Disconnect, Gone, Peer, Reason, wall_clock
from pairside.reviews import NotPending, Review, Undecidable
from pairside.runtime import ancestors
from pairside.sharing import Kind, Withheld
from pairside.text import is_absolute, printable, within

log = logging.getLogger(__name__)

LINE_BYTES = 64 * 1024 * 1024
UNSENT_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 1.0
OBSERVERS = 64
RUSH_SECONDS = 0.02
"""An observer is told of events at most this often."""
EDITOR_SECONDS = 1.0
"""How long a status waits for the editor."""
LINE_CHARACTERS = 400
"""What is told of a line of a proposal to whoever wants only part of it."""

NOT_PENDING = -32001
REFUSED = -32002
UNSUITABLE = -32003

_MARKS = ("CLAUDECODE", "GEMINI_CLI", "OPENCODE")
"""Variables that agents set in the shells they start."""


class Lines:
    """A `Channel` of JSON texts, one a line, over a stream socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.ending: Disconnect | None = None
        self.last_received = time.monotonic()

    async def receive(self) -> bytes:
        """The next line. Raises `Gone` at the end, and when a line is too long."""
        if self.ending is not None:
            raise Gone(self.ending)
        try:
            line = await self._reader.readline()
        except ValueError:
            self.ending = self.ending or Disconnect(Reason.VIOLATION, None, "a line is too long")
        except OSError:
            self.ending = self.ending or Disconnect(Reason.LOST)
        else:
            if line.endswith(b"\n") and self.ending is None:
                self.last_received = time.monotonic()
                return line
            self.ending = self.ending or Disconnect(Reason.CLOSED if not line else Reason.LOST)
        raise Gone(self.ending)

    async def send(self, text: str) -> None:
        """Queue one line. Raises `Gone`, also when the observer leaves too much unread."""
        if self.ending is not None:
            raise Gone(self.ending)
        waiting = self._writer.transport.get_write_buffer_size()
        if waiting > UNSENT_BYTES:
            self.end(Disconnect(Reason.UNRESPONSIVE, None, "takes nothing"))
            raise Gone(Disconnect(Reason.UNRESPONSIVE, None, "takes nothing"))
        self._writer.write(text.encode() + b"\n")

    def end(self, why: Disconnect) -> None:
        """Close."""
        if self.ending is None:
            self.ending = why
            self._reader.feed_eof()


class Guard:
    """Tells whether the process at the other end of a socket runs on behalf of a connected agent.

    An agent must not accept its own proposal. This is a guard against the ordinary case, an agent that runs
    `pairside accept` in its shell, and not a sandbox: a process that hides where it comes from gets past it.
    """

    def __init__(self, bridge: Bridge, pid: int | None) -> None:
        self._bridge = bridge
        self._pid = pid
        self.declared = ""
        """The mark that the caller itself reports from its environment."""

    def check(self) -> None:
        """Raises `RpcError` if the caller is an agent's."""
        mark = self.declared or self._mark()
        if mark:
            raise RpcError(
                REFUSED,
                f"this is an agent's own shell ({mark} is set): only the person may do that, in another terminal",
            )
        agents = {client.pid: client for client in self._bridge.clients if client.pid is not None}
        if self._pid is None or not agents:
            return
        for pid in ancestors(self._pid):
            if pid in agents:
                name = agents[pid].agent or "an agent"
                raise RpcError(
                    REFUSED, f"this runs inside {name} (pid {pid}): only the person may do that, in another terminal"
                )

    def _mark(self) -> str:
        if self._pid is None:
            return ""
        try:
            with open(f"/proc/{self._pid}/environ", "rb") as file:
                names = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
        except OSError:
            return ""
        return next((mark for mark in _MARKS if mark.encode() in names), "")


def peer_pid(connection: socket.socket) -> int | None:
    """The process at the other end of a Unix socket; None where the system does not tell."""
    try:
        if sys.platform.startswith("linux"):
            pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        else:
            local, peer_pid_option = 0, 2  # SOL_LOCAL and LOCAL_PEERPID of macOS
            pid = struct.unpack("i", connection.getsockopt(local, peer_pid_option, 4))[0]
    except (OSError, struct.error):
        return None
    return pid if pid > 0 else None


class RestartError(Exception):
    """The server cannot be started anew; the message says why."""


async def cannot_restart() -> str:
    """What a server does that nothing starts anew. Raises `RestartError`."""
    raise RestartError("this server cannot be restarted from here")


class Server:
    """Listens on a Unix socket and answers observers."""

    def __init__(
        self,
        bridge: Bridge,
        *,
        path: str,
        port: int,
        lock_file: str,
        stop: Callable[[str], None],
        restart: Callable[[], Awaitable[str]] = cannot_restart,
        operated: Operated | None = None,
        notices: Callable[[], list[str]] = list,
    ) -> None:
        """`stop` ends the server; `operated` is the editor, if it can be operated from here.

        `restart` starts the server anew and returns the version that comes; it raises `RestartError`. `notices` says
        what the person should know.
        """
        self.bridge = bridge
        self.path = path
        self.port = port
        self.lock_file = lock_file
        self.stop = stop
        self.restart = restart
        self.operated = operated
        self.notices = notices
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Bind and listen; the socket is for our user alone.

        Raises:
            OSError: The socket cannot be made.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            previous = os.umask(0o177)
            try:
                sock.bind(self.path)
            finally:
                os.umask(previous)
            self._listener = await asyncio.start_unix_server(self._met, sock=sock, limit=LINE_BYTES)
        except BaseException:
            sock.close()
            raise

    async def close(self) -> None:
        """Stop listening, end every conversation and remove the socket."""
        if self._listener is not None:
            self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * LINGER_SECONDS)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        channel = Lines(reader, writer)
        try:
            if len(self._tasks) <= OBSERVERS:
                await Observer(self, channel, peer_pid(writer.get_extra_info("socket"))).run()
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("an observer failed")
        finally:
            channel.end(Disconnect(Reason.SHUTDOWN))
            writer.close()
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), LINGER_SECONDS)
            writer.transport.abort()
            self._tasks.discard(task)


class _Id(msgspec.Struct):
    id: int


class _Show(msgspec.Struct):
    id: int
    lines: int | None = None
    """Tell at most so many lines of hunks, and neither texts nor patch: for whoever shows proposals as they come."""


class _Accept(msgspec.Struct):
    id: int
    hunks: list[int] | None = None
    text: str | None = None


_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class _Select(msgspec.Struct):
    path: str
    start: tuple[_Count, _Count] | None = None
    end: tuple[_Count, _Count] | None = None
    keep: bool = False
    said: str | None = None
    """The name by which the person called the file, as an absolute path: a pattern may exclude that."""


class _Share(msgspec.Struct):
    on: bool | None = None
    """Share with agents, or nothing at all; None asks how it is."""


class _Mention(msgspec.Struct):
    path: str
    force: bool = False
    """Also if the file is excluded from sharing."""
    first: _Count | None = None
    last: _Count | None = None
    said: str | None = None
    client_id: int | None = None
    """Only to this client; if it is left out, to the one that was last active."""


class _Open(msgspec.Struct):
    path: str
    line: _Count | None = None
    said: str | None = None


class _Found(msgspec.Struct):
    message: str
    severity: Severity
    start: tuple[_Count, _Count]
    end: tuple[_Count, _Count]
    source: str | None = None
    code: str | None = None


class _Import(msgspec.Struct):
    source: str
    files: dict[str, list[_Found]]


class _Patches(msgspec.Struct):
    root: str
    """The folder that the names in the patches are relative to, by its real path."""


class _Log(msgspec.Struct):
    wire: bool = False
    contents: bool = False


class _Where(msgspec.Struct):
    where: Literal["here", "terminal"] | None = None
    """Answer proposals here from now on, or in the agents' own terminals; None asks how it is."""


class _Follow(msgspec.Struct):
    calls: bool = False
    """Tell of every call of a tool as well: they are many, and few want to know."""


class _Hello(msgspec.Struct):
    mark: str = ""


class Answers:
    """What somebody who watches and decides is answered: the methods are named after what they do."""

    def __init__(self, server: Server, *, by: str, pid: int | None = None) -> None:
        """`by` is who decides, as others are told; `pid` the process that asks, where it could be an agent's."""
        self._server = server
        self._bridge = server.bridge
        self._by = by
        self._guard = Guard(server.bridge, pid)
        self._methods: dict[str, Callable[[Raw], Any]] = {
            "status": self._status,
            "reviews": self._reviews,
            "review/show": self._show,
            "review/accept": self._accept,
            "review/reject": self._reject,
            "select": self._select,
            "select/clear": self._clear,
            "share": self._share,
            "mention": self._mention,
            "open": self._open,
            "diagnostics/import": self._import,
            "changes": self._changes,
            "changes/patches": self._patches,
            "log": self._log,
            "review/where": self._where,
            "restart": self._restart,
            "stop": self._stop,
        }

    async def requested(self, method: str, params: Raw) -> Any:
        """The result of a request."""
        function = self._methods.get(method)
        if function is None:
            raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method[:100]}")
        try:
            return await function(params)
        except NotPending as error:
            verdict = error.verdict
            data = {"id": error.id, **({"outcome": verdict.outcome, "by": verdict.by} if verdict else {})}
            raise RpcError(NOT_PENDING, str(error), data) from None
        except Withheld as error:
            raise RpcError(UNSUITABLE, f"{error}. To mention it all the same: --force") from None
        except (Undecidable, EditorError, NotThere) as error:
            raise RpcError(UNSUITABLE, str(error)) from None

    async def _status(self, params: Raw) -> dict[str, Any]:
        return await status(self._server)

    async def _reviews(self, params: Raw) -> list[dict[str, Any]]:
        return [await _summary(self._bridge, review) for review in self._bridge.reviews]

    async def _show(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Show)
        review = self._bridge.reviews.get(asked.id)
        found = await review.hunks() if review.divisible else ()
        # In threads, because a long text takes long, and every client waits for the event loop.
        told_hunks, cut = await asyncio.to_thread(_told_hunks, review.text_before, found, asked.lines)
        told = {
            **await _summary(self._bridge, review),
            "original_exists": review.original.exists,
            "divisible": review.divisible,
            "hunk_count": len(found),
            "hunks": told_hunks,
            "cut": cut,
        }
        if asked.lines is None:
            told["original"] = review.original.text
            told["proposed"] = review.proposed
            told["patch"] = await asyncio.to_thread(
                hunks.patch,
                self._relative(review.path),
                review.original.text if review.original.exists else None,
                review.proposed,
                found,
            )
        return told

    async def _accept(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Accept)
        self._guard.check()
        review = self._bridge.reviews.get(asked.id)
        verdict = await self._bridge.reviews.accept(asked.id, by=self._by, numbers=asked.hunks, text=asked.text)
        return {"id": asked.id, "path": review.path, "agent": review.client.agent, "outcome": verdict.outcome}

    async def _reject(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Id)
        self._guard.check()
        review = self._bridge.reviews.get(asked.id)
        self._bridge.reviews.reject(asked.id, by=self._by)
        return {"id": asked.id, "path": review.path, "agent": review.client.agent, "outcome": "rejected"}

    async def _select(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Select)
        self._guard.check()
        range = None
        if asked.start is not None and asked.end is not None:
            range = Range(Position(*asked.start), Position(*asked.end))
        selection = self._operated("select").select(self._path(asked.path, asked.said), range, keep=asked.keep)
        start, end = selection.range.start, selection.range.end
        return {
            "path": selection.path,
            "start": [start.line, start.character],
            "end": [end.line, end.character],
            "characters": len(selection.text),
            "keep": asked.keep,
            "withheld": self._bridge.sharing.why_not(Kind.SELECTION, selection.path),
        }

    async def _clear(self, params: Raw) -> dict[str, Any]:
        self._guard.check()
        self._operated("select").clear()
        return {}

    async def _share(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Share)
        if asked.on is not None:
            self._guard.check()
            self._bridge.share(asked.on)
        return await _sharing(self._bridge)

    async def _mention(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Mention)
        self._guard.check()
        path = self._path(asked.path, asked.said)
        client = await self._bridge.mention(Mention(path, asked.first, asked.last, asked.force), asked.client_id)
        seconds = self._bridge.limits.mention_seconds
        if client is None:
            return {"delivered": False, "waits_seconds": seconds}
        return {"delivered": True, "client_id": client.id, "agent": client.agent, "pid": client.pid}

    async def _open(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Open)
        self._guard.check()
        spot = None if asked.line is None else Range(Position(asked.line, 0), Position(asked.line, 0))
        path = self._path(asked.path, asked.said)
        await self._bridge.editor.open(Spot(path, spot))
        return {"path": path, "withheld": self._bridge.sharing.why_not(Kind.OPEN_FILES, path)}

    async def _import(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Import)
        self._guard.check()
        by_path: dict[str, list[_Found]] = {}
        for path, some in asked.files.items():
            by_path.setdefault(self._path(os.path.realpath(self._path(path)), path), []).extend(some)
        found = {
            path: tuple(
                Diagnostic(
                    one.message,
                    one.severity,
                    Range(Position(*one.start), Position(*one.end)),
                    one.source,
                    one.code,
                )
                for one in diagnostics
            )
            for path, diagnostics in by_path.items()
        }
        self._operated("diagnostics import").import_diagnostics(asked.source, found)
        return {"source": asked.source, "files": len(found), "diagnostics": sum(map(len, found.values()))}

    async def _changes(self, params: Raw) -> list[dict[str, Any]]:
        await self._bridge.settle()
        told = []
        for change in self._bridge.changes:
            size = await change.measure()
            added, removed = size or (None, None)
            told.append(
                {
                    "id": change.id,
                    "client_id": change.client_id,
                    "agent": change.agent,
                    "path": change.path,
                    "at": change.at,
                    "kind": _kind(change),
                    "reviewed": False,
                    "note": "" if size else _why_not(change),
                    "added": added,
                    "removed": removed,
                }
            )
        return told

    async def _patches(self, params: Raw) -> list[dict[str, Any]]:
        """What the changes amount to, oldest first: `git apply -R` goes backwards through patches by itself (2.30)."""
        root = os.path.normpath(self._path(params.to(_Patches).root))
        await self._bridge.settle()
        told = []
        for change in self._bridge.changes.net():
            patch, note = None, ""
            if not within(change.path, (root,)):
                note = f"it lies outside {root}"
            elif (compared := await compare(change)) is None:
                note = _why_not(change)
            else:
                assert change.after is not None
                patch = hunks.patch(
                    os.path.relpath(change.path, root),
                    compared.before if change.before.exists else None,
                    compared.after if change.after.exists else None,
                    compared.found,
                )
            told.append({"path": change.path, "kind": _kind(change), "patch": patch, "note": note})
        return told

    async def _log(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Log)
        told: dict[str, Any] = {"events": [event.told() for event in self._bridge.journal.events]}
        if asked.wire:
            if asked.contents:
                self._guard.check()
            told["frames"] = [
                {
                    "at": frame.at,
                    "client_id": frame.client_id,
                    "direction": frame.direction,
                    "length": frame.length,
                    **({"contents": masked(frame.contents)} if asked.contents else {}),
                }
                for frame in self._bridge.journal.frames
            ]
        return told

    async def _where(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Where)
        if asked.where is not None:
            self._guard.check()
            self._bridge.review_here(asked.where == "here")
        return {"where": "here" if self._bridge.reviews_here else "terminal"}

    async def _restart(self, params: Raw) -> dict[str, Any]:
        self._guard.check()
        try:
            version = await self._server.restart()
        except RestartError as error:
            raise RpcError(UNSUITABLE, str(error)) from None
        return {"pid": os.getpid(), "version": version, "unreviewed_changes": len(self._bridge.changes)}

    async def _stop(self, params: Raw) -> dict[str, Any]:
        self._guard.check()
        self._server.stop(self._by)
        return {"pid": os.getpid()}

    def _path(self, path: str, said: str | None = None) -> str:
        """A path that an observer named, and perhaps by another name than that of the file."""
        for one in (path, said):
            if one is not None and not is_absolute(one):
                raise RpcError(jsonrpc.INVALID_PARAMS, "Invalid params: not an absolute path")
        if said is not None:
            self._bridge.sharing.named(os.path.normpath(said), path)
        return path

    def _operated(self, what: str) -> Operated:
        if self._server.operated is None:
            raise EditorError(f"{what} is done in {self._bridge.editor.name} itself")
        return self._server.operated

    def _relative(self, path: str) -> str:
        root = self._bridge.folders.value[0] if self._bridge.folders.value else "/"
        return os.path.relpath(path, root) if self._bridge.inside(path) else path.lstrip("/")


class Observer(Answers):
    """One observer's conversation."""

    def __init__(self, server: Server, channel: Lines, pid: int | None) -> None:
        super().__init__(server, by="the command line", pid=pid)
        self._peer = Peer(channel, self)
        self._methods |= {"hello": self._hello, "follow": self._follow}

    async def run(self) -> None:
        """Answer until the observer leaves."""
        await self._peer.run()

    def notified(self, method: str, params: Raw) -> None:
        """Observers tell nothing."""

    async def _hello(self, params: Raw) -> dict[str, Any]:
        self._guard.declared = printable(params.to(_Hello).mark)[:100]
        return {
            "version": pairside.__version__,
            "pid": os.getpid(),
            "port": self._server.port,
            "editor": self._bridge.editor.name,
            "folders": list(self._bridge.folders.value),
        }

    async def _follow(self, params: Raw) -> None:
        """Tell every event from now on, until the observer leaves. An observer that lags misses the oldest."""
        asked = params.to(_Follow)
        waiting: asyncio.Queue[Event] = asyncio.Queue(maxsize=1000)

        def take(event: Event) -> None:
            if event.kind == "call" and not asked.calls:
                return
            if waiting.full():
                waiting.get_nowait()
            waiting.put_nowait(event)

        with self._bridge.journal.follow(take):
            await self._peer.notify("following", {})
            try:
                while True:
                    event = await waiting.get()
                    await self._tell([event, *_taken(waiting)])
                    # What comes in a rush is told together: waking an observer for each event costs agents more.
                    await asyncio.sleep(RUSH_SECONDS)
            finally:
                await self._tell(_taken(waiting))  # the last of all says why the server ends

    async def _tell(self, events: Sequence[Event]) -> None:
        """Tell events, without waiting."""
        if events:
            with contextlib.suppress(Gone):
                await self._peer.tell("\n".join(jsonrpc.notification("event", event.told()) for event in events))


async def status(server: Server) -> dict[str, Any]:
    """What there is to know about a server, every figure derived from its one source at this moment."""
    bridge = server.bridge
    clients = bridge.clients
    return {
        "running": True,
        "pid": os.getpid(),
        "port": server.port,
        "version": pairside.__version__,
        "editor": bridge.editor.name,
        "workspace_folders": list(bridge.folders.value),
        "lock_file": server.lock_file,
        "connects": clients.arrivals,
        "disconnects": clients.departures_told,
        "client_count": len(clients),
        "clients": [
            {
                "id": client.id,
                "agent": client.agent,
                "version": client.version,
                "pid": client.pid,
                "connected_at": client.connected_at,
                "last_received_at": wall_clock(client.peer.channel.last_received),
                "calls_in_flight": client.peer.calls_in_flight,
                "open_reviews": len(bridge.reviews.of(client)),
            }
            for client in clients
        ],
        "pending_reviews": len(bridge.reviews),
        "unreviewed_changes": len(bridge.changes),
        "departures": [
            {
                "client_id": departure.client_id,
                "agent": departure.agent,
                "reason": departure.why.reason,
                "code": departure.why.code,
                "detail": printable(departure.why.detail),
                "at": departure.at,
            }
            for departure in clients.departures
        ],
        "notices": server.notices(),
        "review_where": "here" if bridge.reviews_here else "terminal",
        "sharing": await _sharing(bridge),
    }


async def _sharing(bridge: Bridge) -> dict[str, Any]:
    """What agents may know, and what they can know at this moment. An agent may look here too: nothing else is told."""
    sharing = bridge.sharing
    selection = bridge.selection.value
    open_files: list[str] | None = None
    diagnosed: dict[str, int] | None = None
    with contextlib.suppress(TimeoutError, EditorError):
        async with asyncio.timeout(EDITOR_SECONDS):
            documents = await bridge.editor.documents()
            open_files = [one.path for one in documents if sharing.shares(Kind.OPEN_FILES, one.path)]
            found = await bridge.editor.diagnostics(None)
            diagnosed = {path: len(some) for path, some in found.items() if sharing.shares(Kind.DIAGNOSTICS, path)}
    return {
        "on": sharing.on,
        **{str(kind): getattr(sharing.policy, kind) for kind in Kind},
        "exclude": list(sharing.policy.exclude),
        "now": {
            "selection": None
            if selection is None
            else {
                "path": selection.path,
                "start": [selection.range.start.line, selection.range.start.character],
                "end": [selection.range.end.line, selection.range.end.character],
                "characters": len(selection.text),
            },
            "open_files": open_files,
            "diagnostics": diagnosed,
        },
    }


async def _summary(bridge: Bridge, review: Review) -> dict[str, Any]:
    added, removed = hunks.count(await review.hunks()) if review.divisible else (None, None)
    return {
        "id": review.id,
        "client_id": review.client.id,
        "agent": review.client.agent,
        "pid": review.client.pid,
        "path": review.path,
        "new_file": not review.original.exists,
        "outside_workspace": not bridge.inside(review.path),
        "changed_on_disk": await asyncio.to_thread(review.changed_on_disk),
        "added": added,
        "removed": removed,
        "opened_at": review.opened_at,
    }


def _told_hunks(text: str, found: Sequence[hunks.Hunk], limit: int | None) -> tuple[list[dict[str, Any]], bool]:
    """The hunks, each with the unchanged lines of `text` around it, and whether some of their lines are left out.

    `old` and `new` together have at most `limit` lines then, each of at most `LINE_CHARACTERS`; `old_count` and
    `new_count` always tell how many there are.
    """
    lines = hunks.split(text)
    told = []
    cut = False
    left = limit
    for index, hunk in enumerate(found):
        if left == 0:
            cut = True
            break
        end = hunk.old_start + len(hunk.old)
        start = max(0, hunk.old_start - hunks.CONTEXT)
        stop = min(len(lines), end + hunks.CONTEXT)
        if index:
            start = max(start, found[index - 1].old_start + len(found[index - 1].old))
        if index + 1 < len(found):
            stop = min(stop, found[index + 1].old_start)
        around: dict[str, Sequence[str]] = {
            "before": lines[start : hunk.old_start], "old": hunk.old, "new": hunk.new, "after": lines[end:stop],
        }  # fmt: skip
        if left is not None:
            old = hunk.old[:left]
            new = hunk.new[: left - len(old)]
            left -= len(old) + len(new)
            whole = {**around, "old": old, "new": new}
            around = {name: [_cut_line(line) for line in some] for name, some in whole.items()}
            cut = cut or any(list(whole[name]) != around[name] for name in whole)
            cut = cut or len(old) + len(new) < len(hunk.old) + len(hunk.new)
        told.append(
            {
                "number": hunk.number,
                "old_start": hunk.old_start,
                "old_count": len(hunk.old),
                "new_start": hunk.new_start,
                "new_count": len(hunk.new),
                **around,
            }
        )
    return told, cut


def _cut_line(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return line[:LINE_CHARACTERS] + "…" + ("\n" if line.endswith("\n") else "")


def _kind(change: Change) -> str:
    assert change.after is not None
    return "new" if not change.before.exists else "modified" if change.after.exists else "deleted"


def _why_not(change: Change) -> str:
    """Why a change cannot be shown as text."""
    assert change.after is not None
    return change.before.note or change.after.note or "binary"


def _taken(waiting: asyncio.Queue[Event]) -> list[Event]:
    """All that waits in a queue, which is empty then."""
    return [waiting.get_nowait() for _ in range(waiting.qsize())]
