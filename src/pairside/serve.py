"""Owns the composition: an editor, its agents and its observers, run until stopped, then cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from pairside import observers, runtime
from pairside.agents.claude import discovery, mcp, websocket
from pairside.bridge import Bridge
from pairside.editor import Editor
from pairside.editors.embedded import EmbeddedEditor
from pairside.editors.frontend import FrontendEditor
from pairside.hooks import Hooks, Runner
from pairside.limits import Limits
from pairside.sharing import Policy
from pairside.text import within
from pairside.tools import Toolbox
from pairside.tools.all import toolbox

log = logging.getLogger(__name__)

START_LOCK_SECONDS = 10.0
START_LOCK_POLL = 0.02
LOCK_CHECK_SECONDS = 10.0
RIVALS_SECONDS = 2.0


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Serving:
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
    async with Bridge(served, folders=folders, limits=limits, share=share, reviews_here=reviews_here) as bridge:
        if embedded is not None:
            embedded.on_select = bridge.select
        try:
            state = runtime.directory(environment)
        except runtime.RuntimeDirectoryError as error:
            raise StartError(str(error)) from None
        async with contextlib.AsyncExitStack() as cleanup:
            stopped, restarting = asyncio.Event(), asyncio.Event()

            def note_sharing(kind: str) -> None:
                if kind == "sharing":
                    with contextlib.suppress(OSError):
                        leave_record()

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
                    leave_record()
                    cleanup.callback(lock.remove)
                    lock.write(folders)
                except (OSError, discovery.DiscoveryError) as error:
                    raise StartError(str(error)) from None
            for work in (
                _upkeep(state, agents.port, lock),
                _follow_folders(bridge, leave_record, lock),
                _watch_rivals(serving),
            ):
                cleanup.callback(asyncio.create_task(work).cancel)
            runner.start()
            cleanup.enter_context(bridge.journal.follow(lambda event: note_sharing(event.kind)))
            if editor is not None:
                answers = observers.Answers(watchers, by=editor.name)
                editor.attach(bridge, answer=answers.requested, status=lambda: observers.status(watchers))
            yield serving


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


async def _upkeep(state: str, port: int, lock: discovery.LockFile) -> None:
    """Keep the record fresh, and write the lock file again if somebody removed it."""
    checked = time.monotonic()
    while True:
        await asyncio.sleep(runtime.TOUCH_SECONDS)
        runtime.touch_record(state, port)
        if time.monotonic() - checked >= LOCK_CHECK_SECONDS:
            checked = time.monotonic()
            try:
                if lock.restore():
                    log.warning("the lock file %s was gone: written again", lock.path)
            except discovery.DiscoveryError as error:
                log.warning("%s", error)


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


async def _follow_folders(bridge: Bridge, leave_record: Callable[[], None], lock: discovery.LockFile) -> None:
    """Tell clients and successors, with the same token, when the editor opens other folders."""
    version = bridge.folders.version
    while True:
        version = await bridge.folders.changed(version)
        try:
            leave_record()
            lock.write(bridge.folders.value)
        except (OSError, discovery.DiscoveryError) as error:
            log.warning("the folders changed, but agents cannot be told: %s", error)
