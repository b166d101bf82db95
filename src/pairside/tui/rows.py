"""Owns which row of a diff shows what: two texts, the hunks between them, and their layout in rows.

A layout is a few segments, whatever the texts weigh, and a row is looked up in it when it is drawn. So texts of many
megabytes cost their lines once and nothing when they are scrolled, folded or shown in another way. All numbers of rows
and lines count from 0; the number of a hunk counts from 1, as the person says it.
"""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pairside.tui.cells import widest

CONTEXT = 3
"""So many unchanged lines are shown around a hunk."""
PIECE = 2000
"""So many lines are searched at once."""


class Kind(Enum):
    """What a row is."""

    HEAD = "head"
    """The head of a hunk."""
    SAME = "same"
    """A line that stands in both texts."""
    CHANGED = "changed"
    """A line that only one of the texts has, or two that stand side by side."""
    GAP = "gap"
    """Unchanged lines that are not shown."""


class Row(NamedTuple):
    """What a row shows: a line of the old text, of the new one, or both; None for neither."""

    kind: Kind
    hunk: int | None
    """The index of its hunk, from 0."""
    old: int | None
    new: int | None
    hidden: int = 0
    """Of a gap: how many lines are not shown."""


class Hunk(NamedTuple):
    """One run of changed lines."""

    number: int
    old_start: int
    old_count: int
    new_start: int
    new_count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two texts as lines without their ends, and what is different."""

    old: Sequence[str]
    new: Sequence[str]
    hunks: Sequence[Hunk]
    divisible: bool
    """Whether single hunks can be chosen."""
    old_unended: bool = False
    """The last line has no end."""
    new_unended: bool = False
    crlf: bool = False
    """Every line of both ends in CRLF; the carriage returns are left out."""
    width: int = 0
    """How many cells the widest line takes."""

    @classmethod
    def of(cls, old: str | None, new: str | None, hunks: Sequence[Mapping[str, int]], *, divisible: bool) -> Comparison:
        """The comparison of two texts; None where there is no file. Long texts take long: not for the event loop."""
        before, after = (old or "").split("\n"), (new or "").split("\n")
        unended = [bool(lines.pop()) for lines in (before, after)]
        if unended[0]:
            before.append((old or "").rpartition("\n")[2])
        if unended[1]:
            after.append((new or "").rpartition("\n")[2])
        crlf = bool(before or after) and all(line.endswith("\r") for lines in (before, after) for line in lines)
        if crlf:
            before, after = ([line[:-1] for line in lines] for lines in (before, after))
        found = [
            Hunk(one["number"], one["old_start"], one["old_count"], one["new_start"], one["new_count"]) for one in hunks
        ]
        if not divisible:
            found = [Hunk(1, 0, len(before), 0, len(after))] if before or after else []
        width = widest(itertools.chain(before, after))
        return cls(before, after, found, divisible, unended[0], unended[1], crlf, width)


NOTHING = Comparison((), (), (), False)


class _Segment(NamedTuple):
    kind: Kind
    hunk: int | None
    old: int | None
    new: int | None
    rows: int
    old_rows: int
    """Of these rows so many have a line of the old text, the first ones."""
    new_rows: int
    hidden: int


class Layout:
    """A comparison in rows."""

    def __init__(self, comparison: Comparison, *, side_by_side: bool, whole: bool) -> None:
        """With `whole` all unchanged lines are shown, not only those around hunks."""
        self.side_by_side = side_by_side
        self._segments = [one for one in self._made(comparison, side_by_side, whole) if one.rows]
        self._starts: list[int] = []
        self._heads: list[int] = []
        row = 0
        for one in self._segments:
            self._starts.append(row)
            if one.kind is Kind.HEAD:
                self._heads.append(row)
            row += one.rows
        self.rows = row
        """How many there are."""

    @staticmethod
    def _made(comparison: Comparison, side_by_side: bool, whole: bool) -> Iterator[_Segment]:
        old = new = 0

        def same(count: int) -> _Segment:
            return _Segment(Kind.SAME, None, old, new, count, count, count, 0)

        for index, hunk in enumerate(comparison.hunks):
            between = hunk.old_start - old
            first = index == 0
            above = 0 if first else min(CONTEXT, between)
            below = min(CONTEXT, between - above)
            hidden = 0 if whole else between - above - below
            if hidden == 1:  # the line takes no more room than the words that it is not shown
                hidden = 0
            if hidden:
                yield same(above)
                old, new = old + above, new + above
                yield _Segment(Kind.GAP, None, old, new, 1, 0, 0, hidden)
                old, new = old + hidden, new + hidden
                yield same(below)
                old, new = old + below, new + below
            else:
                yield same(between)
                old, new = old + between, new + between
            yield _Segment(Kind.HEAD, index, old, new, 1, 0, 0, 0)
            if side_by_side:
                rows = max(hunk.old_count, hunk.new_count)
                yield _Segment(Kind.CHANGED, index, old, new, rows, hunk.old_count, hunk.new_count, 0)
            else:
                yield _Segment(Kind.CHANGED, index, old, None, hunk.old_count, hunk.old_count, 0, 0)
                yield _Segment(Kind.CHANGED, index, None, new, hunk.new_count, 0, hunk.new_count, 0)
            old, new = hunk.old_start + hunk.old_count, hunk.new_start + hunk.new_count
        left = len(comparison.old) - old
        shown = left if whole or not comparison.hunks or left <= CONTEXT + 1 else CONTEXT
        yield same(shown)
        old, new = old + shown, new + shown
        if left > shown:
            yield _Segment(Kind.GAP, None, old, new, 1, 0, 0, left - shown)

    def row(self, number: int) -> Row | None:
        """What a row shows; None beyond the end."""
        if not 0 <= number < self.rows:
            return None
        place = bisect.bisect_right(self._starts, number) - 1
        one = self._segments[place]
        into = number - self._starts[place]
        old = one.old + into if one.old is not None and into < one.old_rows else None
        new = one.new + into if one.new is not None and into < one.new_rows else None
        return Row(one.kind, one.hunk, old, new, one.hidden)

    def head(self, hunk: int) -> int:
        """The row of the head of a hunk, given by its index."""
        return self._heads[hunk]

    def end(self, hunk: int) -> int:
        """The row after the last one of a hunk."""
        return max(self._starts[place] + one.rows for place, one in enumerate(self._segments) if one.hunk == hunk)

    def row_of(self, old: int | None, new: int | None) -> int:
        """The row that shows a line of the old text, or of the new one; the nearest one before where none does."""
        nearest = 0
        for place, one in enumerate(self._segments):
            start = self._starts[place]
            for line, first, rows in ((new, one.new, one.new_rows), (old, one.old, one.old_rows)):
                if line is None or first is None:
                    continue
                if first <= line < first + rows:
                    return start + line - first
                if first <= line:
                    nearest = start
        return nearest

    def rows_of(self, olds: Sequence[int], news: Sequence[int]) -> list[int]:
        """The rows that show any of these lines, given in order, of the old text and of the new one; in order."""
        found: set[int] = set()
        for start, one in zip(self._starts, self._segments, strict=True):
            for lines, first, rows in ((olds, one.old, one.old_rows), (news, one.new, one.new_rows)):
                if first is not None:
                    low, high = bisect.bisect_left(lines, first), bisect.bisect_left(lines, first + rows)
                    found.update(start + line - first for line in lines[low:high])
        return sorted(found)

    def hunk_at(self, row: int) -> int | None:
        """The index of the hunk that a row belongs to, or that comes before it; the first one before any."""
        if not self._heads:
            return None
        return max(0, bisect.bisect_right(self._heads, row) - 1)


def found_rows(
    comparison: Comparison, layout: Layout, words: str, given_up: threading.Event | None = None
) -> list[int]:
    """The rows whose lines hold some words, in order; upper and lower case are one unless the words have upper case.

    Long texts take long: not for the event loop. Once `given_up` is set it soon ends, with what it has.
    """
    exact = words != words.casefold()

    def lines(texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for start in range(0, len(texts), PIECE):
            if given_up is not None and given_up.is_set():
                break
            piece = texts[start : start + PIECE]
            found += [at for at, line in enumerate(piece, start) if words in (line if exact else line.casefold())]
            time.sleep(0)  # the thread that draws comes first
        return found

    return layout.rows_of(lines(comparison.old), lines(comparison.new))


def summary(hunk: Hunk) -> str:
    """Where a hunk stands and how much it is."""
    return f"{_lines(hunk.old_start, hunk.old_count)} → {_lines(hunk.new_start, hunk.new_count)}"


def _lines(start: int, count: int) -> str:
    if count == 0:
        return f"after line {start}" if start else "at the start"
    return f"line {start + 1}" if count == 1 else f"lines {start + 1}–{start + count}"
