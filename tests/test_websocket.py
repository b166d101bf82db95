"""The WebSocket transport over real sockets: who gets in, what gets through, who is dropped and who is not."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pairside import testing
from pairside.agents.claude import websocket
from pairside.agents.claude.socket_owner import SocketOwners, read_table
from pairside.agents.claude.websocket import Server
from pairside.limits import Limits

from .flood import KINDS
from .raw import BINARY, CONT, PING, PONG, TEXT, RawClient, frame, request
from .until import until

ROOT = Path(__file__).parent.parent
SECONDS = 10.0

REFUSED: list[tuple[str, dict[str, Any], int]] = [
    ("no token", {"token": None}, 401),
    ("an empty token", {"token": ""}, 401),
    ("a wrong token", {"token": "0" * 32}, 401),
    ("a token that is not ASCII", {"token": "é" * 16}, 401),
    ("an Origin", {"Origin": "http://127.0.0.1"}, 403),
    ("an Origin without a token", {"token": None, "Origin": "https://example.org"}, 403),
    ("the Origin null", {"Origin": "null"}, 403),
    ("a foreign Host", {"Host": "attacker.example:80"}, 403),
    ("no Host", {"drop": ("Host",)}, 400),
    ("another path", {"line": "GET /other HTTP/1.1"}, 404),
    ("another method", {"line": "POST / HTTP/1.1"}, 405),
    ("HTTP/1.0", {"line": "GET / HTTP/1.0"}, 505),
    ("no HTTP at all", {"line": "hello"}, 400),
    ("no Upgrade", {"drop": ("Upgrade",)}, 426),
    ("another Upgrade", {"Upgrade": "h2c"}, 426),
    ("a Connection without upgrade", {"Connection": "keep-alive"}, 426),
    ("no version", {"drop": ("Sec-WebSocket-Version",)}, 400),
    ("another version", {"Sec_WebSocket_Version": "8"}, 400),
    ("no key", {"drop": ("Sec-WebSocket-Key",)}, 400),
    ("a key that is no base64", {"Sec_WebSocket_Key": "!" * 24}, 400),
    ("a key that is too short", {"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
    ("a body", {"Content_Length": "5"}, 400),
    ("a header line that is too long", {"X_Long": "x" * 10_000}, 431),
    ("a header that is too large", {f"X_{number}": "x" * 8000 for number in range(5)}, 431),
]


@pytest.mark.parametrize(("what", "changes", "status"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_a_bad_handshake_is_answered_with_the_fitting_status(
    what: str, changes: dict[str, Any], status: int
) -> None:
    """None of these ever counts as a client, and the connection is closed."""
    async with testing.server() as running:
        client = await RawClient.tcp(running.port)
        arguments = {"token": running.token, **changes}
        with contextlib.suppress(ConnectionError):
            await client.send(request(**arguments))
        assert await client.response() == status
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client.sock, 100_000), 5) is not None
        client.close()
        assert running.bridge.clients.arrivals == 0


async def test_the_second_of_two_messages_does_not_wait_until_the_first_is_acknowledged() -> None:
    """Otherwise it comes 40 ms late: the kernel holds small segments back, and the other side its acknowledgement."""
    async with testing.server() as running, testing.Agent.connect(running):
        (connection,) = running._agents._sockets
        assert connection._transport is not None
        accepted = connection._transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts segments")
async def test_answers_to_questions_that_came_together_leave_together() -> None:
    """Sixty answers are a few segments and not sixty, and each of them comes, in its order."""
    async with testing.server() as running:
        client = await RawClient.tcp(running.port)
        await client.send(request(token=running.token))
        assert await client.response() == 101
        (connection,) = running._agents._sockets
        asked = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(60)]
        before = segments_sent(connection)
        await client.send(b"".join(frame(TEXT, json.dumps(one).encode()) for one in asked))
        answers = [json.loads((await client.read())[1]) for _ in asked]
        assert [one["id"] for one in answers] == list(range(60))
        assert segments_sent(connection) - before < 10
        client.close()


def segments_sent(connection: websocket.Connection) -> int:
    """How many segments with data the kernel has sent for a connection."""
    assert connection._transport is not None
    accepted = connection._transport.get_extra_info("socket")
    # tcpi_data_segs_out of struct tcp_info, linux/tcp.h.
    return int.from_bytes(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)[156:160], sys.byteorder)


async def test_large_answers_to_questions_that_came_together_do_not_wait_for_one_another() -> None:
    """They are collected up to a size only."""
    async with testing.server() as running, testing.Agent.connect(running):
        (connection,) = running._agents._sockets
        connection._inbox.append("more is to be taken")
        small = json.dumps({"jsonrpc": "2.0", "method": "nothing"})
        await connection.send(small)
        assert connection._collected == len(small)
        await connection.send(small + " " * websocket.TOGETHER_BYTES)
        assert connection._collected == 0
        connection._inbox.clear()


async def test_the_subprotocol_is_echoed_when_offered_and_never_required() -> None:
    """Claude Code offers mcp and drops a server that does not echo it; others offer nothing."""
    async with testing.server() as running:
        for offered, echoed in (("mcp", True), ("other, mcp", True), ("other", False), (None, False)):
            client = await RawClient.tcp(running.port)
            changes: dict[str, Any] = (
                {"drop": ("Sec-WebSocket-Protocol",)} if offered is None else {"Sec_WebSocket_Protocol": offered}
            )
            await client.send(request(running.token, **changes))
            status, head = await client.whole_response()
            assert status == 101
            assert ("sec-websocket-protocol: mcp" in head.lower()) is echoed
            client.close()


async def test_header_names_are_compared_without_case_and_compression_is_declined() -> None:
    """The CLI capitalises header names as it likes, and offers permessage-deflate."""
    async with testing.server() as running:
        client = await RawClient.tcp(running.port)
        shouted = request(
            running.token,
            Connection="keep-alive, Upgrade",
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
        ).replace(websocket.TOKEN_HEADER.encode(), websocket.TOKEN_HEADER.upper().encode())
        await client.send(shouted)
        status, head = await client.whole_response()
        assert status == 101
        assert "extensions" not in head.lower()
        client.close()


async def test_a_handshake_may_come_byte_by_byte_and_with_frames_behind_it() -> None:
    """No frame is read before the handshake is answered, and none is lost."""
    async with testing.server() as running:
        client = await RawClient.tcp(running.port)
        for byte in request(running.token):
            await client.send(bytes([byte]))
        assert await client.response() == 101
        client.close()
        client = await RawClient.tcp(running.port)
        first = frame(TEXT, b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        await client.send(request(running.token) + frame(PING, b"early") + first)
        assert await client.response() == 101
        assert await client.read() == (PONG, b"early")
        assert await client.answer() == {"jsonrpc": "2.0", "id": 1, "result": {}}
        client.close()


async def test_a_full_house_is_answered_503_until_somebody_leaves() -> None:
    """The limit counts admitted clients alone: refused ones and half handshakes take no place."""
    async with testing.server(limits=Limits(clients=2)) as running:
        half = await RawClient.tcp(running.port)
        one = await RawClient.open(running.port, running.token)
        two = await RawClient.open(running.port, running.token)
        more = [await RawClient.tcp(running.port) for _ in range(5)]
        for client in more:
            await client.send(request(running.token))
        assert [await client.response() for client in more] == [503] * 5
        assert (len(running.bridge.clients), running.bridge.clients.arrivals) == (2, 2)
        one.close()
        await until(lambda: len(running.bridge.clients) == 1, "one left")
        three = await RawClient.open(running.port, running.token)
        assert running.bridge.clients.arrivals == 3
        for client in (half, two, three, *more):
            client.close()


async def test_more_clients_at_once_than_there_are_places_never_exceed_them() -> None:
    """Forty handshakes in one moment: the limit holds exactly."""
    async with testing.server(limits=Limits(clients=10)) as running:
        clients = [await RawClient.tcp(running.port) for _ in range(40)]
        for client in clients:
            await client.send(request(running.token))
        answers = [await client.response() for client in clients]
        assert sorted(answers) == [101] * 10 + [503] * 30
        assert len(running.bridge.clients) == 10
        for client in clients:
            client.close()


async def test_too_many_half_handshakes_are_answered_503() -> None:
    """Whoever waits for nothing keeps nobody out for longer than the handshake may take."""
    async with testing.server(limits=Limits(handshakes=3, handshake_seconds=0.4)) as running:
        waiting = [await RawClient.tcp(running.port) for _ in range(3)]
        late = await RawClient.tcp(running.port)
        assert await late.response() == 503
        assert [await client.response() for client in waiting] == [408] * 3
        client = await RawClient.open(running.port, running.token)
        assert running.bridge.clients.arrivals == 1
        for each in (*waiting, late, client):
            each.close()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("hOST", "localhost", 400), ("host", "a.example", 400), ("x-claude-code-ide-authorization", None, 401)],
)
async def test_a_header_that_decides_stands_there_once(name: str, value: str | None, status: int) -> None:
    """Of two of them one would count here and perhaps the other elsewhere; also where both say the same."""
    async with testing.server() as running:
        line = f"\r\n{name}: {running.token if value is None else value}\r\n\r\n".encode()
        client = await RawClient.tcp(running.port)
        await client.send(request(running.token).replace(b"\r\n\r\n", line))
        assert await client.response() == status
        assert running.bridge.clients.arrivals == 0
        client.close()


async def test_whoever_is_refused_may_be_gone_before_that(caplog: pytest.LogCaptureFixture) -> None:
    """The kernel tells of it only where the refusal is followed by the end of writing: that is no defect."""
    async with testing.server(limits=Limits(handshakes=2)) as running:
        for said in (request(None), request(running.token) + frame(TEXT, masked=False), b""):
            waiting = [] if said else [await RawClient.tcp(running.port) for _ in range(2)]
            with socket.create_connection(("127.0.0.1", running.port)) as sock:  # the server has no turn meanwhile
                sock.sendall(said)
            late = await RawClient.tcp(running.port)
            await late.send(request(None))
            assert await late.response() == (401 if said else 503)
            for each in (*waiting, late):
                each.close()
        await until(lambda: not len(running.bridge.clients), "everybody is gone")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_slow_handshake_is_closed() -> None:
    """A byte now and then does not buy more time."""
    async with testing.server(limits=Limits(handshake_seconds=0.3)) as running:
        client = await RawClient.tcp(running.port)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in request(running.token):
                await client.send(bytes([byte]))
                await asyncio.sleep(0.01)
        assert await client.response() in (0, 408)
        assert time.monotonic() - started < 3
        assert running.bridge.clients.arrivals == 0
        client.close()


async def test_a_socket_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token keeps others out; on Linux the kernel's word about the socket's owner does too."""
    monkeypatch.setattr("pairside.agents.claude.socket_owner.os.getuid", lambda: os.geteuid() + 1)
    async with testing.server() as running:
        client = await RawClient.tcp(running.port)
        with contextlib.suppress(ConnectionError):
            await client.send(request(running.token))
        assert await client.response() == 403
        assert running.bridge.clients.arrivals == 0
        client.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_kernel_and_table_agree_on_the_owner_of_a_socket() -> None:
    """Both ways to ask say whose a socket is, and neither invents an owner for one that is not there."""
    owners = SocketOwners()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            server_side, _ = listener.accept()
            with server_side:
                ends = client.getsockname(), server_side.getsockname()
                assert owners.ask_kernel(*ends) == os.getuid()
                assert read_table(*ends) == os.getuid()
                assert owners.owner(*ends) == os.getuid()
    nobody = ("127.0.0.1", 1), ("127.0.0.1", 2)
    assert (owners.ask_kernel(*nobody), read_table(*nobody), owners.owner(*nobody)) == (None, None, None)
    owners.close()


async def test_fragments_with_control_frames_between_them_are_one_message() -> None:
    """RFC 6455 §5.4: control frames may stand between the fragments of a message, cut anywhere in a character."""
    async with testing.server() as running:
        client = await RawClient.open(running.port, running.token)
        text = '{"jsonrpc":"2.0","id":"é😀","method":"ping"}'.encode()
        pieces = [text[index : index + 1] for index in range(len(text))]
        data = frame(TEXT, pieces[0], fin=False)
        for piece in pieces[1:-1]:
            data += frame(PING, b"between") + frame(CONT, piece, fin=False) + frame(PONG, b"unasked")
        await client.send(data + frame(CONT, pieces[-1]))
        pongs = 0
        while (got := await client.read())[0] == PONG:
            assert got[1] == b"between"
            pongs += 1
        assert pongs == len(pieces) - 2
        assert json.loads(got[1])["id"] == "é😀"
        client.close()


async def test_a_binary_message_with_json_is_a_message() -> None:
    """The client takes our binary frames for messages, so we take its."""
    async with testing.server() as running:
        client = await RawClient.open(running.port, running.token)
        await client.send(frame(BINARY, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
        assert (await client.answer())["result"] == {}
        client.close()


async def test_a_message_of_exactly_the_limit_passes_with_pings_between_its_fragments() -> None:
    """The limit is that of the message: control frames do not count, and one byte more is too much."""
    limits = Limits(message_bytes=10_000)
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    async with testing.server(limits=limits) as running:
        client = await RawClient.open(running.port, running.token)
        first, last = body, b" " * (10_000 - len(body))
        await client.send(frame(TEXT, first, fin=False) + frame(PING, b"x" * 125) + frame(CONT, last[:-1], fin=False))
        await client.send(frame(PING, b"x" * 125) + frame(CONT, last[-1:]))
        assert [(await client.read())[0] for _ in range(2)] == [PONG, PONG]
        assert (await client.answer(1))["result"] == {}
        await client.send(frame(TEXT, body + b" " * (10_001 - len(body))))
        assert await client.closed_with() == 1009
        client.close()


async def test_twenty_servers_started_at_once_all_get_a_port() -> None:
    """Bind and listen are tried again on the next port, whatever happened in between."""
    limits = Limits(port_min=21_000, port_max=21_019)
    async with contextlib.AsyncExitStack() as stack:
        servers = [Server(token="t" * 32, limits=limits, session=_no_session) for _ in range(20)]
        for server in servers:
            stack.push_async_callback(server.close)
        ports = await asyncio.gather(*(server.listen() for server in servers))
        assert len(set(ports)) == 20
        one_more = Server(token="t" * 32, limits=limits, session=_no_session)
        with pytest.raises(OSError, match="any port of 21000-21019") as caught:
            await one_more.listen()
        assert caught.value.errno == errno.EADDRINUSE


async def _no_session(connection: websocket.Connection) -> None:
    raise AssertionError("nobody connects")


async def test_the_server_listens_on_the_loopback_address_alone() -> None:
    """Nothing outside this machine can reach it."""
    async with testing.server() as running:
        with socket.socket() as other:
            other.settimeout(1)
            assert other.connect_ex(("127.0.0.2", running.port)) == errno.ECONNREFUSED


@dataclass
class Apart:
    """A server in a process of its own."""

    process: asyncio.subprocess.Process
    port: int
    token: str

    async def registry(self) -> Any:
        """What its registry says now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), SECONDS))

    def rss(self) -> int:
        """Its resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def as_running(self) -> Any:
        """What `testing.Agent.connect` needs to know."""
        return self


@contextlib.asynccontextmanager
async def apart(ping: float = 30, silence: float = 90) -> AsyncIterator[Apart]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.apart", str(ping), str(silence),
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = json.loads(await asyncio.wait_for(process.stdout.readline(), SECONDS))
        yield Apart(process, told["port"], told["token"])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.wait()


async def test_a_server_that_was_stopped_drops_nobody_who_answers() -> None:
    """Stopped for longer than the limit and continued: it was us who slept."""
    async with apart(ping=0.2, silence=0.6) as server:
        async with (
            testing.Agent.connect(server.as_running(), introduce=11) as one,
            testing.Agent.connect(server.as_running(), introduce=22) as two,
        ):
            for _ in range(2):
                server.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(1.5)
                server.process.send_signal(signal.SIGCONT)
                assert await one.request("ping") == {}
            await asyncio.sleep(1.0)  # more than the limit: whoever was wrongly blamed would be gone by now
            assert await two.request("ping") == {}
            told = await server.registry()
            assert (told["clients"], told["departures"]) == ([11, 22], [])


async def test_a_stopped_client_is_dropped_once_after_the_limit_and_the_others_stay() -> None:
    """A client stopped with Ctrl-Z answers no ping."""
    program = (
        "import asyncio, sys\n"
        "from types import SimpleNamespace\n"
        "from pairside import testing\n"
        "async def main():\n"
        "    to = SimpleNamespace(port=int(sys.argv[1]), token=sys.argv[2])\n"
        "    async with testing.Agent.connect(to, introduce=33):\n"
        "        print('in', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    async with apart(ping=0.3, silence=1.0) as server:
        async with testing.Agent.connect(server.as_running(), introduce=11):
            client = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, str(server.port), server.token, cwd=ROOT, stdout=subprocess.PIPE
            )
            try:
                assert client.stdout is not None
                assert await asyncio.wait_for(client.stdout.readline(), SECONDS) == b"in\n"
                while sorted((await server.registry())["clients"], key=str) != [11, 33]:
                    await asyncio.sleep(0.01)
                client.send_signal(signal.SIGSTOP)
                stopped_at = time.monotonic()
                while not (told := await server.registry())["departures"]:
                    assert time.monotonic() - stopped_at < SECONDS
                    await asyncio.sleep(0.02)
                assert time.monotonic() - stopped_at > 0.6
                assert told["clients"] == [11]
                await asyncio.sleep(1.5)
                [departure] = (await server.registry())["departures"]
                assert (departure["pid"], departure["reason"], departure["code"]) == (33, "unresponsive", 1011)
            finally:
                client.kill()
                await client.wait()


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_badly_behaved_client_costs_bounded_memory_and_nobody_elses_time(kind: str) -> None:
    """While one client does its worst, the others' calls stay quick and the server stays small."""
    async with apart() as server:
        async with testing.Agent.connect(server.as_running(), introduce=11) as good:
            for _ in range(50):
                await good.request("ping")
            before = server.rss()
            # Whatever else the machine does makes it slower: the best of three counts, beside what a ping takes anyway.
            for attempt in range(3):
                waits, highest = await _pings_during(kind, server, good)
                # Two messages of the largest size, what may wait unsent, and some air.
                assert highest - before < 120 * 2**20
                busy = _p99(waits)
                print(f"{kind}: p99 {busy * 1000:.1f} ms, {(highest - before) / 2**20:.1f} MiB more")
                if busy <= 0.100:
                    break
                calm = _p99([await _ping(good) for _ in range(200)])
                print(f"with nobody else there: p99 {calm * 1000:.1f} ms")
                if busy <= 0.100 + 2 * calm:
                    break
                assert attempt < 2
            async with asyncio.timeout(SECONDS):  # what it had sent is still being read
                while (await server.registry())["clients"] != [11]:
                    await asyncio.sleep(0.01)


def _p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


async def _ping(good: testing.Agent) -> float:
    """How long the answer to one took, in seconds."""
    started = time.perf_counter()
    assert await good.request("ping") == {}
    return time.perf_counter() - started


async def _pings_during(kind: str, server: Apart, good: testing.Agent) -> tuple[list[float], int]:
    """How long the pings of a good client took while a bad one was at it, and the server's largest size meanwhile."""
    bad = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.flood", kind, str(server.port), server.token, "2.5",
        cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    waits: list[float] = []
    highest = 0
    try:
        assert bad.stdout is not None
        assert await asyncio.wait_for(bad.stdout.readline(), SECONDS) == b"begun\n"
        while bad.returncode is None and len(waits) < 2000:
            waits.append(await _ping(good))
            highest = max(highest, server.rss())
            await asyncio.sleep(0.005)
        await asyncio.wait_for(bad.wait(), SECONDS)
    finally:
        if bad.returncode is None:
            bad.kill()
            await bad.wait()
    assert len(waits) > 20
    return waits, highest
