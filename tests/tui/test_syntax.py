"""The colours of source code."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairside.tui import syntax
from pairside.tui.syntax import KINDS, Kinds, highlight, joined


def parts_of(text: str, path: str) -> list[list[tuple[str, str]]]:
    """The parts of each line as words and kinds."""
    kinds = asyncio.run(highlight(text, path))
    assert kinds is not None
    lines = text.split("\n")
    return [[(line[start:end], kind) for start, end, kind in some] for line, some in zip(lines, kinds, strict=True)]


def test_words_have_the_kinds_that_they_are() -> None:
    """By the name of the file."""
    found = parts_of('def f():\n    return "日本", 12  # why\n', "/x/a.py")
    assert ("def", "keyword") in found[0]
    assert ("f", "function") in found[0]
    assert ("12", "number") in found[1]
    assert ("# why", "comment") in found[1]
    assert any("日本" in words and kind == "string" for words, kind in found[1])


@pytest.mark.parametrize(
    "text", ["", "a\rb = 1\r\nc = 2\n", "\ufeffx = 1\n", "\n\n\nx = 1", "x = '''\na\n'''\n", "\x0cx = 1\n"]
)
def test_places_are_right_whatever_ends_lines(text: str) -> None:
    """Only LF does; nothing is taken away from the ends of a text."""
    kinds = asyncio.run(highlight(text, "a.py"))
    if not text:
        assert kinds is None
        return
    assert kinds is not None
    lines = text.split("\n")
    assert len(kinds) >= len(lines)
    for line, parts in zip(lines, kinds, strict=False):
        for start, end, kind in parts:
            assert 0 <= start < end <= len(line)
            assert kind in KINDS
    number = next(index for index, line in enumerate(lines) if "= 1" in line or "= '''" in line)
    assert any(lines[number][start:end] == "=" or kind == "string" for start, end, kind in kinds[number])


@settings(deadline=None, max_examples=60)
@given(st.text(st.sampled_from("ab=1'\"#(\n\r\t 日\x0c\u2028\\"), max_size=40))
def test_parts_lie_within_their_lines(text: str) -> None:
    """In order, and none over another."""
    kinds = asyncio.run(highlight(text, "a.py"))
    for line, parts in zip(text.split("\n"), kinds or [], strict=False):
        at = 0
        for start, end, _ in parts:
            assert at <= start < end <= len(line)
            at = end


def test_a_script_is_known_by_its_first_line() -> None:
    """Where its name says nothing."""
    assert asyncio.run(highlight("#!/bin/sh\nif true; then :; fi\n", "run")) is not None
    assert asyncio.run(highlight("just words\n", "words")) is None


def test_what_is_too_large_stays_without() -> None:
    """Texts, and lines that no person wrote."""
    assert asyncio.run(highlight("x = 1\n" * 200_000, "a.py")) is None
    assert asyncio.run(highlight("x" * 5000, "a.py")) is None


def test_what_takes_too_long_is_given_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest stays without colours."""
    monkeypatch.setattr(syntax, "HIGHLIGHT_SECONDS", 0.0)
    text = "x = 1\n" * 3000
    kinds = asyncio.run(highlight(text, "a.py"))
    assert kinds is not None
    assert len(kinds) < 3000


async def test_who_gave_up_does_not_keep_a_thread_busy() -> None:
    """Cancelled, the work soon ends."""
    text = "".join(f"def f{number}(): return {number}\n" for number in range(10_000))
    task = asyncio.create_task(highlight(text, "a.py"))
    await asyncio.sleep(0.05)
    task.cancel()
    before = time.process_time()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.process_time() - before < 1.0


def test_parts_that_touch_are_one() -> None:
    """Of the same kind only."""
    parts: Kinds = ((0, 2, "string"), (2, 5, "string"), (5, 6, "number"), (8, 9, "number"))
    assert list(joined(parts)) == [(0, 5, "string"), (5, 6, "number"), (8, 9, "number")]
    assert list(joined(())) == []
