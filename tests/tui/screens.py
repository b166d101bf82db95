"""Owns how tests look at the terminal UI: the screen as plain lines, and as it was when it was approved."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App

SCREENS = Path(__file__).parent / "screens"
WORKSPACE = re.compile(r"…(\S*)/workspace$", re.MULTILINE)
"""The folder of a test: its name depends on how the tests are run."""
LOOK_SECONDS = 0.03
LOOKS_AT_REST = 5
REST_SECONDS = 10.0


def text_of(app: App[Any]) -> str:
    """What is on the screen, in lines without blanks at their ends."""
    width, height = app.size
    lines = []
    for strip in app.screen._compositor.render_strips():
        lines.append(strip.text[:width].rstrip())
    return "\n".join(lines[:height])


async def seen(app: App[Any], condition: Callable[[str], bool], what: str, seconds: float) -> None:
    """Wait until the screen is as it should be. Raises AssertionError, with the screen, when it never is.

    It is looked at now and then only: drawing it takes longer than the app has between two looks of `until`.
    """
    deadline = time.monotonic() + seconds
    while not condition(text_of(app)):
        assert time.monotonic() < deadline, f"never seen: {what}\n{text_of(app)}"
        await asyncio.sleep(LOOK_SECONDS)


async def approve(app: App[Any], name: str) -> None:
    """Compare the screen, once it has come to rest, with the one that was approved under that name.

    With APPROVE=1 in the environment it is approved as it is. Raises AssertionError, with the screen.
    """
    found = WORKSPACE.sub(lambda match: f"…{'.' * len(match[1])}/workspace", await _at_rest(app)) + "\n"
    path = SCREENS / f"{name}.txt"
    if os.environ.get("APPROVE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text(), f"{name}: the screen is\n{found}"


async def _at_rest(app: App[Any]) -> str:
    """The screen when it has been the same at several looks, one behind the other.

    A scroll bar comes one refresh after what it is for, highlighted words when a thread has found them.
    """
    deadline = time.monotonic() + REST_SECONDS
    screen, same = text_of(app), 0
    while same < LOOKS_AT_REST:
        assert time.monotonic() < deadline, f"the screen never comes to rest:\n{screen}"
        await asyncio.sleep(LOOK_SECONDS)
        before, screen = screen, text_of(app)
        same = same + 1 if screen == before else 0
    return screen
