"""Snapshots of work trees, with real git and real files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from pairside import images, snapshots
from pairside.images import Image, Kind, Store
from pairside.snapshots import Difference, Snapshot, SnapshotError, WorkTree, work_trees

SECONDS = 10.0
LIMIT = 100_000


def git(folder: Path, *arguments: str | bytes, given: bytes = b"") -> bytes:
    """Run git as the person does, bounded. Raises CalledProcessError."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LC_ALL": "C"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "A", f"GIT_{role}_EMAIL": "a@example.org"}
    return subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder, env=environment, input=given, check=True, capture_output=True, timeout=SECONDS,
    ).stdout  # fmt: skip


class Place:
    """A work tree of a person, and snapshots of it."""

    def __init__(self, root: Path, state: Path) -> None:
        self.root = root
        self.git_dir = state / "snapshots"
        self.kept = state / "kept"
        self.kept.mkdir(parents=True)
        self.store = Store(str(self.kept))
        self.open: list[WorkTree] = []
        root.mkdir(exist_ok=True)

    def git(self, *arguments: str | bytes, given: bytes = b"") -> bytes:
        return git(self.root, *arguments, given=given)

    def write(self, name: str | bytes, data: bytes | str = b"text\n", mode: int | None = None) -> str:
        path = os.path.join(os.fsencode(self.root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        if mode is not None:
            os.chmod(path, mode)
        return os.fsdecode(path)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--no-verify", "-m", "as it is")

    def tree(
        self,
        folders: Sequence[Path] = (),
        *,
        files: int = 10_000,
        file_bytes: int = LIMIT,
        excluded: Callable[[str], bool] = lambda path: False,
        kind: type[WorkTree] = WorkTree,
    ) -> WorkTree:
        names = [str(folder) for folder in folders or [self.root]]
        found = kind(
            str(self.root), names, git_dir=str(self.git_dir), store=self.store,
            file_bytes=file_bytes, files=files, excluded=excluded,
        )  # fmt: skip
        self.open.append(found)
        return found

    def data(self, image: Image) -> bytes:
        assert image.digest is not None, image
        data = self.store.get(image.digest)
        assert data is not None
        assert image.size == len(data)
        return data

    def relative(self, paths: Iterable[str]) -> list[str]:
        return [os.path.relpath(path, self.root) for path in paths]

    def told(self, snapshot: Snapshot) -> dict[str, tuple[bytes | Kind | None, bytes | Kind | None]]:
        """What a snapshot says, by relative path: bytes, None for nothing, or the kind of what is not kept."""

        def short(image: Image) -> bytes | Kind | None:
            if not image.exists:
                return None
            return image.kind if image.digest is None else self.data(image)

        assert [one.path for one in snapshot.differences] == sorted(one.path for one in snapshot.differences)
        return {
            os.path.relpath(one.path, self.root): (short(one.before), short(one.after)) for one in snapshot.differences
        }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A repository without a commit."""
    place = Place(tmp_path.resolve() / "work", tmp_path.resolve() / "state")
    git(place.root, "init", "-q", "-b", "main", ".")
    yield place
    for tree in place.open:
        tree.close()


def only(snapshot: Snapshot) -> Difference:
    """The one difference of a snapshot."""
    assert len(snapshot.differences) == 1, snapshot.differences
    return snapshot.differences[0]


def fingerprint(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that can be told of a folder: names, kinds, modes, times of the last write, bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for base, folders, names in os.walk(folder):
        for name in (".", *folders, *names):
            path = os.path.normpath(os.path.join(base, name))
            status = os.lstat(path)
            data: object = None
            if stat.S_ISLNK(status.st_mode):
                data = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                data = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found[path] = (status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns, status.st_size, data)
    return found


# What happens to files.


def test_the_first_snapshot_has_no_differences(place: Place) -> None:
    """What happened while nobody looked belongs to nobody."""
    place.write("a")
    tree = place.tree()
    before = time.time()
    first = tree.snapshot()
    assert first.differences == ()
    assert before <= first.at <= time.time()
    assert tree.snapshot().differences == ()


def test_edits_new_and_deleted_files_are_found_with_their_bytes(place: Place) -> None:
    """Each difference has the bytes of before and after, tracked or not."""
    for name in ("edited", "deleted", "same"):
        place.write(name, f"{name} 1\n")
    place.commit()
    place.write("untracked", "u1\n")
    tree = place.tree()
    tree.snapshot()
    place.write("edited", "edited 2\n")
    place.write("untracked", "u2\n")
    place.write("folder/new", b"\0\xff\r\n")
    os.unlink(place.root / "deleted")
    assert place.told(tree.snapshot()) == {
        "deleted": (b"deleted 1\n", None),
        "edited": (b"edited 1\n", b"edited 2\n"),
        "folder/new": (None, b"\0\xff\r\n"),
        "untracked": (b"u1\n", b"u2\n"),
    }
    assert tree.snapshot().differences == ()


def test_a_quick_edit_of_the_same_size_is_found(place: Place) -> None:
    """Many edits in one second that leave the size as it is are all seen."""
    place.write("a", "0000\n")
    place.commit()
    tree = place.tree()
    tree.snapshot()
    for number in range(1, 12):
        place.write("a", f"{number:04}\n")
        assert place.told(tree.snapshot()) == {"a": (f"{number - 1:04}\n".encode(), f"{number:04}\n".encode())}


def test_an_edit_while_git_looks_belongs_to_the_next_snapshot(place: Place) -> None:
    """Who writes just after git has read is seen by the next snapshot, even if times and size tell nothing."""

    class Late(WorkTree):
        text: str | None = None

        def _entries(self, paths: set[bytes] | None) -> dict[bytes, tuple[bytes, bytes]]:
            if self.text is not None:
                place.write("a", self.text)
                self.text = None
            return super()._entries(paths)

    place.write("a", "1\n")
    tree = place.tree(kind=Late)
    assert isinstance(tree, Late)
    tree.text = "2\n"
    tree.snapshot()
    place.write("b")
    tree.text = "3\n"
    assert place.told(tree.snapshot()) == {"a": (b"1\n", b"2\n"), "b": (None, b"text\n")}
    assert place.told(tree.snapshot()) == {"a": (b"2\n", b"3\n")}


def test_touching_a_file_is_no_difference(place: Place) -> None:
    """Only bytes, kind and mode count."""
    path = place.write("a")
    tree = place.tree()
    tree.snapshot()
    os.utime(path, (1, 1))
    assert tree.snapshot().differences == ()


def test_a_rename_is_a_deletion_and_a_new_file(place: Place) -> None:
    """Also of a whole folder, whose files keep all their times."""
    place.write("a", "a\n")
    place.write("d/e/f", "f\n")
    place.write("d/empty", "")
    place.commit()
    for path in (place.root / "d/e/f", place.root / "d/empty"):
        os.utime(path, (1, 1))
    tree = place.tree()
    tree.snapshot()
    os.rename(place.root / "a", place.root / "b")
    os.rename(place.root / "d", place.root / "g")
    assert place.told(tree.snapshot()) == {
        "a": (b"a\n", None),
        "b": (None, b"a\n"),
        "d/e/f": (b"f\n", None),
        "d/empty": (b"", None),
        "g/e/f": (None, b"f\n"),
        "g/empty": (None, b""),
    }


def test_the_mode_of_a_file_is_kept_in_full(place: Place) -> None:
    """A chmod alone is a difference, at once or later, and what was deleted had all its permission bits."""
    path = place.write("a", mode=0o600)
    secret = place.write("secret", mode=0o640)
    none = place.write("none", mode=0o000)
    place.write("tool", mode=0o755)
    tree = place.tree()
    tree.snapshot()
    os.chmod(path, 0o660)
    found = only(tree.snapshot())
    assert (found.before.mode, found.after.mode) == (0o660 & 0o600, 0o660)
    assert found.before.digest == found.after.digest
    os.chmod(path, 0o700)
    os.unlink(secret)
    place.write("tool", "other\n")
    found_by_path = {one.path: one for one in tree.snapshot().differences}
    assert found_by_path[path].before.mode == 0o660
    assert found_by_path[path].after.mode == 0o700
    assert found_by_path[secret].before.mode == 0o640
    assert found_by_path[str(place.root / "tool")].after.mode == 0o755
    os.unlink(none)
    found = only(tree.snapshot())
    assert (found.before.exists, found.before.mode) == (True, 0)


def test_modes_are_known_after_a_restart(place: Place) -> None:
    """An object that finds the repository of an earlier one knows the permission bits too."""
    path = place.write("a", mode=0o600)
    place.tree().snapshot()
    tree = place.tree()
    tree.snapshot()
    os.unlink(path)
    assert only(tree.snapshot()).before.mode == 0o600


def test_what_is_told_equals_what_a_look_tells(place: Place) -> None:
    """The images are those that `images.look` makes of the same things."""
    paths = [place.write("a", "x\n", 0o640), place.write("large", b"x" * (LIMIT + 1)), str(place.root / "link")]
    os.symlink("nowhere", paths[2])
    tree = place.tree()
    tree.snapshot()
    before = [images.look(path, LIMIT, place.store) for path in paths]
    place.write("a", "y\n", 0o600)
    place.write("large", b"y" * (LIMIT + 2))
    os.unlink(paths[2])
    os.symlink("elsewhere", paths[2])
    found = {one.path: one for one in tree.snapshot().differences}
    assert [found[path].before for path in paths] == before
    assert [found[path].after for path in paths] == [images.look(path, LIMIT, place.store) for path in paths]


def test_the_folders_that_came_with_a_file_are_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The topmost that may be new; none where all were there, though nothing was in them."""
    monkeypatch.setattr(snapshots, "_CLOCK_SECONDS", 0.0)
    (place.root / "empty/inner").mkdir(parents=True)
    place.write("old/x", "x\n")
    place.write("old/d/e/f", "f\n")
    tree = place.tree()
    tree.snapshot()
    os.rename(place.root / "old/d", place.root / "old/g")
    place.write("empty/inner/a", "a\n")
    place.write("old/new/deep/b", "b\n")
    (place.root / "old/moved").mkdir()
    os.rename(place.root / "old/x", place.root / "old/moved/x")
    assert {
        os.path.relpath(one.path, place.root): one.before.missing.removeprefix(str(place.root))
        for one in tree.snapshot().differences
        if not one.before.exists
    } == {"empty/inner/a": "", "old/g/e/f": "/old/g", "old/moved/x": "/old/moved", "old/new/deep/b": "/old/new"}


def test_a_folder_that_becomes_a_file_between_two_calls_of_git_is_not_forgotten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in it is told as deleted, by this snapshot or the next."""
    place.write("d/in", "in\n")
    tree = place.tree()
    tree.snapshot()
    swapped = False

    class Slow(snapshots._Git):
        @contextlib.contextmanager
        def _started(self, arguments: Sequence[str | bytes], *more: Any) -> Iterator[tuple[IO[bytes], list[bytes]]]:
            nonlocal swapped
            with super()._started(arguments, *more) as started:
                yield started
            if not swapped and {"diff-files", "-o"}.intersection(arguments):
                os.unlink(place.root / "d/in")
                os.rmdir(place.root / "d")
                place.write("d", "now\n")
                swapped = True

    monkeypatch.setattr(tree._git, "__class__", Slow)
    assert place.told(tree.snapshot()) | place.told(tree.snapshot()) == {"d/in": (b"in\n", None), "d": (None, b"now\n")}
    assert swapped


def test_symbolic_links_are_found_and_never_followed(place: Place) -> None:
    """A link made, led elsewhere, made a file, removed; one that leads out of the tree or nowhere."""
    outside = place.root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    link = place.root / "link"
    tree = place.tree()
    tree.snapshot()
    link.symlink_to(outside)
    found = only(tree.snapshot())
    assert found.before == Image()
    assert (found.after.kind, found.after.mode) == (Kind.LINK, 0)
    assert place.data(found.after) == os.fsencode(outside)
    link.unlink()
    link.symlink_to("nowhere")
    assert place.told(tree.snapshot()) == {"link": (os.fsencode(outside), b"nowhere")}
    link.unlink()
    link.write_text("a file")
    found = only(tree.snapshot())
    assert (found.before.kind, found.after.kind) == (Kind.LINK, Kind.FILE)
    link.unlink()
    assert place.told(tree.snapshot()) == {"link": (b"a file", None)}


def test_a_folder_that_becomes_a_link_loses_its_files(place: Place) -> None:
    """What lies behind the link is not taken for what was in the folder."""
    place.write("d/x", "x\n")
    outside = place.root.parent / "outside"
    outside.mkdir()
    (outside / "x").write_text("not ours\n")
    tree = place.tree()
    tree.snapshot()
    os.unlink(place.root / "d/x")
    os.rmdir(place.root / "d")
    os.symlink(outside, place.root / "d")
    assert place.told(tree.snapshot()) == {"d": (None, os.fsencode(outside)), "d/x": (b"x\n", None)}


def test_a_file_becomes_a_folder_and_a_file_again(place: Place) -> None:
    """Both ways, with what was in the folder."""
    place.write("a", "file\n")
    tree = place.tree()
    tree.snapshot()
    os.unlink(place.root / "a")
    place.write("a/b/c", "c\n")
    found = tree.snapshot()
    assert place.told(found) == {"a": (b"file\n", None), "a/b/c": (None, b"c\n")}
    os.unlink(place.root / "a/b/c")
    os.removedirs(place.root / "a/b")
    place.write("a", "again\n")
    assert place.told(tree.snapshot()) == {"a": (None, b"again\n"), "a/b/c": (b"c\n", None)}


def test_raw_bytes_come_back_whatever_git_would_convert(place: Place) -> None:
    """Line ends, filters, keywords and encodings of the person's attributes and configuration touch nothing."""
    mark = place.root.parent / "mark"
    place.git("config", "core.autocrlf", "true")
    place.git("config", "filter.swap.clean", f"touch {mark}; tr a-z A-Z")
    place.git("config", "filter.swap.smudge", f"touch {mark}; tr A-Z a-z")
    place.git("config", "filter.big.clean", f"touch {mark}; echo version 1; sha256sum")
    place.git("config", "filter.big.required", "true")
    place.write(
        ".gitattributes",
        "*.up filter=swap\n*.lfs filter=big\n*.id ident\n*.u16 working-tree-encoding=UTF-16 text\n"
        "*.eol text eol=crlf\n*.old crlf\n[attr]odd filter=swap ident text\n*.odd odd\n",
    )
    contents = {
        "crlf.txt": b"one\r\ntwo\r\n", "mixed.txt": b"one\r\ntwo\n", "a.up": b"upper me\n", "a.lfs": b"large\n",
        "a.id": b"$Id: 0123 $ $Id$\n", "a.u16": "\ufeffzwei\r\n".encode("utf-16-le"), "a.eol": b"x\r\ny\r\n",
        "a.old": b"x\r\n", "a.odd": b"$Id$ odd\r\n",
    }  # fmt: skip
    for name, data in contents.items():
        place.write(name, data)
    place.commit()
    place.git("config", "core.safecrlf", "true")
    mark.unlink(missing_ok=True)
    tree = place.tree()
    tree.snapshot()
    for name, data in contents.items():
        place.write(name, data + b"\0more\r\n")
    assert place.told(tree.snapshot()) == {
        name: (data, data + b"\0more\r\n") for name, data in sorted(contents.items())
    }
    for name in contents:
        os.unlink(place.root / name)
    assert place.told(tree.snapshot()) == {
        name: (data + b"\0more\r\n", None) for name, data in sorted(contents.items())
    }
    assert not mark.exists()


ODD_NAMES = [
    b"new\nline", b"tab\there", b'quo"te', b"apo'strophe", b"-dash", b"--", b"*", b"[a]?", b":(top)x",
    b":!x", b"back\\slash",
    b"not\xff\xfeutf8", "é😀".encode(), b" space ", b"#hash", b"!bang", b"x" * 255, b"\x01\x7f", b"a/" * 100 + b"deep",
    b"con", b"git~1", b"..x", b"trailing.", b"{brace}",
]  # fmt: skip


@pytest.mark.parametrize("is_tracked", [True, False])
def test_any_name_is_looked_at(place: Place, is_tracked: bool) -> None:
    """Names that a shell, a pattern or a line would break, new, edited, deleted and asked about."""
    for name in ODD_NAMES:
        place.write(b"in/" + name, name)
    if is_tracked:
        place.git("-c", "core.protectNTFS=false", "add", "-A")
    tree = place.tree()
    tree.snapshot()
    for name in ODD_NAMES:
        place.write(b"in/" + name, name + b"2")
        place.write(b"new/" + name, name)
    found = place.told(tree.snapshot())
    assert found == {os.fsdecode(b"in/" + name): (name, name + b"2") for name in ODD_NAMES} | {
        os.fsdecode(b"new/" + name): (None, name) for name in ODD_NAMES
    }
    for name in ODD_NAMES:
        os.unlink(os.path.join(os.fsencode(place.root), b"in", name))
    about = [os.fsdecode(os.path.join(os.fsencode(place.root), b"new", name)) for name in ODD_NAMES]
    found = place.told(tree.snapshot(about))
    assert found == {os.fsdecode(b"in/" + name): (name + b"2", None) for name in ODD_NAMES} | {
        os.fsdecode(b"new/" + name): (name, name) for name in ODD_NAMES
    }


def test_a_name_that_git_never_keeps_is_noted(place: Place) -> None:
    """Files below a folder whose name is that of a repository in other letters."""
    place.write("a/.GIT/x", "1\n")
    tree = place.tree()
    first = tree.snapshot()
    assert place.relative(first.noted) == ["a/.GIT/x"]
    place.write("a/.GIT/x", "22\n")
    assert place.told(tree.snapshot()) == {"a/.GIT/x": (Kind.FILE, Kind.FILE)}
    assert tree.snapshot().differences == ()


# When it changed.


def test_the_time_of_a_difference_is_that_of_the_file_system(place: Place) -> None:
    """Of what is there, the last change; of what has gone, the last write of the folder that is left."""
    place.write("d/e/gone")
    place.write("edited")
    tree = place.tree()
    tree.snapshot()
    path = place.write("edited", "2\n")
    os.unlink(place.root / "d/e/gone")
    os.rmdir(place.root / "d/e")
    found = {os.path.relpath(one.path, place.root): one.at for one in tree.snapshot().differences}
    assert found == {"edited": os.lstat(path).st_ctime, "d/e/gone": os.lstat(place.root / "d").st_mtime}


def test_no_time_is_told_where_none_is_known(place: Place) -> None:
    """A folder that was written before the snapshot before says nothing of what has gone."""
    place.write("d/gone")
    tree = place.tree()
    tree.snapshot()
    os.unlink(place.root / "d/gone")
    os.utime(place.root / "d", (1, 1))
    assert only(tree.snapshot()).at is None


# What is asked about.


def test_what_is_asked_about_is_told_even_if_nothing_differs(place: Place) -> None:
    """Each kept path among them; none that is ignored, excluded, outside, or was never there."""
    place.write(".gitignore", "ignored\n")
    kept = place.write("kept", "k\n", 0o640)
    gone = place.write("gone", "g\n")
    others = [place.write("ignored"), place.write("secret"), str(place.root / "never"), "/etc/passwd", str(place.root)]
    tree = place.tree(excluded=lambda path: path.endswith("/secret"))
    tree.snapshot([kept])
    found = only(tree.snapshot([kept, *others]))
    assert found.path == kept
    assert found.before == found.after == images.look(kept, LIMIT, place.store)
    assert found.at == os.lstat(kept).st_ctime
    os.unlink(gone)
    assert place.told(tree.snapshot([kept, gone])) == {"gone": (b"g\n", None), "kept": (b"k\n", b"k\n")}
    many = [place.write(f"many/{number}", f"{number}\n") for number in range(120)]
    tree.snapshot()
    assert place.told(tree.snapshot(many)) == {
        f"many/{number}": (f"{number}\n".encode(), f"{number}\n".encode()) for number in range(120)
    }


# Which files are looked at.


def test_ignored_files_are_left_out_and_untracked_ones_are_not(place: Place) -> None:
    """By .gitignore at any level, the repository's own exclude file, and the person's."""
    config = place.root.parent / "mine"
    config.write_text("*.global")
    place.git("config", "core.excludesFile", str(config))
    (place.root / ".git/info/exclude").write_text("*.local\n!kept.global\n")
    place.write(".gitignore", "*.log\n/build/\n")
    place.write("sub/.gitignore", "!kept.log\n")
    names = [
        "a.log",
        "sub/a.log",
        "sub/kept.log",
        "build/x",
        "sub/build/x",
        "a.local",
        "a.global",
        "kept.global",
        "plain",
    ]
    tree = place.tree()
    tree.snapshot()
    for name in names:
        place.write(name)
    assert list(place.told(tree.snapshot())) == ["kept.global", "plain", "sub/build/x", "sub/kept.log"]


@pytest.mark.parametrize("variable", ["HOME", "XDG_CONFIG_HOME"])
def test_the_persons_own_ignore_file_holds_where_it_stands_by_default(
    place: Place, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the home, or where the variable says."""
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "other"))
    folder = tmp_path / "other" / (".config/git" if variable == "HOME" else "git")
    folder.mkdir(parents=True)
    (folder / "ignore").write_bytes(b"\xef\xbb\xbf*.mine\n")
    tree = place.tree()
    tree.snapshot()
    place.write("a.mine")
    place.write("b")
    assert list(place.told(tree.snapshot())) == ["b"]


def test_tracked_files_that_a_rule_ignores_are_looked_at(place: Place) -> None:
    """From the start, and as soon as the person tracks one; also after one was away for a while."""
    place.write(".gitignore", "*.log\n")
    place.write("a.log", "a1\n")
    place.git("add", "-f", "a.log", ".gitignore")
    place.write("b.log", "b1\n")
    tree = place.tree()
    tree.snapshot()
    place.write("a.log", "a2\n")
    place.write("b.log", "b2\n")
    assert place.told(tree.snapshot()) == {"a.log": (b"a1\n", b"a2\n")}
    os.unlink(place.root / "a.log")
    assert place.told(tree.snapshot()) == {"a.log": (b"a2\n", None)}
    place.write("a.log", "a3\n")
    assert place.told(tree.snapshot()) == {"a.log": (None, b"a3\n")}
    again = place.tree()
    again.snapshot()
    place.git("add", "-f", "b.log")
    again.snapshot()
    place.write("b.log", "b3\n")
    assert place.told(again.snapshot()) == {"b.log": (b"b2\n", b"b3\n")}


def make_old(path: str, seconds: float = 30) -> None:
    """See that nothing of a path is as young as what comes next; its time of change cannot be set."""
    deadline = time.monotonic() + SECONDS
    while time.time() - os.lstat(path).st_ctime < 3 * snapshots._CLOCK_SECONDS:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("where", [".gitignore", ".git/info/exclude", "hidden/.gitignore", "track"])
def test_what_was_ignored_is_not_taken_for_new(place: Place, where: str) -> None:
    """A file that a rule kept out is no difference when the rule goes; written since, nobody knows what it was.

    An undo would delete what it takes for new.
    """
    rule = "*\n" if where.startswith("hidden") else "*.log\n"
    place.write(where if where != "track" else ".gitignore", rule)
    old = place.write("hidden/old.log", "old\n")
    written = place.write("hidden/written.log", "w1\n")
    tree = place.tree()
    make_old(written)
    tree.snapshot()
    place.write("hidden/written.log", "w2\n")
    if where == "track":
        place.git("add", "-f", "hidden/old.log", "hidden/written.log")
    elif where.startswith("hidden"):  # the rule ignores itself, so that nobody sees it go
        os.unlink(place.root / where)
    else:
        place.write(where, "# none\n")
    found = {one.path: one for one in tree.snapshot().differences}
    if where.startswith("hidden"):
        assert not found[old].before.is_known
    else:
        assert old not in found
        assert found[written].before.note == "ignored until now"
        assert not found[written].before.is_known
    os.unlink(old)
    assert place.told(tree.snapshot()) == {"hidden/old.log": (b"old\n", None)}


def test_a_new_rule_does_not_make_new_files_uncertain(place: Place) -> None:
    """What no rule of before kept out is new, however the rules change."""
    place.write(".gitignore", "*.log\n")
    tree = place.tree()
    tree.snapshot()
    place.write(".gitignore", "*.log\n*.tmp\n!keep.log\n")
    place.write("fresh", "1\n")
    assert place.told(tree.snapshot()) == {
        ".gitignore": (b"*.log\n", b"*.log\n*.tmp\n!keep.log\n"),
        "fresh": (None, b"1\n"),
    }


def test_what_is_ignored_by_now_is_dropped_by_the_next_process(place: Place) -> None:
    """The index that an earlier process left is brought in line with the rules and the exclusions of today."""
    for name in ("a.log", "secret", "sub/x", "other/y"):
        place.write(name, "1\n")
    place.tree().snapshot()
    place.write(".gitignore", "*.log\n")
    tree = place.tree([place.root / "sub"], excluded=lambda path: path.endswith("secret"))
    tree.snapshot()
    listed = subprocess.run(
        ["git", f"--git-dir={place.git_dir}", "ls-files"], check=True, capture_output=True, timeout=SECONDS
    ).stdout
    assert listed == b"sub/x\n"


def test_excluded_paths_are_never_read(place: Place) -> None:
    """Tracked or not, their bytes are nowhere in what we keep."""
    place.write("secret.env", "password 1\n")
    place.write("a", "1\n")
    place.commit()
    place.write("other.env", "password 2\n")
    tree = place.tree(excluded=lambda path: path.endswith(".env"))
    tree.snapshot()
    place.write("secret.env", "password 3\n")
    place.write("other.env", "password 4\n")
    place.write("a", "2\n")
    found = tree.snapshot([str(place.root / "secret.env")])
    assert place.told(found) == {"a": (b"1\n", b"2\n")}
    assert not found.noted
    for number in range(1, 5):
        name = git(place.root, "hash-object", "--stdin", given=f"password {number}\n".encode()).decode().strip()
        held = subprocess.run(
            ["git", f"--git-dir={place.git_dir}", "cat-file", "-e", name], capture_output=True, timeout=SECONDS
        )
        assert held.returncode != 0
        assert place.store.get(hashlib.sha256(f"password {number}\n".encode()).hexdigest()) is None


def test_only_the_served_folders_are_looked_at_by_the_rules_above_them(place: Place) -> None:
    """With a .gitignore of the root that names their files."""
    place.write(".gitignore", "*.log\n/sub/never/\n")
    for name in ("sub/a", "sub2/a", "other/a", "a", "odd [x]/a"):
        place.write(name, "1\n")
    place.commit()
    tree = place.tree([place.root / "sub", place.root / "odd [x]"])
    tree.snapshot()
    for name in ("sub/a", "sub2/a", "other/a", "a", "odd [x]/a", "sub/x.log", "sub/never/x", "sub/new", "odd x/new"):
        place.write(name, "2\n")
    assert list(place.told(tree.snapshot())) == ["odd [x]/a", "sub/a", "sub/new"]


def test_a_rule_above_the_served_folder_that_goes_makes_nothing_new(place: Place) -> None:
    """The rules above the folder are known too."""
    place.write(".gitignore", "*.log\n")
    path = place.write("sub/x.log", "1\n")
    tree = place.tree([place.root / "sub"])
    make_old(path)
    tree.snapshot()
    os.unlink(place.root / ".gitignore")
    assert tree.snapshot().differences == ()


def test_our_own_repository_within_the_tree_is_left_out(tmp_path: Path) -> None:
    """Someone whose home is a work tree keeps the state directory in it."""
    place = Place(tmp_path.resolve(), tmp_path.resolve() / "sta*te [1]")
    git(place.root, "init", "-q")
    tree = place.tree()
    tree.snapshot()
    place.write("a")
    found = [name for name in place.told(tree.snapshot()) if not name.startswith("sta*te [1]/kept")]
    assert found == ["a"]
    tree.close()


# Repositories of every kind.


def test_repositories_within_are_named_and_not_looked_into(place: Place) -> None:
    """Another repository, one without a commit, a submodule."""
    origin = place.root.parent / "origin"
    for folder in (origin, place.root / "nested", place.root / "deep/unborn"):
        folder.mkdir(parents=True)
        git(folder, "init", "-q")
        (folder / "x").write_text("1\n")
        if folder.name != "unborn":
            git(folder, "add", "-A")
            git(folder, "commit", "-q", "-m", "x")
    place.git("submodule", "--quiet", "add", str(origin), "module")
    place.git("commit", "-q", "-m", "with a module")
    tree = place.tree()
    expected = ("deep/unborn", "module", "nested")
    assert place.relative(tree.snapshot().uncovered) == list(expected)
    for name in expected:
        place.write(f"{name}/x", "2\n")
    again = tree.snapshot([str(place.root / "nested/x")])
    assert again.differences == ()
    assert place.relative(again.uncovered) == list(expected)


def test_a_folder_that_becomes_a_repository_is_let_go_without_a_difference(place: Place) -> None:
    """None of its files was deleted. When it is none any more, none of them is new."""
    place.write("sub/a", "1\n")
    path = place.write("sub/b", "1\n")
    tree = place.tree()
    make_old(path)
    tree.snapshot()
    git(place.root / "sub", "init", "-q")
    place.write("sub/a", "2\n")
    found = tree.snapshot([path])
    assert found.differences == ()
    assert place.relative(found.uncovered) == ["sub"]
    assert place.relative(tree.snapshot().uncovered) == ["sub"]
    subprocess.run(["rm", "-r", place.root / "sub/.git"], check=True, timeout=SECONDS)
    place.write("sub/a", "3\n")
    found = tree.snapshot()
    assert place.told(found) == {"sub/a": (Kind.OTHER, b"3\n")}
    assert only(found).before.note == "in a repository of its own until now"
    assert found.uncovered == ()


def test_a_linked_worktree_is_looked_at(place: Place) -> None:
    """Its .git is a file; its index stands elsewhere, its exclude file in the main repository."""
    place.write(".gitignore", "*.log\n")
    place.write("a", "1\n")
    place.write("t.log", "1\n")
    place.git("add", "-f", "t.log")
    place.commit()
    (place.root / ".git/info/exclude").write_text("*.local\n")
    linked = Place(place.root.parent / "linked", place.root.parent / "state2")
    place.git("worktree", "add", "-q", str(linked.root), "-b", "side")
    assert work_trees([str(linked.root)]) == {str(linked.root): [str(linked.root)]}
    tree = linked.tree()
    tree.snapshot()
    for name in ("a", "t.log", "x.local", "x.log", "new"):
        linked.write(name, "2\n")
    assert linked.told(tree.snapshot()) == {"a": (b"1\n", b"2\n"), "new": (None, b"2\n"), "t.log": (b"1\n", b"2\n")}
    tree.close()


def test_a_repository_of_sha256_is_looked_at(tmp_path: Path) -> None:
    """Names of objects have the length that the person's repository gives them."""
    place = Place(tmp_path.resolve() / "work", tmp_path.resolve() / "state")
    git(place.root, "init", "-q", "--object-format=sha256")
    place.write(".gitignore", "*.log\n")
    place.write("a", "1\n")
    place.write("t.log", "1\n")
    place.git("add", "-f", "t.log")
    place.commit()
    tree = place.tree()
    tree.snapshot()
    assert list(place.git_dir.glob("objects/pack/*.pack")), "what they have is copied"
    place.write("a", "2\n")
    place.write("t.log", "2\n")
    assert place.told(tree.snapshot()) == {"a": (b"1\n", b"2\n"), "t.log": (b"1\n", b"2\n")}
    tree.close()


@pytest.mark.parametrize("is_sparse_index", [False, True])
def test_a_sparse_checkout_is_looked_at(place: Place, is_sparse_index: bool) -> None:
    """What is not checked out is neither there nor deleted."""
    for name in ("in/a", "out/b", "top"):
        place.write(name, "1\n")
    place.commit()
    place.git("sparse-checkout", "init", "--cone", "--sparse-index" if is_sparse_index else "--no-sparse-index")
    place.git("sparse-checkout", "set", "in")
    assert not (place.root / "out").exists()
    tree = place.tree()
    first = tree.snapshot()
    assert not first.noted
    place.write("in/a", "2\n")
    place.write("out/b", "2\n")
    assert place.told(tree.snapshot()) == {"in/a": (b"1\n", b"2\n"), "out/b": (None, b"2\n")}


def test_a_tree_without_a_file_is_looked_at(place: Place) -> None:
    """Nothing, something, nothing again."""
    tree = place.tree()
    assert tree.snapshot().differences == ()
    assert tree.snapshot().differences == ()
    path = place.write("a")
    assert place.told(tree.snapshot()) == {"a": (None, b"text\n")}
    os.unlink(path)
    assert place.told(tree.snapshot()) == {"a": (b"text\n", None)}
    assert tree.snapshot().differences == ()


def test_work_trees_are_found_by_walking_up(place: Place, tmp_path: Path) -> None:
    """Of several folders in one tree each is there once; one in no tree is not there."""
    inner = place.root / "inner"
    for folder in (place.root / "a/b", inner / "c", place.root / "broken/.git", tmp_path / "none"):
        folder.mkdir(parents=True)
    git(inner, "init", "-q")
    top = str(place.root)
    names = [f"{top}/a/b", f"{top}/a", f"{top}/ab", f"{inner}/c", f"{top}/broken", str(tmp_path / "none"), f"{top}/a"]
    assert work_trees(names) == {top: [f"{top}/a", f"{top}/ab", f"{top}/broken"], str(inner): [f"{inner}/c"]}
    assert work_trees([f"{top}/a", top]) == {top: [top]}
    assert work_trees([]) == {}


# What cannot be kept.


def test_a_file_over_the_limit_is_noted_and_seen_to_change(place: Place) -> None:
    """It grows over the limit, changes, shrinks below it, goes; its bytes are never read."""
    large = b"x" * (LIMIT + 1)
    path = place.write("a", "small\n")
    tree = place.tree()
    assert not tree.snapshot().noted
    place.write("a", large)
    found = tree.snapshot()
    assert dict(found.noted) == {path: f"larger than {LIMIT} bytes"}
    assert place.told(found) == {"a": (b"small\n", Kind.FILE)}
    again = tree.snapshot()
    assert (again.differences, again.noted) == ((), found.noted)
    place.write("a", large + b"x")
    difference = only(tree.snapshot())
    assert (difference.before.size, difference.after.size) == (len(large), len(large) + 1)
    assert not difference.before.is_known
    place.write("a", "small again\n")
    found = tree.snapshot()
    assert place.told(found) == {"a": (Kind.FILE, b"small again\n")}
    assert not found.noted
    place.write("a", large)
    tree.snapshot()
    os.unlink(path)
    found = tree.snapshot()
    assert place.told(found) == {"a": (Kind.FILE, None)}
    assert not found.noted
    assert tree.snapshot().differences == ()


def test_large_files_of_the_person_are_not_copied(place: Place) -> None:
    """What they track and is over the limit is noted only."""
    path = place.write("large", os.urandom(LIMIT + 1))
    place.write("small")
    place.commit()
    tree = place.tree()
    assert list(tree.snapshot().noted) == [path]
    stored = sum(os.path.getsize(one) for one in place.git_dir.rglob("*") if one.is_file())
    assert stored < LIMIT


def test_pipes_and_sockets_are_noted_and_hold_nothing_up(place: Place) -> None:
    """One that stands where a file was is told; what was there before is known."""
    pipe, listener = place.write("pipe", "1\n"), place.write("sock", "2\n")
    tree = place.tree()
    tree.snapshot()
    os.unlink(pipe)
    os.unlink(listener)
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(place.root):
        one.bind("sock")
    os.mkfifo(place.root / "untracked")
    place.write("a", "fine\n")
    found = tree.snapshot()
    assert place.told(found) == {"a": (None, b"fine\n"), "pipe": (b"1\n", Kind.OTHER), "sock": (b"2\n", Kind.OTHER)}
    assert dict(found.noted) == {pipe: "not a regular file", listener: "not a regular file"}
    again = tree.snapshot()
    assert (again.differences, again.noted) == ((), found.noted)
    os.unlink(pipe)
    place.write("pipe", "3\n")
    os.unlink(listener)
    assert place.told(tree.snapshot()) == {"pipe": (Kind.OTHER, b"3\n"), "sock": (Kind.OTHER, None)}


def test_what_cannot_be_read_is_noted(place: Place) -> None:
    """Files and folders; all others are looked at, and what cannot be seen is not taken for deleted."""
    if os.access(place.write("probe", mode=0), os.R_OK):
        pytest.skip("we can read everything")
    os.unlink(place.root / "probe")
    closed = [place.write(f"closed{number}", "1\n") for number in range(20)]
    place.write("folder/a", "1\n")
    tree = place.tree()
    tree.snapshot()
    for path in closed:
        place.write(path, "2\n", 0)
    os.chmod(place.root / "folder", 0)
    place.write("a", "fine\n")
    try:
        found = tree.snapshot()
    finally:
        os.chmod(place.root / "folder", 0o700)
    told = place.told(found)
    assert told == {"a": (None, b"fine\n")} | {f"closed{number}": (b"1\n", Kind.FILE) for number in range(20)}
    assert set(found.noted) == {*closed, str(place.root / "folder")}
    assert tree.snapshot().differences == ()


class Meddled(WorkTree):
    """Does something after the paths were looked at and before git takes their bytes."""

    meddle: Callable[[], None] | None = None

    def _add(self, paths: list[bytes], seen: snapshots._Seen) -> list[bytes]:
        if self.meddle is not None:
            self.meddle()
            self.meddle = None
        return super()._add(paths, seen)


def meddled(place: Place, what: Callable[[], None]) -> WorkTree:
    """A tree whose next snapshot but one is meddled with."""
    tree = place.tree(kind=Meddled)
    assert isinstance(tree, Meddled)
    tree.snapshot()
    tree.meddle = what
    return tree


def test_files_that_vanish_while_they_are_taken_do_no_harm(place: Place) -> None:
    """One new, one known; the known one is a deletion then."""
    known = place.write("known", "1\n")

    def vanish() -> None:
        os.unlink(known)
        os.unlink(place.root / "new")

    tree = meddled(place, vanish)
    place.write("known", "2\n")
    place.write("new", "2\n")
    place.write("other", "2\n")
    assert place.told(tree.snapshot()) == {"known": (b"1\n", None), "other": (None, b"2\n")}


def test_a_path_that_git_refuses_is_noted_and_the_others_are_taken(place: Place) -> None:
    """A file that has become a folder by the time that git comes, under any name."""
    names = [b"one", b"new\nline\x01", b"not\xff"]
    place.write("known", "1\n")

    def swap() -> None:
        for name in [*names, b"known"]:
            path = os.path.join(os.fsencode(place.root), name)
            os.unlink(path)
            os.mkdir(path)

    tree = meddled(place, swap)
    for name in [*names, b"known", b"other"]:
        place.write(name, "2\n")
    found = tree.snapshot()
    assert place.told(found) == dict.fromkeys(map(os.fsdecode, names), (None, Kind.OTHER)) | {
        "known": (b"1\n", None),
        "other": (None, b"2\n"),
    }
    assert sorted(place.relative(found.noted)) == sorted(os.fsdecode(name) for name in names)
    assert not tree.snapshot().noted


def test_too_many_refused_paths_are_an_error_and_lose_nothing(place: Place) -> None:
    """The snapshot is given up, and the next one tells all that has happened."""
    names = [f"f{number}" for number in range(20)]
    place.write("known", "1\n")

    def swap() -> None:
        for name in names:
            os.unlink(place.root / name)
            os.mkdir(place.root / name)

    tree = meddled(place, swap)
    for name in [*names, "known"]:
        place.write(name, "2\n")
    with pytest.raises(SnapshotError, match="git refused 8 paths"):
        tree.snapshot()
    assert place.told(tree.snapshot()) == {"known": (b"1\n", b"2\n")}


def test_too_many_files_are_an_error_that_names_the_setting(place: Place) -> None:
    """Tracked or not, cold or warm."""
    for number in range(6):
        place.write(f"f{number}")
    with pytest.raises(SnapshotError, match=r"has 6 files, more than limits\.snapshot_files = 5"):
        place.tree(files=5).snapshot()
    place.commit()
    with pytest.raises(SnapshotError, match=r"has 6 files, more than limits\.snapshot_files = 5"):
        place.tree(files=5).snapshot()
    tree = place.tree(files=6)
    tree.snapshot()
    place.write("one more")
    with pytest.raises(SnapshotError, match="has 7 files"):
        tree.snapshot()
    os.unlink(place.root / "one more")
    place.write("f1", "2\n")
    assert place.told(tree.snapshot()) == {"f1": (b"text\n", b"2\n")}


def test_the_bytes_of_too_many_differences_are_not_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond are named, and before and after differ."""
    monkeypatch.setattr(snapshots, "IMAGES", 2)
    for number in range(4):
        place.write(f"f{number}", f"{number} 1\n")
    os.symlink("1", place.root / "f4")
    tree = place.tree()
    tree.snapshot()
    for number in range(4):
        place.write(f"f{number}", f"{number} 2\n")
    os.unlink(place.root / "f4")
    os.symlink("2", place.root / "f4")
    found = tree.snapshot().differences
    assert [one.after.is_known for one in found] == [True, True, False, False, False]
    assert {image.note for one in found[2:] for image in (one.before, one.after)} == {"too many files changed at once"}
    assert all(one.before != one.after for one in found)
    assert [one.after.kind for one in found[2:]] == [Kind.FILE, Kind.FILE, Kind.LINK]


def test_a_store_that_takes_nothing_makes_a_note(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the bytes, not the knowledge of the difference."""
    place.write("a", "1\n")
    tree = place.tree()
    tree.snapshot()
    place.write("a", "2\n")

    def full(data: bytes) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place.store, "put", full)
    assert only(tree.snapshot()).after.note == "not kept: No space left on device"


# The person's repository.


def furnish(place: Place, mark: Path) -> None:
    """Give a repository all that could run or write: hooks, filters, fsmonitor, a split index, alternates and more."""
    origin = place.root.parent / "origin"
    borrowed = place.root.parent / "borrowed"
    for folder in (origin, borrowed):
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / "x").write_text(f"{folder.name}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "x")
    place.write(".gitattributes", "*.up filter=swap\n*.u16 working-tree-encoding=UTF-16\n*.id ident\n")
    place.write("a.up", "text\n")
    place.write("a.id", "$Id$\n")
    place.write("a.txt", "one\r\ntwo\r\n")
    place.write("x", "borrowed\n")
    for number in range(30):
        place.write(f"many/{number}", f"{number}\n")
    (place.root / ".git/objects/info/alternates").write_text(f"{borrowed}/.git/objects\n")
    place.git("submodule", "--quiet", "add", str(origin), "module")
    place.commit()
    place.git("gc", "-q")
    place.git("worktree", "add", "-q", str(place.root.parent / "linked"), "-b", "side")
    place.write("packed later", "loose\n")
    place.commit()
    place.git("config", "core.splitIndex", "true")
    place.git("config", "core.untrackedCache", "true")
    place.git("config", "core.autocrlf", "true")
    place.git("config", "gc.auto", "1")
    place.git("update-index", "--split-index", "--untracked-cache")
    place.write("staged", "in the split index\n")
    place.git("add", "staged")
    assert list((place.root / ".git").glob("sharedindex.*"))
    program = place.root.parent / "program"
    program.write_text(f'#!/bin/sh\necho ran "$0" "$@" >> \'{mark}\'\ncat\n')
    program.chmod(0o755)
    for hook in ("post-index-change", "pre-auto-gc", "post-checkout", "reference-transaction", "fsmonitor-watchman"):
        path = place.root / ".git/hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(program)
    for key in ("filter.swap.clean", "filter.swap.smudge", "core.fsmonitor", "core.pager", "diff.external",
                "core.editor",
                "alias.ls-files", "alias.update-index", "core.sshCommand", "credential.helper"):  # fmt: skip
        place.git("config", key, str(program))
    place.git("config", "core.hooksPath", str(place.root / ".git/hooks"))
    os.utime(place.root / "a.txt")
    # So long ago that every write shows, and old enough that git would set the times of what it finds there anew.
    for base, folders, names in os.walk(place.root / ".git"):
        for name in (".", *folders, *names):
            os.utime(os.path.join(base, name), (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    for base, _, names in os.walk(borrowed / ".git"):
        for name in names:
            os.utime(os.path.join(base, name), (1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize("linked", [False, True])
def test_the_persons_repository_is_untouched_and_nothing_of_it_runs(
    place: Place, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every name, byte, mode and time is as before, and no hook, filter or watcher has run."""
    mark = place.root.parent / "mark"
    furnish(place, mark)
    mark.unlink(missing_ok=True)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(place.root.parent / "elsewhere"))
    monkeypatch.setenv("GIT_TRACE", str(mark))
    watched = [place.root / ".git", place.root.parent / "borrowed", place.root.parent / "origin", place.root / "module"]
    before = [fingerprint(folder) for folder in watched]
    if linked:
        served = Place(place.root.parent / "linked", place.root.parent / "state2")
        served.git_dir = place.git_dir
    else:
        served = place
    name = "many/1"
    tree = served.tree()
    tree.snapshot()
    pointless = served.write(name, "changed\n")
    served.write("new", "30\n")
    os.unlink(served.root / "many/2")
    for number in range(5, 15):  # bytes that their objects have, under other names
        served.write(f"many/{number}", f"{number + 1}\n")
    assert len(tree.snapshot([pointless]).differences) == 13
    tree.close()
    again = served.tree()
    again.snapshot()
    served.write(name, "changed again\n")
    assert len(again.snapshot().differences) == 1
    again.close()
    assert [fingerprint(folder) for folder in watched] == before
    assert not mark.exists(), mark.read_text()
    assert not (place.git_dir / "objects/info/alternates").exists()


def test_what_the_person_throws_away_is_still_ours(place: Place) -> None:
    """Their objects can go after our first snapshot: what was there before comes back all the same."""
    for number in range(50):
        place.write(f"f{number}", f"{number}\n" * 200)
    place.commit()
    place.git("gc", "-q")
    tree = place.tree()
    tree.snapshot()
    subprocess.run(["rm", "-r", place.root / ".git/objects"], check=True, timeout=SECONDS)
    (place.root / ".git/objects").mkdir()
    for number in range(50):
        place.write(f"f{number}", "2\n")
    assert place.told(tree.snapshot()) == {f"f{number}": (f"{number}\n".encode() * 200, b"2\n") for number in range(50)}


@pytest.mark.parametrize("damage", ["index", "objects", "sharedindex"])
def test_a_damaged_repository_of_the_person_does_no_harm(place: Place, damage: str) -> None:
    """Their index is garbage, or objects of it are missing: files are looked at all the same."""
    for name in ("a", "b"):
        place.write(name, "1\n")
    place.commit()
    if damage == "index":
        (place.root / ".git/index").write_bytes(b"garbage" * 100)
    elif damage == "objects":
        subprocess.run(["rm", "-r", place.root / ".git/objects"], check=True, timeout=SECONDS)
    else:
        place.git("update-index", "--split-index")
        for path in (place.root / ".git").glob("sharedindex.*"):
            path.unlink()
    tree = place.tree()
    first = tree.snapshot()
    assert place.relative(first.noted) == ([".git/index"] if damage != "objects" else [])
    place.write("a", "2\n")
    assert place.told(tree.snapshot()) == {"a": (b"1\n", b"2\n")}


def test_a_tree_that_is_none_any_more_is_looked_at_by_those_that_know_it(place: Place) -> None:
    """What they need is ours. To any other it is an error, whose message says so."""
    place.write("a", "1")
    tree = place.tree()
    tree.snapshot()
    subprocess.run(["rm", "-r", place.root / ".git"], check=True, timeout=SECONDS)
    place.write("a", "2")
    assert place.told(tree.snapshot()) == {"a": (b"1", b"2")}
    tree.close()
    with pytest.raises(SnapshotError, match="is not a git work tree any more"):
        place.tree().snapshot()


# Our repository.


def test_our_repository_is_for_our_eyes_only_and_is_used_again(place: Place) -> None:
    """A second object finds what the first left, and looks only at what has changed since."""
    place.write("a", "1\n")
    place.tree().snapshot()
    assert stat.S_IMODE(os.stat(place.git_dir).st_mode) == 0o700
    objects = {path: path.stat().st_ino for path in place.git_dir.glob("objects/??/*")}
    assert objects
    place.write("a", "2\n")
    tree = place.tree()
    assert tree.snapshot().differences == ()
    assert objects.items() <= {path: path.stat().st_ino for path in place.git_dir.glob("objects/??/*")}.items()
    place.write("a", "3\n")
    assert place.told(tree.snapshot()) == {"a": (b"2\n", b"3\n")}


@pytest.mark.parametrize("damage", ["index", "objects", "head", "config", "empty object", "all", "file"])
def test_a_broken_repository_of_ours_is_made_anew(place: Place, damage: str) -> None:
    """A process that finds one begins anew without a word: it knew nothing yet."""
    for name in ("a", "b"):
        place.write(name, "1\n")
    place.commit()
    place.write("c", "1 loose\n")
    place.tree().snapshot()
    if damage == "index":
        (place.git_dir / "index").write_bytes(b"garbage" * 100)
    elif damage == "objects":
        subprocess.run(["rm", "-r", place.git_dir / "objects"], check=True, timeout=SECONDS)
    elif damage == "empty object":
        for path in place.git_dir.glob("objects/??/*"):
            path.chmod(0o600)
            path.write_bytes(b"")
    elif damage in ("head", "config"):
        (place.git_dir / {"head": "HEAD", "config": "config"}[damage]).write_text("garbage\n")
    else:
        subprocess.run(["rm", "-r", place.git_dir], check=True, timeout=SECONDS)
        if damage == "file":
            place.git_dir.mkdir()
            (place.git_dir / "objects").write_text("not a folder")
    tree = place.tree()
    tree.snapshot()
    for name in ("a", "b", "c"):
        place.write(name, "2\n")
    assert place.told(tree.snapshot()) == {
        "a": (b"1\n", b"2\n"),
        "b": (b"1\n", b"2\n"),
        "c": (b"1 loose\n", b"2\n"),
    }


def test_a_record_that_breaks_under_way_is_told(place: Place) -> None:
    """What changed since the snapshot before is not known then; after it all goes on."""
    place.write("a", "1\n")
    tree = place.tree()
    tree.snapshot()
    place.write("a", "2\n")
    subprocess.run(["rm", "-r", place.git_dir], check=True, timeout=SECONDS)
    with pytest.raises(SnapshotError, match=r"was damaged .* and was begun anew"):
        tree.snapshot()
    place.write("a", "3\n")
    assert place.told(tree.snapshot()) == {"a": (b"2\n", b"3\n")}


def test_another_writer_is_noticed(place: Place) -> None:
    """Two objects with one repository would each take the other's look for their own."""
    place.write("a", "1\n")
    tree, other = place.tree(), place.tree()
    tree.snapshot()
    other.snapshot()
    place.write("a", "2\n")
    assert len(other.snapshot().differences) == 1
    with pytest.raises(SnapshotError, match="something else wrote to it"):
        tree.snapshot()


def test_a_lost_object_costs_only_its_bytes(place: Place) -> None:
    """The difference is told with a note."""
    place.write("a", "1\n")
    place.write("b", "1 b\n")
    tree = place.tree()
    tree.snapshot()
    for path in place.git_dir.glob("objects/??/*"):
        path.unlink()
    place.write("a", "2\n")
    found = only(tree.snapshot())
    assert found.before.note == "not kept: lost from the record"
    assert place.data(found.after) == b"2\n"


def test_the_locks_of_an_ended_process_are_removed(place: Place) -> None:
    """git would wait for them forever."""
    place.write("a", "1\n")
    tree = place.tree()
    tree.snapshot()
    for name in ("index.lock", "index.next.lock", "index.next"):
        (place.git_dir / name).write_bytes(b"half")
    place.write("a", "2\n")
    assert place.told(tree.snapshot()) == {"a": (b"1\n", b"2\n")}


def test_what_an_ended_git_left_half_made_is_removed(place: Place) -> None:
    """By the first snapshot of the next process."""
    place.write("a", "1\n")
    place.tree().snapshot()
    left = [place.git_dir / name for name in ("objects/pack/tmp_pack_a1B2c3", "objects/tmp_objdir", "rules-1/x")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half\n")
    place.tree().snapshot()
    assert [path for path in left if path.exists()] == []


def test_loose_objects_are_packed_and_old_ones_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are many; what is kept now stays."""
    monkeypatch.setattr(snapshots, "_LOOSE_OBJECTS", 20)
    tree = place.tree()
    tree.snapshot()
    for number in range(15):
        place.write(f"f{number}", f"{number} 1\n")
    tree.snapshot()
    assert len(list(place.git_dir.glob("objects/??/*"))) == 15
    for number in range(15):
        place.write(f"f{number}", f"{number} 2\n")
    tree.snapshot()
    assert not list(place.git_dir.glob("objects/??/*"))
    assert len(list(place.git_dir.glob("objects/pack/*.pack"))) == 1
    for number in range(15):
        os.unlink(place.root / f"f{number}")
    assert place.told(tree.snapshot()) == {f"f{number}": (f"{number} 2\n".encode(), None) for number in range(15)}


def test_the_bytes_of_many_files_go_into_packs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a size that is bounded, whatever the files are; many packs become one."""
    monkeypatch.setattr(snapshots, "_MANY_PATHS", 10)
    monkeypatch.setattr(snapshots, "_PACKED_BYTES", 1000)
    monkeypatch.setattr(snapshots, "_PACKS", 6)
    tree = place.tree()
    tree.snapshot()
    contents = {f"f{number}": bytes([number, 0, 10]) * 60 for number in range(20)} | {"empty": b"", "lf": b"\n"}
    for name, data in contents.items():
        place.write(name, data)
    os.symlink("somewhere", place.root / "link")
    expected: dict[str, tuple[bytes | None, bytes]] = {name: (None, data) for name, data in contents.items()}
    expected["link"] = (None, b"somewhere")
    assert place.told(tree.snapshot()) == expected
    assert not list(place.git_dir.glob("objects/??/*"))
    assert len(list(place.git_dir.glob("objects/pack/*.pack"))) == 4
    for name, data in contents.items():
        place.write(name, b"2" + data)
    assert place.told(tree.snapshot()) == {name: (data, b"2" + data) for name, data in contents.items()}
    assert len(list(place.git_dir.glob("objects/pack/*.pack"))) == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not tell")
def test_many_small_files_take_no_more_memory_than_they_need(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole page for each of them took long to give back, and every other thread waited for that."""

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    class Weighed(snapshots._Git):
        def import_objects(self, parts: Sequence[bytes]) -> None:
            grown.append(pages() - before)
            super().import_objects(parts)

    monkeypatch.setattr(snapshots, "_Git", Weighed)
    tree = place.tree(file_bytes=8 * 1024 * 1024)
    grown: list[int] = []
    for number in range(1500):
        place.write(f"f{number}", f"{number}\n")
    before = pages()
    tree.snapshot()
    assert len(grown) == 1
    assert grown[0] < 1000


def test_a_file_that_changes_after_it_was_packed_is_taken_as_it_is(place: Place) -> None:
    """What git reads for the index counts."""

    class Late(WorkTree):
        def _pack(self, paths: Iterable[bytes]) -> None:
            super()._pack(paths)
            place.write("f7", "after\n")

    tree = place.tree(kind=Late)
    tree.snapshot()
    for number in range(snapshots._MANY_PATHS):
        place.write(f"f{number}", f"{number}\n")
    assert place.told(tree.snapshot())["f7"] == (None, b"after\n")
    assert tree.snapshot().differences == ()


def test_many_young_files_are_read_again_only_while_they_are_young(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git's doubt about them ends with the next snapshot after some seconds, and nothing is missed."""
    monkeypatch.setattr(snapshots, "_MANY_YOUNG", 3)
    for number in range(5):
        place.write(f"f{number}", "1\n")
    tree = place.tree()
    tree.snapshot()
    monkeypatch.setattr(snapshots, "_YOUNG_SECONDS", 0)
    index = place.git_dir / "index"
    before = index.stat().st_mtime_ns
    make_old(str(index))
    assert tree.snapshot().differences == ()
    assert index.stat().st_mtime_ns > before
    place.write("f3", "2\n")
    assert place.told(tree.snapshot()) == {"f3": (b"1\n", b"2\n")}


# Endings.


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a git first on the path that hangs with a child of its own; returns the file in which it says so."""
    folder.mkdir()
    said = folder / "said"
    os.mkfifo(said)
    (folder / "git").write_text(f"#!/bin/sh\nsleep 100 &\necho $$ > '{said}'\nwait\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return said


def test_closing_ends_a_snapshot_that_is_being_taken(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another thread, within a second, with all that git started."""
    tree = place.tree()
    said = fake_git(tmp_path / "bin", monkeypatch)
    raised: list[str] = []

    def take() -> None:
        try:
            tree.snapshot()
        except SnapshotError as error:
            raised.append(str(error))

    thread = threading.Thread(target=take)
    thread.start()
    group = int(said.read_text())
    began = time.monotonic()
    tree.close()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert time.monotonic() - began < 1
    assert raised == [f"Snapshots of {place.root} have ended."]
    deadline = time.monotonic() + SECONDS
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            assert time.monotonic() < deadline, "something that git started runs on"
    with pytest.raises(SnapshotError, match="have ended"):
        tree.snapshot()


def test_a_closed_work_tree_takes_no_snapshot(place: Place) -> None:
    """Closing is final, and may be done twice."""
    tree = place.tree()
    tree.close()
    tree.close()
    with pytest.raises(SnapshotError, match="have ended"):
        tree.snapshot()
    assert not place.git_dir.exists()


def test_a_git_that_hangs_is_ended(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time; the snapshots go on when git does."""
    place.write("a", "1\n")
    tree = place.tree()
    tree.snapshot()
    place.write("a", "2\n")
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "WARM_SECONDS", 0.3)
        said = fake_git(tmp_path / "bin", patch)
        reader = threading.Thread(target=said.read_text)
        reader.start()
        with pytest.raises(SnapshotError, match=r"git took longer than 0\.3 seconds"):
            tree.snapshot()
        reader.join(SECONDS)
    assert place.told(tree.snapshot()) == {"a": (b"1\n", b"2\n")}


def test_a_git_that_cannot_even_say_that_the_disk_is_full_is_understood(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says goes to the same disk."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    tree = place.tree()
    with pytest.raises(SnapshotError, match="git ended with an error and said nothing"):
        tree.snapshot()
    monkeypatch.setattr(snapshots, "_ROOM_BYTES", 1 << 62)
    with pytest.raises(SnapshotError, match="the disk is full"):
        tree.snapshot()


def test_without_git_there_is_no_snapshot(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SnapshotError, match="git is not found"):
        place.tree().snapshot()


def test_a_folder_outside_of_the_tree_is_refused(place: Place, tmp_path: Path) -> None:
    """Else all of the tree would be looked at instead."""
    with pytest.raises(ValueError, match="not all folders lie in"):
        place.tree([tmp_path])
