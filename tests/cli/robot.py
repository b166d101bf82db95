"""Owns an agent that runs beside blocking test code: a scripted one, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from pairside.testing import Agent, Running
from tests.e2e.home import Home

T = TypeVar("T")
SECONDS = 10.0
PID = 2_000_000_000
"""A process that surely is no ancestor of the commands of a test."""


class Endpoint:
    """Where an agent connects to: what a lock file says."""

    def __init__(self, lock: Path) -> None:
        self.port = int(lock.stem)
        self.token = json.loads(lock.read_bytes())["authToken"]


class Robot:
    """A connected agent, from the start of the block to its end."""

    def __init__(
        self, lock: Path, *, pid: int | None = PID, name: str = "claude-code", version: str = "2.1.330"
    ) -> None:
        self._endpoint = Endpoint(lock)
        self._pid = pid
        self._name = name
        self._version = version
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._ready: Future[Agent] = Future()
        self._leave = asyncio.Event()
        self._session: Future[None] | None = None
        self._proposals: list[Future[list[str]]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._session = asyncio.run_coroutine_threadsafe(self._connect(), self._loop)
        self._ready.result(SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        for proposal in self._proposals:
            proposal.cancel()
        self._do(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    def leave(self) -> None:
        """Say goodbye."""
        self._loop.call_soon_threadsafe(self._leave.set)
        assert self._session is not None
        self._session.result(SECONDS)

    def vanish(self) -> None:
        """Break the connection without a goodbye."""
        agent = self._ready.result(SECONDS)
        self._loop.call_soon_threadsafe(agent.socket.transport.abort)

    def introduce_again(self, name: str, version: str) -> None:
        """Call itself something else."""
        agent = self._ready.result(SECONDS)
        info = {"name": name, "version": version}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        self._do(agent.request("initialize", params))

    def propose(self, path: Path, text: str) -> Future[list[str]]:
        """Propose a text for a file; the verdict comes later."""
        agent = self._ready.result(SECONDS)
        proposal = asyncio.run_coroutine_threadsafe(agent.propose(str(path), text), self._loop)
        self._proposals.append(proposal)
        return proposal

    def call(self, tool: str, **arguments: Any) -> list[str]:
        """The texts of a tool's result."""
        return self._do(self._ready.result(SECONDS).call(tool, **arguments))

    def begin_call(self, tool: str, **arguments: Any) -> Future[list[str]]:
        """Call a tool without waiting for its result: the future texts."""
        agent = self._ready.result(SECONDS)
        answer = asyncio.run_coroutine_threadsafe(agent.call(tool, **arguments), self._loop)
        self._proposals.append(answer)
        return answer

    def ask(self, method: str, params: Any = None) -> Any:
        """The result of any request."""
        return self._do(self._ready.result(SECONDS).request(method, params))

    def wait_told(self, method: str, count: int = 1) -> Any:
        """What it was told with the newest notification of that method, once there are so many."""
        return self._do(self._ready.result(SECONDS).wait_told(method, count))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    async def _connect(self) -> None:
        try:
            async with Agent.connect(
                cast(Running, self._endpoint), name=self._name, version=self._version, introduce=self._pid
            ) as agent:
                self._ready.set_result(agent)
                await self._leave.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    async def _settle(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), SECONDS)


def write_unreviewed(robot: Robot, home: Home, name: str, text: str) -> None:
    """Let an agent write a file as it does where it asks nobody."""
    path = home.project / name
    robot.call("getDiagnostics", uri=f"file://{path}")
    home.write(name, text)
    robot.call("getDiagnostics")
