"""How a comparison is drawn, and where it stands when it becomes another."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from rich.style import Style

from pairside.tui.diff import DiffView, Wording
from pairside.tui.rows import Comparison
from tests.tui.mounted import Stage, mounted
from tests.tui.texts import compared
from tests.until import until

WORDING = Wording(chosen="take", left_out="leave")
OLD = "".join(f"value_{number} = {number}\n" for number in range(1, 1201))
NEW = OLD.replace("value_10 = 10\n", "value_10 = 11\n").replace("value_600 = 600\n", "other\n")


@contextlib.asynccontextmanager
async def drawn(comparison: Comparison, *, name: str = "a.py", width: int = 80) -> AsyncIterator[Stage[DiffView]]:
    """A diff on the screen, with all hunks chosen."""
    view = DiffView(WORDING, id="diff")
    async with mounted(view, size=(width, 20), focus=False) as at:
        view.show("key", comparison, name, chosen=True)
        await at.settle()
        yield at


def styles(at: Stage[DiffView], line: str) -> dict[str, Style]:
    """The pieces of the one line of the screen with these words, and the style of each."""
    (row,) = [number for number, text in enumerate(at.screen.split("\n")) if line in text]
    strip = at.view.render_line(row - at.view.region.y)
    return {segment.text: segment.style for segment in strip if segment.style is not None}


async def test_what_differs_within_a_line_stands_out() -> None:
    """Where as many lines came as went."""
    async with drawn(compared(OLD, NEW)) as at:
        added = styles(at, "+ value_10 = 11")
        one = next(style for text, style in added.items() if text == "1")
        rest = next(style for text, style in added.items() if "value" in text)
        assert one.bgcolor != rest.bgcolor


async def test_a_hunk_that_is_left_out_says_so_and_is_pale() -> None:
    """In its head, in words; its lines lose their colours."""
    async with drawn(compared(OLD, NEW)) as at:
        before = next(style for text, style in styles(at, "+ value_10 = 11").items() if "value" in text)
        at.view.action_toggle_hunk()
        await at.see("[ ] hunk 1 of 2", "leave")
        after = next(style for text, style in styles(at, "+ value_10 = 11").items() if "value" in text)
        assert before.bgcolor != after.bgcolor


async def test_numbers_of_lines_have_the_room_that_they_need() -> None:
    """Four digits where there are thousands."""
    async with drawn(compared(OLD, NEW)) as at:
        at.view.action_whole()
        at.view.action_scroll_end()
        await at.see("1200 1200   value_1200")


async def test_source_code_has_colours_and_other_text_has_none() -> None:
    """By its name, in both texts, as soon as they are known."""
    async with drawn(compared("def f(): pass\n", "def g(): pass\n")) as at:
        await until(lambda: len(styles(at, "+ def g")) > 5, "it has colours")
        parts = styles(at, "+ def g")
        assert parts["def"].color != parts["g"].color
    async with drawn(compared("def f(): pass\n", "def g(): pass\n"), name="a.unknown") as at:
        await at.settle()
        assert not any(text == "def" for text in styles(at, "+ def g"))


async def test_a_newer_state_of_the_same_keeps_place_and_choice() -> None:
    """Another one begins at its first hunk, with nothing of what was chosen before."""
    async with drawn(compared(OLD, NEW)) as at:
        at.view.action_next_hunk()
        at.view.action_toggle_hunk()
        await at.see("▌ [ ] hunk 2 of 2")
        place = at.view.scroll_y
        at.view.show("key", compared(OLD, NEW), "a.py", chosen=True)
        await at.settle()
        assert (at.view.scroll_y, at.view.current, at.view.chosen) == (place, 1, frozenset({1}))
        more = NEW.replace("value_5 = 5\n", "new\nvalue_5 = 5\n")
        at.view.show("key", compared(OLD, more), "a.py", chosen=True)
        await at.see("hunk 3 of 3", "- value_600")
        assert at.view.chosen == {1, 2, 3}  # other hunks have these numbers now
        at.view.show("other", compared(OLD, NEW), "a.py", chosen=False)
        await at.see("▌ [ ] hunk 1 of 2")
        assert at.view.chosen == frozenset()


async def test_what_has_just_come_is_gone_to() -> None:
    """The first hunk that was not there before, the last one of what was not there at all."""
    async with drawn(compared(OLD, NEW)) as at:
        at.view.show("other", compared(OLD, NEW), "a.py", chosen=False, newest=True)
        await at.see("▌ [ ] hunk 2 of 2")
        more = NEW.replace("value_300 = 300\n", "three hundred\n")
        at.view.show("other", compared(OLD, more), "a.py", chosen=False, newest=True)
        await at.see("▌ [ ] hunk 2 of 3", "+ three hundred")
        at.view.show("other", compared(OLD, more), "a.py", chosen=False, newest=True)
        await at.see("▌ [ ] hunk 2 of 3")


async def test_a_hunk_longer_than_the_screen_is_shown_from_its_head() -> None:
    """Its end can be scrolled to."""
    long = "".join(f"new {number}\n" for number in range(100))
    async with drawn(compared("a\n" * 50, "a\n" * 25 + long + "a\n" * 25)) as at:
        await at.see("▌ [x] hunk 1 of 1", "+ new 0", "+ new 10")
        at.view.action_page_down()
        await at.see("+ new 20")


async def test_a_line_that_goes_on_beyond_the_screen_says_so() -> None:
    """What was changed at the end of a long line can be found: there is a mark, and the keys to the side."""
    long = "x" * 200
    async with drawn(compared(f"short\n{long}one\n", f"short\n{long}two\n")) as at:
        assert [line[-1] for line in at.screen.split("\n") if "xxx" in line] == ["›", "›"]
        assert not at.line("short").endswith("›")
        for _ in range(30):
            at.view.action_right()
        await at.see("xone", "xtwo")
        assert not at.line("xtwo").endswith("›")
        at.view.action_left()
        await at.see("›")


async def test_nothing_can_be_shown() -> None:
    """And no key fails on it."""
    async with drawn(compared("a\n", "b\n")) as at:
        at.view.clear()
        for name in ("next_hunk", "previous_hunk", "toggle_hunk", "whole", "arrangement", "scroll_end", "page_down"):
            getattr(at.view, f"action_{name}")()
        assert await at.view.search("a") == (0, 0)
        await at.settle()
        assert "hunk" not in at.screen
        for comparison in (compared("", ""), compared("", "\n"), compared("\n", ""), compared("x", "x")):
            at.view.show(object(), comparison, "a.py", chosen=True)
            await at.settle()


async def test_two_texts_side_by_side_need_room() -> None:
    """A new file has but one text, which has all the room."""
    async with drawn(compared("a\n", "b\n"), width=130) as at:
        assert at.view.is_side_by_side
        at.view.show("new", compared("", "b\n"), "a.py", chosen=True)
        await at.settle()
        assert not at.view.is_side_by_side
        await at.pilot.resize_terminal(100, 20)
        at.view.show("key", compared("a\n", "b\n"), "a.py", chosen=True)
        await at.settle()
        assert not at.view.is_side_by_side
