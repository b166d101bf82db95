"""Owns the grammar in which a person names a place: FILE[:L1[:C1][-L2[:C2]]], counted from 1, ends included."""

from __future__ import annotations

import os
import re

from pairside.cli.exits import Exit, Failure
from pairside.text import decode_file, printable, read_file, utf16_length

GRAMMAR = "FILE[:L1[:C1][-L2[:C2]]]"
READ_BYTES = 32 * 1024 * 1024
_PLACE = re.compile(r"([0-9]{1,9})(?::([0-9]{1,9}))?(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?")


class Place:
    """A file or folder as a person named it, with the lines and columns that were said."""

    __slots__ = ("first", "first_column", "last", "last_column", "path", "said")

    def __init__(
        self,
        path: str,
        said: str,
        first: int | None = None,
        first_column: int | None = None,
        last: int | None = None,
        last_column: int | None = None,
    ) -> None:
        """`path` is absolute and real, `said` the absolute path by which the person called it.

        Lines and columns count from 1, the last ones included.
        """
        self.path = path
        self.said = said
        self.first = first
        self.first_column = first_column
        self.last = last
        self.last_column = last_column


def parse(said: str) -> Place:
    """The place that a person means. A name with colons is taken as it is if such a file exists.

    Raises:
        Failure: There is no such file, or the numbers make no sense.
    """
    if os.path.lexists(said):
        return Place(_real(said), os.path.abspath(said))
    end = len(said)
    missing = said
    while (end := said.rfind(":", 0, end)) > 0:
        match = _PLACE.fullmatch(said, end + 1)
        if match is None:
            continue
        missing = said[:end]
        if os.path.lexists(missing):
            numbers = [int(number) if number is not None else None for number in match.groups()]
            return _sensible(Place(_real(missing), os.path.abspath(missing), *numbers), said)
    raise Failure(f"There is no file {printable(missing)}. A place is {GRAMMAR}.", Exit.USAGE)


def _real(name: str) -> str:
    path = os.path.realpath(name)
    if not os.path.exists(path):
        raise Failure(f"{printable(name)} is a link to nothing.", Exit.USAGE)
    return path


def _sensible(place: Place, said: str) -> Place:
    if 0 in (place.first, place.first_column, place.last, place.last_column):
        raise Failure(f"Lines and columns count from 1, in {printable(said)} too.", Exit.USAGE)
    if place.first is not None:
        if place.last is None:
            place.last = place.first
        if place.last < place.first:
            raise Failure(f"Line {place.last} comes before line {place.first}.", Exit.USAGE)
        if place.last == place.first and place.last_column and place.last_column < (place.first_column or 1):
            raise Failure(f"Column {place.last_column} comes before column {place.first_column}.", Exit.USAGE)
    return place


def text_of(path: str) -> str:
    """The text of a file as agents see it.

    Raises:
        Failure: It cannot be read or is no text.
    """
    try:
        data = read_file(path, READ_BYTES)
    except OSError as error:
        raise Failure(f"Cannot read {printable(path)}: {error.strerror}.", Exit.USAGE) from None
    if len(data) > READ_BYTES:
        raise Failure(f"{printable(path)} is larger than {READ_BYTES} bytes.", Exit.USAGE)
    text = decode_file(data)
    if text is None:
        raise Failure(f"{printable(path)} is no text (neither UTF-8 nor UTF-16).", Exit.USAGE)
    return text


def lines_of(text: str) -> list[str]:
    """The lines as a person counts them: what follows the last line end is a line only if something stands there."""
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def span(place: Place) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The place as 0-based lines and UTF-16 columns, its end exclusive; None if no line was said.

    A missing column is the start of the first line or the end of the last. A last line or column behind the end is
    the end. A byte order mark is not counted.

    Raises:
        Failure: The file is not text, or has no such line or column.
    """
    if place.first is None or place.last is None:
        return None
    lines = lines_of(text_of(place.path))
    first_line(place, lines)
    last = min(place.last, len(lines))
    start_text, end_text = lines[place.first - 1], lines[last - 1]
    start = _before(start_text, place.first) + (place.first_column or 1) - 1
    if start > len(start_text):
        columns = len(start_text) - _before(start_text, place.first)
        raise Failure(
            f"Line {place.first} of {printable(place.path)} has {columns} characters, not {place.first_column}.",
            Exit.USAGE,
        )
    end = len(end_text)
    if place.last_column is not None and last == place.last:
        end = min(end, _before(end_text, last) + place.last_column)
    return (place.first - 1, utf16_length(start_text[:start])), (last - 1, utf16_length(end_text[:end]))


def first_line(place: Place, lines: list[str]) -> None:
    """Check that the file has the first line that was said.

    Raises:
        Failure: It has not.
    """
    if place.first is not None and place.first > len(lines):
        has = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
        raise Failure(f"{printable(place.path)} has {has}, not {place.first}.", Exit.USAGE)


def _before(line: str, number: int) -> int:
    """The characters of a line that a person does not see as part of it: a byte order mark."""
    return 1 if number == 1 and line.startswith("\ufeff") else 0
