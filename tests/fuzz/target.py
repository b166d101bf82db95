"""Owns how hostile input is run: how much of it, against what server, and what has to be true after each of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

from pairside import runtime
from pairside.jsonlines import LINE_BYTES
from pairside.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    OVERLOADED,
    PARSE_ERROR,
)
from pairside.limits import Limits
from pairside.serve import Serving, serving
from pairside.testing import Agent
from tests.conftest import Address, address_of, agent
from tests.raw import TEXT, RawClient, frame
from tests.until import until

T = TypeVar("T")

EXAMPLES = int(os.environ.get("PAIRSIDE_FUZZ_EXAMPLES", "0"))
"""So many examples of each test are to be tried, with other seeds each time; 0 for the short run, always the same."""
SECONDS = 20.0
"""How long one example may take."""
GROWTH_BYTES = 256 * 1024 * 1024
"""By so much the memory of the process may grow in a test, the test's own included."""
LIMITS = Limits(message_bytes=512 * 1024, fragments=50, linger_seconds=0.3, unsent_bytes=4 * 1024 * 1024)
CODES = (PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, OVERLOADED, -32001, -32002, -32003)
"""The codes of errors that are no defect of ours: -32603 is one."""
INTERNALS = ("Traceback", 'File "', ".py", "0x7f", "object at")
"""What would tell a peer of the inside."""


def tries(examples: int) -> settings:
    """How a test is run: so many examples where no other number is asked for."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


class Defects(logging.Handler):
    """Keeps what is logged as a defect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(logging.Formatter().format(record))

    def check(self) -> None:
        """There is none. What there was counts once, or no example after it could be tried."""
        records, self.records = self.records, []
        assert not records, records[0]


@contextlib.contextmanager
def watched() -> Iterator[Defects]:
    """Note defects while the block runs, and look at the memory at its end."""
    defects = Defects()
    loggers = [logging.getLogger("pairside"), logging.getLogger("asyncio")]
    for logger in loggers:
        logger.addHandler(defects)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield defects
    finally:
        for logger in loggers:
            logger.removeHandler(defects)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < GROWTH_BYTES, f"the memory grew by {grown} bytes"


class Target:
    """A server, and a good agent that stays connected to it whatever the others do."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Serving, good: Agent, defects: Defects) -> None:
        self.server = server
        self.bridge = server.bridge
        self.address: Address = address_of(server)
        self.good = good
        self._loop = loop
        self._defects = defects

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in bounded time, and check that nothing has happened to anybody else."""

        async def whole() -> T:
            async with asyncio.timeout(SECONDS):
                value = await work
                await self.is_well()
                return value

        try:
            return self._loop.run_until_complete(whole())
        finally:
            self._defects.check()

    async def is_well(self) -> None:
        """The good agent is answered, and is the only one who is there."""
        assert await self.good.request("ping") == {}
        clients = self.bridge.clients
        await until(lambda: len(clients) == 1, "only the good agent is there")
        assert clients.arrivals - clients.departures_told == 1
        await until(lambda: len(self.bridge.reviews) == 0, "no review is left")

    async def connect(self) -> RawClient:
        """Another client, whose handshake is good."""
        return await RawClient.open(self.address.port, self.address.token)

    async def observe(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """An observer."""
        path = runtime.socket_path(os.path.dirname(self.server.record), self.address.port)
        return await asyncio.open_unix_connection(path, limit=LINE_BYTES)


@contextlib.contextmanager
def turning(defects: Defects) -> Iterator[tuple[asyncio.AbstractEventLoop, contextlib.AsyncExitStack]]:
    """An event loop that turns when it is told to, and what is to be closed in it at the end; then nothing was amiss.

    hypothesis calls plain functions, and a server for each example would leave little time for examples.
    """
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: defects.records.append(str(context)))
    stack = contextlib.AsyncExitStack()
    try:
        yield loop, stack
    finally:
        loop.run_until_complete(stack.aclose())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    defects.check()


@contextlib.contextmanager
def target(folder: Path, environment: dict[str, str]) -> Iterator[Target]:
    """A server for a folder, with its good agent, for as long as the block runs."""
    with watched() as defects, turning(defects) as (loop, stack):

        async def start() -> Target:
            server = await stack.enter_async_context(serving((str(folder),), limits=LIMITS, environment=environment))
            good = await stack.enter_async_context(agent(address_of(server), introduce=100_000_000))
            return Target(loop, server, good, defects)

        yield loop.run_until_complete(start())


def is_answer(message: Any) -> bool:
    """Whether that is a whole answer which tells a peer nothing of the inside."""
    assert message["jsonrpc"] == "2.0"
    assert ("result" in message) != ("error" in message)
    if "error" in message:
        error = message["error"]
        assert error["code"] in CODES, message
        assert isinstance(error["message"], str)
        assert not any(one in error["message"] for one in INTERNALS), message
    return True


async def answers_until(client: RawClient, id: str) -> list[Any]:
    """Ask for a sign of life; everything that came before its answer."""
    await client.send(frame(TEXT, b'{"jsonrpc": "2.0", "id": "%s", "method": "ping"}' % id.encode()))
    came: list[Any] = []
    while True:
        message = await client.answer()
        for one in message if isinstance(message, list) else [message]:
            if "method" not in one:
                assert is_answer(one)
            came.append(one)
        if came[-1].get("id") == id:
            return came[:-1]
