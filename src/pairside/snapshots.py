"""Owns the look at a whole git work tree: what differs from one moment to the next, whoever changed it.

git compares, in a repository of our own whose index holds what was there last. The person's `.git` is read and never
written. No object of theirs is ever borrowed while git writes ours: git sets the time of an object that it finds in
an alternate, and so of their packs. What they have is told by a copy of their index instead: its names are taken,
compared with the raw bytes on disk, and the objects that are the same are copied into a pack of ours in one go. From
then on nothing that is needed is theirs.

git alone would miss some of what happens in quick succession, for it compares times in whole seconds. Therefore the
time of our index is set back to before the look, which makes git read again whatever was written since; and the
permission bits of what was young are compared by us.

A snapshot is made on a copy of our index, which takes its place at the end: one that fails or is ended in the middle
leaves everything as the snapshot before left it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import IO, NamedTuple

import msgspec

from pairside.images import Image, Kind, Store
from pairside.text import up_to

COLD_SECONDS = 60.0
"""What one call of git may take while the repository is being filled."""
WARM_SECONDS = 20.0
"""What one call of git may take later."""
IMAGES = 5000
"""Differences of one snapshot whose bytes are kept."""
_LOOSE_OBJECTS = 5000
_LOOSE_KIB = 256 * 1024
_PACKS = 20
_MANY_PATHS = 200
"""From how many new or changed files on their bytes go into one pack; else git makes a file for each."""
_PACKED_BYTES = 64 * 1024 * 1024
_ROOM_BYTES = 64 * 1024
"""A disk with less room than this is full."""
_LISTED_PATHS = 50
_LISTED_BYTES = 32 * 1024
_ATTEMPTS = 8
_LOCK_SECONDS = 5.0
_RULES_BYTES = 1024 * 1024
_YOUNG_SECONDS = 2
_CLOCK_SECONDS = 0.1
"""How far the clock of a file system may be behind ours."""
_MANY_YOUNG = 200
_UNKNOWN = -1
"""Permission bits that were not looked at yet."""

_LINK, _PLAIN, _EXECUTABLE = b"120000", b"100644", b"100755"
_TOO_MANY = "too many files changed at once"
_RULES = b"rules-"
_HEAD = b"ref: refs/heads/snapshots\n"
_ATTRIBUTES = b"* -filter -text -crlf -ident -working-tree-encoding -eol\n"
_CONFIG = """\
[core]
\trepositoryFormatVersion = {version}
\tbare = false
\tfileMode = true
\tsymlinks = true
\tignoreCase = {ignore_case}
\tprecomposeUnicode = false
\tprotectNTFS = false
\tprotectHFS = false
\tcheckStat = default
\ttrustctime = true
\tautocrlf = false
\tsafecrlf = false
\thooksPath = /dev/null
\tattributesFile = /dev/null
\tfsmonitor = false
\tuntrackedCache = false
\tsplitIndex = false
\tsparseCheckout = false
\tlogAllRefUpdates = false
\tcompression = 1
\tlooseCompression = 1
\tfsync = none
[extensions]
\tobjectFormat = {object_format}
[index]
\tskipHash = true
\tsparse = false
[pack]
\twindow = 0
\tcompression = 1
[repack]
\twriteBitmaps = false
[fastimport]
\tunpackLimit = 1
[gc]
\tauto = 0
[maintenance]
\tauto = false
"""


class SnapshotError(Exception):
    """The work tree cannot be looked at; the message says why."""


class _GitFailed(Exception):
    """git ended with an error."""

    def __init__(self, told: bytes) -> None:
        super().__init__(told)
        self.told = told

    def __str__(self) -> str:
        lines = os.fsdecode(self.told).strip().splitlines()
        return lines[-1] if lines else "git ended with an error and said nothing"


class _Damaged(Exception):
    """Our repository is not what we left; the message says what is wrong."""


class Difference(msgspec.Struct, frozen=True):
    """What became of one path between two snapshots."""

    path: str
    """Absolute."""
    before: Image
    """As of the snapshot before. Of kind OTHER where only this is sure: that nobody looked at the path then."""
    after: Image
    at: float | None
    """Seconds since the epoch when it changed, as far as the file system tells."""


class Snapshot(msgspec.Struct, frozen=True):
    """What one look at a work tree found."""

    at: float
    """Seconds since the epoch when it was begun."""
    differences: tuple[Difference, ...]
    """Against the snapshot before, by path; none in the first of a `WorkTree`."""
    uncovered: tuple[str, ...]
    """Absolute paths of the repositories within this one, which are not looked into."""
    noted: Mapping[str, str]
    """Absolute paths that are not kept, and why."""


class _Entry(NamedTuple):
    """A file or a link whose bytes are in our repository."""

    is_link: bool
    name: bytes
    """Of the object."""
    bits: int
    """The permission bits of a file."""


class _Blob(NamedTuple):
    digest: str | None
    size: int
    note: str = ""


class _Seen(msgspec.Struct):
    """What one snapshot has found so far. Paths are bytes, relative to the top."""

    started: float
    first: bool
    bits: dict[bytes, int]
    """The permission bits of each path in our index."""
    rules: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    """The ignore rules that stand outside of what is looked at, by path; under the empty one those for everywhere."""
    young: set[bytes] = msgspec.field(default_factory=set)
    tracked: set[bytes] = msgspec.field(default_factory=set)
    """Paths that the person tracks though an ignore rule matches."""
    changed: dict[bytes, tuple[bytes, bytes]] = msgspec.field(default_factory=dict)
    """Paths of our index that may have changed: the mode and the name of the object there."""
    new: set[bytes] = msgspec.field(default_factory=set)
    repositories: set[bytes] = msgspec.field(default_factory=set)
    noted: dict[bytes, Image] = msgspec.field(default_factory=dict)
    folders: dict[bytes, int] = msgspec.field(default_factory=dict)
    """What was found out about a folder: see `_FREE`."""
    grown: dict[bytes, bool] = msgspec.field(default_factory=dict)
    """Whether something may have come to a folder since the snapshot before."""
    unreadable: dict[bytes, str] = msgspec.field(default_factory=dict)
    """Folders that git could not list, and why."""


_FREE, _GONE, _FOREIGN = range(3)
"""A folder of ours; no folder, or one behind a link; one of a repository within this one."""


def work_trees(folders: Iterable[str]) -> dict[str, list[str]]:
    """The work trees that hold the folders: the root of each, and those of the folders that lie in it.

    A folder in no work tree is left out, and so is one that lies in another of the same work tree.
    """
    found: dict[str, list[str]] = {}
    for folder in sorted(set(folders)):
        top = folder
        while not _is_repository(os.fsencode(top)):
            parent = os.path.dirname(top)
            if parent == top:
                break
            top = parent
        else:
            inside = found.setdefault(top, [])
            if not any(_lies_in(folder, other) for other in inside):
                inside.append(folder)
    return found


class WorkTree:
    """One git work tree, looked at with git and a repository of our own."""

    def __init__(
        self,
        top: str,
        folders: Sequence[str],
        *,
        git_dir: str,
        store: Store,
        file_bytes: int,
        files: int,
        excluded: Callable[[str], bool],
    ) -> None:
        """`top` is the root of the person's work tree; only `folders` (absolute, real, in it) are looked at.

        `git_dir` is our repository, for this process alone; it is made when it is needed. A file of more than
        `file_bytes` is only noted. With more than `files` files there is no snapshot. What `excluded` holds true of
        (it is called with absolute paths) is never read.
        """
        self._top = top
        self._root = os.fsencode(top)
        self._git_dir = os.fsencode(git_dir)
        inside = {_relative(self._root, os.fsencode(folder)) for folder in folders}
        if not inside or None in inside:
            raise ValueError(f"not all folders lie in {top}: {folders}")
        self._folders = () if b"" in inside else tuple(sorted(folder for folder in inside if folder))
        self._store = store
        self._file_bytes = file_bytes
        self._files = files
        self._excluded = excluded
        self._git = _Git(top, git_dir)
        self._one_at_a_time = threading.Lock()
        self._last: tuple[_Theirs, _Asked] | None = None
        """Where the person's repository was at the last snapshot, and what it said."""
        self._forget()

    def snapshot(self, about: Collection[str] = ()) -> Snapshot:
        """What differs from the snapshot before. It blocks: call it in a thread.

        Each path of `about` (absolute) that is or was kept is among the differences even if nothing about it is
        different.

        Raises:
            SnapshotError: The work tree cannot be looked at, or was closed.
        """
        with self._one_at_a_time:
            try:
                with self._git.alone():
                    return self._take_or_begin_anew(about)
            except (_GitFailed, _Damaged, OSError) as error:
                raise SnapshotError(f"Cannot take a snapshot of {self._top}: {error}") from error

    def close(self) -> None:
        """End a snapshot that is being taken, and take none any more. May be called from any thread."""
        self._git.close()

    def _forget(self) -> None:
        self._before: float | None = None
        """When the snapshot before was begun."""
        self._has_failed = False
        self._bits: dict[bytes, int] = {}
        self._rules: dict[bytes, bytes] = {}
        self._young: set[bytes] = set()
        """Paths that were written or changed so shortly before git looked that it cannot see another change."""
        self._tracked: set[bytes] = set()
        self._noted: dict[bytes, Image] = {}
        self._repositories: frozenset[bytes] = frozenset()
        self._their_index: tuple[int, ...] | None = None
        self._our_index: tuple[int, ...] | None = None

    def forget(self) -> None:
        """Drop the bytes that no file has any more. It blocks: call it in a thread.

        Raises:
            SnapshotError: Our repository cannot be used.
        """
        with self._one_at_a_time:
            try:
                with self._git.alone():
                    self._git.tidy(at_once=True)
                    self._our_index = _signature(self._git.index)
            except (_GitFailed, OSError) as error:
                raise SnapshotError(f"Cannot forget what {self._top} was: {error}") from error

    # One snapshot.

    def _take_or_begin_anew(self, about: Collection[str]) -> Snapshot:
        try:
            snapshot = self._take(about)
        except (_GitFailed, _Damaged) as error:
            knew = self._before is not None
            if knew and not self._has_failed and isinstance(error, _GitFailed):
                self._has_failed = True  # a full disk, for example; nothing is lost yet
                raise
            self._forget()
            self._git.clear()
            snapshot = self._take(())
            if knew:
                raise SnapshotError(
                    f"Our record of {self._top} was damaged ({error}) and was begun anew: "
                    "what changed since the snapshot before is not known."
                ) from error
        self._has_failed = False
        return snapshot

    def _take(self, about: Collection[str]) -> Snapshot:
        first = self._before is None
        seen = _Seen(time.time(), first, dict(self._bits))
        self._git.seconds = COLD_SECONDS if first else WARM_SECONDS
        theirs, asked = self._person()
        self._git.begin(asked.object_format, _ignores_case(self._root), seen.started - _YOUNG_SECONDS)
        if not first and self._our_index != _signature(self._git.index):
            raise _Damaged("something else wrote to it")
        if first:
            self._git.sweep()
        self._read_rules(theirs, asked.excludes, seen)
        self._git.write(b"excludes", seen.rules[b""])
        their_index = self._read_theirs(theirs, seen)
        if first and os.path.exists(self._git.index):
            self._recall(seen)
        self._list(seen)
        self._count(len(seen.bits) + len(seen.new))

        young = self._compare_bits(seen)
        standing = self._sort(seen)
        taken = self._add(standing, seen)
        wanted = {path for path in (_relative(self._root, os.fsencode(one)) for one in about) if path}
        entries = self._entries(None if first else {*seen.changed, *taken, *young, *wanted})
        old_bits = self._remember(seen, entries, taken, young)
        self._note_the_rest(seen, entries, taken)
        differences: tuple[Difference, ...] = ()
        if not first:
            differences = self._differences(self._states(seen, entries, old_bits), wanted)

        self._git.commit()
        self._our_index = _signature(self._git.index)
        self._their_index = their_index
        self._bits, self._rules, self._young, self._tracked = seen.bits, seen.rules, seen.young, seen.tracked
        self._noted, self._repositories = seen.noted, frozenset(seen.repositories)
        self._before = seen.started
        if taken:
            self._git.tidy()
            self._our_index = _signature(self._git.index)
        noted = {self._absolute(path): image.note for path, image in seen.noted.items()}
        noted |= {self._absolute(path): why for path, why in seen.unreadable.items()}
        return Snapshot(
            seen.started,
            differences,
            tuple(sorted(self._absolute(path) for path in seen.repositories)),
            MappingProxyType(dict(sorted(noted.items()))),
        )

    def _person(self) -> tuple[_Theirs, _Asked]:
        """The person's repository and what it says; if it is gone since, what it said last: ours is there still."""
        try:
            theirs = _Theirs.of(self._root)
        except SnapshotError:
            if self._last is None:
                raise
            return self._last
        if self._last is None or theirs.is_there:
            self._last = theirs, self._git.person(theirs)
        return self._last

    def _count(self, total: int) -> None:
        if total > self._files:
            raise SnapshotError(
                f"{self._top} has {total} files, more than limits.snapshot_files = {self._files}: "
                "raise that setting, or exclude or ignore some of them."
            )

    def _read_rules(self, theirs: _Theirs, excludes: bytes, seen: _Seen) -> None:
        texts = [_read_small(excludes), _read_small(os.path.join(theirs.common, b"info/exclude"))]
        lines = [text.removeprefix(b"\xef\xbb\xbf") for text in texts]
        # Of two lines that match the later one counts, as the person's info/exclude counts more than their own file.
        everywhere = b"".join(text if text.endswith(b"\n") or not text else text + b"\n" for text in lines)
        own = _relative(self._root, self._git_dir)
        if own is not None:
            everywhere += b"/" + b"".join(b"\\" + bytes([one]) if one in b"\\*?[ " else bytes([one]) for one in own)
            everywhere += b"/\n"
        is_gone = b"" in self._rules and not theirs.is_there
        seen.rules[b""] = self._rules[b""] if is_gone else everywhere  # what was private is so still
        for folder in self._folders:
            while folder:
                folder = os.path.dirname(folder)
                name = os.path.join(folder, b".gitignore")
                seen.rules[name] = _read_small(os.path.join(self._root, name))

    def _list(self, seen: _Seen) -> None:
        """Find what may have changed and what is new."""
        listed, told = self._git.tell("ls-files", "-z", "-o", "--exclude-standard", *self._pathspecs())
        for path in _fields(listed):
            if path.endswith(b"/"):
                self._note_repository(path.rstrip(b"/"), seen)
            else:
                seen.new.add(path)
        # After that: in our index a new file takes the place of a known folder, whose files must be seen to be gone.
        fields = self._git.run("diff-files", "--raw", "-z", "--no-abbrev", *self._pathspecs()).split(b"\0")
        for about, path in zip(fields[0::2], fields[1::2], strict=False):
            mode, _, name, _, _ = about[1:].split(b" ")
            seen.changed[path] = (mode, name)
        for line in told.split(b"\n"):
            if line.startswith(b"warning: could not open directory '"):
                folder, _, why = line.partition(b"'")[2].rpartition(b"': ")
                seen.unreadable[folder.rstrip(b"/")] = f"unreadable: {os.fsdecode(why)}"
        seen.new |= {path for path in seen.tracked if path not in seen.bits and self._stands(path, seen)}

    def _compare_bits(self, seen: _Seen) -> set[bytes]:
        """The young ones whose permission bits are others now; git cannot tell."""
        return {path for path in self._young if self._file_bits(path) not in (None, seen.bits.get(path))}

    def _file_bits(self, path: bytes) -> int | None:
        try:
            status = os.lstat(os.path.join(self._root, path))
        except OSError:
            return None
        return stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else None

    def _sort(self, seen: _Seen) -> list[bytes]:
        """Of what changed and what is new, the paths of which git is to take the bytes; the others leave our index."""
        standing: list[bytes] = []
        leaving: list[bytes] = []
        known_repositories = set(seen.repositories)
        for path in [*seen.changed, *(path for path in seen.new if path not in seen.changed)]:
            self._git.check()
            if self._is_excluded(path):
                leaving.append(path)
                continue
            lies = self._lies(os.path.dirname(path), seen)
            full = os.path.join(self._root, path)
            try:
                status = os.lstat(full) if lies == _FREE else None
            except (FileNotFoundError, NotADirectoryError):
                status = None
            except OSError as error:
                seen.noted[path] = Image(Kind.OTHER, note=f"unreadable: {error.strerror}")
                leaving.append(path)
                continue
            if status is not None and (
                stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_size <= self._file_bytes)
            ):
                standing.append(path)
                continue
            leaving.append(path)
            if status is not None and not stat.S_ISDIR(status.st_mode):
                seen.noted[path] = self._unkept(path)
        for folder in seen.repositories - known_repositories:
            leaving += [path for path in seen.bits if _lies_in(path, folder)]
        # First of all: a file may stand now where a folder was, and the other way round.
        self._leave(leaving, seen)
        return standing

    def _leave(self, paths: Iterable[bytes], seen: _Seen) -> None:
        leaving = {path for path in paths if path in seen.bits}
        if leaving:
            self._git.update("--force-remove", "-z", "--stdin", given=_lines(leaving))
            for path in leaving - seen.changed.keys():
                del seen.bits[path]

    def _add(self, paths: list[bytes], seen: _Seen) -> list[bytes]:
        """Take the bytes of what stands at the paths, or take out what has vanished. Returns the paths taken."""
        if len(paths) >= _MANY_PATHS:
            self._pack(paths)
        for attempt in range(_ATTEMPTS):
            if not paths:
                break
            try:
                self._git.update("--add", "--remove", "--replace", "-z", "--stdin", given=_lines(paths))
                break
            except _GitFailed as error:
                refused = self._unreadable(paths) if attempt == 0 else {}
                refused |= {path: str(error) for path in _named(error.told, paths) if path not in refused}
                if not refused:
                    raise
                for path, why in refused.items():
                    seen.noted[path] = self._unkept(path, why)
                self._leave(refused, seen)
                paths = [path for path in paths if path not in refused]
        else:
            raise SnapshotError(
                f"Cannot take a snapshot of {self._top}: git refused {_ATTEMPTS} paths, one after the other, "
                f"the last because of: {next(reversed(seen.noted.values())).note}"
            )
        return paths

    def _pack(self, paths: Iterable[bytes]) -> None:
        """Have the objects of many paths ready for git in a pack. It reads them again and takes no word of ours."""
        parts: list[bytes] = []
        size = 0
        for path in paths:
            self._git.check()
            full = os.path.join(self._root, path)
            try:
                if os.path.islink(full):
                    data = os.readlink(full)
                else:
                    with open(os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                        data = up_to(file, self._file_bytes + 1)
            except OSError:
                continue
            if len(data) <= self._file_bytes:
                parts += (b"blob\ndata %d\n" % len(data), data, b"\n")
                size += len(data)
            if size > _PACKED_BYTES:
                self._git.import_objects(parts)
                parts, size = [], 0
        self._git.import_objects(parts)

    def _unreadable(self, paths: Iterable[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for path in paths:
            self._git.check()
            full = os.path.join(self._root, path)
            try:
                if stat.S_ISREG(os.lstat(full).st_mode):
                    os.close(os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                found[path] = f"unreadable: {error.strerror}"
        return found

    def _unkept(self, path: bytes, why: str = "") -> Image:
        """The image of what cannot be kept; it is not read."""
        full = os.path.join(self._root, path)
        try:
            status = os.lstat(full)
        except OSError as error:
            return Image(Kind.OTHER, note=why or f"unreadable: {error.strerror}")
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if not stat.S_ISREG(status.st_mode):
            return Image(Kind.OTHER, note=why or "not a regular file", stamp=stamp)
        why = why or f"larger than {self._file_bytes} bytes"
        return Image(Kind.FILE, None, status.st_size, stat.S_IMODE(status.st_mode), why, stamp)

    def _entries(self, paths: set[bytes] | None) -> dict[bytes, tuple[bytes, bytes]]:
        """Mode and object of the paths that our index has; of all if None."""
        pathspecs = list(self._pathspecs())
        if paths is not None:
            if not paths:
                return {}
            if len(paths) <= _LISTED_PATHS and sum(map(len, paths)) <= _LISTED_BYTES:
                pathspecs = ["--", *sorted(paths)]
        entries = _parse(self._git.run("ls-files", "-s", "-z", *pathspecs))
        return entries if paths is None else {path: entry for path, entry in entries.items() if path in paths}

    def _remember(
        self, seen: _Seen, entries: Mapping[bytes, tuple[bytes, bytes]], taken: Collection[bytes], young: set[bytes]
    ) -> dict[bytes, int]:
        """Note the permission bits of what git took. Returns those that were known before.

        This comes after git has looked: who changes them in between is seen now, or by git the next time.
        """
        old: dict[bytes, int] = {}
        for path in seen.changed:
            if path not in entries and path in seen.bits:
                old[path] = seen.bits.pop(path)
        limit = seen.started - _YOUNG_SECONDS
        looked_at = entries if seen.first else {*taken, *young, *self._young}
        for path in looked_at:
            self._git.check()
            if path not in entries and path not in seen.bits:
                continue
            try:
                status = os.lstat(os.path.join(self._root, path))
            except OSError:
                seen.bits.setdefault(path, _UNKNOWN)
                continue
            if status.st_ctime >= limit:
                seen.young.add(path)
            if path in entries:
                if path in seen.bits:
                    old[path] = seen.bits[path]
                seen.bits[path] = stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else _UNKNOWN
        if len(self._young - seen.young) > _MANY_YOUNG:
            self._git.update("--force-write-index")  # else git would read all of them again each time
        return old

    def _note_the_rest(
        self, seen: _Seen, entries: Mapping[bytes, tuple[bytes, bytes]], taken: Collection[bytes]
    ) -> None:
        """Note what git passed over, and what was noted before and git does not list."""
        for path in taken:
            if path not in entries and self._stands(path, seen) and not os.path.isdir(os.path.join(self._root, path)):
                seen.noted[path] = self._unkept(path, "git does not keep it")
        for path in self._noted.keys() - seen.noted.keys() - seen.new - seen.changed.keys():
            if not self._is_excluded(path) and self._lies(os.path.dirname(path), seen) == _FREE:
                with contextlib.suppress(OSError):
                    mode = os.lstat(os.path.join(self._root, path)).st_mode
                    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode) and not stat.S_ISDIR(mode):
                        seen.noted[path] = self._unkept(path)

    # What differs.

    def _states(
        self, seen: _Seen, entries: Mapping[bytes, tuple[bytes, bytes]], old_bits: Mapping[bytes, int]
    ) -> dict[bytes, tuple[Image | _Entry, Image | _Entry]]:
        """What stood before and what stands after at each path that was looked at."""
        states: dict[bytes, tuple[Image | _Entry, Image | _Entry]] = {}
        uncertain = self._uncertain(seen, entries)
        for path in {*seen.changed, *seen.new, *entries, *self._noted, *seen.noted}:
            if self._is_excluded(path) or self._lies(os.path.dirname(path), seen) == _FOREIGN:
                continue
            bits = seen.bits.get(path, _UNKNOWN)
            after: Image | _Entry
            if path in seen.noted:
                after = seen.noted[path]
            elif path in entries:
                after = _entry(entries[path], bits)
            else:
                after = Image()  # a folder may stand there, which is told by what lies in it
            before: Image | _Entry | None
            if path in self._noted:
                before = self._noted[path]
                if after == Image() and path not in seen.new and self._stands(path, seen):
                    continue  # it is ignored now
            elif path in seen.changed:
                before = _entry(seen.changed[path], old_bits.get(path, bits))
            elif path in seen.new:
                before = uncertain.get(path, Image(missing=self._missing(path, seen)))
            elif path in entries:
                before = _entry(entries[path], old_bits.get(path, bits))
            else:
                before = Image()
            if before is not None:
                states[path] = (before, after)
        return states

    def _missing(self, path: bytes, seen: _Seen) -> str:
        """The topmost folder on the way to a new path that may be new too; empty if all of them were there before.

        Nothing has come to a folder whose status is as old as the snapshot before; its time cannot be set back.
        """
        assert self._before is not None
        try:
            was_moved = os.lstat(os.path.join(self._root, path)).st_ctime < self._before - _CLOCK_SECONDS
        except OSError:
            was_moved = False
        missing = b""
        folder = os.path.dirname(path)
        while folder:
            parent = os.path.dirname(folder)
            if parent not in seen.grown:
                try:
                    status = os.lstat(os.path.join(self._root, parent))
                    seen.grown[parent] = status.st_ctime >= self._before - _CLOCK_SECONDS
                except OSError:
                    seen.grown[parent] = True
            if seen.grown[parent]:
                missing = folder
            elif not was_moved:  # else it came with a folder further up, in which nothing is new
                break
            folder = parent
        return self._absolute(missing) if missing else ""

    def _uncertain(self, seen: _Seen, entries: Mapping[bytes, tuple[bytes, bytes]]) -> dict[bytes, Image | None]:
        """What stood before at paths that are new to us though they may have been there; None if nothing changed.

        Who took them for new would let an undo delete them.
        """
        assert self._before is not None
        new = [path for path in seen.new if path not in self._noted and path not in seen.changed]
        was_ignored = self._ignored_before(seen, entries, new)
        was_ignored |= {path for path in new if path in seen.tracked and path not in self._tracked}
        vanished = {name for path, (_, name) in seen.changed.items() if path not in entries}
        found: dict[bytes, Image | None] = {}
        for path in new:
            try:
                is_old = os.lstat(os.path.join(self._root, path)).st_ctime < self._before - _CLOCK_SECONDS
            except OSError:
                continue
            if path in was_ignored or any(_lies_in(path, other) for other in self._repositories):
                note = "ignored until now" if path in was_ignored else "in a repository of its own until now"
                found[path] = None if is_old else Image(Kind.OTHER, note=note)
            elif is_old and (path not in entries or entries[path][1] not in vanished):
                # A folder was moved here, or a rule that nobody sees has gone.
                found[path] = Image(Kind.OTHER, note="older than the snapshot before, and not in it")
        return found

    def _ignored_before(
        self, seen: _Seen, entries: Mapping[bytes, tuple[bytes, bytes]], new: Sequence[bytes]
    ) -> set[bytes]:
        """Those of the new paths that the ignore rules of the snapshot before kept out."""
        names = {
            path: entry[1]
            for path, entry in seen.changed.items()
            if os.path.basename(path) == b".gitignore" and entries.get(path) != entry
        }
        if not new or (self._rules == seen.rules and not names):
            return set()
        for path, (_, name) in self._entries(None).items():
            if os.path.basename(path) == b".gitignore" and path not in seen.new:
                names.setdefault(path, name)
        texts = {path: text for path, text in self._rules.items() if path}
        blobs: dict[bytes, bytes] = {}
        for name, data, _ in self._git.blobs(set(names.values()), _RULES_BYTES):
            blobs[name] = data or b""
        texts |= {path: blobs.get(name, b"") for path, name in names.items()}
        with tempfile.TemporaryDirectory(dir=self._git_dir, prefix=_RULES) as folder:
            for path, text in texts.items():
                os.makedirs(os.path.join(folder, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(folder, path), "wb") as file:
                    file.write(text)
            with open(excludes := os.path.join(self._git_dir, b"excludes.before"), "wb") as file:
                file.write(self._rules[b""])
            return self._git.ignored(new, folder, excludes)

    def _differences(
        self, states: Mapping[bytes, tuple[Image | _Entry, Image | _Entry]], wanted: set[bytes]
    ) -> tuple[Difference, ...]:
        different = sorted(
            (self._absolute(path), path, before, after)
            for path, (before, after) in states.items()
            if before != after or path in wanted
        )
        kept = [state for _, _, *pair in different[:IMAGES] for state in pair]
        blobs = self._keep({state.name for state in kept if isinstance(state, _Entry)})
        differences: list[Difference] = []
        for number, (full, path, before, after) in enumerate(different):
            if number < IMAGES:
                images = (_image(before, blobs), _image(after, blobs))
            else:
                images = (_image(before, {}), _image(after, {}))
                if isinstance(after, _Entry):  # both are without bytes, so something else has to tell them apart
                    unread = self._unkept(path, _TOO_MANY)
                    images = (images[0], dataclasses.replace(images[1], size=unread.size, stamp=unread.stamp))
            differences.append(Difference(full, *images, self._changed_at(path)))
        return tuple(differences)

    def _keep(self, names: set[bytes]) -> dict[bytes, _Blob]:
        """Put objects into the store."""
        kept: dict[bytes, _Blob] = {}
        for name, data, size in self._git.blobs(names, self._file_bytes):
            if data is None:
                kept[name] = _Blob(None, size, f"larger than {self._file_bytes} bytes")
                continue
            try:
                kept[name] = _Blob(self._store.put(data), size)
            except OSError as error:
                kept[name] = _Blob(None, size, f"not kept: {error.strerror}")
        for name in names - kept.keys():
            kept[name] = _Blob(None, 0, "not kept: lost from the record")
        return kept

    def _changed_at(self, path: bytes) -> float | None:
        full = os.path.join(self._root, path)
        with contextlib.suppress(OSError):
            return os.lstat(full).st_ctime
        while len(full) > len(self._root):
            full = os.path.dirname(full)
            with contextlib.suppress(OSError):
                written = os.lstat(full).st_mtime
                return written if self._before is not None and written > self._before else None
        return None

    # The person's repository.

    def _read_theirs(self, theirs: _Theirs, seen: _Seen) -> tuple[int, ...] | None:
        """Find what the person tracks though an ignore rule matches, and fill an index of ours that is not there yet.

        Returns the signature of the index that was read.
        """
        seen.tracked = self._tracked
        if not theirs.is_there and not seen.first:
            return self._their_index
        signature = _signature(theirs.index)
        cold = seen.first and not os.path.exists(self._git.index)
        if signature is None:
            seen.tracked = set()
        elif signature != self._their_index or seen.rules != self._rules:
            try:
                with self._git.copied(theirs) as index:
                    if cold:
                        self._seed(theirs, index, seen)
                    arguments = ("ls-files", "-i", "-c", "-z", "--exclude-standard", *self._pathspecs())
                    listed = self._git.run(*arguments, index=index, objects=theirs.objects)
                    seen.tracked = {path for path in listed.split(b"\0") if path}
            except (_GitFailed, OSError) as error:
                seen.unreadable[_relative(self._root, theirs.index) or b".git"] = f"unreadable: {error}"
                return None
        return signature

    def _stands(self, path: bytes, seen: _Seen) -> bool:
        lies = self._lies(os.path.dirname(path), seen)
        return lies == _FREE and os.path.lexists(os.path.join(self._root, path))

    def _seed(self, theirs: _Theirs, index: bytes, seen: _Seen) -> None:
        """Fill our index with what theirs has and whose bytes on disk are the same."""
        run, update = self._git.run, self._git.update
        listed = _parse(run("ls-files", "-s", "-z", *self._pathspecs(), index=index, objects=theirs.objects))
        lines: list[bytes] = []
        total = 0
        for path, (mode, name) in listed.items():
            self._git.check()
            if not self._is_excluded(path) and self._lies(os.path.dirname(path), seen) == _FREE:
                with contextlib.suppress(OSError):
                    status = os.lstat(os.path.join(self._root, path))
                    total += 1
                    if status.st_size <= self._file_bytes:
                        lines.append(b"%s %s\t%s\0" % (mode, name, path))
        self._count(total)
        if not lines:
            return
        update("-z", "--index-info", given=b"".join(lines))
        update("-q", "--refresh", objects=theirs.objects, accept=(0, 1))
        leaving = set(run("diff-files", "--name-only", "-z", objects=theirs.objects).split(b"\0")) - {b""}
        same = {path: name for path, (_, name) in self._entries(None).items() if path not in leaving}
        missing = self._git.missing(same.values(), theirs.objects)
        leaving |= {path for path, name in same.items() if name in missing}
        update("--force-remove", "-z", "--stdin", given=_lines(leaving))
        self._git.pack({name for path, name in same.items() if path not in leaving}, theirs.objects)
        seen.bits = {path: _UNKNOWN for path in same if path not in leaving}

    # Our repository.

    def _recall(self, seen: _Seen) -> None:
        """Begin with what an earlier process left: see that it is whole, and drop what is not to be kept any more."""
        entries = _parse(self._git.run("ls-files", "-s", "-z"))
        if self._git.missing([name for _, name in entries.values()]):
            raise _Damaged("objects are missing")
        ignored = set(self._git.run("ls-files", "-i", "-c", "-z", "--exclude-standard").split(b"\0"))
        seen.bits = dict.fromkeys(entries, _UNKNOWN)
        self._leave(
            [
                path
                for path in entries
                if (path in ignored and path not in seen.tracked)
                or (self._folders and not any(_lies_in(path, folder) for folder in self._folders))
                or self._is_excluded(path)
                or self._lies(os.path.dirname(path), seen) == _FOREIGN
            ],
            seen,
        )

    def _lies(self, folder: bytes, seen: _Seen) -> int:
        """Where a folder lies: see `_FREE`."""
        if not folder:
            return _FREE
        known = seen.folders.get(folder)
        if known is None:
            known = self._lies(os.path.dirname(folder), seen)
            if known == _FREE:
                full = os.path.join(self._root, folder)
                try:
                    is_folder = stat.S_ISDIR(os.lstat(full).st_mode)
                except OSError:
                    is_folder = False
                if not is_folder:
                    known = _GONE
                elif _is_repository(full):
                    known = _FOREIGN
                    self._note_repository(folder, seen)
            seen.folders[folder] = known
        return known

    def _note_repository(self, folder: bytes, seen: _Seen) -> None:
        if not self._is_excluded(folder):
            seen.repositories.add(folder)

    def _is_excluded(self, path: bytes) -> bool:
        full = os.path.join(self._root, path)
        return _lies_in(full, self._git_dir) or self._excluded(os.fsdecode(full))

    def _absolute(self, path: bytes) -> str:
        return os.fsdecode(os.path.join(self._root, path))

    def _pathspecs(self) -> tuple[str | bytes, ...]:
        return ("--", *self._folders) if self._folders else ()


class _Theirs(msgspec.Struct, frozen=True):
    """Where the parts of the person's repository lie."""

    folder: bytes
    common: bytes

    @classmethod
    def of(cls, top: bytes) -> _Theirs:
        """Raises SnapshotError if there is none."""
        folder = os.path.join(top, b".git")
        if not os.path.isdir(folder):
            target = _read_small(folder).removeprefix(b"gitdir: ").rstrip(b"\r\n")
            if not target:
                raise SnapshotError(f"{os.fsdecode(top)} is not a git work tree any more.")
            folder = os.path.normpath(os.path.join(top, target))
        shared = _read_small(os.path.join(folder, b"commondir")).rstrip(b"\r\n")
        return cls(folder, os.path.normpath(os.path.join(folder, shared)) if shared else folder)

    @property
    def is_there(self) -> bool:
        """Whether it is not gone."""
        return os.path.isdir(self.folder)

    @property
    def index(self) -> bytes:
        return os.path.join(self.folder, b"index")

    @property
    def objects(self) -> bytes:
        return os.path.join(self.common, b"objects")


class _Asked(NamedTuple):
    """What the person's configuration says."""

    object_format: str
    excludes: bytes


class _Git:
    """Our repository, and the git that runs on it, one at a time."""

    def __init__(self, top: str, git_dir: str) -> None:
        self._top = os.fsencode(top)
        self._git_dir = os.fsencode(git_dir)
        self.index = os.path.join(self._git_dir, b"index")
        self._next = os.path.join(self._git_dir, b"index.next")
        """The index of the snapshot that is being taken, as soon as it differs."""
        self._age = 0.0
        self.seconds = COLD_SECONDS
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    def check(self) -> None:
        """Raises SnapshotError if it was closed."""
        if self._closed.is_set():
            raise SnapshotError(f"Snapshots of {os.fsdecode(self._top)} have ended.")

    def close(self) -> None:
        self._closed.set()
        with self._guard:
            if self._process is not None:
                _end(self._process)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the repository. git inherits the lock: one that outlives a killed process is waited for."""
        self.check()
        os.makedirs(self._git_dir, 0o700, exist_ok=True)
        self._lock = os.open(os.path.join(self._git_dir, b"lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise SnapshotError(f"Another process uses {os.fsdecode(self._git_dir)}.") from None
                    if self._closed.wait(0.02):
                        self.check()
            # Nobody else is here, so this is of one that was ended.
            for name in (b"index.lock", b"index.next.lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._git_dir, name))
            yield
        finally:
            os.close(self._lock)
            self._lock = None

    def begin(self, object_format: str, ignore_case: bool, age: float) -> None:
        """Begin a snapshot: make the repository, or what is missing or different of it.

        git is made to doubt what was written after `age`.
        """
        self._age = age
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._next)
        if object_format not in ("sha1", "sha256"):
            raise SnapshotError(f"{os.fsdecode(self._top)} names its objects in an unknown way: {object_format}.")
        config = _CONFIG.format(
            version=0 if object_format == "sha1" else 1,
            ignore_case=str(ignore_case).lower(),
            object_format=object_format,
        )
        if object_format == "sha1":  # an older git does not know the setting
            config = config.replace("[extensions]\n\tobjectFormat = sha1\n", "")
        if os.path.lexists(self.index) and _read_small(os.path.join(self._git_dir, b"config")) != config.encode():
            self.clear()
        os.chmod(self._git_dir, 0o700)
        try:
            self._make_folders()
        except (NotADirectoryError, FileExistsError):
            self.clear()
            self._make_folders()
        for name, text in ((b"HEAD", _HEAD), (b"config", config.encode()), (b"info/attributes", _ATTRIBUTES)):
            self.write(name, text)

    def _make_folders(self) -> None:
        for folder in (b"objects/pack", b"objects/info", b"refs", b"info"):
            os.makedirs(os.path.join(self._git_dir, folder), 0o700, exist_ok=True)

    def write(self, name: bytes, text: bytes) -> None:
        """Write a file of the repository if it is another."""
        path = os.path.join(self._git_dir, name)
        if _read_small(path) != text or not os.path.isfile(path):
            with open(path + b".new", "wb") as file:
                file.write(text)
            os.rename(path + b".new", path)

    def sweep(self) -> None:
        """Remove what a process has left half made that was ended: nobody else is here."""
        objects = os.path.join(self._git_dir, b"objects")
        folders = [entry.path for entry in os.scandir(objects) if entry.is_dir(follow_symlinks=False)]
        for folder in (objects, *folders):
            for entry in os.scandir(folder):
                if entry.name.startswith(b"tmp_") and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)
        for entry in os.scandir(self._git_dir):
            if entry.name.startswith(_RULES) and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)

    def clear(self) -> None:
        """Remove all of the repository but the lock that we hold."""
        for entry in list(os.scandir(self._git_dir)):
            if entry.name == b"lock":
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)

    @contextlib.contextmanager
    def copied(self, theirs: _Theirs) -> Iterator[bytes]:
        """A copy of the person's index, since git touches the parts of one that is split when it reads them."""
        names = [entry.name for entry in os.scandir(theirs.folder) if entry.name.startswith(b"sharedindex.")]
        copies = {os.path.join(theirs.folder, name): os.path.join(self._git_dir, name) for name in names}
        copies[theirs.index] = os.path.join(self._git_dir, b"index.theirs")
        try:
            for source, target in copies.items():
                shutil.copyfile(source, target)
            yield copies[theirs.index]
        finally:
            for target in copies.values():
                with contextlib.suppress(OSError):
                    os.unlink(target)

    def update(
        self, *arguments: str, given: bytes = b"", objects: bytes | None = None, accept: Collection[int] = (0,)
    ) -> None:
        """Run `git update-index` on the index of this snapshot."""
        if not os.path.exists(self._next):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(self.index, self._next)
        self.run("update-index", *arguments, given=given, index=self._next, objects=objects, accept=accept)
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._next, (self._age, self._age))

    def commit(self) -> None:
        """Let the index of this snapshot be the one to compare with."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._next, self.index)

    def pack(self, names: Collection[bytes], objects: bytes) -> None:
        """Copy objects that stand elsewhere."""
        if names:
            given = b"".join(name + b"\n" for name in names)  # not sorted: that would hold up every other thread
            self.run(
                "pack-objects", "-q", os.path.join(self._git_dir, b"objects/pack/pack"), given=given, objects=objects
            )

    def import_objects(self, parts: Sequence[bytes]) -> None:
        """Put objects into a pack, as `git fast-import` is told of them."""
        if parts:
            self.run("fast-import", "--quiet", "--depth=0", given=b"".join(parts))

    def tidy(self, *, at_once: bool = False) -> None:
        """Pack our loose objects if they or the packs are many, and drop those that no index of ours needs.

        With `at_once` also if they are few.
        """
        self.seconds = min(self.seconds, WARM_SECONDS)
        # Whatever goes wrong, the objects are still there, and the snapshot is taken.
        with contextlib.suppress(_GitFailed, SnapshotError, OSError):
            counts = dict(line.split(b": ") for line in self.run("count-objects", "-v").splitlines())
            limits = {b"count": _LOOSE_OBJECTS, b"size": _LOOSE_KIB, b"packs": _PACKS}
            if at_once or any(int(counts[name]) > limit for name, limit in limits.items()):
                self.run("repack", "-a", "-d", "-q")
                self.run("prune", "--expire=now")

    def person(self, theirs: _Theirs) -> _Asked:
        """Ask the person's own configuration; git writes nothing for it and runs nothing."""
        home = os.environ.get("HOME", "")
        folder = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
        names = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        environment |= {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        environment |= {"GIT_TRACE2": "0", "GIT_TRACE2_EVENT": "0", "GIT_TRACE2_PERF": "0"}
        pattern = r"^(core\.excludesfile|extensions\.objectformat)$"
        arguments: list[str | bytes] = [
            b"--git-dir=" + theirs.folder,
            "config",
            "--type=path",
            "-z",
            "--get-regexp",
            pattern,
        ]
        object_format, excludes = "sha1", os.fsencode(os.path.join(folder, "git", "ignore"))
        with self._started(arguments, b"", environment, (0, 1, 128)) as (output, _):
            for line in output.read().split(b"\0"):
                key, _, value = line.partition(b"\n")
                if key == b"extensions.objectformat":
                    object_format = os.fsdecode(value)
                elif key == b"core.excludesfile":
                    excludes = os.path.join(self._top, value) if value else b""
        return _Asked(object_format, excludes)

    def run(
        self,
        *arguments: str | bytes,
        given: bytes = b"",
        index: bytes | None = None,
        objects: bytes | None = None,
        accept: Collection[int] = (0,),
    ) -> bytes:
        """Run git and return what it wrote. `objects` is a place to read objects from, besides ours.

        Without an `index` it is that of the present snapshot.

        Raises:
            _GitFailed: It ended with another status than those of `accept`.
            SnapshotError: It took too long, or we were closed.
        """
        environment = self._environment(index, objects)
        with self._started([*self._where(), *arguments], given, environment, accept) as (output, _):
            return output.read()

    def ignored(self, paths: Iterable[bytes], work_tree: bytes, excludes: bytes) -> set[bytes]:
        """Those of the paths that the rules of another work tree ignore."""
        where = self._where(work_tree, excludes)
        arguments = [*where, "check-ignore", "--no-index", "-v", "-z", "--stdin"]
        environment = self._environment()
        del environment["GIT_LITERAL_PATHSPECS"]  # which this command does not know; it takes paths as they are
        given = b"".join(b"./" + path + b"\0" for path in paths)
        with self._started(arguments, given, environment, (0, 1)) as (output, _):
            fields = output.read().split(b"\0")
        found = zip(fields[2::4], fields[3::4], strict=False)
        return {path.removeprefix(b"./") for pattern, path in found if not pattern.startswith(b"!")}

    def tell(self, *arguments: str | bytes) -> tuple[bytes, bytes]:
        """Run git and return what it wrote, and its warnings."""
        with self._started([*self._where(), *arguments], b"", self._environment(), (0,)) as (output, errors):
            listed = output.read()
        return listed, errors[0]

    def missing(self, names: Collection[bytes], objects: bytes | None = None) -> set[bytes]:
        """Those of the objects that are not there."""
        arguments = [*self._where(), "cat-file", "--batch-check", "--buffer"]
        given = b"".join(name + b"\n" for name in names)
        with self._started(arguments, given, self._environment(objects=objects), (0,)) as (output, _):
            return {line.split(b" ")[0] for line in output if line.endswith(b" missing\n")}

    def blobs(self, names: Collection[bytes], limit: int) -> Iterator[tuple[bytes, bytes | None, int]]:
        """Name, bytes and size of each object that is there; None for the bytes of one larger than `limit`."""
        if not names:
            return
        arguments = [*self._where(), "cat-file", "--batch", "--buffer"]
        given = b"\n".join(sorted(names)) + b"\n"
        with self._started(arguments, given, self._environment(), (0,)) as (output, _):
            while line := output.readline():
                name, _, rest = line.rstrip(b"\n").partition(b" ")
                if rest == b"missing":
                    continue
                size = int(rest.split(b" ")[1])
                data = output.read(size) if size <= limit else None
                left = size if data is None else 0
                while left and (part := output.read(min(left, 1 << 20))):
                    left -= len(part)
                output.read(1)
                yield name, data, size

    def _why_nothing(self) -> bytes:
        """Why git said nothing, where that can be told: what it says goes to the same disk."""
        room = os.statvfs(self._git_dir)
        return b"the disk is full" if room.f_bavail * room.f_frsize < _ROOM_BYTES else b""

    def _where(self, work_tree: bytes | None = None, excludes: bytes | None = None) -> list[str | bytes]:
        rules = excludes or os.path.join(self._git_dir, b"excludes")
        work_tree = work_tree or self._top
        return [b"--git-dir=" + self._git_dir, b"--work-tree=" + work_tree, "-c", b"core.excludesFile=" + rules]

    def _environment(self, index: bytes | None = None, objects: bytes | None = None) -> dict[str, str]:
        """The variables for our own repository: nothing of the person's."""
        own = os.fsdecode(self._git_dir)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "HOME": own,
            "XDG_CONFIG_HOME": own,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        if index is None and os.path.exists(self._next):
            index = self._next
        if index is not None:
            environment["GIT_INDEX_FILE"] = os.fsdecode(index)
        if objects is not None:
            quoted = os.fsdecode(objects).replace("\\", "\\\\").replace('"', '\\"')
            environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = f'"{quoted}"'
        return environment

    @contextlib.contextmanager
    def _started(
        self, arguments: Sequence[str | bytes], given: bytes, environment: Mapping[str, str], accept: Collection[int]
    ) -> Iterator[tuple[IO[bytes], list[bytes]]]:
        """Run git while the block reads what it writes; its warnings are there after the block."""
        git = shutil.which("git")
        if git is None:
            raise SnapshotError("git is not found.")
        assert self._lock is not None
        told: list[bytes] = []
        late = threading.Event()

        def expire() -> None:
            late.set()
            with self._guard:
                _end(process)

        with (
            tempfile.TemporaryFile(dir=self._git_dir) as source,
            tempfile.TemporaryFile(dir=self._git_dir) as errors,
        ):
            source.write(given)
            source.seek(0)
            with self._guard:
                self.check()
                process = subprocess.Popen(
                    [git, *arguments],
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=self._top,
                    env=environment,
                    start_new_session=True,
                    pass_fds=(self._lock,),
                )
                self._process = process
            timer = threading.Timer(self.seconds, expire)
            timer.daemon = True
            timer.start()
            finished = False
            assert process.stdout is not None
            try:
                yield process.stdout, told
                finished = True
            finally:
                if not finished:
                    with self._guard:
                        _end(process)
                process.stdout.close()
                process.wait()
                timer.cancel()
                with self._guard:
                    self._process = None
            self.check()
            if late.is_set():
                raise SnapshotError(
                    f"git took longer than {self.seconds:g} seconds to look at {os.fsdecode(self._top)}."
                )
            errors.seek(0)
            told.append(errors.read())
            if process.returncode not in accept:
                raise _GitFailed(told[0] or self._why_nothing())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a git and whatever it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _image(state: Image | _Entry, blobs: Mapping[bytes, _Blob]) -> Image:
    if isinstance(state, Image):
        return state
    blob = blobs.get(state.name, _Blob(None, 0, _TOO_MANY))
    kind = Kind.LINK if state.is_link else Kind.FILE
    return Image(kind, blob.digest, blob.size, 0 if state.is_link else state.bits, blob.note)


def _entry(entry: tuple[bytes, bytes], bits: int) -> _Entry:
    mode, name = entry
    if mode == _LINK:
        return _Entry(True, name, 0)
    if bits == _UNKNOWN:
        bits = 0o755 if mode == _EXECUTABLE else 0o644
    return _Entry(False, name, bits)


def _parse(listed: bytes) -> dict[bytes, tuple[bytes, bytes]]:
    """Mode and object of each path, from `ls-files -s -z`; not of repositories, nor of what is in conflict."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for line in _fields(listed):
        about, _, path = line.partition(b"\t")
        mode, _, rest = about.partition(b" ")
        if mode in (_PLAIN, _EXECUTABLE, _LINK) and rest.endswith(b" 0"):
            found[path] = (mode, rest[:-2])
    return found


def _fields(listed: bytes) -> Iterator[bytes]:
    """What git listed, one by one: to split a long list at once would hold up every other thread."""
    start = 0
    while (end := listed.find(b"\0", start)) >= 0:
        yield listed[start:end]
        start = end + 1


def _lines(paths: Iterable[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)


def _named(told: bytes, paths: Iterable[bytes]) -> list[bytes]:
    """The path that git says it failed on; it writes a question mark for a control character."""
    _, found, rest = told.partition(b"fatal: Unable to process path ")
    if not found:
        return []
    name = rest.removesuffix(b"\n")
    table = bytes(63 if (one < 32 and one not in b"\t\n") or one == 127 else one for one in range(256))
    return [path for path in paths if path.translate(table) == name]


def _relative(root: bytes, path: bytes) -> bytes | None:
    """A path below the root, relative to it; the root itself is empty, and None is elsewhere."""
    if path == root:
        return b""
    prefix = root.rstrip(b"/") + b"/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _lies_in(path: str | bytes, folder: str | bytes) -> bool:
    one, other = os.fsencode(path), os.fsencode(folder)
    return one == other or one.startswith(other.rstrip(b"/") + b"/")


def _is_repository(folder: bytes) -> bool:
    """Whether a folder is the root of a work tree."""
    path = os.path.join(folder, b".git")
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    if stat.S_ISDIR(status.st_mode):
        return os.path.lexists(os.path.join(path, b"HEAD"))
    return _read_small(path).startswith(b"gitdir: ")


def _read_small(path: bytes) -> bytes:
    """The bytes of a regular file; none if it cannot be read, and not more than rules can need."""
    if not path:
        return b""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return up_to(file, _RULES_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return b""


def _signature(path: bytes) -> tuple[int, ...] | None:
    """Enough to see that a file was replaced or written."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _ignores_case(root: bytes) -> bool:
    return os.path.lexists(os.path.join(root, b".GiT"))
