"""Waiting for a condition in the event loop, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 5.0


async def until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Let the event loop turn until `condition` holds. Raises AssertionError, naming `what`, when it never does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.002)
