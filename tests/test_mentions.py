"""The mentions that wait for an agent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pairside.mentions import Mention, Mentions, params


@pytest.mark.parametrize(
    ("path", "cwd", "told"),
    [
        ("/p/a.py", "/p", "a.py"),
        ("/p/sub/a.py", "/p", "sub/a.py"),
        ("/p/sub/a.py", "/p/", "sub/a.py"),
        ("/p/a.py", "/", "p/a.py"),
        ("/p/a.py", "/p/sub", "/p/a.py"),
        ("/project2/f", "/project", "/project2/f"),
        ("/p", "/p", "/p"),
        ("/p/a.py", None, "/p/a.py"),
        ("/p/sp ace é.py", "/p", "sp ace é.py"),
    ],
)
def test_a_path_is_told_from_the_working_directory_where_it_lies_inside(path: str, cwd: str | None, told: str) -> None:
    """Inside means component by component, not by the first letters; outside the path stays as it is."""
    assert params(Mention(path), cwd) == {"filePath": told}


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (None, None, {}),
        (0, 0, {"lineStart": 0, "lineEnd": 0}),
        (2, 4, {"lineStart": 2, "lineEnd": 4}),
        (2, None, {"lineStart": 2, "lineEnd": 2}),
    ],
)
def test_lines_are_told_from_zero_and_left_out_where_there_are_none(
    first: int | None, last: int | None, told: dict[str, Any]
) -> None:
    """Claude Code ignores a mention with a null in it, and lines when only the first is there."""
    assert params(Mention("/a", first, last), None) == {"filePath": "/a", **told}


async def test_mentions_are_taken_in_the_order_in_which_they_came_and_once() -> None:
    """What was taken neither waits nor expires any more."""
    expired: list[Mention] = []
    mentions = Mentions(0.01, expired.append)
    given = [Mention(f"/{number}") for number in range(5)]
    for mention in given:
        mentions.wait(mention)
    assert len(mentions) == 5
    assert mentions.take() == given
    assert (len(mentions), mentions.take()) == (0, [])
    sentinel = Mention("/sentinel")
    mentions.wait(sentinel)
    async with asyncio.timeout(5):
        while not expired:
            await asyncio.sleep(0.001)
    assert expired == [sentinel]


async def test_each_mention_expires_on_its_own_every_time() -> None:
    """The second and the third wait time out like the first, each told once, the earliest first."""
    expired: asyncio.Queue[Mention] = asyncio.Queue()
    mentions = Mentions(0.02, expired.put_nowait)
    for generation in range(3):
        pair = [Mention(f"/{generation}a"), Mention(f"/{generation}b")]
        for mention in pair:
            mentions.wait(mention)
        assert [await asyncio.wait_for(expired.get(), 5) for _ in pair] == pair
        assert len(mentions) == 0
    assert expired.empty()
