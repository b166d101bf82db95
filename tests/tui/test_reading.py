"""What proposals and changes have in common: lists and diffs, gone through key by key, searched, clicked, resized."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from textual.events import MouseScrollDown
from textual.geometry import Offset
from textual.widget import Widget

from pairside.tui.reviews import ReviewsView
from tests.held import never_held
from tests.tui.mounted import Stage, mounted
from tests.tui.screens import approve
from tests.tui.texts import Proposals, proposal

OLD = "".join(f"line {number}\n" for number in range(1, 61))
NEW = OLD.replace("line 4\n", "line four\n").replace("line 31\n", "line 31\nnew\n").replace("line 51\n", "")
BAR = " ▁▂▃▄▅▆▇█"
"""What a scroll bar is made of."""
HELD_SECONDS = 1.0
"""So much time of its own thread the event loop may take in one piece, where texts are large."""


@contextlib.asynccontextmanager
async def reading(*told: dict[str, object], size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage[ReviewsView]]:
    """A view of proposals, with the first one shown; without any, of one with three hunks."""
    proposals = Proposals(*(told or [proposal(1, "a.py", OLD, NEW)]))
    async with mounted(ReviewsView(proposals.ask), size=size) as at:
        at.view.show(proposals.told)
        await at.see("hunk 1 of")
        yield at


def top(at: Stage[ReviewsView]) -> str:
    """The first line of the diff."""
    return at.screen.split("\n")[at.view.diff.region.y].strip(BAR)


def bottom(at: Stage[ReviewsView]) -> str:
    """The last line of the diff."""
    region = at.view.diff.region
    return at.screen.split("\n")[region.y + region.height - 1].strip(BAR)


def wheel(target: Widget) -> MouseScrollDown:
    """One click of the wheel."""
    return MouseScrollDown(target, 1, 1, 0, 0, 0, False, False, False)


@pytest.mark.parametrize(("next", "previous"), [("n", "p"), ("right_square_bracket", "left_square_bracket")])
async def test_hunks_are_gone_through(next: str, previous: str) -> None:
    """Forth and back; after the last one the text goes on, and before the first one it goes back."""
    async with reading() as at:
        assert "hunk 1 of 3" in at.screen
        await at.press(next)
        await at.see("hunk 2 of 3, all chosen", "▌ [x] hunk 2 of 3")
        await at.press(next)
        await at.see("hunk 3 of 3, all chosen", "▌ [x] hunk 3 of 3", "- line 51")
        await at.press(next, next)
        assert at.view.diff.current == 2
        await at.press(previous, previous)
        await at.see("▌ [x] hunk 1 of 3")
        await at.press(previous)
        assert at.view.diff.current == 0
        assert top(at).endswith("line 1")


async def test_space_chooses_and_leaves_out() -> None:
    """The head of the hunk says it, in a box and in words, and the title counts."""
    async with reading() as at:
        await at.press("space")
        await at.see("▌ [ ] hunk 1 of 3", "left out", "2 chosen")
        await at.press("space")
        await at.see("▌ [x] hunk 1 of 3", "accept", "all chosen")


async def test_w_shows_the_whole_file() -> None:
    """All unchanged lines come between the hunks, and go again; what was on top stays there."""
    async with reading() as at:
        await at.press("n", "w")
        await at.see("whole file")
        assert "unchanged lines" not in at.screen
        assert at.view.diff.virtual_size.height == 60 + 2 + 3
        await at.press("w")
        await at.miss("whole file")


@pytest.mark.parametrize("size", [(80, 24), (130, 24), (170, 24)])
async def test_v_arranges_the_texts(size: tuple[int, int]) -> None:
    """By width, one under the other, side by side, whatever the width; then by width again."""
    async with reading(size=size) as at:
        wide = size[0] == 130  # at 170 the list stands beside it, and takes its room
        assert at.view.diff.is_side_by_side is wide
        await at.press("v")
        await at.see("one under the other", "- line 4")
        assert not at.view.diff.is_side_by_side
        await at.press("v")
        await at.see("side by side")
        assert any("- line 4" in line and "+ line four" in line for line in at.screen.split("\n"))
        await at.press("v")
        await at.miss("side by side")
        assert at.view.diff.is_side_by_side is wide


async def test_enter_goes_into_the_diff_and_escape_to_the_list() -> None:
    """There the keys that move go through its lines."""
    async with reading(proposal(1, "a.py", OLD, NEW), proposal(2, "b.py", OLD, NEW)) as at:
        await at.press("j")
        await at.see("Review 2:")
        await at.press("k", "enter")
        await at.see("Review 1:")
        assert at.view.diff.has_focus
        steps = [
            ("j", "line 2"), ("down", "line 3"), ("k", "line 2"), ("up", "line 1"), ("up", "line 1"),
        ]  # fmt: skip
        for key, line in steps:
            await at.press(key)
            assert top(at).endswith(line), key
        await at.press("end")
        assert bottom(at).endswith("line 54") or "unchanged" in bottom(at)
        end = at.view.diff.scroll_y
        await at.press("home")
        assert top(at).endswith("line 1")
        await at.press("G")
        assert at.view.diff.scroll_y == end
        await at.press("g", "ctrl+f")
        page = at.view.diff.scroll_y
        assert page > 5
        await at.press("ctrl+b")
        assert at.view.diff.scroll_y == 0
        await at.press("pagedown")
        assert at.view.diff.scroll_y == page
        await at.press("pageup")
        assert at.view.diff.scroll_y == 0
        await at.press("escape", "down")
        await at.see("Review 2:")
        assert at.view.list.has_focus


async def test_pages_turn_while_words_are_typed() -> None:
    """The keys that the search does not need go to the diff."""
    async with reading() as at:
        await at.press("slash", *"line", "pagedown")
        assert at.view.diff.scroll_y > 5
        await at.press("pageup")
        assert at.view.diff.scroll_y == 0


async def test_files_are_gone_through_from_within_the_diff() -> None:
    """J and K go to the next file and the one before, and stop at the ends."""
    told = [proposal(number, f"{number}.py", OLD, NEW) for number in (1, 2, 3)]
    async with reading(*told) as at:
        await at.press("enter")
        for key, number in (("K", 1), ("J", 2), ("J", 3), ("J", 3), ("K", 2)):
            await at.press(key)
            await at.see(f"Review {number}:")
        assert at.view.diff.has_focus


async def test_a_long_line_is_moved_to_the_side() -> None:
    """By arrows and letters; never further than the line is long."""
    line = "".join(f"{number:03}," for number in range(100))
    async with reading(proposal(1, "a.txt", None, f"{line}end\n")) as at:
        await at.see("+ 000,001,")
        await at.press("enter", "right")
        await at.see("+ 002,003,")
        await at.press("l")
        await at.see("+ 004,005,")
        await at.press("h", "left")
        await at.see("+ 000,001,")
        await at.press("left", *["right"] * 60)
        await at.see("099,end")


async def test_words_are_searched() -> None:
    """While they are typed, with the place and the number of places; forth, back and around."""
    async with reading() as at:
        await at.press("slash", *"LINE 3")
        await at.see("not shown (w: all lines)")  # upper case means upper case
        await at.press(*["backspace"] * 6, *"line 3")
        await at.see("1 of 6")  # 3, and 30 to 34

        await at.press("enter")
        await at.see("2 of 6")
        await at.press("up", "up")
        await at.see("6 of 6")
        await at.press("down")
        await at.see("1 of 6")
        await at.press("shift+enter")
        await at.see("6 of 6")
        await at.press("escape")
        assert at.view.diff.has_focus
        assert "Search:" not in at.screen
        await at.press("n")
        assert at.view.diff.current >= 0


async def test_a_search_goes_on_where_the_layout_is_another() -> None:
    """Unchanged lines that were not shown are found once they are."""
    async with reading() as at:
        await at.press("slash", *"line 20")
        await at.see("not shown (w: all")
        await at.press("escape", "w", "slash", "enter")
        await at.see("1 of 1")


async def test_letters_of_a_search_decide_nothing() -> None:
    """a, r, s and the others are letters there."""
    async with reading() as at:
        await at.press("slash", *"arsenwvq1")
        await at.see("arsenwvq1")
        assert at.said == []


async def test_the_mouse_does_what_keys_do() -> None:
    """A click on a file, on a hunk, on the box of a hunk; the wheel goes through the text."""
    async with reading(proposal(1, "a.py", OLD, NEW), proposal(2, "b.py", OLD, NEW)) as at:
        await at.pilot.click(at.view.list, offset=Offset(20, 1))
        await at.see("Review 2:")
        await at.pilot.click(at.view.list, offset=Offset(20, 0))
        await at.see("Review 1:")
        lines = at.screen.split("\n")
        row = next(index for index, line in enumerate(lines) if "hunk 2 of 3," in line and "[x]" in line)
        await at.pilot.click(offset=Offset(30, row))
        await at.see("▌ [x] hunk 2 of 3")
        row = next(index for index, line in enumerate(at.screen.split("\n")) if "[x] hunk 2 of 3" in line)
        await at.pilot.click(offset=Offset(3, row))
        await at.see("▌ [ ] hunk 2 of 3")
        await at.pilot.click(offset=Offset(30, at.view.diff.region.y + 1))
        assert at.view.diff.current == 1  # an unchanged line belongs to no hunk
        at.view.diff.post_message(wheel(at.view.diff))
        await at.settle()
        assert at.view.diff.scroll_y > 0


async def test_it_survives_every_size() -> None:
    """The place stays, as far as it can; the list goes beside where there is room."""
    told = [proposal(number, f"{number}.py", OLD, NEW) for number in range(1, 21)]
    async with reading(*told) as at:
        await at.press("end", "n", "n")
        await at.see("▌ [x] hunk 3 of 3", "20.py")
        for size in ((200, 50), (40, 10), (20, 5), (10, 3), (125, 30), (80, 24)):
            await at.pilot.resize_terminal(*size)
            await at.settle()
            await at.press("up", "down")
            assert all(len(line) <= size[0] for line in at.screen.split("\n"))
            assert at.view.has_class("-wide") is (size[0] >= 160)
        await at.see("20.py")


async def test_without_colour_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, moment: None) -> None:
    """The cursor, the present hunk, what is chosen and what is changed have signs and words."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with reading(proposal(1, "a.py", OLD, NEW), proposal(2, "b.py", None, "\n")) as at:
        assert at.app.no_color
        await at.press("n", "space")
        await at.see("[ ] hunk 2 of 3")
        await approve(at.app, "without_colour")


async def test_side_by_side(moment: None) -> None:
    """Lines that became each other stand in one row."""
    async with reading(size=(130, 24)) as at:
        await approve(at.app, "side_by_side")


async def test_the_list_stands_beside_where_there_is_room(moment: None) -> None:
    """On a wide screen both have the whole height."""
    async with reading(proposal(1, "a.py", OLD, NEW), proposal(2, "b.py", None, "\n"), size=(200, 24)) as at:
        await approve(at.app, "beside")


async def test_eight_megabytes_are_gone_through_and_nothing_is_held_up() -> None:
    """Every key works, and the event loop, which draws and listens, never works long in one piece."""
    line = "line {} of a text that is very long indeed\n"
    old = "".join(line.format(number) for number in range(190_000))
    new = old.replace("line 7 ", "line seven ").replace("line 170000 ", "line many ")
    assert len(new) > 8_000_000
    found = [
        {"number": number, "old_start": at, "old_count": 1, "new_start": at, "new_count": 1}
        for number, at in ((1, 7), (2, 170_000))
    ]
    view = ReviewsView(Proposals(told := proposal(1, "big.py", old, new, found=found)).ask)
    async with mounted(view) as at, never_held(HELD_SECONDS, time.thread_time):
        at.view.show([told])
        await at.see("hunk 1 of 2", "+ line seven")
        await at.press("n", "w", "v", "v", "v", "enter", "end", "home", "pagedown", "space")
        await at.press("slash", *"many")
        await at.see("1 of 1", "+ line many")
        await at.press("escape")
        await at.pilot.resize_terminal(130, 40)
        await at.settle()


async def test_a_text_of_one_very_long_line_is_shown_in_part() -> None:
    """How much is left out is said; the rest costs nothing."""
    async with reading(
        proposal(
            1,
            "a.min.js",
            None,
            "x" * 5_000_000,
            found=[{"number": 1, "old_start": 0, "old_count": 0, "new_start": 0, "new_count": 1}],
        )
    ) as at:
        await at.press("enter", "right", "end")
        at.view.diff.scroll_to(x=at.view.diff.max_scroll_x, animate=False)
        await at.see("4,990,000 more characters")
