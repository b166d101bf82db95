"""Owns how a line of a file becomes cells of a terminal: everything in it is visible, and nothing is obeyed.

Tabs and blanks at the end of a line are shown, control characters come out as escapes, wide characters take two cells
and are never cut in half. Columns count from 0 and are cells, places in a line count from 0 and are code points.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from pairside.text import printable

TAB_CELLS = 4
LINE_CHARACTERS = 10_000
"""Of a longer line only the beginning is shown, and how much is left out."""
_PLAIN = re.compile(r"[ -~]*")
_BLANKS = " \t"


class Span(NamedTuple):
    """A style for a part of a line; the end is exclusive. Later spans go over earlier ones."""

    start: int
    end: int
    style: Style


class _Glyph(NamedTuple):
    """What one character of a line, or a mark of ours (`place` is -1), looks like."""

    text: str
    cells: int
    place: int
    special: bool


def width_of(line: str) -> int:
    """How many cells a line takes."""
    if len(line) <= LINE_CHARACTERS and _PLAIN.fullmatch(line):
        return len(line)
    return sum(glyph.cells for glyph in _glyphs(line))


def widest(lines: Iterable[str]) -> int:
    """How many cells the widest of some lines takes. Long texts take long: not for the event loop."""
    most = 0
    for line in lines:
        expanded = line.expandtabs(TAB_CELLS)
        if len(line) <= LINE_CHARACTERS and expanded.isprintable():
            if expanded.isascii():
                most = max(most, len(expanded))
                continue
            if 2 * len(expanded) <= most:
                continue
        most = max(most, width_of(line))
    return most


def strip_of(line: str, spans: Sequence[Span], base: Style, special: Style, *, left: int, width: int) -> Strip:
    """The cells of a line from column `left` on, `width` of them; what is beyond the line is blank.

    `special` is the style of what stands for something else: tabs, blanks at the end, escapes, marks.
    """
    segments: list[Segment] = []
    kept = len(line.rstrip(_BLANKS))
    if kept == len(line) <= LINE_CHARACTERS and _PLAIN.fullmatch(line):
        shown = line[left : left + width]
        edges = {min(max(edge - left, 0), len(shown)) for span in spans for edge in (span.start, span.end)}
        for start, end in itertools.pairwise(sorted({0, len(shown)} | edges)):
            segments.append(Segment(shown[start:end], _style_at(start + left, spans, base)))
        filled = len(shown)
    else:
        column = filled = 0
        for glyph in _glyphs(line):
            begins, column = column, column + glyph.cells
            if column <= left and not (glyph.cells == 0 and begins > left):
                continue
            if begins > left + width or (begins == left + width and glyph.cells):
                break  # what has no width belongs to the character before it
            style = base if glyph.place < 0 else _style_at(glyph.place, spans, base)
            text = glyph.text
            if begins < left or column > left + width:  # at an edge: what fits of it
                fitting = min(column, left + width) - max(begins, left)
                text = text[max(0, left - begins) :][:fitting] if len(text) == glyph.cells else " " * fitting
                filled += fitting
            else:
                filled += glyph.cells
            segments.append(Segment(text, style + special if glyph.special else style))
    if filled < width:
        segments.append(Segment(" " * (width - filled), base))
    return Strip(segments, width)


def _style_at(place: int, spans: Sequence[Span], base: Style) -> Style:
    style = base
    for span in spans:
        if span.start <= place < span.end:
            style = style + span.style
    return style


def _glyphs(line: str) -> Iterator[_Glyph]:
    """What stands for each character of a line, and for what was left out of it."""
    column = 0
    kept = len(line.rstrip(_BLANKS))
    for place, character in enumerate(line[:LINE_CHARACTERS]):
        if character == "\t":
            cells = TAB_CELLS - column % TAB_CELLS
            text, special = "→" + " " * (cells - 1), True
        elif character == " " and place >= kept:
            text, cells, special = "·", 1, True
        else:
            text = printable(character)
            if text == character and character != " " and not character.isprintable():
                # What cannot be seen, and what joins or parts others: terminals do not agree on how wide that is.
                text = f"\\u{ord(character):04x}"
            special = text != character
            cells = len(text) if special else get_character_cell_size(character)
        column += cells
        yield _Glyph(text, cells, place, special)
    if len(line) > LINE_CHARACTERS:
        text = f" … {len(line) - LINE_CHARACTERS:,} more characters"
        yield _Glyph(text, len(text), -1, True)
