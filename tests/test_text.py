"""Positions, URIs, the decoding of files, and what may reach a terminal."""

from __future__ import annotations

import io
import os
import tracemalloc
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairside import text

ANY = st.text(st.characters(exclude_categories=()))
"""Every text that Python can hold, lone surrogates among it."""
VALID = st.text(st.sampled_from("aé€😀\n\t \u0301"))


@given(VALID, st.integers(0, 30))
def test_utf16_columns_and_indices_are_inverse(line: str, index: int) -> None:
    """The column of every index leads back to that index, and to the same length as encoding to UTF-16."""
    before = line[:index]
    assert text.utf16_length(before) == len(before.encode("utf-16-le")) // 2
    assert text.from_utf16(line, text.utf16_length(before)) == len(before)


@pytest.mark.parametrize(
    ("line", "column", "index"),
    [("abc", -1, 0), ("abc", 99, 3), ("a😀b", 1, 1), ("a😀b", 2, 1), ("a😀b", 3, 2), ("a😀b", 99, 3), ("", 1, 0)],
)
def test_a_utf16_column_is_clamped_to_the_line_and_to_the_start_of_a_pair(line: str, column: int, index: int) -> None:
    """A column that no character starts at still means a place in the line."""
    assert text.from_utf16(line, column) == index


@given(st.binary().filter(lambda name: b"\0" not in name))
def test_every_path_survives_its_encoded_uri(name: bytes) -> None:
    """`path_of(file_uri(path))` is the path, also where its name is not UTF-8 or holds a percent sign."""
    path = os.fsdecode(b"/no-such-folder/" + name)
    uri = text.file_uri(path)
    assert uri.isascii()
    assert text.path_of(uri) == path


@given(ANY)
def test_what_path_of_returns_can_be_asked_of_the_file_system(name: str) -> None:
    """No text makes the file system raise anything but OSError: it is no path then."""
    for uri in (name, "/" + name, "file:///" + name):
        path = text.path_of(uri)
        if path is not None:
            assert path.startswith("/")
            os.path.lexists(path)
            os.fsencode(path)


def test_a_raw_uri_names_the_file_that_has_a_percent_sign_in_its_name(workspace: Path) -> None:
    """Claude Code does not encode: `a%20b` is that file where it exists, else the encoded `a b`."""
    encoded = f"file://{workspace}/a%20b"
    assert text.path_of(encoded) == f"{workspace}/a b"
    (workspace / "a%20b").touch()
    assert text.path_of(encoded) == f"{workspace}/a%20b"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///x/sp ace é.py", "/x/sp ace é.py"),
        ("file://localhost/x", "/x"),
        ("FILE:///x", "/x"),
        ("/x/a%20b", "/x/a%20b"),
        ("file://host/x", None),
        ("file:/x", None),
        ("http://x/", None),
        ("relative", None),
        ("", None),
        ("/x\0y", None),
        ("file:///x%00y", "/x%00y"),
        ("/x/\ud800", None),
    ],
)
def test_a_uri_names_an_absolute_path_or_nothing(uri: str, path: str | None) -> None:
    """File URIs of this machine and absolute paths are understood, raw as Claude Code writes them."""
    assert text.path_of(uri) == path


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ""),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b"a\rb", "a\rb"),
        (b"no newline", "no newline"),
        (b"\xef\xbb\xbfa", "\ufeffa"),
        ("a😀\r\n".encode("utf-16"), "\ufeffa😀\n"),
        (b"\xfe\xff\x00a", "\ufeffa"),
        (b"\xff", None),
        (b"a\0b", None),
        (b"\xed\xa0\x80", None),
        (b"\xff\xfe\x00\xd8", None),
    ],
)
def test_a_file_is_decoded_as_agents_see_it(data: bytes, expected: str | None) -> None:
    """LF line ends, a byte order mark kept, UTF-16 by its mark, and None for what is no text."""
    assert text.decode_file(data) == expected


@given(ANY)
def test_clean_unicode_can_be_encoded_and_touches_nothing_else(dirty: str) -> None:
    """Each lone surrogate becomes one U+FFFD, a pair the character it means, the rest stays."""
    clean = text.clean_unicode(dirty)
    assert clean.encode().decode() == clean
    if not any("\ud800" <= character <= "\udfff" for character in dirty):
        assert clean == dirty
    assert text.utf16_length(clean) == text.utf16_length(dirty)


def test_clean_unicode_replaces_one_for_one() -> None:
    """What stands beside a lone surrogate is not swallowed with it."""
    assert text.clean_unicode("a\ud800b\udc00c\ud83d\ude00\ud800") == "a\ufffdb\ufffdc😀\ufffd"


@given(VALID, st.integers(0, 40))
def test_cut_is_the_longest_start_that_fits(whole: str, limit: int) -> None:
    """The cut text is a start of the text, fits, and the next character would not."""
    short = text.cut(whole, limit)
    assert whole.startswith(short)
    assert len(short.encode()) <= limit
    assert short == whole or len(whole[: len(short) + 1].encode()) > limit


class Grows(io.BufferedReader):
    """A file that somebody appends to as soon as its size was asked for."""

    def __init__(self, raw: io.FileIO, path: Path) -> None:
        super().__init__(raw)
        self._path = path

    def read(self, size: int | None = -1, /) -> bytes:
        if self._path.stat().st_size == 5:
            with self._path.open("ab") as file:
                file.write(b"678")
        return super().read(size)


@given(ANY)
def test_printable_text_holds_nothing_that_a_terminal_obeys(raw: str) -> None:
    """One line, encodable, without control characters, direction overrides, or anything invisible of that kind."""
    for shown in (text.printable(raw), text.printable_line(raw).replace("\t", "")):
        shown.encode()
        assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
        assert not set("\u061c\u200b\u200e\u200f\u202a\u202e\u2066\u2069\ufeff") & set(shown)


def test_printable_text_shows_what_it_escapes() -> None:
    """Escapes can be read; harmless text is left alone."""
    assert text.printable("\x1b[31mé😀\n\t\u202e\x9b\ud800") == "\\x1b[31mé😀\\n\\t\\u202e\\x9b\\ud800"
    assert text.printable_line("a\tb\x1b") == "a\tb\\x1b"


@pytest.mark.parametrize("hidden", [0xAD, 0x34F, 0x180E, 0x200B, 0x2064, 0x3164, 0xFFA0, 0xFFF9, 0xE0041, 0xE01EF])
def test_what_nobody_sees_is_made_to_be_seen(hidden: int) -> None:
    """Instructions to an agent can be written in tag characters; nothing in a proposal stays hidden."""
    shown = text.printable_line(f"a{chr(hidden)}b")
    assert shown.isprintable()
    assert int(shown[3:-1], 16) == hidden


def test_what_scripts_and_emoji_are_joined_with_stays() -> None:
    """They do not hide anything that stands alone."""
    for word in (
        "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f469\u200d\U0001f4bb",
        "\u2764\ufe0f",
    ):
        assert text.printable_line(word) == word


def test_reading_takes_memory_for_what_is_there_and_not_for_the_limit(workspace: Path) -> None:
    """Or a server that looks at many small files would grow by the limit for each of its threads."""
    path = workspace / "small"
    path.write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert text.read_file(str(path), 64 * 2**20) == b"12345"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end_or_the_limit(workspace: Path) -> None:
    """Its size is only a hint."""
    path = workspace / "grows"
    for limit, read in ((100, b"12345678"), (7, b"1234567"), (8, b"12345678")):
        path.write_bytes(b"12345")
        with open(path, "rb", buffering=0) as file:
            whole = Grows(file, path)
            assert text.up_to(whole, limit) == read


def test_reading_is_bounded_and_of_regular_files_only(workspace: Path) -> None:
    """A pipe that nobody writes to raises at once instead of waiting; so do folders and devices."""
    (workspace / "a").write_bytes(b"12345")
    assert text.read_file(str(workspace / "a"), 3) == b"1234"
    assert text.read_file(str(workspace / "a"), 5) == b"12345"
    os.mkfifo(workspace / "pipe")
    before = len(os.listdir("/dev/fd"))
    for name in (str(workspace / "pipe"), str(workspace), "/dev/zero", str(workspace / "none")):
        with pytest.raises(OSError, match=r"."):
            text.read_file(name, 10)
    assert len(os.listdir("/dev/fd")) == before
