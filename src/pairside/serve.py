"""Owns the composition: an editor, its agents and its observers, run until stopped, then cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pairside import archive, jsonrpc, observers, runtime
from pairside.agents.claude import discovery, mcp, websocket
from pairside.archive import Recording
from pairside.bridge import Bridge
from pairside.editor import Editor
from pairside.editors.embedded import EmbeddedEditor
from pairside.hooks import Hooks, Runner
from pairside.limits import Limits
from pairside.sharing import Policy
from pairside.text import within
from pairside.tools import Toolbox
from pairside.tools.all import toolbox

if TYPE_CHECKING:
    from pairside.editors.frontend import FrontendEditor

log = logging.getLogger(__name__)

START_LOCK_SECONDS = 10.0
START_LOCK_POLL = 0.02
LEFT_SECONDS = 5.0
"""How long a server that is about to end may have its archive still."""
LOCK_CHECK_SECONDS = 10.0
RIVALS_SECONDS = 2.0


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


class Serving(msgspec.Struct, frozen=True):
    """A server that accepts connections."""

    bridge: Bridge
    port: int
    lock_file: str
    adopted: bool
    """Whether port and token were taken over from a server that died: its clients reconnect by themselves."""
    stopped: asyncio.Event
    """Set it to stop."""
    record: str
    """The file by which a server that follows knows port and token."""
    restarting: asyncio.Event
    """Set where the server stops to be started anew by the same process: what it leaves is taken over then."""
    environment: Mapping[str, str]
    in_use: Callable[[], bool]
    """Whether an agent or an observer is connected."""
    why_not_kept: str = ""
    """Why changes will be gone when the server ends, if that is not what the person wants."""

    def leave_nothing(self) -> None:
        """Remove what was left for a server that follows: none will."""
        _forget(self.record)

    def leave(self) -> None:
        """The server stops: leave nothing, unless it is to be started anew."""
        if not self.restarting.is_set():
            self.leave_nothing()

    def notices(self) -> list[str]:
        """What the person should know about how agents find this server."""
        notices = [self.about(rival) for rival in self.rivals()]
        if not self.bridge.reviews_here:
            notices.append("review.where is terminal: proposals are answered in the agent's own terminal, not here")
        notices += [f"{top} is not looked at: {why}" for top, why in self.bridge.watch.notices.items()]
        if why := self.why_not_kept or self.bridge.changes.why_not_kept:
            notices.append(f"changes are not kept: {why}")
        return notices

    def rivals(self) -> list[discovery.Lock]:
        """The other IDEs that agents find where they find this one."""
        return discovery.rivals(self.environment, self.bridge.folders.value, self.port)

    def about(self, rival: discovery.Lock) -> str:
        """What follows from another IDE, and what to type."""
        where = "this folder"
        if not any(rival.valid_for(folder) for folder in self.bridge.folders.value):
            where = ", ".join(one for one in rival.folders if within(one, self.bridge.folders.value))
        process = "" if rival.pid is None else f"pid {rival.pid}, "
        return (
            f"another IDE is open for {where}: {rival.ide or 'unnamed'} ({process}port {rival.port}). "
            f"With two, claude --ide connects to neither there. To reach this one: "
            f"pairside run --port {self.port} claude, or CLAUDE_CODE_SSE_PORT={self.port} claude, "
            "or choose it with /ide"
        )


def real_folders(folders: list[str]) -> tuple[str, ...]:
    """The absolute real paths of the folders: the client compares them with its real working directory.

    Raises:
        StartError: One is no directory.
    """
    for folder in folders:
        if not os.path.isdir(folder):
            raise StartError(f"{folder} is not a directory")
    return tuple(dict.fromkeys(os.path.realpath(folder) for folder in folders))


@contextlib.asynccontextmanager
async def serving(
    folders: tuple[str, ...],
    *,
    limits: Limits,
    environment: Mapping[str, str],
    editor: FrontendEditor | None = None,
    share: Policy | None = None,
    reviews_here: bool = True,
    recording: Recording | None = None,
    hooks: Hooks | None = None,
    next_version: Callable[[], Awaitable[str]] = observers.cannot_restart,
    again: bool = False,
    before: Callable[[], None] = lambda: None,
) -> AsyncIterator[Serving]:
    """Serve an editor, the embedded one if none is given, for as long as the block runs.

    `before` is called when no other server can be starting and nothing of ours is open yet; what it raises ends
    the start. Observers may have it started anew (see `Serving.restarting`) where `next_version`
    returns the version that would start and does not raise `RestartError`. With `again` that has happened.

    Raises:
        StartError: It cannot start.
    """
    embedded = EmbeddedEditor() if editor is None else None
    served: Editor = editor or embedded  # type: ignore[assignment]  # one of them is there
    async with contextlib.AsyncExitStack() as outermost:
        try:
            state = runtime.directory(environment)
        except runtime.RuntimeDirectoryError as error:
            raise StartError(str(error)) from None
        deadline = time.monotonic() + LEFT_SECONDS
        while archive.is_about_to_end(environment, folders):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(START_LOCK_POLL)
        kept, why_not_kept = outermost.enter_context(_kept(environment, folders, recording))
        bridge = await outermost.enter_async_context(
            Bridge(
                served,
                folders=folders,
                limits=limits,
                share=share,
                reviews_here=reviews_here,
                recording=recording,
                archive=kept,
            )
        )
        if embedded is not None:
            embedded.on_select = bridge.select
        async with contextlib.AsyncExitStack() as cleanup:
            stopped, restarting = asyncio.Event(), asyncio.Event()

            def note_sharing(kind: str) -> None:
                if kind == "sharing":
                    with contextlib.suppress(OSError):
                        record.write()

            def stop(by: str) -> None:
                if editor is not None:
                    editor.tell("stopping", {"by": by})
                stopped.set()

            async def restart() -> str:
                version = await next_version()
                bridge.journal.note("restarting", version=version)
                if editor is not None:
                    editor.tell("restarting", {"version": version})
                restarting.set()
                stopped.set()
                return version

            async with _start_lock(state) as locked:
                before()
                agents, token, adopted = await _listen(
                    bridge, toolbox(), state, environment, locked=locked, again=again
                )

                def leave_record() -> None:
                    runtime.write_record(state, agents.port, token, bridge.folders.value, shares=bridge.sharing.on)

                record = _Record(leave_record)
                runner = Runner(
                    hooks or Hooks(),
                    bridge.journal,
                    environment=environment,
                    port=agents.port,
                    seconds=limits.hook_seconds,
                    at_once=limits.hooks,
                )
                cleanup.push_async_callback(runner.close)  # the last of all: agents do not wait for programs
                cleanup.push_async_callback(agents.close)
                lock = discovery.LockFile(environment, port=agents.port, token=token, ide=served.name)
                serving = Serving(
                    bridge,
                    agents.port,
                    lock.path,
                    adopted,
                    stopped,
                    runtime.record_path(state, agents.port),
                    restarting,
                    environment,
                    lambda: len(bridge.clients) > 0 or watchers.present > 0,
                    why_not_kept,
                )
                watchers = observers.Server(
                    bridge,
                    path=runtime.socket_path(state, agents.port),
                    port=agents.port,
                    lock_file=lock.path,
                    stop=stop,
                    restart=restart,
                    operated=embedded,
                    notices=serving.notices,
                )
                try:
                    await watchers.listen()
                    cleanup.push_async_callback(watchers.close)
                    cleanup.callback(serving.leave)
                    record.write()
                    cleanup.callback(lock.remove)
                    since = bridge.folders.version
                    lock.write(folders)
                except discovery.DiscoveryError as error:
                    raise StartError(str(error)) from None
                except OSError as error:
                    raise StartError(
                        f"cannot write to {state}: {error.strerror}. Make room there, or set XDG_STATE_HOME to another "
                        "directory that is yours."
                    ) from None
            for work in (
                _upkeep(environment, agents.port, lock, record, watchers),
                _follow_folders(bridge, record, lock, since),
                _watch_rivals(serving),
            ):
                cleanup.callback(asyncio.create_task(work).cancel)
            runner.start()
            if kept is not None:
                cleanup.callback(kept.end)
            cleanup.enter_context(bridge.journal.follow(lambda event: note_sharing(event.kind)))
            if editor is not None:
                answers = observers.Answers(watchers, by=editor.name)
                editor.attach(bridge, answer=answers.requested, status=lambda: observers.status(watchers))
            yield serving


@contextlib.contextmanager
def _kept(
    environment: Mapping[str, str], folders: tuple[str, ...], recording: Recording | None
) -> Iterator[tuple[archive.Archive | None, str]]:
    """Where changes are kept while the block runs; None if they are not, and why if the person wants them to be."""
    found, why = None, ""
    if (recording or Recording()).keep:
        try:
            found = archive.claim(environment, folders)
            why = "" if found is not None else "too many servers serve these folders"
        except (runtime.RuntimeDirectoryError, OSError) as error:  # agents are served all the same
            why = str(error)
    try:
        yield found, why
    finally:
        if found is not None:
            found.close()


@contextlib.asynccontextmanager
async def remembered(
    environment: Mapping[str, str],
    folders: tuple[str, ...],
    *,
    limits: Limits,
    recording: Recording,
    place: str | None = None,
) -> AsyncIterator[Callable[[str, jsonrpc.Raw], Awaitable[Any]]]:
    """Answer what can be answered about changes where no server runs, from what the last one left.

    `place` is the directory in which it was kept; without it the one that a single server of these folders has. Gives a
    function that takes the method and the parameters of an observer's request and raises `RpcError`.

    Raises:
        StartError: A server for these folders has it, or it cannot be read.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            kept = await _left(environment, folders, place)
        except (runtime.RuntimeDirectoryError, OSError) as error:
            raise StartError(str(error)) from None
        stack.callback(kept.close)
        bridge = await stack.enter_async_context(
            Bridge(EmbeddedEditor(), folders=folders, limits=limits, recording=recording, archive=kept)
        )
        nobody = observers.Server(bridge, path="", port=0, lock_file="", stop=lambda by: None)
        mark = next((one for one in observers.MARKS if environment.get(one)), "")
        yield observers.Answers(nobody, by="the command line", mark=mark).requested


async def _left(environment: Mapping[str, str], folders: tuple[str, ...], place: str | None) -> archive.Archive:
    """What the last server for these folders has kept. One that is about to end is waited for.

    Raises:
        StartError: Another process has it.
    """
    deadline = time.monotonic() + LEFT_SECONDS

    def claim() -> archive.Archive | None:
        return archive.claim(environment, folders, slots=1) if place is None else archive.reopen(place)

    while (found := claim()) is None:
        if time.monotonic() > deadline:
            raise StartError(f"another pairside has them that serves {', '.join(folders)}, and does not answer")
        await asyncio.sleep(START_LOCK_POLL)
    return found


async def _listen(
    bridge: Bridge, tools: Toolbox, state: str, environment: Mapping[str, str], *, locked: bool, again: bool
) -> tuple[websocket.Server, str, bool]:
    """Listen on the port of a server for the same folders that just died, else on a new one with a new token."""

    def server(token: str) -> websocket.Server:
        return websocket.Server(
            token=token,
            limits=bridge.limits,
            session=lambda connection: mcp.hold(connection, bridge, tools),
        )

    if locked:
        runtime.sweep(state, lambda record: _sweep_lock(environment, record))
        discovery.sweep(environment)
        records = runtime.adoptable(state, bridge.folders.value, again=again)
        if records and not records[0].shares:
            bridge.share(False)  # what the person switched off does not come on by itself, on whatever port
        for record in records:
            agents = server(record.token)
            with contextlib.suppress(OSError):
                await agents.listen(record.port)
                return agents, record.token, True
    token = websocket.new_token()
    agents = server(token)
    try:
        await agents.listen()
    except OSError as error:
        raise StartError(f"{error.strerror or error}. Set other ports with --port-range.") from None
    return agents, token, False


def _sweep_lock(environment: Mapping[str, str], record: runtime.Record) -> None:
    """Remove the lock file of a dead server of ours; its port is held, so nobody else is writing there."""
    for folder in discovery.directories(environment):
        lock = discovery.read(os.path.join(folder, f"{record.port}.lock"))
        if lock is not None and lock.token == record.token and not lock.alive:
            _forget(lock.path)


def _forget(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


@contextlib.asynccontextmanager
async def _start_lock(state: str) -> AsyncIterator[bool]:
    """Hold the lock under which servers start; False if it could not be had in time, and then nothing is taken over."""
    deadline = time.monotonic() + START_LOCK_SECONDS
    descriptor = runtime.try_start_lock(state)
    while descriptor is None and time.monotonic() < deadline:
        await asyncio.sleep(START_LOCK_POLL)
        descriptor = runtime.try_start_lock(state)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


class _Record:
    """Our record, which is written again where it is missing or could not be written."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._is_current = True

    def write(self) -> None:
        """Write it as things are. Raises OSError."""
        self._is_current = False
        self._leave()
        self._is_current = True

    def restore(self, path: str) -> None:
        """Write it if need be. Raises OSError."""
        if not self._is_current or not os.path.lexists(path):
            self.write()


async def _upkeep(
    environment: Mapping[str, str],
    port: int,
    lock: discovery.LockFile,
    record: _Record,
    watchers: observers.Server,
) -> None:
    """Keep the record fresh, and make again what somebody removed: the lock file, the record, the observers' socket."""
    checked = time.monotonic()
    told: set[str] = set()
    while True:
        await asyncio.sleep(runtime.TOUCH_SECONDS)
        runtime.touch_record(runtime.location(environment), port)
        if time.monotonic() - checked < LOCK_CHECK_SECONDS:
            continue
        checked = time.monotonic()
        failed: set[str] = set()
        try:
            if lock.restore():
                log.warning("the lock file %s was gone: written again", lock.path)
        except discovery.DiscoveryError as error:
            failed.add(str(error))
        try:
            record.restore(runtime.record_path(runtime.directory(environment), port))
            if await watchers.restore():
                log.warning("the socket %s was gone: made again", watchers.path)
        except (runtime.RuntimeDirectoryError, OSError) as error:
            failed.add(str(error))
        for failure in failed - told:  # not again each time
            log.warning("%s", failure)
        told = failed


async def _watch_rivals(serving: Serving) -> None:
    """Tell of other IDEs when they appear for our folders, and when they are gone."""
    known = {rival.path: rival for rival in serving.rivals()}
    looked_at, seen = time.monotonic(), _changed_at(serving.environment)
    while True:
        await asyncio.sleep(RIVALS_SECONDS)
        changed_at = _changed_at(serving.environment)
        # A lock that is written or removed changes its folder; one whose process dies changes nothing.
        if changed_at == seen and time.monotonic() - looked_at < LOCK_CHECK_SECONDS:
            continue
        looked_at, seen = time.monotonic(), changed_at
        found = {rival.path: rival for rival in serving.rivals()}
        for path, rival in found.items():
            if path not in known:
                serving.bridge.journal.note(
                    "rival", ide=rival.ide, pid=rival.pid, port=rival.port, notice=serving.about(rival)
                )
        for path, rival in known.items():
            if path not in found:
                serving.bridge.journal.note("rival-gone", ide=rival.ide, pid=rival.pid, port=rival.port)
        known = found


def _changed_at(environment: Mapping[str, str]) -> list[int]:
    """When lock files were last written or removed, folder by folder, in nanoseconds."""
    times = []
    for folder in discovery.directories(environment):
        try:
            times.append(os.stat(folder).st_mtime_ns)
        except OSError:
            times.append(0)
    return times


async def _follow_folders(bridge: Bridge, record: _Record, lock: discovery.LockFile, version: int) -> None:
    """Tell clients and successors, with the same token, when the editor opens others than those of that version."""
    while True:
        version = await bridge.folders.changed(version)
        try:
            record.write()
        except OSError as error:
            log.warning("the folders changed, but the next server cannot be told yet: %s", error)
        try:
            lock.write(bridge.folders.value)
        except discovery.DiscoveryError as error:
            log.warning("the folders changed, but agents cannot be told yet: %s", error)
