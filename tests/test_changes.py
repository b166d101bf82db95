"""What agents wrote without a review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pairside import changes as module
from pairside.changes import Change, Changes, Image

from .memory import client


@pytest.fixture
def noticed() -> list[Change]:
    """The changes that were told."""
    return []


@pytest.fixture
def changes(noticed: list[Change]) -> Changes:
    """No changes yet, with small limits."""
    return Changes(image_bytes=100, total_bytes=1000, noticed=noticed.append)


def image(text: str | None) -> Image:
    return Image(False, None) if text is None else Image(True, text.encode())


def texts(changes: Changes) -> list[tuple[str, bytes | None, bytes | None]]:
    """The completed changes: path, before, after."""
    return [(c.path, c.before.data, c.after.data if c.after else None) for c in changes]


def test_a_write_is_a_change_once_both_of_its_texts_are_known(changes: Changes, noticed: list[Change]) -> None:
    """While the write may still be going on nothing is listed."""
    changes.begin(client(1), "/a", image("old"))
    assert (len(changes), noticed, changes.pending(1)) == (0, [], ("/a",))
    changes.end(1, "/a", image("new"))
    assert texts(changes) == [("/a", b"old", b"new")]
    assert noticed == list(changes)
    assert changes.pending(1) == ()
    changes.end(1, "/a", image("newer"))
    assert texts(changes) == [("/a", b"old", b"new")]


def test_two_writes_in_a_row_are_two_changes(changes: Changes) -> None:
    """What the second finds is what the first has left."""
    agent = client(1)
    for text in ("0", "1"):
        changes.begin(agent, "/a", image(text))
    changes.end(1, "/a", image("2"))
    assert texts(changes) == [("/a", b"0", b"1"), ("/a", b"1", b"2")]


def test_what_was_asked_and_not_written_is_no_change(changes: Changes, noticed: list[Change]) -> None:
    """The person said no in the agent's terminal."""
    changes.begin(client(1), "/a", image("same"))
    changes.end(1, "/a", image("same"))
    changes.begin(client(1), "/none", image(None))
    changes.end(1, "/none", image(None))
    assert (len(changes), noticed, changes.pending(1)) == (0, [], ())


def test_new_and_deleted_files_are_changes(changes: Changes) -> None:
    """An empty file is not the same as none."""
    changes.begin(client(1), "/new", image(None))
    changes.end(1, "/new", image(""))
    changes.begin(client(1), "/gone", image(""))
    changes.end(1, "/gone", image(None))
    assert [(c.path, c.before.exists, c.after.exists) for c in changes if c.after] == [
        ("/new", False, True),
        ("/gone", True, False),
    ]


def test_only_the_next_write_of_that_file_by_that_client_is_covered_by_a_review(changes: Changes) -> None:
    """The same file again, another file, another client: all of them are news."""
    agent, other = client(1), client(2)
    changes.reviewed(agent, "/a")
    changes.begin(other, "/a", image("0"))
    changes.end(2, "/a", image("1"))
    changes.begin(agent, "/b", image("0"))
    changes.end(1, "/b", image("1"))
    changes.begin(agent, "/a", image("1"))
    changes.end(1, "/a", image("2"))
    changes.begin(agent, "/a", image("2"))
    changes.end(1, "/a", image("3"))
    assert texts(changes) == [("/a", b"0", b"1"), ("/b", b"0", b"1"), ("/a", b"2", b"3")]


def test_a_reviewed_write_after_an_unreviewed_one_completes_that(changes: Changes) -> None:
    """The text before the reviewed write is what the unreviewed one has left."""
    agent = client(1)
    changes.begin(agent, "/a", image("0"))
    changes.reviewed(agent, "/a")
    changes.begin(agent, "/a", image("1"))
    changes.end(1, "/a", image("2"))
    assert texts(changes) == [("/a", b"0", b"1")]


def test_a_review_before_the_prompt_says_nothing_about_what_comes_after(changes: Changes) -> None:
    """A proposal that was rejected was never written; the next prompt starts anew, for that client alone."""
    agent, other = client(1), client(2)
    for one in (agent, other):
        changes.reviewed(one, "/a")
    changes.prompted(agent)
    for one in (agent, other):
        changes.begin(one, "/a", image("0"))
        changes.end(one.id, "/a", image(f"{one.id}"))
    assert texts(changes) == [("/a", b"0", b"1")]
    changes.reviewed(other, "/a")
    changes.departed(2)
    assert not changes._reviewed


def test_texts_are_bounded_and_the_oldest_are_forgotten_first(changes: Changes) -> None:
    """The change itself stays listed, with a note in place of its texts."""
    for number in range(20):
        changes.begin(client(1), f"/{number}", image("x" * 50))
        changes.end(1, f"/{number}", image("y" * 50))
    kept = [change for change in changes if change.before.data is not None]
    assert [change.path for change in kept] == [f"/{number}" for number in range(10, 20)]
    assert all("forgotten" in change.before.note for change in list(changes)[:10])
    assert len(changes) == 20


def test_the_number_of_changes_is_bounded(changes: Changes) -> None:
    """An agent that writes for days costs no more than one that writes for an hour."""
    for number in range(module.CHANGES_KEPT + 5):
        changes.begin(client(1), "/a", image(None))
        changes.end(1, "/a", image(str(number)))
    assert len(changes) == module.CHANGES_KEPT
    assert next(iter(changes)).id == 6


def test_an_image_is_what_the_file_holds_or_says_why_not(workspace: Path) -> None:
    """Bytes as they are, none of a file that is missing, larger than the limit, or no regular file."""
    (workspace / "a").write_bytes(b"\xff\r\n\0")
    (workspace / "full").write_bytes(b"x" * 100)
    (workspace / "large").write_bytes(b"x" * 101)
    os.mkfifo(workspace / "pipe")
    read = {name: Image.read(str(workspace / name), 100) for name in ("a", "full", "large", "pipe", "none", ".")}
    assert (read["a"].exists, read["a"].data, read["a"].note) == (True, b"\xff\r\n\0", "")
    assert read["full"].data == b"x" * 100
    assert (read["large"].data, read["large"].note) == (None, "larger than 100 bytes")
    assert (read["pipe"].data, read["pipe"].note) == (None, "not a regular file")
    assert (read["."].exists, read["."].data) == (True, None)
    assert read["none"] == Image(False, None)


def test_a_file_too_large_for_an_image_is_a_change_when_it_was_written(changes: Changes, workspace: Path) -> None:
    """Its texts are not known, but that it changed is."""
    file = workspace / "large"
    file.write_bytes(b"x" * 200)
    changes.begin(client(1), str(file), Image.read(str(file), 100))
    changes.end(1, str(file), Image.read(str(file), 100))
    assert len(changes) == 0
    changes.begin(client(1), str(file), Image.read(str(file), 100))
    file.write_bytes(b"y" * 201)
    changes.end(1, str(file), Image.read(str(file), 100))
    assert [(c.before.data, c.before.note) for c in changes] == [(None, "larger than 100 bytes")]


def test_writes_that_follow_one_another_amount_to_one(changes: Changes) -> None:
    """What comes to nothing is none, and what somebody else wrote in between parts them."""
    agent = client(1)
    writes: dict[str, list[tuple[str | None, str | None]]] = {
        "/new": [(None, "1"), ("1", "2")],
        "/back": [("0", "1"), ("1", "0")],
        "/between": [("0", "1"), ("mine", "2")],
        "/large": [("0", None), (None, "1" * 101)],
    }
    for path, steps in writes.items():
        for before, after in steps:
            changes.begin(agent, path, image(before))
            changes.end(1, path, image(after) if after is None or len(after) < 100 else Image(True, None, "larger"))
    assert [(one.path, one.before.data, one.after and one.after.data) for one in changes.net()] == [
        ("/new", None, b"2"),
        ("/between", b"0", b"1"),
        ("/between", b"mine", b"2"),
        ("/large", b"0", None),
    ]
    assert len(changes) == 8
