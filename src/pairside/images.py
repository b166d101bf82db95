"""Owns what a file was at a moment: its bytes, its mode, where a symbolic link leads; and where the bytes are kept.

An `Image` is a value of a few words: its bytes stand in a `Store`, by their SHA-256, each only once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from pairside.text import up_to

SWEEP_SECONDS = 60.0
"""Bytes that nobody wants stay for so long: what read them may not have said yet what for."""
_DIGEST_CHARACTERS = 64


class Kind(StrEnum):
    """What stands at a path."""

    NONE = "none"
    FILE = "file"
    LINK = "link"
    OTHER = "other"
    """A folder, a socket, a pipe, a device; or something that could not be looked at."""


@dataclass(frozen=True, slots=True)
class Image:
    """What stood at a path at one moment. Two images are equal if nothing tells them apart."""

    kind: Kind = Kind.NONE
    digest: str | None = None
    """The name of the bytes in the store: those of a file, or the path that a link leads to. None if not kept."""
    size: int = 0
    """In bytes."""
    mode: int = 0
    """The permission bits of a file; 0 for anything else."""
    note: str = ""
    """Why the bytes of a file are not kept."""
    stamp: tuple[int, int, int] | None = None
    """Inode, size and time of the last write where the bytes are not kept: enough to see that something changed."""
    missing: str = field(default="", compare=False)
    """Where nothing stood: the topmost folder on the way to it that was missing too."""

    @property
    def exists(self) -> bool:
        """Whether anything stood there."""
        return self.kind is not Kind.NONE

    @property
    def is_known(self) -> bool:
        """Whether it can be put back: nothing, or a file or a link whose bytes are kept."""
        return self.kind is Kind.NONE or self.digest is not None


class Store:
    """Bytes by their SHA-256, each only once: in a directory, or in memory if there is none.

    Every method may be called from any thread.
    """

    def __init__(self, folder: str | None = None, *, limit: int | None = None) -> None:
        """`folder` exists and is ours alone; what it holds from before is known at once.

        Beyond `limit` bytes in all nothing is taken until something was forgotten; None for no limit.

        Raises:
            OSError: The folder cannot be read.
        """
        self._folder = folder
        self._limit = limit
        self._bytes: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._lock = threading.Lock()
        self._put_at: dict[str, float] = {}
        if folder is not None:
            for entry in os.scandir(folder):
                if len(entry.name) == _DIGEST_CHARACTERS and entry.is_file(follow_symlinks=False):
                    self._sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
                    self._total += self._sizes[entry.name]
                else:  # half written when a process ended
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)

    @property
    def total(self) -> int:
        """How many bytes are kept."""
        return self._total

    def size(self, digest: str) -> int:
        """How many bytes stand under a name; 0 if none do."""
        return self._sizes.get(digest, 0)

    def put(self, data: bytes) -> str:
        """Keep bytes, whole or not at all. Returns their name.

        Raises:
            OSError: They cannot be written, or there is too much already.
        """
        digest = hashlib.sha256(data).hexdigest()
        self._put_at[digest] = time.monotonic()
        if digest in self._sizes:
            return digest
        if self._limit is not None and self._total + len(data) > self._limit:
            raise OSError(errno.EDQUOT, "the room for changes is used up")
        if self._folder is None:
            self._bytes[digest] = data
        else:
            descriptor, temporary = tempfile.mkstemp(dir=self._folder)
            try:
                with open(descriptor, "wb") as file:
                    file.write(data)
                os.rename(temporary, os.path.join(self._folder, digest))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        with self._lock:  # another thread may have kept the same
            if digest not in self._sizes:
                self._sizes[digest] = len(data)
                self._total += len(data)
        return digest

    def get(self, digest: str) -> bytes | None:
        """The bytes of that name; None if they are not there any more, or are not what they were."""
        if self._folder is None:
            return self._bytes.get(digest)
        try:
            with open(os.path.join(self._folder, digest), "rb") as file:
                data = file.read()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def sweep(self, wanted: Collection[str], *, at_once: bool = False) -> None:
        """Forget all bytes but those that are wanted, and those that came a moment ago: somebody may be about to.

        With `at_once` those as well: what the person wants to have forgotten stays no moment longer.
        """
        if at_once:
            self._put_at.clear()
        now = time.monotonic()
        self._put_at = {digest: at for digest, at in tuple(self._put_at.items()) if now - at < SWEEP_SECONDS}
        for digest in [one for one in tuple(self._sizes) if one not in wanted and one not in self._put_at]:
            with self._lock:
                self._total -= self._sizes.pop(digest, 0)
            self._bytes.pop(digest, None)
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self._folder, digest))


def look(path: str, limit: int, store: Store) -> Image:
    """What stands at an absolute path now, with its bytes in the store if it is a file of at most `limit` bytes.

    A link is looked at, not followed. If a folder on the way has become one, the file is out of reach: who replaced
    it could make us read what lies anywhere.
    """
    folder = os.path.dirname(path)
    try:
        status = os.lstat(path)
        if os.path.realpath(folder) != folder:
            return Image(Kind.OTHER, note="a folder on its path is a symbolic link")
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(os.fsencode(path))
            return Image(Kind.LINK, store.put(target), len(target))
        if not stat.S_ISREG(status.st_mode):
            note = "it is a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            return Image(Kind.OTHER, note=note, stamp=_stamp(status))
        if status.st_size > limit:
            return _unkept(status, f"larger than {limit} bytes")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return Image(missing=_missing(folder))
    except OSError as error:
        return Image(Kind.OTHER, note=error.strerror or "unreadable")
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Image(Kind.OTHER, note="not a regular file", stamp=_stamp(status))
        try:
            data = up_to(file, limit + 1)
            if len(data) > limit:
                return _unkept(status, f"larger than {limit} bytes")
            return Image(Kind.FILE, store.put(data), len(data), stat.S_IMODE(status.st_mode))
        except OSError as error:
            return _unkept(status, f"not kept: {error.strerror or 'unreadable'}")


def _missing(folder: str) -> str:
    """The topmost of the folders on the way to `folder` that are no folders now, or links; empty if it is one."""
    missing = ""
    while folder != "/":
        if os.path.islink(folder) or not os.path.isdir(folder):
            missing = folder
        folder = os.path.dirname(folder)
    return missing


def _unkept(status: os.stat_result, why: str) -> Image:
    return Image(Kind.FILE, None, status.st_size, stat.S_IMODE(status.st_mode), why, _stamp(status))


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return (status.st_ino, status.st_size, status.st_mtime_ns)
