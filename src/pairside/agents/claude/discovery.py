"""Owns the lock files by which Claude Code finds an IDE: `PORT.lock` in `$CLAUDE_CONFIG_DIR/ide` or `~/.claude/ide`.

A lock file is written last, whole and by rename, because the client may read it within a second; and only the
process that listens on a port writes or removes the lock of that port.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pairside.runtime import is_alive
from pairside.text import read_file, within

FILE_BYTES = 64 * 1024
_TEMPORARY = re.compile(r"\.\d+\.lock\.(\d+)\.[0-9a-f]{12}")
"""How a lock file is called before it has its name; the number in the group is the process that writes it."""


class DiscoveryError(Exception):
    """Agents cannot be told where to find us; the message says why and what to do."""


class Lock(NamedTuple):
    """What a lock file says."""

    path: str
    port: int
    pid: int | None
    folders: tuple[str, ...]
    ide: str
    transport: str
    token: str

    @property
    def alive(self) -> bool:
        """Whether its process runs; a lock without a pid counts as alive, as it does for the client."""
        return self.pid is None or is_alive(self.pid)

    def valid_for(self, folder: str) -> bool:
        """Whether a client that runs in `folder` takes this lock for its IDE."""
        return self.alive and within(folder, self.folders)


def directory(environment: Mapping[str, str]) -> str:
    """Where lock files are written."""
    config = environment.get("CLAUDE_CONFIG_DIR") or os.path.join(_home(environment), ".claude")
    return os.path.join(config, "ide")


def directories(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where clients look for lock files: under the home as well, wherever CLAUDE_CONFIG_DIR points."""
    return tuple(dict.fromkeys((directory(environment), os.path.join(_home(environment), ".claude", "ide"))))


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def read(path: str) -> Lock | None:
    """The lock in a file; None if it is none, as the client sees it too."""
    name = os.path.basename(path)
    if not name.endswith(".lock") or not name[:-5].isdecimal():
        return None
    try:
        facts = json.loads(read_file(path, FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None
    pid, folders = facts.get("pid"), facts.get("workspaceFolders")
    return Lock(
        path,
        int(name[:-5]),
        pid if isinstance(pid, int) and not isinstance(pid, bool) else None,
        tuple(folder for folder in folders if isinstance(folder, str)) if isinstance(folders, list) else (),
        str(facts.get("ideName", "")),
        str(facts.get("transport", "")),
        str(facts.get("authToken", "")),
    )


def locks(environment: Mapping[str, str]) -> Iterator[Lock]:
    """Every lock that a client could find, ours among them."""
    for folder in directories(environment):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            lock = read(os.path.join(folder, name))
            if lock is not None:
                yield lock


def rivals(environment: Mapping[str, str], folders: Iterable[str], port: int) -> list[Lock]:
    """The other live locks that are valid where one of `folders` is: with two of them `claude --ide` connects to none.

    That is so for a lock of the same folder or one above it, and in the folder of a lock below it.
    """
    return [
        lock
        for lock in locks(environment)
        if lock.port != port
        and any(
            lock.valid_for(folder) or (lock.alive and any(within(one, (folder,)) for one in lock.folders))
            for folder in folders
        )
    ]


class LockFile:
    """Our own lock file. Write it once the socket listens, remove it before the socket closes."""

    def __init__(self, environment: Mapping[str, str], *, port: int, token: str, ide: str) -> None:
        self.path = os.path.join(directory(environment), f"{port}.lock")
        self._token = token
        self._ide = ide
        self._folders: tuple[str, ...] = ()
        self._written: tuple[int, ...] = ()
        """The file as we left it."""
        self._is_current = False
        """Whether the file says what it should; not so where it could not be written."""

    def write(self, folders: tuple[str, ...]) -> None:
        """Write or replace the file, with the same token.

        Raises:
            DiscoveryError: The directory cannot be used.
        """
        self._folders = folders
        self._is_current = False
        text = json.dumps(
            {
                "pid": os.getpid(),
                "workspaceFolders": list(folders),
                "ideName": self._ide,
                "transport": "ws",
                "authToken": self._token,
            },
            ensure_ascii=False,
        )
        folder, name = os.path.split(self.path)
        temporary = f".{name}.{os.getpid()}.{secrets.token_hex(6)}"
        try:
            with _private(folder) as place:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(temporary, flags, 0o600, dir_fd=place)
                try:
                    with open(descriptor, "wb") as file:
                        os.fchmod(descriptor, 0o600)  # whatever the umask has taken away
                        file.write(os.fsencode(text))
                    os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(temporary, dir_fd=place)
                    raise
                self._is_current = True
                self._written = _identity(os.stat(name, dir_fd=place, follow_symlinks=False))
        except OSError as error:
            raise DiscoveryError(
                f"cannot write the lock file {self.path}: {error.strerror}. "
                f"Agents find pairside by it: make {folder} writable, or set CLAUDE_CONFIG_DIR."
            ) from None

    @property
    def ours(self) -> bool:
        """Whether the file is there and is the one that we wrote; told without opening it where nobody touched it."""
        with contextlib.suppress(OSError):  # or a process without free descriptors would take its own for another's
            if _identity(os.lstat(self.path)) == self._written:
                return True
        lock = read(self.path)
        return lock is not None and lock.token == self._token and lock.pid == os.getpid()

    def restore(self) -> bool:
        """Write the file again if somebody removed or replaced it, or if the last time failed; whether that was needed.

        Raises:
            DiscoveryError: The directory cannot be used.
        """
        if self._is_current and self.ours:
            return False
        self.write(self._folders)
        return True

    def remove(self) -> None:
        """Remove the file, if it is ours."""
        if self.ours:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def sweep(environment: Mapping[str, str]) -> None:
    """Remove what processes of ours left that were killed before their lock file had its name: it holds a token."""
    for folder in directories(environment):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            match = _TEMPORARY.fullmatch(name)
            if match is not None and not is_alive(int(match[1])):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced or written."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@contextlib.contextmanager
def _private(folder: str) -> Iterator[int]:
    """The directory for our user alone, made or closed to others if need be, as a descriptor.

    What was looked at is what is written to, whatever takes its name meanwhile.

    Raises:
        OSError: It is not a directory of ours.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid():
            raise PermissionError(1, "it belongs to another user", folder)
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
        yield descriptor
    finally:
        os.close(descriptor)
