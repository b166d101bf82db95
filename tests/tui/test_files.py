"""Which files there are to pick from, and which of them a few letters mean."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairside.tui import files
from pairside.tui.files import FOUND, Candidate, Query, candidate, listed, matches


def git(folder: Path, *command: str) -> None:
    """Run git in a folder."""
    identity = ("-c", "user.name=n", "-c", "user.email=e@e", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, "-C", str(folder), *command], check=True, capture_output=True)


def repository(folder: Path, *names: str) -> Path:
    """A git work tree with these files, none of them added."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    return written(folder, *names)


def written(folder: Path, *names: str) -> Path:
    """A folder with these files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    return folder


def names_of(folder: Path, *, with_folders: bool = False) -> list[str]:
    """What is listed, relative to a folder."""
    found = listed([str(folder)], with_folders=with_folders)
    return [os.path.relpath(one.path, folder) + ("/" if one.name.endswith("/") else "") for one in found]


# What there is.


def test_git_says_which_files_there_are(workspace: Path) -> None:
    """Those that it knows and new ones, without what it ignores, by any of its means, and without removed ones."""
    repository(workspace, "a.py", "b.log", "sub/c.py", "sub/d.tmp", "build/out.o", "own.txt", "gone.py", "kept.log")
    (workspace / ".gitignore").write_text("*.log\nbuild/\n!kept.log\n")
    (workspace / "sub/.gitignore").write_text("*.tmp\n")
    (workspace / ".git/info/exclude").write_text("own.txt\n")
    git(workspace, "add", "a.py", "gone.py")
    (workspace / "gone.py").unlink()
    assert names_of(workspace) == [".gitignore", "a.py", "kept.log", "sub/.gitignore", "sub/c.py"]


def test_folders_are_offered_where_they_can_be_mentioned(workspace: Path) -> None:
    """Each once, those in between too; a folder of ignored files alone is none."""
    repository(workspace, "a/b/c.py", "a/d.py", "x/y.log")
    (workspace / ".gitignore").write_text("*.log\n")
    assert names_of(workspace, with_folders=True) == [".gitignore", "a/", "a/b/", "a/b/c.py", "a/d.py"]


def test_a_folder_within_a_work_tree_has_its_own_files_alone(workspace: Path) -> None:
    """What is served may be a part of the repository."""
    repository(workspace, "top.py", "part/a.py", "part/b.log")
    (workspace / ".gitignore").write_text("*.log\n")
    assert names_of(workspace / "part") == ["a.py"]


def test_repositories_within_are_looked_into(workspace: Path) -> None:
    """Nested ones, submodules and those within them, each by its own rules; links to them are not followed."""
    other = repository(workspace.parent / "other", "lib.py", "lib.o", ".gitignore")
    (other / ".gitignore").write_text("*.o\n")
    git(other, "add", "lib.py", ".gitignore")
    git(other, "commit", "-qm", "x")
    repository(workspace, "a.py")
    git(workspace, "submodule", "-q", "add", str(other), "sub")
    (workspace / "sub/lib.o").write_text("")
    nested = repository(workspace / "nested", "n.py", "n.tmp")
    (nested / ".gitignore").write_text("*.tmp\n")
    repository(nested / "deep", "deep.py")
    (workspace / "link").symlink_to(other)
    assert names_of(workspace) == [
        ".gitmodules", "a.py",
        "nested/.gitignore", "nested/deep/deep.py", "nested/n.py",
        "sub/.gitignore", "sub/lib.py",
    ]  # fmt: skip


def test_where_no_git_is_the_folders_are_walked(workspace: Path) -> None:
    """Without what nobody wants; links to folders are not followed, and a loop ends."""
    written(workspace, "a.py", "sub/b.py", "node_modules/x.js", "__pycache__/a.pyc", ".hidden")
    (workspace / "sub/loop").symlink_to(workspace)
    assert names_of(workspace) == [".hidden", "a.py", "sub/b.py"]


def test_without_the_program_git_the_folders_are_walked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not needed."""
    repository(workspace, "a.py")
    monkeypatch.setenv("PATH", "/nowhere")
    assert names_of(workspace) == ["a.py"]


def test_several_folders_are_listed_as_one(workspace: Path) -> None:
    """Also where one lies in the other: each file once."""
    repository(workspace, "a.py", "sub/b.py")
    other = written(workspace.parent / "other", "c.py")
    found = listed([str(workspace), str(workspace / "sub"), str(other), "/does/not/exist"], with_folders=False)
    assert sorted(os.path.basename(one.path) for one in found) == ["a.py", "b.py", "c.py"]


HOSTILE = ["new\nline.py", "esc\x1b[31m.py", "tab\t.py", "-rf", "#x", "ü.py", " blank ", "İ.py", "\u202egpj.py"]


@pytest.mark.parametrize("in_git", [True, False])
def test_any_name_is_listed_and_shown_safely(workspace: Path, in_git: bool) -> None:
    """Line ends, escapes, blanks, bytes that are no text: the path is the true one, the name shows all of it."""
    if in_git:
        repository(workspace)
    written(workspace, *HOSTILE)
    raw = os.path.join(os.fsencode(workspace), b"bytes\xff.py")
    Path(os.fsdecode(raw)).write_text("x")
    found = listed([str(workspace)], with_folders=False)
    assert {os.path.basename(one.path) for one in found} == {*HOSTILE, os.fsdecode(b"bytes\xff.py")}
    assert all(os.path.exists(one.path) for one in found)
    for one in found:
        assert one.name.isprintable(), one
        assert len(one.folded) == len(one.name)
    assert "new\\nline.py" in {one.name for one in found}


def test_a_hostile_repository_runs_nothing(workspace: Path, tmp_path: Path) -> None:
    """Neither its fsmonitor nor its hooks, filters or pagers are run, whatever its configuration says."""
    repository(workspace, "a.py")
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    trap.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "post-checkout", "pre-commit", "fsmonitor-watchman"):
        (hooks / name).symlink_to(trap)
    for key in (
        "core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.askPass", "filter.x.clean",
        "filter.x.smudge", "filter.x.process", "diff.external", "alias.ls-files", "credential.helper", "pager.ls-files",
    ):  # fmt: skip
        git(workspace, "config", key, str(trap) if key != "alias.ls-files" else f"!{trap}")
    git(workspace, "config", "core.hooksPath", str(hooks))
    (workspace / ".gitattributes").write_text("* filter=x\n")
    (tmp_path / "ran").unlink(missing_ok=True)
    assert names_of(workspace) == [".gitattributes", "a.py"]
    assert not (tmp_path / "ran").exists()


def test_what_the_environment_says_of_git_does_not_count(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell that a hook of git started."""
    other = repository(workspace.parent / "other", "other.py")
    repository(workspace, "a.py")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert names_of(workspace) == ["a.py"]


def test_no_more_are_listed_than_the_bound(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree without end is not walked to its end."""
    monkeypatch.setattr(files, "FILES", 10)
    written(workspace, *(f"{number}.py" for number in range(30)))
    assert len(names_of(workspace)) == 10


# What was typed.


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("shop", ("shop", None, None)),
        ("shop:3", ("shop", 2, 2)),
        ("shop:3-8", ("shop", 2, 7)),
        ("shop:8-3", ("shop", 7, 7)),
        ("shop:0", ("shop", 0, 0)),
        ("shop:", ("shop", None, None)),
        ("shop:3-", ("shop", 2, 2)),
        (" shop.py:12 ", ("shop.py", 11, 11)),
        (":3", (":3", None, None)),
        ("", ("", None, None)),
        ("a:b", ("a:b", None, None)),
        ("a:1:2", ("a:1", 1, 1)),
        ("C:\\x:99999999999", ("C:\\x:99999999999", None, None)),
    ],
)
def test_lines_are_taken_off_what_was_typed(typed: str, expected: tuple[str, int | None, int | None]) -> None:
    """They count from 1 there, and the last one is included."""
    assert tuple(Query.of(typed)) == expected


# What fits.

NAMES = [
    "src/shop.py", "src/shop_test.py", "src/workshop.py", "src/shopping/cart.py", "docs/shop.md", "Makefile",
    "tests/test_shop.py", "src/pairside/tui/picker.py", "src/pairside/tui/app.py", "README.md", "src/app/__init__.py",
    "lib/s/h/o/p.c", "src/snapshot_op.py",
]  # fmt: skip


def best(words: str, names: list[str] | None = None, *, first: tuple[str, ...] = ()) -> list[str]:
    """The names that fit, the likeliest first."""
    given = [Candidate(f"/{name}", name, name.lower()) for name in names or NAMES]
    return [match.candidate.name for match in matches(words, given, first=first)]


def test_the_likeliest_comes_first() -> None:
    """A whole name before a beginning, that before a middle, letters in one piece before scattered ones."""
    assert best("shop.py")[0] == "src/shop.py"
    found = best("shop")
    assert set(found[:2]) == {"src/shop.py", "docs/shop.md"}
    assert found.index("src/shop_test.py") < found.index("src/workshop.py")
    assert found.index("tests/test_shop.py") < found.index("src/workshop.py")
    assert found.index("src/workshop.py") < found.index("src/snapshot_op.py")
    assert "Makefile" not in found
    assert best("make") == ["Makefile"]
    assert best("README")[0] == "README.md"
    assert best("spa")[0].startswith("src/pairside") or best("spa")[0] == "src/app/__init__.py"
    assert best("tui app")[0] == "src/pairside/tui/app.py"
    assert best("app tui")[0] == "src/pairside/tui/app.py"
    assert best("tui/pi")[0] == "src/pairside/tui/picker.py"
    assert best("pkr")[0] == "src/pairside/tui/picker.py"
    assert best("zzz") == []


def test_upper_and_lower_case_are_one() -> None:
    """Also for letters that have two in the other case."""
    assert best("makeFILE") == ["Makefile"]
    assert [one.candidate.name for one in matches("ÜBER", [candidate("/x/über.py")])] != []
    assert [one.candidate.name for one in matches("istanbul", [candidate("/x/İstanbul.py")])] != []


def test_what_was_picked_lately_comes_first_where_nothing_was_typed() -> None:
    """And among equals."""
    assert best("", first=("/README.md", "/Makefile"))[:3] == ["README.md", "Makefile", "src/shop.py"]
    assert best("shop.", first=("/docs/shop.md",))[0] == "docs/shop.md"


def test_only_so_many_are_offered() -> None:
    """The list is for looking at."""
    assert len(best("", [f"{number}.py" for number in range(1000)])) == FOUND
    assert len(best("py", [f"{number}.py" for number in range(1000)])) == FOUND


NAME = st.text(st.sampled_from("abcA/._- İßü日"), min_size=1, max_size=12)


@given(st.lists(NAME, unique=True, max_size=8), st.text(st.sampled_from("abcA/. ü"), max_size=4))
def test_what_fits_holds_all_letters_in_their_order(names: list[str], words: str) -> None:
    """Each term's characters stand at the places that are told, in the same order; what is left out lacks one."""
    given = [candidate(f"/elsewhere/{name}") for name in names]
    found = {match.candidate.path: match for match in matches(words, given)}
    terms = words.lower().split()
    for one in given:
        fits = all(_is_within(term, one.folded) for term in terms)
        assert (one.path in found) is fits
        if fits:
            places = found[one.path].places
            assert all(0 <= place < len(one.name) for place in places)
            assert {one.folded[place] for place in places} == set("".join(terms))


def _is_within(term: str, name: str) -> bool:
    rest = iter(name)
    return all(character in rest for character in term)


def test_who_gave_up_is_not_kept_waiting() -> None:
    """The search ends soon after nobody waits for it any more."""
    given = [candidate(f"/x/{number}.py") for number in range(50_000)]
    assert len(matches("py", given, given_up=lambda: True)) == 0


def test_a_search_of_twenty_thousand_takes_little_time() -> None:
    """Also with letters that fit nowhere in one piece, and names that are made to be slow."""
    given = [candidate(f"/x/src/package{number % 100}/module_{number}.py") for number in range(20_000)]
    given += [candidate("/x/" + "a" * 200 + str(number)) for number in range(1000)]
    for words in ("m", "mod 49", "pkgmdl", "aaaaaaaaaaaaaaaaaaaab", "zzz"):
        before = time.thread_time()
        matches(words, given)
        assert time.thread_time() - before < 3.0, words


def test_threads_may_search_at_once() -> None:
    """Nothing is shared between searches."""
    given = [candidate(f"/x/{number}.py") for number in range(2000)]
    expected = matches("19", given)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(matches("19", given))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [expected] * 4
