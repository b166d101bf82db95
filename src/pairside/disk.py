"""Owns writing to the person's files: whole or not at all, and never through a link.

What is written stands in a file beside its place first, and takes the place in one step. Where the system can, that
file has no name until it is whole, so a process that is killed hardly ever leaves one; and the two change places
instead, so that whatever somebody else put there in the last moment is in hand, and goes back.
Every step is by the descriptor of a folder that was reached without following a link, never by a path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import IO

import msgspec

from pairside.images import Image, Kind, Store
from pairside.text import up_to

PREFIX = ".pairside-"
"""How the names of our files begin that stand beside those of the person for a moment."""
_OURS = re.compile(re.escape(PREFIX) + "[0-9a-f]{16}")
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_REPLACE, _EXCHANGE = 1, 2  # of renameat2(2)
_ROUNDS = 16
_DEEP = 64
"""In folders below each other that are more than these it is not looked whether they hold a file."""
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it would be larger than files may be here",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "that is not permitted there",
    errno.EROFS: "the file system is read-only",
    errno.ENAMETOOLONG: "its name is too long for the file system",
}


class DiskError(Exception):
    """It cannot be written; the message says why."""


class Changed(DiskError):
    """What stands there is not what was expected."""


class _Place(msgspec.Struct, frozen=True):
    """A name in a folder that is open: no link that comes later changes what it means."""

    path: str
    """What it is called in messages."""
    folder: int
    name: str

    def beside(self) -> _Place:
        """A place in the same folder that is ours."""
        name = PREFIX + secrets.token_hex(8)
        return _Place(os.path.join(os.path.dirname(self.path), name), self.folder, name)

    def status(self) -> os.stat_result:
        """What stands there itself, also if it is a link."""
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def open(self, flags: int, mode: int = 0) -> int:
        return os.open(self.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=self.folder)

    def rename(self, other: _Place) -> None:
        os.rename(self.name, other.name, src_dir_fd=self.folder, dst_dir_fd=other.folder)

    def unlink(self) -> None:
        os.unlink(self.name, dir_fd=self.folder)


def put(path: str, image: Image, *, expected: Image, store: Store, limit: int) -> None:
    """Make what stands at an absolute path be `image`, if it is still what is expected there.

    `limit` is the largest file that is compared, in bytes. Folders that are missing on the way are made; a folder that
    holds no file is nothing, and gives way. A file that is replaced leaves owner, group and extended attributes to the
    new one; one that has several names keeps them, and is written where it is. Blocks: call it in a thread.

    Raises:
        Changed: Something else stands there. It is left as it is.
        DiskError: It cannot be done, and what stood there is left as it is.
    """
    for one in (image, expected):
        if one.kind is Kind.OTHER or not one.is_known:
            raise DiskError(f"{path} cannot be written: {one.note or 'what it was is not known'}")
    data = b""
    if image.digest is not None:
        kept = store.get(image.digest)
        if kept is None:
            raise DiskError(f"{path} cannot be written: its contents are not kept any more")
        data = kept
    try:
        with _place(path, make=image.exists and not expected.exists) as place:
            if place is not None:
                _put(place, image, data, expected, limit)
            elif expected.exists:
                raise Changed(f"{path} is gone")
    except OSError as error:
        raise DiskError(f"{path} cannot be written: {_reason(error)}") from error


def obstacle(path: str, going: Collection[str] = ()) -> str:
    """What keeps a folder at an absolute path from giving way to a file: the first in it that is no folder itself.

    `going` are paths that will be gone by then. The path itself if no folder stands there, empty if nothing is in the
    way. No link is followed. Blocks: call it in a thread.
    """
    try:
        with _place(path) as place:
            return path if place is None else _obstacle(place, going)
    except (DiskError, OSError):
        return path


def prune(folder: str, *, top: str) -> list[str]:
    """Remove an absolute folder and then those above it as long as they are empty, below `top`. Returns those removed.

    Raises:
        DiskError: A folder on the way is a symbolic link.
    """
    removed: list[str] = []
    top = top.rstrip("/")
    while folder.startswith(top + "/") and folder != "/":
        try:
            with _place(folder) as place:
                if place is not None:
                    os.rmdir(place.name, dir_fd=place.folder)
                    removed.append(folder)
        except FileNotFoundError:
            pass
        except (Changed, OSError):  # not empty, not a folder, or not ours to remove
            break
        folder = os.path.dirname(folder)
    return removed


def clear(path: str, images: Collection[Image], *, store: Store, limit: int) -> list[str]:
    """Clear away what a `put` at an absolute path has left whose process was killed. Returns what cannot be judged.

    `images` are what stood there and what was to stand there. Of what stands beside the path under a name of ours, only
    what is one of the two, or the start of one, goes: somebody else's text may stand there too. A file with several
    names that was left half written becomes what it was before. Blocks: call it in a thread.

    Raises:
        DiskError: It cannot be done.
    """
    known = [(image, data) for image in images if image.digest and (data := store.get(image.digest)) is not None]
    strange: list[str] = []
    try:
        with _place(path) as place:
            if place is None:
                return []
            left = [_Place(os.path.join(os.path.dirname(path), name), place.folder, name) for name in _ours_in(place)]
            contents = [(one, _contents(one, limit)) for one in left]
            if contents:
                _mend(place, known, {data for _, data in contents if data is not None}, limit)
            for one, data in contents:
                if data is not None and any(text.startswith(data) for _, text in known):
                    one.unlink()
                else:
                    strange.append(one.path)
    except OSError as error:
        raise DiskError(f"{path} cannot be cleared up: {_reason(error)}") from error
    return strange


def _ours_in(place: _Place) -> list[str]:
    """The names in the folder of a place that only we give."""
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.folder)
    try:
        return [name for name in os.listdir(folder) if _OURS.fullmatch(name)]
    finally:
        os.close(folder)


def _contents(place: _Place, limit: int) -> bytes | None:
    """The bytes of a file, or where a link leads; None for anything else, or a file of another user."""
    status = place.status()
    if stat.S_ISLNK(status.st_mode):
        return _target(place)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        return None
    with open(place.open(os.O_RDONLY), "rb") as file:
        data = up_to(file, limit + 1)
    return data if len(data) <= limit else None


def _mend(place: _Place, known: Sequence[tuple[Image, bytes]], copies: Collection[bytes], limit: int) -> None:
    """Make a file that was left half written where it is what it was before, of which there is a copy beside it."""
    try:
        data = _contents(place, limit) if stat.S_ISREG(place.status().st_mode) else None
    except FileNotFoundError:
        return
    if data is None or any(data == text for _, text in known):
        return
    for image, before in known:
        if before in copies and any(_is_torn(data, before, after) for _, after in known):
            with open(place.open(os.O_RDWR), "r+b", buffering=0) as file:
                _overwrite(file, before, image.mode)
            return


def _is_torn(data: bytes, before: bytes, after: bytes) -> bool:
    """Whether `data` begins as `after` and goes on as `before`, with zeros for the room that was reserved."""
    rest = before.ljust(len(data), b"\0")
    if len(data) not in (len(before), max(len(before), len(after))):
        return False
    return _same_start(data, after) + _same_start(data[::-1], rest[::-1]) >= len(data)


def _same_start(one: bytes, other: bytes) -> int:
    """How many bytes at the start are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or (error.strerror or "it failed").lower()


@contextlib.contextmanager
def _place(path: str, *, make: bool = False) -> Iterator[_Place | None]:
    """The place of a path, its folder reached from the root without following a link; None if a folder is missing.

    With `make` missing folders are made. They go again if the block fails.
    """
    names = path.split("/")
    if names[0] or len(names) < 2 or not {"", ".", ".."}.isdisjoint(names[1:]) or "\0" in path:
        raise DiskError(f"{path!r} is not an absolute path")
    made: list[_Place] = []
    with contextlib.ExitStack() as opened:
        folder = os.open("/", _FOLDER)
        opened.callback(os.close, folder)
        try:
            for index in range(1, len(names) - 1):
                component = _Place("/".join(names[: index + 1]), folder, names[index])
                if make and _make(component):
                    made.append(component)
                entered = _entered(component)
                if entered is None:
                    yield None
                    return
                opened.callback(os.close, entered)
                folder = entered
            yield _Place(path, folder, names[-1])
        except BaseException:
            for component in reversed(made):
                with contextlib.suppress(OSError):
                    os.rmdir(component.name, dir_fd=component.folder)
            raise


def _make(component: _Place) -> bool:
    """Make a folder; whether there was nothing."""
    try:
        component.status()
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(component.name, dir_fd=component.folder)
            return True
    return False


def _entered(component: _Place) -> int | None:
    """A descriptor of a folder; None if there is none."""
    try:
        return os.open(component.name, _FOLDER, dir_fd=component.folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
    if stat.S_ISLNK(component.status().st_mode):
        raise DiskError(f"{component.path} is a symbolic link now: nothing is written through it")
    raise Changed(f"{component.path} is not a folder any more")


def _put(place: _Place, image: Image, data: bytes, expected: Image, limit: int) -> None:
    with _found(place, expected, limit) as (descriptor, status):
        if _is_same(image, expected):
            return
        if descriptor is not None:
            _lock(place, descriptor)
        check = functools.partial(_check, place, expected, limit, status)
        if not image.exists:
            check()
            _remove(place, expected, limit)
        elif descriptor is not None and image.digest == expected.digest and image.kind is Kind.FILE:
            check()
            os.fchmod(descriptor, image.mode)
        elif status is not None and status.st_nlink > 1 and image.kind is expected.kind is Kind.FILE:
            check()
            _write_in_place(place, data, image.mode, expected, status)
        else:
            temporary = place.beside()
            with _made(temporary, image, data, descriptor):
                check()
                if not expected.exists:
                    _vacate(place)
                _replace(place, temporary, expected, limit)


def _obstacle(place: _Place, going: Collection[str] = (), deep: int = 0) -> str:
    """The first thing in a folder that is no folder and is not to go; the place itself if it is none."""
    try:
        if deep > _DEEP:
            return place.path
        folder = place.open(os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return place.path
    try:
        for name in os.listdir(folder):
            inner = _Place(os.path.join(place.path, name), folder, name)
            if inner.path not in going and (found := _obstacle(inner, going, deep + 1)):
                return found
    finally:
        os.close(folder)
    return ""


def _vacate(place: _Place) -> None:
    """Remove a folder in which there are folders only, if there is one."""
    try:
        folder = place.open(os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise Changed(f"{place.path} exists now") from None
    try:
        for name in os.listdir(folder):
            _vacate(_Place(os.path.join(place.path, name), folder, name))
    finally:
        os.close(folder)
    try:
        os.rmdir(place.name, dir_fd=place.folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Changed(f"{place.path} exists now") from None
        raise


def _is_same(one: Image, other: Image) -> bool:
    return (one.kind, one.digest, one.mode) == (other.kind, other.digest, other.mode)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)


def _lock(place: _Place, descriptor: int) -> None:
    """Be the only one who writes this file, as far as programs ask."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Changed(f"{place.path} is being written by another program") from None
    except OSError:  # not every file system can tell
        pass


@contextlib.contextmanager
def _found(place: _Place, expected: Image, limit: int) -> Iterator[tuple[int | None, os.stat_result | None]]:
    """What stands there if it is what was expected: a descriptor if that is a file, and its status if it is anything.

    Raises:
        Changed: It is something else.
    """
    try:
        status = place.status()
    except FileNotFoundError:
        if expected.exists:
            raise Changed(f"{place.path} is gone") from None
        yield None, None
        return
    if not expected.exists:
        if _obstacle(place):
            raise Changed(f"{place.path} exists now")
        yield None, None
        return
    changed = Changed(f"{place.path} has changed")
    if expected.kind is Kind.LINK:
        if not stat.S_ISLNK(status.st_mode) or _digest(_target(place)) != expected.digest:
            raise changed
        yield None, status
        return
    if not stat.S_ISREG(status.st_mode):
        raise changed
    with open(place.open(os.O_RDONLY), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != expected.mode:
            raise changed
        if status.st_size != expected.size or _digest(up_to(file, limit + 1)) != expected.digest:
            raise changed
        yield file.fileno(), status


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _target(link: _Place) -> bytes:
    return os.readlink(os.fsencode(link.name), dir_fd=link.folder)


def _check(place: _Place, expected: Image, limit: int, status: os.stat_result | None) -> None:
    """Look again, whether it still is the very same."""
    with _found(place, expected, limit) as (_, present):
        if present is not None and status is not None and _identity(present) != _identity(status):
            raise Changed(f"{place.path} was written again")


@contextlib.contextmanager
def _made(temporary: _Place, image: Image, data: bytes, like: int | None) -> Iterator[None]:
    """A new file or link for as long as the block runs, or until it has found its place."""
    ours = None
    try:
        if image.kind is Kind.LINK:
            os.symlink(data, os.fsencode(temporary.name), dir_fd=temporary.folder)
            ours = _identity(temporary.status())
        else:
            nameless = _nameless(temporary)
            if nameless is not None:
                with open(nameless, "wb") as file:
                    _fill(file, data, image.mode, like)
                    if _name(file, temporary):
                        ours = _identity(os.fstat(file.fileno()))
            if ours is None:
                with open(temporary.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    ours = _identity(os.fstat(file.fileno()))
                    _fill(file, data, image.mode, like)
        with _held(temporary):
            yield
    finally:
        # Something of the person may stand there if it could not go back to its place.
        with contextlib.suppress(OSError):
            if ours == _identity(temporary.status()):
                temporary.unlink()


def _nameless(place: _Place) -> int | None:
    """A new file that has no name yet: nothing of it is left if we are killed. None where there is no such thing."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        return os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=place.folder)
    except OSError as error:
        if error.errno in _UNSUPPORTED or error.errno in (errno.EISDIR, errno.ENOENT):
            return None
        raise


def _name(file: IO[bytes], place: _Place) -> bool:
    """Give a file its name; False if that cannot be done here."""
    try:
        os.link(f"/proc/self/fd/{file.fileno()}", place.name, dst_dir_fd=place.folder, follow_symlinks=True)
    except OSError as error:
        if error.errno in _UNSUPPORTED or error.errno in (errno.ENOENT, errno.EXDEV, errno.EACCES):
            return False
        raise
    return True


def _fill(file: IO[bytes], data: bytes, mode: int, like: int | None) -> None:
    file.write(data)
    file.flush()
    if like is not None:
        _copy_ownership(like, file.fileno())
    # Last: a new owner would take bits away, and an access list brings those of the group along.
    os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())


@contextlib.contextmanager
def _held(place: _Place) -> Iterator[None]:
    """Keep an inode, so that nothing else gets its number meanwhile."""
    if not hasattr(os, "O_PATH"):
        yield
        return
    descriptor = place.open(os.O_PATH)
    try:
        yield
    finally:
        os.close(descriptor)


def _copy_ownership(source: int, target: int) -> None:
    """Owner, group and extended attributes, as far as that is permitted."""
    old, new = os.fstat(source), os.fstat(target)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        for owner in (old.st_uid, -1):
            with contextlib.suppress(OSError):
                os.fchown(target, owner, old.st_gid)
                break
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            for name in os.listxattr(source):
                with contextlib.suppress(OSError):
                    os.setxattr(target, name, os.getxattr(source, name))


def _replace(place: _Place, temporary: _Place, expected: Image, limit: int) -> None:
    """Give the temporary file its place, where nothing but what was expected may stand."""
    if not expected.exists:
        try:
            if not _rename(temporary, place, _NO_REPLACE):
                temporary.rename(place)
        except FileExistsError:
            raise Changed(f"{place.path} exists now") from None
        return
    ours = _identity(temporary.status())
    try:
        if not _rename(temporary, place, _EXCHANGE):
            temporary.rename(place)
            return
    except FileNotFoundError:
        raise Changed(f"{place.path} is gone") from None
    try:
        _check(temporary, expected, limit, None)
    except BaseException as error:
        _exchange_back(place, temporary, ours)
        if isinstance(error, DiskError | OSError):
            raise Changed(f"{place.path} has changed") from error
        raise
    _forget(temporary)


def _exchange_back(place: _Place, temporary: _Place, ours: tuple[int, int]) -> None:
    """Give what came out its place again. If it was written once more meanwhile, that is what stays."""
    with _stranded(place, temporary):
        given = ours
        for _ in range(_ROUNDS):
            back = _identity(temporary.status())
            _rename(temporary, place, _EXCHANGE)
            if _identity(temporary.status()) == given:
                temporary.unlink()
                return
            given = back
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _remove(place: _Place, expected: Image, limit: int) -> None:
    """Take what was expected away, and nothing else."""
    temporary = place.beside()
    try:
        if not _rename(place, temporary, _NO_REPLACE):
            place.unlink()
            return
    except FileNotFoundError:
        raise Changed(f"{place.path} is gone") from None
    try:
        _check(temporary, expected, limit, None)
    except BaseException as error:
        with _stranded(place, temporary):
            if not _rename(temporary, place, _NO_REPLACE):
                raise OSError(errno.EPERM, os.strerror(errno.EPERM)) from error
        if isinstance(error, DiskError | OSError):
            raise Changed(f"{place.path} has changed") from error
        raise
    _forget(temporary)


def _forget(temporary: _Place) -> None:
    """Remove what was replaced. Its place is taken already: it is done even if this fails."""
    with contextlib.suppress(OSError):
        temporary.unlink()


@contextlib.contextmanager
def _stranded(place: _Place, temporary: _Place) -> Iterator[None]:
    """What cannot go back to its place is not lost: the message says where it is."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{place.path} was written by another program meanwhile: see {temporary.path} too") from error


def _write_in_place(place: _Place, data: bytes, mode: int, expected: Image, status: os.stat_result) -> None:
    """Write a file that has other names, where a new file would part them. What it was stands beside it meanwhile."""
    with open(place.open(os.O_RDWR), "r+b", buffering=0) as file:
        old = file.read(expected.size + 1)
        if _identity(os.fstat(file.fileno())) != _identity(status) or _digest(old) != expected.digest:
            raise Changed(f"{place.path} has changed")
        temporary = place.beside()
        with _made(temporary, expected, old, file.fileno()):
            try:
                _reserve(file.fileno(), len(old), len(data))
                _overwrite(file, data, mode)
            except BaseException as error:
                try:
                    _overwrite(file, old, expected.mode)
                except OSError:
                    left = place.beside()
                    temporary.rename(left)
                    raise DiskError(f"{place.path} is damaged, its disk failed: what it was is {left.path}") from error
                raise


def _reserve(descriptor: int, old_bytes: int, new_bytes: int) -> None:
    """Take the room that a file will need, while it still is what it was."""
    if new_bytes > old_bytes and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, old_bytes, new_bytes - old_bytes)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise


def _overwrite(file: io.FileIO, data: bytes, mode: int) -> None:
    file.seek(0)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    file.truncate(len(data))
    if stat.S_IMODE(os.fstat(file.fileno()).st_mode) != mode:
        os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """The function of the C library, which Python does not have; None where there is none."""
    if sys.platform != "linux":
        return None
    import ctypes

    function: Callable[[int, bytes, int, bytes, int], int] | None
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return function


def _rename(source: _Place, target: _Place, flag: int) -> bool:
    """Rename without replacing, or exchange, in one step; False if that cannot be done here.

    Raises:
        OSError: It was tried and failed.
    """
    function = _renameat2()
    if function is None:
        return False
    if not function(source.folder, os.fsencode(source.name), target.folder, os.fsencode(target.name), flag):
        return True
    import ctypes

    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number))
