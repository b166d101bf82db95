"""Owns bounded waiting: the only loop in these tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.05


class TimedOut(AssertionError):
    """A condition did not come true in time; the message says which, and what was there instead."""


def until(
    condition: Callable[[], T | None], *, timeout: float, what: str | Callable[[], str], every: float = POLL_SECONDS
) -> T:
    """Return the first true value of `condition`, asked at intervals of `every` seconds for at most `timeout` seconds.

    `what` describes the condition; as a function it is called only after a failure.

    Raises:
        TimedOut: it did not come true.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimedOut(f"not within {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(every)
