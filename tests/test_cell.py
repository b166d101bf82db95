"""The latest value, overwritten and followed."""

from __future__ import annotations

import asyncio

from pairside.cell import Cell


async def test_a_follower_sees_the_newest_value_and_may_skip_older_ones() -> None:
    """Values that come while a follower is busy are skipped but for the last, which is never missed."""
    cell = Cell(0)
    seen: list[int] = []
    last_seen = asyncio.Event()

    async def follow() -> None:
        version = cell.version
        while True:
            version = await cell.changed(version)
            seen.append(cell.value)
            if cell.value == 99:
                last_seen.set()

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0)
    for value in range(1, 100):
        cell.set(value)
    await asyncio.wait_for(last_seen.wait(), 5)
    assert seen == [99]
    follower.cancel()


async def test_a_change_between_reading_and_waiting_is_not_missed() -> None:
    """Whoever waits with the version it has read returns at once when the value is newer already."""
    cell = Cell("a")
    version = cell.version
    cell.set("b")
    assert await asyncio.wait_for(cell.changed(version), 5) == cell.version


async def test_an_equal_value_wakes_nobody_and_a_touch_wakes_all() -> None:
    """Only what differs is news, unless the contents of the same object changed."""
    contents: list[int] = []
    cell = Cell(contents)
    followers = [asyncio.create_task(cell.changed(cell.version)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not cell.set([])
    await asyncio.sleep(0)
    assert not any(follower.done() for follower in followers)
    contents.append(1)
    cell.touch()
    assert await asyncio.wait_for(asyncio.gather(*followers), 5) == [1, 1, 1]


async def test_each_follower_waits_no_longer_than_it_said() -> None:
    """Whatever the others wait for: one timer serves all of them, and is set anew for those who are left."""
    cell = Cell(0)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def waits(seconds: float | None) -> float:
        assert await cell.changed(0, seconds=seconds) == 0
        return loop.time() - began

    endless = asyncio.create_task(waits(None))
    waited = await asyncio.wait_for(asyncio.gather(*map(waits, (0.08, 0.02, 0.05, 0.02))), 5)
    assert all(spent >= seconds for spent, seconds in zip(waited, (0.08, 0.02, 0.05, 0.02), strict=True))
    assert waited[1] < waited[2] < waited[0]
    assert not endless.done()
    endless.cancel()
    await asyncio.gather(endless, return_exceptions=True)
    assert cell._timer is None


async def test_a_timer_ends_with_the_last_follower() -> None:
    """So that a cell holds nothing of an event loop in which nobody follows it any more."""
    cell = Cell(0)
    followers = [asyncio.create_task(cell.changed(0, seconds=60)) for _ in range(3)]
    await asyncio.sleep(0)
    timer = cell._timer
    assert timer is not None
    for follower in followers[:2]:
        follower.cancel()
    await asyncio.gather(*followers[:2], return_exceptions=True)
    assert cell._timer is timer
    cell.set(1)
    assert await asyncio.wait_for(followers[2], 5) == 1
    assert timer.cancelled()
    assert cell._timer is None


async def test_a_follower_that_gives_up_leaves_nothing_behind() -> None:
    """A thousand cancelled followers cost the cell nothing, and setting it afterwards is fine."""
    cell = Cell(0)
    followers = [asyncio.create_task(cell.changed(cell.version)) for _ in range(1000)]
    await asyncio.sleep(0)
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    assert not cell._waiters
    assert cell.set(1)
