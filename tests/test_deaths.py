"""Every way in which a client can end, over real sockets: told exactly once, after its removal, with the truth."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from pairside import testing
from pairside.agents.claude.mcp import Session
from pairside.agents.claude.websocket import Connection
from pairside.clients import Client, Clients, Departure
from pairside.limits import Limits
from pairside.peer import Disconnect, Peer, Reason

from .raw import BINARY, CLOSE, CONT, PING, TEXT, RawClient, close_frame, frame, request
from .until import until

QUICK = Limits(ping_seconds=0.3, silence_seconds=0.9, message_bytes=100_000, fragments=50, linger_seconds=0.5)
SMALL_PIPE = Limits(unsent_bytes=200_000, linger_seconds=0.5)


@dataclass
class Witness:
    """A listener that notes what it is told, and whether the registry already agrees."""

    clients: Clients
    arrived_ids: list[int] = field(default_factory=list)
    departures: list[Departure] = field(default_factory=list)

    def arrived(self, client: Client) -> None:
        assert client in list(self.clients)
        self.arrived_ids.append(client.id)

    def introduced(self, client: Client) -> None:
        assert client in list(self.clients)

    def departed(self, departure: Departure) -> None:
        assert departure.client_id not in [client.id for client in self.clients]
        self.departures.append(departure)


@dataclass
class Stage:
    """A server, a witness, and a client that stays while another dies."""

    running: testing.Running
    witness: Witness
    survivor: testing.Agent

    @property
    def clients(self) -> Clients:
        return self.running.bridge.clients

    async def victim(self, *, receive_buffer: int | None = None) -> RawClient:
        """Connect the client that is going to die, with a review and a running call."""
        raw = await RawClient.open(self.running.port, self.running.token, receive_buffer=receive_buffer)
        reviews = len(self.running.bridge.reviews)
        await raw.call(
            7,
            "openDiff",
            old_file_path="/workspace/v.py",
            new_file_path="/workspace/v.py",
            new_file_contents="x\n",
            tab_name="victim",
        )
        await until(lambda: len(self.running.bridge.reviews) == reviews + 1, "the victim's review")
        return raw

    async def departure(self) -> Departure:
        """Wait for the one departure."""
        await until(lambda: bool(self.witness.departures), "a departure")
        return self.witness.departures[0]


@contextlib.asynccontextmanager
async def stage(limits: Limits = QUICK) -> AsyncIterator[Stage]:
    async with testing.server(limits=limits) as running:
        witness = Witness(running.bridge.clients)
        with running.bridge.clients.listen(witness):
            async with testing.Agent.connect(running, introduce=1) as survivor:
                proposal = asyncio.create_task(survivor.propose("/workspace/s.py", "y\n"))
                await running.editor.shown()
                try:
                    yield Stage(running, witness, survivor)
                finally:
                    await running.stop()
                    await asyncio.gather(proposal, return_exceptions=True)


def census() -> dict[str, int]:
    """How many objects of a conversation are alive."""
    gc.collect()
    kinds = (Client, Connection, Peer, Session)
    alive = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds)]
    return {kind.__name__: alive.count(kind.__name__) for kind in kinds}


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


Kill = Callable[[Stage, RawClient], Awaitable[None]]


def sends(*data: bytes) -> Kill:
    async def kill(stage: Stage, victim: RawClient) -> None:
        for piece in data:
            await victim.send(piece)

    return kill


async def fin(stage: Stage, victim: RawClient) -> None:
    victim.fin()


async def reset(stage: Stage, victim: RawClient) -> None:
    victim.reset()


async def close_then_reset(stage: Stage, victim: RawClient) -> None:
    await victim.send(close_frame(1000, b"bye"))
    victim.reset()


async def is_silent(stage: Stage, victim: RawClient) -> None:
    """Pings come and are not answered."""


async def we_end(stage: Stage, victim: RawClient) -> None:
    client = list(stage.clients)[-1]
    client.peer.channel.end(Disconnect(Reason.SHUTDOWN, 1001, "enough"))


async def our_bug(stage: Stage, victim: RawClient) -> None:
    async def fails(client: Client) -> None:
        raise RuntimeError("a defect of ours")

    await until(lambda: next(iter(stage.clients)).ready, "the survivor listens")
    stage.running.bridge.client_ready = fails  # type: ignore[method-assign]
    await victim.say({"jsonrpc": "2.0", "method": "ide_connected", "params": {"pid": 5}})


@dataclass(frozen=True)
class Death:
    name: str
    kill: Kill
    reason: Reason
    code: int
    detail: str
    seen: int | str | None = "any"
    """The close code that the client reads: None for no Close frame."""


DEATHS = [
    Death("a Close with a code and a reason", sends(close_frame(1000, b"bye")), Reason.CLOSED, 1000, "bye", 1000),
    Death("a Close with an application's code", sends(close_frame(4321)), Reason.CLOSED, 4321, "", 4321),
    Death("an empty Close", sends(close_frame()), Reason.CLOSED, 1005, "", 1005),
    Death("a Close after half a frame of nothing", sends(close_frame(1001) + b"\x81"), Reason.CLOSED, 1001, ""),
    Death("end of file", fin, Reason.LOST, 1006, "without a Close frame", None),
    Death("a reset", reset, Reason.LOST, 1006, "reset"),
    Death("a Close, then a reset", close_then_reset, Reason.CLOSED, 1000, "bye"),
    Death("an unmasked frame", sends(frame(TEXT, b"{}", masked=False)), Reason.VIOLATION, 1002, "mask", 1002),
    Death("a reserved bit", sends(frame(TEXT, b"{}", rsv=4)), Reason.VIOLATION, 1002, "reserved", 1002),
    Death("an unknown opcode", sends(frame(0x3, b"")), Reason.VIOLATION, 1002, "opcode", 1002),
    Death("a fragmented control frame", sends(frame(PING, b"", fin=False)), Reason.VIOLATION, 1002, "fragment", 1002),
    Death("a control frame too long", sends(frame(PING, b"x" * 126)), Reason.VIOLATION, 1002, "control frame", 1002),
    Death("a continuation of nothing", sends(frame(CONT, b"")), Reason.VIOLATION, 1002, "continuation", 1002),
    Death(
        "a message inside a message",
        sends(frame(TEXT, b"a", fin=False), frame(TEXT, b"b")),
        Reason.VIOLATION, 1002, "continuation", 1002,
    ),
    Death(
        "a Close inside a message",
        sends(frame(TEXT, b"a", fin=False), close_frame(1000)),
        Reason.VIOLATION, 1002, "incomplete", 1002,
    ),
    Death("a Close of one byte", sends(frame(CLOSE, b"x")), Reason.VIOLATION, 1002, "close frame", 1002),
    Death("a Close with code 1006", sends(close_frame(1006)), Reason.VIOLATION, 1002, "invalid status code", 1002),
    Death("a Close with code 999", sends(close_frame(999)), Reason.VIOLATION, 1002, "invalid status code", 1002),
    Death("a Close whose reason is no UTF-8", sends(close_frame(1000, b"\xff")), Reason.VIOLATION, 1007, "", 1007),
    Death("a text that is no UTF-8", sends(frame(TEXT, b"\xc3\x28")), Reason.VIOLATION, 1007, "UTF-8", 1007),
    Death(
        "a text of fragments that is no UTF-8",
        sends(frame(TEXT, b"\xc3", fin=False), frame(CONT, b"\x28")),
        Reason.VIOLATION, 1007, "UTF-8", 1007,
    ),
    Death(
        "a text that is no UTF-8, and a bad frame right behind it",
        sends(frame(TEXT, b"\xff") + frame(0x3, b"")),
        Reason.VIOLATION, 1007, "UTF-8", 1007,
    ),
    Death(
        "a text that is no UTF-8, and a Close right behind it",
        sends(frame(TEXT, b"\xff") + close_frame(1000)),
        Reason.VIOLATION, 1007, "UTF-8", 1007,
    ),
    Death(
        "too many fragments, and a bad frame right behind them",
        sends(frame(BINARY, b" ", fin=False) + frame(CONT, b" ", fin=False) * 50 + frame(0x3, b"")),
        Reason.VIOLATION, 1009, "fragments", 1009,
    ),
    Death("a message too big", sends(frame(TEXT, b" " * 100_001)), Reason.VIOLATION, 1009, "big", 1009),
    Death("a message far too big, announced only", sends(b"\x81\xff" + b"\x7f" * 8), Reason.VIOLATION, 1009, "", 1009),
    Death(
        "a message of fragments too big",
        sends(frame(TEXT, b" " * 60_000, fin=False), frame(CONT, b" " * 60_000)),
        Reason.VIOLATION, 1009, "", 1009,
    ),
    Death(
        "too many fragments",
        sends(frame(BINARY, b" ", fin=False) + frame(CONT, b" ", fin=False) * 50),
        Reason.VIOLATION, 1009, "fragments", 1009,
    ),
    Death("no sign of life", is_silent, Reason.UNRESPONSIVE, 1011, "no sign of life", 1011),
    Death("our own Close", we_end, Reason.SHUTDOWN, 1001, "enough", 1001),
    Death("a defect of ours", our_bug, Reason.CRASHED, 1011, "internal error", 1011),
]  # fmt: skip


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name)
async def test_a_death_is_told_once_after_removal_with_the_truth(
    death: Death, caplog: pytest.LogCaptureFixture
) -> None:
    """However a client ends, it is removed and told once; its review closes, the other client and its review stay."""
    # A captured log record would keep the traceback of the defect, and by it the client, alive.
    caplog.set_level(logging.CRITICAL + 1, logger="pairside")
    before_descriptors = descriptors()
    before_objects = census()
    before_tasks = len(asyncio.all_tasks())
    async with stage() as now:
        tasks = len(asyncio.all_tasks())
        victim = await now.victim()
        victim_id = now.witness.arrived_ids[-1]
        await death.kill(now, victim)
        # The survivor answers pings by itself; the victim never does.
        departure = await now.departure()
        assert (departure.client_id, departure.why.reason, departure.why.code) == (victim_id, death.reason, death.code)
        assert death.detail in departure.why.detail
        if death.seen != "any":
            assert await victim.closed_with() == death.seen
        victim.close()
        [review] = now.running.bridge.reviews
        assert review.path == "/workspace/s.py"
        assert [shown.path for shown in now.running.editor.reviews.values()] == ["/workspace/s.py"]
        await until(lambda: len(asyncio.all_tasks()) <= tasks, "the victim's tasks end")
        assert await now.survivor.request("ping") == {}
        assert [client.pid for client in now.clients] == [1]
        assert len(now.witness.departures) == 1
        assert now.clients.arrivals - now.clients.departures_told == len(now.clients) == 1
    assert len(now.witness.departures) == 2
    await until(lambda: len(asyncio.all_tasks()) == before_tasks, "all tasks end")
    del victim, now, review
    await until(lambda: descriptors() == before_descriptors, "all descriptors are closed")
    assert census() == before_objects


async def test_a_defect_of_ours_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """CRASHED is for us to mend: the log says where, the client only learns that it was internal."""
    async with stage() as now:
        victim = await now.victim()
        await our_bug(now, victim)
        await now.departure()
        assert "RuntimeError: a defect of ours" in caplog.text
        code = 0
        with contextlib.suppress(EOFError):
            while code == 0:
                opcode, payload = await victim.read()
                assert b"defect" not in payload
                code = int.from_bytes(payload[:2], "big") if opcode == CLOSE else 0
        assert code == 1011
        victim.close()


async def test_a_client_that_takes_nothing_is_dropped_with_its_own_detail() -> None:
    """What waits for a client that reads nothing is bounded; beyond the bound it is told UNRESPONSIVE."""
    async with stage(SMALL_PIPE) as now:
        victim = await now.victim(receive_buffer=4096)
        await victim.say({"jsonrpc": "2.0", "method": "ide_connected", "params": {"pid": 2}})
        with contextlib.suppress(ConnectionError):
            for id in range(10, 4000):
                await victim.say({"jsonrpc": "2.0", "id": id, "method": "tools/list"})
                await asyncio.sleep(0)
        departure = await now.departure()
        assert (departure.why.reason, departure.why.code) == (Reason.UNRESPONSIVE, 1011)
        assert "takes nothing" in departure.why.detail
        assert len(now.clients) == 1
        victim.close()


async def test_a_client_that_stops_taking_a_large_answer_is_dropped_after_the_limit() -> None:
    """Data that nobody takes counts as silence, whatever its size; the detail says so."""
    async with stage(Limits(ping_seconds=0.1, silence_seconds=0.4, linger_seconds=0.3)) as now:
        victim = await now.victim(receive_buffer=4096)
        review = next(review for review in now.running.bridge.reviews if review.path == "/workspace/v.py")
        await now.running.bridge.reviews.accept(review.id, by="the test", text="z" * 12_000_000)
        departure = await now.departure()
        assert (departure.why.reason, departure.why.code) == (Reason.UNRESPONSIVE, 1011)
        assert "takes nothing" in departure.why.detail
        victim.close()


async def test_a_killed_process_is_lost() -> None:
    """A process that is killed leaves a bare end of file: LOST 1006."""
    program = (
        "import asyncio, sys\n"
        "from tests.raw import RawClient\n"
        "async def main():\n"
        "    client = await RawClient.open(int(sys.argv[1]), sys.argv[2])\n"
        "    print('in', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    async with stage() as now:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(now.running.port), now.running.token, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 10) == b"in\n"
        assert len(now.clients) == 2
        process.send_signal(signal.SIGKILL)
        await process.wait()
        departure = await now.departure()
        assert (departure.why.reason, departure.why.code) == (Reason.LOST, 1006)


async def test_a_client_that_closes_and_keeps_its_socket_is_gone_at_once_and_its_socket_soon() -> None:
    """A Close ends the conversation at once, and the socket after a moment, though the client never lets go of it."""
    async with stage() as now:
        open_before = descriptors()
        victim = await now.victim()
        await victim.send(close_frame(1000))
        departure = await now.departure()
        assert departure.why == Disconnect(Reason.CLOSED, 1000, "")
        await until(lambda: descriptors() == open_before + 1, "the server's end of the socket is closed")
        victim.close()


async def test_the_first_ending_is_never_changed_by_a_later_one() -> None:
    """A client that times out while the server stops is told once, with what came first."""
    async with stage() as now:
        victim = await now.victim()
        connection = list(now.clients)[-1].peer.channel
        connection.end(Disconnect(Reason.UNRESPONSIVE, 1011, "first"))
        connection.end(Disconnect(Reason.SHUTDOWN, 1001, "second"))
        victim.reset()
    mine = [departure for departure in now.witness.departures if departure.why.detail in ("first", "second")]
    assert [departure.why for departure in mine] == [Disconnect(Reason.UNRESPONSIVE, 1011, "first")]


async def test_the_timeout_and_the_stop_of_the_server_at_once_are_one_death() -> None:
    """A server that stops in the moment at which a client's time is up tells one departure for each client."""
    for _ in range(5):
        async with stage() as now:
            victim = await now.victim()
            # The ticker looks every 0.15 s: this stop comes at about the moment of its verdict.
            await asyncio.sleep(QUICK.silence_seconds)
        told = [departure.client_id for departure in now.witness.departures]
        assert sorted(told) == sorted(set(told)) == sorted(now.witness.arrived_ids)
        victim.close()


async def test_a_client_that_dies_during_the_handshake_never_was_one() -> None:
    """Half a handshake, or one that is cut off after its last byte, never becomes a client."""
    async with stage() as now:
        whole = request(now.running.token)
        for piece in (b"", whole[:10], whole[:-4], whole[:-1]):
            for end in (RawClient.reset, RawClient.close):
                client = await RawClient.tcp(now.running.port)
                await client.send(piece)
                end(client)
        assert now.witness.arrived_ids == [1]
        for _ in range(10):  # whole, but gone before the answer: it may have been one, for a moment
            client = await RawClient.tcp(now.running.port)
            await client.send(whole)
            client.reset()
        await until(
            lambda: now.clients.arrivals - now.clients.departures_told == len(now.clients) == 1,
            "only the survivor is left",
        )
        assert len(now.witness.departures) == len(now.witness.arrived_ids) - 1


async def test_a_client_that_dies_while_it_is_told_something_is_told_once() -> None:
    """The send that finds the connection gone keeps quiet; the reader alone tells."""
    async with stage() as now:
        victim = await now.victim()
        await victim.say({"jsonrpc": "2.0", "method": "ide_connected", "params": {"pid": 2}})
        await until(lambda: all(client.ready for client in now.clients), "both listen")
        peer = list(now.clients)[-1].peer

        async def tell() -> None:
            for number in range(2000):
                await peer.notify("selection_changed", {"text": "x" * 100, "number": number})
                if number == 50:
                    victim.reset()
                await asyncio.sleep(0)

        with pytest.raises(Exception, match="lost"):
            await tell()
        assert (await now.departure()).why.reason is Reason.LOST
        assert len(now.witness.departures) == 1


async def test_a_listener_that_raises_keeps_nobody_from_being_told() -> None:
    """A listener's defect is logged; the registry and the other listeners are not touched by it."""

    class Bad:
        def arrived(self, client: Client) -> None:
            raise RuntimeError("arrived")

        def introduced(self, client: Client) -> None:
            raise RuntimeError("introduced")

        def departed(self, departure: Departure) -> None:
            raise RuntimeError("departed")

    async with testing.server() as running:
        witness = Witness(running.bridge.clients)
        with running.bridge.clients.listen(Bad()), running.bridge.clients.listen(witness):
            async with testing.Agent.connect(running, introduce=3):
                await until(lambda: [client.pid for client in running.bridge.clients] == [3], "introduced")
            await until(lambda: len(witness.departures) == 1, "told")
            assert len(running.bridge.clients) == 0


async def test_a_cancelled_session_is_a_shutdown() -> None:
    """Cancelling the task of a session removes its client and tells SHUTDOWN."""
    async with stage() as now:
        victim = await now.victim()
        before = {client.id for client in now.clients}
        sessions = [task for task in asyncio.all_tasks() if task.get_name() == "session"]
        assert len(sessions) == 2
        for task in sessions:
            task.cancel()
        await until(lambda: len(now.witness.departures) == 2, "both are told")
        assert {departure.client_id for departure in now.witness.departures} == before
        assert {departure.why.reason for departure in now.witness.departures} == {Reason.SHUTDOWN}
        victim.close()


async def test_a_stop_with_thirty_clients_of_which_five_are_stalled_takes_less_than_two_seconds() -> None:
    """A stop waits for nobody longer than a moment, and tells everybody once."""
    loop = asyncio.get_running_loop()
    async with testing.server(limits=Limits()) as running:
        witness = Witness(running.bridge.clients)
        with running.bridge.clients.listen(witness):
            clients = [await RawClient.open(running.port, running.token) for _ in range(25)]
            stalled = [await RawClient.open(running.port, running.token, receive_buffer=4096) for _ in range(5)]
            for client in list(running.bridge.clients)[-5:]:
                await client.peer.channel.send("x" * 12_000_000)
            assert len(running.bridge.clients) == 30
            drains = [asyncio.create_task(client.closed_with()) for client in clients]
            started = loop.time()
            await running.stop()
            assert loop.time() - started < 2.0
            assert [await drain for drain in drains] == [1001] * 25
            assert len(running.bridge.clients) == 0
            assert len(witness.departures) == 30
            assert {departure.why.reason for departure in witness.departures} == {Reason.SHUTDOWN}
            for each in clients + stalled:
                each.close()


async def test_ten_thousand_bytes_of_noise_never_make_a_client() -> None:
    """Whatever is sent in place of a handshake, nobody is admitted and nothing stays open."""
    async with testing.server() as running:
        witness = Witness(running.bridge.clients)
        with running.bridge.clients.listen(witness):
            for noise in (b"\0" * 10_000, b"GET / HTTP/1.1\r\n" * 600, os.urandom(10_000), b"\r\n\r\n" * 2500):
                client = await RawClient.tcp(running.port)
                with contextlib.suppress(ConnectionError):
                    await client.send(noise)
                    client.fin()
                status = await client.response()
                assert status == 0 or 400 <= status < 600
                client.close()
            assert witness.arrived_ids == []


def test_the_tests_reset_really_resets() -> None:
    """`RawClient.reset` sends RST, or the table above would not test what it says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = RawClient(socket.create_connection(listener.getsockname()))
        server_side, _ = listener.accept()
        client.reset()
        with server_side, pytest.raises(ConnectionResetError):
            server_side.recv(1)
