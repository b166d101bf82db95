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
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

import pairside
from pairside import hunks, jsonrpc, undo
from pairside.bridge import Bridge
from pairside.changes import Change, Changes, Compared, Means, Net, State, Turn, kind, why_unknown
from pairside.clients import NotThere
from pairside.editor import EditorError, Operated, Position, Range, Spot
from pairside.images import Image
from pairside.images import Kind as ImageKind
from pairside.journal import Event, masked
from pairside.jsonlines import LINE_BYTES, Lines
from pairside.jsonrpc import Raw, RpcError
from pairside.mentions import Mention
from pairside.peer import Disconnect, Gone, Peer, Reason, wall_clock
from pairside.reviews import NotPending, Review, Undecidable
from pairside.runtime import ancestors, is_ours
from pairside.sharing import Kind, Withheld
from pairside.text import is_absolute, printable, within
from pairside.told import Count, Found, Place

log = logging.getLogger(__name__)

LINGER_SECONDS = 1.0
OBSERVERS = 64
NAME_CHARACTERS = 40
"""Of the name of an observer so much is told."""
RUSH_SECONDS = 0.02
"""An observer is told of events at most this often."""
EDITOR_SECONDS = 1.0
"""How long a status waits for the editor."""
LOOK_SECONDS = 5.0
"""How long an answer about changes waits for a fresh look at the work trees."""
TOO_MANY = "not compared yet: there are too many"
MARK_LINES = 100
"""So many old lines of a marked hunk are told."""
LINE_CHARACTERS = 400
"""What is told of a line of a proposal to whoever wants only part of it."""

NOT_PENDING = -32001
REFUSED = -32002
UNSUITABLE = -32003

MARKS = ("CLAUDECODE", "GEMINI_CLI", "OPENCODE")
"""Variables that agents set in the shells they start."""


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
        return next((mark for mark in MARKS if mark.encode() in names), "")


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

    @property
    def present(self) -> int:
        """How many observers are connected."""
        return len(self._tasks)

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

    async def restore(self) -> bool:
        """Listen anew if somebody removed the socket; returns whether that was needed. Conversations go on.

        Raises:
            OSError: The socket cannot be made.
        """
        if os.path.lexists(self.path):
            return False
        old = self._listener
        await self.listen()
        if old is not None:
            old.close()
        return True

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
            connection = writer.get_extra_info("socket")
            if len(self._tasks) <= OBSERVERS and is_ours(connection):
                await Observer(self, channel, peer_pid(connection)).run()
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


class _Select(msgspec.Struct):
    path: str
    start: Place | None = None
    end: Place | None = None
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
    first: Count | None = None
    last: Count | None = None
    said: str | None = None
    client_id: int | None = None
    """Only to this client; if it is left out, to the one that was last active."""


class _Open(msgspec.Struct):
    path: str
    line: Count | None = None
    said: str | None = None


class _Import(msgspec.Struct):
    source: str
    files: dict[str, list[Found]]


class _Which(msgspec.Struct):
    """Which turns, or which changes of them; without any of this the latest turns."""

    turn: int | None = None
    all: bool = False
    """Every turn that is known."""
    path: str | None = None
    """Only this file, by its real path."""
    ids: list[int] | None = None
    """Only these changes."""


class _Changes(_Which):
    fresh: bool = True
    """Look at the work trees first."""
    undos: bool = False
    """With the latest turns also the undos since the first of them."""


class _Patches(_Which, kw_only=True):
    root: str
    """The folder that the names in the patches are relative to, by its real path."""


class _Change(_Which):
    lines: int | None = None
    """Tell at most so many lines of hunks, and no texts."""


class _Undo(_Which):
    hunks: list[int] | None = None
    dry_run: bool = False


class _Marks(msgspec.Struct):
    path: str


class _Forget(msgspec.Struct):
    turn: int | None = None


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
    name: str = ""
    """What the observer is called where others are told who decided."""


class Answers:
    """What somebody who watches and decides is answered: the methods are named after what they do."""

    def __init__(self, server: Server, *, by: str, pid: int | None = None, mark: str = "") -> None:
        """`by` is who decides, as others are told; `pid` the process that asks, where it could be an agent's.

        `mark` is what an agent has set in the environment of whoever asks.
        """
        self._server = server
        self._bridge = server.bridge
        self._by = by
        self._guard = Guard(server.bridge, pid)
        self._guard.declared = mark
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
            "changes/show": self._change,
            "changes/marks": self._marks,
            "changes/forget": self._forget,
            "undo": self._undo,
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
        except (Undecidable, EditorError, NotThere, undo.UndoError) as error:
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
        by_path: dict[str, list[Found]] = {}
        for path, some in asked.files.items():
            by_path.setdefault(self._path(os.path.realpath(self._path(path)), path), []).extend(some)
        found = {path: tuple(one.diagnostic() for one in diagnostics) for path, diagnostics in by_path.items()}
        self._operated("diagnostics import").import_diagnostics(asked.source, found)
        return {"source": asked.source, "files": len(found), "diagnostics": sum(map(len, found.values()))}

    async def _changes(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Changes)
        changes = self._bridge.changes
        complete = await self._bridge.look(LOOK_SECONDS) if asked.fresh else True
        turns = self._turns(asked)
        first = turns[0].number if turns else 0
        if asked.undos:
            there = {turn.number for turn in turns}
            since = [one for one in changes.turns if one.is_undo and one.number > first and one.number not in there]
            turns = sorted([*turns, *since], key=lambda turn: turn.number)
        told = [await _turn_told(changes, turn, self._wanted(asked)) for turn in turns]
        return {
            "turns": [turn for turn in told if turn["changes"]],
            "earlier": sum(1 for turn in changes.turns if turn.number < first and not turn.is_undo),
            "complete": complete,
            "uncovered": list(self._bridge.watch.uncovered),
            "unwatched": list(self._bridge.watch.unwatched),
            "notices": [f"{top}: {why}" for top, why in self._bridge.watch.notices.items()],
        }

    async def _patches(self, params: Raw) -> list[dict[str, Any]]:
        """What the changes amount to, oldest first: `git apply -R` goes backwards through patches by itself (2.30)."""
        asked = params.to(_Patches)
        root = os.path.normpath(self._path(asked.root))
        await self._bridge.look(LOOK_SECONDS)
        told = []
        for net in self._nets(asked):
            patch, note = None, ""
            if asked.ids is None and net.changes[0].is_late:
                note = "changed after the agent's last sign of work"
            elif not within(net.path, (root,)):
                note = f"it lies outside {root}"
            elif (compared := await self._bridge.changes.compare(net.before, net.after)) is None:
                note = why_unknown(net.before, net.after)
            elif compared.codec is not hunks.Codec.UTF_8:
                note = "not UTF-8"
            elif not (patch := await _patch(net, compared, os.path.relpath(net.path, root))):
                patch, note = None, "git does not tell these permissions apart"
            told.append({"path": net.path, "kind": kind(net.before, net.after), "patch": patch, "note": note})
        return told

    async def _change(self, params: Raw) -> dict[str, Any]:
        """What changes of one file amount to, as one."""
        asked = params.to(_Change)
        nets = self._nets(asked, late=False) or self._nets(asked)
        if not nets:
            raise undo.UndoError(self._nothing(asked))
        if len(nets) > 1:
            several = "; ".join(f"{','.join(map(str, net.ids))} ({printable(net.path)})" for net in nets[:10])
            raise undo.UndoError(f"that is more than one change; say which: {several}")
        net = nets[0]
        compared = await self._bridge.changes.compare(net.before, net.after)
        told: dict[str, Any] = {**await _net_told(self._bridge.changes, net), "divisible": compared is not None}
        if compared is not None:
            told["hunk_count"] = len(compared.found)
            told["hunks"], told["cut"] = await asyncio.to_thread(
                _told_hunks, compared.before, compared.found, asked.lines
            )
            if asked.lines is None:
                told["before"] = compared.before if net.before.exists else None
                told["after"] = compared.after if net.after.exists else None
        return told

    async def _marks(self, params: Raw) -> dict[str, Any]:
        """Which lines of a file as it is on disk now the latest turns have changed."""
        path = self._path(params.to(_Marks).path)
        changes = self._bridge.changes
        marks: list[dict[str, Any]] = []
        for net in changes.net(changes.latest(), late=False):
            if net.path != path or not net.after.exists:
                continue
            texts = await changes.texts(net.before, net.after, await self._bridge.image(path))
            if texts is None:
                continue
            before, after, now = texts.decoded
            moved = await hunks.compare(after, now)
            for hunk in await hunks.compare(before, after):
                start, end = hunks.moved(moved, hunk.new_start, hunk.new_start + len(hunk.new))
                marks.append(
                    {
                        "ids": list(net.ids),
                        "number": hunk.number,
                        "start": start,
                        "count": end - start,
                        "old": [_cut_line(line) for line in hunk.old[:MARK_LINES]],
                        "old_count": len(hunk.old),
                    }
                )
        return {"path": path, "marks": sorted(marks, key=lambda mark: int(mark["start"]))}

    async def _forget(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Forget)
        self._guard.check()
        changes = self._bridge.changes
        turn = None if asked.turn is None else self._turn(asked.turn)
        await self._bridge.look(LOOK_SECONDS)  # or what was just written would still be needed to explain it
        forgotten = changes.forget(turn)
        await self._bridge.watch.forget()
        self._bridge.journal.note("forgotten", turn=asked.turn, changes=forgotten)
        return {"forgotten": forgotten}

    async def _undo(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Undo)
        self._guard.check()
        if asked.all:
            raise undo.UndoError("undo takes a turn, a file or changes by their ids, not all of them")
        complete = await self._bridge.look(LOOK_SECONDS)
        nets = self._nets(asked, late=False)
        left = [net for net in self._nets(asked) if net.changes[0].is_late] if asked.ids is None else []
        if not nets and not left:
            raise undo.UndoError(self._nothing(asked))
        done = await undo.undo(self._bridge, nets, chosen=asked.hunks, dry_run=asked.dry_run, by=self._by)
        deadline = asyncio.get_running_loop().time() + LOOK_SECONDS
        return {
            "turn": done.turn.number if done.turn else None,
            "files": [await _undone_told(self._bridge.changes, one, deadline) for one in done.files],
            "left": [await _net_told(self._bridge.changes, net) for net in left],
            "complete": complete,
        }

    def _turn(self, number: int) -> Turn:
        turn = self._bridge.changes.turn(number)
        if turn is None:
            known = [str(one.number) for one in self._bridge.changes.turns]
            which = f"; those with changes: {', '.join(known[-20:])}" if known else ""
            raise undo.UndoError(f"there is no turn {number}{which}")
        return turn

    def _turns(self, asked: _Which) -> list[Turn]:
        """The turns that are meant, oldest first."""
        changes = self._bridge.changes
        if asked.turn is not None:
            return [self._turn(asked.turn)]
        if asked.all or asked.ids is not None:
            return changes.turns
        if asked.path is not None:
            states = changes.states()
            there = [
                change.turn
                for change in changes
                if change.path == asked.path and not change.turn.is_undo and states[change.id] is not State.UNDONE
            ]
            return there[-1:]
        return changes.latest()

    def _wanted(self, asked: _Which) -> Callable[[Change], bool]:
        ids = None if asked.ids is None else set(asked.ids)
        return lambda change: (ids is None or change.id in ids) and asked.path in (None, change.path)

    def _nets(self, asked: _Which, *, late: bool = True) -> list[Net]:
        """What is meant, as net changes, in the order of the last writes."""
        changes = self._bridge.changes
        if asked.ids is not None:
            known = {change.id for change in changes}
            unknown = [id for id in asked.ids if id not in known]
            if unknown:
                raise undo.UndoError(f"there is no change {unknown[0]}: pairside changes --all lists them")
            nets = changes.net_of(set(asked.ids))
        elif asked.turn is None and asked.all:
            nets = changes.net(late=late)
        else:
            nets = changes.net(self._turns(asked), late=late)
        return [net for net in nets if asked.path in (None, net.path)]

    def _nothing(self, asked: _Which) -> str:
        """Why nothing is there of what was asked for."""
        if asked.path is not None:
            return f"no change of {asked.path} is left to show or to take back"
        if asked.turn is not None:
            self._turn(asked.turn)
            return f"nothing of turn {asked.turn} is left: it changed nothing, or was taken back"
        return "there is no change that is not taken back already"

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
        return {"pid": os.getpid(), "version": version, "unreviewed_changes": self._bridge.changes.unreviewed()}

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
        asked = params.to(_Hello)
        self._guard.declared = printable(asked.mark)[:100]
        self._by = printable(asked.name)[:NAME_CHARACTERS] or self._by
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
        "unreviewed_changes": bridge.changes.unreviewed(),
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


async def _turn_told(changes: Changes, turn: Turn, wanted: Callable[[Change], bool]) -> dict[str, Any]:
    """A turn with its changes one by one, and what those of each file amount to now."""
    deadline = asyncio.get_running_loop().time() + LOOK_SECONDS
    states = changes.states()  # here: while another turn was told more may have come
    own = [change for change in changes.of(turn) if wanted(change)]
    nets = [net for net in changes.net([turn]) if any(wanted(change) for change in net.changes)]
    return {
        "turn": turn.number,
        "client_id": turn.client_id,
        "agent": turn.agent,
        "pid": turn.pid,
        "is_undo": turn.is_undo,
        "began_at": turn.began_at,
        "ended_at": turn.ended_at,
        "changes": [await _change_told(changes, change, states[change.id], deadline) for change in own],
        "files": [await _net_told(changes, net, deadline) for net in nets],
    }


async def _change_told(changes: Changes, change: Change, state: State, deadline: float) -> dict[str, Any]:
    in_time = change.is_compared or asyncio.get_running_loop().time() < deadline
    if not in_time:
        await asyncio.sleep(0)  # there are very many: whoever else waits comes first
    added, removed = (await changes.measure(change) if in_time else None) or (None, None)
    unknown = why_unknown(change.before, change.after) if in_time else TOO_MANY
    return {
        "id": change.id,
        "path": change.path,
        "at": change.at,
        "kind": kind(change.before, change.after),
        "means": str(change.means),
        "reviewed": change.reviewed,
        "late": change.is_late,
        "state": str(state),
        "undoes": list(change.undoes),
        "note": "" if added is not None else unknown,
        "added": added,
        "removed": removed,
    }


async def _net_told(changes: Changes, net: Net, deadline: float | None = None) -> dict[str, Any]:
    """What changes of a file amount to, in a few words."""
    size = None
    in_time = deadline is None or asyncio.get_running_loop().time() < deadline
    if in_time or (len(net.changes) == 1 and net.changes[0].is_compared):
        size = await changes.measure_net(net)
    else:
        await asyncio.sleep(0)  # there are very many: whoever else waits comes first
    added, removed = size or (None, None)
    unknown = why_unknown(net.before, net.after) if in_time else TOO_MANY
    agents = [change for change in net.changes if change.means is not Means.UNDO]
    return {
        "path": net.path,
        "ids": sorted(net.ids),
        "kind": kind(net.before, net.after),
        "means": list(dict.fromkeys(str(change.means) for change in agents)),
        "reviewed": bool(agents) and all(change.reviewed for change in agents),
        "late": any(change.is_late for change in agents),
        "note": "" if size else unknown,
        "added": added,
        "removed": removed,
    }


async def _undone_told(changes: Changes, one: undo.FileUndo, deadline: float) -> dict[str, Any]:
    """What became of a file of an undo, or would."""
    size = None
    if one.result is not None and asyncio.get_running_loop().time() < deadline:
        compared = await changes.compare(one.now, one.result)
        size = hunks.count(compared.found) if compared else None
    added, removed = size or (None, None)
    return {
        "path": one.path,
        "ids": list(one.ids),
        "change": one.change.id if one.change else None,
        "outcome": str(one.outcome),
        "kind": kind(one.now, one.result) if one.result is not None else None,
        "why": one.why,
        "conflicts": [
            {"number": conflict.number, "start": conflict.start, "lines": [_cut_line(line) for line in conflict.lines]}
            for conflict in one.conflicts
        ],
        "added": added,
        "removed": removed,
    }


async def _patch(net: Net, compared: Compared, name: str) -> str:
    """What changes of a file amount to as a patch; empty if it is nothing that git knows."""
    old = compared.before if net.before.exists else None
    new = compared.after if net.after.exists else None
    modes = {"old_mode": _git_mode(net.before), "new_mode": _git_mode(net.after)}
    if old is None or new is None or net.before.kind is net.after.kind:
        return await asyncio.to_thread(hunks.patch, name, old, new, compared.found, **modes)
    # To git a file that becomes a link goes, and the link comes.
    gone, came = await hunks.compare(old, ""), await hunks.compare("", new)
    return hunks.patch(name, old, None, gone, **modes) + hunks.patch(name, None, new, came, **modes)


def _git_mode(image: Image) -> str:
    """The mode of a file as git tells it."""
    if image.kind is ImageKind.LINK:
        return "120000"
    return "100755" if image.mode & 0o100 else "100644"


def _taken(waiting: asyncio.Queue[Event]) -> list[Event]:
    """All that waits in a queue, which is empty then."""
    return [waiting.get_nowait() for _ in range(waiting.qsize())]
