"""Owns what is kept of changes when a server ends: a directory for each set of folders, its lock and its log.

It is below `$XDG_STATE_HOME/pairside/changes` (or `~/.local/state/pairside/changes`), for our user alone, since it
holds the texts of files. The log has one JSON object a line; what reads it passes over a line that is half written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pairside.runtime import private_directory, state_location, try_lock
from pairside.text import up_to, within

log = logging.getLogger(__name__)


class Recording(NamedTuple):
    """What the person wants to have recorded of changes, as configured."""

    exclude: tuple[str, ...] = ()
    """Patterns of files whose contents are never kept; matched as `sharing.Sharing.pattern` does."""
    snapshots: bool = True
    """Whether git work trees are looked at for what was changed by other means."""
    keep: bool = True
    """Whether changes outlive the server."""


SLOTS = 8
"""So many servers for the same folders keep their changes at the same time."""
_ENDING = "ending"
_REPOSITORY = "git-"
LOG_BYTES = 64 * 1024 * 1024


class Archive:
    """One directory, held by this process until `close`."""

    def __init__(self, folder: str, lock: int) -> None:
        self.folder = folder
        self.objects = os.path.join(folder, "objects")
        """Where the bytes of files are kept."""
        os.makedirs(self.objects, mode=0o700, exist_ok=True)
        self._lock = lock
        self._log: int | None = None
        self.grown = 0
        """By how many bytes the log has grown since it was written anew."""
        self.failed = ""
        """Why the last line could not be written; empty while all is well."""

    @property
    def state(self) -> str:
        """The folder in which everything stands that pairside keeps."""
        return os.path.dirname(os.path.dirname(self.folder))

    def repository(self, top: str) -> str:
        """Where our own repository for a git work tree is, or would be."""
        return repository(self.folder, top)

    def remove_repositories(self) -> None:
        """Remove our own repositories: they are made anew when they are needed."""
        for entry in os.scandir(self.folder):
            if entry.name.startswith(_REPOSITORY) and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was kept, oldest first."""
        try:
            with open(self._path("log"), "rb") as file:
                data = up_to(file, LOG_BYTES)
        except OSError:
            return
        for line in data.split(b"\n"):
            try:
                facts = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(facts, dict):
                yield facts

    def append(self, facts: Mapping[str, Any]) -> None:
        """Keep one line. A disk that is full is no reason to fail: `failed` says so."""
        try:
            if self._log is None:
                self._log = os.open(
                    self._path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
                )
            if self.failed:  # a line that was written in part must not spoil this one
                os.write(self._log, b"\n")
            self.grown += _write(self._log, facts)
            self.failed = ""
        except OSError as error:
            if not self.failed:
                log.warning("changes are not kept: %s", error)
            self.failed = error.strerror or "unknown"

    def set_aside(self) -> None:
        """Keep a copy of the log, in which there is something that is not understood."""
        with contextlib.suppress(OSError):
            shutil.copyfile(self._path("log"), self._path("log.old"))
            os.chmod(self._path("log.old"), 0o600)

    def replace(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Keep these lines and no others, or, if that fails, what was kept before."""
        path, temporary = self._path("log"), self._path("log.new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                for facts in lines:
                    _write(descriptor, facts)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
        except OSError as error:
            self.failed = error.strerror or "unknown"
            return
        self.grown = 0
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def end(self) -> None:
        """Say that this process is about to close it."""
        with contextlib.suppress(OSError):
            os.close(os.open(self._path(_ENDING), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def close(self) -> None:
        """Let another process have it."""
        for descriptor in (self._log, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._log = None

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def _write(descriptor: int, facts: Mapping[str, Any]) -> int:
    # Names that are not UTF-8 stand in texts as lone surrogates, which JSON escapes.
    line = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return len(line)


def repository(folder: str, top: str) -> str:
    """Where in a folder of ours our own repository for a git work tree is, or would be."""
    return os.path.join(folder, _REPOSITORY + _short(top))


def location(environment: Mapping[str, str]) -> str:
    """Where the directories are."""
    return os.path.join(state_location(environment), "pairside", "changes")


def claim(environment: Mapping[str, str], folders: Iterable[str], *, slots: int = SLOTS) -> Archive | None:
    """The archive for these folders, for this process alone; None if `slots` others hold one for them.

    Raises:
        RuntimeDirectoryError: The directory cannot be trusted or used.
    """
    folders = sorted(folders)
    base = private_directory(location(environment))
    for slot in range(slots):
        folder = private_directory(_slot(base, folders, slot))
        lock = try_lock(os.path.join(folder, "lock"))
        if lock is not None:
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, _ENDING))
                _name_folders(folder, folders)
                return Archive(folder, lock)
            except BaseException:
                os.close(lock)
                raise
    return None


def _name_folders(folder: str, folders: list[str]) -> None:
    """Leave in a directory of ours which folders it is about: whole or as before, since nothing is found without."""
    path = os.path.join(folder, "folders")
    text = json.dumps(folders)
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
        if file.read() == text:
            return
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(path + ".new", flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path + ".new")
        raise


def is_about_to_end(environment: Mapping[str, str], folders: Iterable[str]) -> bool:
    """Whether the server that holds the first archive of these folders has begun to end: it is worth waiting for."""
    folder = _slot(location(environment), sorted(folders), 0)
    if not os.path.lexists(os.path.join(folder, _ENDING)):
        return False
    lock = try_lock(os.path.join(folder, "lock"))
    if lock is not None:
        os.close(lock)
    return lock is None


def _slot(base: str, folders: list[str], slot: int) -> str:
    return os.path.join(base, _short("\0".join(folders)) + (f"-{slot}" if slot else ""))


def reopen(folder: str) -> Archive | None:
    """The archive in a directory that `left` told of, for this process alone; None while another one holds it.

    Raises:
        OSError: It is not there any more.
    """
    lock = try_lock(os.path.join(folder, "lock"))
    return None if lock is None else Archive(folder, lock)


def left(environment: Mapping[str, str], folder: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The directory of each archive that is about `folder`, and its folders; that which was written to last first."""
    base = location(environment)
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(base):
            try:
                with open(os.path.join(entry.path, "folders"), encoding="utf-8") as file:
                    folders = tuple(str(one) for one in json.load(file))
                at = os.stat(os.path.join(entry.path, "log")).st_mtime
            except (OSError, ValueError, TypeError):
                continue
            if within(folder, folders):
                found.append((at, entry.path, folders))
    for _, path, folders in sorted(found, reverse=True):
        yield path, folders


def _short(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
