"""Owns the model and the server that it is compared with: what may happen, and what has to follow from it.

A step does something to the server over its sockets and to the model by itself. Then the two are compared: the
registry, the reviews, the answers, what each listener was told, the lock file, what an observer reads. The clock
stands still but for `World.pass_time`, so only what was done can have had an effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pairside import runtime
from pairside.agents.claude import discovery
from pairside.clients import Client, Clients, Departure
from pairside.limits import Limits
from pairside.peer import Reason
from pairside.reviews import NotPending, Undecidable
from pairside.serve import Serving, serving
from tests.raw import CONT, PING, TEXT, RawClient, close_frame, frame, request
from tests.test_deaths import DEATHS

from .clock import Clock
from .puppet import Fits, Owed, Proposal, Puppet, fails, returns, returns_one_of, succeeds
from .watcher import Watcher

LIMITS = Limits(clients=4, handshakes=3, calls=3, message_bytes=100_000, fragments=50, unsent_bytes=1_000_000)
MOMENT = 0.7
"""Time moves by this or a multiple of it: so no two things that matter are due at about the same moment."""
SILENCE = 142
"""After so many moments whoever has been silent since is gone: 90 seconds, a tick of 7.5, and one that was late."""
PINGED = LIMITS.ping_seconds + 7.5 + 3 * MOMENT
"""Nobody who answers pings is silent for so long."""
LISTENS_SECONDS = 0.5
REAL_SECONDS = 60.0
"""How long a step may take, in real time."""
NO_PROCESS = 2**22 + 100
"""No process has such an id."""
LARGE = 6 * 1024 * 1024
"""More than a connection holds in all its buffers that nobody reads."""

LINES = tuple(f"line {number}" for number in range(1, 13))
ORIGINAL = "\n".join(LINES) + "\n"
PROPOSED = {
    "first": ORIGINAL.replace("line 1\n", "line one\n"),
    "both": ORIGINAL.replace("line 1\n", "line one\n").replace("line 12", "line twelve"),
    "same": ORIGINAL,
    "other": "something else\n",
}
HUNKS = {"first": 1, "both": 2, "same": 0, "other": 1}
WIRE_DEATHS = {
    one.name: one for one in DEATHS if one.reason not in (Reason.UNRESPONSIVE, Reason.SHUTDOWN, Reason.CRASHED)
}
BAD_HANDSHAKES: dict[str, tuple[dict[str, Any], int]] = {
    "no token": ({"token": None}, 401),
    "a wrong token": ({"token": "0" * 32}, 401),
    "an Origin": ({"Origin": "http://127.0.0.1"}, 403),
    "a foreign Host": ({"Host": "example.org"}, 403),
    "another method": ({"line": "POST / HTTP/1.1"}, 405),
    "another path": ({"line": "GET /other HTTP/1.1"}, 404),
    "no HTTP": ({"line": "hello"}, 400),
    "no key": ({"drop": ("Sec-WebSocket-Key",)}, 400),
    "a long header": ({"X_Long": "x" * 40_000}, 431),
}
BURST = (
    "ping", "list", "folders", "editors", "unknown tool", "unknown method", "bad arguments", "no JSON", "no request",
    "null id", "batch", "binary", "propose", "close tab", "close all", "cancel", "cancel nothing", "reuse",
    "ide_connected", "initialize", "wire ping", "notification",
)  # fmt: skip


@dataclass
class Witness:
    """A listener that notes what it is told, and what was not so when it was told."""

    clients: Clients
    arrived_ids: list[int] = field(default_factory=list)
    departures: list[Departure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def arrived(self, client: Client) -> None:
        self.arrived_ids.append(client.id)
        if client not in list(self.clients):
            self.wrong.append(f"{client.id} arrived and is not there")

    def introduced(self, client: Client) -> None:
        if client not in list(self.clients):
            self.wrong.append(f"{client.id} is introduced and is not there")

    def departed(self, departure: Departure) -> None:
        self.departures.append(departure)
        if departure.client_id in [client.id for client in self.clients]:
            self.wrong.append(f"{departure.client_id} departed and is there")


@dataclass(frozen=True)
class Waiting:
    """A mention for which nobody was there yet."""

    until: float
    told: dict[str, Any]
    forced: bool
    """It is told also where nothing is shared."""


@dataclass(frozen=True)
class Expected:
    """How a client left."""

    reason: Reason
    code: int
    detail: str
    pids: tuple[int | None, ...]
    """What it may have said last of its pid: a reset overtakes what was sent before it."""
    agent: str

    def fits(self, departure: Departure) -> bool:
        """Whether that is what was told."""
        why = departure.why
        return (
            (why.reason, why.code, departure.agent) == (self.reason, self.code, self.agent)
            and self.detail in why.detail
            and departure.pid in self.pids
        )


class Errors(logging.Handler):
    """Keeps every record of a defect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


def descriptors_but_log() -> int:
    """The same without the log of changes, which is opened at the first turn and stays."""
    count = 0
    for descriptor in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            count += not os.readlink(f"/dev/fd/{descriptor}").endswith("/log")
    return count


class World:
    """A server, those who are connected to it, and what the model says of both."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.loop = asyncio.new_event_loop()
        self.unseen: list[Any] = []
        self.loop.set_exception_handler(lambda loop, context: self.unseen.append(context))
        self.errors = Errors()
        logging.getLogger("pairside").addHandler(self.errors)
        logging.getLogger("pairside").propagate = False
        self.defects = 0
        self.moves = False
        """Time passes."""
        self.cancelled = self.waits = 0
        """How many proposals were cancelled by the messages that are sent now, and how many calls fly a moment more."""
        self._folder = tempfile.TemporaryDirectory(prefix="pairside-", dir="/tmp")
        root = Path(os.path.realpath(self._folder.name))
        self.environment = {"PATH": os.environ["PATH"], "XDG_STATE_HOME": f"{root}/state"}
        for name in ("HOME", "TMPDIR"):
            self.environment[name] = f"{root}/{name.lower()}"
            os.mkdir(self.environment[name], 0o700)
        self.workspaces = [f"{root}/{name}" for name in ("one", "two", "three")]
        for workspace in self.workspaces:
            os.mkdir(workspace)
            Path(workspace, "file").write_text(ORIGINAL)
        self.folders: tuple[str, ...] = (self.workspaces[0],)
        self.puppets: list[Puppet] = []
        """Everybody whose end of a socket is open."""
        self.halves: list[Puppet] = []
        """Those whose handshake is not finished."""
        self.leaving: dict[Puppet, int | str | None] = {}
        """Those that read on to the end, and the close code that has to come."""
        self.tick = 0
        self.outer = (0, 0)
        self.base: tuple[int, int] | None = None
        """Descriptors and tasks where a server runs and nobody is connected."""
        self.token = ""
        self.port = 0
        self.port_before = 0
        self.do(self._start())

    # Running.

    def do(self, step: Coroutine[Any, Any, None]) -> None:
        """Do something, and then compare."""
        self.loop.run_until_complete(self._bounded(step))

    async def _bounded(self, step: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            await step
            await self.compare()

        task = asyncio.create_task(whole())
        await self._spin(task)
        task.result()

    async def _spin(self, task: asyncio.Task[Any], idle: Callable[[], Awaitable[None]] | None = None) -> None:
        """Turn the event loop until a task is done. The loop never sleeps by itself: its clock stands still."""
        deadline = time.perf_counter() + REAL_SECONDS
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
            if turns > 30 and not self.moves:
                # A thread or the kernel is at work.
                time.sleep(0.0002 if turns < 100 or idle is not None else 0.002)
            if idle is not None and turns % 50 == 0:
                await idle()
            if time.perf_counter() > deadline:
                task.cancel()
                await asyncio.wait({task})
                raise AssertionError(f"a step took too long; {self.differences()}")

    async def pass_time(self, moments: int) -> None:
        """Let time pass, and the model know what is due by then."""
        self.moves = True
        for _ in range(moments):
            await self.clock.move(MOMENT)
            while (due := self._next_due()) is not None:
                due()
            await self._until(self._in_step, "those who are there do what is due")
        self.moves = False

    def _in_step(self) -> bool:
        """Whether everybody has answered what they were asked as time passed: the network may be slower than that."""
        for client in self.bridge.clients:
            puppet = self.present.get(client.id)
            if puppet is None:
                continue
            silent = self.clock.now - client.peer.channel.last_received
            if client.ready != puppet.listens or (puppet.takes and puppet.answers_pings and silent > PINGED):
                return False
        return True

    async def wait(self, moments: int) -> None:
        """Time passes."""
        await self.pass_time(moments)

    # What is due.

    def _next_due(self) -> Callable[[], None] | None:
        """What is due first and was not done yet."""
        due: list[tuple[float, Callable[[], None]]] = []
        for puppet in self.present.values():
            if puppet.listens_at is not None:
                due.append((puppet.listens_at, lambda puppet=puppet: self._begins_to_listen(puppet)))  # type: ignore[misc]
        for puppet in self.halves:
            assert puppet.due_at is not None
            due.append((puppet.due_at, lambda puppet=puppet: self._refused(puppet, 408)))  # type: ignore[misc]
        for index, waiting in enumerate(self.queued):
            due.append((waiting.until, lambda index=index: self._expired(index)))  # type: ignore[misc]
        due = [one for one in due if one[0] < self.clock.now]
        return min(due, key=lambda one: one[0])[1] if due else None

    def _expired(self, index: int) -> None:
        del self.queued[index]

    def _begins_to_listen(self, puppet: Puppet) -> None:
        assert puppet.listens_at is not None
        at, puppet.listens_at, puppet.listens = puppet.listens_at, None, True
        queued = self.queued.copy()
        self.queued.clear()
        for waiting in queued:
            if self.shares or waiting.forced:
                puppet.due_mentions.append(waiting.told)
            else:
                self.queued.append(replace(waiting, until=at + LIMITS.mention_seconds))

    def _refused(self, puppet: Puppet, status: int) -> None:
        """A connection is not admitted: it gets an answer and is closed."""
        if puppet in self.halves:
            self.halves.remove(puppet)
        puppet.due_at = None
        self.refusals[puppet] = status
        self.leaving[puppet] = None

    # The server.

    async def _start(self, *, again: bool = False) -> None:
        async def version() -> str:
            return "next"

        if self.base is None:
            self.outer = (descriptors(), len(asyncio.all_tasks()))
        self.stack = contextlib.AsyncExitStack()
        entering = asyncio.create_task(
            self.stack.enter_async_context(
                serving(
                    self.folders,
                    limits=LIMITS,
                    environment=self.environment,
                    next_version=version,
                    again=again,
                )
            )
        )
        await self._spin(entering)
        self.server: Serving = entering.result()
        self.bridge = self.server.bridge
        self.bridge.watch.soon()  # or its task would begin with the first client, and stay
        lock = discovery.read(self.server.lock_file)
        assert lock is not None
        self.port, self.token = lock.port, lock.token
        self.witness = Witness(self.bridge.clients)
        self.listening = contextlib.ExitStack()  # until after the server's end, which is told too
        self.listening.enter_context(self.bridge.clients.listen(self.witness))
        self.events: list[tuple[str, int | None]] = []
        self.listening.enter_context(
            self.bridge.journal.follow(lambda event: self.events.append((event.kind, event.client_id)))
        )
        socket = runtime.socket_path(os.path.dirname(self.server.record), self.port)
        self.watcher = await Watcher.connect(socket)
        self.present: dict[int, Puppet] = {}
        self.last_client_id = 0
        self.admitted: list[int] = []
        self.departed: dict[int, Expected] = {}
        self.proposals: list[Proposal] = []
        self.refusals: dict[Puppet, int] = {}
        self.queued: list[Waiting] = []
        self.selection: dict[str, Any] | None = None
        self.keeps = False
        self.shares = self.bridge.sharing.on
        if self.base is None:
            await self.watcher.request("status")
            self.base = (descriptors_but_log(), len(asyncio.all_tasks()))

    async def stop(self, how: str) -> None:
        """The server ends, and another one starts."""
        shared, port, token = self.shares, self.port, self.token
        left: dict[str, bytes] = {}
        if how == "restart":
            assert (await self.watcher.request("restart"))["result"]["version"] == "next"
            assert self.server.stopped.is_set()
        elif how == "crash":
            left = {path: Path(path).read_bytes() for path in (self.server.record, self.server.lock_file)}
        elif how == "stop":
            assert "result" in await self.watcher.request("stop")
            assert self.server.stopped.is_set()
        await self._end()
        for path, data in left.items():
            facts = json.loads(data)
            Path(path).write_text(json.dumps({**facts, "pid": NO_PROCESS}))
            os.chmod(path, 0o600)
        await self._start(again=how == "restart")
        if how == "stop":
            assert not self.server.adopted
            assert self.token != token
        else:
            assert self.server.adopted
            assert (self.port, self.token) == (port, token)
            assert self.shares is shared

    async def _end(self) -> None:
        """The server ends; everybody is told, and nothing is left."""
        for puppet in list(self.present.values()):
            self._gone(puppet, Reason.SHUTDOWN, 1001, "pairside stops", seen=1001)
        for puppet in list(self.halves):
            self._refused(puppet, 0)
        ending = asyncio.create_task(self.stack.aclose())
        await self._spin(ending, lambda: self.clock.move(MOMENT))
        ending.result()
        await self.watcher.close()
        for puppet in self.puppets:
            if puppet in self.refusals:
                self.leaving.pop(puppet, None)  # whether its answer came before the end is chance
        await self._until_agreed(serves=False)
        self.listening.close()
        self.refusals.clear()
        for puppet in list(self.puppets):
            self._let_go(puppet)
        assert not os.path.exists(self.server.lock_file), "the lock file is left"
        await self._until(
            lambda: (descriptors(), len(asyncio.all_tasks())) == self.outer, "nothing is left of the server"
        )

    def finish(self) -> None:
        """End everything; nothing may be left."""
        try:
            self.loop.run_until_complete(self._finish())
        finally:
            for puppet in self.puppets:
                puppet.close()
            logging.getLogger("pairside").removeHandler(self.errors)
            logging.getLogger("pairside").propagate = True
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self._folder.cleanup()

    async def _finish(self) -> None:
        task = asyncio.create_task(self._end())
        await self._spin(task)
        task.result()

    # Those who connect.

    async def connect(self, cuts: Iterable[int], *, how: str = "good") -> None:
        """Somebody connects and shakes hands, in pieces."""
        puppet = await self._tcp()
        if puppet is None:
            return
        changes, status = BAD_HANDSHAKES.get(how, ({}, 101))
        data = request(**{"token": self.token, **changes})
        done = 0
        if status == 101:
            for cut in sorted(cut % len(data) for cut in cuts):
                await puppet.raw.send(data[done:cut])
                done = cut
                await asyncio.sleep(0)
        await self._rest(puppet, data[done:], status)

    async def connect_half(self, length: int) -> None:
        """Somebody connects and sends the beginning of a handshake."""
        puppet = await self._tcp()
        if puppet is None:
            return
        data = request(self.token)
        length %= len(data)
        puppet.rest = data[length:]
        puppet.due_at = self.clock.now + LIMITS.handshake_seconds
        await puppet.raw.send(data[:length])
        self.halves.append(puppet)

    async def end_half(self, index: int, how: str) -> None:
        """Somebody finishes what they began, or leaves in the middle of it."""
        puppet = self.halves.pop(index % len(self.halves))
        puppet.due_at = None
        if how == "finish":
            await self._rest(puppet, puppet.rest, 101)
        elif how == "reset":
            self._reset(puppet)
        elif how == "fin":
            puppet.raw.fin()
            self.leaving[puppet] = None
        else:
            self._let_go(puppet)

    async def _tcp(self) -> Puppet | None:
        """A new connection; None if it is refused as such, since too many have not shaken hands."""
        refused = len(self.halves) >= LIMITS.handshakes
        puppet = Puppet(await RawClient.tcp(self.port, receive_buffer=65536))
        puppet.watch()
        self.puppets.append(puppet)
        if not refused:
            return puppet
        self._refused(puppet, 503)
        return None

    async def _rest(self, puppet: Puppet, data: bytes, status: int) -> None:
        """The rest of a handshake, and what comes of it."""
        if status == 101:
            self.last_client_id += 1
            if len(self.present) >= LIMITS.clients:
                status = 503
            else:
                puppet.client_id = self.last_client_id
                self.present[puppet.client_id] = puppet
                self.admitted.append(puppet.client_id)
                self.tick += 1
                puppet.asked = self.tick
        if status != 101:
            self._refused(puppet, status)
        await puppet.raw.send(data)

    def one(self, index: int) -> Puppet:
        """One of those who are present."""
        present = list(self.present.values())
        return present[index % len(present)]

    # What they ask.

    async def burst(self, index: int, kinds: Iterable[str], number: int, pieces: int) -> None:
        """One of them sends several messages at once, as whole frames, in fragments, or with pings in between."""
        puppet = self.one(index)
        data = b"".join(self._said(puppet, kinds, number, pieces))
        await puppet.raw.send(data)

    def _said(self, puppet: Puppet, kinds: Iterable[str], number: int, pieces: int = 1) -> list[bytes]:
        self.waits = self.cancelled = 0
        said = []
        for kind in kinds:
            if kind == "wire ping":
                said.append(frame(PING, b"hello"))
                continue
            text, waiting = self._message(puppet, kind, number, self.waits)
            self.waits += waiting
            if kind == "binary":
                said.append(frame(0x2, text))
            else:
                said.append(_framed(text, pieces))
        return said

    def _message(self, puppet: Puppet, kind: str, number: int, waits: int) -> tuple[bytes, int]:
        """The text of a message, and whether it may take a moment; what follows from it is noted."""
        pending = [one for one in self.proposals if one.puppet is puppet]

        def asks(method: str, params: Any, fits: Fits, then: Callable[[], object] = lambda: None) -> bytes:
            id = puppet.new_id()
            if len(pending) >= LIMITS.calls:
                fits = fails(-32000)
            else:
                self.tick += 1
                puppet.asked = self.tick
                if len(pending) + waits >= LIMITS.calls:
                    good = fits
                    fits = lambda message: good(message) or fails(-32000)(message)  # noqa: E731
                else:
                    then()
            puppet.owed.append(Owed(id, fits))
            return _encoded({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

        def calls(tool: str, arguments: Any, fits: Fits, then: Callable[[], object] = lambda: None) -> bytes:
            return asks("tools/call", {"name": tool, "arguments": arguments}, fits, then)

        def wrong(code: int, text: bytes) -> bytes:
            puppet.owed.append(Owed(None, fails(code)))
            return text

        if kind in ("propose", "close tab", "close all", "initialize") and len(pending) + waits >= LIMITS.calls > len(
            pending
        ):
            kind = "ping"  # whether it is done would be chance
        match kind:
            case "list":
                return asks("tools/list", {}, succeeds), 0
            case "folders":
                return calls("getWorkspaceFolders", {}, succeeds), 0
            case "editors":
                return calls("getOpenEditors", {}, succeeds), 1
            case "unknown tool":
                return calls("noSuchTool", {}, fails(-32602)), 0
            case "bad arguments":
                return calls("close_tab", {"tab": number}, fails(-32602)), 0
            case "unknown method":
                return asks("no/such", {}, fails(-32601)), 0
            case "no JSON":
                return wrong(-32700, b'{"jsonrpc": "2.0", "id": 1, '), 0
            case "no request":
                return wrong(-32600, b'{"jsonrpc": "2.0"}'), 0
            case "null id":
                return wrong(-32600, b'{"jsonrpc": "2.0", "id": null, "method": "ping"}'), 0
            case "batch":
                return wrong(-32600, b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]'), 0
            case "propose":
                return self._proposes(puppet, number, len(pending) >= LIMITS.calls), 0
            case "close tab":
                name = f"tab {number % 2}"
                then = lambda: self._withdrawn(puppet, name)  # noqa: E731
                return calls("close_tab", {"tab_name": name}, returns("TAB_CLOSED"), then), 0
            case "close all":
                # Those that came just before it may not be reviews yet, and are taken back before they are. Those that
                # were cancelled just before it may still be.
                counts = range(sum(one.is_open for one in pending), len(pending) + self.cancelled + 1)
                fits = returns_one_of(*(f"CLOSED_{count}_DIFF_TABS" for count in counts))
                return calls("closeAllDiffTabs", {}, fits, lambda: self._prompted(puppet)), 0
            case "cancel" if pending:
                cancelled = pending[number % len(pending)]
                self.proposals.remove(cancelled)
                puppet.owed.remove(cancelled.owed)
                self.cancelled += 1
                return _cancel(cancelled.owed.id), 0
            case "cancel" | "cancel nothing":
                return _cancel(10_000_000), 0
            case "reuse" if pending:
                id = pending[number % len(pending)].owed.id
                puppet.owed.append(Owed(id, fails(-32600)))
                return _encoded({"jsonrpc": "2.0", "id": id, "method": "ping"}), 0
            case "ide_connected" if all(one is puppet or one.listens_at is None for one in self.present.values()):
                puppet.pid = 100_000_000 + number
                if not puppet.listens and puppet.listens_at is None:
                    puppet.listens_at = self.clock.now + LISTENS_SECONDS
                return _encoded({"jsonrpc": "2.0", "method": "ide_connected", "params": {"pid": puppet.pid}}), 0
            case "initialize":
                name = f"agent {number % 3}"
                params = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"roots": {}} if number % 2 else {},
                    "clientInfo": {"name": name, "version": "1"},
                }
                return asks("initialize", params, succeeds, lambda: setattr(puppet, "agent", name)), 0
            case "notification":
                return _encoded({"jsonrpc": "2.0", "method": "notifications/initialized"}), 0
        return asks("ping", {}, lambda message: message.get("result") == {}), 0

    def _proposes(self, puppet: Puppet, number: int, overloaded: bool) -> bytes:
        owed = Owed(puppet.new_id(), fails(-32000) if overloaded else None)
        puppet.owed.append(owed)
        file = "new" if number % 5 == 0 else "file"
        kind = tuple(PROPOSED)[number % len(PROPOSED)]
        proposal = Proposal(puppet, f"tab {number % 2}", file, PROPOSED[kind], owed)
        if not overloaded:
            self.proposals.append(proposal)
            self.tick += 1
            puppet.asked = self.tick
        path = f"{self.workspaces[0]}/{file}"
        arguments = {
            "old_file_path": path,
            "new_file_path": path,
            "new_file_contents": proposal.proposed,
            "tab_name": proposal.name,
        }
        params = {"name": "openDiff", "arguments": arguments}
        return _encoded({"jsonrpc": "2.0", "id": owed.id, "method": "tools/call", "params": params})

    def _withdrawn(self, puppet: Puppet, name: str | None = None) -> None:
        for proposal in [one for one in self.proposals if one.puppet is puppet and name in (None, one.name)]:
            self._decided(proposal, returns("DIFF_REJECTED", proposal.name))
            self.waits += 1  # its call is in flight until it has answered

    def _prompted(self, puppet: Puppet) -> None:
        self._withdrawn(puppet)
        if not self.keeps:
            self.selection = None

    def _decided(self, proposal: Proposal, fits: Fits) -> None:
        self.proposals.remove(proposal)
        proposal.owed.fits = fits

    # What the person decides and shares.

    async def decide(self, index: int, how: str, by_editor: bool) -> None:
        """A review is decided, by an observer or in the editor."""
        place = index % len(self.proposals)
        proposal = self.proposals[place]
        id = sorted(review.id for review in self.bridge.reviews)[place]
        params, fits = self._decision(proposal, how)
        if fits is not None:
            self._decided(proposal, fits)
        if by_editor:
            await self._decide_in_editor(id, params)
            return
        method = "review/reject" if params is None else "review/accept"
        answer = await self.watcher.request(method, id=id, **(params or {}))
        assert ("result" in answer) == (fits is not None), answer
        if fits is None:
            assert answer["error"]["code"] == -32003
        again = await self.watcher.request("review/reject", id=id) if fits is not None else None
        assert again is None or again["error"]["code"] == -32001, again

    async def decide_at_once(self, index: int) -> None:
        """An observer accepts in the moment in which the agent takes it back: one is first, and both are told who."""
        place = index % len(self.proposals)
        proposal = self.proposals[place]
        puppet = proposal.puppet
        if sum(one.puppet is puppet for one in self.proposals) >= LIMITS.calls:
            return
        outcomes: list[str] = []

        def fits(message: dict[str, Any]) -> bool:
            for outcome, texts in (
                ("accepted", ("FILE_SAVED", proposal.proposed)),
                ("rejected", ("DIFF_REJECTED", proposal.name)),
            ):
                if returns(*texts)(message):
                    outcomes.append(outcome)
                    return True
            return False

        id = sorted(review.id for review in self.bridge.reviews)[place]
        self._decided(proposal, fits)
        taken_back = b"".join(self._said(puppet, ["close tab"], int(proposal.name[-1])))
        _, answer = await asyncio.gather(puppet.raw.send(taken_back), self.watcher.request("review/accept", id=id))
        await self._until(lambda: outcomes, "the agent is answered")
        assert outcomes == [answer["result"]["outcome"] if "result" in answer else "rejected"], answer
        assert "result" in answer or answer["error"]["code"] == -32001, answer

    async def _decide_in_editor(self, id: int, params: dict[str, Any] | None) -> None:
        with contextlib.suppress(Undecidable):
            if params is None:
                self.bridge.reviews.reject(id, by="the editor")
            else:
                await self.bridge.reviews.accept(
                    id, by="the editor", numbers=params.get("hunks"), text=params.get("text")
                )

    @staticmethod
    def _decision(proposal: Proposal, how: str) -> tuple[dict[str, Any] | None, Fits | None]:
        """What is asked for, and the answer to the agent; None if it does not fit the proposal, which stays."""

        def saved(text: str) -> Fits:
            return returns("FILE_SAVED", text)

        rejected = returns("DIFF_REJECTED", proposal.name)
        before = "" if proposal.file == "new" else ORIGINAL
        count = 1 if not before else next(HUNKS[kind] for kind, text in PROPOSED.items() if text == proposal.proposed)
        if how == "reject":
            return None, rejected
        if how == "text":
            return {"text": "edited\n"}, saved("edited\n")
        if how == "original text":
            unchanged = before == ORIGINAL != proposal.proposed
            return {"text": ORIGINAL}, rejected if unchanged else saved(ORIGINAL)
        if how == "no hunk":
            return {"hunks": []}, rejected
        if how == "first hunk":
            if count == 0:
                return {"hunks": [1]}, None
            return {"hunks": [1]}, saved(PROPOSED["first"] if count == 2 else proposal.proposed)
        if how == "a hunk too many":
            return {"hunks": [1, count + 1]}, None
        return {}, saved(proposal.proposed)

    async def no_review(self, id: int) -> None:
        """Somebody decides what is not there."""
        answer = await self.watcher.request("review/accept", id=1_000_000 + id)
        assert answer["error"]["code"] == -32001
        try:
            self.bridge.reviews.reject(-1, by="the editor")
        except NotPending:
            return
        raise AssertionError("a review that is not there was decided")

    async def select(self, line: int, keep: bool, clear: bool) -> None:
        """The person selects a line, or nothing."""
        if clear:
            self.keeps, self.selection = False, None
            assert "result" in await self.watcher.request("select/clear")
            return
        line %= len(LINES)
        path = f"{self.workspaces[0]}/file"
        self.keeps, self.selection = keep, {"text": LINES[line], "filePath": path}
        answer = await self.watcher.request("select", path=path, start=[line, 0], end=[line, 99], keep=keep)
        assert answer["result"]["characters"] == len(LINES[line])

    async def share(self, on: bool) -> None:
        """The person shares, or nothing at all."""
        begins = on and not self.shares
        self.shares = on
        listeners = self._listeners()
        if begins and listeners:
            listeners[0].due_mentions += [waiting.told for waiting in self.queued]
            self.queued.clear()
        assert (await self.watcher.request("share", on=on))["result"]["on"] is on

    async def mention(self, line: int | None, force: bool) -> None:
        """The person wants a file in a prompt."""
        path = f"{self.workspaces[0]}/file"
        lines = {} if line is None else {"first": line, "last": line + 1}
        told = {"filePath": path} if line is None else {"filePath": path, "lineStart": line, "lineEnd": line + 1}
        listeners = self._listeners()
        if (self.shares or force) and listeners:
            listeners[0].due_mentions.append(told)
            expected: Any = {"client_id": listeners[0].client_id}
        elif self.shares or force:
            self.queued.append(Waiting(self.clock.now + LIMITS.mention_seconds, told, force))
            expected = {"waits_seconds": LIMITS.mention_seconds}
        else:
            expected = None
        answer = await self.watcher.request("mention", path=path, force=force, **lines)
        if expected is None:
            assert answer["error"]["code"] == -32003
        else:
            assert expected.items() <= answer["result"].items()

    def _listeners(self) -> list[Puppet]:
        """Those who take mentions, who was last active first."""
        return sorted((one for one in self.present.values() if one.listens), key=lambda one: -one.asked)

    async def open_folders(self, count: int) -> None:
        """The editor opens other folders."""
        self.folders = tuple(self.workspaces[: 1 + count % 3])
        self.bridge.folders.set(self.folders)

    # How they end.

    def _gone(
        self,
        puppet: Puppet,
        reason: Reason,
        code: int,
        detail: str,
        *,
        pids: tuple[int | None, ...] = (),
        seen: int | str | None = "any",
    ) -> None:
        """A client is no more."""
        assert puppet.client_id is not None
        del self.present[puppet.client_id]
        self.departed[puppet.client_id] = Expected(reason, code, detail, (puppet.pid, *pids), puppet.agent)
        puppet.client_id = puppet.listens_at = None
        puppet.listens = False
        puppet.owed_perhaps = [one for one in puppet.owed if one.fits is not None]
        puppet.owed.clear()
        self.proposals = [one for one in self.proposals if one.puppet is not puppet]
        if puppet.is_open and puppet.takes:
            self.leaving[puppet] = seen

    def _reset(self, puppet: Puppet) -> None:
        puppet.ignore()
        puppet.is_open = False
        puppet.raw.reset()
        self.puppets.remove(puppet)
        self.leaving.pop(puppet, None)

    def _let_go(self, puppet: Puppet) -> None:
        puppet.close()
        self.puppets.remove(puppet)
        self.leaving.pop(puppet, None)
        self.refusals.pop(puppet, None)

    async def die(self, index: int, name: str, last_words: Iterable[str], number: int) -> None:
        """A client ends as the table of deaths has it, perhaps right behind some messages."""
        puppet, death = self.one(index), WIRE_DEATHS[name]
        before = puppet.pid
        if "reset" in name:
            last_words = [word for word in last_words if word == "ide_connected"]  # the reset may overtake it
        await puppet.raw.send(b"".join(self._said(puppet, last_words, number)))
        if "reset" in name:
            puppet.ignore()
            puppet.is_open = False
            self.puppets.remove(puppet)
        self._gone(puppet, death.reason, death.code, death.detail, pids=(before,), seen=death.seen)
        await death.kill(None, puppet.raw)  # type: ignore[arg-type]  # these need no stage

    async def close_and_stay(self, index: int) -> None:
        """A client says goodbye and never closes its socket."""
        puppet = self.one(index)
        puppet.stays = True
        self._gone(puppet, Reason.CLOSED, 1000, "", seen=1000)
        await puppet.raw.send(close_frame(1000))

    async def fall_silent(self, index: int) -> None:
        """A client answers no ping any more; all others do."""
        puppet = self.one(index)
        await self.pass_time(1)  # or it may still have to answer where its roots are
        puppet.answers_pings = False
        await self.pass_time(SILENCE)
        self._gone(puppet, Reason.UNRESPONSIVE, 1011, "no sign of life", seen=1011)

    async def stall(self, index: int, how: str) -> None:
        """A client takes nothing any more of a large answer."""
        proposal = self.proposals[index % len(self.proposals)]
        puppet = proposal.puppet
        await self._stuff(proposal)
        others = [one for one in self.proposals if one.puppet is puppet]
        if how == "more" and others:
            id = self._review_id(others[0])
            self._gone(puppet, Reason.UNRESPONSIVE, 1011, "bytes wait to be sent")
            self.bridge.reviews.reject(id, by="the editor")
        elif how == "reset":
            puppet.is_open = False
            self.puppets.remove(puppet)
            self._gone(puppet, Reason.LOST, 1006, "reset")
            puppet.raw.reset()
        elif how == "silence":
            await self.pass_time(SILENCE)
            self._gone(puppet, Reason.UNRESPONSIVE, 1011, "bytes wait to be sent")
        else:
            await self.stop("stop")

    async def _stuff(self, proposal: Proposal) -> None:
        puppet = proposal.puppet
        puppet.ignore()
        id = self._review_id(proposal)
        client = next(client for client in self.bridge.clients if client.id == puppet.client_id)
        calls = client.peer.calls_in_flight
        self._decided(proposal, fails())
        await self.bridge.reviews.accept(id, by="the editor", text="z" * LARGE)
        await self._until(lambda: client.peer.calls_in_flight == calls - 1, "the large answer is on its way")

    def _review_id(self, proposal: Proposal) -> int:
        return sorted(review.id for review in self.bridge.reviews)[self.proposals.index(proposal)]

    async def our_defect(self) -> None:
        """Something of ours fails when a client begins to listen."""
        puppet = next((puppet for puppet in self.present.values() if puppet.pid is None), None)
        if puppet is None or any(one.listens_at is not None for one in self.present.values()):
            return
        id = puppet.client_id
        works = self.bridge.client_ready

        async def fails_for_one(client: Client) -> None:
            if client.id == id:
                raise RuntimeError("a defect of ours")
            await works(client)

        self.bridge.client_ready = fails_for_one  # type: ignore[method-assign]
        await puppet.raw.send(b"".join(self._said(puppet, ["ide_connected"], 1)))
        client = next(client for client in self.bridge.clients if client.id == id)
        await self._until(lambda: client.pid is not None, "it is introduced")
        puppet.listens_at = None  # it never comes to that
        await self.pass_time(1)
        self.defects += 1
        self._gone(puppet, Reason.CRASHED, 1011, "internal error", seen=1011)
        await self._until_agreed()
        self.bridge.client_ready = works  # type: ignore[method-assign]

    # Comparing.

    async def compare(self) -> None:
        """The server is as the model says, and stays so while an observer asks it for its status."""
        await self._until_agreed()
        answer = await self.watcher.request("status")
        told = answer["result"]
        assert told["connects"] == len(self.admitted)
        assert told["disconnects"] == len(self.departed)
        assert told["client_count"] == len(self.present) == told["connects"] - told["disconnects"]
        assert [(one["id"], one["agent"], one["pid"]) for one in told["clients"]] == [
            (id, puppet.agent, puppet.pid) for id, puppet in self.present.items()
        ]
        assert [one["open_reviews"] for one in told["clients"]] == [
            sum(proposal.puppet is puppet for proposal in self.proposals) for puppet in self.present.values()
        ]
        assert told["pending_reviews"] == len(self.proposals)
        assert told["workspace_folders"] == list(self.folders)
        assert told["sharing"]["on"] is self.shares
        assert [one["client_id"] for one in told["departures"]] == [
            one.client_id for one in self.witness.departures[-100:]
        ]
        assert not self.differences()
        for proposal in self.proposals:
            proposal.is_open = True
        self._let_spent_go()

    def _let_spent_go(self) -> None:
        """Those who have read the end close their sockets."""
        for puppet in list(self.puppets):
            if puppet.client_id is None and puppet not in self.halves and not puppet.stays:
                self._let_go(puppet)

    async def nothing_left_over(self) -> None:
        """There are no more tasks and descriptors than those of who is there."""
        await self.pass_time(3)
        await self._until_agreed()
        self._let_spent_go()
        await self._until(lambda: not self._left_over(), "nothing is left of those who went")

    async def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.perf_counter() + REAL_SECONDS / 2
        while not condition():
            assert time.perf_counter() < deadline, f"never happened: {what}; {self._left_over()}; {self.differences()}"
            await asyncio.sleep(0)

    async def _until_agreed(self, *, serves: bool = True) -> None:
        deadline = time.perf_counter() + REAL_SECONDS / 2
        while found := self.differences(serves=serves):
            assert time.perf_counter() < deadline, found
            await asyncio.sleep(0)

    def _tasks(self) -> int:
        """How many tasks there are: of the clients, their companions and their open calls."""
        assert self.base is not None
        companions = sum(one.listens or one.listens_at is not None for one in self.present.values())
        return self.base[1] + len(self.present) + companions + 2 * len(self.proposals)

    def _left_over(self) -> list[str]:
        """What there is that nobody who is there accounts for."""
        assert self.base is not None
        open_files = self.base[0] + len(self.puppets) + len(self.present) + len(self.halves)
        left = []
        if (count := descriptors_but_log()) != open_files:
            left.append(f"{count} descriptors, not {open_files}")
        if len(asyncio.all_tasks()) != self._tasks():
            names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
            left.append(f"{len(names)} tasks, not {self._tasks()}: {', '.join(sorted(names))}")
        return left

    def differences(self, *, serves: bool = True) -> list[str]:
        """What is not as the model says."""
        found: list[str] = []

        def same(what: str, is_: object, should: object) -> None:
            if is_ != should:
                found.append(f"{what}: is {is_!r}, should be {should!r}")

        clients = self.bridge.clients
        same("registry", [client.id for client in clients], list(self.present))
        same("arrived", self.witness.arrived_ids, self.admitted)
        same("arrivals", clients.arrivals, len(self.admitted))
        same("told", clients.departures_told, len(self.departed))
        same("wrong", self.witness.wrong, [])
        same("departed", sorted(one.client_id for one in self.witness.departures), sorted(self.departed))
        for one in self.witness.departures:
            expected = self.departed.get(one.client_id)
            if expected is not None and not expected.fits(one):
                found.append(f"departure: is {one}, should be {expected}")
        came = [(id or 0, kind) for kind, id in self.events if kind in ("connected", "disconnected")]
        same(
            "events",
            sorted(came),
            sorted([(id, "connected") for id in self.admitted] + [(id, "disconnected") for id in self.departed]),
        )
        same(
            "reviews",
            [(review.client.id, review.name, review.proposed) for review in self.bridge.reviews],
            [(one.puppet.client_id, one.name, one.proposed) for one in self.proposals],
        )
        for puppet in self.puppets:
            found += self._owing(puppet)
        if serves:
            lock = discovery.read(self.server.lock_file)
            facts = (lock.port, lock.token, lock.pid, lock.folders) if lock else None
            same("lock file", facts, (self.port, self.token, os.getpid(), self.folders))
        same("mentions that wait", len(self.bridge.mentions), len(self.queued) if serves else 0)
        same("errors", len(self.errors.records), self.defects)
        same("unseen", self.unseen, [])
        return found

    def _owing(self, puppet: Puppet) -> list[str]:
        """What one of them should have been told and was not, or was told and should not."""
        found: list[str] = []
        if puppet.wrong:
            found.append(f"not owed: {puppet.wrong}")
        if puppet in self.leaving:
            seen = self.leaving[puppet]
            if not puppet.ended:
                found.append("its connection should have ended")
            elif seen != "any" and puppet.close_code != seen:
                found.append(f"it read the close code {puppet.close_code}, not {seen}")
        if puppet in self.refusals and puppet.status != self.refusals[puppet] and puppet in self.leaving:
            found.append(f"handshake: {puppet.status}, not {self.refusals[puppet]}")
        if puppet.client_id is None:
            return found
        if puppet.status != 101:
            found.append(f"handshake: {puppet.status}")
        if not puppet.answered:
            found.append(f"not answered: {[one.id for one in puppet.owed if one.fits]}")
        if puppet.mentions != puppet.due_mentions:
            found.append(f"mentions: {puppet.mentions}, not {puppet.due_mentions}")
        if puppet.listens:
            should = self.selection if self.shares else None
            last = puppet.selections[-1] if puppet.selections else {}
            told = {"text": last["text"], "filePath": last["filePath"]} if "filePath" in last else None
            if told != should:
                found.append(f"selection: {told}, not {should}")
        elif puppet.selections:
            found.append("a selection before it listened")
        return found


def _encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


def _cancel(id: int) -> bytes:
    return _encoded({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})


def _framed(text: bytes, pieces: int) -> bytes:
    """A message in one frame, or in several with a ping between them."""
    if pieces < 2:
        return frame(TEXT, text)
    size = len(text) // pieces + 1
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    frames = [frame(CONT if index else TEXT, part, fin=index == len(parts) - 1) for index, part in enumerate(parts)]
    return frame(PING, b"between").join(frames)
