"""Owns two ways to be told: a latest value that can be followed, and listeners that are told every event."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Cell(Generic[T]):
    """The latest value of something. Whoever follows it sees the newest value and may skip older ones.

    There is no queue behind it: a reader that is slow costs nothing, and a view that is made from the
    whole latest value cannot drift from it.
    """

    __slots__ = ("_timer", "_value", "_version", "_waiters")

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._waiters: dict[asyncio.Future[None], float] = {}
        """Who waits, and until when at most, on the clock of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        """One for all who wait: a dozen followers that wake and wait again set it once."""

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    @property
    def version(self) -> int:
        """How often the value was replaced; pass it to `changed`."""
        return self._version

    def set(self, value: T) -> bool:
        """Replace the value; an equal one is dropped. Returns whether followers were woken."""
        if value == self._value:
            return False
        self._value = value
        self.touch()
        return True

    def touch(self) -> None:
        """Wake the followers although the value object is the same (its contents may have changed)."""
        self._version += 1
        for waiter in self._waiters:
            _wake(waiter)
        self._waiters.clear()

    async def changed(self, since: int, *, seconds: float | None = None) -> int:
        """Wait until the value is newer than version `since`, at most `seconds`; returns the version at the end."""
        if self._version != since:
            return self._version
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters[waiter] = until = math.inf if seconds is None else loop.time() + seconds
        self._wind(loop, until)
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)
            if not self._waiters and self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return self._version

    def _wind(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Have the timer go off at a moment, if it does not do so before."""
        if until < (math.inf if self._timer is None else self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(until, self._ring, loop, until)

    def _ring(self, loop: asyncio.AbstractEventLoop, moment: float) -> None:
        self._timer = None
        for waiter, until in tuple(self._waiters.items()):
            if until <= moment:
                del self._waiters[waiter]
                _wake(waiter)
        self._wind(loop, min(self._waiters.values(), default=math.inf))


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Listeners(Generic[T]):
    """Those who are told what happens, each by a method of the event's name."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[T] = []

    @contextmanager
    def listen(self, listener: T) -> Iterator[None]:
        """Tell `listener` while the block runs."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def tell(self, event: str, *subject: object) -> None:
        """Tell everybody. One that raises is logged, and all others are told."""
        for listener in tuple(self._listeners):
            try:
                getattr(listener, event)(*subject)
            except Exception:
                log.exception("a listener failed on %s", event)
