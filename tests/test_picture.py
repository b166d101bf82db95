"""The pictures in the README: their renderer draws what a terminal shows, and what is committed is fit to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pyte
import pytest
from docs import picture
from docs.picture import Cell, Run, Style

SVG = "{http://www.w3.org/2000/svg}"
RED, GREEN = picture.PALETTE["red"], picture.PALETTE["green"]


def rows(written: str, *, columns: int = 20, lines: int = 1) -> list[list[Cell]]:
    """The cells of a terminal in which a text was written."""
    screen = pyte.Screen(columns, lines)
    pyte.Stream(screen).feed(written)
    return picture.cells(screen)


def drawn(*panes: str, columns: int = 20, lines: int = 1) -> ElementTree.Element:
    """The parsed picture of terminals in which these texts were written."""
    cells = [rows(pane, columns=columns, lines=lines) for pane in panes]
    return ElementTree.fromstring(picture.svg(cells, columns, "A <title>", "A & B"))


def spans(root: ElementTree.Element) -> list[ElementTree.Element]:
    """The pieces of text, in the order of the document."""
    return list(root.iter(f"{SVG}tspan"))


def rule(root: ElementTree.Element, span: ElementTree.Element) -> str:
    """What the style sheet says of a piece of text."""
    sheet = root.findtext(f"{SVG}style") or ""
    match = re.search(rf"\.{span.get('class')}{{([^}}]*)}}", sheet)
    return match[1] if match else ""


def test_what_stands_on_the_screen_is_in_the_picture_character_by_character() -> None:
    """Characters that XML wants escaped come out as they were, and the title and description with them."""
    root = drawn("""if a < b && c > "d": '""", columns=30)
    assert "".join(root.itertext()).rstrip().endswith("""if a < b && c > "d": '""")
    assert root.findtext(f"{SVG}title") == "A <title>"
    assert root.findtext(f"{SVG}desc") == "A & B"


def test_a_character_that_xml_forbids_is_replaced() -> None:
    """Whatever a cell holds, the picture can be parsed."""
    cell = Cell("a\x00\x1b\ud800\ufffeb")
    root = ElementTree.fromstring(picture.svg([[[cell]]], 20, "t", "d"))
    assert [span.text for span in spans(root)] == ["a\ufffd\ufffd\ufffd\ufffdb"]


def test_a_wide_character_takes_two_columns_and_what_follows_keeps_its_place() -> None:
    """Each piece says where it starts and how wide it is, so that the grid holds in any font."""
    [row] = rows("a世界b é")
    assert [run for run in picture.runs(row) if run.text.strip()] == [
        Run(0, "a", Style(), 1),
        Run(1, "世", Style(), 2),
        Run(3, "界", Style(), 2),
        Run(5, "b ", Style(), 2),
        Run(7, "é", Style(), 1),
    ]
    widths = [int(span.get("textLength", 0)) // picture.CELL_WIDTH for span in spans(drawn("a世b"))]
    assert widths == [1, 2, 1]


def test_equal_characters_of_another_font_share_a_piece() -> None:
    """A rule across the screen is one piece and no more."""
    [row] = rows("─────")
    assert picture.runs(row)[0] == Run(0, "─────", Style(), 5)


def test_colours_come_from_the_cells() -> None:
    """The sixteen colours by name, the others by value, those of the terminal by none at all."""
    root = drawn("\x1b[31mred\x1b[0m\x1b[38;2;1;2;3mown\x1b[0m\x1b[38;5;196mcube\x1b[0mplain")
    assert [(span.text, rule(root, span)) for span in spans(root)] == [
        ("red", f"fill:{RED}"),
        ("own", "fill:#010203"),
        ("cube", "fill:#ff0000"),
        ("plain", ""),
    ]


def test_bold_italic_and_lines_are_kept() -> None:
    """A piece of text looks as the terminal was told to show it."""
    root = drawn("\x1b[1;3mab\x1b[0m\x1b[4;9mcd")
    assert [rule(root, span) for span in spans(root)[:2]] == [
        "font-weight:bold;font-style:italic",
        "text-decoration:underline line-through",
    ]


def test_a_background_is_drawn_behind_its_cells_also_where_they_are_blank() -> None:
    """Reversed cells exchange both colours; a blank one is seen by its background alone."""
    root = drawn("a\x1b[7m  \x1b[42;7mb\x1b[0m")
    behind = [rect for rect in root.iter(f"{SVG}rect") if rect.get("height") == str(picture.CELL_HEIGHT)]
    assert [(rect.get("x"), rect.get("width"), rect.get("fill")) for rect in behind] == [
        (str(picture.MARGIN + 8), "16", picture.FOREGROUND),
        (str(picture.MARGIN + 24), "8", picture.FOREGROUND),
    ]
    assert [(span.text, rule(root, span)) for span in spans(root)][:2] == [("a", ""), ("b", f"fill:{GREEN}")]


def test_the_terminals_stand_side_by_side() -> None:
    """The second begins behind the first and a gap, and both are as high as their lines."""
    root = drawn("left", "right", columns=10, lines=2)
    left, right = spans(root)
    assert int(right.get("x", 0)) - int(left.get("x", 0)) == (10 + picture.GAP) * picture.CELL_WIDTH
    assert int(root.get("height", 0)) == 2 * picture.CELL_HEIGHT + 2 * picture.MARGIN
    assert int(root.get("width", 0)) == (20 + picture.GAP) * picture.CELL_WIDTH + 2 * picture.MARGIN


def test_a_background_that_most_of_the_screen_has_is_that_of_the_picture() -> None:
    """A program that gives one to all of the screen costs no rectangle for each line; what differs from it is kept."""
    root = drawn(f"\x1b[48;2;1;2;3m{' ' * 17}a\x1b[41mb\x1b[49mc")
    sheet, *behind = root.iter(f"{SVG}rect")
    assert sheet.get("fill") == "#010203"
    assert [(rect.get("width"), rect.get("fill")) for rect in behind] == [("8", RED), ("8", picture.BACKGROUND)]


def test_an_upright_line_is_drawn_in_one_piece() -> None:
    """Lines of text do not touch, but windows are parted by one line of one colour; a row without it parts it."""
    root = drawn("a│b\r\n │\r\n\r\n │ \x1b[31m│", columns=6, lines=5)
    drawn_lines = [(path.get("d"), path.get("stroke")) for path in root.iter(f"{SVG}path")]
    top, high, x = picture.MARGIN, picture.CELL_HEIGHT, picture.MARGIN + 12
    assert drawn_lines == [
        (f"M{x} {top}V{top + 2 * high}", picture.FOREGROUND),
        (f"M{x} {top + 3 * high}V{top + 4 * high}", picture.FOREGROUND),
        (f"M{x + 16} {top + 3 * high}V{top + 4 * high}", RED),
    ]
    assert "".join("".join(line.itertext()) for line in root.iter(f"{SVG}text")).split() == ["a", "b"]


def test_an_upright_line_behind_a_wide_character_keeps_its_column() -> None:
    """The columns count, not the characters."""
    [path] = drawn("世│").iter(f"{SVG}path")
    assert path.get("d") == f"M{picture.MARGIN + 20} {picture.MARGIN}V{picture.MARGIN + picture.CELL_HEIGHT}"


def test_blanks_between_words_are_there_for_whoever_copies_a_line() -> None:
    """A line that is selected and copied reads as on the screen."""
    [line] = drawn("a\x1b[5C\x1b[31mb").iter(f"{SVG}text")
    assert "".join(line.itertext()).rstrip() == "a     b"


def test_a_colour_that_nobody_knows_is_an_error() -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="mauve"):
        picture.colour("mauve")


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as WCAG 2 defines it."""
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", [name for name in picture.PALETTE if name != "black"])
def test_every_colour_can_be_read_on_the_background(name: str) -> None:
    """The contrast is that which WCAG 2 asks of text, 4.5 to 1; black is a background."""
    assert contrast(picture.PALETTE[name], picture.BACKGROUND) >= 4.5


def test_a_picture_that_nobody_knows_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped name makes nothing, and says which there are."""
    assert picture.main(["nevim"]) == 1
    assert capsys.readouterr().err == "no picture: there is none called nevim; there are picture, changes, neovim\n"


# The pictures that are committed.


@pytest.fixture(params=picture.PICTURES.values(), ids=list(picture.PICTURES))
def one(request: pytest.FixtureRequest) -> picture.Picture:
    """Each of them."""
    found: picture.Picture = request.param
    return found


def parsed(one: picture.Picture) -> ElementTree.Element:
    """The committed document."""
    return ElementTree.parse(one.path).getroot()


def said(one: picture.Picture) -> str:
    """All of its text, line by line."""
    return "\n".join("".join(line.itertext()) for line in parsed(one).iter(f"{SVG}text"))


def test_a_picture_is_small_and_has_a_title_and_a_description(one: picture.Picture) -> None:
    """It loads at once, and whoever cannot see it is told what it shows."""
    root = parsed(one)
    assert root.tag == f"{SVG}svg"
    assert root.findtext(f"{SVG}title") == one.title
    assert root.findtext(f"{SVG}desc") == one.description
    assert root.get("role") == "img"
    assert one.path.stat().st_size <= picture.MAX_BYTES


def test_a_picture_is_shown_in_the_readme(one: picture.Picture) -> None:
    """With words for whoever cannot see it."""
    readme = (picture.FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"!\[[^]]{{20,}}\]\(docs/{re.escape(one.path.name)}\)", readme)


def test_the_picture_shows_a_proposal_in_both_terminals() -> None:
    """The agent that was asked and waits, and the hunks, of which one is left out."""
    shown = said(picture.TERMINALS)
    for words in (
        "Claude Code",
        "Tidy up shop.py",
        "Opened changes in pairside",
        "Review 1: Claude Code proposes shop.py",
    ):
        assert words in shown
    for words in ("[x] hunk 1 of 2", "[ ] hunk 2 of 2, line 12 → line 9, +1 -1, left out", "1 chosen"):
        assert words in re.sub(r"\s+", " ", shown)


def test_the_picture_of_changes_shows_what_is_about_to_be_undone() -> None:
    """The turn, the file that nobody reviewed, and the hunk that was chosen."""
    shown = re.sub(r"\s+", " ", said(picture.CHANGES))
    for words in ("Turn 1 Claude Code", "shop.py (unreviewed)", "[x] hunk 2 of 2", "to be undone", "u undoes them"):
        assert words in shown


def test_the_picture_of_neovim_shows_a_proposal_its_hint_and_the_question_of_the_agent() -> None:
    """Both sides of the diff are on it, what to press, and beside it the agent that asks the same."""
    shown = said(picture.NEOVIM)
    for words in (
        "original",
        ":w accept · :q reject · do/dp hunks",
        "sum += price",
        "sum(prices)",
        "math.pi * radius**2",
    ):
        assert words in shown
    for words in ("Claude Code", "Tidy up shop.py", "Opened changes in Neovim", "Do you want to overwrite shop.py?"):
        assert words in shown


def test_the_changes_on_the_picture_of_neovim_have_their_colours() -> None:
    """Lines of the file that go, lines that change and the words in them stand on three backgrounds of their own."""
    root = parsed(picture.NEOVIM)
    kinds = {words: behind for words, _, behind in pieces(root)}
    gone, changed, word = (kinds[words] for words in ("sum = 0", "sum", "(prices)"))
    sheet = next(root.iter(f"{SVG}rect")).get("fill")
    assert len({gone, changed, word, sheet}) == 4


def pieces(root: ElementTree.Element) -> Iterator[tuple[str, str, str]]:
    """The pieces of text without the blanks around them, each with its colour and that behind it."""
    sheet, *rects = root.iter(f"{SVG}rect")
    filled = [
        (int(rect.attrib["y"]), int(rect.attrib["x"]), int(rect.attrib["width"]), rect.attrib["fill"]) for rect in rects
    ]
    for line in root.iter(f"{SVG}text"):
        for span in line.iter(f"{SVG}tspan"):
            middle = int(span.attrib["x"]) + int(span.attrib["textLength"]) // 2
            behind = [
                fill
                for top, left, width, fill in filled
                if top <= int(line.attrib["y"]) < top + picture.CELL_HEIGHT and left <= middle < left + width
            ]
            own = re.search(r"fill:(#\w+)", rule(root, span))
            yield (
                (span.text or "").strip(),
                own[1] if own else picture.FOREGROUND,
                behind[-1] if behind else sheet.attrib["fill"],
            )


def test_words_on_a_picture_can_be_read(one: picture.Picture) -> None:
    """The contrast is that which WCAG 2 asks of text, 4.5 to 1; signs and line numbers may have less."""
    worst = {
        words: round(contrast(colour, behind), 2)
        for words, colour, behind in pieces(parsed(one))
        if re.search(r"[^\W\d]", words) and contrast(colour, behind) < 4.5
    }
    assert worst == {}


def test_a_picture_holds_no_path_of_the_machine_it_was_made_on(one: picture.Picture) -> None:
    """The only absolute path is that of the little project, and nothing in the file leads elsewhere."""
    shown = said(one)
    paths = set(re.findall(r"(?<![\w.*/<])/[\w.-]+(?:/[\w.-]+)*", shown))
    assert paths == {str(picture.PROJECT)}
    # Neovim cuts names that are too long for a status line.
    assert set(re.findall(r"<\S*/\S*", shown)) <= {"</1/shop.py", "<local/bin/claude"}
    assert re.findall(r"[\w.]+@[\w.]+", shown) == []
    written = one.path.read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"]+|href|url\(|<script|<image", written) == ["http://www.w3.org/2000/svg"]
