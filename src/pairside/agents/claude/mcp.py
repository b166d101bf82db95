"""Owns the conversation with one client: MCP's methods, and what is told without being asked.

MCP revisions: see `VERSIONS`. Beyond MCP, Claude Code says `ide_connected` with its pid, and listens to
`selection_changed` and `at_mentioned`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec

import pairside
from pairside import jsonrpc
from pairside.agents.claude.websocket import Connection
from pairside.bridge import Bridge
from pairside.clients import Client, Full
from pairside.editor import Selection
from pairside.jsonrpc import Id, Raw, RpcError
from pairside.mentions import Mention, params
from pairside.peer import Gone, Peer
from pairside.text import path_of, printable
from pairside.tools import Call, Tool, Toolbox, ToolError
from pairside.tools.selection import told

log = logging.getLogger(__name__)

_Result: TypeAlias = dict[str, Any]

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""MCP revisions that are spoken; one that is not known is answered with the last."""
WITH_BATCHES = "2025-03-26"
"""The only revision that has batches."""

SETTLE_SECONDS = 0.5
"""What is sent to Claude Code in the moment in which it says that it listens is lost."""
REPEAT_SECONDS = 15.0
"""Claude Code's own panels make it forget the selection, and nothing tells us when."""
ROOTS_SECONDS = 2.0
NOTHING_SELECTED = {
    "text": "",
    "selection": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}, "isEmpty": True},
}
"""Claude Code 2.1.330 lets go of a selection only at an empty range without a file; it takes no notice of a null."""
NAME_LENGTH = 100

_AGENTS = {"claude-code": "Claude Code", "opencode": "OpenCode"}


class _Nothing(msgspec.Struct):
    """An object of which nothing is needed."""


class _ClientInfo(msgspec.Struct):
    name: str = ""
    version: str = ""


class _Initialize(msgspec.Struct, rename="camel"):
    protocol_version: str
    capabilities: _Nothing = msgspec.field(default_factory=_Nothing)
    client_info: _ClientInfo = msgspec.field(default_factory=_ClientInfo)


class _ToolsCall(msgspec.Struct):
    name: str
    _meta: _Nothing | msgspec.UnsetType = msgspec.UNSET


class _Cancelled(msgspec.Struct, rename="camel"):
    request_id: int | str


class _IdeConnected(msgspec.Struct):
    pid: int


class _Root(msgspec.Struct):
    uri: str


class _Roots(msgspec.Struct):
    roots: list[_Root]


async def hold(connection: Connection, bridge: Bridge, toolbox: Toolbox) -> None:
    """Hold the conversation on a connection whose handshake is good, until it ends."""
    session = Session(connection, bridge, toolbox)
    try:
        with bridge.clients.admit(session.client):
            connection.accept()
            await session.peer.run()
    except Full as full:
        connection.refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(full))


class Session:
    """One client's side of the bridge."""

    def __init__(self, connection: Connection, bridge: Bridge, toolbox: Toolbox) -> None:
        self._bridge = bridge
        self._toolbox = toolbox
        self._version = ""
        self._cwd: str | None = None
        self._has_roots = False
        self._listens = False
        id = bridge.clients.new_id()
        self.peer = Peer(
            connection,
            self,
            calls=bridge.limits.calls,
            batches=lambda: self._version == WITH_BATCHES,
            trace=lambda direction, text: bridge.journal.wire(id, direction, text),
        )
        name, _, version = connection.user_agent.partition(" ")[0].partition("/")
        self.client = Client(
            id, self.peer, agent=_label(name), version=printable(version)[:NAME_LENGTH], mention=self._mention
        )

    # What the client asks and tells.

    def requested(self, method: str, params: Raw) -> Any:
        """The result of a request, or a coroutine that returns it."""
        self.client.asked_at = time.monotonic()
        match method:
            case "tools/call":
                return self._call(params)
            case "tools/list":
                params.to(_Nothing)
                return {
                    "tools": [
                        {"name": tool.name, "description": tool.description, "inputSchema": tool.schema}
                        for tool in self._toolbox
                    ]
                }
            case "initialize":
                return self._initialize(params)
            case "ping":
                params.to(_Nothing)
                return {}
        raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method[:NAME_LENGTH]}")

    def notified(self, method: str, params: Raw) -> None:
        """Take a notification; an unknown one is none of our business."""
        match method:
            case "notifications/cancelled":
                self.cancel(params.to(_Cancelled).request_id)
            case "ide_connected":
                self._introduce(params)

    def _initialize(self, params: Raw) -> dict[str, Any]:
        asked = params.to(_Initialize)
        capabilities = params.member("capabilities")
        self._version = asked.protocol_version if asked.protocol_version in VERSIONS else VERSIONS[-1]
        self._has_roots = capabilities is not None and capabilities.member("roots") is not None
        if asked.client_info.name:
            self.client.agent = _label(asked.client_info.name)
            self.client.version = printable(asked.client_info.version)[:NAME_LENGTH]
        self._bridge.clients.introduce(self.client)
        return {
            "protocolVersion": self._version,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "pairside", "version": pairside.__version__},
        }

    def _introduce(self, params: Raw) -> None:
        try:
            pid = params.to(_IdeConnected).pid
        except RpcError:
            pid = None  # it says that it listens; who it is remains unknown
        if pid is not None and 0 < pid < 2**31:
            self.client.pid = pid
        if not self._listens:
            self._listens = True
            self.peer.accompany(self._companion())
        self._bridge.clients.introduce(self.client)

    def cancel(self, id: Id) -> None:
        """Stop a call of the client; a review that it waits for is withdrawn by that."""
        self.peer.cancel(id)

    def _call(self, params: Raw) -> _Result | Coroutine[Any, Any, _Result]:
        asked = params.to(_ToolsCall)
        tool = self._toolbox[asked.name]
        started = time.monotonic()
        meta = params.member("_meta")
        for_model = meta is not None and meta.member("claudecode/toolUseId") is not None
        arguments = params.member("arguments") or Raw(None, {})
        call = Call(self.client, self._bridge, for_model)
        if tool.waits:
            return self._wait(tool, started, call, arguments)
        try:
            content = tool.answer(call, arguments)
        except Exception as problem:
            return self._failed(tool, started, problem)
        self._note(tool, started, "ok")
        return {"content": content}

    async def _wait(self, tool: Tool, started: float, call: Call, arguments: Raw) -> _Result:
        try:
            content = await tool(call, arguments)
        except asyncio.CancelledError:
            self._note(tool, started, "cancelled")
            raise
        except Exception as problem:
            return self._failed(tool, started, problem)
        self._note(tool, started, "ok")
        return {"content": content}

    def _failed(self, tool: Tool, started: float, problem: Exception) -> _Result:
        """The result of a tool that said why it could not; any other problem goes on."""
        if isinstance(problem, ToolError):
            self._note(tool, started, str(problem))
            return {"content": [{"type": "text", "text": str(problem)}], "isError": True}
        self._note(tool, started, problem.message if isinstance(problem, RpcError) else "failed")
        raise problem

    def _note(self, tool: Tool, started: float, outcome: str) -> None:
        seconds = time.monotonic() - started
        self._bridge.journal.note("call", self.client.id, tool=tool.name, seconds=seconds, outcome=outcome)

    # What the client is told.

    async def _companion(self) -> None:
        """Tell the client what is selected, from the moment at which it listens until it leaves."""
        await asyncio.sleep(SETTLE_SECONDS)
        try:
            if self._has_roots:
                await self._ask_roots()
            await self._bridge.client_ready(self.client)
            await self._follow_selection()
        except Gone:
            pass

    async def _follow_selection(self) -> None:
        cell = self._bridge.selection
        told_something = False
        while True:
            version, selection = cell.version, cell.value
            if selection is not None or told_something:
                await self.peer.tell(_selection_text(selection))
            told_something = selection is not None
            await cell.changed(version, seconds=REPEAT_SECONDS if selection is not None else None)

    async def _mention(self, mention: Mention) -> None:
        await self.peer.notify("at_mentioned", params(mention, self._cwd))

    async def _ask_roots(self) -> None:
        """Learn the client's working directory, from which it resolves the files in its prompt."""
        try:
            answer = await self.peer.request("roots/list", {}, seconds=ROOTS_SECONDS)
            roots = answer.to(_Roots).roots
        except (RpcError, TimeoutError) as error:
            log.debug("no roots: %s", error)
            return
        path = path_of(roots[0].uri) if roots else None
        self._cwd = os.path.realpath(path) if path is not None else None


@functools.lru_cache(maxsize=2)
def _selection_text(selection: Selection | None) -> str:
    """The notification of a selection, the same for every client."""
    return jsonrpc.notification("selection_changed", NOTHING_SELECTED if selection is None else told(selection))


def _label(name: str) -> str:
    return _AGENTS.get(name, printable(name)[:NAME_LENGTH])
