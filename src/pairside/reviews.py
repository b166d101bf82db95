"""Owns the proposals that await a verdict. `Reviews.open` is the only door of the only table of them.

A review is open exactly while the task that opened it is inside `open`, and pending until it is decided. The first
decision wins; whoever comes later is told who decided.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Protocol

import msgspec

from pairside import hunks
from pairside.cell import Listeners
from pairside.clients import Client
from pairside.hunks import Hunk
from pairside.text import decode_file, read_file

DECIDED_KEPT = 100
ORIGINAL_BYTES = 64 * 1024 * 1024
WAITING_CHARACTERS = 256 * 1024 * 1024
"""What the proposals that wait, and what they are about, may have together."""
LINE_CHARACTERS = 64
"""So many characters each line counts for besides its own: when texts are compared it becomes an object."""
LINES = 1_000_000
"""The most lines that a proposal may have, and the most of what it is about."""


class Outcome(StrEnum):
    """How a review ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    """The agent closed it: the question was answered in its terminal, or the agent left."""


class Verdict(msgspec.Struct, frozen=True):
    """A decision, and who made it (shown to whoever comes later)."""

    outcome: Outcome
    by: str
    text: str | None = None
    """The accepted text."""


class NotPending(Exception):
    """No such review is pending; `verdict` tells how it ended where that is still known."""

    def __init__(self, id: int, verdict: Verdict | None) -> None:
        self.id = id
        self.verdict = verdict
        if verdict is None:
            super().__init__(f"there is no review {id}")
        else:
            super().__init__(f"review {id} was {verdict.outcome} by {verdict.by}")


def weight(text: str) -> int:
    """What a text that waits takes, in characters.

    Raises:
        TooMuch: It has more than `LINES` lines.
    """
    lines = text.count("\n")
    if lines > LINES:
        raise TooMuch(f"a proposal of more than {LINES:,} lines is for the agent's own terminal")
    return len(text) + LINE_CHARACTERS * lines


class TooMuch(Exception):
    """So much waits for verdicts already that another proposal could cost the server its memory."""


class Undecidable(Exception):
    """The decision does not fit the review; the message says why and what to do."""


class Original(msgspec.Struct, frozen=True):
    """The file as it was when the proposal came."""

    exists: bool
    text: str | None
    """LF text with a byte order mark as U+FEFF; None if there is no file, or none that is text."""

    @classmethod
    def read(cls, path: str) -> Original:
        """Read the file; one that cannot be read counts as existing without text."""
        try:
            data = read_file(path, ORIGINAL_BYTES)
        except FileNotFoundError:
            return cls(False, None)
        except OSError:
            return cls(os.path.lexists(path), None)
        return cls(True, decode_file(data) if len(data) <= ORIGINAL_BYTES else None)


class Review(msgspec.Struct, eq=False):
    """A proposal for one file that awaits a verdict."""

    id: int
    """Counts up over all reviews of this server and is never used again."""
    client: Client
    path: str
    name: str
    """What the agent calls it; opaque."""
    original: Original
    proposed: str
    opened_at: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""
    _verdict: asyncio.Future[Verdict] | None = None
    _hunks: tuple[Hunk, ...] | None = None
    _size: int | None = None

    @property
    def text_before(self) -> str:
        """What the hunks start from: the original text, empty where there is none."""
        return self.original.text or ""

    @property
    def size(self) -> int:
        """The weight of the original and the proposal."""
        if self._size is None:
            self._size = weight(self.text_before) + weight(self.proposed)
        return self._size

    @property
    def divisible(self) -> bool:
        """Whether single hunks can be accepted: the file is new or is text."""
        return self.original.text is not None or not self.original.exists

    async def hunks(self) -> tuple[Hunk, ...]:
        """The hunks from the original to the proposal."""
        if self._hunks is None:
            self._hunks = await hunks.compare(self.text_before, self.proposed)
        return self._hunks

    @property
    def is_decided(self) -> bool:
        """Whether somebody was first already."""
        return self._verdict is not None and self._verdict.done()

    def changed_on_disk(self) -> bool:
        """Whether the file is no longer as it was when the proposal came: the agent will refuse to write it."""
        return Original.read(self.path) != self.original

    async def verdict(self) -> Verdict:
        """Wait for the decision."""
        assert self._verdict is not None
        return await asyncio.shield(self._verdict)


class Opening(msgspec.Struct, eq=False):
    """A proposal that is about to be a review."""

    client: Client
    name: str
    size: int = 0
    """The weight of both texts; of an original that was not read yet its bytes."""
    withdrawn: bool = False
    """The client took it back before it was one."""


class Listener(Protocol):
    """Is told of reviews."""

    def opened(self, review: Review) -> None:
        """A review is pending."""

    def decided(self, review: Review, verdict: Verdict) -> None:
        """Somebody decided a review, which is still pending until the agent has its answer."""

    def closed(self, review: Review, verdict: Verdict) -> None:
        """A review is no longer pending. Told exactly once for each, after it was removed."""


class Reviews:
    """The reviews that are pending now, in the order of their ids, which is that in which agents asked."""

    def __init__(self) -> None:
        self._pending: dict[int, Review] = {}
        self._decided: deque[tuple[int, Verdict]] = deque(maxlen=DECIDED_KEPT)
        self._opening: list[Opening] = []
        self._ids = itertools.count(1)
        self._listeners: Listeners[Listener] = Listeners()

    def __iter__(self) -> Iterator[Review]:
        # A decided review stays in the table until the agent's call has woken, but nothing is to be decided any more.
        return iter([review for id, review in sorted(self._pending.items()) if not review.is_decided])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def listen(self, listener: Listener) -> AbstractContextManager[None]:
        """Tell `listener` while the block runs. One that raises is logged; all others are told."""
        return self._listeners.listen(listener)

    def new_id(self) -> int:
        """An id that no review had before."""
        return next(self._ids)

    @contextmanager
    def opening(self, client: Client, name: str, size: int) -> Iterator[Opening]:
        """A proposal of which the original is still being read, for as long as the block runs.

        `size` is the weight of both texts together, as far as it is known: 64 small messages about one large file
        must not fill the memory.

        Raises:
            TooMuch: More than `WAITING_CHARACTERS` would wait, and not this one alone.
        """
        waiting = sum(one.size for one in self._opening) + sum(one.size for one in self._pending.values())
        if waiting and waiting + size > WAITING_CHARACTERS:
            raise TooMuch("so much waits for a verdict here already that this is for the agent's own terminal")
        opening = Opening(client, name, size)
        self._opening.append(opening)
        try:
            yield opening
        finally:
            self._opening.remove(opening)

    def withdraw(self, client: Client, name: str | None = None) -> int:
        """The client takes back its proposals of that name, or all; returns how many of them were pending."""
        for opening in self._opening:
            if opening.client is client and name in (None, opening.name):
                opening.withdrawn = True
        reviews = [review for review in self.of(client) if name in (None, review.name)]
        for review in reviews:
            self.decide(review.id, Verdict(Outcome.WITHDRAWN, f"{client.agent or 'the agent'} itself"))
        return len(reviews)

    @contextmanager
    def open(
        self, client: Client, *, path: str, name: str, original: Original, proposed: str, id: int | None = None
    ) -> Iterator[Review]:
        """A review, open for as long as the block runs. Leaving it undecided withdraws it.

        `id` is one from `new_id`, for a caller that had to wait for the original since it was asked.
        """
        review = Review(self.new_id() if id is None else id, client, path, name, original, proposed)
        review._verdict = asyncio.get_running_loop().create_future()
        self._pending[review.id] = review
        try:
            self._listeners.tell("opened", review)
            yield review
        finally:
            del self._pending[review.id]
            if not review._verdict.done():
                review._verdict.set_result(Verdict(Outcome.WITHDRAWN, _departed(client)))
            verdict = review._verdict.result()
            # The text may be large, and whoever comes later only needs to know who decided and how.
            self._decided.append((review.id, Verdict(verdict.outcome, verdict.by)))
            self._listeners.tell("closed", review, verdict)

    def of(self, client: Client) -> tuple[Review, ...]:
        """The pending reviews of one client."""
        return tuple(review for review in self if review.client is client)

    def get(self, id: int) -> Review:
        """A pending review that nobody has decided yet.

        Raises:
            NotPending: There is none of this id; it says how it ended where that is known.
        """
        review = self._pending.get(id)
        if review is None:
            raise NotPending(id, next((verdict for known, verdict in self._decided if known == id), None))
        if review.is_decided:
            assert review._verdict is not None
            raise NotPending(id, review._verdict.result())
        return review

    def decide(self, id: int, verdict: Verdict) -> None:
        """Decide a review.

        Raises:
            NotPending: Somebody was first, or there is no such review.
        """
        review = self.get(id)
        assert review._verdict is not None
        review._verdict.set_result(verdict)
        self._listeners.tell("decided", review, verdict)

    async def accept(
        self, id: int, *, by: str, numbers: Collection[int] | None = None, text: str | None = None
    ) -> Verdict:
        """Accept a proposal whole, some of its hunks, or a text in its place.

        A text equal to the original is a rejection, since that is what the agent takes it for.

        Raises:
            NotPending: Somebody was first, or there is no such review.
            Undecidable: There are no such hunks.
        """
        review = self.get(id)
        if text is None and numbers is not None and not numbers:
            verdict = Verdict(Outcome.REJECTED, by)
            self.decide(id, verdict)
            return verdict
        if text is None:
            text = review.proposed if numbers is None else await self._chosen(review, numbers)
        unchanged = review.original.exists and text == review.original.text and text != review.proposed
        verdict = Verdict(Outcome.REJECTED, by) if unchanged else Verdict(Outcome.ACCEPTED, by, text)
        self.decide(id, verdict)
        return verdict

    def reject(self, id: int, *, by: str) -> None:
        """Reject a proposal.

        Raises:
            NotPending: Somebody was first, or there is no such review.
        """
        self.decide(id, Verdict(Outcome.REJECTED, by))

    async def _chosen(self, review: Review, numbers: Collection[int]) -> str:
        if not review.divisible:
            raise Undecidable(f"{review.path} is not text: its proposal can only be accepted or rejected whole")
        all_hunks = await review.hunks()
        unknown = sorted(set(numbers) - {hunk.number for hunk in all_hunks})
        if unknown:
            raise Undecidable(
                f"review {review.id} has hunks 1 to {len(all_hunks)}, not {', '.join(map(str, unknown))}"
                if all_hunks
                else f"review {review.id} has no hunks"
            )
        if len(set(numbers)) == len(all_hunks):
            return review.proposed
        return hunks.apply(review.text_before, all_hunks, set(numbers))


def _departed(client: Client) -> str:
    return "the agent, which left" if client.ending is not None else "the agent"
