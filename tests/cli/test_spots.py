"""The grammar of places, and its conversion from what people count to what editors count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pairside.cli.exits import Failure
from pairside.cli.spots import parse, span


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to be in, with a file of three lines."""
    (tmp_path / "a.py").write_text("one\ntwo\nthree\n")
    before = os.getcwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def spanned(said: str) -> object:
    """The span of a place."""
    return span(parse(said))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("a.py", None),
        ("a.py:1", ((0, 0), (0, 3))),
        ("a.py:2-3", ((1, 0), (2, 5))),
        ("a.py:1:2", ((0, 1), (0, 3))),
        ("a.py:1:2-2", ((0, 1), (1, 3))),
        ("a.py:1-2:2", ((0, 0), (1, 2))),
        ("a.py:1:1-1:1", ((0, 0), (0, 1))),
        ("a.py:1:3-3:2", ((0, 2), (2, 2))),
        ("a.py:1:4", ((0, 3), (0, 3))),
        ("a.py:2-999", ((1, 0), (2, 5))),
        ("a.py:2-999:1", ((1, 0), (2, 5))),
        ("a.py:2:1-2:99", ((1, 0), (1, 3))),
    ],
)
def test_lines_and_columns_count_from_1_and_ends_are_included(said: str, expected: object) -> None:
    """What is not said is the start of the first line or the end of the last; what lies behind the end is the end."""
    assert spanned(said) == expected


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("a.py:0", "count from 1"),
        ("a.py:1:0", "count from 1"),
        ("a.py:1-0", "count from 1"),
        ("a.py:3-2", "Line 2 comes before line 3"),
        ("a.py:1:3-1:2", "Column 2 comes before column 3"),
        ("a.py:4", "has 3 lines, not 4"),
        ("a.py:1:5", "Line 1 of .* has 3 characters, not 5"),
        ("missing.py", "no file missing.py"),
        ("missing.py:3", "no file missing.py"),
        ("a.py:", "no file a.py:"),
        ("a.py:x", "no file a.py:x"),
        ("", "no file"),
        (":3", "no file :3"),
    ],
)
def test_a_place_that_is_not_there_is_a_usage_error(said: str, message: str) -> None:
    """The status is 2 and the message says what is wrong with it."""
    with pytest.raises(Failure, match=message) as caught:
        spanned(said)
    assert caught.value.exit_code == 2


def test_columns_count_characters_and_come_out_as_utf16(folder: Path) -> None:
    """A character outside the basic plane is one column for a person and two units for an editor."""
    (folder / "b.py").write_text("a𝟚ü𝟛b\n", encoding="utf-8")
    assert spanned("b.py:1:3-1:4") == ((0, 3), (0, 6))
    assert spanned("b.py:1") == ((0, 0), (0, 7))


def test_a_byte_order_mark_is_not_counted(folder: Path) -> None:
    """Nobody sees it, so the first column is what comes after it."""
    (folder / "b.py").write_text("\ufeffone\ntwo\n", encoding="utf-8")
    assert spanned("b.py:1:1-1:1") == ((0, 1), (0, 2))
    assert spanned("b.py:1") == ((0, 1), (0, 4))


def test_the_lines_of_a_file_with_crlf_end_before_the_carriage_return(folder: Path) -> None:
    """The agent sees LF, and so does who counts."""
    (folder / "b.py").write_bytes(b"one\r\ntwo\r\n")
    assert spanned("b.py:1-2") == ((0, 0), (1, 3))


def test_an_empty_file_has_one_empty_line(folder: Path) -> None:
    """Line 1 of it can be named, line 2 cannot."""
    (folder / "b.py").write_text("")
    assert spanned("b.py:1") == ((0, 0), (0, 0))
    with pytest.raises(Failure, match="has 1 line, not 2"):
        spanned("b.py:2")


def test_names_with_colons_are_taken_as_they_are_if_they_exist(folder: Path) -> None:
    """The longest name that exists wins."""
    (folder / "a.py:2").write_text("x\ny\nz\n")
    assert parse("a.py:2").path == str(folder / "a.py:2")
    assert parse("a.py:2").first is None
    assert (parse("a.py:2:3").path, parse("a.py:2:3").first) == (str(folder / "a.py:2"), 3)
    assert (parse("a.py:3").path, parse("a.py:3").first) == (str(folder / "a.py"), 3)
    (folder / "c:d").write_text("x\n")
    assert (parse("c:d:1").path, parse("c:d:1").first) == (str(folder / "c:d"), 1)


def test_paths_are_real(folder: Path) -> None:
    """Agents compare them with their own real working directory; a link to nothing is no file."""
    (folder / "link.py").symlink_to("a.py")
    (folder / "nowhere").symlink_to("missing")
    assert parse("link.py:1").path == str(folder / "a.py")
    with pytest.raises(Failure, match="link to nothing"):
        parse("nowhere")


def test_a_file_that_is_no_text_has_no_lines(folder: Path) -> None:
    """Its name alone is fine."""
    (folder / "image").write_bytes(b"\0\1\2\xff")
    assert spanned("image") is None
    with pytest.raises(Failure, match="is no text"):
        spanned("image:1")


def test_a_pipe_has_no_lines_and_nobody_waits_for_any(folder: Path) -> None:
    """Opening it would wait for its other end."""
    os.mkfifo(folder / "pipe")
    with pytest.raises(Failure, match="Not a regular file"):
        spanned("pipe:1")
