"""Owns the conversation of a command with a running server: which server, and JSON lines over a blocking socket.

Commands are bound to keys, so this module imports no more than it needs: no asyncio, no websockets, no msgspec.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from pairside import runtime
from pairside.cli.exits import Exit, Failure
from pairside.text import printable, within

HELLO_SECONDS = 2.0
ELSEWHERE_SECONDS = 0.25
"""How long to wait for a server that surely serves another folder."""
CHUNK = 1 << 20
RECONNECT_SECONDS = 15.0
RECONNECT_POLL = 0.05

NOT_PENDING = -32001
REFUSED = -32002

MARKS = ("CLAUDECODE", "GEMINI_CLI", "OPENCODE")
"""Variables that agents set in the shells they start."""


class NotAnswering(Exception):
    """The server is there but sends no answer in time."""


class Closed(Exception):
    """The server has closed the conversation."""


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.message = printable(message)
        self.data = data


class Server:
    """A conversation with one server: requests, and the events that it tells once asked to."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()
        self._searched = 0
        self._last_id = 0
        self._events: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        """What it said to hello: version, pid, port, editor and folders."""

    @property
    def port(self) -> int:
        """The port on which it listens for agents."""
        port: int = self.facts["port"]
        return port

    @property
    def folders(self) -> list[str]:
        """The real paths of the folders that it serves."""
        folders: list[str] = self.facts["folders"]
        return folders

    def serves(self, folder: str) -> bool:
        """Whether a folder, given by its real path, is or lies in one that it serves."""
        return bool(nearness(self.folders, folder))

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._connection.fileno()

    def close(self) -> None:
        """End the conversation."""
        self._connection.close()

    def reconnect(self, seconds: float) -> None:
        """Find the server again that was just started anew on the same port; what it told before is forgotten.

        Raises:
            Closed: It did not come back in time, or its process has ended.
        """
        deadline = time.monotonic() + seconds
        self._connection.close()
        while True:
            try:
                again = find(port=self.port)
            except Failure:
                # The embedded editor's is the same process that starts anew: where that has ended there is nothing to
                # wait for. Another editor starts another process.
                same = self.facts["editor"] == "pairside"
                if time.monotonic() > deadline or (same and not runtime.is_alive(self.facts["pid"])):
                    raise Closed from None
                time.sleep(RECONNECT_POLL)
            else:
                break
        self._connection, self.facts = again._connection, again.facts
        self._received, self._searched, self._events = bytearray(), 0, []

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; returns its id.

        Raises:
            Closed: The server is gone.
            NotAnswering: It takes nothing.
        """
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        try:
            self._connection.settimeout(runtime.ANSWER_SECONDS)
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except TimeoutError:
            raise NotAnswering from None
        except OSError:
            raise Closed from None
        return self._last_id

    def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Ask and wait for the answer.

        Raises:
            Refused: The answer is an error.
            Closed: The server is gone.
            NotAnswering: There was no answer within half a minute.
        """
        id = self.send(method, params or {})
        deadline = time.monotonic() + runtime.LONG_SECONDS.get(method, runtime.ANSWER_SECONDS)
        while True:
            message = self._message(deadline - time.monotonic())
            if message.get("id") == id and "method" not in message:
                return result(message)
            if message.get("method") == "event":
                self._events.append(message["params"])

    def follow(self, *, calls: bool = False) -> None:
        """Ask to be told every event from now on, with `calls` also the calls of tools.

        Returns once none can be missed any more.
        """
        self.send("follow", {"calls": calls})
        deadline = time.monotonic() + runtime.ANSWER_SECONDS
        while self._message(deadline - time.monotonic()).get("method") != "following":
            pass

    def events(self) -> Iterator[dict[str, Any]]:
        """The events that have come, without waiting for more.

        Raises:
            Closed: The server is gone.
        """
        while True:
            if self._events:
                yield self._events.pop(0)
                continue
            try:
                message = self._message(0)
            except NotAnswering:
                return
            if message.get("method") == "event":
                yield message["params"]

    def _message(self, seconds: float) -> dict[str, Any]:
        """The next message, waited for at most that long."""
        return parsed(self.line(seconds))

    def wait_closed(self, seconds: float) -> None:
        """Wait until the server is gone, whatever it says meanwhile.

        Raises:
            NotAnswering: It still was there after that long.
        """
        deadline = time.monotonic() + seconds
        with contextlib.suppress(Closed):
            while True:
                self.line(deadline - time.monotonic())

    def line(self, seconds: float) -> bytes:
        """The next line, waited for at most that long.

        Raises:
            Closed: The server is gone.
            NotAnswering: It did not come in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            end = self._received.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 1]
                self._searched = 0
                return line
            self._searched = len(self._received)
            if not select.select([self._connection], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise NotAnswering
            try:
                chunk = self._connection.recv(CHUNK)
            except OSError:
                raise Closed from None
            if not chunk:
                raise Closed
            self._received += chunk


def parsed(line: bytes) -> dict[str, Any]:
    """The message in a line.

    Raises:
        Closed: It is none, so whoever is there is no server of ours.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise Closed from None
    if not isinstance(message, dict):
        raise Closed
    return message


def result(message: dict[str, Any]) -> Any:
    """What a response carries.

    Raises:
        Refused: It is an error.
    """
    error = message.get("error")
    if error is not None:
        raise Refused(error.get("code", 0), error.get("message", ""), error.get("data") or {})
    return message.get("result")


def find(*, port: int | None = None, workspace: str | None = None) -> Server:
    """The server on `port`; without one the server whose folder is nearest to `workspace` or the current folder.

    Nearest is the longest of the served folders that are that folder or hold it. Sockets of dead servers are
    removed on the way.

    Raises:
        Failure: None serves it (exit status 4), several do in the same way (2), or one does not answer (1).
    """
    folder = here(workspace)
    state = _state()
    paths = [runtime.socket_path(state, port)] if port is not None else runtime.sockets(state)
    servers, silent = _greeted(paths, folder if port is None else None)
    nearest = 1
    best = servers
    if port is None:
        nearest = max((nearness(server.folders, folder) for server in servers), default=0)
        best = [server for server in servers if nearest and nearness(server.folders, folder) == nearest]
    for server in servers:
        if server not in best:
            server.close()
    for path in silent:
        record = _record(path)
        if record is not None and (port is not None or nearness(record.folders, folder) > nearest):
            raise Failure(f"The server on port {record.port} (pid {record.pid}) does not answer.")
    if not best:
        if port is not None:
            raise Failure(f"No pairside serves on port {port}.{_elsewhere(servers)}", Exit.NO_SERVER)
        raise Failure(
            f"No pairside serves {printable(folder)}. Start one there: pairside serve, or with an agent: "
            f"pairside run claude{_elsewhere(servers)}",
            Exit.NO_SERVER,
        )
    if len(best) > 1:
        raise Several(folder, sorted(best, key=lambda server: server.port))
    return best[0]


class Several(Failure):
    """Several servers serve a folder in the same way."""

    def __init__(self, folder: str, servers: list[Server]) -> None:
        listed = "\n".join(
            f"  --port {server.port}  {printable(server.facts['editor'])} (pid {server.facts['pid']})"
            for server in servers
        )
        super().__init__(
            f"Several servers serve {printable(folder)}. Choose one:\n{listed}",
            Exit.USAGE,
        )
        self.servers = servers


def _elsewhere(servers: list[Server]) -> str:
    """The servers that serve other folders, as the end of a message."""
    return "".join(
        f"\nOne serves {', '.join(map(printable, server.folders))}, on port {server.port}." for server in servers
    )


def servers_near(folder: str) -> list[Server]:
    """The servers of ours that answer, whichever folder they serve; those of another than `folder` may be missing."""
    return _greeted(runtime.sockets(_state()), folder)[0]


def _state() -> str:
    try:
        return runtime.directory(os.environ)
    except runtime.RuntimeDirectoryError as error:
        raise Failure(printable(str(error))) from None


def here(workspace: str | None) -> str:
    """The real path of the folder that a command is about."""
    try:
        return os.path.realpath(workspace if workspace is not None else os.getcwd())
    except OSError as error:
        raise Failure(f"The current folder cannot be used: {error.strerror}") from None


def nearness(folders: list[str] | tuple[str, ...], folder: str) -> int:
    """The length of the longest of `folders` that is or holds `folder`; 0 if none does."""
    return max((len(one) for one in folders if within(folder, (one,))), default=0)


def _greeted(paths: list[str], folder: str | None = None) -> tuple[list[Server], list[str]]:
    """The servers that answer hello, and the sockets of those that do not. All are asked at the same time.

    With a `folder` those that serve another one, by what they left in their records, are hardly waited for.
    """
    mark = next((name for name in MARKS if os.environ.get(name)), "")
    started = time.monotonic()
    asked: dict[Server, str] = {}
    servers: list[Server] = []
    silent: list[str] = []
    for path in paths:
        try:
            connection = runtime.connect(path, HELLO_SECONDS)
        except OSError:
            silent.append(path)
            continue
        if connection is None:
            continue
        server = Server(connection)
        try:
            server.send("hello", {"mark": mark})
        except (Closed, NotAnswering):
            silent.append(path)
            server.close()
        else:
            asked[server] = path
    while asked:
        matter = folder is None or any(_may_serve(path, folder) for path in asked.values())
        left = started + (HELLO_SECONDS if matter else ELSEWHERE_SECONDS) - time.monotonic()
        ready = select.select(list(asked), [], [], max(0.0, left))[0]
        for server in ready:
            try:
                facts = result(parsed(server.line(0)))
                if not isinstance(facts, dict) or not facts.keys() >= {"version", "pid", "port", "editor", "folders"}:
                    raise Closed
            except NotAnswering:
                continue  # the rest of the line is on its way
            except (Closed, Refused):
                silent.append(asked.pop(server))
                server.close()
            else:
                del asked[server]
                server.facts = facts
                servers.append(server)
        if not ready and left <= 0:
            break
    for server, path in asked.items():
        silent.append(path)
        server.close()
    return servers, silent


def _may_serve(path: str, folder: str) -> bool:
    """Whether the server of a socket may serve a folder, as far as its record tells."""
    record = _record(path)
    return record is None or bool(nearness(record.folders, folder))


def _record(path: str) -> runtime.Record | None:
    return runtime.read_record(path[: -len(".sock")] + ".json")
