"""Owns how tests see that an event loop goes on turning while work is done beside it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

WATCH_SECONDS = 0.02
"""Seldom enough that a pilot of the terminal UI, who waits for the process to rest, sees it rest."""


@contextlib.asynccontextmanager
async def never_held(seconds: float, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[None]:
    """Hold that the event loop is never away for longer than that in one piece while the block runs.

    With `time.thread_time` as clock only the work of the loop's own thread counts, not what it waits for.
    """
    longest = 0.0
    seen_at = clock()

    def look() -> None:
        nonlocal longest, seen_at
        longest, seen_at = max(longest, clock() - seen_at), clock()

    async def watch() -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            look()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        look()  # what held it last
    assert longest < seconds, f"the loop was held for {longest:.2f} s"
