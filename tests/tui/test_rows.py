"""Which row of a diff shows what."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairside.tui.rows import CONTEXT, NOTHING, Comparison, Hunk, Kind, Layout, found_rows, summary
from tests.tui.texts import compared

LINE = st.text(st.sampled_from("ab \t日\r"), max_size=6)
TEXT = st.builds(
    lambda lines, end: "\n".join(lines) + end, st.lists(LINE, max_size=25), st.sampled_from(["", "\n", "\n\n"])
)
EITHER = st.booleans()


@given(TEXT, TEXT, EITHER, EITHER)
def test_every_line_of_both_texts_is_shown_once_or_counted_as_hidden(
    old: str, new: str, side_by_side: bool, whole: bool
) -> None:
    """In order, with a head for each hunk; nothing is hidden where all is to be shown, nor any changed line ever."""
    comparison = compared(old, new)
    layout = Layout(comparison, side_by_side=side_by_side, whole=whole)
    olds: list[int] = []
    news: list[int] = []
    heads: list[int | None] = []
    before = after = 0
    for number in range(layout.rows):
        row = layout.row(number)
        assert row is not None
        if row.kind is Kind.GAP:
            assert row.hidden > 1
            assert not whole
            before, after = before + row.hidden, after + row.hidden
            continue
        if row.kind is Kind.HEAD:
            heads.append(row.hunk)
            continue
        if row.kind is Kind.SAME:
            assert row.old is not None
            assert row.new is not None
            assert comparison.old[row.old] == comparison.new[row.new]
        if row.old is not None:
            assert row.old == before
            olds.append(row.old)
            before += 1
        if row.new is not None:
            assert row.new == after
            news.append(row.new)
            after += 1
    assert (before, after) == (len(comparison.old), len(comparison.new))
    assert heads == list(range(len(comparison.hunks)))
    for hunk in comparison.hunks:
        assert set(range(hunk.old_start, hunk.old_start + hunk.old_count)) <= set(olds)
        assert set(range(hunk.new_start, hunk.new_start + hunk.new_count)) <= set(news)


@given(TEXT, TEXT, EITHER, EITHER)
def test_the_row_of_a_line_shows_that_line(old: str, new: str, side_by_side: bool, whole: bool) -> None:
    """`row_of` is the inverse of `row`; of a line that is hidden it gives one before."""
    comparison = compared(old, new)
    layout = Layout(comparison, side_by_side=side_by_side, whole=whole)
    shown_old: set[int] = set()
    shown_new: set[int] = set()
    for number in range(layout.rows):
        row = layout.row(number)
        assert row is not None
        if row.kind not in (Kind.SAME, Kind.CHANGED):
            continue
        assert layout.row_of(row.old, row.new) == number
        if row.old is not None:
            assert layout.row_of(row.old, None) == number
            shown_old.add(row.old)
        if row.new is not None:
            assert layout.row_of(None, row.new) == number
            shown_new.add(row.new)
    for line in set(range(len(comparison.old))) - shown_old:
        row = layout.row(layout.row_of(line, None))
        assert row is not None
        assert row.old is None or row.old <= line


@given(TEXT, TEXT, EITHER)
def test_hunks_stand_where_it_is_said(old: str, new: str, side_by_side: bool) -> None:
    """From the head of one to its end all rows are its own, and each row knows the hunk that it follows."""
    comparison = compared(old, new)
    layout = Layout(comparison, side_by_side=side_by_side, whole=False)
    for index in range(len(comparison.hunks)):
        head, end = layout.head(index), layout.end(index)
        assert {layout.row(number).hunk for number in range(head, end)} == {index}  # type: ignore[union-attr]
        after = layout.row(end)
        assert after is None or after.hunk != index
        assert layout.hunk_at(head) == index
        assert layout.hunk_at(end - 1) == index
    assert (layout.hunk_at(0) is None) is (not comparison.hunks)


@given(TEXT, TEXT)
def test_the_texts_can_be_had_back_from_their_lines(old: str, new: str) -> None:
    """Nothing of a text is lost: line ends of one kind are a fact of both texts, and so is a last line without one."""
    comparison = compared(old, new)
    for text, lines, unended in (
        (old, comparison.old, comparison.old_unended), (new, comparison.new, comparison.new_unended),
    ):  # fmt: skip
        end = "\r\n" if comparison.crlf else "\n"
        joined = "".join(line + end for line in lines)
        if unended:
            joined = joined[:-1]
        assert joined == text


def test_beyond_the_end_there_is_nothing() -> None:
    """Nor before the start."""
    layout = Layout(compared("a\n", "b\n"), side_by_side=False, whole=False)
    assert layout.row(-1) is None
    assert layout.row(layout.rows) is None
    assert Layout(NOTHING, side_by_side=True, whole=True).rows == 0
    assert Layout(NOTHING, side_by_side=True, whole=True).hunk_at(0) is None


def test_a_gap_is_never_one_line() -> None:
    """The line takes no more room than the words that it is not shown."""
    lines = [f"{number}\n" for number in range(2 * CONTEXT + 1)]
    old = "".join(["a\n", *lines, "b\n"])
    layout = Layout(compared(old, old.replace("a\n", "A\n").replace("b\n", "B\n")), side_by_side=False, whole=False)
    assert all(layout.row(number).kind is not Kind.GAP for number in range(layout.rows))  # type: ignore[union-attr]
    old = old.replace("0\n", "0\nmore\n")
    layout = Layout(compared(old, old.replace("a\n", "A\n").replace("b\n", "B\n")), side_by_side=False, whole=False)
    gaps = [row for number in range(layout.rows) if (row := layout.row(number)) and row.kind is Kind.GAP]
    assert [gap.hidden for gap in gaps] == [2]


def test_what_cannot_be_divided_is_one_hunk() -> None:
    """All that was there goes, all that comes is shown."""
    comparison = Comparison.of("a\nb\n", "a\nc\n", [], divisible=False)
    assert comparison.hunks == [Hunk(1, 0, 2, 0, 2)]
    assert Comparison.of(None, None, [], divisible=False).hunks == []


def test_words_are_found_in_the_rows_that_are_shown() -> None:
    """In either text; upper case means upper case, lower case means both."""
    comparison = compared("One\ntwo\nthree\n", "One\nTWO\nthree\n")
    layout = Layout(comparison, side_by_side=False, whole=False)
    assert len(found_rows(comparison, layout, "two")) == 2
    assert len(found_rows(comparison, layout, "TWO")) == 1
    assert found_rows(comparison, layout, "four") == []
    side = Layout(comparison, side_by_side=True, whole=False)
    assert len(found_rows(comparison, side, "two")) == 1


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_words_are_found_in_every_row_that_shows_them_and_in_no_other(side_by_side: bool, whole: bool) -> None:
    """As if each row were looked at by itself."""
    old = "".join(f"line {number}\n" for number in range(1, 61))
    new = (
        old.replace("line 7\n", "line seven\nand more\n").replace("line 30\nline 31\n", "").replace("line 50", "row 50")
    )
    comparison = compared(old, new)
    layout = Layout(comparison, side_by_side=side_by_side, whole=whole)
    for words in ("line", "3", "seven", "row", "0"):
        rows = [(number, layout.row(number)) for number in range(layout.rows)]
        assert found_rows(comparison, layout, words) == [
            number
            for number, row in rows
            if row is not None
            and row.kind in (Kind.SAME, Kind.CHANGED)
            and (
                (row.old is not None and words in comparison.old[row.old])
                or (row.new is not None and words in comparison.new[row.new])
            )
        ]


def test_a_search_that_is_given_up_ends() -> None:
    """It does not go through the rest of the text."""
    comparison = compared("two\n" * 10, "two\n" * 11)
    given_up = threading.Event()
    given_up.set()
    assert found_rows(comparison, Layout(comparison, side_by_side=False, whole=True), "two", given_up) == []


def test_where_a_hunk_stands_in_words() -> None:
    """Lines count from 1, and where there are none the line before is named."""
    assert summary(Hunk(1, 3, 1, 3, 2)) == "line 4 → lines 4–5"
    assert summary(Hunk(1, 0, 0, 0, 1)) == "at the start → line 1"
    assert summary(Hunk(1, 7, 2, 7, 0)) == "lines 8–9 → after line 7"
