"""Hunks, the texts that some of them make, and patches. git itself judges the patches."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairside import hunks
from pairside.hunks import Hunk
from tests.held import never_held

LINES = st.lists(st.sampled_from(["a", "b", "c", "", " d", "é😀", "\r", "x\ry", "@@ -1 +1 @@", "-- a"]), max_size=14)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))
ANY_LINE = st.text(st.characters(exclude_categories=()))

slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compare(old: str, new: str) -> tuple[Hunk, ...]:
    return asyncio.run(hunks.compare(old, new))


@pytest.fixture(params=["git", "difflib"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What the texts are compared with; difflib only where there is no git."""
    if request.param == "difflib":
        monkeypatch.setenv("PATH", str(tmp_path))
    return str(request.param)


@given(ANY_LINE)
def test_splitting_keeps_every_character(text: str) -> None:
    """Only LF ends a line, and the lines together are the text."""
    lines = hunks.split(text)
    assert "".join(lines) == text
    assert all("\n" not in line[:-1] and line for line in lines)
    assert all(line.endswith("\n") for line in lines[:-1])


@slow
@given(TEXTS, TEXTS, st.data())
def test_hunks_lead_from_the_old_text_to_the_new(old: str, new: str, data: st.DataObject) -> None:
    """All hunks make the new text, none the old one, and any subset a text of whole lines of both."""
    found = compare(old, new)
    numbers = [hunk.number for hunk in found]
    assert numbers == list(range(1, len(found) + 1))
    assert hunks.apply(old, found, numbers) == new
    assert hunks.apply(old, found, ()) == old
    before, after = hunks.split(old), hunks.split(new)
    for hunk in found:
        assert hunk.old != hunk.new
        assert tuple(before[hunk.old_start : hunk.old_start + len(hunk.old)]) == hunk.old
        assert tuple(after[hunk.new_start : hunk.new_start + len(hunk.new)]) == hunk.new
    for one, following in itertools.pairwise(found):
        assert one.old_start + len(one.old) < following.old_start, "a hunk is one run of changed lines"
    chosen = data.draw(st.sets(st.sampled_from(numbers))) if numbers else set()
    result = hunks.split(hunks.apply(old, found, chosen))
    expected: list[str] = []
    position = 0
    for hunk in found:
        expected += before[position : hunk.old_start]
        expected += hunk.new if hunk.number in chosen else hunk.old
        position = hunk.old_start + len(hunk.old)
    expected += before[position:]
    assert [line.rstrip("\n") for line in result] == [line.rstrip("\n") for line in expected]
    assert all(line.endswith("\n") for line in result[:-1])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        ("", "a\nb", [(0, (), 0, ("a\n", "b"))]),
        ("a\nb", "", [(0, ("a\n", "b"), 0, ())]),
        ("a", "a\n", [(0, ("a",), 0, ("a\n",))]),
        ("1\n2\n3\n4\n", "1\nx\n3\n4\ny\n", [(1, ("2\n",), 1, ("x\n",)), (4, (), 4, ("y\n",))]),
        ("1\n2\n3\n4\n5\n", "1\n3\nx\n5\n", [(1, ("2\n",), 1, ()), (3, ("4\n",), 2, ("x\n",))]),
        ("1\n3\n5\n", "1\n2\n3\n4\n", [(1, (), 1, ("2\n",)), (2, ("5\n",), 3, ("4\n",))]),
    ],
)
def test_git_and_difflib_find_the_same_hunks(
    tool: str, old: str, new: str, expected: list[tuple[int, tuple[str, ...], int, tuple[str, ...]]]
) -> None:
    """Where git is missing the person sees the same hunks."""
    assert [(h.old_start, h.old, h.new_start, h.new) for h in compare(old, new)] == expected


def test_text_that_is_not_unicode_or_holds_nul_can_be_compared(tool: str) -> None:
    """A proposal may hold what a file of text may not."""
    old, new = "a\n\0\nb\nc\n", "a\n\0x\nb\n\ud800\n"
    found = compare(old, new)
    assert [(hunk.old, hunk.new) for hunk in found] == [(("\0\n",), ("\0x\n",)), (("c\n",), ("\ud800\n",))]
    assert hunks.apply(old, found, {1, 2}) == new


def test_the_configuration_of_the_person_does_not_decide_what_a_hunk_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An external diff, other prefixes, colour or contexts in git's configuration change nothing."""
    config = tmp_path / "gitconfig"
    config.write_text(
        "[diff]\n\texternal = false\n\tnoprefix = true\n\tcontext = 9\n\tinterHunkContext = 9\n\talgorithm = patience\n"
        "[color]\n\tui = always\n[core]\n\tautocrlf = true\n\tpager = false\n"
    )
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(config))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    found = compare("1\n2\n3\n4\n5\n", "1\nx\n3\ny\n5\n")
    assert [(hunk.old, hunk.new) for hunk in found] == [(("2\n",), ("x\n",)), (("4\n",), ("y\n",))]


def test_where_comparing_takes_too_long_the_difference_is_one_hunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is kept, and the one hunk still leads to the new text."""
    old = "".join(f"{number % 7}\n" for number in range(6000))
    new = "".join(f"{number % 5}\n" for number in range(6000))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(hunks, "DIFFLIB_SECONDS", 0.2)
    begun = time.monotonic()
    found = compare(old, new)
    assert time.monotonic() - begun < 3
    assert len(found) == 1
    assert hunks.apply(old, found, {1}) == new


async def test_a_large_comparison_does_not_hold_up_the_event_loop() -> None:
    """While 60,000 changed lines are compared the loop keeps turning."""
    old = "".join(f"line {number}\n" for number in range(60_000))
    new = "".join(f"line {number} {'x' * (number % 2)}\n" for number in range(60_000))
    async with never_held(0.5):
        found = await hunks.compare(old, new)
    assert hunks.apply(old, found, {hunk.number for hunk in found}) == new


async def test_a_comparison_that_is_cancelled_leaves_no_process() -> None:
    """The client may leave while its proposal is being compared."""
    old = "".join(f"{number % 7}\n" for number in range(20_000))
    comparing = asyncio.create_task(hunks.compare(old, old[1:] + "x\n" * 20_000))
    while not (children := _children()):
        assert not comparing.done()
        await asyncio.sleep(0)
    comparing.cancel()
    await asyncio.gather(comparing, return_exceptions=True)
    assert comparing.cancelled()
    assert not children & _children()


def _children() -> set[str]:
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as file:
        return set(file.read().split())


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """A scratch repository in which git applies patches."""
    with tempfile.TemporaryDirectory(prefix="pairside-") as folder:
        _git(Path(folder), "init", "-q")
        yield Path(folder)


def _git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, input=given, capture_output=True, timeout=5, check=False
    )
    assert done.returncode == 0, (done.stderr, given)
    return done.stdout


def _content(path: Path) -> str | None:
    return path.read_bytes().decode() if path.exists() else None


def check_patch(repository: Path, name: str, old: str | None, new: str | None) -> None:
    """git makes the new file of the old one with the patch, and the old one of the new with its reverse."""
    patch = hunks.patch(name, old, new, compare(old or "", new or ""))
    file = repository / name
    if old is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(old.encode())
    try:
        for direction, expected in (((), new), (("-R",), old)):
            if patch:
                _git(repository, "apply", *direction, "--whitespace=nowarn", "-", given=os.fsencode(patch))
            assert _content(file) == expected
    finally:
        file.unlink(missing_ok=True)


@slow
@given(st.none() | TEXTS, st.none() | TEXTS)
def test_git_applies_every_patch_forwards_and_backwards(repository: Path, old: str | None, new: str | None) -> None:
    """New, deleted, empty and unfinished files included."""
    check_patch(repository, "a.py", old, new)


ODD_NAMES = [
    "with blank.py",
    "trailing ",
    "folder with blank/and more/a.py",
    'quo"te',
    "back\\slash",
    "tab\there",
    "new\nline",
    "bell\a",
    "é😀",
    os.fsdecode(b"\xff\xfe"),
    "-dash",
    "a b/b a",
    "%20",
    "dev/null",
]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize(("old", "new"), [("1\n2\n", "1\nx"), (None, "new\n"), ("old", None), (None, "")])
def test_git_applies_patches_of_files_with_odd_names(
    repository: Path, name: str, old: str | None, new: str | None
) -> None:
    """Names are quoted as git quotes them."""
    check_patch(repository, name, old, new)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_head_of_a_patch_is_what_git_writes(repository: Path, name: str) -> None:
    """Other programs than git read patches too: a name with a blank ends with a tab there."""
    old, new = "1\n2\n", "1\n3\n"
    file = repository / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(old)
    _git(repository, "add", "--all")
    file.write_text(new)
    head = [line for line in _git(repository, "diff").split(b"\n")[:4] if not line.startswith(b"index ")]
    _git(repository, "rm", "-q", "-f", "--cached", "-r", ".")
    file.unlink()
    assert os.fsencode(hunks.patch(name, old, new, compare(old, new))).split(b"\n")[:3] == head


def test_close_hunks_share_a_section_and_far_ones_do_not() -> None:
    """A patch reads as git would print it: three lines of context, sections joined where these would touch."""
    lines = [f"{number}\n" for number in range(40)]
    changed = list(lines)
    for number in (3, 10, 30):
        changed[number] = "x\n"
    old, new = "".join(lines), "".join(changed)
    sections = [line for line in hunks.unified(old, compare(old, new)) if line.startswith("@@")]
    assert sections == ["@@ -1,14 +1,14 @@\n", "@@ -28,7 +28,7 @@\n"]


def test_hunks_can_be_sent_as_json() -> None:
    """Observers get the hunks of a review as JSON."""
    found = compare("a\n", "b\n")
    assert json.loads(json.dumps([hunk.new for hunk in found])) == [["b\n"]]
    assert hunks.count(found) == (1, 1)


async def test_the_lines_of_large_texts_are_not_made_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of them take seconds, and agents wait for the loop."""
    where: list[bool] = []

    def split(text: str) -> list[str]:
        where.append(threading.current_thread() is threading.main_thread())
        return text.splitlines(keepends=True)

    monkeypatch.setattr(hunks, "split", split)
    [hunk] = await hunks.compare("a\n", "a\n" + "b\n" * hunks.SMALL_CHARACTERS)
    assert (hunk.old_start, hunk.old, len(hunk.new)) == (1, (), hunks.SMALL_CHARACTERS)
    assert where == [False, False]
