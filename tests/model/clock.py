"""Owns the time of a run: it stands still until it is moved on, so no load of the machine makes a timer fire."""

from __future__ import annotations

import asyncio

TURNS = 6
"""Turns of the event loop after which every task that a timer wakes has done what it can at once."""


class Clock:
    """What `time.monotonic` is while a model runs. No two moments are equal."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 1e-9
        return self.now

    async def move(self, seconds: float) -> None:
        """Move on, and let everybody who is due have their turn."""
        await turns()
        self.now += seconds
        await turns()


async def turns() -> None:
    """Let the event loop turn a few times."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
