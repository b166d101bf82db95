"""For tests of editors and agents: an in-memory editor, a running server without files, and a scripted agent.

There is no second server here that could drift from the real one. `server` runs the same `Bridge`, the same
registry and the same WebSocket transport as `pairside serve`; only the lock file and the observers are left out.
The agent is a WebSocket client of its own and reaches the server through a loopback socket.

    async with testing.server() as running:
        async with testing.Agent.connect(running) as agent:
            await agent.introduce(pid=4711)
            answer = asyncio.create_task(agent.propose("/workspace/a.py", "new text\\n"))
            review = await running.editor.shown()
            running.bridge.reviews.reject(review.id, by="the test")
            assert (await answer)[0] == "DIFF_REJECTED"
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from pairside.agents.claude import mcp, websocket
from pairside.archive import Recording
from pairside.bridge import Bridge
from pairside.editor import Diagnostic, Document, EditorError, Spot, language_of
from pairside.limits import Limits
from pairside.sharing import Policy
from pairside.tools.all import toolbox

WAIT_SECONDS = 5.0
"""Every wait here ends after this many seconds at the latest, with a `TimeoutError`."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A review that the editor was asked to show."""

    id: int
    path: str
    name: str
    text: str


class MemoryEditor:
    """An editor in memory. It satisfies `pairside.editor.Editor`; everything that it was asked can be looked at."""

    name = "Memory"

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """The text of each open file."""
        self.active: str | None = None
        self.dirty: set[str] = set()
        """The open files with unsaved changes."""
        self.watched: set[str] = set()
        """The files on which something reports after each change."""
        self.found: dict[str, tuple[Diagnostic, ...]] = {}
        """The diagnostics by path."""
        self.opened: list[Spot] = []
        self.saved: list[str] = []
        self.reloaded: list[str] = []
        """The files of which it was told that they changed on disk."""
        self.prompts = 0
        self.reviews: dict[int, Shown] = {}
        """The reviews on screen."""
        self.failure: str | None = None
        """What every question fails with; None if they do not."""
        self._answers = asyncio.Event()
        self._answers.set()
        self._changed = asyncio.Condition()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Answer nothing while the block runs, as an editor does that is busy."""
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()

    async def shown(self, count: int = 1) -> Shown:
        """Wait until at least `count` reviews are on screen; the newest."""
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(lambda: len(self.reviews) >= count)
            return list(self.reviews.values())[-1]

    async def _busy(self) -> None:
        await self._answers.wait()
        if self.failure is not None:
            raise EditorError(self.failure)

    async def open(self, spot: Spot) -> None:
        """Show a file."""
        await self._busy()
        self.opened.append(spot)
        self.texts.setdefault(spot.path, "")
        self.active = spot.path

    async def documents(self) -> tuple[Document, ...]:
        """The files that are open."""
        await self._busy()
        return tuple(
            Document(
                path, language_of(path), text.count("\n") + 1, active=path == self.active, dirty=path in self.dirty
            )
            for path, text in self.texts.items()
        )

    async def save(self, path: str) -> None:
        """Note that a file was saved."""
        await self._busy()
        self.saved.append(path)
        self.dirty.discard(path)

    async def diagnostics(self, path: str | None) -> Mapping[str, tuple[Diagnostic, ...]]:
        """What stands in `found`."""
        await self._busy()
        return dict(self.found) if path is None else {path: self.found.get(path, ())}

    async def show_review(self, id: int, path: str, name: str, text: str) -> None:
        """Put a review on screen."""
        await self._busy()
        async with self._changed:
            self.reviews[id] = Shown(id, path, name, text)
            self._changed.notify_all()

    def hide_review(self, id: int) -> None:
        """Take a review from the screen."""
        self.reviews.pop(id, None)

    async def files_changed(self, paths: Collection[str]) -> Collection[str]:
        """Note what changed on disk; those in `watched` are looked at again."""
        await self._busy()
        self.reloaded.extend(paths)
        return self.watched.intersection(paths)

    def prompted(self) -> None:
        """Count the prompts."""
        self.prompts += 1


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts agents."""

    bridge: Bridge
    editor: MemoryEditor
    port: int
    token: str
    _agents: websocket.Server

    async def stop(self) -> None:
        """Stop listening and end every conversation, as `pairside serve` does when it is told to stop."""
        await self._agents.close()


@contextlib.asynccontextmanager
async def server(
    editor: MemoryEditor | None = None,
    *,
    folders: Sequence[str] = ("/workspace",),
    limits: Limits | None = None,
    token: str | None = None,
    share: Policy | None = None,
    reviews_here: bool = True,
    recording: Recording | None = None,
) -> AsyncIterator[Running]:
    """Serve an in-memory editor on a loopback port for as long as the block runs.

    `share` says what agents get to know; without `reviews_here` proposals are left to their terminals. `recording`
    says what is recorded of changes; nothing of it outlives the block.
    """
    editor = editor or MemoryEditor()
    token = token or websocket.new_token()
    tools = toolbox()
    async with Bridge(
        editor, folders=folders, limits=limits, share=share, reviews_here=reviews_here, recording=recording
    ) as bridge:
        agents = websocket.Server(
            token=token, limits=bridge.limits, session=lambda connection: mcp.hold(connection, bridge, tools)
        )
        await agents.listen()
        try:
            yield Running(bridge, editor, agents.port, token, agents)
        finally:
            await agents.close()


class AgentError(Exception):
    """The server answered with a JSON-RPC error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message", ""))
        self.code: int = error.get("code", 0)
        self.data: Any = error.get("data")


class Agent:
    """A scripted agent: connects, calls tools, and keeps what it is told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        """The WebSocket, for whatever the methods here do not offer."""
        self.told: deque[tuple[str, Any]] = deque()
        """The notifications that came, method and params, oldest first."""
        self.cwd: str | None = None
        """What it answers to roots/list; None for an error."""
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last_id = -1  # Claude Code's first id is 0, which is easily taken for none
        self._news = asyncio.Condition()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        to: Running,
        *,
        name: str = "claude-code",
        version: str = "2.1.330",
        introduce: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Agent]:
        """Connect and initialize as Claude Code does; with `introduce` also say that pid.

        Raises:
            websockets.exceptions.InvalidStatus: The server refused the handshake.
        """
        socket = await connect(
            f"ws://127.0.0.1:{to.port}/",
            additional_headers={websocket.TOKEN_HEADER: to.token, **(headers or {})},
            subprotocols=[Subprotocol(websocket.SUBPROTOCOL)],
            user_agent_header=f"{name}/{version} (cli)",
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
            close_timeout=WAIT_SECONDS,
        )
        agent = cls(socket)
        reading = asyncio.create_task(agent._read())
        try:
            await agent.request(
                "initialize",
                {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"roots": {"listChanged": True}},
                    "clientInfo": {"name": name, "version": version},
                },
            )
            await agent.notify("notifications/initialized")
            if introduce is not None:
                await agent.introduce(introduce)
            yield agent
        finally:
            await socket.close()
            await reading

    async def introduce(self, pid: int) -> None:
        """Say that it listens, and which process it is."""
        await self.notify("ide_connected", {"pid": pid})

    async def request(self, method: str, params: Any = None) -> Any:
        """The result of a request.

        Raises:
            AgentError: The answer was an error.
            ConnectionClosed: There will be none.
        """
        self._last_id += 1
        id = self._last_id
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        message = {"jsonrpc": "2.0", "id": id, "method": method}
        await self.socket.send(json.dumps(message if params is None else {**message, "params": params}))
        return await answer

    async def notify(self, method: str, params: Any = None) -> None:
        """Tell the server something."""
        message = {"jsonrpc": "2.0", "method": method}
        await self.socket.send(json.dumps(message if params is None else {**message, "params": params}))

    async def call(self, tool: str, **arguments: Any) -> list[str]:
        """The texts of a tool's result.

        Raises:
            AgentError: The answer was an error.
            RuntimeError: The tool said that it failed.
        """
        result = await self.request("tools/call", {"name": tool, "arguments": arguments})
        texts = [item["text"] for item in result["content"]]
        if result.get("isError"):
            raise RuntimeError(texts[0])
        return texts

    async def propose(self, path: str, text: str, *, name: str | None = None) -> list[str]:
        """Propose a text for a file and wait for the verdict: the texts of the answer."""
        return await self.call(
            "openDiff",
            old_file_path=path,
            new_file_path=path,
            new_file_contents=text,
            tab_name=name or f"✻ [Claude Code] {path.rpartition('/')[2]} (c0ffee) ⧉",
        )

    async def wait_told(self, method: str, count: int = 1) -> Any:
        """Wait until it was told `method` at least `count` times; the params of the newest."""
        async with asyncio.timeout(WAIT_SECONDS), self._news:
            await self._news.wait_for(lambda: sum(told == method for told, _ in self.told) >= count)
        return [params for told, params in self.told if told == method][-1]

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                message = json.loads(text)
                if "method" in message and "id" in message:
                    await self._answer(message)
                elif "method" in message:
                    async with self._news:
                        self.told.append((message["method"], message.get("params")))
                        self._news.notify_all()
                else:
                    self._settle(message)
        except ConnectionClosed:
            pass
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionClosed(self.socket.protocol.close_rcvd, None, None))
                    answer.exception()  # whoever waits sees it; nobody has to

    async def _answer(self, message: Mapping[str, Any]) -> None:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "roots/list" and self.cwd is not None:
            answer["result"] = {"roots": [{"uri": "file://" + self.cwd}]}
        elif message["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        await self.socket.send(json.dumps(answer))

    def _settle(self, message: Mapping[str, Any]) -> None:
        answer = self._answers.pop(message.get("id", -1), None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(AgentError(message["error"]))
        else:
            answer.set_result(message.get("result"))


__all__ = ["Agent", "AgentError", "MemoryEditor", "Running", "Shown", "server"]
