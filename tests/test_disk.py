"""Writing to the person's files: whole or not at all, and never through a link. Real files, real links, real kills."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pairside import disk, images
from pairside.disk import Changed, DiskError
from pairside.images import Image, Kind, Store

LIMIT = 1_000_000


@pytest.fixture
def store() -> Store:
    """Where the bytes are."""
    return Store()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder of the person, by its real path."""
    folder = tmp_path.resolve() / "top"
    folder.mkdir()
    return folder


def file(store: Store, data: bytes, mode: int = 0o644) -> Image:
    return Image(Kind.FILE, store.put(data), len(data), mode)


def link(store: Store, target: bytes) -> Image:
    return Image(Kind.LINK, store.put(target), len(target))


def look(path: Path, store: Store) -> Image:
    return images.look(str(path), LIMIT, store)


def put(path: Path, image: Image, store: Store, expected: Image | None = None) -> None:
    """What stands there now is expected, if nothing else is said."""
    disk.put(str(path), image, expected=expected or look(path, store), store=store, limit=LIMIT)


def tree(top: Path) -> dict[str, tuple[str, int, bytes]]:
    """All that stands below a folder: kind, mode and contents by path."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = Path(folder, name)
            mode = stat.S_IMODE(path.lstat().st_mode)
            if path.is_symlink():
                kind = ("link", 0, os.readlink(os.fsencode(path)))
            elif path.is_dir():
                kind = ("folder", mode, b"")
            elif path.is_fifo():
                kind = ("pipe", mode, b"")
            else:
                kind = ("file", mode, path.read_bytes())
            found[str(path.relative_to(top))] = kind
    return found


def before(name: str, step: Callable[[], object], monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    """Do something just before a function of the module is entered, the first times."""
    entered = getattr(disk, name)
    left = [step] * times

    def wrapped(*arguments: object) -> object:
        if left:
            left.pop()()
        return entered(*arguments)

    monkeypatch.setattr(disk, name, wrapped)


CONTENTS = [
    b"",
    b"text\n",
    b"no end",
    b"\xef\xbb\xbfmark\r\n",
    b"\r\n\r\nlone\rend",
    b"caf\xe9\n",
    bytes(range(256)) * 999,
]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o444])
def test_a_file_becomes_exactly_what_it_was(top: Path, store: Store, mode: int) -> None:
    """Every byte and every permission bit, whatever the umask is; nothing else is left beside it."""
    path = top / "file"
    previous = os.umask(0o077)
    try:
        for data in (*CONTENTS, CONTENTS[0]):
            image = file(store, data, mode)
            put(path, image, store)
            assert look(path, store) == image
            assert path.read_bytes() == data
    finally:
        os.umask(previous)
    assert os.listdir(top) == ["file"]


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("second", range(5))
def test_anything_can_become_anything(top: Path, store: Store, first: int, second: int) -> None:
    """Nothing, files and links in every pair."""
    kinds = [
        Image(),
        file(store, b"one\n"),
        file(store, b"one\n", 0o700),
        file(store, b"2"),
        link(store, b"../top/\xff"),
    ]
    path = top / "it"
    (top / "other").write_bytes(b"2")
    put(path, kinds[first], store)
    put(path, kinds[second], store)
    assert look(path, store) == kinds[second]
    assert sorted(os.listdir(top)) == (["it", "other"] if kinds[second].exists else ["other"])
    assert (top / "other").read_bytes() == b"2"


def test_a_change_of_the_mode_alone_leaves_the_file_where_it_is(top: Path, store: Store) -> None:
    """It is the same file after it, and was written at no time."""
    path = top / "file"
    path.write_bytes(b"text")
    old = path.stat()
    put(path, file(store, b"text", 0o700), store)
    new = path.stat()
    assert stat.S_IMODE(new.st_mode) == 0o700
    assert (new.st_ino, new.st_mtime_ns) == (old.st_ino, old.st_mtime_ns)


def test_what_is_there_already_is_not_written_again(top: Path, store: Store) -> None:
    """Not even its time changes."""
    path = top / "file"
    path.write_bytes(b"text")
    path.chmod(0o644)
    old = path.stat()
    put(path, file(store, b"text"), store)
    assert (path.stat().st_ino, path.stat().st_ctime_ns) == (old.st_ino, old.st_ctime_ns)


@pytest.mark.parametrize("name", ["two\nlines", "-rf", "*", "é😀", os.fsdecode(b"\xff\xfe"), "n" * 255])
def test_any_name_can_be_written(top: Path, store: Store, name: str) -> None:
    """Odd names, and the longest that there are."""
    path = top / name
    for data in (b"1", b"2"):
        put(path, file(store, data), store)
        assert path.read_bytes() == data
    put(path, Image(), store)
    assert os.listdir(top) == []


def test_missing_folders_are_made(top: Path, store: Store) -> None:
    """With the permissions that the person's umask gives, however deep."""
    previous = os.umask(0o027)
    try:
        put(top / "a" / "b" / "c" / "file", file(store, b"text"), store)
    finally:
        os.umask(previous)
    assert (top / "a/b/c/file").read_bytes() == b"text"
    assert {stat.S_IMODE((top / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")} == {0o750}


def test_folders_that_were_made_go_again_if_it_fails(top: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were there stay, even if they are empty; so do those that somebody uses meanwhile."""
    (top / "a").mkdir()

    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before("_replace", fail, monkeypatch, 2)
    with pytest.raises(DiskError, match="the disk is full"):
        put(top / "a/b/c/file", file(store, b"text"), store)
    assert list(tree(top)) == ["a"]
    before("_replace", lambda: (top / "a/b/theirs").touch(), monkeypatch)
    with pytest.raises(DiskError, match="the disk is full"):
        put(top / "a/b/c/file", file(store, b"text"), store)
    assert list(tree(top)) == ["a", "a/b", "a/b/theirs"]


def test_a_folder_is_not_made_for_what_should_not_be_there(top: Path, store: Store) -> None:
    """Taking away what is away already changes nothing; what should be there and is gone has changed."""
    put(top / "a/b/file", Image(), store)
    with pytest.raises(Changed, match="is gone"):
        put(top / "a/b/file", file(store, b"new"), store, expected=file(store, b"old"))
    assert os.listdir(top) == []


def as_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def save(path: Path, data: bytes = b"mine") -> None:
    """As many editors do."""
    temporary = path.parent / "saved"
    temporary.write_bytes(data)
    temporary.rename(path)


# What a person may have done meanwhile to a file that held `old` with mode 644.
MEANWHILE: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "written": lambda path: path.write_bytes(b"new"),
    "longer": lambda path: path.write_bytes(b"old and more"),
    "mode": lambda path: path.chmod(0o600),
    "link": as_link,
    "folder": as_folder,
    "pipe": as_pipe,
    "saved": save,
}
RESULTS = ["file", "link", "none", "mode"]


def result(store: Store, name: str) -> Image:
    images = {"file": file(store, b"back"), "link": link(store, b"file"), "mode": file(store, b"old", 0o700)}
    return images.get(name, Image())


@pytest.mark.parametrize("name", MEANWHILE)
@pytest.mark.parametrize(
    ("becomes", "moment"),
    [(becomes, moment) for becomes in RESULTS for moment in ("earlier", "_check")]
    # Of a file whose mode alone changes it is the very file that was looked at, wherever it stands by then.
    + [("file", "_replace"), ("link", "_replace"), ("none", "_remove")],
)
def test_what_was_changed_meanwhile_is_left_as_it_is(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch, moment: str, name: str, becomes: str
) -> None:
    """Before it was looked at, between that and the last look, and even after that: no edit is lost."""
    change = MEANWHILE[name]
    path, reference = top / "file", top.parent / "reference" / "file"
    reference.parent.mkdir()
    for one in (path, reference):
        (one.parent / "elsewhere").write_bytes(b"not ours")
        one.write_bytes(b"old")
        one.chmod(0o644)
    change(reference)
    expected = look(path, store)
    if moment == "earlier":
        change(path)
    else:
        before(moment, lambda: change(path), monkeypatch)
    with pytest.raises(Changed, match=f"^{path} "):
        put(path, result(store, becomes), store, expected)
    assert tree(top) == tree(reference.parent)


@pytest.mark.parametrize("moment", ["earlier", "_check", "_replace"])
@pytest.mark.parametrize("becomes", ["file", "link"])
def test_what_came_where_nothing_was_is_left_as_it_is(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch, moment: str, becomes: str
) -> None:
    """A new file of the person in place of a deleted one is never replaced."""
    path = top / "file"
    if moment == "earlier":
        path.write_bytes(b"mine")
    else:
        before(moment, lambda: path.write_bytes(b"mine"), monkeypatch)
    with pytest.raises(Changed, match="exists now"):
        put(path, result(store, becomes), store, Image())
    assert os.listdir(top) == ["file"]
    assert path.read_bytes() == b"mine"


def test_if_it_is_saved_again_and_again_the_last_is_what_stays(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the person saves once more just before the first of it goes back."""
    path = top / "file"
    path.write_bytes(b"old")
    before("_replace", lambda: save(path, b"mine 1"), monkeypatch)
    before("_exchange_back", lambda: save(path, b"mine 2"), monkeypatch)
    with pytest.raises(Changed):
        put(path, file(store, b"back"), store)
    assert tree(top).keys() == {"file"}
    assert path.read_bytes() == b"mine 2"


def test_what_cannot_go_back_to_its_place_is_not_lost(top: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands beside it, and the message says where."""
    path = top / "file"
    path.write_bytes(b"old")
    before("_remove", lambda: path.write_bytes(b"mine 1"), monkeypatch)
    # The first renaming takes it away, the second is to bring it back.
    before("_rename", lambda: before("_rename", lambda: path.write_bytes(b"mine 2"), monkeypatch), monkeypatch)
    with pytest.raises(
        DiskError, match=rf"{path} was written by another program meanwhile: see .*/\.pairside-"
    ) as error:
        put(path, Image(), store)
    assert path.read_bytes() == b"mine 2"
    assert Path(str(error.value).split("see ")[1].removesuffix(" too")).read_bytes() == b"mine 1"


def test_what_cannot_go_back_because_its_place_is_gone_is_not_lost(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands beside it, and the message says where."""
    path = top / "file"
    path.write_bytes(b"old")
    before("_replace", lambda: save(path), monkeypatch)
    before("_exchange_back", path.unlink, monkeypatch)
    with pytest.raises(DiskError, match="was written by another program meanwhile: see ") as error:
        put(path, file(store, b"back"), store)
    assert Path(str(error.value).split("see ")[1].removesuffix(" too")).read_bytes() == b"mine"
    assert len(os.listdir(top)) == 1


def test_the_same_text_in_a_new_file_is_looked_at_anew(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who wrote it holds no lock that we know of; what they put there stays."""
    path = top / "file"
    path.write_bytes(b"old")
    before("_check", lambda: save(path, b"old"), monkeypatch)
    with pytest.raises(Changed, match="was written again"):
        put(path, file(store, b"back"), store)
    assert tree(top) == {"file": ("file", 0o644, b"old")}


def test_where_files_cannot_change_places_the_last_look_counts(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere than on Linux, and on file systems that cannot: it works, and what was seen to change is left."""
    monkeypatch.setattr(disk, "_renameat2", lambda: None)
    path = top / "file"
    for image in (file(store, b"1"), file(store, b"2", 0o600), link(store, b"x"), file(store, b"3"), Image()):
        put(path, image, store)
        assert look(path, store) == image
    path.write_bytes(b"old")
    before("_check", lambda: path.write_bytes(b"mine"), monkeypatch)
    with pytest.raises(Changed):
        put(path, file(store, b"back"), store)
    assert os.listdir(top) == ["file"]
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("becomes", ["file", "link", "none"])
@pytest.mark.parametrize("depth", [1, 2])
def test_nothing_is_written_through_a_link_on_the_way(top: Path, store: Store, becomes: str, depth: int) -> None:
    """Wherever on the way it is; the message names it."""
    outside = top.parent / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "b" / "file").write_bytes(b"old")
    (outside / "file").write_bytes(b"old")
    swapped = top / "a" if depth == 1 else top / "a" / "b"
    swapped.parent.mkdir(exist_ok=True)
    swapped.symlink_to(outside)
    there = tree(outside)
    for expected in (file(store, b"old"), Image()):
        with pytest.raises(DiskError, match=f"^{swapped} is a symbolic link now"):
            put(top / "a/b/file", result(store, becomes), store, expected)
    assert tree(outside) == there
    with pytest.raises(DiskError, match=f"^{swapped} is a symbolic link now"):
        disk.prune(str(top / "a/b/c"), top=str(top))


@pytest.mark.parametrize("seam", ["_check", "_replace"])
def test_a_link_that_comes_on_the_way_while_writing_leads_nowhere(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    """The folder that was looked at is the one that is written to, whatever its name means now."""
    path = top / "a" / "file"
    path.parent.mkdir()
    path.write_bytes(b"old")
    outside = top.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"old")

    def swap() -> None:
        (top / "a").rename(top / "moved")
        (top / "a").symlink_to(outside)

    before(seam, swap, monkeypatch)
    put(path, file(store, b"back"), store)
    assert tree(outside) == {"file": ("file", 0o644, b"old")}
    assert (top / "moved/file").read_bytes() == b"back"


def test_a_file_where_a_folder_was_is_no_way(top: Path, store: Store) -> None:
    """It is named, and left as it is."""
    (top / "a").write_bytes(b"a file now")
    with pytest.raises(Changed, match=f"^{top}/a is not a folder any more"):
        put(top / "a/b/file", file(store, b"text"), store, Image())
    assert tree(top) == {"a": ("file", 0o644, b"a file now")}


def test_a_folder_without_a_file_gives_way_to_one_and_no_other_does(
    top: Path, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However deep: a file or a link keeps all of its folders. What a link leads to is not looked at."""
    outside = tmp_path_factory.mktemp("outside")
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/d").mkdir()
    (top / "held/e/f").mkdir(parents=True)
    (top / "held/link").symlink_to(outside)
    (top / "deep" / "/".join("d" * 70)).mkdir(parents=True)
    assert disk.obstacle(str(top / "a")) == ""
    assert disk.obstacle(str(top / "held")) == str(top / "held/link")
    assert disk.obstacle(str(top / "held"), {str(top / "held/link")}) == ""
    assert disk.obstacle(str(top / "nothing")) == str(top / "nothing")
    assert disk.obstacle(str(top / "deep")).startswith(str(top / "deep/d"))
    was = tree(top)
    put(top / "a", file(store, b"back"), store, Image())
    for name in ("held", "deep"):
        with pytest.raises(Changed, match="exists now"):
            put(top / name, file(store, b"back"), store, Image())
    assert tree(top) == {name: what for name, what in was.items() if not name.startswith("a/")} | {
        "a": ("file", 0o644, b"back")
    }
    assert outside.is_dir()


def test_what_comes_into_a_folder_that_gives_way_is_not_lost(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last moment too."""
    (top / "a/b").mkdir(parents=True)
    before("_vacate", lambda: (top / "a/b/new").write_bytes(b"mine"), monkeypatch)
    with pytest.raises(Changed, match="exists now"):
        put(top / "a", file(store, b"back"), store, Image())
    assert (top / "a/b/new").read_bytes() == b"mine"
    assert os.listdir(top) == ["a"]


@pytest.mark.parametrize("data", [b"", b"old", b"s", b"much longer than it was\n"])
def test_the_other_names_of_a_file_keep_following_it(top: Path, store: Store, data: bytes) -> None:
    """A file with several names is written where it is."""
    path, other = top / "file", top / "other"
    path.write_bytes(b"first")
    os.link(path, other)
    inode = path.stat().st_ino
    put(path, file(store, data, 0o600), store)
    assert (path.stat().st_ino, other.stat().st_ino) == (inode, inode)
    assert look(other, store) == file(store, data, 0o600)
    assert sorted(os.listdir(top)) == ["file", "other"]


@pytest.mark.parametrize("becomes", ["none", "link"])
def test_another_name_of_a_file_stays_when_one_goes(top: Path, store: Store, becomes: str) -> None:
    """Only the name that was asked for is taken away."""
    path, other = top / "file", top / "other"
    path.write_bytes(b"text")
    os.link(path, other)
    put(path, result(store, becomes), store)
    assert look(path, store) == result(store, becomes)
    assert other.read_bytes() == b"text"


def test_a_file_with_several_names_that_changed_is_left_as_it_is(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it changed in the last moment."""
    path, other = top / "file", top / "other"
    path.write_bytes(b"old")
    os.link(path, other)
    for seam in ("_check", "_write_in_place"):
        path.write_bytes(b"old")
        before(seam, lambda: other.write_bytes(b"mine"), monkeypatch)
        with pytest.raises(Changed):
            put(path, file(store, b"back"), store)
        assert path.read_bytes() == other.read_bytes() == b"mine"
    assert sorted(os.listdir(top)) == ["file", "other"]


def test_a_disk_that_fails_in_the_middle_of_a_file_with_several_names_leaves_what_it_was(
    top: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written back; where that fails too, the message says where it is."""
    path = top / "file"
    path.write_bytes(b"old text")
    os.link(path, top / "other")
    overwrite = disk._overwrite

    failures: list[None] = [None]

    def half(opened: io.FileIO, data: bytes, mode: int) -> None:
        if failures:
            failures.pop()
            overwrite(opened, data[:2], mode)
            raise OSError(errno.EIO, "Input/output error")
        overwrite(opened, data, mode)

    monkeypatch.setattr(disk, "_overwrite", half)
    with pytest.raises(DiskError, match="input/output error"):
        put(path, file(store, b"back"), store)
    assert path.read_bytes() == b"old text"
    assert sorted(os.listdir(top)) == ["file", "other"]
    failures += [None, None]
    with pytest.raises(DiskError, match=rf"{path} is damaged") as error:
        put(path, file(store, b"back"), store)
    assert Path(str(error.value).rpartition(" is ")[2]).read_bytes() == b"old text"


def test_owner_and_group_stay(top: Path, store: Store) -> None:
    """The new file is whose the old one was."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = top / "file"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    put(path, file(store, b"back", 0o4750), store)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 23456, 0o4750)


@pytest.mark.skipif(sys.platform != "linux", reason="Python knows extended attributes on Linux only")
def test_extended_attributes_stay(top: Path, store: Store) -> None:
    """The new file has those of the old one."""
    path = top / "file"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.test", b"value\0")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    put(path, file(store, b"back"), store)
    assert os.getxattr(path, "user.test") == b"value\0"


@pytest.mark.parametrize("becomes", ["file", "link", "none"])
def test_a_folder_that_is_read_only_is_told(top: Path, store: Store, becomes: str) -> None:
    """A sentence, not a stack trace, and nothing has changed."""
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    path = top / "file"
    path.write_bytes(b"old")
    top.chmod(0o500)
    try:
        with pytest.raises(DiskError, match=f"^{path} cannot be written: there is no permission to write there$"):
            put(path, result(store, becomes), store)
    finally:
        top.chmod(0o700)
    assert tree(top) == {"file": ("file", 0o644, b"old")}


def test_bytes_that_are_not_kept_any_more_are_told(top: Path, store: Store) -> None:
    """Before anything is touched, folders included."""
    gone = Image(Kind.FILE, "0" * 64, 4, 0o644)
    with pytest.raises(DiskError, match="its contents are not kept any more"):
        put(top / "a/file", gone, store)
    with pytest.raises(DiskError, match="larger than 3 bytes"):
        put(top / "a/file", Image(Kind.FILE, None, 4, 0o644, "larger than 3 bytes"), store)
    assert os.listdir(top) == []


def test_what_cannot_be_brought_back_is_not_replaced(top: Path, store: Store) -> None:
    """A file whose bytes are not kept, a folder, a pipe: they stay."""
    path = top / "file"
    path.write_bytes(b"large")
    unkept = images.look(str(path), 3, store)
    with pytest.raises(DiskError, match="larger than 3 bytes"):
        disk.put(str(path), Image(), expected=unkept, store=store, limit=3)
    with pytest.raises(DiskError, match="it is a folder"):
        put(top, Image(), store)
    assert path.read_bytes() == b"large"


@pytest.mark.parametrize(
    "path", ["", "file", "/", "//file", "/tmp/", "/tmp/../file", "/tmp/./file", "/tmp//file", "/a\0b"]
)
def test_a_path_that_is_not_plain_is_refused(store: Store, path: str) -> None:
    """Only what was recorded as a real path can be meant."""
    with pytest.raises(DiskError, match="is not an absolute path"):
        disk.put(path, Image(), expected=Image(), store=store, limit=LIMIT)


def test_of_two_writers_one_is_told_that_it_changed(top: Path, store: Store) -> None:
    """However they fall together: one is content, its text stands there whole, and the other changed nothing."""
    path = top / "file"
    for round_ in range(40):
        old = file(store, b"old %d" % round_)
        put(path, old, store)
        if round_ % 2:
            with_names = top / f"name {round_}"
            os.link(path, with_names)
        wanted = [file(store, b"%d of %d" % (number, round_) * 500) for number in range(3)]
        outcomes: list[Image] = []
        barrier = threading.Barrier(len(wanted))

        def write(image: Image, barrier: threading.Barrier, old: Image, outcomes: list[Image]) -> None:
            barrier.wait(5)
            try:
                put(path, image, store, old)
            except Changed:
                return
            outcomes.append(image)

        threads = [threading.Thread(target=write, args=(image, barrier, old, outcomes)) for image in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert len(outcomes) == 1
        assert look(path, store) == outcomes[0]
        if round_ % 2:
            assert with_names.samefile(path)
            with_names.unlink()
    assert os.listdir(top) == ["file"]


def test_a_file_that_another_program_locked_is_left_as_it_is(top: Path, store: Store) -> None:
    """Nobody waits for it."""
    path = top / "file"
    path.write_bytes(b"old")
    with open(path, "rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        with pytest.raises(Changed, match="is being written by another program"):
            put(path, file(store, b"back"), store)
    put(path, file(store, b"back"), store)
    assert path.read_bytes() == b"back"


FULL = """
import os, resource, sys
from pairside import disk, images
path, size = sys.argv[1:]
store = images.Store()
overwrite = disk._overwrite
def watched(file, data, mode):
    if data[:1] == b"x":
        print("there was no room for it, and it is written over what stood there")
    overwrite(file, data, mode)
disk._overwrite = watched
if size != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
data = b"x" * 200_000
image = images.Image(images.Kind.FILE, store.put(data), len(data), 0o644)
try:
    disk.put(path, image, expected=images.look(path, 10**6, store), store=store, limit=10**6)
except disk.DiskError as error:
    print(error)
"""


def run(*arguments: str, before: tuple[str, ...] = ()) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(disk.__file__).parents[1]), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [*before, sys.executable, "-c", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("names", [0, 1, 2])
def test_a_file_that_may_not_become_as_large_leaves_everything_as_it_was(top: Path, names: int) -> None:
    """The limit is met in the middle of writing; nothing is left beside it, and no folder."""
    path = top / "a" / "file"
    if names:
        path.parent.mkdir()
        path.write_bytes(b"old")
        if names == 2:
            os.link(path, top / "other")
    there = tree(top)
    assert run(FULL, str(path), "65536") == f"{path} cannot be written: it would be larger than files may be here\n"
    assert tree(top) == there


@pytest.mark.parametrize("names", [0, 1, 2])
def test_a_full_disk_leaves_everything_as_it_was(top: Path, names: int) -> None:
    """A file system of 128 KiB has no room for a larger file, and what stands there stays whole."""
    unshare = shutil.which("unshare")
    mounted = (unshare or "", "-rm", "sh", "-ec")
    script = 'mount -t tmpfs -o size=131072 none "$0"; '
    probe = (
        subprocess.run([*mounted, script, str(top)], capture_output=True, timeout=10, check=False) if unshare else None
    )
    if probe is None or probe.returncode:
        pytest.skip("a small file system cannot be mounted here")
    steps = ['mkdir "$0/a"; printf old > "$0/a/file"'] if names else []
    steps += ['ln "$0/a/file" "$0/other"'] if names == 2 else []
    steps.append('"$@" "$0/a/file" 0; cd "$0"; find . -mindepth 1 | sort; if [ -e a ]; then cat a/file; fi')
    path = top / "a" / "file"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(disk.__file__).parents[1]), "LC_ALL": "C"}
    done = subprocess.run(
        [*mounted, script + "; ".join(steps), str(top), sys.executable, "-c", FULL],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = "./a\n./a/file\n" + ("./other\n" if names == 2 else "") + "old" if names else ""
    assert done.stdout == f"{path} cannot be written: the disk is full\n{left}"


KILLED = """
import json, os, signal, sys
from pairside import disk, images

top, kind = sys.argv[1:]
path = os.path.join(top, "a", "file")
store = images.Store()
old, new = b"old" * 1000, b"new" * 2000
image = images.Image(images.Kind.FILE, store.put(new), len(new), 0o600)
if kind == "none":
    image = images.Image()
if kind == "link":
    image = images.Image(images.Kind.LINK, store.put(b"target"), 6)

def prepare():
    for folder, folders, files in os.walk(top, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            os.rmdir(os.path.join(folder, name))
    if kind == "new":
        return
    os.mkdir(os.path.join(top, "a"))
    with open(path, "wb") as file:
        file.write(old)
    if kind == "names":
        os.link(path, os.path.join(top, "other"))

def put(line):
    # Killed at that line of the module that is run.
    left = line
    def local(frame, event, argument):
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return local
    expected = images.look(path, 10**6, store)
    sys.settrace(lambda frame, event, argument: local if frame.f_code.co_filename == disk.__file__ else None)
    disk.put(path, image, expected=expected, store=store, limit=10**6)
    sys.settrace(None)

def contents(name):
    if os.path.islink(name):
        return "link to " + os.readlink(name)
    if os.path.isdir(name):
        return "folder"
    with open(name, "rb") as file:
        data = file.read()
    return {old: "old", new: "new", b"": "empty"}.get(data, "torn")

ended = False
line = 0
while not ended and line < 2000:
    line += 1
    prepare()
    child = os.fork()
    if child == 0:
        try:
            put(line)
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(repr(error))
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    ended = not os.WIFSIGNALED(status)
    found = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            name = os.path.join(folder, name)
            found[os.path.relpath(name, top)] = contents(name)
    print(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["new", "file", "link", "none", "names"])
def test_a_process_that_is_killed_at_any_line_leaves_the_old_or_the_new_whole(top: Path, kind: str) -> None:
    """At worst a hidden file is left beside it, which is whole where the system has files without names.

    There is a whole one of the person under some name at any time.
    """
    has_nameless = True
    try:
        os.close(os.open(top, os.O_TMPFILE | os.O_WRONLY))
    except (AttributeError, OSError):
        has_nameless = False
    lines = run(KILLED, str(top), kind).splitlines()
    ends = [json.loads(line) for line in lines]
    assert len(ends) > 50
    new = {"none": None, "link": "link to target"}.get(kind, "new")
    old = None if kind == "new" else "old"
    others = {"other"} if kind == "names" else set()
    for end in ends:
        ours = {name: what for name, what in end.items() if os.path.basename(name).startswith(disk.PREFIX)}
        assert end.keys() - ours.keys() <= {"a", "a/file"} | others
        stands = end.get("a/file")
        if kind == "names":
            assert end["other"] == stands
            # It is written where it is; what it was stands whole beside it as long as that takes.
            assert stands in (old, new) or "old" in ours.values()
        else:
            assert stands in (old, new)
        assert len(ours) <= 1
        assert not has_nameless or {"empty", "torn"}.isdisjoint(ours.values())
        assert stands is not None or kind in ("new", "none")
    assert ends[0].get("a/file") == old
    assert ends[-1].get("a/file") == new
    assert not [name for name in ends[-1] if disk.PREFIX in name]


def test_empty_folders_are_removed_up_to_the_first_that_is_not(top: Path) -> None:
    """The last first; one that holds anything stays, and those above it."""
    (top / "a/b/c/d").mkdir(parents=True)
    (top / "a/hidden").touch()
    assert disk.prune(str(top / "a/b/c/d"), top=str(top)) == [str(top / name) for name in ("a/b/c/d", "a/b/c", "a/b")]
    assert list(tree(top)) == ["a", "a/hidden"]
    assert disk.prune(str(top / "a"), top=str(top)) == []


def test_the_top_is_never_removed(top: Path) -> None:
    """Nor anything above or beside it, whatever is asked."""
    (top / "a").mkdir()
    beside = top.parent / "top beside"
    beside.mkdir()
    for folder in (top, top.parent, beside, Path("/")):
        assert disk.prune(str(folder), top=str(top)) == []
    assert disk.prune(str(top / "a"), top=str(top) + "/") == [str(top / "a")]
    assert top.is_dir()
    assert beside.is_dir()


def test_folders_that_are_gone_already_are_passed_over(top: Path) -> None:
    """Those above them are removed all the same; a file in their place stays."""
    (top / "a").mkdir()
    assert disk.prune(str(top / "a/b/c"), top=str(top)) == [str(top / "a")]
    (top / "a").write_bytes(b"a file")
    assert disk.prune(str(top / "a/b"), top=str(top)) == []
    assert disk.prune(str(top / "a"), top=str(top)) == []
    assert (top / "a").read_bytes() == b"a file"


def test_a_link_to_an_empty_folder_is_not_removed(top: Path) -> None:
    """Neither it nor the folder."""
    (top / "real").mkdir()
    (top / "link").symlink_to(top / "real")
    assert disk.prune(str(top / "link"), top=str(top)) == []
    assert tree(top).keys() == {"real", "link"}


def test_no_descriptor_is_left_open(top: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it works or fails."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open descriptors cannot be listed here")
    descriptors = os.listdir("/proc/self/fd")
    path = top / "a/b/file"
    put(path, file(store, b"1"), store)
    put(path, file(store, b"2"), store)
    before("_replace", lambda: path.write_bytes(b"mine"), monkeypatch)
    with pytest.raises(Changed):
        put(path, link(store, b"x"), store)
    put(path, Image(), store)
    disk.prune(str(path.parent), top=str(top))
    assert os.listdir("/proc/self/fd") == descriptors
