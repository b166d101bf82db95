"""Proposals that await a verdict."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pairside import reviews as module
from pairside.clients import Client
from pairside.peer import Disconnect, Reason
from pairside.reviews import NotPending, Original, Outcome, Review, Reviews, Undecidable, Verdict

from .memory import client

OLD = "1\n2\n3\n4\n5\n"
NEW = "1\nx\n3\n4\ny\n"


def opened(
    stack: ExitStack,
    reviews: Reviews,
    *,
    by: Client | None = None,
    original: Original = Original(True, OLD),  # noqa: B008 - it is frozen
    proposed: str = NEW,
    path: str = "/w/a.py",
) -> Review:
    """A pending review, until the stack is closed."""
    return stack.enter_context(
        reviews.open(by or client(1), path=path, name="tab", original=original, proposed=proposed)
    )


@dataclass
class Witness:
    """Notes what it is told, and whether the table agrees."""

    reviews: Reviews
    opened_ids: list[int] = field(default_factory=list)
    closings: list[tuple[int, Outcome, str]] = field(default_factory=list)

    def opened(self, review: Review) -> None:
        assert review in list(self.reviews)
        self.opened_ids.append(review.id)

    def decided(self, review: Review, verdict: Verdict) -> None:
        assert review not in list(self.reviews)

    def closed(self, review: Review, verdict: Verdict) -> None:
        assert review not in list(self.reviews)
        self.closings.append((review.id, verdict.outcome, verdict.by))


class Broken:
    """Fails whatever it is told."""

    def opened(self, review: Review) -> None:
        raise RuntimeError("opened")

    def decided(self, review: Review, verdict: Verdict) -> None:
        raise RuntimeError("decided")

    def closed(self, review: Review, verdict: Verdict) -> None:
        raise RuntimeError("closed")


async def test_a_review_is_pending_from_its_opening_to_its_decision() -> None:
    """It is told when it opens, when it is decided and after it is gone, once each, although another listener fails."""
    reviews = Reviews()
    witness = Witness(reviews)
    with reviews.listen(Broken()), reviews.listen(witness), ExitStack() as stack:
        review = opened(stack, reviews)
        assert (list(reviews), witness.opened_ids, witness.closings) == ([review], [review.id], [])
        reviews.reject(review.id, by="me")
        assert (await review.verdict()).outcome is Outcome.REJECTED
        assert (len(reviews), witness.closings) == (0, [])
        stack.close()
        assert (len(reviews), witness.closings) == (0, [(review.id, Outcome.REJECTED, "me")])


@pytest.mark.parametrize(("left", "by"), [(False, "the agent"), (True, "the agent, which left")])
async def test_a_review_that_is_left_undecided_is_withdrawn(left: bool, by: str) -> None:
    """Whoever comes later is told that the agent took it away, or left."""
    reviews = Reviews()
    asker = client(1)
    waiting = asyncio.Event()

    async def ask() -> None:
        with reviews.open(asker, path="/w/a", name="tab", original=Original(False, None), proposed="") as review:
            waiting.set()
            await review.verdict()

    task = asyncio.create_task(ask())
    await waiting.wait()
    (review,) = reviews
    if left:
        asker.peer.channel.end(Disconnect(Reason.LOST))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(reviews) == 0
    with pytest.raises(NotPending) as caught:
        reviews.get(review.id)
    assert caught.value.verdict == Verdict(Outcome.WITHDRAWN, by)


async def test_the_first_decision_wins_and_the_later_are_told_who_made_it() -> None:
    """While the review is still on its way out, and after it is gone."""
    reviews = Reviews()
    with ExitStack() as stack:
        review = opened(stack, reviews)
        await reviews.accept(review.id, by="the first")
        for _ in range(2):
            with pytest.raises(NotPending, match=f"review {review.id} was accepted by the first") as caught:
                reviews.reject(review.id, by="the second")
            with pytest.raises(NotPending):
                await reviews.accept(review.id, by="the third")
            stack.close()
        assert await review.verdict() == Verdict(Outcome.ACCEPTED, "the first", NEW)
    assert caught.value.verdict is not None
    assert caught.value.verdict.text is None, "the text of a decided review is not kept"


async def test_of_two_decisions_at_once_one_wins() -> None:
    """Accepting hunks waits for a comparison; a rejection meanwhile counts, and the acceptance is told of it."""
    reviews = Reviews()
    with ExitStack() as stack:
        review = opened(stack, reviews)
        accepting = asyncio.create_task(reviews.accept(review.id, by="slow", numbers=[1]))
        await asyncio.sleep(0)
        assert not accepting.done()
        reviews.reject(review.id, by="quick")
        with pytest.raises(NotPending, match="rejected by quick"):
            await asyncio.wait_for(accepting, 5)
        assert (await review.verdict()).outcome is Outcome.REJECTED


@pytest.mark.parametrize(
    ("numbers", "text"),
    [(None, NEW), ([1, 2], NEW), ([1], "1\nx\n3\n4\n5\n"), ([2, 2], "1\n2\n3\n4\ny\n")],
)
async def test_hunks_are_accepted_by_number(numbers: list[int] | None, text: str) -> None:
    """All of them, or those that are named; naming one twice is naming it."""
    reviews = Reviews()
    with ExitStack() as stack:
        review = opened(stack, reviews)
        verdict = await reviews.accept(review.id, by="me", numbers=numbers)
        assert verdict == Verdict(Outcome.ACCEPTED, "me", text) == await review.verdict()


@pytest.mark.parametrize("original", [Original(True, OLD), Original(False, None), Original(True, None)])
async def test_accepting_no_hunk_at_all_is_a_rejection(original: Original) -> None:
    """Of a new file too: it would be created empty otherwise."""
    reviews = Reviews()
    with ExitStack() as stack:
        review = opened(stack, reviews, original=original)
        assert (await reviews.accept(review.id, by="me", numbers=[])).outcome is Outcome.REJECTED


async def test_a_text_in_place_of_the_proposal_is_accepted_as_it_is() -> None:
    """No final newline is added, an empty text is one."""
    for text in ("", "no newline", "\ufeffa\r\nb", "\ud800"):
        reviews = Reviews()
        with ExitStack() as stack:
            review = opened(stack, reviews)
            assert (await reviews.accept(review.id, by="me", text=text)).text == text


async def test_accepting_the_original_text_is_a_rejection() -> None:
    """The agent takes it for one, so the person is told the same."""
    reviews = Reviews()
    with ExitStack() as stack:
        review = opened(stack, reviews)
        assert await reviews.accept(review.id, by="me", text=OLD) == Verdict(Outcome.REJECTED, "me")


async def test_unknown_hunks_and_hunks_of_what_is_not_text_are_refused_and_decide_nothing() -> None:
    """The message says which there are; the review stays open."""
    reviews = Reviews()
    with ExitStack() as stack:
        review = opened(stack, reviews)
        with pytest.raises(Undecidable, match="hunks 1 to 2, not 0, 3"):
            await reviews.accept(review.id, by="me", numbers=[0, 1, 3])
        same = opened(stack, reviews, proposed=OLD)
        with pytest.raises(Undecidable, match="has no hunks"):
            await reviews.accept(same.id, by="me", numbers=[1])
        binary = opened(stack, reviews, original=Original(True, None))
        with pytest.raises(Undecidable, match="not text"):
            await reviews.accept(binary.id, by="me", numbers=[1])
        assert list(reviews) == [review, same, binary]
        assert (await reviews.accept(binary.id, by="me")).text == NEW


async def test_two_clients_may_propose_for_one_file_and_are_kept_apart() -> None:
    """Each decision counts for its own review, and `of` names those of one client."""
    reviews = Reviews()
    one, other = client(1), client(2)
    with ExitStack() as stack:
        first, second, third = (opened(stack, reviews, by=by) for by in (one, other, one))
        assert (reviews.of(one), reviews.of(other)) == ((first, third), (second,))
        reviews.reject(second.id, by="me")
        assert reviews.get(first.id) is first
        assert (await reviews.accept(third.id, by="me")).text == NEW


async def test_ids_count_up_and_an_unknown_one_is_named() -> None:
    """An id is never used again, and what was forgotten is as unknown as what never was."""
    reviews = Reviews()
    for expected in range(1, module.DECIDED_KEPT + 3):
        with ExitStack() as stack:
            assert opened(stack, reviews).id == expected
    for id in (0, 1, 10**6):
        with pytest.raises(NotPending, match=f"there is no review {id}") as caught:
            reviews.get(id)
        assert caught.value.verdict is None


async def test_a_file_that_changes_after_the_proposal_is_noticed(workspace: Path) -> None:
    """Changed, removed, made: the agent will refuse to write. Line ends alone do not count."""
    file = workspace / "a.py"
    file.write_bytes(b"1\r\n2\r\n")
    reviews = Reviews()
    with ExitStack() as stack:
        review = opened(stack, reviews, original=Original.read(str(file)), path=str(file))
        new = opened(stack, reviews, original=Original.read(f"{file}.new"), path=f"{file}.new")
        assert not review.changed_on_disk()
        assert not new.changed_on_disk()
        (workspace / "a.py.new").touch()
        file.write_bytes(b"1\r\n3\r\n")
        assert review.changed_on_disk()
        assert new.changed_on_disk()
        file.unlink()
        assert review.changed_on_disk()


def test_the_original_is_read_as_agents_see_it(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, binary, too large and unreadable files are told apart from text."""
    monkeypatch.setattr(module, "ORIGINAL_BYTES", 10)
    for name, data in (("crlf", b"\xef\xbb\xbfa\r\n"), ("binary", b"\0"), ("large", b"x" * 11), ("full", b"x" * 10)):
        (workspace / name).write_bytes(data)
    os.mkfifo(workspace / "pipe")
    read = {name: Original.read(str(workspace / name)) for name in [*os.listdir(workspace), "none", "none/none"]}
    assert read == {
        "crlf": Original(True, "\ufeffa\n"),
        "binary": Original(True, None),
        "large": Original(True, None),
        "full": Original(True, "x" * 10),
        "pipe": Original(True, None),
        "none": Original(False, None),
        "none/none": Original(False, None),
    }
