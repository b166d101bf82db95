"""Owns the composition: an editor, its agents and its observers, run until stopped, then cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from pairside import observers, runtime
from pairside.agents.claude import discovery, mcp, websocket
from pairside.bridge import Bridge
from pairside.editors.embedded import EmbeddedEditor
from pairside.limits import Limits
from pairside.tools import Toolbox
from pairside.tools.all import toolbox

log = logging.getLogger(__name__)

START_LOCK_SECONDS = 10.0
START_LOCK_POLL = 0.02
LOCK_CHECK_SECONDS = 10.0


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
    environment: Mapping[str, str]

    def notices(self) -> list[str]:
        """What the person should know about how agents find this server."""
        folders = self.bridge.folders.value
        notices = []
        for rival in discovery.rivals(self.environment, folders, self.port):
            where = "this folder"
            if not any(rival.valid_for(folder) for folder in folders):
                where = ", ".join(one for one in rival.folders if discovery.within(one, folders))
            notices.append(
                f"another IDE is open for {where}: {rival.ide or 'unnamed'} (pid {rival.pid}, port {rival.port}). "
                f"With two, `claude --ide` connects to neither there: CLAUDE_CODE_SSE_PORT={self.port} claude, "
                f"or choose with /ide"
            )
        return notices


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
    before: Callable[[], None] = lambda: None,
) -> AsyncIterator[Serving]:
    """Serve the embedded editor for as long as the block runs.

    `before` is called when no other server can be starting and nothing of ours is open yet; what it raises ends
    the start.

    Raises:
        StartError: It cannot start.
    """
    editor = EmbeddedEditor()
    async with Bridge(editor, folders=folders, limits=limits) as bridge:
        editor.on_select = bridge.select
        try:
            state = runtime.directory(environment)
        except runtime.RuntimeDirectoryError as error:
            raise StartError(str(error)) from None
        async with contextlib.AsyncExitStack() as cleanup:
            stopped = asyncio.Event()
            async with _start_lock(state) as locked:
                before()
                agents, token, adopted = await _listen(bridge, toolbox(), state, environment, locked=locked)
                cleanup.push_async_callback(agents.close)
                lock = discovery.LockFile(environment, port=agents.port, token=token, ide=editor.name)
                serving = Serving(bridge, agents.port, lock.path, adopted, stopped, environment)
                watchers = observers.Server(
                    bridge,
                    path=runtime.socket_path(state, agents.port),
                    port=agents.port,
                    lock_file=lock.path,
                    stop=lambda by: stopped.set(),
                    operated=editor,
                    notices=serving.notices,
                )
                try:
                    await watchers.listen()
                    cleanup.push_async_callback(watchers.close)
                    cleanup.callback(_forget, runtime.record_path(state, agents.port))
                    runtime.write_record(state, agents.port, token, folders)
                    cleanup.callback(lock.remove)
                    lock.write(folders)
                except (OSError, discovery.DiscoveryError) as error:
                    raise StartError(str(error)) from None
            for work in (_upkeep(state, agents.port, lock), _follow_folders(bridge, state, agents.port, token, lock)):
                cleanup.callback(asyncio.create_task(work).cancel)
            yield serving


async def _listen(
    bridge: Bridge, tools: Toolbox, state: str, environment: Mapping[str, str], *, locked: bool
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
        for record in runtime.adoptable(state, bridge.folders.value):
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


async def _follow_folders(bridge: Bridge, state: str, port: int, token: str, lock: discovery.LockFile) -> None:
    """Tell clients and successors, with the same token, when the editor opens other folders."""
    version = bridge.folders.version
    while True:
        version = await bridge.folders.changed(version)
        try:
            runtime.write_record(state, port, token, bridge.folders.value)
            lock.write(bridge.folders.value)
        except (OSError, discovery.DiscoveryError) as error:
            log.warning("the folders changed, but agents cannot be told: %s", error)
