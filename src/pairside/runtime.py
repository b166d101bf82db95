"""Owns our own directory: the observers' sockets, and the port and token that a restarted server takes over.

It is `$XDG_STATE_HOME/pairside/run` (or `~/.local/state/pairside/run`), which outlives a login and is the same in
every shell. Everything here is cheap to import, because commands bound to a key use it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping

SOCKET_PATH_BYTES = 100
"""What a Unix socket's path may take on every system (108 on Linux, 104 on macOS)."""
FALLBACK = f"/tmp/pairside-{os.getuid()}"
"""The directory where the usual one has too long a path."""
FRESH_SECONDS = 30.0
"""A record older than this is not taken over: its clients have given up."""
TOUCH_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""How long an observer waits for an answer: a comparison of two texts may take git 10 s."""
LONG_SECONDS = {"undo": 600.0}
"""How long for that of what may be about thousands of files, each of which is written to the disk, by method."""
CONNECT_SECONDS = 0.2
"""How long a server that starts waits for a socket that it does not know."""
RECORD_BYTES = 64 * 1024
_TEMPORARY = re.compile(r"\d+\.json\.(\d+)")
"""How a record is called before it has its name; the number in the group is the process that writes it."""


class RuntimeDirectoryError(Exception):
    """The directory cannot be trusted or used; the message says why and what to do."""


def state_location(environment: Mapping[str, str]) -> str:
    """The directory for what programs keep from one run to the next (XDG Base Directory Specification)."""
    home = environment.get("HOME") or os.path.expanduser("~")
    state = environment.get("XDG_STATE_HOME") or ""
    if not os.path.isabs(state):  # the specification wants a relative one ignored
        state = os.path.join(home, ".local", "state")
    return state


def location(environment: Mapping[str, str]) -> str:
    """Where the directory is, or would be: in `/tmp` where the usual path is too long for a socket in it."""
    path = os.path.join(state_location(environment), "pairside", "run")
    if len(os.fsencode(os.path.join(path, "65535.sock"))) > SOCKET_PATH_BYTES:
        path = FALLBACK
    return path


def directory(environment: Mapping[str, str]) -> str:
    """The directory, created if need be, ours alone.

    Raises:
        RuntimeDirectoryError: It belongs to somebody else, is a symbolic link, or cannot be made.
    """
    return private_directory(location(environment))


def private_directory(path: str) -> str:
    """The same directory, created if need be, ours alone.

    Raises:
        RuntimeDirectoryError: It belongs to somebody else, is a symbolic link, or cannot be made.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.lstat(path)
    except OSError as error:
        raise RuntimeDirectoryError(
            f"cannot make {path}: {error.strerror}. Set XDG_STATE_HOME to a directory that is yours."
        ) from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RuntimeDirectoryError(f"{path} is not a directory of yours. Remove it, or set XDG_STATE_HOME.")
    if stat.S_IMODE(status.st_mode) != 0o700:
        os.chmod(path, 0o700)
    return path


class Record:
    """What a running server leaves for its successor: port, token, folders, pid, and whether anything is shared."""

    __slots__ = ("folders", "path", "pid", "port", "shares", "token", "touched_at")

    def __init__(
        self,
        path: str,
        port: int,
        token: str,
        folders: tuple[str, ...],
        pid: int,
        touched_at: float,
        shares: bool,
    ) -> None:
        self.path = path
        self.port = port
        self.token = token
        self.folders = folders
        self.pid = pid
        self.touched_at = touched_at
        self.shares = shares


def socket_path(folder: str, port: int) -> str:
    """Where the observers of the server on `port` connect."""
    return os.path.join(folder, f"{port}.sock")


def record_path(folder: str, port: int) -> str:
    """Where the server on `port` leaves its record."""
    return os.path.join(folder, f"{port}.json")


def write_record(folder: str, port: int, token: str, folders: tuple[str, ...], *, shares: bool = True) -> None:
    """Leave a record, whole or not at all, readable by us alone."""
    path = record_path(folder, port)
    temporary = f"{path}.{os.getpid()}"
    facts = {"port": port, "token": token, "folders": list(folders), "pid": os.getpid(), "shares": shares}
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask has taken away
            file.write(os.fsencode(json.dumps(facts, ensure_ascii=False)))
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def touch_record(folder: str, port: int) -> None:
    """Say that the server is alive, for the sake of one that may have to follow it."""
    with contextlib.suppress(OSError):
        os.utime(record_path(folder, port))


def read_record(path: str) -> Record | None:
    """A record that may be believed: a regular file of ours that nobody else can read or write."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        try:
            facts = json.loads(os.fsdecode(file.read(RECORD_BYTES)))
            port, token, pid = facts["port"], facts["token"], facts["pid"]
            folders = tuple(facts["folders"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
    if type(port) is not int or type(pid) is not int or not isinstance(token, str) or len(token) < 32:
        return None
    if os.path.basename(path) != f"{port}.json" or not all(isinstance(folder, str) for folder in folders):
        return None
    return Record(path, port, token, folders, pid, status.st_mtime, facts.get("shares") is not False)


def records(folder: str) -> Iterator[Record]:
    """Every record that may be believed."""
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            record = read_record(os.path.join(folder, name))
            if record is not None:
                yield record


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs, whoever owns it. One that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] != [b"Z"]
    except OSError:  # a system without /proc
        return True


def ancestors(pid: int) -> list[int]:
    """A process and those it descends from, nearest first, as far as the system tells."""
    line: list[int] = []
    while pid > 1 and pid not in line and len(line) < 100:
        line.append(pid)
        pid = _parent(pid)
    return line


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold anything, parentheses among it.
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def adoptable(folder: str, folders: tuple[str, ...], *, again: bool = False) -> list[Record]:
    """The records of servers for the same folders that died a moment ago, the latest first.

    Whether a port and token may really be taken over is decided by whether the port binds. With `again` this
    process was started anew, and a record of its own is one that it left before.
    """
    fresh = [
        record
        for record in records(folder)
        if set(record.folders) == set(folders)
        and (not is_alive(record.pid) or (again and record.pid == os.getpid()))
        and _is_fresh(record)
    ]
    return sorted(fresh, key=lambda record: record.touched_at, reverse=True)


def _is_fresh(record: Record) -> bool:
    """Whether its server was alive a moment ago. What was touched in the future is not: the clock was set back."""
    return -1 < time.time() - record.touched_at < FRESH_SECONDS


def try_start_lock(folder: str) -> int | None:
    """Take the lock under which servers start, as a descriptor to close; None while somebody else holds it."""
    return try_lock(os.path.join(folder, "start.lock"))


def try_lock(path: str) -> int | None:
    """Take the lock of a file of ours, made if need be, as a descriptor to close; None while somebody else holds it.

    Raises:
        OSError: It cannot be opened, or is a symbolic link.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def holding_port(port: int) -> Iterator[bool]:
    """Whether nobody listens on a port; if so nobody else can while the block runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen(1)  # bound alone, two sockets could share the address
        except (OSError, OverflowError):
            yield False
        else:
            yield True


def sweep(folder: str, forget: Callable[[Record], None]) -> None:
    """Remove what dead servers left and nobody may take over any more; call it under the start lock.

    `forget` is told each such record while its port is held, so that nobody else can be writing there.
    """
    for name in os.listdir(folder):
        match = _TEMPORARY.fullmatch(name)
        if match is not None and not is_alive(int(match[1])):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
    left = list(records(folder))
    for path in sockets(folder):  # of a server that was killed before it left its record, or after it removed it
        if not any(socket_path(folder, record.port) == path for record in left):
            with contextlib.suppress(OSError):
                connection = _connect(path, CONNECT_SECONDS)
                if connection is None:
                    os.unlink(path)
                else:
                    connection.close()
    for record in left:
        if is_alive(record.pid) or _is_fresh(record):
            continue
        with holding_port(record.port) as free:
            if free:
                forget(record)
                for path in (record.path, socket_path(folder, record.port)):
                    with contextlib.suppress(OSError):
                        os.unlink(path)


def connect(path: str, seconds: float) -> socket.socket | None:
    """A connection to a server's socket; None if it is dead, in which case the socket is removed.

    Raises:
        OSError: The server is there and does not answer, or it is another user's.
    """
    connection = _connect(path, seconds)
    if connection is not None:
        return connection
    # A server that is starting has bound its socket a moment before it listens; it holds the start lock then.
    descriptor = try_start_lock(os.path.dirname(path))
    if descriptor is None:
        return None
    try:
        connection = _connect(path, seconds)
        if connection is None:
            with contextlib.suppress(OSError):
                os.unlink(path)
        return connection
    finally:
        os.close(descriptor)


def _connect(path: str, seconds: float) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
            return None
        raise
    if not is_ours(connection):
        connection.close()
        raise PermissionError(errno.EPERM, "it belongs to another user", path)
    return connection


def is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end of a Unix socket belongs to our user; True where that is not told."""
    if not sys.platform.startswith("linux"):
        return True
    uid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    return uid == os.getuid()


def sockets(folder: str) -> list[str]:
    """The paths of all sockets, dead ones among them."""
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".sock")]
