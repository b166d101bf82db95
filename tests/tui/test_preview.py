"""The look into a file that is about to be picked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pairside.tui import preview as preview_module
from pairside.tui.preview import Preview
from tests.tui.mounted import Stage, mounted


@contextlib.asynccontextmanager
async def looking(path: Path | None, *, size: tuple[int, int] = (60, 12)) -> AsyncIterator[Stage[Preview]]:
    """A look into a file."""
    view = Preview()
    view.id = "preview"
    async with mounted(view, size=size, focus=False) as at:
        view.show(None if path is None else str(path))
        await view.settled()
        await at.settle()
        yield at


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "It is empty."),
        (b"\x00\xff\xfe\x00", "It is no text (neither UTF-8 nor UTF-16)."),
        (b"one\ntwo", "  2 two"),
        (b"\xef\xbb\xbfbom\n", "  1 \\ufeffbom"),
        ("wide\n".encode("utf-16"), "  1 \\ufeffwide"),
        ("日本\ttab  \n\x1b[31mred\n".encode(), "日本→   tab··"),
        (b"one\r\ntwo\r\n", "  2 two"),
    ],
)
async def test_any_content_is_shown_for_what_it_is(workspace: Path, data: bytes, words: str) -> None:
    """Texts with all that is in them, and in words why there is nothing to see."""
    path = workspace / "a.txt"
    path.write_bytes(data)
    async with looking(path) as at:
        await at.see(words)
        assert "\x1b" not in at.screen


async def test_what_cannot_be_read_says_why(workspace: Path) -> None:
    """No such file, a folder, a pipe that nobody writes to, a file that is too large."""
    async with looking(workspace / "gone") as at:
        await at.see("It cannot be read: No such file or directory.")
        at.view.show(str(workspace))
        await at.see("A folder with 0 entries.")
        os.mkfifo(workspace / "pipe")
        at.view.show(str(workspace / "pipe"))
        await at.see("It cannot be read")
        at.view.show(None)
        await at.settle()
        assert at.view.lines == ()


async def test_a_large_file_is_not_shown(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take long, and agents are not told of its lines either."""
    monkeypatch.setattr(preview_module, "READ_BYTES", 2**20)
    (workspace / "big").write_bytes(b"x" * (2**20 + 1))
    async with looking(workspace / "big") as at:
        await at.see("It is larger than 1 MiB.")


async def test_lines_that_are_wanted_before_it_was_read_are_chosen_then(workspace: Path) -> None:
    """Those that were asked for last, and they are scrolled to; another file forgets them."""
    (workspace / "a").write_text("".join(f"line {number}\n" for number in range(1, 100)))
    (workspace / "b").write_text("b\n")
    async with looking(None) as at:
        at.view.show(str(workspace / "a"), (1, 1))
        at.view.show(str(workspace / "a"), (70, 71))
        await at.see("█ 71 line 71", "█ 72 line 72")
        assert at.view.chosen == (70, 71)
        at.view.show(str(workspace / "a"), (10, 10))
        await at.see("█ 11 line 11")
        at.view.show(str(workspace / "b"))
        await at.see("  1 b")
        assert at.view.chosen is None


async def test_the_file_that_was_asked_for_last_is_shown(workspace: Path) -> None:
    """However quickly others were passed over."""
    for number in range(20):
        (workspace / str(number)).write_text(f"this is {number}.\n")
    async with looking(None) as at:
        for number in range(20):
            at.view.show(str(workspace / str(number)))
        await at.see("this is 19.")
