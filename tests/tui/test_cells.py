"""How a line of a file becomes cells."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from pairside.tui.cells import LINE_CHARACTERS, Span, strip_of, widest, width_of

PLAIN, SPECIAL, BOLD, RED = Style(), Style(dim=True), Style(bold=True), Style(color="red")
LINE = st.text(st.sampled_from("ab \t日本\r\x1b\x00\u200b\u0301\ufeff\ud800é😀👩‍"), max_size=30)


def shown(line: str, *, left: int = 0, width: int = 200) -> str:
    """What of a line is on the screen."""
    return strip_of(line, (), PLAIN, SPECIAL, left=left, width=width).text


@given(LINE, st.integers(0, 40), st.integers(0, 40))
def test_a_part_of_a_line_is_as_wide_as_was_asked_for(line: str, left: int, width: int) -> None:
    """Whatever is in it, and nothing in it is obeyed."""
    strip = strip_of(line, (), PLAIN, SPECIAL, left=left, width=width)
    assert strip.cell_length == width
    assert sum(segment.cell_length for segment in strip) == width
    assert not set(strip.text) & set("\t\r\n\x1b\x00")


@given(LINE)
@example("\u0301a")
@example("日\t日 ")
def test_columns_add_up(line: str) -> None:
    """The whole line is as wide as is said, and two parts of it make the whole, with a wide character cut to blanks."""
    width = width_of(line)
    whole = shown(line, width=width)
    assert cell_len(whole) == width
    for cut in range(width + 1):
        parts = shown(line, width=cut) + shown(line, left=cut, width=width - cut)
        assert cell_len(parts) == width
        assert set(parts) <= set(whole) | {" "}
        lost = len(whole.replace(" ", "")) - len(parts.replace(" ", ""))
        assert 0 <= lost <= 2, cut  # a wide character at most, with a mark that stands on it


@given(st.lists(LINE, max_size=6))
def test_the_widest_line_is_found(lines: list[str]) -> None:
    """Without measuring those that cannot be it."""
    assert widest(lines) == max((width_of(line) for line in lines), default=0)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("plain", "plain"),
        ("\tx", "→   x"),
        ("ab\tx", "ab→ x"),
        ("abcd\tx", "abcd→   x"),
        ("日\tx", "日→ x"),
        ("end  ", "end··"),
        ("   ", "···"),
        (" \t ", "·→  ·"),
        ("a b", "a b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb", "a\\rb"),
        ("\u202e", "\\u202e"),
        ("x\u00a0y", "x\\u00a0y"),
        ("a\u200db", "a\\u200db"),
        ("e\u0301", "e\u0301"),
    ],
)
def test_what_stands_for_what(line: str, text: str) -> None:
    """Tabs, blanks at the end and what a terminal would obey."""
    assert shown(line, width=width_of(line)) == text


@pytest.mark.parametrize(
    ("left", "width", "text"), [(0, 3, "日 "), (1, 3, " 本"), (2, 2, "本"), (3, 3, " 語"), (1, 2, "  ")]
)
def test_a_wide_character_is_never_cut_in_half(left: int, width: int, text: str) -> None:
    """At an edge there are blanks in its place."""
    assert shown("日本語", left=left, width=width) == text


def test_of_a_very_long_line_the_beginning_is_shown() -> None:
    """And how much is left out; it takes no longer for that."""
    line = "x" * (LINE_CHARACTERS + 1234)
    assert shown(line, left=LINE_CHARACTERS - 2, width=40).startswith("xx … 1,234 more characters")
    assert width_of(line) == LINE_CHARACTERS + len(" … 1,234 more characters")


@pytest.mark.parametrize("line", ["abcdef", "ab\tdef", "日bcdef"])
def test_styles_stand_at_their_places(line: str) -> None:
    """A later span goes over an earlier one, wherever the part begins."""
    spans = [Span(1, 4, BOLD), Span(2, 3, RED)]

    def style_of(character: str, left: int) -> Style | None:
        for segment in strip_of(line, spans, PLAIN, SPECIAL, left=left, width=20):
            if character in segment.text:
                return segment.style
        return None

    assert style_of("e", 0) == PLAIN
    assert style_of("d", 0) == BOLD
    assert style_of("d", 2) == BOLD
    if line == "abcdef":
        assert style_of("c", 0) == BOLD + RED
        assert style_of("c", 2) == BOLD + RED
        assert style_of("a", 0) == PLAIN
